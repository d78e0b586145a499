"""Every state of a session and every way between them, in one table.

Rules:
1. A pair of state and trigger that is not in `TRANSITIONS` changes nothing.
2. Output is possible in RUNNING alone, and RUNNING is entered from ARMED at zero.
3. FAULT is latched: only an acknowledgement leaves it, and never towards output.
4. The diagram in ARCHITECTURE.md is drawn from this table.
"""

from __future__ import annotations

from enum import Enum

from firmware_protocol.messages import WantedState


class HostState(Enum):
    """Where a session stands."""

    DISCONNECTED = "disconnected"
    IDENTIFIED = "identified"
    READY = "ready"
    ARMED = "armed"
    RUNNING = "running"
    STOPPING = "stopping"
    FAULT = "fault"
    CLOSED = "closed"


class Trigger(Enum):
    """What moves a session on."""

    IDENTIFIED = "device identified"
    PREPARED = "programme loaded"
    ARMED = "device armed"
    STARTED = "device running"
    PAUSED = "pause asked"
    STOPPED = "stop asked"
    ZERO_CONFIRMED = "zero confirmed"
    LINK_CLOSED = "link closed at rest"
    FAULT = "fault"
    ACKNOWLEDGED = "fault acknowledged"
    ACKNOWLEDGED_UNLINKED = "fault acknowledged, no link"
    CLOSED = "visit closed"


_S = HostState
_T = Trigger

TRANSITIONS: dict[tuple[HostState, Trigger], HostState] = {
    (_S.DISCONNECTED, _T.IDENTIFIED): _S.IDENTIFIED,
    (_S.IDENTIFIED, _T.PREPARED): _S.READY,
    (_S.READY, _T.PREPARED): _S.READY,
    (_S.READY, _T.ARMED): _S.ARMED,
    (_S.ARMED, _T.STARTED): _S.RUNNING,
    (_S.RUNNING, _T.PAUSED): _S.ARMED,
    (_S.ARMED, _T.STOPPED): _S.STOPPING,
    (_S.RUNNING, _T.STOPPED): _S.STOPPING,
    (_S.STOPPING, _T.STOPPED): _S.STOPPING,
    (_S.READY, _T.STOPPED): _S.STOPPING,
    (_S.STOPPING, _T.ZERO_CONFIRMED): _S.READY,
    (_S.IDENTIFIED, _T.LINK_CLOSED): _S.DISCONNECTED,
    (_S.READY, _T.LINK_CLOSED): _S.DISCONNECTED,
    (_S.FAULT, _T.ACKNOWLEDGED): _S.READY,
    (_S.FAULT, _T.ACKNOWLEDGED_UNLINKED): _S.DISCONNECTED,
    (_S.DISCONNECTED, _T.CLOSED): _S.CLOSED,
    (_S.IDENTIFIED, _T.CLOSED): _S.CLOSED,
    (_S.READY, _T.CLOSED): _S.CLOSED,
    (_S.FAULT, _T.CLOSED): _S.CLOSED,
    **{(state, _T.FAULT): _S.FAULT for state in _S if state is not _S.CLOSED},
}

WANTED: dict[HostState, WantedState] = {
    _S.ARMED: WantedState.ARMED,
    _S.RUNNING: WantedState.RUNNING,
}
"""What a Drive wants in each state; SAFE wherever nothing else is said."""

ENERGISED = (HostState.ARMED, HostState.RUNNING)
"""States in which the display must prove itself and the host must not sleep."""


def follow(state: HostState, trigger: Trigger) -> HostState | None:
    """Return the next state, or None where the table has no such way."""
    return TRANSITIONS.get((state, trigger))


def mermaid() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> disconnected"]
    for (state, trigger), target in TRANSITIONS.items():
        if trigger is not Trigger.FAULT:
            lines.append(f"    {state.value} --> {target.value}: {trigger.value}")
    lines.append("    closed --> [*]")
    lines.append("    note right of fault: entered from every state but closed; latched")
    return "\n".join(lines)
