"""The driver of the Estim protocol against a device moved by hand, over a line that fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.drivers import base
from estim.drivers.native import NativeStimulator
from estim.errors import DeviceFault, EstimError, LimitRefused, PortLost, ReplyTimeout
from estim.safety import kernel
from estim.safety.kernel import DriveRequest, Facts
from estim.safety.verdict import Approved, ApprovedLoad
from firmware_protocol.limits import amplitude_ua
from firmware_protocol.messages import (
    AcknowledgeFault,
    Adoption,
    CommitProgram,
    DeviceState,
    Drive,
    Event,
    EventCode,
    GetCapabilities,
    Hello,
    InputFlag,
    LimitsAccepted,
    ProgramAccepted,
    RefusalReason,
    Refused,
    SelfTestReport,
    SetLimits,
    Stop,
    WantedState,
)
from firmware_protocol.session_limits import limits_digest
from tests.session.bench import MS, HandDevice, prepared

EPOCH = 77
MADE = prepared()


def approved(
    targets_ua: tuple[int, ...] = (0, 0),
    now_us: int = 0,
    wanted: WantedState = WantedState.RUNNING,
) -> Approved:
    """Return what the kernel itself approves."""
    facts = Facts(DeviceState.RUNNING, 0, 0, 0, True, False, frozenset(), InputFlag.NONE)
    asked = DriveRequest(wanted, targets_ua, (100_000, 100_000))
    verdict = kernel.review(asked, MADE.program, facts, MADE.bounds, now_us)
    assert isinstance(verdict, Approved)
    return verdict


def approved_load(device: HandDevice, now_us: int = 0) -> ApprovedLoad:
    verdict = kernel.review_load(MADE.program, MADE.bounds, device.capabilities, now_us)
    assert isinstance(verdict, ApprovedLoad)
    return verdict


class Line:
    """Driver and device, with every frame in a test's hand on its way."""

    def __init__(self) -> None:
        self.driver = NativeStimulator(EPOCH, "native:/dev/hand")
        self.device = HandDevice()
        self.now_us = 0
        self.events: list[base.DriverEvent] = []
        self.to_device: Callable[[bytes], bytes] = lambda frame: frame
        self.to_host: Callable[[bytes], bytes] = lambda frame: frame
        self.written: list[base.Output] = []

    def pass_on(self) -> None:
        output = self.driver.take_output()
        self.written.append(output)
        frames = [*output.urgent, *output.ordered, *([output.drive] if output.drive else [])]
        for frame in frames:
            self.device.receive(self.to_device(frame), self.now_us)
        sent, self.device.output = bytes(self.device.output), bytearray()
        for frame in sent.split(b"\0")[:-1]:
            self.driver.receive(self.to_host(frame + b"\0"), self.now_us)
        self.events += self.driver.poll(self.now_us)

    def run(self, duration_us: int, step_us: int = 10 * MS) -> None:
        end_us = self.now_us + duration_us
        while self.now_us < end_us:
            self.now_us += step_us
            self.events += self.driver.poll(self.now_us)
            self.pass_on()

    def of(self, kind: type) -> list[base.DriverEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def connected(self) -> Line:
        self.driver.connect(self.now_us)
        self.run(100 * MS)
        assert len(self.of(base.Identified)) == 1
        return self

    def loaded(self) -> Line:
        self.connected()
        self.driver.load(approved_load(self.device, self.now_us), self.now_us)
        self.run(100 * MS)
        assert len(self.of(base.Loaded)) == 1
        return self

    def status(self) -> None:
        self.device.send_status(self.now_us)
        self.pass_on()


# Set-up.


def test_a_device_says_who_it_is() -> None:
    line = Line().connected()
    (told,) = line.of(base.Identified)
    assert isinstance(told, base.Identified)
    assert told.identity.serial_number == "HAND-1"
    assert told.capabilities.channel_count == 2
    assert line.device.connection.epoch == EPOCH


def test_nobody_there_is_told_after_twelve_hellos() -> None:
    """12 x 250 ms."""
    line = Line()
    line.device.is_deaf = True
    line.driver.connect(0)
    line.run(2990 * MS)
    assert not line.events
    line.run(20 * MS)
    (told,) = line.events
    assert isinstance(told, base.ConnectFailed)
    assert isinstance(told.error, PortLost)
    assert "no device answered" in str(told.error)
    assert len(line.device.of(Hello)) == 12
    assert line.driver.next_deadline_us() is None


def test_a_device_that_keeps_silent_on_capabilities() -> None:
    line = Line()
    line.device.ignores = (GetCapabilities,)
    line.driver.connect(0)
    line.run(2000 * MS)
    (told,) = line.of(base.ConnectFailed)
    assert isinstance(told, base.ConnectFailed)
    assert isinstance(told.error, ReplyTimeout)


def test_an_energised_device_is_asked_again_until_it_is_at_rest() -> None:
    line = Line()
    adopts = line.device.identity
    line.device.identity = lambda sequence, now_us: dataclasses.replace(  # type: ignore[method-assign]
        adopts(sequence, now_us), adoption=Adoption.ENERGISED
    )
    line.driver.connect(0)
    line.run(700 * MS)
    assert not line.of(base.Identified)
    line.device.identity = adopts  # type: ignore[method-assign]
    line.run(300 * MS)
    assert len(line.of(base.Identified)) == 1
    assert not line.of(base.ConnectFailed)


@pytest.mark.hazard(17)
@pytest.mark.parametrize("adoption", [Adoption.SCHEMA_MISMATCH, Adoption.ADOPTED])
def test_another_schema_is_refused_with_both_hashes(adoption: Adoption) -> None:
    """Also where the device claims to have adopted."""
    line = Line()
    line.device.schema_hash = 0xDEADBEEF
    adopts = line.device.identity
    line.device.identity = lambda sequence, now_us: dataclasses.replace(  # type: ignore[method-assign]
        adopts(sequence, now_us), adoption=adoption
    )
    line.driver.connect(0)
    line.run(3500 * MS)
    (told,) = line.of(base.ConnectFailed)
    assert isinstance(told, base.ConnectFailed)
    assert isinstance(told.error, DeviceFault)
    assert "deadbeef" in str(told.error)
    assert "1.2.3" in str(told.error)
    assert not line.of(base.Identified)


def test_a_programme_is_loaded_after_its_limits() -> None:
    line = Line().loaded()
    kinds = [type(message) for message in line.device.received]
    assert kinds.index(SetLimits) < kinds.index(CommitProgram)
    (told,) = line.of(base.Loaded)
    assert isinstance(told, base.Loaded)
    assert told.program_digest == MADE.program.digest == line.device.program_digest
    assert told.limits_digest == line.device.limits_digest


@pytest.mark.parametrize("fault", ["lost", "duplicated", "corrupted"])
@pytest.mark.parametrize("way", ["to_device", "to_host"])
@pytest.mark.parametrize("frame_number", range(6))
def test_one_damaged_frame_anywhere_does_not_keep_a_set_up_from_ending_well(
    fault: str, way: str, frame_number: int
) -> None:
    line = Line()
    count = -1

    def disturb(frame: bytes) -> bytes:
        nonlocal count
        count += 1
        if count != frame_number:
            return frame
        if fault == "lost":
            return b""
        return frame * 2 if fault == "duplicated" else bytes([frame[0], frame[1] ^ 1]) + frame[2:]

    setattr(line, way, disturb)
    line.driver.connect(0)
    line.run(1500 * MS)
    assert len(line.of(base.Identified)) == 1
    line.driver.load(approved_load(line.device, line.now_us), line.now_us)
    line.run(1500 * MS)
    assert len(line.of(base.Loaded)) == 1
    assert not line.of(base.LoadFailed)
    assert not line.of(base.ConnectFailed)
    assert line.driver.next_deadline_us() is None


@pytest.mark.parametrize(("ignored", "what"), [(SetLimits, "limits"), (CommitProgram, "programme")])
def test_a_load_without_an_answer_ends(ignored: type, what: str) -> None:
    line = Line().connected()
    line.device.ignores = (ignored,)
    line.driver.load(approved_load(line.device, line.now_us), line.now_us)
    line.run(1500 * MS)
    (told,) = line.of(base.LoadFailed)
    assert isinstance(told, base.LoadFailed)
    assert isinstance(told.error, ReplyTimeout)
    assert what in str(told.error)
    assert len(line.device.of(ignored)) == 4


def test_answers_about_something_else_do_not_count() -> None:
    line = Line().connected()
    line.device.ignores = (SetLimits, CommitProgram)
    line.driver.load(approved_load(line.device, line.now_us), line.now_us)
    line.device.say(LimitsAccepted(0, 123))
    line.device.say(ProgramAccepted(0, 456))
    line.device.say(SelfTestReport(0, 7, 0))
    line.run(100 * MS)
    assert not line.of(base.Loaded)
    assert not line.device.of(CommitProgram)


@pytest.mark.parametrize(
    ("reason", "is_final"),
    [
        (RefusalReason.LIMIT, True),
        (RefusalReason.CAPABILITY, True),
        (RefusalReason.PROGRAM, False),
        (RefusalReason.PROGRAM_DIGEST, False),
    ],
)
def test_a_refused_load(reason: RefusalReason, is_final: bool) -> None:
    """What damage on the line may have caused is tried again; what was meant is not."""
    line = Line().connected()
    line.device.ignores = (CommitProgram,)
    line.driver.load(approved_load(line.device, line.now_us), line.now_us)
    line.run(20 * MS)
    line.device.say(Refused(0, CommitProgram.message_id, reason, 0, 255, 0, 0))
    line.run(20 * MS)
    assert bool(line.of(base.LoadFailed)) is is_final
    line.device.ignores = ()
    line.run(1000 * MS)
    assert bool(line.of(base.Loaded)) is not is_final


def test_a_load_that_is_refused_as_damaged_to_the_end_fails() -> None:
    line = Line().connected()
    line.device.ignores = (CommitProgram,)
    line.driver.load(approved_load(line.device, line.now_us), line.now_us)
    for _ in range(4):
        line.run(300 * MS)
        line.device.say(
            Refused(0, CommitProgram.message_id, RefusalReason.PROGRAM_DIGEST, 0, 255, 0, 0)
        )
    line.run(20 * MS)
    (told,) = line.of(base.LoadFailed)
    assert isinstance(told, base.LoadFailed)
    assert isinstance(told.error, LimitRefused)


def test_an_expired_approval_to_load_is_not_sent() -> None:
    """100 ms after the kernel gave it."""
    line = Line().connected()
    approval = approved_load(line.device, line.now_us)
    line.driver.load(approval, line.now_us + 100_001)
    line.run(20 * MS)
    assert not line.device.of(SetLimits)
    (told,) = line.of(base.LoadFailed)
    assert isinstance(told, base.LoadFailed)
    assert "expired" in str(told.error)
    line.driver.load(approval, approval.expires_us)
    line.run(20 * MS)
    assert line.device.of(SetLimits)


def test_a_late_answer_to_a_load_that_was_replaced_does_not_end_the_next() -> None:
    """The same programme with lower limits, whose SetLimits is lost: the device holds 40 mA yet."""
    line = Line().connected()
    line.device.ignores = (CommitProgram,)
    line.driver.load(approved_load(line.device, line.now_us), line.now_us)
    line.run(20 * MS)
    former_digest, commit_sequence = (
        line.device.limits_digest,
        line.driver._connection.last_sequence,
    )
    lower = prepared(patient_ceiling_ua=10_000)
    verdict = kernel.review_load(lower.program, lower.bounds, line.device.capabilities, line.now_us)
    assert isinstance(verdict, ApprovedLoad)
    assert verdict.program.digest == MADE.program.digest
    line.to_device = lambda frame: b""
    line.driver.load(verdict, line.now_us)
    line.pass_on()
    line.device.say(ProgramAccepted(commit_sequence, MADE.program.digest))
    line.pass_on()
    assert not line.of(base.Loaded)
    assert line.device.limits_digest == former_digest
    line.to_device, line.device.ignores = lambda frame: frame, ()
    line.run(1000 * MS)
    (told,) = line.of(base.Loaded)
    assert isinstance(told, base.Loaded)
    assert told.limits_digest == line.device.limits_digest == limits_digest(verdict.limits)


@pytest.mark.parametrize("kind", [LimitsAccepted, ProgramAccepted])
def test_an_answer_counts_only_where_it_is_one_to_this_load(kind: type) -> None:
    """The same programme and limits again: only `in_reply_to` tells the answers apart."""
    line = Line().connected()
    asked = SetLimits if kind is LimitsAccepted else CommitProgram
    line.device.ignores = (asked,)
    load = approved_load(line.device, line.now_us)
    line.driver.load(load, line.now_us)
    line.pass_on()
    line.pass_on()
    digests = {LimitsAccepted: limits_digest(load.limits), ProgramAccepted: load.program.digest}
    former = line.driver._connection.last_sequence
    line.driver.load(load, line.now_us)
    line.pass_on()
    line.pass_on()
    before = len(line.device.of(CommitProgram))
    line.device.say(kind(former, digests[kind]))
    line.pass_on()
    line.pass_on()
    assert not line.of(base.Loaded)
    assert len(line.device.of(CommitProgram)) == before
    line.device.say(kind(line.driver._connection.last_sequence, digests[kind]))
    line.device.ignores = ()
    line.run(100 * MS)
    assert len(line.of(base.Loaded)) == 1


@pytest.mark.parametrize("ends", [True, False])
def test_a_drive_refused_during_a_load_or_after_its_time_out_is_no_failed_load(ends: bool) -> None:
    line = Line().connected()
    line.device.ignores = (SetLimits,)
    line.driver.load(approved_load(line.device, line.now_us), line.now_us)
    line.run(1500 * MS if ends else 100 * MS)
    assert len(line.of(base.LoadFailed)) == ends
    line.device.say(Refused(0, Drive.message_id, RefusalReason.NOT_FROM_ZERO, 0, 255, 0, 0))
    line.pass_on()
    assert len(line.of(base.LoadFailed)) == ends
    (told,) = line.of(base.DriveRefused)
    assert isinstance(told, base.DriveRefused)
    assert told.is_drive


# Drives.


def test_no_drive_without_a_status() -> None:
    line = Line()
    line.driver.drive(approved(), 0)
    assert line.driver.take_output() == base.Output([], [], None)


def test_an_expired_approval_is_not_sent() -> None:
    line = Line().loaded()
    approval = approved((1000, 0), line.now_us)
    line.driver.drive(approval, line.now_us + 100_001)
    assert line.driver.take_output().drive is None
    line.driver.drive(approval, line.now_us + 100_000)
    assert line.driver.take_output().drive is not None


@pytest.mark.hazard(9)
def test_a_drive_says_everything_and_echoes_the_newest_tick() -> None:
    line = Line().loaded()
    for _ in range(3):
        line.now_us += 40 * MS
        line.status()
        line.driver.drive(approved((1000, 2000), line.now_us), line.now_us)
        line.pass_on()
        drive = line.device.of(Drive)[-1]
        assert drive.echoed_tick_ms == line.now_us // MS
        assert [row.target_ua for row in drive.targets] == [1000, 2000]
        assert drive.program_digest == line.device.program_digest
        assert drive.limits_digest == line.device.limits_digest
    _, *answered = line.of(base.RoundTrip)  # the first is that of the capabilities
    assert answered == [base.RoundTrip(0)] * 3


def test_only_the_newest_drive_waits() -> None:
    line = Line().loaded()
    for target_ua in (1000, 2000, 3000):
        line.driver.drive(approved((target_ua, 0), line.now_us), line.now_us)
    line.pass_on()
    (drive,) = line.device.of(Drive)
    assert drive.targets[0].target_ua == 3000


@pytest.mark.hazard(9)
def test_what_is_ordered_after_a_drive_does_not_make_it_old() -> None:
    """A device drops a frame whose number is not newer than the last."""
    line = Line().loaded()
    line.driver.drive(approved((1000, 0), line.now_us), line.now_us)
    line.driver.acknowledge(1, 0b10, line.now_us)
    line.pass_on()
    assert len(line.device.of(AcknowledgeFault)) == 1
    assert len(line.device.of(Drive)) == 1
    assert line.device.connection.dropped_count == 0
    line.now_us += 10 * MS
    line.status()
    assert line.of(base.RoundTrip)[-1] == base.RoundTrip(0)


def test_drives_that_are_never_answered_are_forgotten() -> None:
    line = Line().loaded()
    line.device.is_deaf = True
    for _ in range(100):
        line.driver.drive(approved((0, 0), line.now_us), line.now_us)
        line.pass_on()
    assert len(line.driver._drive_times_us) <= 33


# Stop.


def test_stop_drops_the_drive_that_waits_and_goes_first() -> None:
    line = Line().loaded()
    line.driver.drive(approved((3000, 0), line.now_us), line.now_us)
    line.driver.acknowledge(1, 0, line.now_us)
    line.driver.stop(line.now_us)
    output = line.driver.take_output()
    assert output.drive is None
    assert len(output.urgent) == 1
    assert len(output.ordered) == 1


def test_stop_is_sent_three_times_even_if_zero_is_shown_at_once() -> None:
    line = Line().loaded()
    line.driver.stop(line.now_us)
    line.run(500 * MS)
    assert len(line.device.of(Stop)) in (3, 4)
    assert line.driver.next_deadline_us() is None


@pytest.mark.hazard(31)
def test_stop_is_repeated_every_30_ms_until_a_status_shows_zero() -> None:
    line = Line().loaded()
    line.device.ignores = (Stop,)
    line.device.state = DeviceState.RUNNING
    line.device.setpoints = [3000, 0]
    line.driver.stop(line.now_us)
    for _ in range(100):
        line.status()
        line.run(10 * MS)
    assert 30 <= len(line.device.of(Stop)) <= 35
    line.device.state = DeviceState.SAFE
    line.status()
    line.run(100 * MS)
    assert line.driver.next_deadline_us() is not None, "a setpoint is left"
    line.device.setpoints = [0, 0]
    line.status()
    line.run(100 * MS)
    assert line.driver.next_deadline_us() is None


def test_stop_ends_a_load_for_good() -> None:
    line = Line().connected()
    line.device.ignores = (SetLimits,)
    load = approved_load(line.device, line.now_us)
    line.driver.load(load, line.now_us)
    line.pass_on()
    line.driver.stop(line.now_us)
    line.device.ignores = ()
    line.device.say(LimitsAccepted(0, limits_digest(load.limits)))
    line.run(1000 * MS)
    assert not line.device.of(CommitProgram)
    assert not line.of(base.Loaded)


# What comes in besides.


def test_a_refusal_is_told_in_words() -> None:
    line = Line().loaded()
    line.device.say(
        Refused(0, Drive.message_id, RefusalReason.LIMIT, amplitude_ua.wire_id, 1, 41_000, 40_000)
    )
    line.device.say(Refused(0, Drive.message_id, RefusalReason.NOT_FROM_ZERO, 0, 255, 0, 0))
    line.pass_on()
    told = [event.explanation for event in line.of(base.DriveRefused)]  # type: ignore[union-attr]
    assert told == [
        "channel 2: amplitude_ua: 41 mA asked, 40 mA allowed by the device",
        "not from zero",
    ]


def test_events_damage_and_other_hosts_are_told() -> None:
    line = Line().connected()
    line.device.say(Event(1, 5, EventCode.BOOTED, 255, 0))
    line.device.output += b"\x03damage\0"
    line.pass_on()
    line.device.connection.adopt(EPOCH + 1)
    line.device.say(line.device.identity(0, 0))
    line.device.send_status(0)
    line.pass_on()
    assert len(line.of(base.DeviceTold)) == 1
    assert len(line.of(base.LineDamaged)) == 2
    assert "another host" in line.of(base.LineDamaged)[1].explanation  # type: ignore[union-attr]


def test_an_acknowledgement_names_latch_and_channels() -> None:
    line = Line().connected()
    line.driver.acknowledge(513, 0b10, line.now_us)
    line.pass_on()
    assert line.device.of(AcknowledgeFault) == [AcknowledgeFault(513, 0b10)]


def test_a_second_identity_changes_nothing() -> None:
    line = Line().connected()
    line.device.serial_number = "OTHER"
    line.device.say(line.device.identity(0, 0))
    line.device.say(line.device.capabilities)
    line.run(100 * MS)
    assert len(line.of(base.Identified)) == 1
    assert not line.of(base.ConnectFailed)


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=400), max_size=10))
def test_no_bytes_raise(pieces: list[bytes]) -> None:
    line = Line().loaded()
    before = len(line.device.received)
    for piece in pieces:
        line.driver.receive(piece, line.now_us)
        line.events += line.driver.poll(line.now_us)
    assert line.driver.take_output() == base.Output([], [], None)
    assert len(line.device.received) == before
    line.driver.receive(b"\0", line.now_us)
    line.status()
    assert line.of(base.StatusSeen)


def test_every_failure_is_of_the_tree() -> None:
    line = Line()
    line.device.is_deaf = True
    line.driver.connect(0)
    line.run(4000 * MS)
    assert all(isinstance(t.error, EstimError) for t in line.of(base.ConnectFailed))  # type: ignore[union-attr]
