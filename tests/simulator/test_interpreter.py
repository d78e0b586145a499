"""The simulator's own interpreter, against onset lists and currents worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.simulator.interpreter import ChannelPlayer, pulse_shapes
from firmware_protocol.messages import CyclePhase
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase

MS = 1000
BIPHASIC = (Phase(200, 1000), Phase(200, -1000))


def player_of(channel: ChannelProgram) -> ChannelPlayer:
    return ChannelPlayer(channel, pulse_shapes(channel, 100))


def onsets(channel: ChannelProgram, until_us: int, run_us: int = 0) -> list[int]:
    """Return the onsets of every pulse that is started, up to a time."""
    player = player_of(channel)
    player.start(run_us)
    started = []
    while player.next_us <= until_us:
        onset_us = player.next_us
        if player.begin() is not None:
            started.append(onset_us)
    return started


def test_pulses_follow_at_the_period_after_the_offset() -> None:
    channel = ChannelProgram(BIPHASIC, 1, 25_000, pulse_offset_us=700)
    assert onsets(channel, 60_000) == [700, 25_700, 50_700]
    assert onsets(channel, 60_000 + 123, run_us=123) == [823, 25_823, 50_823]


def test_bursts_begin_at_their_own_period() -> None:
    channel = ChannelProgram(
        BIPHASIC, 1, 10_000, pulse_offset_us=500, pulses_per_burst=3, burst_period_us=100_000
    )
    assert onsets(channel, 210_000) == [
        500, 10_500, 20_500, 100_500, 110_500, 120_500, 200_500,
    ]  # fmt: skip


KEYFRAMES = (Keyframe(0, 1000, 1, 10_000), Keyframe(25, 500, 1, 40_000))


def test_the_period_of_the_onset_before_decides_the_next() -> None:
    # 0, 10, 20 ms at 10 ms; the onset at 30 ms is the first of the second keyframe (from 25 ms),
    # so 70 follows; 110 is 10 ms into the next modulation cycle, so 120 and 130 follow, then 170.
    channel = ChannelProgram(BIPHASIC, 1, 10_000, keyframes=KEYFRAMES, keyframe_cycle_ms=100)
    expected = [0, 10, 20, 30, 70, 110, 120, 130, 170]
    assert onsets(channel, 170 * MS) == [at_ms * MS for at_ms in expected]


def test_the_keyframe_clock_starts_at_the_pulse_offset() -> None:
    """Two channels that differ in their offset alone tick in step for ever."""
    channel = ChannelProgram(
        BIPHASIC, 1, 10_000, pulse_offset_us=5_000, keyframes=KEYFRAMES, keyframe_cycle_ms=100
    )
    expected = [5, 15, 25, 35, 75, 115, 125, 135, 175]
    assert onsets(channel, 175 * MS) == [at_ms * MS for at_ms in expected]


def test_a_keyframe_changes_phase_durations_and_share() -> None:
    channel = ChannelProgram(
        (Phase(2, 1000), Phase(50, 0), Phase(2, -1000)),
        100,
        10_000,
        keyframes=(Keyframe(0, 1000, 100, 10_000), Keyframe(10, 500, 150, 10_000)),
        keyframe_cycle_ms=20,
    )
    player = player_of(channel)
    first = player.begin()
    assert first is not None
    assert [duration for duration, _ in first.phases] == [200, 50, 200]
    assert player.amplitude_ua(9_999) == 9_900
    second = player.begin()
    assert second is not None
    # The gap stays 50 us; 9999 x 500 / 1000 = 4999, on the grid 4900.
    assert [duration for duration, _ in second.phases] == [300, 50, 300]
    assert player.amplitude_ua(9_999) == 4_900


CYCLE = Cycle(ramp_up_ms=20, on_ms=30, ramp_down_ms=20, off_ms=30, offset_ms=40)


def test_on_phases_repeat_after_the_cycle_offset() -> None:
    # On-phases last 70 ms from 40, 140, 240 ms; 75 ms into one nothing begins.
    channel = ChannelProgram(BIPHASIC, 1, 25_000, cycle=CYCLE)
    assert onsets(channel, 240_000) == [
        40_000, 65_000, 90_000, 140_000, 165_000, 190_000, 240_000,
    ]  # fmt: skip


def test_a_pulse_that_would_outlast_its_on_phase_is_not_started() -> None:
    cycle = Cycle(20, 30, 20, 30)
    # 2 x 34.8 ms + 0.4 ms of pulse = 70.0 ms: it just fits; one microsecond later it does not.
    assert onsets(ChannelProgram(BIPHASIC, 1, 34_800, cycle=cycle), 99_000) == [0, 34_800, 69_600]
    assert onsets(ChannelProgram(BIPHASIC, 1, 34_801, cycle=cycle), 99_000) == [0, 34_801]


def test_a_programme_that_never_fits_costs_one_step_a_cycle() -> None:
    channel = ChannelProgram(BIPHASIC, 1, 25_000, pulse_offset_us=90_000, cycle=Cycle(0, 70, 0, 30))
    player = player_of(channel)
    for due_us in (90_000, 190_000, 290_000, 390_000, 490_000):
        assert player.next_us == due_us
        assert player.begin() is None


def test_bursts_restart_with_each_on_phase() -> None:
    channel = ChannelProgram(
        BIPHASIC, 1, 10_000, pulses_per_burst=2, burst_period_us=40_000, cycle=Cycle(0, 70, 0, 30)
    )
    assert onsets(channel, 110_000) == [0, 10_000, 40_000, 50_000, 100_000, 110_000]


def test_ramps_scale_the_setpoint_and_plateau_is_told() -> None:
    # Period 10 ms: elapsed 0, 10 | 20, 30, 40 | 50, 60 ms; 10 mA x 10/20, full, 20/20, 10/20.
    player = player_of(ChannelProgram(BIPHASIC, 1, 10_000, cycle=Cycle(20, 30, 20, 30)))
    seen = []
    for _ in range(7):
        player.begin()
        seen.append((player.amplitude_ua(10_000), player.is_plateau, player.interval_us))
    assert seen == [
        (0, False, 0),
        (5_000, False, 10_000),
        (10_000, True, 10_000),
        (10_000, True, 10_000),
        (10_000, True, 10_000),
        (10_000, False, 10_000),
        (5_000, False, 10_000),
    ]
    player.begin()
    assert (player.on_phase_count, player.interval_us) == (2, 0)


def test_the_cycle_phase_is_told_at_any_time() -> None:
    player = player_of(ChannelProgram(BIPHASIC, 1, 25_000, cycle=CYCLE))
    player.start(1_000_000)
    times_ms = (0, 39, 40, 59, 60, 89, 90, 109, 110, 139, 140)
    names = "WAITING WAITING RAMP_UP RAMP_UP PLATEAU PLATEAU RAMP_DOWN RAMP_DOWN OFF OFF RAMP_UP"
    assert [player.cycle_phase(1_000_000 + at * MS) for at in times_ms] == [
        CyclePhase[name] for name in names.split()
    ]


def test_unequal_phases_use_the_grid_on_which_all_are_whole_steps() -> None:
    (shape,) = pulse_shapes(ChannelProgram((Phase(1, 1000), Phase(4, -250)), 100, 10_000), 100)
    assert shape.grid_ua == 400
    assert shape.amplitude_ua(10_399) == 10_000
    assert shape.currents_ua(10_000) == [10_000, -2_500]
    assert shape.currents_ua(shape.amplitude_ua(10_400)) == [10_400, -2_600]


def test_equal_and_opposite_pairs_round_towards_zero() -> None:
    phases = (Phase(1, 1000), Phase(1, -333), Phase(1, 333), Phase(1, -1000))
    (shape,) = pulse_shapes(ChannelProgram(phases, 100, 10_000), 100)
    assert shape.grid_ua == 100
    assert shape.currents_ua(1_000) == [1_000, -300, 300, -1_000]


@st.composite
def balanced_channels(draw: st.DrawFn) -> ChannelProgram:
    """Draw pulses without net charge: pairs, or a long weak phase against a short strong one."""
    if draw(st.booleans()):
        shares = draw(st.lists(st.integers(1, 1000), min_size=0, max_size=7))
        pairs = [Phase(draw(st.integers(1, 500)), share) for share in [1000, *shares]]
        phases = pairs + [Phase(p.duration, -p.amplitude_permille) for p in pairs]
        return ChannelProgram(tuple(draw(st.permutations(phases))), 1, 20_000)
    divisor = draw(st.sampled_from([2, 4, 5, 8, 10]))
    short = draw(st.integers(1, 100))
    phases = [Phase(short, 1000), Phase(short * divisor, -1000 // divisor)]
    return ChannelProgram(tuple(phases), 1, 20_000)


@pytest.mark.hazard(3)
@given(balanced_channels(), st.integers(0, 100_000), st.sampled_from([50, 100, 250]))
def test_every_pulse_is_balanced_and_agrees_with_the_contract(
    channel: ChannelProgram, setpoint_ua: int, step_ua: int
) -> None:
    """Two independent interpreters give the same currents, and their charge is exactly zero."""
    (shape,) = pulse_shapes(channel, step_ua)
    amplitude_ua = shape.amplitude_ua(setpoint_ua)
    currents = shape.currents_ua(amplitude_ua)
    assert shape.grid_ua == channel.grid_ua(step_ua)
    assert tuple(currents) == channel.phase_currents_ua(amplitude_ua, step_ua)
    assert 0 <= setpoint_ua - amplitude_ua < shape.grid_ua
    assert all(current % step_ua == 0 for current in currents)
    assert sum(current * us for current, (us, _) in zip(currents, shape.phases, strict=True)) == 0
