"""Write what reached the load, independently of any record.

CSV: `t_us,channel,current_ua,duration_us`, header first, one row per active phase. Channels count
from 1, currents are signed, zero currents have no row, pulses come in the order of their onsets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TextIO

from estim.errors import UsageError

HEADER = "t_us,channel,current_ua,duration_us\n"
PENDING_PULSES_MAX = 4096

DeliveredPhases = tuple[tuple[int, int, int], ...]
"""(offset from the onset in us, signed current in uA, duration in us) of each active phase."""


class TraceSink(Protocol):
    """Take every pulse that reached the load."""

    def add_pulse(self, onset_us: int, channel_number: int, phases: DeliveredPhases) -> None:
        """Note one pulse; channels count from 1."""

    def flush(self) -> None:
        """Make everything noted so far visible to others."""


class CsvTrace:
    """Write a trace file, in batches."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pending: list[tuple[int, int, DeliveredPhases]] = []
        stream.write(HEADER)
        stream.flush()

    @classmethod
    def to_file(cls, path: str | Path) -> CsvTrace:
        """Open a new trace file.

        Raises:
            UsageError: the file cannot be written.
        """
        try:
            # Held for the life of the process; `close` ends it.
            stream = open(path, "w", encoding="ascii", newline="")  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"trace {path}: cannot be written: {error.strerror}") from error
        return cls(stream)

    def add_pulse(self, onset_us: int, channel_number: int, phases: DeliveredPhases) -> None:
        self._pending.append((onset_us, channel_number, phases))
        if len(self._pending) >= PENDING_PULSES_MAX:
            self._write_pending()

    def flush(self) -> None:
        if self._pending:
            self._write_pending()
            self._stream.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self.flush()
        self._stream.close()

    def _write_pending(self) -> None:
        self._stream.write(
            "".join(
                [
                    f"{onset_us + offset_us},{number},{current_ua},{duration_us}\n"
                    for onset_us, number, phases in self._pending
                    for offset_us, current_ua, duration_us in phases
                ]
            )
        )
        self._pending.clear()
