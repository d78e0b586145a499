"""Read session records, whatever state they are in, line by line in bounded memory.

Rules:
1. Only plain files are opened; no more is read than was there at the start, so a growing or endless
   file ends.
2. A line longer than MAX_LINE_BYTES is hashed and counted, never held.
3. What a crash tore stays in the file. `recovered` events name the torn lines directly before them
   by length and SHA-256; those lines belong to nobody's chain and are kept apart.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from estim.errors import RecordError
from estim.record import files
from estim.record.lines import (
    ADDENDUM,
    HEADER,
    MAX_LINE_BYTES,
    SEAL,
    Event,
    parse_line,
)

# One crash tears one line. Each further one here is a recovery that was itself interrupted.
MAX_TORN_LINES = 16
# An event takes about ten times its line in memory; a session of three hours stays far below.
MAX_READ_BYTES = 128 * 1024 * 1024
MAX_UNREADABLE_LINES = 100

_CHUNK_BYTES = 64 * 1024
_HEADER_START = b'{"content":{'


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one line as it lies in the file: `octets` is None where it is too long to hold."""

    number: int
    size: int
    sha256: str
    octets: bytes | None
    is_whole: bool
    is_torn: bool = False

    def parse(self) -> Event:
        """Read the line as an event.

        Raises:
            ValueError: it is not one; the message says why.
        """
        if self.octets is None:
            raise ValueError(f"{self.size} bytes, longer than any line of a record")
        return parse_line(self.octets, self.sha256)


@dataclass(frozen=True, slots=True)
class RecordFile:
    """Hold a record that was read.

    `torn` lines were cut short by a crash; lines numbered `unreadable` are damage.
    """

    path: Path
    events: tuple[Event, ...]
    torn: tuple[Line, ...]
    unreadable: tuple[int, ...]

    @property
    def header(self) -> Event | None:
        """Return the header, or None where a crash or damage took it."""
        if self.events and self.events[0].kind == HEADER:
            return self.events[0]
        return None

    @property
    def addenda(self) -> tuple[Event, ...]:
        """Return what was added after the record was closed."""
        return tuple(event for event in self.events if event.kind == ADDENDUM)

    @property
    def is_sealed(self) -> bool:
        """Tell whether the record was closed; whether rightly, `verify` tells."""
        return any(event.kind == SEAL for event in self.events)


@dataclass(frozen=True, slots=True)
class Ending:
    """Tell how a record ends: its last event, the torn lines after it, and if it has a seal."""

    last: Event | None
    torn: tuple[Line, ...]
    is_sealed: bool

    @property
    def is_mid_line(self) -> bool:
        """Tell whether the file stops before a newline."""
        return bool(self.torn) and not self.torn[-1].is_whole


def read(path: Path) -> RecordFile:
    """Read a whole record.

    Raises:
        RecordError: it cannot be opened, is too long to hold, or is not a record at all.
    """
    with opened(path) as descriptor:
        if os.fstat(descriptor).st_size > MAX_READ_BYTES:
            raise RecordError(
                f"{path}: over {MAX_READ_BYTES // 1_000_000} MB, too long to show; export it"
            )
        events: list[Event] = []
        torn: list[Line] = []
        unreadable: list[int] = []
        for line, event in _events_of(descriptor, path):
            if event is not None:
                events.append(event)
            elif line.is_torn or not line.is_whole:
                torn.append(line)
            else:
                unreadable.append(line.number)
    if not events and unreadable:
        raise RecordError(f"{path}: not a session record")
    return RecordFile(path, tuple(events), tuple(torn), tuple(unreadable))


def stream(path: Path) -> Iterator[Event]:
    """Yield the readable events of a record of any length, one after the other.

    Raises:
        RecordError: it cannot be opened or is not a record at all.
    """
    with opened(path) as descriptor:
        for _, event in _events_of(descriptor, path):
            if event is not None:
                yield event


def record_lines(descriptor: int) -> Iterator[Line]:
    """Yield every line of an open record, those that a recovery explains marked as torn."""
    window: deque[Line] = deque()
    for line in _raw_lines(descriptor):
        for back in range(_torn_before(line, window)):
            window[-1 - back] = replace(window[-1 - back], is_torn=True)
        window.append(line)
        if len(window) > MAX_TORN_LINES:
            yield window.popleft()
    yield from window


def survey_ending(descriptor: int, path: Path) -> Ending:
    """Find where the chain of an open record goes on.

    Raises:
        RecordError: it is not a record, or what lies at its end is not what a crash leaves.
    """
    last: Event | None = None
    is_sealed = False
    torn: list[Line] = []
    for line, event in _events_of(descriptor, path):
        starts_as_header = _HEADER_START.startswith((line.octets or b"?")[: len(_HEADER_START)])
        if line.number == 1 and not starts_as_header:
            raise RecordError(f"{path}: not a session record")
        if event is not None:
            last, torn = event, []
            is_sealed = is_sealed or event.kind == SEAL
        elif not line.is_torn:
            torn.append(line)
    if len(torn) > MAX_TORN_LINES or any(line.octets is None for line in torn):
        raise RecordError(
            f"{path}: damaged from line {torn[0].number} on, not cut short by a crash"
        )
    return Ending(last, tuple(torn), is_sealed)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Hold a record open for reading.

    Raises:
        RecordError: it cannot be opened or read.
    """
    descriptor = files.open_regular(path)
    try:
        yield descriptor
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _events_of(descriptor: int, path: Path) -> Iterator[tuple[Line, Event | None]]:
    """Yield each line with its event, or with None where it is torn or unreadable."""
    unreadable_count = 0
    for line in record_lines(descriptor):
        try:
            event = line.parse() if line.is_whole and not line.is_torn else None
        except ValueError:
            event = None
            unreadable_count += 1
        if unreadable_count > MAX_UNREADABLE_LINES:
            raise RecordError(f"{path}: over {MAX_UNREADABLE_LINES} unreadable lines: not a record")
        yield line, event


def _torn_before(line: Line, window: Sequence[Line]) -> int:
    """Return how many lines directly before this one it explains as torn by a crash."""
    if line.octets is None or not line.is_whole or b'"kind":"recovered"' not in line.octets:
        return 0
    try:
        claims = line.parse().content.get("torn")
    except ValueError:
        return 0
    if not isinstance(claims, list) or len(claims) > len(window):
        return 0
    found = [torn_claim(window[index]) for index in range(-len(claims), 0)]
    return len(claims) if claims == found else 0


def torn_claim(line: Line) -> dict[str, object]:
    """Name a torn line as a `recovered` event does."""
    return {"bytes": line.size, "sha256": line.sha256}


def _raw_lines(descriptor: int) -> Iterator[Line]:
    remaining = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    number = 1
    gathered = _Gathered()
    while remaining > 0 and (chunk := os.read(descriptor, min(_CHUNK_BYTES, remaining))):
        remaining -= len(chunk)
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            gathered.add(end)
            yield gathered.line(number, is_whole=True)
            number += 1
            gathered = _Gathered()
        gathered.add(rest)
    if gathered.size:
        yield gathered.line(number, is_whole=False)


class _Gathered:
    """Gather the pieces of one line, and only its hash once it is too long."""

    def __init__(self) -> None:
        self.size = 0
        self._octets: bytes | None = b""
        self._hash = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self._hash.update(piece)
        if self._octets is not None:
            self._octets = self._octets + piece if self.size <= MAX_LINE_BYTES else None

    def line(self, number: int, *, is_whole: bool) -> Line:
        return Line(number, self.size, self._hash.hexdigest(), self._octets, is_whole)
