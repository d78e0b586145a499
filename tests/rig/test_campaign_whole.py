"""A campaign from its first process to its last question: real devices' processes, real pytest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from estim.rig.campaign import rows
from tests.rig.test_pytest_plugin import installed
from tests.simulator.processes import simulated

__all__ = ["installed"]

pytestmark = pytest.mark.long

SUITE = '''
"""One sound test, and one that fails every second time on the device that is called A."""

from pathlib import Path

import pytest


@pytest.mark.estim_profile("low-back-pain", duration_s=10)
def test_pulses(estim_session, estim_measure):
    estim_session.arm()
    estim_session.start()
    estim_session.set_targets_ua((2_000, 0))
    estim_session.wait_for(lambda shown: shown.channels[0].setpoint_ua >= 2_000)
    assert estim_measure(0.5, channel=1, amplitude_ua=2_000).verdict.value == "pass"


def test_flaky(stimulator):
    device = stimulator.identify().serial_number
    seen = Path(__file__).with_name(f"seen-{device}")
    was_there = seen.exists()
    seen.touch()
    assert device != "A" or was_there
'''


def estim(installed: Path, home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed), "HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-P", "-m", "estim", "campaign", *map(str, words)],
        cwd=home, env=environment, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


def test_three_devices_two_tasks_one_table(installed: Path, tmp_path: Path) -> None:
    """A and B run by themselves, C is behind TCP; the third trial of A's flaky test passes again.

    A: fails once of three, and passed twice: 1/3. B and C: never fail.
    """
    suite, out = tmp_path / "suite", tmp_path / "out"
    suite.mkdir()
    (suite / "test_it.py").write_text(SUITE)
    (suite / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -p no:asyncio\n")
    bench = ("--bench", "500", "--nobody-connected", "--out", out, "--json")
    with simulated("--serial", "C", "--tcp", "0", "--trace", str(tmp_path / "c.csv")) as (_, c):
        devices = ("--device", "sim:?serial=A", "--device", "sim:?serial=B")
        ran = estim(installed, tmp_path, "run", suite, *bench, *devices, "--repeat", "3")
        judged = estim(
            installed, tmp_path, "run", "conformance", *bench, "--device", f"native:{c}",
            *devices[:2],
        )  # fmt: skip
    assert (ran.returncode, judged.returncode) == (1, 0), ran.stderr + judged.stderr
    found = rows.read(out)
    tests = Counter(
        (row["dut_serial"], row["outcome"]) for row in found if row["task"] == str(suite)
    )
    assert tests == {("A", "passed"): 5, ("A", "failed"): 1, ("B", "passed"): 6}
    (bad,) = [row for row in found if row["outcome"] == "failed"]
    assert (bad["test"].rpartition(".")[2], bad["repetition"]) == ("test_flaky", 1)
    conformance = [row for row in found if row["task"] == "conformance"]
    assert {row["dut_serial"] for row in conformance} == {"A", "C"}
    assert {row["outcome"] for row in conformance if row["dut_serial"] == "A"} == {"passed"}
    assert all(row["dut_firmware"] and row["schema_hash"] for row in found)

    # Of every run of the suite: JUnit, the records of each test, and the capture that was measured.
    for row in found:
        if row["task"] == str(suite):
            names = [Path(path).name for path in row["artefacts"]]
            assert "junit.xml" in names
            assert names.count("measured.csv") == 1
            assert sum(name.endswith(".jsonl") for name in names) >= 2
            assert all((out / path).is_file() for path in row["artefacts"])

    pytest.importorskip("duckdb", reason="DuckDB is not here: the extra `analysis` brings it")
    answer = estim(installed, tmp_path, "flakes", out, "--by", "device", "--json")
    rates = {told["dut_serial"]: told["flake_rate"] for told in lines(answer.stdout)}
    runs_of_a = 6 + sum(row["dut_serial"] == "A" for row in conformance)
    assert rates == {"A": round(3 / runs_of_a * 1 / 3, 4), "B": 0.0, "C": 0.0}
    answer = estim(installed, tmp_path, "flakes", out, "--by", "test", "--json")
    worst = lines(answer.stdout)[0]
    assert (worst["test"].rpartition(".")[2], worst["runs"], worst["failed"]) == (
        "test_flaky",
        6,
        1,
    )
    assert worst["flake_rate"] == round(1 / 6, 4)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
