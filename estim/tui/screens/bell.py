"""Try the bell, once a day: an alarm that nobody can hear is none."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from estim.clock import SystemClock
from estim.errors import EstimError
from estim.prepare.places import configuration_folder
from estim.tui import words
from estim.tui.screens.base import EstimModal, HelpLines
from estim.visit.alarms import Priority, bell_state, was_bell_tried

FILE_NAME = "bell-tried"
LONGEST = 40


class BellScreen(EstimModal[bool]):
    """Ring each pattern on its key; give whether it was heard."""

    TITLE_WORDS = "Bell"
    HELP_LINES: ClassVar[HelpLines] = (
        ("t", "ring again"),
        ("y", "all three were heard: not asked again today"),
        ("n, Esc", "not heard: watch the screen"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "ring", "Ring again"),
        Binding("y", "heard", "Heard"),
        Binding("n", "leave", "Not heard"),
    ]

    def compose_body(self) -> ComposeResult:
        rows = [
            f"  {priority.sign:<3}  {priority.name:<6}  {priority.bells} × bell"
            for priority in reversed(Priority)
        ]
        with Vertical(classes="dialogue"):
            yield Static(
                Content.assemble(
                    ("Alarms are heard by their number of bells\n\n", "bold"),
                    "\n".join(rows),
                    "\n\nNow it rings three times. Do you hear it?  ",
                    (" y ", "bold reverse"), " heard   ", (" n ", "bold reverse"), " not heard",
                ),
                markup=False,
            )  # fmt: skip

    def on_mount(self) -> None:
        self.action_ring()

    def action_ring(self) -> None:
        """Ring as an alarm of high priority does."""
        self.estim.ring(Priority.HIGH.bells)

    def action_heard(self) -> None:
        """Remember that it was heard today."""
        path = _state_path()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(bell_state(SystemClock().wall().date()), "utf-8")
        except OSError as error:
            self.notify(words.safe(str(error)), severity="error", markup=False)
        self.dismiss(True)

    def action_leave(self) -> None:
        """Say that an alarm has to be seen."""
        self.dismiss(False)


def is_bell_tried() -> bool:
    """Tell whether the bell was heard today, at this station."""
    try:
        state = _state_path().read_text("utf-8")[:LONGEST]
    except (OSError, ValueError, EstimError):
        return False
    return was_bell_tried(state, SystemClock().wall().date())


def _state_path() -> Path:
    return configuration_folder() / FILE_NAME
