"""What the device reports, through its driver, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable

from estim.drivers import base as driver
from estim.errors import DeviceFault, LimitRefused
from estim.safety import kernel
from estim.safety.kernel import RiseKind
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.delivery import Delivery
from estim.session.messages import Blame, Severity
from estim.session.state import (
    DRIVE_AFTER_STATUS_US,
    DRIVE_WITHOUT_STATUS_US,
    GOAL_US,
    OBEY_US,
    SLOW_LINK_SHOWN_US,
    SLOW_LINK_US,
    SessionState,
)
from estim.session.states import ENERGISED, HostState, Trigger
from firmware_protocol import limits
from firmware_protocol.messages import (
    CHANNELS_MAX,
    FAULT_REMEDIES,
    NO_CHANNEL,
    Capabilities,
    CapabilityFlag,
    ChannelFlag,
    DeviceState,
    FaultCode,
    Status,
)
from firmware_protocol.session_limits import limits_digest

MEASURED_MARGIN_UA = 1000
OVERSHOOTS_MAX = 2
SLOW_LINK_REMEDY = (
    f"The lease is {limits.lease_ms.maximum} ms: use a quicker link, then acknowledge."
)

_FAULT_BLAME = {
    FaultCode.LEASE_EXPIRED: Blame.HOST,
    FaultCode.OVERCURRENT: Blame.DEVICE,
    FaultCode.RUNNING_TIME: Blame.OPERATOR,
    FaultCode.PATIENT_STOP: Blame.OPERATOR,
    FaultCode.LINE_NOISE: Blame.RIG,
    FaultCode.SUPPLY: Blame.DEVICE,
    FaultCode.SELF_TEST: Blame.DEVICE,
    FaultCode.OUTPUT_STAGE: Blame.DEVICE,
}


def _on_identified(session: SessionState, told: driver.Identified, now_us: int) -> None:
    serial_number = told.identity.serial_number
    if session.identity is not None and serial_number != session.identity.serial_number:
        error = DeviceFault(
            f"another device answers: {serial_number}, but this session is bound to "
            f"{session.identity.serial_number}: connect that one, or open a new session"
        )
        session.fail_connect(error, Blame.RIG)
        return
    problem = capability_problem(told.capabilities)
    if problem:
        session.fail_connect(DeviceFault(f"the device makes no sense: {problem}"))
        return
    session.identity = told.identity
    session.capabilities = told.capabilities
    session.reports_current = CapabilityFlag.REPORTS_CURRENT in told.capabilities.flags
    session.use = told.use
    session.caution = told.caution
    session.has_link = True
    session.status_us = now_us  # a device that never reports is as silent as one that ceases to
    session.follow(Trigger.IDENTIFIED)
    session.append(
        "identified",
        {
            "url": session.url,
            "model": told.identity.model,
            "serial_number": serial_number,
            "firmware_version": told.identity.firmware_version,
            "schema_hash": told.identity.schema_hash,
            "residual_ms": told.capabilities.residual_ms,
            "use": told.use.value,
            **({"caution": told.caution} if told.caution else {}),
        },
    )
    session.done(session.connect_id)
    session.connect_id = 0


def capability_problem(capabilities: Capabilities) -> str:
    """Say what no device can have, before anything is computed from it."""
    if not 1 <= capabilities.channel_count <= CHANNELS_MAX:
        return f"{capabilities.channel_count} channels"
    if capabilities.amplitude_step_ua < 1:
        return "no amplitude step"
    return ""


def _on_connect_failed(session: SessionState, told: driver.ConnectFailed, now_us: int) -> None:
    session.fail_connect(told.error)


def _on_loaded(session: SessionState, told: driver.Loaded, now_us: int) -> None:
    if session.preparing is None or session.capabilities is None:
        return
    _, program, bounds, _ = session.preparing
    approved = kernel.device_limits(program, bounds, session.capabilities)
    # Not what the driver believes it has sent: what the device enforces must be the kernel's.
    if (told.program_digest, told.limits_digest) != (program.digest, limits_digest(approved)):
        session.fail_load(DeviceFault("the device holds a load that is not what was approved"))
        return
    session.program_digest = told.program_digest
    session.limits_digest = told.limits_digest
    session.load_remarks = told.remarks
    session.loaded_until_us = now_us + GOAL_US


def _see_loaded(session: SessionState, status: Status, now_us: int) -> None:
    """Take the programme once the device itself reports it."""
    if session.preparing is None or session.loaded_until_us is None:
        return
    if not session.has_digests(status):
        if now_us >= session.loaded_until_us:
            session.fail_load(DeviceFault("the device does not report the programme it accepted"))
        return
    request_id, session.program, session.bounds, session.settings = session.preparing
    session.preparing = None
    session.loaded_until_us = None
    count = len(session.program.channels)
    session.targets_ua = [0] * count
    session.marker_ua = [0] * count
    session.append_delivered()
    session.former_delivered_us += session.delivery.delivered_us
    session.delivery = Delivery(count)
    session.delivered = {}
    session.ceilings = []
    for index in range(count):
        highest_ua, reasons = kernel.ceiling(session.program, session.bounds, index)
        step_ua = session.bounds.amplitude_step_ua
        highest_ua = session.program.channels[index].deliverable_ua(highest_ua, step_ua)
        session.ceilings.append((highest_ua, str(reasons[0]) if reasons else ""))
    session.gate.load(session.program, session.bounds, session.settings)
    session.follow(Trigger.PREPARED)
    session.append(
        "prepared",
        {
            "profile": session.settings.profile_id,
            "profile_version": session.settings.profile_version,
            "profile_sha256": session.settings.profile_sha256,
            "prepared_digest": session.gate.digest,
            "program_digest": session.program_digest,
            "limits_digest": session.limits_digest,
            "program": session.program.canonical_bytes().hex(),
            "bounds": msg.to_fields(session.bounds),
            "ceilings_ua": [ceiling_ua for ceiling_ua, _ in session.ceilings],
            "electrode_areas_mm2": [row.electrode_area_mm2 for row in session.bounds.channels],
            "duration_s": session.settings.duration_s,
            "step_ua": session.settings.step_ua,
            "ramp_down_ms": session.settings.ramp_down_ms,
            "allows_research_device": session.settings.allows_research_device,
            **({"remarks": list(session.load_remarks)} if session.load_remarks else {}),
        },
    )
    for remark in session.load_remarks:
        session.notice(now_us, Severity.INFORMATION, remark, blame=Blame.DEVICE)
    session.done(request_id)


def _on_load_failed(session: SessionState, told: driver.LoadFailed, now_us: int) -> None:
    # What the kernel had approved: whether host or device is mistaken, nobody can say here.
    is_disputed = isinstance(told.error, LimitRefused)
    session.fail_load(told.error, blame=Blame.UNKNOWN if is_disputed else None)


def _on_drive_refused(session: SessionState, told: driver.DriveRefused, now_us: int) -> None:
    if told.is_lead_off:
        return  # the Status that answers the Drive clears that channel; the others go on
    text = f"the device refused: {told.explanation}"
    if session.refusals.take(now_us) is not None:
        session.notice(now_us, Severity.WARNING, text, blame=Blame.UNKNOWN)
    if told.is_drive and (session.state in ENERGISED or session.goal):
        # The device does not follow any more, and would let its lease run out: stop in good order.
        session.begin_stop(text, now_us, Blame.UNKNOWN)


def _on_told(session: SessionState, told: driver.DeviceTold, now_us: int) -> None:
    event = told.event
    held_back = session.device_events.take(now_us)
    if held_back is None:
        return
    session.append(
        "device_event",
        {
            "index": event.index,
            "tick_ms": event.tick_ms,
            "code": event.code.name.lower(),
            "channel": 0 if event.channel == NO_CHANNEL else event.channel + 1,
            "detail": event.detail,
            **({"left_out_before": held_back} if held_back else {}),
        },
    )


def _on_self_tested(session: SessionState, told: driver.SelfTested, now_us: int) -> None:
    pending, session.self_test = session.self_test, None
    if pending is None:
        return  # nobody waits for it any more
    if told.refusal:
        session.append("self_test_refused", {"reason": told.refusal})
        session.refuse(pending.request_id, LimitRefused(told.refusal), blame=Blame.DEVICE)
        return
    session.append("self_test", {"passed": told.passed, "failed": told.failed})
    session.do(ev.Say(msg.SelfTestSeen(now_us, told.passed, told.failed)))
    session.done(pending.request_id)
    if told.failed:
        session.latch_fault(
            now_us, "self_test_failed", "the device failed its self-test",
            FAULT_REMEDIES[FaultCode.SELF_TEST], Blame.DEVICE,
        )  # fmt: skip


def _on_round_trip(session: SessionState, told: driver.RoundTrip, now_us: int) -> None:
    session.round_trip_us = told.duration_us
    session.followed_us = max(session.followed_us, now_us - told.duration_us)
    if told.duration_us > SLOW_LINK_US:
        session.slow_link_until_us = now_us + SLOW_LINK_SHOWN_US


def _on_line_damaged(session: SessionState, told: driver.LineDamaged, now_us: int) -> None:
    held_back = session.damage.take(now_us)
    if held_back is not None:
        content = {"explanation": told.explanation, "count": held_back + 1}
        session.append("line_damaged", content)


def _on_status(session: SessionState, told: driver.StatusSeen, now_us: int) -> None:
    if not session.has_link:
        return
    status, before = told.status, session.status
    if session.capabilities and len(status.channels) != session.capabilities.channel_count:
        if session.state is HostState.FAULT:
            return
        session.latch_fault(
            now_us, "bad_report", "the device reports channels that it does not have",
            "take the device out of use", Blame.DEVICE,
        )  # fmt: skip
        return
    session.status = status
    if before is None or status.tick_ms != before.tick_ms:
        session.status_us = now_us  # a clock that stands still is no sign of life
    session.has_status_since_drive = True
    if status.state is not DeviceState.RUNNING:
        session.is_pause_seen = True
        session.followed_us = now_us + 1  # whatever was commanded until now is over
    session.delivery.take(status, session.targets_ua, now_us)
    if any(row.flags for row in status.channels):
        _see_lead_off(session, status, before, now_us)
        _see_short(session, status, before, now_us)
    _see_rearmed(session, status, now_us)
    _see_fault(session, status, now_us)
    _see_loaded(session, status, now_us)
    _see_goal(session, status, now_us)
    if session.state is HostState.STOPPING:
        _see_zero(session, status, now_us)
    elif session.state in ENERGISED:
        _see_disobedience(session, status, before, now_us)
    elif session.state is not HostState.FAULT and status.state is DeviceState.RUNNING:
        session.latch_fault(
            now_us, "runs_unasked", "the device runs though nobody asked for output",
            "take the electrodes off, take the device out of use", Blame.DEVICE,
        )  # fmt: skip
    _see_end(session, now_us)
    tick_drive(session, now_us)


def _see_lead_off(
    session: SessionState, status: Status, before: Status | None, now_us: int
) -> None:
    for index, row in enumerate(status.channels):
        if ChannelFlag.LEAD_OFF_LATCHED not in row.flags:
            continue
        if before is not None and ChannelFlag.LEAD_OFF_LATCHED in before.channels[index].flags:
            continue
        was_ua = session.targets_ua[index] if index < len(session.targets_ua) else 0
        session.drop_wishes("an electrode came off", Blame.OPERATOR)
        if was_ua:
            session.note_lowering(now_us)
            session.marker_ua[index] = was_ua
            session.targets_ua[index] = 0
        session.append(
            "lead_off", {"channel": index + 1, "load_ohm": row.load_ohm, "at_ua": was_ua}
        )
        session.notice(
            now_us,
            Severity.ALARM,
            f"channel {index + 1}: electrode off, output of the channel is zero",
            "press the electrode on, then re-arm the channel and raise from zero",
            Blame.OPERATOR,
        )


def _see_rearmed(session: SessionState, status: Status, now_us: int) -> None:
    """Believe a re-arm once the device itself reports that the latches are gone."""
    if session.rearming is None:
        return
    channels, pending = session.rearming
    if any(ChannelFlag.LEAD_OFF_LATCHED in status.channels[index].flags for index in channels):
        return
    session.rearming = None
    pending.proceed(now_us)


def _see_short(session: SessionState, status: Status, before: Status | None, now_us: int) -> None:
    """Warn of leads that touch; it stops nothing."""
    for index, row in enumerate(status.channels):
        was_short = before is not None and ChannelFlag.SHORTED in before.channels[index].flags
        if ChannelFlag.SHORTED in row.flags and not was_short:
            session.notice(
                now_us,
                Severity.WARNING,
                f"channel {index + 1}: {row.load_ohm} ohm, the leads may touch each other",
                "look at leads and electrodes",
                Blame.RIG,
            )


def _see_fault(session: SessionState, status: Status, now_us: int) -> None:
    if status.fault is FaultCode.NONE:
        if session.acknowledge is not None and status.state is not DeviceState.FAULT:
            session.acknowledge.proceed(now_us)
        return
    code = f"device_{status.fault.name.lower()}"
    is_known = session.fault is not None and (
        # A lease that ran out is what follows from a fault of the host.
        session.fault.code == code or status.fault is FaultCode.LEASE_EXPIRED
    )
    if session.state is HostState.CLOSED or is_known:
        return
    words, remedy = status.fault.name.replace("_", " ").lower(), FAULT_REMEDIES[status.fault]
    blame = _FAULT_BLAME[status.fault]
    if status.fault is FaultCode.LEASE_EXPIRED and session.slow_link_words:
        words, remedy, blame = words + session.slow_link_words, SLOW_LINK_REMEDY, Blame.RIG
    session.latch_fault(now_us, code, f"the device stopped: {words}", remedy, blame)


def _see_goal(session: SessionState, status: Status, now_us: int) -> None:
    if session.goal is None:
        return
    trigger, pending = session.goal
    reached = {
        Trigger.ARMED: DeviceState.ARMED,
        Trigger.STARTED: DeviceState.RUNNING,
    }[trigger]
    if status.state is not reached or not session.is_pause_seen:
        return
    session.goal = None
    session.follow(trigger)
    if trigger is Trigger.STARTED and any(session.return_ua):
        wished, session.return_ua = session.return_ua, []
        session.ask_for(pending.request_id, wished, RiseKind.RETURN, "resume", now_us)
        return
    session.done(pending.request_id)


def _see_zero(session: SessionState, status: Status, now_us: int) -> None:
    if status.state is not DeviceState.SAFE or any(row.setpoint_ua for row in status.channels):
        return
    session.follow(Trigger.ZERO_CONFIRMED)
    session.append_delivered()
    session.append("zero_confirmed", {"tick_ms": status.tick_ms, "reason": session.end_reason})
    for request_id in session.stopping:
        session.done(request_id)
    session.stopping.clear()
    if session.orphaned_us is not None:
        session.end_visit(session.end_reason, now_us)


def _see_disobedience(
    session: SessionState, status: Status, before: Status | None, now_us: int
) -> None:
    if not session.has_digests(status):
        session.latch_fault(
            now_us, "programme_lost", "the device no longer holds the programme",
            "prepare again; if it comes back, take the device out of use", Blame.DEVICE,
        )  # fmt: skip
    elif session.state is HostState.RUNNING and status.state is not DeviceState.RUNNING:
        session.latch_fault(
            now_us, "left_running", f"the device went to {status.state.name} by itself",
            "look at the device, acknowledge, prepare again", Blame.DEVICE,
        )  # fmt: skip
    elif session.state is HostState.ARMED and status.state is DeviceState.SAFE:
        text = "the device disarmed itself"
        session.notice(now_us, Severity.WARNING, text, "prepare and arm again", Blame.UNKNOWN)
        session.begin_stop(text, now_us, Blame.UNKNOWN)
    elif (
        session.state is HostState.ARMED
        and (session.goal is None or not session.is_pause_seen)
        and status.state is DeviceState.RUNNING
        and now_us - session.paused_us > OBEY_US
    ):
        session.latch_fault(
            now_us, "not_obeyed", "the device runs on after a pause",
            "take the electrodes off, take the device out of use", Blame.DEVICE,
        )  # fmt: skip
    elif _is_above_targets(session, status, before, now_us):
        session.latch_fault(
            now_us, "not_obeyed", "the device gives more than was asked",
            "take the electrodes off, take the device out of use", Blame.DEVICE,
        )  # fmt: skip


def _is_above_targets(
    session: SessionState, status: Status, before: Status | None, now_us: int
) -> bool:
    """Tell whether a device stays above what is wanted, long after the wish went down.

    Measured current counts where pulses came since the last report, and above 10 % + 1 mA, as the
    device's own check has it; twice running, since the device forgives a single pulse as well.
    """
    is_measured = False
    for index, row in enumerate(status.channels):
        if not row.setpoint_ua and not row.peak_ua:
            continue
        target_ua = session.allowed_ua(index, now_us)
        if row.setpoint_ua > target_ua:
            return True
        if before is not None and row.pulse_count != before.channels[index].pulse_count:
            is_measured |= row.peak_ua > target_ua + target_ua // 10 + MEASURED_MARGIN_UA
    session.overshoot_count = session.overshoot_count + 1 if is_measured else 0
    return session.overshoot_count >= OVERSHOOTS_MAX


def _see_end(session: SessionState, now_us: int) -> None:
    duration_us = session.settings.duration_s * 1_000_000
    if (
        session.state is HostState.RUNNING
        and session.finish_from is None
        and duration_us
        and session.delivery.plateau_us >= duration_us
    ):
        session.begin_finish("duration reached", now_us, Blame.OPERATOR)


def tick_drive(session: SessionState, now_us: int) -> None:
    """Send a Drive where one is due: 45 ms after the last with a Status since, 60 ms without."""
    if not session.has_link or session.status is None:
        return
    waited_us = now_us - session.drive_us
    if waited_us >= DRIVE_WITHOUT_STATUS_US or (
        session.has_status_since_drive and waited_us >= DRIVE_AFTER_STATUS_US
    ):
        _lower_for_finish(session, now_us)
        session.review_drive(now_us)


def _lower_for_finish(session: SessionState, now_us: int) -> None:
    if session.finish_from is None or session.state is not HostState.RUNNING:
        return
    began_us, from_ua = session.finish_from
    left_us = session.settings.ramp_down_ms * 1000 - (now_us - began_us)
    if left_us <= 0:
        session.begin_stop(session.end_reason, now_us, Blame.OPERATOR)
        return
    session.note_lowering(now_us)
    session.targets_ua = [
        min(target_ua, start_ua * left_us // (session.settings.ramp_down_ms * 1000))
        for target_ua, start_ua in zip(session.targets_ua, from_ua, strict=True)
    ]


REPORTS: dict[type, Callable[..., None]] = {
    driver.Identified: _on_identified,
    driver.ConnectFailed: _on_connect_failed,
    driver.Loaded: _on_loaded,
    driver.LoadFailed: _on_load_failed,
    driver.StatusSeen: _on_status,
    driver.DriveRefused: _on_drive_refused,
    driver.DeviceTold: _on_told,
    driver.SelfTested: _on_self_tested,
    driver.RoundTrip: _on_round_trip,
    driver.LineDamaged: _on_line_damaged,
}
