"""What the screens say of people: who is due, what is unfinished, visits and trends."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from estim.clock import SystemClock
from estim.errors import EstimError
from estim.record.catalogue import list_records
from estim.record.names import record_path
from estim.record.recover import recover
from estim.record.verify import SealState
from estim.tui.widgets.plot import Trace, stem_trace
from estim.units import format_ma
from estim.visit import history, instruments, plan, protocol, pseudonym
from estim.visit.plan import Measure, Plan, Trend
from estim.visit.protocol import LoadedProtocol

VISITS_SHOWN = 8
VISITS_READ = 40
"""Of these at most trends are told."""
PAINS = ("pain-now", "pain-worst-24h")
PAIN_MAX = 10


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the screen of a person: a heading, a plot where there is one, and lines."""

    title: str
    lines: tuple[str, ...]
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class PersonView:
    """What the screen of a person shows."""

    protocols: tuple[LoadedProtocol, ...]
    proposed: LoadedProtocol | None
    sections: tuple[Section, ...]


def due_and_unfinished(
    records: Path, key: bytes | None, open_session: str = ""
) -> list[tuple[str, str]]:
    """Return who is due and whose visit is unfinished: pseudonym and words.

    Args:
        records: the folder.
        key: of the station.
        open_session: id of the visit that goes on here, '' for none.

    Raises:
        RecordError: the folder cannot be read.
    """
    today = SystemClock().wall().date()
    found = history.people(records, key)
    plans = plan.plans_of(records, key)
    lines = [(each.pseudonym, each.words) for each in plan.due(found, plans, today)]
    for visit in history.unfinished(records, key):
        if visit.session_id == open_session and visit.pseudonym is not None:
            lines.insert(0, (visit.pseudonym, "the visit that is open: Esc goes back to it"))
        elif visit.pseudonym is not None:
            why = list(visit.unfinished_because)
            if visit.end_reason and not visit.facts.notes:
                why.insert(0, f"it ended by: {visit.end_reason}")  # and not by a person's key
            words = f"unfinished, {visit.on or 'no day'}: {'; '.join(why)}"
            lines.append((visit.pseudonym, words))
    return lines


def recover_cut_off(records: Path, key: bytes | None) -> None:
    """Explain and seal the records that were cut off, where nobody writes them any more.

    Those that are still being written, or that cannot be recovered, stay as they are, and are told
    as such.

    Raises:
        RecordError: the folder cannot be read.
    """
    if key is None or not records.exists():
        return  # nobody has sealed anything here
    clock = SystemClock()
    for entry in list_records(records, key):
        if entry.state == SealState.UNSEALED:
            path = record_path(records, entry.session_id)
            with contextlib.suppress(EstimError):
                recover(path, key, mono_us=clock.now_us(), wall=clock.wall())


def new_pseudonym(records: Path, key: bytes | None) -> str:
    """Return a pseudonym that no record holds.

    Raises:
        RecordError: the folder cannot be read.
    """
    taken = {each.pseudonym for each in history.people(records, key)}
    return pseudonym.generate(secrets.choice, taken)


def view(records: Path, who: str, key: bytes | None) -> PersonView:
    """Return what there is to show of a person.

    Raises:
        EstimError: the record folder or a shipped protocol cannot be read.
    """
    visits = history.visits_of(records, who, key)
    planned = plan.plan_of(visits)
    wanted = "follow-up" if visits else "first"
    offered = tuple(
        sorted(
            (each for each in protocol.shipped() if each.protocol.is_for_people),
            key=lambda each: (each.protocol.visit != wanted, not each.protocol.neuropathy),
        )
    )
    proposed = _proposed(offered, planned.plan, visits)
    told = _plan_lines(planned.plan) if planned.plan is not None else []
    sections = [
        Section("Plan", (planned.words, *told, "It is made and changed inside a visit, by F11.")),
        Section("Visits", tuple(map(_visit_line, visits[:VISITS_SHOWN])) or ("none yet",)),
    ]
    if len(visits) > VISITS_SHOWN:
        sections.append(Section(f"and {len(visits) - VISITS_SHOWN} visits before", ()))
    once: list[str] = []
    for measure in _measures():
        trend = plan.trend(visits[:VISITS_READ], measure)
        if len(trend.points) > 1:
            lines = tuple(line.removeprefix(f"{measure.words}: ") for line in trend.words)
            sections.append(Section(measure.words, lines, _trace(measure, trend)))
        elif trend.points:
            once.append(trend.words[0].removesuffix(", measured once"))
    if once:
        sections.append(Section("Measured once", tuple(once)))
    return PersonView(offered, proposed, tuple(sections))


def _trace(measure: Measure, trend: Trend) -> Trace:
    """Return a plot of what was measured, at least twice."""
    points = trend.points
    highest = max(float(point.value) for point in points)
    high = float(PAIN_MAX) if measure.is_pain else highest or 1.0
    unit = f" {measure.unit}" if measure.unit else ""
    scale_words = f"{high:g}{unit}", "0", f"{points[0].on}", f"{points[-1].on}"
    values = [(point.on.toordinal(), float(point.value)) for point in points]
    return stem_trace(values, high, f"{len(points)} visits", scale_words)


def _measures() -> tuple[Measure, ...]:
    pains = [
        plan.answer_measure(
            instruments.BY_ID[name].form[0].id, f"{instruments.BY_ID[name].title}, before",
            is_better_higher=False, is_pain=True, is_before=True,
        )
        for name in PAINS
    ]  # fmt: skip
    scored = [
        plan.score_measure(
            each, [question.id for question in each.form if not question.is_optional]
        )
        for name, each in instruments.BY_ID.items()
        if name not in PAINS
    ]
    return (*pains, plan.DOSE, *scored)


def _proposed(
    offered: tuple[LoadedProtocol, ...], planned: Plan | None, visits: tuple[history.Visit, ...]
) -> LoadedProtocol | None:
    """Return the planned protocol, else what follows the last one.

    A visit that delivered nothing is followed by its like.
    """
    wanted = planned.protocol if planned is not None else ""
    last = next((visit for visit in visits if visit.facts.protocol_id), None)
    if not wanted and last is not None:
        wanted = last.facts.protocol_id or ""
        if last.delivered_ms != 0:
            wanted = wanted.replace("-first", "-follow-up")
    return next((each for each in offered if each.protocol.id == wanted), None)


def _plan_lines(planned: Plan) -> list[str]:
    lines = [f"goals: {planned.goals}"]
    lines.append(f"{planned.sessions_per_week} a week, {planned.planned_sessions} in all")
    lines.append(f"by {planned.protocol}")
    if planned.ceiling_ua is not None:
        lines.append(f"at most {format_ma(planned.ceiling_ua)} mA")
    if planned.review_on is not None:
        lines.append(f"to be reviewed on {planned.review_on}")
    return lines


def _visit_line(visit: history.Visit) -> str:
    on = visit.on or date.min
    delivered = visit.delivered_ms
    minutes = "delivery uncertain" if delivered is None else f"{delivered // 60_000} min"
    state = "" if visit.is_finished else f"  ! {'; '.join(visit.unfinished_because)}"
    if visit.closed_on is not None:
        ended = f", which ended by: {visit.end_reason}" if visit.end_reason else ", cut short"
        state = f"  closed with a note on {visit.closed_on}{ended}"
    return f"{on}  {visit.facts.protocol_id or '?'}  {minutes}{state}"
