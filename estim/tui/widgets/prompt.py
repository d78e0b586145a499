"""The question that is asked now, with the keys that answer it; above it nothing is covered."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from estim.visit.prompts import Prompt


class PromptPanel(Static):
    """Show a prompt while there is one."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._shown: tuple[Prompt | None, int] = (None, 0)

    def show(self, prompt: Prompt | None, more: int) -> None:
        """Show a prompt, and how many more wait; hide without one."""
        self.display = prompt is not None
        if (prompt, more) == self._shown:
            return
        self._shown = (prompt, more)
        if prompt is not None:
            self.update(_text(prompt, more))


def _text(prompt: Prompt, more: int) -> Content:
    keys: list[str | tuple[str, str]] = []
    for answer in prompt.wording.answers:
        keys += [(f" {answer.key} ", "bold reverse"), f" {answer.words}   "]
    waiting = f"   (+{more} more)" if more else ""
    return Content.assemble(
        ("? ", "bold"),
        ("OVERDUE: " if prompt.is_overdue else "", "bold $warning"),
        (prompt.wording.question, "bold"),
        (f"{waiting}\n", "dim"),
        *keys,
    )
