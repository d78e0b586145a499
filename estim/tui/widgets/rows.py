"""A list of any length of which only the rows that fit are drawn; one of them is marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

Row = TypeVar("Row")

LAST = 10_000_000


class RowList(Widget, Generic[Row], can_focus=True):
    """Draw rows as `line` has them, given the width; Enter or a click on the marked one chooses.

    Attributes:
        rows: what is listed.
        place: index of the marked row.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open"),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "move_page(-1)", show=False),
        Binding("pagedown", "move_page(1)", show=False),
        Binding("home", f"move(-{LAST})", show=False),
        Binding("end", f"move({LAST})", show=False),
    ]

    class Chosen(Message):
        """A person chose the marked row."""

    class Marked(Message):
        """Another row is marked."""

    def __init__(self, id: str, line: Callable[[Row, int], Content]) -> None:
        super().__init__(id=id)
        self._line = line
        self._head = ""
        self._first = 0
        self.rows: Sequence[Row] = ()
        self.place = 0

    @property
    def marked(self) -> Row | None:
        """Return the marked row, None where there is none."""
        return self.rows[self.place] if self.place < len(self.rows) else None

    def show(self, rows: Sequence[Row], place: int = 0) -> None:
        """List other rows, with the mark on one of them."""
        self.rows = rows
        self.place = max(0, min(place, len(rows) - 1))
        self.refresh()
        self.post_message(self.Marked())

    def action_move(self, rows: int) -> None:
        """Move the mark."""
        place = max(0, min(self.place + rows, len(self.rows) - 1))
        if place != self.place:
            self.place = place
            self.refresh()
            self.post_message(self.Marked())

    def action_move_page(self, pages: int) -> None:
        """Move the mark by what is seen at a time."""
        self.action_move(pages * max(1, self.size.height - 1))

    def action_choose(self) -> None:
        """Choose the marked row."""
        if self.rows:
            self.post_message(self.Chosen())

    def on_click(self, event: Click) -> None:
        place = self._first + event.y
        if place == self.place:
            self.action_choose()
        elif place < len(self.rows):
            self.action_move(place - self.place)

    def on_mouse_scroll_down(self) -> None:
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-3)

    def render(self) -> Content:
        width, height = self.size.width, self.size.height
        # The mark moves within what is seen; only at its edge does the list follow.
        highest = max(0, len(self.rows) - height)
        self._first = min(highest, max(self.place - height + 1, min(self._first, self.place)))
        lines = []
        for place in range(self._first, min(len(self.rows), self._first + height)):
            is_marked = place == self.place
            line = Content.assemble(
                ("► " if is_marked else "  ", "bold $accent"),
                self._line(self.rows[place], width - 2),
            ).truncate(width, ellipsis=True, pad=True)
            lines.append(line.stylize("bold on $primary 30%") if is_marked else line)
        return Content("\n").join(lines)
