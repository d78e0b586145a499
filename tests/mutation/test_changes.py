"""The mutator itself: what it changes in a few lines, each change worked out by hand."""

from __future__ import annotations

from tests.mutation.changes import mutants_of

SOURCE = '''\
"""Not this."""

LIMIT = 5


def least(one: int, other: int = 0) -> int:
    """Nor this."""
    if one < other and one:
        return min(one, LIMIT)
    return State.SAFE
'''
MEMBERS = {"State": ("SAFE", "ARMED", "RUNNING")}


def test_every_change_of_a_few_lines() -> None:
    found = [(m.function, m.changed) for m in mutants_of("file.py", SOURCE, MEMBERS)]
    assert set(found) == {
        ("", "LIMIT = 6"),
        ("", "LIMIT = (4)"),
        ("least", "def least(one: int, other: int = 1) -> int:"),
        ("least", "def least(one: int, other: int = (-1)) -> int:"),
        ("least", "if True:"),
        ("least", "if False:"),
        ("least", "if True and one:"),
        ("least", "if one < other and True:"),
        ("least", "if one <= other and one:"),
        ("least", "if one > other and one:"),
        ("least", "if one < other or one:"),
        ("least", "return None"),
        ("least", "return max(one, LIMIT)"),
        ("least", "return State.ARMED"),
        ("least", "return State.RUNNING"),
    }
    assert len(found) == len(set(found)) + 1  # two results that become None


def test_a_mutant_is_known_by_its_place_and_both_texts() -> None:
    mutant = mutants_of("file.py", SOURCE, MEMBERS)[0]
    assert mutant.key == ("file.py", "", "LIMIT = 5", "LIMIT = 6")
    assert mutant.source == SOURCE.replace("= 5", "= 6")
