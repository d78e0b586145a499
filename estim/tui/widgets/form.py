"""A form of a visit: its questions, one after the other, each answered by a key or typed.

Rules:
1. Nothing is answered by default, and nothing is confirmed by answering: Enter on the last line
   confirms the whole form, and until then every answer can be taken back.
2. Where there is nothing to type, Space and x stay the stop keys; the answers are y, n and digits.
3. What the answers mean is asked of the form's owner after each, and stands below the questions.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click, Key, Resize
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.errors import UsageError
from estim.tui import words
from estim.tui.widgets.choices import ChoiceList
from estim.tui.widgets.scale import ScaleRow
from estim.visit.questions import (
    Answer,
    Answers,
    Form,
    Gravity,
    Kind,
    Question,
    Remark,
    check,
    missing,
    parse,
)

_SCALE_MAX = 10
"""Whole numbers up to this are chosen by one key: 0 to 9, and t for ten."""
_YES, _NO, _CONFIRM = "yes", "no", "confirm"


class AnswerField(Input):
    """Where numbers and text are typed; up and down go to the question before and after."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "go(-1)", show=False),
        Binding("down", "go(1)", show=False),
    ]

    def action_go(self, steps: int) -> None:
        """Go to the question before or after."""
        self.query_ancestor(FormView).move(steps)


class FormView(Vertical):
    """Ask a form.

    Args:
        make_form: returns the form for the answers so far.
        judge: returns what the answers mean.
        held: says why a question is not answered by hand, '' where it is.
        kept: answers that somebody gave before and may change now; of a plan, never of a visit.
    """

    @dataclass
    class Changed(Message):
        """An answer was given or taken back."""

        answers: dict[str, Answer]

    @dataclass
    class Confirmed(Message):
        """The whole form was confirmed."""

        answers: dict[str, Answer]

    def __init__(
        self,
        make_form: Callable[[Answers], Form],
        judge: Callable[[Answers], Sequence[Remark]] = lambda answers: (),
        held: Callable[[Question], str] = lambda question: "",
        kept: Answers | None = None,
    ) -> None:
        super().__init__(classes="form")
        self._make_form = make_form
        self._judge = judge
        self._held = held
        self._answers: dict[str, Answer] = dict(kept or {})
        self._passed: set[str] = set()
        self._order: list[str] = []
        self._at = 0
        self._complaint = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="form-questions", can_focus=False):
            yield Static(id="questions", markup=False)
            yield Static(id="remarks", markup=False)
        yield Static(id="asked", markup=False)
        yield ChoiceList(id="choices")
        yield ScaleRow(id="scale")
        yield AnswerField(id="typed", compact=True)

    def on_mount(self) -> None:
        self._show(moves_focus=True)

    def on_resize(self, event: Resize) -> None:
        self._show(moves_focus=False)

    # What is asked.

    @property
    def form(self) -> Form:
        """Return the questions that the answers so far lead to."""
        return self._make_form(self._answers)

    @property
    def answers(self) -> dict[str, Answer]:
        """Return the answers to the questions that are asked now."""
        asked = {question.id for question in self.form}
        return {name: each for name, each in self._answers.items() if name in asked}

    @property
    def current(self) -> Question | None:
        """Return the question that is asked; None on the line that confirms."""
        form = self.form
        return form[self._at] if self._at < len(form) else None

    def answer(self, answer: Answer) -> None:
        """Take an answer to the current question and go on."""
        question = self.current
        if question is None:
            return
        self._answers[question.id] = answer
        self._order = [*(name for name in self._order if name != question.id), question.id]
        self._complaint = ""
        self._go_on()
        self.post_message(self.Changed(self.answers))

    def _give(self, answer: Answer) -> None:
        """Take an answer that was given by hand, where it may be."""
        question = self.current
        why = self._held(question) if question is not None else ""
        if why:
            self.complain(why)
        else:
            self.answer(answer)

    def undo(self) -> None:
        """Take back the newest answer, and ask again."""
        if not self._order:
            return
        name = self._order.pop()
        self._answers.pop(name, None)
        self._passed.discard(name)
        ids = [question.id for question in self.form]
        self._at = ids.index(name) if name in ids else 0
        self._complaint = ""
        self._show(moves_focus=True)
        self.post_message(self.Changed(self.answers))

    def move(self, steps: int) -> None:
        """Go to another question without answering."""
        self._at = max(0, min(len(self.form), self._at + steps))
        self._complaint = ""
        self._show(moves_focus=True)

    def complain(self, text: str) -> None:
        """Say what was wrong with what was typed."""
        self._complaint = text
        self._show(moves_focus=False)

    def offer(self, typed: str) -> bool:
        """Type something where a number with places is asked for; tell whether it is."""
        question = self.current
        if question is None or question.kind is not Kind.DECIMAL:
            return False
        self.query_one(AnswerField).value = typed
        return True

    def _confirm(self) -> None:
        """Confirm the whole form; where an answer is missing, go there instead."""
        form = self.form
        open_ids = {question.id for question in missing(form, self.answers)}
        if open_ids:
            self._at = next(index for index, each in enumerate(form) if each.id in open_ids)
            self.complain("this is not answered yet")
            self._show(moves_focus=True)
        else:
            self.post_message(self.Confirmed(self.answers))

    def _go_on(self) -> None:
        """Ask the next question that is open, from here and then from the start."""
        form = self.form
        opened = [
            index
            for index, question in enumerate(form)
            if question.id not in self._answers and question.id not in self._passed
        ]
        later = [index for index in opened if index > self._at]
        self._at = min(later, default=min(opened, default=len(form)))
        self._show(moves_focus=True)

    # Keys, clicks, typing.

    def on_key(self, event: Key) -> None:
        question = self.current
        is_typing = isinstance(self.screen.focused, Input)
        if event.key == "ctrl+z":
            self.undo()
        elif event.key == "pageup" or (event.key == "left" and not is_typing):
            self.move(-1)
        elif event.key == "pagedown" or (event.key == "right" and not is_typing):
            self.move(1)
        elif is_typing:
            return
        elif event.character in ("u", "U") or event.key == "backspace":
            self.undo()
        elif question is None or event.character is None:
            return
        elif question.kind is Kind.YES_NO and event.character.lower() in ("y", "n"):
            self._give(event.character.lower() == "y")
        elif not _is_typed(question) and _is_scale(question) and event.character in "0123456789t":
            number = _SCALE_MAX if event.character == "t" else int(event.character)
            try:
                self._give(check(question, number))
            except UsageError as error:
                self.complain(str(error).partition(": ")[2])
        elif question.kind is Kind.CHOICE and event.character.isdecimal():
            index = int(event.character) - 1
            if not 0 <= index < len(question.choices):
                return
            self._give(question.choices[index].id)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        question = self.current
        if question is None:
            self._confirm()
        elif question.kind is Kind.YES_NO:
            self._give(event.option_id == _YES)
        elif event.option_id is not None:
            self._give(event.option_id)

    def on_scale_row_chosen(self, event: ScaleRow.Chosen) -> None:
        event.stop()
        self._give(event.number)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        question = self.current
        if question is None:
            return
        typed = event.value.strip()
        if not typed and question.is_optional:
            self._passed.add(question.id)
            self._order = [*(name for name in self._order if name != question.id), question.id]
            self._answers.pop(question.id, None)
            self._go_on()
            return
        try:
            self._give(parse(question, typed))
        except UsageError as error:
            self.complain(str(error).partition(": ")[2])

    def on_click(self, event: Click) -> None:
        """Ask the question that was clicked on."""
        questions = self.query_one("#questions", Static)
        if event.widget is questions and event.y <= len(self.form):
            self._at = event.y
            self._show(moves_focus=True)

    # Drawing.

    def _show(self, *, moves_focus: bool) -> None:
        if not self.query(AnswerField):
            return  # it is not composed yet, or is gone already; an answer counts all the same
        form = self.form
        question = self.current
        lines = [self._line(each, index == self._at) for index, each in enumerate(form)]
        if question is None:
            is_whole = not missing(form, self.answers)
            told = "all answered: Enter confirms, u takes back" if is_whole else "not all answered"
            lines.append(Content.styled(f"▸ {told}", "bold"))
        self.query_one("#questions", Static).update(Content("\n").join(lines))
        remarks = [self._remark(remark) for remark in self._judge(self.answers)]
        self.query_one("#remarks", Static).update(Content("\n").join(remarks))
        scroll = self.query_one(VerticalScroll)
        scroll.scroll_to(y=max(0, self._at - scroll.size.height // 2), animate=False)
        self._show_asked(question)
        self._show_answer_box(question, moves_focus=moves_focus)

    def _line(self, question: Question, is_current: bool) -> Content:
        given = self._answers.get(question.id)
        sign = "▸" if is_current else "✓" if given is not None else "·"
        style = "bold" if is_current else "" if given is None else "dim"
        answer = ""
        if given is not None:
            answer = f"  {words.safe(question.words_of(given))}"
        elif question.id in self._passed:
            answer = "  -"
        half = self.size.width // 2
        if len(answer) > half:
            answer = f"{answer[: half - 1]}…"
        room = max(10, self.size.width - len(answer) - 5)
        asked = words.safe(question.words)
        if len(asked) > room:
            asked = asked[: room - 1] + "…"
        return Content.assemble((f"{sign} {asked}", style), (answer, "bold"))

    def _remark(self, remark: Remark) -> Content:
        """Return what an answer means; what does not fit goes on below itself."""
        sign, style = _REMARKS[remark.gravity]
        room = max(20, self.size.width - 4)
        text = f"{sign} {words.safe(remark.text)}"
        return Content.styled(textwrap.fill(text, room, subsequent_indent="  "), style)

    def _show_asked(self, question: Question | None) -> None:
        shown = Content("")
        if question is not None:
            shown = Content.assemble(
                (words.safe(question.words), "bold"),
                (f"\n{words.safe(question.note)}" if question.note else "", "$secondary"),
            )
        if self._complaint:
            complaint = Content.styled(f"\n! {words.safe(self._complaint)}", "$warning")
            shown = Content.assemble(shown, complaint)
        self.query_one("#asked", Static).update(shown)

    def _show_answer_box(self, question: Question | None, *, moves_focus: bool) -> None:
        choices = self.query_one(ChoiceList)
        field = self.query_one(AnswerField)
        scale = self.query_one(ScaleRow)
        is_typed = question is not None and _is_typed(question)
        is_scale = question is not None and not is_typed and _is_scale(question)
        choices.display = not (is_typed or is_scale)
        scale.display = is_scale
        field.display = is_typed
        if question is not None and is_scale:
            scale.show(question.minimum or 0, question.maximum or 0)
        elif question is not None and is_typed:
            if moves_focus:
                given = self._answers.get(question.id)
                field.value = "" if given is None else str(given)
                expected = (
                    "type it, then Enter" if question.kind is Kind.TEXT else question.expected
                )
                leaves_out = "; Enter alone leaves it out" if question.is_optional else ""
                field.placeholder = f"{expected}{leaves_out}"
        else:
            choices.clear_options()
            choices.add_options(_options(question))
            choices.highlighted = 0 if question is None else None
        if moves_focus:
            (field if is_typed else scale if is_scale else choices).focus()


_REMARKS = {
    Gravity.STOP: (words.STOP_SIGN, "bold $error"),
    Gravity.CARE: (words.CARE_SIGN, "$warning"),
    Gravity.NOTE: (" ", "$secondary"),
}


def _is_scale(question: Question) -> bool:
    """Tell whether the answer is a whole number from 0 to ten at most."""
    low, high = question.minimum, question.maximum
    is_whole = question.kind is Kind.WHOLE
    return is_whole and low is not None and high is not None and 0 <= low <= high <= _SCALE_MAX


def _is_typed(question: Question) -> bool:
    if _is_scale(question) and not question.is_optional:
        return False
    return question.kind in (Kind.WHOLE, Kind.DECIMAL, Kind.TEXT)


def _options(question: Question | None) -> list[Option]:
    if question is None:
        return [Option("Confirm", _CONFIRM)]
    if question.kind is Kind.YES_NO:
        return [Option("y  yes", _YES), Option("n  no", _NO)]
    return [
        Option(f"{number if number <= 9 else ' '}  {words.safe(choice.words)}", choice.id)
        for number, choice in enumerate(question.choices, start=1)
    ]
