"""Tables fit the terminal that shows them; a pipe gets them whole."""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from estim.cli.parser import build_parser, parse
from tests.cli.commands import CHECKOUT
from tests.record.samples import start

IDS = ("20261121-001342-a1b2c3", "20261121-091500-00ff00")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    folder.mkdir()
    for session_id in IDS:
        start(folder, session_id).close()
    return folder


def in_terminal(columns: int, *arguments: str) -> list[str]:
    """Return what a terminal of so many columns is sent, line by line."""
    keyboard, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
    sent: list[bytes] = []

    def drain() -> None:
        try:
            while taken := os.read(keyboard, 4096):
                sent.append(taken)
        except OSError:  # every process has closed its end
            pass

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        subprocess.run(
            [sys.executable, "-m", "estim", *arguments],
            cwd=CHECKOUT,
            env={**environment, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
    finally:
        os.close(terminal)
        reader.join()
        os.close(keyboard)
    return b"".join(sent).decode().replace("\r\n", "\n").splitlines()


def whole(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "estim", *arguments],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip


def test_the_library_folds_its_titles_and_loses_none_of_their_words() -> None:
    lines = in_terminal(80, "profiles", "list")
    assert max(map(len, lines)) <= 80
    (first,) = [n for n, line in enumerate(lines) if line.startswith("dpn-nerve-trunk-high-rate ")]
    assert lines[first + 1].startswith(" ")
    folded = " ".join(f"{lines[first][51:]} {lines[first + 1]} {lines[first + 2]}".split())
    title = "Diabetic peripheral neuropathy, high rate over nerve trunks"
    assert title in folded
    assert title in whole("profiles", "list")


@pytest.mark.parametrize("columns", [80, 100])
def test_the_limits_of_a_profile_fit(columns: int) -> None:
    lines = in_terminal(columns, "profiles", "show", "tens-modulated")
    table = [line for line in lines if line.startswith(("  limit", "  rms", "  current density"))]
    assert len(table) >= 3
    assert max(map(len, lines)) <= columns


def test_the_records_keep_their_ids_and_say_what_was_left_out(records: Path) -> None:
    lines = in_terminal(80, "records", "list", "--records", str(records))
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:3]] == list(IDS)
    assert "started (UTC)" not in lines[0]
    assert lines[-1].startswith("A wider terminal shows more: started (UTC)")
    piped = whole("records", "list", "--records", str(records)).splitlines()
    assert "started (UTC)" in piped[0]
    assert len(piped) == 3


def help_pages(parser: argparse.ArgumentParser, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command that has a page of help."""
    yield path
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, deeper in action.choices.items():
                yield from help_pages(deeper, *path, name)


def test_every_page_of_help_fits_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pages = list(help_pages(build_parser()))
    assert {(), ("run",), ("records", "export"), ("config", "set")} <= set(pages)
    for page in pages:
        with pytest.raises(SystemExit):
            parse([*page, "--help"])
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: {' '.join(('estim', *page))}")
        too_wide = [line for line in shown.splitlines() if len(line) > 80]
        assert too_wide == [], page
