"""The driver's URL from each kind of port, and the strategy on a port of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.scene import CHECKOUT, Scene

pytest.importorskip("labgrid", reason="labgrid is not here: `make test-labgrid` has it")

HEAD = "imports: [estim.rig.labgrid_driver]\ntargets:\n  main:\n    resources:\n"


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with Scene(tmp_path) as scene:
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            monkeypatch.delenv(name, raising=False)
        yield scene


def _target(folder: Path, resource: str, driver: str = "") -> Any:
    from labgrid import Environment

    file = folder / "environment.yaml"
    file.write_text(
        f"{HEAD}      {resource}\n    drivers:\n"
        f"      EstimStimulatorDriver: {{bench_ohm: 500, records: '{folder}/records'{driver}}}\n"
        "      EstimStrategy: {duration_s: 1}\n"
    )
    return Environment(str(file)).get_target("main")


@pytest.mark.parametrize(
    ("resource", "driver", "url"),
    [
        ("RawSerialPort: {port: /dev/ttyUSB0}", "", "native:/dev/ttyUSB0"),
        (
            "RawSerialPort: {port: /dev/ttyUSB0, speed: 500000}", "",
            "native:/dev/ttyUSB0?baud=500000",
        ),
        ("RawSerialPort: {port: /dev/ttyACM0}", ", dialect: p24", "p24:/dev/ttyACM0"),
        (
            "NetworkSerialPort: {host: rig, port: 4000, protocol: raw}", "",
            "native:socket://rig:4000",
        ),
        (
            "NetworkSerialPort: {host: rig, port: 4000}", "",
            "native:rfc2217://rig:4000?ign_set_control",
        ),
        (
            "NetworkSerialPort: {host: rig, port: 4000, speed: 9600}", "",
            "native:rfc2217://rig:4000?ign_set_control&baud=9600",
        ),
    ],
)  # fmt: skip
def test_every_kind_of_port_becomes_a_url(
    tmp_path: Path, resource: str, driver: str, url: str
) -> None:
    target = _target(tmp_path, resource, driver)
    assert target.get_driver("EstimStimulatorDriver", activate=False).url == url


@pytest.mark.long
def test_the_strategy_goes_up_and_down_on_a_port_of_this_machine(scene: Scene) -> None:
    target = _target(scene.folder, f"RawSerialPort: {{port: {scene.start_simulator()}}}")
    strategy = target.get_driver("EstimStrategy")
    driver = target.get_driver("EstimStimulatorDriver", activate=False)
    strategy.transition("identified")
    assert driver.identify().serial_number == "SIM-0001"
    strategy.transition("armed")
    driver.start({1: 2})
    result = driver.wait_until_finished()
    assert (result.end_state.value, result.fault) == ("ready", "")
    strategy.transition("armed")
    strategy.transition("identified")
    assert driver.stimulator.snapshot.state.value == "ready"
    strategy.transition("off")
    assert driver.stimulator is None
    target.cleanup()


def test_a_status_that_does_not_exist_and_a_device_that_is_not_there(tmp_path: Path) -> None:
    from labgrid.strategy import StrategyError

    target = _target(tmp_path, "RawSerialPort: {port: /dev/ttyNOT_THERE}")
    strategy = target.get_driver("EstimStrategy")
    with pytest.raises(StrategyError) as caught:
        strategy.transition("armed")
    assert "there is no such port" in str(caught.value.__cause__)


def test_doctor_says_whose_serial_this_is_and_names_a_clash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """labgrid's fork alone serves; beside pyserial nobody can say which of the two is imported."""
    monkeypatch.setenv("HOME", str(tmp_path))
    command = [sys.executable, "-m", "estim", "doctor", "--json"]

    def states(*folders: Path) -> dict[str, dict[str, str]]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, *folders)))}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        return {line["check"]: line for line in map(json.loads, done.stdout.splitlines())}

    found = states()
    assert found["pyserial"]["found"].startswith("pyserial-labgrid 3")
    assert found["pyserial"]["state"] == found["serial module"]["state"] == "note"
    assert "clock" in found  # the rest was looked at
    both = tmp_path / "pyserial-3.5.dist-info"
    both.mkdir()
    (both / "METADATA").write_text("Metadata-Version: 2.1\nName: pyserial\nVersion: 3.5\n")
    (both / "top_level.txt").write_text("serial\n")
    clash = states(tmp_path)["serial module"]
    assert clash["state"] == "FAILED"
    assert "pyserial-labgrid" in clash["found"]
