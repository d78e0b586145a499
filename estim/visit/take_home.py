"""Write the sheet that a person takes home: what was explained, exercises, when to call.

Rules:
1. It names the pseudonym, and nothing else of the person: no finding, no diagnosis, no operator.
2. Only points that were explained and exercises that were done in this visit stand on it.
3. Lines are short (`COLUMNS`), so that it can be printed large; the PDF is.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from estim.text import sanitize
from estim.visit.account import Account
from estim.visit.fold import REVIEW, Confirmed
from estim.visit.protocol import Exercise

COLUMNS = 40
PRINT_PT = 18

WHEN_TO_CALL = (
    "a blister, a burn or broken skin where a pad was",
    "redness that is still there half an hour after the pads came off",
    "pain that is new or stronger than before",
    "dizziness, a pounding or uneven heart, or trouble breathing: call emergency services",
)
"""When to call [K]: redness by the rule for the skin after stimulation, the rest what stops it."""

NOT_CERTIFIED = (
    "The stimulation was given with Estim, which is not a certified medical device. This sheet "
    "does not replace the advice of your therapist."
)
CALL_LINE = "Number to call: ____________________"


@dataclass(frozen=True, slots=True)
class Part:
    """A title and its points; `is_list` where each point stands by itself."""

    title: str
    points: tuple[str, ...]
    is_list: bool = True


def parts(account: Account) -> tuple[Part, ...]:
    """Return the parts of the sheet, in order."""
    day = f"{account.on:%Y-%m-%d}" if account.on else ""
    following = [
        sanitize(answer)
        for step in account.latest(REVIEW)
        if isinstance(answer := step.answers.get("next-visit"), str) and answer.strip()
    ]
    found = [
        Part("For you to take home", (f"{account.pseudonym}   {day}".strip(),), is_list=False),
        Part("What we talked about", tuple(_points(account))),
        Part("Your exercises", tuple(_exercises(account))),
        Part("Call us at once for", (*WHEN_TO_CALL, CALL_LINE)),
        Part("Next visit", tuple(following) or ("not arranged yet",), is_list=False),
        Part("", (NOT_CERTIFIED,), is_list=False),
    ]
    return tuple(part for part in found if part.points)


def to_text(account: Account) -> str:
    """Return the sheet as text, to be printed large."""
    lines = []
    for part in parts(account):
        lines += [part.title.upper(), ""] if part.title else []
        for point in part.points:
            first, later = ("* ", "  ") if part.is_list else ("", "")
            lines += textwrap.wrap(point, COLUMNS, initial_indent=first, subsequent_indent=later)
        lines.append("")
    return "\n".join(lines)


def _points(account: Account) -> Iterable[str]:
    for confirmed in account.latest("educate"):
        step = account.step(confirmed.step)
        for number, point in enumerate(step.points if step else (), start=1):
            if confirmed.answers.get("explained") is True or (
                confirmed.answers.get(f"point-{number}") is True
            ):
                yield sanitize(point)


def _exercises(account: Account) -> Iterable[str]:
    for confirmed in account.latest("exercise"):
        for exercise in _done(account, confirmed):
            yield sanitize(f"{exercise.name}: {exercise.do} {exercise.dose}.")


def _done(account: Account, confirmed: Confirmed) -> list[Exercise]:
    step = account.step(confirmed.step)
    return [
        exercise
        for number, exercise in enumerate(step.exercises if step else (), start=1)
        if confirmed.answers.get(f"done-{number}") is True
    ]
