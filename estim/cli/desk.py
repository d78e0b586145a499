"""Ask a technician at the terminal; where nobody is there, say which answer is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from estim.cli.console import say_json
from estim.cli.interruption import Interruption
from estim.errors import UsageError
from estim.rig.jobs.delivery import Interrupted
from estim.text import sanitize

SCHEMA = "estim.verify/1"


class TerminalDesk:
    """A `Desk` on standard input and output."""

    def __init__(self, interruption: Interruption, *, is_json: bool, where: str, hint: str) -> None:
        self._interruption = interruption
        self._is_json = is_json
        self._where = where
        self._hint = hint
        self.is_attended = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Say one line; with --json people read standard error."""
        stream = sys.stderr if self._is_json else sys.stdout
        print(sanitize(text), file=stream, flush=True)

    def tell(self, event: str, **fields: Any) -> None:
        """Write one JSON line."""
        if self._is_json:
            say_json(SCHEMA, event=event, **fields)
            sys.stdout.flush()

    def ask(self, name: str, question: str, choices: Sequence[str] = ()) -> str:
        """Ask until the answer is one of the choices; see `Desk`."""
        shown = f"{question} [{'/'.join(choices)}] " if choices else f"{question} "
        if not self.is_attended:
            raise UsageError(
                f"{self._where}: nobody is there to answer {name}: {question} ({self._hint})"
            )
        while True:
            try:
                with self._interruption.waiting():
                    print(sanitize(shown), end="", file=sys.stderr, flush=True)
                    answer = sys.stdin.readline()
            except KeyboardInterrupt:
                raise Interrupted from None
            if not answer:
                raise UsageError(f"{name}: the input has ended before it was answered")
            if not choices or answer.strip().lower() in choices:
                return answer.strip().lower() if choices else answer.strip()
