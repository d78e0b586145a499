"""Ask for one line of words: a reason, a remark."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from estim.tui import words
from estim.tui.screens.base import EstimModal, HelpLines


class TextScreen(EstimModal["str | None"]):
    """Give what was typed, or None."""

    TITLE_WORDS = "A line of words"
    HELP_LINES: ClassVar[HelpLines] = (("Enter", "keep it"), ("Esc", "back"))

    def __init__(self, title: str, remark: str = "") -> None:
        super().__init__()
        self._title = title
        self._remark = remark

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            yield Static(words.safe(self._title), classes="heading", markup=False)
            yield Static(words.safe_lines(self._remark), markup=False)
            yield Input(id="text", compact=True, max_length=500)

    def on_mount(self) -> None:
        self.query_one("#text").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())
