"""The architecture at run time: what an import really loads, in a fresh interpreter.

The contracts in pyproject.toml read the source; this sees what happens, whatever the way there.

1. A package is light unless it is named here: importing any of its modules loads neither the
   interface's libraries nor numpy. So a new package is held to this from its first day.
2. Only what opens ports loads pyserial.
3. What an extra brings is loaded by nothing until it is used, since it may be missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

# A command of `cli` is imported when it runs; tests/cli/test_startup.py watches what it loads.
HEAVY_PACKAGES = {"aio", "api", "cli", "prepare", "profile", "rig", "tui", "visit", "waveform"}
FOR_LABGRID = {"estim.rig.labgrid_driver", "estim.rig.labgrid_keeper"}  # labgrid imports them
PORT_PACKAGES = {"drivers", "engine", "simulator", "transport"}
HEAVY_LIBRARIES = {"matplotlib", "numpy", "pydantic", "reportlab", "rich", "textual"}

# The site-packages folder is named outright, since -S leaves out its .pth files, which may load
# anything before the first line of the program runs.
PROGRAM = """
import importlib, json, sys
sys.path[:0] = json.loads(sys.argv[1])
loaded = {}
for module in json.loads(sys.argv[2]):
    importlib.import_module(module)
    loaded[module] = sorted(set(sys.modules) & set(json.loads(sys.argv[3])))
print(json.dumps(loaded))
"""


def modules_of(path: Path) -> list[str]:
    """List the dotted names of the module or of all modules of the package at `path`."""
    files = [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
    names = [".".join(file.relative_to(CHECKOUT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def loaded_by(modules: list[str], watched: set[str]) -> dict[str, list[str]]:
    """Import `modules` one after another; tell which of `watched` are loaded after each."""
    search_path = [str(CHECKOUT), sysconfig.get_path("purelib")]
    arguments = [json.dumps(argument) for argument in (search_path, modules, sorted(watched))]
    answer = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    loaded: dict[str, list[str]] = json.loads(answer.stdout)
    return loaded


def light_packages() -> list[Path]:
    entries = [*(CHECKOUT / "estim").iterdir(), CHECKOUT / "firmware_protocol"]
    return sorted(
        entry
        for entry in entries
        if entry.stem not in HEAVY_PACKAGES
        and (entry.suffix == ".py" or (entry.is_dir() and any(entry.rglob("*.py"))))
    )


@pytest.mark.parametrize("package", light_packages(), ids=lambda package: str(package.stem))
def test_importing_a_light_package_loads_no_heavy_library(package: Path) -> None:
    forbidden = HEAVY_LIBRARIES | (set() if package.stem in PORT_PACKAGES else {"serial"})
    modules = modules_of(package)
    assert loaded_by(modules, forbidden) == {module: [] for module in modules}


@pytest.mark.long
def test_pictures_and_reports_load_their_libraries_when_they_are_made() -> None:
    """Rule 3, for the packages that rule 1 leaves out."""
    packages = [entry for entry in (CHECKOUT / "estim").iterdir() if entry.stem in HEAVY_PACKAGES]
    modules = [name for package in packages for name in modules_of(package)]
    assert set(modules) > {"estim.api", "estim.waveform.pictures", *FOR_LABGRID}
    modules = [name for name in modules if name not in FOR_LABGRID]
    extras = {"aiohttp", "duckdb", "labgrid", "matplotlib", "reportlab", "textual_serve"}
    assert loaded_by(modules, extras) == {module: [] for module in modules}


def test_the_probe_sees_a_library_that_is_loaded() -> None:
    # Otherwise every test above would pass whatever was loaded.
    assert loaded_by(["json", "numpy"], HEAVY_LIBRARIES) == {"json": [], "numpy": ["numpy"]}
