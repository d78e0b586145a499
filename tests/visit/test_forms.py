"""What the plain steps ask, and what the answers mean."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from estim.profile.body_chart import SITES
from estim.visit import course, forms, guide, protocol
from estim.visit.known import Given
from estim.visit.questions import Answer, Form, Kind, missing

PROTOCOL = protocol.find("diabetic-neuropathy-first").protocol
BEFORE = PROTOCOL.step("skin-before")
AFTER = PROTOCOL.step("skin-after")


@pytest.mark.parametrize(
    ("answers", "count"),
    [
        ({}, 2),
        ({"explained": True}, 1),
        ({"explained": True, "agrees": False}, 1),
        ({"explained": False, "agrees": True}, 1),
        ({"explained": True, "agrees": True}, 0),
    ],
)
def test_nothing_is_delivered_without_explanation_and_agreement(
    answers: dict[str, Answer], count: int
) -> None:
    assert len(forms.consent_verdict(answers, is_first=True).blocks) == count


def test_who_knows_what_it_is_like_still_has_to_agree_each_time() -> None:
    assert [q.id for q in forms.consent_form(is_first=False)] == ["agrees"]
    assert forms.consent_verdict({}, is_first=False).blocks
    assert forms.consent_verdict({"agrees": False}, is_first=False).blocks
    assert not forms.consent_verdict({"agrees": True}, is_first=False).blocks


def test_skin_that_was_not_looked_at_blocks() -> None:
    assert forms.skin_verdict(BEFORE, {}).blocks == ("the skin was not looked at",)
    assert forms.skin_verdict(BEFORE, {"clear": True}) == forms.Verdict()


def test_a_wound_forbids_its_part_of_the_body_and_no_other() -> None:
    answers: dict[str, Answer] = {
        "clear": False,
        "finding-1": "wound",
        "where-1": "left-leg",
        "another-1": True,
        "finding-2": "dry",
        "where-2": "right-leg",
        "another-2": False,
    }
    assert missing(forms.skin_form(BEFORE, answers), answers) == ()
    verdict = forms.skin_verdict(BEFORE, answers)
    legs = {name for name, site in SITES.items() if site.part == "left leg"}
    assert set(verdict.forbidden) == legs
    assert "left-calf-upper" in legs
    assert len(verdict.cautions) == 2


def test_a_finding_is_asked_for_until_there_is_no_other() -> None:
    form = forms.skin_form(BEFORE, {"clear": False, "another-1": True})
    assert [q.id for q in form] == [
        *("clear", "finding-1", "where-1", "another-1"),
        *("finding-2", "where-2", "another-2", "words"),
    ]


@pytest.mark.parametrize(
    ("finding", "is_adverse"), [("mild", False), ("marked", True), ("blister", True)]
)
def test_marked_redness_after_is_an_adverse_event(finding: str, is_adverse: bool) -> None:
    answers: dict[str, Answer] = {"clear": False, "finding-1": finding, "where-1": "left-leg"}
    assert forms.is_skin_adverse(AFTER, answers) is is_adverse
    assert not forms.is_skin_adverse(
        BEFORE, {"clear": False, "finding-1": "wound", "where-1": "left-leg"}
    )


def test_no_stimulation_in_or_near_water() -> None:
    wet: dict[str, Answer] = {"aquatic": True}
    assert forms.adjunct_verdict(wet, is_sensation_normal=True).blocks
    assert forms.adjunct_verdict({**wet, "dry": False}, is_sensation_normal=True).blocks
    assert not forms.adjunct_verdict({**wet, "dry": True}, is_sensation_normal=True).blocks


def test_heat_is_named_where_it_cannot_be_felt() -> None:
    assert forms.adjunct_verdict({"heat": True}, is_sensation_normal=False).cautions
    assert not forms.adjunct_verdict({"heat": True}, is_sensation_normal=True).cautions


def test_an_adverse_event_is_told_whole() -> None:
    form = forms.review_form(PROTOCOL.step("review"), {"adverse": True})
    required = {q.id for q in form if not q.is_optional}
    assert required == {
        *("adverse", "adverse-onset", "adverse-what", "adverse-action", "adverse-report"),
    }


@pytest.mark.parametrize(
    ("has_patient_stop", "is_first", "asked"),
    [
        (False, True, [("patient", "none"), ("key", "heard")]),
        (False, False, [("key", "heard")]),
        (True, True, [("patient", "tried"), ("key", "heard")]),
        (True, False, [("patient", "tried"), ("key", "heard")]),
    ],
)
def test_both_stops_are_tried_where_the_device_has_both(
    has_patient_stop: bool, is_first: bool, asked: list[tuple[str, str]]
) -> None:
    form = forms.stop_form(has_patient_stop=has_patient_stop, is_first=is_first)
    assert [(q.id, q.choices[0].id) for q in form] == asked


@pytest.mark.hazard(46)
@pytest.mark.parametrize(
    ("answers", "has_patient_stop", "is_reported", "count"),
    [
        ({}, False, False, 1),
        ({"key": "heard"}, True, True, 1),
        ({"key": "heard", "patient": "none"}, False, False, 0),
        ({"key": "heard", "patient": "tried"}, True, False, 1),
        ({"key": "heard", "patient": "none"}, True, True, 1),
        ({"key": "heard", "patient": "tried"}, True, True, 0),
        ({"patient": "tried"}, True, True, 1),
    ],
)
def test_a_stop_counts_as_tried_only_where_it_was_heard(
    answers: dict[str, Answer], has_patient_stop: bool, is_reported: bool, count: int
) -> None:
    verdict = forms.stop_verdict(
        answers, has_patient_stop=has_patient_stop, is_reported=is_reported
    )
    assert len(verdict.blocks) == count


def _some_answers(form: Form) -> st.SearchStrategy[dict[str, Answer]]:
    by_kind: dict[Kind, st.SearchStrategy[Answer]] = {
        Kind.YES_NO: st.booleans(),
        Kind.WHOLE: st.integers(1, 100),
        Kind.TEXT: st.just("words"),
    }
    return st.fixed_dictionaries(
        {},
        optional={
            q.id: st.sampled_from([c.id for c in q.choices]) if q.choices else by_kind[q.kind]
            for q in form
        },
    )


@drawn(st.data())
def test_whatever_is_answered_the_form_closes_and_each_question_stands_once(
    data: st.DataObject,
) -> None:
    makers = [
        (forms.skin_form, BEFORE),
        (forms.skin_form, AFTER),
        (forms.exercise_form, PROTOCOL.step("exercise")),
        (forms.adjunct_form, PROTOCOL.step("adjuncts")),
        (forms.education_form, PROTOCOL.step("education")),
        (forms.review_form, PROTOCOL.step("review")),
    ]
    make, step = data.draw(st.sampled_from(makers))
    answers: dict[str, Answer] = {}
    for _ in range(20):
        form = make(step, answers)
        ids = [q.id for q in form]
        assert len(set(ids)) == len(ids)
        answers |= data.draw(_some_answers(form))
        forms.skin_verdict(step if step.when else BEFORE, answers)
        forms.adjunct_verdict(answers, is_sensation_normal=False)
    for _ in range(60):
        waiting = missing(make(step, answers), answers)
        if not waiting:
            break
        answers |= data.draw(_some_answers(waiting[:1]).filter(bool))
    assert missing(make(step, answers), answers) == ()


BENCH = protocol.find("technician-acceptance").protocol
LOOK = BENCH.step("look")


def test_each_check_is_asked_and_one_that_did_not_pass_asks_why() -> None:
    answers: dict[str, Answer] = {"check-1": "pass", "check-2": "fail", "check-3": "not-done"}
    form = forms.check_form(LOOK, answers)
    assert [q.id for q in form] == [
        *("check-1", "check-2", "found-2", "check-3", "found-3", "check-4", "words"),
    ]
    assert [q.id for q in missing(form, answers)] == ["found-2", "found-3", "check-4"]


def test_a_check_that_failed_holds_output_back_and_one_left_out_is_told() -> None:
    answers: dict[str, Answer] = {"check-1": "pass", "check-2": "fail", "check-3": "not-done"}
    verdict = forms.check_verdict(LOOK, answers)
    assert verdict.blocks == ("check failed: Leads",)
    assert verdict.cautions == ("not checked: Labels and papers",)


def test_on_the_bench_a_failed_check_is_what_output_waits_for() -> None:
    given = Given(date(2026, 3, 2), sensation_valid_days=28, electrode_uses_max=20)
    visit = course.begin(BENCH, "none", "tech")
    assert guide.output_problems(visit, given) == ()
    passed: dict[str, Answer] = {f"check-{number}": "pass" for number in range(1, 5)}
    failed = {**passed, "check-1": "fail", "found-1": "a crack"}
    for answers, problems in ((passed, ()), (failed, ("check failed: Case and connectors",))):
        assert missing(guide.form(LOOK, visit, given, answers), answers) == ()
        kind, content = course.answer(visit, LOOK, answers)
        after = course.fold(visit, kind, content)
        assert after.odd_count == 0
        assert guide.output_problems(after, given) == problems


def test_the_bench_ends_with_the_decision_and_its_reason() -> None:
    given = Given(date(2026, 3, 2), sensation_valid_days=28, electrode_uses_max=20)
    visit = course.begin(BENCH, "none", "tech")
    form = guide.form(BENCH.step("review"), visit, given, {})
    assert [q.id for q in missing(form, {})] == ["accepted", "assessment"]
