"""Explore the model from the command line.

    python -m tests.model [ci|large|everything]    every scene of a bound, in two processes
    python -m tests.model mutants                  every seeded mistake, one line each
    python -m tests.model mutant WORDS             the trace of one
"""  # fmt: skip

from __future__ import annotations

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from estim.session.states import TRANSITIONS, HostState, Trigger
from tests.model.bounds import BOUNDS, STATES_MAX
from tests.model.explore import Exploration, explore
from tests.model.mutants import BACKED_UP, CAUGHT, Mutant
from tests.model.trace import lines_of
from tests.model.words import Bound

NEVER_TAKEN = frozenset({(HostState.DISCONNECTED, Trigger.FAULT), (HostState.FAULT, Trigger.FAULT)})
"""Without a line nobody can fail; and the model does not tell a second fault from the first."""


def run(bound: Bound) -> dict[str, Any]:
    """Explore one scene and say in plain figures what was found."""
    found = explore(bound, states_max=STATES_MAX)
    product = found.product
    return {
        "scene": bound.name,
        "states": found.state_count,
        "steps": found.step_count,
        "depth": len(found.levels),
        "seconds": round(found.seconds, 1),
        "is_complete": found.is_complete,
        "broken": found.broken,
        "trace": list(lines_of(found)) if found.broken else [],
        "cases": product.cases,
        "ways": sorted((state.name, trigger.name) for state, trigger in product.host.ways),
        "happened": sorted(found.happened),
        "reached": sorted(found.reached()),
    }


def run_all(bounds: tuple[Bound, ...]) -> list[dict[str, Any]]:
    """Explore several scenes, two at a time."""
    # Spawned: a fork would copy whatever threads the asking process has.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(run, bounds))


def never(results: list[dict[str, Any]], what: str) -> list[str]:
    """Return the cases, or the rows of the table, that came up in no scene."""
    if what == "cases":
        names = list(results[0]["cases"])
        return [name for name in names if not any(each["cases"][name] for each in results)]
    taken = {tuple(way) for each in results for way in each["ways"]}
    rows = [pair for pair in TRANSITIONS if pair not in NEVER_TAKEN]
    return [f"{s.name} {t.name}" for s, t in rows if (s.name, t.name) not in taken]


def try_mutant(mutant: Mutant) -> Exploration:
    """Explore a mistake until it shows, or to the end."""
    bound = mutant.bound()
    return explore(bound, mutant.host(bound), mutant.device(bound), STATES_MAX)


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
