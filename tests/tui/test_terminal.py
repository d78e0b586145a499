"""A beat is what the terminal has taken; a session without a terminal ends."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from estim.tui.terminal import BeatReportingFile
from estim.tui.words import BEAT_SIGNS, safe
from tests.tui.terminal import CHECKOUT, PROGRAM, Terminal

pytestmark = pytest.mark.long  # whole processes in real time


@pytest.mark.hazard(8)
def test_a_beat_is_reported_only_once_it_was_flushed() -> None:
    beats: list[int] = []
    file = BeatReportingFile(io.StringIO(), beats.append)
    file.write(f"\x1b[1;1H{BEAT_SIGNS[1]} RUNNING")
    assert beats == []
    file.flush()
    assert beats == [1]


def test_the_same_sign_drawn_again_is_no_new_beat() -> None:
    beats: list[int] = []
    file = BeatReportingFile(io.StringIO(), beats.append)
    for _ in range(3):
        file.write(BEAT_SIGNS[1])
        file.flush()
    file.write(BEAT_SIGNS[2] + BEAT_SIGNS[3] + BEAT_SIGNS[0])
    file.flush()
    assert beats == [1, 4]


@pytest.mark.hazard(8)
def test_a_flush_that_fails_reports_nothing() -> None:
    class Broken(io.StringIO):
        def flush(self) -> None:
            raise OSError("the terminal is gone")

    beats: list[int] = []
    file = BeatReportingFile(Broken(), beats.append)
    file.write(BEAT_SIGNS[1])
    with pytest.raises(OSError, match="gone"):
        file.flush()
    assert beats == []


def test_no_text_from_a_file_looks_like_a_beat() -> None:
    assert not set(safe(f"left leg {BEAT_SIGNS}")) & set(BEAT_SIGNS)


def _running(terminal: Terminal) -> None:
    """Bring the demo session to RUNNING with current flowing."""
    assert terminal.wait_for(lambda: terminal.shows("g starts")), "the session did not open"
    terminal.press("g")
    assert terminal.wait_for(lambda: terminal.shows("RUNNING")), "it did not start"
    terminal.press("+")
    assert terminal.wait_for(lambda: terminal.shows("0.5 mA")), "it did not rise"


def _ends(terminal: Terminal, within_s: float) -> int | None:
    end = time.monotonic() + within_s
    while terminal.process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    return terminal.process.poll()


@pytest.mark.hazard(8)
def test_a_terminal_that_stops_reading_ends_the_output_and_says_so_later(tmp_path: Path) -> None:
    with Terminal(tmp_path, is_demo=True) as terminal:
        _running(terminal)
        end = time.monotonic() + 6.0
        while '"code":"display_frozen"' not in terminal.record() and time.monotonic() < end:
            time.sleep(0.02)  # nothing is read meanwhile
        assert '"code":"display_frozen"' in terminal.record()
        terminal.drawn = b""
        assert terminal.wait_for(lambda: terminal.shows("FAULT"))


@pytest.mark.hazard(34)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_output_restores_the_terminal_and_exits_130(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Terminal(tmp_path, is_demo=True) as terminal:
        _running(terminal)
        os.kill(terminal.process.pid, number)
        terminal.wait_for(lambda: terminal.process.poll() is not None, 5.0)
        assert terminal.process.returncode == 130
        terminal.read(0.1)
        assert b"\x1b[?1049l" in terminal.drawn  # out of the alternate screen
        assert terminal.is_cooked()
    assert f'"reason":"{number.name}"' in terminal.record()
    assert '"kind":"seal"' in terminal.record()


@pytest.mark.hazard(34)
def test_a_suspended_interface_leaves_no_output_on(tmp_path: Path) -> None:
    with Terminal(tmp_path, is_demo=True) as terminal:
        _running(terminal)
        os.kill(terminal.process.pid, signal.SIGTSTP)
        assert terminal.wait_for(lambda: '"kind":"zero_confirmed"' in terminal.record())
        assert '"reason":"suspended"' in terminal.record()
        status = Path(f"/proc/{terminal.process.pid}/stat")
        assert terminal.wait_for(lambda: ") T " in status.read_text()), "it was not suspended"
        terminal.drawn = b""
        os.kill(terminal.process.pid, signal.SIGCONT)
        assert terminal.wait_for(lambda: terminal.shows("STOPPED"))


DEAF_TO_HANGUP = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n"


@pytest.mark.hazard(34)
@pytest.mark.parametrize("program", [PROGRAM, DEAF_TO_HANGUP + PROGRAM], ids=["told", "not told"])
def test_a_terminal_that_is_gone_ends_the_session_and_the_process(
    tmp_path: Path, program: str
) -> None:
    with Terminal(tmp_path, is_demo=True, program=program) as terminal:
        _running(terminal)
        terminal.hang_up()
        assert _ends(terminal, 5.0) is not None
    assert '"kind":"stop"' in terminal.record()
    assert '"kind":"seal"' in terminal.record()


@pytest.mark.hazard(34)
def test_without_a_terminal_there_is_no_interface(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), ""],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(CHECKOUT)),
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2
    assert "needs a terminal" in ended.stderr
    assert ended.stdout == ""
