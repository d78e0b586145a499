"""The plot never hides a spike and never draws outside its scale."""

from __future__ import annotations

import numpy as np
import pytest

from estim.tui.widgets.plot import Trace, draw, history_trace, pulse_trace, stem_trace
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram

BLANK = "\N{BRAILLE PATTERN BLANK}"


def _trace(times: object, currents: object, end_us: float, high_ua: float) -> Trace:
    return Trace(
        np.asarray(times, float), np.asarray(currents, float), 0, end_us, -high_ua, high_ua, ""
    )


@pytest.mark.parametrize("at", [0, 1, 123_456, 500_000, 999_999])
def test_one_sample_in_a_million_shows_at_the_top(at: int) -> None:
    currents = np.zeros(1_000_000)
    currents[at] = 10_000
    top = draw(_trace(np.arange(1_000_000), currents, 1_000_000, 10_000), 40, 10)[0]
    assert top.count(BLANK) >= 38  # on a border between cells it shows in both
    assert top[at * 40 // 1_000_000] != BLANK


def test_a_spike_downwards_shows_at_the_bottom() -> None:
    bottom = draw(_trace([0, 50, 50, 50, 100], [0, 0, -9_000, 0, 0], 100, 9_000), 20, 6)[-1]
    assert bottom.count(BLANK) == 19


def test_the_drawing_has_the_size_asked_for() -> None:
    lines = draw(_trace([0, 100], [-5, 5], 100, 5), 33, 7)
    assert [len(line) for line in lines] == [33] * 7


def test_a_flat_line_is_one_row_of_dots() -> None:
    # 2 rows are 8 dots: zero lies between dots 3 and 4 of 0..7, and is drawn on one of them.
    lines = draw(_trace([0, 100], [0, 0], 100, 1_000), 10, 2)
    assert sorted(set("".join(lines))) in ([BLANK, "⠉"], [BLANK, "⣀"])


def test_a_pulse_is_drawn_with_both_phases_at_their_amplitude() -> None:
    # 100 us at +10 mA, 50 us gap, 200 us at -5 mA.
    channel = ChannelProgram(
        phases=(Phase(1, 1000), Phase(50, 0), Phase(2, -500)), unit_us=100, pulse_period_us=10_000
    )
    trace = pulse_trace(PulseProgram((channel,)), 0, 10_000, 100)
    steps = list(zip(trace.times_us.tolist(), trace.currents_ua.tolist(), strict=True))
    assert steps[1:-1] == [
        (0, 0), (0, 10_000), (100, 10_000), (100, 0),
        (150, 0), (150, -5_000), (350, -5_000), (350, 0),
    ]  # fmt: skip


def test_the_history_holds_each_current_until_the_next_and_reaches_its_highest() -> None:
    points = [(1_000_000, 0), (2_000_000, 8_000), (3_000_000, 2_000)]
    trace = history_trace(points, 10_000_000)
    assert trace.high_ua == 10_000  # the next round scale above 8 mA
    at_1_5_s_before = np.interp(-500_000, trace.times_us, trace.currents_ua)
    assert at_1_5_s_before == 8_000
    assert trace.currents_ua[-1] == 2_000


def test_values_of_single_days_stand_alone_with_nothing_between() -> None:
    # Days 0 and 9 over 10 columns of 2 dots: the first and the last dot column.
    trace = stem_trace([(0, 5.0), (9, 10.0)], 10.0, "", ("10", "0", "first", "last"))
    top, bottom = draw(trace, 10, 2)
    assert (top[0], top[1:9]) == (BLANK, BLANK * 8)
    assert (bottom[0], bottom[1:9], bottom[9]) == ("⡇", BLANK * 8, "⢸")
    assert top[9] == "⢸"
