"""What an installed Estim consists of; `make smoke` then installs and runs it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.hazard(41)
def test_the_wheel_holds_code_profiles_and_style_sheets_and_nothing_else(tmp_path: Path) -> None:
    build = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    (wheel,) = tmp_path.glob("estim-*.whl")

    code = {
        file.relative_to(CHECKOUT).as_posix()
        for package in ("estim", "firmware_protocol")
        for suffix in ("py", "tcss", "html", "css", "js")
        for file in (CHECKOUT / package).rglob(f"*.{suffix}")
        if "node_modules" not in file.parts
    }
    profiles = {
        f"estim/{file.relative_to(CHECKOUT).as_posix()}"
        for file in (CHECKOUT / "profiles").rglob("*.toml")
    }
    assert {"estim/profiles/dpn-conventional.toml", "estim/profiles/entries/h-wave.toml"} < profiles

    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert code | profiles <= held
    # Generated C and the like may come along from the packages; tests and tools may not.
    assert {name.split("/")[0] for name in held} == {"estim", "firmware_protocol"}


@pytest.mark.long
def test_the_same_checkout_gives_the_same_wheel(tmp_path: Path) -> None:
    """Built twice, the second time from a copy elsewhere with other times: the same bytes."""
    copy = tmp_path / "elsewhere"
    left_out = shutil.ignore_patterns(".git", ".venv*", "build", "__pycache__", "tests", ".*_cache")
    shutil.copytree(CHECKOUT, copy, ignore=left_out, copy_function=shutil.copyfile)
    digests = []
    for number, place in enumerate((CHECKOUT, copy)):
        words = ["hatchling", "build", "-t", "wheel", "-d", str(tmp_path / str(number))]
        subprocess.run(
            [sys.executable, "-m", *words], cwd=place, capture_output=True, timeout=200, check=True
        )
        (wheel,) = (tmp_path / str(number)).glob("estim-*.whl")
        digests.append(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert digests[0] == digests[1]
