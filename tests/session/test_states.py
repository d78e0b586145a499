"""The transition table, pair by pair, and what must be true over all of it."""

from __future__ import annotations

import pytest

from estim.session.states import (
    ENERGISED,
    TRANSITIONS,
    WANTED,
    HostState,
    Trigger,
    follow,
    mermaid,
)
from firmware_protocol.messages import WantedState

S = HostState
T = Trigger

# Written by hand from architecture.md section 7 and hazards.md section 4; '-' is "does not happen".
_COLUMNS = (
    T.IDENTIFIED, T.PREPARED, T.ARMED, T.STARTED, T.PAUSED, T.STOPPED, T.ZERO_CONFIRMED,
    T.LINK_CLOSED, T.FAULT, T.ACKNOWLEDGED, T.ACKNOWLEDGED_UNLINKED, T.CLOSED,
)  # fmt: skip
_TABLE = """
disconnected identified -     -     -       -     -        -     -            fault -     -            closed
identified   -          ready -     -       -     -        -     disconnected fault -     -            closed
ready        -          ready armed -       -     stopping -     disconnected fault -     -            closed
armed        -          -     -     running -     stopping -     -            fault -     -            -
running      -          -     -     -       armed stopping -     -            fault -     -            -
stopping     -          -     -     -       -     stopping ready -            fault -     -            -
fault        -          -     -     -       -     -        -     -            fault ready disconnected closed
closed       -          -     -     -       -     -        -     -            -     -     -            -
"""  # noqa: E501 - a table is read by columns
_EXPECTED = {
    (S(row.split()[0]), trigger): None if cell == "-" else S(cell)
    for row in _TABLE.strip().splitlines()
    for trigger, cell in zip(_COLUMNS, row.split()[1:], strict=True)
}


def test_the_hand_written_table_names_every_pair() -> None:
    assert len(_EXPECTED) == len(HostState) * len(Trigger) == 8 * 12


@pytest.mark.parametrize(("state", "trigger"), sorted(_EXPECTED, key=str))
def test_every_pair_leads_where_the_design_says(state: HostState, trigger: Trigger) -> None:
    assert follow(state, trigger) is _EXPECTED[state, trigger]


def test_the_diagram_mentions_every_way() -> None:
    lines = {line.strip() for line in mermaid().splitlines()}
    for (state, trigger), target in _EXPECTED.items():
        if target is not None and trigger is not T.FAULT:
            assert f"{state.value} --> {target.value}: {trigger.value}" in lines
    assert "note right of fault: entered from every state but closed; latched" in lines
    assert {"[*] --> disconnected", "closed --> [*]"} <= lines
    # header, start, one line per way, end, note
    assert len(mermaid().splitlines()) == 2 + 19 + 2


def test_running_is_entered_from_armed_alone_and_by_a_start_alone() -> None:
    """I5, I12: output begins only from ARMED, where every target is zero."""
    ways = [pair for pair, target in TRANSITIONS.items() if target is S.RUNNING]
    assert ways == [(S.ARMED, T.STARTED)]


@pytest.mark.hazard(5)
def test_nothing_resumes_by_itself() -> None:
    """I6: what a device, a link or time does never leads to ARMED or RUNNING; a person does."""
    by_themselves = set(Trigger) - {T.ARMED, T.STARTED, T.PAUSED}
    for (_, trigger), target in TRANSITIONS.items():
        if trigger in by_themselves:
            assert target not in ENERGISED
    # PAUSED enters ARMED from RUNNING alone: downwards.
    assert [pair for pair in TRANSITIONS if pair[1] is T.PAUSED] == [(S.RUNNING, T.PAUSED)]


def test_fault_is_latched() -> None:
    """I7: only an acknowledgement or the end of the visit leaves FAULT, never towards output."""
    leaving = {
        trigger: target
        for (state, trigger), target in TRANSITIONS.items()
        if state is S.FAULT and target is not S.FAULT
    }
    assert leaving == {
        T.ACKNOWLEDGED: S.READY,
        T.ACKNOWLEDGED_UNLINKED: S.DISCONNECTED,
        T.CLOSED: S.CLOSED,
    }


def test_fault_is_reached_from_everywhere_but_closed() -> None:
    for state in HostState:
        assert follow(state, T.FAULT) is (None if state is S.CLOSED else S.FAULT)


def test_only_running_wants_output() -> None:
    """I9: whatever is not RUNNING wants a device state without output."""
    wanted = {state: WANTED.get(state, WantedState.SAFE) for state in HostState}
    assert wanted.pop(S.RUNNING) is WantedState.RUNNING
    assert wanted.pop(S.ARMED) is WantedState.ARMED
    assert set(wanted.values()) == {WantedState.SAFE}
    assert set(ENERGISED) == {S.ARMED, S.RUNNING}


def test_every_state_can_be_reached_and_stopped() -> None:
    reached = {S.DISCONNECTED}
    while more := {t for (s, _), t in TRANSITIONS.items() if s in reached} - reached:
        reached |= more
    assert reached == set(HostState)
    for state in (*ENERGISED, S.STOPPING):
        assert follow(state, T.STOPPED) is S.STOPPING
