"""Exercises are timed as the protocol says: sets, repetitions, holds, rests."""

from __future__ import annotations

from estim.visit.protocol import Exercise
from estim.visit.timer import Phase, Timer, phases, tenths

S = 1_000_000


def exercise(**keys: int) -> Exercise:
    return Exercise.model_validate({"name": "Heel raises", "do": "Up, then down.", **keys})


def test_holds_are_timed_one_by_one_and_begun_by_a_key() -> None:
    assert phases(exercise(sets=2, repetitions=2, hold_s=15)) == (
        Phase("set 1 of 2, 1 of 2: hold", 15),
        Phase("set 1 of 2, 2 of 2: get ready"),
        Phase("set 1 of 2, 2 of 2: hold", 15),
        Phase("rest"),
        Phase("set 2 of 2, 1 of 2: hold", 15),
        Phase("set 2 of 2, 2 of 2: get ready"),
        Phase("set 2 of 2, 2 of 2: hold", 15),
    )


def test_a_set_lasts_until_the_key_and_the_rest_its_seconds() -> None:
    timer = Timer(exercise(sets=2, repetitions=10, rest_s=60))
    assert timer.words(0) == ""
    timer.press(0)
    assert timer.words(20 * S) == "set 1 of 2, 10 repetitions: 20.0 s"
    timer.press(25 * S)
    assert timer.words(26 * S) == "rest: 59 s left"
    timer.advance(100 * S)  # looked at late: the second set began when the rest was over
    assert timer.words(100 * S) == "set 2 of 2, 10 repetitions: 15.0 s"
    timer.press(110 * S)
    assert not timer.is_running
    assert timer.words(500 * S) == "set 2 of 2, 10 repetitions: done, 25.0 s"


def test_minutes_run_out_by_themselves() -> None:
    timer = Timer(exercise(duration_s=300))
    timer.press(5 * S)
    assert timer.words(5 * S) == "Heel raises: 300 s left"
    timer.advance(304 * S)
    assert timer.is_running
    timer.advance(305 * S)
    assert not timer.is_running


def test_a_stopwatch_begins_ends_and_begins_anew() -> None:
    timer = Timer()
    timer.press(0)
    timer.press(12_340_000)
    assert timer.elapsed_us(99 * S) == 12_340_000
    assert tenths(timer.elapsed_us(99 * S)) == "12.3"
    timer.press(100 * S)
    assert timer.words(101 * S) == "stopwatch: 1.0 s"


def test_tenths_are_rounded_half_up() -> None:
    assert [tenths(us) for us in (0, 49_999, 50_000, 12_350_000, 9_949_999)] == [
        "0.0", "0.0", "0.1", "12.4", "9.9",
    ]  # fmt: skip
