"""Fault campaign: every kind of fault at many random instants.

`make faults TRIALS=200`, or `python -m tests.soak.faults --trials 5 --seed 7`. Prints one JSON line
for each kind with its slowest way to zero; exits 1 if anything was not as it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from tests.engine.desk_faults import ALL_CASES
from tests.engine.faults import Trial, try_case


def main() -> int:
    """Try every case as often as asked; return 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.faults")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--case", choices=ALL_CASES, action="append")
    arguments = parser.parse_args()
    print(json.dumps({"seed": arguments.seed, "trials": arguments.trials}), flush=True)
    code = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for name in arguments.case or ALL_CASES:
            seeds = [f"{arguments.seed} {name} {number}" for number in range(arguments.trials)]
            trials = list(pool.map(lambda seed, name=name: _try(name, seed), seeds))
            passed_ms = sorted(each.zero_after_us / 1000 for each in trials if each is not None)
            failed_count = trials.count(None)
            code |= bool(failed_count)
            print(
                json.dumps(
                    {
                        "case": name,
                        "passed": len(passed_ms),
                        "failed": failed_count,
                        "zero_after_ms_median": passed_ms[len(passed_ms) // 2]
                        if passed_ms
                        else None,
                        "zero_after_ms_worst": max(passed_ms, default=None),
                        "allowed_ms": ALL_CASES[name].zero_within_us / 1000,
                    }
                ),
                flush=True,
            )
    return code


def _try(name: str, seed: str) -> Trial | None:
    try:
        with tempfile.TemporaryDirectory() as folder:
            return try_case(ALL_CASES[name], Path(folder), Random(seed))
    except Exception:
        print(f"seed {seed!r} failed:", file=sys.stderr)
        traceback.print_exc()
        return None


if __name__ == "__main__":
    sys.exit(main())
