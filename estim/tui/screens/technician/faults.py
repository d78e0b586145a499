"""Let something go wrong at the simulator, live: each fault is recorded before it happens."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.tui import words
from estim.tui.fault_words import FAULTS, FaultKind
from estim.tui.screens.base import HelpLines
from estim.tui.screens.technician.base import TechnicianScreen
from estim.tui.widgets.choices import ChoiceList

INJECTED_SHOWN = 4


class FaultsScreen(TechnicianScreen):
    """Choose a fault, change its figures, send it."""

    TITLE_WORDS = "Faults of the simulator"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down", "choose a fault"),
        ("Enter", "to its figures; there: let it happen now"),
        ("Tab", "between list and figures"),
        ("Esc", "back to the bench"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "app.focus_next", "Other field")]

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="page"):
            yield Static("What shall go wrong?", classes="heading")
            yield ChoiceList(id="faults")
            yield Static("", id="fault-words", markup=False)
            yield Input(id="fault-line", compact=True, max_length=200)
            yield Static("", id="complaint", markup=False)
            yield Static("", id="injected", markup=False)

    def on_mount(self) -> None:
        shelf = self.query_one("#faults", OptionList)
        for fault in FAULTS:
            label = Content.assemble((f"{fault.verb:<14}", "bold"), (fault.arguments, "dim"))
            shelf.add_option(Option(label, fault.verb))
        shelf.highlighted = 0
        shelf.focus()
        self._tell_injected()

    @property
    def chosen(self) -> FaultKind:
        """Return the fault under the cursor."""
        return FAULTS[self.query_one("#faults", OptionList).highlighted or 0]

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self.query_one("#fault-line", Input).value = self.chosen.line
        self.query_one("#fault-words", Static).update(
            Content.assemble((f"{self.chosen.verb}: ", "bold"), self.chosen.words)
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.query_one("#fault-line").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        line = event.value.strip()
        self.attempt(lambda: self._inject(line))

    async def _inject(self, line: str) -> None:
        self.complain("")
        await self.link.inject(line)
        self._tell_injected()

    def _tell_injected(self) -> None:
        injected = self.link.injected
        rows = [Content.styled(f"Injected in this session: {len(injected)}", "dim")]
        rows += [
            Content.assemble(("✓ ", "$success"), words.safe(line))
            for line in injected[: -INJECTED_SHOWN - 1 : -1]
        ]
        self.query_one("#injected", Static).update(Content("\n").join(rows))
