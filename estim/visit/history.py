"""Read past visits from the record folder.

Rules:
1. Records are the truth. Nothing here raises because of what one of them holds: a damaged record is
   a visit that says so, with whatever could still be read. Only a folder that cannot be read does.
2. A visit is finished once its record is closed, and holds a review and a note; else it says why it
   is not. One that was cut short, or left, is closed by the note that somebody adds to it later.
3. Answers are given back as they were confirmed, with the day and the session in which they were.
   Of a step that was confirmed twice, both stand there in order; the newest holds.
4. Readings are passed over or condensed line by line; none is held.
5. Days are those of UTC, as in the records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path

from estim.errors import RecordError
from estim.record.catalogue import LATE_NOTE, CatalogueEntry, list_records
from estim.record.names import record_path
from estim.record.verify import SealState
from estim.visit.course import NOTE
from estim.visit.fold import REVIEW, Facts, read_facts

_CLINICAL = "clinical"
# An hour of two noisy channels takes half a second to read; facts take some kB.
_KEPT_FACTS = 256
_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit as its record tells it.

    Attributes:
        session_id: names the record.
        started: when its record began, or its first readable line; None where there is none.
        state: of the record, as the catalogue says.
        pseudonym: to whom it belongs; None where that cannot be read.
        end_reason: why it ended, None where nothing says so.
        facts: what its lines say.
        problem: what keeps the record from being relied on, in words; '' where nothing does.
    """

    session_id: str
    started: datetime | None
    state: str
    pseudonym: str | None
    operator: str | None
    end_reason: str | None
    facts: Facts = field(repr=False)
    problem: str = ""

    @property
    def on(self) -> date | None:
        """Return the day on which it began."""
        return None if self.started is None else self.started.date()

    @property
    def unfinished_because(self) -> tuple[str, ...]:
        """Say what is missing; nothing where the visit is finished, or closed by a later note."""
        if self.closed_on is not None:
            return ()
        missing = [self.problem] if self.problem else []
        if self.state == SealState.UNSEALED:
            missing.append("its record was never closed, or the visit is still going on")
        elif self.end_reason is None and not self.problem:
            missing.append("it was cut short: nothing says why it ended")
        if self.facts.latest(REVIEW) is None:
            missing.append("there is no review")
        if not self.facts.notes:
            missing.append("there is no note")
        return tuple(missing)

    @property
    def closed_on(self) -> date | None:
        """Return when a note closed a visit that lacks something (rule 2); None where none did."""
        is_whole = self.facts.latest(REVIEW) is not None and self.end_reason is not None
        if self.problem or is_whole or self.state == SealState.UNSEALED:
            return None
        return self.facts.noted_later_on

    @property
    def is_finished(self) -> bool:
        """Tell whether nothing is left to be done."""
        return not self.unfinished_because

    @property
    def delivered_ms(self) -> int | None:
        """Return how long current flowed; None where any part of it is uncertain."""
        total_ms = 0
        for each in self.facts.stimulations:
            if each.delivered_ms is None or each.is_uncertain:
                return None
            total_ms += each.delivered_ms
        return total_ms


@dataclass(frozen=True, slots=True)
class Person:
    """One pseudonym, and the days of its visits, newest first.

    Attributes:
        damaged_count: visits whose records cannot be relied on; their days count all the same.
    """

    pseudonym: str
    visits_on: tuple[date, ...]
    damaged_count: int

    @property
    def last_visit_on(self) -> date | None:
        """Return the day of the last visit, None where no record tells its day."""
        return self.visits_on[0] if self.visits_on else None


def visits_of(
    folder: Path, pseudonym: str, key: bytes | None = None, *, at_most: int | None = None
) -> tuple[Visit, ...]:
    """Return the visits of a person, newest first.

    Args:
        folder: where the records lie.
        pseudonym: the person.
        key: of this station, so that the catalogue serves here as it serves elsewhere.
        at_most: read no more than so many.

    Raises:
        RecordError: the folder itself cannot be read.
    """
    entries = _entries(folder, key)
    # Where damage took day or pseudonym, only reading tells whether it is among the newest.
    doubtful = [each for each in entries if each.started_wall is None or each.pseudonym is None]
    plain = [each for each in entries if each.pseudonym == pseudonym and each.started_wall]
    visits = _read(folder, (*doubtful, *plain[:at_most]))
    return tuple(visit for visit in visits if visit.pseudonym == pseudonym)[:at_most]


def unfinished(folder: Path, key: bytes | None = None) -> tuple[Visit, ...]:
    """Return the visits that somebody still has to look at, newest first.

    Records of which nobody can tell whose they are, or what they are, are among them. Those that
    the catalogue knows to be finished, or closed by a later note, are not read.

    Raises:
        RecordError: the folder itself cannot be read.
    """
    entries = [entry for entry in _entries(folder, key) if not _is_finished(entry)]
    return _read(folder, entries)


def people(folder: Path, key: bytes | None = None) -> tuple[Person, ...]:
    """Return everybody who has a record of a visit, the one seen last first.

    Raises:
        RecordError: the folder itself cannot be read.
    """
    days: dict[str, set[date]] = {}
    damaged: dict[str, int] = {}
    for entry in list_records(folder, key):
        if entry.kind != _CLINICAL or entry.pseudonym is None:
            continue
        mine = days.setdefault(entry.pseudonym, set())
        started = _started(entry)
        if started is not None:
            mine.add(started.date())
        if _problem(entry):
            damaged[entry.pseudonym] = damaged.get(entry.pseudonym, 0) + 1
    found = [
        Person(pseudonym, tuple(sorted(mine, reverse=True)), damaged.get(pseudonym, 0))
        for pseudonym, mine in sorted(days.items())
    ]
    return tuple(sorted(found, key=lambda each: each.last_visit_on or date.min, reverse=True))


def find(visits: Iterable[Visit], session_id: str) -> Visit | None:
    """Return the visit that a session id names."""
    return next((visit for visit in visits if visit.session_id == session_id), None)


def newest_holding(folder: Path, annotation: str, key: bytes | None = None) -> tuple[Visit, ...]:
    """Return for every person the newest visit that holds a kind of annotation.

    One that cannot be relied on comes in its place where it is newer, as it may hold one too.

    Raises:
        RecordError: the folder itself cannot be read.
    """
    newest: dict[str, CatalogueEntry] = {}
    for entry in _entries(folder, key):
        is_wanted = annotation in entry.annotations.split() or _problem(entry)
        if entry.pseudonym is not None and is_wanted:
            newest.setdefault(entry.pseudonym, entry)
    return _read(folder, newest.values())


def _entries(folder: Path, key: bytes | None) -> list[CatalogueEntry]:
    """Return what may be a visit; what cannot be told is no bench session."""
    return [entry for entry in list_records(folder, key) if entry.kind in (_CLINICAL, None)]


def _read(folder: Path, entries: Iterable[CatalogueEntry]) -> tuple[Visit, ...]:
    """Return these visits, newest first.

    One without any day counts as the newest: nothing older may then be taken for the last.
    """
    visits = [_visit(folder, entry) for entry in entries]
    visits.sort(key=lambda visit: visit.started or _LATEST, reverse=True)
    return tuple(visits)


def _is_finished(entry: CatalogueEntry) -> bool:
    if entry.state == SealState.UNSEALED or _problem(entry):
        return False
    kinds = set(entry.annotations.split())
    return LATE_NOTE in kinds or (entry.end_reason is not None and {REVIEW, NOTE} <= kinds)


def _visit(folder: Path, entry: CatalogueEntry) -> Visit:
    problem = _problem(entry)
    path = record_path(folder, entry.session_id)
    try:
        status = path.lstat()
        facts = _kept_facts(path, status.st_size, status.st_mtime_ns)
    except (OSError, RecordError) as error:
        facts = Facts()
        problem = problem or f"its record cannot be read: {error}"
    if facts.faults and not problem:
        problem = facts.faults[0]
    return Visit(
        entry.session_id,
        _started(entry) or facts.first_wall,
        entry.state,
        # Where damage took the header, the visit's first annotation still says whose it is.
        entry.pseudonym or facts.pseudonym,
        entry.operator,
        entry.end_reason,
        facts,
        problem,
    )


@lru_cache(maxsize=_KEPT_FACTS)
def _kept_facts(path: Path, size: int, changed_ns: int) -> Facts:
    return read_facts(path)


def _problem(entry: CatalogueEntry) -> str:
    if entry.state in ("damaged", "unreadable"):
        return f"its record is {entry.state}"
    if entry.kind is None or entry.pseudonym is None:
        return "its record does not say whose it is"
    return ""


def _started(entry: CatalogueEntry) -> datetime | None:
    return None if entry.started_wall is None else datetime.fromisoformat(entry.started_wall)
