"""Tell when the machine stands still: a process that only sleeps, ahead of all others.

Pinned to one processor, at real-time priority where that is granted, it wakes every 5 ms. Where it
oversleeps, nothing else ran on that processor either: virtual machines are held so, one processor
or all of them, when their host is short of time. Prints `ended_us lasted_us` a line.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SLEEP_S = 0.005
TOLD_US = 50_000


@dataclass(frozen=True, slots=True)
class Hold:
    """One processor that stood still, on the monotonic clock."""

    ended_us: int
    lasted_us: int

    def ms_within(self, since_us: int, until_us: int | None = None) -> int:
        """Return how much of it fell between two times."""
        end_us = self.ended_us if until_us is None else min(self.ended_us, until_us)
        return max(0, end_us - max(self.ended_us - self.lasted_us, since_us)) // 1000


@dataclass(slots=True)
class Witnesses:
    """One witness on each processor."""

    processes: list[subprocess.Popen[bytes]]
    paths: list[Path]

    @classmethod
    def start(cls, folder: Path) -> Witnesses:
        """Begin to watch; what is seen is kept in files in the folder."""
        processes = []
        paths = []
        for processor in sorted(os.sched_getaffinity(0)):
            path = folder / f"witness-{processor}.txt"
            with path.open("wb") as seen:
                command = [sys.executable, "-m", "tests.still_machine", str(processor)]
                processes.append(
                    subprocess.Popen(
                        command,
                        stdout=seen,
                        stderr=subprocess.DEVNULL,
                        cwd=Path(__file__).parents[1],
                    )
                )
            paths.append(path)
        return cls(processes, paths)

    def held_ms(self, since_us: int, until_us: int | None = None) -> int:
        """Return for how long, in all, the worst processor stood still between two times."""
        return max(sum(hold.ms_within(since_us, until_us) for hold in told) for told in self.told())

    def told(self) -> list[list[Hold]]:
        """Return what each processor's witness told until now."""
        return [
            [Hold(*map(int, line.split())) for line in path.read_text().splitlines()]
            for path in self.paths
        ]

    def end(self) -> None:
        """Stop watching."""
        for process in self.processes:
            process.kill()
            process.wait()


def main(processor: int) -> None:
    """Sleep, and tell of each time that it took too long; end with the process that asked."""
    asker = os.getppid()
    os.sched_setaffinity(0, {processor})
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    last_us = time.monotonic_ns() // 1000
    while os.getppid() == asker:
        time.sleep(SLEEP_S)
        now_us = time.monotonic_ns() // 1000
        if now_us - last_us >= TOLD_US:
            os.write(1, f"{now_us} {now_us - last_us}\n".encode())
        last_us = now_us


if __name__ == "__main__":
    main(int(sys.argv[1]))
