r"""From flash to verdict with pytest: one device on the bench, nobody connected. Copy it.

    FLASH='avrdude ... -U flash:w:firmware.hex' pytest test_recipe.py \
        --estim-device native:/dev/ttyUSB0 --estim-bench 500 --estim-firmware firmware.hex \
        --estim-capture 'command:sigrok-cli ... -o {file}' --junitxml=result.xml

Exit code 0: it passed. 1: something did not, and each failure says whose fault it is: a *failure*
is the device's, an *error* is the rig's or the host's. CONFORMANCE adds words to that command.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import Any

import pytest

from estim import api
from estim.errors import DeviceFault, RigFault
from estim.rig.pytest_plugin import Measure
from estim.rig.self_check import Bench

PROFILE = "dpn-conventional"
AMPLITUDE_UA = 3_000
DEVIATION_MAX_PERCENT = 5
BOOT_S = 30
FAILED, NO_DEVICE = 1, 3


@pytest.fixture(scope="session", autouse=True)
def _flashed(request: pytest.FixtureRequest) -> None:
    """Flash the device, and wait until it answers, before anything else is done with it."""
    command, url = os.environ.get("FLASH"), request.config.option.estim_device
    if not url:
        return
    if command and subprocess.run(command, shell=True, check=False).returncode:
        raise RigFault(f"it was not flashed: {command}")
    if not url.startswith("sim:"):
        estim("devices", url, "--wait", str(BOOT_S), "--json")


def estim(*words: str, accepted: tuple[int, ...] = (0,)) -> list[dict[str, Any]]:
    """Run a command of Estim; return what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "estim", *words], capture_output=True, text=True, check=False
    )
    if done.returncode not in accepted:
        kind = RigFault if done.returncode == NO_DEVICE else DeviceFault
        raise kind(f"estim {words[0]}: exit code {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_conforms(estim_bench: Bench) -> None:
    *_, result = said = estim(
        "conformance", "--device", estim_bench.url, "--bench", str(estim_bench.load_ohm),
        "--nobody-connected", "--json", *shlex.split(os.environ.get("CONFORMANCE", "")),
        accepted=(0, FAILED),
    )  # fmt: skip
    failed = [each["id"] for each in said if each.get("verdict") == "fail"]
    if failed:
        error = DeviceFault(f"it does not conform: {', '.join(failed)}")
        error.blame = "device"
        raise error
    assert result["conforms"]


def test_its_output_is_linear(estim_bench: Bench) -> None:
    """Its data sheet at one load, by its own report; `sheet.json` is kept where this fails."""
    (sheet,) = estim(
        "characterise", "--device", estim_bench.url, "--bench", str(estim_bench.load_ohm),
        "--load", str(estim_bench.load_ohm), "--nobody-connected", "--profile", PROFILE,
        "--amplitude", "1", "--amplitude", "3", "--records", str(estim_bench.folder), "--json",
    )  # fmt: skip
    (estim_bench.folder / "sheet.json").write_text(json.dumps(sheet, indent=1), "utf-8")
    (at_load,) = sheet["loads"]
    assert at_load["linearity"]["largest_deviation_percent"] <= DEVIATION_MAX_PERCENT


@pytest.mark.estim_profile(PROFILE, duration_s=10)
def test_what_reaches_the_load_is_what_was_asked(
    estim_session: api.Stimulator, estim_measure: Measure
) -> None:
    assert estim_session.prepared is not None
    others = (0,) * (len(estim_session.prepared.program.channels) - 1)
    estim_session.arm()
    estim_session.start()
    estim_session.set_targets_ua((AMPLITUDE_UA, *others))
    estim_session.wait_for(lambda shown: shown.channels[0].setpoint_ua >= AMPLITUDE_UA)
    result = estim_measure(2.0, channel=1, amplitude_ua=AMPLITUDE_UA)
    failed = [check for check in result.checks if check.verdict.value == "fail"]
    assert not failed
    assert result.verdict.value == "pass", result.unknowns
