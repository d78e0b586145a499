"""Show a session to an interface: everything in one frozen snapshot.

Rules:
1. Never understate: what is shown is the larger of what was commanded, and may still hold, and what
   the device reports.
2. A report older than 500 ms is not known.
"""

from __future__ import annotations

from estim.safety.kernel import STATUS_FRESH_US
from estim.session.core import SessionCore
from estim.session.messages import ChannelSnapshot, DeviceSnapshot, Snapshot, to_fields
from firmware_protocol.messages import (
    MAINS_PERCENT,
    CapabilityFlag,
    ChannelFlag,
    Contact,
    CyclePhase,
    InputFlag,
    Status,
)


def take_snapshot(core: SessionCore, record_events: int, inhibition: str, now_us: int) -> Snapshot:
    """Return what an interface may show now."""
    status = core.status
    age_us = now_us - core.status_us if status else -1
    return Snapshot(
        at_us=now_us,
        state=core.state,
        is_busy=core.is_busy,
        device=_device(core),
        profile_id=core.settings.profile_id,
        has_program=core.program is not None,
        prepared_digest=core.gate.digest,
        channels=tuple(
            _channel(core, status, index, now_us) for index in range(len(core.targets_ua))
        ),
        status_age_ms=age_us // 1000 if status else -1,
        is_known=status is not None and age_us <= STATUS_FRESH_US,
        latch_count=core.latch_count,
        fault=core.fault,
        patient_stop=_patient_stop(status),
        battery_percent=status.battery_percent if status else MAINS_PERCENT,
        delivered_ms=core.delivery.delivered_us // 1000,
        rise_ms=core.delivery.rise_us // 1000,
        plateau_ms=core.delivery.plateau_us // 1000,
        duration_ms=core.settings.duration_s * 1000,
        record_path=core.record_path,
        record_events=record_events,
        draw_less=core.overload.is_draw_less(now_us),
        is_link_slow=now_us < core.slow_link_until_us,
        inhibition=inhibition,
    )


def _device(core: SessionCore) -> DeviceSnapshot | None:
    identity, capabilities = core.identity, core.capabilities
    if identity is None or capabilities is None or not core.has_link:
        return None
    version = identity.firmware_version
    fields = to_fields(capabilities)
    del fields["in_reply_to"]
    return DeviceSnapshot(
        url=core.url,
        model=identity.model,
        serial_number=identity.serial_number,
        firmware_version=f"{version >> 16}.{version >> 8 & 255}.{version & 255}",
        channel_count=capabilities.channel_count,
        amplitude_max_ua=capabilities.amplitude_max_ua,
        amplitude_step_ua=capabilities.amplitude_step_ua,
        reports_current=core.reports_current,
        has_patient_stop=CapabilityFlag.HAS_PATIENT_STOP in capabilities.flags,
        residual_ms=capabilities.residual_ms,
        capabilities=fields,
        caution=core.caution,
    )


def _channel(core: SessionCore, status: Status | None, index: int, now_us: int) -> ChannelSnapshot:
    target_ua = core.targets_ua[index]
    commanded_ua = core.commanded_ua(index, now_us)
    ceiling_ua, ceiling_reason = core.ceilings[index] if core.ceilings else (0, "")
    pulse_count = core.delivery.pulse_counts[index]
    marker_ua = core.marker_ua[index]
    if status is None or index >= len(status.channels):
        return ChannelSnapshot(
            target_ua, 0, -1, commanded_ua, ceiling_ua, ceiling_reason, 0,
            Contact.UNKNOWN.name.lower(), CyclePhase.IDLE.name.lower(),
            False, False, False, pulse_count, marker_ua,
        )  # fmt: skip
    row = status.channels[index]
    return ChannelSnapshot(
        target_ua=target_ua,
        setpoint_ua=row.setpoint_ua,
        measured_ua=row.peak_ua if core.reports_current else -1,
        shown_ua=max(commanded_ua, row.setpoint_ua, row.peak_ua, row.target_ua),
        ceiling_ua=ceiling_ua,
        ceiling_reason=ceiling_reason,
        load_ohm=row.load_ohm,
        contact=row.contact.name.lower(),
        cycle_phase=row.cycle_phase.name.lower(),
        is_lead_off=ChannelFlag.LEAD_OFF_LATCHED in row.flags,
        is_compliance_reached=ChannelFlag.COMPLIANCE_REACHED in row.flags,
        is_shorted=ChannelFlag.SHORTED in row.flags,
        pulse_count=pulse_count,
        marker_ua=marker_ua,
    )


def _patient_stop(status: Status | None) -> str:
    if status is None or InputFlag.PATIENT_STOP_PRESENT not in status.inputs:
        return "none"
    if InputFlag.PATIENT_STOP_PRESSED in status.inputs:
        return "pressed"
    return "tested" if InputFlag.PATIENT_STOP_TESTED in status.inputs else "present"
