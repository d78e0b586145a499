"""Typed readings are judged with their uncertainty; the whole is as bad as its worst part."""

from __future__ import annotations

from decimal import Decimal

import pytest

from estim.rig.jobs.course import verdict_of
from estim.rig.jobs.job import LeakageCheck
from estim.rig.jobs.typed import leakage_verdict

ENTRY = LeakageCheck(
    name="patient", question="?", at_most_ua=Decimal(100), uncertainty_ua=Decimal(2),
    instrument="x.toml", source="s", certainty="S",
)  # fmt: skip


@pytest.mark.parametrize(
    ("reading", "is_overdue", "verdict"),
    [
        ("0", False, "pass"),
        ("98", False, "pass"),
        ("98.01", False, "inconclusive"),
        ("102", False, "inconclusive"),
        ("102.01", False, "fail"),
        ("98", True, "inconclusive"),
        ("102.01", True, "fail"),
    ],
)
def test_a_reading_passes_only_with_its_uncertainty_inside(
    reading: str, is_overdue: bool, verdict: str
) -> None:
    assert leakage_verdict(ENTRY, Decimal(reading), is_overdue=is_overdue) == verdict


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "not-applicable"], "pass"),
        (["pass", "inconclusive"], "inconclusive"),
        (["inconclusive", "fail"], "fail"),
        (["pass", "fail"], "fail"),
        (["not-applicable"], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_nothing_passes_unless_something_was_judged_and_nothing_was_left_open(
    verdicts: list[str], whole: str
) -> None:
    assert verdict_of(verdicts) == whole
