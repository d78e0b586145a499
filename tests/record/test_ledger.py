"""A ledger: appended, chained, one writer; a torn line is passed over, damage is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.clock import VirtualClock
from estim.errors import RecordError
from estim.record.files import FileOps
from estim.record.ledger import open_ledger, read_ledger
from tests.record.samples import Unsynced

CLOCK = VirtualClock(5)


def numbers(path: Path) -> list[int]:
    return [event.content["n"] for event in read_ledger(path)]


def filled(path: Path, count: int = 3) -> Path:
    with open_ledger(path) as ledger:
        for number in range(count):
            ledger.append("entry", {"n": number}, CLOCK)
    return path


def test_what_was_appended_is_read_back_in_order_and_goes_on(tmp_path: Path) -> None:
    path = filled(tmp_path / "new" / "ledger.jsonl")
    with open_ledger(path) as ledger:
        ledger.append("entry", {"n": 3}, CLOCK)
    assert numbers(path) == [0, 1, 2, 3]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.hazard(38)
def test_a_file_cut_at_any_byte_keeps_every_whole_line_and_goes_on(tmp_path: Path) -> None:
    whole = filled(tmp_path / "whole.jsonl").read_bytes()
    cut_path = tmp_path / "cut.jsonl"
    ends = [index for index, octet in enumerate(whole) if octet == 10]
    # Of the first line some places, of the third every one.
    for length in (*range(0, ends[0], 40), ends[0], *range(ends[1] + 1, len(whole))):
        cut_path.write_bytes(whole[:length])
        # A crash tears a line before its count is noted.
        cut_path.with_name("cut.jsonl.head").unlink(missing_ok=True)
        # The newline alone may be missing: then the line is whole all the same.
        kept = [0, 1, 2] if length == len(whole) - 1 else [0, 1]
        if length <= ends[0]:
            kept = [0] if length == ends[0] else []
        assert numbers(cut_path) == kept
        with open_ledger(cut_path, ops=Unsynced()) as ledger:
            ledger.append("entry", {"n": 9}, CLOCK)
        assert numbers(cut_path) == [*kept, 9]


def test_a_changed_dropped_or_moved_line_is_damage(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl")
    first, second, third = path.read_bytes().splitlines(keepends=True)
    for damaged in (
        first.replace(b'"n":0', b'"n":7') + second + third,
        first + third,
        second + first + third,
        first + b"garbage\n" + third,
        b"garbage\n",
    ):
        path.write_bytes(damaged)
        with pytest.raises(RecordError, match=r"ledger\.jsonl"):
            read_ledger(path)
        with pytest.raises(RecordError, match=r"ledger\.jsonl"):
            open_ledger(path)
        assert path.read_bytes() == damaged


def test_lines_cut_off_the_end_are_missed(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in range(3):
        path.write_bytes(b"".join(lines[:kept]))
        for use in (read_ledger, open_ledger):
            with pytest.raises(RecordError, match=f"{kept} of 3 lines are left"):
                use(path)
    path.unlink()
    with pytest.raises(RecordError, match="0 of 3 lines are left"):
        read_ledger(path)
    path.write_bytes(b"".join(lines))
    assert numbers(path) == [0, 1, 2]


def test_the_lines_of_another_ledger_are_not_taken_for_its_own(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl")
    other = tmp_path / "other.jsonl"
    with open_ledger(other) as ledger:
        for number in range(4):
            ledger.append("entry", {"n": 10 + number}, CLOCK)
    path.write_bytes(other.read_bytes())
    with pytest.raises(RecordError, match="line 3 is not the one that was written"):
        read_ledger(path)


def test_a_crash_before_the_count_is_noted_loses_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl")
    head = path.with_name("ledger.jsonl.head")
    before = head.read_bytes()
    assert head.stat().st_mode & 0o777 == 0o600
    with open_ledger(path) as ledger:
        ledger.append("entry", {"n": 3}, CLOCK)
    head.write_bytes(before)
    assert numbers(path) == [0, 1, 2, 3]
    # A ledger from before such counts were kept is read, and has one from the next line on.
    head.unlink()
    assert numbers(path) == [0, 1, 2, 3]
    with open_ledger(path) as ledger:
        ledger.append("entry", {"n": 4}, CLOCK)
    assert head.read_text().startswith("5 ")
    head.write_text("garbage\n")
    with pytest.raises(RecordError, match=r"ledger\.jsonl\.head: .*expected"):
        read_ledger(path)


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with open_ledger(path), pytest.raises(RecordError, match="another program"):
        open_ledger(path, wait_s=0.1)
    open_ledger(path).close()


def test_nothing_is_written_after_a_failed_sync(tmp_path: Path) -> None:
    class Failing(FileOps):
        def sync_file(self, descriptor: int) -> None:
            raise OSError(28, "No space left on device")

    with open_ledger(tmp_path / "ledger.jsonl", ops=Failing()) as ledger:
        for said in ("No space left", "failed before"):
            with pytest.raises(RecordError, match=said):
                ledger.append("entry", {"n": 1}, CLOCK)
        assert ledger.events == ()
