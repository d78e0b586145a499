"""Keep a small append-only file of chained lines: a register or the course of a job.

Rules:
1. Lines are spelled and chained as those of a session record are (`estim.record.lines`); there is
   no header and no seal.
2. Bytes are only ever appended, one line in one write, and synced before `append` returns.
3. One writer at a time: the file is locked for as long as the ledger is open.
4. A line that a crash tore is kept and passed over, the first one too; any other break of the chain
   is damage, and a damaged ledger is neither read nor written.
5. Beside it, NAME.head holds the number of lines and the hash of the last one. It is written after
   the line is durable, whole or not at all: a ledger may be longer than its head says, by what a
   crash kept from being noted, and never shorter. Whoever changes both, or removes the head, is
   not found.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from estim.clock import Clock
from estim.errors import RecordError
from estim.record import files
from estim.record.files import FileOps
from estim.record.lines import (
    GENESIS,
    MAX_LINE_BYTES,
    Event,
    encode_line,
    make_entry,
    parse_line,
    sha256_hex,
)

SIZE_MAX = 64 * 1024 * 1024
LOCK_WAIT_S = 2.0
_LOCK_TRY_S = 0.05
_HEAD = re.compile(rb"([0-9]{1,12}) ([0-9a-f]{64})\n")


class Ledger:
    """Read a ledger and append to it, as its one writer. Make one with `open_ledger`."""

    def __init__(self, path: Path, descriptor: int, ops: FileOps) -> None:
        self._path = path
        self._descriptor = descriptor
        self._ops = ops
        self._failure = ""
        octets = _read_all(descriptor, path)
        self.events = _events(octets, path)
        _read_head(path).check(self.events, path)
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
            files.write_all(self._descriptor, octets, self._ops)
            self._ops.sync_file(self._descriptor)
        except OSError as error:
            self._failure = error.strerror or str(error)
            raise RecordError(f"{self._path}: cannot be written: {self._failure}") from None
        event = parse_line(line, sha256_hex(line))
        self.events = (*self.events, event)
        try:
            self._note_head()
        except OSError as error:
            self._failure = error.strerror or str(error)
            raise RecordError(f"{_head_path(self._path)}: {self._failure}") from None
        return event

    def _note_head(self) -> None:
        target = _head_path(self._path)
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        descriptor = files.open_new(beside)
        try:
            octets = f"{len(self.events)} {self.head}\n".encode()
            files.write_all(descriptor, octets, self._ops)
            self._ops.sync_file(descriptor)
            beside.replace(target)
        finally:
            os.close(descriptor)
            beside.unlink(missing_ok=True)
        files.sync_folder(target.parent, self._ops)

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
        with contextlib.suppress(FileExistsError):
            os.close(files.open_new(path))
        # Whoever made it may have been killed before this.
        files.sync_folder(path.parent, ops)
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
    head = _read_head(path)  # before the lines: whoever appends now makes them longer, not shorter
    events: tuple[Event, ...] = ()
    if _may_be_there(path):
        descriptor = files.open_regular(path)
        try:
            events = _events(_read_all(descriptor, path), path)
        finally:
            os.close(descriptor)
    head.check(events, path)
    return events


@dataclass(frozen=True, slots=True)
class _Head:
    """How many lines a ledger had at least, and the hash of the last of them."""

    count: int
    digest: str

    def check(self, events: tuple[Event, ...], path: Path) -> None:
        """Raise RecordError where lines are gone."""
        if len(events) < self.count:
            raise RecordError(
                f"{path}: {len(events)} of {self.count} lines are left: it was cut or removed "
                f"({_head_path(path).name} beside it counts them)"
            )
        if self.count and events[self.count - 1].digest != self.digest:
            raise RecordError(f"{path}: line {self.count} is not the one that was written: damaged")


def _may_be_there(path: Path) -> bool:
    """Tell whether a file is there, or nobody can tell: opening it says what stands in the way."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        pass
    return True


def _head_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def _read_head(path: Path) -> _Head:
    head_path = _head_path(path)
    if not _may_be_there(head_path):
        return _Head(0, GENESIS)
    descriptor = files.open_regular(head_path)
    try:
        found = _HEAD.fullmatch(_read_all(descriptor, head_path))
    finally:
        os.close(descriptor)
    if found is None:
        raise RecordError(f"{head_path}: expected a number of lines and a SHA-256; damaged")
    return _Head(int(found[1]), found[2].decode())


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
    # What a crash tore of the first line is no longer than one. Where more was ever kept, the head
    # says so.
    if len(octets) > MAX_LINE_BYTES and not events:
        raise RecordError(f"{path}: holds no line that could be read")
    return tuple(events)
