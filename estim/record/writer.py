"""Write the record without holding up whoever reports an event.

Rules:
1. `submit` never waits for the disk and never raises. What cannot be recorded is told through
   `on_failure`, once.
2. Everything that waits is written and synced as one group; an event's token is handed to
   `on_durable` only after that.
3. No event is dropped in silence: once there is room again, an `events_lost` event says how many
   are missing.
4. After a failure of the disk nothing more is written.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from estim.errors import RecordError
from estim.record.journal import Journal
from estim.record.lines import Entry, event_entry, make_entry

# At 40 status reports a second, some 100 s of a disk that does not answer.
QUEUE_CAPACITY = 4096
# 256 lines of a few hundred bytes go out in one write that takes about as long as one line's.
MAX_GROUP = 256


@dataclass(frozen=True, slots=True)
class _Seal:
    key: bytes
    mono_us: int
    wall: datetime


_Item = Entry | _Seal


class EventWriter(ABC):
    """Take a session's events and say when they are safe.

    `on_durable` gets the token of each event that is on the disk; `on_failure` is called once at
    most, with the reason. Neither may block. One thread submits. The journal belongs to the writer
    from now on, and `close` closes it.
    """

    def __init__(
        self,
        journal: Journal,
        on_durable: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._lost_count = 0
        self._has_failed = False

    def submit(
        self,
        kind: str,
        content: Mapping[str, Any],
        *,
        mono_us: int,
        wall: datetime,
        token: int | None = None,
    ) -> None:
        """Record an event; `on_durable(token)` follows once it is on the disk."""
        try:
            self._put(event_entry(kind, content, mono_us=mono_us, wall=wall), token, mono_us, wall)
        except RecordError as error:
            self._lost_count += 1
            self._fail(str(error))

    def seal(self, key: bytes, *, mono_us: int, wall: datetime, token: int | None = None) -> None:
        """Close the record with its seal, after everything submitted before."""
        try:
            self._put(_Seal(key, mono_us, wall), token, mono_us, wall)
        except RecordError as error:
            self._fail(str(error))

    @abstractmethod
    def close(self, timeout_s: float) -> bool:
        """Write what waits and let go of the file; tell whether all of it is on the disk."""

    @abstractmethod
    def _put(self, item: _Item, token: int | None, mono_us: int, wall: datetime) -> None:
        """Write an item, or have it written; the times are those of the call.

        Raises:
            RecordError: it cannot be.
        """

    def _write_seal(self, seal: _Seal) -> None:
        self._journal.seal(seal.key, mono_us=seal.mono_us, wall=seal.wall)

    def _fail(self, reason: str) -> None:
        with self._lock:
            is_first, self._has_failed = not self._has_failed, True
        if is_first:
            self._on_failure(reason)


class RecordWriter(EventWriter):
    """Write on a thread of its own.

    `on_durable` is called on that thread; `on_failure` on that thread or the submitting one.
    """

    def __init__(
        self,
        journal: Journal,
        on_durable: Callable[[int], None],
        on_failure: Callable[[str], None],
        *,
        capacity: int = QUEUE_CAPACITY,
    ) -> None:
        super().__init__(journal, on_durable, on_failure)
        self._capacity = capacity
        self._condition = threading.Condition()
        self._waiting: deque[tuple[_Item, int | None]] = deque()
        self._is_closing = False
        self._has_stopped = False
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._has_failed

    def _put(self, item: _Item, token: int | None, mono_us: int, wall: datetime) -> None:
        with self._condition:
            if self._is_closing or self._has_stopped:
                raise RecordError("the record is closed")
            # A full queue keeps no record open: the seal always finds room.
            if isinstance(item, Entry) and len(self._waiting) >= self._capacity:
                raise RecordError("the disk is too slow: too many events wait for it")
            if self._lost_count:
                lost = {"count": self._lost_count}
                marker = make_entry("events_lost", lost, mono_us=mono_us, wall=wall)
                self._waiting.append((marker, None))
                self._lost_count = 0
            self._waiting.append((item, token))
            self._condition.notify()

    def _run(self) -> None:
        reason = "the record writer stopped by itself"
        try:
            while group := self._next_group():
                self._write(group)
            reason = ""
        except RecordError as error:
            reason = str(error)
        finally:
            self._has_stopped = True
            self._journal.close()
            if reason:
                self._fail(reason)

    def _next_group(self) -> list[tuple[_Item, int | None]]:
        with self._condition:
            while not self._waiting and not self._is_closing:
                self._condition.wait()
            group: list[tuple[_Item, int | None]] = []
            while self._waiting and len(group) < MAX_GROUP:
                group.append(self._waiting.popleft())
                if isinstance(group[-1][0], _Seal):
                    break
            return group

    def _write(self, group: list[tuple[_Item, int | None]]) -> None:
        self._journal.append_many([item for item, _ in group if isinstance(item, Entry)])
        last, _ = group[-1]
        if isinstance(last, _Seal):
            self._write_seal(last)
        else:
            self._journal.sync()
        for _, token in group:
            if token is not None:
                self._on_durable(token)


class SynchronousWriter(EventWriter):
    """Write at once, on the calling thread, for the stepped engine.

    An event with a token is durable, and `on_durable` called, before `submit` returns. One without
    a token, on which nobody waits, is synced with the next that has one.
    """

    def close(self, timeout_s: float) -> bool:
        try:
            self._journal.sync()
        except RecordError as error:
            self._fail(str(error))
        self._journal.close()
        return not self._has_failed

    def _put(self, item: _Item, token: int | None, mono_us: int, wall: datetime) -> None:
        if isinstance(item, _Seal):
            self._write_seal(item)
        else:
            self._journal.append_many([item])
            if token is not None:
                self._journal.sync()
        if token is not None:
            self._on_durable(token)
