"""The station's register: which device may be used on people, by its serial number.

Rules:
1. The register is an append-only file in the configuration folder; each entry says who, why and
   when. The newest entry of a device holds; nothing is ever taken out.
2. A device that is quarantined, or whose next check is overdue, is for the bench only. So is every
   device where the register cannot be read: not knowing is no permission.
3. A device that the register does not know is not held back by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from estim.clock import Clock
from estim.errors import EstimError, LimitRefused, RecordError, UsageError
from estim.record.ledger import LOCK_WAIT_S, open_ledger, read_ledger
from estim.record.lines import Event
from estim.text import sanitize

FILE_NAME = "station-register.jsonl"
TEXT_MAX = 200
SERIAL_MAX = 64
_KIND = "standing"


class State(StrEnum):
    """Where a device stands."""

    IN_SERVICE = "in service"
    DUE = "due"
    QUARANTINED = "quarantined"
    UNKNOWN = "unknown"


ENTERED = (State.IN_SERVICE, State.QUARANTINED)
"""What an entry may say; the others follow from the date and from the file."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one device stands, by the newest entry about it.

    Attributes:
        serial_number: of the device.
        state: where it stands today.
        due: last day on which it may be used on people, if one was set.
        who, why, since: of the newest entry.
    """

    serial_number: str
    state: State
    due: date | None
    who: str
    why: str
    since: str

    @property
    def is_for_people(self) -> bool:
        """Tell whether the device may be used on people."""
        return self.state is State.IN_SERVICE

    @property
    def words(self) -> str:
        """Say it in one line."""
        if self.state is State.UNKNOWN:
            return f"standing unknown: {self.why}: bench only"
        if self.state is State.DUE:
            return f"due since {self.due} (a check is overdue): bench only"
        if self.state is State.QUARANTINED:
            return f"quarantined by {self.who} on {self.since} ({self.why}): bench only"
        return "in service" + (f", next check due {self.due}" if self.due else "")

    @property
    def remedy(self) -> str:
        """Say what gives the device back to people, '' where nothing holds it."""
        entry = f"estim station set {self.serial_number}"
        who = "--who NAME --why REASON"
        return {
            State.IN_SERVICE: "",
            State.DUE: f"verify it, then: {entry} --due DATE {who}",
            State.QUARANTINED: f"once it is sound: {entry} --state in-service {who}",
            State.UNKNOWN: "put the register file right, or restore it from a copy",
        }[self.state]


def standing(folder: Path, serial_number: str, today: date) -> Standing | None:
    """Return where a device stands; None where the register does not know it. Never raises."""
    try:
        return next((s for s in standings(folder, today) if s.serial_number == serial_number), None)
    except EstimError as error:
        return Standing(serial_number, State.UNKNOWN, None, "", str(error), "")


def standings(folder: Path, today: date) -> tuple[Standing, ...]:
    """Return where every known device stands, by serial number.

    Raises:
        RecordError: the register is damaged or cannot be read.
    """
    newest: dict[str, Standing] = {}
    for event in read_ledger(folder / FILE_NAME):
        found = _from_event(event, today, folder)
        newest[found.serial_number] = found
    return tuple(newest[serial] for serial in sorted(newest))


def history(folder: Path, serial_number: str) -> tuple[Standing, ...]:
    """Return every entry about a device as it was made, the oldest first.

    Raises:
        RecordError: the register is damaged or cannot be read.
    """
    entries = (_from_event(e, date.min, folder) for e in read_ledger(folder / FILE_NAME))
    return tuple(entry for entry in entries if entry.serial_number == serial_number)


def enter(
    folder: Path,
    serial_number: str,
    *,
    who: str,
    why: str,
    clock: Clock,
    state: State | None = None,
    due: date | None = None,
) -> Standing:
    """Append an entry, durable on return; what is not given stays as it was.

    Raises:
        UsageError: a text cannot be written down, or there is nothing to enter.
        RecordError: the register is damaged, in use or cannot be written.
    """
    _check_text("serial number", serial_number, SERIAL_MAX)
    _check_text("who", who, TEXT_MAX)
    _check_text("why", why, TEXT_MAX)
    if state is None and due is None:
        raise UsageError("nothing to enter: expected a state, a date, or both")
    today = clock.wall().date()
    with open_ledger(folder / FILE_NAME, wait_s=LOCK_WAIT_S) as ledger:
        former = [_from_event(event, date.min, folder) for event in ledger.events]
        mine = [entry for entry in former if entry.serial_number == serial_number]
        if state is None:
            state = mine[-1].state if mine else State.IN_SERVICE
        if due is None and mine:
            due = mine[-1].due
        content = {
            "serial_number": serial_number,
            "state": state.value,
            "due": due.isoformat() if due else None,
            "who": who,
            "why": why,
        }
        return _from_event(ledger.append(_KIND, content, clock), today, folder)


def check_for_people(found: Standing | None) -> None:
    """Refuse a device that the register holds back.

    Raises:
        LimitRefused: it is for the bench only.
    """
    if found is not None and not found.is_for_people:
        raise LimitRefused(f"device {found.serial_number}: {found.words}")


def _from_event(event: Event, today: date, folder: Path) -> Standing:
    fields: dict[str, Any] = dict(event.content)
    try:
        entered = State(fields["state"])
        due = date.fromisoformat(fields["due"]) if fields["due"] is not None else None
        texts = [fields[key] for key in ("serial_number", "who", "why")]
        if event.kind != _KIND or entered not in ENTERED or not all(map(_is_text, texts)):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise RecordError(f"{folder / FILE_NAME}: entry {event.seq + 1} is none") from None
    state = entered
    if entered is State.IN_SERVICE and due is not None and due < today:
        state = State.DUE
    serial_number, who, why = map(sanitize, texts)
    return Standing(serial_number, state, due, who, why, f"{event.wall:%Y-%m-%d}")


def _is_text(found: object) -> bool:
    return isinstance(found, str) and bool(found.strip())


def _check_text(what: str, text: str, longest: int) -> None:
    if not text.strip() or len(text) > longest or sanitize(text) != text:
        raise UsageError(f"{what}: expected one line of 1 to {longest} visible characters")
