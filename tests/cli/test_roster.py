"""`estim roster`: PINs come from standard input or a terminal, and are never shown."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.commands import CHECKOUT, Shell


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sys, "stdin", io.StringIO("4711\n"))
    return monkeypatch


def test_somebody_is_added_listed_and_removed(estim: Shell, typed: pytest.MonkeyPatch) -> None:
    assert "Nobody is on the roster" in estim("roster", "list").out
    added = estim("roster", "add", "C-1", "--role", "clinician", "--pin-stdin")
    assert (added.code, added.err) == (0, "")
    assert "4711" not in added.out
    (listed,) = estim("roster", "list", "--json").objects
    assert listed == {
        "schema": "estim.roster/1",
        "operator": "C-1",
        "role": "clinician",
        "may_override": True,
        "wrong_pins": 0,
    }
    typed.setattr(sys, "stdin", io.StringIO("9081\r\n"))
    assert estim("roster", "pin", "C-1", "--pin-stdin").code == 0
    assert estim("roster", "remove", "C-1").code == 0
    assert "Nobody is on the roster" in estim("roster", "list").out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("add", "A B", "--role", "clinician", "--pin-stdin"), "letters, digits"),
        (("add", "T-1", "--role", "owner", "--pin-stdin"), "--role"),
        (("add", "T-1", "--role", "therapist"), "--pin-stdin"),
        (("add", "T-1", "--pin-stdin"), "--role"),
        (("pin", "nobody", "--pin-stdin"), "not on the roster"),
        (("remove", "nobody"), "not on the roster"),
        (("add", "T-1", "4711", "--role", "therapist"), "4711"),
    ],
)
def test_bad_usage_is_one_message(
    estim: Shell, typed: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: str
) -> None:
    answer = estim("roster", *arguments)
    answer.assert_one_message(2)
    assert expected in answer.err


def test_a_poor_pin_is_refused_unseen(estim: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("777777\n"))
    answer = estim("roster", "add", "T-1", "--role", "therapist", "--pin-stdin")
    answer.assert_one_message(2)
    assert "777777" not in answer.err


def test_a_pin_that_is_typed_at_a_terminal_is_not_shown(home: Path) -> None:
    """A real terminal: what comes back on it are the questions and nothing of the PIN."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "estim", "roster", "add", "T-1", "--role", "therapist"],
        cwd=CHECKOUT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 30
    for question in (b"PIN (4 to 12", b"The same PIN"):
        while question not in shown and time.monotonic() < deadline:
            shown += os.read(ours, 1000)
        os.write(ours, b"4711\n")
    while True:
        try:
            more = os.read(ours, 1000)
        except OSError:  # Linux: the other end is closed
            break
        shown += more
        if not more:
            break
    os.close(ours)
    assert process.wait(30) == 0, shown
    assert b"T-1: therapist" in shown
    assert b"4711" not in shown
    assert b"4711" not in (home / "config" / "estim" / "roster.json").read_bytes()
