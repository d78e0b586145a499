"""The one place that reads a clock.

Rules:
1. Control uses the monotonic clock, in whole microseconds. Wall time only stamps records.
2. Boot time keeps running while the machine sleeps; the monotonic clock does not. Their
   difference tells a suspend.
3. Everything else takes `now_us` as an argument.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tell the three times that Estim needs."""

    def now_us(self) -> int:
        """Return monotonic time in microseconds."""

    def boot_us(self) -> int:
        """Return time since boot, sleep included, in microseconds."""

    def wall(self) -> datetime:
        """Return the wall-clock time, in UTC."""


class SystemClock:
    """Read the machine's clocks."""

    def now_us(self) -> int:
        return time.monotonic_ns() // 1000

    def boot_us(self) -> int:
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        return self.now_us()

    def wall(self) -> datetime:
        return datetime.now(UTC)


class VirtualClock:
    """Stand still until told to advance; the same steps give the same times."""

    EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

    def __init__(self, start_us: int = 0) -> None:
        self._now_us = start_us

    def now_us(self) -> int:
        return self._now_us

    def boot_us(self) -> int:
        return self._now_us

    def wall(self) -> datetime:
        return self.EPOCH + timedelta(microseconds=self._now_us)

    def advance_to(self, now_us: int) -> None:
        """Move to `now_us`; going backwards is a programming error and raises ValueError."""
        if now_us < self._now_us:
            raise ValueError(f"the clock cannot go back from {self._now_us} to {now_us} us")
        self._now_us = now_us
