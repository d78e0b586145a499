"""The frames on the line, live: message, fields, age, direction, sequence, whole or damaged.

What is asked for while this screen is up: the engine tells frames, at a bounded rate, and counts
what it leaves out.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError
from estim.tui import words
from estim.tui.bench import FRAMES_KEPT, BenchLink
from estim.tui.frames import Frame, decode, parts
from estim.tui.screens.base import HelpLines
from estim.tui.screens.technician.base import TechnicianScreen
from estim.tui.widgets.frame_list import FrameList

TURN_S = 0.2


class FramesScreen(TechnicianScreen):
    """Watch the line; hold it still; look at one frame byte by byte."""

    TITLE_WORDS = "Frames on the line"
    HELP_LINES: ClassVar[HelpLines] = (
        ("p", "hold still, go on"),
        ("arrows, PgUp/Dn", "mark a frame: the list holds still"),
        ("f, F", "next filter, filter before: one message, the damaged, all"),
        ("c", "forget what was seen"),
        ("Esc", "back to the bench; the line is no longer watched"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "hold", "Hold/go on"),
        Binding("f", "filter(1)", "Filter"),
        Binding("F", "filter(-1)", show=False),
        Binding("c", "forget", "Forget"),
    ]

    def __init__(self, link: BenchLink) -> None:
        super().__init__(link)
        self._frames: deque[Frame] = deque(maxlen=FRAMES_KEPT)
        self._filter = ""
        self._is_held = False
        self._seen_count = 0
        self._now_us = link.clock.now_us()

    def compose_body(self) -> ComposeResult:
        yield Static("", id="frames-head", markup=False)
        yield Static("", id="complaint", markup=False)
        yield FrameList()
        with VerticalScroll(id="frame-place", can_focus=True):
            yield Static("Mark a frame to see its bytes.", id="frame-bytes", markup=False)

    def on_mount(self) -> None:
        self.query_one(FrameList).focus()
        self.link.arrived.clear()
        self.link.dropped_count = 0
        self.attempt(lambda: self.link.watch(True))
        self.set_interval(TURN_S, self._turn)
        self._turn()

    def action_leave_tool(self) -> None:
        """Go back; the line is no longer watched."""
        self.attempt(self._leave)

    async def _leave(self) -> None:
        try:
            await self.link.watch(False)
        except EstimError:
            pass  # the engine has gone, and its frames with it
        finally:
            self.dismiss(None)

    def action_hold(self) -> None:
        """Hold the list still, or let it go on."""
        self._is_held = not self._is_held
        if not self._is_held:
            self.query_one(FrameList).unmark()
        self._turn()

    def action_filter(self, by: int) -> None:
        """Show one message alone, or all."""
        filters = ["", *sorted({self._filter, *(one.name for one in self._frames)} - {""})]
        self._filter = filters[(filters.index(self._filter) + by) % len(filters)]
        self._show()

    def action_forget(self) -> None:
        """Empty the list."""
        self._frames.clear()
        self._seen_count = 0
        self.link.dropped_count = 0
        self._show()

    def on_frame_list_marked(self, event: FrameList.Marked) -> None:
        self._is_held = True
        self._show()

    def _turn(self) -> None:
        if not self._is_held:
            self._now_us = self.link.clock.now_us()
            arrived = self.link.arrived
            while arrived:
                self._frames.append(decode(arrived.popleft()))
                self._seen_count += 1
        self._show()

    def _show(self) -> None:
        shown = [one for one in self._frames if self._filter in ("", one.name)]
        frames = self.query_one(FrameList)
        frames.show(shown, self._now_us)
        waiting = len(self.link.arrived)
        state = f"HELD STILL, {waiting} wait: p goes on" if self._is_held else "live"
        self.query_one("#frames-head", Static).update(
            Content.assemble(
                (f"{state}  ", "bold"),
                f"{self._seen_count} seen, {self.link.dropped_count} left out, ",
                f"filter: {self._filter or 'all'} ({len(shown)})",
            )
        )
        if frames.marked is not None:
            self.query_one("#frame-bytes", Static).update(frame_bytes(frames.marked))


def frame_bytes(frame: Frame) -> Content:
    """Return a frame's bytes with what each says, and the frame as it was on the line."""
    way = "to the device" if frame.seen.is_to_device else "from the device"
    rows = [
        Content.assemble(
            (f"{frame.name} ", "bold"),
            f"{way}, {len(frame.body)} bytes, ",
            ("CRC ok" if frame.message else words.safe(frame.problem),
             "$success" if frame.message else "bold $error"),
        )
    ]  # fmt: skip
    start = 0
    for part in parts(frame):
        octets = part.octets.hex(" ")
        rows.append(
            Content.assemble(
                (f"{start:>4}  ", "dim"), (f"{octets:<24} ", "$primary"),
                (f"{part.name:<24} ", "dim"), words.safe(part.words),
            )
        )  # fmt: skip
        start += len(part.octets)
    rows.append(Content.styled(f"on the line (COBS): {frame.seen.octets_hex} 00", "dim"))
    return Content("\n").join(rows)
