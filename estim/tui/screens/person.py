"""One person: the plan, the last visits, how outcomes went, and the next visit.

Rules:
1. What is shown comes from the records alone; a damaged one is shown as such.
2. Nothing is begun here but a visit, by a key, with a protocol that is named on screen.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import ScreenResume
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from estim.errors import EstimError
from estim.tui import words
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.widgets.choices import ChoiceList

if TYPE_CHECKING:
    from estim.tui.people import PersonView, Section
    from estim.visit.protocol import LoadedProtocol


class PersonScreen(EstimScreen[None]):
    """Show a person, and begin a visit."""

    TITLE_WORDS = "Person"
    HELP_LINES: ClassVar[HelpLines] = (
        ("v", "begin a visit by the protocol that is proposed"),
        ("up, down, Enter", "begin a visit by another protocol"),
        ("p", "make or change the plan; inside a visit alone"),
        ("PgUp, PgDn", "scroll plan, visits and trends"),
        ("Esc", "back to today"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "begin", "Begin visit"),
        Binding("p", "plan", "Plan"),
        Binding("pageup", "scroll(-1)", show=False, priority=True),
        Binding("pagedown", "scroll(1)", show=False, priority=True),
        Binding("escape", "leave", "Today"),
    ]

    def __init__(self, pseudonym: str) -> None:
        super().__init__()
        self._pseudonym = pseudonym
        self._protocols: tuple[LoadedProtocol, ...] = ()
        self._proposed: LoadedProtocol | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(Content.styled(words.safe(self._pseudonym), "bold"), id="person-head")
        with Horizontal(id="person-view"):
            with Vertical(id="person-left"):
                yield Static("Begin a visit", classes="label")
                yield ChoiceList(id="protocols")
            with VerticalScroll(id="person-right", can_focus=False):
                yield Static("Reading the records …", id="person-words", markup=False)

    def on_mount(self) -> None:
        self.query_one("#protocols").focus()
        self.look()

    def look(self) -> None:
        """Read the person's records."""
        self.run_worker(self._look(), exclusive=True, group="look")

    async def _look(self) -> None:
        from estim.tui import people

        visiting = self.estim.visiting
        try:
            view: PersonView = await asyncio.to_thread(
                lambda: people.view(visiting.records, self._pseudonym, visiting.key())
            )
        except EstimError as error:
            await self._show((people.Section("The records cannot be read", (str(error),)),))
            return
        self._protocols, self._proposed = view.protocols, view.proposed
        choices = self.query_one("#protocols", ChoiceList)
        choices.clear_options()
        choices.add_options([Option(self._label(loaded)) for loaded in view.protocols])
        if view.proposed is not None:
            choices.highlighted = view.protocols.index(view.proposed)
        await self._show(view.sections)

    async def _show(self, sections: tuple[Section, ...]) -> None:
        """Show headings, plots and lines, one below the other."""
        from estim.tui.widgets.plot import Plot

        right = self.query_one("#person-right", VerticalScroll)
        shown: list[Widget] = []
        for section in sections:
            shown.append(Static(Content.styled(words.safe(section.title), "bold")))
            if section.trace is not None:
                plot = Plot(classes="trend")
                plot.show(section.trace)
                shown.append(plot)
            shown.append(Static("\n".join(map(words.safe, (*section.lines, ""))), markup=False))
        async with self.batch():
            await right.remove_children()
            await right.mount_all(shown)

    def _label(self, loaded: LoadedProtocol) -> Content:
        sign = "v " if loaded == self._proposed else "  "
        return Content.assemble((sign, "bold $accent"), words.safe(loaded.protocol.title))

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        if self.is_mounted:
            self.look()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.estim.visiting.ask_to_begin(self._pseudonym, self._protocols[event.option_index])

    def action_begin(self) -> None:
        """Begin a visit by the proposed protocol."""
        if self._proposed is not None:
            self.estim.visiting.ask_to_begin(self._pseudonym, self._proposed)
        elif not self._protocols:
            self.notify("The records are still being read.")
        else:
            self.notify("Choose a protocol: nothing is planned yet.")

    def action_plan(self) -> None:
        """Make or change the plan, where a visit of this person goes on."""
        sitting = self.estim.visiting.sitting
        if sitting is None or sitting.visit.pseudonym != self._pseudonym:
            self.notify("A plan belongs to a visit's record: begin the visit, then F11.")
            return
        from estim.tui.screens.plan import PlanScreen

        self.app.push_screen(PlanScreen(sitting))

    def action_scroll(self, direction: int) -> None:
        """Scroll what is shown of the person."""
        right = self.query_one("#person-right", VerticalScroll)
        right.scroll_relative(y=direction * max(1, right.size.height - 2), animate=False)

    def action_leave(self) -> None:
        """Go back."""
        self.dismiss(None)
