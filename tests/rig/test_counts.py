"""One of a thing is not many of it."""

from __future__ import annotations

import pytest

from estim.rig.counts import counted


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [(1, "pulse", "1 pulse"), (0, "pulse", "0 pulses"), (2, "glitch", "2 glitches")],
)
def test_a_noun_is_plural_unless_there_is_one(count: int, noun: str, words: str) -> None:
    assert counted(count, noun) == words
