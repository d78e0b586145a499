"""What happens to a session besides what its driver reports, and what a session wants done.

The core is a function from events to effects; the engine turns the world into the first and the
second into the world. Both are told apart by their type and never compared.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from estim.drivers.base import DriverEvent
from estim.errors import EstimError
from estim.safety.bounds import Bounds
from estim.safety.kernel import DriveRequest
from estim.safety.verdict import Approved, Refused
from estim.session.messages import OpenRecord, Reply, Request
from firmware_protocol.program import PulseProgram

# Events.


class RequestMade(NamedTuple):
    """The interface asks for something."""

    request: Request


class PortFailed(NamedTuple):
    """The port did not open."""

    error: EstimError


class PortGone(NamedTuple):
    """The port was there and went away."""

    explanation: str


class RecordOpened(NamedTuple):
    """The record exists and its header is durable."""

    path: str


class RecordDurable(NamedTuple):
    """What was appended with this token survives a crash."""

    token: int


class RecordFailed(NamedTuple):
    """The record cannot be written (any more)."""

    explanation: str


class RecordSealed(NamedTuple):
    """The record is sealed and closed."""

    head: str


class LoadReviewed(NamedTuple):
    """The kernel judged a load; None means that the driver is loading."""

    refused: Refused | None


class DriveReviewed(NamedTuple):
    """The kernel judged a Drive; an approved one is on its way."""

    request: DriveRequest
    result: Approved | Refused


class DriveWritten(NamedTuple):
    """A Drive's bytes were handed to the line."""

    at_us: int


class LoopStalled(NamedTuple):
    """The engine's loop did not turn for too long."""

    gap_us: int


class Suspended(NamedTuple):
    """The machine slept."""

    duration_us: int


class InterfaceGone:
    """The interface closed its end, or died."""


class Interrupted(NamedTuple):
    """The engine was told to end by a signal."""

    name: str


class FaultPlayed(NamedTuple):
    """The simulator was told a fault, or could not be."""

    request_id: int
    line: str
    error: EstimError | None


class Ticked:
    """Time has passed."""


CoreEvent = (
    RequestMade
    | DriverEvent
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
    | FaultPlayed
    | Ticked
)

# Effects.


class OpenRecordFile(NamedTuple):
    """Create the record."""

    request: OpenRecord


class Append(NamedTuple):
    """Append to the record; with a token, say when it is durable."""

    kind: str
    content: dict[str, Any]
    token: int | None = None


class SealRecord(NamedTuple):
    """Write the seal and close the record."""

    reason: str


class OpenPort(NamedTuple):
    """Open a device URL and let its driver identify."""

    url: str


class ClosePort:
    """Close the port."""


class ReviewLoad(NamedTuple):
    """Have a programme reviewed and, if approved, loaded."""

    program: PulseProgram
    bounds: Bounds


class ReviewDrive(NamedTuple):
    """Have a Drive reviewed and, if approved, sent."""

    request: DriveRequest


class StopOutput:
    """Send Stop, ahead of everything."""


class AcknowledgeDevice(NamedTuple):
    """Clear the device's fault (mask 0) or lead-off latches."""

    latch_count: int
    channel_mask: int


class TestDevice:
    """Have the device test itself."""


class WatchFrames(NamedTuple):
    """Publish the frames on the line, or cease to."""

    is_wanted: bool


class PlayFault(NamedTuple):
    """Tell the simulator a fault; answered by `FaultPlayed`."""

    request_id: int
    line: str


class Say(NamedTuple):
    """Tell the interface."""

    reply: Reply


class Inhibit(NamedTuple):
    """Keep the machine awake, or let it sleep again."""

    is_wanted: bool


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
    | TestDevice
    | WatchFrames
    | PlayFault
    | Say
    | Inhibit
    | EndEngine
)
