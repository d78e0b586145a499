"""How a setpoint moves: from zero, up with the pulses only, down at once; every number by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest

from firmware_protocol.messages import (
    Contact,
    CyclePhase,
    DeviceState,
    Event,
    EventCode,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.simulator.host import BIPHASIC, MS, Host, S, one_channel, session_limits


def setpoint(host: Host, channel: int = 1) -> int:
    return host.status.channels[channel - 1].setpoint_ua


def contact(host: Host) -> Contact:
    return host.status.channels[0].contact


def cycle_phase(host: Host) -> CyclePhase:
    return host.status.channels[0].cycle_phase


def follow(host: Host, duration_us: int, *targets_ua: int) -> list[tuple[int, int, CyclePhase]]:
    """Keep RUNNING; return (us, setpoint, cycle phase) of channel 1 every 10 ms."""
    seen = []
    for passed_us in range(0, duration_us, 10 * MS):
        if passed_us % (50 * MS) == 0:
            host.drive(WantedState.RUNNING, *targets_ua)
        host.pass_time(10 * MS)
        row = host.device._status().channels[0]
        seen.append((host.now_us, row.setpoint_ua, row.cycle_phase))
    return seen


def test_output_starts_from_zero_and_rises_by_the_slew() -> None:
    """2 mA/s at 100 Hz: 20 uA a pulse, none at the first; 100 uA steps from 50 ms on."""
    host = Host()
    host.start(one_channel())
    host.keep(300 * MS, 50_000)
    expected = [(at_ms * MS, at_ms // 50 * 100) for at_ms in range(50, 301, 10)]
    assert host.trace.amplitudes() == expected


@pytest.mark.hazard(4)
def test_no_amplitude_lies_above_slew_times_time() -> None:
    """At odd rates the fraction is carried, never rounded up: after t it is floor(slew x t)."""
    host = Host()
    start_us = host.start(one_channel(7_777), session_limits(setpoint_slew_ua_per_s=1_999))
    host.keep(15 * S, 50_000)
    amplitudes = host.trace.amplitudes()
    assert amplitudes
    for onset_us, amplitude_ua in amplitudes:
        assert amplitude_ua * S <= 1_999 * (onset_us - start_us)
    onset_us, amplitude_ua = amplitudes[-1]
    # One second of hold at 2 mA, and no more than the carried fraction of a uA lost.
    held_us = 1_000_000 + 2 * 7_777
    assert amplitude_ua >= 1_999 * (onset_us - held_us) // S - 100


def test_down_is_at_once_and_up_again_from_there() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(1 * S, 1_500)
    assert setpoint(host) == 1_500
    host.drive(WantedState.RUNNING, 700)
    assert setpoint(host) == 700
    host.drive(WantedState.RUNNING, 1_500)
    assert setpoint(host) == 700
    host.pass_time(10 * MS)
    host.drive(WantedState.RUNNING, 1_500)
    assert setpoint(host) == 720


@pytest.mark.hazard(5)
def test_a_pause_forgets_the_setpoint() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(1 * S, 1_500)
    host.drive(WantedState.ARMED)
    host.drive(WantedState.RUNNING)
    assert host.status.state is DeviceState.RUNNING
    before = len(host.trace.pulses)
    host.keep(40 * MS, 1_500)
    assert len(host.trace.pulses) == before
    assert setpoint(host) <= 80


@pytest.mark.hazard(42)
def test_below_5_hz_each_pulse_raises_by_at_most_one_step() -> None:
    # 2 Hz: 2 mA/s x 0.5 s would be 1 mA; the session's step is 300 uA.
    host = Host()
    host.start(one_channel(500_000), session_limits(step_ua=300))
    host.keep(3_400 * MS, 1_500)
    assert host.trace.amplitudes() == [
        (500 * MS, 300), (1_000 * MS, 600), (1_500 * MS, 900),
        (2_000 * MS, 1_200), (2_500 * MS, 1_500), (3_000 * MS, 1_500),
    ]  # fmt: skip


def test_just_below_5_hz_the_slew_binds_where_it_is_lower_than_the_step() -> None:
    # 1 mA/s over 200.001 ms is 200 uA, below the step of 1 mA; at 5 Hz the slew alone holds.
    for period_us in (200_001, 200_000):
        host = Host()
        host.start(one_channel(period_us), session_limits(setpoint_slew_ua_per_s=1_000))
        host.keep(650 * MS, 1_500)
        assert [ua for _, ua in host.trace.amplitudes()] == [200, 400, 600]


def test_at_5_hz_the_step_does_not_bind() -> None:
    host = Host()
    host.start(one_channel(200_000), session_limits(step_ua=100))
    host.keep(650 * MS, 1_500)
    assert [ua for _, ua in host.trace.amplitudes()] == [400, 800, 1_200]


CYCLED = PulseProgram((ChannelProgram(BIPHASIC, 1, 20_000, cycle=Cycle(500, 1_000, 500, 1_000)),))


@pytest.mark.hazard(42)
def test_no_rise_outside_the_plateau() -> None:
    """In ramps and off time the setpoint stands still; nothing asked there arrives as a jump."""
    host = Host()
    host.start(CYCLED)
    seen = follow(host, 9 * S, 50_000)
    for (_, before, _), (at_us, after, phase) in pairwise(seen):
        if after > before:
            # The pulse that raised it began at or up to 10 ms before this moment.
            assert phase is CyclePhase.PLATEAU or (at_us - 10 * MS) % (3 * S) < 1_500 * MS
        assert after - before <= 40
    # The on-phase begins at 0; its plateau runs from 0.5 s to 1.5 s: 50 pulses of 40 uA = 2 mA.
    assert seen[48][1] == 0
    assert seen[160][1] == 2_000
    assert seen[348][1] == 2_000


@pytest.mark.hazard(42)
def test_each_cycle_raises_by_at_most_its_share() -> None:
    host = Host()
    host.start(CYCLED, session_limits(rise_per_cycle_ua=300))
    seen = follow(host, 9 * S, 50_000)
    ends = [seen[index][1] for index in (299, 599, 899)]
    assert ends == [300, 600, 900]


def test_a_fall_within_a_cycle_gives_no_new_share() -> None:
    host = Host()
    host.start(CYCLED, session_limits(rise_per_cycle_ua=300))
    host.keep(700 * MS, 300)
    assert setpoint(host) == 300
    host.drive(WantedState.RUNNING, 100)
    host.keep(800 * MS, 300)
    assert setpoint(host) == 100


def test_the_first_pulse_of_an_on_phase_does_not_raise() -> None:
    """Without a ramp up the plateau begins with the on-phase, but the off time earns nothing."""
    host = Host()
    program = PulseProgram((ChannelProgram(BIPHASIC, 1, 20_000, cycle=Cycle(0, 100, 0, 900)),))
    host.start(program)
    host.keep(2_100 * MS, 50_000)
    # Onsets at 0, 20, 40, 60, 80 ms of each second: four rises of 40 uA.
    assert host.trace.amplitudes() == [
        (60 * MS, 100), (80 * MS, 100),
        (1_000 * MS, 100), (1_020 * MS, 200), (1_040 * MS, 200), (1_060 * MS, 200),
        (1_080 * MS, 300),
        (2_000 * MS, 300), (2_020 * MS, 300), (2_040 * MS, 400), (2_060 * MS, 400),
        (2_080 * MS, 400),
    ]  # fmt: skip


def test_no_rise_in_a_silent_keyframe() -> None:
    """Where a modulation delivers nothing, a rise waits for the next pulse that is felt."""
    host = Host()
    keyframes = (Keyframe(0, 1000, 1, 10_000), Keyframe(500, 0, 1, 10_000))
    host.start(one_channel(keyframes=keyframes, keyframe_cycle_ms=2_000))
    host.keep(1_900 * MS, 50_000)
    # 49 rises of 20 uA up to 490 ms, then silence.
    assert setpoint(host) == 980
    host.keep(150 * MS, 50_000)
    # Six pulses from 2.00 to 2.05 s, each worth its own 10 ms.
    assert setpoint(host) == 980 + 6 * 20


def test_the_hold_at_2_ma_ends_when_contact_is_proven() -> None:
    """5 pulses and 1 s: at 100 Hz the first judged pulse is at 1.0 s, so good is at 2.0 s."""
    host = Host()
    host.start(one_channel())
    host.keep(1_990 * MS, 20_000)
    assert max(ua for _, ua in host.trace.amplitudes()) == 2_000
    assert contact(host) is Contact.UNKNOWN
    host.keep(510 * MS, 20_000)
    (good,) = (e for e in host.of(Event) if e.code is EventCode.CONTACT_GOOD)
    assert (good.tick_ms, good.channel, good.detail) == (2_000, 0, 500)
    assert contact(host) is Contact.GOOD
    # 50 pulses after 2.0 s, 20 uA each.
    assert setpoint(host) == 2_980
    assert dict(host.trace.amplitudes())[2_050 * MS] == 2_100


def test_slow_pulses_prove_contact_with_five_of_them() -> None:
    # 2 Hz, 1 mA a pulse: 2 mA at 1.0 s, the fifth judged pulse at 3.0 s; the next at 3.5 s rises.
    host = Host()
    host.start(one_channel(500_000))
    host.keep(4_100 * MS, 20_000)
    (good,) = (e for e in host.of(Event) if e.code is EventCode.CONTACT_GOOD)
    assert good.tick_ms == 3_000
    assert [ua for _, ua in host.trace.amplitudes()] == [
        1_000, 2_000, 2_000, 2_000, 2_000, 2_000, 3_000, 4_000,
    ]  # fmt: skip


def test_the_hold_lies_on_the_grid_at_or_above_2_ma() -> None:
    """2 mA lies on a grid of 400 uA; on one of 800 uA the hold is 2.4 mA, so that it is judged."""
    for phases, hold_ua in (
        ((Phase(1, 1000), Phase(4, -250)), 2_000),
        ((Phase(1, 1000), Phase(8, -125)), 2_400),
    ):
        host = Host()
        channel = ChannelProgram(phases, 100, 10_000)
        host.start(PulseProgram((channel,)))
        host.keep(1_900 * MS, 20_000)
        assert setpoint(host) == hold_ua
        assert max(ua for _, ua in host.trace.amplitudes()) == hold_ua
        host.keep(1_000 * MS, 20_000)
        assert contact(host) is Contact.GOOD


def test_channels_rise_independently() -> None:
    host = Host()
    apart = ChannelProgram(BIPHASIC, 1, 10_000, pulse_offset_us=5_000)
    host.start(PulseProgram((ChannelProgram(BIPHASIC, 1, 10_000), apart)))
    host.keep(1 * S, 500, 1_500)
    assert [row.setpoint_ua for row in host.status.channels] == [500, 1_500]
    assert host.trace.onsets(1)[:2] == [50 * MS, 60 * MS]
    assert host.trace.onsets(2)[:2] == [55 * MS, 65 * MS]
    # Of pulses with current: 96 of 100 and 95 of 100, from 50 and 55 ms on.
    assert [row.pulse_count for row in host.status.channels] == [
        len(host.trace.onsets(1)), len(host.trace.onsets(2)),
    ]  # fmt: skip


def test_status_reports_the_cycle_and_the_highest_peak_since_the_last() -> None:
    host = Host()
    host.start(one_channel())
    assert cycle_phase(host) is CyclePhase.PLATEAU
    host.keep(1 * S, 1_500)
    host.drive(WantedState.RUNNING, 1_500)
    assert host.status.channels[0].peak_ua == 1_500
    host.drive(WantedState.RUNNING, 400)
    # No pulse since the last Status: that of the last pulse.
    assert host.status.channels[0].peak_ua == 1_500
    host.pass_time(20 * MS)
    host.drive(WantedState.RUNNING, 400)
    assert host.status.channels[0].peak_ua == 400
    host.drive(WantedState.RUNNING, 0)
    assert host.status.channels[0].peak_ua == 0
    host.drive(WantedState.ARMED)
    assert cycle_phase(host) is CyclePhase.IDLE


def test_no_rise_in_a_keyframe_too_weak_to_be_felt() -> None:
    """3 s at full share, then 30 s at 1 permille: 2 mA x 0.001 lies below the step of 0.1 mA."""
    channel = ChannelProgram(
        BIPHASIC,
        1,
        10_000,
        keyframes=(Keyframe(0, 1000, 1, 10_000), Keyframe(3000, 1, 1, 10_000)),
        keyframe_cycle_ms=33_000,
    )
    host = Host()
    start_us = host.start(PulseProgram((channel,)))
    host.keep(2900 * MS, 2000)
    before_ua = host.status.channels[0].setpoint_ua
    host.keep(30 * S, 20_000)
    host.keep(300 * MS, 20_000)
    after = [ua for t_us, ua in host.trace.amplitudes() if t_us - start_us >= 33_000 * MS]
    # 0.1 s more at the first share, and the slew of 2 mA/s from there.
    assert after[0] <= before_ua + 400
