"""`estim records`: what is found, what is said, and what happens to anything that is no record."""

from __future__ import annotations

import csv
import io
import os
import random
from pathlib import Path
from typing import Any

import pytest

from estim.clock import VirtualClock
from estim.prepare.places import visit_header
from estim.record import station_key
from estim.record.journal import Journal
from tests.cli.commands import CHECKOUT, Shell
from tests.record.samples import SESSION_ID, append, header, sealed_record, start, wall

SECOND_ID = "2000-01-02-def"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for records."""
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


@pytest.fixture
def key(home: Path) -> bytes:
    """Return this station's key, made anew."""
    return station_key.load_or_make(home / "config" / "estim")


def sealed_with(folder: Path, key: bytes, session_id: str = SESSION_ID) -> Path:
    journal = start(folder, session_id)
    append(journal, "rise_asked", 61_000_000, by="key", from_ua=[0], to_ua=[12_000])
    append(journal, "note", 62_500_000, text="left \x1b[2J calf", program="ab" * 500)
    journal.sync()
    journal.seal(key, mono_us=63_000_000, wall=wall(63_000_000))
    journal.close()
    return journal.path


def test_the_list_tells_state_and_serial_of_every_record(
    estim: Shell, folder: Path, key: bytes
) -> None:
    sealed_with(folder, key)
    start(folder, SECOND_ID).close()
    answer = estim("records", "list", "--records", folder, "--json")
    assert (answer.code, answer.err) == (0, "")
    states = {item["session_id"]: item["state"] for item in answer.objects}
    assert states == {SESSION_ID: "sealed", SECOND_ID: "unsealed"}
    assert {item["device_serial"] for item in answer.objects} == {"SN123"}
    words = estim("records", "list", "--records", folder).out.splitlines()
    assert words[0].split()[0] == "session"
    assert sorted(line.split()[0] for line in words[1:]) == [SESSION_ID, SECOND_ID]


def test_no_records_yet_is_no_failure(estim: Shell) -> None:
    answer = estim("records", "list", "--json")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err.startswith("estim: no records yet")


def test_show_tells_in_order_what_happened(estim: Shell, folder: Path, key: bytes) -> None:
    sealed_with(folder, key)
    answer = estim("records", "show", SESSION_ID, "--records", folder)
    assert (answer.code, answer.err) == (0, "")
    text = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert text[0] == f"session {SESSION_ID}"
    assert "pseudonym P-0042" in text
    assert "1:01.000 rise asked by key, from 0.0 mA, to 12.0 mA" in text
    assert text[-1].startswith("sealed; nothing found")
    # What is long stays in the file, and what would move the cursor is replaced.
    assert "1:02.500 note text left \N{REPLACEMENT CHARACTER}[2J calf" in text


def test_a_visit_without_a_profile_of_its_own_is_shown_listed_and_exported(
    estim: Shell, folder: Path, key: bytes
) -> None:
    header = visit_header(
        SESSION_ID, {"id": "knee", "version": "1.2.0", "sha256": "ab" * 32},
        operator="T-1", pseudonym="P-0042", clock="real",
    )  # fmt: skip
    journal = Journal.create(folder, header, VirtualClock(), SESSION_ID)
    answered = {"kind": "consent", "content": {"step": "consent", "operator": "T-1"}}
    journal.append("annotation", answered, mono_us=1, wall=wall(1))
    journal.seal(key, mono_us=2, wall=wall(2))
    journal.close()
    shown = estim("records", "show", SESSION_ID, "--records", folder)
    assert (shown.code, shown.err) == (0, "")
    text = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert "kind clinical" in text
    assert "protocol id knee, version 1.2.0" in text
    assert not [line for line in text if line.startswith("profile")]
    (entry,) = estim("records", "list", "--records", folder, "--json").objects
    assert (entry["kind"], entry["profile_id"], entry["operator"]) == ("clinical", None, "T-1")
    exported = estim("records", "export", SESSION_ID, "--records", folder, "--csv", "-")
    assert exported.code == 0
    rows = list(csv.DictReader(io.StringIO(exported.out)))
    assert rows[0]["content.protocol.id"] == "knee"
    assert rows[1]["content.content.step"] == "consent"


def test_show_as_json_gives_every_event(estim: Shell, folder: Path, key: bytes) -> None:
    path = sealed_with(folder, key)
    events = estim("records", "show", path, "--json").objects
    assert [event["kind"] for event in events] == ["header", "rise_asked", "note", "seal"]
    assert events[1]["content"]["to_ua"] == [12_000]
    assert events[1]["mono_us"] == 61_000_000


def test_verify_says_sealed_unsealed_or_no_key(
    estim: Shell, folder: Path, key: bytes, home: Path
) -> None:
    path = sealed_with(folder, key)
    sealed = estim("records", "verify", SESSION_ID, "--records", folder)
    assert (sealed.code, sealed.err) == (0, "")
    assert f"{path}: ok, sealed, 4 lines" in sealed.out
    start(folder, SECOND_ID).close()
    unsealed = estim("records", "verify", SECOND_ID, "--records", folder)
    assert unsealed.code == 1
    assert "unsealed" in unsealed.out
    assert unsealed.err.count("\n") == 1
    (home / "config" / "estim" / station_key.FILE_NAME).unlink()
    unchecked = estim("records", "verify", path, "--json")
    assert unchecked.code == 0
    assert unchecked.objects[0]["state"] == "seal not checked: no key"


def test_another_stations_seal_is_found(estim: Shell, folder: Path, key: bytes) -> None:
    answer = estim("records", "verify", sealed_record(folder), "--json")
    assert answer.code == 1
    assert [finding["what"] for finding in answer.objects[0]["findings"]] == ["bad seal"]


def test_a_key_that_others_can_read_is_told_and_not_used(
    estim: Shell, folder: Path, key: bytes, home: Path
) -> None:
    path = sealed_with(folder, key)
    (home / "config" / "estim" / station_key.FILE_NAME).chmod(0o644)
    answer = estim("records", "verify", path, "--json")
    assert answer.code == 0
    assert answer.err.startswith("estim: warning: seals are not checked: ")
    assert answer.objects[0]["state"] == "seal not checked: no key"


def test_every_changed_byte_is_found(estim: Shell, folder: Path, key: bytes) -> None:
    path = sealed_with(folder, key)
    octets = path.read_bytes()
    chance = random.Random(3)
    for _ in range(60):
        damaged = bytearray(octets)
        damaged[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        answer = estim("records", "verify", path)
        assert answer.code == 1
        assert answer.err.count("\n") == 1
        assert answer.err.startswith(f"estim: {path}: line ")
        assert all(line.isprintable() for line in answer.out.splitlines())


def test_a_noted_head_finds_a_record_that_was_made_anew(
    estim: Shell, folder: Path, key: bytes
) -> None:
    path = sealed_with(folder, key)
    head = estim("records", "verify", path, "--json").objects[0]["head"]
    assert estim("records", "verify", path, "--head", head).code == 0
    assert estim("records", "verify", path, "--head", "0" * 64).code == 1


def test_several_records_get_the_worst_exit_code(estim: Shell, folder: Path, key: bytes) -> None:
    path = sealed_with(folder, key)
    answer = estim("records", "verify", path, SECOND_ID, "NO", "--records", folder, "--json")
    assert answer.code == 2
    assert [item["is_ok"] for item in answer.objects] == [True, False, False]
    assert answer.err.count("\n") == 2


NO_RECORDS = {
    "empty": b"",
    "garbage": bytes(range(256)) * 50,
    "one long line": b"x" * 300_000,
    "zeros": bytes(5000),
    "other JSON": b'{"a": 1}\n' * 20,
    "deep": b"[" * 20_000 + b"\n",
    "unreadable lines": b"?\n" * 500,
    "text": (CHECKOUT / "README.md").read_bytes(),
}


@pytest.mark.parametrize("command", [["show"], ["show", "--json"], ["export", "--csv", "-"]])
@pytest.mark.parametrize("name", NO_RECORDS)
def test_what_is_no_record_is_one_message_and_exit_code_1(
    estim: Shell, folder: Path, name: str, command: list[str]
) -> None:
    path = folder / f"{SESSION_ID}.jsonl"
    path.write_bytes(NO_RECORDS[name])
    estim("records", *command, path).assert_one_message(1)


@pytest.mark.parametrize("name", NO_RECORDS)
def test_what_is_no_record_does_not_verify(estim: Shell, folder: Path, name: str) -> None:
    path = folder / f"{SESSION_ID}.jsonl"
    path.write_bytes(NO_RECORDS[name])
    answer = estim("records", "verify", path)
    assert answer.code == 1
    assert answer.err.startswith("estim: ")
    assert answer.err.count("\n") == 1
    assert estim("records", "list", "--records", folder).code == 0


def test_what_is_no_file_is_one_message_and_never_waited_for(estim: Shell, folder: Path) -> None:
    (folder / "folder.jsonl").mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "link.jsonl").symlink_to(sealed_record(folder))
    for name in ("folder", "pipe", "link", "missing"):
        path = folder / f"{name}.jsonl"
        for command in (["show"], ["show", "--json"], ["verify"], ["export", "--csv", "-"]):
            estim("records", *command, path).assert_one_message(1)
    estim("records", "show", "missing", "--records", folder).assert_one_message(1)


def test_a_record_that_was_cut_anywhere_is_shown_as_far_as_it_goes(
    estim: Shell, folder: Path, key: bytes
) -> None:
    path = sealed_with(folder, key)
    octets = path.read_bytes()
    header_size = octets.index(b"\n") + 1
    for size in range(header_size, len(octets), 97):
        path.write_bytes(octets[:size])
        shown = estim("records", "show", path)
        assert (shown.code, shown.err) == (0, "")
        assert f"session    {SESSION_ID}" in shown.out
        assert estim("records", "verify", path).code == 1


def test_an_export_is_a_table_of_events_and_replaces_nothing(
    estim: Shell, folder: Path, key: bytes
) -> None:
    path = sealed_with(folder, key)
    printed = estim("records", "export", path, "--csv", "-")
    assert (printed.code, printed.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [row["kind"] for row in rows] == ["header", "rise_asked", "note", "seal"]
    target = folder / "out.csv"
    assert estim("records", "export", path, "--csv", target).code == 0
    assert target.read_bytes().decode().splitlines() == printed.out.splitlines()
    before = path.read_bytes()
    estim("records", "export", path, "--csv", target).assert_one_message(2)
    estim("records", "export", path, "--csv", path).assert_one_message(2)
    estim("records", "export", path, "--csv", folder / "no" / "out.csv").assert_one_message(2)
    assert path.read_bytes() == before


def test_an_export_of_a_record_that_was_changed_is_made_and_complained_of(
    estim: Shell, folder: Path, key: bytes
) -> None:
    """A person may need the rows all the same; nobody may take them for the record's word."""
    path = sealed_with(folder, key)
    octets = path.read_bytes()
    assert octets.count(b"12000") == 1
    path.write_bytes(octets.replace(b"12000", b"12001"))
    complaint = f"{path}: the record does not verify ("
    for target in ("-", folder / "out.csv"):
        for options in ([], ["--telemetry"]):
            answer = estim("records", "export", path, "--csv", target, *options)
            assert answer.code == 1
            said = answer.err.splitlines()
            assert [complaint in line for line in said].count(True) == 1
            assert complaint in said[-1]
            if target != "-":
                folder.joinpath("out.csv").unlink()
    printed = estim("records", "export", path, "--csv", "-").out
    kinds = [row["kind"] for row in csv.DictReader(io.StringIO(printed))]
    assert kinds == ["header", "rise_asked", "note", "seal"]


def test_a_failed_export_leaves_no_half_behind(estim: Shell, folder: Path) -> None:
    journal = start(folder)
    append(journal, "note", 1000, **{f"k{number}": 0 for number in range(1001)})
    journal.close()
    estim("records", "export", journal.path, "--csv", folder / "out.csv").assert_one_message(1)
    assert not (folder / "out.csv").exists()


def test_a_list_of_hostile_records_moves_no_cursor(estim: Shell, folder: Path) -> None:
    profile: dict[str, str] = {"id": "x\x1b[2J\x9b1m\u202e", "version": "1", "sha256": "0"}
    start_with(folder, profile=profile)
    answer = estim("records", "list", "--records", folder)
    assert answer.code == 0
    assert "x\N{REPLACEMENT CHARACTER}[2J" in answer.out
    assert all(line.isprintable() for line in answer.out.splitlines())


def start_with(folder: Path, **changes: Any) -> None:
    Journal.create(folder, header(**changes), VirtualClock(), SESSION_ID).close()
