"""A record put together from what was written, in any other way than it was written, is found.

Every place and every pair of places of a record that has all there is: a crash, its recovery, two
addenda with their seals. What remains unseen is said here too: see rules 2 and 3 of `verify`.
"""

from __future__ import annotations

import hashlib
from itertools import combinations, product
from pathlib import Path

import pytest

from estim.clock import VirtualClock
from estim.record.addenda import add_addendum
from estim.record.journal import Journal
from estim.record.recover import recover
from estim.record.verify import Verification, verify
from tests.record.samples import KEY, SESSION_ID, append, header, raw_lines, wall, write_lines

pytestmark = pytest.mark.long

SEALS = (7, 9, 11)
"""Lines of the record below, from 0, that are seals; 5 is what the crash tore."""


def whole_record(folder: Path, at_us: int = 0) -> Path:
    """Write a session that died in an event, was recovered, and has two addenda."""
    clock = VirtualClock()
    journal = Journal.create(folder, header(seed=at_us), clock, SESSION_ID)
    for number in range(4):
        append(journal, "noted", at_us + number, n=number)
    journal._write([b'{"content":{"n":4},"ki'])
    journal.close()
    path = journal.path
    path.write_bytes(path.read_bytes()[:-1])
    recover(path, KEY, mono_us=at_us + 10, wall=wall(10))
    for number in range(2):
        add_addendum(
            path,
            KEY,
            who="dr-3",
            why="slip",
            text=f"{at_us}: {number}",
            event_seq=1,
            mono_us=at_us + 20 + number,
            wall=wall(20),
        )
    return path


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    path = whole_record(tmp_path / "mine")
    found = raw_lines(path)
    assert [number for number, line in enumerate(found) if b'"kind":"seal"' in line] == [*SEALS]
    assert verify(path, KEY).is_ok
    return found


@pytest.fixture
def other(tmp_path: Path) -> list[bytes]:
    """Give the lines of another record, of the same name, key and shape."""
    return raw_lines(whole_record(tmp_path / "other", at_us=1000))


def check(tmp_path: Path, lines: list[bytes]) -> Verification:
    return verify(write_lines(tmp_path / f"{SESSION_ID}.jsonl", lines), KEY)


def test_lines_dropped_from_any_place_to_any_other(tmp_path: Path, lines: list[bytes]) -> None:
    """A record that ends with an earlier seal passes, as it did then: its noted head does not."""
    head = hashlib.sha256(lines[-1]).hexdigest()
    for begin, end in combinations(range(len(lines) + 1), 2):
        left = [*lines[:begin], *lines[end:]]
        found = check(tmp_path, left)
        was_whole_then = end == len(lines) and begin - 1 in SEALS
        # A line between a seal and the next is chained, and said to carry no seal.
        is_unsealed = end == len(lines) and begin - 2 in SEALS
        assert found.is_ok is (was_whole_then or is_unsealed), (begin, end, found.findings)
        assert bool(found.notes[1:]) is is_unsealed
        noted = verify(tmp_path / f"{SESSION_ID}.jsonl", KEY, noted_head=head)
        assert not noted.is_ok


def test_any_two_lines_swapped(tmp_path: Path, lines: list[bytes]) -> None:
    for one, two in combinations(range(len(lines)), 2):
        changed = [*lines]
        changed[one], changed[two] = lines[two], lines[one]
        assert not check(tmp_path, changed).is_ok, (one, two)


def test_any_line_moved_to_any_place_or_put_there_again(tmp_path: Path, lines: list[bytes]) -> None:
    for index, place in product(range(len(lines)), range(len(lines) + 1)):
        again = [*lines[:place], lines[index], *lines[place:]]
        assert not check(tmp_path, again).is_ok, (index, place)
        if place not in (index, index + 1):
            del again[index + (place <= index)]
            assert not check(tmp_path, again).is_ok, (index, place)


@pytest.mark.hazard(39)
def test_any_line_of_another_record_put_in_or_put_over(
    tmp_path: Path, lines: list[bytes], other: list[bytes]
) -> None:
    for index, place in product(range(len(other)), range(len(lines) + 1)):
        if other[index] in lines:  # what the crash tore, and named so
            continue
        for kept in (lines[place:], lines[place + 1 :]):
            assert not check(tmp_path, [*lines[:place], other[index], *kept]).is_ok, (index, place)


@pytest.mark.hazard(39)
def test_any_head_of_one_record_with_any_tail_of_another(
    tmp_path: Path, lines: list[bytes], other: list[bytes]
) -> None:
    """Also a whole one with the tail of the other behind it, its seals and addenda."""
    for head, tail in product(range(1, len(lines) + 1), range(len(other))):
        assert not check(tmp_path, [*lines[:head], *other[tail:]]).is_ok, (head, tail)


@pytest.mark.parametrize("at", SEALS)
def test_the_seal_of_another_record_or_of_another_place(
    at: int, tmp_path: Path, lines: list[bytes], other: list[bytes]
) -> None:
    for seal in (*(other[place] for place in SEALS), *(lines[p] for p in SEALS if p != at)):
        assert not check(tmp_path, [*lines[:at], seal, *lines[at + 1 :]]).is_ok
        assert not check(tmp_path, [*lines[:at], seal]).is_ok


def test_any_byte_cut_off_the_end(tmp_path: Path, lines: list[bytes]) -> None:
    octets = b"".join(line + b"\n" for line in lines)
    path = tmp_path / f"{SESSION_ID}.jsonl"
    ends = {sum(len(line) + 1 for line in lines[: count + 1]) for count in range(len(lines))}
    for length in range(0, len(octets), 7):
        path.write_bytes(octets[:length])
        assert not verify(path, KEY).is_ok or length in ends
