"""Write what reached the load, independently of any record.

CSV: `t_us,channel,current_ua,duration_us`, header first, one row per active phase. Channels count
from 1, currents are signed, zero currents have no row, pulses come in the order of their onsets.
Where that was asked for, a row without current or duration tells when a channel's trigger rises.
"""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, TextIO

from estim.errors import UsageError

HEADER = "t_us,channel,current_ua,duration_us\n"
PENDING_PULSES_MAX = 4096

DeliveredPhases = tuple[tuple[int, int, int], ...]
"""(offset from the onset in us, signed current in uA, duration in us) of each active phase."""

TRIGGER: DeliveredPhases = ((0, 0, 0),)

_Batch = list[tuple[int, int, DeliveredPhases]]


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
        self._pending: _Batch = []
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        self._writer: Thread | None = None
        self._failure: OSError | None = None
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

    def write_behind(self) -> None:
        """Leave the writing to a thread: a disk that stalls must not make a device late."""
        self._writer = Thread(target=self._write_batches, name="trace", daemon=True)
        self._writer.start()

    def flush(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._pending:
            self._write_pending()
            if self._writer is None:
                self._stream.flush()

    def close(self) -> None:
        """Write everything and close the file."""
        try:
            self.flush()
        finally:
            if self._writer is not None:
                self._batches.put(None)
                self._writer.join()
            self._stream.close()

    def _write_pending(self) -> None:
        batch, self._pending = self._pending, []
        if self._writer is None:
            self._write(batch)
        else:
            self._batches.put(batch)

    def _write_batches(self) -> None:
        """Write until told to end; the first failure is the last thing tried."""
        try:
            while (batch := self._batches.get()) is not None:
                self._write(batch)
                self._stream.flush()
        except OSError as error:
            self._failure = error

    def _write(self, batch: _Batch) -> None:
        self._stream.write(
            "".join(
                [
                    f"{onset_us + offset_us},{number},{current_ua},{duration_us}\n"
                    for onset_us, number, phases in batch
                    for offset_us, current_ua, duration_us in phases
                ]
            )
        )
