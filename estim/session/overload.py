"""Tell an overloaded computer before it trips the device's lease.

Rules:
1. Over 150 ms between two written Drives: warn, and ask the interface to draw less for a while.
2. Over 200 ms twice within 10 s: the session must ramp to zero and be re-armed by a key.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

LATE_US = 150_000
VERY_LATE_US = 200_000
VERY_LATE_COUNT = 2
VERY_LATE_WINDOW_US = 10_000_000
DRAW_LESS_US = 10_000_000


class Lateness(Enum):
    """What one interval between Drives means."""

    NONE = 0
    WARN = 1
    STOP = 2


class Overload:
    """Watch the intervals between written Drives while energised."""

    def __init__(self) -> None:
        self._written_us: int | None = None
        self._very_late_us: deque[int] = deque()
        self._draw_less_until_us = 0

    def reset(self) -> None:
        """Forget the last Drive: no interval counts across a stop."""
        self._written_us = None

    def written(self, at_us: int) -> Lateness:
        """Judge the interval that ends with a Drive written at `at_us`."""
        before_us, self._written_us = self._written_us, at_us
        if before_us is None or at_us - before_us <= LATE_US:
            return Lateness.NONE
        self._draw_less_until_us = at_us + DRAW_LESS_US
        if at_us - before_us > VERY_LATE_US:
            self._very_late_us.append(at_us)
        while self._very_late_us and at_us - self._very_late_us[0] > VERY_LATE_WINDOW_US:
            self._very_late_us.popleft()
        if len(self._very_late_us) >= VERY_LATE_COUNT:
            self._very_late_us.clear()
            return Lateness.STOP
        return Lateness.WARN

    def is_draw_less(self, now_us: int) -> bool:
        """Tell whether the interface shall draw less now."""
        return now_us < self._draw_less_until_us
