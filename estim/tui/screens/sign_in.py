"""Who works at the station: choose, and give the PIN.

Also the idle lock and the change of hands. The stop keys work here as on every screen: F12 and
Ctrl+X while the PIN is typed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.clock import SystemClock
from estim.errors import EstimError
from estim.tui import words
from estim.tui.screens.base import EstimModal, HelpLines
from estim.tui.widgets.choices import ChoiceList

NOBODY = (
    "Nobody is on this station's roster yet. Add somebody in a shell, then come back:\n\n"
    "  estim roster add ID --role therapist"
)


class SignInScreen(EstimModal["str | None"]):
    """Give the id of who signed in, or None.

    Args:
        folder: the configuration folder, where the roster lies.
        title: why somebody is asked.
        is_lock: there is no way back without a PIN; the stop works all the same.
        only: ids that may sign in; empty for all.
    """

    TITLE_WORDS = "Sign in"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down", "choose who you are"),
        ("Enter", "go on to the PIN, then sign in"),
        ("Esc", "back"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back")]

    def __init__(
        self, folder: Path, title: str, *, is_lock: bool = False, only: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        self._folder = folder
        self._title = title
        self.is_lock = is_lock
        self._only = only
        self._chosen = ""

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            yield Static(self._title, classes="heading", markup=False)
            yield ChoiceList(id="operators")
            yield Static("PIN", classes="label", id="pin-label")
            yield Input(id="pin", password=True, compact=True, max_length=12)
            yield Static("", id="complaint", markup=False)

    def on_mount(self) -> None:
        from estim.prepare import roster

        try:
            known = roster.operators(self._folder)
        except EstimError as error:
            self._complain(str(error))
            known = ()
        shown = [one for one in known if not self._only or one.id in self._only]
        choices = self.query_one("#operators", ChoiceList)
        choices.add_options([Option(f"{one.id}  {one.role.value}", one.id) for one in shown])
        if not shown:
            self._complain(NOBODY)
        elif len(shown) == 1:
            self._choose(shown[0].id)
        choices.highlighted = 0 if shown else None
        if len(shown) != 1:
            choices.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._choose(str(event.option_id))

    def _choose(self, operator_id: str) -> None:
        self._chosen = operator_id
        self.query_one("#pin-label", Static).update(f"PIN of {words.safe(operator_id)}")
        self.query_one("#pin", Input).focus()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        typed = event.value
        event.input.value = ""
        self.run_worker(self._try(typed), exclusive=True, group="pin")

    async def _try(self, typed: str) -> None:
        from estim.prepare import roster

        try:
            tried = await asyncio.to_thread(
                roster.try_pin, self._folder, self._chosen, typed, SystemClock().wall()
            )
            if tried.is_right:
                self.dismiss(self._chosen)
                return
            self._complain(tried.words)
        except EstimError as error:
            self._complain(str(error))

    def _complain(self, text: str) -> None:
        self.query_one("#complaint", Static).update(f"! {words.safe_lines(text)}")

    def action_leave(self) -> None:
        """Go back without signing in, unless the station is locked."""
        if self.is_lock:
            self._complain("the station is locked: choose who you are, then give the PIN")
        else:
            self.dismiss(None)
