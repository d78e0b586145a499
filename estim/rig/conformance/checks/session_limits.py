"""Session limits: each at its bound and one beyond, and targets one LSB inside and outside.

Figures are worked out here from chapter 6, not by the code that a host or a device uses.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import isqrt
from typing import Any

from estim.rig.conformance.bench import Bench
from estim.rig.conformance.hearing import words
from estim.rig.conformance.requirement import NotApplicable, expect, requirement
from firmware_protocol import limits
from firmware_protocol.limits import Limit
from firmware_protocol.messages import (
    CapabilityFlag,
    ChannelLimits,
    DeviceState,
    LimitsAccepted,
    RefusalReason,
    Refused,
    SetLimits,
    WantedState,
)
from firmware_protocol.program import PulseProgram
from firmware_protocol.session_limits import limits_digest

SESSION_LIMITS = (
    limits.setpoint_slew_ua_per_s,
    limits.rise_per_cycle_ua,
    limits.step_ua,
    limits.running_ms,
)
CHANNEL_LIMITS = (
    limits.amplitude_ua,
    limits.phase_charge_pc,
    limits.rms_ua,
    limits.average_ua,
)
TRIED_UA = 20_000
RULED_US = (500, 700, 900)
"""Phase durations at which the rule allows less than the compiled 48 uC, the shortest first."""
US_PER_S = 1_000_000


@requirement("LIMIT-01", "3.3", "an epoch begins with the compiled limits, told by their digest")
def compiled_digest(bench: Bench) -> None:
    bench.begin()
    status = bench.probe()
    expected = limits_digest(bench.compiled)
    expect(
        status.limits_digest == expected,
        f"digest {expected:#010x}",
        f"{status.limits_digest:#010x}",
    )


@requirement(
    "LIMIT-02", "3.3", "lower limits are taken, and answered with the CRC-32 of the payload"
)
def lower_limits(bench: Bench) -> None:
    bench.begin()
    lower = replace(
        bench.compiled,
        setpoint_slew_ua_per_s=500,
        running_ms=60_000,
        channels=tuple(replace(row, amplitude_ua=1000) for row in bench.compiled.channels),
    )
    accepted = bench.ask(lower, LimitsAccepted)
    expected = limits_digest(lower)
    found = (accepted.limits_digest, bench.probe().limits_digest)
    expect(
        found == (expected, expected),
        f"digest {expected:#010x} in answer and Status",
        f"{found[0]:#010x} and {found[1]:#010x}",
    )


@requirement("LIMIT-03", "3.3", "as many rows as the device has channels, or Refused(CHANNELS)")
def row_count(bench: Bench) -> None:
    bench.begin()
    row = bench.compiled.channels[0]
    for count in range(5):
        if count != bench.can.channel_count:
            wrong = replace(bench.compiled, channels=(row,) * count)
            _expect_unchanged(bench, wrong, RefusalReason.CHANNELS, f"with {count} rows")


def _session_bound(limit: Limit, bench: Bench) -> None:
    bench.begin()
    for bound, beyond in ((limit.maximum, 1), (limit.minimum, -1)):
        at = _changed(bench.compiled, limit, bound)
        accepted = bench.ask(at, LimitsAccepted)
        expect(accepted.limits_digest == limits_digest(at), "its digest", "another")
        asked = bound + beyond
        wrong = _changed(bench.compiled, limit, asked)
        _expect_named(bench, wrong, limit, asked, bound)


def _channel_bound(limit: Limit, bench: Bench) -> None:
    bench.begin()
    compiled = bench.compiled
    for index, row in enumerate(compiled.channels):
        highest = getattr(row, limit.name)
        for bound in (0, highest):
            at = replace(compiled, channels=_with(compiled, index, **{limit.name: bound}))
            bench.ask(at, LimitsAccepted)
        asked = highest + 1
        wrong = replace(compiled, channels=_with(compiled, index, **{limit.name: asked}))
        refused = _expect_named(bench, wrong, limit, asked, highest)
        expect(refused == index, f"channel {index} named", refused)


for _number, _limit in enumerate(SESSION_LIMITS, start=4):
    requirement(
        f"LIMIT-{_number:02}", "3.3",
        f"{_limit.name}: its bounds are taken, one beyond is refused and named",
    )(partial(_session_bound, _limit))  # fmt: skip
for _number, _limit in enumerate(CHANNEL_LIMITS, start=8):
    requirement(
        f"LIMIT-{_number:02}", "3.3",
        f"{_limit.name} of a channel: its bound is taken, one beyond is refused and named",
    )(partial(_channel_bound, _limit))  # fmt: skip


@requirement("TARGET-01", "4.4", "amplitude: the session's limit is taken, 1 uA beyond is refused")
def amplitude_limit(bench: Bench) -> None:
    allowed_ua = min(TRIED_UA, bench.can.amplitude_max_ua)
    expect_bound(
        bench, bench.programs.single(), limits.amplitude_ua, allowed_ua, allowed_ua, beyond=1
    )


@requirement("TARGET-02", "6", "charge of a phase: exactly the session's value, and 1 pC less")
def charge_limit(bench: Bench) -> None:
    program, target_ua = bench.programs.single(), tried_ua(bench)
    charge_pc = target_ua * bench.programs.phase_us
    expect_bound(bench, program, limits.phase_charge_pc, charge_pc, target_ua)


@requirement(
    "TARGET-03", "6", "charge of a phase: 20 uC + 28 uC/ms x duration, one step beyond refused"
)
def compiled_charge_rule(bench: Bench) -> None:
    programs, step_ua = bench.programs, bench.can.amplitude_step_ua
    most_ua = min(bench.can.amplitude_max_ua, limits.amplitude_ua.maximum) - step_ua
    for phase_us in (*RULED_US, programs.phase_max_us):
        allowed_pc = limits.PHASE_CHARGE_BASE_PC + limits.PHASE_CHARGE_SLOPE_PC_PER_US * phase_us
        target_ua = allowed_pc // phase_us // step_ua * step_ua
        if programs.phase_min_us <= phase_us <= programs.phase_max_us and target_ua <= most_ua:
            break
    else:
        raise NotApplicable(f"the device's amplitude does not reach {target_ua + step_ua} uA")
    period_us = max(100_000, bench.can.pulse_period_min_us)  # average and RMS stay far below
    arm(bench, programs.single(phase_us, period_us), slow(bench))
    outcome = bench.drive(bench.drive_message(WantedState.RUNNING, (target_ua,)))
    back_to_zero(bench)
    expect(outcome.refused is None, f"{target_ua} uA taken", words(outcome.refused))
    asked_ua = target_ua + step_ua
    expect_target_refused(bench, asked_ua, limits.phase_charge_pc, asked_ua * phase_us)


@requirement(
    "TARGET-04", "6", "RMS over the worst second: exactly the session's value, and 1 uA less"
)
def rms_limit(bench: Bench) -> None:
    program, target_ua = bench.programs.single(), tried_ua(bench)
    pulses = -(-US_PER_S // bench.programs.period_us)
    squares = pulses * 2 * target_ua**2 * bench.programs.phase_us
    rms_ua = root_up(-(-squares // US_PER_S))
    expect_bound(bench, program, limits.rms_ua, rms_ua, target_ua)


@requirement(
    "TARGET-05", "6", "average over the worst second: exactly the session's value, and 1 uA less"
)
def average_limit(bench: Bench) -> None:
    pulses = -(-US_PER_S // bench.programs.period_us)
    expect_average(bench, bench.programs.single(), pulses)


@requirement("TARGET-06", "6", "bursts: the pulses of the worst second, one LSB inside and outside")
def burst_average(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_BURST)
    # 7 pulses every 500 ms: floor(1 s / 500 ms) x 7, and no rest.
    expect_average(bench, bench.programs.burst(), 14)


@requirement(
    "TARGET-07", "6", "keyframes: the worst setting and one pulse, one LSB inside and outside"
)
def keyframe_average(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_KEYFRAMES)
    # The dense setting has the larger pulse too: its pulses of a second, and one more.
    pulses = -(-US_PER_S // bench.programs.period_us)
    expect_average(bench, bench.programs.keyframes(), pulses + 1)


@requirement("TARGET-08", "6", "a cycle that restarts early counts one pulse more for each restart")
def cycle_average(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_CYCLE)
    # On 92 ms, off 5 ms: pulse + off time < period, so ceil(1 s / 97 ms) = 11 restarts.
    period_us, phase_us = bench.programs.period_us, bench.programs.phase_us
    if 2 * phase_us + 5000 >= period_us:
        raise NotApplicable("its shortest phases fill the pulse period")
    program = bench.programs.cycle(92, 5)
    bench.need_playable(program)
    expect_average(bench, program, -(-US_PER_S // period_us) + 11)


@requirement("TARGET-09", "4", "a Drive refused for one channel is without effect on all")
def whole_or_not_at_all(bench: Bench) -> None:
    bench.need_channels(2)
    bench.begin(bench.programs.everyday(), slow(bench))
    bench.reach(DeviceState.RUNNING)
    bench.drive(bench.drive_message(WantedState.RUNNING, _pad(bench, 1000, 0)))
    too_high_ua = bench.can.amplitude_max_ua + 1
    outcome = bench.expect_drive_refused(
        bench.drive_message(WantedState.RUNNING, _pad(bench, 2000, too_high_ua)),
        RefusalReason.LIMIT,
        what=f"with {too_high_ua} uA on channel 2",
    )
    expect(
        outcome.refused is not None and outcome.refused.channel == 1,
        "channel index 1 named",
        outcome.refused and outcome.refused.channel,
    )
    found = [channel.target_ua for channel in outcome.status.channels[:2]]
    expect(found == [1000, 0], "targets [1000, 0] as before", found)


@requirement("TARGET-10", "6", "each channel is held to its own limits")
def own_limits(bench: Bench) -> None:
    bench.need_channels(2)
    rows = tuple(
        replace(row, amplitude_ua=1000 * (number + 1))
        for number, row in enumerate(bench.compiled.channels)
    )
    bench.begin(bench.programs.everyday(), replace(slow(bench), channels=rows))
    bench.reach(DeviceState.RUNNING)
    for index, row in enumerate(rows):
        at = [0] * len(rows)
        at[index] = row.amplitude_ua
        outcome = bench.drive(bench.drive_message(WantedState.RUNNING, at))
        expect(
            outcome.refused is None,
            f"{row.amplitude_ua} uA taken on channel {index + 1}",
            words(outcome.refused),
        )
        found = [channel.target_ua for channel in outcome.status.channels]
        expect(found == at, f"targets {at}", found)
        at[index] += 1
        refused = bench.expect_drive_refused(
            bench.drive_message(WantedState.RUNNING, at),
            RefusalReason.LIMIT,
            what=f"with {at[index]} uA on channel {index + 1}",
        ).refused
        assert refused is not None
        expect(
            (refused.channel, refused.allowed) == (index, row.amplitude_ua),
            f"channel index {index} named, {row.amplitude_ua} allowed",
            f"index {refused.channel}, {refused.allowed}",
        )


def expect_bound(
    bench: Bench,
    program: PulseProgram,
    limit: Limit,
    asked: int,
    target_ua: int,
    *,
    beyond: int = 0,
) -> None:
    """Expect a target taken under a session limit of exactly what it asks, refused below it.

    `beyond` is for the amplitude, whose target is raised instead.
    """
    session = slow(bench)
    arm(bench, program, _limited(session, limit, asked))
    outcome = bench.drive(bench.drive_message(WantedState.RUNNING, (target_ua,)))
    back_to_zero(bench)
    expect(
        outcome.refused is None,
        f"{target_ua} uA taken under {limit.name} {asked}",
        words(outcome.refused),
    )
    if not beyond:
        arm(bench, program, _limited(session, limit, asked - 1))
    expect_target_refused(bench, target_ua + beyond, limit, asked + beyond)


def expect_average(bench: Bench, program: PulseProgram, pulses: int) -> None:
    """Expect the average of so many pulses of two phases taken, and refused 1 uA below."""
    target_ua = tried_ua(bench)
    charge_pc = pulses * 2 * target_ua * bench.programs.phase_us
    expect_bound(bench, program, limits.average_ua, -(-charge_pc // US_PER_S), target_ua)


def expect_target_refused(bench: Bench, target_ua: int, limit: Limit, asked: int) -> None:
    """Expect Refused(LIMIT) that names the limit, and the target as before."""
    outcome = bench.drive(bench.drive_message(WantedState.RUNNING, (target_ua,)))
    refused = outcome.refused
    if refused is None:
        back_to_zero(bench)
    expect(
        refused is not None and refused.reason is RefusalReason.LIMIT,
        f"Refused(LIMIT) of {limit.name} for {target_ua} uA",
        words(refused or outcome.status),
    )
    assert refused is not None
    # How a figure of a whole second is rounded, no chapter says.
    is_exact = limit in (limits.amplitude_ua, limits.phase_charge_pc)
    expect(
        refused.limit == limit.wire_id and (refused.asked == asked or not is_exact),
        f"{limit.name} named, asked {asked}",
        words(refused),
    )
    channel = outcome.status.channels[0]
    expect(channel.target_ua == 0, "the target as before, 0", channel.target_ua)


def arm(bench: Bench, program: PulseProgram, session: SetLimits) -> None:
    """Begin anew, and go to RUNNING at zero."""
    bench.begin(program, session)
    bench.reach(DeviceState.RUNNING)


def back_to_zero(bench: Bench) -> None:
    """Take the target back."""
    bench.drive(bench.drive_message(WantedState.RUNNING))


def slow(bench: Bench) -> SetLimits:
    """Return limits under which output rises by next to nothing while targets are tried."""
    return replace(bench.compiled, setpoint_slew_ua_per_s=1)


def _limited(session: SetLimits, limit: Limit, bound: int) -> SetLimits:
    rows = tuple(replace(row, **{limit.name: bound}) for row in session.channels)
    return replace(session, channels=rows)


def _changed(session: SetLimits, limit: Limit, bound: int) -> SetLimits:
    changed: dict[str, Any] = {limit.name: bound}
    return replace(session, **changed)


def _with(session: SetLimits, index: int, **changed: int) -> tuple[ChannelLimits, ...]:
    rows = list(session.channels)
    rows[index] = replace(rows[index], **changed)
    return tuple(rows)


def tried_ua(bench: Bench) -> int:
    """Return an amplitude on the device's steps at which charge, RMS and average are tried."""
    step_ua = bench.can.amplitude_step_ua
    return min(TRIED_UA, bench.can.amplitude_max_ua) // step_ua * step_ua


def _pad(bench: Bench, *targets_ua: int) -> tuple[int, ...]:
    return targets_ua + (0,) * (bench.channel_count - len(targets_ua))


def root_up(square: int) -> int:
    root = isqrt(square)
    return root if root * root == square else root + 1


def _expect_named(bench: Bench, wrong: SetLimits, limit: Limit, asked: int, allowed: int) -> int:
    """Expect a refusal that names the limit; return the channel it names."""
    refused = _expect_unchanged(bench, wrong, RefusalReason.LIMIT, f"with {limit.name} {asked}")
    found = (refused.limit, refused.asked, refused.allowed)
    expect(
        found == (limit.wire_id, asked, allowed),
        f"{limit.name} named, asked {asked}, allowed {allowed}",
        words(refused),
    )
    return refused.channel


def _expect_unchanged(bench: Bench, wrong: SetLimits, reason: RefusalReason, what: str) -> Refused:
    before = bench.probe().limits_digest
    refused = bench.expect_refused(wrong, reason, what=what)
    after = bench.probe().limits_digest
    expect(after == before, f"the former set in force, {before:#010x}", f"{after:#010x}")
    return refused
