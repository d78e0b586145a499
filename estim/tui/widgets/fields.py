"""A line of a form: its label and its field."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static


class Field(Horizontal):
    """A labelled text field; `typed` is what stands in it, without blanks around."""

    def __init__(self, id: str, label: str, value: str = "", placeholder: str = "") -> None:
        super().__init__(classes="fields field")
        self._label = label
        self._input = Input(
            value=value, placeholder=placeholder, id=id, compact=True, max_length=400
        )

    def compose(self) -> ComposeResult:
        yield Static(self._label, markup=False)
        yield self._input

    @property
    def typed(self) -> str:
        """Return what stands in the field."""
        return self._input.value.strip()
