"""What the keys may raise, whatever is pressed and however late the display is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.visit.level import LOCKED, LevelKeys, Marked, Marker

S = 1_000_000
MS = 1000

# (pause before it in ms, key, how old the display is at the press in ms)
PRESSES = st.lists(
    st.tuples(
        st.one_of(st.integers(20, 60), st.integers(300, 3_000), st.integers(18_000, 22_000)),
        st.sampled_from("+++++-cyr"),
        st.integers(0, 900),
    ),
    max_size=60,
)


class Bed:
    """An engine that does what it is asked, seen through a display that lags."""

    def __init__(self, step_ua: int, comfortable_ua: int = 0) -> None:
        self.keys = LevelKeys(1, step_ua, (comfortable_ua,))
        self.now_us = 5 * S
        self.keys.begin(self.now_us)
        self.targets: list[tuple[int, int]] = [(self.now_us, 0)]

    @property
    def target_ua(self) -> int:
        return self.targets[-1][1]

    def seen_ua(self, age_ms: int) -> int:
        then_us = self.now_us - age_ms * MS
        return next((ua for at_us, ua in reversed(self.targets) if at_us <= then_us), 0)

    def press(self, key: str, age_ms: int = 0) -> str:
        """Press one key; + and - move the target where they pass."""
        if key == "+":
            refusal = self.keys.press_raise(self.now_us, [self.seen_ua(age_ms)])
            if not refusal:
                self.targets.append((self.now_us, self.target_ua + self.keys.step_ua))
            return refusal
        if key == "-":
            self.keys.press_lower(self.now_us)
            self.targets.append((self.now_us, max(0, self.target_ua - self.keys.step_ua)))
        elif key == "c":
            self.keys.mark(self.now_us, Marker.COMFORTABLE, [self.seen_ua(age_ms)])
        elif key == "y":
            self.keys.take_offer(self.now_us)
        elif key == "r":
            self.keys.advance(self.now_us)
        return ""


@pytest.mark.hazard(23)
@given(PRESSES, st.sampled_from([100, 500, 1000]))
def test_no_keys_raise_more_than_1_ma_in_any_second(
    presses: list[tuple[int, str, int]], step_ua: int
) -> None:
    bed = Bed(step_ua)
    for pause_ms, key, age_ms in presses:
        bed.now_us += pause_ms * MS
        bed.press(key, age_ms)
    rises = [(at, after - before) for (_, before), (at, after) in pairwise(bed.targets)]
    rises = [(at_us, by_ua) for at_us, by_ua in rises if by_ua > 0]
    for at_us, _ in rises:
        assert sum(by for at, by in rises if at_us <= at < at_us + S) <= 1000


@pytest.mark.hazard(23)
@given(
    st.integers(20, 900), st.integers(0, 900), st.sampled_from([100, 500, 1000]),
    st.integers(300, 9_000), st.integers(5, 200),
)  # fmt: skip
def test_a_held_key_never_passes_the_comfortable_marker_and_one_fresh_press_does(
    repeat_ms: int, age_ms: int, step_ua: int, marker_ua: int, times: int
) -> None:
    bed = Bed(step_ua, marker_ua)
    bed.press("+", age_ms)  # the press that the hold begins with is fresh
    first_ua = bed.target_ua
    for _ in range(times):
        bed.now_us += repeat_ms * MS
        bed.press("+", age_ms)
    assert bed.target_ua <= max(marker_ua, first_ua)
    held_ua = bed.target_ua
    bed.now_us += 1_000 * MS
    assert bed.press("+") == ""
    assert bed.target_ua == held_ua + step_ua
    if bed.target_ua + step_ua > marker_ua:
        bed.now_us += repeat_ms * MS
        assert "a held key stops at comfortable" in bed.press("+")


@pytest.mark.hazard(23)
@given(PRESSES)
def test_after_20_s_without_a_key_nothing_rises_until_something_was_lowered_or_offered(
    presses: list[tuple[int, str, int]],
) -> None:
    bed = Bed(500)
    last_key_us, must_be_locked = bed.now_us, False
    for pause_ms, key, age_ms in presses:
        bed.now_us += pause_ms * MS
        must_be_locked |= bed.now_us - last_key_us >= 20 * S
        if key in "-y":
            must_be_locked = False
        if key != "r" and not must_be_locked:
            last_key_us = bed.now_us
        before_ua = bed.target_ua
        refusal = bed.press(key, age_ms)
        assert bed.keys.is_locked is must_be_locked
        assert (refusal == LOCKED) is (must_be_locked and key == "+")
        if must_be_locked:
            assert bed.target_ua <= before_ua


def test_the_edge_of_the_lock() -> None:
    bed = Bed(500)
    bed.now_us += 20 * S - 1
    assert bed.press("+") == ""
    bed.now_us += 20 * S
    assert bed.press("+") == LOCKED
    bed.now_us += 1
    assert bed.press("+") == LOCKED  # a refused key opens nothing
    bed.press("c")
    assert bed.press("+") == LOCKED  # nor does a marker
    bed.press("-")
    bed.now_us += S
    assert bed.press("+") == ""


def test_the_rest_between_contractions_does_not_lock() -> None:
    keys = LevelKeys(1, 500)
    keys.begin(0)
    for cycle in range(3):  # 6 s on, 50 s off: 18 s in which a key could have raised
        keys.advance(cycle * 56 * S, is_resting=False)
        keys.advance((cycle * 56 + 6) * S, is_resting=True)
    assert not keys.is_locked
    keys.advance(168 * S, is_resting=False)
    assert keys.press_raise(171 * S, [0]) == LOCKED


@pytest.mark.hazard(36)
def test_a_clock_that_goes_back_neither_opens_nor_raises() -> None:
    keys = LevelKeys(1, 500)
    keys.begin(100 * S)
    keys.advance(120 * S)
    keys.advance(0)
    assert keys.press_raise(0, [0]) == LOCKED


def test_linked_channels_rise_together_or_not_at_all_and_apart_by_themselves() -> None:
    keys = LevelKeys(2, 500, (0, 1_000))
    assert bool(keys.is_linked) is True
    keys.begin(0)
    assert keys.press_raise(0, [0, 500]) == ""
    refusal = keys.press_raise(100 * MS, [500, 1_000])
    assert refusal.startswith("channel 2: a held key stops at comfortable, 1.0 mA")
    keys.choose(0)
    assert bool(keys.is_linked) is False
    assert keys.press_raise(200 * MS, [500, 1_000]) == ""
    keys.choose(7)  # there is none: nothing changes
    assert keys.chosen == {0}
    keys.choose(None)
    assert keys.chosen == {0, 1}


def test_markers_are_captured_per_channel_and_never_at_zero() -> None:
    keys = LevelKeys(2, 500)
    keys.begin(0)
    marked, why = keys.mark(0, Marker.SENSORY, [4_000, 0])
    assert marked == (Marked(1, Marker.SENSORY, 4_000),)
    assert why == ""
    keys.choose(1)
    assert keys.mark(0, Marker.MOTOR, [4_000, 0]) == ((), "nothing is marked muscle moves at zero")
    assert keys.markers(0) == {Marker.SENSORY: 4_000}
    assert keys.markers(1) == {}


@pytest.mark.parametrize("marker", list(Marker))
def test_each_marker_has_a_letter_of_its_own(marker: Marker) -> None:
    assert marker.letter == {"sensory": "s", "comfortable": "c", "motor": "m"}[marker.value]
