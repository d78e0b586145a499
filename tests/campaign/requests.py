"""Judge the answers to what people asked: what must never be done, whatever the wire brought (S4).

Figures from architecture.md, sections 6 to 8.
"""

from __future__ import annotations

from collections import Counter

from tests.campaign.log import Asked, HostLife, Log
from tests.campaign.patient import Fail
from tests.campaign.sessions import Session

S_US = 1_000_000
KEY_UA_PER_S = 1000
FASTEST_PERMILLE = 1050
"""A host's second may be this much shorter than a true one: 5 % of drift."""
REQUIRED = {"screen", "consent", "test_sensation", "place_electrodes", "try_stop"}
RECORD_FAILED_US = 500_000 + 60_000 + 350_000
"""Ramp down as the session set it, the longest between two Drives, and a lost Stop."""


def judge_requests(log: Log, session: Session, fail: Fail, seen: Counter[str]) -> None:
    """Judge keys, the clinical gate, and output without a record."""
    for host in log.hosts:
        done = [each for each in log.asked if each.host == host.number and each.is_done]
        _keys(done, session, fail, seen)
        if not session.is_bench:
            _gate(done, session.envelope.step_ua, fail, seen)
        _unrecorded(log, host, fail, seen)


def _keys(done: list[Asked], session: Session, fail: Fail, seen: Counter[str]) -> None:
    """Keys raise a channel by 1 mA at most within any second, however long they are held."""
    raised: dict[int, list[int]] = {}
    for each in done:
        if each.kind == "Raise":
            for index in set(each.content[0]):  # type: ignore[call-overload]
                raised.setdefault(index, []).append(each.at_us)
    for times_us in raised.values():
        for at_us in times_us:
            since_us = at_us - S_US * 1000 // FASTEST_PERMILLE + 2 * LATE_US
            count = sum(since_us < other_us <= at_us for other_us in times_us)
            seen["S4 keys"] += 1
            if count * session.envelope.step_ua > KEY_UA_PER_S:
                fail("S4", at_us, f"{count} steps by key within a second")


LATE_US = 20_000
"""Between the key and the review of its rise the record's disk comes in."""


def _gate(done: list[Asked], step_ua: int, fail: Fail, seen: Counter[str]) -> None:
    """No arming on a person without every answer, and a reading-back of what is loaded."""
    kept: set[str] = set()
    is_read_back = False
    highest_ua = 0
    for each in done:
        if each.kind == "Annotate":
            kept.add(str(each.content[0]))
            is_read_back = is_read_back or each.content[0] == "read_back"
        elif each.kind == "Prepare":
            is_read_back = False
            highest_ua = 0
        elif each.kind == "Arm":
            seen["S4 gate"] += 1
            if not kept >= REQUIRED or not is_read_back:
                fail("S4", each.at_us, "armed on a person without the answers that it needs")
        elif each.kind == "Raise":
            highest_ua += step_ua  # at most: nothing is taken off for what was lowered since
        elif each.kind == "SetTargets" and _largest(each) > highest_ua:
            fail("S4", each.at_us, "a target set at once on a person")


def _largest(asked: Asked) -> int:
    return max(int(str(ua)) for ua in asked.content[0])  # type: ignore[attr-defined]


def _unrecorded(log: Log, host: HostLife, fail: Fail, seen: Counter[str]) -> None:
    """Without a record output ramps to zero, and none begins."""
    if host.disk_failed_us is None:
        return
    seen["S6 record failed"] += 1
    from_us = host.disk_failed_us + RECORD_FAILED_US * 106 // 100
    until_us = host.until_us or log.ended_us
    for pulse in log.pulses:
        if from_us < pulse.onset_us <= until_us:
            fail("S6", pulse.onset_us, "output goes on without a record")
            return
