"""Ask a database of known vulnerabilities about every package of the lock: `make audit`.

Exit codes: 0 none is known, 1 some are, 3 the database could not be asked about all of them.
Needs a network; only names and versions of public packages are sent.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.supply import lock

FOUND, NOT_ASKED = 1, 3
WITHIN_S = 600


def main() -> int:
    """Print a line for each vulnerability, and one at the end."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"),
        *("--progress-spinner", "off", "--format", "json", "--requirement", lock.RUN_LOCK),
    ]
    try:
        asked = subprocess.run(
            command,
            cwd=lock.CHECKOUT,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _not_asked(f"no answer within {WITHIN_S} s")
    try:
        told: list[dict[str, Any]] = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError):
        return _not_asked(asked.stderr.strip().rpartition("\n")[2])
    return judge(told)


def judge(told: list[dict[str, Any]]) -> int:
    """Print what was told of each package, and return the exit code."""
    found = [(each, hole) for each in told for hole in each.get("vulns", ())]
    for each, hole in found:
        fixed = ", ".join(hole["fix_versions"]) or "none yet"
        print(f"{each['name']} {each['version']}: {hole['id']}, mended in: {fixed}")
    expected = {each.name for each in lock.read_run()}
    missing = sorted(expected - {each["name"] for each in told if "skip_reason" not in each})
    if found:
        print(f"audit: {len(found)} known vulnerabilities", file=sys.stderr)
        return FOUND
    if missing:
        return _not_asked(f"nothing is known of {len(missing)} packages, such as {missing[0]}")
    print(f"audit: nothing is known against any of {len(told)} packages")
    return 0


def _not_asked(why: str) -> int:
    print(f"audit: the database could not be asked: {why[:200]}", file=sys.stderr)
    return NOT_ASKED


if __name__ == "__main__":
    sys.exit(main())
