"""Soak: an hour of output on a busy machine, and not one fault.

`make soak HOURS=1`, or `python -m tests.soak --hours 0.05`. The simulated device is a process of
its own on a pseudo-terminal, busy processes take every core, and the terminal interface draws; with
`--interface loop` a plain loop does, 20 frames a second. What passes on the line is watched by a
further process, and so is the machine itself: no program outlasts its standing still. Prints one
JSON object, and exits 1 if anything stopped the output.
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
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from estim.clock import SystemClock
from estim.engine.client import EngineClient
from estim.prepare.places import new_session_id, record_header
from estim.prepare.session import capabilities_from_snapshot, prepare
from estim.profile.library import find
from estim.session import messages as msg
from estim.session.messages import Reply, Snapshot
from estim.session.states import HostState
from tests.benchmarks.bench_stop import draw
from tests.engine.scene import Scene, children
from tests.still_machine import Witnesses
from tests.tui.terminal import Terminal

PROFILE = "dpn-conventional"
TARGETS_UA = (12_000, 12_000)
STIMULATION_S = 1200.0
FRAME_S = 0.05
BEAT_S = 0.1
WARM_UP_S = 30.0
HELD_WITHIN_S = 1.0
HELD_MS = 150  # of a lease of 320 ms, of which the ordinary course takes up to 150
MEMORY_EVERY_S = 10.0
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass\n"
CHECKOUT = Path(__file__).resolve().parents[2]
_PICTURE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\u2800-\u28ff]")
_LATE = re.compile(r"woke ([0-9]+) ms late")

# The demo session of the interface, on the line that is watched.
_PROGRAM = """
import sys
from pathlib import Path
from estim.tui import app
app.SIMULATOR_URL = {url!r}
sys.exit(app.run(app.Options(records=Path(sys.argv[1]), is_demo=True)))
"""


class Memory:
    """What an engine holds, looked at now and then once it has warmed up."""

    def __init__(self) -> None:
        self.kb: list[int] = []
        self._due_s = 0.0

    def begin(self) -> None:
        self._due_s = time.monotonic() + WARM_UP_S

    def look(self, pid: int) -> None:
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + MEMORY_EVERY_S
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        self.kb.append(pages * os.sysconf("SC_PAGE_SIZE") // 1024)


def deliver_in_terminal(url: str, scene: Scene, duration_s: float, memory: Memory) -> int:
    """Stimulate once in the terminal interface; return how much it drew, in bytes."""
    drawn = 0
    program = _PROGRAM.format(url=url)
    with Terminal(scene.records, program=program, columns=160, rows=50) as terminal:
        _until(terminal, "g starts")
        (engine_pid,) = children(terminal.process.pid)
        terminal.press("g")
        _until(terminal, "RUNNING")
        memory.begin()
        end_s = time.monotonic() + duration_s
        raise_s = 0.0
        presses = TARGETS_UA[0] // 500
        while time.monotonic() < end_s and terminal.process.poll() is None:
            terminal.drawn = b""
            terminal.read(0.1)
            drawn += len(terminal.drawn)
            if terminal.shows("FAULT"):
                return drawn
            if presses and time.monotonic() >= raise_s:
                raise_s = time.monotonic() + 1.1
                presses -= 1
                terminal.press("+")
            memory.look(engine_pid)
        terminal.drawn = b""
        terminal.press("x")
        _until(terminal, "STOPPED")
        terminal.press("e")
        _until_recorded(terminal, "seal")
    return drawn


def _until(terminal: Terminal, words: str) -> None:
    if not terminal.wait_for(lambda: terminal.shows(words), 60.0):
        raise _Unseen(f"the interface never showed {words!r}", terminal)


def _until_recorded(terminal: Terminal, kind: str) -> None:
    """Wait for a kind of entry in the newest record."""

    def is_met() -> bool:
        newest = max(terminal.records.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        return f'"kind":"{kind}"' in newest.read_text()

    if not terminal.wait_for(is_met, 60.0):
        raise _Unseen(f"no {kind!r} in the record", terminal)


class _Unseen(RuntimeError):
    """What should have come did not; shows the end of what was drawn and of the record."""

    def __init__(self, problem: str, terminal: Terminal) -> None:
        drawn = _PICTURE.sub(" ", terminal.drawn.decode("utf-8", "replace"))[-4000:]
        recorded = "\n".join(terminal.record().splitlines()[-20:])
        super().__init__(f"{problem}\n--- drawn\n{drawn}\n--- recorded\n{recorded}")


def deliver_in_loop(url: str, scene: Scene, duration_s: float, memory: Memory) -> int:
    """Stimulate once with an interface of a few lines; return how many frames it drew."""
    interface = Interface()
    scene.watch(interface.client.pid)
    try:
        interface.deliver(url, scene, duration_s, memory)
    finally:
        interface.client.close()
    return interface.frame_count


class Interface:
    """Draw, beat and remember, on one thread, as the terminal interface does."""

    def __init__(self) -> None:
        self.replies: SimpleQueue[Reply] = SimpleQueue()
        self.client = EngineClient.spawn(self.replies.put, lambda reason: None)
        self.shown: Snapshot | None = None
        self.frame_count = 0
        self._beat_s = 0.0

    def deliver(self, url: str, scene: Scene, duration_s: float, memory: Memory) -> None:
        """Carry one session through."""
        number = self.client.new_id
        loaded = find(PROFILE)
        session_id = new_session_id(SystemClock().wall())
        header = record_header(session_id, loaded, bench_ohm=500, clock="real")
        folders = str(scene.records), str(scene.folder / "key")
        self.ask(msg.OpenRecord(number(), *folders, session_id, header))
        self.ask(msg.Connect(number(), url))
        self.turn_until(lambda shown: shown.device is not None and shown.status_age_ms >= 0)
        assert self.shown is not None
        assert self.shown.device is not None
        prepared = prepare(
            loaded.profile, capabilities_from_snapshot(self.shown.device), is_bench=True
        )
        program_hex = prepared.program.canonical_bytes().hex()
        self.ask(msg.Prepare(number(), program_hex, prepared.bounds, prepared.settings))
        for request in (
            msg.Arm(number()),
            msg.Start(number()),
            msg.SetTargets(number(), TARGETS_UA),
        ):
            self.client.heartbeat(0)
            self.ask(request)
        memory.begin()
        self.turn_until(lambda shown: shown.state is HostState.RUNNING)
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s and self.shown.state is HostState.RUNNING:
            self.turn()
            memory.look(self.client.pid)
        self.ask(msg.Stop(number(), "soak"))
        self.ask(msg.CloseVisit(number()))

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
            self.client.heartbeat(self.frame_count)
        try:
            while True:
                reply = self.replies.get_nowait()
                if isinstance(reply, Snapshot):
                    self.shown = reply
        except Empty:
            time.sleep(max(0.0, began_s + FRAME_S - time.monotonic()))

    def turn_until(self, is_reached: Callable[[Snapshot], bool]) -> None:
        """Draw until a snapshot shows something."""
        deadline_s = time.monotonic() + 60.0
        while self.shown is None or not is_reached(self.shown):
            self.turn()
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"not reached within a minute: {self.shown}")


INTERFACES = {"tui": deliver_in_terminal, "loop": deliver_in_loop}


def main() -> int:
    """Run, print the summary, return 1 where anything stopped the output."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--busy", type=int, default=os.cpu_count(), help="busy processes")
    parser.add_argument("--interface", choices=INTERFACES, default="tui")
    arguments = parser.parse_args()
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(arguments.busy)]
    with tempfile.TemporaryDirectory() as folder:
        witnesses = Witnesses.start(Path(folder))
        try:
            with Scene(Path(folder)) as scene:
                summary = _soak(scene, witnesses, arguments.interface, arguments.hours * 3600)
            holds_ms = [hold.lasted_us // 1000 for told in witnesses.told() for hold in told]
        finally:
            witnesses.end()
            for process in busy:
                process.kill()
                process.wait()
    summary |= {"holds": len(holds_ms), "worst_hold_ms": max(holds_ms, default=0)}
    summary |= {"busy_processes": arguments.busy, "cores": os.cpu_count()}
    print(json.dumps(summary, indent=1))
    return 0 if summary["nuisances"] == 0 else 1


def _soak(scene: Scene, witnesses: Witnesses, interface: str, duration_s: float) -> dict[str, Any]:
    began_s = time.monotonic()
    drawn = 0
    lines = []
    memory = Memory()
    while (left_s := began_s + duration_s - time.monotonic()) > 0:
        memory = Memory()
        url, tap = _watched_line(scene)
        try:
            drawn += INTERFACES[interface](url, scene, min(left_s, STIMULATION_S), memory)
        except _Unseen:
            print((scene.folder / "simulator.txt").read_text(), file=sys.stderr)
            raise
        finally:
            said, _ = tap.communicate(timeout=10.0)
        lines.append(json.loads(said.splitlines()[-1]))
        scene.end_simulator(signal.SIGTERM)
    elapsed_s = time.monotonic() - began_s
    complaints = (scene.folder / "simulator.txt").read_text()
    late_ms = [int(number) for number in _LATE.findall(complaints)]
    return {
        "hours": round(elapsed_s / 3600, 4),
        "interface": interface,
        "drawn_a_second": round(drawn / elapsed_s, 1),
        **_recorded(scene, witnesses),
        "lines": lines,
        "simulator_late_count": len(late_ms),
        "simulator_worst_late_ms": max(late_ms, default=0),
        "engine_memory_kb_first": memory.kb[0] if memory.kb else 0,
        "engine_memory_kb_last": memory.kb[-1] if memory.kb else 0,
        "engine_memory_kb_worst": max(memory.kb, default=0),
    }


def _watched_line(scene: Scene) -> tuple[str, subprocess.Popen[bytes]]:
    """Start a simulator and what watches its line; return the URL to open, and the watcher."""
    tap = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.wire_tap", scene.start_simulator()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert tap.stdout is not None
    return "native:" + json.loads(tap.stdout.readline())["address"], tap


def _recorded(scene: Scene, witnesses: Witnesses) -> dict[str, Any]:
    """Return what the records tell."""
    paths = sorted(scene.records.glob("*.jsonl"))
    events = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    stops = [event for event in events if _is_stop(event)]
    for event in stops:
        at_us = event["mono_us"]
        event["held_ms"] = witnesses.held_ms(at_us - int(HELD_WITHIN_S * 1e6), at_us)
    notices = Counter(event["content"]["text"] for event in events if event["kind"] == "notice")
    delivered_ms = sum(e["content"]["delivered_ms"] for e in events if e["kind"] == "closed")
    return {
        "nuisances": sum(event["held_ms"] < HELD_MS for event in stops),
        "stops": [{"held_ms": event["held_ms"], **event["content"]} for event in stops],
        "notices": notices,
        "overload_warnings": sum(event["kind"] == "overload_warning" for event in events),
        "closed_delivered_s": round(delivered_ms / 1000, 1),
        "records": len(paths),
        "record_bytes": sum(path.stat().st_size for path in paths),
    }


def _is_stop(event: dict[str, Any]) -> bool:
    """Tell whether output ended of itself: a fault, or an alarm."""
    severity: str = event["content"].get("severity", "")
    return severity == "alarm" or event["kind"] == "fault"


if __name__ == "__main__":
    sys.exit(main())
