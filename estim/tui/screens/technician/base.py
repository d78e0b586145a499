"""What the screens of the technician's bench share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError
from estim.tui import words
from estim.tui.bench import BenchLink
from estim.tui.screens.base import EstimScreen


class TechnicianScreen(EstimScreen[None]):
    """A screen over a bench session, which goes on below."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave_tool", "Back")]

    def __init__(self, link: BenchLink) -> None:
        super().__init__()
        self.link = link

    def action_leave_tool(self) -> None:
        """Go back to where this was opened."""
        self.dismiss(None)

    def attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step in the background; say what refused it."""

        async def trying() -> None:
            try:
                await step()
            except EstimError as error:
                self.complain(str(error))

        self.run_worker(trying(), group="step")

    def complain(self, text: str) -> None:
        """Say what is wrong, in the one place for it; '' clears it."""
        shown = Content.styled(f"! {words.safe(text)}", "$warning") if text else Content("")
        for place in self.query("#complaint").results(Static):
            place.update(shown)
            place.display = bool(text)
