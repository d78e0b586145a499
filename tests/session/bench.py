"""A bench for the session: the real loop, kernel, driver and record around a device moved by hand.

`HandDevice` is a device in as few lines as possible that speaks the real protocol; a test turns its
knobs to make it disobey, lie or fall silent. `Bench` is the world around `EngineLoop`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from estim.clock import VirtualClock
from estim.drivers.base import Output, Stimulator
from estim.drivers.native import NativeStimulator
from estim.engine.inhibit import Inhibitor
from estim.engine.loop import EngineLoop, Port
from estim.errors import EstimError, UsageError
from estim.prepare.session import REFERENCE, Prepared, prepare
from estim.profile.loader import load
from estim.record.journal import Journal
from estim.record.reader import read
from estim.record.writer import EventWriter, SynchronousWriter
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.states import ENERGISED, HostState
from firmware_protocol.connection import Connection, Received, Role
from firmware_protocol.messages import (
    NO_CHANNEL,
    PROTOCOL_VERSION,
    AcknowledgeFault,
    Adoption,
    Capabilities,
    ChannelFlag,
    ChannelStatus,
    CommitProgram,
    Contact,
    CyclePhase,
    DeviceState,
    Drive,
    FaultCode,
    GetCapabilities,
    Hello,
    Identity,
    InputFlag,
    LimitsAccepted,
    Message,
    ProgramAccepted,
    RefusalReason,
    Refused,
    SelfTest,
    SelfTestReport,
    SetLimits,
    Status,
    Stop,
    WantedState,
)
from firmware_protocol.schema import SCHEMA_HASH
from firmware_protocol.session_limits import limits_digest

MS = 1000
S = 1_000_000
EPOCH = 0x1234_5678_9ABC_DEF0
PROFILES = Path(__file__).parents[2] / "profiles"
STATUS_US = 25 * MS
HEADER: dict[str, Any] = {
    "schema": 1,
    "session_id": "2000-01-01-abc",
    "kind": "bench",
    "software": {"estim": "0.1.0", "sha256": "ab" * 32},
    "profile": {"id": "dpn-conventional", "version": "1.0.0", "sha256": "cd" * 32},
    "operator": "tech-7",
    "pseudonym": "P-0042",
    "bench_ohm": 500,
    "assets": [],
    "seed": 7,
    "clock": "virtual",
}


def two_channel_capabilities() -> Capabilities:
    return dataclasses.replace(REFERENCE, channel_count=2)


@functools.cache
def prepared(profile: str = "dpn-conventional", **options: Any) -> Prepared:
    """Return a shipped profile, prepared for the hand device."""
    loaded = load(PROFILES / f"{profile}.toml")
    options = {"is_bench": True, "sha256": loaded.sha256, **options}
    return prepare(loaded.profile, two_channel_capabilities(), **options)


class HandDevice:
    """Obey, unless a knob says otherwise."""

    def __init__(self, serial_number: str = "HAND-1") -> None:
        self.serial_number = serial_number
        self.capabilities = two_channel_capabilities()
        self.schema_hash = SCHEMA_HASH
        self.connection = Connection(Role.DEVICE)
        self.state = DeviceState.SAFE
        self.fault = FaultCode.NONE
        self.latch_count = 0
        self.inputs = InputFlag.NONE
        self.targets = [0, 0]
        self.setpoints = [0, 0]
        self.flags = [ChannelFlag.NONE, ChannelFlag.NONE]
        self.cycle_phases = [CyclePhase.IDLE, CyclePhase.IDLE]
        self.pulse_counts = [0, 0]
        self.program_digest = 0
        self.limits_digest = 0
        self.drive_sequence = 0
        self.received: list[Message] = []
        self.output = bytearray()
        self.is_silent = False
        self.is_deaf = False
        self.ignores: tuple[type[Message], ...] = ()
        self.lie: Callable[[Status], Status] = lambda status: status
        self.status_due_us = 0
        self.failed_checks = 0
        self.self_test_refusal: RefusalReason | None = None

    def say(self, message: Message) -> None:
        self.output += self.connection.send(message)

    def status(self, now_us: int) -> Status:
        rows = tuple(
            ChannelStatus(
                target_ua=self.targets[index],
                setpoint_ua=self.setpoints[index],
                peak_ua=self.setpoints[index],
                load_ohm=500,
                pulse_count=self.pulse_counts[index],
                contact=Contact.GOOD,
                cycle_phase=self.cycle_phases[index],
                flags=self.flags[index],
            )
            for index in range(2)
        )
        return self.lie(
            Status(
                tick_ms=now_us // MS % (1 << 32),
                state=self.state,
                fault=self.fault,
                latch_count=self.latch_count,
                inputs=self.inputs,
                battery_percent=255,
                drive_sequence=self.drive_sequence,
                program_digest=self.program_digest,
                limits_digest=self.limits_digest,
                refusal_count=0,
                damaged_count=0,
                event_count=0,
                running_ms=0,
                channels=rows,
            )
        )

    def send_status(self, now_us: int) -> None:
        if not self.is_silent and self.connection.epoch is not None:
            for index in range(2):
                self.pulse_counts[index] += self.setpoints[index] > 0
            self.say(self.status(now_us))
            self.status_due_us = now_us + STATUS_US

    def zero(self, state: DeviceState) -> None:
        self.targets, self.setpoints = [0, 0], [0, 0]
        if self.state is not DeviceState.FAULT:
            self.state = state

    def latch(self, fault: FaultCode) -> None:
        self.zero(DeviceState.FAULT)
        self.state, self.fault = DeviceState.FAULT, fault
        self.latch_count += 1

    def lead_off(self, index: int) -> None:
        self.flags[index] = ChannelFlag.LEAD_OFF_LATCHED
        self.targets[index] = self.setpoints[index] = 0
        self.latch_count += 1

    def receive(self, received: bytes, now_us: int) -> None:
        self.connection.receive_bytes(received)
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, Received):
                self.received.append(event.message)
                if not self.is_deaf and not isinstance(event.message, self.ignores):
                    self._act(event, now_us)

    def _act(self, event: Received, now_us: int) -> None:
        message, sequence = event.message, event.sequence
        match message:
            case Hello():
                self.connection.adopt(event.epoch, sequence)
                self.program_digest = 0
                if self.state is not DeviceState.FAULT:
                    self.zero(DeviceState.SAFE)
                self.say(self.identity(sequence, now_us))
            case GetCapabilities():
                self.say(dataclasses.replace(self.capabilities, in_reply_to=sequence))
                self.send_status(now_us)
            case SetLimits():
                self.limits_digest = limits_digest(message)
                self.say(LimitsAccepted(sequence, self.limits_digest))
            case CommitProgram():
                self.program_digest = message.program_digest
                self.say(ProgramAccepted(sequence, self.program_digest))
            case Drive():
                self.drive_sequence = sequence
                self._drive(message)
                self.send_status(now_us)
            case Stop():
                self.zero(DeviceState.SAFE)
                self.send_status(now_us)
            case SelfTest() if self.self_test_refusal is not None:
                self.say(
                    Refused(
                        sequence, SelfTest.message_id, self.self_test_refusal, 0, NO_CHANNEL, 0, 0
                    )
                )
            case SelfTest():
                self.say(SelfTestReport(sequence, 0b111 & ~self.failed_checks, self.failed_checks))
            case AcknowledgeFault(channels=0):
                self.state, self.fault = DeviceState.SAFE, FaultCode.NONE
            case AcknowledgeFault():
                for index in range(2):
                    if message.channels >> index & 1:
                        self.flags[index] = ChannelFlag.NONE

    def _drive(self, drive: Drive) -> None:
        if self.state is DeviceState.FAULT:
            return
        if drive.wanted_state is WantedState.SAFE:
            self.zero(DeviceState.SAFE)
        elif drive.wanted_state is WantedState.ARMED:
            self.zero(DeviceState.ARMED)
        else:
            self.state = DeviceState.RUNNING
            for index, row in enumerate(drive.targets):
                self.targets[index] = self.setpoints[index] = row.target_ua

    def identity(self, sequence: int, now_us: int) -> Identity:
        return Identity(
            in_reply_to=sequence,
            adoption=Adoption.ADOPTED,
            protocol_version=PROTOCOL_VERSION,
            schema_hash=self.schema_hash,
            firmware_version=0x010203,
            tick_ms=now_us // MS,
            state=self.state,
            model="HAND",
            serial_number=self.serial_number,
        )

    def of(self, kind: type[Message]) -> list[Any]:
        """Return the messages of a kind that came in."""
        return [message for message in self.received if isinstance(message, kind)]


class HeldWriter(SynchronousWriter):
    """Hold back the news that something is durable, for as long as a test likes."""

    def __init__(self, bench: Bench, journal: Journal) -> None:
        super().__init__(journal, self._told_durable, bench.on_record_failure)
        self._bench = bench

    def _told_durable(self, token: int) -> None:
        if self._bench.holds_durable:
            self._bench.held.append(token)
        else:
            self._bench.loop.durable(token)

    def submit(self, kind: str, content: Mapping[str, Any], **moment: Any) -> None:
        self._bench.submitted.append((kind, dict(content)))
        super().submit(kind, content, **moment)


class Bench:
    """The world around one visit; also its port."""

    def __init__(
        self,
        folder: Path,
        device: HandDevice | None = None,
        inhibitor: Inhibitor | None = None,
    ) -> None:
        self.folder = folder
        self.device = device or HandDevice()
        self.clock = VirtualClock(1_000_000)
        self.is_beating = True
        self.is_plugged = True
        self.is_slow_to_open = False
        self.open_error: EstimError | None = None
        self.holds_durable = False
        self.held: list[int] = []
        self.submitted: list[tuple[str, dict[str, Any]]] = []
        self.outcomes: dict[int, list[msg.Outcome]] = {}
        self.asked: list[int] = []
        self.notices: list[msg.Notice] = []
        self.snapshots: list[msg.Snapshot] = []
        self.told: list[msg.SelfTestSeen | msg.Frames] = []
        self.drive_held_us = 0
        self.driver: Stimulator | None = None
        self._next_id = 1
        self._beat_us = 0
        self.loop = EngineLoop(self, self.clock, inhibitor=inhibitor)

    # World and port.

    def open_port(self, url: str, now_us: int) -> tuple[Port, Stimulator] | None:
        if self.open_error is not None:
            raise self.open_error
        self.driver = NativeStimulator(EPOCH + now_us, url)
        self.is_plugged = True
        return None if self.is_slow_to_open else (self, self.driver)

    def make_writer(
        self,
        journal: Journal,
        on_durable: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> EventWriter:
        self.on_record_failure = on_failure
        return HeldWriter(self, journal)

    def say(self, reply: msg.Reply) -> None:
        if isinstance(reply, msg.Outcome):
            self.outcomes.setdefault(reply.request_id, []).append(reply)
        elif isinstance(reply, msg.Notice):
            self.notices.append(reply)
        elif isinstance(reply, msg.Snapshot):
            self.snapshots.append(reply)
        else:
            self.told.append(reply)

    def play_fault(self, line: str) -> None:
        raise UsageError("there is no simulator on this bench")

    def send(self, output: Output) -> None:
        if not self.is_plugged:
            return
        now_us = self.clock.now_us()
        sending = b"".join((*output.urgent, *output.ordered, output.drive or b""))
        self.device.receive(sending, now_us)
        if output.drive is not None:
            self.loop.post(ev.DriveWritten(now_us))

    def close(self) -> None:
        self.is_plugged = False

    # What a test does.

    @property
    def core(self) -> Any:
        return self.loop.core

    @property
    def state(self) -> HostState:
        return self.loop.core.state  # asked anew each time, whatever a type checker has concluded

    def ask(self, kind: type, *args: Any, **fields: Any) -> int:
        """Make a request and return its id; what clears a latch was seen, unless a test says so."""
        if kind in (msg.Acknowledge, msg.Rearm):
            fields.setdefault("latch_count", self.core.latch_count)
        request_id, self._next_id = self._next_id, self._next_id + 1
        self.asked.append(request_id)
        self.loop.post(ev.RequestMade(kind(request_id, *args, **fields)))
        return request_id

    def outcome(self, request_id: int) -> msg.Outcome | None:
        """Return the one outcome of a request, None for none yet; two are a failure."""
        found = self.outcomes.get(request_id, [])
        assert len(found) <= 1, found
        return found[0] if found else None

    def why(self, request_id: int) -> str:
        """Return why a request was refused; fail where it was not."""
        outcome = self.outcome(request_id)
        assert outcome is not None
        assert not outcome.is_done
        return "; ".join(outcome.reasons)

    def is_done(self, request_id: int) -> bool:
        outcome = self.outcome(request_id)
        return outcome is not None and outcome.is_done

    def run(self, duration_us: int, step_us: int = 5 * MS) -> None:
        """Let time pass in small steps, with heartbeats and Status."""
        end_us = self.clock.now_us() + duration_us
        while self.clock.now_us() < end_us and not self.loop.has_ended:
            self.step(min(step_us, end_us - self.clock.now_us()))

    def step(self, step_us: int) -> None:
        now_us = self.clock.now_us() + step_us
        self.clock.advance_to(now_us)
        self.loop.wake()
        if self.is_beating and now_us - self._beat_us >= 100 * MS:
            self._beat_us = now_us
            self.loop.post(ev.RequestMade(msg.Heartbeat(now_us)))
        device = self.device
        if self.is_plugged:
            if now_us >= device.status_due_us:
                device.send_status(now_us)
            received, device.output = bytes(device.output), bytearray()
            if received:
                self.loop.receive(received)
        self.loop.turn()

    def until(self, is_reached: Callable[[], bool], limit_us: int = 3 * S) -> None:
        end_us = self.clock.now_us() + limit_us
        while not is_reached():
            assert self.clock.now_us() < end_us, (self.state, self.notices, self.outcomes)
            self.step(5 * MS)

    def settle(self, request_id: int) -> bool:
        """Let time pass until a request is answered; tell whether it was done."""
        self.until(lambda: self.outcome(request_id) is not None)
        return self.is_done(request_id)

    def kinds(self) -> list[str]:
        """Return the kinds of event submitted to the record."""
        return [kind for kind, _ in self.submitted]

    # Steps of a session.

    def open_record(self, **changes: Any) -> None:
        folder, header = str(self.folder), HEADER | changes
        assert self.settle(self.ask(msg.OpenRecord, folder, folder, HEADER["session_id"], header))

    def connect(self) -> None:
        assert self.settle(self.ask(msg.Connect, "native:/dev/hand"))

    def prepare_request(self, made: Prepared | None = None) -> tuple[Any, ...]:
        made = made or prepared()
        return made.program.canonical_bytes().hex(), made.bounds, made.settings

    def prepare(self, made: Prepared | None = None) -> None:
        assert self.settle(self.ask(msg.Prepare, *self.prepare_request(made)))

    def to(self, state: HostState, made: Prepared | None = None) -> Bench:
        """Bring a fresh bench to a state, with programme and record where it has them."""
        steps: list[tuple[HostState, Callable[[], object]]] = [
            (HostState.DISCONNECTED, self.open_record),
            (HostState.IDENTIFIED, self.connect),
            (HostState.READY, lambda: self.prepare(made)),
            (HostState.ARMED, lambda: self.settle(self.ask(msg.Arm))),
            (HostState.RUNNING, lambda: self.settle(self.ask(msg.Start))),
        ]
        for reached, step in steps:
            step()
            assert self.state is reached, (self.state, self.notices, self.outcomes)
            if reached is state:
                return self
        if state is HostState.STOPPING:
            self.device.is_deaf = True
            self.ask(msg.Stop)
        elif state is HostState.FAULT:
            self.device.latch(FaultCode.OVERCURRENT)
            self.until(lambda: self.state is HostState.FAULT)
        else:
            self.settle(self.ask(msg.Stop))
            self.settle(self.ask(msg.CloseVisit))
        assert self.state is state
        return self

    def raise_to(self, *targets_ua: int) -> None:
        assert self.settle(self.ask(msg.SetTargets, targets_ua))
        self.run(60 * MS)
        assert list(self.core.targets_ua) == list(targets_ua)

    def is_off(self) -> bool:
        """Tell whether the device is at zero and the host wants nothing."""
        return (
            not any(self.device.setpoints)
            and self.device.state is not DeviceState.RUNNING
            and self.state not in ENERGISED
            and not any(self.core.targets_ua)
        )

    def record(self) -> list[Any]:
        return list(read(self.folder / f"{HEADER['session_id']}.jsonl").events)
