"""Keep the tests of the interface away from this machine's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a configuration folder of its own, with its own station key."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Return the folder that a test's records go to."""
    return tmp_path / "records"
