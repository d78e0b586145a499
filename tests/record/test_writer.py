"""The writer holds nobody up, acknowledges only what is on the disk, drops nothing silently."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from estim.record.files import FileOps
from estim.record.reader import read
from estim.record.recover import recover
from estim.record.verify import verify
from estim.record.writer import EventWriter, RecordWriter, SynchronousWriter
from tests.record.samples import KEY, FailingSync, FullDisk, raw_lines, start, wall


class SlowDisk(FileOps):
    """Hold every sync of the file until the gate is opened, and count them."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.sync_count = 0

    def sync_file(self, descriptor: int) -> None:
        self.entered.set()
        assert self.gate.wait(10)
        self.sync_count += 1
        super().sync_file(descriptor)


def submit(writer: EventWriter, number: int, token: int | None = None) -> None:
    writer.submit("noted", {"n": number}, mono_us=number, wall=wall(number), token=token)


def noted(path: Path) -> list[int]:
    events = [json.loads(line) for line in raw_lines(path)]
    return [event["content"]["n"] for event in events if event["kind"] == "noted"]


@pytest.mark.parametrize("make", [RecordWriter, SynchronousWriter])
def test_every_token_comes_back_in_order_and_the_seal_is_last(
    tmp_path: Path, make: type[RecordWriter] | type[SynchronousWriter]
) -> None:
    durable: list[int] = []
    failures: list[str] = []
    journal = start(tmp_path)
    writer: EventWriter = make(journal, durable.append, failures.append)
    for number in range(300):
        submit(writer, number, token=number if number % 3 == 0 else None)
    writer.seal(KEY, mono_us=400, wall=wall(400), token=1000)
    assert writer.close(5.0)
    assert durable == [*range(0, 300, 3), 1000]
    assert failures == []
    assert noted(journal.path) == list(range(300))
    assert json.loads(raw_lines(journal.path)[-1])["kind"] == "seal"


@pytest.mark.hazard(38)
def test_nothing_is_acknowledged_before_its_sync_and_what_waits_is_one_group(
    tmp_path: Path,
) -> None:
    disk = SlowDisk()
    durable: list[int] = []
    journal = start(tmp_path, ops=disk)
    disk.gate.clear()
    disk.entered.clear()
    writer = RecordWriter(journal, durable.append, pytest.fail)
    submit(writer, 0, token=0)
    assert disk.entered.wait(5)
    before = time.monotonic()
    for number in range(1, 101):
        submit(writer, number, token=number)
    assert time.monotonic() - before < 0.5, "submit waited for the disk"
    assert durable == []
    disk.gate.set()
    assert writer.close(5.0)
    assert durable == list(range(101))
    assert disk.sync_count == 3  # the header, the first event, all the others together


def test_a_full_queue_is_told_once_and_the_gap_is_recorded(tmp_path: Path) -> None:
    disk = SlowDisk()
    failures: list[str] = []
    journal = start(tmp_path, ops=disk)
    disk.gate.clear()
    disk.entered.clear()
    writer = RecordWriter(journal, lambda token: None, failures.append, capacity=2)
    submit(writer, 0)
    assert disk.entered.wait(5)
    for number in range(1, 6):  # two find room, three are lost
        submit(writer, number)
    assert failures == ["the disk is too slow: too many events wait for it"]
    disk.gate.set()
    writer.seal(KEY, mono_us=9, wall=wall(9))
    assert not writer.close(5.0)
    kinds = [json.loads(line)["kind"] for line in raw_lines(journal.path)]
    assert kinds == ["header", "noted", "noted", "noted", "events_lost", "seal"]
    assert json.loads(raw_lines(journal.path)[4])["content"] == {"count": 3}


@pytest.mark.parametrize("make", [RecordWriter, SynchronousWriter])
def test_a_failed_write_is_told_once_and_acknowledges_nothing(
    tmp_path: Path, make: type[RecordWriter] | type[SynchronousWriter]
) -> None:
    disk = FullDisk(remaining=100_000)
    durable: list[int] = []
    failures: list[str] = []
    journal = start(tmp_path, ops=disk)
    disk.remaining = 5
    writer: EventWriter = make(journal, durable.append, failures.append)
    for number in range(3):
        submit(writer, number, token=number)
    assert not writer.close(5.0)
    assert durable == []
    assert len(failures) == 1
    assert "No space left" in failures[0]


@pytest.mark.parametrize("make", [RecordWriter, SynchronousWriter])
def test_a_failed_sync_acknowledges_nothing(
    tmp_path: Path, make: type[RecordWriter] | type[SynchronousWriter]
) -> None:
    durable: list[int] = []
    failures: list[str] = []
    journal = start(tmp_path, ops=FailingSync(fail_at=2))
    writer: EventWriter = make(journal, durable.append, failures.append)
    submit(writer, 0, token=0)
    assert not writer.close(5.0)
    assert durable == []
    assert len(failures) == 1


def test_what_cannot_be_spelled_is_told_and_the_rest_still_recorded(tmp_path: Path) -> None:
    failures: list[str] = []
    journal = start(tmp_path)
    writer = RecordWriter(journal, lambda token: None, failures.append)
    writer.submit("noted", {"n": {1, 2}}, mono_us=1, wall=wall(1))
    submit(writer, 2)
    assert not writer.close(5.0)
    assert "not plain JSON" in failures[0]
    assert noted(journal.path) == [2]


def test_an_event_after_the_seal_or_the_end_is_told(tmp_path: Path) -> None:
    failures: list[str] = []
    journal = start(tmp_path)
    writer = RecordWriter(journal, lambda token: None, failures.append)
    writer.seal(KEY, mono_us=1, wall=wall(1))
    assert writer.close(5.0)
    submit(writer, 2)
    assert failures == ["the record is closed"]


def test_closing_does_not_wait_for_ever_on_a_hung_disk(tmp_path: Path) -> None:
    disk = SlowDisk()
    journal = start(tmp_path, ops=disk)
    disk.gate.clear()
    writer = RecordWriter(journal, lambda token: None, pytest.fail)
    submit(writer, 0)
    assert not writer.close(0.05)
    disk.gate.set()
    assert writer.close(5.0)


ACKNOWLEDGE = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from estim.record.writer import RecordWriter
from tests.record.samples import start, wall
durable = []
def acknowledge(token):
    durable.append(token)
    os.write(1, b"%d\\n" % token)
writer = RecordWriter(start(Path({folder!r})), acknowledge, lambda reason: os._exit(9))
sys.stdin.read(1)
number = 0
while True:
    if number < len(durable) + 50:
        writer.submit("noted", {{"n": number}}, mono_us=number, wall=wall(number), token=number)
        number += 1
"""


@pytest.mark.hazard(38)
def test_no_acknowledged_event_is_lost_to_kill_9(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    delays = random.Random(seed)
    acknowledged_total = 0
    for trial in range(6):
        folder = tmp_path / str(trial)
        script = ACKNOWLEDGE.format(root=os.getcwd(), folder=str(folder))
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(b"g")
            child.stdin.flush()
            child.stdout.readline()
            time.sleep(delays.uniform(0.0, 0.15))
            child.kill()
            *whole, _ = child.stdout.read().split(b"\n")
        acknowledged = [0, *(int(number) for number in whole)]
        [path] = folder.glob("*.jsonl")
        *lines, _torn = path.read_bytes().split(b"\n")
        kept = [json.loads(line)["content"].get("n") for line in lines[1:]]
        assert kept[: len(acknowledged)] == acknowledged, f"seed {seed}, trial {trial}"
        acknowledged_total += len(acknowledged)
    assert acknowledged_total > 6, "the children were killed before they had done anything"


def test_what_comes_after_the_seal_is_told_and_not_written_before_it(tmp_path: Path) -> None:
    """Both wait in the queue together; the seal keeps its place."""
    disk = SlowDisk()
    failures: list[str] = []
    journal = start(tmp_path, ops=disk)
    disk.gate.clear()
    disk.entered.clear()
    writer = RecordWriter(journal, lambda token: None, failures.append)
    submit(writer, 0)
    assert disk.entered.wait(5)
    writer.seal(KEY, mono_us=1, wall=wall(1))
    submit(writer, 2)
    disk.gate.set()
    assert not writer.close(5.0)
    kinds = [json.loads(line)["kind"] for line in raw_lines(journal.path)]
    assert kinds == ["header", "noted", "seal"]
    assert len(failures) == 1
    assert "sealed" in failures[0]


@pytest.mark.hazard(37)
def test_a_disk_that_fails_at_any_point_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Every sync in turn, and the disk full every 41 bytes; recovered, the record verifies."""
    whole = start(tmp_path / "whole")
    header_size = whole.path.stat().st_size
    whole.close()
    disks: list[FileOps] = [FailingSync(fail_at) for fail_at in range(2, 9)]
    disks += [FullDisk(room) for room in range(header_size, header_size + 1700, 41)]
    failure_count = 0
    for trial, disk in enumerate(disks):
        durable: list[int] = []
        failures: list[str] = []
        journal = start(tmp_path / str(trial), ops=disk)
        writer = SynchronousWriter(journal, durable.append, failures.append)
        for number in range(6):
            submit(writer, number, token=number)
        writer.seal(KEY, mono_us=9, wall=wall(9), token=6)
        assert writer.close(1.0) == (failures == [])
        failure_count += len(failures)
        assert durable == list(range(len(durable))), "acknowledged after a failure"
        recover(journal.path, KEY, mono_us=10, wall=wall(10))
        assert verify(journal.path, KEY).is_ok
        kept = [event.content.get("n") for event in read(journal.path).events[1:]]
        assert kept[: len(durable)][:6] == durable[:6]
    assert failure_count > 40
