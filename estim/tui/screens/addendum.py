"""Write an addendum to a closed record: why, what, about which event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.record.addenda import MAX_TEXT_CHARS
from estim.record.lines import REASSIGNED
from estim.tui import words
from estim.tui.screens.base import EstimModal, HelpLines
from estim.tui.widgets.choices import ChoiceList

REASONS = (
    ("correction", "correction of what was recorded"),
    ("added later", "something that was not recorded"),
    (REASSIGNED, "belongs to another person: the text is that person's pseudonym"),
)


@dataclass(frozen=True, slots=True)
class Addendum:
    """What a person gave; `event_seq` None for the whole session."""

    why: str
    text: str
    event_seq: int | None


class AddendumScreen(EstimModal["Addendum | None"]):
    """Give an addendum, or None.

    Args:
        who: id of who signed in.
        event_seq: the event that was marked, if any.
    """

    TITLE_WORDS = "Addendum"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down, Enter", "choose the reason"),
        ("Tab", "next field"),
        ("Enter", "in the text: write it into the record"),
        ("Esc", "back, nothing is written"),
    )

    def __init__(self, who: str, event_seq: int | None) -> None:
        super().__init__()
        self._who = who
        self._seq = event_seq
        self._why = ""

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            who = words.safe(self._who)
            yield Static(f"{who} adds to this record", classes="heading", markup=False)
            yield ChoiceList(id="reasons")
            yield Static("About event number, empty for the whole session", classes="label")
            seq = "" if self._seq is None else str(self._seq)
            yield Input(seq, id="about", compact=True, max_length=9, type="integer")
            yield Static("What is added", classes="label")
            yield Input(id="added", compact=True, max_length=MAX_TEXT_CHARS)
            yield Static("Nothing is changed; it cannot be taken back.", id="addendum-words")

    def on_mount(self) -> None:
        reasons = self.query_one("#reasons", ChoiceList)
        reasons.add_options([Option(said, name) for name, said in REASONS])
        reasons.highlighted = 0
        reasons.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._why = str(event.option_id)
        self.query_one("#added").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "about":
            self.query_one("#added").focus()
            return
        about = self.query_one("#about", Input).value.strip()
        text = self.query_one("#added", Input).value.strip()
        if not self._why:
            self._complain("Choose the reason first.")
        elif about and not (about.isascii() and about.isdecimal()):
            self._complain("The event is named by its number.")
        elif text:
            self.dismiss(Addendum(self._why, text, int(about) if about else None))

    def _complain(self, said: str) -> None:
        self.query_one("#addendum-words", Static).update(said)
