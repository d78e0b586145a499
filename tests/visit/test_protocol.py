"""Guided protocols: what they must hold before output on a person, and what refuses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.errors import ProfileError
from estim.visit import protocol
from estim.visit.protocol import Protocol

FIRST = Path(__file__).parents[2] / "profiles" / "protocols" / "diabetic-neuropathy-first.toml"
TEXT = FIRST.read_text()


def _steps(text: str) -> list[str]:
    """Split a protocol before each step."""
    return text.split("\n[[steps]]\n")


def _write(folder: Path, text: str) -> Path:
    path = folder / "tried.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("loaded", protocol.shipped(), ids=lambda loaded: loaded.protocol.id)
def test_every_shipped_protocol_is_whole_and_says_that_nobody_reviewed_it(
    loaded: protocol.LoadedProtocol,
) -> None:
    assert loaded.protocol.review_status == "not reviewed by a clinician"
    assert len(loaded.sha256) == 64
    assert loaded.protocol.steps[-1].kind == "review"


@pytest.mark.parametrize(
    "kind", ["screen", "consent", "inspect_skin", "test_sensation", "try_stop", "place_electrodes"]
)
def test_nothing_is_delivered_to_a_person_before_each_gate(kind: str, tmp_path: Path) -> None:
    head, *steps = _steps(TEXT)
    left = [s for s in steps if not (f'kind = "{kind}"' in s and 'when = "after"' not in s)]
    assert len(left) == len(steps) - 1
    with pytest.raises(ProfileError, match=f"expected a step of kind '{kind}' before it"):
        protocol.load(_write(tmp_path, "\n[[steps]]\n".join([head, *left])))


def test_the_skin_is_looked_at_after_stimulation(tmp_path: Path) -> None:
    head, *steps = _steps(TEXT)
    left = [s for s in steps if 'id = "skin-after"' not in s]
    with pytest.raises(ProfileError, match="when = 'after' behind it"):
        protocol.load(_write(tmp_path, "\n[[steps]]\n".join([head, *left])))


def test_a_review_ends_each_visit(tmp_path: Path) -> None:
    head, *steps = _steps(TEXT)
    with pytest.raises(ProfileError, match="the last is no review"):
        protocol.load(_write(tmp_path, "\n[[steps]]\n".join([head, *steps[:-1]])))


@pytest.mark.parametrize("step_id", ["screening", "consent", "sensation", "stop", "electrodes"])
def test_no_gate_can_be_made_one_that_may_be_left_out(step_id: str, tmp_path: Path) -> None:
    text = TEXT.replace(f'id = "{step_id}"\n', f'id = "{step_id}"\nmay_skip = true\n')
    with pytest.raises(ProfileError, match="never skipped"):
        protocol.load(_write(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "consent"', 'id = "screening"', "expected each id once"),
        ('profiles = ["dpn-conventional"', 'profiles = ["dpn-conv"', "a profile of the library"),
        ('profiles = ["dpn-conventional"', 'profiles = ["russian-quadriceps"', "bench only"),
        ('kind = "consent"', 'kind = "consnt"', "did you mean 'consent'"),
        ('adjuncts = ["heat"', 'adjuncts = ["sauna"', "an adjunct"),
        ('title = "Explain and agree"', 'title = "Explain"\nwhen = "before"', "not expected"),
        (
            'instruments = ["pain-now", "pain-worst-24h", "symptoms"]',
            "",
            "missing; expected in a step of kind 'assess'",
        ),
        ("sets = 2\n", "sets = 0\n", "a whole number from 1 to 100"),
        ('visit = "first"', 'visit = "second"', "visit"),
    ],
)
def test_what_is_not_as_it_should_be_is_one_message_with_file_and_key(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in TEXT
    path = _write(tmp_path, TEXT.replace(old, new, 1))
    with pytest.raises(ProfileError, match=message) as caught:
        protocol.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_protocol_is_found_by_its_id_or_the_nearest_is_named() -> None:
    assert protocol.find("diabetic-neuropathy-first").protocol.title.startswith("Diabetic")
    with pytest.raises(ProfileError, match="did you mean 'diabetic-neuropathy-first'"):
        protocol.find("diabetic-neuropathy-frist")


def test_a_protocol_for_a_bench_needs_no_gate_of_a_person(tmp_path: Path) -> None:
    head, *steps = _steps(TEXT.replace('visit = "first"', 'visit = "bench"'))
    left = [s for s in steps if 'id = "stimulation"' in s or 'id = "review"' in s]
    loaded = protocol.load(_write(tmp_path, "\n[[steps]]\n".join([head, *left])))
    assert isinstance(loaded.protocol, Protocol)
    assert not loaded.protocol.is_for_people


CHECK = """
[[steps]]
kind = "check"
id = "look"
title = "Look"
why = "To see."
do = "Look."
[[steps.checks]]
name = "Case"
do = "Look at it."
expect = "whole"
"""


def test_a_check_of_a_device_stands_in_no_protocol_for_a_person(tmp_path: Path) -> None:
    head, *steps = _steps(TEXT)
    text = "\n[[steps]]\n".join([head + CHECK, *steps])
    with pytest.raises(ProfileError, match=r"steps\[1\]\.kind.* no protocol for a person"):
        protocol.load(_write(tmp_path, text))


@pytest.mark.parametrize("step_id", ["consent", "sensation", "skin-after", "exercise", "function"])
def test_nothing_that_is_done_to_a_person_stands_in_a_protocol_for_the_bench(
    step_id: str, tmp_path: Path
) -> None:
    head, *steps = _steps(TEXT.replace('visit = "first"', 'visit = "bench"'))
    left = [s for s in steps if f'id = "{step_id}"' in s or 'id = "review"' in s]
    with pytest.raises(ProfileError, match=r"steps\[1\]\.kind.* no protocol for the bench"):
        protocol.load(_write(tmp_path, "\n[[steps]]\n".join([head, *left])))


def test_a_check_step_without_checks_is_refused(tmp_path: Path) -> None:
    head, *steps = _steps(TEXT.replace('visit = "first"', 'visit = "bench"'))
    empty = CHECK.partition("[[steps.checks]]")[0]
    with pytest.raises(ProfileError, match=r"steps\[1\]\.checks: missing"):
        protocol.load(_write(tmp_path, head + empty + "\n[[steps]]\n" + steps[-1]))
