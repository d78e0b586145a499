"""What happens to a session, and what a session wants done.

The core is a function from events to effects; the engine turns the world into the first and the
second into the world.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from estim.drivers.base import DriverEvent
from estim.errors import EstimError
from estim.safety.bounds import Bounds
from estim.safety.kernel import DriveRequest
from estim.safety.verdict import Approved, Refused
from estim.session.messages import OpenRecord, Reply, Request
from firmware_protocol.program import PulseProgram

# Events.


@dataclass(frozen=True, slots=True)
class RequestMade:
    """The interface asks for something."""

    request: Request


@dataclass(frozen=True, slots=True)
class DriverSaid:
    """The driver reports."""

    event: DriverEvent


@dataclass(frozen=True, slots=True)
class PortFailed:
    """The port did not open."""

    error: EstimError


@dataclass(frozen=True, slots=True)
class PortGone:
    """The port was there and went away."""

    explanation: str


@dataclass(frozen=True, slots=True)
class RecordOpened:
    """The record exists and its header is durable."""

    path: str


@dataclass(frozen=True, slots=True)
class RecordDurable:
    """What was appended with this token survives a crash."""

    token: int


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """The record cannot be written (any more)."""

    explanation: str


@dataclass(frozen=True, slots=True)
class RecordSealed:
    """The record is sealed and closed."""

    head: str


@dataclass(frozen=True, slots=True)
class LoadReviewed:
    """The kernel judged a load; None means that the driver is loading."""

    refused: Refused | None


@dataclass(frozen=True, slots=True)
class DriveReviewed:
    """The kernel judged a Drive; an approved one is on its way."""

    request: DriveRequest
    result: Approved | Refused


@dataclass(frozen=True, slots=True)
class DriveWritten:
    """A Drive's bytes were handed to the line."""

    at_us: int


@dataclass(frozen=True, slots=True)
class LoopStalled:
    """The engine's loop did not turn for too long."""

    gap_us: int


@dataclass(frozen=True, slots=True)
class Suspended:
    """The machine slept."""

    duration_us: int


@dataclass(frozen=True, slots=True)
class InterfaceGone:
    """The interface closed its end, or died."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The engine was told to end by a signal."""

    name: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


CoreEvent = (
    RequestMade
    | DriverSaid
    | PortFailed
    | PortGone
    | RecordOpened
    | RecordDurable
    | RecordFailed
    | RecordSealed
    | LoadReviewed
    | DriveReviewed
    | DriveWritten
    | LoopStalled
    | Suspended
    | InterfaceGone
    | Interrupted
    | Ticked
)

# Effects.


@dataclass(frozen=True, slots=True)
class OpenRecordFile:
    """Create the record."""

    request: OpenRecord


@dataclass(frozen=True, slots=True)
class Append:
    """Append to the record; with a token, say when it is durable."""

    kind: str
    content: dict[str, Any] = field(default_factory=dict)
    token: int | None = None


@dataclass(frozen=True, slots=True)
class SealRecord:
    """Write the seal and close the record."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Open a device URL and let its driver identify."""

    url: str


@dataclass(frozen=True, slots=True)
class ClosePort:
    """Close the port."""


@dataclass(frozen=True, slots=True)
class ReviewLoad:
    """Have a programme reviewed and, if approved, loaded."""

    program: PulseProgram
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class ReviewDrive:
    """Have a Drive reviewed and, if approved, sent."""

    request: DriveRequest


@dataclass(frozen=True, slots=True)
class StopOutput:
    """Send Stop, ahead of everything."""


@dataclass(frozen=True, slots=True)
class AcknowledgeDevice:
    """Clear the device's fault (mask 0) or lead-off latches."""

    latch_count: int
    channel_mask: int


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the interface."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Inhibit:
    """Keep the machine awake, or let it sleep again."""

    is_wanted: bool


@dataclass(frozen=True, slots=True)
class EndEngine:
    """Leave the loop."""


Effect = (
    OpenRecordFile
    | Append
    | SealRecord
    | OpenPort
    | ClosePort
    | ReviewLoad
    | ReviewDrive
    | StopOutput
    | AcknowledgeDevice
    | Say
    | Inhibit
    | EndEngine
)
