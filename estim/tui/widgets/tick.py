"""A box to tick that is told apart by its sign, not by its colour."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Checkbox

TICKED, UNTICKED = "✓", " "


class TickBox(Checkbox, inherit_bindings=False):
    """A check box; Enter ticks it, since Space stops the output."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "toggle_button", "Tick")]
    BUTTON_LEFT = "["
    BUTTON_INNER = UNTICKED
    BUTTON_RIGHT = "]"

    def watch_value(self) -> None:
        self.BUTTON_INNER = TICKED if self.value else UNTICKED
        super().watch_value()
