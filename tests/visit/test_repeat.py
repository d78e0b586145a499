"""What is carried to a repeat visit: nothing unasked, nothing too old, and no higher limit."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from estim.profile import library
from estim.record.addenda import add_addendum
from estim.visit import course, guide, history, protocol, repeat
from estim.visit.course import Visit
from estim.visit.gates import TESTED_ON
from estim.visit.known import Given
from estim.visit.protocol import Step
from estim.visit.questions import Answer
from tests.record.samples import KEY
from tests.visit.past import Past, damage, day
from tests.visit.walked import PERSON, PLAN, PROFILE, answers, first_visit

FOLLOW_UP = protocol.find("diabetic-neuropathy-follow-up").protocol
SCREEN, SENSATION, PADS = ("screen", "test_sensation", "place_electrodes")


def known(folder: Path, today: date, *, sensation_days: int = 30, uses_max: int = 20) -> Given:
    return repeat.given(
        history.visits_of(folder, PERSON, KEY),
        today,
        screening_valid_days=30,
        sensation_valid_days=sensation_days,
        electrode_uses_max=uses_max,
        clinicians=frozenset(),
    )


def step(kind: str) -> Step:
    return next(each for each in FOLLOW_UP.steps if each.kind == kind)


def carried(given: Given, *kinds: str) -> Visit:
    """Return a follow-up in which these steps were confirmed unchanged."""
    visit = course.begin(FOLLOW_UP, PERSON, "T-2")
    for kind in kinds:
        shown = repeat.shown(step(kind), visit, given).earlier
        assert shown is not None, kind
        made = course.answer(visit, step(kind), shown.answers, shown.session_id)
        visit = course.fold(visit, *made)
    return visit


def words(given: Given, visit: Visit, kind: str) -> str:
    """Return why a step is asked anew; '' where earlier answers are shown."""
    found = repeat.shown(step(kind), visit, given)
    assert (found.earlier is None) == bool(found.words)
    return found.words


def lines(given: Given, visit: Visit, kind: str) -> list[str]:
    shown = repeat.shown(step(kind), visit, given).earlier
    assert shown is not None
    return [f"{asked}: {answer}" for asked, answer in shown.lines]


def write_again(folder: Path, given: Given, on: datetime, session_id: str) -> None:
    """Write a visit in which everything was confirmed unchanged."""
    past = Past(folder, session_id, on, pseudonym=PERSON)
    visit = carried(given, SCREEN, SENSATION, PADS)
    for each in visit.answered.values():
        past.step(each.kind, dict(each.answers), each.carried_from, each.step)
    past.finish()


# What is shown.


def test_everything_of_last_week_is_shown_and_nothing_of_it_answers(tmp_path: Path) -> None:
    first_visit(tmp_path, day(0)).finish()
    given = known(tmp_path, day(7).date())
    empty = course.begin(FOLLOW_UP, PERSON, "T-2")
    assert empty.answers(SCREEN) is None
    visit = carried(given, SCREEN, SENSATION, PADS)
    assert {each.carried_from for each in visit.answered.values()} == {"first"}
    assert (visit.answers(SENSATION) or {})[TESTED_ON] == "2000-01-01"
    assert set(given.earlier) == {SCREEN, SENSATION, PADS}  # consent and skin are asked each time


def test_lines_say_what_is_not_no_and_condense_the_rest(tmp_path: Path) -> None:
    first_visit(tmp_path, day(0), changed={SCREEN: {"insulin": True}}).finish()
    given = known(tmp_path, day(7).date())
    told = lines(given, course.begin(FOLLOW_UP, PERSON, "T-2"), SCREEN)
    assert told[0] == "Which kind of neuropathy is it, mainly?: peripheral"
    assert told[1] == (
        "Does the patient use insulin, or tablets that can bring the sugar too low?: yes"
    )
    assert told[-1].startswith("everything else (")
    assert told[-1].endswith("questions): no")
    assert len(told) == 3
    felt = lines(given, carried(given, SCREEN), SENSATION)
    assert felt[0] == "tested on: 2000-01-01"
    assert len([each for each in felt if "sharp or dull 10 of 10, thread 4 of 4" in each]) == 4


def test_pads_are_counted_up_by_one_at_each_visit_and_end_with_the_policy(tmp_path: Path) -> None:
    first_visit(tmp_path, day(0)).finish()
    write_again(tmp_path, known(tmp_path, day(7).date()), day(7), "second")
    write_again(tmp_path, known(tmp_path, day(14).date()), day(14), "third")
    given = known(tmp_path, day(21).date())
    visit = carried(given, SCREEN, SENSATION)
    shown = repeat.shown(step(PADS), visit, given).earlier
    assert shown is not None
    assert (shown.answers["all-uses"], shown.session_id) == (4, "first")
    assert any("4, counted up by one; at most 20" in each for each in lines(given, visit, PADS))
    worn = known(tmp_path, day(21).date(), uses_max=3)
    assert "use 4 of these pads, the site's policy allows 3" in words(worn, visit, PADS)


# What is asked anew.


def test_expired_sensation_is_asked_anew_on_the_day_after_its_last(tmp_path: Path) -> None:
    first_visit(tmp_path, day(0)).finish()
    write_again(tmp_path, known(tmp_path, day(14).date(), sensation_days=14), day(14), "second")
    on_the_last = known(tmp_path, day(14).date(), sensation_days=14)
    assert words(on_the_last, carried(on_the_last, SCREEN), SENSATION) == ""
    # Carried on its 14th day, it is as old on the 15th as it is.
    after = known(tmp_path, day(15).date(), sensation_days=14)
    assert "asked anew: last asked on 2000-01-01, over 14 days ago" in words(
        after, carried(after, SCREEN), SENSATION
    )


@pytest.mark.parametrize(
    ("kind", "changed", "why"),
    [
        (SENSATION, {TESTED_ON: "1999-11-01"}, "over 30 days ago"),
        (SENSATION, {TESTED_ON: "soon"}, "nobody wrote down when"),
        (SENSATION, {"profile": "low-back-pain"}, "profile"),
        (SENSATION, {"left-calf-upper-sharp-dull": "10"}, "a whole number"),
        (PADS, {"all-expiry": "1999-12"}, "the pads have expired"),
    ],
)
def test_what_does_not_serve_today_is_asked_anew(
    tmp_path: Path, kind: str, changed: dict[str, Answer], why: str
) -> None:
    first_visit(tmp_path, day(0), changed={kind: changed}).finish()
    given = known(tmp_path, day(7).date())
    before = (SCREEN,) if kind == SENSATION else (SCREEN, SENSATION)
    assert why in words(given, carried(given, *before), kind)


def test_what_was_never_asked_then_asks_the_step_anew(tmp_path: Path) -> None:
    past = Past(tmp_path, "first", day(0), pseudonym=PERSON)
    past.step(SCREEN, {"pacemaker": False}, name="screening")
    past.finish()
    given = known(tmp_path, day(7).date())
    assert "was not asked on 2000-01-01" in words(
        given, course.begin(FOLLOW_UP, PERSON, "T-2"), SCREEN
    )


def test_pads_read_back_elsewhere_are_asked_anew(tmp_path: Path) -> None:
    """'As in the profile' may mean other places once the profile was edited."""
    first_visit(tmp_path, day(0), placement=("channel 1: left shin",)).finish()
    given = known(tmp_path, day(7).date())
    told = words(given, carried(given, SCREEN, SENSATION), PADS)
    assert "other places, or another profile" in told


# First time, and first exposure.


def test_an_uncertain_delivery_ends_never_here_and_not_the_first_exposure(tmp_path: Path) -> None:
    today = day(7).date()
    assert known(tmp_path, today).is_first_session
    first_visit(tmp_path, day(0), plateau_ms=0).tear()
    given = known(tmp_path, today)
    assert not given.is_first_session
    assert not given.longest_ms
    first_visit(tmp_path, day(1), "second", is_uncertain=True).tear()
    given = known(tmp_path, today)
    assert guide.is_first_exposure(carried(given, SCREEN, SENSATION, PADS), given)


@pytest.mark.parametrize(
    ("plateau_ms", "placement", "is_first"),
    [(599_999, None, True), (600_000, None, False), (600_000, ("channel 1: left shin",), True)],
)
def test_a_first_exposure_is_over_once_it_was_borne_whole_at_these_places(
    tmp_path: Path, plateau_ms: int, placement: tuple[str, ...] | None, is_first: bool
) -> None:
    first_visit(tmp_path, day(0)).finish()
    visit = carried(known(tmp_path, day(7).date()), SCREEN, SENSATION, PADS)
    other = tmp_path / "other"
    other.mkdir()
    first_visit(other, day(0), plateau_ms=plateau_ms, placement=placement).finish()
    given = known(other, day(7).date())
    assert guide.is_first_exposure(visit, given) is is_first
    made = guide.arguments(visit, given, library.find(PROFILE).profile)
    assert made.duration_s == (600 if is_first else 1800)


# The plan.


def test_the_plan_lowers_the_ceiling_and_one_made_today_goes_first(tmp_path: Path) -> None:
    first_visit(tmp_path, day(0), plan=PLAN).finish()
    given = known(tmp_path, day(7).date())
    visit = carried(given, SCREEN, SENSATION, PADS)
    profile = library.find(PROFILE).profile
    assert guide.arguments(visit, given, profile).patient_ceiling_ua == 20_000
    today = course.fold(visit, "plan", PLAN | {"ceiling_ua": 8_000})
    assert guide.arguments(today, given, profile).patient_ceiling_ua == 8_000


def test_an_unreadable_plan_holds_output_back_until_planned_anew(tmp_path: Path) -> None:
    first_visit(tmp_path, day(0), plan=PLAN | {"ceiling_ua": "20 mA"}).finish()
    given = known(tmp_path, day(7).date())
    visit = carried(given, SCREEN, SENSATION, PADS)
    (problem,) = [each for each in guide.output_problems(visit, given) if "plan" in each]
    assert "plan: ceiling_ua" in problem
    assert "plan anew" in problem
    half = course.fold(visit, "plan", {"goals": "walk"})
    assert any("plan anew" in each for each in guide.output_problems(half, given))
    anew = course.fold(visit, "plan", PLAN)
    assert not any("plan" in each for each in guide.output_problems(anew, given))


@pytest.mark.parametrize("harm", ["damage", "correction"])
def test_a_record_that_cannot_be_relied_on_gives_nothing(tmp_path: Path, harm: str) -> None:
    path = first_visit(tmp_path, day(0), plan=PLAN).finish()
    if harm == "damage":
        damage(path, 6)
    else:
        add_addendum(
            path, KEY, who="T-2", why="correction", text="the other foot", event_seq=None,
            mono_us=10**16, wall=day(1),
        )  # fmt: skip
    given = known(tmp_path, day(7).date())
    assert not given.earlier
    assert not given.longest_ms
    assert given.planned.is_unreadable


# Levels.


@pytest.mark.parametrize(
    ("digest", "ceiling_ua", "marker_ua"),
    [(1, 12_000, 12_000), (1, 11_999, None), (2, 40_000, None)],
)
def test_a_level_is_a_marker_for_the_same_programme_below_the_ceiling(
    tmp_path: Path, digest: int, ceiling_ua: int, marker_ua: int | None
) -> None:
    first_visit(tmp_path, day(0)).finish()
    given = known(tmp_path, day(7).date())
    visit = carried(given, SCREEN, SENSATION, PADS)
    offers = repeat.markers(visit, given, digest, (ceiling_ua, ceiling_ua))
    assert [offer.amplitude_ua for offer in offers] == [marker_ua, marker_ua]


def test_a_level_is_no_marker_at_other_sites_or_when_it_is_old(tmp_path: Path) -> None:
    first_visit(tmp_path, day(0)).finish()
    given = known(tmp_path, day(7).date())
    visit = carried(given, SCREEN, SENSATION, PADS)
    old = known(tmp_path, (day(0) + timedelta(days=31)).date())
    assert [o.amplitude_ua for o in repeat.markers(visit, old, 1, (40_000,))] == [None]
    pads_step, told = answers(visit, PADS, given)
    told |= {"as-profile": False, "channel-1-a-site": "left-shin-upper"}
    moved = course.fold(visit, *course.answer(visit, pads_step, told))
    assert [o.amplitude_ua for o in repeat.markers(moved, given, 1, (40_000,))] == [None]
