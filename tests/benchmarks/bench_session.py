"""How fast a session of 30 minutes runs on the virtual clock, and replays through the core."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from estim.engine.virtual import VirtualEngine
from estim.prepare.session import capabilities_from_snapshot, prepare
from estim.profile.loader import load
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.core import SessionCore
from estim.session.snapshot import take_snapshot
from estim.session.states import HostState

PROFILE = Path(__file__).parents[2] / "profiles" / "dpn-conventional.toml"
DURATION_S = 1800
TARGETS_UA = (12_000, 12_000)
SNAPSHOTS = 5000
HEADER: dict[str, Any] = {
    "schema": 1,
    "session_id": "bench",
    "kind": "bench",
    "software": {"estim": "0.1.0", "sha256": "00" * 32},
    "profile": {"id": "dpn-conventional", "version": "1.0.0", "sha256": "00" * 32},
    "operator": "bench",
    "pseudonym": "bench",
    "bench_ohm": 500,
    "assets": [],
    "seed": 1,
    "clock": "virtual",
}

Recorded = list[tuple[ev.CoreEvent, int]]


def run() -> Iterable[dict[str, Any]]:
    """Measure; the figures to hold are 10 s for the session and 1 s for its replay."""
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.perf_counter()
        virtual_session(Path(folder), DURATION_S, is_heard=False)
        session_s = time.perf_counter() - began_s
    with tempfile.TemporaryDirectory() as folder:
        recorded, core = virtual_session(Path(folder), DURATION_S)
    yield _line("session_30_min_virtual", session_s, "s")
    replay(recorded[:1000])  # warm
    began_s = time.perf_counter()
    replayed = replay(recorded)
    replay_s = time.perf_counter() - began_s
    if (replayed.state, replayed.delivery.pulse_counts) != (core.state, core.delivery.pulse_counts):
        raise RuntimeError("the replay went another way than the session")
    yield _line("session_30_min_core_replay", replay_s, "s")
    began_s = time.perf_counter()
    for number in range(SNAPSHOTS):
        take_snapshot(core, number, "", number)
    rate = SNAPSHOTS / (time.perf_counter() - began_s)
    yield _line("session_snapshots", rate, "snapshots/s")


def virtual_session(
    folder: Path, duration_s: int, *, is_heard: bool = True
) -> tuple[Recorded, SessionCore]:
    """Run one session to its end; return what its core was told, with times, and the core."""
    engine = VirtualEngine(seed=1)
    core = engine._loop.core
    recorded: Recorded = []
    handle = core.handle

    def recording(event: ev.CoreEvent, now_us: int) -> list[ev.Effect]:
        recorded.append((event, now_us))
        return handle(event, now_us)

    if is_heard:
        core.handle = recording  # type: ignore[method-assign]  # an ear at the core, nothing else
    device: msg.DeviceSnapshot | None = None

    def ask(kind: type, *arguments: Any) -> None:
        nonlocal device
        request_id = engine.new_id()
        engine.send(kind(request_id, *arguments))
        while True:
            for reply in engine.take_replies():
                if isinstance(reply, msg.Snapshot) and reply.device is not None:
                    device = reply.device
                if isinstance(reply, msg.Outcome) and reply.request_id == request_id:
                    if not reply.is_done:
                        raise RuntimeError(f"{kind.__name__}: {reply.reasons}")
                    return
            engine.step()

    ask(msg.OpenRecord, str(folder), str(folder), HEADER["session_id"], HEADER)
    ask(msg.Connect, f"sim:?trace={folder}/trace.csv")
    while device is None:
        ask(msg.Annotate, "waiting", {})
        engine.step()
    made = prepare(
        load(PROFILE).profile,
        capabilities_from_snapshot(device),
        is_bench=True,
        duration_s=duration_s,
    )
    ask(msg.Prepare, made.program.canonical_bytes().hex(), made.bounds, made.settings)
    ask(msg.Arm)
    ask(msg.Start)
    ask(msg.SetTargets, TARGETS_UA)
    while core.state is not HostState.READY:
        engine.step()
        engine.take_replies()
    ask(msg.CloseVisit)
    engine.close()
    return recorded, core


def replay(recorded: Recorded) -> SessionCore:
    """Tell a fresh core what another was told."""
    core = SessionCore()
    for event, now_us in recorded:
        core.handle(event, now_us)
    return core


def _line(name: str, measured: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": round(measured, 3), "unit": unit}
