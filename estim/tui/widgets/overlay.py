"""Two traces on one scale, one over the other: what was captured, and what was commanded."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from estim.tui.widgets.plot import Plot, Trace

_BLANK = 0x2800


class OverlayPlot(Plot):
    """Draw a captured trace over a commanded one; a cell that holds both is bold."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"plot--commanded", "plot--both"}

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._commanded: Trace | None = None

    def show_both(self, captured: Trace, commanded: Trace) -> None:
        """Show two traces of one span and one scale."""
        self._commanded = commanded
        self.show(captured)

    def draw_strips(self, width: int, height: int) -> list[Strip]:
        captured = super().draw_strips(width, height)
        commanded = self._commanded
        if commanded is None or len(list(captured[0])) == 0 or height < 3:
            return captured
        self._trace, kept = commanded, self._trace
        below = super().draw_strips(width, height)
        self._trace = kept
        rows = [self._merged(*pair) for pair in zip(captured[1:-1], below[1:-1], strict=True)]
        return [captured[0], *rows, captured[-1]]

    def _merged(self, over: Strip, under: Strip) -> Strip:
        """Return a row with the dots of both; blank rows have no scale to tell them by."""
        if len(list(over)) != 2 or len(list(under)) != 2:
            return over
        label, ink = list(over)
        styles = (
            ink.style,
            self.get_component_rich_style("plot--commanded"),
            self.get_component_rich_style("plot--both"),
        )
        cells = [_cell(a, b) for a, b in zip(ink.text, list(under)[1].text, strict=True)]
        segments: list[Segment] = [label]
        for kind, run in groupby(cells, key=lambda cell: cell[1]):
            style: Style | None = styles[kind]
            segments.append(Segment("".join(dots for dots, _ in run), style))
        return Strip(segments, over.cell_length)


def _cell(over: str, under: str) -> tuple[str, int]:
    """Return both cells' dots as one, and whose they are: 0 captured, 1 commanded, 2 both."""
    dots_over, dots_under = ord(over) - _BLANK, ord(under) - _BLANK
    kind = 2 if dots_over and dots_under else 1 if dots_under else 0
    return chr(_BLANK + (dots_over | dots_under)), kind
