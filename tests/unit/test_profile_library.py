"""The shipped profiles are found by id, in a checkout and in an installed package."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from estim.errors import ProfileError
from estim.profile import library
from tests.unit.profile_text import COMPLETE

CHECKOUT_PROFILES = Path(__file__).resolve().parents[2] / "profiles"


def test_every_file_of_the_folder_is_listed_by_its_id() -> None:
    names = sorted(path.stem for path in CHECKOUT_PROFILES.glob("*.toml"))
    assert len(names) >= 6
    assert library.shipped_ids() == names
    assert [loaded.profile.id for loaded in library.library()] == names


def test_a_profile_is_found_by_id_and_by_path(tmp_path: Path) -> None:
    assert library.find("dpn-conventional").profile.id == "dpn-conventional"
    own = tmp_path / "own.toml"
    own.write_text(COMPLETE)
    assert library.find(str(own)).profile.id == "complete"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("dpn-convential", "did you mean 'dpn-conventional'?"),
        ("nope", "'nope'; `estim profiles list` names them all"),
        ("zzz", "`estim profiles list` names them all"),
        ("hvpc", "did you mean 'high-voltage-pulsed-current'?"),
        ("Tens-Burst", "is not a profile id"),
        ("..", "is not a profile id"),
        ("", "is not a profile id"),
        ("tens burst", "is not a profile id"),
        ("tens-burst\x1b[2J", "is not a profile id"),
        ("x" * 65, "is not a profile id"),
        ("../profiles/absent.toml", "cannot be opened"),
        ("absent/tens-burst", "cannot be opened"),
    ],
)
def test_a_miss_is_one_sentence_with_the_nearest_name(wanted: str, said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        library.find(wanted)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 2


def test_the_packaged_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = tmp_path / "profiles"
    packaged.mkdir()
    shutil.copy(CHECKOUT_PROFILES / "tens-burst.toml", packaged)
    monkeypatch.setattr(library, "_FOLDERS", (packaged, CHECKOUT_PROFILES))
    assert library.shipped_ids() == ["tens-burst"]


def test_a_missing_library_and_a_renamed_profile_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "_FOLDERS", (tmp_path / "absent",))
    with pytest.raises(ProfileError, match="the profile library is missing"):
        library.library()
    shutil.copy(CHECKOUT_PROFILES / "tens-burst.toml", tmp_path / "renamed.toml")
    monkeypatch.setattr(library, "_FOLDERS", (tmp_path,))
    with pytest.raises(ProfileError, match="id: 'tens-burst'; expected 'renamed'"):
        library.find("renamed")
