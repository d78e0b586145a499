"""Follow a visit: what was confirmed, what comes next, what may be left out.

Rules:
1. A visit is what its annotations say, folded in the order of the record; nothing else is
   remembered. Of two answers to one step the newer holds; both stay in the record.
2. Steps come in the order of the protocol. A step opens once each one before it was answered, or
   was left out with a reason, which only steps that may be skipped can be. While a stimulation is
   next, what hangs on nothing that it does (`MEANWHILE`) opens too; it lets nothing else open.
3. What was answered can be answered again, until the visit is reviewed.
4. Folding never raises: what is not as it should be in a record changes nothing and is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from estim.errors import LimitRefused, UsageError
from estim.profile.loader import LoadedProfile
from estim.text import sanitize
from estim.visit.protocol import BEFORE_OUTPUT, KINDS, MEANWHILE, Protocol, Step
from estim.visit.questions import TEXT_MAX, Answer, Answers
from estim.visit.screening import Override

VISIT = "visit"
SKIP = "skip"
OVERRIDE = "override"
READ_BACK = "read_back"
MARKER = "marker"
PROMPT = "prompt"
HANDOVER = "handover"
NOTE = "note"
REMARK = "remark"
PLAN = "plan"
MARKERS = ("sensory", "comfortable", "motor")

Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """A step that was confirmed.

    Attributes:
        answers: by the question's id.
        operator: who confirmed them.
        carried_from: session id of the visit whose answers were confirmed to be unchanged.
    """

    step: str
    kind: str
    answers: Answers
    operator: str
    carried_from: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A step that was left out."""

    step: str
    reason: str
    operator: str


@dataclass(frozen=True, slots=True)
class Visit:
    """Everything that was confirmed so far.

    Attributes:
        operator: who is at the station now.
        answered, skipped: by the step's id.
        markers: newest amplitude in uA by channel (from 1) and marker.
        read_back: what was read back last, before arming.
        note: the note as it was saved last.
        plan: content of the plan that was made in this visit, if any.
        odd_count: annotations that were not as they should be.
        profiles: by id, as they were read when the visit began; none for a visit of the past.
    """

    protocol: Protocol
    pseudonym: str
    operator: str
    answered: Mapping[str, Answered] = field(default_factory=lambda: MappingProxyType({}))
    skipped: Mapping[str, Skipped] = field(default_factory=lambda: MappingProxyType({}))
    overrides: tuple[Override, ...] = ()
    markers: Mapping[tuple[int, str], int] = field(default_factory=lambda: MappingProxyType({}))
    read_back: Content | None = None
    note: str = ""
    plan: Content | None = None
    odd_count: int = 0
    profiles: Mapping[str, LoadedProfile] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

    @property
    def next_step(self) -> Step | None:
        """Return the first step that is neither answered nor left out; None at the end."""
        return next((step for step in self.protocol.steps if not self.is_past(step)), None)

    @property
    def is_reviewed(self) -> bool:
        """Tell whether the visit has come to its end."""
        return self.next_step is None

    def is_past(self, step: Step) -> bool:
        """Tell whether a step was answered or left out."""
        return step.id in self.answered or step.id in self.skipped

    def may_open(self, step: Step) -> bool:
        """Tell whether a step can be answered now (rules 2 and 3)."""
        if self.is_reviewed:
            return False
        ahead = self.next_step
        is_meanwhile = ahead is not None and ahead.kind == "stimulate" and step.kind in MEANWHILE
        return self.is_past(step) or step == ahead or is_meanwhile

    @property
    def open_meanwhile(self) -> tuple[Step, ...]:
        """Return the steps that wait for nothing, though the stimulation comes first."""
        steps = [step for step in self.protocol.steps if step != self.next_step]
        return tuple(each for each in steps if self.may_open(each) and not self.is_past(each))

    def answers(self, kind: str, when: str | None = None) -> Answers | None:
        """Return the answers to the last answered step of a kind; None without one."""
        found: Answers | None = None
        for step in self.protocol.steps:
            if step.kind == kind and when in (None, step.when) and step.id in self.answered:
                found = self.answered[step.id].answers
        return found

    def missing_before_output(self) -> tuple[Step, ...]:
        """Return the steps that output on a person still waits for."""
        stimulate = next((s for s in self.protocol.steps if s.kind == "stimulate"), None)
        if stimulate is None or not self.protocol.is_for_people:
            return ()
        before = self.protocol.steps[: self.protocol.steps.index(stimulate)]
        return tuple(
            step for step in before if step.kind in BEFORE_OUTPUT and step.id not in self.answered
        )


def begin(
    protocol: Protocol,
    pseudonym: str,
    operator: str,
    profiles: Mapping[str, LoadedProfile] | None = None,
) -> Visit:
    """Return a visit in which nothing was answered."""
    return Visit(protocol, pseudonym, operator, profiles=MappingProxyType(dict(profiles or {})))


def answer(
    visit: Visit, step: Step, answers: Answers, carried_from: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Return the annotation that answers a step: its kind and content.

    Raises:
        LimitRefused: the step does not come now.
    """
    if not visit.may_open(step):
        ahead = visit.next_step
        reason = f"first comes '{ahead.title}'" if ahead else "the visit was reviewed"
        raise LimitRefused(f"'{step.title}' cannot be answered now: {reason}")
    content = {
        "step": step.id,
        "operator": visit.operator,
        "answers": dict(answers),
        "carried_from": carried_from,
    }
    return step.kind, content


def skip(visit: Visit, step: Step, reason: str) -> tuple[str, dict[str, Any]]:
    """Return the annotation that leaves a step out.

    Raises:
        LimitRefused: it may not be left out, or does not come now.
        UsageError: there is no reason.
    """
    if not step.may_skip:
        raise LimitRefused(f"'{step.title}' may not be left out: it gates {step.gates}")
    if not visit.may_open(step):
        raise LimitRefused(f"'{step.title}' does not come now")
    return SKIP, {"step": step.id, "operator": visit.operator, "reason": checked_text(reason)}


def checked_text(text: str) -> str:
    """Return text as it may be recorded.

    Raises:
        UsageError: it is empty, too long, or holds what no person typed.
    """
    plain = text.strip()
    if not plain or len(plain) > TEXT_MAX or sanitize(plain) != plain:
        raise UsageError(f"a reason: expected 1 to {TEXT_MAX} visible characters")
    return plain


def fold(visit: Visit, kind: str, content: Content) -> Visit:
    """Return the visit after one annotation (rule 4)."""
    try:
        return _folded(visit, kind, content)
    except (KeyError, TypeError, ValueError, StopIteration):
        return replace(visit, odd_count=visit.odd_count + 1)


def fold_all(visit: Visit, annotations: Iterable[tuple[str, Content]]) -> Visit:
    """Return the visit after several annotations."""
    for kind, content in annotations:
        visit = fold(visit, kind, content)
    return visit


def _folded(visit: Visit, kind: str, content: Content) -> Visit:
    if kind in KINDS:
        step = visit.protocol.step(content["step"])
        if step.kind != kind:
            raise ValueError("a step of another kind")
        carried = content.get("carried_from")
        found = Answered(
            step.id,
            kind,
            MappingProxyType(_answers(content["answers"])),
            _text(content["operator"]),
            None if carried is None else _text(carried),
        )
        skipped = {name: each for name, each in visit.skipped.items() if name != step.id}
        answered = {**visit.answered, step.id: found}
        return replace(
            visit,
            answered=MappingProxyType(answered),
            skipped=MappingProxyType(skipped),
            read_back=None if kind in BEFORE_OUTPUT else visit.read_back,
        )
    if kind == SKIP:
        step = visit.protocol.step(content["step"])
        if not step.may_skip:
            raise ValueError("a step that is never left out")
        left_out = Skipped(step.id, _text(content["reason"]), _text(content["operator"]))
        answered = {name: each for name, each in visit.answered.items() if name != step.id}
        return replace(
            visit,
            answered=MappingProxyType(answered),
            skipped=MappingProxyType({**visit.skipped, step.id: left_out}),
        )
    if kind == OVERRIDE:
        made = Override(
            _text(content["item"]), _text(content["clinician"]), _text(content["reason"])
        )
        return replace(visit, overrides=(*visit.overrides, made), read_back=None)
    if kind == MARKER:
        channel, marker, amplitude_ua = (
            content["channel"],
            content["marker"],
            content["amplitude_ua"],
        )
        if marker not in MARKERS or type(channel) is not int or type(amplitude_ua) is not int:
            raise ValueError("no marker")
        markers = {**visit.markers, (channel, marker): amplitude_ua}
        return replace(visit, markers=MappingProxyType(markers))
    if kind == READ_BACK:
        return replace(visit, read_back=MappingProxyType(dict(content)))
    if kind == HANDOVER:
        return replace(visit, operator=_text(content["to_operator"]))
    if kind == NOTE:
        return replace(visit, note=_text(content["text"]))
    if kind == PLAN:
        return replace(visit, plan=MappingProxyType(dict(content)), read_back=None)
    return visit


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise ValueError("no text")
    return found


def _answers(found: object) -> dict[str, Answer]:
    if not isinstance(found, dict):
        raise ValueError("no answers")
    for name, each in found.items():
        if not isinstance(name, str) or not isinstance(each, bool | int | str):
            raise ValueError("no answer")
    return dict(found)
