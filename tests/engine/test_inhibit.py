"""The computer is kept awake while output is possible, or people are told that it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from estim.engine.inhibit import Inhibitor
from estim.session import messages as msg
from estim.session.states import HostState
from tests.engine.scene import CHECKOUT, is_alive, wait_for
from tests.session.bench import MS, Bench

HOLDS = 'echo $$ > "$NOTE"; echo "$@" >> "$NOTE"; exec cat'
REFUSES = "exit 1"
STUBBORN = 'trap "" TERM; echo $$ > "$NOTE"; sleep 0.5; cat; sleep 0.2'


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a folder of its own before the system's programs; return where a script leaves notes."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTE", str(tmp_path / "note"))
    return tmp_path / "note"


def install(note: Path, script: str) -> None:
    program = note.parent / "systemd-inhibit"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)


@pytest.mark.hazard(35)
def test_the_lock_is_held_for_idle_sleep_and_lid_and_given_back(note: Path) -> None:
    install(note, HOLDS)
    inhibitor = Inhibitor()
    assert inhibitor.explanation == ""
    inhibitor.hold()
    inhibitor.hold()
    wait_for(lambda: note.exists() and note.read_text().count("\n") == 2, 3.0, "holder")
    pid, asked = note.read_text().splitlines()
    assert "--what=idle:sleep:handle-lid-switch" in asked
    assert "--mode=block" in asked
    assert inhibitor.explanation == "idle, sleep and lid switch are held off"
    inhibitor.release()
    inhibitor.release()
    assert inhibitor.explanation == ""
    wait_for(lambda: not is_alive(int(pid)), 3.0, "end of the holder")


def test_giving_the_lock_back_holds_nobody_up(note: Path) -> None:
    install(note, STUBBORN)
    inhibitor = Inhibitor()
    inhibitor.hold()
    wait_for(note.exists, 3.0, "holder")
    began_s = time.monotonic()
    inhibitor.release()
    assert time.monotonic() - began_s < 0.1
    pid = int(note.read_text())
    wait_for(lambda: not is_alive(pid), 6.0, "end of the holder")


def test_a_refusal_is_told(note: Path) -> None:
    install(note, REFUSES)
    inhibitor = Inhibitor()
    inhibitor.hold()
    wait_for(lambda: "refused" in inhibitor.explanation, 3.0, "refusal")
    inhibitor.release()


def test_a_system_without_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    inhibitor = Inhibitor()
    inhibitor.hold()
    assert inhibitor.explanation.startswith("this system offers no way")
    inhibitor.release()


def _two_stimulations(folder: Path) -> list[str]:
    """Arm, start, pause, stop and arm again; return what was said of staying awake."""
    folder.mkdir()
    bench = Bench(folder, inhibitor=Inhibitor())
    bench.to(HostState.READY)
    bench.run(300 * MS)
    assert bench.notices == []  # nobody is bothered while nothing can flow
    for step in (msg.Arm, msg.Start, msg.Pause, msg.Start, msg.Stop):
        assert bench.settle(bench.ask(step))
        bench.run(300 * MS)
    bench.prepare()
    assert bench.settle(bench.ask(msg.Arm))
    bench.run(300 * MS)
    bench.loop.end()
    assert all(notice.severity is msg.Severity.WARNING for notice in bench.notices)
    assert all(notice.blame is msg.Blame.HOST for notice in bench.notices)
    return [notice.text for notice in bench.notices]


def test_a_session_on_a_system_without_it_is_warned_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = _two_stimulations(tmp_path / "records")
    assert said == ["this system offers no way to keep it awake: switch off its sleep yourself"]


def test_a_session_that_is_kept_awake_is_told_nothing(note: Path) -> None:
    install(note, HOLDS)
    assert _two_stimulations(note.parent / "records") == []


def test_the_lock_goes_with_whoever_held_it(note: Path) -> None:
    install(note, HOLDS)
    code = (
        "import time; from estim.engine.inhibit import Inhibitor\n"
        "inhibitor = Inhibitor(); inhibitor.hold(); time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-P", "-c", code], env=dict(os.environ, PYTHONPATH=str(CHECKOUT))
    )
    wait_for(lambda: note.exists() and note.read_text().count("\n") == 2, 5.0, "holder")
    pid = int(note.read_text().splitlines()[0])
    assert is_alive(pid)
    holder.kill()
    holder.wait()
    wait_for(lambda: not is_alive(pid), 3.0, "end of the lock")
