"""The kernel's figures against an enumeration of every pulse, and against clinical.md."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.safety.figures import figures, largest_charge_rise, pulses_in_second
from firmware_protocol.program import (
    ChannelProgram,
    Cycle,
    Keyframe,
    Phase,
    PulseProgram,
    check_form,
)
from tests.safety import oracle, strategies
from tests.safety.samples import channel, pair

AMPLITUDES = st.integers(0, 100_000)
STEPS = st.sampled_from([1, 7, 100])


def horizon_us(played: ChannelProgram) -> int:
    """Return how long to look: until every slow part has come round at least twice."""
    return 3_500_000 + played.pulse_offset_us + 2000 * played.keyframe_cycle_ms


def excess_pc(charges: Iterable[tuple[int, int]]) -> int:
    """Return the most that 28 uC/ms do not excuse."""
    return max(charge_pc - 28_000 * duration_us for charge_pc, duration_us in charges)


@pytest.mark.hazard(2)
@given(strategies.channels(), AMPLITUDES, STEPS)
@settings(max_examples=80)
def test_figures_are_never_below_what_any_second_holds(
    played: ChannelProgram, amplitude_ua: int, step_ua: int
) -> None:
    check_form(PulseProgram((played,)))
    pulses = oracle.delivered(played, amplitude_ua, step_ua, horizon_us(played))
    worst = figures(played, amplitude_ua, step_ua)
    assert worst.second_square >= oracle.worst_by_onset(pulses, "square")
    assert worst.second_absolute_pc >= oracle.worst_by_onset(pulses, "charge")
    if pulses:
        assert worst.second_square >= oracle.worst_by_current(pulses, 2)
        assert worst.second_absolute_pc >= oracle.worst_by_current(pulses, 1)
        assert worst.pulse_square >= max(pulse.square for pulse in pulses)
        assert worst.net_charge_pc == max(abs(pulse.net) for pulse in pulses) == 0
        phases = [phase for pulse in pulses for phase in pulse.phases]
        assert worst.peak_ua >= max(abs(current) for *_, current in phases)
        stretches = [stretch for pulse in pulses for stretch in pulse.stretches]
        assert max(pc for pc, _ in worst.phase_charges) >= max(pc for pc, _, _ in stretches)
        assert excess_pc(worst.phase_charges) >= excess_pc(
            [(strong_pc, strong_us) for _, strong_pc, strong_us in stretches]
        )


@given(strategies.channels(keyframes_max=0, cycles=False), AMPLITUDES, STEPS)
@settings(max_examples=80)
def test_figures_are_exact_where_a_channel_has_one_setting(
    played: ChannelProgram, amplitude_ua: int, step_ua: int
) -> None:
    pulses = oracle.delivered(played, amplitude_ua, step_ua, horizon_us(played))
    worst = figures(played, amplitude_ua, step_ua)
    assert worst.second_square == oracle.worst_by_onset(pulses, "square")
    assert worst.second_absolute_pc == oracle.worst_by_onset(pulses, "charge")
    assert worst.pulse_square == pulses[0].square
    phases = pulses[0].phases
    assert worst.peak_ua == max(abs(current) for *_, current in phases)
    assert worst.phase_min_us == min(end - start for start, end, _ in phases)
    assert worst.phase_max_us == max(duration_us for _, duration_us in pulses[0].runs)
    assert worst.pulse_max_us == phases[-1][1] - phases[0][0]
    stretches = pulses[0].stretches
    assert max(pc for pc, _ in worst.phase_charges) == max(pc for pc, _, _ in stretches)
    strong = [(strong_pc, strong_us) for _, strong_pc, strong_us in stretches]
    assert excess_pc(worst.phase_charges) == max(0, excess_pc(strong))


def test_a_phase_cut_in_steps_is_one_phase() -> None:
    """Four steps of 100 us one way, with a gap among them, are 400 us and the sum of charges."""
    phases = (Phase(1, 500), Phase(1, 1000), Phase(50, 0), Phase(1, 500), Phase(2, -1000))
    played = ChannelProgram(phases, 100, 10_000)
    worst = figures(played, 20_000, 100)
    # 10, 20 and 10 mA for 100 us each are 4 uC in 300 us; 20 mA back for 200 us as much.
    assert {(0, 0), (4_000_000, 300), (4_000_000, 200)} == set(worst.phase_charges)
    assert (worst.phase_min_us, worst.phase_max_us) == (100, 300)


def test_a_pulse_is_a_ring_and_its_ends_flow_together() -> None:
    """Half a phase first and half last are one phase where pulses follow each other."""
    played = ChannelProgram((Phase(1, 1000), Phase(2, -1000), Phase(1, 1000)), 100, 400)
    worst = figures(played, 20_000, 100)
    assert set(worst.phase_charges) == {(0, 0), (4_000_000, 200)}
    assert (worst.phase_min_us, worst.phase_max_us) == (100, 200)


def test_a_second_of_100_hz_at_20_ma() -> None:
    worst = figures(channel(), 20_000, 100)
    assert worst.second_square == 100 * 2 * 200 * 20_000**2
    assert worst.rms_ua == 4000
    assert worst.average_ua == 800
    assert set(worst.phase_charges) == {(0, 0), (4_000_000, 200)}
    assert worst.pulse_energy_uj == 80
    assert (worst.phase_min_us, worst.phase_max_us, worst.pulse_max_us) == (200, 200, 400)


def test_rms_average_and_energy_are_rounded_up() -> None:
    worst = figures(channel(), 20_001, 1)
    assert worst.rms_ua == 4001  # 4000.2
    assert worst.average_ua == 801  # 800.04
    assert worst.pulse_energy_uj == 81  # 80.008


def test_figures_at_zero_are_zero() -> None:
    worst = figures(channel(), 0, 100)
    assert (worst.peak_ua, worst.rms_ua, worst.average_ua, worst.pulse_energy_uj) == (0, 0, 0, 0)


def test_the_worst_keyframe_counts_for_each_figure() -> None:
    frames = (Keyframe(0, 1000, 100, 20_000), Keyframe(500, 400, 500, 8_000))
    played = ChannelProgram((Phase(1, 1000), Phase(1, -1000)), 100, 20_000, keyframes=frames,
                            keyframe_cycle_ms=1000)  # fmt: skip
    worst = figures(played, 10_000, 100)
    assert worst.peak_ua == 10_000
    assert (worst.phase_min_us, worst.phase_max_us, worst.pulse_max_us) == (100, 500, 1000)
    # 10 mA x 100 us = 1 uC; 4 mA x 500 us = 2 uC.
    assert set(worst.phase_charges) == {(0, 0), (1_000_000, 100), (2_000_000, 500)}
    # 2 x 100 us x 10 mA squared = 2e10 at 50 Hz; 2 x 500 us x 4 mA squared = 1.6e10 at 125 Hz.
    assert worst.pulse_square == 20_000_000_000
    assert worst.second_square == 20_000_000_000 + 125 * 16_000_000_000


@pytest.mark.parametrize(
    ("period_us", "count"),
    [(1_000_000, 1), (999_999, 2), (1_000_001, 1), (10_000, 100), (9_999, 101), (3_000, 334)],
)
def test_onsets_in_a_second_without_bursts(period_us: int, count: int) -> None:
    assert pulses_in_second(channel(period_us=period_us), period_us) == count


@pytest.mark.parametrize(
    ("per_burst", "burst_period_us", "count"),
    [
        (10, 500_000, 20),  # 2 bursts a second
        (10, 400_000, 30),  # a third burst fits whole into the last 200 ms
        (10, 480_000, 24),  # 40 ms of a third burst: 0, 10, 20, 30
        (10, 480_001, 24),
        (10, 479_999, 25),
        (10, 1_000_000, 10),
        (10, 3_000_000, 10),
        (200, 3_000_000, 100),  # a burst longer than a second
    ],
)
def test_onsets_in_a_second_of_bursts(per_burst: int, burst_period_us: int, count: int) -> None:
    played = channel(pulses_per_burst=per_burst, burst_period_us=burst_period_us)
    assert pulses_in_second(played, 10_000) == count


def test_on_phases_that_follow_each_other_at_once_are_counted() -> None:
    """1 ms on, nothing off, a pulse every 100 ms: each on-phase has one, 1000 a second."""
    played = channel(period_us=100_000, cycle=Cycle(0, 1, 0, 0))
    pulses = oracle.delivered(played, 10_000, 100, 2_000_000)
    assert oracle.worst_by_onset(pulses, "charge") == 1000 * 4_000_000
    assert figures(played, 10_000, 100).second_absolute_pc >= 1000 * 4_000_000


def test_bursts_begun_anew_by_on_phases_are_counted() -> None:
    """20 ms on, nothing off, a burst of 10 pulses each second: ten pulses in each 20 ms."""
    played = channel(
        period_us=2_000, pulses_per_burst=10, burst_period_us=1_000_000, cycle=Cycle(0, 20, 0, 0)
    )
    pulses = oracle.delivered(played, 10_000, 100, 2_000_000)
    assert oracle.worst_by_onset(pulses, "charge") == 500 * 4_000_000
    assert figures(played, 10_000, 100).second_absolute_pc >= 500 * 4_000_000


def test_on_phases_with_keyframes_that_follow_each_other_at_once_are_counted() -> None:
    frames = (Keyframe(0, 1000, 200, 100_000), Keyframe(50, 1000, 100, 100_000))
    played = ChannelProgram(pair(1), 200, 100_000, cycle=Cycle(0, 1, 0, 0), keyframes=frames,
                            keyframe_cycle_ms=100)  # fmt: skip
    assert figures(played, 10_000, 100).second_absolute_pc >= 1000 * 4_000_000


def test_an_off_time_of_a_period_adds_nothing() -> None:
    """A pulse of 1 ms and 9 ms of rest are one period of 10 ms: no more than 100 a second."""
    resting = channel(gap_us=600, cycle=Cycle(0, 100, 0, 9))
    assert resting.pulse_us(1) == 1_000
    assert pulses_in_second(resting, 10_000) == 100
    late = channel(gap_us=500, cycle=Cycle(0, 100, 0, 9), pulse_offset_us=100)
    assert pulses_in_second(late, 10_000) == 100
    hurried = channel(gap_us=599, cycle=Cycle(0, 100, 0, 9))
    assert pulses_in_second(hurried, 10_000) == 110  # 1 s holds ten on-phases of 109 ms


def test_slow_bursts_before_quick_ones_are_counted() -> None:
    """A burst spread over 500 ms, then two of 50 ms: 25 + 50 + 50 pulses in one second."""
    frames = (Keyframe(0, 1000, 100, 10_000), Keyframe(500, 1000, 100, 1_000))
    played = ChannelProgram(pair(1), 100, 10_000, pulses_per_burst=50, burst_period_us=500_000,
                            keyframes=frames, keyframe_cycle_ms=1500)  # fmt: skip
    check_form(PulseProgram((played,)))
    pulses = oracle.delivered(played, 10_000, 100, 4_000_000)
    assert oracle.worst_by_onset(pulses, "charge") >= 125 * 2_000_000
    assert figures(played, 10_000, 100).second_absolute_pc >= 125 * 2_000_000


def test_keyframed_bursts_have_room_for_one_pulse_more() -> None:
    """Two bursts of ten a second, keyframes of one rate: twenty pulses, and one for the seam."""
    frames = (Keyframe(0, 1000, 100, 10_000), Keyframe(500, 500, 100, 10_000))
    played = ChannelProgram(pair(1), 100, 10_000, pulses_per_burst=10, burst_period_us=500_000,
                            keyframes=frames, keyframe_cycle_ms=1000)  # fmt: skip
    assert figures(played, 10_000, 100).second_absolute_pc == 21 * 2_000_000


@pytest.mark.parametrize(
    ("rate_hz", "phase_us", "peak_ma"),
    [(100, 100, 354), (80, 200, 280), (120, 300, 186), (50, 400, 250), (125, 400, 158)],
)
def test_peaks_that_reach_50_ma_rms_are_those_of_the_clinical_table(
    rate_hz: int, phase_us: int, peak_ma: int
) -> None:
    """clinical.md 2.3, electrodes of 25 cm2 and larger; the table is rounded to 1 mA."""
    worst = figures(channel(phase_us, 1_000_000 // rate_hz), peak_ma * 1000, 1)
    assert worst.rms_ua == pytest.approx(50_000, rel=0.004)
    assert worst.rms_ua == pytest.approx(
        peak_ma * 1000 * sqrt(2 * phase_us * 1e-6 * rate_hz), rel=0.005
    )


@given(st.lists(st.tuples(st.integers(1, 150), st.integers(0, 1000), st.integers(1, 500)),
                min_size=2, max_size=8))  # fmt: skip
@settings(max_examples=100)
def test_a_charge_rise_is_the_worst_of_every_pair_of_holds(
    held: list[tuple[int, int, int]],
) -> None:
    """Between two holds a ramp of 500 ms would add 2 permille each ms, of 100 ms at most a hold."""
    held[0] = (held[0][0], 1000, held[0][2])
    starts = [sum(ms for ms, *_ in held[:index]) for index in range(len(held))]
    frames = tuple(
        Keyframe(at_ms, *row[1:], 10_000) for at_ms, row in zip(starts, held, strict=True)
    )
    played = channel(keyframes=frames, keyframe_cycle_ms=starts[-1] + held[-1][0])
    charges = [share * us for _, share, us in held]
    worst = Fraction(0)
    for first in range(len(held)):
        for steps in range(1, len(held)):
            between = [held[(first + step) % len(held)][0] for step in range(1, steps)]
            rise = charges[(first + steps) % len(held)] - charges[first]
            leap = Fraction(rise * 1000, max(charges)) - sum(2 * min(ms, 100) for ms in between)
            worst = max(worst, leap)
    assert largest_charge_rise(played) == ceil(worst)
