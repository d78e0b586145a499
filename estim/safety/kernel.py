"""The one place that says yes.

Rules:
1. Refuse, never clamp; give every reason.
2. Going down, to ARMED or to SAFE is never refused: only output, and arming, need permission.
3. Output starts at zero: RUNNING is entered from ARMED with every target 0.
4. A rise by key is at most one step, and at most 1 mA within any second; one target may be set at once on the bench alone.
5. No permission without fresh own-epoch status, matching digests, a living display and no latched fault.
6. An approval expires after 100 ms; every Drive is reviewed afresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import isqrt

from firmware_protocol import limits
from firmware_protocol.capabilities import shortfalls
from firmware_protocol.errors import ProgramError
from firmware_protocol.messages import (
    Capabilities,
    ChannelLimits,
    DeviceState,
    InputFlag,
    PolicyFlag,
    SetLimits,
    WantedState,
)
from firmware_protocol.program import PulseProgram, check_form

from estim.safety import checks, verdict
from estim.safety.bounds import Bound, Bounds, ChannelBounds
from estim.safety.checks import MM2_PER_CM2, Ask
from estim.safety.figures import STANDARD_LOAD_OHM, figures
from estim.safety.verdict import APPROVAL_US, Approved, ApprovedLoad, Reason, Refused

STATUS_FRESH_US = 500_000


class RiseKind(Enum):
    """How a rise was asked for."""

    NONE = "none"
    KEY = "key"
    TARGET = "target"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the moment of a review.

    Attributes:
        device_state: as the newest Status says.
        status_age_us: since the newest Status of this epoch came in.
        heartbeat_age_us: since the display last proved itself.
        running_ms: as the device counts it.
        digests_match: programme and limits loaded are the ones prepared.
        is_fault_latched: the device holds a fault.
        lead_off_channels: indexes of latched channels.
        inputs: patient stop.
    """

    device_state: DeviceState
    status_age_us: int
    heartbeat_age_us: int
    running_ms: int
    digests_match: bool
    is_fault_latched: bool
    lead_off_channels: frozenset[int]
    inputs: InputFlag


@dataclass(frozen=True, slots=True)
class DriveRequest:
    """The whole state that the session wants next.

    Attributes:
        wanted: the device state.
        targets_ua: target amplitude per channel.
        former_targets_ua: what was approved last, per channel.
        rise_kind: how any rise among them was asked for.
        key_rise_in_second_ua: what keys already raised within the last second, per channel.
        return_targets_ua: what was delivered before a pause, the most that a return may reach.
    """

    wanted: WantedState
    targets_ua: tuple[int, ...]
    former_targets_ua: tuple[int, ...]
    rise_kind: RiseKind = RiseKind.NONE
    key_rise_in_second_ua: tuple[int, ...] = ()
    return_targets_ua: tuple[int, ...] = ()


def review(
    request: DriveRequest, program: PulseProgram | None, facts: Facts, bounds: Bounds, now_us: int
) -> Approved | Refused:
    """Judge one Drive.

    `bounds` must come from `bounds.intersect`; `program` is the quantised programme that is loaded.
    """
    if request.wanted is not WantedState.RUNNING and not any(request.targets_ua):
        reasons = _arming_reasons(request, program, facts)
    elif request.wanted is not WantedState.RUNNING:
        reasons = [_interlock("targets", "output is wanted outside RUNNING")]
    elif program is None:
        reasons = [_interlock("programme", "no programme is loaded")]
    else:
        reasons = [
            *_running_reasons(request, facts, bounds),
            *_output_reasons(request, program, facts, bounds),
        ]
    if reasons:
        return Refused(tuple(reasons))
    return Approved(verdict._SEAL, request.wanted, request.targets_ua, now_us + APPROVAL_US)


def review_load(
    program: PulseProgram, bounds: Bounds, capabilities: Capabilities, now_us: int
) -> ApprovedLoad | Refused:
    """Judge a programme with its bounds; an approval carries the limits that the device shall hold."""
    reasons: list[Reason] = []
    try:
        check_form(program)
    except ProgramError as error:
        return Refused((_interlock("programme", str(error)),))
    if len(bounds.channels) != len(program.channels):
        return Refused((_interlock("programme", "bounds and programme differ in channels"),))
    reasons += [
        _interlock("capability", f"the device cannot play this: {lack}")
        for lack in shortfalls(program, capabilities)
    ]
    session_limits = device_limits(program, bounds, capabilities)
    reasons += checks.run(checks.LOAD_CHECKS, Ask(0, session_limits=session_limits), bounds.session)
    for number, (channel, limit) in enumerate(
        zip(program.channels, bounds.channels, strict=True), start=1
    ):
        ask = Ask(number, channel, figures(channel, 0, bounds.amplitude_step_ua))
        reasons += checks.run(checks.CYCLE_CHECKS, ask, bounds.session)
        reasons += checks.run(_SHAPE_CHECKS, ask, limit.bounds)
        if limit.electrode_area_mm2 < 1:
            reasons.append(
                Reason("electrode", channel=number, explanation="no electrode area is known")
            )
    if reasons:
        return Refused(tuple(reasons))
    return ApprovedLoad(verdict._SEAL, program, session_limits, now_us + APPROVAL_US)


_SHAPE_CHECKS = {
    name: checks.OUTPUT_CHECKS[name]
    for name in (limits.phase_duration_us.name, limits.pulse_duration_us.name)
}


def device_limits(program: PulseProgram, bounds: Bounds, capabilities: Capabilities) -> SetLimits:
    """Return the session limits for the device: every host-side bound that it can hold, lowered into its own terms."""
    rows = []
    for index in range(capabilities.channel_count):
        if index < len(program.channels):
            rows.append(_channel_limits(program, bounds, index))
        else:
            rows.append(ChannelLimits(0, 0, 0, 0))
    return SetLimits(
        setpoint_slew_ua_per_s=bounds.lowest(limits.setpoint_slew_ua_per_s.name).value,
        rise_per_cycle_ua=bounds.lowest(limits.rise_per_cycle_ua.name).value,
        step_ua=bounds.lowest(limits.step_ua.name).value,
        running_ms=bounds.lowest(limits.running_ms.name).value,
        policy=bounds.policy,
        channels=tuple(rows),
    )


def ceiling(
    program: PulseProgram, bounds: Bounds, channel_index: int
) -> tuple[int, tuple[Reason, ...]]:
    """Return the highest target that passes, in uA, and what refuses the next grid step."""
    channel = program.channels[channel_index]
    channel_bounds = bounds.channels[channel_index]
    lowest_ua, too_high_ua = 0, limits.amplitude_ua.maximum + 1
    while too_high_ua - lowest_ua > 1:
        middle_ua = (lowest_ua + too_high_ua) // 2
        if _amplitude_reasons(channel_index, middle_ua, program, channel_bounds, bounds):
            too_high_ua = middle_ua
        else:
            lowest_ua = middle_ua
    return lowest_ua, tuple(
        _amplitude_reasons(channel_index, too_high_ua, program, channel_bounds, bounds)
    )


def _amplitude_reasons(
    index: int,
    amplitude_ua: int,
    program: PulseProgram,
    channel_bounds: ChannelBounds,
    bounds: Bounds,
) -> list[Reason]:
    channel = program.channels[index]
    ask = Ask(
        index + 1,
        channel,
        figures(channel, amplitude_ua, bounds.amplitude_step_ua),
        channel_bounds.electrode_area_mm2,
    )
    return checks.run(checks.OUTPUT_CHECKS, ask, channel_bounds.bounds)


def _arming_reasons(
    request: DriveRequest, program: PulseProgram | None, facts: Facts
) -> list[Reason]:
    """Judge a Drive without output: only the step from SAFE to ARMED needs anything."""
    if request.wanted is WantedState.SAFE or facts.device_state is not DeviceState.SAFE:
        return []
    reasons = _link_reasons(facts)
    if program is None:
        reasons.append(_interlock("programme", "no programme is loaded"))
    if facts.lead_off_channels:
        reasons.append(_interlock("lead_off", "electrodes came off and are not acknowledged"))
    return reasons


def _link_reasons(facts: Facts) -> list[Reason]:
    reasons = []
    if facts.status_age_us > STATUS_FRESH_US:
        reasons.append(_interlock("status", "the device's report is too old"))
    if not facts.digests_match:
        reasons.append(_interlock("digest", "the device holds another programme or other limits"))
    if facts.is_fault_latched or facts.device_state is DeviceState.FAULT:
        reasons.append(_interlock("fault", "the device holds a fault"))
    if InputFlag.PATIENT_STOP_PRESSED in facts.inputs:
        reasons.append(_interlock("patient_stop", "the patient's stop is pressed"))
    return reasons


def _running_reasons(request: DriveRequest, facts: Facts, bounds: Bounds) -> list[Reason]:
    reasons = _link_reasons(facts)
    if facts.device_state is DeviceState.SAFE:
        reasons.append(_interlock("state", "the device must be armed first"))
    if facts.device_state is DeviceState.ARMED and any(request.targets_ua):
        reasons.append(_interlock("state", "output starts at zero"))
    if (
        PolicyFlag.REQUIRE_PATIENT_STOP in bounds.policy
        and InputFlag.PATIENT_STOP_PRESENT not in facts.inputs
    ):
        reasons.append(_interlock("patient_stop", "the session requires a patient's stop"))
    ask = Ask(0, heartbeat_age_ms=facts.heartbeat_age_us // 1000, running_ms=facts.running_ms)
    return reasons + checks.run(checks.TIME_CHECKS, ask, bounds.session)


def _output_reasons(
    request: DriveRequest, program: PulseProgram, facts: Facts, bounds: Bounds
) -> list[Reason]:
    count = len(program.channels)
    if len(request.targets_ua) != count or len(request.former_targets_ua) != count:
        return [_interlock("channels", f"{count} targets expected")]
    if len(bounds.channels) != count:
        return [_interlock("channels", f"bounds for {count} channels expected")]
    reasons: list[Reason] = []
    for index, target_ua in enumerate(request.targets_ua):
        if target_ua < 0:
            reasons.append(_interlock("targets", "a target is negative", index + 1))
            continue
        rise_ua = target_ua - request.former_targets_ua[index]
        if rise_ua <= 0 and target_ua == 0:
            continue
        if index in facts.lead_off_channels:
            reasons.append(_interlock("lead_off", "the electrode is off", index + 1))
        reasons += _amplitude_reasons(index, target_ua, program, bounds.channels[index], bounds)
        if rise_ua > 0:
            reasons += _rise_reasons(request, index, rise_ua, bounds)
    return reasons


def _rise_reasons(request: DriveRequest, index: int, rise_ua: int, bounds: Bounds) -> list[Reason]:
    number = index + 1
    if request.rise_kind is RiseKind.KEY:
        ask = Ask(
            number, key_rise_ua=rise_ua, key_rise_in_second_ua=request.key_rise_in_second_ua[index]
        )
        return checks.run(checks.KEY_CHECKS, ask, bounds.session)
    if request.rise_kind is RiseKind.TARGET:
        if bounds.is_bench:
            return []
        return [_interlock("bench", "a target is set at once on the bench alone", number)]
    if request.rise_kind is RiseKind.RETURN:
        if request.targets_ua[index] <= request.return_targets_ua[index]:
            return []
        return [_interlock("return", "a return goes no higher than before", number)]
    return [_interlock("rise", "a rise that nobody asked for", number)]


def _channel_limits(program: PulseProgram, bounds: Bounds, index: int) -> ChannelLimits:
    channel_bounds = bounds.channels[index]
    return ChannelLimits(
        amplitude_ua=ceiling(program, bounds, index)[0],
        phase_charge_pc=_lowest(channel_bounds.bounds, limits.phase_charge_pc.name),
        rms_ua=min(
            _lowest(channel_bounds.bounds, limits.rms_ua.name),
            *(_rms_of(bound, channel_bounds) for bound in channel_bounds.bounds),
        ),
        average_ua=_lowest(channel_bounds.bounds, limits.average_ua.name),
    )


def _rms_of(bound: Bound, channel: ChannelBounds) -> int:
    """Return the RMS current that a density bound allows on this electrode, rounded down."""
    area_mm2 = channel.electrode_area_mm2
    if bound.limit in (
        limits.current_density_ua_per_cm2.name,
        limits.impaired_current_density_ua_per_cm2.name,
    ):
        return bound.value * area_mm2 // MM2_PER_CM2
    if bound.limit == limits.power_density_uw_per_cm2.name:
        square = bound.value * area_mm2 * 10**6 // (STANDARD_LOAD_OHM * MM2_PER_CM2)
        return isqrt(square)
    return limits.rms_ua.maximum


def _lowest(bounds: tuple[Bound, ...], limit: str) -> int:
    return min(bound.value for bound in bounds if bound.limit == limit)


def _interlock(name: str, explanation: str, channel: int = 0) -> Reason:
    return Reason(name, channel=channel, explanation=explanation)
