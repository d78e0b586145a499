"""The C core, built once a session in a folder of its own; without a compiler these tests skip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.firmware.core import NO_COMPILER, Lockstep, build, compiler


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that holds the lock-step process and the device process."""
    if compiler() is None:
        pytest.skip(NO_COMPILER)
    folder = tmp_path_factory.mktemp("firmware")
    build("lockstep", folder)
    build("posix", folder)
    return folder


@pytest.fixture(scope="module")
def lockstep(built: Path) -> Iterator[Lockstep]:
    """Step one process through all tests of a module; each test boots it afresh."""
    process = Lockstep(built / "lockstep")
    yield process
    assert process.close() == 0
