"""The simulated device, put into a state of the model, moved one step, and read back."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from estim.prepare.session import REFERENCE
from estim.safety.kernel import device_limits
from estim.simulator.channel import Finding
from estim.simulator.device import DeviceSettings, VirtualDevice
from firmware_protocol.connection import Connection, Received, Role
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    AcknowledgeFault,
    CommitProgram,
    Contact,
    DeviceState,
    Drive,
    FaultCode,
    Hello,
    Message,
    Status,
    Stop,
    TargetRow,
)
from firmware_protocol.schema import SCHEMA_HASH
from firmware_protocol.session_limits import limits_digest
from tests.model import words
from tests.model.device import ENERGISED
from tests.model.host_steps import bounds, programme
from tests.model.words import UNIT_UA, Bound, Device, Frame

EPOCHS = {1: 0x1111, 2: 0x2222}
NOW_US = 10_000_000
LATCHES = 5
NEWEST, LATE = 100, 99


class Outcome(NamedTuple):
    """What is compared after a step of a device; `lease` in ticks begun."""

    state: DeviceState
    fault: FaultCode
    setpoints: tuple[int, ...]
    targets: tuple[int, ...]
    latched: int
    is_loaded: bool
    epoch: int
    lease: int
    has_latched: bool
    has_told: bool


class RealDevice:
    """A virtual stimulator in a state of the model."""

    def __init__(self, bound: Bound, device: Device) -> None:
        self.bound, self.tick_us = bound, bound.tick_ms * 1000
        self.now_us = NOW_US
        self.program = programme(bound.channels)
        capabilities = dataclasses.replace(REFERENCE, channel_count=bound.channels)
        self.limits = device_limits(self.program, bounds(bound.channels, bound.top), capabilities)
        self.device = real = VirtualDevice(DeviceSettings(channel_count=bound.channels))
        self.sequence = 0
        if device.epoch:
            self._send(Hello(PROTOCOL_VERSION, SCHEMA_HASH), device.epoch, at_us=0)
            if device.is_loaded:
                self._load(device.epoch, at_us=0)
        real.advance(NOW_US)
        states = real._states
        if device.state is DeviceState.RUNNING:
            states.change(DeviceState.ARMED)
        if device.state is not DeviceState.FAULT:
            states.change(device.state)
        else:
            states.state = device.state
        states.fault, states.latch_count = device.fault, LATCHES
        states.is_stop_pressed = device.is_pressed
        states.is_stop_latched = device.fault is FaultCode.PATIENT_STOP
        states.lease_expiry_us = NOW_US + device.lease * self.tick_us if device.lease else None
        for index, channel in enumerate(real._channels):
            channel.target_ua = device.targets[index] * UNIT_UA
            channel.setpoint_ua = device.setpoints[index] * UNIT_UA
            channel.is_latched = bool(device.latched >> index & 1)
            if device.good >> index & 1:
                channel.contact = Contact.GOOD
        real.take_output(NOW_US)
        if device.epoch:
            real._reports.connection._newest_received = NEWEST
        self.sequence = NEWEST + 1
        self.sent: list[Message] = []

    def play(self, event: str, frame: Frame | None) -> bool:
        """Let an event of the model happen; False where it is a pulse's or the judge's."""
        name, _, argument = event.partition(" ")
        real = self.device
        if frame is not None:
            self._receive(frame)
        elif name == "tick":
            self.now_us += self.tick_us
        elif name in ("pressed", "released"):
            real.set_patient_stop(name == "pressed", self.now_us)
        elif name == "defect":
            real._states.latch_fault(FaultCode.OVERCURRENT)
        elif name == "electrode_off":
            real._states._act_on_finding(Finding.LEAD_OFF, real._channels[int(argument)])
        elif name == "rebooted":
            real.reboot(self.now_us)
        else:
            return False
        self._collect()
        return True

    def read(self) -> Outcome:
        """Return where the device stands, in the words of the model."""
        states, channels = self.device._states, self.device._channels
        epoch = self.device._reports.connection.epoch
        left_us = (states.lease_expiry_us or 0) - self.now_us
        is_energised = states.state in ENERGISED
        return Outcome(
            state=states.state,
            fault=states.fault,
            setpoints=tuple(channel.setpoint_ua // UNIT_UA for channel in channels),
            targets=tuple(channel.target_ua // UNIT_UA for channel in channels),
            latched=sum(channel.is_latched << index for index, channel in enumerate(channels)),
            is_loaded=self.device._gate.program is not None,
            epoch=next((name for name, number in EPOCHS.items() if number == epoch), 0),
            lease=-(-left_us // self.tick_us) if is_energised else 0,
            has_latched=states.latch_count not in (LATCHES, 0),
            has_told=any(isinstance(message, Status) for message in self.sent),
        )

    def _receive(self, frame: Frame) -> None:
        if isinstance(frame, words.Load):
            self._load(frame.epoch, is_late=frame.is_late)
            return
        message: Message
        if isinstance(frame, words.Hello):
            message = Hello(PROTOCOL_VERSION, SCHEMA_HASH)
        elif isinstance(frame, words.Stop):
            message = Stop()
        elif isinstance(frame, words.Acknowledge):
            message = AcknowledgeFault(LATCHES - (not frame.is_latest), frame.channel_mask)
        else:
            assert isinstance(frame, words.Drive)
            has = frame.has_digests
            message = Drive(
                wanted_state=frame.wanted,
                echoed_tick_ms=self.now_us // 1000 - frame.echo_age * self.bound.tick_ms,
                program_digest=self.program.digest if has else 0,
                limits_digest=limits_digest(self.limits) if has else 0,
                targets=tuple(TargetRow(level * UNIT_UA) for level in frame.targets),
            )
        epoch = 1 if isinstance(frame, words.Stop) else frame.epoch
        is_late = not isinstance(frame, words.Stop | words.Hello) and frame.is_late
        self._send(message, epoch, is_late=is_late)

    def _load(self, epoch: int, at_us: int = NOW_US, is_late: bool = False) -> None:
        for message in (self.limits, *self.program.messages(), CommitProgram(self.program.digest)):
            self._send(message, epoch, at_us, is_late)

    def _send(
        self, message: Message, epoch: int, at_us: int = NOW_US, is_late: bool = False
    ) -> None:
        line = Connection(Role.HOST, EPOCHS[epoch])
        line._next_sequence = LATE if is_late else self.sequence
        self.sequence += not is_late
        self.device.receive(line.send(message), at_us)

    def _collect(self) -> None:
        line = Connection(Role.HOST, self.device._reports.connection.epoch)
        line.receive_bytes(self.device.take_output(self.now_us))
        while (event := line.next_event()) is not None:
            if isinstance(event, Received):
                self.sent.append(event.message)


def modelled(after: Device, sent: tuple[Frame, ...], has_latched: bool) -> Outcome:
    """Return the same of a step of the model."""
    return Outcome(
        state=after.state,
        fault=after.fault,
        setpoints=after.setpoints,
        targets=after.targets,
        latched=after.latched,
        is_loaded=after.is_loaded,
        epoch=after.epoch,
        lease=after.lease,
        has_latched=has_latched,
        has_told=any(isinstance(frame, words.Status) for frame in sent),
    )


def comparable(outcome: Outcome, event: str) -> Outcome:
    """Leave out what one tick of pulses does to setpoints, and how often a Status comes at rest."""
    if event == "tick":
        return outcome._replace(setpoints=(), has_told=False)
    if event == "rebooted":
        return outcome._replace(has_latched=False)
    return outcome
