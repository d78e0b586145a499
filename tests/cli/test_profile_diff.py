"""`estim profiles diff`: each change of a file in physics, by hand; the worst one first.

dpn-conventional: 80 Hz, 2 x 200 us, 40 mA on two channels, pads of 25 cm2, slew 1 mA/s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import PROFILE, Shell

ID = "dpn-conventional"
TEXT = PROFILE.read_text("utf-8")
Told = tuple[str | None, str | None, bool | None]


def changed(folder: Path, *replacements: tuple[str, str]) -> Path:
    text = TEXT
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "changed.toml"
    path.write_text(text, "utf-8")
    return path


def changes(estim: Shell, first: str | Path, second: str | Path) -> list[dict[str, Any]]:
    answer = estim("profiles", "diff", first, second, "--json")
    assert answer.err == ""
    (told,) = answer.objects
    assert told["is_same"] == (not told["changes"])
    assert answer.code == (1 if told["changes"] else 0)
    listed: list[dict[str, Any]] = told["changes"]
    return listed


def by_name(listed: list[dict[str, Any]], channel: int) -> dict[str, Told]:
    return {
        item["name"]: (item["a"], item["b"], item["is_worse"])
        for item in listed
        if item["channel"] == channel
    }


def test_a_profile_is_the_same_as_itself_by_id_and_by_file(estim: Shell) -> None:
    answer = estim("profiles", "diff", ID, PROFILE)
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == "no difference"
    assert changes(estim, PROFILE, ID) == []


def test_comments_and_the_order_of_keys_are_no_difference(estim: Shell, tmp_path: Path) -> None:
    path = changed(tmp_path, ("[stimulus]\n", "# looks new\n\n[stimulus]\n"))
    assert changes(estim, ID, path) == []


def test_longer_phases_change_charge_rms_average_and_density(estim: Shell, tmp_path: Path) -> None:
    """250 us: 40 mA are 10 uC; 80 x 500 us = 40 ms a second: x 0.2 for RMS, x 0.04 for average."""
    path = changed(tmp_path, ("phase_duration_us = 200", "phase_duration_us = 250"))
    listed = changes(estim, ID, path)
    wanted: dict[str, Told] = {
        "longest phase at the ceiling": ("200 us", "250 us", True),
        "longest pulse at the ceiling": ("400 us", "500 us", True),
        "phase charge at the ceiling": ("8 uC", "10 uC", True),
        # 20 uC + 28 uC/ms x 0.25 ms
        "phase charge allowed": ("25.6 uC (standard)", "27 uC (standard)", True),
        # (40 mA)^2 x 500 ohm x 500 us
        "pulse energy at the ceiling": ("0.32 mJ", "0.4 mJ", True),
        "worst-second RMS at the ceiling": ("7.156 mA", "8 mA", True),
        "worst-second average at the ceiling": ("1.28 mA", "1.6 mA", True),
        "RMS current density at the ceiling": ("0.287 mA/cm2 RMS", "0.32 mA/cm2 RMS", True),
        # (8 mA)^2 x 500 ohm / 25 cm2
        "power density at the ceiling": ("0.001025 W/cm2", "0.00128 W/cm2", True),
        "phase 1 duration": ("200 us", "250 us", None),
        "phase 2 duration": ("200 us", "250 us", None),
    }
    assert by_name(listed, 1) == by_name(listed, 2) == wanted
    assert by_name(listed, 0) == {}
    worse = [item["change_permille"] for item in listed if item["is_worse"]]
    assert worse == sorted(worse, reverse=True)
    assert [item["is_worse"] for item in listed] == [True] * 18 + [None] * 4


CASES: list[tuple[str, str, int, str, Told]] = [
    (
        "setpoint_slew_ma_per_s = 1", "setpoint_slew_ma_per_s = 2",
        0, "slew of a rise", ("1 mA/s", "2 mA/s", True),
    ),
    (
        "minimum_area_cm2 = 25", "minimum_area_cm2 = 20",
        0, "smallest electrode", ("25 cm2", "20 cm2", True),
    ),
    (
        'lead_off = "channel"', 'lead_off = "all"',
        0, "on lead-off", ("that channel stops", "all channels stop", False),
    ),
    (
        "requires_patient_stop = false", "requires_patient_stop = true",
        0, "patient's stop", ("not required", "required", False),
    ),
    (
        'waveform = "symmetric-biphasic"',
        'waveform = "symmetric-biphasic"\ninterphase_gap_us = 50',
        1, "interphase gap", ("0 us", "50 us", None),
    ),
    (
        "[stimulus.pulse]",
        "[stimulus.burst]\npulses_per_burst = 7\nburst_rate_hz = 2\n[stimulus.pulse]",
        1, "pulses per burst", (None, "7", None),
    ),
    (
        "[stimulus.pulse]",
        "[stimulus.cycle]\nramp_up_s = 1\non_s = 5\nramp_down_s = 1\noff_s = 9\n[stimulus.pulse]",
        2, "off time", (None, "9 s", None),
    ),
    (
        "[stimulus.pulse]",
        '[stimulus.modulation]\nchange = "hold"\ncycle_s = 4\npoints = [\n{ at_s = 0 },\n'
        "{ at_s = 1, pulse_rate_hz = 40 },\n]\n[stimulus.pulse]",
        1, "pulse rate", ("80 Hz", "40 to 80 Hz", None),
    ),
    (
        'mode = "conventional"', 'bench_only_reason = "a trial"\nmode = "conventional"',
        0, "may be used on", ("a person", "the bench only", False),
    ),
    (
        'title = "Diabetic peripheral neuropathy, conventional"', 'title = "Other words"',
        0, "title", ("Diabetic peripheral neuropathy, conventional", "Other words", None),
    ),
    (
        'name = "left leg"', 'name = "right leg"', 1, "name", ("left leg", "right leg", None),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "channel", "name", "told"), CASES)
def test_a_change_is_told_in_the_words_of_the_field(
    estim: Shell, tmp_path: Path, old: str, new: str, channel: int, name: str, told: Told
) -> None:
    listed = changes(estim, ID, changed(tmp_path, (old, new)))
    assert by_name(listed, channel)[name] == told


def test_a_contraindication_that_is_gone_comes_first(estim: Shell, tmp_path: Path) -> None:
    path = changed(
        tmp_path,
        ('  "Undiagnosed pain.",\n', ""),
        ("phase_duration_us = 200", "phase_duration_us = 900"),
    )
    first = changes(estim, ID, path)[0]
    assert (first["name"], first["a"], first["b"], first["is_worse"]) == (
        "contraindication: Undiagnosed pain.", "told", None, True,
    )  # fmt: skip
    back = changes(estim, path, ID)
    assert {item["is_worse"] for item in back if "contraindication" in item["name"]} == {False}


def test_a_small_change_for_the_worse_comes_before_a_large_one_for_the_better(
    estim: Shell, tmp_path: Path
) -> None:
    path = changed(
        tmp_path,
        ("recommended_area_cm2 = 25", "recommended_area_cm2 = 100"),
        ("step_ma = 0.5", "step_ma = 0.6"),
    )
    listed = changes(estim, ID, path)
    assert [item["name"] for item in listed][:2] == ["step of a rise", "recommended electrode"]
    assert [item["change_permille"] for item in listed][:2] == [200, 3000]


def test_the_limit_that_binds_is_told(estim: Shell, tmp_path: Path) -> None:
    """32 ms of current a second: 0.6 mA on average are 18.75 mA, in steps of 0.1 mA 18.7."""
    path = changed(tmp_path, ("[ceilings]", "[ceilings]\naverage_ma = 0.6"))
    listed = by_name(changes(estim, ID, path), 1)
    assert listed["ceiling"] == ("40 mA", "18.7 mA", False)
    assert listed["binding limit"] == ("amplitude (profile)", "average (profile)", None)
    assert listed["worst-second average allowed"] == ("10 mA (standard)", "0.6 mA (profile)", False)


def test_a_rewritten_stimulus_that_flows_the_same_is_told_as_written(
    estim: Shell, tmp_path: Path
) -> None:
    custom = (
        'waveform = "custom"\nphases = [\n{ duration_us = 200, amplitude_permille = 1000 },\n'
        "{ duration_us = 200, amplitude_permille = -1000 },\n]\n"
    )
    start = TEXT.index('waveform = "symmetric-biphasic"')
    end = TEXT.index("\n", TEXT.index("phase_duration_us = 200")) + 1
    listed = changes(estim, ID, changed(tmp_path, (TEXT[start:end], custom)))
    assert [(item["name"], item["channel"]) for item in listed] == [
        ("as written", 1), ("as written", 2),
    ]  # fmt: skip


def test_a_changed_certainty_and_study_are_told_apart(estim: Shell, tmp_path: Path) -> None:
    path = changed(
        tmp_path,
        ('grade = "meta-analysis"\ncertainty = "S"', 'grade = "meta-analysis"\ncertainty = "K?"'),
        ('study = "Moharic 2010', 'study = "Nobody 2010'),
    )
    listed = [item for item in changes(estim, ID, path) if item["section"] == "evidence"]
    assert {(item["a"], item["b"]) for item in listed} == {
        ("meta-analysis [S]", "meta-analysis [K?]"),
        ("not-graded [S]", None),
        (None, "not-graded [S]"),
    }


def test_people_read_a_table_in_which_equal_channels_share_a_row(
    estim: Shell, tmp_path: Path
) -> None:
    path = changed(tmp_path, ("pulse_rate_hz = 80", "pulse_rate_hz = 100"))
    answer = estim("profiles", "diff", ID, path)
    assert answer.code == 1
    (row,) = (line for line in answer.out.splitlines() if "pulse rate" in line)
    assert row.split() == [
        "channel",
        "1,",
        "2:",
        "pulse",
        "rate",
        "80",
        "Hz",
        "100",
        "Hz",
        "+25.0%",
    ]
    assert all(line.isprintable() for line in answer.out.splitlines())


def test_a_missing_profile_and_a_refused_one_are_one_message(estim: Shell, tmp_path: Path) -> None:
    estim("profiles", "diff", ID, "no-such-profile").assert_one_message(2)
    bad = changed(tmp_path, ("pulse_rate_hz = 80", "pulse_rate_hz = 8000"))
    estim("profiles", "diff", bad, ID).assert_one_message(2)
