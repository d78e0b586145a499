"""One event of a record with every field that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from estim.record.timeline import Entry
from estim.tui import words
from estim.tui.screens.base import EstimModal, HelpLines

LINES_MAX = 400
TEXT_MAX = 4000


class EventScreen(EstimModal[None]):
    """Show an event; `lines` instead of its own fields, where given."""

    TITLE_WORDS = "Event"
    HELP_LINES: ClassVar[HelpLines] = (("up, down", "scroll"), ("Enter, Esc", "back"))
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "leave", show=False)]

    def __init__(self, entry: Entry, lines: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__()
        self._entry = entry
        self._lines = lines

    def compose_body(self) -> ComposeResult:
        event = self._entry.event
        lines = list(self._lines)
        if event is not None and not lines:
            stamp = event.wall.isoformat(sep=" ", timespec="milliseconds")
            lines = [("event", str(event.seq)), ("at", self._entry.when), ("date", stamp)]
            lines += _fields(event.content, "")
        elif not lines:
            lines = [("at", self._entry.when), ("", self._entry.words)]
        left = len(lines) - LINES_MAX
        shown = [
            Content.assemble((f"{words.safe(name)}  ", "dim"), words.safe(said[:TEXT_MAX]))
            for name, said in lines[:LINES_MAX]
        ]
        shown += [Content(f"and {left} lines more: export shows all")] if left > 0 else []
        with VerticalScroll(classes="dialogue"):
            yield Static(words.safe(self._entry.kind), classes="heading", markup=False)
            yield Static(Content("\n").join(shown))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def _fields(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, held in content.items():
        if isinstance(held, dict):
            yield from _fields(held, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(held)
