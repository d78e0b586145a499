"""Declare the bench: which dummy load, and that nobody is connected.

A person is treated in a guided visit alone, whose screening and consent come first.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Button, Checkbox, Input, Static

from estim.tui import words
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.widgets.tick import TickBox

OHM_MIN, OHM_MAX = 1, 100_000
DEFAULT_OHM = "500"


class BenchScreen(EstimScreen[int | None]):
    """Give the dummy load in ohms once it is declared, or None."""

    TITLE_WORDS = "Bench"
    HELP_LINES: ClassVar[HelpLines] = (
        ("Tab, Shift+Tab", "next field, field before"),
        ("Enter", "tick, or go on"),
        ("Esc", "back"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next field"),
        Binding("escape", "leave", "Back"),
    ]

    def __init__(self, title: str, url: str) -> None:
        super().__init__()
        self._title = title
        self._url = url

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="page"):
            yield Static("A bench session", classes="heading")
            yield Static(
                Content.assemble(
                    ("Profile  ", "dim"), words.safe(self._title), "\n",
                    ("Device   ", "dim"), words.safe(self._url),
                )
            )  # fmt: skip
            yield Static(words.BENCH_ONLY, classes="banner")
            yield Static("Dummy load in ohm", classes="label")
            yield Input(value=DEFAULT_OHM, type="integer", id="load", compact=True, max_length=6)
            yield TickBox(
                "Nobody is connected: the output goes into the dummy load alone",
                id="nobody",
                compact=True,
            )
            yield Button("Open the session at zero", id="open", variant="primary", compact=True)
            yield Static("", id="complaint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#load").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.query_one("#nobody").focus()

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        if event.value:
            self.query_one("#open").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        typed = self.query_one("#load", Input).value
        load_ohm = int(typed) if typed.isascii() and typed.isdigit() else 0
        if not OHM_MIN <= load_ohm <= OHM_MAX:
            self._complain(f"The dummy load is a whole number of ohm from {OHM_MIN} to {OHM_MAX}.")
            self.query_one("#load").focus()
        elif not self.query_one("#nobody", Checkbox).value:
            self._complain("Tick that nobody is connected. There is no session without it.")
            self.query_one("#nobody").focus()
        else:
            self.dismiss(load_ohm)

    def _complain(self, text: str) -> None:
        self.query_one("#complaint", Static).update(Content.styled(f"! {text}", "$warning"))

    def action_leave(self) -> None:
        """Go back without declaring anything."""
        self.dismiss(None)
