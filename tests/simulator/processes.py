"""Simulated devices as processes, for tests of whatever talks to them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
END_S = 10


@contextmanager
def simulated(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `estim simulate`; give the process and what it prints first: what a host opens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "estim", "simulate", *arguments],
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
            process.terminate()  # one that has ended is left alone
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def play(process: subprocess.Popen[bytes], line: str) -> None:
    """Let a fault happen now."""
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()
