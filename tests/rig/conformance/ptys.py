"""Devices as processes on pseudo-terminals, with a line that can let things happen to them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from estim.clock import SystemClock
from estim.rig.conformance.capture import Capture
from estim.rig.conformance.requirement import Finding
from estim.rig.conformance.suite import Report, Suite, chosen_requirements
from estim.rig.conformance.world import world_of
from estim.transport.serial_port import open_port

CHECKOUT = Path(__file__).parents[3]
BENCH = ("--bench", "500", "--nobody-connected")


def conformance(*arguments: str) -> subprocess.Popen[str]:
    """Start `estim conformance`."""
    return subprocess.Popen(
        [sys.executable, "-m", "estim", "conformance", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )


class PtyLine:
    """The port of a device's process; faults go to its standard input."""

    def __init__(self, process: subprocess.Popen[bytes], path: str) -> None:
        self._process = process
        self._port = open_port(path)

    def read(self) -> bytes:
        return self._port.read()

    def write(self, sending: bytes) -> None:
        self._port.write(sending)

    def play_fault(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        self._port.close()


@contextmanager
def device(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start `python -m COMMAND`; give the process and the address that it prints first."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            yield process, process.stdout.readline().decode().strip()
        finally:
            process.terminate()
            process.wait(10)


def judge_process(only: tuple[str, ...], folder: Path, *command: str) -> Report:
    """Start a device and run the kit against it, in real time."""
    trace = folder / "trace.csv"
    with device(*command, f"--trace={trace}") as (process, path):
        return judge_device(only, process, path, trace)


def judge_device(
    only: tuple[str, ...], process: subprocess.Popen[bytes], path: str, trace: Path
) -> Report:
    """Run the kit against a device's process, in real time."""
    line = PtyLine(process, path)
    suite = Suite(
        line, SystemClock(), world_of(line, None), url=path, bench_ohm=500,
        capture=Capture(trace),
    )  # fmt: skip

    def quiet(finding: Finding, number: int, total: int) -> None:
        assert number <= total

    try:
        return suite.run(chosen_requirements(only), quiet)
    finally:
        line.close()
