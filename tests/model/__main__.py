"""Explore the model from the command line.

    python -m tests.model [ci|large|everything]    every scene of a bound, in two processes
    python -m tests.model mutants                  every seeded mistake, one line each
    python -m tests.model mutant WORDS             the trace of one
"""  # fmt: skip

from __future__ import annotations

import json
import sys

from tests.model.bounds import BOUNDS
from tests.model.mutants import BACKED_UP, CAUGHT
from tests.model.runs import never, run_all, try_mutant
from tests.model.trace import lines_of


def _tell_bound(name: str) -> int:
    results = run_all(BOUNDS[name])
    for each in results:
        for line in each["trace"]:
            print(line)
        shown = {key: each[key] for key in ("scene", "states", "steps", "depth", "seconds")}
        print(json.dumps({**shown, "is_complete": each["is_complete"], "broken": each["broken"]}))
    total = sum(each["states"] for each in results)
    left_out = {"never_spoke": never(results, "cases"), "never_taken": never(results, "rows")}
    print(json.dumps({"bound": name, "states": total, **left_out}))
    return int(any(each["broken"] for each in results))


def _tell_mutants(words: str) -> int:
    is_wrong = False
    for mutant in (*CAUGHT, *BACKED_UP):
        if words and words not in mutant.name:
            continue
        found = try_mutant(mutant)
        is_right = found.broken == mutant.caught_by and bool(found.broken or found.is_complete)
        is_wrong |= not is_right
        if words and found.broken:
            print("\n".join(lines_of(found)))
        verdict = found.broken or f"harmless: {mutant.why}"
        after = f"{len(found.path)} steps" if found.broken else f"{found.state_count} states"
        print(f"{'ok' if is_right else 'WRONG':6}{mutant.name:58} {after:16} {verdict}", flush=True)
    return int(is_wrong)


def main(arguments: list[str]) -> int:
    """Explore what is asked for; 1 where an invariant broke, or a mistake stayed hidden."""
    what = arguments[0] if arguments else "ci"
    if what in ("mutants", "mutant"):
        return _tell_mutants(" ".join(arguments[1:]))
    if what not in BOUNDS:
        print(f"model: one of {', '.join(BOUNDS)} expected, not {what}", file=sys.stderr)
        return 2
    return _tell_bound(what)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
