"""What the engine's threads hand to its loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Job = Callable[[], None]


class Inbox:
    """Two lines of jobs for one loop; the urgent one always goes first."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._urgent: deque[Job] = deque()
        self._ordinary: deque[Job] = deque()

    def put(self, job: Job, is_urgent: bool = False) -> None:
        """Add a job; safe from any thread and from a signal handler."""
        with self._condition:
            (self._urgent if is_urgent else self._ordinary).append(job)
            self._condition.notify()

    def get(self, timeout_s: float) -> Job | None:
        """Return the next job, or None after the time-out."""
        with self._condition:
            if not (self._urgent or self._ordinary):
                self._condition.wait(timeout_s)
            if self._urgent:
                return self._urgent.popleft()
            return self._ordinary.popleft() if self._ordinary else None
