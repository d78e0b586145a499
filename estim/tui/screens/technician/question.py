"""A question that a job asks while it runs; the stop key works, and ends the job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.tui import words
from estim.tui.screens.base import EstimModal, HelpLines
from estim.tui.widgets.choices import ChoiceList


class QuestionScreen(EstimModal[None]):
    """Answer with one of the choices, or with a line where there are none."""

    TITLE_WORDS = "The job asks"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down, Enter", "answer"),
        ("Esc", "end the job"),
    )
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        question: str,
        choices: Sequence[str],
        on_answer: Callable[[str], None],
        on_refusal: Callable[[], None],
    ) -> None:
        super().__init__()
        self._question = question
        self._choices = choices
        self._on_answer = on_answer
        self._on_refusal = on_refusal

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            yield Static(words.safe(self._question), markup=False)
            if self._choices:
                yield ChoiceList(id="answers")
            else:
                yield Input(id="answer", compact=True, max_length=200)

    def on_mount(self) -> None:
        if not self._choices:
            self.query_one("#answer").focus()
            return
        shelf = self.query_one("#answers", OptionList)
        shelf.add_options([Option(word, word) for word in self._choices])
        shelf.focus()  # nothing is marked: an answer is chosen, never merely confirmed

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._answer(event.option_id or "")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._answer(event.value.strip())

    def _answer(self, word: str) -> None:
        self._on_answer(word)
        self.dismiss(None)

    def action_leave(self) -> None:
        """Answer nothing and end the job."""
        self._on_refusal()
        self.dismiss(None)
