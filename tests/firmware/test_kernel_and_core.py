"""The host's kernel and the C gate, over the wire, give the same verdict at every limit.

The simulator's gate is asked too: its refusal must name the same limit, asked and allowed.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from estim.safety.bounds import ChannelBounds
from estim.safety.kernel import review_load
from estim.safety.verdict import ApprovedLoad
from estim.simulator.device import DeviceSettings
from firmware_protocol import codec, limits
from firmware_protocol.messages import (
    LimitsAccepted,
    ProgramAccepted,
    RefusalReason,
    Refused,
    SetLimits,
    Stop,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, PulseProgram
from firmware_protocol.program import Phase as PulsePhase
from tests.firmware.core import CoreGate, Lockstep, Twins
from tests.safety import strategies
from tests.safety.samples import NOW_US, program
from tests.safety.verdicts import ROWS, SETTINGS, bounds_for, hold_together, shapes
from tests.simulator.host import Host, session_limits

SHARED = [
    HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much,
]  # fmt: skip
PHASES = (Phase.reuse, Phase.generate)


@pytest.mark.hazard(1)
@given(strategies.programs(), ROWS, SETTINGS, st.data())
@settings(max_examples=60, suppress_health_check=SHARED, phases=PHASES)
def test_the_kernel_and_the_core_give_the_same_verdict_on_every_target(
    lockstep: Lockstep,
    played: PulseProgram,
    rows: list[ChannelBounds],
    own: DeviceSettings,
    data: st.DataObject,
) -> None:
    def gate_of(played: PulseProgram, session: SetLimits) -> CoreGate:
        return CoreGate(lockstep, own, played, session)

    hold_together(played, rows, own, data, gate_of)


@given(shapes(), st.sampled_from([10, 200]), st.sampled_from([500, 1000]))
@settings(max_examples=60, suppress_health_check=SHARED, phases=PHASES)
def test_the_kernel_and_the_core_take_the_same_shapes(
    lockstep: Lockstep, played: ChannelProgram, shortest_us: int, longest_us: int
) -> None:
    """Durations at their limits and one beside."""
    own = DeviceSettings(phase_min_us=shortest_us, phase_max_us=longest_us)
    within = bounds_for(own, ChannelBounds((), 2500))
    verdict = review_load(program(played), within, own.capabilities(), NOW_US)
    twins = Twins(lockstep, own)
    host = Host(own, wire=twins, device=twins.python)
    host.hello()
    answer = host.load(program(played))[0]
    assert isinstance(answer, ProgramAccepted) is isinstance(verdict, ApprovedLoad)


# Every limit of a session, at its compiled value and one count to each side.

SESSION_HEAD = ("setpoint_slew_ua_per_s", "rise_per_cycle_ua", "step_ua", "running_ms")
SESSION_ROW = ("amplitude_ua", "phase_charge_pc", "rms_ua", "average_ua")


@pytest.mark.parametrize("name", [*SESSION_HEAD, *SESSION_ROW])
@pytest.mark.parametrize("beside", [-1, 0, 1])
@pytest.mark.parametrize("is_lowest", [False, True])
def test_session_limits_are_taken_up_to_the_compiled_value_and_not_one_above(
    lockstep: Lockstep, name: str, beside: int, is_lowest: bool
) -> None:
    """On a device of 60 mA, whose own maximum stands for the compiled amplitude."""
    own = DeviceSettings(amplitude_max_ua=60_000)
    limit = limits.BY_NAME[name]
    lowest = limit.hard_min or 0
    highest = 60_000 if name == "amplitude_ua" else limit.maximum
    value = (lowest if is_lowest else highest) + beside
    if value < 0:
        pytest.skip("the wire has no such number")
    twins = Twins(lockstep, own)
    host = Host(own, wire=twins, device=twins.python)
    host.hello()
    sent = session_limits(2, **({"amplitude_ua": 60_000} | {name: value}))
    answer = host.set_limits(sent)[0]
    if lowest <= value <= highest:
        assert isinstance(answer, LimitsAccepted)
        return
    assert isinstance(answer, Refused)
    bound = highest if value > highest else lowest
    channel = 0 if name in SESSION_ROW else 255
    assert (answer.reason, answer.limit) == (RefusalReason.LIMIT, limit.wire_id)
    assert (answer.channel, answer.asked, answer.allowed) == (channel, value, bound)
    host.send(Stop())
    assert host.status.limits_digest == zlib.crc32(
        codec.encode_payload(session_limits(2, amplitude_ua=60_000))
    )


@pytest.mark.parametrize("channel", [0, 1, 3])
@pytest.mark.parametrize("name", SESSION_ROW)
def test_each_channel_has_limits_of_its_own(lockstep: Lockstep, channel: int, name: str) -> None:
    """One count above the compiled value in the row of one channel is refused for that channel."""
    own = DeviceSettings(channel_count=4)
    limit = limits.BY_NAME[name]
    rows = list(session_limits(4).channels)
    rows[channel] = replace(rows[channel], **{name: limit.maximum + 1})
    twins = Twins(lockstep, own)
    host = Host(own, wire=twins, device=twins.python)
    host.hello()
    (answer,) = host.set_limits(replace(session_limits(4), channels=tuple(rows)))
    assert isinstance(answer, Refused)
    assert (answer.limit, answer.channel) == (limit.wire_id, channel)


# Derived figures, worked out by hand: 2 x 200 us at 100 Hz.


@pytest.mark.parametrize(
    ("changed", "limit", "highest_ua"),
    [
        # Charge: 200 us x I at most 2 uC.
        ({"phase_charge_pc": 2_000_000}, limits.phase_charge_pc, 10_000),
        # RMS: sqrt(0.0004 x 100) = 0.2 of the amplitude.
        ({"rms_ua": 3_000}, limits.rms_ua, 15_000),
        # Average: 0.0004 x 100 = 0.04 of it.
        ({"average_ua": 300}, limits.average_ua, 7_500),
        ({"amplitude_ua": 9_900}, limits.amplitude_ua, 9_900),
    ],
)
def test_a_target_one_step_above_a_derived_limit_names_it(
    lockstep: Lockstep, changed: dict[str, int], limit: limits.Limit, highest_ua: int
) -> None:
    shape = (PulsePhase(200, 1000), PulsePhase(200, -1000))
    played = PulseProgram((ChannelProgram(shape, 1, 10_000),))
    gate = CoreGate(lockstep, DeviceSettings(), played, session_limits(2, **changed))
    assert gate.review_target(0, highest_ua) is None
    refused = gate.review_target(0, highest_ua + 100)
    assert refused is not None
    assert (refused.reason, refused.limit) == (RefusalReason.LIMIT, limit.wire_id)
    assert refused.allowed == next(iter(changed.values()))
    assert refused.asked > refused.allowed


@pytest.mark.parametrize(
    ("phases", "highest_ua"),
    [
        # One strong phase of 200 us: 20 uC + 28 uC/ms x 0.2 ms = 25.6 uC: 128 mA, so the amplitude
        # limit of 100 mA comes first. Of 1000 us: 48 uC: 48 mA.
        (((1000, 1000), (1000, -1000)), 48_000),
        # The same in two steps of 500 us: no more than one of 1000 us.
        (((500, 1000), (500, 1000), (1000, -1000)), 48_000),
        # Strong the other way alone: 400 us x I at most 20 uC + 28 uC/ms x 0.4 ms = 31.2 uC: 78 mA;
        # its recovery of 0.8 ms at half of it may carry 42.4 uC. The grid is 200 uA.
        (((400, -1000), (800, 500)), 78_100),
        (((800, 500), (400, -1000)), 78_100),
        # Parted by a gap, and round the end of the ring.
        (((500, 1000), (1000, -1000), (500, 1000)), 48_000),
    ],
)
def test_charge_is_held_to_the_rule_over_every_stretch(
    lockstep: Lockstep, phases: tuple[tuple[int, int], ...], highest_ua: int
) -> None:
    played = PulseProgram(
        (ChannelProgram(tuple(PulsePhase(d, a) for d, a in phases), 1, 1_000_000),)
    )
    gate = CoreGate(lockstep, DeviceSettings(), played, session_limits(2))
    assert gate.review_target(0, highest_ua) is None
    refused = gate.review_target(0, highest_ua + 100)
    assert refused is not None
    assert refused.limit == limits.phase_charge_pc.wire_id


# The worst second of bursts: the C core has it in closed form, the simulator counts.


@st.composite
def gathered(draw: st.DrawFn) -> ChannelProgram:
    """Build a channel whose bursts and keyframes gather pulses in every way, up to 65535 each."""
    phases = (PulsePhase(1, 1000), PulsePhase(1, -1000))
    count = draw(st.integers(1, 3))
    period = st.integers(100, 3_000) | st.sampled_from([100, 1_000, 9_999, 10_000, 333_333])
    periods_us = [draw(period) for _ in range(count)]
    per_burst = draw(st.sampled_from([0, 1, 2, 3, 7, 50, 999, 9_999, 10_000, 20_000]))
    per_burst = min(per_burst, 4 * 10**9 // max(periods_us))
    rest_us = draw(st.sampled_from([0, 1, 99, 7_000, 500_000, 999_999, 1_000_000, 3_000_001]))
    cycle = None
    if draw(st.booleans()):
        times = st.sampled_from([0, 1, 9, 333, 1000])
        cycle = Cycle(draw(times), max(1, draw(times)), draw(times), draw(times))
    frames = tuple(Keyframe(n, 1000, 10, period_us) for n, period_us in enumerate(periods_us))
    return ChannelProgram(
        phases, 10, periods_us[0], draw(st.sampled_from([0, 500])), per_burst,
        per_burst * max(periods_us) + rest_us if per_burst else 0, cycle, frames, count,
    )  # fmt: skip


@given(gathered(), st.integers(1, 400))
@settings(max_examples=150, suppress_health_check=SHARED, phases=PHASES)
def test_the_core_and_the_simulator_count_the_same_pulses_in_the_worst_second(
    lockstep: Lockstep, played: ChannelProgram, average_ua: int
) -> None:
    """The refusal tells the average that was asked, rounded up: 20 us x I x pulses / 1 s."""
    rows = {"average_ua": average_ua}
    own = DeviceSettings(amplitude_step_ua=1)
    gate = CoreGate(lockstep, own, PulseProgram((played,)), session_limits(2, **rows))
    refused = gate.review_target(0, 100_000)  # the twins compare the figures
    if refused is not None:
        assert refused.limit == limits.average_ua.wire_id


@given(gathered(), st.integers(1, 60))
@settings(max_examples=300, suppress_health_check=SHARED, phases=PHASES)
def test_slow_bursts_before_quick_ones_are_counted_alike(
    lockstep: Lockstep, played: ChannelProgram, average_ua: int
) -> None:
    """The same with two settings far apart and few pulses a burst."""
    fast, slow = played.pulse_period_us, 4 * played.pulse_period_us + 7
    per_burst = 2 + average_ua % 7
    frames = (Keyframe(0, 1000, 10, fast), Keyframe(1, 1000, 10, slow))
    slowed = replace(
        played, keyframes=frames, keyframe_cycle_ms=2, pulses_per_burst=per_burst,
        burst_period_us=per_burst * slow + 50_000 * (average_ua % 5),
    )  # fmt: skip
    own = DeviceSettings(amplitude_step_ua=1)
    gate = CoreGate(lockstep, own, PulseProgram((slowed,)), session_limits(2, average_ua=1))
    gate.review_target(0, 100_000)  # the twins compare the figures


@st.composite
def strong(draw: st.DrawFn) -> ChannelProgram:
    """Build a slow pulse of many phases, some strong and some weak, near the rule of charge."""
    halves = [PulsePhase(draw(st.integers(1, 3)), 1000)]
    for _ in range(draw(st.integers(0, 3))):
        halves.append(PulsePhase(draw(st.integers(1, 3)), draw(st.integers(150, 1000))))
    phases = [*halves, *(PulsePhase(h.duration, -h.amplitude_permille) for h in halves)]
    phases = draw(st.permutations(phases))
    with_gaps = phases[:1]
    for phase in phases[1:]:
        if draw(st.booleans()):
            with_gaps.append(PulsePhase(draw(st.integers(1, 100)), 0))
        with_gaps.append(phase)
    unit_us = draw(st.integers(20, 330))
    return ChannelProgram(tuple(with_gaps), unit_us, 2_000_000)


AROUND_THE_SLOPE_UA = st.sampled_from([27_999, 28_000, 28_001, 56_000, 100_000])


TARGETS_UA = st.lists(AROUND_THE_SLOPE_UA | st.integers(20_000, 100_000), min_size=8, max_size=8)


@pytest.mark.hazard(2)
@given(strong(), TARGETS_UA, st.sampled_from([48_000_000, 20_000_000, 3_000_000]))
@settings(max_examples=250, suppress_health_check=SHARED, phases=PHASES)
def test_charge_over_every_stretch_is_judged_alike(
    lockstep: Lockstep, played: ChannelProgram, targets_ua: list[int], charge_pc: int
) -> None:
    """Weak phases and weak turns among strong ones, one count around 28 mA: the same figures."""
    own = DeviceSettings(amplitude_step_ua=1)
    limits_sent = session_limits(2, phase_charge_pc=charge_pc)
    twins = Twins(lockstep, own)
    host = Host(own, wire=twins, device=twins.python)
    host.hello()
    host.set_limits(limits_sent)
    assume(isinstance(host.load(PulseProgram((played,)))[0], ProgramAccepted))
    host.drive(WantedState.ARMED)
    host.drive(WantedState.RUNNING)
    for target_ua in targets_ua:
        host.drive(WantedState.RUNNING, target_ua)


@pytest.mark.parametrize("index", [0, 3])
def test_a_target_found_good_once_is_judged_anew_under_lower_limits(
    lockstep: Lockstep, index: int
) -> None:
    """10 mA is taken, then only 5 mA are allowed, then another programme's charge forbids it."""
    shape = (PulsePhase(200, 1000), PulsePhase(200, -1000))
    played = PulseProgram(tuple(ChannelProgram(shape, 1, 10_000, 1_000 * n) for n in range(4)))
    gate = CoreGate(lockstep, DeviceSettings(channel_count=4), played, session_limits(4))
    assert gate.review_target(index, 10_000) is None
    gate.host.send(Stop())
    gate.host.set_limits(session_limits(4, amplitude_ua=5_000))
    gate.host.drive(WantedState.ARMED)
    gate.host.drive(WantedState.RUNNING)
    refused = gate.review_target(index, 10_000)
    assert refused is not None
    assert (refused.limit, refused.channel) == (limits.amplitude_ua.wire_id, index)
    assert gate.review_target(index, 5_000) is None
    gate.host.send(Stop())
    longer = (PulsePhase(1000, 1000), PulsePhase(1000, -1000))
    slow = PulseProgram(tuple(ChannelProgram(longer, 1, 10_000, 2_000 * n) for n in range(4)))
    gate.host.set_limits(session_limits(4, phase_charge_pc=2_000_000))
    gate.host.load(slow)
    gate.host.drive(WantedState.ARMED)
    gate.host.drive(WantedState.RUNNING)
    refused = gate.review_target(index, 5_000)  # 5 uC
    assert refused is not None
    assert (refused.limit, refused.asked) == (limits.phase_charge_pc.wire_id, 5_000_000)


@pytest.mark.parametrize(
    ("phases", "asked"),
    [
        # Each phase alone is too short, however long its run.
        (((6, 1000), (6, 1000), (12, -1000)), 6),
        (((12, 1000), (6, -1000), (6, -1000)), 6),
        (((10, 1000), (10, -1000)), None),
        # Each alone is short enough, the run is not; a phase too long is told before its run.
        (((600, 1000), (600, 1000), (1000, -1000), (200, -1000)), 1200),
        (((1001, 1000), (200, 1000), (1000, -1000), (201, -1000)), 1001),
        # Across a gap.
        (((501, 1000), (50, 0), (500, 1000), (900, -1000), (101, -1000)), 1001),
    ],
)
def test_phases_and_their_runs_are_held_to_10_and_1000_us(
    lockstep: Lockstep, phases: tuple[tuple[int, int], ...], asked: int | None
) -> None:
    """On a device that could do more; the twins compare what is told."""
    own = DeviceSettings(phase_min_us=1, phase_max_us=60_000)
    twins = Twins(lockstep, own)
    host = Host(own, wire=twins, device=twins.python)
    host.hello()
    shape = tuple(PulsePhase(d, a) for d, a in phases)
    (answer,) = host.load(PulseProgram((ChannelProgram(shape, 1, 20_000),)))
    if asked is None:
        assert isinstance(answer, ProgramAccepted)
    else:
        assert isinstance(answer, Refused)
        assert (answer.limit, answer.asked) == (limits.phase_duration_us.wire_id, asked)
