"""A shell for commands, and folders of its own for whatever they would keep at home."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Shell


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep records and keys of this user out of every test."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("COLUMNS", "80")
    return folder


@pytest.fixture
def estim(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Return what runs a command in this process."""
    return Shell(capsys)
