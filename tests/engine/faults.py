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


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of fault.

    Attributes:
        strike: lets it happen; returns what undoes it after `STOPPED_S`, or nothing.
        exit_code: of the interface; -N for signal N.
        words: what a person is told; '' where nobody is left to tell it.
        zero_within_us: from the strike to the end of the last current.
        is_sealed: whether the record is closed once everything has ended, without further help.
    """

    strike: Strike
    exit_code: int
    words: str
    zero_within_us: int = ZERO_AFTER_DEATH_US
    is_sealed: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """What one trial showed."""

    zero_after_us: int
    end: str


def _signal(number: signal.Signals, *, interface: bool = False, engine: bool = False) -> Strike:
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
    "engine killed": Case(_signal(_KILL, engine=True), FAULT, "the engine died (signal 9)"),
    "interface killed": Case(_signal(_KILL, interface=True), -_KILL, ""),
    "both killed": Case(_signal(_KILL, interface=True, engine=True), -_KILL, "", is_sealed=False),
    "engine stopped": Case(_signal(_STOP, engine=True), FAULT, ENGINE_STOOD),
    "interface stopped": Case(
        _signal(_STOP, interface=True), FAULT, DISPLAY_STOOD, ZERO_AFTER_FREEZE_US
    ),
    "both stopped": Case(_signal(_STOP, interface=True, engine=True), FAULT, ENGINE_STOOD),
    "SIGTERM": Case(_signal(signal.SIGTERM, interface=True), DONE_BY_SIGNAL, "SIGTERM"),
    "SIGINT": Case(_signal(signal.SIGINT, interface=True), DONE_BY_SIGNAL, "SIGINT"),
    "SIGHUP": Case(_signal(signal.SIGHUP, interface=True), DONE_BY_SIGNAL, "SIGHUP"),
    "SIGTERM to the engine": Case(_signal(signal.SIGTERM, engine=True), FAULT, "SIGTERM"),
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

    A machine that stands still may end a session before current flows: that is tried again.
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
        scene.start_simulator()
        host = scene.start_host()
        engine_pid = host.engine_pid()
        scene.watch(engine_pid)
        scene.wait_for_current()
        time.sleep(random.uniform(EARLY_S, LATE_S))
        struck_us = now_us()
        undo = case.strike(scene, host, engine_pid)
        if undo is not None:
            time.sleep(STOPPED_S)
            undo()
        code = host.end()
        wait_for(lambda: not is_alive(engine_pid), GONE_WITHIN_S, "end of the engine")
        if scene.simulator is not None:
            # Output that went on for longer than it may would still be in the trace.
            time.sleep(max(0.0, WATCHED_S - (now_us() - struck_us) / 1e6))
            assert scene.end_simulator(signal.SIGTERM) == 0
        zero_after_us = scene.last_current_us() - struck_us
        said = host.complaints.decode() + "".join(map(str, host.seen))
        assert zero_after_us <= case.zero_within_us, f"{zero_after_us} us until the output was zero"
        assert zero_after_us > -RECENT_US, "no current flowed when the fault came"
        assert code == case.exit_code, said
        assert any(words in said for words in case.words.split("|")), said
        assert "bug" not in said, said
        assert "Traceback" not in said, said
        _check_record(case, scene)
        return Trial(zero_after_us, said[-200:])


def _check_record(case: Case, scene: Scene) -> None:
    if not scene.records.exists():
        assert case.strike is _delete_records
        return
    tail = judge_record(scene.record(), scene.key())
    assert tail.was_sealed is case.is_sealed
