"""The C core, built once a session in a folder of its own; without a compiler these tests skip.

`make test-firmware` builds it beforehand, for coverage, and names the folder in ESTIM_FIRMWARE.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.firmware.avr_machine import Avr, Machine, build_avr, missing_tools
from tests.firmware.core import NO_COMPILER, SMALL, Lockstep, build, compiler


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that holds the lock-step process and the device process."""
    return _built(tmp_path_factory, "full")


@pytest.fixture(scope="session")
def built_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same of a core that holds as little as a microcontroller's."""
    return _built(tmp_path_factory, "small", f"DEFINES={SMALL}")


def _built(tmp_path_factory: pytest.TempPathFactory, name: str, *variables: str) -> Path:
    if compiler() is None:
        pytest.skip(NO_COMPILER)
    given = os.environ.get("ESTIM_FIRMWARE")
    folder = Path(given) / name if given else tmp_path_factory.mktemp("firmware") / name
    if not given:
        build("lockstep", folder, *variables)
        build("posix", folder, *variables)
    return folder


@pytest.fixture(scope="module")
def lockstep(built: Path) -> Iterator[Lockstep]:
    """Step one process through all tests of a module; each test boots it afresh."""
    process = Lockstep(built / "lockstep")
    yield process
    assert process.close() == 0


@pytest.fixture(scope="module")
def small(built_small: Path) -> Iterator[Lockstep]:
    """Step a core of one channel, 6 phases and 8 keyframes."""
    process = Lockstep(built_small / "lockstep")
    yield process
    assert process.close() == 0


@pytest.fixture(scope="session")
def avr(tmp_path_factory: pytest.TempPathFactory) -> Avr:
    """Return image and emulator; these tests skip without their tools, and say which."""
    missing = missing_tools()
    if missing:
        pytest.skip(f"the AVR image is not tested: install {' '.join(missing)}")
    return build_avr(tmp_path_factory.mktemp("avr"))


@pytest.fixture
def machine(avr: Avr, tmp_path: Path) -> Iterator[Machine]:
    """Boot the AVR image in lock-step."""
    process = Machine(avr.runner, avr.image, tmp_path / "trace.csv")
    yield process
    assert process.close() == 0
