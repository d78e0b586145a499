"""The one place that says yes.

Rules:
1. Refuse, never clamp; give every reason.
2. Going down, to ARMED or to SAFE is never refused: only output, and arming, need permission.
3. Output starts at zero: RUNNING is entered from ARMED with every target 0.
4. A rise by key is at most one step, and at most 1 mA within any second; one target may be set at
   once on the bench alone.
5. No permission without fresh own-epoch status, matching digests, a living display and no latched
   fault; none under bounds that have a flaw.
6. An approval expires after 100 ms; every Drive is reviewed afresh.
7. What the kernel approves, the device's limits allow: both judge by the same rounded figures.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from estim.safety import checks, verdict
from estim.safety.bounds import Bound, Bounds, intersect, with_compiled
from estim.safety.checks import Ask, density_rms_ua
from estim.safety.figures import figures
from estim.safety.verdict import APPROVAL_US, Approved, ApprovedLoad, Reason, Refused
from firmware_protocol import limits
from firmware_protocol.capabilities import shortfalls
from firmware_protocol.errors import ProgramError
from firmware_protocol.messages import (
    CHANNELS_MAX,
    Capabilities,
    CapabilityFlag,
    ChannelLimits,
    DeviceState,
    InputFlag,
    PolicyFlag,
    SetLimits,
    WantedState,
)
from firmware_protocol.program import US_PER_MS, PulseProgram, check_form

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
        running_ms: as the device counts it; below RUNNING, what it was the last time.
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
    """Judge one Drive of the programme loaded, within what `bounds.intersect` returned."""
    is_running = request.wanted is WantedState.RUNNING
    reasons: list[Reason] = []
    if not is_running and any(request.targets_ua):
        reasons.append(_interlock("targets", "output is wanted outside RUNNING"))
    is_arming = request.wanted is WantedState.ARMED and facts.device_state is DeviceState.SAFE
    if is_running or is_arming:
        reasons += _permission_reasons(request, program, facts, bounds)
    if is_running and program is not None:
        reasons += _output_reasons(request, program, facts, bounds)
    if reasons:
        return Refused(tuple(reasons))
    return Approved(verdict._SEAL, request.wanted, request.targets_ua, now_us + APPROVAL_US)


def review_load(
    program: PulseProgram, bounds: Bounds, capabilities: Capabilities, now_us: int
) -> ApprovedLoad | Refused:
    """Judge a programme with its bounds; an approval carries the limits for the device."""
    try:
        check_form(program)
    except ProgramError as error:
        return Refused((_interlock("programme", str(error)),))
    if len(bounds.channels) != len(program.channels):
        return Refused((_interlock("programme", "bounds and programme differ in channels"),))
    problem = bounds_flaw(bounds)
    if problem or bounds != intersect(bounds, capabilities):
        return Refused((_interlock("bounds", problem or "these are another device's bounds"),))
    lacks = list(shortfalls(program, capabilities))
    if capabilities.channel_count > CHANNELS_MAX:
        lacks.append(f"limits can be sent for {CHANNELS_MAX} channels, it has more")
    reasons = [_interlock("capability", f"the device cannot play this: {lack}") for lack in lacks]
    if program.allow_overlap and not bounds.is_bench:
        reasons.append(_interlock("overlap", "on a person the pulses of channels never overlap"))
    has_stop = CapabilityFlag.HAS_PATIENT_STOP in capabilities.flags
    reasons += _patient_stop_reasons(bounds, has_stop)
    session_limits = device_limits(program, bounds, capabilities)
    reasons += checks.run(checks.LOAD_CHECKS, Ask(0, session_limits=session_limits), bounds.session)
    for number, (channel, limit) in enumerate(
        zip(program.channels, bounds.channels, strict=True), start=1
    ):
        ask = Ask(number, channel, figures(channel, 0, bounds.amplitude_step_ua))
        reasons += checks.run(checks.RISE_CHECKS, ask, bounds.session)
        reasons += checks.run(checks.SHAPE_CHECKS, ask, limit.bounds)
    if reasons:
        return Refused(tuple(reasons))
    return ApprovedLoad(verdict._SEAL, program, session_limits, now_us + APPROVAL_US)


@lru_cache(maxsize=16)
def bounds_flaw(bounds: Bounds) -> str:
    """Return why bounds cannot be relied on, or ''."""
    if bounds != with_compiled(bounds):
        return "the compiled limits are missing"
    if bounds.amplitude_step_ua < 1 or any(c.electrode_area_mm2 < 1 for c in bounds.channels):
        return "no amplitude step or no electrode area is known"
    groups = [(bounds.session, checks.SESSION_CHECKS)]
    groups += [(channel.bounds, checks.OUTPUT_CHECKS) for channel in bounds.channels]
    for given, known in groups:
        for bound in given:
            if bound.limit not in known or bound.value < 0:
                return f"nothing can check a bound of {bound.value} for {bound.limit}"
    return ""


def device_limits(program: PulseProgram, bounds: Bounds, capabilities: Capabilities) -> SetLimits:
    """Return the session limits for the device: every bound that it can hold, in its terms."""
    rows = [_channel_limits(program, bounds, index) for index in range(len(program.channels))]
    rows += [ChannelLimits(0, 0, 0, 0)] * (capabilities.channel_count - len(rows))
    return SetLimits(
        **{name: _lowest(bounds.session, name) for name in checks.LOAD_CHECKS},
        policy=bounds.policy,
        channels=tuple(rows),
    )


def ceiling(
    program: PulseProgram, bounds: Bounds, channel_index: int
) -> tuple[int, tuple[Reason, ...]]:
    """Return the highest target that passes, in uA, and what refuses the next higher one."""
    problem = bounds_flaw(bounds)
    if problem:
        return 0, (_interlock("bounds", problem),)
    targets_ua = range(1, limits.amplitude_ua.maximum + 1)
    highest_ua = bisect_left(
        targets_ua, 1, key=lambda ua: len(amplitude_reasons(program, bounds, channel_index, ua))
    )
    return highest_ua, amplitude_reasons(program, bounds, channel_index, highest_ua + 1)


@lru_cache(maxsize=256)
def amplitude_reasons(
    program: PulseProgram, bounds: Bounds, index: int, amplitude_ua: int
) -> tuple[Reason, ...]:
    """Return everything that refuses a target amplitude of one channel (index from 0)."""
    channel, channel_bounds = program.channels[index], bounds.channels[index]
    ask = Ask(
        index + 1,
        channel,
        figures(channel, amplitude_ua, bounds.amplitude_step_ua),
        channel_bounds.electrode_area_mm2,
    )
    return tuple(checks.run(checks.OUTPUT_CHECKS, ask, channel_bounds.bounds))


def _permission_reasons(
    request: DriveRequest, program: PulseProgram | None, facts: Facts, bounds: Bounds
) -> list[Reason]:
    """Return what stands against arming or running at all, whatever the targets are."""
    reasons = []
    if facts.status_age_us > STATUS_FRESH_US:
        reasons.append(_interlock("status", "the device's report is too old"))
    if program is None:
        reasons.append(_interlock("programme", "no programme is loaded"))
    if not facts.digests_match:
        reasons.append(_interlock("digest", "the device holds another programme or other limits"))
    if facts.is_fault_latched or facts.device_state is DeviceState.FAULT:
        reasons.append(_interlock("fault", "the device holds a fault"))
    if InputFlag.PATIENT_STOP_PRESSED in facts.inputs:
        reasons.append(_interlock("patient_stop", "the patient's stop is pressed"))
    reasons += _patient_stop_reasons(bounds, InputFlag.PATIENT_STOP_PRESENT in facts.inputs)
    if request.wanted is WantedState.ARMED:
        if facts.lead_off_channels:
            reasons.append(_interlock("lead_off", "electrodes came off and are not acknowledged"))
    elif facts.device_state is DeviceState.SAFE:
        reasons.append(_interlock("state", "the device must be armed first"))
    elif facts.device_state is DeviceState.ARMED and any(request.targets_ua):
        reasons.append(_interlock("state", "output starts at zero"))
    problem = bounds_flaw(bounds)
    if problem:
        reasons.append(_interlock("bounds", problem))
    ask = Ask(
        0,
        heartbeat_age_ms=-(-facts.heartbeat_age_us // US_PER_MS),
        running_ms=facts.running_ms if facts.device_state is DeviceState.RUNNING else 0,
    )
    return reasons + checks.run(checks.TIME_CHECKS, ask, bounds.session)


def _output_reasons(
    request: DriveRequest, program: PulseProgram, facts: Facts, bounds: Bounds
) -> list[Reason]:
    count = len(program.channels)
    if len(request.targets_ua) != count or len(request.former_targets_ua) != count:
        return [_interlock("channels", f"{count} targets expected")]
    if len(bounds.channels) != count:
        return [_interlock("channels", f"bounds for {count} channels expected")]
    if bounds_flaw(bounds):
        return []  # told already
    reasons: list[Reason] = []
    for index, target_ua in enumerate(request.targets_ua):
        if target_ua < 0:
            reasons.append(_interlock("targets", "a target is negative", index + 1))
            continue
        if target_ua == 0:
            continue
        rise_ua = target_ua - request.former_targets_ua[index]
        if index in facts.lead_off_channels:
            reasons.append(_interlock("lead_off", "the electrode is off", index + 1))
        reasons += amplitude_reasons(program, bounds, index, target_ua)
        if rise_ua > 0:
            reasons += _rise_reasons(request, index, rise_ua, bounds)
    return reasons


def _rise_reasons(request: DriveRequest, index: int, rise_ua: int, bounds: Bounds) -> list[Reason]:
    number = index + 1
    if request.rise_kind is RiseKind.KEY:
        if index >= len(request.key_rise_in_second_ua):
            return [_interlock("key", "nobody knows what keys raised before", number)]
        ask = Ask(
            number, key_rise_ua=rise_ua, key_rise_in_second_ua=request.key_rise_in_second_ua[index]
        )
        return checks.run(checks.KEY_CHECKS, ask, bounds.session)
    allowed_ua = 0
    if request.rise_kind is RiseKind.TARGET and bounds.is_bench:
        allowed_ua = request.targets_ua[index]
    elif request.rise_kind is RiseKind.RETURN:
        allowed_ua = sum(request.return_targets_ua[index : index + 1])
    if request.targets_ua[index] <= allowed_ua:
        return []
    return [_interlock(request.rise_kind.value, _RISE_WORDS[request.rise_kind], number)]


_RISE_WORDS = {
    RiseKind.NONE: "a rise that nobody asked for",
    RiseKind.TARGET: "a target is set at once on the bench alone",
    RiseKind.RETURN: "a return goes no higher than before",
}


def _channel_limits(program: PulseProgram, bounds: Bounds, index: int) -> ChannelLimits:
    given, area_mm2 = bounds.channels[index].bounds, bounds.channels[index].electrode_area_mm2
    densities = [bound for bound in given if bound.limit in checks.DENSITY_CHECKS]
    return ChannelLimits(
        amplitude_ua=ceiling(program, bounds, index)[0],
        phase_charge_pc=_lowest(given, limits.phase_charge_pc.name),
        rms_ua=min(
            _lowest(given, limits.rms_ua.name),
            *(density_rms_ua(bound, area_mm2) for bound in densities),
        ),
        average_ua=_lowest(given, limits.average_ua.name),
    )


def _patient_stop_reasons(bounds: Bounds, has_stop: bool) -> list[Reason]:
    if has_stop or PolicyFlag.REQUIRE_PATIENT_STOP not in bounds.policy:
        return []
    return [_interlock("patient_stop", "the session requires a patient's stop")]


def _lowest(bounds: tuple[Bound, ...], limit: str) -> int:
    return min(bound.value for bound in bounds if bound.limit == limit)


def _interlock(name: str, explanation: str, channel: int = 0) -> Reason:
    return Reason(name, channel=channel, explanation=explanation)
