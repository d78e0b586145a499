"""Ways that a session seldom goes, each gone by hand once: what stands there must be right too."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estim.drivers import base as driver
from estim.errors import UsageError
from estim.safety.bounds import Bound, Bounds, Owner
from estim.safety.kernel import DriveRequest, RiseKind
from estim.safety.verdict import Reason, Refused
from estim.session import diagram
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.states import HostState
from firmware_protocol.messages import (
    AcknowledgeFault,
    ChannelFlag,
    DeviceState,
    Drive,
    InputFlag,
    PolicyFlag,
    Stop,
    WantedState,
)
from firmware_protocol.pages import ROOT
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram
from tests.session.bench import MS, Bench, prepared

DISCONNECTED, IDENTIFIED = HostState.DISCONNECTED, HostState.IDENTIFIED
READY, ARMED, RUNNING = HostState.READY, HostState.ARMED, HostState.RUNNING
STOPPING, FAULT, CLOSED = HostState.STOPPING, HostState.FAULT, HostState.CLOSED


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.loop.end()


def refused(wanted: WantedState, kind: RiseKind = RiseKind.NONE) -> ev.DriveReviewed:
    reason = Reason("status", explanation="the device's report is too old")
    return ev.DriveReviewed(DriveRequest(wanted, (0, 0), (0, 0), kind), Refused((reason,)))


# Refusals of Drives.


def test_a_drive_that_is_refused_at_rest_is_recorded_and_stops_nothing(bench: Bench) -> None:
    bench.to(READY)
    bench.loop.post(refused(WantedState.SAFE))
    assert bench.kinds()[-1] == "drive_refused"
    assert bench.state is READY
    assert bench.core.program is not None
    assert bench.device.of(Stop) == []


def test_a_rise_that_is_refused_after_the_link_is_gone_asks_for_nothing(bench: Bench) -> None:
    bench.to(DISCONNECTED)
    bench.loop.post(refused(WantedState.RUNNING, RiseKind.KEY))
    assert bench.state is DISCONNECTED
    assert bench.device.received == []


def test_a_drive_that_the_device_refuses_while_it_runs_ends_in_good_order(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.loop.post(driver.DriveRefused("amplitude: too high"))
    assert bench.state is STOPPING
    bench.run(100 * MS)
    assert bench.state is READY
    assert bench.is_off()
    assert bench.core.end_reason == "the device refused: amplitude: too high"


def test_what_else_a_device_refuses_is_told_and_stops_nothing(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    bench.loop.post(driver.DriveRefused("events: none are kept", is_drive=False))
    assert bench.state is RUNNING
    assert "the device refused: events: none are kept" in [n.text for n in bench.notices]


def test_without_a_report_of_the_device_nothing_counts_as_known(bench: Bench) -> None:
    """What the kernel would then be told refuses output: no state, no digests, an endless age."""
    bench.to(DISCONNECTED)
    facts = bench.core.facts(bench.clock.now_us())
    assert facts.device_state is DeviceState.SAFE
    assert facts.status_age_us > 10**15
    assert (facts.digests_match, facts.is_fault_latched) == (False, False)
    assert (facts.running_ms, facts.lead_off_channels) == (0, frozenset())
    assert facts.inputs is InputFlag.NONE


def test_a_rise_that_is_durable_only_after_the_output_ended_is_refused(bench: Bench) -> None:
    bench.to(READY)
    request_id = bench.ask(msg.Watch, False) + 1000
    bench.core.review_rise(request_id, [1000, 0], RiseKind.TARGET, bench.clock.now_us())
    bench.loop.post(ev.Ticked())
    assert "not while ready" in bench.why(request_id)
    assert bench.device.of(Drive)[-1].wanted_state is WantedState.SAFE


# What was lowered or raised with another number of channels.


def one_channel_request() -> tuple[Any, ...]:
    made = prepared()
    phases = (Phase(200, 1000), Phase(200, -1000))
    program = PulseProgram((ChannelProgram(phases, 1, 10_000),))
    bounds = dataclasses.replace(made.bounds, channels=made.bounds.channels[:1])
    return program.canonical_bytes().hex(), bounds, made.settings


def test_a_second_channel_that_the_programme_has_not_may_deliver_nothing(bench: Bench) -> None:
    """What its first channel was lowered from excuses no other, and is told at once."""
    bench.to(IDENTIFIED)
    assert bench.settle(bench.ask(msg.Prepare, *one_channel_request()))
    assert bench.settle(bench.ask(msg.Arm))
    assert bench.settle(bench.ask(msg.Start))
    bench.raise_to(5000)
    assert bench.settle(bench.ask(msg.Lower, (0,), 1000))
    assert bench.core.lowered
    bench.device.targets[1] = bench.device.setpoints[1] = 1
    bench.until(lambda: bench.state is FAULT)
    assert bench.core.fault.code == "not_obeyed"


def test_keys_pressed_for_a_channel_that_is_gone_count_for_no_other(bench: Bench) -> None:
    """0.5 mA by key on the second channel, then, within a second, a programme of one."""
    bench.to(RUNNING)
    assert bench.settle(bench.ask(msg.Raise, (1,)))
    assert bench.core.key_rises_ua(bench.clock.now_us())[1] > 0
    assert bench.settle(bench.ask(msg.Stop))
    assert bench.settle(bench.ask(msg.Prepare, *one_channel_request()))
    assert bench.core.key_rises_ua(bench.clock.now_us()) == (0,)


# Requests.


@pytest.mark.parametrize("program_hex", ["zz", "0", "", "01", "00" * 40])
def test_bytes_that_are_no_programme_are_refused_in_words(bench: Bench, program_hex: str) -> None:
    bench.to(IDENTIFIED)
    made = prepared()
    why = bench.why(bench.ask(msg.Prepare, program_hex, made.bounds, made.settings))
    assert why.startswith("programme: ")
    assert bench.core.preparing is None


def with_session(bounds: Bounds, bound: Bound) -> Bounds:
    return dataclasses.replace(bounds, session=(*bounds.session, bound))


def with_area(bounds: Bounds, area_mm2: int) -> Bounds:
    row = dataclasses.replace(bounds.channels[0], electrode_area_mm2=area_mm2)
    return dataclasses.replace(bounds, channels=(row, *bounds.channels[1:]))


def with_channel(bounds: Bounds, bound: Bound) -> Bounds:
    row = bounds.channels[0]
    row = dataclasses.replace(row, bounds=(*row.bounds, bound))
    return dataclasses.replace(bounds, channels=(row, *bounds.channels[1:]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: with_session(b, Bound("step_ma", 1, Owner.SITE)), "there is no limit 'step_ma'"),
        (lambda b: with_channel(b, Bound("rms", 1, Owner.SITE)), "there is no limit 'rms'"),
        (lambda b: with_session(b, Bound("step_ua", -1, Owner.SITE)), "step_ua is below zero"),
        (lambda b: with_channel(b, Bound("rms_ua", -1, Owner.SITE)), "rms_ua is below zero"),
        (lambda b: with_area(b, -1), "an electrode has 0 to 40000 mm2"),
        (lambda b: with_area(b, 40_001), "an electrode has 0 to 40000 mm2"),
        (lambda b: dataclasses.replace(b, policy=PolicyFlag(4)), "an unknown policy"),
    ],
)
def test_bounds_that_are_none_are_refused_in_words(bench: Bench, spoil: Any, words: str) -> None:
    bench.to(IDENTIFIED)
    made = prepared()
    program = made.program.canonical_bytes().hex()
    asked = bench.ask(msg.Prepare, program, spoil(made.bounds), made.settings)
    assert bench.why(asked) == f"bounds: {words}"


def test_one_electrode_is_re_armed_at_a_time(bench: Bench) -> None:
    bench.to(RUNNING)
    bench.device.lead_off(0)
    bench.device.ignores = (AcknowledgeFault,)
    bench.run(100 * MS)
    first = bench.ask(msg.Rearm, (0,))
    assert "being re-armed already" in bench.why(bench.ask(msg.Rearm, (0,)))
    assert bench.outcome(first) is None


def test_closing_answers_a_re_arm_that_still_waits(bench: Bench) -> None:
    bench.to(FAULT)
    bench.device.flags[0] = ChannelFlag.LEAD_OFF_LATCHED
    bench.device.ignores = (AcknowledgeFault,)
    bench.run(100 * MS)
    rearming = bench.ask(msg.Rearm, (0,))
    assert bench.outcome(rearming) is None
    assert bench.is_done(bench.ask(msg.CloseVisit))
    assert not bench.is_done(rearming)
    assert bench.core.rearming is None


def test_no_self_test_while_a_programme_is_being_loaded(bench: Bench) -> None:
    bench.to(IDENTIFIED)
    bench.device.is_deaf = True
    bench.ask(msg.Prepare, *bench.prepare_request())
    assert bench.why(bench.ask(msg.SelfTest)) == "something else is being done"


def test_the_report_of_a_self_test_that_nobody_waits_for_is_let_go(bench: Bench) -> None:
    bench.to(READY)
    before = len(bench.submitted)
    bench.loop.post(driver.SelfTested(passed=7))
    assert len(bench.submitted) == before
    assert bench.told == []


# What a device tells.


def test_leads_that_touch_are_told_once_and_stop_nothing(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 5000)
    bench.device.flags[1] = ChannelFlag.SHORTED
    bench.run(200 * MS)
    told = [n for n in bench.notices if "may touch" in n.text]
    assert [n.text for n in told] == ["channel 2: 500 ohm, the leads may touch each other"]
    assert told[0].severity is msg.Severity.WARNING
    assert bench.state is RUNNING
    assert bench.device.setpoints == [5000, 5000]


def test_what_a_driver_remarks_on_a_load_is_told_and_recorded(bench: Bench) -> None:
    bench.to(IDENTIFIED)
    request_id = bench.ask(msg.Prepare, *bench.prepare_request())
    seen: list[driver.Loaded] = []
    assert bench.driver is not None
    polled = list(bench.driver.poll(bench.clock.now_us()))
    while not seen:
        bench.device.output, received = bytearray(), bytes(bench.device.output)
        bench.driver.receive(received, bench.clock.now_us())
        polled = list(bench.driver.poll(bench.clock.now_us()))
        seen = [event for event in polled if isinstance(event, driver.Loaded)]
        if not seen:
            for event in polled:
                bench.loop.post(event)
            bench.step(5 * MS)
    bench.loop.post(seen[0]._replace(remarks=("pulses are rounded",)))
    assert bench.settle(request_id)
    assert dict(bench.submitted)["prepared"]["remarks"] == ["pulses are rounded"]
    assert ("pulses are rounded", msg.Severity.INFORMATION) in [
        (n.text, n.severity) for n in bench.notices
    ]


# The record and the end.


def test_a_record_that_fails_at_rest_is_told_and_bars_output(bench: Bench) -> None:
    bench.to(READY)
    bench.loop.post(ev.RecordFailed("No space left on device"))
    assert bench.state is READY
    assert bench.device.of(Stop) == []
    assert "No space left on device" in bench.notices[-1].text
    assert "No space left on device" in bench.why(bench.ask(msg.Arm))


def test_a_late_stop_does_not_put_off_the_end_of_an_engine_without_its_interface(
    bench: Bench,
) -> None:
    """The interface gone at 0, Stop at 0.5 s, a device that never confirms: the end at 1 s."""
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.is_deaf = True
    bench.loop.post(ev.InterfaceGone())
    bench.run(500 * MS)
    stopping = bench.ask(msg.Stop)
    bench.run(450 * MS)
    assert bench.state is STOPPING
    bench.run(100 * MS)
    assert bench.state is CLOSED
    assert not bench.is_done(stopping)
    assert bench.record()[-1].kind == "seal"


# Lines and pages.


def test_what_has_a_default_may_be_left_out_of_a_line_and_what_has_none_may_not() -> None:
    notice = msg.Notice(7, msg.Severity.WARNING, "warm", "cool it", None)
    whole = json.loads(msg.to_line(notice))
    assert whole["blame"] is None
    short = {name: told for name, told in whole.items() if name != "blame"}
    assert msg.from_line(json.dumps(short).encode()) == notice
    blamed = msg.from_line(json.dumps(whole | {"blame": "host"}).encode())
    assert blamed == dataclasses.replace(notice, blame=msg.Blame.HOST)
    del short["text"]
    with pytest.raises(UsageError, match="text is missing"):
        msg.from_line(json.dumps(short).encode())


def test_the_diagram_in_the_architecture_is_that_of_the_table() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "estim.session.diagram", "--check"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    drawn = diagram.drawn(f"above {diagram.BEGIN} old {diagram.END} below")
    assert drawn.startswith(f"above {diagram.BEGIN}\n```mermaid\nstateDiagram-v2\n")
    assert drawn.endswith(f"```\n{diagram.END} below")
    assert "running --> armed: pause asked" in drawn
