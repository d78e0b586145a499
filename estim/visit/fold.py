"""Take from a record what a later visit needs, line by line.

Rules:
1. What a line holds is taken only where it is shaped as it should be; else it becomes a fault, in
   words, and the reading goes on. Kinds of annotation that are not known here are passed over.
2. A line's kind stands at its end, as lines are canonical JSON: readings, which are most of a
   record, are told apart there without being parsed.
3. Amplitudes are the highest there were: of what was asked, and of what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from estim.record import reader, telemetry
from estim.record.lines import ADDENDUM, ANNOTATION, HEADER, NOTE_LATER, REASSIGNED, Event
from estim.record.reader import Line
from estim.visit.course import MARKER, NOTE, PLAN, READ_BACK, SKIP, VISIT
from estim.visit.protocol import KINDS
from estim.visit.questions import Answer

REVIEW = "review"
ADVERSE = "adverse"
"""The review's question for an adverse event; what is asked about one begins with it too."""

_FAULTS_MAX = 20
_TAIL = re.compile(
    rb',"kind":"([a-z0-9_]+)","mono_us":[0-9]+,"prev":"[0-9a-f]{64}","schema":[0-9]+,'
    rb'"seq":[0-9]+,"wall":"[^"]*"\}$'
)
_TAIL_BYTES = 300  # the longest kind and numbers leave it below that
_PEAK = re.compile(rb'"channel":([0-9]{1,2}),[^{}]*?"peak_max_ua":([0-9]{1,7})[,}]')


@dataclass(frozen=True, slots=True)
class Confirmed:
    """One step as it was confirmed: its answers, by whom, when, in which visit.

    `carried_from` names the visit whose answers were confirmed unchanged, if any.
    """

    session_id: str
    kind: str
    step: str
    operator: str
    wall: datetime
    answers: Mapping[str, Answer]
    carried_from: str | None


@dataclass(frozen=True, slots=True)
class Stimulation:
    """One programme, and what was delivered of it; maps are by channel, from 1.

    Attributes:
        prepared_digest: names programme, bounds and settings.
        placement: where the pads lay, in the words that were read back; None where nobody did.
        delivered_ms: how long current flowed; None where it ran and nothing says how long.
        is_uncertain: it may have been longer, as the link broke or nothing says how long.
        pulses: by channel, in order.
        charge_pc: None, as long as the engine records none.
        highest_target_ua: the highest that was asked for.
        highest_measured_ua: the highest that was measured; nothing where a device does not measure.
        markers_ua: the newest of each kind.
    """

    profile_id: str
    program_digest: int
    wall: datetime
    prepared_digest: str = ""
    placement: tuple[str, ...] | None = None
    ceilings_ua: tuple[int, ...] = ()
    has_run: bool = False
    delivered_ms: int | None = 0
    is_uncertain: bool = False
    pulses: tuple[int, ...] = ()
    charge_pc: int | None = None
    highest_target_ua: Mapping[int, int] = field(default_factory=dict)
    highest_measured_ua: Mapping[int, int] = field(default_factory=dict)
    markers_ua: Mapping[int, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """Something that was written down: a note, a plan, a skipped step, an addendum."""

    wall: datetime
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the lines of one record say.

    Attributes:
        first_wall: of the first line that was read; None where none was.
        pseudonym: whose visit it is, by its first annotation; the header says so too.
        protocol_id: what the visit followed.
        steps: in the order in which they were confirmed.
        notes: texts, the newest last, one that was written later among them.
        faults: lines that are not as they should be, in words.
    """

    first_wall: datetime | None = None
    pseudonym: str | None = None
    protocol_id: str | None = None
    steps: tuple[Confirmed, ...] = ()
    stimulations: tuple[Stimulation, ...] = ()
    notes: tuple[str, ...] = ()
    plans: tuple[Written, ...] = ()
    skips: tuple[Written, ...] = ()
    addenda: tuple[Written, ...] = ()
    faults: tuple[str, ...] = ()

    def latest(self, kind: str) -> Confirmed | None:
        """Return the step of a kind that was confirmed last."""
        return next((step for step in reversed(self.steps) if step.kind == kind), None)

    @property
    def adverse(self) -> Confirmed | None:
        """Return what the last review says about an adverse event; None if there was none."""
        review = self.latest(REVIEW)
        if review is None or review.answers.get(ADVERSE) is not True:
            return None
        told = {name: each for name, each in review.answers.items() if name.startswith(ADVERSE)}
        return replace(review, answers=told)

    @property
    def corrections(self) -> tuple[Written, ...]:
        """Return the addenda that change what the record says; a late note does not."""
        return tuple(each for each in self.addenda if each.content.get("why") != NOTE_LATER)

    @property
    def noted_later_on(self) -> date | None:
        """Return the day of the last note that was added to the closed record."""
        notes = [e.wall.date() for e in self.addenda if e.content.get("why") == NOTE_LATER]
        return notes[-1] if notes else None

    @property
    def reassigned_to(self) -> str | None:
        """Return to whom an addendum gave the record, if one did."""
        given = [e.content.get("text") for e in self.addenda if e.content.get("why") == REASSIGNED]
        return str(given[-1]) if given else None


def read_facts(path: Path) -> Facts:
    """Read one record; its readings are never held.

    Raises:
        RecordError: it cannot be opened, or is not a record at all.
    """
    fold = _Fold(path.stem)
    with reader.opened(path) as descriptor:
        for line in reader.record_lines(descriptor):
            fold.take(line)
    return fold.facts()


class _Malformed(ValueError):
    """Say what is not as it should be."""


class _Fold:
    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._first_wall: datetime | None = None
        self._header_pseudonym: str | None = None
        self._pseudonym: str | None = None
        self._protocol_id: str | None = None
        self._steps: list[Confirmed] = []
        self._stimulations: list[Stimulation] = []
        self._texts: list[str] = []
        self._written: dict[str, list[Written]] = {PLAN: [], SKIP: [], ADDENDUM: []}
        self._faults: list[str] = []
        self._takers: Mapping[str, Callable[[Event], None]] = {
            HEADER: self._header,
            ANNOTATION: self._annotation,
            ADDENDUM: self._addendum,
            "prepared": self._prepared,
            "state": self._state,
            "rise_asked": self._asked,
            "targets": self._asked,
            "delivered": self._delivered,
            "uncertain_delivery": self._uncertain,
        }

    def take(self, line: Line) -> None:
        if not line.is_whole or line.is_torn:
            return  # what a crash cut short; the catalogue says what it means
        tail = _TAIL.search(line.octets or b"", max(0, line.size - _TAIL_BYTES))
        kind = tail[1].decode("ascii") if tail else ""
        if line.octets is not None and kind == telemetry.SECOND:
            self._measured(line.octets)
        if kind and kind not in self._takers:
            return
        try:
            event = line.parse()
            self._first_wall = self._first_wall or event.wall
            self._takers[event.kind](event)
        except (ValueError, KeyError, TypeError) as error:
            if len(self._faults) < _FAULTS_MAX:
                why = str(error) if isinstance(error, _Malformed) else "not as it should be"
                self._faults.append(f"line {line.number} of its record: {why}")

    def facts(self) -> Facts:
        return Facts(
            self._first_wall,
            self._pseudonym,
            self._protocol_id,
            tuple(self._steps),
            tuple(map(_settled, self._stimulations)),
            tuple(self._texts),
            tuple(self._written[PLAN]),
            tuple(self._written[SKIP]),
            tuple(self._written[ADDENDUM]),
            tuple(self._faults),
        )

    def _header(self, event: Event) -> None:
        self._header_pseudonym = event.content.get("pseudonym")
        named = event.content.get("session_id")
        _expect(named == self._session_id, "the file has another name than its session")

    def _annotation(self, event: Event) -> None:
        kind, content = event.content["kind"], event.content["content"]
        _expect(isinstance(kind, str) and isinstance(content, dict), "an annotation without kind")
        if kind in KINDS:
            self._steps.append(self._confirmed(kind, content, event.wall))
        elif kind == VISIT:
            self._protocol_id = _text(content["protocol"]["id"])
            self._pseudonym = _text(content["pseudonym"])
            is_same = self._header_pseudonym in (None, self._pseudonym)
            _expect(is_same, "its header names another person")
        elif kind == READ_BACK:
            self._take_read_back(content)
        elif kind == MARKER:
            self._marker(content)
        elif kind == NOTE:
            self._texts.append(_text(content["text"]))
        elif kind in self._written:
            self._written[kind].append(Written(event.wall, content))

    def _confirmed(self, kind: str, content: Mapping[str, Any], wall: datetime) -> Confirmed:
        answers, origin = content["answers"], content.get("carried_from")
        _expect(isinstance(answers, dict), f"a step {kind} without answers")
        for answer in answers.values():
            _expect(isinstance(answer, bool | int | str), f"an answer of step {kind} is none")
        _expect(origin is None or isinstance(origin, str), f"where step {kind} was carried from")
        return Confirmed(
            self._session_id,
            kind,
            _text(content["step"]),
            _text(content["operator"]),
            wall,
            answers,
            origin,
        )

    def _take_read_back(self, content: Mapping[str, Any]) -> None:
        former = self._stimulations[-1] if self._stimulations else None
        placement = content.get("placement")
        if former is None or content["prepared_digest"] != former.prepared_digest:
            return  # of nothing that is loaded: the engine does not count it either
        if isinstance(placement, list):
            self._change(placement=tuple(_text(words) for words in placement))

    def _marker(self, content: Mapping[str, Any]) -> None:
        channel, amplitude_ua = _count(content["channel"]), _count(content["amplitude_ua"])
        _expect(bool(self._stimulations), "a marker before any programme")
        marks = self._stimulations[-1].markers_ua
        mine = {**marks.get(channel, {}), _text(content["marker"]): amplitude_ua}
        self._change(markers_ua={**marks, channel: mine})

    def _addendum(self, event: Event) -> None:
        self._written[ADDENDUM].append(Written(event.wall, event.content))
        if event.content["why"] == NOTE_LATER:
            self._texts.append(_text(event.content["text"]))

    def _prepared(self, event: Event) -> None:
        content = event.content
        self._stimulations.append(
            Stimulation(
                _text(content["profile"]),
                _count(content["program_digest"]),
                event.wall,
                _text(content["prepared_digest"]),
                None,
                _counts(content["ceilings_ua"]),
            )
        )

    def _state(self, event: Event) -> None:
        if event.content["to"] == "running":
            self._change(has_run=True)

    def _asked(self, event: Event) -> None:
        asked = event.content.get("to_ua", event.content.get("targets_ua"))
        if self._stimulations:
            highest = self._stimulations[-1].highest_target_ua
            told = enumerate(_counts(asked), start=1)
            self._change(highest_target_ua=_highest(highest, dict(told)))

    def _measured(self, octets: bytes) -> None:
        if self._stimulations:
            highest = self._stimulations[-1].highest_measured_ua
            told = {int(found[1]): int(found[2]) for found in _PEAK.finditer(octets)}
            self._change(highest_measured_ua=_highest(highest, told))

    def _delivered(self, event: Event) -> None:
        content = event.content
        total_ms = sum(_count(content[part]) for part in ("rise_ms", "plateau_ms", "ramp_down_ms"))
        charge_pc = content.get("charge_pc")
        self._change(
            delivered_ms=total_ms,
            pulses=_counts(content["pulses"]),
            charge_pc=None if charge_pc is None else _count(charge_pc),
        )

    def _uncertain(self, event: Event) -> None:
        self._change(is_uncertain=True)

    def _change(self, **changes: Any) -> None:
        if self._stimulations:
            self._stimulations[-1] = replace(self._stimulations[-1], **changes)


def _settled(stimulation: Stimulation) -> Stimulation:
    """Tell what ran without any word of what was delivered from what never ran."""
    if stimulation.has_run and not stimulation.pulses:
        return replace(stimulation, delivered_ms=None, is_uncertain=True)
    return stimulation


def _highest(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    found = dict(one)
    for channel, amplitude_ua in other.items():
        found[channel] = max(found.get(channel, 0), amplitude_ua)
    return found


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise _Malformed(what)


def _text(item: Any) -> str:
    _expect(isinstance(item, str), "text was expected")
    return str(item)


def _count(item: Any) -> int:
    _expect(type(item) is int and item >= 0, "a number of 0 or more was expected")
    return int(item)


def _counts(item: Any) -> tuple[int, ...]:
    _expect(isinstance(item, list), "a list of numbers was expected")
    return tuple(_count(each) for each in item)
