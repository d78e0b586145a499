"""`estim profiles check`, show and plot against files that are no profiles: one message, exit 2."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.cli.commands import PROFILE, Shell

GOOD = PROFILE.read_text()
MUTATION_COUNT = 150


def changed(before: str, after: str) -> bytes:
    assert before in GOOD
    return GOOD.replace(before, after, 1).encode()


MALFORMED = {
    "empty": b"",
    "garbage": bytes(range(256)),
    "not UTF-8": GOOD.encode() + b"# \xff\n",
    "UTF-16": GOOD.encode("utf-16"),
    "huge": b"#" * 70_000,
    "deep": b"x = " + b"[" * 5000,
    "NaN": changed("pulse_rate_hz = 80", "pulse_rate_hz = nan"),
    "infinite": changed("pulse_rate_hz = 80", "pulse_rate_hz = inf"),
    "beyond floats": changed("pulse_rate_hz = 80", "pulse_rate_hz = 1e400"),
    "negative": changed("duration_s = 1800", "duration_s = -1800"),
    "out of range": changed("amplitude_ceiling_ma = 40", "amplitude_ceiling_ma = 81"),
    "boolean": changed("phase_duration_us = 200", "phase_duration_us = true"),
    "text": changed("phase_duration_us = 200", 'phase_duration_us = "200"'),
    "unknown key": changed("pulse_rate_hz = 80", "pulse_rate_hz = 80\npulse_width = 1"),
    "duplicate key": changed("pulse_rate_hz = 80", "pulse_rate_hz = 80\npulse_rate_hz = 80"),
    "no fit": changed("pulse_rate_hz = 80", "pulse_rate_hz = 4000"),
    "unbalanced": changed(
        'waveform = "symmetric-biphasic"',
        'waveform = "asymmetric-biphasic"\nsecond_phase_duration_us = 399\n'
        "second_phase_amplitude_permille = 500",
    ),
    "escape": changed('title = "', 'title = "\\u001b[2J'),
    "bidirectional": changed('title = "', 'title = "\\u202e'),
}


@pytest.mark.parametrize("command", ["check", "show", "plot"])
@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_profile_is_one_message_and_exit_code_2(
    estim: Shell, tmp_path: Path, name: str, command: str
) -> None:
    path = tmp_path / "profile.toml"
    path.write_bytes(MALFORMED[name])
    estim("profiles", command, path).assert_one_message(2)


def thin(folder: Path) -> Path:
    """Return 'dpn-conventional', 80 Hz, 2 x 200 us, 1 mA/cm2 at most, for pads from 1 cm2."""
    path = folder / "thin.toml"
    path.write_bytes(changed("minimum_area_cm2 = 25", "minimum_area_cm2 = 1"))
    return path


def test_an_area_shows_where_density_binds(estim: Shell, tmp_path: Path) -> None:
    path = thin(tmp_path)
    assert estim("profiles", "check", path).err == ""
    # 1 mA/cm2 x 4 cm2 = 4 mA RMS / sqrt(2 x 200 us x 80 Hz) = 22.36 mA, on steps of 0.1 mA.
    answer = estim("profiles", "check", path, "--area", "4")
    assert answer.code == 0
    assert "binds at 22.3 mA" in answer.err
    assert "density" in answer.err


def test_an_area_is_checked_against_each_profiles_least(estim: Shell, tmp_path: Path) -> None:
    path = thin(tmp_path)
    answer = estim("profiles", "check", path, "dpn-conventional", "--area", "24.9", "--json")
    assert answer.code == 2
    assert [item["exit_code"] for item in answer.objects] == [0, 2]
    expected = "--area 24.9: expected 25 to 400 cm2 for dpn-conventional"
    assert answer.objects[1]["problem"] == expected
    for area in ("0.9", "400.1", "-3", "NaN", "1e400", "two", "", "1_0"):
        estim("profiles", "check", path, f"--area={area}").assert_one_message(2)


@pytest.mark.parametrize("command", ["check", "show", "plot"])
def test_what_is_no_file_is_one_message_and_never_waited_for(
    estim: Shell, tmp_path: Path, command: str
) -> None:
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    for name in ("folder.toml", "pipe.toml", "loop.toml", "missing.toml"):
        estim("profiles", command, tmp_path / name).assert_one_message(2)
    estim("profiles", command, "/dev/zero").assert_one_message(2)


def test_damaged_bytes_are_a_profile_or_one_message(estim: Shell, tmp_path: Path) -> None:
    chance = random.Random(20)
    path = tmp_path / "profile.toml"
    codes = []
    for _ in range(MUTATION_COUNT):
        octets = bytearray(GOOD.encode())
        for _ in range(chance.randint(1, 3)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        path.write_bytes(octets)
        answer = estim("profiles", "check", path)
        codes.append(answer.code)
        if answer.code:
            answer.assert_one_message()
    # Most bytes lie in comments and texts; enough of both kinds came up.
    assert set(codes) <= {0, 2, 4}
    assert min(codes.count(0), codes.count(2)) > 10


def test_several_files_get_a_message_each_and_the_worst_exit_code(
    estim: Shell, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_bytes(MALFORMED["NaN"])
    answer = estim("profiles", "check", PROFILE, bad, tmp_path / "missing.toml", "--json")
    assert answer.code == 2
    assert [item["exit_code"] for item in answer.objects] == [0, 2, 2]
    assert [line.split(",")[0].split(": c")[0] for line in answer.err.splitlines()] == [
        f"estim: {bad}",
        f"estim: {tmp_path / 'missing.toml'}",
    ]
    words = estim("profiles", "check", PROFILE, "dpn-conventional")
    assert (words.code, words.err) == (0, "")
    assert words.out == f"ok  {PROFILE}\nok  dpn-conventional\n"


def test_a_pulse_that_no_device_can_play_finely_is_exit_code_4(
    estim: Shell, tmp_path: Path
) -> None:
    # A share of 501 permille needs amplitudes that are multiples of 100 mA.
    path = tmp_path / "coarse.toml"
    path.write_bytes(
        changed(
            'waveform = "symmetric-biphasic"\nphase_duration_us = 200',
            'waveform = "asymmetric-biphasic"\nphase_duration_us = 501\n'
            "second_phase_duration_us = 1000\nsecond_phase_amplitude_permille = 501",
        )
    )
    estim("profiles", "check", path).assert_one_message(4)


def test_a_channel_that_could_never_deliver_is_exit_code_4(estim: Shell, tmp_path: Path) -> None:
    # A share of one half needs multiples of 0.2 mA, and the ceiling is 0.1 mA.
    path = tmp_path / "nothing.toml"
    path.write_bytes(
        changed(
            'waveform = "symmetric-biphasic"\nphase_duration_us = 200',
            'waveform = "asymmetric-biphasic"\nphase_duration_us = 200\n'
            "second_phase_duration_us = 400\nsecond_phase_amplitude_permille = 500",
        ).replace(b"amplitude_ceiling_ma = 40 ", b"amplitude_ceiling_ma = 0.1 ", 1)
    )
    answer = estim("profiles", "check", path)
    answer.assert_one_message(4)
    assert "no amplitude passes: channel 1: amplitude:" in answer.err


def test_what_is_allowed_but_unusual_is_a_warning(estim: Shell, tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_bytes(changed("phase_duration_us = 200", "phase_duration_us = 501"))
    answer = estim("profiles", "check", path, "--json")
    assert answer.code == 0
    expected = "phase duration: 501 us, recommended at most 500 us"
    assert answer.objects[0]["warnings"] == [expected]
    assert answer.err == f"estim: warning: {path}: {expected}\n"


def test_a_ceiling_out_of_reach_is_a_warning_that_names_what_binds(
    estim: Shell, tmp_path: Path
) -> None:
    # 0.2 mA/cm2 x 25 cm2 = 5 mA RMS; 5 mA / sqrt(0.032) = 27.95 mA. The device's steps are 0.1 mA:
    # targets from 27.9 to 27.999 mA all deliver 27.9 mA, and 28 mA is too much.
    path = tmp_path / "dense.toml"
    path.write_bytes(
        changed("current_density_ma_per_cm2 = 1 ", "current_density_ma_per_cm2 = 0.2 ")
    )
    answer = estim("profiles", "check", path, "--json")
    assert answer.code == 0
    for number, warning in enumerate(answer.objects[0]["warnings"], start=1):
        start = (
            f"channel {number}: its ceiling of 40.0 mA is out of reach: current density (profile)"
        )
        assert warning.startswith(f"{start} binds at 27.9")
    assert len(answer.objects[0]["warnings"]) == 2


@pytest.mark.parametrize(
    ("profile", "driver", "code", "words"),
    [
        ("tens-burst", "p24", 0, "this computer plays the bursts"),
        ("nmes-quadriceps", "p24", 0, "this computer plays the on/off cycle"),
        ("dpn-14hz", "p24", 0, "71428 us is played as 71500 us"),
        (
            "russian-quadriceps",
            "p24",
            4,
            "a pulse period of 400 us, the device's shortest is 500 us",
        ),
        ("dpn-conventional", "usb", 2, "expected one of native:, p24:"),
    ],
)
def test_a_profile_is_checked_for_a_kind_of_device(
    estim: Shell, profile: str, driver: str, code: int, words: str
) -> None:
    answer = estim("profiles", "check", profile, "--driver", driver)
    assert answer.code == code
    assert words in answer.err
