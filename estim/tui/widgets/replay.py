"""The live session's widgets for a replay: REPLAY stands before each of their lines.

Rules:
1. No line can be mistaken for a live one, wherever the eye falls.
2. No key is named that would ask an engine for something, and no beat is drawn.
"""

from __future__ import annotations

from typing import ClassVar

from estim.session.messages import ChannelSnapshot
from estim.tui import words
from estim.tui.tape import Span, Tape
from estim.tui.widgets.channels import ChannelPanel
from estim.tui.widgets.events import EventLine, EventList
from estim.tui.widgets.plot import Trace, levels_trace
from estim.units import format_ma

MARK = "REPLAY "


class ReplayChannels(ChannelPanel):
    """The channels of a replay, with the spread of each second's readings."""

    MARK = MARK
    COLUMNS: ClassVar[tuple[tuple[str, int], ...]] = (
        ("commanded", 10), ("measured", 18), ("ceiling", 10), ("load", 10), ("contact", 10),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._spans: tuple[tuple[int, int, int] | None, ...] = ()

    def show_spans(self, spans_ua: tuple[tuple[int, int, int] | None, ...]) -> None:
        """Take least, mean and highest reading of the second, by channel."""
        if spans_ua != self._spans:
            self._spans = spans_ua
            self.refresh()

    def tail(self, index: int, channel: ChannelSnapshot) -> str:
        """Return the spread of the second."""
        span = self._spans[index] if index < len(self._spans) else None
        if span is None:
            return ""
        least, mean, most = map(format_ma, span)
        return f"this second {least} to {most}, mean {mean} mA"


class ReplayEvents(EventList):
    """The events of a replay."""

    MARK = MARK

    def show(self, tape: Tape, at_us: int) -> None:
        """Show what had happened by then."""
        self.replay(
            [EventLine(one.at_us, one.severity, words.safe(one.words)) for one in tape.heard(at_us)]
        )


def tape_trace(tape: Tape, span: Span, name: str) -> Trace:
    """Return the highest current of all channels within a span, as the summaries have it."""
    levels: list[tuple[int, int, int]] = []
    for second in tape.within(span):
        begin_us = second.from_us
        if levels and tape.is_known((levels[-1][1] + begin_us) // 2):
            begin_us = levels[-1][1]  # what lies between counts as read
        levels.append((begin_us, second.to_us, max(second.highest_ua.values(), default=0)))
    ends = words.clock_ms(span[0] // 1000), words.clock_ms(span[1] // 1000)
    gaps = tuple(gap for gap in tape.gaps if gap[1] > span[0] and gap[0] < span[1])
    told = f"{MARK}intensity, {name}" + (", ░ nothing on record" if gaps else "")
    return levels_trace(levels, span, told, gaps, ends)
