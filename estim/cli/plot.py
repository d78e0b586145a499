"""Draw steps of a quantity over time with characters.

Each character holds 2 x 4 braille dots, or one mark where the terminal has ASCII only. Each column
of dots shows the whole range of what happens within it, so that no pulse is too short to be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BRAILLE_BASE = 0x2800
BRAILLE_FULL = chr(BRAILLE_BASE + 0xFF)
_DOTS_ACROSS, _DOTS_DOWN = 2, 4
# Bit of each dot within its character, by column and row.
_DOT_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_ASCII_MARK = "#"


@dataclass(frozen=True, slots=True)
class Step:
    """A quantity that holds from `start` to before `end`; it is zero where no step is."""

    start: float
    end: float
    held: float


@dataclass(frozen=True, slots=True)
class Axes:
    """What is drawn: a span of time, a range of the quantity, and the words for both."""

    start: float
    end: float
    lowest: float
    highest: float
    time_unit: str
    unit: str


def draw(steps: Sequence[Step], axes: Axes, width: int, height: int, is_ascii: bool) -> list[str]:
    """Return the lines of a picture `width` characters wide, its axes included."""
    labels = {0: f"{axes.highest:g}", height - 1: f"{axes.lowest:g}"}
    down = 1 if is_ascii else _DOTS_DOWN
    labels.setdefault(round(axes.highest / _per_row(axes, height * down)) // down, "0")
    margin = max(len(label) for label in labels.values())
    canvas_width = width - margin - 2
    rows = _canvas(steps, axes, canvas_width, height, is_ascii)
    bar, corner, line = ("|", "+", "-") if is_ascii else ("│", "└", "─")
    lines = [axes.unit]
    for index, row in enumerate(rows):
        lines.append(f"{labels.get(index, ''):>{margin}} {bar}{row}".rstrip())
    lines.append(f"{'':{margin}} {corner}{line * canvas_width}")
    first, last = f"{axes.start:g}", f"{axes.end:g} {axes.time_unit}"
    lines.append(f"{'':{margin}}  {first}{last:>{canvas_width - len(first)}}")
    return lines


def _canvas(
    steps: Sequence[Step], axes: Axes, width: int, height: int, is_ascii: bool
) -> list[str]:
    across, down = (1, 1) if is_ascii else (_DOTS_ACROSS, _DOTS_DOWN)
    spans = _spans(steps, axes, width * across)
    dot_rows = height * down
    per_row = _per_row(axes, dot_rows)
    cells = [[0] * width for _ in range(height)]
    for column, (low, high) in enumerate(spans):
        top = round((axes.highest - high) / per_row)
        bottom = round((axes.highest - low) / per_row)
        for row in range(max(0, top), min(dot_rows - 1, bottom) + 1):
            bit = _DOT_BITS[column % across][row % down]
            cells[row // down][column // across] |= bit
    if is_ascii:
        return ["".join(_ASCII_MARK if cell else " " for cell in row) for row in cells]
    return ["".join(chr(BRAILLE_BASE + cell) if cell else " " for cell in row) for row in cells]


def _per_row(axes: Axes, dot_rows: int) -> float:
    """Return how much of the quantity one row of dots stands for."""
    return (axes.highest - axes.lowest) / (dot_rows - 1)


def _spans(steps: Sequence[Step], axes: Axes, columns: int) -> list[tuple[float, float]]:
    """Return lowest and highest of the quantity within each column, joined to the column before."""
    per_column = (axes.end - axes.start) / columns
    spans = []
    first = 0
    before: list[float] = []
    for column in range(columns):
        start = axes.start + column * per_column
        end = start + per_column
        while first < len(steps) and steps[first].end <= start:
            first += 1
        met, covered = before, 0.0
        index = first
        after = 0.0
        while index < len(steps) and steps[index].start < end:
            step = steps[index]
            met.append(step.held)
            covered += min(step.end, end) - max(step.start, start)
            after = step.held if step.end >= end else 0.0
            index += 1
        if covered < per_column * (1 - 1e-9):
            met.append(0.0)
        spans.append((min(met), max(met)))
        before = [after]
    return spans
