"""How many events a second the record makes durable, beside the bare system calls."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from estim.clock import SystemClock
from estim.record.journal import Journal
from estim.record.lines import event_entry
from estim.record.writer import RecordWriter

EVENT_COUNT = 2000
CONTENT = {"channel": 1, "at_us": 1_234_567, "target_ua": 12_000, "setpoint_ua": 11_900}
HEADER = {"schema": 1, "session_id": "bench", "kind": "bench"}


def run() -> Iterable[dict[str, Any]]:
    """Yield one result for each group size, and one for the writer thread with 50 waiting."""
    for group_size in (1, 5, 20):
        with tempfile.TemporaryDirectory() as folder:
            rate, line_size = _journal_rate(Path(folder), group_size)
            yardstick = _raw_rate(Path(folder), group_size, line_size)
        yield {
            "name": f"record_durable_events_in_groups_of_{group_size}",
            "value": round(rate),
            "unit": "events/s",
            "reference": round(yardstick),
        }
    with tempfile.TemporaryDirectory() as folder:
        rate, line_size = _writer_rate(Path(folder), waiting_max=50)
        yardstick = _raw_rate(Path(folder), 1, line_size)
    yield {
        "name": "record_durable_events_through_the_writer_thread",
        "value": round(rate),
        "unit": "events/s",
        "reference": round(yardstick),
    }


def _rounds(group_size: int) -> range:
    # One sync each would take most of a minute on a slow disk.
    return range(min(EVENT_COUNT // group_size, 300))


def _journal_rate(folder: Path, group_size: int) -> tuple[float, int]:
    clock = SystemClock()
    journal = Journal.create(folder, HEADER, clock, "bench")
    start_size = journal.path.stat().st_size
    started = time.perf_counter()
    count = 0
    for _ in _rounds(group_size):
        journal.append_many(
            [
                event_entry("noted", CONTENT, mono_us=clock.now_us(), wall=clock.wall())
                for _ in range(group_size)
            ]
        )
        journal.sync()
        count += group_size
    elapsed_s = time.perf_counter() - started
    journal.close()
    return count / elapsed_s, (journal.path.stat().st_size - start_size) // count


def _raw_rate(folder: Path, group_size: int, line_size: int) -> float:
    """Write and sync as many bytes in the same groups with nothing around them."""
    descriptor = os.open(folder / "raw", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    octets = (b"x" * (line_size - 1) + b"\n") * group_size
    started = time.perf_counter()
    count = 0
    for _ in _rounds(group_size):
        os.write(descriptor, octets)
        os.fdatasync(descriptor)
        count += group_size
    elapsed_s = time.perf_counter() - started
    os.close(descriptor)
    return count / elapsed_s


def _writer_rate(folder: Path, waiting_max: int) -> tuple[float, int]:
    clock = SystemClock()
    journal = Journal.create(folder, HEADER, clock, "bench")
    start_size = journal.path.stat().st_size
    room = threading.Semaphore(waiting_max)
    writer = RecordWriter(journal, lambda token: room.release(), _fail)
    started = time.perf_counter()
    for number in range(EVENT_COUNT):
        room.acquire()
        writer.submit("noted", CONTENT, mono_us=clock.now_us(), wall=clock.wall(), token=number)
    for _ in range(waiting_max):
        room.acquire()
    elapsed_s = time.perf_counter() - started
    writer.close(10.0)
    return EVENT_COUNT / elapsed_s, (journal.path.stat().st_size - start_size) // EVENT_COUNT


def _fail(reason: str) -> None:
    raise RuntimeError(reason)
