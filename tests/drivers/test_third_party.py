"""A driver that another package brings: built, installed beside estim, found by name, used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import CHECKOUT
from tests.simulator.processes import simulated

pytestmark = pytest.mark.long

EXAMPLE = Path(__file__).parent / "example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the example installed in it, as pip leaves it."""
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = WheelBuilder(str(EXAMPLE)).build(directory=str(folder / "dist"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def device() -> Iterator[str]:
    """Give the path of a simulated stimulator."""
    with simulated() as (_, path):
        yield path


def estim(installed: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(CHECKOUT), str(installed)))
    environment = os.environ | {"PYTHONPATH": paths, "HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "estim", *arguments],
        env=environment, cwd=home, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_it_is_named_beside_the_built_in_ones_and_by_doctor(
    installed: Path, tmp_path: Path
) -> None:
    refused = estim(installed, tmp_path, "devices", "nobox:x")
    assert refused.returncode == 2
    assert "mybox:" in refused.stderr
    looked = estim(installed, tmp_path, "doctor", "--json")
    found = [json.loads(line) for line in looked.stdout.splitlines()]
    assert any(item["check"] == "driver mybox:" for item in found)


def test_a_session_runs_on_it_and_tells_its_caution(
    installed: Path, tmp_path: Path, device: str
) -> None:
    ran = estim(
        installed, tmp_path, "run", "dpn-conventional", "--device", f"mybox:{device}",
        "--bench", "500", "--amplitude", "1=1", "--duration", "1", "--json",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = {item["event"]: item for item in map(json.loads, ran.stdout.splitlines())}
    assert "prototype" in told["prepared"]["caution"]
    assert told["result"]["pulses"]["1"] > 50


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('broken')", "broken"),
        ("MyBoxStimulator = 7", "no subclass of Stimulator"),
        ("", "cannot be loaded"),
    ],
)
def test_a_driver_that_is_none_gets_one_message(
    installed: Path, tmp_path: Path, body: str, words: str
) -> None:
    broken = tmp_path / "broken"
    (broken / "estim_mybox-1.0.dist-info").mkdir(parents=True)
    for name in ("METADATA", "entry_points.txt"):
        kept = installed / "estim_mybox-1.0.dist-info" / name
        (broken / "estim_mybox-1.0.dist-info" / name).write_bytes(kept.read_bytes())
    (broken / "estim_mybox.py").write_text(f"{body}\n")
    refused = estim(
        broken, tmp_path, "run", "dpn-conventional", "--device", "mybox:x", "--bench", "500",
        "--amplitude", "1=1",
    )  # fmt: skip
    assert refused.returncode == 2, refused.stderr
    (line,) = [each for each in refused.stderr.splitlines() if each.startswith("estim:")]
    assert words in line
    assert "Traceback" not in refused.stderr


def test_nothing_of_it_is_loaded_for_another_device(installed: Path, tmp_path: Path) -> None:
    (installed / "estim_mybox.py").rename(tmp_path / "away.py")
    try:
        ran = estim(installed, tmp_path, "devices", "--json")
        assert ran.returncode == 0, ran.stderr
    finally:
        (tmp_path / "away.py").rename(installed / "estim_mybox.py")
