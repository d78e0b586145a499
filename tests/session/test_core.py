"""The session stepped by hand: what each request and each event does in each state."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from estim.drivers import base
from estim.errors import DeviceFault
from estim.safety import kernel
from estim.safety.bounds import Bound, Owner
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.states import ENERGISED, HostState
from firmware_protocol.messages import (
    AcknowledgeFault,
    ChannelFlag,
    CyclePhase,
    DeviceState,
    Drive,
    InputFlag,
    SetLimits,
    Stop,
    WantedState,
)
from firmware_protocol.session_limits import limits_digest
from tests.session.bench import MS, Bench, HandDevice, S, prepared

DISCONNECTED, IDENTIFIED = HostState.DISCONNECTED, HostState.IDENTIFIED
READY, ARMED, RUNNING = HostState.READY, HostState.ARMED, HostState.RUNNING
STOPPING, FAULT, CLOSED = HostState.STOPPING, HostState.FAULT, HostState.CLOSED


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.loop.end()


# Every request in every state.

_ARGUMENTS: dict[type, tuple[Any, ...]] = {
    msg.OpenRecord: ("/nowhere", "/nowhere", "2000-01-01-abc", {}),
    msg.Connect: ("native:/dev/hand",),
    msg.Disconnect: (),
    msg.Prepare: Bench.prepare_request(None),  # type: ignore[arg-type]  # needs no bench
    msg.Arm: (),
    msg.Start: (),
    msg.Pause: (),
    msg.Resume: (),
    msg.Raise: ((0,),),
    msg.Lower: ((0,), 100),
    msg.SetTargets: ((1000, 0),),
    msg.Finish: (),
    msg.Stop: (),
    msg.Acknowledge: (),
    msg.Rearm: ((0,),),
    msg.Annotate: ("note", {"text": "hello"}),
    msg.SelfTest: (),
    msg.Watch: (True,),
    msg.InjectFault: ("reboot",),
    msg.CloseVisit: (),
}
# By hand: where each request is done, and in which state the session is then; elsewhere it is
# refused and changes nothing. The record is open everywhere.
_DONE: dict[type, dict[HostState, HostState]] = {
    msg.OpenRecord: {},
    msg.Connect: {DISCONNECTED: IDENTIFIED},
    msg.Disconnect: {IDENTIFIED: DISCONNECTED, READY: DISCONNECTED},
    msg.Prepare: {IDENTIFIED: READY, READY: READY},
    msg.Arm: {READY: ARMED},
    msg.Start: {ARMED: RUNNING},
    msg.Pause: {RUNNING: ARMED},
    msg.Resume: {},
    msg.Raise: {RUNNING: RUNNING},
    msg.Lower: {RUNNING: RUNNING},
    msg.SetTargets: {RUNNING: RUNNING},
    msg.Finish: {ARMED: READY, RUNNING: READY},
    msg.Stop: {state: state for state in HostState}
    | {ARMED: READY, RUNNING: READY, STOPPING: READY},
    msg.Acknowledge: {FAULT: READY},
    msg.Rearm: {
        state: READY if state is STOPPING else state
        for state in (IDENTIFIED, READY, ARMED, RUNNING, STOPPING, FAULT)
    },
    msg.Annotate: {
        state: READY if state is STOPPING else state for state in HostState if state is not CLOSED
    },
    msg.SelfTest: {IDENTIFIED: IDENTIFIED, READY: READY},
    msg.Watch: {
        state: READY if state is STOPPING else state for state in HostState if state is not CLOSED
    },
    msg.InjectFault: {},  # no simulator here
    msg.CloseVisit: dict.fromkeys((DISCONNECTED, IDENTIFIED, READY, FAULT), CLOSED),
}


def test_the_table_of_requests_is_whole() -> None:
    from estim.session.requests import REQUESTS

    assert set(_DONE) == set(_ARGUMENTS) == set(REQUESTS)


@pytest.mark.hazard(24, 31)
@pytest.mark.parametrize("state", HostState)
@pytest.mark.parametrize("kind", list(_DONE), ids=lambda kind: kind.__name__)
def test_every_request_in_every_state(bench: Bench, kind: type, state: HostState) -> None:
    """Accepted or refused with a reason, exactly once, and never with an exception."""
    bench.to(state)
    asked = bench.ask(kind, *_ARGUMENTS[kind])
    bench.device.is_deaf = False
    bench.run(3 * S)
    outcome = bench.outcome(asked)
    assert outcome is not None
    assert (outcome.blame is None) is outcome.is_done  # every failure names a suspect
    if state in _DONE[kind]:
        assert outcome.is_done, outcome
        assert bench.state is _DONE[kind][state]
    else:
        assert not outcome.is_done
        assert all(outcome.reasons)
        assert outcome.exit_code in (1, 2, 4)
        assert bench.state is (READY if state is STOPPING else state)


@pytest.mark.hazard(37)
@pytest.mark.parametrize(
    ("kind", "state"),
    [(msg.Prepare, IDENTIFIED), (msg.Arm, READY), (msg.Start, ARMED), (msg.Annotate, IDENTIFIED)],
)
def test_nothing_happens_without_a_record(bench: Bench, kind: type, state: HostState) -> None:
    if state is IDENTIFIED:
        bench.connect()
    else:
        bench.to(state)
        bench.core.record_path = ""
    assert "there is no record yet" in bench.why(bench.ask(kind, *_ARGUMENTS[kind]))
    assert bench.state is state


# Starting, rising, lowering.


@pytest.mark.hazard(4)
def test_output_begins_at_zero_after_arm_and_start(bench: Bench) -> None:
    bench.to(RUNNING)
    drives = bench.device.of(Drive)
    wanted = [drive.wanted_state for drive in drives]
    first_armed, first_running = wanted.index(WantedState.ARMED), wanted.index(WantedState.RUNNING)
    assert set(wanted[:first_armed]) == {WantedState.SAFE}
    assert set(wanted[first_armed:first_running]) == {WantedState.ARMED}
    assert not any(row.target_ua for drive in drives for row in drive.targets)


def test_a_rise_waits_for_the_record(bench: Bench) -> None:
    bench.to(RUNNING)
    bench.holds_durable = True
    asked = bench.ask(msg.Raise, (1,))
    bench.run(200 * MS)
    assert bench.device.targets == [0, 0]
    assert bench.outcome(asked) is None
    assert "rise_asked" in bench.kinds()
    assert "targets" not in bench.kinds()
    bench.loop.durable(bench.held.pop())
    assert bench.device.targets == [0, 500]
    assert bench.is_done(asked)


@pytest.mark.hazard(37)
def test_a_rise_without_a_durable_record_is_refused_after_250_ms(bench: Bench) -> None:
    bench.to(RUNNING)
    bench.holds_durable = True
    asked = bench.ask(msg.Raise, (0,))
    bench.run(249 * MS, 1 * MS)
    assert bench.outcome(asked) is None
    bench.run(1 * MS)
    assert "too slow" in bench.why(asked)
    bench.loop.durable(bench.held.pop())
    bench.run(100 * MS)
    assert bench.device.targets == [0, 0]
    assert bench.state is RUNNING


def test_one_wish_at_a_time(bench: Bench) -> None:
    bench.to(RUNNING)
    bench.holds_durable = True
    first = bench.ask(msg.Raise, (0,))
    assert "still being recorded" in bench.why(bench.ask(msg.Raise, (0,)))
    bench.loop.durable(bench.held.pop())
    assert bench.is_done(first)


def test_a_refused_rise_leaves_the_targets(bench: Bench) -> None:
    """The profile's ceiling is 40 mA: refused with the reason, never clamped."""
    bench.to(RUNNING).raise_to(39_800, 1000)
    asked = bench.ask(msg.Raise, (0,))
    bench.settle(asked)
    assert "40.3 mA" in bench.why(asked)
    assert "40 mA" in bench.why(asked)
    assert "the profile" in bench.why(asked)
    bench.run(200 * MS)
    assert bench.device.targets == [39_800, 1000]
    assert bench.state is RUNNING


@pytest.mark.hazard(23)
def test_keys_raise_at_most_1_ma_in_a_second(bench: Bench) -> None:
    bench.to(RUNNING)
    done = 0
    for _ in range(40):
        done += bench.settle(bench.ask(msg.Raise, (0,)))
        bench.run(20 * MS)
    # 40 presses within 0.8 to 1.0 s at 0.5 mA a press: two pass.
    assert done == 2
    assert bench.device.targets == [1000, 0]


def test_lower_never_waits(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.holds_durable = True
    waiting = bench.ask(msg.Raise, (0,))
    asked = bench.ask(msg.Lower, (0,), 1500)
    assert bench.is_done(asked)
    assert bench.device.targets == [3500, 0]
    assert "lowered meanwhile" in bench.why(waiting)
    bench.loop.durable(bench.held.pop())
    bench.run(100 * MS)
    assert bench.device.targets == [3500, 0]
    assert bench.is_done(bench.ask(msg.Lower, (0,), 10**9))
    assert bench.device.targets == [0, 0]


def test_requests_that_name_what_is_not_there(bench: Bench) -> None:
    bench.to(RUNNING)
    assert "no channel 3" in bench.why(bench.ask(msg.Raise, (2,)))
    assert "no channel 0" in bench.why(bench.ask(msg.Raise, (-1,)))
    assert "no channel is named" in bench.why(bench.ask(msg.Raise, ()))
    assert "no such channel" in bench.why(bench.ask(msg.Lower, (2,), 1))
    assert bench.why(bench.ask(msg.Lower, (0,), -1))
    assert "2 targets" in bench.why(bench.ask(msg.SetTargets, (1,)))
    assert bench.state is RUNNING


@pytest.mark.hazard(42)
def test_a_rise_between_contractions_is_refused(bench: Bench) -> None:
    bench.to(RUNNING, prepared("nmes-quadriceps"))
    for phase in CyclePhase:
        bench.device.cycle_phases = [phase, phase]
        bench.run(1100 * MS)
        asked = bench.ask(msg.Raise, (0,))
        bench.settle(asked)
        assert bench.is_done(asked) is (phase is CyclePhase.PLATEAU)
        if phase is not CyclePhase.PLATEAU:
            assert "wait for the contraction" in bench.why(asked)


# Pause, resume, stop, finish.


@pytest.mark.hazard(5)
def test_pause_goes_to_zero_and_resume_returns_at_most_to_the_marker(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(6000, 2000)
    asked = bench.ask(msg.Pause)
    assert bench.is_done(asked)
    assert bench.device.setpoints == [0, 0]
    assert bench.state is ARMED
    bench.run(2 * S)
    assert bench.device.targets == [0, 0]
    before = len(bench.device.of(Drive))
    assert bench.settle(bench.ask(msg.Resume))
    bench.run(100 * MS)
    rows = [[row.target_ua for row in drive.targets] for drive in bench.device.of(Drive)[before:]]
    running_from = next(
        index
        for index, drive in enumerate(bench.device.of(Drive)[before:])
        if drive.wanted_state is WantedState.RUNNING
    )
    assert rows[running_from] == [0, 0]
    assert [6000, 2000] in rows
    assert max(row[0] for row in rows) == 6000


def test_a_pause_before_a_return_is_recorded_keeps_the_level_to_return_to(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(6000, 2000)
    assert bench.settle(bench.ask(msg.Pause))
    asked = bench.ask(msg.Resume)
    bench.until(lambda: bench.core.goal is not None)
    bench.holds_durable = True
    bench.until(lambda: bench.state is RUNNING)
    assert bench.settle(bench.ask(msg.Pause))
    assert "paused meanwhile" in bench.why(asked)
    assert bench.device.targets == [0, 0]
    bench.holds_durable = False
    bench.run(600 * MS)
    assert bench.settle(bench.ask(msg.Resume))
    bench.run(100 * MS)
    assert bench.device.targets == [6000, 2000]


@pytest.mark.hazard(5)
@pytest.mark.parametrize("kind", [msg.Raise, msg.Lower])
def test_a_level_is_not_returned_to_once_something_else_was_asked(bench: Bench, kind: type) -> None:
    """The return was not recorded in time; then a key was pressed, and that paused as well."""
    bench.to(RUNNING).raise_to(6000, 2000)
    assert bench.settle(bench.ask(msg.Pause))
    bench.ask(msg.Resume)
    bench.until(lambda: bench.core.goal is not None)
    bench.holds_durable = True
    bench.until(lambda: bench.state is RUNNING)
    if kind is msg.Raise:
        bench.run(300 * MS)
    bench.ask(kind, *_ARGUMENTS[kind])
    assert bench.settle(bench.ask(msg.Pause))
    bench.holds_durable = False
    assert not bench.settle(bench.ask(msg.Resume))
    assert bench.device.targets == [0, 0]


def test_a_start_after_a_pause_stays_at_zero(bench: Bench) -> None:
    """Only a resume returns; a start begins anew."""
    bench.to(RUNNING).raise_to(6000, 2000)
    assert bench.settle(bench.ask(msg.Pause))
    assert bench.settle(bench.ask(msg.Start))
    bench.run(2 * S)
    assert bench.state is RUNNING
    assert bench.device.targets == [0, 0]


@pytest.mark.hazard(5)
def test_a_resume_at_the_limit_of_what_may_return(bench: Bench) -> None:
    """A return above the marker is refused, even if the core's own memory were wrong."""
    bench.to(RUNNING).raise_to(6000, 0)
    bench.settle(bench.ask(msg.Pause))
    bench.ask(msg.Resume)
    bench.core.return_ua = [6100, 0]
    bench.run(300 * MS)
    assert bench.device.targets == [0, 0]


def test_stop_from_running_clears_everything(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(6000, 2000)
    asked = bench.ask(msg.Stop)
    assert bench.device.setpoints == [0, 0]
    assert bench.state is STOPPING
    assert bench.settle(asked)
    assert bench.is_off()
    assert bench.core.program is None
    bench.run(200 * MS)
    assert len(bench.device.of(Stop)) >= 3
    assert "not while ready" in bench.why(bench.ask(msg.Start))
    assert "no programme" in bench.why(bench.ask(msg.Arm))


def test_stop_while_loading(bench: Bench) -> None:
    bench.to(IDENTIFIED)
    bench.device.ignores = (SetLimits,)
    loading = bench.ask(msg.Prepare, *bench.prepare_request())
    bench.run(20 * MS)
    assert bench.core.is_busy
    assert bench.is_done(bench.ask(msg.Stop, "no!"))
    assert bench.why(loading) == "no!"
    bench.device.ignores = ()
    bench.run(2 * S)
    assert bench.state is IDENTIFIED
    bench.prepare()


@pytest.mark.parametrize("holds_durable", [True, False])
def test_stop_while_arming(bench: Bench, holds_durable: bool) -> None:
    """Before the record has it, and after."""
    bench.to(READY)
    bench.holds_durable = holds_durable
    bench.device.ignores = (Drive,)
    arming = bench.ask(msg.Arm)
    bench.run(100 * MS)
    stopping = bench.ask(msg.Stop)
    bench.device.ignores = ()
    for token in bench.held:
        bench.loop.durable(token)
    assert not bench.is_done(arming)
    assert bench.settle(stopping)
    bench.run(2 * S)
    assert bench.state is READY
    assert bench.device.state is DeviceState.SAFE


@pytest.mark.parametrize("kind", [msg.Start, msg.Resume, msg.Raise])
def test_stop_while_starting_or_raising(bench: Bench, kind: type) -> None:
    bench.to(RUNNING).raise_to(3000, 0)
    if kind is not msg.Raise:
        bench.settle(bench.ask(msg.Pause))
    bench.holds_durable = True
    rising = bench.ask(kind, *_ARGUMENTS[kind])
    stopping = bench.ask(msg.Stop)
    for token in bench.held:
        bench.loop.durable(token)
    assert not bench.is_done(rising)
    assert bench.settle(stopping)
    bench.run(2 * S)
    assert bench.is_off()


def test_a_device_that_does_not_arm(bench: Bench) -> None:
    bench.to(READY)
    bench.device.ignores = (Drive,)
    asked = bench.ask(msg.Arm)
    bench.run(1490 * MS)
    assert bench.outcome(asked) is None
    bench.run(30 * MS)
    assert "did not arm" in bench.why(asked)
    bench.run(1 * S)
    assert bench.state is READY


@pytest.mark.hazard(31)
def test_a_device_that_armed_too_late_must_show_zero_or_is_an_alarm(bench: Bench) -> None:
    """Told to arm, it said nothing of it in time: nobody knows where it stands."""
    bench.to(READY)
    bench.device.ignores = (Drive, Stop)
    asked = bench.ask(msg.Arm)
    bench.run(1510 * MS)
    outcome = bench.outcome(asked)
    assert outcome is not None
    assert outcome.exit_code == DeviceFault.exit_code
    assert bench.state is STOPPING
    bench.device.state = DeviceState.ARMED
    bench.run(1010 * MS)
    assert bench.state is FAULT
    assert bench.core.fault.code == "stop_unconfirmed"


@pytest.mark.hazard(31)
def test_an_unconfirmed_stop_is_an_alarm_after_a_second(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(3000, 0)
    bench.device.ignores = (Drive, Stop)
    asked = bench.ask(msg.Stop)
    bench.run(990 * MS)
    assert bench.state is STOPPING
    bench.run(20 * MS)
    assert bench.state is FAULT
    assert "not confirmed" in bench.why(asked)
    assert bench.core.fault.code == "stop_unconfirmed"
    assert len(bench.device.of(Stop)) > 25  # every 30 ms, until a Status shows zero


@pytest.mark.hazard(31)
def test_stop_again_is_sent_again_and_does_not_put_the_alarm_off(bench: Bench) -> None:
    """Pressed every 900 ms; the alarm is due 1 s after the first."""
    bench.to(RUNNING).raise_to(3000, 0)
    bench.device.ignores = (Drive, Stop)
    asked = [bench.ask(msg.Stop)]
    bench.run(900 * MS)
    before = len(bench.device.of(Stop))
    asked.append(bench.ask(msg.Stop))
    assert len(bench.device.of(Stop)) == before + 1
    bench.run(90 * MS)
    assert bench.state is STOPPING
    bench.run(20 * MS)
    assert bench.state is FAULT
    assert bench.core.fault.code == "stop_unconfirmed"
    assert all("not confirmed" in bench.why(each) for each in asked)


def test_finish_ramps_to_zero_in_two_seconds(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(8000, 4000)
    asked = bench.ask(msg.Finish)
    bench.run(1 * S)
    # Half-way, within a Drive's 60 ms: 60/2000 of 8 mA is 240 uA.
    assert abs(bench.device.targets[0] - 4000) <= 240
    assert abs(bench.device.targets[1] - 2000) <= 120
    assert "not while" in bench.why(bench.ask(msg.Raise, (0,)))
    bench.run(1200 * MS)
    assert bench.is_done(asked)
    assert bench.is_off()


def test_the_duration_counts_from_when_all_targets_were_reached(bench: Bench) -> None:
    bench.to(RUNNING, prepared(duration_s=3))
    bench.run(2 * S)
    bench.raise_to(4000, 0)
    bench.run(2800 * MS)
    assert not bench.core.finish_from
    bench.run(300 * MS)
    assert bench.core.finish_from is not None
    bench.run(2200 * MS)
    assert bench.is_off()
    assert 3000 <= bench.core.delivery.plateau_us // 1000 <= 3060
    assert bench.core.delivery.rise_us // 1000 <= 60


def test_a_pause_in_the_ramp_down_ends_it_and_the_duration_goes_on(bench: Bench) -> None:
    bench.to(RUNNING, prepared(duration_s=3)).raise_to(4000, 0)
    bench.run(1 * S)
    bench.ask(msg.Finish)
    bench.run(500 * MS)
    assert bench.settle(bench.ask(msg.Pause))
    assert not bench.core.finish_from
    assert bench.settle(bench.ask(msg.Resume))
    before_us = bench.core.delivery.plateau_us
    assert 900 <= before_us // 1000 <= 1060
    ramped_us = bench.core.delivery.ramp_down_us
    bench.run(1 * S)
    assert not bench.core.finish_from
    # Less the rise back to 4 mA.
    assert 500 <= (bench.core.delivery.plateau_us - before_us) // 1000 <= 1000
    bench.run(1500 * MS)
    assert bench.core.finish_from is not None
    bench.run(2200 * MS)
    assert bench.is_off()
    assert 3000 <= bench.core.delivery.plateau_us // 1000 <= 3060
    assert 400 <= ramped_us // 1000 <= 560


def test_time_and_pulses_add_up_over_a_pause(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(4000, 0)
    bench.run(1 * S)
    assert bench.settle(bench.ask(msg.Pause))
    bench.device.pulse_counts = [0, 0]
    counted, delivered_us = bench.core.delivery.pulse_counts[0], bench.core.delivery.delivered_us
    bench.run(5 * S)
    assert bench.core.delivery.delivered_us == delivered_us
    assert bench.settle(bench.ask(msg.Resume))
    bench.run(1 * S)
    assert bench.core.delivery.pulse_counts[0] == counted + bench.device.pulse_counts[0]
    assert 1_950_000 <= bench.core.delivery.delivered_us <= 2_150_000


# Electrodes.


@pytest.mark.hazard(25)
def test_an_electrode_off_stops_its_channel_alone_until_rearmed(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 3000)
    bench.device.lead_off(0)
    bench.run(100 * MS)
    assert bench.state is RUNNING
    assert bench.device.targets == [0, 3000]
    assert bench.core.targets_ua == [0, 3000]
    assert bench.core.marker_ua == [5000, 0]
    asked = bench.ask(msg.Raise, (0,))
    bench.settle(asked)
    assert "electrode is off" in bench.why(asked)
    bench.run(2 * S)
    assert bench.device.targets == [0, 3000]
    assert bench.kinds().count("lead_off") == 1
    assert bench.settle(bench.ask(msg.Rearm, (0,)))
    assert bench.device.of(AcknowledgeFault)[-1] == AcknowledgeFault(1, 0b01)
    bench.run(2 * S)
    assert bench.device.targets == [0, 3000]
    assert bench.settle(bench.ask(msg.Raise, (0,)))
    assert bench.device.targets == [500, 3000]


@pytest.mark.hazard(25)
def test_nobody_re_arms_past_an_electrode_that_was_not_on_the_screen(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 3000)
    bench.device.lead_off(0)
    bench.run(100 * MS)
    on_screen = bench.snapshots[-1].latch_count
    assert on_screen == 1
    bench.device.lead_off(1)
    bench.run(50 * MS)
    asked = bench.ask(msg.Rearm, (0,), latch_count=on_screen)
    assert bench.why(asked) == "something new has happened: look again"
    bench.run(2 * S)
    assert bench.device.of(AcknowledgeFault) == []
    assert all(ChannelFlag.LEAD_OFF_LATCHED in flags for flags in bench.device.flags)
    assert bench.settle(bench.ask(msg.Rearm, (0, 1), latch_count=2))
    assert bench.device.of(AcknowledgeFault) == [AcknowledgeFault(2, 0b11)]


def test_rearm_of_a_channel_with_a_target_is_refused(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    assert bench.why(bench.ask(msg.Rearm, (0,)))


def test_a_waiting_rise_is_dropped_when_an_electrode_comes_off(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 3000)
    bench.holds_durable = True
    asked = bench.ask(msg.Raise, (1,))
    bench.device.lead_off(0)
    bench.run(50 * MS)
    assert "electrode came off" in bench.why(asked)


def test_policy_all_stops_every_channel(bench: Bench) -> None:
    """The device latches all; the host follows, and nothing comes back unasked."""
    bench.to(RUNNING).raise_to(5000, 3000)
    bench.device.lead_off(0)
    bench.device.lead_off(1)
    bench.run(2 * S)
    assert bench.core.targets_ua == [0, 0]
    assert bench.device.targets == [0, 0]
    bench.device.flags = [ChannelFlag.NONE, ChannelFlag.NONE]
    bench.run(2 * S)
    assert bench.device.targets == [0, 0]


# Identity and epoch.


@pytest.mark.hazard(14)
def test_another_serial_number_is_another_device(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.loop.post(ev.PortGone("unplugged"))
    bench.settle(bench.ask(msg.Acknowledge))
    bench.device = HandDevice("HAND-2")
    asked = bench.ask(msg.Connect, "native:/dev/hand")
    assert not bench.settle(asked)
    assert "HAND-2" in bench.why(asked)
    assert "HAND-1" in bench.why(asked)
    assert bench.state is DISCONNECTED
    bench.device = HandDevice("HAND-1")
    bench.connect()
    bench.run(3 * S)
    assert bench.state is IDENTIFIED
    assert bench.device.state is DeviceState.SAFE
    assert not any(d.wanted_state is not WantedState.SAFE for d in bench.device.of(Drive))


@pytest.mark.hazard(13)
def test_reports_of_another_epoch_are_silence(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.connection.adopt(1)
    bench.run(530 * MS)
    assert bench.state is FAULT


@pytest.mark.hazard(16)
@pytest.mark.parametrize("field", ["program_digest", "limits_digest"])
def test_a_device_that_lost_programme_or_limits_is_a_fault(bench: Bench, field: str) -> None:
    bench.to(RUNNING)
    bench.device.lie = lambda status: dataclasses.replace(status, **cast(Any, {field: 1}))
    bench.run(50 * MS)
    assert bench.state is FAULT
    assert bench.core.fault.code == "programme_lost"


@pytest.mark.parametrize("state", [DeviceState.SAFE, DeviceState.ARMED])
def test_a_device_that_leaves_running_is_a_fault(bench: Bench, state: DeviceState) -> None:
    bench.to(RUNNING)
    bench.device.ignores = (Drive,)
    bench.device.state = state
    bench.run(50 * MS)
    assert bench.state is FAULT
    assert bench.core.fault.code == "left_running"


def test_a_programme_that_the_device_does_not_report_is_not_taken(bench: Bench) -> None:
    bench.to(IDENTIFIED)
    bench.device.lie = lambda status: dataclasses.replace(status, program_digest=0)
    asked = bench.ask(msg.Prepare, *bench.prepare_request())
    bench.run(2 * S)
    assert "does not report the programme" in bench.why(asked)
    assert bench.state is IDENTIFIED


@pytest.mark.hazard(16)
@pytest.mark.parametrize("field", ["program_digest", "limits_digest"])
def test_what_the_kernel_did_not_approve_is_never_prepared(bench: Bench, field: str) -> None:
    """Whatever driver and device agree upon: 40 mA held where 10 mA was approved."""
    bench.to(IDENTIFIED)
    asked = bench.ask(msg.Prepare, *bench.prepare_request())
    device, made = bench.device, prepared()
    approved = kernel.device_limits(made.program, made.bounds, device.capabilities)
    told = base.Loaded(made.program.digest, limits_digest(approved))
    device.lie = lambda status: dataclasses.replace(status, **cast(Any, {field: 1}))
    bench.loop.post(told._replace(**cast(Any, {field: 1})))
    assert "not what was approved" in bench.why(asked)
    bench.run(1 * S)
    assert bench.state is IDENTIFIED
    assert not bench.settle(bench.ask(msg.Arm))


def test_a_device_that_makes_no_sense_is_not_connected(bench: Bench) -> None:
    sound = bench.device.capabilities
    for wrong in ({"channel_count": 0}, {"channel_count": 5}, {"amplitude_step_ua": 0}):
        bench.device.capabilities = dataclasses.replace(sound, **cast(Any, wrong))
        asked = bench.ask(msg.Connect, "native:x")
        bench.settle(asked)
        assert "makes no sense" in bench.why(asked)
        assert bench.state is DISCONNECTED
        bench.device = HandDevice()


def test_a_programme_beyond_a_limit_is_refused_with_every_reason(bench: Bench) -> None:
    bench.to(IDENTIFIED)
    made = prepared()
    site = Bound("phase_duration_us", 199, Owner.SITE)
    bounds = dataclasses.replace(
        made.bounds,
        channels=tuple(
            dataclasses.replace(c, bounds=(*c.bounds, site)) for c in made.bounds.channels
        ),
    )
    asked = bench.ask(msg.Prepare, made.program.canonical_bytes().hex(), bounds, made.settings)
    reasons = bench.outcome(asked).reasons  # type: ignore[union-attr]
    assert reasons == (
        "channel 1: phase duration: 200 us asked, 199 us allowed by the site policy",
        "channel 2: phase duration: 200 us asked, 199 us allowed by the site policy",
    )


# What is shown.


@pytest.mark.hazard(22)
def test_a_snapshot_never_understates(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.ignores = (Drive,)
    bench.ask(msg.Lower, (0,), 3000)
    bench.run(100 * MS)
    shown = bench.snapshots[-1]
    assert shown.channels[0].target_ua == 2000
    assert shown.channels[0].shown_ua == 5000
    assert shown.is_known
    bench.device.is_silent = True
    bench.run(490 * MS)
    bench.loop.publish(bench.clock.now_us() + 40 * MS)
    assert not bench.snapshots[-1].is_known


def test_a_snapshot_before_anything_and_after_the_link(bench: Bench) -> None:
    bench.loop.publish(bench.clock.now_us())
    first = bench.snapshots[-1]
    assert (first.device, first.channels, first.status_age_ms) == (None, (), -1)
    assert not first.is_known
    bench.to(READY)
    bench.loop.publish(bench.clock.now_us())
    device = bench.snapshots[-1].device
    assert device is not None
    assert (device.firmware_version, device.serial_number) == ("1.2.3", "HAND-1")
    assert bench.snapshots[-1].channels[0].ceiling_ua == 40_000
    assert bench.settle(bench.ask(msg.Disconnect))
    bench.loop.publish(bench.clock.now_us())
    assert bench.snapshots[-1].device is None
    assert bench.snapshots[-1].channels[0].measured_ua == -1


@pytest.mark.parametrize(
    ("inputs", "shown"),
    [
        (InputFlag.NONE, "none"),
        (InputFlag.PATIENT_STOP_PRESENT, "present"),
        (InputFlag.PATIENT_STOP_PRESENT | InputFlag.PATIENT_STOP_TESTED, "tested"),
        (InputFlag(7), "pressed"),
    ],
)
def test_the_patients_stop_is_shown(bench: Bench, inputs: InputFlag, shown: str) -> None:
    bench.to(READY)
    bench.device.inputs = inputs
    bench.run(500 * MS)
    assert bench.snapshots[-1].patient_stop == shown


@pytest.mark.hazard(47)
def test_a_slow_link_is_shown_and_stops_nothing(bench: Bench) -> None:
    from estim.drivers.base import RoundTrip

    bench.to(RUNNING)
    bench.loop.post(RoundTrip(150_000))
    bench.run(60 * MS)
    assert [shown.is_link_slow for shown in bench.snapshots[-1:]] == [False]
    bench.loop.post(RoundTrip(150_001))
    bench.run(60 * MS)
    assert bench.snapshots[-1].is_link_slow
    assert bench.state in ENERGISED


def test_an_event_for_nobody_changes_nothing(bench: Bench) -> None:
    """Late answers of a driver, a record and a kernel whose question is no longer open."""
    bench.to(READY)
    before = (bench.state, bench.core.program, len(bench.submitted))
    bench.loop.post(ev.LoadReviewed(None))
    bench.loop.post(ev.RecordDurable(10**6))
    bench.loop.post(base.Loaded(1, 2))
    bench.loop.post(base.LoadFailed(DeviceFault("late")))
    assert (bench.state, bench.core.program, len(bench.submitted)) == before


def test_nobody_answering_is_the_answer_to_connect(bench: Bench) -> None:
    bench.open_record()
    bench.device.is_deaf = True
    asked = bench.ask(msg.Connect, "native:x")
    bench.run(3100 * MS)
    assert "no device answered" in bench.why(asked)
    assert bench.state is DISCONNECTED


def test_what_fails_over_a_slow_link_says_so_and_blames_the_rig(bench: Bench) -> None:
    from estim.drivers.base import RoundTrip
    from estim.session.messages import Blame
    from firmware_protocol.messages import FaultCode

    bench.to(RUNNING)
    bench.loop.post(RoundTrip(812_000))
    bench.device.fault = FaultCode.LEASE_EXPIRED
    bench.device.state = DeviceState.FAULT
    bench.run(200 * MS)
    fault = bench.core.fault
    assert fault is not None
    assert fault.text == "the device stopped: lease expired: the link takes 812 ms there and back"
    assert fault.remedy.startswith("The lease is 320 ms: use a quicker link")
    assert fault.blame is Blame.RIG
