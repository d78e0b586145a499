"""Read something back before it counts: y says that it is so, everything else goes back."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Button, Static

from estim.tui import words
from estim.tui.screens.base import EstimModal, HelpLines


class ReadBackScreen(EstimModal[bool]):
    """Give True where a person pressed y.

    Args:
        title: what is read back.
        text: lines to read out.
        question: what y answers.
    """

    TITLE_WORDS = "Read back"
    HELP_LINES: ClassVar[HelpLines] = (
        ("y", "it is so"),
        ("n, Esc", "it is not: back"),
        ("up, down", "scroll"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "agree", "It is so"),
        Binding("n", "leave", "It is not"),
    ]

    def __init__(self, title: str, text: str, question: str) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._question = question

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            yield Static(words.safe(self._title), classes="heading", markup=False)
            with VerticalScroll(classes="read-back"):
                yield Static(words.safe_lines(self._text), markup=False)
            yield Static(words.safe(self._question), classes="label", markup=False)
            yield Button("y  it is so", id="agree", variant="primary", compact=True)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()  # no button: Enter alone confirms nothing

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.action_agree()

    def action_agree(self) -> None:
        """Say that it is so."""
        self.dismiss(True)

    def action_leave(self) -> None:
        """Say that it is not."""
        self.dismiss(False)
