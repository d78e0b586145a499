"""Ask a person: questions, the answers that they take, and what is still open.

Rules:
1. An answer is what a record can hold: true or false, a whole number, or one line of plain text.
   A decimal is kept as it was typed, so nothing is rounded on the way.
2. Nothing is answered by default: what was not answered is missing.
3. A form is a tuple of questions. Where answers lead to further questions, whoever makes the form
   makes it anew from the answers so far.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from estim.errors import UsageError
from estim.text import sanitize

TEXT_MAX = 2000
_DECIMAL = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,3})?")

Answer = bool | int | str
Answers = Mapping[str, Answer]


class Kind(StrEnum):
    """What kind of answer a question takes."""

    YES_NO = "yes-no"
    CHOICE = "choice"
    WHOLE = "whole"
    DECIMAL = "decimal"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several answers: the id is kept, the words are read."""

    id: str
    words: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        id: stable; records hold it.
        words: as it is read out, ending in a question mark or a colon.
        choices: for CHOICE, in order.
        minimum, maximum: for WHOLE and DECIMAL, in `unit`; both ends are allowed.
        note: why it is asked, with source and certainty.
        is_optional: may stay unanswered.
    """

    id: str
    words: str
    kind: Kind
    choices: tuple[Choice, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    unit: str = ""
    note: str = ""
    is_optional: bool = False

    @property
    def expected(self) -> str:
        """Say what an answer looks like."""
        if self.kind is Kind.YES_NO:
            return "yes or no"
        if self.kind is Kind.CHOICE:
            return "one of " + ", ".join(choice.id for choice in self.choices)
        if self.kind is Kind.TEXT:
            return f"one line of at most {TEXT_MAX} characters"
        number = "a whole number" if self.kind is Kind.WHOLE else "a number with at most 3 decimals"
        low = "" if self.minimum is None else f" from {self.minimum}"
        high = "" if self.maximum is None else f" to {self.maximum}"
        return f"{number}{low}{high}{' ' + self.unit if self.unit else ''}"

    def words_of(self, answer: Answer) -> str:
        """Return an answer as people read it."""
        if self.kind is Kind.YES_NO:
            return "yes" if answer else "no"
        if self.kind is Kind.CHOICE:
            return next((c.words for c in self.choices if c.id == answer), str(answer))
        return f"{answer} {self.unit}" if self.unit else str(answer)


Form = tuple[Question, ...]


class Gravity(StrEnum):
    """What a remark does: forbids, asks for care, or only informs."""

    STOP = "stop"
    CARE = "care"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Remark:
    """What answers mean, in words."""

    gravity: Gravity
    text: str


def check(question: Question, answer: object) -> Answer:
    """Return an answer that the question takes.

    Raises:
        UsageError: it takes another; the message names question, answer and what was expected.
    """
    if question.kind is Kind.YES_NO and isinstance(answer, bool):
        return answer
    if question.kind is Kind.WHOLE and type(answer) is int and _is_within(question, answer):
        return answer
    if isinstance(answer, str) and len(answer) <= TEXT_MAX and sanitize(answer) == answer:
        if question.kind is Kind.CHOICE and any(c.id == answer for c in question.choices):
            return answer
        if question.kind is Kind.TEXT and answer.strip():
            return answer
        if (
            question.kind is Kind.DECIMAL
            and _DECIMAL.fullmatch(answer)
            and _is_within(question, float(answer))
        ):
            return answer
    shown = sanitize(repr(answer))[:80]
    raise UsageError(f"{question.id}: {shown} given, {question.expected} expected")


def parse(question: Question, typed: str) -> Answer:
    """Return what a person typed as an answer: y and n, a choice's number or id, a number, text.

    Raises:
        UsageError: as `check`.
    """
    plain = " ".join(typed.split())
    if question.kind is Kind.YES_NO:
        spoken = {"y": True, "yes": True, "n": False, "no": False}
        return check(question, spoken.get(plain.lower(), plain))
    if question.kind is Kind.CHOICE and plain.isdecimal() and len(plain) <= 2:
        number = int(plain)
        if 1 <= number <= len(question.choices):
            return question.choices[number - 1].id
    if question.kind is Kind.WHOLE and re.fullmatch(r"-?[0-9]{1,9}", plain):
        return check(question, int(plain))
    if question.kind is Kind.DECIMAL:
        plain = plain.replace(",", ".")
    return check(question, plain)


def missing(form: Sequence[Question], answers: Answers) -> tuple[Question, ...]:
    """Return the questions that must be answered and are not."""
    return tuple(each for each in form if each.id not in answers and not each.is_optional)


def check_all(form: Sequence[Question], answers: Mapping[str, object]) -> dict[str, Answer]:
    """Return answers to a whole form.

    Raises:
        UsageError: an answer is missing, belongs to no question, or is not what was expected.
    """
    by_id = {question.id: question for question in form}
    for name in answers:
        if name not in by_id:
            raise UsageError(f"{sanitize(name)[:80]}: there is no such question")
    checked = {name: check(by_id[name], answer) for name, answer in answers.items()}
    for question in missing(form, checked):
        raise UsageError(f"{question.id}: not answered; {question.expected} expected")
    return checked


def _is_within(question: Question, number: float) -> bool:
    low, high = question.minimum, question.maximum
    return (low is None or number >= low) and (high is None or number <= high)
