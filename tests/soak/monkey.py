"""Random keys on the real interface, in a visit of a simulated person; the trace is the judge.

The interface runs in a process of its own on a pseudo-terminal, with the real engine and the
simulator, from the step before the stimulation on. Whatever is pressed, at any speed:

1. current reaches the person only between a start and its end in the record, after a reading-back
   of what was loaded last, and an arming;
2. it is never above the ceiling that was read back;
3. half a second after F12 there is none, until somebody starts anew.

`python -m tests.soak.monkey --minutes 1 --seed 7` prints one JSON object, and fails where a rule
was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.tui.terminal import Terminal

US = 1_000_000
END_SLACK_US = 400_000
"""From the host's word that output ends to zero at the device: its lease at the longest."""
STOP_SLACK_US = 500_000

PROGRAM = """
import sys
from pathlib import Path
from estim.tui import app as interface
from estim.visit import protocol
from tests.tui import visits

records = Path(sys.argv[1])

class Prepared(interface.EstimApp):
    async def begin(self):
        self.visiting.operator = visits.THERAPIST
        await self.visiting.begin(visits.PERSON, protocol.find(visits.PROTOCOL))
        screen = self.screen
        await visits.confirm_up_to(screen.sitting, "stimulate")
        screen.open_next()

    def on_ready(self):
        visits.make_roster()
        self.run_worker(self.begin())

interface.EstimApp = Prepared
url = f"sim:?patient_stop=no&trace={records / 'trace.csv'}"
sys.exit(interface.run(interface.Options(records=records, device_url=url)))
"""

SHOWN_WITHIN_S = 20
"""On a machine that does other things too; four times, before it counts as not shown."""

F12 = "\x1b[24~"
F6 = "\x1b[17~"
LIKELY = ("+", "+", "+", "+", "8", "g", "g", "y", "y", F6, F6, "w", "-", "p", "r", "f", "s", "c")
STOPS = (" ", "x", F12, "\x18", "0")
OTHERS = (
    "\x1b", "\r", "\t", "\x7f", "\x03", "\x10", "\x14", "\x1a", "\x1b[A", "\x1b[B", "\x1b[C",
    "\x1b[D", "\x1b[5~", "\x1b[6~", "\x1b[2~", "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b[15~",
    "\x1b[18~", "\x1b[19~", "\x1b[20~", "\x1b[21~", "\x1b[200~\x1b[31m\x07y\ng +\x1b[201~",
    "\x1b[<0;10;5M\x1b[<0;10;5m", "\x1b[<0;40;24M\x1b[<0;40;24m",
    *"abdehijklmnoqtuvzTXY?/.,0123456789",
)  # fmt: skip


Window = tuple[int, int, list[int]]
"""From when to when current may flow, and up to how much on each channel."""


@dataclass
class Played:
    """What a run came to."""

    seed: int
    keys: int = 0
    visits: int = 0
    records: int = 0
    not_begun: int = 0
    starts: int = 0
    stops: int = 0
    pulses: int = 0
    broken: list[str] = field(default_factory=list)


def play(folder: Path, seed: int, duration_s: float) -> Played:
    """Press keys for a while; where the interface was left, begin another visit."""
    chooser = random.Random(seed)
    played = Played(seed)
    left_s = duration_s
    while left_s > 0 and not played.broken:
        records = folder / f"visit-{played.visits}"
        (records / "configuration").mkdir(parents=True)
        played.visits += 1
        stops_us: list[int] = []
        with Terminal(records, program=PROGRAM) as terminal:
            try:
                come_to_output(terminal)
            except AssertionError:  # a fault at the start, say: the keys go on all the same
                played.not_begun += 1
            began_s = time.monotonic()
            end_s = began_s + left_s
            while time.monotonic() < end_s and terminal.process.poll() is None:
                key = _key(chooser)
                if key == F12:
                    stops_us.append(time.monotonic_ns() // 1000)
                with contextlib.suppress(OSError):  # it has just ended
                    terminal.press(key)
                played.keys += 1
                set_aside(records)
                terminal.read(chooser.choice((0.0, 0.01, 0.05, 0.3)))
            left_s -= time.monotonic() - began_s
            played.stops += len(stops_us)
            terminal.hang_up()
            terminal.process.wait(10)
        judge(records, stops_us, played)
        print(json.dumps(asdict(played)), file=sys.stderr, flush=True)
    return played


def _key(chooser: random.Random) -> str:
    kind = chooser.random()
    if kind < 0.65:
        return chooser.choice(LIKELY)
    return chooser.choice(STOPS) if kind < 0.7 else chooser.choice(OTHERS)


def come_to_output(terminal: Terminal, *, is_begun: bool = False) -> None:
    """Read back, arm, start and raise once, so that there is something to break."""
    keys = (("F6 finds", F6), ("y arms at zero", "y"), ("g starts", "g"), ("RUNNING", "+"))
    if is_begun:
        terminal.press(F6)
    for shown, key in keys[int(is_begun) :]:
        for _ in range(4):  # a slow disk makes the engine refuse: then it is pressed once more
            if terminal.wait_for(lambda: terminal.shows(shown), SHOWN_WITHIN_S):  # noqa: B023
                break
            if shown == "RUNNING":
                terminal.press("g")
        else:
            raise AssertionError(f"the interface did not show {shown!r}")
        terminal.drawn = b""
        terminal.press(key)


def set_aside(records: Path) -> None:
    """Rename a trace that has begun: the simulator of a further session begins another."""
    with contextlib.suppress(FileNotFoundError):
        (records / "trace.csv").rename(records / f"trace-{len(list(records.glob('trace*')))}.csv")


def judge(records: Path, stops_us: list[int], played: Played) -> None:
    """Hold the traces against the records (rules 1 to 3)."""
    windows: list[Window] = []
    starts_us: list[int] = []
    end_us = 0
    for path in sorted(records.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines if line.endswith("\n")]
        allowed, asked_us = _windows(events)
        windows += allowed
        starts_us += asked_us
        end_us = max(end_us, *(event["mono_us"] for event in events))
        played.records += 1
    played.starts += len(starts_us)
    silent = [(at, min([each for each in starts_us if each > at], default=end_us + US))
              for at in stops_us]  # fmt: skip
    for trace in sorted(records.glob("trace*.csv")):
        _judge_trace(trace, windows, silent, played)


def _judge_trace(
    trace: Path, windows: list[Window], silent: list[tuple[int, int]], played: Played
) -> None:
    with trace.open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            at_us, current_ua = int(row["t_us"]), abs(int(row["current_ua"]))
            played.pulses += 1
            channel = int(row["channel"])
            ceilings = [each[2] for each in windows if each[0] <= at_us <= each[1] + END_SLACK_US]
            if not ceilings:
                played.broken.append(f"{at_us}: {current_ua} uA outside every start")
            elif current_ua > max(each[channel - 1] for each in ceilings):
                played.broken.append(f"{at_us}: {current_ua} uA above what was read back")
            if any(stop + STOP_SLACK_US < at_us < until for stop, until in silent):
                played.broken.append(f"{at_us}: {current_ua} uA after F12")
            if len(played.broken) > 5:
                return


def _windows(events: list[dict[str, Any]]) -> tuple[list[Window], list[int]]:
    """Return when current may flow with which ceilings, and when it was asked for.

    With nobody connected nothing is read back: what was prepared counts.
    """
    is_bench = events[0]["content"].get("kind") == "bench"
    windows: list[Window] = []
    starts_us: list[int] = []
    read_back: list[int] | None = None
    is_armed = False
    began_us = 0
    for event in events:
        kind, content, at_us = event["kind"], event["content"], event["mono_us"]
        if kind == "prepared":
            read_back, is_armed = (content["ceilings_ua"] if is_bench else None), False
        elif kind == "annotation" and content["kind"] == "read_back":
            read_back = content["content"]["ceilings_ua"]
        elif kind == "arm_asked":
            is_armed = read_back is not None
        elif kind in ("start_asked", "resume_asked"):
            starts_us.append(at_us)
            began_us = at_us
        elif kind == "state" and content["from"] == "running":
            if is_armed and read_back is not None and began_us:
                windows.append((began_us, at_us, read_back))
            began_us = 0
    return windows, starts_us


def main() -> int:
    """Play, print what it came to; 1 where a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="estim-monkey-") as folder:
        played = play(Path(folder), arguments.seed, arguments.minutes * 60)
    print(json.dumps({"schema": 1, **asdict(played)}))
    return 1 if played.broken or not played.pulses else 0


if __name__ == "__main__":
    sys.exit(main())
