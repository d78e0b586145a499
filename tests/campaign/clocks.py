"""Clocks that go wrong: fast or slow, stopped while the machine sleeps, and a wall that leaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MILLION = 1_000_000
DRIFT_MAX_PPM = 50_000
"""5 %, either way: the most that hazards.md asks of any clock."""


class DriftingClock:
    """A counter of microseconds that runs fast or slow against true time."""

    def __init__(self, true_us: int = 0, ppm: int = 0) -> None:
        self._true_us = true_us
        self._local_us = 0
        self.ppm = ppm
        self._history: list[tuple[int, int, int]] = []

    def at(self, true_us: int) -> int:
        """Return what the clock shows at a true time from the last change on."""
        return self._local_us + (true_us - self._true_us) * (MILLION + self.ppm) // MILLION

    def when(self, local_us: int) -> int:
        """Return the first true time at which the clock shows that much."""
        ahead_us = local_us - self._local_us
        return self._true_us - -ahead_us * MILLION // (MILLION + self.ppm)

    def was(self, local_us: int) -> int:
        """Return the true time at which the clock showed that much, at any rate it has had."""
        for began_local_us, began_us, ppm in reversed(self._history):
            if local_us < self._local_us and local_us >= began_local_us:
                return began_us - -(local_us - began_local_us) * MILLION // (MILLION + ppm)
        return self.when(local_us)

    def drift(self, true_us: int, ppm: int) -> None:
        """Run at another rate from now on."""
        self._history.append((self._local_us, self._true_us, self.ppm))
        self._local_us, self._true_us, self.ppm = self.at(true_us), true_us, ppm


class HostClock:
    """What `estim.clock.Clock` asks for, over a true time that somebody else moves."""

    EPOCH = datetime(2001, 1, 1, tzinfo=UTC)

    def __init__(self, true_us: int, ppm: int) -> None:
        self.true_us = true_us
        self.clock = DriftingClock(true_us, ppm)
        self._slept_us = 0
        self._awake_after_us = 0
        self.wall_offset_s = 0

    def now_us(self) -> int:
        return self.clock.at(self.true_us - self._slept_us)

    def boot_us(self) -> int:
        return self.now_us() + self._slept_us

    def wall(self) -> datetime:
        return self.EPOCH + timedelta(microseconds=self.boot_us(), seconds=self.wall_offset_s)

    def when(self, now_us: int) -> int:
        """Return the true time at which `now_us` will be shown, if nobody sleeps until then."""
        return self.clock.when(now_us) + self._slept_us

    def drift(self, ppm: int) -> None:
        self.clock.drift(self.true_us - self._slept_us, ppm)

    def sleep(self, duration_us: int) -> None:
        """Let the monotonic clock leave out what has passed; boot time has it."""
        self._slept_us += duration_us
