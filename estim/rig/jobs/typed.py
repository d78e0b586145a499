"""What a person looks at or reads off a meter, and types in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from estim.rig.jobs import course as kinds
from estim.rig.jobs.course import Course
from estim.rig.jobs.desk import Desk
from estim.rig.jobs.job import Job, LeakageCheck
from estim.rig.measuring.instrument import Instrument

Note = Callable[[str, dict[str, Any]], None]
READING_MAX_UA = 100_000


def look(job: Job, course: Course, desk: Desk, note: Note) -> None:
    """Ask for every visual check that is not answered yet."""
    for check in job.visual:
        if check.name in course.visual:
            continue
        given = job.answers.visual.get(check.name)
        choices = (kinds.PASS, kinds.FAIL, kinds.NOT_APPLICABLE)
        verdict = given or desk.ask(f"visual.{check.name}", check.question, choices)
        note(kinds.VISUAL, {"name": check.name, "question": check.question, "verdict": verdict})


def take_leakage(
    job: Job,
    course: Course,
    desk: Desk,
    note: Note,
    instrument_of: Callable[[str], Instrument],
    today: date,
) -> None:
    """Ask for every leakage reading that is not there yet, and judge it."""
    for entry in job.leakage:
        if entry.name in course.leakage:
            continue
        given = job.answers.leakage_ua.get(entry.name)
        reading_ua = given if given is not None else _ask_reading(entry, desk)
        instrument = instrument_of(entry.instrument)
        is_overdue = instrument.is_overdue(today)
        note(
            kinds.LEAKAGE,
            {
                "name": entry.name,
                "question": entry.question,
                "measured_ua": float(reading_ua),
                "at_most_ua": float(entry.at_most_ua),
                "uncertainty_ua": float(entry.uncertainty_ua),
                "instrument": entry.instrument,
                "source": entry.source,
                "certainty": entry.certainty,
                "verdict": leakage_verdict(entry, reading_ua, is_overdue=is_overdue),
                "note": f"{instrument.serial}: calibration overdue" if is_overdue else "",
            },
        )


def leakage_verdict(entry: LeakageCheck, reading_ua: Decimal, *, is_overdue: bool) -> str:
    """Judge a reading with its uncertainty as a guard band; an overdue meter cannot pass."""
    if reading_ua - entry.uncertainty_ua > entry.at_most_ua:
        return kinds.FAIL
    if reading_ua + entry.uncertainty_ua > entry.at_most_ua or is_overdue:
        return kinds.INCONCLUSIVE
    return kinds.PASS


def _ask_reading(entry: LeakageCheck, desk: Desk) -> Decimal:
    while True:
        text = desk.ask(f"leakage_ua.{entry.name}", f"{entry.question} (uA)")
        try:
            reading_ua = Decimal(text.strip())
            if reading_ua.is_finite() and 0 <= reading_ua <= READING_MAX_UA:
                return reading_ua
        except InvalidOperation:
            pass
        desk.say("Expected a number of uA such as 12.5.")
