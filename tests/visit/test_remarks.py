"""What stands below a step's questions: findings, the gravest first, and nothing not yet asked."""

from __future__ import annotations

from datetime import date

import pytest

from estim.visit import course, guide, protocol
from estim.visit.course import Visit
from estim.visit.known import Given
from estim.visit.protocol import Step
from estim.visit.questions import Answers, Gravity

GIVEN = Given(date(2026, 11, 21), 30, 20)
FIRST = course.begin(protocol.find("diabetic-neuropathy-first").protocol, "K7M4Q2", "t1")
BENCH = course.begin(protocol.find("technician-acceptance").protocol, "", "t1")


def step_of(visit: Visit, kind: str, when: str | None = None) -> Step:
    return next(s for s in visit.protocol.steps if s.kind == kind and when in (None, s.when))


def told(visit: Visit, step: Step, answers: Answers) -> list[tuple[Gravity, str]]:
    found = guide.remarks(step, visit, GIVEN, answers)
    return [(each.gravity, each.text) for each in found]


@pytest.mark.parametrize(("kind", "when"), [("consent", None), ("inspect_skin", "before")])
def test_nothing_is_said_to_be_refused_before_it_was_asked(kind: str, when: str | None) -> None:
    step = step_of(FIRST, kind, when)
    assert told(FIRST, step, {}) == []


def test_a_refusal_is_told_once_everything_is_answered_and_still_holds_output_back() -> None:
    step = step_of(FIRST, "consent")
    assert told(FIRST, step, {"explained": True}) == []
    answers = {"explained": True, "agrees": False}
    refused = (Gravity.STOP, "consent: the person does not agree")
    assert told(FIRST, step, answers) == [refused]
    visit = course.fold(FIRST, *course.answer(_at(step), step, answers))
    assert refused[1] in guide.output_problems(visit, GIVEN)


def _at(step: Step) -> Visit:
    """Return the visit with everything before a step left out, as far as the course asks."""
    visit = FIRST
    for each in FIRST.protocol.steps:
        if each == step:
            return visit
        content: dict[str, object] = {
            "step": each.id,
            "operator": "t1",
            "answers": {},
            "carried_from": None,
        }
        visit = course.fold(visit, each.kind, content)
    raise AssertionError(step.id)


def test_a_failed_check_is_told_at_once() -> None:
    step = step_of(BENCH, "check")
    assert told(BENCH, step, {"check-1": "fail"}) == [
        (Gravity.STOP, "check failed: Case and connectors")
    ]


def test_the_points_to_be_explained_are_shown() -> None:
    step = step_of(FIRST, "educate")
    assert [text for _, text in told(FIRST, step, {})] == list(step.points)
    assert len(step.points) > 3


def test_an_impaired_site_stands_before_the_normal_ones() -> None:
    step = step_of(FIRST, "test_sensation")
    answers: Answers = {
        "profile": "dpn-conventional", "is-blinded": True,
        "left-calf-upper-sharp-dull": 10, "left-calf-upper-monofilament": 4,
        "left-calf-middle-sharp-dull": 8, "left-calf-middle-monofilament": 3,
    }  # fmt: skip
    found = told(FIRST, step, answers)
    assert [gravity for gravity, _ in found][:2] == [Gravity.CARE, Gravity.NOTE]
    assert found[0][1].startswith("left calf middle: impaired")
