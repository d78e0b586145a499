"""A person's plan, what is due by it, and how outcomes and dose went over the visits.

A plan is an annotation of kind `plan` in the record of the visit in which it was made:

    {"goals": TEXT, "sessions_per_week": 1..7, "planned_sessions": 1..200,
     "ceiling_ua": INT or null, "protocol": ID, "review_on": "YYYY-MM-DD" or null, "operator": ID}

When is the time of that line. The newest plan holds, whole; none is ever changed.

Rules:
1. A newest plan that cannot be relied on is no plan, and says so: an older one, with a higher
   ceiling maybe, is never taken in its place.
2. A ceiling of a plan only lowers.
3. A trend holds what was measured and nothing between: no value is carried on, guessed or
   interpolated, and visits without one are named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from estim.errors import UsageError
from estim.text import sanitize
from estim.units import MS_PER_S, UA_PER_MA
from estim.visit.course import PLAN
from estim.visit.fold import Written
from estim.visit.history import Person, Visit, newest_holding
from estim.visit.questions import Answer, Answers, Choice, Form, Kind, Question
from firmware_protocol import limits

KIND = PLAN
GOALS_MAX = 2000
SESSIONS_PER_WEEK_MAX = 7
PLANNED_SESSIONS_MAX = 200

# >= 30 % or about 2 points on 0-10 [S:fstens].
RESPONSE_PERMILLE = 300
RESPONSE_POINTS = 2

_DAYS_PER_WEEK = 7
_KEYS = {
    "goals",
    "sessions_per_week",
    "planned_sessions",
    "ceiling_ua",
    "protocol",
    "review_on",
    "operator",
}
_PROTOCOL_ID = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is planned for somebody.

    Attributes:
        ceiling_ua: of this person, for every channel; None where the plan sets none.
        made_on: the day on which it was made.
    """

    goals: str
    sessions_per_week: int
    planned_sessions: int
    ceiling_ua: int | None
    protocol: str
    review_on: date | None
    operator: str
    made_on: date

    def content(self) -> dict[str, Any]:
        """Return the content of its annotation."""
        return {
            "goals": self.goals,
            "sessions_per_week": self.sessions_per_week,
            "planned_sessions": self.planned_sessions,
            "ceiling_ua": self.ceiling_ua,
            "protocol": self.protocol,
            "review_on": self.review_on.isoformat() if self.review_on else None,
            "operator": self.operator,
        }


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """The plan that holds, or why there is none.

    `is_unreadable`: there may be one, with a ceiling that nobody can read any more.
    """

    plan: Plan | None
    words: str
    is_unreadable: bool = False


NO_PLAN = FoundPlan(None, "nothing is planned yet")


@dataclass(frozen=True, slots=True)
class Due:
    """Something that is due for a person, since a day, in words."""

    pseudonym: str
    on: date
    words: str


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that a visit may have a value of.

    Attributes:
        words: what it is.
        of: the value of a visit, None where it was not measured in it.
        is_better_higher: None where neither is better, as with a dose.
        is_pain: a scale of pain from 0 to 10, on which a response is judged.
    """

    words: str
    unit: str
    of: Callable[[Visit], Decimal | None]
    is_better_higher: bool | None = None
    is_pain: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One value, and where it stands."""

    on: date
    session_id: str
    value: Decimal


@dataclass(frozen=True, slots=True)
class Trend:
    """The values of a measure, oldest first, and what they say."""

    points: tuple[Point, ...]
    words: tuple[str, ...]


class Scored(Protocol):
    """What `trend` needs of a score."""

    @property
    def value(self) -> object: ...


class Scoring(Protocol):
    """What `trend` needs of an assessment instrument."""

    @property
    def title(self) -> str: ...

    @property
    def higher_is_better(self) -> bool | None: ...

    def score(self, answers: Answers, /) -> Scored: ...


def check(content: Mapping[str, Any], made_on: date) -> Plan:
    """Return the plan that an annotation's content holds.

    Raises:
        UsageError: it is none; the message names key and what was expected.
    """
    for key in sorted(_KEYS ^ content.keys(), key=str):
        raise UsageError(f"plan: {key!r:.80}: " + ("missing" if key in _KEYS else "no such key"))
    goals, protocol, operator = (content[key] for key in ("goals", "protocol", "operator"))
    _expect("goals", _is_line(goals, GOALS_MAX), f"one line of 1 to {GOALS_MAX} characters")
    _expect("operator", _is_line(operator, 64), "an operator's id")
    is_id = isinstance(protocol, str) and _PROTOCOL_ID.fullmatch(protocol) is not None
    _expect("protocol", is_id, "the id of a protocol")
    _expect_count(content, "sessions_per_week", SESSIONS_PER_WEEK_MAX)
    _expect_count(content, "planned_sessions", PLANNED_SESSIONS_MAX)
    if content["ceiling_ua"] is not None:
        _expect_count(content, "ceiling_ua", limits.amplitude_ua.maximum)
    return Plan(
        goals,
        content["sessions_per_week"],
        content["planned_sessions"],
        content["ceiling_ua"],
        protocol,
        _read_day(content["review_on"]),
        operator,
        made_on,
    )


def form(protocols: Iterable[Choice]) -> Form:
    """Return what is asked to make a plan.

    Args:
        protocols: ids and titles of what may be planned.
    """
    return (
        Question("goals", "Goals, in the person's words as far as possible:", Kind.TEXT),
        Question(
            "sessions-per-week", "How many sessions a week?", Kind.WHOLE,
            minimum=1, maximum=SESSIONS_PER_WEEK_MAX,
        ),
        Question(
            "planned-sessions", "How many sessions in all, until it is judged?", Kind.WHOLE,
            minimum=1, maximum=PLANNED_SESSIONS_MAX,
        ),
        Question(
            "ceiling", "At most how much, on any channel?", Kind.DECIMAL,
            minimum=1, maximum=limits.amplitude_ua.maximum // UA_PER_MA, unit="mA",
            note="it only ever lowers the other ceilings", is_optional=True,
        ),
        Question("protocol", "By which protocol?", Kind.CHOICE, tuple(protocols)),
        Question(
            "review-on", "Review on which day?", Kind.TEXT,
            note="YYYY-MM-DD", is_optional=True,
        ),
    )  # fmt: skip


def answers_of(plan: Plan) -> dict[str, Answer]:
    """Return a plan as the answers that make it."""
    told: dict[str, Answer] = {
        "goals": plan.goals,
        "sessions-per-week": plan.sessions_per_week,
        "planned-sessions": plan.planned_sessions,
        "protocol": plan.protocol,
    }
    if plan.ceiling_ua is not None:
        told["ceiling"] = format(Decimal(plan.ceiling_ua) / UA_PER_MA, "f")
    if plan.review_on is not None:
        told["review-on"] = plan.review_on.isoformat()
    return told


def content_of(answers: Answers, operator: str, made_on: date) -> dict[str, Any]:
    """Return the content of the annotation that the answers to the form make.

    Raises:
        UsageError: they make none; the message names key and what was expected.
    """
    ceiling = answers.get("ceiling")
    content = {
        "goals": answers.get("goals"),
        "sessions_per_week": answers.get("sessions-per-week"),
        "planned_sessions": answers.get("planned-sessions"),
        "ceiling_ua": None if ceiling is None else int(Decimal(ceiling) * UA_PER_MA),
        "protocol": answers.get("protocol"),
        "review_on": answers.get("review-on"),
        "operator": operator,
    }
    return check(content, made_on).content()


def plan_of(visits: Sequence[Visit]) -> FoundPlan:
    """Return the plan that holds for a person, given all visits, newest first. Never raises."""
    for visit in visits:
        found: Written | None = visit.facts.plans[-1] if visit.facts.plans else None
        if visit.problem or (found is not None and visit.facts.corrections):
            why = visit.problem or "that visit was corrected afterwards"
            return FoundPlan(
                None,
                f"no plan holds: of the visit {visit.on or visit.session_id}, {why}: plan anew",
                is_unreadable=True,
            )
        if found is not None:
            try:
                plan = check(found.content, found.wall.date())
            except UsageError as error:
                words = f"no plan holds: {error} ({visit.session_id}): plan anew"
                return FoundPlan(None, words, is_unreadable=True)
            return FoundPlan(plan, f"planned by {plan.operator} on {plan.made_on}")
    return NO_PLAN


def plans_of(folder: Path, key: bytes | None = None) -> dict[str, Plan]:
    """Return the plan of everybody who has one, reading no more than one record for each person.

    For what is due. What limits somebody today comes from `plan_of`, which looks at every visit.

    Raises:
        RecordError: the folder itself cannot be read.
    """
    plans = {}
    for visit in newest_holding(folder, PLAN, key):
        found = plan_of([visit])
        if visit.pseudonym is not None and found.plan is not None:
            plans[visit.pseudonym] = found.plan
    return plans


def due(people: Iterable[Person], plans: Mapping[str, Plan], today: date) -> tuple[Due, ...]:
    """Return what is due today or was before, what has waited longest first."""
    found: list[Due] = []
    for person in people:
        plan = plans.get(person.pseudonym)
        if plan is not None:
            found += _due(person, plan, today)
    return tuple(sorted(found, key=lambda each: (each.on, each.pseudonym)))


def trend(visits: Sequence[Visit], measure: Measure) -> Trend:
    """Return how a measure went over a person's visits, which may come in any order."""
    points: list[Point] = []
    gaps: list[str] = []
    dated = [(visit.on, visit) for visit in visits if visit.on is not None]
    for on, visit in sorted(dated, key=lambda pair: (pair[0], pair[1].session_id)):
        value = measure.of(visit)
        if visit.problem:
            gaps.append(f"{on}: {visit.problem}")
        elif value is None:
            gaps.append(f"{on}: not measured")
        else:
            points.append(Point(on, visit.session_id, value))
    gaps += [f"{v.session_id}: {v.problem or 'no day'}" for v in visits if v.on is None]
    words = [*_change_words(points, measure)]
    if gaps:
        words.append("without a value: " + "; ".join(gaps))
    return Trend(tuple(points), tuple(words))


def answer_measure(
    question_id: str, words: str, unit: str = "", *, kind: str = "assess",
    is_better_higher: bool | None = None, is_pain: bool = False, is_before: bool = False,
) -> Measure:  # fmt: skip
    """Return the measure that is the answer to one question in a kind of step.

    With `is_before` only what was answered before the visit's first programme was loaded counts,
    the newest of it: what is asked again afterwards is another figure.
    """

    def value_of(visit: Visit) -> Decimal | None:
        steps, programmes = visit.facts.steps, visit.facts.stimulations
        if is_before:
            asked = [each for each in steps if not programmes or each.wall < programmes[0].wall]
            steps = tuple(reversed(asked))
        for step in steps:
            # What was carried from an earlier visit was not measured in this one.
            if step.kind == kind and step.carried_from is None and question_id in step.answers:
                return _number(step.answers[question_id])
        return None

    return Measure(words, unit, value_of, is_better_higher, is_pain)


def score_measure(instrument: Scoring, question_ids: Iterable[str], unit: str = "") -> Measure:
    """Return the measure that is an instrument's score, in the visits that answer its questions."""
    wanted = frozenset(question_ids)

    def value_of(visit: Visit) -> Decimal | None:
        for step in visit.facts.steps:
            if step.carried_from is None and wanted <= step.answers.keys():
                return _number(instrument.score(step.answers).value)
        return None

    return Measure(instrument.title, unit, value_of, instrument.higher_is_better)


def _delivered_min(visit: Visit) -> Decimal | None:
    if visit.delivered_ms is None or not visit.facts.stimulations:
        return None
    return (Decimal(visit.delivered_ms) / (60 * MS_PER_S)).quantize(Decimal("0.1"))


DOSE = Measure("stimulation delivered", "min", _delivered_min)


def _due(person: Person, plan: Plan, today: date) -> list[Due]:
    found = []
    # The day on which it is made counts: the plan is written during that visit.
    done = [on for on in person.visits_on if on >= plan.made_on]
    of_all = f"{len(done)} of {plan.planned_sessions} sessions done"
    if plan.review_on is not None and plan.review_on <= today:
        found.append(Due(person.pseudonym, plan.review_on, f"review due since {plan.review_on}"))
    if len(done) >= plan.planned_sessions:
        since = sorted(done)[plan.planned_sessions - 1]
        found.append(Due(person.pseudonym, since, f"course complete ({of_all}): review, plan anew"))
        return found
    last = max(done, default=plan.made_on)
    next_on = last + timedelta(days=_DAYS_PER_WEEK // plan.sessions_per_week)
    if next_on <= today:
        since_words = "due today" if next_on == today else f"due since {next_on}"
        words = f"visit {since_words} ({plan.sessions_per_week} a week, last on {last}; {of_all})"
        found.append(Due(person.pseudonym, next_on, words))
    return found


def _change_words(points: Sequence[Point], measure: Measure) -> Iterable[str]:
    unit = f" {measure.unit}" if measure.unit else ""
    if not points:
        yield f"{measure.words}: never measured"
        return
    first, last = points[0], points[-1]
    if len(points) == 1:
        yield f"{measure.words}: {first.value}{unit} on {first.on}, measured once"
        return
    change = last.value - first.value
    course = ""
    if measure.is_better_higher is not None:
        is_better = (change > 0) == measure.is_better_higher
        course = " (no change)" if not change else f" ({'better' if is_better else 'worse'})"
    yield (
        f"{measure.words}: first {first.value}{unit} on {first.on}, last {last.value}{unit} on "
        f"{last.on}, change {change:+}{unit}{course}"
    )
    if measure.is_pain:
        drop = -change
        is_response = drop > 0 and (
            drop >= RESPONSE_POINTS or drop * 1000 >= RESPONSE_PERMILLE * first.value
        )
        yield (
            f"{'responder' if is_response else 'no responder'} so far: the rule is at least "
            f"{RESPONSE_PERMILLE // 10} % or {RESPONSE_POINTS} points less pain [S:fstens]"
        )


def _number(answer: object) -> Decimal | None:
    """Read a value as a number; an answer of another kind has none."""
    if isinstance(answer, bool) or not isinstance(answer, int | str | Decimal):
        return None
    try:
        number = Decimal(answer)
    except ArithmeticError:
        return None
    return number if number.is_finite() else None


def _is_line(item: Any, longest: int) -> bool:
    return (
        isinstance(item, str)
        and bool(item.strip())
        and len(item) <= longest
        and sanitize(item) == item
    )


def _expect_count(content: Mapping[str, Any], key: str, highest: int) -> None:
    item = content[key]
    is_count = type(item) is int and 1 <= item <= highest
    _expect(key, is_count, f"a whole number from 1 to {highest}")


def _expect(key: str, holds: bool, what: str) -> None:
    if not holds:
        raise UsageError(f"plan: {key}: expected {what}")


def _read_day(item: Any) -> date | None:
    if item is None:
        return None
    try:
        if isinstance(item, str) and len(item) == len("2027-01-31"):
            return date.fromisoformat(item)
    except ValueError:
        pass
    raise UsageError("plan: review_on: expected a date such as 2027-01-31, or none")
