"""No site is stimulated at full ceilings that was not felt to be normal, on a day that counts."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.profile.body_chart import SITES
from estim.visit import sensation
from estim.visit.questions import Answer
from estim.visit.sensation import State
from tests.visit.answering import JUNK

DAY = date(2026, 3, 2)
CALF = "left-calf-upper"
BACK = "left-low-back-upper"


def counts(
    sharp_dull: Answer | None, monofilament: Answer | None, is_blinded: Answer | None = True
) -> dict[str, Answer]:
    found = {
        "is-blinded": is_blinded,
        f"{CALF}-sharp-dull": sharp_dull,
        f"{CALF}-monofilament": monofilament,
    }
    return {name: answer for name, answer in found.items() if answer is not None}


def state(
    answers: dict[str, Answer], tested_on: date | None = DAY, today: date = DAY, valid: int = 30
) -> State:
    return sensation.judge([CALF], answers, tested_on, today, valid)[CALF].state


@pytest.mark.parametrize(
    ("sharp_dull", "monofilament", "expected"),
    [
        (10, 4, "normal"), (8, 4, "normal"), (8, 3, "impaired"), (10, 2, "impaired"),
        (10, 1, "failed"), (10, 0, "failed"), (7, 4, "failed"), (0, 0, "failed"),
        (7, 3, "failed"), (0, 4, "failed"),
    ],
)  # fmt: skip
def test_the_edges_of_both_counts(sharp_dull: int, monofilament: int, expected: str) -> None:
    assert state(counts(sharp_dull, monofilament)) == expected


@pytest.mark.parametrize(
    "answers",
    [
        {}, counts(10, None), counts(None, 4), counts(10, 4, None), counts(10, 4, False),
        counts(11, 4), counts(10, 5), counts(-1, 4), counts(True, True), counts("10", "4"),
    ],
)  # fmt: skip
def test_half_a_test_or_one_without_blinding_is_none(answers: dict[str, Answer]) -> None:
    assert state(answers) == "not tested"


@pytest.mark.parametrize(
    ("age_days", "valid_days", "expected"),
    [
        (0, 0, "normal"), (1, 0, "expired"), (30, 30, "normal"), (31, 30, "expired"),
        (-1, 30, "not tested"), (0, -5, "expired"), (36500, 30, "expired"),
    ],
)  # fmt: skip
def test_a_test_holds_for_the_days_of_the_policy_and_not_before_it_was_made(
    age_days: int, valid_days: int, expected: str
) -> None:
    tested_on = DAY - timedelta(days=age_days)
    assert state(counts(10, 4), tested_on, DAY, valid_days) == expected


def test_without_a_day_there_was_no_test() -> None:
    assert state(counts(10, 4), None) == "not tested"


def test_a_site_is_judged_by_its_own_counts_alone() -> None:
    found = sensation.judge([CALF, "right-calf-upper"], counts(10, 4), DAY, DAY, 30)
    assert found[CALF].state == "normal"
    assert found["right-calf-upper"].state == "not tested"


def test_a_failed_site_says_why_and_where_else() -> None:
    found = sensation.judge([CALF], counts(5, 4), DAY, DAY, 30)[CALF]
    assert "5 of 10" in found.words
    assert "no pad here" in found.words
    told = " ".join(found.alternatives)
    for needed in ("upper calf", "peroneal", "tibial", "twitch", "matched site"):
        assert needed in told
    back = {"is-blinded": True, f"{BACK}-sharp-dull": 0, f"{BACK}-monofilament": 0}
    elsewhere = sensation.judge([BACK], back, DAY, DAY, 30)[BACK].alternatives
    assert "calf" not in " ".join(elsewhere)


def test_only_normal_sites_have_full_ceilings() -> None:
    normal = sensation.judge([CALF], counts(10, 4), DAY, DAY, 30)
    impaired = sensation.judge([CALF], counts(10, 3), DAY, DAY, 30)
    assert not sensation.is_impaired([CALF], normal)
    assert sensation.is_impaired([CALF], impaired)
    assert sensation.is_impaired([CALF, "left-calf-middle"], normal)


def test_the_form_asks_each_site_once_and_nothing_of_the_sole_count() -> None:
    form = sensation.form([CALF, CALF, "left-heel"])
    assert [q.id for q in form] == [
        "is-blinded", f"{CALF}-sharp-dull", f"{CALF}-monofilament",
        "left-heel-sharp-dull", "left-heel-monofilament",
    ]  # fmt: skip


@pytest.mark.parametrize("needed", ["normally", "closed", "pause", "sharp", "10 g"])
def test_the_instructions_blind(needed: str) -> None:
    assert needed in " ".join(sensation.INSTRUCTIONS)


@given(
    st.lists(st.sampled_from(sorted(SITES)), max_size=6),
    st.dictionaries(
        st.sampled_from(["is-blinded", f"{CALF}-sharp-dull", f"{CALF}-monofilament"]), JUNK
    ),
    st.none() | st.dates(),
    st.dates(),
    st.integers(),
)
def test_judging_never_raises_and_allows_only_what_was_tested(
    sites: list[str],
    answers: dict[str, Answer],
    tested_on: date | None,
    today: date,
    valid_days: int,
) -> None:
    found = sensation.judge(sites, answers, tested_on, today, valid_days)
    assert set(found) == set(sites)
    for each in found.values():
        assert each.words
        if each.is_allowed:
            assert each.site == CALF
            assert tested_on is not None
            assert tested_on <= today
            assert answers["is-blinded"] is True
