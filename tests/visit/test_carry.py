"""What of earlier visits may be shown: never too old, never of doubtful origin, never a default."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from estim.record.addenda import add_addendum
from estim.record.lines import NOTE_LATER
from estim.visit import history
from estim.visit.carry import MAY_BE_CARRIED, Carried, Offer, Today, answers_of, comfortable
from estim.visit.protocol import KINDS
from tests.record.samples import KEY
from tests.visit.past import DIGEST, PERSON, PLACEMENT, Past, damage, day, whole_visit

FIRST = {"pacemaker": False, "insulin": True}
VALID_DAYS = 30
TODAY = Today(date(2000, 1, 11), "dpn-conventional", DIGEST, tuple(PLACEMENT), (40_000,))


def screening(folder: Path, today: int = 10, kind: str = "screen") -> Carried:
    visits = history.visits_of(folder, PERSON, KEY)
    return answers_of(visits, kind, day(today).date(), VALID_DAYS)


def screened(
    folder: Path, name: str, on: int, answers: dict[str, Any], carried_from: str | None = None
) -> Path:
    past = Past(folder, name, day(on))
    past.step("screen", answers, carried_from)
    return past.finish()


def markers(folder: Path, valid_days: int = VALID_DAYS, **changes: Any) -> Offer:
    visits = history.visits_of(folder, PERSON, KEY)
    (offer,) = comfortable(visits, replace(TODAY, **changes), valid_days)
    return offer


def correct(path: Path, why: str = "a typing error") -> None:
    add_addendum(
        path, KEY, who="T-2", why=why, text="see there", event_seq=None, mono_us=10**16, wall=day(9)
    )


def test_without_an_earlier_visit_everything_is_asked(tmp_path: Path) -> None:
    found = screening(tmp_path)
    assert (found.may_be_shown, dict(found.answers)) == (False, {})
    assert found.words == "asked for the first time"


def test_earlier_answers_are_shown_with_their_day(tmp_path: Path) -> None:
    screened(tmp_path, "a", 0, FIRST)
    found = screening(tmp_path)
    assert found == Carried(FIRST, "a", date(2000, 1, 1), "changed since 2000-01-01?")


@pytest.mark.parametrize(
    ("today", "is_shown"), [(0, True), (30, True), (31, False), (400, False), (-1, False)]
)
def test_answers_hold_as_long_as_the_site_says(tmp_path: Path, today: int, is_shown: bool) -> None:
    screened(tmp_path, "a", 0, FIRST)
    assert screening(tmp_path, today).may_be_shown is is_shown


def test_with_zero_days_they_hold_on_that_day_alone(tmp_path: Path) -> None:
    screened(tmp_path, "a", 0, FIRST)
    visits = history.visits_of(tmp_path, PERSON, KEY)
    assert answers_of(visits, "screen", day(0).date(), 0).may_be_shown
    assert not answers_of(visits, "screen", day(1).date(), 0).may_be_shown


def test_confirming_unchanged_does_not_make_answers_younger(tmp_path: Path) -> None:
    screened(tmp_path, "a", 0, FIRST)
    screened(tmp_path, "b", 20, FIRST, carried_from="a")
    screened(tmp_path, "c", 25, FIRST, carried_from="b")
    found = screening(tmp_path, 30)
    assert (found.session_id, found.asked_on) == ("a", date(2000, 1, 1))
    assert not screening(tmp_path, 31).may_be_shown


def test_answers_that_were_changed_count_from_that_day(tmp_path: Path) -> None:
    screened(tmp_path, "a", 0, FIRST)
    screened(tmp_path, "b", 20, {"pacemaker": False, "insulin": False})
    found = screening(tmp_path, 50)
    assert (found.session_id, found.answers["insulin"]) == ("b", False)


@pytest.mark.parametrize(
    ("answers", "carried_from", "words"),
    [
        (FIRST, "gone", "not there"),
        (FIRST, "b", "circle"),
        ({"pacemaker": True}, "a", "differs"),
    ],
)
def test_what_cannot_be_followed_back_is_asked_anew(
    tmp_path: Path, answers: dict[str, Any], carried_from: str, words: str
) -> None:
    screened(tmp_path, "a", 0, FIRST)
    screened(tmp_path, "b", 5, answers, carried_from)
    found = screening(tmp_path)
    assert not found.may_be_shown
    assert words in found.words


@pytest.mark.hazard(21)
def test_nothing_is_taken_from_a_damaged_visit_nor_from_before_it(tmp_path: Path) -> None:
    """The damaged one may have held other answers."""
    screened(tmp_path, "a", 0, FIRST)
    path = screened(tmp_path, "b", 5, FIRST)
    intact = path.read_bytes()
    for line in range(intact.count(b"\n")):
        path.write_bytes(intact)
        damage(path, line)
        found = screening(tmp_path)
        assert not found.may_be_shown, line
        assert "2000-01-06" in found.words or "b" in found.words


def test_nothing_is_taken_from_a_visit_that_was_corrected(tmp_path: Path) -> None:
    path = screened(tmp_path, "a", 0, FIRST)
    correct(path, NOTE_LATER)
    assert screening(tmp_path).may_be_shown, "a late note corrects no answer"
    correct(path)
    found = screening(tmp_path)
    assert not found.may_be_shown
    assert "corrected" in found.words
    screened(tmp_path, "b", 5, FIRST, carried_from="a")
    assert not screening(tmp_path).may_be_shown


def test_a_visit_that_a_crash_ended_still_counts_with_what_was_confirmed(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.step("screen", FIRST)
    past.tear()
    assert screening(tmp_path).may_be_shown


def test_only_what_holds_over_days_is_ever_shown(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    for kind in KINDS:
        past.step(kind, {"clear": True})
    past.finish()
    shown = {kind for kind in KINDS if screening(tmp_path, kind=kind).may_be_shown}
    assert shown == {"screen", "test_sensation", "place_electrodes"}
    assert shown == set(MAY_BE_CARRIED)


def test_a_protocol_with_several_steps_of_a_kind_names_the_one(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.step("test_sensation", {"x": 1}, name="left")
    past.step("test_sensation", {"x": 2}, name="right")
    past.finish()
    visits = history.visits_of(tmp_path, PERSON, KEY)
    found = answers_of(visits, "test_sensation", TODAY.on, VALID_DAYS, step="left")
    assert found.answers == {"x": 1}


# The last comfortable level.


def test_the_last_comfortable_level_is_a_marker(tmp_path: Path) -> None:
    whole_visit(tmp_path, "a", day(0))
    assert markers(tmp_path) == Offer(1, 12_000, "comfortable at 12.0 mA on 2000-01-01")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"profile_id": "tens-burst"}, "with the profile dpn-conventional"),
        ({"program_digest": DIGEST + 1}, "the profile has changed"),
        ({"placement": ("channel 1: right upper calf, outer side",)}, "at other sites"),
        ({"ceilings_ua": (11_999,)}, "today's ceiling is 12.0 mA"),
        ({"on": date(1999, 12, 31)}, "after today"),
        ({"on": date(2000, 2, 1)}, "over 30 days ago"),
    ],
)
def test_another_profile_site_or_ceiling_takes_the_marker_away(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    whole_visit(tmp_path, "a", day(0))
    offer = markers(tmp_path, **changes)
    assert offer.amplitude_ua is None
    assert words in offer.words


def test_a_marker_may_be_as_high_as_the_ceiling(tmp_path: Path) -> None:
    whole_visit(tmp_path, "a", day(0))
    assert markers(tmp_path, ceilings_ua=(12_000,)).amplitude_ua == 12_000
    assert markers(tmp_path, on=date(2000, 1, 31)).amplitude_ua == 12_000


def test_a_level_that_nobody_read_back_is_no_marker(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.event(
        "prepared",
        profile="dpn-conventional",
        program_digest=DIGEST,
        prepared_digest="cd" * 32,
        ceilings_ua=[40_000],
    )
    past.annotate("read_back", prepared_digest="00" * 32, placement=PLACEMENT)
    past.annotate("marker", channel=1, marker="comfortable", amplitude_ua=9_000)
    past.finish()
    assert "nobody read back where" in markers(tmp_path).words


def test_the_newest_level_of_the_same_programme_counts(tmp_path: Path) -> None:
    whole_visit(tmp_path, "a", day(0))
    lower = Past(tmp_path, "b", day(2))
    lower.stimulate(comfortable_ua=9_000)
    lower.stimulate(comfortable_ua=5_000, placement=["channel 1: back"])
    lower.stimulate(comfortable_ua=None)
    lower.finish()
    assert markers(tmp_path).amplitude_ua == 9_000


def test_a_newer_visit_that_cannot_be_relied_on_hides_every_older_level(tmp_path: Path) -> None:
    """It may hold a lower level than any older one."""
    whole_visit(tmp_path, "a", day(0))
    path = whole_visit(tmp_path, "b", day(2))
    intact = path.read_bytes()
    damage(path, 6)
    assert markers(tmp_path).amplitude_ua is None
    path.write_bytes(intact)
    assert markers(tmp_path).amplitude_ua == 12_000
    correct(path)
    assert markers(tmp_path).amplitude_ua is None


def test_each_channel_of_today_is_told_of(tmp_path: Path) -> None:
    whole_visit(tmp_path, "a", day(0))
    visits = history.visits_of(tmp_path, PERSON, KEY)
    offers = comfortable(visits, replace(TODAY, ceilings_ua=(40_000, 40_000)), VALID_DAYS)
    assert [offer.amplitude_ua for offer in offers] == [12_000, None]
    assert offers[1].words == "no marker: no comfortable level is recorded"
