"""The catalogue says what the files say, and can be lost at any time."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from estim.clock import VirtualClock
from estim.errors import RecordError
from estim.record import catalogue
from estim.record.addenda import add_addendum
from estim.record.catalogue import CatalogueEntry, list_records, rebuild
from estim.record.journal import Journal
from estim.record.lines import NOTE_LATER, REASSIGNED
from tests.record.samples import (
    KEY,
    OTHER_KEY,
    SESSION_ID,
    append,
    header,
    raw_lines,
    seal,
    sealed_record,
    start,
    wall,
    write_lines,
)

EXPECTED = CatalogueEntry(
    session_id=SESSION_ID,
    started_wall="2000-01-01T00:00:00+00:00",
    ended_wall="2000-01-01T00:00:00.006000+00:00",
    kind="bench",
    profile_id="dpn-high-rate",
    operator="tech-7",
    pseudonym="P-0042",
    device_serial="SN123",
    end_reason="completed",
    delivered_s=62,
    state="sealed",
    annotations="",
)


def test_a_record_is_listed_with_what_its_file_says(tmp_path: Path) -> None:
    sealed_record(tmp_path)
    assert list_records(tmp_path, KEY) == [EXPECTED]
    assert stat.S_IMODE((tmp_path / catalogue.FILE_NAME).stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == [f"{SESSION_ID}.jsonl", catalogue.FILE_NAME]


def test_the_kinds_of_annotation_are_known_and_nothing_that_is_no_word(tmp_path: Path) -> None:
    journal = start(tmp_path, "a")
    for kind in ("screen", "consent", "screen", "a b", "x" * 99, 7, None, ""):
        append(journal, "annotation", 1, content={}, kind=kind)
    append(journal, "state", 2, kind_of="review")
    journal.sync()
    (entry,) = list_records(tmp_path, KEY)
    assert entry.annotations == "consent screen"
    journal.close()


def test_an_addendum_gives_a_record_to_another_person_or_adds_its_note(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    for why, text in ((NOTE_LATER, "S: well."), (REASSIGNED, "P-7")):
        add_addendum(
            path,
            KEY,
            who="T-2",
            why=why,
            text=text,
            event_seq=None,
            mono_us=10**9,
            wall=wall(10**9),
        )
    (entry,) = list_records(tmp_path, KEY)
    assert (entry.pseudonym, entry.annotations, entry.state) == ("P-7", "note note:later", "sealed")


def test_states_are_told_apart(tmp_path: Path) -> None:
    sealed_record(tmp_path, "a-sealed")
    open_journal = start(tmp_path, "b-open")
    append(open_journal, "armed", 1)
    damaged = sealed_record(tmp_path, "c-damaged")
    write_lines(damaged, raw_lines(damaged)[1:])
    (tmp_path / "d-garbage.jsonl").write_bytes(b"\n" * 5000)
    (tmp_path / "not a record.jsonl").write_bytes(b"")
    states = {entry.session_id: entry.state for entry in list_records(tmp_path, KEY)}
    assert states == {
        "a-sealed": "sealed",
        "b-open": "unsealed",
        "c-damaged": "damaged",
        "d-garbage": "unreadable",
    }
    open_journal.close()


def test_new_changed_and_gone_records_are_noticed(tmp_path: Path) -> None:
    first = sealed_record(tmp_path, "first")
    journal = start(tmp_path, "second")
    assert [entry.state for entry in list_records(tmp_path, KEY)] == ["sealed", "unsealed"]
    seal(journal, 9)
    journal.close()
    first.unlink()
    assert [(e.session_id, e.state) for e in list_records(tmp_path, KEY)] == [("second", "sealed")]


def test_what_was_listed_without_a_key_is_checked_once_there_is_one(tmp_path: Path) -> None:
    sealed_record(tmp_path)
    assert list_records(tmp_path)[0].state == "seal not checked: no key"
    assert list_records(tmp_path, KEY)[0].state == "sealed"
    assert list_records(tmp_path, OTHER_KEY)[0].state == "damaged"


def test_the_newest_comes_first(tmp_path: Path) -> None:
    for day, session_id in ((0, "b"), (1, "a"), (2, "c")):
        clock = VirtualClock(day * 86_400_000_000)
        Journal.create(tmp_path, header(session_id), clock, session_id).close()
    assert [entry.session_id for entry in list_records(tmp_path)] == ["c", "a", "b"]


def test_a_device_named_later_is_the_device(tmp_path: Path) -> None:
    journal = start(tmp_path)
    append(journal, "identified", 1, serial_number="SN999")
    journal.close()
    assert list_records(tmp_path)[0].device_serial == "SN999"


def test_a_visit_is_listed_with_the_profile_that_was_loaded_last(tmp_path: Path) -> None:
    fields = header(kind="clinical", profile=None, bench_ohm=None)
    journal = Journal.create(tmp_path, fields, VirtualClock(), SESSION_ID)
    [entry] = list_records(tmp_path)
    assert (entry.kind, entry.profile_id) == ("clinical", None)
    append(journal, "prepared", 1, profile="dpn-high-rate")
    append(journal, "prepared", 2, profile="dpn-low-rate")
    journal.close()
    assert list_records(tmp_path)[0].profile_id == "dpn-low-rate"


def test_a_profile_in_the_header_is_that_of_the_session(tmp_path: Path) -> None:
    journal = start(tmp_path)
    append(journal, "prepared", 1, profile="dpn-low-rate")
    journal.close()
    assert list_records(tmp_path)[0].profile_id == "dpn-high-rate"


def test_a_record_may_say_anything_and_is_listed(tmp_path: Path) -> None:
    fields = header(profile=7, assets=[3, {"kind": "stimulator", "serial": {}}], operator=None)
    journal = Journal.create(tmp_path, fields, VirtualClock(), SESSION_ID)
    append(journal, "prepared", 1, profile=[7])
    append(journal, "closed", 1, reason="\ud800", delivered_ms=10**30)
    journal.close()
    [entry] = list_records(tmp_path)
    assert (entry.profile_id, entry.device_serial, entry.operator) == (None, None, None)
    assert (entry.end_reason, entry.delivered_s) == ("\\ud800", None)


def remove(path: Path) -> None:
    path.unlink()


def fill_with_noise(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def cut_short(path: Path) -> None:
    os.truncate(path, 5000)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def overwrite_pages(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    octets[4096:] = os.urandom(len(octets) - 4096)
    path.write_bytes(octets)


def age(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 0")
    connection.commit()
    connection.close()


def rename_column(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE records RENAME COLUMN state TO status")
    connection.commit()
    connection.close()


def point_elsewhere(path: Path) -> None:
    path.rename(path.parent / "victim")
    path.symlink_to("victim")


def put_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        remove,
        fill_with_noise,
        cut_short,
        empty,
        overwrite_pages,
        age,
        rename_column,
        point_elsewhere,
        put_a_pipe,
        put_a_folder,
    ],
)
def test_a_lost_or_damaged_catalogue_is_nobodys_trouble(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    sealed_record(tmp_path)
    path = tmp_path / catalogue.FILE_NAME
    assert list_records(tmp_path, KEY) == [EXPECTED]
    damage(path)
    victim = (tmp_path / "victim").read_bytes() if damage is point_elsewhere else b""
    assert list_records(tmp_path, KEY) == [EXPECTED]
    assert list_records(tmp_path, KEY) == [EXPECTED]
    if damage is point_elsewhere:
        assert (tmp_path / "victim").read_bytes() == victim
    if damage is not put_a_folder:
        assert stat.S_ISREG(path.lstat().st_mode)
    assert not list(tmp_path.glob(f"{catalogue.FILE_NAME}.*"))


def test_a_catalogue_in_use_is_nobodys_trouble(tmp_path: Path) -> None:
    sealed_record(tmp_path)
    list_records(tmp_path, KEY)
    sealed_record(tmp_path, "another")
    other = sqlite3.connect(tmp_path / catalogue.FILE_NAME)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert len(rebuild(tmp_path, KEY)) == 2
    finally:
        other.close()


def test_a_folder_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    assert list_records(tmp_path / "absent") == []
    assert not (tmp_path / "absent").exists()


def test_a_folder_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "x" * 300):
        with pytest.raises(RecordError, match="cannot be read"):
            list_records(tmp_path / name)


@pytest.mark.hazard(40)
def test_the_catalogue_holds_no_name(tmp_path: Path) -> None:
    """Only what the record itself holds under plain pseudonyms: a note's text is not copied."""
    journal = start(tmp_path)
    append(journal, "noted", 1, text="CANARY Jane Doe")
    journal.close()
    list_records(tmp_path)
    assert b"CANARY" not in (tmp_path / catalogue.FILE_NAME).read_bytes()
