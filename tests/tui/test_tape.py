"""A record as a tape: never a value that the record does not hold, whatever the file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from estim.errors import RecordError
from estim.record.addenda import add_addendum
from estim.record.journal import Journal
from estim.record.verify import verify
from estim.session.messages import Severity
from estim.session.states import HostState
from estim.tui import winding
from estim.tui.tape import Tape
from estim.tui.widgets.plot import GAP_SIGN, draw
from estim.tui.widgets.replay import tape_trace
from estim.visit.level import Marker
from tests.record import samples
from tests.tui.sessions import lines, second, session, summary

S = 1_000_000


def load(path: Path) -> Tape:
    return winding.load(path, verify(path, None))


def test_what_was_commanded_measured_and_delivered_comes_back_at_its_time(records: Path) -> None:
    tape = load(session(records))
    assert tape.gaps == ()
    assert tape.unsound_us is None
    # Virtual: identified at 0.2 s, armed and started at 0.85 s, 1 mA/s to 6 mA, then 20 s.
    assert tape.look(0).moment.state is HostState.DISCONNECTED
    rising = tape.look(3 * S)
    assert rising.moment.state is HostState.RUNNING
    assert [row.shown_ua for row in rising.snapshot.channels] == [6000, 4000]  # as commanded
    assert 0 < rising.snapshot.channels[0].measured_ua < 6000
    held = tape.look(15 * S)
    assert [row.measured_ua for row in held.snapshot.channels] == [6000, 4000]
    assert held.spans_ua == ((6000, 6000, 6000), (4000, 4000, 4000))
    assert [row.load_ohm for row in held.snapshot.channels] == [500, 500]
    assert [row.ceiling_ua for row in held.snapshot.channels] == [40_000, 40_000]
    end = tape.look(tape.duration_us)
    assert end.moment.state is HostState.CLOSED
    assert [row.shown_ua for row in end.snapshot.channels] == [0, 0]
    # 20 s of plateau, 7 s of rise, 2 s of ramp down.
    assert 28_900 <= end.moment.delivered_ms <= 29_100


def test_during_the_ramp_down_what_the_device_reports_is_shown(records: Path) -> None:
    tape = load(session(records))
    ramp = next(one for one in tape.happenings if one.words.startswith("ramp down"))
    late = tape.look(ramp.at_us + 1_800_000)
    assert late.moment.state is HostState.RUNNING
    assert late.snapshot.channels[0].target_ua < 1500


@pytest.mark.parametrize("count", [1, 3])
def test_seconds_that_are_missing_are_a_gap_and_nothing_is_known_in_it(
    records: Path, count: int
) -> None:
    path = session(records)
    gone = range(15, 15 + count)
    kept = [line for line in lines(path) if not any(second(line, at) for at in gone)]
    assert len(kept) == len(lines(path)) - count
    path.write_bytes(b"".join(kept))
    tape = load(path)
    begin_us, end_us = summary(kept, 14)["to_us"], summary(kept, 15 + count)["from_us"]
    assert tape.gaps == ((begin_us, end_us),)
    inside = tape.look((begin_us + end_us) // 2)
    assert inside.is_gap
    assert not inside.snapshot.is_known
    assert inside.spans_ua == (None, None)
    assert inside.moment.state is None  # a change of state may be among what is missing
    assert not tape.look(end_us + 1).is_gap
    assert tape.unsound_us is not None
    assert tape.look(begin_us - 1).snapshot.is_known


@pytest.mark.parametrize(("silent_us", "is_gap"), [(500_000, False), (500_001, True)])
def test_a_device_that_was_silent_longer_than_the_live_display_believes_it_leaves_a_gap(
    records: Path, silent_us: int, is_gap: bool
) -> None:
    records.mkdir()
    journal = samples.start(records)
    _event(journal, "prepared", 1 * S, ceilings_ua=[30_000])
    _event(journal, "state", 1 * S, to="running")
    row = {"channel": 1, "peak_min_ua": 1, "peak_mean_ua": 2, "peak_max_ua": 3}
    again_us = 2 * S + silent_us
    for from_us in (1 * S, again_us):
        to_us = from_us + S
        _event(journal, "telemetry_second", to_us, from_us=from_us, to_us=to_us, channels=[row])
    journal.sync()
    journal.close()
    tape = load(journal.path)
    assert tape.gaps == (((2 * S, again_us),) if is_gap else ())
    assert tape.look(2 * S + 250_000).snapshot.is_known is not is_gap


def test_a_gap_is_drawn_as_a_gap_however_short(records: Path) -> None:
    path = session(records)
    whole = load(path)
    assert GAP_SIGN not in "".join(draw(tape_trace(whole, (0, whole.duration_us), "all"), 40, 4))
    path.write_bytes(b"".join(line for line in lines(path) if not second(line, 15)))
    tape = load(path)
    for columns in (5, 40, 150):
        rows = draw(tape_trace(tape, (0, tape.duration_us), "all"), columns, 4)
        where = {index for row in rows for index, cell in enumerate(row) if cell == GAP_SIGN}
        first = summary(lines(path), 14)["to_us"] / tape.duration_us * columns
        assert min(where) == int(first)
        assert all(row[min(where)] == GAP_SIGN for row in rows)


def test_between_neighbouring_seconds_the_line_does_not_fall_to_zero(records: Path) -> None:
    tape = load(session(records))
    trace = tape_trace(tape, (10 * S, 18 * S), "part")
    inside = (trace.times_us > 10 * S) & (trace.times_us < 18 * S)
    assert set(trace.currents_ua[inside]) == {6000.0}


def test_a_torn_record_is_replayed_to_where_it_was_torn(records: Path) -> None:
    path = session(records)
    kept = lines(path)
    place = next(n for n, line in enumerate(kept) if second(line, 16))
    path.write_bytes(b"".join(kept[:place]) + kept[place][:77])
    tape = load(path)
    assert tape.duration_us < 17.2 * S
    assert tape.look(tape.duration_us).moment.state is HostState.RUNNING
    assert tape.happenings[-1].words == "the record ends here without a close"
    assert tape.unsound_us is None  # a crash is no damage


def test_from_a_changed_line_on_it_says_that_nothing_verifies(records: Path) -> None:
    path = session(records)
    changed = [
        line.replace(b'"peak_max_ua":6000', b'"peak_max_ua":9000') if second(line, 16) else line
        for line in lines(path)
    ]
    path.write_bytes(b"".join(changed))
    tape = load(path)
    assert tape.unsound_us is not None
    assert 16 * S < tape.unsound_us < 19 * S
    told = [one for one in tape.happenings if one.severity is Severity.ALARM]
    assert "changed line" in told[0].words


def _event(journal: Journal, kind: str, at_us: int, /, **content: Any) -> None:
    journal.append(kind, content, mono_us=at_us, wall=samples.wall(at_us))


def test_markers_alarms_prompts_faults_and_lead_off_come_back(records: Path) -> None:
    records.mkdir()
    journal = samples.start(records)

    def note(at_us: int, kind: str, /, **content: Any) -> None:
        _event(journal, "annotation", at_us, kind=kind, content=content)

    _event(journal, "prepared", 1 * S, ceilings_ua=[30_000], duration_s=600, profile="p")
    _event(journal, "state", 1 * S, **{"from": "armed", "to": "running", "by": "x"})
    _event(journal, "targets", 2 * S, targets_ua=[5000], from_ua=[0])
    note(3 * S, "marker", channel=1, marker="comfortable", amplitude_ua=5000)
    note(4 * S, "alarm", cause="lead-off", priority="high", what="raised")
    note(5 * S, "prompt", prompt="comfort", answer="yes", delivered_ms=3000)
    _event(journal, "lead_off", 6 * S, channel=1, load_ohm=99_000, at_ua=5000)
    note(7 * S, "alarm", cause="lead-off", priority="high", what="acknowledged")
    _event(journal, "fault", 8 * S, code="x", text="a fault", blame="rig")
    _event(journal, "state", 8 * S, **{"from": "running", "to": "fault", "by": "fault"})
    journal.sync()
    journal.close()
    tape = load(journal.path)
    assert tape.look(int(3.5 * S)).moment.markers == ({Marker.COMFORTABLE: 5000},)
    assert tape.look(int(4.5 * S)).moment.alarms == (("lead-off", "high"),)
    assert tape.look(int(7.5 * S)).moment.alarms == ()
    assert tape.look(int(5.5 * S)).snapshot.channels[0].target_ua == 5000
    off = tape.look(int(6.5 * S)).snapshot.channels[0]
    assert (off.contact, off.target_ua, off.marker_ua) == ("off", 0, 5000)
    fault = tape.look(8 * S).moment.fault
    assert fault is not None
    assert fault.text == "a fault"
    assert any(
        one.words == "prompt: answer yes, delivered 3.000 s, prompt comfort"
        for one in tape.happenings
    )
    assert tape.gaps[0][0] == 1 * S  # it ran, and no reading was kept


def test_records_that_hold_nonsense_make_a_tape_or_one_message(tmp_path: Path) -> None:
    hostile: list[Any] = [None, -1, 2**400, "x" * 900, [], [[1]], {"a": []}, True, "\x1b[2J"]
    names = (
        "channel", "channels", "changes", "to", "from", "targets_ua", "to_ua", "marker_ua",
        "ceilings_ua", "profile", "duration_s", "from_us", "to_us", "cause", "kind", "content",
        "marker", "amplitude_ua", "text", "blame", "severity", "at_ua", "rise_ms", "answers",
    )  # fmt: skip
    kinds = (
        "telemetry_second", "telemetry_changed", "state", "prepared", "targets", "lowered",
        "paused", "lead_off", "rearmed", "fault", "delivered", "annotation", "notice", "closed",
    )  # fmt: skip
    journal = samples.start(tmp_path, ops=samples.Unsynced())
    at_us = 0
    for odd in hostile:
        for kind in kinds:
            at_us += 1000
            _event(journal, kind, at_us, **dict.fromkeys(names, odd))
            row = dict.fromkeys(("channel", "at_us", "peak_max_ua", "target_ua", "contact"), odd)
            _event(journal, kind, at_us, channels=[row], changes=[row | {"channel": 1}], to="ready")
    journal.append("state", {"to": "running"}, mono_us=2**63, wall=samples.WALL)
    _event(journal, "state", at_us, to="armed")
    journal.sync()
    journal.close()
    tape = load(journal.path)
    for moment in range(0, tape.duration_us + 1, 7000):
        tape.look(moment)
    assert tape.duration_us == at_us
    assert sum("makes no sense" in one.words for one in tape.happenings) >= 1
    draw(tape_trace(tape, (0, tape.duration_us), "all"), 40, 4)
    garbage = tmp_path / "garbage-1.jsonl"
    garbage.write_bytes(bytes(range(256)) * 300)
    with pytest.raises(RecordError, match="nothing to replay"):
        load(garbage)
    large = tmp_path / "large-1.jsonl"
    with large.open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(RecordError, match="too long to show"):
        winding.load(large, verify(garbage, None))


def test_the_tape_ends_where_the_session_did_whatever_was_added_later(records: Path) -> None:
    path = session(records)
    before = load(path).duration_us
    add_addendum(
        path, samples.KEY, who="t1", why="correction", text="later", event_seq=3,
        mono_us=10**15, wall=samples.wall(10**12),
    )  # fmt: skip
    assert load(path).duration_us == before
