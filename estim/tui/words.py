"""Words and signs that the interface shows: every state has both, so colour is never needed.

Rules:
1. Text from a file, a device or the engine passes `safe` before it is drawn.
2. No sign here is one of the strip's beat signs: only a beat may look like a beat.
3. A current is rounded up (`units.format_ma`): it never understates.
"""

from __future__ import annotations

import re

from estim.session.messages import Blame, ChannelSnapshot, Severity, Snapshot
from estim.session.states import HostState
from estim.text import REPLACEMENT, sanitize
from estim.units import format_clock, format_ma

BEAT_SIGNS = "◐◓◑◒"
"""What the strip turns through while output is possible; nothing else may draw these."""

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
    Blame.OPERATOR: "what was done at the bench",
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

CERTAINTY_WORDS = {
    "S": "read in a public source",
    "K": "common professional knowledge",
    "K?": "not checked against the original",
    "E": "an engineering proposal of this project",
}

BENCH_ONLY = (
    "Every session is a bench session: a dummy load, nobody connected. "
    "Sessions with a person need the guided visit, which this version does not have."
)

_REASON = re.compile(r"^(?:channel \d+: )?(?P<what>[^:]+: ).+ asked, (?P<allowed>.+)$")
_NO_BEATS = str.maketrans(BEAT_SIGNS, REPLACEMENT * len(BEAT_SIGNS))


def safe(text: str) -> str:
    """Return text that may be drawn: one line, visible characters, no beat sign."""
    return sanitize(text).translate(_NO_BEATS)


def current(current_ua: int) -> str:
    """Show a current with its unit."""
    return f"{format_ma(current_ua)} mA"


def load(load_ohm: int) -> str:
    """Show a load, or a dash where it is not known."""
    if load_ohm <= 0:
        return "–"
    if load_ohm < 10_000:
        return f"{load_ohm} ohm"
    return f"{load_ohm / 1000:.1f} kohm"


def clock_ms(duration_ms: int) -> str:
    """Show milliseconds as m:ss."""
    return format_clock(duration_ms // 1000)


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
