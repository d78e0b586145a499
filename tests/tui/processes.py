"""Processes as the system sees them; Linux only."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def is_running(pid: int) -> bool:
    """Tell whether a process is there, and not only its remains."""
    return _state(pid) not in ("", "Z", "X")


def children(parent_pid: int) -> list[int]:
    """Return the running children of a process."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if _parent(pid) == parent_pid and is_running(pid)]


def wait_until(is_met: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for a condition; tell whether it came in time."""
    end = time.monotonic() + timeout_s
    while not is_met():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    return next(iter(_fields(pid)), "")


def _parent(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else -1
