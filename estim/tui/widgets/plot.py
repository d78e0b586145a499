"""A line plot in braille dots, drawn line by line; the interface's only use of numpy.

Rules:
1. No spike is hidden: every dot column spans from the lowest to the highest value within it.
2. What is not known is no line: a gap covers every cell that it touches.
3. The vertical scale is said beside the plot, and never chosen so that something lies outside it.
4. Values that were measured one by one stand for themselves: nothing is drawn between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from estim.units import UA_PER_MA, US_PER_MS, US_PER_S
from estim.waveform.pulses import pulses
from estim.waveform.render import phase_currents_ua, phase_edges_us
from firmware_protocol.program import ChannelProgram, PulseProgram

FloatArray = NDArray[np.float64]

LABEL_CELLS = 9
GAP_SIGN = "░"
_DOT_WEIGHTS = np.array([[1, 8], [2, 16], [4, 32], [64, 128]], np.uint32)
_BRAILLE_BLANK = 0x2800
_TRAIN_PULSES = 8
SCALES_UA = (1000, 2000, 5000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 80_000, 100_000)


@dataclass(frozen=True, slots=True)
class Trace:
    """A line through points: `times_us` rise, equal neighbours make a vertical step.

    Attributes:
        times_us: x of each point.
        currents_ua: y of each point.
        start_us, end_us: what the plot spans.
        low_ua, high_ua: what the plot spans vertically.
        caption: what is seen, in words.
        gaps: spans of time in which nothing is known; nothing is drawn there.
        are_stems: every two points are one value, drawn from the ground up, nothing between them.
        scale_words: what stands at the top, at the bottom, at the start and at the end, where the
            axes are not current and time.
    """

    times_us: FloatArray
    currents_ua: FloatArray
    start_us: float
    end_us: float
    low_ua: float
    high_ua: float
    caption: str
    gaps: tuple[tuple[float, float], ...] = ()
    are_stems: bool = False
    scale_words: tuple[str, str, str, str] | None = None


def draw(trace: Trace, columns: int, rows: int) -> list[str]:
    """Return the trace as `rows` lines of `columns` braille cells."""
    width, height = 2 * columns, 4 * rows
    if trace.are_stems:
        lowest, highest = np.full(width, np.inf), np.full(width, -np.inf)
    else:
        borders = np.linspace(trace.start_us, trace.end_us, width + 1)
        at_borders = np.interp(borders, trace.times_us, trace.currents_ua)
        lowest = np.minimum(at_borders[:-1], at_borders[1:])
        highest = np.maximum(at_borders[:-1], at_borders[1:])
    inside = (trace.times_us >= trace.start_us) & (trace.times_us <= trace.end_us)
    scale = width / (trace.end_us - trace.start_us)
    column = ((trace.times_us[inside] - trace.start_us) * scale).astype(np.int64)
    np.clip(column, 0, width - 1, out=column)
    np.minimum.at(lowest, column, trace.currents_ua[inside])
    np.maximum.at(highest, column, trace.currents_ua[inside])
    per_dot = (height - 1) / max(1.0, trace.high_ua - trace.low_ua)
    top = np.rint((trace.high_ua - highest) * per_dot)
    bottom = np.rint((trace.high_ua - lowest) * per_dot)
    dot_rows = np.arange(height)[:, None]
    dots = (dot_rows >= top) & (dot_rows <= bottom)
    cells = (dots.reshape(rows, 4, columns, 2) * _DOT_WEIGHTS[None, :, None, :]).sum(axis=(1, 3))
    text = (cells + _BRAILLE_BLANK).astype("<u4").tobytes().decode("utf-32-le")
    lines = [text[row * columns : (row + 1) * columns] for row in range(rows)]
    return [_with_gaps(line, trace) for line in lines]


def _with_gaps(line: str, trace: Trace) -> str:
    """Cover every cell that a gap touches, however short it is."""
    scale = len(line) / (trace.end_us - trace.start_us)
    for begin_us, end_us in trace.gaps:
        first = max(0, int((begin_us - trace.start_us) * scale))
        last = min(len(line), math.ceil((end_us - trace.start_us) * scale))
        if first < last:
            line = line[:first] + GAP_SIGN * (last - first) + line[last:]
    return line


def pulse_trace(program: PulseProgram, index: int, amplitude_ua: int, step_ua: int) -> Trace:
    """Return the first pulse of a channel's plateau."""
    channel = program.channels[index]
    length_us = channel.pulse_us(channel.settings[0].unit_us)
    start_us = _plateau_us(channel) + channel.pulse_offset_us
    margin_us = max(20, length_us // 4)
    span = (start_us - margin_us, start_us + length_us + margin_us)
    return _trace(program, index, amplitude_ua, step_ua, span, "one pulse", start_us + 1)


def train_trace(program: PulseProgram, index: int, amplitude_ua: int, step_ua: int) -> Trace:
    """Return some pulses, or two bursts, of a channel's plateau."""
    channel = program.channels[index]
    start_us = _plateau_us(channel)
    if channel.burst_period_us:
        length_us, caption = 2 * channel.burst_period_us, "two bursts"
    else:
        length_us = _TRAIN_PULSES * channel.settings[0].pulse_period_us
        caption = f"{_TRAIN_PULSES} pulses"
    return _trace(program, index, amplitude_ua, step_ua, (start_us, start_us + length_us), caption)


def cycle_trace(program: PulseProgram, index: int, amplitude_ua: int, step_ua: int) -> Trace:
    """Return a whole on/off cycle or modulation; where there is neither, a second of pulses."""
    channel = program.channels[index]
    if channel.cycle is not None:
        length_us, caption = channel.cycle.total_ms * US_PER_MS, "one on/off cycle"
    elif channel.keyframe_cycle_ms:
        length_us, caption = channel.keyframe_cycle_ms * US_PER_MS, "one modulation cycle"
    else:
        length_us, caption = US_PER_S, "one second, no on/off cycle"
    return _trace(program, index, amplitude_ua, step_ua, (0, length_us), caption)


VIEWS = (pulse_trace, train_trace, cycle_trace)


def stem_trace(
    values: Sequence[tuple[int, float]], high: float, caption: str, scale_words: tuple[str, ...]
) -> Trace:
    """Return values of single days as stems.

    Args:
        values: (day, value), days rising; a day is any whole number.
        high: top of the scale, at least the highest value.
        caption: what is seen.
        scale_words: as `Trace.scale_words`.
    """
    days = np.repeat([day for day, _ in values], 2).astype(np.float64)
    heights = np.ravel([(0.0, value) for _, value in values]).astype(np.float64)
    top, bottom, start, end = scale_words
    low = min(0.0, float(heights.min()))
    return Trace(
        days, heights, days[0], max(days[-1], days[0] + 1), low, max(high, float(heights.max())),
        caption, are_stems=True, scale_words=(top, bottom, start, end),
    )  # fmt: skip


def history_trace(points: list[tuple[int, int]], span_us: int) -> Trace:
    """Return currents over the last `span_us`, held between `points` of (at_us, ua)."""
    now_us = points[-1][0] if points else 0
    times = np.array([at_us - now_us for at_us, _ in points] or [0], np.float64)
    currents = np.array([shown_ua for _, shown_ua in points] or [0], np.float64)
    high = _round_reach_ua(int(currents.max()))
    caption = f"intensity, last {span_us // US_PER_S} s"
    return Trace(
        np.concatenate(([-span_us], np.repeat(times, 2)[1:], [0.0])),
        np.concatenate(([0.0], np.repeat(currents, 2)[:-1], currents[-1:])),
        -span_us, 0, 0, high, caption,
    )  # fmt: skip


def levels_trace(
    levels: list[tuple[int, int, int]],
    span: tuple[int, int],
    caption: str,
    gaps: tuple[tuple[int, int], ...],
    ends: tuple[str, str],
) -> Trace:
    """Return currents that each hold from one time to another (from_us, to_us, ua), else zero."""
    edges: list[int] = []
    currents: list[int] = []
    for begin_us, end_us, current_ua in levels:
        if edges and edges[-1] >= begin_us:  # one goes on into the other without a zero between
            edges[-1], currents[-1] = begin_us, current_ua
        else:
            edges += begin_us, begin_us
            currents += 0, current_ua
        edges += end_us, end_us
        currents += current_ua, 0
    end_us = max(span[1], span[0] + 1)
    reach_ua = _round_reach_ua(max(currents, default=0))
    return Trace(
        np.array([min([span[0], *edges[:1]]), *edges, max([end_us, *edges[-1:]])], np.float64),
        np.array([0, *currents, 0], np.float64),
        span[0], end_us, 0, reach_ua, caption, gaps,
        scale_words=(f"{reach_ua / UA_PER_MA:+g} mA", "0", *ends),
    )  # fmt: skip


class Plot(Widget):
    """Show a trace with its scale; redraws only when given another trace or size."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"plot--trace", "plot--axis"}

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._trace: Trace | None = None
        self._note = ""
        self._drawn: tuple[tuple[int, int], list[Strip]] | None = None

    def show(self, trace: Trace | None, note: str = "") -> None:
        """Show another trace; `note` is added to its caption."""
        self._trace = trace
        self._note = note
        self._drawn = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        size = (self.size.width, self.size.height)
        if self._drawn is None or self._drawn[0] != size:
            self._drawn = (size, self.draw_strips(*size))
        strips = self._drawn[1]
        if y >= len(strips):
            return Strip.blank(size[0], self.rich_style)
        return strips[y]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn = None

    def draw_strips(self, width: int, height: int) -> list[Strip]:
        """Return caption, trace with its vertical scale, and the time scale: `height` lines."""
        trace = self._trace
        columns, rows = width - LABEL_CELLS, height - 2
        if trace is None or columns < 4 or rows < 1:
            return [Strip.blank(width, self.rich_style)] * height
        axis = self.get_component_rich_style("plot--axis")
        ink = self.get_component_rich_style("plot--trace")
        lines = [self._text_strip(trace.caption + self._note, width, axis)]
        labels = _scale_labels(trace, rows)
        for row, dots in enumerate(draw(trace, columns, rows)):
            lines.append(Strip([Segment(labels[row], axis), Segment(dots, ink)], width))
        start, end = _span_labels(trace)
        gap = max(1, columns - len(start) - len(end))
        lines.append(self._text_strip(" " * LABEL_CELLS + start + " " * gap + end, width, axis))
        return lines

    def _text_strip(self, text: str, width: int, style: object) -> Strip:
        return Strip([Segment(text[:width].ljust(width), style)], width)  # type: ignore[arg-type]


def _round_reach_ua(current_ua: int) -> float:
    """Return the smallest of the round scales, in uA, that holds a current."""
    return float(next((reach for reach in SCALES_UA if reach >= current_ua), current_ua))


def _plateau_us(channel: ChannelProgram) -> int:
    """Return when the first plateau begins, at a burst's or a pulse's start."""
    if channel.cycle is None:
        return 0
    ramp_us = channel.cycle.ramp_up_ms * US_PER_MS
    period_us = channel.burst_period_us or channel.settings[0].pulse_period_us
    return channel.cycle.offset_ms * US_PER_MS + -(-ramp_us // period_us) * period_us


def _trace(
    program: PulseProgram,
    index: int,
    amplitude_ua: int,
    step_ua: int,
    span_us: tuple[int, int],
    caption: str,
    onsets_end_us: int | None = None,
) -> Trace:
    """Return what a channel delivers within a span, as steps that begin and end at zero."""
    channel = program.channels[index]
    start_us, end_us = span_us
    train = pulses(program, index, amplitude_ua, step_ua, max(0, start_us), onsets_end_us or end_us)
    edges = np.repeat(phase_edges_us(channel, train), 2, axis=1)
    held = np.repeat(phase_currents_ua(channel, train, step_ua), 2, axis=1)
    currents = np.pad(held, ((0, 0), (1, 1)))
    scale_ua = _round_reach_ua(amplitude_ua)
    return Trace(
        np.concatenate(([start_us], edges.ravel(), [end_us])).astype(np.float64),
        np.concatenate(([0], currents.ravel(), [0])).astype(np.float64),
        start_us, end_us, -scale_ua, scale_ua, caption,
    )  # fmt: skip


def _scale_labels(trace: Trace, rows: int) -> list[str]:
    """Return each row's label: the highest value at the top, the lowest at the bottom."""
    labels = [""] * rows
    if trace.scale_words is not None:
        labels[-1], labels[0] = trace.scale_words[1], trace.scale_words[0]
        return [f"{label} ".rjust(LABEL_CELLS) for label in labels]
    if rows > 2 and trace.low_ua < 0:
        labels[rows // 2] = "0"
    if rows > 1:
        labels[-1] = f"{trace.low_ua / UA_PER_MA:+g} mA" if trace.low_ua else "0"
    labels[0] = f"{trace.high_ua / UA_PER_MA:+g} mA"
    return [f"{label} ".rjust(LABEL_CELLS) for label in labels]


def _span_labels(trace: Trace) -> tuple[str, str]:
    """Return what stands at the start and at the end of the time scale."""
    if trace.scale_words is not None:
        return trace.scale_words[2:]
    length_us = trace.end_us - trace.start_us
    if trace.end_us == 0:
        return f"-{length_us / US_PER_S:g} s", "now"
    if length_us < 5 * US_PER_MS:
        return "0", f"{length_us:g} us"
    if length_us < 5 * US_PER_S:
        return "0", f"{length_us / US_PER_MS:g} ms"
    return "0", f"{length_us / US_PER_S:g} s"
