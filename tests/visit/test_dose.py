"""Within one visit no more is delivered in all than once at the longest."""

from __future__ import annotations

import dataclasses
from datetime import date

import pytest

from estim.errors import LimitRefused
from estim.profile.library import find
from estim.visit import course, guide, protocol, treatment
from estim.visit.known import Given

# dpn-conventional: 30 min, at most 60 min, a first exposure of 10 min.
PROFILE = find("dpn-conventional").profile
VISIT = course.fold(
    course.begin(protocol.find("diabetic-neuropathy-first").protocol, "K7M4Q2", "t1"),
    "test_sensation",
    {"step": "sensation", "operator": "t1", "answers": {"profile": "dpn-conventional"}},
)
FIRST = Given(date(2026, 11, 21), 30, 20)
BORNE = {("dpn-conventional", treatment.placement_words(VISIT)): 600_000}
LATER = dataclasses.replace(FIRST, is_first_session=False, longest_ms=BORNE)
MIN_MS = 60_000


@pytest.mark.parametrize(
    ("given", "delivered_ms", "duration_s"),
    [
        (FIRST, 0, 600),
        (FIRST, 1, 599),
        (FIRST, 9 * MIN_MS, 60),
        (LATER, 0, 1800),
        (LATER, 30 * MIN_MS, 1800),
        (LATER, 31 * MIN_MS, 1740),
        (LATER, 59 * MIN_MS, 60),
    ],
)
def test_what_was_delivered_already_shortens_what_may_follow(
    given: Given, delivered_ms: int, duration_s: int
) -> None:
    assert guide.arguments(VISIT, given, PROFILE, delivered_ms).duration_s == duration_s


@pytest.mark.parametrize(
    ("given", "delivered_ms", "words"),
    [
        (FIRST, 9 * MIN_MS + 1, "a first exposure is 10 min in all"),
        (FIRST, 11 * MIN_MS, "11 min 0 s delivered"),
        (LATER, 59 * MIN_MS + 1, "longest duration is 60 min in all"),
    ],
)
def test_what_is_used_up_is_refused_in_words(given: Given, delivered_ms: int, words: str) -> None:
    with pytest.raises(LimitRefused, match=words):
        guide.arguments(VISIT, given, PROFILE, delivered_ms)
