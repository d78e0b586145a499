"""Every shipped profile says what its sources say, and stays within the limits as written here.

Numbers are read straight from the TOML and put together with school arithmetic; limits are typed
in again on purpose. Nothing is compared with itself.
"""

from __future__ import annotations

import tomllib
from functools import cache
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import pytest

from estim.profile.library import find, shipped_ids
from estim.waveform.compile import compile_profile
from estim.waveform.measure import Measurement, Meter
from estim.waveform.render import iter_chunks
from firmware_protocol.program import check_form
from tests.unit.toml_arithmetic import settings_of

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
    "tens-brief-intense": {
        "mode": "brief-intense", "pulse_rate_hz": 100, "phase_duration_us": 200, "duration_s": 900,
    },
    "tens-dense-disperse": {
        "mode": "dense-disperse", "pulse_rate_hz": 100, "phase_duration_us": 200,
        "duration_s": 1800, "cycle_s": 6,
        "points": [
            {"at_s": 0, "pulse_rate_hz": 2, "phase_duration_us": 600},
            {"at_s": 3, "pulse_rate_hz": 100, "phase_duration_us": 200},
        ],
    },
    "tens-modulated": {
        "mode": "frequency-width-modulated", "pulse_rate_hz": 125, "phase_duration_us": 100,
        "duration_s": 1800, "cycle_s": 12,
        "points": [
            {"at_s": 0, "pulse_rate_hz": 125, "phase_duration_us": 100},
            {"at_s": 6, "pulse_rate_hz": 2, "phase_duration_us": 200},
        ],
    },
    "tens-frequency-modulated": {
        "mode": "frequency-modulated", "pulse_rate_hz": 80, "phase_duration_us": 100,
        "duration_s": 1800, "cycle_s": 12,
        "points": [{"at_s": 0, "pulse_rate_hz": 80}, {"at_s": 6, "pulse_rate_hz": 120}],
    },
    "tens-width-modulated": {
        "mode": "width-modulated", "pulse_rate_hz": 80, "phase_duration_us": 330,
        "duration_s": 1800, "cycle_s": 1,
        "points": [{"at_s": 0, "phase_duration_us": 330}, {"at_s": 0.5, "phase_duration_us": 200}],
    },
    "nmes-quadriceps": {
        "mode": "nmes", "pulse_rate_hz": 50, "phase_duration_us": 250, "duration_s": 990,
        "cycle": {"ramp_up_s": 3, "on_s": 15, "ramp_down_s": 3, "off_s": 45},
    },
    "fes-drop-foot": {
        "mode": "fes", "pulse_rate_hz": 30, "phase_duration_us": 400, "duration_s": 300,
        "cycle": {"ramp_up_s": 0.5, "on_s": 1.5, "ramp_down_s": 0.5, "off_s": 2.5},
    },
}  # fmt: skip

# At the amplitude ceiling of the first channel, worst sliding second, smallest pad allowed:
# ceiling mA, charge of a phase uC, RMS mA, average mA, pad cm2.
WORST = {
    "dpn-conventional": (40, 8.0, 40 * sqrt(80 * 400e-6), 40 * 80 * 400e-6, 25),
    "tens-low-rate": (60, 12.0, 60 * sqrt(4 * 400e-6), 60 * 4 * 400e-6, 16),
    "tens-burst": (60, 12.0, 60 * sqrt(20 * 400e-6), 60 * 20 * 400e-6, 16),
    "tens-brief-intense": (60, 12.0, 60 * sqrt(100 * 400e-6), 60 * 100 * 400e-6, 16),
    # 99 pulses of 100 Hz and, at the turn, the first of 2 Hz: 99 x 400 us + 1 x 1200 us
    "tens-dense-disperse": (15, 9.0, 15 * sqrt(40.8e-3), 15 * 40.8e-3, 6),
    "nmes-quadriceps": (100, 25.0, 100 * sqrt(50 * 500e-6), 100 * 50 * 500e-6, 50),
    "nmes-alternating": (100, 25.0, 100 * sqrt(50 * 500e-6), 100 * 50 * 500e-6, 50),
    "nmes-simultaneous": (100, 25.0, 100 * sqrt(50 * 500e-6), 100 * 50 * 500e-6, 50),
    # 30 pulses of 33 333 us and the first 10 us of one more
    "fes-drop-foot": (70, 28.0, 70 * sqrt(24_010e-6), 70 * 24_010e-6, 25),
    "microcurrent-balanced": (0.8, 0.8, 0.8 * sqrt(0.2), 0.8 * 0.2, 16),
    # A quarter sine of 199, 566, 848, 1000 permille at 30 mA: 5.9, 16.9, 25.4, 30.0 mA, 78.2 in
    # all, squares 1865.58; 4 of 25 us each make a period, and 25 periods x 50 a second.
    "russian-quadriceps": (30, 2 * 78.2 * 25e-3, sqrt(1865.58 * 0.125), 78.2 * 0.125, 50),
    # Halves of 309, 809, 1000, 809, 309 permille; holds of 158, 460, 716, 902, 1000 permille and
    # back give 2.3, 6.9, 10.7, 13.5, 15.0 mA. The sums of the five steps are 7.3, 22.1, 34.5, 43.5
    # and 48.4 mA, 155.8 in all; of squares 12.75, 116.93, 284.19, 453.49 and 560.14, 1427.5 in
    # all. Each hold has 8 halves of 25 us a step, comes twice in a beat, 100 times a second: 0.04.
    "interferential-premodulated": (
        15, 48.4 * 25e-3, sqrt(1427.5 * 0.04), 155.8 * 0.04, 25,
    ),
}  # fmt: skip


@cache
def worst(profile_id: str) -> Measurement:
    """Render the first channel alone at its ceiling, 1 MHz, and measure it.

    Long enough for the ramp up, every hold and a second more, and ending between two pulses.
    """
    program, text = compile_profile(find(profile_id).profile), raw(profile_id)
    stimulus = text["stimulus"]
    ceiling_ua = round(text["channels"][0]["amplitude_ceiling_ma"] * 1000)
    amplitudes_ua = [ceiling_ua] + [0] * (len(program.channels) - 1)
    length_s: int = ceil(
        stimulus.get("cycle", {}).get("ramp_up_s", 0)
        + stimulus.get("modulation", {}).get("cycle_s", 0)
    )
    duration_us = length_s * 1_000_000 + 1_012_000
    # In a weak sine the lowest steps are none at all: no silence between two pulses, though.
    gap_us = stimulus["pulse"].get("interphase_gap_us", stimulus["pulse"].get("period_us", 0))
    meter = Meter(1_000_000, gap_us, phases_per_pulse=2)
    for chunk in iter_chunks(program, amplitudes_ua, 100, 1_000_000, duration_us):
        meter.add(chunk[0])
    return meter.measurement()


def test_every_mode_has_its_profile() -> None:
    assert (set(STIMULI) | set(WORST)) <= set(IDS)
    assert shipped_ids() == IDS
    assert {raw(profile_id)["mode"] for profile_id in IDS} == {
        "conventional", "low-rate", "burst", "brief-intense", "frequency-modulated",
        "width-modulated", "frequency-width-modulated", "amplitude-modulated", "strength-duration",
        "dense-disperse", "randomised", "tibial-nerve", "nmes", "fes", "russian", "interferential",
        "microcurrent",
    }  # fmt: skip


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
    assert stimulus.get("modulation", {}).get("points") == expected.get("points")
    assert stimulus.get("modulation", {}).get("cycle_s") == expected.get("cycle_s")
    assert text["session"]["duration_s"] == expected["duration_s"]


def test_the_sines_are_those_of_the_sources() -> None:
    """2500 Hz in 50 bursts a second of half the time, 10 s of every minute; 4000 Hz at 100 Hz."""
    russian, beating = (
        raw(name)["stimulus"] for name in ("russian-quadriceps", "interferential-premodulated")
    )
    assert russian["pulse"] == {"waveform": "stepped-sine", "period_us": 400, "step_count": 16}
    assert russian["burst"] == {"pulses_per_burst": 25, "burst_rate_hz": 50}
    assert russian["cycle"] == {"ramp_up_s": 1, "on_s": 8, "ramp_down_s": 1, "off_s": 50}
    assert beating["pulse"] == {"waveform": "stepped-sine", "period_us": 250, "step_count": 10}
    assert beating["modulation"] == {"change": "beat", "cycle_s": 0.01, "hold_s": 0.001}


@pytest.mark.parametrize("profile_id", sorted(WORST))
def test_figures_at_the_ceiling_are_those_worked_out_by_hand(profile_id: str) -> None:
    ceiling_ma, charge_uc, rms_ma, average_ma, area_cm2 = WORST[profile_id]
    text = raw(profile_id)
    assert text["channels"][0]["amplitude_ceiling_ma"] == ceiling_ma
    assert text["electrode"]["minimum_area_cm2"] == area_cm2
    figures = worst(profile_id)
    assert figures.peak_ua == ceiling_ma * 1000
    assert figures.phase_charge_pc == pytest.approx(charge_uc * 1e6)
    assert figures.pulse_net_charge_pc == 0
    assert figures.rms_ua == pytest.approx(rms_ma * 1000)
    assert figures.average_ua == pytest.approx(average_ma * 1000)


def test_the_modulated_profile_is_worst_around_its_fastest_hold() -> None:
    """60 mA: the worst second holds less than 125 pulses of 108 us, more than 110 of 100 us."""
    figures = worst("tens-modulated")
    assert figures.peak_ua == 60_000
    assert figures.phase_charge_pc == 12e6  # 60 mA x 200 us, at 2 Hz
    assert figures.pulse_net_charge_pc == 0
    assert 60_000 * sqrt(110 * 200e-6) < figures.rms_ua < 60_000 * sqrt(125 * 216e-6)
    assert figures.shortest_period_us == 8000  # 125 Hz


@pytest.mark.parametrize("profile_id", IDS)
def test_ceilings_stay_within_every_limit_at_the_smallest_pad(profile_id: str) -> None:
    """The layered limits of SAFETY.md, typed in again: amplitude to power density."""
    text = raw(profile_id)
    figures = worst(profile_id)
    longest_us = max(
        sum(duration_us for duration_us, share in held.phases if share > 0)
        for held in settings_of(text["stimulus"])
    )
    area_cm2 = text["electrode"]["minimum_area_cm2"]
    is_motor = text["mode"] in ("nmes", "fes", "russian")
    assert figures.peak_ua <= (100_000 if is_motor else 80_000)
    assert longest_us <= 1000
    assert figures.phase_charge_pc <= 20e6 + 28e3 * longest_us
    assert figures.pulse_net_charge_pc == 0
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


def test_what_no_person_may_have_says_so() -> None:
    """Sines, microcurrent and functional stimulation stay on the bench, each with its reason."""
    for profile_id in IDS:
        text = raw(profile_id)
        is_for_bench = text["mode"] in ("fes", "russian", "interferential", "microcurrent")
        assert ("bench_only_reason" in text) is is_for_bench, profile_id


def test_thighs_in_turn_never_contract_together() -> None:
    """14 s of contraction, 1 s of rest, the other thigh: 2 x 15 s are one cycle."""
    text = raw("nmes-alternating")
    cycle = text["stimulus"]["cycle"]
    contraction_s = cycle["ramp_up_s"] + cycle["on_s"] + cycle["ramp_down_s"]
    assert contraction_s == 14
    assert sum(cycle.values()) == 30
    assert [channel.get("cycle_offset_s", 0) for channel in text["channels"]] == [0, 15]
    together = raw("nmes-simultaneous")
    assert [channel.get("cycle_offset_s", 0) for channel in together["channels"]] == [0, 0]
    assert together["session"]["duration_s"] == 15 * sum(together["stimulus"]["cycle"].values())
