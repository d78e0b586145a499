"""The numbers of a scale in one line, to be clicked on; by key they are typed."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

CELL = 4
TEN_KEY = "t"


class ScaleRow(Widget, can_focus=True):
    """Show the numbers from one to another, ten with its key."""

    @dataclass
    class Chosen(Message):
        """A number was clicked on."""

        number: int

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._numbers = range(0)

    def show(self, lowest: int, highest: int) -> None:
        """Show these numbers, both ends with them."""
        self._numbers = range(lowest, highest + 1)
        self.refresh()

    def render(self) -> Content:
        cells = (f"{TEN_KEY} 10" if number == 10 else str(number) for number in self._numbers)
        return Content("".join(f" {cell:<{CELL - 1}}" for cell in cells))

    def on_click(self, event: Click) -> None:
        place = event.x // CELL
        if 0 <= place < len(self._numbers):
            event.stop()
            self.post_message(self.Chosen(self._numbers[place]))
