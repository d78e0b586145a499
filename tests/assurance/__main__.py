"""Check SAFETY.md against the tests, or print the tests of some hazards.

`python -m tests.assurance --check` prints every disagreement and exits 1 where there is one;
`python -m tests.assurance 4 25` prints the tests of hazards 4 and 25, for pytest to take.
"""

from __future__ import annotations

import sys

from tests.assurance.links import PAGE, ROOT, problems, runnable, tests_of


def main(arguments: list[str]) -> int:
    """Do the one or the other; return the exit code."""
    tests = tests_of(ROOT)
    if arguments and arguments != ["--check"]:
        wanted = {int(each) for each in arguments}
        for test in tests:
            if wanted & test.hazards:
                print(*runnable(test), sep="\n")
        return 0
    found = problems((ROOT / PAGE).read_text(encoding="utf-8"), tests)
    for problem in found:
        print(f"{PAGE}: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
