"""Commands load no more than they need, and start quickly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
HEAVY = {"textual", "rich", "numpy", "pydantic"}
# What is printed comes last, after whatever the command prints.
PROGRAM = """
import json, sys
from estim.__main__ import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]))
"""


def modules_after(*arguments: str) -> tuple[int, set[str]]:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, modules = json.loads(answer.stdout.splitlines()[-1])
    return code, set(modules)


def test_version_loads_not_even_argparse() -> None:
    code, modules = modules_after("--version")
    assert code == 0
    assert not modules & (HEAVY | {"argparse", "serial", "firmware_protocol", "estim.errors"})


def test_devices_loads_neither_textual_numpy_nor_pydantic() -> None:
    code, modules = modules_after("devices")
    assert code == 0
    assert "serial.tools.list_ports" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize("arguments", [["records", "list", "--records", "/"], ["--help"]])
def test_other_light_commands_stay_light(arguments: list[str]) -> None:
    _, modules = modules_after(*arguments)
    assert not modules & (HEAVY | {"serial"})


def test_the_probe_sees_what_a_heavy_command_loads() -> None:
    # Otherwise the tests above would pass whatever was loaded.
    _, modules = modules_after("profiles", "plot", "dpn-conventional")
    assert modules >= {"numpy", "pydantic"}
    # Only a page for a file needs the extra.
    assert not modules & {"textual", "matplotlib"}
