"""Soak: an hour of output on a busy machine, and not one fault.

`make soak HOURS=1`, or `python -m tests.soak --hours 0.05`. The simulated device is a process of
its own on a pseudo-terminal, busy processes take every core, and the interface redraws 20 frames a
second. What passes on the line is watched by a further process. Prints one JSON object, and exits 1
if anything stopped the output.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from estim.engine.client import EngineClient
from estim.prepare.places import record_header
from estim.prepare.session import capabilities_from_snapshot, prepare
from estim.profile.library import find
from estim.session import messages as msg
from estim.session.messages import Notice, Reply, Severity, Snapshot
from estim.session.states import HostState
from tests.benchmarks.bench_stop import draw
from tests.engine.scene import Scene

PROFILE = "dpn-conventional"
TARGETS_UA = (12_000, 12_000)
STIMULATION_S = 2700
FRAME_S = 0.05
BEAT_S = 0.1
WARM_UP_S = 30.0
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass\n"
CHECKOUT = Path(__file__).resolve().parents[2]
_LATE = re.compile(r"woke ([0-9]+) ms late")


class Interface:
    """Draw, beat and remember, on one thread, as the terminal interface does."""

    def __init__(self) -> None:
        self.replies: SimpleQueue[Reply] = SimpleQueue()
        self.client = EngineClient.spawn(self.replies.put, lambda reason: None)
        self.shown: Snapshot | None = None
        self.notices: list[Notice] = []
        self.frame_count = 0
        self.draw_less_count = 0
        self._beat_s = 0.0
        self._beat = 0

    def ask(self, request: msg.Request) -> None:
        """Have something done, or give up."""
        outcome = self.client.ask(request)
        if not outcome.is_done:
            raise RuntimeError(f"{type(request).__name__}: {outcome.reasons}")

    def turn(self) -> None:
        """Draw one frame and let the rest of its time pass."""
        began_s = time.monotonic()
        draw(self.frame_count)
        self.frame_count += 1
        # Only what has been drawn may keep the output alive.
        if time.monotonic() - self._beat_s >= BEAT_S:
            self._beat_s = time.monotonic()
            self._beat += 1
            self.client.heartbeat(self._beat)
        try:
            while True:
                self._take(self.replies.get_nowait())
        except Empty:
            time.sleep(max(0.0, began_s + FRAME_S - time.monotonic()))

    def turn_until(self, state: HostState, timeout_s: float = 20.0) -> None:
        """Draw until the session has reached a state."""
        deadline_s = time.monotonic() + timeout_s
        while self.shown is None or self.shown.state is not state:
            self.turn()
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"not {state.value} within {timeout_s} s: {self.notices}")

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Snapshot):
            self.shown = reply
            self.draw_less_count += reply.draw_less
        elif isinstance(reply, Notice):
            self.notices.append(reply)


def main() -> int:
    """Run, print the summary, return 1 where anything stopped the output."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--busy", type=int, default=os.cpu_count(), help="busy processes")
    arguments = parser.parse_args()
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(arguments.busy)]
    try:
        with tempfile.TemporaryDirectory() as folder, Scene(Path(folder)) as scene:
            summary = _soak(scene, arguments.hours * 3600)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    summary["busy_processes"] = arguments.busy
    summary["cores"] = os.cpu_count()
    print(json.dumps(summary, indent=1))
    return 0 if summary["faults"] == summary["alarms"] == [] else 1


def _soak(scene: Scene, duration_s: float) -> dict[str, Any]:
    device = scene.start_simulator()
    tap = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.wire_tap", device],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert tap.stdout is not None
    address = json.loads(tap.stdout.readline())["address"]
    interface = Interface()
    scene.watch(interface.client.pid)
    began_s = time.monotonic()
    try:
        memory_kb = _deliver(interface, scene, f"native:{address}", duration_s)
        interface.ask(msg.CloseVisit(interface.client.new_id()))
    finally:
        interface.client.close()
        said, _ = tap.communicate(timeout=10.0)
    events = Counter(event["kind"] for event in scene.events())
    late_ms = [
        int(number) for number in _LATE.findall((scene.folder / "simulator.txt").read_text())
    ]
    scene.end_simulator(signal.SIGTERM)
    alarms = [note.text for note in interface.notices if note.severity is Severity.ALARM]
    return {
        "hours": round((time.monotonic() - began_s) / 3600, 4),
        "faults": [event["content"] for event in scene.events() if event["kind"] == "fault"],
        "alarms": alarms,
        "notices": [note.text for note in interface.notices],
        "overload_warnings": events["overload_warning"],
        "draw_less_snapshots": interface.draw_less_count,
        "frames_per_s": round(interface.frame_count / (time.monotonic() - began_s), 1),
        **json.loads(said.splitlines()[-1]),
        "simulator_late_count": len(late_ms),
        "simulator_worst_late_ms": max(late_ms, default=0),
        "engine_memory_kb_first": memory_kb[0] if memory_kb else 0,
        "engine_memory_kb_last": memory_kb[-1] if memory_kb else 0,
        "engine_memory_kb_worst": max(memory_kb, default=0),
        "record_bytes": scene.record().stat().st_size,
    }


def _deliver(interface: Interface, scene: Scene, url: str, duration_s: float) -> list[int]:
    """Stimulate again and again for the whole duration; return the engine's memory over time."""
    client = interface.client
    loaded = find(PROFILE)
    header = record_header("soak", loaded, bench_ohm=500, clock="real")
    folders = str(scene.records), str(scene.folder / "key")
    interface.ask(msg.OpenRecord(client.new_id(), *folders, "soak", header))
    interface.ask(msg.Connect(client.new_id(), url))
    interface.turn_until(HostState.IDENTIFIED)
    shown = interface.shown
    assert shown is not None
    assert shown.device is not None
    capabilities = capabilities_from_snapshot(shown.device)
    prepared = prepare(loaded.profile, capabilities, is_bench=True)
    program_hex = prepared.program.canonical_bytes().hex()
    memory_kb: list[int] = []
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        interface.ask(msg.Prepare(client.new_id(), program_hex, prepared.bounds, prepared.settings))
        for request in (
            msg.Arm(client.new_id()),
            msg.Start(client.new_id()),
            msg.SetTargets(client.new_id(), TARGETS_UA),
        ):
            client.heartbeat(0)
            interface.ask(request)
        interface.turn_until(HostState.RUNNING)
        began_s = time.monotonic()
        until_s = min(end_s, began_s + min(STIMULATION_S, prepared.settings.duration_s - 60))
        while time.monotonic() < until_s:
            interface.turn()
            if interface.shown and interface.shown.state is not HostState.RUNNING:
                return memory_kb
            if time.monotonic() > began_s + WARM_UP_S and interface.frame_count % 200 == 0:
                memory_kb.append(_memory_kb(client.pid))
        interface.ask(msg.Stop(client.new_id(), "soak"))
        interface.turn_until(HostState.READY)
    return memory_kb


def _memory_kb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    sys.exit(main())
