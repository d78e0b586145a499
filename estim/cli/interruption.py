"""Take the signals that ask to end, so that output is stopped and nothing is torn."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interruption:
    """Remember the first signal that asks to end; former handlers return with the `with`."""

    def __init__(self) -> None:
        self.name = ""
        self._is_waiting = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._former[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: object) -> None:
        self.name = self.name or signal.Signals(number).name
        if self._is_waiting:
            raise KeyboardInterrupt

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let a signal raise KeyboardInterrupt: only where nothing flows and a person is asked."""
        self._is_waiting = True
        try:
            if self.name:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_waiting = False

    def reason(self) -> str:
        """Return why the session shall end, '' if it shall not."""
        return f"interrupted by {self.name}" if self.name else ""
