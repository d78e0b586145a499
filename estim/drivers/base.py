"""The role of a stimulator, without I/O: bytes in, events out; approvals in, bytes out.

Rules:
1. A driver takes output only as an `Approved`, and drops one that has expired.
2. `stop` needs no approval, goes ahead of everything, drops a Drive that waits, and repeats until
   zero is confirmed.
3. Only the newest Drive waits to be written: there is no queue of them.
4. A driver never reads a clock and never blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from estim.errors import EstimError
from estim.transport.line_settings import LineSettings
from firmware_protocol.messages import Capabilities, Event, Identity, Status
from firmware_protocol.program import PulseProgram

if TYPE_CHECKING:  # who only asks a device who it is needs no kernel
    from estim.safety.verdict import Approved, ApprovedLoad

NOT_TOLD = "not told"
"""Serial number of a device that cannot say its own."""


class Use(Enum):
    """On whom a kind of device may be used."""

    CLINICAL = "clinical"
    RESEARCH = "research"
    """On the bench; on a person only where the site's policy says so."""
    BENCH = "bench"
    """Never on a person."""


class Identified(NamedTuple):
    """The device said who it is and what it can do, and took our epoch.

    Attributes:
        use: on whom it may be used.
        caution: what whoever picks it must know, in plain words; '' for nothing.
    """

    identity: Identity
    capabilities: Capabilities
    use: Use = Use.CLINICAL
    caution: str = ""


class ConnectFailed(NamedTuple):
    """There is nobody, or somebody who may not be driven."""

    error: EstimError


class Loaded(NamedTuple):
    """The device holds the programme and the limits.

    Attributes:
        remarks: what it plays otherwise than written, and never more; in plain words.
    """

    program_digest: int
    limits_digest: int
    remarks: tuple[str, ...] = ()


class LoadFailed(NamedTuple):
    """The device does not hold the programme."""

    error: EstimError


class StatusSeen(NamedTuple):
    """A report of this epoch came in."""

    status: Status


class DriveRefused(NamedTuple):
    """The device refused a Drive, or something else it was sent.

    Attributes:
        explanation: what, why and within which limit.
        is_drive: a Drive was refused, so the device no longer follows.
        is_lead_off: a target came for a channel that has just latched; its Status follows at once.
    """

    explanation: str
    is_drive: bool = True
    is_lead_off: bool = False


class DeviceTold(NamedTuple):
    """The device told an event."""

    event: Event


class SelfTested(NamedTuple):
    """The device tested itself, or would not.

    Attributes:
        passed, failed: bit masks of checks.
        refusal: why it did not, '' where it did.
    """

    passed: int = 0
    failed: int = 0
    refusal: str = ""


class RoundTrip(NamedTuple):
    """A Drive was answered."""

    duration_us: int


class LineDamaged(NamedTuple):
    """Bytes came that are no message."""

    explanation: str


DriverEvent = (
    Identified
    | ConnectFailed
    | Loaded
    | LoadFailed
    | StatusSeen
    | DriveRefused
    | DeviceTold
    | SelfTested
    | RoundTrip
    | LineDamaged
)


class Fitting(NamedTuple):
    """How a programme fits a kind of device.

    Attributes:
        lacks: one sentence for each thing that it cannot play; such a programme is not loaded.
        remarks: one sentence for each thing that is played otherwise than written, and never more.
    """

    lacks: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class Output:
    """Bytes to write, in this order: all of `urgent`, all of `ordered`, then the newest Drive."""

    urgent: list[bytes]
    ordered: list[bytes]
    drive: bytes | None


class Stimulator(ABC):
    """Speak one kind of device.

    Attributes:
        line: how its port is set.
        options: names in a URL's query that are the driver's own, and none of the port's.
        capabilities: of every device of the kind; None where each says its own.
    """

    line: ClassVar[LineSettings] = LineSettings()
    options: ClassVar[frozenset[str]] = frozenset()
    capabilities: ClassVar[Capabilities | None] = None

    @classmethod
    def fitting(cls, program: PulseProgram) -> Fitting:
        """Say how a programme fits, beyond what Capabilities tell; no device is needed."""
        return Fitting()

    @abstractmethod
    def __init__(self, epoch: int, address: str) -> None:
        """Begin one connection, with 64 random bits and the URL as a person wrote it."""

    @abstractmethod
    def connect(self, now_us: int) -> None:
        """Begin to identify the device."""

    @abstractmethod
    def receive(self, received: bytes, now_us: int) -> None:
        """Take bytes from the line."""

    @abstractmethod
    def poll(self, now_us: int) -> list[DriverEvent]:
        """Return what happened, time-outs included."""

    @abstractmethod
    def next_deadline_us(self) -> int | None:
        """Return when `poll` is due at the latest."""

    @abstractmethod
    def load(self, approved: ApprovedLoad, now_us: int) -> None:
        """Begin to load programme and limits."""

    @abstractmethod
    def drive(self, approved: Approved, now_us: int) -> None:
        """Say the whole wanted state."""

    @abstractmethod
    def stop(self, now_us: int) -> None:
        """Go to zero, ahead of everything."""

    @abstractmethod
    def acknowledge(self, latch_count: int, channel_mask: int, now_us: int) -> None:
        """Clear the device's fault (mask 0), or lead-off latches."""

    def self_test(self, now_us: int) -> bool:
        """Have the device test itself, at rest; False where this kind of device cannot."""
        return False

    @property
    @abstractmethod
    def has_output(self) -> bool:
        """Tell whether anything is to be written now."""

    @abstractmethod
    def take_output(self) -> Output:
        """Return what is to be written now, and forget it."""
