"""What one end does, the other tells: pulses, faults, latches, disobedience."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from estim.errors import UsageError
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.states import HostState
from estim.simulator.faults import parse_line
from firmware_protocol.messages import (
    AcknowledgeFault,
    CapabilityFlag,
    DeviceState,
    Drive,
    Status,
    WantedState,
)
from tests.session.bench import MS, Bench, S
from tests.session.patient import read_pulses
from tests.session.test_virtual import Visit

PROFILE = "dpn-conventional"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.loop.end()


def happens(visit: Visit, fault: str) -> None:
    """Let a fault of the simulator happen now."""
    visit.engine._device.apply(parse_line(fault, 2), visit.now_us)  # type: ignore[union-attr]


def claims(bench: Bench, setpoint_ua: int) -> None:
    """Let channel 1 of the device report a setpoint and a current of its own."""

    def lie(status: Status) -> Status:
        row = dataclasses.replace(status.channels[0], setpoint_ua=setpoint_ua, peak_ua=setpoint_ua)
        return dataclasses.replace(status, channels=(row, *status.channels[1:]))

    bench.device.lie = lie


def test_a_second_stimulation_counts_its_own_pulses_alone(tmp_path: Path) -> None:
    visit = Visit(tmp_path, PROFILE)
    visit.start(2, (3000, 3000))
    visit.until_rest()
    visit.run(500 * MS)
    counts = [visit.snapshot.channels[0].pulse_count]
    assert visit.settle(visit.prepare(2))
    visit.run(500 * MS)
    assert visit.snapshot.channels[0].pulse_count == 0
    assert visit.settle(visit.ask(msg.Arm))
    assert visit.settle(visit.ask(msg.Start))
    assert visit.settle(visit.ask(msg.SetTargets, (3000, 3000)))
    visit.until_rest()
    visit.run(500 * MS)
    counts.append(visit.snapshot.channels[0].pulse_count)
    visit.engine.close()
    assert sum(counts) == len([p for p in read_pulses(visit.trace) if p.channel == 1])


@pytest.mark.parametrize("after_ms", range(0, 60, 5))
def test_one_electrode_off_leaves_the_other_channel_running(tmp_path: Path, after_ms: int) -> None:
    visit = Visit(tmp_path, PROFILE)
    visit.start(None, (6000, 6000))
    visit.run(6 * S + after_ms * MS)
    happens(visit, "lead-off 1")
    visit.run(1 * S)
    assert visit.state is HostState.RUNNING
    assert [channel.target_ua for channel in visit.snapshot.channels] == [0, 6000]
    visit.engine.close()


def test_a_fault_of_the_device_within_a_fault_of_the_host_is_shown_and_recorded(
    tmp_path: Path,
) -> None:
    visit = Visit(tmp_path, PROFILE)
    visit.start(None, (6000, 6000))
    visit.run(3 * S)
    visit.engine._loop.post(ev.LoopStalled(500_000))
    visit.run(1 * S)
    happens(visit, "patient-stop press")
    visit.run(300 * MS)
    happens(visit, "patient-stop release")
    visit.run(500 * MS)
    assert visit.snapshot.fault is not None
    assert visit.snapshot.fault.code == "device_patient_stop"
    visit.engine.close()
    lines = next(tmp_path.glob("*.jsonl")).read_text().splitlines()
    assert any('"kind":"fault"' in line and "patient_stop" in line for line in lines)


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**4000])
def test_a_number_beyond_64_bits_is_refused_on_the_way_in(number: int) -> None:
    line = msg.to_line(msg.SetTargets(7, (number, 0)))
    with pytest.raises(UsageError, match="too large"):
        msg.from_line(line)


@pytest.mark.hazard(22)
def test_a_clock_that_stands_still_is_no_sign_of_life(bench: Bench) -> None:
    bench.to(HostState.RUNNING).raise_to(3000, 0)
    frozen = bench.device.status(bench.clock.now_us())
    bench.device.lie = lambda _: frozen
    bench.run(1 * S)
    assert bench.state is HostState.FAULT


@pytest.mark.hazard(22)
def test_lowering_again_and_again_hides_no_current(bench: Bench) -> None:
    bench.to(HostState.RUNNING).raise_to(3000, 0)
    claims(bench, 60_000)
    for _ in range(5):
        bench.ask(msg.Lower, (1,), 0)
        bench.run(200 * MS)
    assert bench.state is HostState.FAULT


def test_a_ramp_down_hides_no_current(bench: Bench) -> None:
    bench.to(HostState.RUNNING).raise_to(3000, 0)
    bench.core.settings = dataclasses.replace(bench.core.settings, ramp_down_ms=10_000)
    bench.ask(msg.Finish)
    bench.run(20 * MS)
    claims(bench, 60_000)
    bench.run(1 * S)
    assert bench.state is HostState.FAULT


def test_a_device_that_runs_on_after_a_pause_is_a_fault(bench: Bench) -> None:
    bench.to(HostState.RUNNING).raise_to(3000, 0)
    bench.ask(msg.Pause)
    bench.run(100 * MS)
    bench.device.lie = lambda status: dataclasses.replace(status, state=DeviceState.RUNNING)
    bench.run(1 * S)
    assert bench.state is HostState.FAULT


@pytest.mark.hazard(5)
def test_a_resume_waits_until_the_device_has_seen_the_pause(bench: Bench) -> None:
    """A pause that is lost, and a resume at once: the device is not to go on from where it is."""
    bench.to(HostState.RUNNING).raise_to(3000, 0)
    bench.run(3 * S)
    bench.device.is_deaf = True
    asked = bench.ask(msg.Pause)
    assert bench.is_done(asked)
    resumed = bench.ask(msg.Resume)
    bench.run(100 * MS)
    assert bench.state is HostState.ARMED
    assert bench.outcome(resumed) is None
    before = len(bench.device.of(Drive))
    bench.device.is_deaf = False
    assert bench.settle(resumed)
    wanted = [drive.wanted_state for drive in bench.device.of(Drive)[before:]]
    assert wanted[0] is WantedState.ARMED
    assert WantedState.RUNNING in wanted


def test_output_after_a_stop_that_is_not_obeyed_is_in_the_record(bench: Bench) -> None:
    bench.to(HostState.RUNNING).raise_to(3000, 0)
    bench.run(2 * S)
    bench.device.is_deaf = True
    bench.ask(msg.Stop)
    before = len(bench.submitted)
    bench.run(3 * S)
    kept = [kind for kind, _ in bench.submitted[before:]]
    assert any(kind.startswith("telemetry") for kind in kept)


def test_a_device_that_measures_nothing_has_nothing_measured_shown_or_kept(bench: Bench) -> None:
    """Whatever stands in its reports for a peak: set, not measured."""
    capabilities = bench.device.capabilities
    bench.device.capabilities = dataclasses.replace(
        capabilities, flags=capabilities.flags & ~CapabilityFlag.REPORTS_CURRENT
    )
    bench.to(HostState.RUNNING).raise_to(3000, 0)
    bench.run(2 * S)
    shown = bench.snapshots[-1]
    assert shown.device is not None
    assert not shown.device.reports_current
    assert [row.measured_ua for row in shown.channels] == [-1, -1]
    assert [row.shown_ua for row in shown.channels] == [3000, 0]
    bench.settle(bench.ask(msg.Stop))
    kept = [
        row
        for kind, content in bench.submitted
        if kind.startswith("telemetry")
        for row in content.get("changes") or content["channels"]
    ]
    assert any(row.get("setpoint_ua") == 3000 for row in kept)
    peaks = [row[name] for row in kept for name in row if name.startswith("peak")]
    assert peaks
    assert set(peaks) == {None}


def test_a_re_arm_is_done_once_the_device_says_so(bench: Bench) -> None:
    bench.to(HostState.RUNNING).raise_to(3000, 3000)
    bench.device.lead_off(0)
    bench.run(200 * MS)
    bench.device.ignores = (AcknowledgeFault,)
    lost = bench.ask(msg.Rearm, (0,))
    bench.run(3 * S)
    assert bench.outcome(lost) is not None
    assert not bench.is_done(lost)
    assert "rearmed" not in [kind for kind, _ in bench.submitted]
    assert bench.state is HostState.RUNNING


@pytest.mark.hazard(22)
@pytest.mark.parametrize("request_kind", [msg.Stop, msg.Pause, msg.Lower])
def test_what_was_lowered_is_shown_until_the_device_has_followed(
    bench: Bench, request_kind: type[msg.Request]
) -> None:
    """A rise that no Status has told yet, and down again at once: the current still flows.

    The exploration of all states found it (tests/model, invariant I8).
    """
    bench.to(HostState.RUNNING)
    bench.run(100 * MS)
    bench.device.is_silent = True
    asked = bench.ask(msg.SetTargets, (4000, 0))
    bench.run(20 * MS)
    assert bench.is_done(asked)
    assert bench.device.setpoints == [4000, 0]
    bench.device.is_deaf = True
    bench.ask(request_kind, *(((0,), 4000) if request_kind is msg.Lower else ()))
    bench.loop.publish(bench.clock.now_us())
    shown = bench.snapshots[-1]
    assert shown.is_known
    assert shown.channels[0].target_ua == 0
    assert shown.channels[0].shown_ua >= bench.device.setpoints[0]
    bench.device.is_deaf = bench.device.is_silent = False
    bench.run(200 * MS)
    assert bench.device.setpoints == [0, 0]
    assert bench.snapshots[-1].channels[0].shown_ua == 0
