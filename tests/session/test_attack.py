"""Ways in which output might start, rise or persist unasked, and requests that might get lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estim.errors import PortLost
from estim.safety.bounds import Bound, Bounds, ChannelBounds, Owner
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.states import HostState
from firmware_protocol.messages import (
    AcknowledgeFault,
    ChannelStatus,
    CommitProgram,
    DeviceState,
    Drive,
    Event,
    EventCode,
    FaultCode,
    LimitsAccepted,
    PolicyFlag,
    RefusalReason,
    Refused,
    Status,
    Stop,
    WantedState,
)
from tests.session.bench import HEADER, MS, Bench, HandDevice, S, prepared

READY, ARMED, RUNNING = HostState.READY, HostState.ARMED, HostState.RUNNING
IDENTIFIED, FAULT = HostState.IDENTIFIED, HostState.FAULT


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.loop.end()


# Output that rises or persists without a person's request.


@pytest.mark.hazard(5)
def test_a_return_goes_no_higher_than_at_the_last_pause(bench: Bench) -> None:
    """Raised, paused, resumed, lowered to zero, paused: there is nothing to return to."""
    bench.to(RUNNING).raise_to(5000, 0)
    assert bench.settle(bench.ask(msg.Pause))
    assert bench.settle(bench.ask(msg.Resume))
    bench.run(100 * MS)
    assert bench.settle(bench.ask(msg.Lower, (0,), 5000))
    assert bench.settle(bench.ask(msg.Pause))
    assert "nothing was paused" in bench.why(bench.ask(msg.Resume))
    bench.run(500 * MS)
    assert bench.device.targets == [0, 0]


def test_an_arm_that_waited_behind_a_stop_does_nothing(bench: Bench) -> None:
    """Stop overtakes what waits; what it overtook must not arm afterwards."""
    bench.to(READY)
    assert bench.settle(bench.ask(msg.Stop))
    assert "no programme" in bench.why(bench.ask(msg.Arm))
    assert bench.core.program is None


def test_finish_again_does_not_lengthen_the_ramp(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(8000, 0)
    for _ in range(10):
        bench.ask(msg.Finish)
        bench.run(500 * MS)
    assert bench.is_off()
    assert bench.state is READY


def test_a_pause_takes_back_a_finish(bench: Bench) -> None:
    """The person who paused the ramp learns that the session was not finished."""
    bench.to(RUNNING).raise_to(8000, 0)
    finish = bench.ask(msg.Finish)
    bench.run(500 * MS)
    assert bench.settle(bench.ask(msg.Pause))
    assert "paused" in bench.why(finish)


def test_a_device_that_stays_running_at_a_pause_is_a_fault(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.ignores = (Drive,)
    assert bench.settle(bench.ask(msg.Pause))
    bench.run(400 * MS)
    assert bench.state is ARMED
    bench.run(300 * MS)
    assert bench.state is FAULT
    assert bench.core.fault.blame is msg.Blame.DEVICE
    assert bench.device.of(Stop)


def test_a_device_that_does_not_go_down_is_a_fault(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(9000, 4000)
    bench.device.ignores = (Drive,)

    def without_measured_current(status: Status) -> Status:
        rows = tuple(dataclasses.replace(row, peak_ua=0) for row in status.channels)
        return dataclasses.replace(status, channels=rows)

    bench.device.lie = without_measured_current
    assert bench.settle(bench.ask(msg.Lower, (0,), 6000))
    bench.run(700 * MS)
    assert bench.state is FAULT
    assert bench.core.fault.code == "not_obeyed"
    bench.run(100 * MS)
    assert bench.device.setpoints == [0, 0]


@pytest.mark.hazard(29)
def test_a_device_that_measures_more_than_was_asked_is_a_fault(bench: Bench) -> None:
    """The device should fault by itself; where it does not, the host does (10 % + 1 mA)."""
    bench.to(RUNNING).raise_to(10_000, 0)

    def peak(peak_ua: int) -> None:
        def lie(status: Status) -> Status:
            first, *rest = status.channels
            louder = dataclasses.replace(first, peak_ua=peak_ua)
            return dataclasses.replace(status, channels=(louder, *rest))

        bench.device.lie = lie

    peak(12_000)
    bench.run(2 * S)
    assert bench.state is RUNNING
    peak(12_001)
    bench.run(700 * MS)
    assert bench.state is FAULT


def test_a_device_that_disarms_itself_is_not_armed_again_unasked(bench: Bench) -> None:
    bench.to(ARMED)
    drives_before = len(bench.device.of(Drive))
    bench.device.state = DeviceState.SAFE
    bench.run(500 * MS)
    assert bench.device.state is DeviceState.SAFE
    assert bench.state is not ARMED
    wanted = {drive.wanted_state for drive in bench.device.of(Drive)[drives_before + 1 :]}
    assert WantedState.RUNNING not in wanted
    assert bench.notices[-1].text


def test_a_device_that_runs_by_itself_at_rest_is_a_fault(bench: Bench) -> None:
    bench.to(READY)
    bench.device.ignores = (Drive,)
    bench.device.state = DeviceState.RUNNING
    bench.device.setpoints = [3000, 0]
    bench.run(100 * MS)
    assert bench.state is FAULT
    assert bench.device.of(Stop)
    assert bench.device.setpoints == [0, 0]


def test_a_fault_is_not_left_while_the_last_word_of_the_device_was_running(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.is_silent = True
    bench.until(lambda: bench.state is FAULT)
    refused = bench.ask(msg.Acknowledge)
    assert "zero" in bench.why(refused)
    assert bench.state is FAULT


def test_a_late_record_raises_nothing(bench: Bench) -> None:
    """Durable after 250 ms is too late, even if the loop notices it before its clock does."""
    bench.to(RUNNING)
    bench.holds_durable = True
    asked = bench.ask(msg.Raise, (0,))
    bench.clock.advance_to(bench.clock.now_us() + 250 * MS)
    bench.loop.durable(bench.held.pop())
    assert "too slow" in bench.why(asked)
    bench.holds_durable = False
    bench.run(200 * MS)
    assert bench.device.targets == [0, 0]


def test_one_press_is_one_step_however_often_a_channel_is_named(bench: Bench) -> None:
    bench.to(RUNNING)
    bench.ask(msg.Raise, (0, 0))
    bench.run(100 * MS)
    assert bench.device.targets in ([0, 0], [500, 0])


def test_lowering_by_targets_never_waits_for_the_record(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 3000)
    bench.holds_durable = True
    asked = bench.ask(msg.SetTargets, (2000, 3000))
    assert bench.is_done(asked)
    assert bench.device.targets == [2000, 3000]
    assert "expected" in bench.why(bench.ask(msg.SetTargets, (-1, 0)))
    assert bench.state is RUNNING


def test_settings_that_would_keep_output_on_are_refused(bench: Bench) -> None:
    bench.to(IDENTIFIED)
    made = prepared()
    for wrong in (
        {"ramp_down_ms": 10_001},
        {"ramp_down_ms": -1},
        {"duration_s": -1},
        {"step_ua": 0},
        {"step_ua": 1001},
    ):
        changed = dataclasses.replace(made.settings, **cast(Any, wrong))
        asked = bench.ask(msg.Prepare, made.program.canonical_bytes().hex(), made.bounds, changed)
        assert next(iter(wrong)) in bench.why(asked)


# Requests and outcomes.


def test_a_second_acknowledgement_leaves_none_without_an_answer(bench: Bench) -> None:
    bench.to(FAULT)
    bench.device.ignores = (AcknowledgeFault,)
    asked = [bench.ask(msg.Acknowledge), bench.ask(msg.Acknowledge)]
    bench.run(2 * S)
    assert all(bench.outcome(each) for each in asked)


def test_disconnecting_while_loading_answers_both_and_leaves_nothing_stuck(bench: Bench) -> None:
    bench.to(IDENTIFIED)
    bench.device.ignores = (CommitProgram,)
    loading = bench.ask(msg.Prepare, *bench.prepare_request())
    bench.run(50 * MS)
    assert bench.settle(bench.ask(msg.Disconnect))
    assert not bench.is_done(loading)
    bench.device.ignores = ()
    bench.connect()
    bench.prepare()


def test_disconnecting_while_arming_answers_both(bench: Bench) -> None:
    bench.to(READY)
    bench.device.ignores = (Drive,)
    arming = bench.ask(msg.Arm)
    assert bench.settle(bench.ask(msg.Disconnect))
    assert not bench.is_done(arming)
    assert bench.core.goal is None


def test_closing_answers_everything_that_still_waits(bench: Bench) -> None:
    bench.to(FAULT)
    bench.device.ignores = (AcknowledgeFault,)
    acknowledging = bench.ask(msg.Acknowledge)
    closing = bench.ask(msg.CloseVisit)
    assert bench.is_done(closing)
    assert not bench.is_done(acknowledging)


def test_closing_answers_a_connection_that_still_opens(bench: Bench) -> None:
    bench.open_record()
    bench.is_slow_to_open = True
    opening = bench.ask(msg.Connect, "native:x")
    assert bench.is_done(bench.ask(msg.CloseVisit))
    assert not bench.is_done(opening)
    assert bench.driver is not None
    bench.loop.port_opened(bench, bench.driver)
    assert bench.device.received == []


def test_closing_answers_an_arm_that_waits_for_the_record(bench: Bench) -> None:
    bench.to(READY)
    bench.holds_durable = True
    arming = bench.ask(msg.Arm)
    bench.ask(msg.CloseVisit)
    assert not bench.is_done(arming)


def test_nothing_is_written_after_the_seal(bench: Bench) -> None:
    bench.to(READY)
    bench.holds_durable = True
    bench.ask(msg.CloseVisit)
    count = len(bench.submitted)
    note = bench.ask(msg.Annotate, "note", {"text": "late"})
    bench.ask(msg.Stop)
    assert len(bench.submitted) == count
    assert "closed" in bench.why(note)
    bench.loop.durable(bench.held.pop())
    assert bench.loop.has_ended
    assert bench.core.record_failure == ""


def test_a_note_survives_a_stop(bench: Bench) -> None:
    """What is on the disk is told to be there, whatever happened to the output meanwhile."""
    bench.to(RUNNING)
    bench.holds_durable = True
    note = bench.ask(msg.Annotate, "note", {"text": "tingling"})
    bench.ask(msg.Stop)
    bench.holds_durable = False
    for token in bench.held:
        bench.loop.durable(token)
    assert bench.is_done(note)


def test_a_note_does_not_hold_up_a_rise(bench: Bench) -> None:
    bench.to(RUNNING)
    bench.holds_durable = True
    bench.ask(msg.Annotate, "note", {"text": "tingling"})
    bench.holds_durable = False
    assert bench.settle(bench.ask(msg.Raise, (0,)))


def test_a_note_that_cannot_be_written_does_not_end_the_record(bench: Bench) -> None:
    bench.to(RUNNING)
    for content in (
        {"x": float("nan")},
        {"text": "x" * 70_000},
        {"a": _nested(3000)},
        {"a": _nested(40)},
    ):
        note = bench.ask(msg.Annotate, "note", content)
        assert bench.why(note)
    assert bench.core.record_failure == ""
    assert bench.state is RUNNING
    assert bench.settle(bench.ask(msg.Raise, (0,)))


def _nested(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


def test_a_seal_that_fails_still_ends_an_engine_whose_interface_is_gone(bench: Bench) -> None:
    bench.to(READY)
    bench.holds_durable = True
    bench.loop.post(ev.InterfaceGone())
    assert not bench.loop.has_ended
    bench.loop.post(ev.RecordFailed("No space left on device"))
    assert bench.loop.has_ended


def test_a_seal_that_never_comes_still_ends_the_engine(bench: Bench) -> None:
    bench.to(READY)
    bench.holds_durable = True
    closing = bench.ask(msg.CloseVisit)
    bench.run(12 * S, 100 * MS)
    assert bench.loop.has_ended
    assert "seal" in bench.why(closing)


def test_a_rearm_of_what_does_not_exist_is_refused(bench: Bench) -> None:
    bench.to(RUNNING)
    for channels in ((), (2,), (-1, 0), (7,)):
        assert bench.why(bench.ask(msg.Rearm, channels))
    assert bench.device.of(AcknowledgeFault) == []


def test_a_reply_sent_as_a_request_is_no_crash(bench: Bench) -> None:
    bench.to(RUNNING)
    bench.loop.post(ev.RequestMade(msg.Outcome(1, True)))  # type: ignore[arg-type]
    bench.run(100 * MS)
    assert bench.state is RUNNING


@pytest.mark.parametrize("folder", ["/proc/nowhere", "a\0b", "", "/dev/null"])
def test_a_folder_that_cannot_be_is_a_refusal(bench: Bench, folder: str) -> None:
    asked = bench.ask(msg.OpenRecord, folder, str(bench.folder), "2000-01-01-abc", {})
    assert bench.why(asked)
    asked = bench.ask(msg.OpenRecord, str(bench.folder), folder, "2000-01-01-abc", {})
    assert bench.why(asked)
    bench.open_record()


# A hostile interface: mad bounds and programmes.

_NUMBERS = st.one_of(
    st.integers(-10, 10), st.integers(-(2**70), 2**70), st.sampled_from([0, 2**16, 2**32])
)
_BOUNDS = st.lists(
    st.builds(
        Bound,
        st.sampled_from(
            ["amplitude_ua", "rms_ua", "step_ua", "running_ms", "phase_charge_pc", "nonsense", ""]
        ),
        _NUMBERS,
        st.sampled_from(Owner),
    ),
    max_size=4,
).map(tuple)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.lists(st.builds(ChannelBounds, _BOUNDS, _NUMBERS), max_size=4).map(tuple),
    session=_BOUNDS,
    policy=st.sampled_from([PolicyFlag(0), PolicyFlag(3), PolicyFlag(4), PolicyFlag(1 << 40)]),
    step_ua=_NUMBERS,
    is_bench=st.booleans(),
)
def test_mad_bounds_are_a_refusal(
    tmp_path_factory: pytest.TempPathFactory,
    channels: tuple[ChannelBounds, ...],
    session: tuple[Bound, ...],
    policy: PolicyFlag,
    step_ua: int,
    is_bench: bool,
) -> None:
    bench = Bench(tmp_path_factory.mktemp("mad")).to(IDENTIFIED)
    made = prepared()
    bounds = Bounds(channels, session, policy, is_bench, step_ua)
    asked = bench.ask(msg.Prepare, made.program.canonical_bytes().hex(), bounds, made.settings)
    bench.settle(asked)
    assert bench.outcome(asked) is not None
    bench.loop.end()


@pytest.mark.hazard(45)
@pytest.mark.parametrize("kind", ["clinical", "bench"])
@pytest.mark.parametrize("is_bench", [True, False])
def test_a_person_is_not_prepared_as_a_bench_nor_a_bench_as_a_person(
    bench: Bench, kind: str, is_bench: bool
) -> None:
    """On a bench targets are set at once and nothing needs a ramp: the record must say the same."""
    header = dict(HEADER, kind=kind)
    folder = str(bench.folder)
    assert bench.settle(bench.ask(msg.OpenRecord, folder, folder, HEADER["session_id"], header))
    bench.connect()
    program_hex, bounds, settings_ = bench.prepare_request()
    bounds = dataclasses.replace(bounds, is_bench=is_bench)
    asked = bench.ask(msg.Prepare, program_hex, bounds, settings_)
    if is_bench is (kind == "bench"):
        assert bench.settle(asked)
    else:
        assert "differ about whether this is a bench or a person" in bench.why(asked)
        assert bench.state is HostState.IDENTIFIED


@pytest.mark.hazard(32)
@pytest.mark.parametrize("kind", ["clinical", "bench"])
def test_a_session_on_a_person_has_an_end(bench: Bench, kind: str) -> None:
    """0 s means no end: that is for a bench."""
    header = dict(HEADER, kind=kind)
    folder = str(bench.folder)
    assert bench.settle(bench.ask(msg.OpenRecord, folder, folder, HEADER["session_id"], header))
    bench.connect()
    program_hex, bounds, settings_ = bench.prepare_request()
    bounds = dataclasses.replace(bounds, is_bench=kind == "bench")
    endless = dataclasses.replace(settings_, duration_s=0)
    asked = bench.ask(msg.Prepare, program_hex, bounds, endless)
    if kind == "bench":
        assert bench.settle(asked)
    else:
        assert "duration_s: 1 or more expected on a person, got 0" in bench.why(asked)
        assert bench.settle(bench.ask(msg.Prepare, program_hex, bounds, settings_))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program_hex=st.one_of(st.text(max_size=40), st.binary(max_size=300).map(bytes.hex)))
def test_a_mad_programme_is_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, program_hex: str
) -> None:
    bench = Bench(tmp_path_factory.mktemp("mad")).to(IDENTIFIED)
    made = prepared()
    assert bench.why(bench.ask(msg.Prepare, program_hex, made.bounds, made.settings))
    bench.loop.end()


# A hostile device.


def test_channels_that_a_device_does_not_have_are_told_once(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.lie = lambda status: dataclasses.replace(status, channels=status.channels * 2)
    bench.run(1 * S)
    assert bench.state is FAULT
    alarms = [n for n in bench.notices if n.severity is msg.Severity.ALARM]
    assert len(alarms) == 1
    assert bench.kinds().count("fault") == 1


def test_a_fault_without_a_word_from_the_device_is_left_with_the_port_closed(bench: Bench) -> None:
    """The next connection starts from a closed port, never on top of an open one."""
    bench.open_record()
    bench.device.lie = lambda status: dataclasses.replace(status, channels=())
    bench.connect()
    bench.until(lambda: bench.state is FAULT)
    assert bench.settle(bench.ask(msg.Acknowledge))
    assert bench.state is HostState.DISCONNECTED
    assert not bench.is_plugged
    assert not bench.core.has_link


def test_a_flood_of_damage_does_not_fill_the_record(bench: Bench) -> None:
    bench.to(RUNNING)
    before = len(bench.submitted)
    for _ in range(100):
        bench.device.output += b"\x05garbage\0" * 50
        bench.run(10 * MS)
    assert bench.state is RUNNING
    assert bench.kinds()[before:].count("line_damaged") in (1, 2)


def test_a_flood_of_events_and_refusals_does_not_fill_the_record(bench: Bench) -> None:
    bench.to(READY)
    before, said = len(bench.submitted), len(bench.notices)
    for index in range(100):
        for _ in range(20):
            bench.device.say(Event(index, 0, EventCode.CONTACT_GOOD, 0, 0))
            bench.device.say(Refused(0, Drive.message_id, RefusalReason.STATE, 0, 255, 0, 0))
        bench.run(10 * MS)
    assert bench.kinds()[before:].count("device_event") <= 200
    assert len(bench.notices) - said <= 2
    assert bench.core.record_failure == ""


def test_a_load_that_is_confirmed_for_ever_ends(bench: Bench) -> None:
    """A device that repeats its answer to the limits and never takes the programme."""
    bench.to(IDENTIFIED)
    bench.device.ignores = (CommitProgram,)
    asked = bench.ask(msg.Prepare, *bench.prepare_request())
    for _ in range(300):
        bench.device.say(LimitsAccepted(0, bench.device.limits_digest))
        bench.run(10 * MS)
    assert "did not answer" in bench.why(asked)
    assert len(bench.device.of(CommitProgram)) <= 4


_STATUS = st.builds(
    Status,
    tick_ms=st.integers(0, 2**32 - 1),
    state=st.sampled_from(DeviceState),
    fault=st.sampled_from(FaultCode),
    latch_count=st.integers(0, 3),
    inputs=st.integers(0, 7),
    battery_percent=st.integers(0, 255),
    drive_sequence=st.integers(0, 100),
    program_digest=st.integers(0, 2**32 - 1),
    limits_digest=st.integers(0, 2**32 - 1),
    refusal_count=st.just(0),
    damaged_count=st.just(0),
    event_count=st.just(0),
    running_ms=st.integers(0, 2**32 - 1),
    channels=st.lists(
        st.builds(
            ChannelStatus,
            target_ua=st.integers(0, 2**32 - 1),
            setpoint_ua=st.integers(0, 2**32 - 1),
            peak_ua=st.integers(0, 2**32 - 1),
            load_ohm=st.integers(0, 2**32 - 1),
            pulse_count=st.integers(0, 2**32 - 1),
            contact=st.integers(0, 2),
            cycle_phase=st.integers(0, 5),
            flags=st.integers(0, 7),
        ),
        max_size=4,
    ).map(tuple),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    state=st.sampled_from([IDENTIFIED, READY, ARMED, RUNNING, FAULT]),
    words=st.lists(st.one_of(_STATUS, st.binary(max_size=300)), max_size=8),
    requests=st.lists(
        st.sampled_from([msg.Arm, msg.Start, msg.Pause, msg.Resume, msg.Stop, msg.Acknowledge]),
        max_size=3,
    ),
)
def test_whatever_a_device_says_raises_no_exception_and_no_target(
    tmp_path_factory: pytest.TempPathFactory,
    state: HostState,
    words: list[Any],
    requests: list[type],
) -> None:
    bench = Bench(tmp_path_factory.mktemp("hostile"), HandDevice()).to(state)
    for word in words:
        if isinstance(word, Status):
            bench.device.say(word)
        else:
            bench.device.output += word + b"\0"
        for request in requests:
            bench.ask(request)
        bench.run(30 * MS)
    bench.run(4 * S, 50 * MS)
    assert not any(row.target_ua for drive in bench.device.of(Drive) for row in drive.targets)
    for asked in bench.asked:
        assert bench.outcome(asked) is not None
    bench.loop.end()


def test_a_port_that_does_not_open_is_an_answer(bench: Bench) -> None:
    bench.open_record()
    bench.open_error = PortLost("no such port")
    asked = bench.ask(msg.Connect, "native:/dev/none")
    assert "no such port" in bench.why(asked)
    assert bench.outcome(asked).exit_code == 3  # type: ignore[union-attr]
    bench.open_error = None
    bench.connect()
