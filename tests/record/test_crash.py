"""A crash at any call and any byte loses nothing that was promised, and hides nothing that is lost.

`tests.record.crash_disk` says what a crash is, `tests.record.crash_lives` what was promised.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from estim.prepare import roster
from tests.record.crash_disk import (
    Disk,
    Fault,
    State,
    cut_states,
    killed_states,
    last_states,
)
from tests.record.crash_engine import judge_engine, live_engine
from tests.record.crash_lives import (
    STEPS,
    Tell,
    config_folder,
    judge_configuration,
    judge_configuration_of_a_liar,
    judge_session,
    judge_session_of_a_liar,
    live_configuration,
    live_on_after_session,
    live_session,
    live_threaded_session,
)

Live = Callable[[Path, Tell], None]
Judge = Callable[[Path, State], None]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in memory where there is one: thousands of files are written and synced."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def quick_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a PIN be hashed in no time: nobody guesses here."""
    monkeypatch.setattr(roster, "SCRYPT_N", 2)


def recorded(root: Path, live: Live, fault: Fault | None = None) -> Disk:
    root.mkdir()
    with Disk(root, fault) as disk:
        live(root, disk.tell)
    return disk


def judge_all(place: Path, states: Iterable[State], judge: Judge) -> int:
    """Judge every state in a folder of its own; return how many there were."""
    root = place / "crashed"
    judged_count = 0
    for state in states:
        root.mkdir()
        state.lay(root)
        try:
            judge(root, state)
        except Exception as error:
            error.add_note(state.words)
            raise
        shutil.rmtree(root)
        judged_count += 1
    return judged_count


LIVES: dict[str, tuple[Live, Judge]] = {
    "session": (live_session, judge_session),
    "threaded session": (live_threaded_session, judge_session),
    "configuration": (live_configuration, judge_configuration),
}
every_life = pytest.mark.parametrize("life", LIVES)


@every_life
def test_a_crash_at_some_calls_loses_nothing_that_was_promised(life: str, place: Path) -> None:
    """A share of what the long tests do at every call and byte."""
    live, judge = LIVES[life]
    disk = recorded(place / "life", live)
    states = [*killed_states(disk, every_bytes=400), *cut_states(disk)]
    assert judge_all(place, states[::9], judge) > 10


@pytest.mark.hazard(38)
@pytest.mark.long
@every_life
def test_killed_at_every_call_and_byte(life: str, place: Path) -> None:
    live, judge = LIVES[life]
    disk = recorded(place / "life", live)
    every_bytes = 1 if live is not live_threaded_session else 50
    assert judge_all(place, killed_states(disk, every_bytes), judge) > 100


@pytest.mark.hazard(38)
@pytest.mark.long
@every_life
def test_power_lost_at_every_call(life: str, place: Path) -> None:
    live, judge = LIVES[life]
    disk = recorded(place / "life", live)
    assert judge_all(place, cut_states(disk), judge) > 50


FAILURES = {
    "EIO once": Fault(0, "error", errno.EIO),
    "ENOSPC from then on": Fault(0, "error", errno.ENOSPC, lasting=True),
    "a short write": Fault(0, "short"),
    "half a write, then ENOSPC": Fault(0, "part"),
    "half a write, then ENOSPC for good": Fault(0, "part", lasting=True),
}
# What such a disk holds nobody can tell who reads it back, not even a recovery.
LIES = {
    "a sync that fails and forgets": Fault(0, "drop"),
    "a sync that lies": Fault(0, "lie"),
    "a sync that lies and forgets": Fault(0, "lie and drop"),
}


def faulty_disks(place: Path, live: Live, fault: Fault) -> Iterator[Disk]:
    """Live once with the fault at each call that can go wrong so."""
    names = recorded(place / "sound", live).names
    for at, name in enumerate(names):
        if fault.fits(name):
            root = place / "faulty"
            disk = recorded(root, live, replace(fault, at=at))
            shutil.rmtree(root)
            yield disk


@pytest.mark.hazard(37)
@pytest.mark.long
@every_life
@pytest.mark.parametrize("failure", FAILURES)
def test_a_disk_that_fails_at_any_call_loses_nothing_that_was_promised(
    failure: str, life: str, place: Path
) -> None:
    """Refused in plain words, carried on by the life; then the power may go as well."""
    live, judge = LIVES[life]
    trials = 0
    for disk in faulty_disks(place, live, FAILURES[failure]):
        judge_all(place, last_states(disk), judge)
        trials += 1
    assert trials > 5


LIARS: dict[str, tuple[Live, Judge]] = {
    "session": (live_session, judge_session_of_a_liar),
    "configuration": (live_configuration, judge_configuration_of_a_liar),
}


@pytest.mark.long
@pytest.mark.parametrize("life", LIARS)
@pytest.mark.parametrize("lie", LIES)
def test_what_a_lying_disk_loses_is_found(lie: str, life: str, place: Path) -> None:
    live, judge = LIARS[life]
    trials = 0
    for disk in faulty_disks(place, live, LIES[lie]):
        judge_all(place, last_states(disk), judge)
        trials += 1
    assert trials > 5


def second_lives(place: Path, states: Iterable[State], live: Live) -> Iterator[Disk]:
    """Live on from every state, in a folder of its own, as the process that is started next."""
    for state in states:
        root = place / "again"
        root.mkdir()
        state.lay(root)
        with Disk(root, left=state) as disk:
            live(root, disk.tell)
        refused = [each.told for each in disk.tape if each.name == "told"]
        refused = [told for told in refused[len(state.told) :] if told[0] == "refused"]
        # The name of somebody who was removed is never given again.
        assert all("was removed" in told[-1] for told in refused), (state.words, refused)
        shutil.rmtree(root)
        yield disk


SECOND_LIVES: dict[str, Live] = {
    "session": live_on_after_session,
    "configuration": live_configuration,
}


@pytest.mark.long
@pytest.mark.parametrize("life", SECOND_LIVES)
def test_started_again_after_a_crash_and_then_without_power(life: str, place: Path) -> None:
    """Everything works, and what was found unsynced and gone by lasts from then on."""
    live, judge = LIVES[life]
    first = recorded(place / "life", live)
    states = killed_states(first, every_bytes=10_000)
    for second in second_lives(place, states, SECOND_LIVES[life]):
        judge_all(place, last_states(second), judge)


NOT_TAKEN_AGAIN = {"last device", "operator dr-3"}
"""On the first nothing depends; of the second, a wrong PIN is counted anew each time."""


@pytest.mark.long
def test_a_step_that_was_cut_off_and_is_taken_again_lasts(place: Path) -> None:
    """Alone, with nothing after it that would sync the folder in passing."""
    first = recorded(place / "life", live_configuration)
    trials = 0
    for state in killed_states(first, every_bytes=10_000):
        if not state.told or state.told[-1][0] != "begun" or state.told[-1][1] in NOT_TAKEN_AGAIN:
            continue
        key, wanted, take = STEPS[sum(told[0] == "begun" for told in state.told) - 1]

        def take_again(
            root: Path, tell: Tell, told: tuple[Any, ...] = ("kept", key, wanted), take: Any = take
        ) -> None:
            take(config_folder(root))
            tell(told)

        for second in second_lives(place, [state], take_again):
            judge_all(place, last_states(second), judge_configuration)
        trials += 1
    assert trials > 50


def crashes(disk: Disk) -> list[State]:
    """Return what a crash at each call leaves, but for what no recovery can put right."""
    found = [*killed_states(disk, every_bytes=10_000), *cut_states(disk)]
    return [state for state in found if state.is_in_order]


@pytest.mark.hazard(38)
@pytest.mark.long
def test_recovery_itself_crashes_at_every_call_twice(place: Path) -> None:
    """From a share of the crashes of the session; of the third ones a share is judged."""
    first = crashes(recorded(place / "life", live_session))
    for second in second_lives(place, first[::16], live_on_after_session):
        again = crashes(second)
        assert judge_all(place, again, judge_session)
        for third in second_lives(place, again[::4], live_on_after_session):
            judge_all(place, crashes(third)[::3], judge_session)


@pytest.mark.long
def test_what_device_and_interface_were_told_stands_in_the_record(place: Path) -> None:
    """A session of the whole engine, killed and cut at every call."""
    disk = recorded(place / "life", live_engine)
    told = {each.told[0] for each in disk.tape if each.name == "told"}
    assert told == {"opened", "noted", "driven", "closed"}
    judge_all(place, killed_states(disk, every_bytes=100), judge_engine)
    judge_all(place, cut_states(disk), judge_engine)


@pytest.mark.hazard(37)
@pytest.mark.long
@pytest.mark.parametrize("failure", ["EIO once", "half a write, then ENOSPC for good"])
def test_an_engine_whose_disk_fails_at_any_call_tells_nobody_what_is_not_kept(
    failure: str, place: Path
) -> None:
    for disk in faulty_disks(place, live_engine, FAILURES[failure]):
        judge_all(place, last_states(disk), judge_engine)


@pytest.mark.long
@pytest.mark.parametrize("life", ["session", "configuration"])
def test_a_real_kill_at_every_call_loses_nothing_that_was_promised(
    life: str, tmp_path: Path
) -> None:
    """SIGKILL on real files; what lies there then is what the tape foretells."""
    live, judge = LIVES["threaded session" if life == "session" else life]
    disk = recorded(tmp_path / "life", live)
    foretold = [seen.sizes() for seen in killed_states(disk, 10_000)]
    numbers = [str(number) for number in range(len(disk.names))]
    children = tmp_path / "children"
    children.mkdir()
    subprocess.run(
        [sys.executable, "-m", "tests.record.crash_child", str(children), life, *numbers],
        check=True,
        timeout=60,
    )
    for number in numbers:
        root = children / number
        with root.with_suffix(".told").open("rb") as promises:
            told = tuple(unpickled(promises))
        found = sorted(each.stat().st_size for each in root.rglob("*") if each.is_file())
        if life != "session":  # there how many events share a write depends on the instant
            assert found in foretold, f"call {number}"
        judge(root, State({}, {}, told, f"killed at call {number}"))


def unpickled(promises: IO[bytes]) -> Iterator[tuple[Any, ...]]:
    with contextlib.suppress(EOFError):
        while True:
            yield pickle.load(promises)
