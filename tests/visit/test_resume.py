"""What a visit that was cut off today gives to the one that follows: words, and never output."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from estim.errors import LimitRefused
from estim.profile import library
from estim.record.addenda import add_addendum
from estim.record.lines import NOTE_LATER
from estim.visit import course, guide, history, protocol, repeat
from estim.visit.course import Visit
from estim.visit.gates import TESTED_ON
from estim.visit.known import Given
from tests.record.samples import KEY
from tests.visit.past import Past, day
from tests.visit.walked import PERSON, PROFILE, answers, first_visit

FIRST = protocol.find("diabetic-neuropathy-first")
NOW = day(3)
PAIN = {"pain-now-nrs": 6, "pain-worst-24h-nrs": 8}
CUT_MS = 120_000


def cut_off(folder: Path, at: datetime = NOW, name: str = "cut", plateau_ms: int = CUT_MS) -> Past:
    """Write a visit to whose review nobody came."""
    past = first_visit(folder, at, name, plateau_ms=plateau_ms)
    past.step("consent", {"explained": True, "agrees": True}, name="consent")
    past.step("inspect_skin", {"clear": True}, name="skin-before")
    past.step("educate", {"point-1": True, "point-2": False}, name="education")
    return past


def known(folder: Path, protocol_id: str = FIRST.protocol.id) -> Given:
    return repeat.given(
        history.visits_of(folder, PERSON, KEY),
        NOW.date(),
        screening_valid_days=30,
        sensation_valid_days=30,
        electrode_uses_max=20,
        clinicians=frozenset(),
        protocol_id=protocol_id,
    )


def begun() -> Visit:
    return course.begin(FIRST.protocol, PERSON, "T-2")


def test_what_was_answered_is_shown_again_and_answers_nothing(tmp_path: Path) -> None:
    cut_off(tmp_path).close()
    given = known(tmp_path)
    assert set(given.cut_off) == {"education"}
    found = given.cut_off["education"]
    assert (found.session_id, found.on) == ("cut", NOW.date())
    assert found.answers == {"point-1": True, "point-2": False}
    assert begun().answered == {}
    assert set(given.earlier) == {"screen", "test_sensation", "place_electrodes"}


@pytest.mark.parametrize("step_id", ["consent", "skin-before"])
def test_what_is_asked_at_every_visit_is_asked_again_and_told(tmp_path: Path, step_id: str) -> None:
    cut_off(tmp_path).close()
    shown = repeat.shown(FIRST.protocol.step(step_id), begun(), known(tmp_path))
    assert shown.earlier is None
    assert "answered at 09:00" in shown.words
    assert "asked at every visit" in shown.words


def test_two_visits_that_were_cut_off_are_both_looked_through(tmp_path: Path) -> None:
    cut_off(tmp_path).close()
    again = Past(tmp_path, "again", NOW + timedelta(hours=1), pseudonym=PERSON)
    again.step("educate", {"point-1": True, "point-2": False}, "cut", "education")
    again.close()
    found = known(tmp_path).cut_off["education"]
    assert found.session_id == "cut"  # where it was really asked


@pytest.mark.parametrize("what", ["yesterday", "reviewed", "noted", "open", "other"])
def test_nothing_is_shown_of_a_visit_that_was_not_cut_off_today(tmp_path: Path, what: str) -> None:
    past = cut_off(tmp_path, NOW - timedelta(days=1) if what == "yesterday" else NOW)
    if what == "reviewed":
        past.finish()
    elif what != "open":
        past.close()
    if what == "noted":
        add_addendum(
            past.path, KEY, who="T-2", why=NOTE_LATER, text="sent home", event_seq=None,
            mono_us=10**16, wall=NOW,
        )  # fmt: skip
    given = known(
        tmp_path,
        protocol_id="low-back-pain-first" if what == "other" else "diabetic-neuropathy-first",
    )
    assert (given.cut_off, given.cut_off_anew, given.delivered_ms) == ({}, {}, 0)
    past.journal.close()


def test_cutting_a_visit_off_gives_no_new_time(tmp_path: Path) -> None:
    cut_off(tmp_path, plateau_ms=400_000).close()
    given = known(tmp_path)
    profile = library.find(PROFILE).profile
    visit = begun()
    for kind in ("screen", "test_sensation", "place_electrodes"):
        step, told = answers(visit, kind, given)
        told |= {TESTED_ON: given.today.isoformat()} if kind == "test_sensation" else {}
        content = {"step": step.id, "operator": "T-2", "answers": told, "carried_from": None}
        visit = course.fold(visit, kind, content)
    assert guide.arguments(visit, given, profile).duration_s == 600 - 400
    with pytest.raises(LimitRefused, match="9 min 1 s delivered"):
        guide.arguments(visit, given, profile, delivered_ms=141_000)
