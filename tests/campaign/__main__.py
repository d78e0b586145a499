"""Run the campaign: `python -m tests.campaign run --seeds N`, or replay, shrink and find bugs.

Progress goes to standard error, one JSON object to standard output; ends with 1 where a promise was
broken.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.campaign.campaign import Result, run_script
from tests.campaign.devices import Cores
from tests.campaign.faults import make_script
from tests.campaign.script import Script, on_other_core, read
from tests.campaign.shrink import shrink
from tests.firmware.core import NO_COMPILER, compiler

SCHEMA = "estim.campaign/1"
REPLAY_EVERY = 25
"""Each so many seeds one is run again, on the other core: S8."""
PROGRESS_S = 5.0
KEPT_MAX = 10
SCRIPTS = Path(__file__).parent / "scripts"

_cores: Cores | None = None


def main() -> int:
    """Do what was asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run seeds")
    run.add_argument("--seeds", type=int, default=2000)
    run.add_argument("--first", type=int, default=0)
    run.add_argument("--jobs", type=int, default=os.cpu_count())
    run.add_argument("--keep", type=Path, help="a folder for scripts that fail, shrunk")
    play = commands.add_parser("replay", help="play one seed or script, and tell what is found")
    play.add_argument("what", help="a seed or a script's file")
    less = commands.add_parser("shrink", help="print the shortest script that fails alike")
    less.add_argument("what", help="a seed or a script's file")
    hunt = commands.add_parser("hunt", help="run seeds in order until one fails")
    hunt.add_argument("--seeds", type=int, default=1000)
    arguments = parser.parse_args()
    if compiler() is None:
        print(NO_COMPILER, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        Cores.build(Path(scratch))
        if arguments.command == "run":
            return _run(arguments, Path(scratch))
        cores = Cores(Path(scratch))
        try:
            if arguments.command == "hunt":
                return _hunt(arguments.seeds, cores)
            script = script_of(arguments.what)
            return _replay(script, cores) if arguments.command == "replay" else _less(script, cores)
        finally:
            cores.close()


def script_of(what: str) -> Script:
    """Return the script of a seed or of a file."""
    return make_script(int(what)) if what.isdigit() else read(Path(what))


def _replay(script: Script, cores: Cores) -> int:
    result = run_script(script, cores)
    print(script.text(), end="")
    for violation in result.violations:
        print(f"# {violation}")
    print(f"# sha256 {result.digest}")
    return int(bool(result.violations))


def _hunt(seeds: int, cores: Cores) -> int:
    told: dict[str, object] = {"invariant": "", "seeds": seeds, "violation": ""}
    for seed in range(seeds):
        found = run_script(make_script(seed), cores).violations
        if found:
            told = {"invariant": found[0].invariant, "seeds": seed + 1, "violation": str(found[0])}
            break
    print(json.dumps(told))
    return int(bool(told["invariant"]))


def _less(script: Script, cores: Cores) -> int:
    shortest, violation = shrink(script, cores)
    print(f"# {violation}\n{shortest.text()}", end="")
    return int(violation is not None)


def begin_worker(folder: Path) -> None:
    """Give a worker its own C core."""
    global _cores
    _cores = Cores(folder)


def run_seed(seed: int) -> tuple[int, Result, bool]:
    """Run one seed; tell whether it came out alike on the other core, where that was tried."""
    assert _cores is not None
    script = make_script(seed)
    result = run_script(script, _cores)
    is_alike = True
    if seed % REPLAY_EVERY == 0:
        is_alike = run_script(on_other_core(script), _cores).digest == result.digest
        result.seen["S8"] += 1
    return seed, result, is_alike


def run_script_here(named: tuple[str, Script]) -> tuple[str, Result]:
    """Run one script in a worker."""
    assert _cores is not None
    return named[0], run_script(named[1], _cores)


def _run(arguments: argparse.Namespace, folder: Path) -> int:
    began = told = time.monotonic()
    tally = Tally()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    with multiprocessing.get_context("fork").Pool(arguments.jobs, begin_worker, (folder,)) as pool:
        for seed, result, is_alike in pool.imap_unordered(run_seed, seeds, 4):
            tally.take(str(seed), result, is_alike)
            if time.monotonic() - told > PROGRESS_S:
                told = time.monotonic()
                print(tally.progress(len(seeds), told - began), file=sys.stderr, flush=True)
    if arguments.keep and tally.failed:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        cores = Cores(folder)
        for name in sorted(tally.failed)[:KEPT_MAX]:
            shortest, violation = shrink(script_of(name), cores)
            path = arguments.keep / f"seed-{name}.txt"
            path.write_text(f"# {violation}\n{shortest.text()}")
            print(f"kept {path}", file=sys.stderr)
        cores.close()
    print(json.dumps(tally.told(time.monotonic() - began)))
    return int(bool(tally.failed))


class Tally:
    """Add results up."""

    def __init__(self) -> None:
        self.count = 0
        self.virtual_us = 0
        self.failed: dict[str, list[str]] = {}
        self.seen: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.cores: Counter[str] = Counter()

    def take(self, name: str, result: Result, is_alike: bool = True) -> None:
        self.count += 1
        self.virtual_us += result.virtual_us
        self.seen += result.seen
        self.faults += result.faults
        self.cores[result.script.core] += 1
        found = [str(violation) for violation in result.violations]
        if not is_alike:
            found.insert(0, "S8: the other core, or the second time, gave another trace")
        if found:
            self.failed[name] = found[:3]
            print(f"{name}: {found[0]}", file=sys.stderr, flush=True)

    def progress(self, of: int, elapsed_s: float) -> str:
        return (
            f"{self.count} of {of}, {self.count / elapsed_s:.1f} a second, "
            f"{len(self.failed)} failed"
        )

    def told(self, elapsed_s: float) -> dict[str, object]:
        classes: Counter[str] = Counter()
        for kind, count in self.faults.items():
            classes[kind.partition(" ")[0]] += count
        return {
            "schema": SCHEMA,
            "seeds": self.count,
            "failed": self.failed,
            "elapsed_s": round(elapsed_s, 1),
            "seeds_per_s": round(self.count / elapsed_s, 1),
            "virtual_s": self.virtual_us // 1_000_000,
            "cores": dict(self.cores),
            "classes": dict(sorted(classes.items())),
            "faults": dict(sorted(self.faults.items())),
            "antecedents": dict(sorted(self.seen.items())),
        }


if __name__ == "__main__":
    sys.exit(main())
