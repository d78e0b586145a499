"""Faults: what stops a session, whom it blames, and how it is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from estim.session import events as ev
from estim.session import messages as msg
from estim.session.messages import Blame
from estim.session.states import HostState
from firmware_protocol.messages import (
    AcknowledgeFault,
    DeviceState,
    Drive,
    FaultCode,
    InputFlag,
    WantedState,
)
from tests.session.bench import MS, Bench, S

DISCONNECTED, IDENTIFIED = HostState.DISCONNECTED, HostState.IDENTIFIED
READY, ARMED, RUNNING = HostState.READY, HostState.ARMED, HostState.RUNNING
STOPPING, FAULT, CLOSED = HostState.STOPPING, HostState.FAULT, HostState.CLOSED


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.loop.end()


def _delivered(bench: Bench) -> list[list[int]]:
    """Return the pulses of each `delivered` entry so far."""
    return [content["pulses"] for kind, content in bench.submitted if kind == "delivered"]


def _fault_while_the_device_runs_on(bench: Bench) -> int:
    """Let the display freeze and the device be deaf for half a second; return pulses by then."""
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.is_deaf, bench.is_beating = True, False
    bench.until(lambda: bench.state is FAULT)
    at_fault = bench.device.pulse_counts[0]
    bench.run(500 * MS)
    bench.device.is_deaf, bench.is_beating = False, True
    bench.until(bench.is_off)
    bench.run(100 * MS)
    return at_fault


# Faults.

_BLAMES = {
    FaultCode.LEASE_EXPIRED: Blame.HOST,
    FaultCode.OVERCURRENT: Blame.DEVICE,
    FaultCode.RUNNING_TIME: Blame.OPERATOR,
    FaultCode.PATIENT_STOP: Blame.OPERATOR,
    FaultCode.LINE_NOISE: Blame.RIG,
    FaultCode.SUPPLY: Blame.DEVICE,
    FaultCode.SELF_TEST: Blame.DEVICE,
    FaultCode.OUTPUT_STAGE: Blame.DEVICE,
}


@pytest.mark.parametrize("code", [code for code in FaultCode if code is not FaultCode.NONE])
def test_every_fault_of_the_device_is_latched_blamed_and_acknowledged(
    bench: Bench, code: FaultCode
) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.latch(code)
    bench.run(50 * MS)
    assert bench.state is FAULT
    assert bench.core.fault.code == f"device_{code.name.lower()}"
    assert bench.core.fault.blame is _BLAMES[code]
    assert bench.core.fault.remedy
    alarms = [n for n in bench.notices if n.severity is msg.Severity.ALARM]
    assert len(alarms) == 1
    bench.run(2 * S)
    assert bench.state is FAULT
    asked = bench.ask(msg.Acknowledge)
    assert bench.settle(asked)
    assert bench.state is READY
    assert bench.core.program is None
    bench.run(2 * S)
    assert bench.is_off()


def test_a_cause_that_stays_keeps_the_fault(bench: Bench) -> None:
    bench.to(FAULT)
    bench.device.ignores = (AcknowledgeFault,)
    asked = bench.ask(msg.Acknowledge)
    bench.run(1600 * MS)
    assert "keeps its fault" in bench.why(asked)
    assert bench.state is FAULT


def test_an_acknowledgement_is_believed_only_once_the_device_left_fault(bench: Bench) -> None:
    bench.to(FAULT)
    bench.device.ignores = (AcknowledgeFault,)
    bench.device.fault = FaultCode.NONE
    asked = bench.ask(msg.Acknowledge)
    bench.run(500 * MS)
    assert bench.outcome(asked) is None
    assert bench.state is FAULT


def test_nobody_acknowledges_a_fault_that_was_not_on_the_screen(bench: Bench) -> None:
    """What was latched after the snapshot on screen refuses the request, and nothing is cleared."""
    bench.to(FAULT)
    bench.run(250 * MS)
    on_screen = bench.snapshots[-1]
    assert (on_screen.latch_count, on_screen.fault and on_screen.fault.code) == (
        1,
        "device_overcurrent",
    )
    bench.device.latch(FaultCode.OUTPUT_STAGE)
    bench.run(50 * MS)
    asked = bench.ask(msg.Acknowledge, latch_count=on_screen.latch_count)
    assert bench.why(asked) == "something new has happened: look again"
    bench.run(2 * S)
    assert bench.device.of(AcknowledgeFault) == []
    assert (bench.state, bench.core.fault.code) == (FAULT, "device_output_stage")
    assert bench.snapshots[-1].latch_count == 2
    assert bench.settle(bench.ask(msg.Acknowledge, latch_count=2))
    assert bench.device.of(AcknowledgeFault) == [AcknowledgeFault(2, 0)]
    assert bench.state is READY


def test_a_link_lost_since_the_screen_was_drawn_is_looked_at_first(bench: Bench) -> None:
    """Without a Status there is no count: -1 is what such a screen shows and sends back."""
    bench.to(FAULT)
    bench.run(250 * MS)
    on_screen = bench.snapshots[-1].latch_count
    bench.device.is_silent = True
    bench.run(3 * S)
    assert "look again" in bench.why(bench.ask(msg.Acknowledge, latch_count=on_screen))
    assert bench.state is FAULT
    assert bench.snapshots[-1].latch_count == -1
    assert bench.settle(bench.ask(msg.Acknowledge, latch_count=-1))
    assert bench.state is DISCONNECTED


@pytest.mark.hazard(46)
def test_a_pressed_patient_stop_keeps_the_session_from_arming(bench: Bench) -> None:
    bench.to(READY)
    bench.device.inputs = InputFlag.PATIENT_STOP_PRESENT | InputFlag.PATIENT_STOP_PRESSED
    bench.run(300 * MS)
    asked = bench.ask(msg.Arm)
    bench.settle(asked)
    assert "patient's stop is pressed" in bench.why(asked)
    assert bench.device.state is DeviceState.SAFE


@pytest.mark.hazard(6, 28)
def test_a_silent_device_is_a_fault_after_500_ms(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.is_silent = True
    bench.run(bench.core.status_us + 500 * MS - bench.clock.now_us(), 1 * MS)
    assert bench.state is RUNNING
    bench.run(1 * MS)
    assert bench.state is FAULT
    assert bench.core.fault.code == "link_lost"
    assert "uncertain_delivery" in bench.kinds()
    bench.run(3 * S)
    assert not bench.core.has_link
    assert bench.settle(bench.ask(msg.Acknowledge))
    assert bench.state is DISCONNECTED


def test_a_silent_device_at_rest_is_gone_after_2_s(bench: Bench) -> None:
    bench.to(READY)
    bench.device.is_silent = True
    bench.run(1990 * MS)
    assert bench.state is READY
    bench.run(100 * MS)
    assert bench.state is DISCONNECTED
    assert not bench.is_plugged


def test_a_device_that_never_reports_after_its_identity_is_gone_after_2_s(bench: Bench) -> None:
    """As one that starts again between its identity and its first Status."""
    bench.open_record()
    bench.device.is_silent = True
    assert bench.settle(bench.ask(msg.Connect, "native:/dev/hand"))
    bench.run(1900 * MS)
    assert bench.core.has_link
    bench.run(200 * MS)
    assert bench.state is DISCONNECTED


@pytest.mark.hazard(8)
def test_the_heartbeat_may_be_400_ms_old_and_no_more(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.is_beating = False
    beat_us = bench.core.beat_us
    bench.run(beat_us + 400 * MS - bench.clock.now_us(), 1 * MS)
    assert bench.state is RUNNING
    bench.run(1, 1)
    assert bench.state is FAULT
    assert bench.core.fault.code == "display_frozen"
    assert bench.core.fault.blame is Blame.HOST
    assert bench.device.setpoints == [0, 0]
    drives = len(bench.device.of(Drive))
    bench.run(1 * S)
    assert all(d.wanted_state is WantedState.SAFE for d in bench.device.of(Drive)[drives:])


@pytest.mark.hazard(35)
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_a_loop_that_stands_still_for_over_320_ms_is_a_fault(bench: Bench, step: int) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.loop.wake()
    bench.step(320 * MS + step)
    assert (bench.state is FAULT) is (step > 0)
    if step > 0:
        assert bench.core.fault.code == "engine_stalled"
        assert bench.core.fault.blame is Blame.HOST
        assert bench.device.setpoints == [0, 0]


@pytest.mark.hazard(35)
def test_a_sleep_of_over_50_ms_is_a_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asleep_us = 0
    monkeypatch.setattr(
        type(bench.clock), "boot_us", lambda clock: clock.now_us() + asleep_us, raising=True
    )
    bench.to(RUNNING).raise_to(5000, 0)
    asleep_us = 50 * MS
    bench.run(10 * MS)
    assert bench.state is RUNNING
    asleep_us += 50 * MS + 1
    bench.run(10 * MS)
    assert bench.state is FAULT
    assert bench.core.fault.code == "suspended"
    assert bench.device.setpoints == [0, 0]


def test_a_stall_or_a_sleep_at_rest_is_only_recorded(bench: Bench) -> None:
    bench.to(READY)
    bench.loop.post(ev.LoopStalled(400 * MS))
    bench.loop.post(ev.Suspended(10 * S))
    assert bench.kinds()[-2:] == ["stalled", "suspended"]
    assert bench.state is READY


def _written(bench: Bench, *gaps_ms: int) -> None:
    bench.core.overload.reset()
    at_us = bench.clock.now_us()
    bench.loop.post(ev.DriveWritten(at_us))
    for gap_ms in gaps_ms:
        at_us += gap_ms * MS
        bench.loop.post(ev.DriveWritten(at_us))


@pytest.mark.hazard(47)
@pytest.mark.parametrize(
    ("gaps_ms", "warns", "ramps"),
    [
        ((150,), False, False),
        ((151,), True, False),
        ((200, 200, 200), True, False),
        ((201,), True, False),
        ((201, *(150,) * 66, 201), True, False),
        ((201, *(150,) * 65, 201), True, True),
        ((201, 150, 201), True, True),
    ],
)
def test_overload_warns_over_150_ms_and_ramps_after_two_over_200_ms(
    bench: Bench, gaps_ms: tuple[int, ...], warns: bool, ramps: bool
) -> None:
    """The pair must lie within 10 s: 65 x 150 + 201 ms = 9.951 s, 66 x 150 + 201 = 10.101 s."""
    bench.to(RUNNING).raise_to(5000, 0)
    _written(bench, *gaps_ms)
    assert bench.core.overload.is_draw_less(bench.clock.now_us()) is warns
    assert ("overload_warning" in bench.kinds()) is warns
    assert (bench.core.finish_from is not None) is ramps
    if ramps:
        bench.run(3 * S)
        assert bench.is_off()
        assert "too busy" in bench.notices[-1].text


def test_overload_while_armed_stops(bench: Bench) -> None:
    bench.to(ARMED)
    _written(bench, 201, 201)
    bench.run(200 * MS)
    assert bench.is_off()


def test_drives_at_rest_do_not_count_as_late(bench: Bench) -> None:
    bench.to(READY)
    _written(bench, 500, 500)
    assert "overload_warning" not in bench.kinds()


@pytest.mark.hazard(37)
def test_a_record_that_fails_while_running_ramps_down(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(8000, 0)
    bench.holds_durable = True
    rising, note = bench.ask(msg.Raise, (0,)), bench.ask(msg.Annotate, "note", {})
    bench.loop.post(ev.RecordFailed("No space left on device"))
    assert bench.why(rising)
    assert "No space left" in bench.why(note)
    bench.run(1 * S)
    assert 3500 <= bench.device.targets[0] <= 4500
    bench.run(1500 * MS)
    assert bench.is_off()
    assert any("No space left" in notice.text for notice in bench.notices)
    assert "cannot be written" in bench.why(bench.ask(msg.Prepare, *bench.prepare_request()))
    assert bench.is_done(bench.ask(msg.CloseVisit))
    assert bench.loop.has_ended


def test_a_record_that_fails_while_armed_stops(bench: Bench) -> None:
    bench.to(ARMED)
    bench.loop.post(ev.RecordFailed("I/O error"))
    bench.run(200 * MS)
    assert bench.is_off()


@pytest.mark.hazard(34)
@pytest.mark.parametrize(
    "event", [ev.InterfaceGone(), ev.Interrupted("SIGTERM")], ids=["gone", "signal"]
)
@pytest.mark.parametrize("state", [s for s in HostState if s is not CLOSED])
def test_the_end_of_the_interface_stops_seals_and_ends(
    bench: Bench, event: ev.CoreEvent, state: HostState
) -> None:
    bench.to(state)
    bench.loop.post(event)
    bench.loop.post(event)
    bench.device.is_deaf = False
    bench.run(2 * S)
    assert bench.loop.has_ended
    assert bench.device.setpoints == [0, 0]
    assert bench.device.state in (DeviceState.SAFE, DeviceState.FAULT)
    kinds = [each.kind for each in bench.record()]
    assert kinds[-1] == "seal"
    assert kinds.count("closed") == 1
    assert bench.state is CLOSED


def test_the_engine_ends_even_if_zero_is_never_confirmed(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.is_deaf = True
    bench.loop.post(ev.InterfaceGone())
    bench.run(900 * MS)
    assert "seal" not in [each.kind for each in bench.record()]
    bench.run(300 * MS)
    assert bench.loop.has_ended
    assert bench.record()[-1].kind == "seal"


def test_the_port_going_while_running_is_uncertain_delivery(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.loop.post(ev.PortGone("unplugged"))
    assert bench.state is FAULT
    assert "uncertain_delivery" in bench.kinds()
    assert bench.settle(bench.ask(msg.Acknowledge))
    assert bench.state is DISCONNECTED


def test_the_port_going_at_rest_is_told(bench: Bench) -> None:
    bench.to(READY)
    bench.loop.post(ev.PortGone("unplugged"))
    bench.loop.post(ev.PortGone("unplugged"))
    assert bench.state is DISCONNECTED
    assert [notice.blame for notice in bench.notices] == [Blame.RIG]


def test_the_port_going_while_connecting_is_the_answer(bench: Bench) -> None:
    bench.open_record()
    bench.device.is_deaf = True
    asked = bench.ask(msg.Connect, "native:x")
    bench.loop.post(ev.PortGone("unplugged"))
    assert bench.why(asked) == "unplugged"


def test_the_port_going_after_the_interface_ends_the_engine(bench: Bench) -> None:
    bench.to(RUNNING)
    bench.device.is_deaf = True
    bench.loop.post(ev.InterfaceGone())
    bench.loop.post(ev.PortGone("unplugged"))
    assert bench.loop.has_ended


# What was really delivered.


def test_pulses_after_a_fault_are_in_the_records_last_figure(bench: Bench) -> None:
    at_fault = _fault_while_the_device_runs_on(bench)
    assert _delivered(bench) == [[at_fault, 0]]
    in_all = bench.device.pulse_counts[0]
    assert in_all > at_fault
    assert bench.settle(bench.ask(msg.CloseVisit))
    assert _delivered(bench) == [[at_fault, 0], [in_all, 0]]
    assert bench.kinds()[-3:] == ["delivered", "closed", "state"]


def test_pulses_after_a_fault_are_recorded_before_the_next_programme(bench: Bench) -> None:
    at_fault = _fault_while_the_device_runs_on(bench)
    in_all = bench.device.pulse_counts[0]
    assert bench.settle(bench.ask(msg.Acknowledge))
    bench.prepare()
    assert _delivered(bench) == [[at_fault, 0], [in_all, 0]]
    assert bench.kinds()[-1] == "prepared"
    assert bench.settle(bench.ask(msg.CloseVisit))
    assert _delivered(bench) == [[at_fault, 0], [in_all, 0]]  # nothing came of the second


def test_what_was_delivered_is_said_once_where_nothing_comes_after(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    assert bench.settle(bench.ask(msg.Stop))
    in_all = bench.device.pulse_counts[0]
    bench.prepare()
    assert bench.settle(bench.ask(msg.CloseVisit))
    assert _delivered(bench) == [[in_all, 0]]


def test_two_programmes_that_delivered_the_same_are_both_said(bench: Bench) -> None:
    bench.to(READY)
    for _ in range(2):
        bench.run(1 * S)
        bench.prepare()
        assert bench.settle(bench.ask(msg.Arm))
        assert bench.settle(bench.ask(msg.Start))
        bench.raise_to(5000, 0)
        bench.device.pulse_counts = [9, 0]
        bench.run(100 * MS)
        bench.device.pulse_counts = [0, 0]  # a device begins anew with each RUNNING
        assert bench.settle(bench.ask(msg.Stop))
    figures = [content for kind, content in bench.submitted if kind == "delivered"]
    assert len(figures) == 2
    assert figures[0] == figures[1]
