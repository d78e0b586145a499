"""The words of the model: bounds, ticks, what host and device remember, frames on the line.

Rules:
1. Nothing holds an absolute time, epoch, sequence or latch count: only how old a thing is, or
   whether it is the newest. So the states are finitely many, and none is reached twice under two
   names.
2. Every figure comes from `firmware_protocol.limits` or from the session itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from estim.session.state import FROZEN_US, OBEY_US, SILENT_ENERGISED_US
from estim.session.states import HostState
from firmware_protocol import limits
from firmware_protocol.messages import DeviceState, FaultCode, WantedState

UNIT_UA = limits.contact_ua.maximum
"""One step of amplitude: where contact is judged, and the most that one cycle may rise."""
assert limits.rise_per_cycle_ua.maximum == UNIT_UA


@dataclass(frozen=True)
class Bound:
    """How much is explored.

    Attributes:
        tick_ms: one tick of time; every timer is rounded up to whole ticks.
        channels: of device and programme.
        top: highest amplitude that the patient's limit allows, in units of `UNIT_UA`.
        to_device, to_host: frames that can be on their way at once.
        misfortunes: how many things may go wrong, in any order and at any time (`actions.py`).
        happenings: classes of events that may happen (`actions.py`).
    """

    name: str
    tick_ms: int = 160
    channels: int = 1
    top: int = 2
    to_device: int = 2
    to_host: int = 1
    misfortunes: int = 1
    happenings: frozenset[str] = frozenset()

    def ticks(self, duration_us: int) -> int:
        """Return the first whole number of ticks that is more than a duration."""
        return duration_us // (self.tick_ms * 1000) + 1

    @property
    def lease(self) -> int:
        """Return how many ticks after the echoed one output ends."""
        return -(-limits.lease_ms.maximum // self.tick_ms)

    @property
    def oldest(self) -> int:
        """Return the age at which an echo is too old, whatever comes."""
        return self.lease + 1

    @property
    def silent(self) -> int:
        """Return the age of a Status at which an energised host gives up."""
        return self.ticks(SILENT_ENERGISED_US)

    @property
    def frozen(self) -> int:
        """Return the age of a heartbeat at which the engine gives up."""
        return self.ticks(FROZEN_US)

    @property
    def stalled(self) -> int:
        """Return how many ticks without a turn of the loop are a stall."""
        return self.ticks(limits.lease_ms.maximum * 1000)

    @property
    def obeyed(self) -> int:
        """Return the age at which nothing that was lowered can still flow."""
        return self.ticks(OBEY_US)

    @property
    def dark(self) -> int:
        """Return how many ticks of a frozen display output may outlive."""
        return self.frozen + self.lease


# What is on the line. Epoch: 1 the newest host's, 2 an earlier one's. `is_late`: a newer frame has
# overtaken it, or it has been delivered before. `kind` keeps tuples of two kinds from being equal.


class Hello(NamedTuple):
    epoch: int = 1
    kind: str = "hello"


class Load(NamedTuple):
    """Limits and programme, in one."""

    epoch: int = 1
    is_late: bool = False
    kind: str = "load"


class Drive(NamedTuple):
    """`is_newest`: it was sent since the host last lowered anything."""

    wanted: WantedState
    targets: tuple[int, ...]
    echo_age: int
    has_digests: bool
    is_newest: bool = True
    epoch: int = 1
    is_late: bool = False
    kind: str = "drive"


class Stop(NamedTuple):
    """Outside every order."""

    kind: str = "stop"


class Acknowledge(NamedTuple):
    """`is_latest`: nothing has latched since the Status that the operator saw."""

    channel_mask: int
    is_latest: bool
    epoch: int = 1
    is_late: bool = False
    kind: str = "acknowledge"


class Identity(NamedTuple):
    is_adopted: bool
    epoch: int = 1
    is_late: bool = False
    kind: str = "identity"


class Accepted(NamedTuple):
    """The programme was taken."""

    epoch: int = 1
    is_late: bool = False
    kind: str = "accepted"


class Report(NamedTuple):
    """What a Status says, as far as anything follows from it."""

    state: DeviceState
    setpoints: tuple[int, ...]
    targets: tuple[int, ...]
    latched: int
    fault: FaultCode
    is_loaded: bool
    is_pressed: bool


class Status(NamedTuple):
    """A report, and what came with it.

    Attributes:
        is_latest: nothing has latched since.
        follows: the newest Drive accepted was sent since the host last lowered anything.
        refused: why a Drive was not obeyed; '' where it was.
    """

    report: Report
    tick_age: int = 0
    is_latest: bool = True
    follows: bool = False
    refused: str = ""
    epoch: int = 1
    is_late: bool = False
    kind: str = "status"


Frame = Hello | Load | Drive | Stop | Acknowledge | Identity | Accepted | Status

ALIVE, HELD, ASLEEP, DEAD = "alive", "held", "asleep", "dead"


class Host(NamedTuple):
    """What the engine knows, and, last, what only the judge knows.

    Attributes:
        life: `HELD` is SIGSTOP or a machine too busy; `ASLEEP` a suspended one.
        away: ticks since the loop last turned.
        linking: 0 no line, 1 a Hello is out, 2 identified.
        loading: 0 nothing, 1 sent, 2 accepted and not yet reported.
        floor: what was lowered lately, and the device is not known to have followed.
        floor_age: ticks since.
        wish: what waits for the record: '', 'arm', 'start', 'resume', 'raise N', 'return'.
        goal: what waits for the device: '', 'arm', 'start', 'resume'.
        stops: a Stop is repeated until zero is confirmed.
        has_latest: nothing has latched since the newest Status.
        word: the newest word of operator or host: does anybody want output?
        wordless: ticks since output had to end, by its word or the host's end.
        dark: ticks since the display froze.
    """

    life: str = DEAD
    away: int = 0
    state: HostState = HostState.DISCONNECTED
    linking: int = 0
    loading: int = 0
    has_program: bool = False
    wish: str = ""
    goal: str = ""
    targets: tuple[int, ...] = ()
    marker: tuple[int, ...] = ()
    floor: tuple[int, ...] = ()
    floor_age: int = 0
    seen: Report | None = None
    status_age: int = 0
    echo_age: int = 0
    beat_age: int = 0
    is_beating: bool = True
    awaits_pause: bool = False
    stops: bool = False
    is_acknowledging: bool = False
    has_latest: bool = False
    is_leaving: bool = False
    word: bool = False
    wordless: int = 0
    dark: int = 0


class Device(NamedTuple):
    """What the device knows, and, last, what only the judge knows.

    Attributes:
        epoch: 0 none since boot, 1 the newest host's, 2 an earlier one's.
        lease: ticks of permission left, while energised.
        good: channels whose contact is proven, as a mask.
        is_plateau: pulses are felt now; outside, the cycle is in a ramp or off.
        risen: channels that rose in this tick, or in this on-phase of a cycle, as a mask.
        follows: the newest Drive accepted was sent since the host last lowered anything.
        unheard: ticks since any Drive reached it.
    """

    state: DeviceState = DeviceState.SAFE
    epoch: int = 0
    is_loaded: bool = False
    lease: int = 0
    setpoints: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    good: int = 0
    latched: int = 0
    fault: FaultCode = FaultCode.NONE
    is_pressed: bool = False
    is_plateau: bool = True
    risen: int = 0
    follows: bool = False
    unheard: int = 0
