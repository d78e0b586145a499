"""Charge over a pulse that is a ring, and the worst second: cases in which a short cut shows.

Every figure is worked out here by hand from chapter 6; the comments do the sum.
"""

from __future__ import annotations

from dataclasses import replace

from estim.rig.conformance.bench import Bench
from estim.rig.conformance.checks.session_limits import (
    US_PER_S,
    arm,
    back_to_zero,
    expect_average,
    expect_bound,
    expect_target_refused,
    root_up,
    slow,
    tried_ua,
)
from estim.rig.conformance.hearing import words
from estim.rig.conformance.programs import PERIOD_US
from estim.rig.conformance.requirement import NotApplicable, expect, requirement
from firmware_protocol import limits
from firmware_protocol.messages import CapabilityFlag, WantedState
from firmware_protocol.program import ChannelProgram, Keyframe, Phase, PulseProgram

UNIT_US = 100
ODD_PERIOD_US = 9_700
"""Does not divide a second: 103 whole periods, and a pulse begun after them."""
SELDOM_US = 100_000
"""So far apart average and RMS stay far below their limits."""


@requirement("TARGET-11", "6", "charge of a phase: a weak turn takes off what flows back, no more")
def weak_turn(bench: Bench) -> None:
    program = _shaped(bench, (3, 1000), (2, -100), (3, 1000), (3, -1000), (2, 100), (3, -1000))
    target_ua, step_ua = tried_ua(bench), bench.can.amplitude_step_ua
    # Of either direction: 300 us and 300 us of all, less 200 us of a tenth between them.
    weak_ua = target_ua // 10 // step_ua * step_ua
    charge_pc = 600 * target_ua - 200 * weak_ua
    expect_bound(bench, program, limits.phase_charge_pc, charge_pc, target_ua)


@requirement("TARGET-12", "6", "charge of a phase: a weak phase earns no charge for a strong one")
def weak_phase(bench: Bench) -> None:
    # 400 us of all, 200 us of a tenth, 400 us of all: 5 mA are left out, with their 28 uC/ms.
    program = _shaped(
        bench, (4, 1000), (2, 100), (4, 1000), (4, -1000), (2, -100), (4, -1000)
    )  # fmt: skip
    _expect_rule(bench, program, 2 * 4 * UNIT_US)


@requirement("TARGET-13", "6", "charge of a phase: the last phases of a pulse join the first")
def joined_ends(bench: Bench) -> None:
    # First and last: 800 us of one direction. In the middle the other direction has 400 us, gets
    # 500 us of 300 permille taken off, and 400 us more: 650 us worth, far within its 800 us.
    ends = (4, 1000)
    back = (4, -1000)
    program = _shaped(bench, ends, back, (5, 300), (5, -300), back, ends)
    _expect_rule(bench, program, 2 * 4 * UNIT_US)


@requirement("TARGET-14", "6", "a pulse begun counts whole where the period divides no second")
def begun_pulse(bench: Bench) -> None:
    period_us, phase_us = _odd_period_us(bench), bench.programs.phase_us
    program = bench.programs.single(period_us=period_us)
    pulses = 104  # 103 periods of 9700 us last 999.1 ms
    expect_average(bench, program, pulses)
    target_ua = tried_ua(bench)
    squares = pulses * 2 * target_ua**2 * phase_us
    rms_ua = root_up(-(-squares // US_PER_S))
    expect_bound(bench, program, limits.rms_ua, rms_ua, target_ua)


@requirement("TARGET-15", "6", "bursts: a pulse begun at the end of the worst second counts whole")
def begun_burst(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_BURST)
    channel = replace(
        bench.programs.channel(period_us=_odd_period_us(bench)),
        pulses_per_burst=5, burst_period_us=330_000,
    )  # fmt: skip
    # 3 bursts in 990 ms; in the 10 ms left one pulse, and one begun.
    expect_average(bench, PulseProgram((channel,)), 3 * 5 + 2)


@requirement("TARGET-16", "6", "bursts with keyframes: a slow burst before the second makes room")
def slow_burst_before(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_BURST)
    bench.need(CapabilityFlag.HOLDS_KEYFRAMES)
    programs = bench.programs
    if programs.period_us != PERIOD_US:
        raise NotApplicable(f"its pulses are more than {PERIOD_US} us apart")
    unit_us = programs.phase_us
    frames = (Keyframe(0, 1000, unit_us, PERIOD_US), Keyframe(500, 500, unit_us, 4 * PERIOD_US))
    channel = replace(
        programs.channel(), keyframes=frames, keyframe_cycle_ms=1000,
        pulses_per_burst=5, burst_period_us=250_000,
    )  # fmt: skip
    # m = 1: 1040 ms hold 4 bursts and 40 ms, so 20 - 1 + 4 = 23 pulses, against 20 for m = 0 and
    # 23, 22, 21 for more; and 1 for the two settings.
    expect_average(bench, PulseProgram((channel,)), 23 + 1)


@requirement("TARGET-17", "6", "charge is judged at the amplitude on its grid, not at the target")
def judged_on_grid(bench: Bench) -> None:
    programs, step_ua = bench.programs, bench.can.amplitude_step_ua
    unit_us = max(programs.phase_min_us, UNIT_US)
    phases, grid_ua = (Phase(1, 1000), Phase(1, -1000)), step_ua
    if programs.has(CapabilityFlag.UNEQUAL_PHASES) and 4 * unit_us <= programs.phase_max_us:
        phases, grid_ua = (Phase(1, 1000), Phase(4, -250)), 4 * step_ua
    if grid_ua == 1:
        raise NotApplicable("its grid is 1 uA")
    channel = ChannelProgram(phases, unit_us, max(SELDOM_US, bench.can.pulse_period_min_us))
    delivered_ua = (tried_ua(bench) - grid_ua) // grid_ua * grid_ua
    bench.need_playable(PulseProgram((channel,)))
    expect_bound(
        bench, PulseProgram((channel,)), limits.phase_charge_pc,
        delivered_ua * unit_us, delivered_ua + grid_ua - 1,
    )  # fmt: skip


def _shaped(bench: Bench, *phases: tuple[int, int]) -> PulseProgram:
    """Return a programme of phases in units of 100 us and permille that the device can play."""
    programs = bench.programs
    shortest, *_, longest = sorted(duration * UNIT_US for duration, _ in phases)
    if len(phases) > bench.can.phases_max:
        raise NotApplicable(f"needs {len(phases)} phases")
    if not programs.phase_min_us <= shortest <= longest <= programs.phase_max_us:
        raise NotApplicable(f"needs phases of {shortest} to {longest} us")
    made = tuple(Phase(duration, share) for duration, share in phases)
    period_us = max(SELDOM_US, bench.can.pulse_period_min_us)
    program = PulseProgram((ChannelProgram(made, UNIT_US, period_us),))
    bench.need_playable(program)
    return program


def _odd_period_us(bench: Bench) -> int:
    if bench.can.pulse_period_min_us > ODD_PERIOD_US:
        raise NotApplicable(f"its pulses are more than {ODD_PERIOD_US} us apart")
    return ODD_PERIOD_US


def _expect_rule(bench: Bench, program: PulseProgram, strong_us: int) -> None:
    """Expect 20 uC + 28 uC/ms of the strong phases: the highest step taken, the next refused."""
    step_ua = bench.can.amplitude_step_ua
    allowed_pc = limits.PHASE_CHARGE_BASE_PC + limits.PHASE_CHARGE_SLOPE_PC_PER_US * strong_us
    target_ua = allowed_pc // strong_us // step_ua * step_ua
    asked_ua = target_ua + step_ua
    if asked_ua > min(bench.can.amplitude_max_ua, limits.amplitude_ua.maximum):
        raise NotApplicable(f"the device's amplitude does not reach {asked_ua} uA")
    arm(bench, program, slow(bench))
    outcome = bench.drive(bench.drive_message(WantedState.RUNNING, (target_ua,)))
    back_to_zero(bench)
    expect(outcome.refused is None, f"{target_ua} uA taken", words(outcome.refused))
    expect_target_refused(bench, asked_ua, limits.phase_charge_pc, asked_ua * strong_us)
