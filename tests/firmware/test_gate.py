"""The gate's figures at their edges, each worked out by hand from PROTOCOL.md, chapter 6.

Where a host sees them they are asked over the wire, the simulator beside the core; `target` asks
the core's gate alone, whatever the state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from estim.simulator.device import DeviceSettings
from firmware_protocol import limits
from firmware_protocol.messages import (
    CapabilityFlag,
    CommitProgram,
    ProgramAccepted,
    RefusalReason,
    Refused,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.firmware.core import CoreGate, Lockstep, Twins
from tests.simulator.host import Host, session_limits

FINE = DeviceSettings(amplitude_step_ua=1)
SHARP = (Phase(10, 1000), Phase(10, -1000))
PAIR = (Phase(200, 1000), Phase(200, -1000))
S_US = 1_000_000


def prepared(
    lockstep: Lockstep, own: DeviceSettings, *played: ChannelProgram, **session: int
) -> Host:
    """Return a host whose device, in SAFE, holds limits and a programme."""
    host = connected(lockstep, own)
    host.set_limits(session_limits(own.channel_count, **session))
    load(host, *played)
    return host


def connected(lockstep: Lockstep, own: DeviceSettings) -> Host:
    twins = Twins(lockstep, own)
    host = Host(own, wire=twins, device=twins.python)
    host.hello()
    return host


def load(host: Host, *played: ChannelProgram) -> None:
    assert isinstance(host.load(PulseProgram(played))[0], ProgramAccepted)


def refusal_of(
    lockstep: Lockstep, own: DeviceSettings, played: ChannelProgram, target_ua: int, **session: int
) -> tuple[int, int, int] | None:
    """Return limit, asked and allowed of a refused target, or None where it is taken."""
    gate = CoreGate(lockstep, own, PulseProgram((played,)), session_limits(2, **session))
    refused = gate.review_target(0, target_ua)
    return None if refused is None else (refused.limit, refused.asked, refused.allowed)


def assert_needs(
    lockstep: Lockstep, played: ChannelProgram, target_ua: int, limit: limits.Limit, needed: int
) -> None:
    """Assert that a limit of `needed` takes the target and one of a count less refuses it."""
    assert refusal_of(lockstep, FINE, played, target_ua, **{limit.name: needed}) is None
    refused = refusal_of(lockstep, FINE, played, target_ua, **{limit.name: needed - 1})
    assert refused == (limit.wire_id, needed, needed - 1)


# Pulses in the worst second. A sharp pulse of 100 mA carries 2 uC: 2 uA of average for each.


def sharp(period_us: int, *more_periods_us: int, **more: Any) -> ChannelProgram:
    """Return a channel of sharp pulses, with a keyframe for each period where there are several."""
    periods_us = (period_us, *more_periods_us) if more_periods_us else ()
    frames = tuple(Keyframe(n, 1000, 1, each_us) for n, each_us in enumerate(periods_us))
    return ChannelProgram(
        SHARP, 1, period_us, keyframes=frames, keyframe_cycle_ms=len(frames), **more
    )  # fmt: skip


def bursts(count: int, burst_period_us: int, *periods_us: int, **more: Any) -> ChannelProgram:
    return sharp(*periods_us, pulses_per_burst=count, burst_period_us=burst_period_us, **more)


WORST_SECONDS = [
    (sharp(1_000), 1000),
    # Rounded up.
    (sharp(333_333), 4),
    (sharp(333_334), 3),
    # 20 us of pulse + 980 us of offset are a period: the next on-phase cuts nothing short.
    (sharp(1_000, pulse_offset_us=980, cycle=Cycle(0, 100, 0, 0)), 1000),
    (sharp(1_000, pulse_offset_us=979, cycle=Cycle(0, 100, 0, 0)), 1010),
    # Ramps and off time are of the cycle; 999 ms begin twice in a second.
    (sharp(10_000, cycle=Cycle(3, 990, 2, 4)), 102),
    (sharp(10_000, cycle=Cycle(3, 990, 2, 5)), 101),
    (sharp(10_000, cycle=Cycle(3, 990, 2, 6)), 101),
    # An off time of nearly a period, and of a whole one.
    (sharp(10_000, cycle=Cycle(0, 90, 0, 9)), 111),
    (sharp(10_000, cycle=Cycle(0, 90, 0, 10)), 100),
    # 9 ms, 20 us and the offset are a period, or 1 us less.
    (sharp(10_000, pulse_offset_us=980, cycle=Cycle(0, 90, 0, 9)), 100),
    (sharp(10_000, pulse_offset_us=979, cycle=Cycle(0, 90, 0, 9)), 111),
    # 112 on-phases of 9 ms may begin in a second.
    (sharp(10_000, cycle=Cycle(0, 9, 0, 0)), 212),
    # Bursts of 3, 1 ms apart: whole ones, and what begins in the rest of the second.
    (bursts(3, 500_000, 1_000), 6),
    (bursts(3, 499_999, 1_000), 7),
    (bursts(3, 499_500, 1_000), 7),
    (bursts(3, 499_499, 1_000), 8),
    (bursts(3, 300_000, 1_000), 12),
    # 3 x 333333 us and one more in which a pulse begins.
    (bursts(3, 333_333, 1_000), 10),
    # Three on-phases of 400 ms may begin a burst of their own; never more than without bursts.
    (bursts(3, 500_000, 1_000, cycle=Cycle(0, 400, 0, 0)), 15),
    (bursts(3, 3_000, 1_000, cycle=Cycle(0, 400, 0, 0)), 1003),
    # Of several keyframes in bursts one pulse more. After a slow pulse of 1001 us the window of
    # 1001001 us has 250 bursts and one of 3 in its last 1001 us: 753 - 1. After none 750,
    # after two 753 - 2.
    (bursts(3, 4_000, 500, 1_001), 752 + 1),
    # The last burst is full from the start: 166 bursts and 3 are 501. After 2 slow ones 167 and
    # 3, less 2: 502.
    (bursts(3, 6_000, 500, 2_000), 502 + 1),
    # After 3 of 990 us 200 bursts and 5, less 3; after 1 only 200 and 2, less 1.
    (bursts(5, 5_000, 500, 990), 1002 + 1),
    # Full from the start again: 86 bursts and 5 are 435. After 3 slow ones, at 1003000 us, 87
    # and 5 in the last 2500 us, less 3; after 4 one less.
    (bursts(5, 11_500, 500, 1_000), 437 + 1),
    # The same with the slow one first.
    (bursts(3, 6_000, 2_000, 500), 502 + 1),
    # Single pulses: as many as bursts begin.
    (bursts(1, 250_000, 500, 2_000), 4 + 1),
    (bursts(1, 249_999, 500, 2_000), 5 + 1),
    # Several keyframes: the most of one of them, a pulse more, and one for each restart.
    (sharp(333_333, 333_333), 4 + 1),
    (sharp(10_000, 20_000), 100 + 1),
    (sharp(10_000, 20_000, cycle=Cycle(0, 30, 0, 0)), 100 + 1 + 34),
    # The offset leaves no room at the short period, and still some at the long one.
    (sharp(10_000, 20_000, pulse_offset_us=9_980, cycle=Cycle(0, 30, 0, 0)), 100 + 1 + 34),
    (sharp(10_000, 20_000, pulse_offset_us=19_980, cycle=Cycle(0, 30, 0, 0)), 100 + 1),
]  # fmt: skip


@pytest.mark.parametrize(("played", "pulses"), WORST_SECONDS)
def test_pulses_in_the_worst_second(
    lockstep: Lockstep, played: ChannelProgram, pulses: int
) -> None:
    assert_needs(lockstep, played, 100_000, limits.average_ua, 2 * pulses)


def test_the_restarts_of_a_programme_are_its_own(lockstep: Lockstep) -> None:
    """With 34 restarts 135 pulses; then, on the same device, without a cycle 101, and again."""
    modulated = sharp(10_000, 20_000)
    cycled = replace(modulated, cycle=Cycle(0, 30, 0, 0))
    host = prepared(lockstep, FINE, cycled, average_ua=1)
    for played, pulses in ((cycled, 135), (modulated, 101), (cycled, 135)):
        load(host, played)
        assert lockstep.command("target 0 100000").said == [f"refused 9 {2 * pulses} 1"]


def test_settings_of_other_lengths_are_put_together(lockstep: Lockstep) -> None:
    """100 pulses of 2 uC or 10 of 20 uC: 200 uC either way, and one of 20 uC more."""
    frames = (Keyframe(0, 1000, 1, 10_000), Keyframe(1, 1000, 10, 100_000))
    played = ChannelProgram(SHARP, 1, 10_000, keyframes=frames, keyframe_cycle_ms=2)
    assert_needs(lockstep, played, 100_000, limits.average_ua, 220)


def test_sixteen_phases_count_each(lockstep: Lockstep) -> None:
    """16 x 10 us at 100 Hz are 1.6 % of the time: RMS 0.1265, average 0.016 of the amplitude."""
    played = ChannelProgram(8 * SHARP, 1, 10_000)
    assert_needs(lockstep, played, 100_000, limits.rms_ua, 12_650)  # sqrt(0.016) = 0.126491
    assert_needs(lockstep, played, 100_000, limits.average_ua, 1_600)


def test_a_gap_carries_nothing(lockstep: Lockstep) -> None:
    parted = (Phase(10, 1000), Phase(100, 0), Phase(10, -1000))
    assert_needs(lockstep, ChannelProgram(parted, 1, 1_000), 100_000, limits.average_ua, 2_000)


# Figures that exceed a limit by less than a count.


def test_rms_is_compared_exactly(lockstep: Lockstep) -> None:
    """2 % of 19601^2 x 10^6 are 7683984020000, which is 20000 more than 2772^2 x 10^6."""
    played = ChannelProgram((Phase(100, 1000), Phase(100, -1000)), 1, 10_000)
    assert_needs(lockstep, played, 19_601, limits.rms_ua, 2_773)
    # sqrt(0.02) of 70.710 mA is 9999.99 uA; 0.2 of 50 mA is 10 mA and no more.
    assert_needs(lockstep, played, 70_710, limits.rms_ua, 10_000)
    assert_needs(lockstep, ChannelProgram(PAIR, 1, 10_000), 50_000, limits.rms_ua, 10_000)


def test_average_is_compared_exactly(lockstep: Lockstep) -> None:
    """202 us x 9901 uA once a second are 2000002 pC, 2 more than 2 uA."""
    played = ChannelProgram((Phase(101, 1000), Phase(101, -1000)), 1, S_US)
    assert_needs(lockstep, played, 9_901, limits.average_ua, 3)
    assert_needs(lockstep, played, 9_900, limits.average_ua, 2)  # 1999800


@pytest.mark.parametrize(
    "frames", [(), (Keyframe(0, 1000, 1, 10_000), Keyframe(1, 900, 1, 10_000))]
)
def test_limits_of_zero_allow_what_is_nothing_on_the_grid(
    lockstep: Lockstep, frames: tuple[Keyframe, ...]
) -> None:
    """50 uA in steps of 100 uA are no current; 100 uA are 20 uA RMS and 4 uA average of one."""
    played = ChannelProgram(PAIR, 1, 10_000, keyframes=frames, keyframe_cycle_ms=len(frames))
    none = {"rms_ua": 0, "average_ua": 0}
    assert refusal_of(lockstep, DeviceSettings(), played, 50, **none) is None
    refused = refusal_of(lockstep, DeviceSettings(), played, 100, **none)
    assert refused is not None
    assert (refused[0], refused[2]) == (limits.rms_ua.wire_id, 0)
    if not frames:
        assert refused[1] == 20
        refused = refusal_of(lockstep, DeviceSettings(), played, 100, average_ua=0)
        assert refused == (limits.average_ua.wire_id, 4, 0)


# Charge over every stretch: phases as (us, permille), once each way up.

STRETCHES = [
    # At 28001 uA the weaker phase is strong and counts, with 28000 pC allowed for each us of it:
    # 100 x 28001 + 720 x 56002 against 20 uC + 820 x 28000.
    (((100, 500), (720, 1000), (100, -500), (720, -1000)), 56_002, 48_000_000,
     (43_121_540, 42_960_000)),
    # At 28000 uA it is weak and left out: 720 x 56000 against 20 uC + 720 x 28000.
    (((100, 500), (720, 1000), (100, -500), (720, -1000)), 56_000, 48_000_000,
     (40_320_000, 40_160_000)),
    # A strong turn takes off what it carries: 24 - 1.6 + 24 uC against 20 uC + 0.6 ms.
    (((300, 1000), (20, -1000), (300, 1000), (1000, -580)), 80_000, 48_000_000,
     (46_400_000, 36_800_000)),
    # A weak turn too: 24 - 8 + 24 uC.
    (((300, 1000), (400, -250), (300, 1000), (1000, -500)), 80_000, 48_000_000,
     (40_000_000, 36_800_000)),
    # The one that is furthest above its limit is told, not the first.
    (((100, 1000), (100, 1000), (200, -1000)), 80_000, 4_000_000, (16_000_000, 4_000_000)),
    # Of two that are as far above, the first on the ring is told: 40 uC against 20 uC + 0.5 ms,
    # then, with the weak phase, 48 uC against the session's 42.
    (((500, 1000), (400, 250), (1000, -600)), 80_000, 42_000_000, (40_000_000, 34_000_000)),
    # Both end with the same phase: the session's is told.
    (((400, 250), (500, 1000), (1000, -600)), 80_000, 42_000_000, (48_000_000, 42_000_000)),
]  # fmt: skip


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("phases", "target_ua", "session_pc", "told"), STRETCHES)
def test_charge_over_a_stretch(
    lockstep: Lockstep,
    sign: int,
    phases: tuple[tuple[int, int], ...],
    target_ua: int,
    session_pc: int,
    told: tuple[int, int],
) -> None:
    shape = tuple(Phase(lasts_us, sign * permille) for lasts_us, permille in phases)
    played = ChannelProgram(shape, 1, S_US)
    refused = refusal_of(lockstep, FINE, played, target_ua, phase_charge_pc=session_pc)
    assert refused == (limits.phase_charge_pc.wire_id, *told)


# What was found good is asked again when limits or programme change: by the gate itself, whatever
# the states let through.


def in_turn(phases: tuple[Phase, ...]) -> list[ChannelProgram]:
    """Return four channels of one shape, one after the other."""
    return [ChannelProgram(phases, 1, 10_000, 2_000 * n) for n in range(4)]


@pytest.mark.parametrize("index", range(4))
def test_the_gate_judges_a_target_anew_under_other_limits(lockstep: Lockstep, index: int) -> None:
    host = prepared(lockstep, DeviceSettings(channel_count=4), *in_turn(PAIR))
    assert lockstep.command(f"target {index} 10000").said == ["good"]
    host.set_limits(session_limits(4, amplitude_ua=9_999))
    assert lockstep.command(f"target {index} 10000").said == ["refused 1 10000 9999"]
    host.set_limits(session_limits(4, amplitude_ua=0))
    assert lockstep.command(f"target {index} 1").said == ["refused 1 1 0"]


@pytest.mark.parametrize("index", range(4))
def test_the_gate_judges_a_target_anew_under_another_programme(
    lockstep: Lockstep, index: int
) -> None:
    """10 mA x 200 us are the 2 uC allowed; x 1 ms are 10 uC."""
    own = DeviceSettings(channel_count=4)
    host = prepared(lockstep, own, *in_turn(PAIR), phase_charge_pc=2_000_000)
    assert lockstep.command(f"target {index} 10000").said == ["good"]
    load(host, *in_turn((Phase(1_000, 1000), Phase(1_000, -1000))))
    assert lockstep.command(f"target {index} 10000").said == ["refused 5 10000000 2000000"]


def test_the_gate_judges_the_smallest_target_after_loading(lockstep: Lockstep) -> None:
    """1 uA x 2 x 200 us x 100 Hz is above nothing: 0.04 uA, rounded up."""
    prepared(lockstep, FINE, ChannelProgram(PAIR, 1, 10_000), average_ua=0)
    assert lockstep.command("target 0 1").said == ["refused 9 1 0"]


# Programmes.


HALVES = ((600, 500), (600, 500), (600, -1000))


RUNS = [
    (HALVES, 1_200),
    (HALVES[-1:] + HALVES[:2], 1_200),
    (((501, 500), (50, 0), (501, 500), (501, -1000)), 1_002),
    (((501, 500), (50, 0), (50, 0), (501, 500), (501, -1000)), 1_002),
]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("phases", "run_us"), RUNS)
def test_a_run_is_held_to_1000_us_wherever_it_lies(
    lockstep: Lockstep, sign: int, phases: tuple[tuple[int, int], ...], run_us: int
) -> None:
    """Two halves of the amplitude one way; all of it flows back in half of the time."""
    host = connected(lockstep, FINE)
    shape = tuple(Phase(lasts_us, sign * permille) for lasts_us, permille in phases)
    (answer,) = host.load(PulseProgram((ChannelProgram(shape, 1, 20_000),)))
    assert isinstance(answer, Refused)
    assert (answer.limit, answer.asked) == (limits.phase_duration_us.wire_id, run_us)


def test_the_second_channel_is_judged_too(lockstep: Lockstep) -> None:
    host = connected(lockstep, replace(FINE, phase_min_us=1))
    short = (Phase(9, 1000), Phase(9, -1000))
    channels = (ChannelProgram(PAIR, 1, 10_000), ChannelProgram(short, 1, 10_000, 5_000))
    (answer,) = host.load(PulseProgram(channels))
    assert isinstance(answer, Refused)
    assert (answer.limit, answer.channel, answer.asked) == (3, 1, 9)


TIMED = [
    (ChannelProgram((Phase(300, 500), Phase(150, -1000)), 1, 1_000), None),
    (ChannelProgram((Phase(50, 1000), Phase(100, -500)), 1, 1_000), None),
    (ChannelProgram((Phase(49, 1000), Phase(98, -500)), 1, 1_000), (49, 50)),
    (ChannelProgram((Phase(302, 500), Phase(151, -1000)), 1, 1_000), (302, 300)),
    # Also where it is not the first phase.
    (ChannelProgram((Phase(98, 500), Phase(49, -1000)), 1, 1_000), (49, 50)),
    (ChannelProgram((Phase(151, 1000), Phase(302, -500)), 1, 1_000), (302, 300)),
    (ChannelProgram(PAIR, 1, 999), (999, 1_000)),
]  # fmt: skip


@pytest.mark.parametrize(("played", "told"), TIMED)
def test_what_a_device_cannot_time_is_told(
    lockstep: Lockstep, played: ChannelProgram, told: tuple[int, int] | None
) -> None:
    """Phases of 50 to 300 us, at most 1 kHz."""
    own = replace(FINE, phase_min_us=50, phase_max_us=300, pulse_period_min_us=1_000)
    (answer,) = connected(lockstep, own).load(PulseProgram((played,)))
    if told is None:
        assert isinstance(answer, ProgramAccepted)
        return
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.asked, answer.allowed) == (RefusalReason.CAPABILITY, *told)


def test_all_that_a_device_would_have_to_hold_is_told(lockstep: Lockstep) -> None:
    """A burst of one pulse, a cycle, keyframes and unequal phases; a burst alone."""
    host = connected(lockstep, replace(FINE, flags=CapabilityFlag.NONE))
    shape = (Phase(10, 1000), Phase(20, -500))
    burst = {"pulses_per_burst": 1, "burst_period_us": 10_000}
    everything = ChannelProgram(
        shape, 1, 10_000, cycle=Cycle(0, 100, 0, 0), keyframes=(Keyframe(0, 1000, 1, 10_000),),
        keyframe_cycle_ms=1, **burst,
    )  # fmt: skip
    needed = (
        CapabilityFlag.HOLDS_BURST
        | CapabilityFlag.HOLDS_CYCLE
        | CapabilityFlag.HOLDS_KEYFRAMES
        | CapabilityFlag.UNEQUAL_PHASES
    )
    alone = ChannelProgram(SHARP, 1, 10_000, **burst)  # type: ignore[arg-type]
    for played, asked in ((everything, needed), (alone, CapabilityFlag.HOLDS_BURST)):
        (answer,) = host.load(PulseProgram((played,)))
        assert isinstance(answer, Refused)
        assert (answer.reason, answer.asked) == (RefusalReason.CAPABILITY, int(asked))


@pytest.mark.hazard(1)
def test_no_device_is_allowed_more_than_100_ma(lockstep: Lockstep) -> None:
    host = connected(lockstep, replace(FINE, amplitude_max_ua=200_000))
    (answer,) = host.set_limits(session_limits(2, amplitude_ua=100_001))
    assert isinstance(answer, Refused)
    assert (answer.limit, answer.asked, answer.allowed) == (1, 100_001, 100_000)


def test_a_refused_commit_leaves_no_parts(lockstep: Lockstep) -> None:
    """The right digest after a wrong one finds nothing to commit."""
    host = connected(lockstep, FINE)
    played = PulseProgram((ChannelProgram(PAIR, 1, 10_000),))
    for message in played.messages():
        host.send(message)
    for digest, reason in (
        (played.digest ^ 1, RefusalReason.PROGRAM_DIGEST),
        (played.digest, RefusalReason.PROGRAM),
    ):
        (answer,) = host.send(CommitProgram(digest))
        assert isinstance(answer, Refused)
        assert answer.reason is reason
