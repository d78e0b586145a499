"""Choose what a record is written as, and to which file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.tui.archive import Export, exports_of
from estim.tui.screens.base import EstimModal, HelpLines
from estim.tui.widgets.choices import ChoiceList

Chosen = tuple[Export, str]
"""The way, and the file as it was typed."""


class ExportScreen(EstimModal["Chosen | None"]):
    """Give a way and a file, or None."""

    TITLE_WORDS = "Export"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down, Enter", "choose the format"),
        ("Enter", "in the field: write the file"),
        ("Esc", "back"),
    )

    def __init__(self, session_id: str, record_kind: str) -> None:
        super().__init__()
        self._session_id = session_id
        self._exports = exports_of(record_kind)

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            yield Static("Export this record", classes="heading")
            yield ChoiceList(id="formats")
            yield Static("File; one that is there is never replaced", classes="label")
            yield Input(id="target", compact=True, max_length=1000)

    def on_mount(self) -> None:
        formats = self.query_one("#formats", ChoiceList)
        formats.add_options([Option(export.words) for export in self._exports])
        formats.highlighted = 0
        formats.focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        ending = self._exports[event.option_index].ending
        self.query_one("#target", Input).value = str(Path("~") / f"{self._session_id}{ending}")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.query_one("#target", Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        place = self.query_one("#formats", ChoiceList).highlighted
        typed = event.value.strip()
        if place is not None and typed:
            self.dismiss((self._exports[place], typed))
