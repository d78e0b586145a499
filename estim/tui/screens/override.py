"""Let a clinician of the roster take responsibility for a screening item, with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.tui import words
from estim.tui.screens.base import EstimModal, HelpLines
from estim.tui.widgets.choices import ChoiceList

Chosen = tuple[str, str]
"""Id of the item, and the reason."""


class OverrideScreen(EstimModal["Chosen | None"]):
    """Give an item and a reason, or None; who the clinician is, the PIN tells afterwards."""

    TITLE_WORDS = "Override"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down", "choose the item"),
        ("Enter", "go on to the reason, then keep it"),
        ("Esc", "back"),
    )

    def __init__(self, items: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._items = items
        self._chosen = ""

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            yield Static("Which item does a clinician take responsibility for?", classes="heading")
            yield ChoiceList(id="items")
            yield Static("Reason", classes="label")
            yield Input(id="reason", compact=True, max_length=300)
            yield Static("The clinician's PIN is asked for next.", classes="remark")

    def on_mount(self) -> None:
        choices = self.query_one("#items", ChoiceList)
        choices.add_options([Option(words.safe(said), name) for name, said in self._items])
        choices.highlighted = None
        choices.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._chosen = str(event.option_id)
        self.query_one("#reason", Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._chosen and event.value.strip():
            self.dismiss((self._chosen, event.value.strip()))
