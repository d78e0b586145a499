"""Snapshots as an engine would send them, for looking at one thing at a time."""

from __future__ import annotations

from typing import Any

from estim.session.messages import Blame, ChannelSnapshot, DeviceSnapshot, Fault, Snapshot
from estim.session.states import HostState

REASON = "channel 1: amplitude: 25.001 mA asked, 25 mA allowed by the profile"


def channel(**changes: Any) -> ChannelSnapshot:
    """Return a channel at 12 mA commanded and 11.8 mA measured."""
    fields: dict[str, Any] = {
        "target_ua": 12_000,
        "setpoint_ua": 12_000,
        "measured_ua": 11_800,
        "shown_ua": 12_000,
        "ceiling_ua": 25_000,
        "ceiling_reason": REASON,
        "load_ohm": 512,
        "contact": "good",
        "cycle_phase": "plateau",
        "is_lead_off": False,
        "is_compliance_reached": False,
        "is_shorted": False,
        "pulse_count": 1234,
        "marker_ua": 0,
    }
    return ChannelSnapshot(**(fields | changes))


def snapshot(**changes: Any) -> Snapshot:
    """Return a running session with one channel."""
    fields: dict[str, Any] = {
        "at_us": 1_000_000,
        "state": HostState.RUNNING,
        "is_busy": False,
        "device": DeviceSnapshot(
            "sim:", "virtual", "SIM-1", "1.0.0", 4, 100_000, 100, True, False, 330, {}
        ),
        "profile_id": "dpn-conventional",
        "has_program": True,
        "prepared_digest": "",
        "channels": (channel(),),
        "status_age_ms": 20,
        "is_known": True,
        "latch_count": 0,
        "fault": None,
        "patient_stop": "none",
        "battery_percent": 255,
        "delivered_ms": 65_000,
        "rise_ms": 5_000,
        "plateau_ms": 60_000,
        "duration_ms": 1_800_000,
        "record_path": "",
        "record_events": 10,
        "draw_less": False,
        "is_link_slow": False,
        "inhibition": "",
    }
    return Snapshot(**(fields | changes))


FAULT = Fault("link_lost", "the device fell silent", "check cable and device", Blame.UNKNOWN)
