"""Where a job speaks to a person, or finds what was answered before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Desk(Protocol):
    """A person at a terminal, or nobody."""

    @property
    def is_attended(self) -> bool:
        """Tell whether there is somebody who can answer."""

    def say(self, text: str) -> None:
        """Say one line."""

    def tell(self, event: str, **fields: Any) -> None:
        """Write one line for programs."""

    def ask(self, name: str, question: str, choices: Sequence[str] = ()) -> str:
        """Ask, and return what was typed: one of `choices`, or any line where there are none.

        Raises:
            UsageError: nobody is there, saying which answer is missing.
            Interrupted: somebody asked to end instead.
        """
