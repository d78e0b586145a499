"""Every input that the fuzzer kept is played again: nothing that was found comes back.

`make fuzz-python` looks for more; what it looks for stands in tests/fuzz/targets.py.
"""

from __future__ import annotations

import time

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, kept

CORPORA_BYTES_MAX = 400_000
INPUT_S = 2.0
"""Of the processor, for one input: a machine that is busy with other things does not count."""


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_a_corpus_is_refused_or_holds_what_must_hold(name: str) -> None:
    target = TARGETS[name]
    answers = set()
    inputs = [*target.seeds(), *(path.read_bytes() for path in kept(name))]
    for octets in inputs:
        began_s = time.process_time()
        answers.add(target.run(octets))
        assert time.process_time() - began_s < INPUT_S, octets[:80]
    assert answers == {True, False}, "a corpus has what is accepted and what is not"


def test_the_corpora_are_small_and_each_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert all(kept(name) for name in TARGETS), "every target has been fuzzed"
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(sizes) < CORPORA_BYTES_MAX
