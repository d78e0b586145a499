"""Read our own trace: `t_us,channel,current_ua,duration_us`, one row per active phase.

A row of no current and no duration is no phase: then the trigger of its channel rose.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import numpy as np

from estim.errors import UsageError
from estim.rig.captures.capture import (
    Capture,
    CaptureInfo,
    Floats,
    Progress,
    ReadOptions,
    Steps,
    whole_lines,
)
from estim.rig.captures.last_lines import ends_a_line
from estim.text import sanitize
from estim.units import US_PER_S

HEADER = b"t_us,channel,current_ua,duration_us"
_BLOCK_BYTES = 1 << 22
_COLUMNS = 4
_CURRENT_MAX_UA = 10_000_000


def is_trace(probe: bytes) -> bool:
    """Tell whether a file begins as a trace does."""
    return probe.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(HEADER)


def open_trace(name: str, options: ReadOptions, progress: Progress) -> Capture:
    """Open a trace; its times and currents are exact, and need neither unit nor load."""
    return _Trace(name, options, progress)


class _Trace(Capture):
    is_sampled = False
    is_window = False

    def __init__(self, name: str, options: ReadOptions, progress: Progress) -> None:
        self._name = name
        self._channel = options.channel
        self._progress = progress
        self._first_us: float | None = None
        self._end_us = 0.0
        self._triggers_s: list[float] = []

    @property
    def info(self) -> CaptureInfo:
        first_us = self._first_us or 0.0
        return CaptureInfo(
            path=self._name,
            format="estim trace",
            quantity="A",
            sample_rate_hz=None,
            duration_s=max(0.0, self._end_us - first_us) / US_PER_S,
            resolution_ua=None,
            start_s=first_us / US_PER_S,
            column=f"channel {self._channel}",
            triggers_s=tuple(self._triggers_s),
        )

    def steps(self) -> Iterator[Steps]:
        total = os.path.getsize(self._name)
        done, line = 0, 0
        last_us = -np.inf
        channels: set[int] = set()
        with open(self._name, "rb") as file:
            for block in whole_lines(file, _BLOCK_BYTES):
                rows = self._rows(block, line)
                done, line = done + len(block), line + block.count(b"\n")
                self._progress(done, total)
                is_trigger = rows[:, 3] == 0
                mine = is_trigger & (rows[:, 1] == self._channel)
                self._triggers_s += (rows[mine, 0] / US_PER_S).tolist()
                rows = rows[~is_trigger]
                if not len(rows):
                    continue
                channels.update(np.unique(rows[:, 1]).astype(int).tolist())
                if self._first_us is None:
                    self._first_us = float(rows[0, 0])
                self._end_us = max(self._end_us, float((rows[:, 0] + rows[:, 3]).max()))
                rows = rows[rows[:, 1] == self._channel]
                if len(rows):
                    if rows[0, 0] < last_us or (np.diff(rows[:, 0]) < 0).any():
                        raise UsageError(
                            f"{sanitize(self._name)}: t_us goes backwards before line {line + 1}; "
                            "expected the phases of a channel in order"
                        )
                    last_us = float(rows[-1, 0])
                    start_us = rows[:, 0] - self._first_us
                    yield Steps(start_us, start_us + rows[:, 3], rows[:, 2])
        if not ends_a_line(self._name):
            raise UsageError(
                f"{sanitize(self._name)}:{line + 1}: the last line is cut short; expected a line "
                "end, as after every row of a trace"
            )
        if channels and self._channel not in channels:
            known = ", ".join(map(str, sorted(channels)))
            raise UsageError(
                f"{sanitize(self._name)}: no rows of channel {self._channel}; there are: {known}"
            )

    def _rows(self, block: bytes, line: int) -> Floats:
        """Return the rows of a block as numbers, shape (rows, 4)."""
        skipped = 0
        if line == 0:
            block = block.removeprefix(b"\xef\xbb\xbf")
            header, _, block = block.partition(b"\n")
            if header.strip() != HEADER:
                raise UsageError(f"{sanitize(self._name)}:1: expected the header {HEADER.decode()}")
            skipped = 1
        if not block.strip():
            return np.empty((0, _COLUMNS))
        try:
            rows = np.loadtxt(
                io.BytesIO(block), delimiter=",", ndmin=2, comments=None, dtype=np.float64
            )
            if rows.shape[1] == _COLUMNS and _are_phases(rows).all():
                return rows
        except ValueError:
            pass
        raise self._damage(block, line + skipped)

    def _damage(self, block: bytes, line: int) -> UsageError:
        """Return what is wrong with the first damaged line of a block."""
        for number, text in enumerate(block.splitlines(), start=line + 1):
            if not text.strip():
                continue
            try:
                row = np.array([float(cell) for cell in text.split(b",")])
            except ValueError:
                row = np.empty(0)
            if len(row) != _COLUMNS or not _are_phases(row[None]).all():
                shown = sanitize(text[:60].decode("utf-8", "replace"))
                return UsageError(
                    f"{sanitize(self._name)}:{number}: {shown!r}; expected t_us, channel, "
                    "current_ua, duration_us with a channel from 1, a current and a duration"
                )
        return UsageError(f"{sanitize(self._name)}: not a trace after line {line}")


def _are_phases(rows: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell of each row whether it can be a phase."""
    with np.errstate(invalid="ignore"):
        sound: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
            np.isfinite(rows).all(axis=1)
            & (np.abs(rows[:, 0]) < 1e15)
            & (rows[:, 1] >= 1)
            & (rows[:, 1] < 1000)
            & (np.abs(rows[:, 2]) <= _CURRENT_MAX_UA)
            & (rows[:, 3] >= 0)
            & (rows[:, 3] < 1e9)
            & ((rows[:, 2] == 0) == (rows[:, 3] == 0))
        )
    return sound
