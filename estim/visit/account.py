"""Give an account of one visit from its record: what was confirmed, planned, delivered, added.

Rules:
1. Everything here comes from the record. What it does not hold is None or empty, never guessed.
2. Only what is named here is taken from a line; the rest of its content stays in the record.
3. Nothing raises because of what a line holds; what is not as it should be stands in
   `facts.faults`, or is passed over.
4. Text passes `sanitize` on its way in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from estim.errors import ProfileError
from estim.record import reader
from estim.record.lines import ANNOTATION, HEADER, SEAL, Event
from estim.text import sanitize
from estim.units import US_PER_MS
from estim.visit import course, guide, protocol
from estim.visit.course import READ_BACK, VISIT
from estim.visit.fold import Confirmed, Facts, Stimulation, read_facts
from estim.visit.known import Given
from estim.visit.protocol import LoadedProtocol, Protocol, Step
from estim.visit.questions import Question

HAPPENED_MAX = 300
"""So many pauses, stops, alarms and the like are told; of a loose contact there can be thousands.
What is beyond them is counted."""
_NOTED_MAX = 5000

_TELEMETRY = b'"kind":"telemetry_'
_TAIL_BYTES = 300

HAPPENINGS = (
    "paused", "lead_off", "rearmed", "stop", "zero_confirmed", "fault", "uncertain_delivery",
    "suspended", "stalled", "self_test",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Noted:
    """One annotation, or one thing that happened; `programme` is the number of its programme.

    0 where none was prepared yet.
    """

    wall: datetime
    mono_us: int
    kind: str
    content: Mapping[str, Any]
    programme: int


@dataclass(frozen=True, slots=True)
class Programme:
    """One programme as it was prepared, and what its record says of it.

    Attributes:
        number: from 1, in order.
        planned_s: of plateau, in seconds; None where the record does not say.
        areas_mm2: of each channel's smallest electrode, by channel.
        places: where the pads lay, as it was read back; '' where nobody did.
        plateau_ms: with every target reached; None where nothing was delivered.
        started, ended: first and last time that it ran, None where it never did.
        done: what was delivered, as far as the record can be read.
    """

    number: int
    wall: datetime
    profile_id: str
    profile_version: str
    planned_s: int | None
    ceilings_ua: tuple[int, ...]
    areas_mm2: tuple[int, ...]
    places: str = ""
    plateau_ms: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    done: Stimulation | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What the record of one visit says.

    Attributes:
        kind: 'clinical' for a visit; '' where the header is gone.
        pseudonym: whose visit it is, after every addendum; '' where nothing says so.
        recorded_for: whose it was when it was recorded.
        protocol_id, protocol_version, protocol_sha256: what it followed.
        protocol: the station's own of that id, None where there is none.
        is_same_protocol: whether that is the very file the visit followed.
        software: version that wrote the record.
        device: model, serial number and firmware as the device told them.
        is_sealed: the record is closed; `end_reason` says why.
        left_out: things that happened beyond `HAPPENED_MAX`.
        unreadable: numbers of lines that are none; what they held is missing here.
    """

    session_id: str
    facts: Facts
    kind: str = ""
    pseudonym: str = ""
    recorded_for: str = ""
    operator: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    end_reason: str = ""
    is_sealed: bool = False
    protocol_id: str = ""
    protocol_version: str = ""
    protocol_sha256: str = ""
    protocol: Protocol | None = None
    is_same_protocol: bool = False
    software: str = ""
    device: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    noted: tuple[Noted, ...] = ()
    programmes: tuple[Programme, ...] = ()
    happened: tuple[Noted, ...] = ()
    left_out: int = 0
    unreadable: tuple[int, ...] = ()

    def of_kind(self, *kinds: str) -> tuple[Noted, ...]:
        """Return the annotations of some kinds, in order."""
        return tuple(each for each in self.noted if each.kind in kinds)

    def latest(self, kind: str, when: str | None = None) -> tuple[Confirmed, ...]:
        """Return each step of a kind as it was confirmed last, in the order of the visit.

        One that was left out afterwards is none. Where the protocol is not known, nobody can tell
        before from after: then both are returned, whatever `when` is.
        """
        newest: dict[str, Confirmed] = {}
        for each in self.facts.steps:
            newest.pop(each.step, None)
            newest[each.step] = each
        for skipped in self.facts.skips:
            step = newest.get(str(skipped.content.get("step")))
            if step is not None and step.wall < skipped.wall:
                del newest[step.step]
        return tuple(
            each for each in newest.values() if each.kind == kind and self._is_when(each.step, when)
        )

    def _is_when(self, step_id: str, when: str | None) -> bool:
        step = self.step(step_id)
        return when is None or step is None or step.when == when

    def step(self, step_id: str) -> Step | None:
        """Return a step of the protocol, None where it is not known."""
        steps = self.protocol.steps if self.protocol is not None else ()
        return next((step for step in steps if step.id == step_id), None)

    @property
    def on(self) -> date | None:
        """Return the day on which the visit began (UTC)."""
        return self.started.date() if self.started else None

    @property
    def visit(self) -> course.Visit | None:
        """Return the visit as its annotations make it, None without its protocol."""
        if self.protocol is None:
            return None
        begun = course.begin(self.protocol, self.pseudonym, self.operator)
        return course.fold_all(begun, ((each.kind, each.content) for each in self.noted))

    @property
    def given(self) -> Given:
        """Return what was known around the visit, as far as its record holds it."""
        begun = next(iter(self.of_kind(VISIT)), None)
        site = begun.content.get("site") if begun is not None else None
        site = site if isinstance(site, Mapping) else {}
        tried = [each.answers.get("patient") for each in self.latest("try_stop")]
        return Given(
            today=self.on or date.min,
            sensation_valid_days=count(site.get("sensation_valid_days")) or 0,
            electrode_uses_max=count(site.get("electrode_uses_max")) or 0,
            clinicians=frozenset(
                text(each.content.get("clinician")) for each in self.of_kind(course.OVERRIDE)
            ),
            has_patient_stop="tried" in tried,
        )

    def questions(self, confirmed: Confirmed) -> Mapping[str, Question]:
        """Return the questions of a step by their id; nothing where the protocol is not known."""
        visit, step = self.visit, self.step(confirmed.step)
        if visit is None or step is None or step.kind != confirmed.kind:
            return {}
        asked = guide.form(step, visit, self.given, confirmed.answers)
        return {question.id: question for question in asked}

    @property
    def not_done(self) -> tuple[str, ...]:
        """Return the titles of the steps that were neither answered nor left out."""
        visit = self.visit
        if visit is None:
            return ()
        return tuple(step.title for step in visit.protocol.steps if not visit.is_past(step))


def read_account(path: Path) -> Account:
    """Read one record; its readings are never held.

    Raises:
        RecordError: it cannot be opened, or is not a record at all.
    """
    fold = _Fold(path.stem, read_facts(path))
    with reader.opened(path) as descriptor:
        for line in reader.record_lines(descriptor):
            if not line.is_whole or line.is_torn or line.octets is None:
                continue
            if line.octets.find(_TELEMETRY, max(0, line.size - _TAIL_BYTES)) >= 0:
                continue  # damage in a reading is for `verify` to find
            try:
                event = line.parse()
            except ValueError:
                fold.unreadable.append(line.number)
                continue
            fold.take(event)
    return fold.account()


def text(item: object) -> str:
    """Return text from a record as one safe line, '' for anything else."""
    return sanitize(item) if isinstance(item, str) else ""


def count(item: object) -> int | None:
    """Return a number of 0 or more from a record, None for anything else."""
    return item if type(item) is int and item >= 0 else None


def counts(item: object) -> tuple[int, ...]:
    """Return a list of such numbers, () where it is anything else."""
    found = [count(each) for each in item] if isinstance(item, list) else []
    return () if None in found else tuple(each for each in found if each is not None)


class _Fold:
    def __init__(self, session_id: str, facts: Facts) -> None:
        self._told = Account(sanitize(session_id), facts, started=facts.first_wall)
        self._noted: list[Noted] = []
        self._happened: list[Noted] = []
        self._programmes: list[Programme] = []
        self._left_out = 0
        self.unreadable: list[int] = []

    def account(self) -> Account:
        told, facts = self._told, self._told.facts
        recorded_for = told.recorded_for or sanitize(facts.pseudonym or "")
        known = _known_protocol(told.protocol_id)
        done = {each.wall: each for each in facts.stimulations}
        return replace(
            told,
            recorded_for=recorded_for,
            pseudonym=sanitize(facts.reassigned_to or "") or recorded_for,
            protocol=known.protocol if known else None,
            is_same_protocol=known is not None and known.sha256 == told.protocol_sha256,
            noted=tuple(self._noted),
            happened=tuple(self._happened),
            programmes=tuple(replace(p, done=done.get(p.wall)) for p in self._programmes),
            left_out=self._left_out,
            unreadable=tuple(self.unreadable),
        )

    def take(self, event: Event) -> None:
        content = event.content
        if event.kind == HEADER:
            self._take_header(event)
        elif event.kind == ANNOTATION:
            self._take_annotation(event)
        elif event.kind == "identified":
            names = ("model", "serial_number", "firmware_version")
            told = {name: text(content.get(name)) for name in names}
            self._told = replace(self._told, device=MappingProxyType(told))
        elif event.kind == "prepared":
            self._programmes.append(_programme(len(self._programmes) + 1, event))
        elif event.kind == "delivered":
            self._change(plateau_ms=count(content.get("plateau_ms")))
        elif event.kind == "state":
            self._take_state(event)
        elif event.kind == "closed":
            self._told = replace(
                self._told, end_reason=text(content.get("reason")), ended=event.wall
            )
        elif event.kind == SEAL:
            self._told = replace(self._told, is_sealed=True)
        elif event.kind in HAPPENINGS:
            self._keep(self._happened, HAPPENED_MAX, event, event.kind, content)

    def _take_header(self, event: Event) -> None:
        content = event.content
        software = content.get("software")
        version = software.get("estim") if isinstance(software, Mapping) else None
        self._told = replace(
            self._told,
            kind=text(content.get("kind")),
            operator=text(content.get("operator")),
            recorded_for=text(content.get("pseudonym")),
            software=text(version),
            started=event.wall,
        )
        self._take_protocol(content.get("protocol"))

    def _take_protocol(self, told: object) -> None:
        if isinstance(told, Mapping):
            self._told = replace(
                self._told,
                protocol_id=text(told.get("id")),
                protocol_version=_version(told.get("version")),
                protocol_sha256=text(told.get("sha256")),
            )

    def _take_annotation(self, event: Event) -> None:
        kind, content = event.content.get("kind"), event.content.get("content")
        if not isinstance(kind, str) or not isinstance(content, Mapping):
            return
        if kind == VISIT and not self._told.protocol_id:
            self._take_protocol(content.get("protocol"))
        if kind == READ_BACK:
            self._take_read_back(content)
        if kind in ("alarm", "prompt"):
            self._keep(self._happened, HAPPENED_MAX, event, kind, content)
        else:
            self._keep(self._noted, _NOTED_MAX, event, kind, content)

    def _take_read_back(self, content: Mapping[str, Any]) -> None:
        placement = content.get("placement")
        if isinstance(placement, list):
            words = "; ".join(text(each) for each in placement)
        else:
            words = text(content.get("site_words"))
        self._change(places=words)

    def _take_state(self, event: Event) -> None:
        if event.content.get("to") == "running" and self._programmes:
            self._change(started=self._programmes[-1].started or event.wall)
        if event.content.get("from") == "running":
            self._change(ended=event.wall)

    def _keep(
        self, kept: list[Noted], most: int, event: Event, kind: str, content: Mapping[str, Any]
    ) -> None:
        if len(kept) >= most:
            self._left_out += 1
            return
        kept.append(Noted(event.wall, event.mono_us, kind, content, len(self._programmes)))

    def _change(self, **changes: Any) -> None:
        if self._programmes:
            self._programmes[-1] = replace(self._programmes[-1], **changes)


def _programme(number: int, event: Event) -> Programme:
    content = event.content
    return Programme(
        number,
        event.wall,
        text(content.get("profile")),
        _version(content.get("profile_version")),
        count(content.get("duration_s")),
        counts(content.get("ceilings_ua")),
        counts(content.get("electrode_areas_mm2")),
    )


def _version(item: object) -> str:
    return str(item) if type(item) is int else text(item)


def _known_protocol(protocol_id: str) -> LoadedProtocol | None:
    """Return the station's own protocol of an id; None where there is none that can be used."""
    if protocol_id not in protocol.shipped_ids():
        return None
    try:
        return protocol.find(protocol_id)
    except ProfileError:
        return None


def to_zero_ms(account: Account, stop: Noted) -> int | None:
    """Return the time from a stop to its confirmed zero; None where none was confirmed."""
    for each in account.happened:
        if each.mono_us < stop.mono_us or each.programme != stop.programme:
            continue
        if each.kind == "zero_confirmed":
            return (each.mono_us - stop.mono_us) // US_PER_MS
    return None
