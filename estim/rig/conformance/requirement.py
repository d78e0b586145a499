"""What a requirement is, how it is judged, and the list of them all.

Rules:
1. An id is given once and never reused: reports of years ago stay readable.
2. Each requirement cites the chapter of PROTOCOL.md that it comes from; the kit asks for no more.
3. A check says what it expected and what it saw, or why it could not tell; it never guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from estim.rig.conformance.bench import Bench

Check = Callable[["Bench"], None]


class Verdict(Enum):
    """What came of a check."""

    PASS = "pass"
    FAIL = "fail"
    NOT_TESTABLE = "not testable here"
    NOT_APPLICABLE = "not applicable"


class Failed(Exception):
    """The device does otherwise than the protocol says."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}; seen {seen}")
        self.expected = expected
        self.seen = seen


class NotReached(Failed):
    """The device does not come to where the check begins: what was to be judged was not."""


class NeverAtRest(Failed):
    """No Stop brings the device to a Status at zero: nothing more is asked of it."""


class NotTestable(Exception):
    """It cannot be told here: a capture, a hand or a fault of the simulator is missing."""


class NotApplicable(Exception):
    """The device's Capabilities leave nothing to test."""


class Interrupted(Exception):
    """Somebody asked to end."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that PROTOCOL.md asks of a device.

    Attributes:
        id: for ever.
        chapter: of PROTOCOL.md, for example `1` or `3.4`.
        text: one line.
        check: passes silently, or raises one of the exceptions of this module.
    """

    id: str
    chapter: str
    text: str
    check: Check

    @property
    def group(self) -> str:
        """Return the part of the id before its number."""
        return self.id.split("-")[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """A requirement and its verdict.

    Attributes:
        requirement: what was asked.
        verdict: what came of it.
        expected: and `seen`: of a failure.
        seen: what the device did instead.
        why: of what was not tested; or what may explain a failure.
        follows: the id of an earlier failure that this one may follow from, '' for none.
        lasted_us: on the clock of this computer.
    """

    requirement: Requirement
    verdict: Verdict
    expected: str = ""
    seen: str = ""
    why: str = ""
    follows: str = ""
    lasted_us: int = 0


GROUPS = {
    "ID": "identity, schema, capabilities, self-test",
    "EPOCH": "epochs",
    "LINE": "frames, damage, garbage",
    "SEQ": "the sequence window",
    "STATE": "from state to state",
    "START": "starting from zero",
    "STOP": "Stop",
    "ALLOW": "every message in every state",
    "FRESH": "freshness of a Drive",
    "LEASE": "the lease",
    "LOAD": "loading a programme",
    "LIMIT": "session limits",
    "TARGET": "targets one LSB inside and outside",
    "RISE": "how output rises and falls",
    "CONTACT": "proof of the contact",
    "MEASURE": "what the device measures",
    "LEAD": "lead-off",
    "FAULT": "faults",
    "PSTOP": "the patient's own stop",
    "EVENT": "events and their ring",
    "STATUS": "Status, its times and counters",
    "FLOOD": "floods",
    "SOAK": "a long run over a bad line",
    "OUTPUT": "the pulses themselves, in a capture",
    "ALWAYS": "what holds throughout",
}
"""Every group, in the order in which they are run."""

REQUIREMENTS: dict[str, Requirement] = {}


def requirement(requirement_id: str, chapter: str, text: str) -> Callable[[Check], Check]:
    """Enter a check into the list, of its group."""

    def enter(check: Check) -> Check:
        if requirement_id in REQUIREMENTS:
            raise ValueError(f"requirement {requirement_id} is declared twice")
        entered = Requirement(requirement_id, chapter, text, check)
        if entered.group not in GROUPS:
            raise ValueError(f"requirement {requirement_id} is of no known group")
        REQUIREMENTS[requirement_id] = entered
        return check

    return enter


def fail(expected: str, seen: object) -> NoReturn:
    """Raise a failure."""
    raise Failed(expected, str(seen))


def expect(is_met: bool, expected: str, seen: object) -> None:
    """Raise a failure where a condition is not met."""
    if not is_met:
        fail(expected, seen)
