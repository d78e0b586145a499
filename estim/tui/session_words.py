"""A session in words and signs: every state has both, so colour is never needed."""

from __future__ import annotations

import re

from estim.session.messages import Blame, ChannelSnapshot, Severity, Snapshot
from estim.session.states import HostState
from estim.tui.words import current, safe

STATE_SIGNS: dict[HostState, tuple[str, str]] = {
    HostState.DISCONNECTED: ("○", "NO DEVICE"),
    HostState.IDENTIFIED: ("◇", "DEVICE FOUND"),
    HostState.READY: ("□", "READY, output off"),
    HostState.ARMED: ("▣", "ARMED, at zero"),
    HostState.RUNNING: ("▶", "RUNNING"),
    HostState.STOPPING: ("■", "STOPPING"),
    HostState.FAULT: ("▲", "FAULT"),
    HostState.CLOSED: ("●", "CLOSED, output off"),
}

SEVERITY_SIGNS: dict[Severity, str] = {
    Severity.INFORMATION: "·",
    Severity.WARNING: "!",
    Severity.ALARM: "▲",
}

BLAME_WORDS: dict[Blame, str] = {
    Blame.DEVICE: "the stimulator",
    Blame.RIG: "cables, electrodes or line",
    Blame.HOST: "this computer",
    Blame.OPERATOR: "what was done here",
    Blame.UNKNOWN: "not known",
}

CYCLE_WORDS = {
    "idle": "",
    "waiting": "waiting for its turn",
    "ramp_up": "ramp up",
    "plateau": "plateau",
    "ramp_down": "ramp down",
    "off": "off time",
}

LOAD_OPEN_OHM = 100_000
"""From here on it is no load of a person or a bench, and its figure says nothing."""

_REASON = re.compile(r"^(?:channel \d+: )?(?P<what>[^:]+: ).+ asked, (?P<allowed>.+)$")


def load(load_ohm: int) -> str:
    """Show a load, or a dash where it is not known."""
    if load_ohm <= 0:
        return "–"
    if load_ohm < 10_000:
        return f"{load_ohm} ohm"
    if load_ohm >= LOAD_OPEN_OHM:
        return f">{LOAD_OPEN_OHM // 1000} kohm"
    return f"{load_ohm / 1000:.1f} kohm"


def measured(channel: ChannelSnapshot) -> str:
    """Show what the device measured, or that it cannot."""
    return "set, not measured" if channel.measured_ua < 0 else current(channel.measured_ua)


def contact(channel: ChannelSnapshot) -> str:
    """Show what is known of a channel's electrodes, in words and a sign."""
    if channel.is_lead_off or channel.contact == "off":
        return "✗ off"
    if channel.is_shorted:
        return "! shorted"
    if channel.contact == "good":
        return "! voltage max" if channel.is_compliance_reached else "✓ good"
    return "? unknown"


def limit(reason: str) -> str:
    """Shorten the kernel's refusal of the next step to the limit and whose it is."""
    found = _REASON.match(reason)
    return safe(found["what"] + found["allowed"] if found else reason)


def left_ms(snapshot: Snapshot) -> int | None:
    """Return the time that is left; None where a session has no end."""
    if snapshot.duration_ms <= 0:
        return None
    return max(0, snapshot.duration_ms - snapshot.plateau_ms)


def largest_ua(snapshot: Snapshot) -> int:
    """Return the largest current that any channel may be delivering."""
    return max((channel.shown_ua for channel in snapshot.channels), default=0)


def state_words(snapshot: Snapshot) -> tuple[str, str]:
    """Return sign and words for the state; ARMED after a pause says so."""
    sign, words = STATE_SIGNS[snapshot.state]
    if snapshot.state is HostState.ARMED and any(row.marker_ua for row in snapshot.channels):
        return sign, "PAUSED, at zero"
    if snapshot.state is HostState.READY and not snapshot.has_program:
        return sign, "STOPPED, output off"
    return sign, words


def is_over(snapshot: Snapshot) -> bool:
    """Tell whether the visit has been closed."""
    return snapshot.state is HostState.CLOSED
