"""S6: what was acknowledged is in the record, whatever happened; what a crash tore is told.

The chain is followed by hand here; the product's own `verify` and `recover` are then held to it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from estim.errors import RecordError
from estim.record.recover import recover
from estim.record.verify import verify
from tests.campaign.frames import Cutter
from tests.campaign.log import HostLife, Log
from tests.campaign.patient import Fail
from tests.campaign.verdict import FOR_EVER_US

GENESIS = "0" * 64
SIZE = "size of the file with this line"
WALL = datetime(2030, 1, 1, tzinfo=UTC)
KEPT_AS = {"Arm": "arm_asked", "Start": "start_asked", "Resume": "resume_asked"}
"""What must stand in the record before these are answered."""


def examine_records(log: Log, folder: Path, fail: Fail, seen: Counter[str]) -> None:
    """Judge the record of every host."""
    for host in log.hosts:
        if host.record is not None:
            _examine(log, host, host.record, bytes.fromhex("5a" * 32), fail, seen)


def _examine(
    log: Log, host: HostLife, path: Path, key: bytes, fail: Fail, seen: Counter[str]
) -> None:
    at_us = host.until_us or log.ended_us
    events, torn, problem = _chain(path)
    if problem:
        fail("S6", at_us, problem)
    seen["S6"] += 1
    seen["S6 torn tail"] += bool(torn)
    seen["S6 power cut"] += host.power_was_cut
    if not host.is_lied_to:
        _acknowledged(log, host, events, fail, seen)
    is_sealed = bool(events) and events[-1]["kind"] == "seal"
    told = verify(path, key)
    if told.is_ok is not (is_sealed and not torn):
        fail("S6", at_us, f"verify says {told.findings} of a record that is sealed: {is_sealed}")
    try:
        recover(path, key, mono_us=at_us, wall=WALL)
    except RecordError as error:
        if events:
            fail("S6", at_us, f"cannot be recovered: {error}")
        return
    told = verify(path, key)
    if not told.is_ok and not host.is_lied_to:
        fail("S6", at_us, f"damaged after recovery: {told.findings}")


def _chain(path: Path) -> tuple[list[dict[str, Any]], bytes, str]:
    """Follow the chain; return its events, a torn tail, and what is wrong with it."""
    *lines, tail = path.read_bytes().split(b"\n")
    events: list[dict[str, Any]] = []
    before, size = GENESIS, 0
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            return events, tail, f"line {len(events) + 1} is none"
        if event["prev"] != before or event["seq"] != len(events):
            return events, tail, f"the chain breaks at line {len(events) + 1}"
        before = hashlib.sha256(line).hexdigest()
        size += len(line) + 1
        events.append(event | {SIZE: size})
    return events, tail, ""


def _acknowledged(
    log: Log, host: HostLife, events: list[dict[str, Any]], fail: Fail, seen: Counter[str]
) -> None:
    kinds = Counter(event["kind"] for event in events)
    done = [each for each in log.asked if each.host == host.number and each.is_done]
    for kind, kept in KEPT_AS.items():
        count = sum(each.kind == kind for each in done)
        seen["S6 acknowledged"] += count
        if kinds[kept] < count:
            fail("S6", host.until_us or 0, f"{count} {kind} were done, {kinds[kept]} are recorded")
    notes = [e["content"]["content"] for e in events if e["kind"] == "annotation"]
    for each in done:
        if each.kind == "Annotate":
            seen["S6 acknowledged"] += 1
            if each.content[1] not in notes:
                fail("S6", each.at_us, f"{each.content} was acknowledged and is not recorded")
    _rises(log, host, events, fail, seen)


def _rises(
    log: Log, host: HostLife, events: list[dict[str, Any]], fail: Fail, seen: Counter[str]
) -> None:
    """Nothing flows above the highest rise that the disk had said it keeps."""
    kept: list[tuple[int, list[int]]] = []
    for event in events:
        if event["kind"] == "rise_asked":
            at_us = next((at for at, size in host.synced if size >= event[SIZE]), FOR_EVER_US)
            kept.append((at_us, event["content"]["to_ua"]))
    cutter = Cutter()
    for piece in log.written:
        for frame in cutter.feed(piece.octets) if piece.host == host.number else ():
            for index, ua in enumerate(frame.targets_ua):
                seen["S6 asked after recorded"] += 1
                if ua > max((to[index] for at, to in kept if at <= piece.at_us), default=0):
                    fail("S6", piece.at_us, f"a Drive for {ua} uA before that was recorded")
                    return
    until_us = host.until_us or log.ended_us
    others = [each.from_us for each in log.hosts if each.number < host.number]
    from_us = host.from_us + 350_000 if others else host.from_us
    for pulse in log.pulses:
        if not from_us <= pulse.onset_us <= until_us:
            continue
        seen["S6 output recorded"] += 1
        most_ua = max(
            (to_ua[pulse.channel] for at_us, to_ua in kept if at_us <= pulse.onset_us), default=0
        )
        # A defect of the stage may give half as much again, never more: see faults.py.
        if pulse.peak_ua > most_ua * 3 // 2:
            fail("S6", pulse.onset_us, f"{pulse.peak_ua} uA flow, {most_ua} uA were recorded")
            return
