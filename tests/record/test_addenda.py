"""A closed record is added to, never edited; each addition names its author and reason."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from estim.errors import EstimError, RecordError, UsageError
from estim.record.addenda import add_addendum
from estim.record.reader import read
from estim.record.verify import What, verify
from tests.record.samples import (
    KEY,
    append,
    raw_lines,
    sealed_record,
    start,
    wall,
    write_lines,
)


def add(path: Path, key: bytes | None = KEY, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "who": "dr-3",
        "why": "slip of the pen",
        "text": "it was the left foot",
        "event_seq": 2,
        "mono_us": 5,
        "wall": wall(9_000_000),
    }
    return add_addendum(path, key, **fields | changes)


def test_addenda_follow_the_seal_and_change_nothing_before_it(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    closed = path.read_bytes()
    head = add(path)
    add(path, who="dr-4", event_seq=None)
    assert path.read_bytes().startswith(closed)
    lines = raw_lines(path)
    assert [json.loads(line)["kind"] for line in lines[7:]] == [
        "seal",
        "addendum",
        "seal",
        "addendum",
        "seal",
    ]
    assert head == hashlib.sha256(lines[9]).hexdigest()
    first = json.loads(lines[8])
    assert first["prev"] == hashlib.sha256(lines[7]).hexdigest()
    assert first["wall"] == "2000-01-01T00:00:09.000000Z"
    assert first["content"] == {
        "who": "dr-3",
        "why": "slip of the pen",
        "text": "it was the left foot",
        "event_seq": 2,
    }
    checked = verify(path, KEY)
    assert checked.is_ok
    assert (checked.addenda, checked.state) == (2, "sealed")
    assert [event.content["who"] for event in read(path).addenda] == ["dr-3", "dr-4"]


def test_an_addendum_without_a_key_is_chained_and_said_to_be_unsealed(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    add(path, key=None)
    checked = verify(path, KEY)
    assert checked.is_ok
    assert checked.notes == ("the last 1 lines carry no seal: anyone may have added them",)
    add(path)  # a later seal covers it
    assert verify(path, KEY).notes == ()


def test_a_changed_addendum_is_found(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    add(path)
    lines = raw_lines(path)
    lines[8] = lines[8].replace(b"left", b"lost")
    findings = verify(write_lines(path, lines), KEY).findings
    assert [(finding.line, finding.what) for finding in findings] == [(9, What.CHANGED)]


def test_an_addendum_of_somebody_without_the_key_is_found(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    add(path, key=bytes(32))
    findings = verify(path, KEY).findings
    assert [(finding.line, finding.what) for finding in findings] == [(10, What.BAD_SEAL)]


def test_addenda_cut_off_are_found_by_a_noted_head(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    closed = path.read_bytes()
    head = add(path)
    assert verify(path, KEY, noted_head=head).is_ok
    path.write_bytes(closed)
    assert not verify(path, KEY, noted_head=head).is_ok


@pytest.mark.parametrize(
    "changes",
    [
        {"who": "Jane Doe"},
        {"who": ""},
        {"why": ""},
        {"why": " "},
        {"text": "two\nlines"},
        {"text": "\x1b[2J"},
        {"text": "\u202egnorw"},
        {"text": "x" * 4001},
        {"event_seq": -1},
        {"event_seq": 8},
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_written(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = sealed_record(tmp_path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="expected"):
        add(path, **changes)
    assert path.read_bytes() == before


def test_an_open_or_torn_record_takes_no_addendum(tmp_path: Path) -> None:
    journal = start(tmp_path)
    append(journal, "armed", 1)
    with pytest.raises(RecordError, match="another program is writing"):
        add(journal.path)
    journal.close()
    with pytest.raises(RecordError, match="recover it before"):
        add(journal.path)
    torn = sealed_record(tmp_path / "torn")
    with torn.open("ab") as more:
        more.write(b'{"content":')
    with pytest.raises(RecordError, match="recover it before"):
        add(torn)


ADD_MANY = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from estim.errors import RecordError
from estim.record.addenda import add_addendum
from tests.record.samples import KEY, wall
done = 0
print("ready", flush=True)
sys.stdin.readline()
while done < 10:
    try:
        add_addendum(Path({path!r}), KEY, who="dr-3", why="race", text="x", event_seq=None,
                     mono_us=1, wall=wall(1))
        done += 1
    except RecordError as error:
        assert "another program is writing" in str(error), error
"""


def test_two_processes_adding_at_once_make_one_chain(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    command = [sys.executable, "-c", ADD_MANY.format(root=os.getcwd(), path=str(path))]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.communicate("go\n", timeout=20)
        assert child.returncode == 0
    checked = verify(path, KEY)
    assert checked.is_ok
    assert checked.addenda == 20


def test_errors_are_of_the_one_tree(tmp_path: Path) -> None:
    with pytest.raises(EstimError):
        add(tmp_path / "absent.jsonl")
