"""The checker of the checker: every bug of `bug_table.py` must be found within 1 000 seeds.

Each is put into a copy of the tree, the C core is built there, and seeds are run in order until one
breaks a promise. One JSON object at the end; ends with 1 where a bug was not found, or where its
text does not stand in its file exactly once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.campaign.bug_table import BUGS, Edit

SCHEMA = "estim.campaign-bugs/1"
ROOT = Path(__file__).parents[2]
COPIED = ("estim", "firmware_protocol", "tests/campaign", "tests/firmware", "tests/simulator")
SEEDS = 1000
SHM = Path("/dev/shm")


def main() -> int:
    """Look for every bug; return 1 where one was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.bugs")
    parser.add_argument("--only", default="", help="bugs with this in their name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    began = time.monotonic()
    names = [name for name in BUGS if arguments.only in name]
    told: dict[str, dict[str, object]] = {}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = pool.map(lambda name: _find(BUGS[name], arguments.seeds), names)
        for name, fate in zip(names, found, strict=True):
            told[name] = fate
            print(f"{name}: {fate['told']}", file=sys.stderr, flush=True)
    missed = [name for name, fate in told.items() if not fate["invariant"]]
    print(
        json.dumps(
            {
                "schema": SCHEMA,
                "bugs": len(told),
                "found": len(told) - len(missed),
                "missed": missed,
                "elapsed_s": round(time.monotonic() - began, 1),
                "by_bug": told,
            }
        )
    )
    return int(bool(missed))


def _find(edits: tuple[Edit, ...], seeds: int) -> dict[str, object]:
    """Put a bug into a copy of the tree, and hunt it there."""
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as scratch:
        tree = Path(scratch)
        for folder in COPIED:
            shutil.copytree(
                ROOT / folder, tree / folder,
                ignore=shutil.ignore_patterns("__pycache__", "build", "node_modules", "tui"),
            )  # fmt: skip
        for edit in edits:
            path = tree / edit.file
            text = path.read_text()
            if text.count(edit.old) != 1:
                return _fate("", 0, f"its text stands {text.count(edit.old)} times in {edit.file}")
            path.write_text(text.replace(edit.old, edit.new))
        hunted = subprocess.run(
            [sys.executable, "-m", "tests.campaign", "hunt", "--seeds", str(seeds)],
            cwd=tree, env=os.environ | {"PYTHONPATH": scratch, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if not hunted.stdout:
            return _fate("", 0, f"it does not run: {hunted.stderr[-300:]}")
        hunt = json.loads(hunted.stdout)
        return _fate(hunt["invariant"], hunt["seeds"], hunt["violation"])


def _fate(invariant: str, seeds: int, told: str) -> dict[str, object]:
    text = f"{told} (after {seeds} seeds)" if invariant else f"NOT FOUND {told}"
    return {"invariant": invariant, "seeds": seeds, "told": text}


if __name__ == "__main__":
    sys.exit(main())
