"""What reached the load while the kit ran, from a trace that grows meanwhile.

`t_us,channel,current_ua,duration_us`, a row for each phase with current, on this computer's
monotonic clock: the trace of the simulator, or of a bench that writes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from estim.errors import UsageError

HEADER = "t_us,channel,current_ua,duration_us"


class Row(NamedTuple):
    """One phase with current; channels count from 1."""

    at_us: int
    channel: int
    current_ua: int
    lasts_us: int


class Capture:
    """Read the rows of a stretch of time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        """Look at what is there by now.

        Raises:
            UsageError: there is no file, or it is no trace.
        """
        for _ in self._rows():
            pass

    def rows(self, start_us: int, end_us: int) -> list[Row]:
        """Return the rows that begin within a stretch, in order of time.

        Raises:
            UsageError: the file cannot be read, or is no trace.
        """
        return sorted(row for row in self._rows() if start_us <= row.at_us < end_us)

    def span(self) -> str:
        """Say of what time the capture is."""
        times_us = [row.at_us for row in self._rows()]
        if not times_us:
            return "it has no row at all"
        return f"its {len(times_us)} rows are from {min(times_us)} to {max(times_us)} us"

    def _rows(self) -> Iterator[Row]:
        try:
            lines = self.path.read_text("ascii").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--capture {self.path}: cannot be read: {error}") from None
        if lines[0].strip() != HEADER:
            raise UsageError(f"--capture {self.path}: expected a trace that begins with {HEADER}")
        for number, line in enumerate(lines[1:-1], start=2):  # the last may still be written
            try:
                row = Row(*map(int, line.split(",")))
            except (TypeError, ValueError):
                raise UsageError(
                    f"--capture {self.path}, line {number}: expected four whole numbers"
                ) from None
            if row.lasts_us:  # without, it tells of a trigger
                yield row
