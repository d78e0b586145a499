"""Alarms: priorities, latches, floods, and what each cause says."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.session.messages import Blame, Fault, Notice, Severity
from estim.session.states import HostState
from estim.visit import alarms
from estim.visit.alarms import Alarms, Finding, Priority, Watch
from tests.tui.snapshots import channel, snapshot

S = 1_000_000
OFF = Finding("electrode_off", Priority.MEDIUM, "electrode off", "press it on", frozenset({1}))
LOST = Finding("link_lost", Priority.HIGH, "silent", "check the cable")
DRY = Finding("impedance", Priority.LOW, "dry", "moisten", frozenset({2}))


def causes(**changes: Any) -> dict[str, Priority]:
    """Return what one snapshot alone says."""
    is_known = changes.pop("is_known", True)
    found = Watch().findings(snapshot(**changes), is_known=is_known)
    return {one.cause: one.priority for one in found}


@pytest.mark.hazard(33)
def test_a_cause_stays_until_it_is_acknowledged_and_gone() -> None:
    board = Alarms()
    assert [one.finding for one in board.see([OFF], 0)] == [OFF]
    board.see([], S)
    assert len(board.latched) == 1  # gone, not acknowledged
    board.acknowledge(board.latched)
    assert list(board.latched) == []
    board.see([OFF], 20 * S)
    board.acknowledge(board.latched)
    assert [one.is_acknowledged for one in board.latched] == [True]  # acknowledged, not gone
    board.see([], 21 * S)
    assert list(board.latched) == []


def test_what_came_in_since_it_was_drawn_is_not_acknowledged() -> None:
    board = Alarms()
    board.see([OFF], 0)
    drawn = board.latched
    board.see([replace(OFF, channels=frozenset({1, 2})), LOST], S)
    assert board.acknowledge(drawn) == ()
    assert all(not one.is_acknowledged for one in board.latched)


def test_another_channel_is_shown_at_once_and_raised_once_10_s_have_passed() -> None:
    board = Alarms()
    both = replace(OFF, channels=frozenset({1, 2}))
    board.see([OFF], 0)
    board.acknowledge(board.latched)
    assert board.see([both], 3 * S) == ()
    assert not board.latched[0].is_acknowledged
    assert board.latched[0].finding.text == "channels 1 and 2: electrode off"
    assert board.see([both], 10 * S - 1) == ()
    assert len(board.see([both], 10 * S)) == 1
    assert board.see([OFF], 40 * S) == ()  # one fewer is no news
    assert board.latched[0].finding.text == "channel 1: electrode off"


@pytest.mark.hazard(33)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4 * S),
            st.lists(st.sampled_from([OFF, LOST, DRY]), max_size=3),
            st.sets(st.integers(1, 4), max_size=4),
            st.booleans(),
        ),
        max_size=80,
    )
)
def test_a_flood_raises_each_cause_at_most_once_in_10_s_and_loses_none(
    flood: list[tuple[int, list[Finding], set[int], bool]],
) -> None:
    board, now_us = Alarms(), 0
    raised: dict[str, list[int]] = {}
    for step_us, found, channels, is_acknowledging in flood:
        now_us += step_us
        found = [replace(one, channels=frozenset(channels)) for one in found]
        for alarm in board.see(found, now_us):
            raised.setdefault(alarm.finding.cause, []).append(now_us)
        assert {one.cause for one in found} <= {one.finding.cause for one in board.latched}
        assert len(board.latched) <= 3
        if is_acknowledging:
            board.acknowledge(board.latched)
    for times in raised.values():
        assert all(later - sooner >= 10 * S for sooner, later in pairwise(times))


def test_a_chattering_contact_rings_six_times_in_a_minute_at_most() -> None:
    board = Alarms()
    count = 0
    for tick in range(600):  # a minute at 10 Hz
        count += len(board.see([OFF] if tick % 2 else [], tick * S // 10))
        board.acknowledge(board.latched)
    assert count == 6


def test_the_unacknowledged_and_the_gravest_come_first() -> None:
    board = Alarms()
    board.see([DRY, OFF, LOST], 0)
    assert [one.finding for one in board.latched] == [LOST, OFF, DRY]
    board.acknowledge(board.latched[:1])
    assert [one.finding for one in board.latched] == [OFF, DRY, LOST]


def test_bells_tell_the_priorities_apart_and_repeat_until_acknowledged() -> None:
    assert [one.bells for one in Priority] == [1, 2, 3]
    assert [one.sign for one in Priority] == ["!", "!!", "!!!"]
    board = Alarms()
    board.see([LOST], 0)
    assert board.bells_due(10 * S - 1) == 0
    assert board.bells_due(10 * S) == 3
    assert board.bells_due(11 * S) == 0
    board.acknowledge(board.latched)
    assert board.bells_due(60 * S) == 0
    board.see([LOST, DRY], 61 * S)
    assert board.bells_due(600 * S) == 0  # a low one is heard once
    board.see([LOST, DRY, OFF], 601 * S)
    assert [board.bells_due(second * S) for second in (630, 631, 660, 661)] == [0, 2, 0, 2]


@pytest.mark.hazard(33)
@pytest.mark.parametrize(
    ("code", "cause", "priority"),
    [
        ("device_overcurrent", "overcurrent", Priority.HIGH),
        ("not_obeyed", "overcurrent", Priority.HIGH),
        ("link_lost", "link_lost", Priority.HIGH),
        ("device_lease_expired", "link_lost", Priority.HIGH),
        ("stop_unconfirmed", "stop_failed", Priority.HIGH),
        ("device_output_stage", "device_fault", Priority.HIGH),
        ("a_code_of_tomorrow", "device_fault", Priority.HIGH),
        ("device_supply", "battery", Priority.MEDIUM),
        ("engine_stalled", "computer_busy", Priority.MEDIUM),
        ("device_patient_stop", "patient_stop", Priority.MEDIUM),
    ],
)
def test_faults_have_the_priorities_of_the_mapping(
    code: str, cause: str, priority: Priority
) -> None:
    fault = Fault(code, "what happened", "what to do", Blame.UNKNOWN)
    assert causes(state=HostState.FAULT, fault=fault, is_known=False) == {cause: priority}


@pytest.mark.hazard(27)
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"channels": (channel(is_lead_off=True),)}, {"electrode_off": Priority.MEDIUM}),
        ({"battery_percent": 20}, {"battery": Priority.MEDIUM}),
        ({"battery_percent": 21}, {}),
        ({"battery_percent": 255}, {}),  # on mains
        ({"channels": (channel(load_ohm=4_001),)}, {"impedance": Priority.LOW}),
        ({"channels": (channel(load_ohm=4_000),)}, {}),
        ({"channels": (channel(is_shorted=True),)}, {"leads_touch": Priority.LOW}),
        ({"is_known": False}, {"link_lost": Priority.HIGH}),
        ({"is_known": False, "state": HostState.READY}, {}),  # no output
    ],
)
def test_what_a_snapshot_says(changes: dict[str, Any], expected: dict[str, Priority]) -> None:
    assert causes(**changes) == expected


def test_a_load_half_as_high_again_as_at_first_is_told_and_forgotten_at_zero() -> None:
    watch = Watch()

    def drifts(load_ohm: int, target_ua: int = 12_000) -> bool:
        row = channel(load_ohm=load_ohm, target_ua=target_ua)
        return bool(watch.findings(snapshot(channels=(row,)), is_known=True))

    assert not drifts(1_000)
    assert not drifts(1_500)
    assert drifts(1_501)
    assert not drifts(3_000, target_ua=0)
    assert not drifts(3_000)


def test_a_notice_is_an_alarm_once_unless_the_snapshot_has_it_as_a_fault() -> None:
    watch = Watch()
    busy = Notice(2_000_000, Severity.ALARM, "computer too busy: output stopped safely", "end them")
    watch.hear(busy)
    watch.hear(replace(busy, severity=Severity.WARNING))
    assert watch.findings(snapshot(at_us=1_999_999), is_known=True) == ()  # taken before it
    (found,) = watch.findings(snapshot(at_us=2_000_000), is_known=True)
    assert (found.cause, found.priority) == ("computer_busy", Priority.MEDIUM)
    assert found.remedy == "end them"
    assert watch.findings(snapshot(at_us=3_000_000), is_known=True) == ()
    fault = Fault("device_output_stage", "the device stopped", "out of use", Blame.DEVICE)
    watch.hear(Notice(4_000_000, Severity.ALARM, fault.text))
    found_causes = watch.findings(
        snapshot(at_us=4_000_000, state=HostState.FAULT, fault=fault), is_known=True
    )
    assert [one.cause for one in found_causes] == ["device_fault"]


@pytest.mark.hazard(33)
def test_every_finding_says_what_to_do() -> None:
    found = [
        alarms.skin_check_due(),
        alarms.skin_harmed("red"),
        alarms.session_ends(),
        alarms.attention_paused(),
        alarms.engine_lost("it is gone"),
        *Watch().findings(
            snapshot(
                channels=(channel(is_lead_off=True), channel(is_shorted=True, load_ohm=5_000)),
                battery_percent=1,
            ),
            is_known=False,
        ),
    ]
    assert len({one.cause for one in found}) == 8  # two of them are the link
    assert all(one.words and one.remedy for one in found)


@pytest.mark.parametrize(
    ("state", "expected"),
    [("2026-03-01\n", True), ("2026-02-28\n", False), ("2026-03-02", False), ("", False)],
)
def test_the_bell_is_tried_each_day(state: str, expected: bool) -> None:
    assert alarms.was_bell_tried(state, date(2026, 3, 1)) is expected
    assert alarms.was_bell_tried(alarms.bell_state(date(2026, 3, 1)), date(2026, 3, 1))
