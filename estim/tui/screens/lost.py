"""The engine died: say so, and recover the record. There is no session any more."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from estim.clock import SystemClock
from estim.errors import EstimError
from estim.prepare.places import configuration_folder
from estim.record import station_key
from estim.record.recover import recover
from estim.tui import words
from estim.tui.controller import SessionController
from estim.tui.screens.base import EstimModal, HelpLines


class LostScreen(EstimModal[None]):
    """Stay until the operator has read it."""

    TITLE_WORDS = "Engine lost"
    HELP_LINES: ClassVar[HelpLines] = (
        ("Enter", "recover the record"),
        ("Esc", "back to the profiles"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "recover", "Recover the record")]

    def __init__(self, controller: SessionController, reason: str) -> None:
        super().__init__()
        self._controller = controller
        self._reason = reason

    def compose_body(self) -> ComposeResult:
        path = self._controller.record_path
        where = words.safe(str(path)) if path else "no record was opened"
        with Vertical(classes="dialogue alarm"):
            yield Static(
                Content.assemble(
                    ("▲ THE ENGINE HAS ENDED\n\n", "bold $error"),
                    f"{words.safe(self._reason)}\n\n",
                    "A device with a lease ends its output by itself within 350 ms. "
                    "Look at the device: if it still delivers, switch it off.\n\n",
                    ("Record  ", "dim"), f"{where}\n",
                ),
                markup=False,
            )  # fmt: skip
            yield Static("ENTER recovers the record: explains its end and seals it.", id="recovery")

    def action_recover(self) -> None:
        """Explain the end of the record and seal it, in a thread."""
        if self._controller.record_path is not None:
            self.run_worker(self._recover, thread=True, exclusive=True)

    def _recover(self) -> None:
        clock = SystemClock()
        path = self._controller.record_path
        assert path is not None
        try:
            key = station_key.load_or_make(configuration_folder())
            recovery = recover(path, key, mono_us=clock.now_us(), wall=clock.wall())
        except EstimError as error:
            text = Content.styled(f"✗ {words.safe(str(error))}", "bold $error")
        else:
            what = "recovered and sealed" if recovery.was_needed else "was whole already"
            text = Content.assemble(
                (f"✓ {what}\n", "bold $success"), f"head {recovery.head}\nESC goes back."
            )
        self.app.call_from_thread(self.query_one("#recovery", Static).update, text)
