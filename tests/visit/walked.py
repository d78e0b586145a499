"""A whole first visit of somebody in whom nothing is found, written as the engine writes it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from estim.visit import course, guide, protocol, treatment
from estim.visit.course import Visit
from estim.visit.gates import TESTED_ON
from estim.visit.known import Given
from estim.visit.questions import Answer, Kind, Question
from tests.visit.past import Past

PERSON = "C7H9KDM"
PROFILE = "dpn-conventional"
TREATED = (
    "channel 1: left calf, upper and left calf, middle",
    "channel 2: right calf, upper and right calf, middle",
)
_YES = ("is-blinded", "as-profile", "alike", "clear", "agrees", "explained")
_SAID: dict[str, Answer] = {
    "profile": PROFILE, "all-size": "5x5", "all-lot": "L7", "all-expiry": "2099-12", "all-uses": 1,
}  # fmt: skip


def answer(question: Question) -> Answer:
    """Return what somebody answers in whom nothing is found."""
    if question.id in _SAID:
        return _SAID[question.id]
    if question.kind is Kind.YES_NO:
        return question.id in _YES
    if question.kind is Kind.CHOICE:
        return question.choices[0].id
    assert question.maximum is not None, question.id
    return question.maximum


def answers(visit: Visit, kind: str, given: Given) -> tuple[protocol.Step, dict[str, Answer]]:
    """Return a step of a visit, and answers to everything that it asks."""
    step = next(each for each in visit.protocol.steps if each.kind == kind)
    told: dict[str, Answer] = {}
    while True:
        form = guide.form(step, visit, given, told)
        left = [each for each in form if each.id not in told and not each.is_optional]
        if not left:
            return step, told
        told[left[0].id] = answer(left[0])


def first_visit(
    folder: Path,
    on: datetime,
    session_id: str = "first",
    *,
    changed: dict[str, dict[str, Answer]] | None = None,
    plan: dict[str, Any] | None = None,
    digest: int = 1,
    comfortable_ua: int = 12_000,
    plateau_ms: int = 600_000,
    placement: tuple[str, ...] | None = None,
    pain: int | None = None,
    is_uncertain: bool = False,
    person: str = PERSON,
) -> Past:
    """Write a first visit and its first exposure; it is left open for `finish` or `tear`.

    Args:
        folder: of the records.
        on: when.
        session_id: of the record.
        changed: answers that were others, by the kind of step.
        plan: a plan that was made in it.
        digest: of the programme.
        comfortable_ua: marked on both channels.
        plateau_ms: how long it lasted; 0: nothing says so.
        placement: what was read back; where the profile puts the pads if None.
        pain: told before; 1 was told after.
        is_uncertain: the link broke, so it may have lasted longer.
        person: whose visit.
    """
    past = Past(folder, session_id, on, pseudonym=person)
    loaded = protocol.find("diabetic-neuropathy-first")
    visit = course.begin(loaded.protocol, person, "T-1")
    given = Given(on.date(), 30, 20)
    for kind in ("screen", "test_sensation", "place_electrodes"):
        step, told = answers(visit, kind, given)
        if kind == "test_sensation":
            told[TESTED_ON] = on.date().isoformat()
        told |= (changed or {}).get(kind, {})
        past.step(kind, told, name=step.id)
        content = {"step": step.id, "operator": "T-1", "answers": told, "carried_from": None}
        visit = course.fold(visit, kind, content)
    if plan is not None:
        past.annotate("plan", **plan)
    if pain is not None:
        past.step("assess", {"pain-now-nrs": pain}, name="baseline")
    past.event(
        "prepared", profile=PROFILE, program_digest=digest, prepared_digest="cd" * 32,
        ceilings_ua=[40_000, 40_000],
    )  # fmt: skip
    places = treatment.placement_words(visit) if placement is None else placement
    past.annotate("read_back", prepared_digest="cd" * 32, placement=list(places), operator="T-1")
    past.event("state", **{"from": "armed", "to": "running", "by": "device running"})
    for channel in (1, 2):
        past.annotate("marker", channel=channel, marker="comfortable", amplitude_ua=comfortable_ua)
    if plateau_ms:
        past.event(
            "delivered", rise_ms=0, plateau_ms=plateau_ms, ramp_down_ms=0, pulses=[1, 1]
        )  # fmt: skip
    if is_uncertain:
        past.event("uncertain_delivery")
    if pain is not None:
        past.step("assess", {"pain-now-nrs": 1}, name="outcome")
    return past


PLAN: dict[str, Any] = {
    "goals": "walk to the shop",
    "sessions_per_week": 2,
    "planned_sessions": 6,
    "ceiling_ua": 20_000,
    "protocol": "diabetic-neuropathy-follow-up",
    "review_on": None,
    "operator": "T-1",
}
