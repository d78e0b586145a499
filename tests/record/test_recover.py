"""After a crash at any byte the record is explained and closed, and nothing of it is gone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from estim.errors import RecordError
from estim.record.addenda import add_addendum
from estim.record.reader import read
from estim.record.recover import recover
from estim.record.verify import What, verify
from tests.record.samples import (
    KEY,
    FullDisk,
    Unsynced,
    append,
    raw_lines,
    sealed_record,
    start,
    wall,
    write_lines,
)


def repair(path: Path) -> bool:
    return recover(path, KEY, mono_us=77, wall=wall(77), ops=Unsynced()).was_needed


def crashed_record(folder: Path) -> Path:
    """Write a header and two events, as a writer that died left them."""
    journal = start(folder)
    append(journal, "armed", 1)
    append(journal, "started", 2, note="a few more bytes")
    journal.close()
    return journal.path


@pytest.mark.hazard(38)
def test_a_record_cut_at_any_byte_is_explained(tmp_path: Path) -> None:
    whole = crashed_record(tmp_path / "whole").read_bytes()
    ends = [index + 1 for index, octet in enumerate(whole) if octet == 0x0A]
    path = tmp_path / "2000-01-01-abc.jsonl"
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        whole_lines = sum(end <= length for end in ends)
        torn = whole[max([0, *(end for end in ends if end <= length)]) : length]

        before = read(path)
        assert len(before.events) == whole_lines
        assert b"".join(line.octets or b"" for line in before.torn) == torn
        whats = {finding.what for finding in verify(path, KEY).findings}
        assert (What.TORN in whats) == bool(torn)
        assert What.TRUNCATED in whats

        assert repair(path)
        octets = path.read_bytes()
        assert octets.startswith(whole[:length]), "something was cut off"
        checked = verify(path, KEY)
        if whole_lines:
            assert checked.is_ok, (length, checked.findings)
        else:  # the header itself is gone: that stays a finding
            assert [finding.what for finding in checked.findings] == [What.NO_HEADER]
        assert (checked.state, checked.is_recovered) == ("sealed", True)
        after = read(path)
        assert len(after.events) == whole_lines + 2
        assert [line.octets for line in after.torn] == ([torn] if torn else [])
        assert after.unreadable == ()

        assert not repair(path), "a second recovery found something to do"
        assert path.read_bytes() == octets


def test_the_recovered_event_names_the_torn_bytes(tmp_path: Path) -> None:
    path = crashed_record(tmp_path)
    lines = raw_lines(path)
    os.truncate(path, path.stat().st_size - 11)
    torn = lines[2][:-10]
    recovery = recover(path, KEY, mono_us=77, wall=wall(77))
    assert recovery.torn_bytes == len(torn)
    after = raw_lines(path)
    assert after[:2] == lines[:2]
    assert after[2] == torn
    explanation, seal = json.loads(after[3]), json.loads(after[4])
    assert explanation["kind"] == "recovered"
    assert explanation["content"] == {
        "torn": [{"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}]
    }
    assert explanation["seq"] == 2
    assert explanation["prev"] == hashlib.sha256(lines[1]).hexdigest()
    assert seal["content"]["recovered"] is True
    assert recovery.head == hashlib.sha256(after[4]).hexdigest()
    [note] = verify(path, KEY).notes
    assert f"line 3 holds {len(torn)} bytes" in note


def test_changed_torn_bytes_are_found(tmp_path: Path) -> None:
    path = crashed_record(tmp_path)
    os.truncate(path, path.stat().st_size - 11)
    repair(path)
    lines = raw_lines(path)
    assert verify(path, KEY).is_ok
    for index in range(len(lines[2])):
        changed = bytearray(lines[2])
        changed[index] ^= 1
        write_lines(path, [*lines[:2], bytes(changed), *lines[3:]])
        assert not verify(path, KEY).is_ok
    write_lines(path, [*lines[:2], *lines[3:]])
    assert not verify(path, KEY).is_ok


def test_a_recovery_cut_at_any_byte_is_recovered_in_turn(tmp_path: Path) -> None:
    """The second crash tears the first one's repair; a third is cut short as well."""
    path = crashed_record(tmp_path)
    os.truncate(path, path.stat().st_size - 11)
    crashed = path.read_bytes()
    repair(path)
    first_repair = path.read_bytes()[len(crashed) :]
    for length in range(len(first_repair)):
        path.write_bytes(crashed + first_repair[:length])
        assert repair(path)
        checked = verify(path, KEY)
        assert checked.is_ok, (length, checked.findings)
        octets = path.read_bytes()
        assert octets.startswith(crashed + first_repair[:length])
        assert not repair(path)
        for shorter in (1, 450) if length % 5 == 0 else ():
            path.write_bytes(octets[:-shorter])
            assert repair(path)
            assert verify(path, KEY).is_ok, (length, shorter)


def test_a_full_disk_in_recovery_can_be_recovered_later(tmp_path: Path) -> None:
    path = crashed_record(tmp_path)
    for room in (0, 1, 40):
        disk = FullDisk(room)
        with pytest.raises(RecordError, match="No space left"):
            recover(path, KEY, mono_us=1, wall=wall(1), ops=disk)
    assert repair(path)
    assert verify(path, KEY).is_ok


def test_a_torn_addendum_is_recovered(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    closed = path.read_bytes()
    add_addendum(
        path,
        KEY,
        who="dr-3",
        why="slip",
        text="left foot",
        event_seq=2,
        mono_us=5,
        wall=wall(5),
    )
    whole = path.read_bytes()
    for length in range(len(closed) + 1, len(whole)):
        path.write_bytes(whole[:length])
        if whole[length - 1] == 0x0A:  # a whole addendum, its seal not begun
            assert not repair(path)
            assert "carry no seal" in verify(path, KEY).notes[0]
            continue
        assert verify(path, KEY).findings[0].what is What.TORN
        assert repair(path)
        assert verify(path, KEY).is_ok


def test_a_sealed_record_is_left_alone(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    before = path.read_bytes()
    assert not repair(path)
    assert path.read_bytes() == before


def test_a_living_writer_is_not_disturbed(tmp_path: Path) -> None:
    journal = start(tmp_path)
    append(journal, "armed", 1)
    before = journal.path.read_bytes()
    with pytest.raises(RecordError, match="another program is writing"):
        repair(journal.path)
    assert journal.path.read_bytes() == before
    append(journal, "started", 2)
    journal.close()
    assert repair(journal.path)


WRITE_ON = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.record.samples import append, start
journal = start(Path({folder!r}))
print(journal.path, flush=True)
sys.stdin.read()
"""


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    """Another process holds the record; stopped it still does, killed no more."""
    script = WRITE_ON.format(root=os.getcwd(), folder=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        path = Path(child.stdout.readline().strip())
        child.send_signal(signal.SIGSTOP)
        with pytest.raises(RecordError, match="another program is writing"):
            repair(path)
        child.kill()
    assert repair(path)
    assert verify(path, KEY).is_ok


def test_damage_is_not_explained_away(tmp_path: Path) -> None:
    """A changed line in the middle of a crashed record stays a finding after recovery."""
    path = crashed_record(tmp_path)
    lines = raw_lines(path)
    for index, changed in ((1, lines[1].replace(b"armed", b"brmed")), (1, b"\x00" * 30)):
        write_lines(path, [*lines[:index], changed, *lines[index + 1 :]])
        os.truncate(path, path.stat().st_size - 5)
        with path.open("ab") as more:
            more.write(b"\n" + lines[2] + b"\n")
        repair(path)
        assert not verify(path, KEY).is_ok


@pytest.mark.parametrize("octets", [b"hello\n", b"\x00" * 500, b'{"a":1}\n', b'{"content":7}\n'])
def test_what_is_no_record_is_not_touched(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(octets)
    with pytest.raises(RecordError, match="not a session record"):
        repair(path)
    assert path.read_bytes() == octets
