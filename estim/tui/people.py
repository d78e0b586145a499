"""What the screens say of people: who is due, what is unfinished, visits and trends."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from estim.clock import SystemClock
from estim.errors import EstimError
from estim.record import station_key
from estim.record.catalogue import list_records
from estim.record.names import record_path
from estim.record.recover import recover
from estim.record.verify import SealState
from estim.visit import history, instruments, plan, protocol, pseudonym
from estim.visit.plan import Measure, Plan
from estim.visit.protocol import LoadedProtocol

VISITS_SHOWN = 8
VISITS_READ = 40

HeadedLine = tuple[bool, str]
"""Whether it is a heading, and the line."""


@dataclass(frozen=True, slots=True)
class PersonView:
    """What the screen of a person shows."""

    protocols: tuple[LoadedProtocol, ...]
    proposed: LoadedProtocol | None
    lines: tuple[HeadedLine, ...]


def due_and_unfinished(records: Path) -> list[tuple[str, str]]:
    """Return who is due and whose visit is unfinished: pseudonym and words.

    Raises:
        RecordError: the folder cannot be read.
    """
    if not records.exists():
        return []
    today = SystemClock().wall().date()
    found = history.people(records)
    plans = {each.pseudonym: planned for each in found if (planned := _plan(records, each))}
    lines = [(each.pseudonym, each.words) for each in plan.due(found, plans, today)]
    for visit in history.unfinished(records):
        if visit.pseudonym is not None:
            missing = "; ".join(visit.unfinished_because)
            ended = f"it ended by: {visit.end_reason}; " if visit.end_reason else ""
            lines.append((visit.pseudonym, f"unfinished, {visit.on or 'no day'}: {ended}{missing}"))
    return lines


def recover_cut_off(records: Path, configuration: Path) -> None:
    """Explain and seal the records that were cut off, where nobody writes them any more.

    Those that are still being written, or that cannot be recovered, stay as they are, and are told
    as such.

    Raises:
        RecordError: the folder cannot be read.
    """
    if not records.exists():
        return
    clock = SystemClock()
    for entry in list_records(records):
        if entry.state == SealState.UNSEALED:
            with contextlib.suppress(EstimError):
                recover(
                    record_path(records, entry.session_id),
                    station_key.load_or_make(configuration),
                    mono_us=clock.now_us(),
                    wall=clock.wall(),
                )


def new_pseudonym(records: Path) -> str:
    """Return a pseudonym that no record holds.

    Raises:
        RecordError: the folder cannot be read.
    """
    taken = {each.pseudonym for each in history.people(records)} if records.exists() else set()
    return pseudonym.generate(secrets.choice, taken)


def view(records: Path, who: str) -> PersonView:
    """Return what there is to show of a person.

    Raises:
        EstimError: the record folder or a shipped protocol cannot be read.
    """
    visits = history.visits_of(records, who, at_most=VISITS_READ) if records.exists() else ()
    planned = plan.plan_of(visits)
    offered = tuple(each for each in protocol.shipped() if each.protocol.is_for_people)
    proposed = _proposed(offered, planned.plan, visits)
    lines: list[HeadedLine] = [(True, "Plan"), (False, planned.words)]
    if planned.plan is not None:
        lines += [(False, line) for line in _plan_lines(planned.plan)]
    lines += [(False, ""), (True, "Visits")]
    lines += [(False, _visit_line(visit)) for visit in visits[:VISITS_SHOWN]]
    if not visits:
        lines.append((False, "none yet"))
    for measure in _measures():
        told = plan.trend(visits, measure)
        if told.points:
            lines += [(False, ""), (True, measure.words)]
            lines.append((False, "  ".join(f"{p.on:%m-%d} {p.value}" for p in told.points)))
            lines += [(False, each) for each in told.words]
    return PersonView(offered, proposed, tuple(lines))


def _plan(records: Path, who: history.Person) -> Plan | None:
    return plan.plan_of(history.visits_of(records, who.pseudonym, at_most=VISITS_READ)).plan


def _measures() -> tuple[Measure, ...]:
    scored = [
        plan.score_measure(each, [question.id for question in each.form])
        for each in instruments.BY_ID.values()
    ]
    return (plan.DOSE, *scored)


def _proposed(
    offered: tuple[LoadedProtocol, ...], planned: Plan | None, visits: tuple[history.Visit, ...]
) -> LoadedProtocol | None:
    """Return the planned protocol, else the follow-up of the last one."""
    wanted = planned.protocol if planned is not None else ""
    last = next((visit.facts.protocol_id for visit in visits if visit.facts.protocol_id), None)
    if not wanted and last is not None:
        wanted = last.replace("-first", "-follow-up")
    return next((each for each in offered if each.protocol.id == wanted), None)


def _plan_lines(planned: Plan) -> list[str]:
    lines = [f"goals: {planned.goals}"]
    lines.append(f"{planned.sessions_per_week} a week, {planned.planned_sessions} in all")
    if planned.ceiling_ua is not None:
        lines.append(f"at most {planned.ceiling_ua / 1000:g} mA")
    if planned.review_on is not None:
        lines.append(f"to be reviewed on {planned.review_on}")
    return lines


def _visit_line(visit: history.Visit) -> str:
    on = visit.on or date.min
    delivered = visit.delivered_ms
    minutes = "delivery uncertain" if delivered is None else f"{delivered // 60_000} min"
    state = "" if visit.is_finished else f"  ! {'; '.join(visit.unfinished_because)}"
    return f"{on}  {visit.facts.protocol_id or '?'}  {minutes}{state}"
