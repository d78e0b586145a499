"""The journal appends a chain that anyone can check, and never writes on after a failure."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from estim.clock import VirtualClock
from estim.errors import RecordError, UsageError
from estim.record.files import FileOps
from estim.record.journal import Journal
from tests.record.samples import (
    KEY,
    SESSION_ID,
    FailingSync,
    FullDisk,
    NearlyFull,
    append,
    header,
    raw_lines,
    seal,
    sealed_record,
    start,
    wall,
)


def test_each_line_carries_the_hash_of_the_bytes_before_it(tmp_path: Path) -> None:
    lines = raw_lines(sealed_record(tmp_path))
    assert len(lines) == 8  # header, 6 events, seal
    previous = "0" * 64
    for number, line in enumerate(lines):
        fields = json.loads(line)
        assert sorted(fields) == ["content", "kind", "mono_us", "prev", "schema", "seq", "wall"]
        assert fields["prev"] == previous
        assert (fields["seq"], fields["schema"]) == (number, 1)
        previous = hashlib.sha256(line).hexdigest()


def test_a_line_is_spelled_exactly_so(tmp_path: Path) -> None:
    """Keys sorted, no spaces, ASCII, UTC to the microsecond: written out by hand."""
    journal = start(tmp_path)
    head = journal.head
    east = datetime(2000, 1, 1, 2, 0, 1, 5, tzinfo=timezone(timedelta(hours=2)))
    sequence = journal.append("note_taken", {"b": [1, 2.5], "a": "é"}, mono_us=1_000_005, wall=east)
    journal.close()
    assert sequence == 1
    assert raw_lines(journal.path)[1] == (
        b'{"content":{"a":"\\u00e9","b":[1,2.5]},"kind":"note_taken","mono_us":1000005,"prev":"'
        + head.encode()
        + b'","schema":1,"seq":1,"wall":"2000-01-01T00:00:01.000005Z"}'
    )


def test_the_seal_is_an_hmac_that_anyone_with_the_key_can_repeat(tmp_path: Path) -> None:
    lines = raw_lines(sealed_record(tmp_path))
    fields = json.loads(lines[-1])
    content = fields["content"]
    assert fields["kind"] == "seal"
    assert content["head"] == fields["prev"] == hashlib.sha256(lines[-2]).hexdigest()
    assert content["events"] == 7  # the header and six events
    assert content["key_id"] == hashlib.sha256(KEY).hexdigest()[:16]
    assert content["recovered"] is False

    def spelled(without: set[str]) -> bytes:
        kept = {name: value for name, value in content.items() if name not in without}
        return json.dumps(
            fields | {"content": kept}, sort_keys=True, separators=(",", ":")
        ).encode()

    assert content["check"] == hashlib.sha256(spelled({"check"})).hexdigest()
    expected = hmac.new(KEY, spelled({"check", "hmac"}), "sha256").hexdigest()
    assert content["hmac"] == expected


def test_head_is_the_hash_of_the_last_line(tmp_path: Path) -> None:
    journal = start(tmp_path)
    append(journal, "armed", 10)
    journal.sync()
    assert journal.head == hashlib.sha256(raw_lines(journal.path)[-1]).hexdigest()
    final = seal(journal, 20)
    assert final == journal.head == hashlib.sha256(raw_lines(journal.path)[-1]).hexdigest()
    journal.close()


def test_the_same_events_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = sealed_record(tmp_path / "one"), sealed_record(tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.hazard(40)
def test_file_and_folder_are_private(tmp_path: Path) -> None:
    path = sealed_record(tmp_path / "deep" / "records")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_an_existing_record_is_never_opened_for_a_new_session(tmp_path: Path) -> None:
    before = sealed_record(tmp_path).read_bytes()
    with pytest.raises(RecordError, match="is there already"):
        start(tmp_path)
    assert (tmp_path / f"{SESSION_ID}.jsonl").read_bytes() == before


def test_a_link_laid_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / f"{SESSION_ID}.jsonl").symlink_to(victim)
    with pytest.raises(RecordError):
        start(tmp_path)
    assert not victim.exists()


@pytest.mark.parametrize("session_id", ["", "../x", "a/b", "A", "a.b", "a" * 65, "a\n", "é", "."])
def test_a_session_id_that_is_no_plain_name_is_refused(tmp_path: Path, session_id: str) -> None:
    with pytest.raises(UsageError, match="session id"):
        start(tmp_path / "records", session_id)
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"schema": 2}, RecordError, "schema must be 1"),
        ({"session_id": "another"}, RecordError, "session_id"),
        ({"kind": "rehearsal"}, RecordError, "bench or clinical"),
        ({"operator": "Jane Doe"}, UsageError, "operator 'Jane Doe'"),
        ({"pseudonym": "=1+1"}, UsageError, "pseudonym"),
        ({"pseudonym": ""}, UsageError, "pseudonym"),
        ({"operator": "x" * 65}, UsageError, "operator"),
        ({"kind": "clinical", "operator": None}, UsageError, "clinical record needs the operator"),
        ({"kind": "clinical", "pseudonym": None}, UsageError, "needs the pseudonym"),
        ({"seed": float("nan")}, RecordError, "not plain JSON"),
    ],
)
def test_a_header_that_cannot_be_relied_on_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Journal.create(tmp_path, header(**changes), VirtualClock(), SESSION_ID)
    assert list(tmp_path.iterdir()) == []


def test_a_session_without_operator_or_patient_may_be_recorded(tmp_path: Path) -> None:
    fields = header(operator=None, pseudonym=None)
    journal = Journal.create(tmp_path, fields, VirtualClock(), SESSION_ID)
    journal.close()
    assert json.loads(raw_lines(journal.path)[0])["content"]["operator"] is None


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        ("seal", {}, "writes events of kind 'seal' itself"),
        ("header", {}, "itself"),
        ("addendum", {}, "itself"),
        ("recovered", {}, "itself"),
        ("Two Words", {}, "kind of event"),
        ('x","seq":9,"', {}, "kind of event"),
        ("noted", {"a": float("nan")}, "not plain JSON"),
        ("noted", {"a": float("inf")}, "not plain JSON"),
        ("noted", {"a": {1, 2}}, "not plain JSON"),
        ("noted", {"a": {2: "x", 10: "y"}}, "must be text"),
        ("noted", {"a": "x" * 65_536}, "too long"),
    ],
)
def test_an_event_that_cannot_be_written_down_leaves_the_journal_whole(
    tmp_path: Path, kind: str, content: dict[str, Any], words: str
) -> None:
    journal = start(tmp_path)
    with pytest.raises(RecordError, match=words):
        journal.append(kind, content, mono_us=1, wall=wall(1))
    assert append(journal, "armed", 2) == 1
    journal.close()


def test_times_must_be_whole_and_zoned(tmp_path: Path) -> None:
    journal = start(tmp_path)
    with pytest.raises(RecordError, match="time zone"):
        journal.append("armed", {}, mono_us=1, wall=datetime(2000, 1, 1))  # noqa: DTZ001
    for wrong in (-1, 1.5, True):
        with pytest.raises(RecordError, match="mono_us"):
            journal.append("armed", {}, mono_us=wrong, wall=wall(1))  # type: ignore[arg-type]
    journal.close()


def test_nothing_follows_the_seal(tmp_path: Path) -> None:
    journal = start(tmp_path)
    seal(journal, 5)
    with pytest.raises(RecordError, match="sealed"):
        append(journal, "armed", 6)
    with pytest.raises(RecordError, match="sealed"):
        seal(journal, 7)
    journal.close()
    with pytest.raises(RecordError, match="closed"):
        journal.sync()


@pytest.mark.hazard(37)
def test_a_full_disk_poisons_the_journal(tmp_path: Path) -> None:
    """ENOSPC from /dev/full; afterwards nothing is tried again although there would be room."""
    disk = FullDisk(remaining=100_000)
    journal = start(tmp_path, ops=disk)
    append(journal, "armed", 1)
    size = journal.path.stat().st_size
    disk.remaining = 10
    with pytest.raises(RecordError, match="No space left"):
        append(journal, "started", 2)
    disk.remaining = 100_000
    for attempt in (
        lambda: append(journal, "stopped", 3),
        journal.sync,
        lambda: seal(journal, 4),
    ):
        with pytest.raises(RecordError, match="never tried again"):
            attempt()
    assert journal.path.stat().st_size == size + 10
    journal.close()


@pytest.mark.hazard(38)
@pytest.mark.parametrize("fail_at", [1, 2])
def test_a_failed_sync_poisons_the_journal(tmp_path: Path, fail_at: int) -> None:
    """A second fdatasync would succeed and lie."""
    disk = FailingSync(fail_at)
    if fail_at == 1:
        with pytest.raises(RecordError, match="cannot be written"):
            start(tmp_path, ops=disk)
        return
    journal = start(tmp_path, ops=disk)
    append(journal, "armed", 1)
    with pytest.raises(RecordError, match="cannot be written"):
        journal.sync()
    with pytest.raises(RecordError, match="never tried again"):
        journal.sync()
    assert disk.sync_count == 2
    journal.close()


class NoFolderSync(FileOps):
    """Sync a pipe in place of the folder: a real failure (EINVAL) of the real call."""

    def sync_folder(self, descriptor: int) -> None:
        reading, writing = os.pipe()
        try:
            os.fsync(writing)
        finally:
            os.close(reading)
            os.close(writing)


def test_a_record_whose_name_may_not_last_starts_no_session(tmp_path: Path) -> None:
    """The file's bytes are safe; its entry in the folder is not."""
    with pytest.raises(RecordError, match="cannot start a record"):
        start(tmp_path, ops=NoFolderSync())


@pytest.mark.hazard(37)
def test_a_nearly_full_disk_starts_no_session(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="32 MB are free on that disk, at least 33 MB"):
        start(tmp_path, ops=NearlyFull())


def test_a_folder_that_cannot_be_written_starts_no_session(tmp_path: Path) -> None:
    """A file stands where the folder should be: this holds for root as well."""
    (tmp_path / "records").write_text("in the way")
    with pytest.raises(RecordError, match="cannot start a record"):
        start(tmp_path / "records")
    with pytest.raises(RecordError, match="cannot start a record"):
        start(Path("/proc/records"))


SHORT_WRITE = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from estim.errors import RecordError
from tests.record.samples import append, start
journal = start(Path({folder!r}))
size = journal.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        append(journal, "armed", 1)
    except RecordError as error:
        print(error)
print(size)
"""


def test_a_short_write_is_carried_on_and_then_told(tmp_path: Path) -> None:
    """A real limit on the file's size: the kernel takes 100 bytes of the line, then says EFBIG."""
    script = SHORT_WRITE.format(root=os.getcwd(), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20
    )
    first, second, size = done.stdout.splitlines()
    assert "File too large" in first
    assert "never tried again" in second
    assert (tmp_path / f"{SESSION_ID}.jsonl").stat().st_size == int(size) + 100
