"""What the tests of the record share: a header, times, and disks that fail where a test says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from estim.clock import VirtualClock
from estim.record.files import FileOps
from estim.record.journal import Journal

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
SESSION_ID = "2000-01-01-abc"
# The virtual clock's epoch; everything else is counted from here.
WALL = datetime(2000, 1, 1, tzinfo=UTC)


def header(session_id: str = SESSION_ID, **changes: Any) -> dict[str, Any]:
    """Return a header as the engine gives it."""
    return {
        "schema": 1,
        "session_id": session_id,
        "kind": "bench",
        "software": {"estim": "0.1.0", "sha256": "ab" * 32},
        "profile": {"id": "dpn-high-rate", "version": 1, "sha256": "cd" * 32},
        "operator": "tech-7",
        "pseudonym": "P-0042",
        "bench_ohm": 500,
        "assets": [
            {
                "kind": "stimulator",
                "id": "unit-1",
                "serial": "SN123",
                "lot": None,
                "expiry": None,
                "calibration_due": "2000-06-01",
            }
        ],
        "seed": 7,
        "clock": "virtual",
    } | changes


def wall(mono_us: int) -> datetime:
    return WALL + timedelta(microseconds=mono_us)


def start(folder: Path, session_id: str = SESSION_ID, **options: Any) -> Journal:
    return Journal.create(folder, header(session_id), VirtualClock(), session_id, **options)


def append(journal: Journal, kind: str, mono_us: int, /, **content: Any) -> int:
    return journal.append(kind, content, mono_us=mono_us, wall=wall(mono_us))


def seal(journal: Journal, mono_us: int, key: bytes = KEY) -> str:
    return journal.seal(key, mono_us=mono_us, wall=wall(mono_us))


def sealed_record(folder: Path, session_id: str = SESSION_ID, event_count: int = 6) -> Path:
    """Write a whole session: a header, some events, the seal."""
    journal = start(folder, session_id)
    for number in range(event_count - 1):
        append(journal, "target_changed", 1000 * (number + 1), channel=1, target_ua=1000 * number)
    append(journal, "closed", 1000 * event_count, reason="completed", delivered_ms=61_999)
    journal.sync()
    seal(journal, 1000 * event_count + 1)
    journal.close()
    return journal.path


def raw_lines(path: Path) -> list[bytes]:
    """Return the lines of a file without their newlines; the file must end with one."""
    octets = path.read_bytes()
    assert octets.endswith(b"\n")
    return octets[:-1].split(b"\n")


def write_lines(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


class Unsynced(FileOps):
    """Leave the bytes to the system: for tests of what is written a thousand times over."""

    def sync_file(self, descriptor: int) -> None:
        pass

    def sync_folder(self, descriptor: int) -> None:
        pass


class FullDisk(FileOps):
    """Write `remaining` bytes, then hand every write to /dev/full, which answers ENOSPC."""

    def __init__(self, remaining: int) -> None:
        self.remaining = remaining

    def write(self, descriptor: int, octets: bytes | memoryview) -> int:
        if self.remaining > 0:
            written = os.write(descriptor, octets[: self.remaining])
            self.remaining -= written
            return written
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            return os.write(full, octets)
        finally:
            os.close(full)


class FailingSync(FileOps):
    """Fail one sync of the file, as a disk does that lost a page: the next would succeed."""

    def __init__(self, fail_at: int) -> None:
        self.sync_count = 0
        self.fail_at = fail_at

    def sync_file(self, descriptor: int) -> None:
        self.sync_count += 1
        if self.sync_count == self.fail_at:
            # fdatasync of a pipe is a real failure of the real call (EINVAL).
            reading, writing = os.pipe()
            try:
                os.fdatasync(writing)
            finally:
                os.close(reading)
                os.close(writing)
        super().sync_file(descriptor)


class NearlyFull(FileOps):
    """Report a disk with less room than a session may need."""

    def free_bytes(self, descriptor: int) -> int:
        return 31 * 1024 * 1024
