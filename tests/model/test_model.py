"""The model explored: no invariant breaks, nothing is vacuous, and every seeded mistake shows.

`docs/model.md` tells what is modelled and what is not.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.actions import actions_for
from tests.model.bounds import CI
from tests.model.explore import explore
from tests.model.mutants import BACKED_UP, CAUGHT, Mutant
from tests.model.runs import never, run_all, try_mutant
from tests.model.trace import HEADING, lines_of
from tests.model.words import Bound


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_all(tuple(CI))


@pytest.mark.hazard(4, 5, 6, 9, 12, 13, 22, 25, 42, 46)
@pytest.mark.long
def test_no_invariant_breaks_in_any_state(results: list[dict[str, Any]]) -> None:
    for each, expected in zip(results, CI.values(), strict=True):
        assert not each["broken"], "\n".join(each["trace"])
        assert each["is_complete"], each["scene"]
        assert each["states"] == expected, each["scene"]
    assert sum(CI.values()) > 1_000_000


@pytest.mark.long
def test_every_row_of_the_table_is_taken(results: list[dict[str, Any]]) -> None:
    assert never(results, "rows") == []


@pytest.mark.long
def test_every_invariant_has_something_to_say(results: list[dict[str, Any]]) -> None:
    assert never(results, "cases") == []


@pytest.mark.long
def test_everything_that_can_happen_does(results: list[dict[str, Any]]) -> None:
    happened = {name for each in results for name in each["happened"]}
    able = {
        f"line {action.name}" if action.kind == "line" else action.name
        for bound in CI
        for action in actions_for(bound)
    }
    assert able == happened
    reached = {name for each in results for name in each["reached"]}
    for host in ("ready", "armed", "running", "stopping", "fault", "alive", "held", "asleep"):
        assert f"host {host}" in reached
    for device in ("SAFE", "ARMED", "RUNNING", "FAULT"):
        assert f"device {device}" in reached
    for fault in ("LEASE_EXPIRED", "PATIENT_STOP", "OVERCURRENT"):
        assert f"device fault {fault}" in reached
    assert "output 2" in reached


@pytest.mark.long
@pytest.mark.parametrize("mutant", CAUGHT, ids=lambda mutant: mutant.name)
def test_a_mistake_breaks_its_invariant(mutant: Mutant) -> None:
    found = try_mutant(mutant)
    assert found.broken == mutant.caught_by
    lines = list(lines_of(found))
    assert lines[1] == HEADING
    assert len(lines) == len(found.path) + 3


@pytest.mark.long
@pytest.mark.parametrize("mutant", BACKED_UP, ids=lambda mutant: mutant.name)
def test_a_mistake_that_another_rule_makes_harmless_is_explored_to_the_end(mutant: Mutant) -> None:
    found = try_mutant(mutant)
    assert mutant.why
    assert not found.broken
    assert found.is_complete


def test_there_are_at_least_twenty_mistakes_each_with_a_name_of_its_own() -> None:
    names = [mutant.name for mutant in (*CAUGHT, *BACKED_UP)]
    assert len(set(names)) == len(names)
    assert len(CAUGHT) >= 20


def test_the_shortest_way_to_a_broken_invariant_is_told_step_by_step() -> None:
    mutant = next(each for each in CAUGHT if each.caught_by == "I17")
    lines = list(lines_of(try_mutant(mutant)))
    assert [line.split(".")[1].split("  ")[0] for line in lines[2:]] == [
        " (nothing yet)",
        " host: started",
        " operator: connect",
        " operator: stop",
    ]


def test_a_class_of_events_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="thunder"):
        explore(Bound("x", happenings=frozenset({"thunder"})))
