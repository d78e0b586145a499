"""Frames, newest at the bottom; a person who moves through them holds them still."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

from estim.tui import words
from estim.tui.frames import Frame, summary

_HEAD = f"{'age':>9}  {'':2}{'seq':>5}  {'CRC':<4}{'message':<18}fields"


class FrameList(Widget, can_focus=True):
    """Draw the frames that fit, the marked one among them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Older", show=False),
        Binding("down", "move(1)", "Newer", show=False),
        Binding("pageup", "move(-10)", show=False),
        Binding("pagedown", "move(10)", show=False),
        Binding("home", "move(-100000)", show=False),
        Binding("end", "move(100000)", show=False),
    ]

    class Marked(Message):
        """Another frame was marked by a person."""

    def __init__(self) -> None:
        super().__init__(id="frame-list")
        self._frames: list[Frame] = []
        self._now_us = 0
        self._first = 0
        self.marked: Frame | None = None

    def show(self, frames: list[Frame], now_us: int) -> None:
        """Show other frames, oldest first, with their age at `now_us`."""
        self._frames, self._now_us = frames, now_us
        if self.marked is not None and not any(one is self.marked for one in frames):
            self.marked = None
        self.refresh()

    def unmark(self) -> None:
        """Follow the newest again."""
        self.marked = None
        self.refresh()

    def action_move(self, rows: int) -> None:
        """Mark the frame some rows on."""
        if not self._frames:
            return
        last = len(self._frames) - 1
        place = self._place()
        begin = last if place is None else place + rows
        self._mark(max(0, min(last, begin)))

    def on_click(self, event: Click) -> None:
        row = self._first + event.y - 1
        if event.y > 0 and row < len(self._frames):
            self._mark(row)

    def render(self) -> Content:
        width, rows = self.size.width, max(0, self.size.height - 1)
        place = self._place()
        last = len(self._frames)
        if place is not None:
            last = min(last, max(place + 1 + rows // 2, rows))
        self._first = max(0, last - rows)
        lines = [Content.styled(_HEAD, "dim").truncate(width)]
        lines += [
            self._line(frame, frame is self.marked).truncate(width, ellipsis=True)
            for frame in self._frames[self._first : last]
        ]
        if not self._frames:
            lines.append(Content.styled("  no frame yet", "dim"))
        return Content("\n").join(lines)

    def _line(self, frame: Frame, is_marked: bool) -> Content:
        age_ms = max(0, self._now_us - frame.seen.at_us) // 1000
        way = "→ " if frame.seen.is_to_device else "← "
        sequence = f"{frame.sequence:>5}" if frame.sequence >= 0 else "    –"
        crc = "ok" if frame.message is not None else "BAD"
        style = "$error" if frame.message is None else ""
        return Content.assemble(
            ("►" if is_marked else " ", "bold $accent"),
            (f"{age_ms:>6} ms  ", "dim"),
            (way, "$primary" if frame.seen.is_to_device else "$accent"),
            f"{sequence}  ",
            (f"{crc:<4}", style),
            (f"{frame.name:<18}", f"bold {style}".strip()),
            words.safe(summary(frame)),
        )

    def _place(self) -> int | None:
        if self.marked is None:
            return None
        return next((n for n, one in enumerate(self._frames) if one is self.marked), None)

    def _mark(self, place: int) -> None:
        self.marked = self._frames[place]
        self.refresh()
        self.post_message(self.Marked())
