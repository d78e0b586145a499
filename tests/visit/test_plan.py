"""Plans that hold or say why not, what is due, and trends that add nothing to what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from estim.errors import UsageError
from estim.record.addenda import add_addendum
from estim.visit import history
from estim.visit.history import Person
from estim.visit.plan import (
    DOSE,
    KIND,
    Plan,
    Trend,
    answer_measure,
    answers_of,
    check,
    content_of,
    due,
    form,
    plan_of,
    plans_of,
    score_measure,
    trend,
)  # fmt: skip
from estim.visit.questions import Answer, Answers, Choice, check_all
from tests.record.samples import KEY
from tests.visit.past import PERSON, Past, damage, day, whole_visit

CONTENT: dict[str, Any] = {
    "goals": "walk to the shop",
    "sessions_per_week": 2,
    "planned_sessions": 6,
    "ceiling_ua": 20_000,
    "protocol": "diabetic-neuropathy-first",
    "review_on": "2000-02-01",
    "operator": "T-1",
}
PLAN = check(CONTENT, date(2000, 1, 1))
PAIN = answer_measure("pain-now", "pain now", is_better_higher=False, is_pain=True)


def planned(folder: Path, name: str, on: int, **changes: Any) -> Path:
    past = Past(folder, name, day(on))
    past.annotate(KIND, **(CONTENT | changes))
    return past.finish()


def found(folder: Path) -> tuple[Plan | None, str]:
    told = plan_of(history.visits_of(folder, PERSON, KEY))
    return told.plan, told.words


# Plans.


def test_a_plan_is_read_as_it_was_written() -> None:
    assert Plan(
        "walk to the shop", 2, 6, 20_000, "diabetic-neuropathy-first", date(2000, 2, 1), "T-1",
        date(2000, 1, 1),
    ) == PLAN  # fmt: skip
    assert PLAN.content() == CONTENT
    open_ended = CONTENT | {"ceiling_ua": None, "review_on": None}
    assert check(open_ended, date(2000, 1, 1)).content() == open_ended


def test_the_form_of_a_plan_makes_it_and_shows_it_again() -> None:
    choices = [Choice("diabetic-neuropathy-first", "first")]
    told: dict[str, Answer] = {
        "goals": "walk to the shop", "sessions-per-week": 2, "planned-sessions": 6,
        "ceiling": "12.5", "protocol": "diabetic-neuropathy-first", "review-on": "2000-02-01",
    }  # fmt: skip
    assert check_all(form(choices), told) == told
    content = content_of(told, "T-1", date(2000, 1, 1))
    assert content == CONTENT | {"ceiling_ua": 12_500}
    assert answers_of(check(content, date(2000, 1, 1))) == told
    del told["ceiling"], told["review-on"]
    content = content_of(told, "T-1", date(2000, 1, 1))
    assert (content["ceiling_ua"], content["review_on"]) == (None, None)
    with pytest.raises(UsageError, match="review_on: expected a date"):
        content_of(told | {"review-on": "2000-02-30"}, "T-1", date(2000, 1, 1))


def test_a_measure_of_before_takes_nothing_that_was_asked_afterwards(tmp_path: Path) -> None:
    past = Past(tmp_path, "s", day(0))
    past.step("assess", {"pain-now": 7})
    past.step("assess", {"pain-now": 6})  # asked once more, before anything was loaded
    past.stimulate()
    past.step("assess", {"pain-now": 2}, name="outcome")
    past.finish()
    (visit,) = history.visits_of(tmp_path, PERSON, KEY)
    before = answer_measure("pain-now", "pain", is_pain=True, is_before=True)
    assert before.of(visit) == 6


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("goals", ""), ("goals", " "), ("goals", "a\x1b[2J"), ("goals", "x" * 2001), ("goals", 1),
        ("sessions_per_week", 0), ("sessions_per_week", 8), ("sessions_per_week", True),
        ("planned_sessions", 0), ("planned_sessions", 201), ("planned_sessions", "6"),
        ("ceiling_ua", 0), ("ceiling_ua", 100_001), ("ceiling_ua", 20.0), ("ceiling_ua", -1),
        ("protocol", ""), ("protocol", "../x"), ("protocol", None),
        ("review_on", "soon"), ("review_on", "20000201"), ("review_on", "2000-02-30"),
        ("review_on", 1), ("operator", ""), ("operator", None),
    ],
)  # fmt: skip
def test_a_plan_that_is_none_is_refused_by_key(key: str, wrong: object) -> None:
    with pytest.raises(UsageError, match=f"plan: {key}: expected"):
        check(CONTENT | {key: wrong}, date(2000, 1, 1))


def test_keys_that_miss_or_are_strange_are_named() -> None:
    with pytest.raises(UsageError, match="'goals': missing"):
        check({key: CONTENT[key] for key in CONTENT if key != "goals"}, date(2000, 1, 1))
    with pytest.raises(UsageError, match="'name': no such key"):
        check(CONTENT | {"name": "x"}, date(2000, 1, 1))


def test_the_newest_plan_holds(tmp_path: Path) -> None:
    assert found(tmp_path) == (None, "nothing is planned yet")
    planned(tmp_path, "a", 0, ceiling_ua=30_000)
    past = Past(tmp_path, "b", day(3))
    past.annotate(KIND, **(CONTENT | {"ceiling_ua": 25_000}))
    past.annotate(KIND, **CONTENT)
    past.finish()
    whole_visit(tmp_path, "c", day(5))
    plan, words = found(tmp_path)
    assert plan is not None
    assert (plan.ceiling_ua, plan.made_on) == (20_000, date(2000, 1, 4))
    assert words == "planned by T-1 on 2000-01-04"


def test_a_newest_plan_that_is_wrong_brings_no_older_ceiling_back(tmp_path: Path) -> None:
    planned(tmp_path, "a", 0, ceiling_ua=30_000)
    planned(tmp_path, "b", 1, ceiling_ua=0)
    plan, words = found(tmp_path)
    assert plan is None
    assert "ceiling_ua" in words


def test_no_plan_holds_from_or_before_a_damaged_or_corrected_visit(tmp_path: Path) -> None:
    planned(tmp_path, "a", 0, ceiling_ua=30_000)
    path = planned(tmp_path, "b", 1)
    intact = path.read_bytes()
    for line in range(intact.count(b"\n")):
        path.write_bytes(intact)
        damage(path, line)
        assert found(tmp_path)[0] is None, line
    path.write_bytes(intact)
    assert found(tmp_path)[0] is not None
    add_addendum(
        path, KEY, who="T-2", why="wrong plan", text="x", event_seq=None, mono_us=10**16,
        wall=day(2),
    )  # fmt: skip
    assert found(tmp_path)[0] is None


def test_everybodys_plan_is_found_with_one_record_read_for_each(tmp_path: Path) -> None:
    planned(tmp_path, "a", 0, ceiling_ua=30_000)
    planned(tmp_path, "b", 1)
    whole_visit(tmp_path, "c", day(2))
    whole_visit(tmp_path, "d", day(3), pseudonym="P-7")
    history._kept_facts.cache_clear()
    assert {who: each.ceiling_ua for who, each in plans_of(tmp_path, KEY).items()} == {
        PERSON: 20_000
    }
    assert history._kept_facts.cache_info().misses == 1
    damage(tmp_path / "c.jsonl", 3)
    assert plans_of(tmp_path, KEY) == {}, "a newer damaged visit may hold a newer plan"


# What is due.


def due_words(visits_on: list[int], today: int, plan: Plan = PLAN) -> list[str]:
    days = tuple(sorted((day(number).date() for number in visits_on), reverse=True))
    people = (Person(PERSON, days, 0), Person("P-7", days, 0))
    return [each.words for each in due(people, {PERSON: plan}, day(today).date())]


def test_a_visit_is_due_half_a_week_after_the_last_with_two_a_week() -> None:
    """Two a week: every third day. The first day is that of the plan."""
    assert due_words([0], 2) == []
    assert due_words([0], 3) == [
        "visit due today (2 a week, last on 2000-01-01; 1 of 6 sessions done)"
    ]
    assert due_words([0, 3], 3) == []
    assert due_words([0, 3], 8) == [
        "visit due since 2000-01-07 (2 a week, last on 2000-01-04; 2 of 6 sessions done)"
    ]


def test_visits_before_the_plan_do_not_count_for_it() -> None:
    assert due_words([-9, -6, -3, 0], 3)[0].endswith("1 of 6 sessions done)")


def test_a_complete_course_is_due_for_review_and_no_more_visits() -> None:
    assert due_words([0, 3, 6, 9, 12, 15], 20) == [
        "course complete (6 of 6 sessions done): review, plan anew"
    ]


def test_a_review_is_due_from_its_day_on() -> None:
    assert due_words([30], 30) == []
    assert due_words([30], 31) == ["review due since 2000-02-01"]


def test_what_has_waited_longest_comes_first() -> None:
    words = due_words([0, 3], 40)
    assert [each.split()[0] for each in words] == ["visit", "review"]


# Trends.


def pain_visit(folder: Path, on: int, pain: object, carried_from: str | None = None) -> Path:
    past = Past(folder, f"s{on}", day(on))
    if pain is not None:
        past.step("assess", {"pain-now": pain}, carried_from)
    past.stimulate(plateau_ms=600_000)
    return past.finish()


def course(folder: Path, *pains: object) -> Trend:
    for on, pain in enumerate(pains):
        pain_visit(folder, on, pain)
    return trend(history.visits_of(folder, PERSON, KEY), PAIN)


def test_a_trend_tells_first_last_change_and_response(tmp_path: Path) -> None:
    found = course(tmp_path, 6, 5, 4)
    assert [(p.on.day, p.session_id, int(p.value)) for p in found.points] == [
        (1, "s0", 6), (2, "s1", 5), (3, "s2", 4),
    ]  # fmt: skip
    assert found.words == (
        "pain now: first 6 on 2000-01-01, last 4 on 2000-01-03, change -2 (better)",
        "responder so far: the rule is at least 30 % or 2 points less pain [S:fstens]",
    )


@pytest.mark.parametrize(
    ("pains", "course_words", "is_responder"),
    [
        ((3, 2), "(better)", True),  # 33 %
        ((4, 3), "(better)", False),  # 25 %, one point
        ((9, 7), "(better)", True),  # 22 %, two points
        (("3.0", "2.1"), "(better)", True),  # exactly 30 %
        (("3.0", "2.2"), "(better)", False),
        ((0, 0), "(no change)", False),
        ((2, 5), "(worse)", False),
        ((5, 2, 5), "(no change)", False),  # it is the last that counts
    ],
)
def test_a_response_is_30_percent_or_2_points(
    tmp_path: Path, pains: tuple[object, ...], course_words: str, is_responder: bool
) -> None:
    words = course(tmp_path, *pains).words
    assert words[0].endswith(course_words)
    assert words[1].startswith("responder" if is_responder else "no responder")


def test_gaps_are_named_and_never_filled(tmp_path: Path) -> None:
    pain_visit(tmp_path, 0, 6)
    pain_visit(tmp_path, 1, None)
    pain_visit(tmp_path, 2, 6, carried_from="s0")
    pain_visit(tmp_path, 3, "much")
    damage(pain_visit(tmp_path, 4, 1), 2)
    pain_visit(tmp_path, 5, 5)
    found = trend(history.visits_of(tmp_path, PERSON, KEY), PAIN)
    assert [(point.on.day, int(point.value)) for point in found.points] == [(1, 6), (6, 5)]
    assert found.words[-1] == (
        "without a value: 2000-01-02: not measured; 2000-01-03: not measured; "
        "2000-01-04: not measured; 2000-01-05: its record is damaged"
    )


def test_what_was_measured_once_or_never_has_no_change(tmp_path: Path) -> None:
    assert course(tmp_path).words == ("pain now: never measured",)
    assert course(tmp_path, 6).words == ("pain now: 6 on 2000-01-01, measured once",)


def test_dose_is_what_was_delivered_and_has_no_better(tmp_path: Path) -> None:
    """14 s + 600 s + 2 s = 616 s = 10.27 min."""
    pain_visit(tmp_path, 0, None)
    past = Past(tmp_path, "torn", day(1))
    past.stimulate(plateau_ms=0)
    past.tear()
    whole_visit(tmp_path, "whole", day(2))
    found = trend(history.visits_of(tmp_path, PERSON, KEY), DOSE)
    assert [point.value for point in found.points] == [Decimal("10.3"), Decimal("20.3")]
    assert found.words == (
        "stimulation delivered: first 10.3 min on 2000-01-01, last 20.3 min on 2000-01-03, change "
        "+10.0 min",
        "without a value: 2000-01-02: not measured",
    )


@dataclass(frozen=True)
class Total:
    value: int


class Falls:
    """An instrument of two questions whose score is their sum."""

    title = "falls"
    higher_is_better = False

    def score(self, answers: Answers, /) -> Total:
        return Total(int(answers["indoors"]) + int(answers["outdoors"]))


def test_a_score_is_taken_where_every_question_was_answered(tmp_path: Path) -> None:
    for on, answers in enumerate(({"indoors": 2, "outdoors": 3}, {"indoors": 9}, {
        "indoors": 1, "outdoors": 0, "pain-now": 3,
    })):  # fmt: skip
        past = Past(tmp_path, f"s{on}", day(on))
        past.step("assess", answers)
        past.finish()
    visits = history.visits_of(tmp_path, PERSON, KEY)
    found = trend(visits, score_measure(Falls(), ("indoors", "outdoors")))
    assert [point.value for point in found.points] == [5, 1]
    assert found.words[0].endswith("change -4 (better)")
