"""Keep a small append-only file of chained lines: a register or the course of a job.

Rules:
1. Lines are spelled and chained as those of a session record are (`estim.record.lines`); there is
   no header and no seal, so a cut at the end goes unseen.
2. Bytes are only ever appended, one line in one write, and synced before `append` returns.
3. One writer at a time: the file is locked for as long as the ledger is open.
4. A line that a crash tore is kept and passed over; any other break of the chain is damage, and a
   damaged ledger is neither read nor written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from estim.clock import Clock
from estim.errors import RecordError
from estim.record import files
from estim.record.files import FileOps
from estim.record.lines import GENESIS, Event, encode_line, make_entry, parse_line, sha256_hex

SIZE_MAX = 64 * 1024 * 1024
LOCK_WAIT_S = 2.0
_LOCK_TRY_S = 0.05


class Ledger:
    """Read a ledger and append to it, as its one writer. Make one with `open_ledger`."""

    def __init__(self, path: Path, descriptor: int, ops: FileOps) -> None:
        self._path = path
        self._descriptor = descriptor
        self._ops = ops
        self._failure = ""
        octets = _read_all(descriptor, path)
        self.events = _events(octets, path)
        self._owes_newline = bool(octets) and not octets.endswith(b"\n")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """Tell where the ledger lies."""
        return self._path

    @property
    def head(self) -> str:
        """Return the SHA-256, in hex, of the last line."""
        return self.events[-1].digest if self.events else GENESIS

    def append(self, kind: str, content: Mapping[str, Any], clock: Clock) -> Event:
        """Append one event; it is durable on return.

        Raises:
            RecordError: the content cannot be written down, or the disk refused; what the disk
                holds after a refusal is unknown, so nothing more is written then.
        """
        if self._failure:
            raise RecordError(f"{self._path}: writing failed before ({self._failure})")
        entry = make_entry(kind, content, mono_us=clock.now_us(), wall=clock.wall())
        seq = self.events[-1].seq + 1 if self.events else 0
        line = encode_line(entry, seq, self.head)
        octets = b"\n" * self._owes_newline + line + b"\n"
        self._owes_newline = False
        try:
            remaining = memoryview(octets)
            while remaining:
                remaining = remaining[self._ops.write(self._descriptor, remaining) :]
            self._ops.sync_file(self._descriptor)
        except OSError as error:
            self._failure = error.strerror or str(error)
            raise RecordError(f"{self._path}: cannot be written: {self._failure}") from None
        event = parse_line(line, sha256_hex(line))
        self.events = (*self.events, event)
        return event

    def close(self) -> None:
        """Let go of the file and its lock; again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def open_ledger(path: Path, *, wait_s: float = 0.0, ops: FileOps | None = None) -> Ledger:
    """Open a ledger for appending; make it, private, where there is none.

    Args:
        path: the file.
        wait_s: how long to wait for another writer.
        ops: the calls that reach the disk.

    Raises:
        RecordError: it is damaged, in use, or cannot be opened.
    """
    ops = ops or FileOps()
    try:
        files.make_folder(path.parent, ops)
        try:
            os.close(files.open_new(path))
            files.sync_folder(path.parent, ops)
        except FileExistsError:
            pass
    except OSError as error:
        raise RecordError(f"{path}: cannot be made: {error.strerror}") from None
    descriptor = files.open_regular(path, for_appending=True)
    try:
        wait_for_lock(descriptor, path, wait_s)
        return Ledger(path, descriptor, ops)
    except BaseException:
        os.close(descriptor)
        raise


def read_ledger(path: Path) -> tuple[Event, ...]:
    """Return the events of a ledger; none where there is no file.

    Raises:
        RecordError: it is damaged or cannot be read.
    """
    if not os.path.lexists(path):
        return ()
    descriptor = files.open_regular(path)
    try:
        return _events(_read_all(descriptor, path), path)
    finally:
        os.close(descriptor)


def wait_for_lock(descriptor: int, path: Path, wait_s: float) -> None:
    """Become the one writer of a file, once whoever writes to it now lets go of it.

    Raises:
        RecordError: it is still being written to after `wait_s`, or this system cannot lock.
    """
    while True:
        try:
            return files.lock(descriptor, path)
        except RecordError:
            if wait_s <= 0:
                raise
        time.sleep(_LOCK_TRY_S)
        wait_s -= _LOCK_TRY_S


def _read_all(descriptor: int, path: Path) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > SIZE_MAX:
        raise RecordError(
            f"{path}: over {SIZE_MAX // 1_000_000} MB, too long for what it should be"
        )
    try:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(0)
            return file.read(size)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None


def _events(octets: bytes, path: Path) -> tuple[Event, ...]:
    """Return the events in order, with every link of the chain checked."""
    events: list[Event] = []
    for number, line in enumerate(octets.split(b"\n"), start=1):
        if not line:
            continue
        try:
            event = parse_line(line, sha256_hex(line))
        except ValueError:
            continue  # torn, if the chain goes on as though it were not there
        head = events[-1].digest if events else GENESIS
        if event.prev != head or event.seq != len(events):
            raise RecordError(f"{path}: line {number} does not follow the line before it: damaged")
        events.append(event)
    if octets.strip() and not events:
        raise RecordError(f"{path}: holds no line that could be read")
    return tuple(events)
