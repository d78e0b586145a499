"""A note of several lines to edit; nothing that is typed or pasted can move the cursor.

Rules:
1. Every edit passes `words.safe_lines`: no control and no direction character is ever drawn, and no
   sign that could be taken for a beat.
2. Space and x are typed here; the strip says which keys stop meanwhile.
"""

from __future__ import annotations

from dataclasses import replace

from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from estim.tui import words

_TAB_CELLS = 4


def plain_lines(text: str) -> str:
    """Return lines that may be drawn and kept: other systems' line ends and tabs become ours."""
    return words.safe_lines("\n".join(text.expandtabs(_TAB_CELLS).splitlines()))


class NoteArea(TextArea):
    """Edit a note."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name, soft_wrap=True, tab_behavior="focus", compact=True)
        self.cursor_blink = False

    def edit(self, edit: Edit) -> EditResult:
        """Make an edit, of what may be drawn."""
        ends_line = edit.text.endswith(("\n", "\r"))
        plain = plain_lines(edit.text) + ("\n" if ends_line else "")
        return super().edit(replace(edit, text=plain))

    def fill(self, text: str) -> None:
        """Begin anew with a text."""
        self.load_text(plain_lines(text))
