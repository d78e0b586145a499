"""`estim config`: every setting and its origin; changing one is as strict as reading the file."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from estim.prepare.interface import InterfaceSettings, load_interface
from estim.prepare.site import SitePolicy
from tests.cli.commands import Shell


@pytest.fixture
def folder(home: Path) -> Path:
    return home / "config" / "estim"


def test_every_setting_of_both_files_is_shown_with_its_origin(estim: Shell, folder: Path) -> None:
    assert estim("config", "path").out == f"{folder}\n"
    shown = estim("config")
    keys = [*SitePolicy.model_fields, *InterfaceSettings.model_fields]
    assert all(f"  {key} " in shown.out for key in keys)
    assert str(folder / "site.toml") in shown.out
    assert not folder.exists(), "looking makes nothing"
    estim("config", "set", "amplitude_ceiling_ua", "30000")
    told = {each["key"]: each for each in estim("config", "--json").objects}
    assert list(told) == keys
    assert told["amplitude_ceiling_ua"]["now"] == 30_000
    assert told["amplitude_ceiling_ua"]["is_set"] is True
    assert told["amplitude_ceiling_ua"]["file"] == str(folder / "site.toml")
    assert (told["idle_lock_s"]["now"], told["idle_lock_s"]["is_set"]) == (300, False)
    assert told["longest_session_s"]["now"] is None


def test_the_defaults_are_the_documented_ones() -> None:
    """Restated by hand: a site that sets nothing relies on them."""
    policy = SitePolicy()
    assert (policy.sensation_valid_days, policy.screening_valid_days) == (30, 30)
    assert (policy.electrode_uses_max, policy.idle_lock_s) == (20, 300)
    assert (policy.attention_check_s, policy.comfort_check_s) == (600, 300)
    assert InterfaceSettings() == InterfaceSettings(
        theme="dark", reduced_motion=False, prompt_bell=True
    )


def test_a_change_holds_and_leaves_what_somebody_wrote(estim: Shell, folder: Path) -> None:
    folder.mkdir(parents=True)
    site = folder / "site.toml"
    site.write_text(
        "# agreed on 1 March\nidle_lock_s = 120 # at the desk\n'comfort_check_s'=90\n"
        "amplitude_ceiling_ua = 30000"
    )
    assert estim("config", "set", "idle_lock_s", "60").code == 0
    assert estim("config", "set", "comfort_check_s", "100").code == 0
    assert estim("config", "set", "requires_patient_stop", "true").code == 0
    assert site.read_text() == (
        "# agreed on 1 March\nidle_lock_s = 60  # at the desk\ncomfort_check_s = 100\n"
        "amplitude_ceiling_ua = 30000\nrequires_patient_stop = true\n"
    )
    assert estim("config", "get", "idle_lock_s").out == "60\n"
    assert estim("config", "set", "idle_lock_s", "default").code == 0
    assert "idle_lock_s" not in tomllib.loads(site.read_text())
    assert estim("config", "get", "idle_lock_s").out == "300\n"
    assert stat.S_IMODE(site.stat().st_mode) == 0o600


def test_the_interface_has_a_file_of_its_own(estim: Shell, folder: Path) -> None:
    assert estim("config", "set", "theme", "high-contrast").code == 0
    assert estim("config", "set", "reduced_motion", "true").code == 0
    assert (folder / "interface.toml").read_text() == (
        'theme = "high-contrast"\nreduced_motion = true\n'
    )
    assert load_interface(folder) == InterfaceSettings(theme="high-contrast", reduced_motion=True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("set", "idle_lock_s", "29"), "a whole number from 30 to 900"),
        (("set", "idle_lock_s", "901"), "a whole number from 30 to 900"),
        (("set", "sensation_valid_days", "31"), "from 0 to 30"),
        (("set", "screening_valid_days", "31"), "from 0 to 30"),
        (("set", "electrode_uses_max", "0"), "from 1 to 50"),
        (("set", "attention_check_s", "601"), "from 60 to 600"),
        (("set", "comfort_check_s", "601"), "from 60 to 600"),
        (("set", "amplitude_ceiling_ua", "100001"), "from 1 to 100000"),
        (("set", "amplitude_ceiling_ua", "0"), "from 1 to 100000"),
        (("set", "amplitude_ceiling_ua", "30.0"), "whole number"),
        (("set", "amplitude_ceiling_ua", "true"), "whole number"),
        (("set", "amplitude_ceiling_ua", ""), "whole number"),
        (("set", "requires_patient_stop", "1"), "true or false"),
        (("set", "theme", "pink"), "one of dark"),
        (("set", "theme", 'dark"\nx = 1'), "one of dark"),
        (("set", "prompt_bell", "no"), "true or false"),
        (("set", "alarm_bell", "false"), "there is no setting"),
        (("set", "idle_locks", "60"), "did you mean idle_lock_s?"),
        (("get", "nothing"), "there is no setting"),
        (("set", "idle_lock_s"), "VALUE"),
    ],
)
def test_bad_usage_is_one_message_and_writes_nothing(
    estim: Shell, folder: Path, arguments: tuple[str, ...], expected: str
) -> None:
    answer = estim("config", *arguments)
    answer.assert_one_message(2)
    assert expected in answer.err
    assert not list(folder.glob("*.toml"))


@pytest.mark.parametrize(
    "text",
    ["idle_lock_s = 1\n", "[limits]\n", "alarm_bell = false\n", "idle_lock_s = \n", "\x00"],
)
def test_a_file_that_is_wrong_is_refused_and_left_alone(
    estim: Shell, folder: Path, text: str
) -> None:
    folder.mkdir(parents=True)
    (folder / "site.toml").write_text(text)
    for arguments in ((), ("get", "idle_lock_s"), ("set", "idle_lock_s", "60")):
        answer = estim("config", *arguments)
        answer.assert_one_message(2)
        assert str(folder / "site.toml") in answer.err
    assert (folder / "site.toml").read_text() == text


def test_a_spelling_that_no_line_edit_understands_is_told(estim: Shell, folder: Path) -> None:
    folder.mkdir(parents=True)
    text = '"idle_lock\\u005fs" = 60\n'
    (folder / "site.toml").write_text(text)
    answer = estim("config", "set", "idle_lock_s", "90")
    answer.assert_one_message(2)
    assert "change it in the file itself" in answer.err
    assert (folder / "site.toml").read_text() == text


def test_completion_says_what_is_missing_or_completes(estim: Shell) -> None:
    answer = estim("completion", "bash")
    try:
        import shtab  # noqa: F401
    except ImportError:
        answer.assert_one_message(2)
        assert "shtab" in answer.err
        return
    assert answer.code == 0
    for word in ("roster", "--pin-stdin", "profiles", "zsh"):
        assert word in answer.out
    estim("completion", "fish").assert_one_message(2)
