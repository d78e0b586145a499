"""Branch coverage of the C core's gate and parser: 100 %, or the run fails.

`python -m tests.firmware.branches FOLDER...`: each folder holds one configuration of the core built
with `--coverage` and run by the tests; a branch counts where any configuration took it.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.firmware.core import C_FOLDER

GATED = ("gate.c", "figures.c", "switched.c", "program.c", "codec.c", "frame.c")
"""The gate with the form of programmes, and the parser."""

# (file, line, index of the branch) of everything that gcov saw, and how often it was taken.
Taken = dict[tuple[str, int, int], int]


def main(folders: list[str]) -> int:
    """Print the coverage of each gated file; return 1 where a branch was never taken."""
    taken: Taken = defaultdict(int)
    lines: dict[tuple[str, int], int] = defaultdict(int)
    for folder in folders:
        for report in _reports(Path(folder)):
            _add(report, taken, lines)
    is_complete = True
    for name in GATED:
        branches = {key: count for key, count in taken.items() if key[0] == name}
        missed = sorted(key for key, count in branches.items() if not count)
        idle = sorted(line for (file, line), count in lines.items() if file == name and not count)
        done = len(branches) - len(missed)
        print(f"{name}: {done} of {len(branches)} branches, {len(idle)} lines never run")
        for _, line, index in missed:
            print(f"  {name}:{line}: branch {index} was never taken")
        is_complete = is_complete and bool(branches) and not missed and not idle
    return 0 if is_complete else 1


def _reports(folder: Path) -> list[dict[str, Any]]:
    notes = sorted(str(path) for path in folder.resolve().glob("*.gcda"))
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            ["gcov", "--json-format", "--branch-probabilities", *notes],
            cwd=scratch, check=True, capture_output=True,
        )  # fmt: skip
        return [
            json.loads(gzip.decompress(path.read_bytes()))
            for path in sorted(Path(scratch).glob("*.gcov.json.gz"))
        ]


def _add(report: dict[str, Any], taken: Taken, lines: dict[tuple[str, int], int]) -> None:
    for file in report["files"]:
        name = Path(file["file"]).name
        if not (C_FOLDER / name).exists():
            continue
        seen: dict[int, int] = defaultdict(int)
        for line in file["lines"]:
            number = line["line_number"]
            lines[name, number] += line["count"]
            for branch in line["branches"]:
                if not branch["throw"]:
                    taken[name, number, seen[number]] += branch["count"]
                    seen[number] += 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
