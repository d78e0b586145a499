"""Every shipped profile says what its sources say, and stays within the limits as written here.

Numbers are read straight from the TOML and put together with school arithmetic; limits are typed
in again on purpose. Nothing is compared with itself.
"""

from __future__ import annotations

import tomllib
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from estim.profile.library import find, shipped_ids
from estim.waveform.compile import compile_profile
from estim.waveform.measure import Measurement, Meter
from estim.waveform.render import iter_chunks
from firmware_protocol.program import check_form

FOLDER = Path(__file__).resolve().parents[2] / "profiles"
IDS = sorted(path.stem for path in FOLDER.glob("*.toml"))


def raw(profile_id: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{profile_id}.toml").read_text("utf-8"))


# What the sources say of the stimulus: rate in Hz, phase in us.
STIMULI: dict[str, dict[str, Any]] = {
    "dpn-conventional": {
        "mode": "conventional", "pulse_rate_hz": 80, "phase_duration_us": 200, "duration_s": 1800,
    },
    "tens-low-rate": {
        "mode": "low-rate", "pulse_rate_hz": 4, "phase_duration_us": 200, "duration_s": 1800,
    },
    "tens-burst": {
        "mode": "burst", "pulse_rate_hz": 100, "phase_duration_us": 200, "duration_s": 1800,
        "burst": {"pulses_per_burst": 10, "burst_rate_hz": 2},
    },
    "tens-dense-disperse": {
        "mode": "dense-disperse", "pulse_rate_hz": 100, "phase_duration_us": 200,
        "duration_s": 1800, "points": [(0, 2, 600), (3, 100, 200)], "cycle_s": 6,
    },
    "tens-modulated": {
        "mode": "frequency-width-modulated", "pulse_rate_hz": 125, "phase_duration_us": 100,
        "duration_s": 1800,
        "points": [(0, 125, 100), (6, 2, 200)], "cycle_s": 12,
    },
    "nmes-quadriceps": {
        "mode": "nmes", "pulse_rate_hz": 50, "phase_duration_us": 250, "duration_s": 990,
        "cycle": {"ramp_up_s": 3, "on_s": 15, "ramp_down_s": 3, "off_s": 45},
    },
}  # fmt: skip

# At the amplitude ceiling of the first channel, worst sliding second, smallest pad allowed:
# ceiling mA, charge of a phase uC, RMS mA, average mA, pad cm2.
WORST = {
    "dpn-conventional": (40, 8.0, 40 * sqrt(80 * 400e-6), 40 * 80 * 400e-6, 25),
    "tens-low-rate": (60, 12.0, 60 * sqrt(4 * 400e-6), 60 * 4 * 400e-6, 16),
    "tens-burst": (60, 12.0, 60 * sqrt(20 * 400e-6), 60 * 20 * 400e-6, 16),
    # 99 pulses of 100 Hz and, at the turn, the first of 2 Hz: 99 x 400 us + 1 x 1200 us
    "tens-dense-disperse": (15, 9.0, 15 * sqrt(40.8e-3), 15 * 40.8e-3, 6),
    "nmes-quadriceps": (100, 25.0, 100 * sqrt(50 * 500e-6), 100 * 50 * 500e-6, 50),
}


def worst(profile_id: str, duration_s: int) -> Measurement:
    """Render the first channel alone at its ceiling, 1 MHz, and measure it."""
    program = compile_profile(find(profile_id).profile)
    ceiling_ua = int(raw(profile_id)["channels"][0]["amplitude_ceiling_ma"] * 1000)
    amplitudes_ua = [ceiling_ua] + [0] * (len(program.channels) - 1)
    meter = Meter(1_000_000, 0)
    for chunk in iter_chunks(program, amplitudes_ua, 100, 1_000_000, duration_s * 1_000_000):
        meter.add(chunk[0])
    return meter.measurement()


def test_the_six_profiles_are_there() -> None:
    assert set(STIMULI) <= set(IDS)
    assert shipped_ids() == IDS


@pytest.mark.parametrize("profile_id", sorted(STIMULI))
def test_the_stimulus_is_that_of_the_sources(profile_id: str) -> None:
    text, expected = raw(profile_id), STIMULI[profile_id]
    stimulus = text["stimulus"]
    assert text["mode"] == expected["mode"]
    assert stimulus["pulse_rate_hz"] == expected["pulse_rate_hz"]
    assert stimulus["pulse"] == {
        "waveform": "symmetric-biphasic",
        "phase_duration_us": expected["phase_duration_us"],
    }
    assert stimulus.get("burst") == expected.get("burst")
    assert stimulus.get("cycle") == expected.get("cycle")
    points = [
        (p["at_s"], p["pulse_rate_hz"], p["phase_duration_us"])
        for p in stimulus.get("modulation", {}).get("points", [])
    ]
    assert points == expected.get("points", [])
    assert stimulus.get("modulation", {}).get("cycle_s") == expected.get("cycle_s")
    assert text["session"]["duration_s"] == expected["duration_s"]


@pytest.mark.parametrize("profile_id", sorted(WORST))
def test_figures_at_the_ceiling_are_those_worked_out_by_hand(profile_id: str) -> None:
    ceiling_ma, charge_uc, rms_ma, average_ma, area_cm2 = WORST[profile_id]
    text = raw(profile_id)
    assert text["channels"][0]["amplitude_ceiling_ma"] == ceiling_ma
    assert text["electrode"]["minimum_area_cm2"] == area_cm2
    figures = worst(profile_id, 13 if profile_id != "nmes-quadriceps" else 6)
    assert figures.peak_ua == ceiling_ma * 1000
    assert figures.phase_charge_pc == charge_uc * 1e6
    assert figures.pulse_net_charge_pc == 0
    assert figures.rms_ua == pytest.approx(rms_ma * 1000)
    assert figures.average_ua == pytest.approx(average_ma * 1000)


def test_the_modulated_profile_is_worst_around_its_fastest_hold() -> None:
    """60 mA: the worst second holds less than 125 pulses of 108 us, more than 110 of 100 us."""
    figures = worst("tens-modulated", 13)
    assert figures.peak_ua == 60_000
    assert figures.phase_charge_pc == 12e6  # 60 mA x 200 us, at 2 Hz
    assert figures.pulse_net_charge_pc == 0
    assert 60_000 * sqrt(110 * 200e-6) < figures.rms_ua < 60_000 * sqrt(125 * 216e-6)
    assert figures.shortest_period_us == 8000  # 125 Hz


@pytest.mark.parametrize("profile_id", IDS)
def test_ceilings_stay_within_every_limit_at_the_smallest_pad(profile_id: str) -> None:
    """The layered limits of SAFETY.md, typed in again: amplitude to power density."""
    text = raw(profile_id)
    figures = worst(profile_id, 6 if "cycle" in text["stimulus"] else 13)
    points = text["stimulus"].get("modulation", {}).get("points", [])
    pulse = text["stimulus"]["pulse"]
    longest_us = max([pulse["phase_duration_us"], *(p["phase_duration_us"] for p in points)])
    area_cm2 = text["electrode"]["minimum_area_cm2"]
    assert figures.peak_ua <= (100_000 if text["mode"] == "nmes" else 80_000)
    assert longest_us <= 1000
    assert figures.phase_charge_pc <= 20e6 + 28e3 * longest_us
    assert figures.rms_ua <= 50_000
    assert figures.average_ua <= 10_000
    density_ma_per_cm2 = text["ceilings"].get("current_density_ma_per_cm2", 2)
    assert density_ma_per_cm2 <= 2
    assert figures.current_density_ua_per_cm2(area_cm2) <= density_ma_per_cm2 * 1000
    assert figures.power_density_uw_per_cm2(area_cm2) <= 250_000
    assert figures.pulse_energy_uj <= 300_000


@pytest.mark.parametrize("profile_id", IDS)
def test_it_says_what_it_is_and_how_sure_it_is(profile_id: str) -> None:
    text = raw(profile_id)
    assert text["review_status"] == "not reviewed by a clinician"
    assert set(text["basis"]) == {
        "stimulus", "session", "placement", "electrode", "ceilings", "guidance",
    }  # fmt: skip
    assert any("acemaker" in note for note in text["guidance"]["contraindications"])
    assert all(entry["caveat"] for entry in text["evidence"])
    program = compile_profile(find(profile_id).profile)
    check_form(program)
    assert len(program.channels) == len(text["channels"])


def test_neuropathy_has_the_limits_proposed_for_it() -> None:
    """At least 25 cm2, at most 1 mA/cm2, half of the ceiling, 10 min first, 1 mA/s."""
    text = raw("dpn-conventional")
    assert text["electrode"]["minimum_area_cm2"] >= 25
    assert text["ceilings"]["current_density_ma_per_cm2"] <= 1
    assert all(channel["amplitude_ceiling_ma"] <= 80 / 2 for channel in text["channels"])
    assert text["session"]["first_exposure_s"] <= 600
    assert text["rise"]["setpoint_slew_ma_per_s"] <= 1
    assert text["rise"]["step_ma"] <= 1


def test_the_exercise_session_is_fifteen_whole_contractions() -> None:
    text = raw("nmes-quadriceps")
    assert text["session"]["duration_s"] == 15 * sum(text["stimulus"]["cycle"].values())
