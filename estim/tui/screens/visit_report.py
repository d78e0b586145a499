"""The end of a visit: what was planned and delivered, what is still open, then the seal."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from estim.tui import words
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.screens.report import planned_and_delivered
from estim.tui.sitting import Sitting


class VisitReportScreen(EstimScreen[bool]):
    """Give True where the visit is to be ended."""

    TITLE_WORDS = "Report"
    HELP_LINES: ClassVar[HelpLines] = (
        ("e", "end the visit: the record is sealed"),
        ("Esc", "back to the visit"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "end", "End and seal"),
        Binding("escape", "leave", "Back"),
    ]

    def __init__(self, sitting: Sitting) -> None:
        super().__init__()
        self._sitting = sitting

    def compose_body(self) -> ComposeResult:
        visit = self._sitting.visit
        left = [step.title for step in visit.protocol.steps if not visit.is_past(step)]
        with VerticalScroll(), Vertical(classes="page"):
            yield Static(planned_and_delivered(self._sitting.controller))
            if left:
                yield Static(
                    f"Not done: {words.safe(', '.join(left))}. The visit stays unfinished.",
                    classes="banner",
                    markup=False,
                )

    def action_end(self) -> None:
        """Seal the record."""
        self.dismiss(True)

    def action_leave(self) -> None:
        """Go back to the visit."""
        self.dismiss(False)
