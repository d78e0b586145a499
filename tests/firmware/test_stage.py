"""What only a real output stage does: measure later, miss a pulse, fail a test, find a defect."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from estim.simulator.device import DeviceSettings
from estim.simulator.load import Load
from firmware_protocol.connection import Received
from firmware_protocol.messages import (
    AcknowledgeFault,
    Contact,
    DeviceState,
    FaultCode,
    Message,
    ProgramAccepted,
    RefusalReason,
    Refused,
    SelfTest,
    SelfTestReport,
    Stop,
    WantedState,
)
from tests.firmware import strategies
from tests.firmware.core import Lockstep, Pulse, Twins
from tests.firmware.test_agreement import AMPLITUDES_UA, PHASES, SHARED
from tests.simulator.host import MS, Host, S, one_channel

ONE = DeviceSettings(channel_count=1, battery_percent=255)


class CoreHost(Host):
    """A host of the C core alone, in time; what it delivers is in `pulses`."""

    def __init__(self, lockstep: Lockstep, own: DeviceSettings = ONE) -> None:
        super().__init__(own)
        self._lockstep = lockstep
        self.pulses: list[Pulse] = []
        lockstep.boot(own)

    def write(self, raw: bytes) -> list[Message]:
        return self._take(f"bytes {self.now_us} {raw.hex()}")

    def collect(self) -> list[Message]:
        return self._take(f"advance {self.now_us}")

    def happen(self, words: str) -> list[Message]:
        return self._take(f"happen {self.now_us} {words}")

    def _take(self, command: str) -> list[Message]:
        step = self._lockstep.command(command)
        self.pulses += step.pulses
        self.connection.receive_bytes(step.frames)
        events = iter(self.connection.next_event, None)
        fresh = [event.message for event in events if isinstance(event, Received)]
        self.seen += fresh
        return fresh


@given(st.data())
@settings(max_examples=40, suppress_health_check=SHARED, phases=PHASES)
def test_a_stage_that_measures_later_is_judged_as_one_that_measures_at_once(
    lockstep: Lockstep, data: st.DataObject
) -> None:
    """The simulator measures at each onset; the core is told after its step, and says the same."""
    own = data.draw(strategies.device_settings())
    own = dataclasses.replace(own, channel_count=1, battery_percent=255)
    twins = Twins(lockstep, own)
    lockstep.command("happen 0 measure-later 1")
    host = Host(own, wire=twins, device=twins.python)
    host.hello()
    host.set_limits(data.draw(strategies.session_limits(own)))
    assume(isinstance(host.load(data.draw(strategies.programmes(1)))[0], ProgramAccepted))
    host.drive(WantedState.ARMED)
    assume(host.state() is DeviceState.ARMED)
    host.drive(WantedState.RUNNING)
    for _ in range(data.draw(st.integers(1, 3))):
        host.keep(data.draw(st.sampled_from([1, 2])) * S, data.draw(AMPLITUDES_UA) // 4)
        ohm = data.draw(st.sampled_from([0, 50, 500, 14_999, 15_000]))
        twins.set_load(1, Load(ohm, is_open=not ohm), host.now_us)
        twins.set_gain(1, data.draw(st.sampled_from([1000, 1000, 1500])), host.now_us)


def test_pulses_that_were_missed_raise_nothing(lockstep: Lockstep) -> None:
    """1 s of misses at 2 mA/s: the setpoint stays, and goes on from there."""
    host = CoreHost(lockstep)
    host.start(one_channel())
    host.keep(500 * MS, 2_000)
    before = host.status.channels[0]
    assert 900 <= before.setpoint_ua <= 1_000
    host.happen("miss 1")
    host.keep(1 * S, 2_000)
    missed = host.status.channels[0]
    assert missed.setpoint_ua <= before.setpoint_ua + 100  # what rose since that Status, 50 ms
    assert missed.pulse_count == len(host.pulses)
    host.happen("miss 0")
    count = len(host.pulses)
    host.keep(100 * MS, 2_000)
    assert 9 <= len(host.pulses) - count <= 11
    amplitudes_ua = [abs(phases[0][1]) for _, _, phases in host.pulses[count:]]
    assert amplitudes_ua[0] <= missed.setpoint_ua + 20
    assert amplitudes_ua == sorted(amplitudes_ua)


def test_a_stage_that_misses_from_the_first_pulse_on_never_passes_one_step(
    lockstep: Lockstep,
) -> None:
    """Below one step of 100 uA nothing can be played, nor missed."""
    host = CoreHost(lockstep)
    host.start(one_channel())
    host.happen("miss 1")
    host.keep(2 * S, 2_000)
    assert host.status.channels[0].setpoint_ua < 100
    assert host.pulses == []


def test_a_stage_that_measures_nothing_is_a_defect(lockstep: Lockstep) -> None:
    """Of three pulses nothing is known: no fourth one begins."""
    host = CoreHost(lockstep)
    host.start(one_channel())
    host.keep(300 * MS, 1_000)
    count = len(host.pulses)
    assert count > 10
    host.happen("mute 1")
    host.keep(200 * MS, 1_000)
    assert len(host.pulses) - count == 3
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.OUTPUT_STAGE)


@pytest.mark.parametrize("failed", [2, 4, 6])
def test_a_check_that_fails_latches_and_holds(lockstep: Lockstep, failed: int) -> None:
    host = CoreHost(lockstep)
    host.hello()
    assert any(m == SelfTestReport(m.in_reply_to, 7, 0) for m in host.send(SelfTest())
               if isinstance(m, SelfTestReport))  # fmt: skip
    host.happen(f"self-test {failed}")
    (report,) = [m for m in host.send(SelfTest()) if isinstance(m, SelfTestReport)]
    assert (report.passed, report.failed) == (7 - failed, failed)
    host.send(Stop())
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.SELF_TEST)
    (refused,) = [m for m in host.send(AcknowledgeFault(1, 0)) if isinstance(m, Refused)]
    assert refused.reason is RefusalReason.CAUSE_PRESENT
    host.happen("self-test 0")
    host.send(AcknowledgeFault(1, 0))
    assert host.status.state is DeviceState.SAFE


def test_a_defect_that_the_stage_finds_ends_output_at_once(lockstep: Lockstep) -> None:
    host = CoreHost(lockstep)
    host.start(one_channel())
    host.keep(300 * MS, 1_000)
    count = len(host.pulses)
    host.happen("self-test 2")
    host.happen("defect")
    host.pass_time(1 * S)
    assert len(host.pulses) == count
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.OUTPUT_STAGE)
    assert host.status.channels[0].contact is Contact.UNKNOWN
    (refused,) = [m for m in host.send(AcknowledgeFault(1, 0)) if isinstance(m, Refused)]
    assert refused.reason is RefusalReason.CAUSE_PRESENT
    host.happen("self-test 0")
    host.send(AcknowledgeFault(1, 0))
    assert host.status.state is DeviceState.SAFE


@pytest.mark.hazard(29)
@pytest.mark.parametrize("before", ["defect", "self-test"])
@pytest.mark.parametrize("after", ["stop", "supply"])
def test_a_defect_behind_a_later_fault_is_not_cleared_with_it(
    lockstep: Lockstep, before: str, after: str
) -> None:
    """The later fault is the one told; its cause gone, the check that fails holds all the same."""
    host = CoreHost(lockstep)
    host.prepare(one_channel())
    host.happen("self-test 2")
    if before == "defect":
        host.happen("defect")
    else:
        host.send(SelfTest())
    for happening in {
        "stop": ("patient-stop press", "patient-stop release"),
        "supply": ("battery 4", "battery 100"),
    }[after]:
        host.happen(happening)
    host.send(Stop())
    later = FaultCode.PATIENT_STOP if after == "stop" else FaultCode.SUPPLY
    assert (host.status.fault, host.status.latch_count) == (later, 2)
    (refused,) = [m for m in host.send(AcknowledgeFault(2, 0)) if isinstance(m, Refused)]
    assert refused.reason is RefusalReason.CAUSE_PRESENT
    host.drive(WantedState.ARMED)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, later)
    host.happen("self-test 0")
    host.send(AcknowledgeFault(2, 0))
    assert host.status.state is DeviceState.SAFE


def test_the_patients_stop_held_at_boot_latches_at_once(lockstep: Lockstep) -> None:
    host = CoreHost(lockstep)
    lockstep.boot(ONE, is_stop_pressed=True)
    host.hello()
    host.send(Stop())
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.PATIENT_STOP)
