"""The station's register: what it holds back from people, and what not."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from estim.clock import VirtualClock
from estim.errors import LimitRefused, UsageError
from estim.prepare import station
from estim.prepare.session import prepare
from estim.prepare.station import State
from estim.profile.library import find

CLOCK = VirtualClock()  # it stands at 2000-01-01
NEW_YEAR = date(2000, 1, 1)


def enter(folder: Path, state: State | None = None, due: date | None = None) -> None:
    station.enter(folder, "SN-1", who="A. Tech", why="check", clock=CLOCK, state=state, due=due)


def state_of(folder: Path, today: date = NEW_YEAR) -> State | None:
    found = station.standing(folder, "SN-1", today)
    return None if found is None else found.state


def test_the_newest_entry_holds_and_nothing_is_taken_out(tmp_path: Path) -> None:
    assert state_of(tmp_path) is None
    enter(tmp_path, State.QUARANTINED)
    assert state_of(tmp_path) is State.QUARANTINED
    enter(tmp_path, due=date(2000, 6, 1))
    assert state_of(tmp_path) is State.QUARANTINED, "a date alone releases nothing"
    enter(tmp_path, State.IN_SERVICE)
    assert state_of(tmp_path) is State.IN_SERVICE
    entered = [(entry.state, entry.due) for entry in station.history(tmp_path, "SN-1")]
    assert entered == [
        (State.QUARANTINED, None),
        (State.QUARANTINED, date(2000, 6, 1)),
        (State.IN_SERVICE, date(2000, 6, 1)),
    ]
    assert station.standing(tmp_path, "SN-2", NEW_YEAR) is None


def test_a_device_is_due_from_the_day_after_the_date(tmp_path: Path) -> None:
    enter(tmp_path, State.IN_SERVICE, date(2000, 6, 1))
    assert state_of(tmp_path, date(2000, 6, 1)) is State.IN_SERVICE
    assert state_of(tmp_path, date(2000, 6, 2)) is State.DUE


@pytest.mark.hazard(48)
@pytest.mark.parametrize(
    ("today", "state", "words"),
    [
        (NEW_YEAR, State.QUARANTINED, "quarantined by A. Tech on 2000-01-01 .check."),
        (date(2000, 6, 2), State.IN_SERVICE, "due since 2000-06-01"),
    ],
)
def test_what_is_held_back_is_refused_for_people_and_works_on_the_bench(
    tmp_path: Path, today: date, state: State, words: str
) -> None:
    enter(tmp_path, state, date(2000, 6, 1))
    held = station.standing(tmp_path, "SN-1", today)
    profile = find("dpn-conventional").profile
    with pytest.raises(LimitRefused, match=f"SN-1: {words}.*bench only") as refused:
        prepare(profile, is_bench=False, standing=held)
    assert refused.value.exit_code == 4
    assert prepare(profile, is_bench=True, standing=held).bounds.is_bench


@pytest.mark.hazard(48)
def test_a_register_that_cannot_be_read_permits_nobody(tmp_path: Path) -> None:
    enter(tmp_path, State.IN_SERVICE)
    path = tmp_path / station.FILE_NAME
    path.write_bytes(path.read_bytes().replace(b"check", b"chock", 1) * 2)
    profile = find("dpn-conventional").profile
    held = station.standing(tmp_path, "SN-9", NEW_YEAR)
    with pytest.raises(LimitRefused, match=r"standing unknown.*damaged"):
        prepare(profile, is_bench=False, standing=held)


@pytest.mark.hazard(48)
def test_a_quarantine_that_was_cut_off_the_register_is_no_permission(tmp_path: Path) -> None:
    enter(tmp_path, State.IN_SERVICE)
    enter(tmp_path, State.QUARANTINED)
    path = tmp_path / station.FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0])
    assert state_of(tmp_path) is State.UNKNOWN
    path.unlink()
    assert state_of(tmp_path) is State.UNKNOWN
    path.write_bytes(b"".join(lines))
    assert state_of(tmp_path) is State.QUARANTINED


@pytest.mark.parametrize("text", ["", " ", "two\nlines", "\x1b[2J", "x" * 201])
def test_texts_that_cannot_be_shown_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="why"):
        station.enter(tmp_path, "SN-1", who="A", why=text, clock=CLOCK, state=State.QUARANTINED)
    assert not (tmp_path / station.FILE_NAME).exists()


def test_a_register_that_cannot_be_looked_for_is_not_one_that_is_missing(tmp_path: Path) -> None:
    """Not knowing is no permission, whatever stands in the way."""
    (tmp_path / "a-file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for folder in (tmp_path / "a-file", tmp_path / "loop"):
        assert state_of(folder) is State.UNKNOWN, folder
    assert state_of(tmp_path / "nothing yet") is None
