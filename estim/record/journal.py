"""Append events to a session record, chained, and close it with a seal.

Rules:
1. Bytes are only ever appended. Nothing is rewritten, cut off or deleted.
2. An event is durable once `sync` has returned after its `append`; not before.
3. The first failed write or sync poisons the journal: what the disk holds is then unknown, and a
   second fdatasync would report success without having written anything. Every later call raises
   RecordError.
4. One writer: the file is locked for as long as the journal is open.
5. Nothing follows a seal but through `addenda` and `recover`, which reopen the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from estim.clock import Clock
from estim.errors import RecordError
from estim.record import files, names
from estim.record.files import FileOps
from estim.record.lines import (
    GENESIS,
    HEADER,
    Entry,
    encode_line,
    encode_seal,
    event_entry,
    make_entry,
    sha256_hex,
)
from estim.record.reader import Ending, survey_ending

# An hour of two channels takes some 5 MB, and a session lasts three hours at most. A disk with less
# room than this would stop the session in its middle, so it does not start.
MIN_FREE_BYTES = 32 * 1024 * 1024


class Journal:
    """Append to one record file. Make one with `create` or `reopen`."""

    def __init__(
        self, path: Path, descriptor: int, ops: FileOps, *, seq: int, head: str, mends_line: bool
    ) -> None:
        self._path = path
        self._descriptor = descriptor
        self._ops = ops
        self._next_seq = seq
        self._head = head
        self._owes_newline = mends_line
        self._failure: str | None = None
        self._is_open = True
        self._is_sealed = False

    @classmethod
    def create(
        cls,
        folder: Path,
        header: Mapping[str, Any],
        clock: Clock,
        session_id: str,
        *,
        ops: FileOps | None = None,
    ) -> Journal:
        """Start `<folder>/<session_id>.jsonl` with its header, durable on return.

        Raises:
            UsageError: session id, operator or pseudonym cannot be written down.
            RecordError: the header lacks something, the file exists, or the disk refuses or is
                nearly full.
        """
        ops = ops or FileOps()
        path = names.record_path(folder, session_id)
        names.check_header(header, session_id)
        entry = make_entry(HEADER, header, mono_us=clock.now_us(), wall=clock.wall())
        try:
            files.make_folder(folder, ops)
            descriptor = files.open_new(path)
        except FileExistsError:
            raise RecordError(
                f"{path}: is there already (the same seed gives the same record): "
                "expected another folder or another seed"
            ) from None
        except OSError as error:
            raise RecordError(f"{path}: cannot start a record: {error.strerror}") from None
        journal = cls(path, descriptor, ops, seq=0, head=GENESIS, mends_line=False)
        try:
            files.lock(descriptor, path)
            journal._check_free_space()
            journal.append_many([entry])
            journal.sync()
            files.sync_folder(folder, ops)
        except OSError as error:
            journal.close()
            raise RecordError(f"{path}: cannot start a record: {error.strerror}") from None
        except RecordError:
            journal.close()
            raise
        return journal

    @classmethod
    def reopen(cls, path: Path, *, ops: FileOps | None = None) -> tuple[Journal, Ending]:
        """Open an existing record at its end, as its one writer, and tell how it ends.

        Raises:
            RecordError: it cannot be opened, or another program is writing to it.
        """
        descriptor = files.open_regular(path, for_appending=True)
        try:
            files.lock(descriptor, path)
            ending = survey_ending(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        seq = 0 if ending.last is None else ending.last.seq + 1
        head = GENESIS if ending.last is None else ending.last.digest
        journal = cls(
            path, descriptor, ops or FileOps(), seq=seq, head=head, mends_line=ending.is_mid_line
        )
        return journal, ending

    @property
    def path(self) -> Path:
        """Tell where the record lies."""
        return self._path

    @property
    def head(self) -> str:
        """Return the SHA-256, in hex, of the last line."""
        return self._head

    def append(self, kind: str, content: Mapping[str, Any], *, mono_us: int, wall: datetime) -> int:
        """Append one event and return its sequence number; it is durable after `sync`.

        Raises:
            RecordError: the event cannot be written down (the journal lives on), or the disk failed
                (it does not).
        """
        return self.append_many([event_entry(kind, content, mono_us=mono_us, wall=wall)])

    def append_many(self, entries: Sequence[Entry]) -> int:
        """Append checked events in one write and return the last one's sequence number."""
        self._check_usable()
        self._write(self._chain(entries))
        return self._next_seq - 1

    def sync(self) -> None:
        """Make everything appended so far durable."""
        self._check_sound()
        try:
            self._ops.sync_file(self._descriptor)
        except OSError as error:
            raise self._poison(error) from None

    def seal(
        self,
        key: bytes,
        *,
        mono_us: int,
        wall: datetime,
        after: Sequence[Entry] = (),
        recovered: bool = False,
    ) -> str:
        """Append last entries and the seal in one write; durable on return of the final head."""
        self._check_usable()
        lines = self._chain(after)
        seal = encode_seal(
            key, self._next_seq, self._head, mono_us=mono_us, wall=wall, recovered=recovered
        )
        self._advance(seal)
        self._write([*lines, seal])
        self.sync()
        self._is_sealed = True
        return self._head

    def close(self) -> None:
        """Let go of the file and its lock; again does nothing."""
        if self._is_open:
            self._is_open = False
            os.close(self._descriptor)

    def _chain(self, entries: Sequence[Entry]) -> list[bytes]:
        lines: list[bytes] = []
        for entry in entries:
            line = encode_line(entry, self._next_seq, self._head)
            self._advance(line)
            lines.append(line)
        return lines

    def _advance(self, line: bytes) -> None:
        # A write that fails after this poisons the journal, so the numbers never run ahead of the
        # file.
        self._next_seq += 1
        self._head = sha256_hex(line)

    def _write(self, lines: Sequence[bytes]) -> None:
        octets = b"".join(line + b"\n" for line in lines)
        if self._owes_newline:
            octets = b"\n" + octets
            self._owes_newline = False
        try:
            files.write_all(self._descriptor, octets, self._ops)
        except OSError as error:
            raise self._poison(error) from None

    def _poison(self, error: OSError) -> RecordError:
        self._failure = error.strerror or str(error)
        return RecordError(f"{self._path}: the record cannot be written: {self._failure}")

    def _check_usable(self) -> None:
        self._check_sound()
        if self._is_sealed:
            raise RecordError(f"{self._path}: the record is sealed; add an addendum instead")

    def _check_sound(self) -> None:
        if self._failure is not None:
            raise RecordError(
                f"{self._path}: writing failed before ({self._failure}); it is never tried again"
            )
        if not self._is_open:
            raise RecordError(f"{self._path}: the record is closed")

    def _check_free_space(self) -> None:
        free = self._ops.free_bytes(self._descriptor)
        if free < MIN_FREE_BYTES:
            raise RecordError(
                f"{self._path}: cannot start a record: {free // 1_000_000} MB are free on that "
                f"disk, at least {MIN_FREE_BYTES // 1_000_000} MB are needed"
            )
