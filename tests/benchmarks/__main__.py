"""Run every benchmark beside this file: `make bench`.

Each `bench_*.py` has `run()`, which yields mappings with `name`, `value`, `unit` and, where a
yardstick was measured in the same run, `reference`. They go to standard output, one JSON object on
each line. A benchmark that fails is told on standard error; the rest still run, and the exit code
is 1.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

REQUIRED = frozenset({"name", "value", "unit"})


def main() -> int:
    """Run all benchmarks; return 1 where one failed."""
    code = 0
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        try:
            for figure in importlib.import_module(f"tests.benchmarks.{path.stem}").run():
                missing = sorted(REQUIRED - figure.keys())
                if missing:
                    raise ValueError(f"a figure lacks {', '.join(missing)}")
                print(json.dumps(figure, allow_nan=False), flush=True)
        except Exception as error:
            print(f"bench: {path.stem}: {type(error).__name__}: {error}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
