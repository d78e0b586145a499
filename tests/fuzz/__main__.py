"""Fuzz the Python parsers by coverage: `make fuzz-python MINUTES=10 TARGETS='profile record'`.

Each target gets its share of the time, in a process of its own. What is new is kept under
`build/fuzz`; `--keep` puts what reaches more code than before into the corpus, as few and as short
inputs as do. An input that breaks an invariant, or takes over ten seconds or 1 GB, ends the run
with its name; it belongs into the corpus once its cause is mended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fuzz.targets import CORPUS, TARGETS, kept

WORK = Path("build/fuzz")
SLOW_S = 10
MEMORY_MB = 1024
CORPUS_LONGEST = 4096
"""Bytes of an input that `--keep` takes at most: the corpora stay small."""
CORPUS_MOST = 60
"""Inputs of a target that `--keep` leaves at most."""
_FIGURE = re.compile(r"stat::(\w+):\s+(\d+)")
_COVERAGE = re.compile(r"\bcov: (\d+)")


def main() -> int:
    """Fuzz each target, one JSON line for each; return 1 at the first finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all targets together")
    parser.add_argument("--keep", action="store_true", help="add to the corpora what is new")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, if none is named")
    known = parser.parse_args()
    names = known.targets or list(TARGETS)
    for name in names:
        if name not in TARGETS:
            parser.error(f"{name}: expected one of {', '.join(TARGETS)}")
    seconds = max(5, int(60 * known.minutes / len(names)))
    for name in names:
        if not _fuzz(name, seconds, known.seed):
            return 1
        if known.keep:
            _keep(name)
    return 0


def _command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.fuzz.worker", name, *arguments]


def _fuzz(name: str, seconds: int, seed: int) -> bool:
    found, begin = WORK / name / "found", WORK / name / "seeds"
    findings = WORK / name / "findings"
    for folder in (found, begin, findings, CORPUS / name):
        folder.mkdir(parents=True, exist_ok=True)
    for number, octets in enumerate(TARGETS[name].seeds()):
        (begin / str(number)).write_bytes(octets)
    log = WORK / name / "log"
    with log.open("wb") as file:
        code = subprocess.run(
            _command(
                name, f"-max_total_time={seconds}", f"-timeout={SLOW_S}", "-print_final_stats=1",
                f"-rss_limit_mb={MEMORY_MB}", f"-max_len={TARGETS[name].longest}",
                f"-seed={seed}", f"-artifact_prefix={findings}/",
                str(found), str(begin), str(CORPUS / name),
            ),
            stdout=file, stderr=file, check=False,
        ).returncode  # fmt: skip
    said = log.read_text("utf-8", "replace")
    figures: dict[str, Any] = {key: int(figure) for key, figure in _FIGURE.findall(said)}
    coverage = [int(edges) for edges in _COVERAGE.findall(said)]
    answer = {
        "schema": "estim.fuzz/1",
        "target": name,
        "inputs": figures.get("number_of_executed_units", 0),
        "inputs_per_s": figures.get("average_exec_per_sec", 0),
        "edges": max(coverage, default=0),
        "peak_mb": figures.get("peak_rss_mb", 0),
        "corpus": len(kept(name)),
        "is_sound": code == 0,
    }
    print(json.dumps(answer), flush=True)
    if code:
        print(f"fuzz: {name} broke; its end, the input is under {findings}:", file=sys.stderr)
        print("\n".join(said.splitlines()[-40:]), file=sys.stderr)
    return code == 0


def _keep(name: str) -> None:
    """Leave in the corpus the fewest and shortest inputs that reach what all of them do."""
    merged = WORK / name / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    sources = [CORPUS / name, WORK / name / "found"]
    subprocess.run(
        _command(name, "-merge=1", f"-max_len={CORPUS_LONGEST}", str(merged), *map(str, sources)),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    # What somebody named stands for something; what libFuzzer named after its hash comes and goes.
    for path in kept(name):
        if re.fullmatch(r"[0-9a-f]{40}", path.name):
            path.unlink()
    for path in sorted(merged.iterdir(), key=lambda each: each.stat().st_size)[:CORPUS_MOST]:
        with contextlib.suppress(FileExistsError):
            (CORPUS / name / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
