"""The question that is asked now, with the keys that answer it; above it nothing is covered."""

from __future__ import annotations

from textual.content import Content
from textual.style import Style
from textual.widgets import Static

from estim.visit.prompts import AnswerKey, Prompt


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
        Content.assemble(_key(answer), f" {answer.words}") for answer in prompt.wording.answers
    ]
    return Content("\n").join([Content.styled(f"? {prompt.topic.value}", "bold"), *lines])


def _text(prompt: Prompt, more: int) -> Content:
    keys: list[str | Content] = []
    for answer in prompt.wording.answers:
        keys += [_key(answer), f" {answer.words}   "]
    waiting = f"   (+{more} more)" if more else ""
    return Content.assemble(
        ("? ", "bold"),
        ("OVERDUE: " if prompt.is_overdue else "", "bold $warning"),
        (prompt.wording.question, "bold"),
        (f"{waiting}\n", "dim"),
        *keys,
    )


def _key(answer: AnswerKey) -> Content:
    """Return an answer's key, which the mouse may press as well."""
    click = Style.from_meta({"@click": f"screen.answer('{answer.key}')"})
    return Content.styled(f" {answer.key} ", "bold reverse").stylize(click)
