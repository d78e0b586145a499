"""The home screen: whose visit is next, what is due, what is unfinished.

Rules:
1. Persons stand here by pseudonym alone; there is no field for a name.
2. A pseudonym is typed or scanned; one whose check character does not fit is never guessed at.
3. Records are read in a thread after the first paint.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key, ScreenResume
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.clock import SystemClock
from estim.errors import EstimError
from estim.tui import words
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.widgets.choices import ChoiceList
from estim.visit import pseudonym

TYPED_MAX = 64
NOTHING = "nobody: w begins with a new person, / finds one, d shows a session on the simulator"

Line = tuple[str, str]
"""A pseudonym, and what there is to say of it today."""


class TodayScreen(EstimScreen[None]):
    """Choose a person, or go to the bench."""

    TITLE_WORDS = "Today"
    HELP_LINES: ClassVar[HelpLines] = (
        ("/", "type or scan a pseudonym; Enter opens the person; capitals and digits begin one"),
        ("up, down, Enter", "choose somebody who is due, or whose visit is unfinished"),
        ("w", "a new pseudonym, for a new person"),
        ("i", "sign in, or hand over"),
        ("F6, Esc", "back to the visit that is open"),
        ("d", "demo session: the simulator into 500 ohm, nobody connected"),
        ("p", "profiles, and sessions on the bench"),
        ("r", "records: look, verify, add, export, replay"),
        ("q", "quit"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "person", "Person", key_display="/"),
        Binding("w", "new_person", "New person"),
        # The line on top names it where nobody has signed in.
        Binding("i", "sign_in", "Sign in", show=False),
        Binding("d", "demo", "Demo"),
        Binding("p", "profiles", "Profiles"),
        Binding("r", "records", "Records"),
        Binding("escape", "leave_field", "Back", show=False),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave out what begins something else while a session is open."""
        return action not in ("demo", "profiles") or self.estim.controller is None

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Line] = []
        self._has_looked = False

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="page", id="today"):
            yield Static(id="today-head", markup=False)
            yield Input(
                placeholder="/ pseudonym, typed or scanned", id="person", compact=True,
                select_on_focus=False, max_length=TYPED_MAX,
            )  # fmt: skip
            yield Static("Due and unfinished", classes="label")
            yield Static("Reading the records …", id="today-words", markup=False)
            yield ChoiceList(id="due")
        yield Static(words.NOT_CERTIFIED, classes="banner")

    def on_mount(self) -> None:
        self.show_head()
        self.query_one("#due").focus()
        self.call_after_refresh(self.look)

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        self.show_head()
        if self._has_looked:
            self.look()

    def show_head(self) -> None:
        """Say what day it is and who works here."""
        operator = self.estim.visiting.operator
        self.query_one("#today-head", Static).update(
            Content.assemble(
                (f"{SystemClock().wall():%A, %Y-%m-%d}", "bold"),
                "   ",
                (f"{words.safe(operator)} works here" if operator else "i signs in", "$secondary"),
            )
        )

    def look(self) -> None:
        """Read what is due and what is unfinished."""
        self.run_worker(self._look(), exclusive=True, group="look")

    async def _look(self) -> None:
        try:
            lines = await asyncio.to_thread(self.estim.visiting.due_and_unfinished)
            said = "" if lines else NOTHING
        except EstimError as error:
            lines, said = [], str(error)
        self._lines = lines
        self.query_one("#today-words", Static).update(words.safe(said))
        self.query_one("#today-words").display = bool(said)
        due = self.query_one("#due", ChoiceList)
        width = max((len(who) for who, _ in lines), default=0)
        due.clear_options()
        due.add_options(
            [
                Option(
                    Content.assemble(
                        (f"{words.safe(who):<{width}}", "bold"), f"  {words.safe(what)}"
                    )
                )
                for who, what in lines
            ]
        )
        due.highlighted = 0 if lines else None
        is_first, self._has_looked = not self._has_looked, True
        if is_first and self.estim.options.is_demo:
            self.action_demo()

    # Keys.

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.estim.visiting.open_person(self._lines[event.option_index][0])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        typed, event.input.value = event.input.value, ""  # a scanner never clears the field
        try:
            found = pseudonym.normalise(typed)
        except EstimError as error:
            self.notify(words.safe(str(error)), severity="warning", markup=False)
            return
        self.query_one("#due").focus()
        self.estim.visiting.open_person(found)

    def on_key(self, event: Key) -> None:
        """Let capitals and digits begin a pseudonym: a scanner types at once and ends with Enter.

        The focus moves before the next key comes, so that no letter is taken for a command, and
        Enter not for the choice of whoever stands first in the list.
        """
        character = event.character or ""
        if (
            isinstance(self.focused, Input)
            or character not in pseudonym.CHARACTERS
            or not character
        ):
            return
        field = self.query_one("#person", Input)
        self.set_focus(field)
        field.value = character
        field.cursor_position = 1
        event.stop()
        event.prevent_default()

    def action_person(self) -> None:
        """Put the focus into the field for a pseudonym."""
        self.query_one("#person").focus()

    def action_leave_field(self) -> None:
        """Return to the list; from there to the visit over which this was opened."""
        due = self.query_one("#due")
        if self.focused is due and self.estim.screen_stack[0] is not self:
            self.dismiss(None)
        else:
            due.focus()

    def action_new_person(self) -> None:
        """Make a new pseudonym, and open it."""
        self.run_worker(self._new_person(), exclusive=True, group="person")

    async def _new_person(self) -> None:
        made = await asyncio.to_thread(self.estim.visiting.new_pseudonym)
        self.notify(f"{made} is a new pseudonym: write it on the person's file.", timeout=20)
        self.estim.visiting.open_person(made)

    def action_sign_in(self) -> None:
        """Ask who works here."""
        self.estim.visiting.ask_who()

    def action_demo(self) -> None:
        """Begin the demo session."""
        from estim.tui.screens.library import LibraryScreen

        self.app.push_screen(LibraryScreen(is_demo=True))

    def action_profiles(self) -> None:
        """Open the profiles and the bench."""
        from estim.tui.screens.library import LibraryScreen

        self.app.push_screen(LibraryScreen())

    def action_records(self) -> None:
        """Open the records."""
        from estim.tui.screens.records import RecordsScreen

        self.app.push_screen(RecordsScreen())
