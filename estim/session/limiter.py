"""Keep a flood from a device out of record and display."""

from __future__ import annotations


class Limiter:
    """Let through at most `count_max` in each period, and count what was held back."""

    def __init__(self, period_us: int, count_max: int) -> None:
        self._period_us = period_us
        self._count_max = count_max
        self._began_us = -period_us
        self._let_through = 0
        self._held_back = 0

    def take(self, now_us: int) -> int | None:
        """Return how many were held back before this one, or None to hold it back as well."""
        if now_us - self._began_us >= self._period_us:
            self._began_us, self._let_through = now_us, 0
        if self._let_through >= self._count_max:
            self._held_back += 1
            return None
        self._let_through += 1
        held_back, self._held_back = self._held_back, 0
        return held_back
