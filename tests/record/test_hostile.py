"""Whatever lies where a record should be gives one clear answer, in bounded memory and time."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from estim.errors import RecordError
from estim.record.catalogue import list_records
from estim.record.exports import export_events, export_telemetry
from estim.record.reader import read
from estim.record.recover import recover
from estim.record.verify import verify
from tests.record.samples import KEY, SESSION_ID, raw_lines, sealed_record, wall, write_lines


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to(sealed_record(path.parent / "elsewhere"))


def looped_link(path: Path) -> None:
    path.symlink_to(path)


def nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize("make", [fifo, link, looped_link, Path.mkdir, nothing])
def test_what_is_no_plain_file_is_one_clear_error(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / f"{SESSION_ID}.jsonl"
    make(path)
    for attempt in (
        lambda: read(path),
        lambda: verify(path, KEY),
        lambda: recover(path, KEY, mono_us=1, wall=wall(1)),
        lambda: export_events(path, io.StringIO()),
        lambda: export_telemetry(path, io.StringIO()),
    ):
        with pytest.raises(RecordError, match=SESSION_ID):
            attempt()
    states = [entry.state for entry in list_records(tmp_path)]
    assert states == ([] if make is nothing else ["unreadable"])


LINES = [
    b"",
    b"\x00" * 100,
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"{}",
    b"NaN",
    b"1e999999",
    b"9" * 10_000,
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'"' + b"x" * 70_000 + b'"',
    b'{"content":{},"kind":"armed","mono_us":1,"prev":"' + b"0" * 64 + b'","schema":1,"seq":-1}',
    b'{"content":[],"kind":"armed","mono_us":1,"prev":"'
    + b"0" * 64
    + b'","schema":1,"seq":1,"wall":"2000-01-01T00:00:00.000000Z"}',
    b'{"content":{},"kind":"armed","mono_us":1,"prev":"'
    + b"0" * 64
    + b'","schema":1,"seq":1,"wall":"2000-13-01T00:00:00.000000Z"}',
    b'{"content":{"torn":[{"bytes":1}]},"kind":"recovered","mono_us":1,"prev":"'
    + b"0" * 64
    + b'","schema":1,"seq":1,"wall":"2000-01-01T00:00:00.000000Z"}',
    b'{"content":{"check":1,"events":"x","head":[],"hmac":{},"key_id":null,"recovered":9},'
    b'"kind":"seal","mono_us":1,"prev":"'
    + b"0" * 64
    + b'","schema":1,"seq":1,"wall":"2000-01-01T00:00:00.000000Z"}',
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
@pytest.mark.parametrize("place", ["alone", "first", "middle", "last", "tail"])
def test_a_hostile_line_is_found_wherever_it_stands(
    tmp_path: Path, line: bytes, place: str
) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    index = {"first": 0, "middle": 4, "last": 8, "tail": 8, "alone": 0}[place]
    write_lines(path, [line] if place == "alone" else [*lines[:index], line, *lines[index:]])
    if place == "tail":
        os.truncate(path, path.stat().st_size - 1)
        if not line:  # nothing was added
            assert verify(path, KEY).is_ok
            return
    checked = verify(path, KEY)
    assert not checked.is_ok
    assert all(len(str(finding)) < 300 for finding in checked.findings)
    if place != "alone":
        assert len(read(path).events) >= 7
    [entry] = list_records(tmp_path)
    assert entry.state in ("damaged", "unreadable", "unsealed")
    export_or_refuse(path)


def export_or_refuse(path: Path) -> None:
    for export in (export_events, export_telemetry):
        with contextlib.suppress(RecordError):
            export(path, io.StringIO())


def test_random_damage_never_raises_anything_else(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    chance = random.Random(seed)
    path = sealed_record(tmp_path, event_count=4)
    whole = path.read_bytes()
    for trial in range(300):
        octets = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            start, length = chance.randrange(len(octets)), chance.randint(0, 200)
            octets[start : start + length] = chance.choice(
                [b"", b"\n", b"\n" * 20, bytes(octets[:length]), chance.randbytes(length)]
            )
        path.write_bytes(octets)
        if octets != whole:
            assert not verify(path, KEY).is_ok, f"seed {seed}, trial {trial}"
        export_or_refuse(path)
        with contextlib.suppress(RecordError):
            read(path)
            recover(path, KEY, mono_us=1, wall=wall(1))


BIG = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import estim.record.catalogue as catalogue
from estim.errors import RecordError
from estim.record.reader import read
from estim.record.recover import recover
from estim.record.verify import verify
from tests.record.samples import KEY, wall
path = Path({path!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print([str(finding) for finding in verify(path, KEY).findings][-1])
for attempt in (lambda: read(path), lambda: recover(path, KEY, mono_us=1, wall=wall(1))):
    try:
        attempt()
    except RecordError as error:
        print(error)
print(catalogue.list_records(path.parent)[0].state)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (b"\x00" * 4096, "no whole line"),
        (b"\n" * 4096, "gave up"),
        (b"x" * 100 + b"\n", "gave up"),
        (b"x" * 70_000 + b"\n", "gave up"),
    ],
    ids=["one endless line", "newlines", "short lines", "long lines"],
)
def test_100_mb_of_garbage_takes_little_memory(tmp_path: Path, piece: bytes, words: str) -> None:
    path = tmp_path / f"{SESSION_ID}.jsonl"
    with path.open("wb") as garbage:
        block = piece * (1_000_000 // len(piece))
        for _ in range(100):
            garbage.write(block)
    done = subprocess.run(
        [sys.executable, "-c", BIG.format(root=os.getcwd(), path=str(path))],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    path.unlink()
    finding, *errors, state, growth_kb = done.stdout.splitlines()
    assert words in finding
    assert all("record" in error or "damaged" in error for error in errors)
    assert state in ("damaged", "unreadable", "unsealed")
    assert int(growth_kb) < 16 * 1024
