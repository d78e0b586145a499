"""`estim run` on a simulated PulsePal: real processes, a real pseudo-terminal, real time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.engine.scene import CHECKOUT, descendants
from tests.simulator.processes import simulated as simulated_process

pytestmark = pytest.mark.long

ESTIM = [sys.executable, "-m", "estim"]
RESIDUAL_US = 500_000
SLACK_US = 50_000


@dataclass
class Simulated:
    """A simulated PulsePal with 1000 ohm at its outputs."""

    path: str
    trace: Path
    folder: Path

    def rows(self) -> list[tuple[int, int, int, int]]:
        lines = self.trace.read_text().splitlines()[1:]
        whole = [line.split(",") for line in lines if line.count(",") == 3]
        return [(int(a), int(b), int(c), int(d)) for a, b, c, d in whole]

    def command(self, *options: str) -> list[str]:
        records = str(self.folder / "records")
        return [*ESTIM, "run", "dpn-conventional", "--records", records, "--json", *options]


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[Simulated]:
    trace = tmp_path / "trace.csv"
    with simulated_process("--model", "pulsepal", "--load", "1000", f"--trace={trace}") as (
        _,
        path,
    ):
        yield Simulated(path, trace, tmp_path)


def test_a_bench_run_delivers_what_was_asked_and_nothing_else(simulated: Simulated) -> None:
    """2 mA into 1000 ohm is 2 V: 200 us up, 200 us down, 12.5 ms apart or more."""
    device = f"pulsepal:{simulated.path}?load=1000"
    command = simulated.command(
        "--device", device, "--bench", "1000", "--duration", "2", "--amplitude", "1=2"
    )
    ran = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    time.sleep(0.2)
    rows = simulated.rows()
    up = [row for row in rows if row[2] > 0]
    assert {row[1] for row in rows} == {1}
    assert max(abs(row[2]) for row in rows) == 2000
    # A fall at the end cuts a pulse where it finds one, and the next comes no sooner for it.
    assert max(row[3] for row in rows) == 200
    assert sum(row[3] < 200 for row in rows) < len(rows) / 20
    assert min(later[0] - earlier[0] for earlier, later in pairwise(up)) >= 12_500
    # Counted from what was played: a train that a late host cuts counts for more than came.
    assert 0.95 * result["pulses"]["1"] <= len(up) <= result["pulses"]["1"] + 2


def test_without_a_load_in_its_url_it_says_what_is_missing(simulated: Simulated) -> None:
    device = f"pulsepal:{simulated.path}"
    command = simulated.command("--device", device, "--bench", "1000", "--amplitude", "1=2")
    ran = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 2
    assert "declares the load" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert simulated.rows() == []


@pytest.mark.hazard(30)
def test_output_ends_within_half_a_second_of_the_death_of_everything(simulated: Simulated) -> None:
    """The device has no watchdog: the train that it was given is all that goes on."""
    device = f"pulsepal:{simulated.path}?load=1000"
    command = simulated.command(
        "--device", device, "--bench", "1000", "--duration", "60", "--amplitude", "1=2"
    )
    run = subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end_s = time.monotonic() + 60
        while not any(row[2] == 2000 for row in simulated.rows()):
            assert time.monotonic() < end_s
            time.sleep(0.05)
    finally:
        for pid in [run.pid, *descendants(run.pid)]:
            os.kill(pid, signal.SIGKILL)
        killed_us = time.monotonic_ns() // 1000
        run.wait()
    time.sleep(1.2)
    last_us = simulated.rows()[-1][0]
    assert last_us < killed_us + RESIDUAL_US + SLACK_US
