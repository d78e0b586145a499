"""Tell when the whole machine stands still: a process that only sleeps, ahead of all others.

Pinned to one processor, at real-time priority where that is granted, it wakes every 5 ms. When the
witnesses of all processors oversleep at the same moment, no program ran: the machine itself was
held, as virtual machines are when their host is short of time. Prints `at_us lasted_us` a line.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass

SLEEP_S = 0.005
TOLD_US = 50_000


@dataclass(slots=True)
class Witnesses:
    """One witness on each processor."""

    processes: list[subprocess.Popen[bytes]]

    @classmethod
    def start(cls) -> Witnesses:
        """Begin to watch."""
        return cls(
            [
                subprocess.Popen(
                    [sys.executable, "-m", "tests.soak.still_machine", str(processor)],
                    stdout=subprocess.PIPE,
                )
                for processor in sorted(os.sched_getaffinity(0))
            ]
        )

    def end(self) -> list[float]:
        """Stop watching; return in ms how long the whole machine stood still, each time."""
        told: list[list[tuple[int, int]]] = []
        for process in self.processes:
            process.kill()
            said, _ = process.communicate()
            pairs = (line.split() for line in said.splitlines())
            told.append([(int(end_us), int(lasted_us)) for end_us, lasted_us in pairs])
        return [lasted_us / 1000 for lasted_us in together(told)]


def together(told: list[list[tuple[int, int]]]) -> list[int]:
    """Return how long all processors overslept at once, from (end, length) of each one's."""
    first, *others = told
    common = []
    for end_us, lasted_us in first:
        begin_us = end_us - lasted_us
        for other in others:
            overlaps = [
                (max(other_end_us - length_us, begin_us), min(other_end_us, end_us))
                for other_end_us, length_us in other
            ]
            begin_us, end_us = max(overlaps, key=lambda o: o[1] - o[0], default=(0, 0))
        if end_us - begin_us >= TOLD_US:
            common.append(end_us - begin_us)
    return common


def main(processor: int) -> None:
    """Sleep, and tell of each time that it took too long."""
    os.sched_setaffinity(0, {processor})
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    last_us = time.monotonic_ns() // 1000
    while True:
        time.sleep(SLEEP_S)
        now_us = time.monotonic_ns() // 1000
        if now_us - last_us >= TOLD_US:
            print(now_us, now_us - last_us, flush=True)
        last_us = now_us


if __name__ == "__main__":
    main(int(sys.argv[1]))
