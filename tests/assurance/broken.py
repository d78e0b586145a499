"""Take each safety measure out of a copy, and see the linked tests fail.

`make assurance`, or `python -m tests.assurance.broken 4 25` for some hazards alone. Prints one JSON
line for each breakage; exits 1 if one of them went unnoticed. Nothing here touches the checkout.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import copytree, ignore_patterns

from tests.assurance.breakages import BREAKAGES, Breakage
from tests.assurance.links import ROOT

TESTS_FAILED = 1
"""pytest's exit code for that; 2 to 5 mean that no test was judged."""
LEFT_OUT = (".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "build", "dist")


def main(arguments: list[str]) -> int:
    """Try every breakage, or those of some hazards; return 1 where one went unnoticed."""
    wanted = {int(each) for each in arguments}
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        copytree(ROOT, copy, ignore=ignore_patterns(*LEFT_OUT))
        for breakage in BREAKAGES:
            if wanted and breakage.hazard not in wanted:
                continue
            began = time.monotonic()
            unnoticed = _unnoticed(breakage, copy)
            code |= bool(unnoticed)
            told = {
                "hazard": breakage.hazard,
                "broken": breakage.what,
                "noticed": not unnoticed,
                "unnoticed_by": unnoticed,
                "seconds": round(time.monotonic() - began, 1),
            }
            print(json.dumps(told), flush=True)
    return code


def _unnoticed(breakage: Breakage, copy: Path) -> list[str]:
    """Break the measure, run its tests, mend it; return the tests that did not fail."""
    path = copy / breakage.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(breakage.old, breakage.new), encoding="utf-8")
    try:
        failed = _failed(breakage.tests, copy)
    finally:
        path.write_text(whole, encoding="utf-8")
    return [test for test in breakage.tests if test not in failed]


def _failed(tests: tuple[str, ...], copy: Path) -> set[str]:
    """Return the tests that fail, whatever their parameters."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, TESTS_FAILED):
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        return set()
    return set(re.findall(r"^FAILED (tests/[^\s\[]+)", done.stdout, re.MULTILINE))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
