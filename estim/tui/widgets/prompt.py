"""The question that is asked now, with the keys that answer it; above it nothing is covered."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from estim.visit.prompts import Prompt


class PromptPanel(Static):
    """Show a prompt while there is one.

    Attributes:
        drawn: what is on screen, and so what an answer key answers.
    """

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.drawn: Prompt | None = None
        self._shown: tuple[Prompt | None, int, bool] = (None, 0, False)

    def show(self, prompt: Prompt | None, more: int, *, is_tiny: bool) -> None:
        """Show a prompt, and how many more wait; its keys alone where next to nothing fits."""
        self.drawn = prompt
        self.display = prompt is not None
        if (prompt, more, is_tiny) == self._shown:
            return
        self._shown = (prompt, more, is_tiny)
        if prompt is not None:
            self.update(_short(prompt) if is_tiny else _text(prompt, more))


def _short(prompt: Prompt) -> Content:
    lines = [
        Content.assemble((f" {answer.key} ", "bold reverse"), f" {answer.words}")
        for answer in prompt.wording.answers
    ]
    return Content("\n").join([Content.styled(f"? {prompt.topic.value}", "bold"), *lines])


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
