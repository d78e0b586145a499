"""Scores at both sides of every mark, restated by hand from clinical.md sections 3.2 and 7."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.visit import instruments, screening
from estim.visit.instruments import BY_ID, Instrument, Score
from estim.visit.licensed import LICENSED
from estim.visit.questions import Answer, Kind, Question
from tests.visit.answering import JUNK, answer_to


def scored(name: str, **answers: Answer) -> Score:
    return BY_ID[name].score({key.replace("_", "-"): answer for key, answer in answers.items()})


def test_what_the_brief_names_is_there() -> None:
    own = [
        "pain-now", "pain-worst-24h", "tug", "monofilament-plantar", "falls", "strength",
        "range-of-motion", "blood-pressure", "pgic", "symptoms", "feet",
    ]  # fmt: skip
    others = [
        "dn4", "paindetect", "lanss", "mnsi-history", "mnsi-examination", "tnsc", "tcns", "cipn20",
        "berg", "fes-i", "short-fes-i",
    ]  # fmt: skip
    assert list(BY_ID) == own + others


@pytest.mark.parametrize(
    ("before", "after", "is_responder"),
    [
        (6, 4, True), (6, 5, False), (10, 8, True), (10, 9, False), (3, 2, True), (4, 3, False),
        (2, 1, True), (0, 0, False), (5, 5, False), (4, 7, False), (0, 3, False), (1, 0, True),
    ],
)  # fmt: skip
def test_two_points_or_thirty_percent_make_a_responder(
    before: int, after: int, is_responder: bool
) -> None:
    found = instruments.change_of_pain(before, after)
    assert found.interpretation.startswith("responder" if is_responder else "no responder")
    assert found.value == before - after
    assert found.certainty == "S:fstens"


def test_more_pain_is_said_to_be_more() -> None:
    assert instruments.change_of_pain(4, 7).words == "pain 4 to 7 of 10: 3 more (75 %)"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ("12", "no raised"), ("12.0", "no raised"), ("12.1", "may be"), ("13.5", "may be"),
        ("13.6", "raised risk"),
    ],
)  # fmt: skip
def test_timed_up_and_go(seconds: str, told: str) -> None:
    found = scored("tug", tug_seconds=seconds)
    assert told in found.interpretation
    assert (found.value, found.certainty) == (Decimal(seconds), "K")


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        (4, 4, "normal"), (4, 3, "normal"), (3, 3, "between"), (2, 2, "between"),
        (2, 1, "abnormal"), (0, 0, "abnormal"),
    ],
)  # fmt: skip
def test_monofilament_on_the_soles_counts_eight(left: int, right: int, told: str) -> None:
    """Wrong: 0 and 1 are normal, 2 to 4 between, 5 and more abnormal [S:perkins]."""
    found = scored("monofilament-plantar", left_foot_felt=left, right_foot_felt=right)
    assert found.value == left + right
    assert found.interpretation.split(": ")[1].startswith(told)


@pytest.mark.parametrize(
    ("systolic", "diastolic", "is_drop"),
    [(101, 71, False), (100, 71, True), (101, 70, True), (130, 90, False)],
)
@pytest.mark.parametrize("at", ["1-min", "3-min"])
def test_a_drop_of_20_systolic_or_10_diastolic_within_3_min(
    systolic: int, diastolic: int, is_drop: bool, at: str
) -> None:
    answers: dict[str, Answer] = {"lying-heart-rate": 60}
    answers |= {"lying-systolic": 120, "lying-diastolic": 80}
    for minute in ("1-min", "3-min"):
        upright = (systolic, diastolic, 75) if minute == at else (120, 80, 70)
        for what, number in zip(("systolic", "diastolic", "heart-rate"), upright, strict=True):
            answers[f"standing-{minute}-{what}"] = number
    found = BY_ID["blood-pressure"].score(answers)
    assert found.interpretation.startswith("drop within") == is_drop
    assert found.parts["heart-rate-rise"] == 15
    assert found.value == 120 - min(systolic, 120)


def test_the_lowest_muscle_counts_and_one_is_enough() -> None:
    found = scored("strength", left_ankle_up=2, right_ankle_up=4)
    assert found.value == 2
    assert found.parts == {"left-ankle-up": 2, "right-ankle-up": 4}
    assert "guard against falls" in found.interpretation
    assert scored("strength").value is None


def test_range_of_motion_keeps_each_angle_and_makes_no_sum() -> None:
    found = scored("range-of-motion", left_ankle_up_angle=-10, right_knee_bend_angle=120)
    assert found.value is None
    assert found.parts == {"left-ankle-up-angle": -10, "right-knee-bend-angle": 120}


@pytest.mark.parametrize(("grade", "told"), [("1", "better"), ("4", "no change"), ("7", "worse")])
def test_impression_of_change(grade: str, told: str) -> None:
    found = scored("pgic", pgic_grade=grade)
    assert (found.value, found.interpretation) == (Decimal(grade), told)
    assert BY_ID["pgic"].higher_is_better is False


def test_symptoms_are_listed_and_counted() -> None:
    names = [q.id for q in BY_ID["symptoms"].form]
    assert len(names) == 8
    found = BY_ID["symptoms"].score({n: n in names[:2] for n in names})
    assert (found.value, found.words) == (
        Decimal(2),
        "symptoms: burning or stabbing pain, numbness",
    )


def test_an_ulcer_sends_to_the_screening_and_to_a_clinic() -> None:
    names = [q.id for q in BY_ID["feet"].form]
    assert len(names) == 12
    found = BY_ID["feet"].score({n: n == "left-foot-ulcer" for n in names})
    assert found.value == 1
    assert "left foot" in found.interpretation
    assert "clinic" in found.interpretation
    assert BY_ID["feet"].score(dict.fromkeys(names, False)).interpretation == ""


def test_falls_are_counted() -> None:
    assert scored("falls", falls_count=2).value == 2
    assert scored("falls", falls_count=0).interpretation == ""


@pytest.mark.parametrize(
    ("name", "total", "told"),
    [
        ("dn4", "3", "below 4"), ("dn4", "4", "likely"), ("paindetect", "-1", "unlikely"),
        ("paindetect", "12", "unlikely"), ("paindetect", "13", "unclear"),
        ("paindetect", "18", "unclear"), ("paindetect", "19", "likely"), ("lanss", "11", "below"),
        ("lanss", "12", "likely"), ("mnsi-history", "3", "below"), ("mnsi-history", "4", "newer"),
        ("mnsi-history", "7", "abnormal"), ("mnsi-examination", "2", "below"),
        ("mnsi-examination", "2.5", "abnormal"), ("tcns", "8", "below"), ("tcns", "9", "moderate"),
        ("tcns", "11", "moderate"), ("tcns", "12", "above"), ("berg", "44", "risk"),
        ("berg", "45", "45 or more"), ("tnsc", "9", ""),
    ],
)  # fmt: skip
def test_a_licensed_score_is_read_at_its_marks(name: str, total: str, told: str) -> None:
    found = BY_ID[name].score({f"{name}-score": total, f"{name}-version": "1, English"})
    assert told in found.interpretation
    assert bool(found.interpretation) == bool(told)
    assert "1, English" in found.words


@pytest.mark.parametrize("entry", LICENSED, ids=lambda entry: str(entry.id))
def test_of_a_licensed_questionnaire_only_score_and_version_are_asked(entry: object) -> None:
    instrument = BY_ID[entry.id]  # type: ignore[attr-defined]
    assert [q.id.removeprefix(f"{instrument.id}-") for q in instrument.form] == ["score", "version"]
    assert instrument.licence


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("dn4", 0, 10), ("paindetect", -1, 38), ("lanss", 0, 24), ("mnsi-history", 0, 13),
        ("mnsi-examination", 0, 10), ("tnsc", 0, 28), ("tcns", 0, 19), ("cipn20", 0, 100),
        ("berg", 0, 56), ("fes-i", 16, 64), ("short-fes-i", 7, 28),
    ],
)  # fmt: skip
def test_a_licensed_score_stays_in_its_range(name: str, low: int, high: int) -> None:
    asked = BY_ID[name].form[0]
    assert (asked.minimum, asked.maximum) == (low, high)
    assert scored(name, **{f"{name}-score": str(high + 1), f"{name}-version": "1"}).value is None


@pytest.mark.parametrize("instrument", BY_ID.values(), ids=lambda i: str(i.id))
def test_half_answered_has_no_number(instrument: Instrument) -> None:
    assert instrument.score({}).value is None
    whole = instrument.score({q.id: _some(q) for q in instrument.form})
    assert whole.value is not None or instrument.id == "range-of-motion"
    if instrument.needs_all:
        for left_out in instrument.form:
            answers = {q.id: _some(q) for q in instrument.form if q is not left_out}
            assert instrument.score(answers).value is None


def _some(question: Question) -> Answer:
    if question.kind is Kind.YES_NO:
        return True
    if question.kind is Kind.WHOLE:
        return question.minimum or 0
    if question.kind is Kind.DECIMAL:
        return str(question.minimum)
    return question.choices[0].id if question.choices else "1, English"


def test_ids_of_questions_are_unique_over_all_instruments_and_the_screening() -> None:
    ids = [q.id for instrument in BY_ID.values() for q in instrument.form]
    ids += [item.id for item in screening.items()]
    assert len(set(ids)) == len(ids)


@given(st.sampled_from(list(BY_ID)), st.data())
def test_no_answer_that_is_taken_makes_scoring_raise(name: str, data: st.DataObject) -> None:
    asked = BY_ID[name].form
    answers = {q.id: data.draw(answer_to(q)) for q in asked}
    found = BY_ID[name].score(answers)
    assert found.words
    assert found.words.isprintable()
    assert found.value is not None or name == "range-of-motion"
    assert bool(found.interpretation) == bool(found.certainty)


@given(st.sampled_from(list(BY_ID)), st.data())
def test_no_answer_at_all_makes_scoring_raise(name: str, data: st.DataObject) -> None:
    answers = {q.id: data.draw(JUNK) for q in BY_ID[name].form}
    assert BY_ID[name].score(answers).words
