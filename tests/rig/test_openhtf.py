"""The documented station in OpenHTF, run as its first lines say, on a simulated device."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

from tests.cli.commands import CHECKOUT
from tests.rig.test_pytest_plugin import simulated

EXAMPLE = CHECKOUT / "docs" / "openhtf_example.py"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        util.find_spec("openhtf") is None,
        reason="OpenHTF is not here: `pip install openhtf` in an environment with Estim",
    ),
]


def station(folder: Path, url: str) -> tuple[int, dict[str, object]]:
    """Run the example once; return its exit code and the document that it writes."""
    ran = subprocess.run(
        [sys.executable, EXAMPLE, url, "DUT-7"],
        env={"PYTHONPATH": str(CHECKOUT), "HOME": str(folder), "PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (folder / "result.json").exists(), ran.stderr
    return ran.returncode, json.loads((folder / "result.json").read_text("utf-8"))


def test_the_station_passes_a_sound_device_and_attaches_its_record(tmp_path: Path) -> None:
    with simulated("--load", "500", "--serial", "DUT-7") as url:
        code, document = station(tmp_path, url)
    assert (code, document["outcome"], document["dut_id"]) == (0, "PASS", "DUT-7")
    phases = document["phases"]
    assert isinstance(phases, list)
    (phase,) = [each for each in phases if each["name"] == "delivers"]
    measured = {name: each["measured_value"] for name, each in phase["measurements"].items()}
    assert measured["serial_number"] == "DUT-7"
    assert 2_000 <= measured["plateau_ms"] <= 2_300
    assert measured["pulses"] >= 160  # two seconds at 80 Hz, and those of the rise
    (name,) = phase["attachments"]
    assert name.endswith(".jsonl")


def test_the_station_fails_a_device_whose_lead_is_off(tmp_path: Path) -> None:
    with simulated("--load", "open") as url:
        code, document = station(tmp_path, url)
    assert (code, document["outcome"]) == (1, "FAIL")
