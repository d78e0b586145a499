"""The virtual stimulator itself: what it does with each message, without I/O.

Rules:
1. Any bytes may come in at any time; none raises an exception.
2. A Drive is obeyed whole or not at all, except that a fresh wish below RUNNING always is.
3. A Stop is obeyed in any state, epoch and order.
4. The same calls give the same bytes and the same trace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from estim.simulator.channel import OutputChannel
from estim.simulator.faults import Fault, Verb
from estim.simulator.gate import Gate, Refusal
from estim.simulator.load import Load
from estim.simulator.output_stage import OutputStage
from estim.simulator.reports import COUNT_MASK, Reports, status_running_us
from estim.simulator.settings import DeviceSettings
from estim.simulator.states import LEASE_MS, StateMachine
from estim.simulator.trace import TraceSink
from firmware_protocol.connection import Damaged, Received
from firmware_protocol.messages import (
    CHANNELS_MAX,
    KEYFRAMES_MAX,
    PROTOCOL_VERSION,
    AcknowledgeFault,
    Adoption,
    BeginProgram,
    CommitProgram,
    DeviceState,
    Drive,
    EventCode,
    GetCapabilities,
    GetEvents,
    Hello,
    Identity,
    InputFlag,
    LimitsAccepted,
    Message,
    PolicyFlag,
    ProgramAccepted,
    ProgramKeyframes,
    ProgramPhases,
    RefusalReason,
    SelfTest,
    SelfTestReport,
    SetLimits,
    Status,
    Stop,
    WantedState,
)

__all__ = ["DeviceSettings", "VirtualDevice"]

TICK_MODULUS = 1 << 32
FIRMWARE_VERSION = 1 << 16
LOADING_MESSAGES_MAX = 2 + CHANNELS_MAX * (1 + KEYFRAMES_MAX)
"""One more than any programme has, a keyframe in each message: enough to see that it is too much.
"""
SELF_TEST_CHECKS = 0b111
"""Memory, output stage, stop input."""


class VirtualDevice:
    """Behave as a stimulator: bytes in, bytes out, pulses to the trace, at the times given."""

    def __init__(self, settings: DeviceSettings, trace: TraceSink | None = None) -> None:
        self._settings = settings
        self._capabilities = settings.capabilities()
        self._channels = tuple(
            OutputChannel(
                number,
                OutputStage(settings.load, settings.compliance_mv),
                trace,
                has_trigger=settings.has_trigger,
            )
            for number in range(1, settings.channel_count + 1)
        )
        self._handlers: dict[type[Message], Callable[[Any, int, int], None]] = {
            Hello: self._on_hello,
            GetCapabilities: self._on_get_capabilities,
            SetLimits: self._on_set_limits,
            BeginProgram: self._on_begin_program,
            ProgramPhases: self._on_program_part,
            ProgramKeyframes: self._on_program_part,
            CommitProgram: self._on_commit_program,
            Drive: self._on_drive,
            Stop: self._on_stop,
            AcknowledgeFault: self._on_acknowledge,
            GetEvents: self._on_get_events,
            SelfTest: self._on_self_test,
        }
        self._boot(settings.boot_us, settings.battery_percent, is_stop_pressed=False)

    # The four methods of everything that stands at the end of a line.

    def receive(self, received: bytes, now_us: int) -> None:
        """Take bytes from the line; everything due before them happens first."""
        self.advance(now_us)
        if self._states.is_hung:
            return
        connection = self._reports.connection
        connection.receive_bytes(received)
        while (event := connection.next_event()) is not None:
            if isinstance(event, Received):
                self._act_on_message(event)
            elif isinstance(event, Damaged):
                self._states.note_damaged()
        self._states.settle(now_us)

    def advance(self, now_us: int) -> None:
        """Play every pulse and every timer that falls due up to `now_us`, in order of time.

        Raises:
            ValueError: time went backwards.
        """
        if now_us < self._states.now_us:
            raise ValueError(f"the device is at {self._states.now_us} us, later than {now_us}")
        if now_us > self._states.now_us:
            self._states.settle(now_us)

    def take_output(self, now_us: int) -> bytes:
        """Return the frames to send, the newest Status last; they are gone from here then."""
        self.advance(now_us)
        if self._states.is_hung:
            return b""
        if self._reports.take_status_wanted():
            self._reports.send(self._status())
        return self._reports.take()

    def next_deadline_us(self) -> int | None:
        """Return when a report or a timer is due next.

        Pulses are not deadlines: each is played at its own time whenever `advance` comes.
        """
        if self._states.is_hung:
            return None
        timer_us, report_us = self._states.next_timer_us(), self._reports.status_due_us
        if timer_us is None or report_us is None:
            return report_us if timer_us is None else timer_us
        return min(timer_us, report_us)

    # What the world does to the device.

    def play(self, fault: Fault, now_us: int) -> None:
        """Let a fault of `NATIVE_VERBS` happen that is none of the line's."""
        match fault.verb:
            case Verb.REBOOT:
                self.reboot(now_us)
            case Verb.HANG:
                self.hang(now_us)
            case Verb.LEAD_OFF | Verb.LEAD_ON:
                self.set_lead_off(fault.channel, fault.verb is Verb.LEAD_OFF, now_us)
            case Verb.LOAD if fault.load is not None:
                self.set_load(fault.channel, fault.load, now_us)
            case Verb.GAIN:
                self.set_gain(fault.channel, fault.amount, now_us)
            case Verb.PATIENT_STOP:
                self.set_patient_stop(bool(fault.amount), now_us)
            case Verb.BATTERY:
                self.set_battery(fault.amount, now_us)

    def set_load(self, channel_number: int, load: Load, now_us: int) -> None:
        """Put another load between a channel's leads; channels count from 1."""
        self.advance(now_us)
        self._channels[channel_number - 1].stage.connect(load)

    def set_lead_off(self, channel_number: int, is_off: bool, now_us: int) -> None:
        """Take a channel's lead off, or put it back."""
        self.advance(now_us)
        self._channels[channel_number - 1].stage.set_lead_off(is_off)

    def set_gain(self, channel_number: int, gain_permille: int, now_us: int) -> None:
        """Make a channel's output stage deliver more or less than it is told."""
        self.advance(now_us)
        self._channels[channel_number - 1].stage.set_gain(gain_permille)

    def set_patient_stop(self, is_pressed: bool, now_us: int) -> None:
        """Press or release the patient's own stop, where there is one."""
        self.advance(now_us)
        if self._settings.has_patient_stop:
            self._states.set_patient_stop(is_pressed)

    def set_battery(self, percent: int, now_us: int) -> None:
        """Set the charge of the supply; 255 is mains."""
        self.advance(now_us)
        self._states.set_battery(percent)

    def reboot(self, now_us: int) -> None:
        """Start again as after a reset; loads, charge and the stop's position stay."""
        self.advance(now_us)
        self._boot(now_us, self._states.battery_percent, self._states.is_stop_pressed)

    def hang(self, now_us: int) -> None:
        """Freeze with the output at zero (the watchdog's doing), deaf and mute until a reboot."""
        self.advance(now_us)
        self._states.hang()

    @property
    def state(self) -> DeviceState:
        """Return what the device is doing."""
        return self._states.state

    @property
    def is_energised(self) -> bool:
        """Tell whether the device is ARMED or RUNNING."""
        return self._states.is_energised

    def _boot(self, boot_us: int, battery_percent: int, is_stop_pressed: bool) -> None:
        for channel in self._channels:
            channel.unload_program()
            channel.is_latched = False
            channel.begin_running(boot_us)
        self._gate = Gate(self._capabilities, is_switched=self._settings.is_switched)
        self._reports = Reports()
        self._loading: list[Message] = []
        self._drive_sequence = 0
        self.ignored_count = 0
        self._states = StateMachine(
            boot_us, self._channels, self._gate, self._reports, battery_percent, is_stop_pressed
        )
        self._reports.running_us = status_running_us(self._status(), self._settings.baud)

    # Messages.

    def _act_on_message(self, received: Received) -> None:
        message = received.message
        # A Hello that comes while RUNNING is answered, not refused.
        if self._states.state not in message.allowed_in and not isinstance(message, Hello):
            self._reports.refuse(message, received.sequence, Refusal(RefusalReason.STATE))
            return
        self._handlers[type(message)](message, received.sequence, received.epoch)

    def _on_hello(self, hello: Hello, sequence: int, epoch: int) -> None:
        adoption = Adoption.ADOPTED
        if (hello.protocol_version, hello.schema_hash) != (
            PROTOCOL_VERSION,
            self._settings.schema_hash,
        ):
            adoption = Adoption.SCHEMA_MISMATCH
        elif self._states.state is DeviceState.RUNNING:
            adoption = Adoption.ENERGISED
        else:
            self._adopt(epoch, sequence)
        identity = Identity(
            in_reply_to=sequence,
            adoption=adoption,
            protocol_version=PROTOCOL_VERSION,
            schema_hash=self._settings.schema_hash,
            firmware_version=FIRMWARE_VERSION,
            tick_ms=self._states.tick_ms,
            state=self._states.state,
            model=self._settings.model,
            serial_number=self._settings.serial_number,
        )
        self._reports.send(identity, epoch)
        if adoption is Adoption.ADOPTED:
            self._states.emit(EventCode.EPOCH_ADOPTED)

    def _adopt(self, epoch: int, sequence: int) -> None:
        if self._states.state is DeviceState.ARMED:
            self._states.change(DeviceState.SAFE)
        self._states.lease_expiry_us = None
        self._reports.connection.adopt(epoch, sequence)
        self._reports.begin_epoch(self._states.now_us)
        self._gate.reset()
        self._loading.clear()
        for channel in self._channels:
            channel.unload_program()

    def _on_get_capabilities(self, _message: GetCapabilities, sequence: int, _epoch: int) -> None:
        self._reports.send(self._settings.capabilities(sequence))

    def _on_set_limits(self, asked: SetLimits, sequence: int, _epoch: int) -> None:
        refusal = self._gate.take_limits(asked)
        if refusal is not None:
            self._reports.refuse(asked, sequence, refusal)
        else:
            self._reports.send(LimitsAccepted(sequence, self._gate.limits_digest))

    def _on_begin_program(self, begin: BeginProgram, _sequence: int, _epoch: int) -> None:
        self._gate.unload()
        for channel in self._channels:
            channel.unload_program()
        self._loading = [begin]

    def _on_program_part(self, part: Message, _sequence: int, _epoch: int) -> None:
        if len(self._loading) < LOADING_MESSAGES_MAX:
            self._loading.append(part)

    def _on_commit_program(self, commit: CommitProgram, sequence: int, _epoch: int) -> None:
        loading = tuple(self._loading)
        self._loading.clear()
        refusal = self._gate.take_program(loading, commit.program_digest)
        if refusal is not None or self._gate.program is None:
            self._reports.refuse(commit, sequence, refusal or Refusal(RefusalReason.PROGRAM))
            return
        for channel in self._channels:
            channel.unload_program()
        for channel, program, shapes in zip(
            self._channels, self._gate.program.channels, self._gate.shapes, strict=False
        ):
            channel.load_program(program, shapes)
        self._reports.send(ProgramAccepted(sequence, self._gate.program_digest))

    def _on_drive(self, drive: Drive, sequence: int, _epoch: int) -> None:
        age_ms = (self._states.tick_ms - drive.echoed_tick_ms) % TICK_MODULUS
        if age_ms > LEASE_MS:
            # Stale or, modulo 2^32, from the future.
            self.ignored_count += 1
            return
        if drive.wanted_state is WantedState.RUNNING:
            refusal = self._drive_to_running(drive)
        else:
            refusal = self._drive_below_running(drive)
        self._answer_with_status()
        if refusal is not None:
            self._reports.refuse(drive, sequence, refusal)
            return
        self._drive_sequence = sequence
        self._states.renew_lease(age_ms)

    def _drive_below_running(self, drive: Drive) -> Refusal | None:
        if self._states.state is DeviceState.FAULT:
            return None
        was_safe = self._states.state is DeviceState.SAFE
        if drive.wanted_state is WantedState.SAFE:
            self._states.change(DeviceState.SAFE)
        elif self._states.state is DeviceState.RUNNING:
            self._states.change(DeviceState.ARMED)
        for index, row in enumerate(drive.targets):
            if row.target_ua:
                return Refusal(RefusalReason.NOT_FROM_ZERO, channel=index, asked=row.target_ua)
        if was_safe and drive.wanted_state is WantedState.ARMED:
            return self._arm(drive)
        return None

    def _arm(self, drive: Drive) -> Refusal | None:
        refusal = self._gate.review_digests(drive.program_digest, drive.limits_digest)
        if refusal is not None:
            return refusal
        needs_stop = PolicyFlag.REQUIRE_PATIENT_STOP in self._gate.session.policy
        if needs_stop and not self._settings.has_patient_stop:
            return Refusal(RefusalReason.PATIENT_STOP_MISSING)
        if not self._states.has_charge:
            return Refusal(RefusalReason.CAUSE_PRESENT, asked=self._states.battery_percent)
        self._states.change(DeviceState.ARMED)
        return None

    def _drive_to_running(self, drive: Drive) -> Refusal | None:
        if self._states.state is DeviceState.SAFE:
            return Refusal(RefusalReason.STEP_TOO_FAR)
        if self._states.state is DeviceState.FAULT:
            return Refusal(RefusalReason.FAULT_LATCHED)
        refusal = self._gate.review_digests(
            drive.program_digest, drive.limits_digest
        ) or self._gate.review_count(drive.targets)
        if refusal is not None:
            return refusal
        for index, row in enumerate(drive.targets):
            refusal = self._review_target(index, row.target_ua)
            if refusal is not None:
                return refusal
        if self._states.state is DeviceState.ARMED:
            self._states.change(DeviceState.RUNNING)
        for channel, row in zip(self._channels, drive.targets, strict=False):
            channel.set_target(row.target_ua)
        return None

    def _review_target(self, index: int, target_ua: int) -> Refusal | None:
        if target_ua and self._states.state is DeviceState.ARMED:
            return Refusal(RefusalReason.NOT_FROM_ZERO, channel=index, asked=target_ua)
        if target_ua and self._channels[index].is_latched:
            # The amplitude limit is named first, where both apply.
            return self._gate.review_amplitude(index, target_ua) or Refusal(
                RefusalReason.LEAD_OFF_LATCHED, channel=index, asked=target_ua
            )
        return self._gate.review_target(index, target_ua)

    def _on_stop(self, _stop: Stop, _sequence: int, _epoch: int) -> None:
        self._states.emit(EventCode.STOP_RECEIVED)
        if self._states.state is not DeviceState.FAULT:
            self._states.change(DeviceState.SAFE)
        self._answer_with_status()

    def _on_acknowledge(self, message: AcknowledgeFault, sequence: int, _epoch: int) -> None:
        refusal = self._acknowledge(message)
        if refusal is not None:
            self._reports.refuse(message, sequence, refusal)
        self._answer_with_status()

    def _acknowledge(self, message: AcknowledgeFault) -> Refusal | None:
        if message.latch_count != self._states.latch_count:
            return Refusal(
                RefusalReason.NOT_THE_LATEST,
                asked=message.latch_count,
                allowed=self._states.latch_count,
            )
        if message.channels >> len(self._channels):
            return Refusal(
                RefusalReason.CHANNELS, asked=message.channels, allowed=len(self._channels)
            )
        if not message.channels:
            return self._states.acknowledge_fault()
        for channel in self._channels:
            if message.channels >> (channel.number - 1) & 1 and channel.is_latched:
                channel.is_latched = False
                channel.forget_contact()
                self._states.emit(EventCode.LEAD_OFF_CLEARED, channel.number - 1)
        return None

    def _on_get_events(self, message: GetEvents, _sequence: int, _epoch: int) -> None:
        self._reports.resend_events(message.first_index)

    def _on_self_test(self, _message: SelfTest, sequence: int, _epoch: int) -> None:
        self._reports.send(SelfTestReport(sequence, passed=SELF_TEST_CHECKS, failed=0))

    def _answer_with_status(self) -> None:
        self._reports.answer_with_status(self._states.now_us, self._states.state)

    def _status(self) -> Status:
        inputs = InputFlag.NONE
        if self._settings.has_patient_stop:
            inputs = InputFlag.PATIENT_STOP_PRESENT
            if self._states.is_stop_pressed or self._states.is_stop_latched:
                inputs |= InputFlag.PATIENT_STOP_PRESSED
            if self._states.is_stop_tested:
                inputs |= InputFlag.PATIENT_STOP_TESTED
        states = self._states
        is_running = states.state is DeviceState.RUNNING
        return Status(
            tick_ms=states.tick_ms,
            state=states.state,
            fault=states.fault,
            latch_count=states.latch_count,
            inputs=inputs,
            battery_percent=states.battery_percent,
            drive_sequence=self._drive_sequence,
            program_digest=self._gate.program_digest,
            limits_digest=self._gate.limits_digest,
            refusal_count=self._reports.refusal_count,
            damaged_count=self._reports.connection.damaged_count & COUNT_MASK,
            event_count=self._reports.event_count,
            running_ms=states.running_ms,
            channels=tuple(
                [channel.status(is_running, states.now_us) for channel in self._channels]
            ),
        )
