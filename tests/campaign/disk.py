"""A disk that fails, and the record's own writer stepped over it.

Rules:
1. The files are real. What a disk would still hold after a power cut is what was synced, or any
   part of the rest.
2. `SteppedWriter` is the product's `RecordWriter` with its thread: the thread runs only while
   `step` waits for it, so that the same steps give the same groups.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

from estim.errors import RecordError
from estim.record.files import FileOps
from estim.record.journal import Journal
from estim.record.writer import RecordWriter

LATENCY_US = 2000
PLENTY = 1 << 34


class Disk(FileOps):
    """Do as told: fail, write less, or say that something is kept that is not."""

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}
        self.lies = False
        self.is_full = False
        self.busy_until_us = 0
        self.latency_us = LATENCY_US
        self.synced: dict[int, int] = {}
        self.lied_about: set[int] = set()
        self._broken: set[int] = set()
        self.on_operation: Callable[[], None] = lambda: None
        self.on_sync: Callable[[int], None] = lambda size: None
        self.on_failure: Callable[[], None] = lambda: None

    def disturb(self, verb: str, amount: int, now_us: int) -> None:
        """Let a fault begin; `amount` counts operations or milliseconds."""
        if verb in ("enospc", "eio", "short", "fsync-fail"):
            self.failures[verb] = self.failures.get(verb, 0) + amount
        elif verb == "fsync-lie":
            self.lies = True
        elif verb == "full":
            self.is_full = True
        elif verb == "slow":
            self.latency_us = amount * 1000
        elif verb == "stall":
            self.busy_until_us = max(self.busy_until_us, now_us + amount * 1000)
        else:
            raise ValueError(f"no fault of a disk: {verb}")

    def mend(self) -> None:
        """Put a good disk in its place."""
        self.failures.clear()
        self.lies = self.is_full = False
        self.busy_until_us = 0
        self.latency_us = LATENCY_US

    def write(self, descriptor: int, octets: bytes | memoryview) -> int:
        self.on_operation()
        if self._fails("eio"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self._fails("enospc"):
            os.write(descriptor, octets[: len(octets) // 2])  # what still found room
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._fails("short"):
            return os.write(descriptor, octets[: max(1, len(octets) // 2)])
        return os.write(descriptor, octets)

    def sync_file(self, descriptor: int) -> None:
        self.on_operation()
        told = os.fstat(descriptor)
        if self._fails("fsync-fail"):
            # What could not be written is forgotten: the next call says that all is well.
            self._broken.add(told.st_ino)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.on_sync(told.st_size)
        if self.lies:
            self.lied_about.add(told.st_ino)
        elif told.st_ino not in self._broken:
            self.synced[told.st_ino] = told.st_size

    def sync_folder(self, descriptor: int) -> None:
        self.on_operation()

    def free_bytes(self, descriptor: int) -> int:
        return 0 if self.is_full else PLENTY

    def cut_power(self, path: Path, salt: int) -> None:
        """Leave of a file what was synced, and any part of what was not."""
        told = path.stat()
        kept = self.synced.get(told.st_ino, 0)
        os.truncate(path, Random(salt).randint(kept, max(kept, told.st_size)))

    def has_lied_about(self, path: Path | None) -> bool:
        """Tell whether something of a file was said to be kept that was not."""
        return path is not None and path.stat().st_ino in self.lied_about

    def _fails(self, verb: str) -> bool:
        left = self.failures.get(verb, 0)
        self.failures[verb] = max(0, left - 1)
        if left > 0 and verb != "short":
            self.on_failure()
        return left > 0


class SteppedWriter(RecordWriter):
    """Write one group when told to."""

    def __init__(
        self,
        journal: Journal,
        on_durable: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._turn = threading.Semaphore(0)
        self._rest = threading.Semaphore(0)
        self._is_killed = False
        self._has_ended = False
        super().__init__(journal, on_durable, on_failure)
        self._rest.acquire()

    @property
    def has_work(self) -> bool:
        """Tell whether a step would write something."""
        return bool(self._waiting) and not self._has_ended

    def step(self) -> None:
        """Let the thread take one group, and wait until it has."""
        if not self._has_ended:
            self._turn.release()
            self._rest.acquire()

    def close(self, timeout_s: float) -> bool:
        with self._condition:
            self._is_closing = True
        while not self._has_ended:
            self.step()
        return super().close(timeout_s)

    def kill(self) -> None:
        """End as the process does: nothing more is written, nobody is told."""
        self._is_killed = self._has_failed = True
        self.step()
        self._thread.join()

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._has_ended = True
            self._rest.release()

    def _next_group(self) -> list[tuple[object, int | None]]:  # type: ignore[override]
        self._rest.release()
        self._turn.acquire()
        if self._is_killed:
            raise RecordError("killed")
        return super()._next_group()  # type: ignore[return-value]
