"""One fault at every step of three golden sessions, exhaustively.

A golden session is a script in `golden/` in which nothing goes wrong, or only what it is about. It
is run once to learn its steps: every frame either way, every operation of the disk, every request.
Then each fault that fits a step is played at that very instant, alone; both cores take turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.campaign.__main__ import PROGRESS_S, Tally, begin_worker, run_script_here
from tests.campaign.campaign import play
from tests.campaign.devices import Cores
from tests.campaign.script import CORES, Script, Step, read

GOLDEN = Path(__file__).parent / "golden"
FRAME_FAULTS = (
    "drop {way} 1", "duplicate {way} 1", "flip {way} 1", "truncate {way} 1", "merge {way} 1",
    "reorder {way} 1", "late {way} 200", "late {way} 2000", "lose {way} 400", "stall {way} 330",
)  # fmt: skip
MOMENT_FAULTS = (
    "wire unplug 200", "host kill", "host stop 340", "host stall 330", "host raise",
    "host interrupt", "clock suspend 100", "operator die", "operator freeze 800", "operator stop",
    "operator pause", "device reboot", "device hang", "device off 200", "device stuck 400",
    "device swap 200 told", "device battery 4", "device gain 1 1450", "patient stop press",
    "patient open 1", "patient load 1 15100", "rogue hello", "rogue stop", "rogue above 7",
    "rogue leap 7", "rogue stale 7", "rogue future 7",
)  # fmt: skip
DISK_FAULTS = (
    "enospc 1", "eio 1", "short 1", "fsync-fail 1", "fsync-lie 1", "stall 300", "power-cut 7",
)  # fmt: skip


def main() -> int:
    """Play them all; return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.single")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--every", type=int, default=1, help="play every Nth alone")
    arguments = parser.parse_args()
    began = told = time.monotonic()
    tally = Tally()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        Cores.build(folder)
        scripts = list(single_faults())[:: arguments.every]
        workers = multiprocessing.get_context("fork")
        with workers.Pool(arguments.jobs, begin_worker, (folder,)) as pool:
            for name, result in pool.imap_unordered(run_script_here, scripts, 8):
                tally.take(name, result)
                if time.monotonic() - told > PROGRESS_S:
                    told = time.monotonic()
                    print(tally.progress(len(scripts), told - began), file=sys.stderr, flush=True)
    print(json.dumps(tally.told(time.monotonic() - began)))
    return int(bool(tally.failed))


def single_faults() -> Iterator[tuple[str, Script]]:
    """Give every golden session with every single fault, by name."""
    number = 0
    for path in sorted(GOLDEN.glob("*.txt")):
        golden = read(path)
        for step in steps_of(golden):
            number += 1
            core = CORES[number % len(CORES)]
            steps = tuple(sorted([*golden.steps, step], key=lambda each: each.at_us))
            script = Script(golden.seed, core, golden.session, golden.quiet_us, steps)
            yield f"{path.stem} {core} {step}", script


def steps_of(golden: Script) -> list[Step]:
    """Return every fault at every step of a session."""
    log = play(golden)
    steps: list[Step] = []
    written = sorted({piece.at_us for piece in log.written})
    sent = sorted(set(log.sent_us))
    for way, instants in (("to-device", written), ("to-host", sent)):
        for at_us in instants:
            for words in FRAME_FAULTS:
                steps.append(_step(at_us, f"wire {words.format(way=way)} {at_us % 1009}"))
    asked = {each.at_us for each in log.asked}
    for at_us in sorted({*written, *asked}):
        steps += [_step(at_us, words) for words in MOMENT_FAULTS]
    for at_us in sorted(set(log.disk_us)):
        steps += [_step(at_us, f"disk {words}") for words in DISK_FAULTS]
    return [step for step in steps if step.at_us < golden.quiet_us]


def _step(at_us: int, words: str) -> Step:
    return Step(at_us, tuple(words.split()))


if __name__ == "__main__":
    sys.exit(main())
