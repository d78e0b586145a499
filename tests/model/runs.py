"""Explore whole bounds and single mistakes.

A module of its own: a process that is spawned finds no function of `__main__`.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from estim.session.states import TRANSITIONS, HostState, Trigger
from tests.model.bounds import STATES_MAX
from tests.model.explore import Exploration, explore
from tests.model.mutants import Mutant
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
