"""The core is ticked only when it says it is due: nothing comes later, earlier or otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estim.engine.loop import EngineLoop
from estim.session import messages as msg
from estim.session.events import InterfaceGone, Ticked
from estim.session.states import HostState
from firmware_protocol.messages import FaultCode, InputFlag, Stop
from tests.session.bench import MS, Bench

Act = Callable[[Bench], object]


class EagerLoop(EngineLoop):
    """Tick the core at every turn, whatever it says of its deadline."""

    def _core_deadline_us(self) -> int:
        return 0


def _ask(kind: type, *args: Any) -> Act:
    return lambda bench: bench.ask(kind, *args)


def _set(name: str, told: Any) -> Act:
    return lambda bench: setattr(bench, name, told)


def _device(name: str, told: Any) -> Act:
    return lambda bench: setattr(bench.device, name, told)


def _release(bench: Bench) -> None:
    held, bench.held[:] = bench.held[:], []
    for token in held:
        bench.loop.durable(token)


ACTS: dict[str, Act] = {
    "prepare": lambda bench: bench.ask(msg.Prepare, *bench.prepare_request()),
    "arm": _ask(msg.Arm),
    "start": _ask(msg.Start),
    "raise": _ask(msg.Raise, (0,), "key"),
    "raise both": _ask(msg.Raise, (0, 1), "key"),
    "lower": _ask(msg.Lower, (0,), 100),
    "pause": _ask(msg.Pause),
    "resume": _ask(msg.Resume),
    "finish": _ask(msg.Finish),
    "stop": _ask(msg.Stop, "key"),
    "acknowledge": _ask(msg.Acknowledge),
    "rearm": _ask(msg.Rearm, (0,)),
    "note": _ask(msg.Annotate, "note", {"text": "so"}),
    "connect": _ask(msg.Connect, "native:/dev/hand"),
    "freeze": _set("is_beating", False),
    "thaw": _set("is_beating", True),
    "slow disk": _set("holds_durable", True),
    "disk again": _set("holds_durable", False),
    "late disk": _release,
    "silent": _device("is_silent", True),
    "speaking": _device("is_silent", False),
    "deaf": _device("is_deaf", True),
    "hearing": _device("is_deaf", False),
    "lead off": lambda bench: bench.device.lead_off(0),
    "device fault": lambda bench: bench.device.latch(FaultCode.OVERCURRENT),
    "wait": lambda bench: bench.run(60 * MS),
    "orphan": lambda bench: bench.loop.post(InterfaceGone()),
    "patient": _device("inputs", InputFlag.PATIENT_STOP_PRESENT | InputFlag.PATIENT_STOP_PRESSED),
}
TIMES = st.sampled_from([1, 3, 10, 44, 45, 60, 61, 249, 250, 251, 319])
SCRIPTS = st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.lists(TIMES, max_size=6)),
                   max_size=12)  # fmt: skip


def play(
    folder: Path, loop: type[EngineLoop], start: HostState, script: list[tuple[str, list[int]]]
) -> tuple[object, ...]:
    """Return everything that a session wrote, said and sent, with its times."""
    bench = Bench(folder)
    bench.loop = loop(bench, bench.clock)
    bench.to(start)
    trace: list[object] = []
    for name, waits_ms in [*script, ("note", [100, 300, 300, 300, 300, 300])]:
        ACTS[name](bench)
        for wait_ms in waits_ms:
            bench.step(wait_ms * MS)
            trace.append((bench.clock.now_us(), bench.state, len(bench.device.received)))
            trace.append((len(bench.submitted), len(bench.notices), bench.core.targets_ua[:]))
    bench.loop.end()
    told = sorted(
        (number, [(one.is_done, one.reasons) for one in found])
        for number, found in bench.outcomes.items()
    )
    return trace, bench.submitted, told, bench.device.received


@pytest.mark.parametrize("start", [HostState.READY, HostState.RUNNING])
@given(script=SCRIPTS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ticking_when_due_does_what_ticking_always_does(
    tmp_path_factory: pytest.TempPathFactory, start: HostState, script: list[tuple[str, list[int]]]
) -> None:
    folder = tmp_path_factory.mktemp("ticks")
    (folder / "due").mkdir()
    (folder / "always").mkdir()
    when_due = play(folder / "due", EngineLoop, start, script)
    always = play(folder / "always", EagerLoop, start, script)
    assert when_due[0] == always[0]
    assert when_due[2:] == always[2:]
    kinds = [[kind for kind, _ in submitted] for submitted in (when_due[1], always[1])]  # type: ignore[attr-defined]
    assert kinds[0] == kinds[1]


WAITING: dict[str, tuple[HostState, tuple[str, ...]]] = {
    "a rise for the record": (HostState.RUNNING, ("slow disk", "raise")),
    "a note for the record": (HostState.READY, ("slow disk", "note")),
    "a note without a link": (HostState.DISCONNECTED, ("slow disk", "note")),
    "an arming for the record": (HostState.READY, ("slow disk", "arm")),
    "an arming for the device": (HostState.READY, ("deaf", "arm")),
    "a start for the device": (HostState.ARMED, ("deaf", "start")),
    "a stop for zero": (HostState.RUNNING, ("deaf", "stop")),
    "an acknowledgement": (HostState.FAULT, ("deaf", "acknowledge")),
    "a re-arm": (HostState.RUNNING, ("lead off", "wait", "deaf", "rearm")),
    "a frozen display": (HostState.RUNNING, ("freeze",)),
    "a frozen display, armed": (HostState.ARMED, ("freeze",)),
    "a silent device": (HostState.RUNNING, ("silent",)),
    "a silent device at rest": (HostState.READY, ("silent",)),
    "a silent device in a fault": (HostState.FAULT, ("silent",)),
    "an orphan": (HostState.RUNNING, ("deaf", "orphan")),
    "an end by ramp": (HostState.RUNNING, ("raise", "wait", "finish")),
}


@pytest.mark.parametrize("what", WAITING)
def test_nothing_happens_to_a_core_before_it_says_that_it_is_due(what: str, tmp_path: Path) -> None:
    start, names = WAITING[what]
    bench = Bench(tmp_path).to(start)
    for name in names:
        ACTS[name](bench)
    until_us = bench.clock.now_us() + 2_600 * MS
    due_count = 0
    while bench.clock.now_us() < until_us and not bench.loop.has_ended:
        due_us = bench.core.next_deadline_us()
        if due_us > bench.clock.now_us() and due_us < 2**60:
            early = copy.deepcopy(bench.core)
            assert early.handle(Ticked(), due_us - 1) == []
            assert early.next_deadline_us() == due_us
            due_count += 1
        bench.step(5 * MS)
    assert due_count > 40


def test_a_display_that_stands_still_is_told_at_the_first_turn_after_400_ms(
    tmp_path: Path,
) -> None:
    """The last beat is at most 400 ms old at a Drive, and 1 ms more brings the Stop by itself."""
    bench = Bench(tmp_path).to(HostState.RUNNING)
    bench.is_beating = False
    last_us = bench.core.beat_us
    bench.run(last_us + 400 * MS - bench.clock.now_us(), 1 * MS)
    assert bench.state is HostState.RUNNING
    assert bench.loop.next_deadline_us() <= last_us + 400 * MS + 1
    stops = len(bench.device.of(Stop))
    bench.step(1)
    assert bench.core.fault.code == "display_frozen"
    assert len(bench.device.of(Stop)) > stops
