"""A simulated device and a host as real processes, and the marks that they leave.

What counts is the simulator's trace: what reached the load, on the same monotonic clock as this
process. It is written by a process of its own, which none of the faults touches.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from estim.clock import SystemClock
from estim.record import station_key
from estim.record.recover import recover
from estim.record.verify import What, verify

CHECKOUT = Path(__file__).resolve().parents[2]
PROFILE = "dpn-conventional"
TARGET = "1=12"
F_SETPIPE_SZ = 1031
START_WITHIN_S = 30.0
END_WITHIN_S = 15.0
_COLUMN_COUNT = 4


class Scene:
    """One simulator and one host; leaving the scene ends whatever is left of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trace = folder / "trace.csv"
        self.records = folder / "records"
        self.environment = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith("XDG_") or name == "XDG_RUNTIME_DIR"
        }
        self.environment |= {"HOME": str(folder), "PYTHONPATH": str(CHECKOUT)}
        self.device = ""
        self.target = TARGET
        self.simulator: subprocess.Popen[bytes] | None = None
        self.host: Host | None = None
        self._strays: list[int] = []
        self.at_end = contextlib.ExitStack()
        """What else is to be ended with this scene."""
        self.props: dict[str, Any] = {}
        """What else stands in it, by name."""

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.host is not None:
            for pid in self.host.pids():
                _kill(pid)
            self.host.close()
        for pid in self._strays:
            _kill(pid)
        if self.simulator is not None:
            self.end_simulator()
        self.at_end.close()

    def start_simulator(self, *options: str) -> str:
        """Start a simulator; return what a host opens."""
        with (self.folder / "simulator.txt").open("ab") as complaints:
            self.simulator = subprocess.Popen(
                [sys.executable, "-m", "estim.simulator", "--trace", str(self.trace), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=self.environment,
                start_new_session=True,
            )
        assert self.simulator.stdout is not None
        self.device = self.simulator.stdout.readline().decode().strip()
        assert self.device, (self.folder / "simulator.txt").read_text()
        return self.device

    def end_simulator(self, number: int = signal.SIGKILL) -> int:
        """End the simulator; return its exit code."""
        assert self.simulator is not None
        for pipe in (self.simulator.stdin, self.simulator.stdout):
            assert pipe is not None
            pipe.close()
        self.simulator.send_signal(number)
        code = self.simulator.wait(END_WITHIN_S)
        self.simulator = None
        return code

    def play(self, fault: str) -> None:
        """Let a fault of the simulator's happen now."""
        assert self.simulator is not None
        assert self.simulator.stdin is not None
        self.simulator.stdin.write(fault.encode() + b"\n")
        self.simulator.stdin.flush()

    def start_host(self, url: str = "", *options: str, **popen: Any) -> Host:
        """Start `estim run` on this scene's simulator, or on another URL."""
        self.host = Host(self.command(url, *options), self.environment, **popen)
        return self.host

    def command(self, url: str = "", *options: str) -> list[str]:
        """Return the command line of a host."""
        return [
            *(sys.executable, "-m", "estim", "run", PROFILE, "--json", "--bench", "500"),
            *("--device", url or f"native:{self.device}", "--amplitude", self.target),
            *("--duration", "60", "--records", str(self.records), *options),
        ]

    def wait_for_current(self) -> None:
        """Wait until current has reached the load.

        Raises:
            HostEnded: the host gave up before, and why.
        """

        def has_come() -> bool:
            if self.last_current_us() > 0:
                return True
            if self.host is not None and self.host.process.poll() is not None:
                code = self.host.end()
                raise HostEnded(f"exit code {code}: {self.host.complaints.decode()}")
            return False

        wait_for(has_come, START_WITHIN_S, "current")

    def last_current_us(self) -> int:
        """Return when the last current in the trace ended, 0 for none."""
        last_us = 0
        for row in self.rows():
            last_us = max(last_us, row[0] + row[3])
        return last_us

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the trace's whole rows: t_us, channel, current_ua, duration_us."""
        if not self.trace.exists():
            return
        for line in self.trace.read_text().split("\n")[1:-1]:
            columns = line.split(",")
            assert len(columns) == _COLUMN_COUNT, line
            at_us, channel, current_ua, duration_us = map(int, columns)
            yield at_us, channel, current_ua, duration_us

    def record(self) -> Path:
        """Return the one record of this scene."""
        (path,) = self.records.glob("*.jsonl")
        return path

    def key(self) -> bytes:
        """Return the station key that the host made."""
        key = station_key.load(self.folder / ".config" / "estim")
        assert key is not None
        return key

    def events(self) -> list[dict[str, Any]]:
        """Return the record's whole lines."""
        lines = self.record().read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def watch(self, *pids: int) -> None:
        """Kill these at the end, should they still be there."""
        self._strays += pids


class HostEnded(AssertionError):
    """A host that ended before any current flowed."""


class Host:
    """`estim run` as a process, its JSON lines, and its engine."""

    def __init__(self, command: list[str], environment: dict[str, str], **popen: Any) -> None:
        options: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "start_new_session": True,
        }
        self.process = subprocess.Popen(command, env=environment, **(options | popen))
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.seen: list[dict[str, Any]] = []
        self.complaints = b""
        self._threads: list[threading.Thread] = []
        if self.process.stderr is not None:
            self._drain(self._read_complaints)
        if self.process.stdout is not None:
            self._drain(self._read_events)

    @property
    def pid(self) -> int:
        """Return the interface's process id."""
        return self.process.pid

    def engine_pid(self) -> int:
        """Return the engine's process id: it is the interface's one child."""
        found: list[int] = wait_for(lambda: children(self.pid), START_WITHIN_S, "engine")
        (pid,) = found
        return pid

    def pids(self) -> list[int]:
        """Return what belongs to this host and still runs, grandchildren included."""
        if self.process.poll() is not None:
            return []
        engines = children(self.pid)
        return [*(pid for engine in engines for pid in children(engine)), *engines, self.pid]

    def wait_for_event(self, name: str, timeout_s: float = START_WITHIN_S) -> dict[str, Any]:
        """Wait for a JSON line of this kind."""
        found: list[dict[str, Any]]
        found = wait_for(lambda: self.all_of(name), timeout_s, f"event {name}")
        return found[-1]

    def all_of(self, name: str) -> list[dict[str, Any]]:
        """Return the JSON lines of this kind that came so far."""
        return [event for event in list(self.seen) if event["event"] == name]

    def end(self, timeout_s: float = END_WITHIN_S) -> int:
        """Wait for the interface's end; return its exit code, -N for signal N."""
        code = self.process.wait(timeout_s)
        for thread in self._threads:
            thread.join(timeout_s)
        return code

    def close(self) -> None:
        """Reap the process and close its pipes."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.end()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _drain(self, read: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=read, daemon=True))
        self._threads[-1].start()

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(json.loads(line))

    def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        self.complaints = self.process.stderr.read()


@dataclass(frozen=True, slots=True)
class Tail:
    """How a record ends: closed by its writer, or explained afterwards."""

    was_sealed: bool
    is_recovered: bool


def judge_record(path: Path, key: bytes) -> Tail:
    """Check that a record verifies, or that a crash alone is what is wrong and can be explained."""
    found = verify(path, key)
    if found.is_ok:
        return Tail(True, found.is_recovered)
    unexpected = [each for each in found.findings if each.what not in (What.TRUNCATED, What.TORN)]
    assert not unexpected, unexpected
    clock = SystemClock()
    assert recover(path, key, mono_us=clock.now_us(), wall=clock.wall()).was_needed
    again = verify(path, key)
    assert again.is_ok, again.findings
    return Tail(False, again.is_recovered)


def children(pid: int) -> list[int]:
    """Return the children of a process, of all its threads; none once it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(reached: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Wait until something is true; return it."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := reached()):
        assert time.monotonic() < deadline_s, f"no {what} within {timeout_s} s"
        time.sleep(0.01)
    return found


def now_us() -> int:
    """Return the clock of the trace."""
    return time.monotonic_ns() // 1000


def small_pipe() -> tuple[int, int]:
    """Return a pipe that takes one page."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    return reader, writer


def fill(writer: int) -> None:
    """Fill a pipe to its brim, without making its other writers non-blocking."""
    own = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(own, b"\n")
    finally:
        os.close(own)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
