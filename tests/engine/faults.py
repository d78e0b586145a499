"""What may happen to a host at any instant, and what must be true afterwards.

`tests/engine/test_process_faults.py` tries each once; `make faults` tries each many times.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.engine.scene import Host, HostEnded, Scene, is_alive, judge_record, now_us, wait_for

ZERO_AFTER_DEATH_US = 350_000
ZERO_AFTER_FREEZE_US = 750_000
# The next change of the record may be a second away, and the ramp to zero takes two.
ZERO_AFTER_RECORD_US = 3_500_000
STOPPED_S = 1.0
"""How long a process is stopped that is stopped for long."""
BRIEFLY_S = 0.35, 0.5
"""Longer than a lease, shorter than anything a person would call a standstill."""
GLANCE_S = 0.45, 0.75
"""Longer than a heartbeat may be old, at most as long as a frozen display may."""
STARTS_MAX = 3
WATCHED_S = 1.2
GONE_WITHIN_S = 6.0
EARLY_S, LATE_S = 0.02, 0.7
RECENT_US = 60_000

DONE_BY_SIGNAL = 130
FAULT = 5
CHECK_FAILED = 1

Undo = Callable[[], None]
Strike = Callable[[Scene, Host, int], Undo | None]
Start = Callable[[Scene], Host]
Before = Callable[[Scene, Host, Random], None]
After = Callable[[Scene, Host, int], None]


def _start(scene: Scene) -> Host:
    """Start a device and a host at its port, and nothing else."""
    scene.start_simulator()
    return scene.start_host()


def nothing_before(scene: Scene, host: Host, random: Random) -> None:
    """Let nothing happen before the fault."""


def nothing_after(scene: Scene, host: Host, struck_us: int) -> None:
    """Check nothing more than every trial checks."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of fault.

    Attributes:
        strike: lets it happen; returns what undoes it, or nothing.
        exit_code: of the interface; -N for signal N.
        words: what a person is told; '' where nobody is left to tell it.
        zero_within_us: from the strike to the end of the last current.
        is_sealed: whether the record is closed once everything has ended, without further help;
            None where that depends on the instant.
        stopped_s: between these, at random, until it is undone.
        gone_within_s: how long the engine may outlive the interface.
        start: starts the device and the host.
        before: what happens while current flows, up to 0.7 s before the strike.
        after: what else must be true in the end, given the time of the strike.
    """

    strike: Strike
    exit_code: int
    words: str
    zero_within_us: int = ZERO_AFTER_DEATH_US
    is_sealed: bool | None = True
    stopped_s: tuple[float, float] = (STOPPED_S, STOPPED_S)
    gone_within_s: float = GONE_WITHIN_S
    start: Start = _start
    before: Before = nothing_before
    after: After = nothing_after


@dataclass(frozen=True, slots=True)
class Trial:
    """What one trial showed."""

    zero_after_us: int
    end: str


def signalled(number: signal.Signals, *, interface: bool = False, engine: bool = False) -> Strike:
    """Return a strike that sends a signal to one of them or both."""

    def strike(scene: Scene, host: Host, engine_pid: int) -> Undo | None:
        pids = [host.pid] * interface + [engine_pid] * engine
        if len(pids) > 1 and number is signal.SIGKILL:
            for pid in pids:  # at the same instant: neither may still tidy up after the other
                os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, number)
        if number is not signal.SIGSTOP:
            return None

        def undo() -> None:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

        return undo

    return strike


def _kill_simulator(scene: Scene, host: Host, engine_pid: int) -> None:
    scene.end_simulator(signal.SIGKILL)


def _silence_line(scene: Scene, host: Host, engine_pid: int) -> None:
    scene.play("silent 5")


def _take_lead_off(scene: Scene, host: Host, engine_pid: int) -> None:
    scene.play("lead-off 1")


def _fill_disk(scene: Scene, host: Host, engine_pid: int) -> None:
    """Let the engine's next write to its record fail, as on a full disk."""
    size = scene.record().stat().st_size
    resource.prlimit(engine_pid, resource.RLIMIT_FSIZE, (size, size))


def _delete_records(scene: Scene, host: Host, engine_pid: int) -> None:
    scene.record().unlink()
    scene.records.rmdir()


_KILL, _STOP = signal.SIGKILL, signal.SIGSTOP

ENGINE_STOOD = "the engine stood still|heartbeat:"
DISPLAY_STOOD = "the display stood still|heartbeat:"
"""Two checks see the same standstill; which comes first depends on the instant it began."""

CASES: dict[str, Case] = {
    "engine killed": Case(signalled(_KILL, engine=True), FAULT, "the engine died (signal 9)"),
    "interface killed": Case(signalled(_KILL, interface=True), -_KILL, ""),
    "both killed": Case(signalled(_KILL, interface=True, engine=True), -_KILL, "", is_sealed=False),
    "engine stopped": Case(signalled(_STOP, engine=True), FAULT, ENGINE_STOOD),
    "interface stopped": Case(
        signalled(_STOP, interface=True), FAULT, DISPLAY_STOOD, ZERO_AFTER_FREEZE_US
    ),
    "both stopped": Case(signalled(_STOP, interface=True, engine=True), FAULT, ENGINE_STOOD),
    "engine stopped briefly": Case(
        signalled(_STOP, engine=True), FAULT, ENGINE_STOOD, stopped_s=BRIEFLY_S
    ),
    "both stopped briefly": Case(
        signalled(_STOP, interface=True, engine=True), FAULT, ENGINE_STOOD, stopped_s=BRIEFLY_S
    ),
    "interface stopped briefly": Case(
        signalled(_STOP, interface=True),
        FAULT,
        DISPLAY_STOOD,
        ZERO_AFTER_FREEZE_US,
        stopped_s=GLANCE_S,
    ),
    "SIGTERM": Case(signalled(signal.SIGTERM, interface=True), DONE_BY_SIGNAL, "SIGTERM"),
    "SIGINT": Case(signalled(signal.SIGINT, interface=True), DONE_BY_SIGNAL, "SIGINT"),
    "SIGHUP": Case(signalled(signal.SIGHUP, interface=True), DONE_BY_SIGNAL, "SIGHUP"),
    "SIGHUP to the engine": Case(signalled(signal.SIGHUP, engine=True), FAULT, "SIGHUP"),
    "SIGHUP to both": Case(
        signalled(signal.SIGHUP, interface=True, engine=True), DONE_BY_SIGNAL, "SIGHUP"
    ),
    "SIGTERM to the engine": Case(signalled(signal.SIGTERM, engine=True), FAULT, "SIGTERM"),
    "device gone": Case(_kill_simulator, FAULT, "the port is gone"),
    "line silent": Case(_silence_line, FAULT, "the device fell silent"),
    "lead off": Case(_take_lead_off, FAULT, "electrode off"),
    "disk full": Case(
        _fill_disk, CHECK_FAILED, "the record cannot be written", ZERO_AFTER_RECORD_US, False
    ),
    "records deleted": Case(
        _delete_records, CHECK_FAILED, "the record cannot be written", ZERO_AFTER_RECORD_US, False
    ),
}


def try_case(case: Case, folder: Path, random: Random) -> Trial:
    """Let a fault happen while current flows, and check everything that must follow.

    A machine that stands still may end a session before the fault comes: that is tried again.
    """
    for attempt in range(1, STARTS_MAX):
        try:
            return _try_once(case, folder / str(attempt), random)
        except HostEnded as ended:
            print(ended)
    return _try_once(case, folder / "last", random)


def _try_once(case: Case, folder: Path, random: Random) -> Trial:
    folder.mkdir()
    with Scene(folder) as scene:
        host = case.start(scene)
        engine_pid = host.engine_pid()
        scene.watch(engine_pid)
        scene.wait_for_current()
        case.before(scene, host, random)
        time.sleep(random.uniform(EARLY_S, LATE_S))
        struck_us = now_us()
        try:
            undo = case.strike(scene, host, engine_pid)
        except ProcessLookupError:
            raise HostEnded("ended before the fault came") from None
        if undo is not None:
            time.sleep(random.uniform(*case.stopped_s))
            undo()
        code = host.end()
        wait_for(lambda: not is_alive(engine_pid), case.gone_within_s, "end of the engine")
        if scene.simulator is not None:
            # Output that went on for longer than it may would still be in the trace.
            time.sleep(max(0.0, WATCHED_S - (now_us() - struck_us) / 1e6))
            assert scene.end_simulator(signal.SIGTERM) == 0
        zero_after_us = scene.last_current_us() - struck_us
        said = host.complaints.decode() + "".join(map(str, host.seen))
        assert zero_after_us <= case.zero_within_us, f"{zero_after_us} us until the output was zero"
        if zero_after_us <= -RECENT_US:
            raise HostEnded(f"no current flowed when the fault came: {said}")
        assert code == case.exit_code, said
        assert any(words in said for words in case.words.split("|")), said
        assert "bug" not in said, said
        assert "Traceback" not in said, said
        _check_record(case, scene)
        case.after(scene, host, struck_us)
        return Trial(zero_after_us, said[-200:])


def _check_record(case: Case, scene: Scene) -> None:
    if not scene.records.exists():
        assert case.strike is _delete_records
        return
    tail = judge_record(scene.record(), scene.key())
    assert case.is_sealed is None or tail.was_sealed is case.is_sealed
