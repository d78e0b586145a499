"""The virtual stimulator itself: states, lease, epochs and messages, without I/O.

Rules:
1. Output is possible in RUNNING alone; everything below it is zero.
2. Everything happens at its own scheduled time, in order of time, however late `advance` is
   called: no pulse begins at or after the expiry of the lease.
3. Any bytes may come in at any time; none raises an exception.
4. The same calls give the same bytes and the same trace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from estim.simulator.channel import Finding, OutputChannel
from estim.simulator.gate import NO_CHANNEL, Gate, Refusal
from estim.simulator.interpreter import ChannelPlayer
from estim.simulator.load import Load
from estim.simulator.output_stage import OutputStage
from estim.simulator.reports import COUNT_MASK, Reports, status_running_us
from estim.simulator.settings import DeviceSettings
from estim.simulator.trace import TraceSink
from firmware_protocol import limits
from firmware_protocol.connection import Damaged, Received
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    AcknowledgeFault,
    Adoption,
    BeginProgram,
    CommitProgram,
    DeviceState,
    Drive,
    EventCode,
    FaultCode,
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

US_PER_MS = 1000
US_PER_S = 1_000_000
TICK_MODULUS = 1 << 32

FIRMWARE_VERSION = 1 << 16
LOADING_MESSAGES_MAX = 64
"""More than any programme has: 4 channels of phases and two messages of keyframes."""
BATTERY_LOW_PERCENT = 10
"""Below it the device does not arm."""
BATTERY_EMPTY_PERCENT = 5
"""Below it the supply can no longer be trusted with output."""
SELF_TEST_CHECKS = 0b111
"""Memory, output stage, stop input."""

ENERGISED = frozenset({DeviceState.ARMED, DeviceState.RUNNING})


class VirtualDevice:
    """Behave as a stimulator: bytes in, bytes out, pulses to the trace, at the times given."""

    def __init__(self, settings: DeviceSettings, trace: TraceSink | None = None) -> None:
        self._settings = settings
        self._trace = trace
        self._now_us = settings.boot_us
        self._battery_percent = settings.battery_percent
        self._is_stop_pressed = False
        self.channels = tuple(
            OutputChannel(number, OutputStage(settings.load, settings.compliance_mv), trace)
            for number in range(1, settings.channel_count + 1)
        )
        self._capabilities = settings.capabilities()
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
        self._boot(settings.boot_us)

    # What the line does.

    def receive(self, received: bytes, now_us: int) -> None:
        """Take bytes from the line; everything due before them happens first."""
        self.advance(now_us)
        if self._is_hung:
            return
        connection = self._reports.connection
        connection.receive_bytes(received)
        while (event := connection.next_event()) is not None:
            if isinstance(event, Received):
                self._act_on_message(event)
            elif isinstance(event, Damaged):
                self._note_damaged()
        self._settle(now_us)

    def take_output(self, now_us: int) -> bytes:
        """Return the frames to send, the newest Status last; they are gone from here then."""
        self.advance(now_us)
        if self._is_hung:
            return b""
        if self._reports.take_status_wanted():
            self._reports.send(self._status())
        return self._reports.take()

    # What time does.

    def advance(self, now_us: int) -> None:
        """Play every pulse and every timer that falls due up to `now_us`, in order of time.

        Raises:
            ValueError: time went backwards.
        """
        if now_us < self._now_us:
            raise ValueError(f"the device is at {self._now_us} us and cannot go back to {now_us}")
        if now_us > self._now_us:
            self._settle(now_us)

    def _settle(self, now_us: int) -> None:
        """Let everything happen that is due up to `now_us`."""
        while not self._is_hung:
            timer = self._next_timer()
            is_timer_due = timer is not None and timer[0] <= now_us
            until_us = timer[0] - 1 if timer is not None and is_timer_due else now_us
            if self.state is DeviceState.RUNNING and not self._play_until(until_us):
                continue
            if timer is None or not is_timer_due:
                break
            # A lease may be accepted in the very millisecond in which it ends.
            self._now_us = max(self._now_us, timer[0])
            timer[1]()
        self._now_us = now_us
        self._reports.note_time(now_us, self.state)

    def next_deadline_us(self) -> int | None:
        """Return when a report or a timer is due next.

        Pulses are not deadlines: each is played at its own time whenever `advance` comes.
        """
        if self._is_hung:
            return None
        timer = self._next_timer()
        due = [] if timer is None else [timer[0]]
        if self._reports.status_due_us is not None:
            due.append(self._reports.status_due_us)
        return min(due, default=None)

    # What the world does to the device.

    def set_load(self, channel_number: int, load: Load, now_us: int) -> None:
        """Put another load between a channel's leads; channels count from 1."""
        self.advance(now_us)
        self.channels[channel_number - 1].stage.connect(load)

    def set_lead_off(self, channel_number: int, is_off: bool, now_us: int) -> None:
        """Take a channel's lead off, or put it back."""
        self.advance(now_us)
        self.channels[channel_number - 1].stage.set_lead_off(is_off)

    def set_gain(self, channel_number: int, gain_permille: int, now_us: int) -> None:
        """Make a channel's output stage deliver more or less than it is told."""
        self.advance(now_us)
        self.channels[channel_number - 1].stage.set_gain(gain_permille)

    def set_patient_stop(self, is_pressed: bool, now_us: int) -> None:
        """Press or release the patient's own stop."""
        self.advance(now_us)
        if not self._settings.has_patient_stop or is_pressed is self._is_stop_pressed:
            return
        self._is_stop_pressed = is_pressed
        if not self._is_hung:
            self._emit(EventCode.PATIENT_STOP, detail=int(is_pressed))
            if is_pressed:
                self._latch_patient_stop()

    def set_battery(self, percent: int, now_us: int) -> None:
        """Set the charge of the supply; 255 is mains."""
        self.advance(now_us)
        self._battery_percent = percent
        if percent < BATTERY_EMPTY_PERCENT and not self._is_hung:
            self._latch_fault(FaultCode.SUPPLY)

    def reboot(self, now_us: int) -> None:
        """Start again as after a reset; loads, charge and the stop's position stay."""
        self.advance(now_us)
        self._boot(now_us)

    def hang(self, now_us: int) -> None:
        """Freeze with the output at zero (the watchdog's doing), deaf and mute until a reboot."""
        self.advance(now_us)
        self._change_state(DeviceState.SAFE)
        self._reports.take()
        self._is_hung = True

    @property
    def is_energised(self) -> bool:
        """Tell whether the device is ARMED or RUNNING."""
        return self.state in ENERGISED

    # Boot and states.

    def _boot(self, boot_us: int) -> None:
        self._boot_us = boot_us
        self._reports = Reports()
        self._gate = Gate(self._capabilities)
        self._loading: list[Message] = []
        self._damaged_at_us: deque[int] = deque(maxlen=limits.line_errors_per_s.maximum)
        self.state = DeviceState.SAFE
        self.fault = FaultCode.NONE
        self.ignored_count = 0
        self._is_hung = False
        self._is_stop_latched = False
        self._is_stop_tested = False
        self._lease_expiry_us: int | None = None
        self._playing: tuple[tuple[OutputChannel, ChannelPlayer], ...] = ()
        self._run_us = boot_us
        self._ran_ms = 0
        self._latch_count = 0
        self._drive_sequence = 0
        for channel in self.channels:
            channel.unload_program()
            channel.is_latched = False
            channel.begin_running(boot_us)
        self._reports.running_us = status_running_us(self._status(), self._settings.baud)
        self._emit(EventCode.BOOTED)
        if self._is_stop_pressed:
            self._latch_patient_stop()

    def _change_state(self, state: DeviceState) -> None:
        if state is self.state:
            return
        if self.state is DeviceState.RUNNING:
            self._ran_ms = (self._now_us - self._run_us) // US_PER_MS
            for channel in self.channels:
                channel.zero()
        if state not in ENERGISED:
            self._damaged_at_us.clear()
        self.state = state
        self._emit(EventCode.STATE_CHANGED, detail=int(state))
        if state is DeviceState.RUNNING:
            self._run_us = self._now_us
            self._playing = tuple((c, c.player) for c in self.channels if c.player is not None)
            for channel in self.channels:
                channel.begin_running(self._run_us)

    def _latch_fault(self, fault: FaultCode) -> None:
        self._change_state(DeviceState.FAULT)
        self.fault = fault
        self._latch_count = (self._latch_count + 1) & COUNT_MASK
        self._emit(EventCode.FAULT_LATCHED, detail=int(fault))

    def _latch_patient_stop(self) -> None:
        self._is_stop_latched = True
        self._is_stop_tested = True
        self._latch_fault(FaultCode.PATIENT_STOP)

    def _next_timer(self) -> tuple[int, Callable[[], None]] | None:
        """Return when the device changes its state by itself next, and how."""
        if self.state not in ENERGISED or self._lease_expiry_us is None:
            return None
        if self.state is DeviceState.RUNNING:
            over_ms = self._gate.session.running_ms + 1
            over_us = self._run_us + over_ms * US_PER_MS
            if over_us < self._lease_expiry_us:
                return over_us, self._end_running_time
        return self._lease_expiry_us, self._expire_lease

    def _expire_lease(self) -> None:
        if self.state is DeviceState.RUNNING:
            self._latch_fault(FaultCode.LEASE_EXPIRED)
        else:
            self._change_state(DeviceState.SAFE)

    def _end_running_time(self) -> None:
        self._latch_fault(FaultCode.RUNNING_TIME)

    # Pulses.

    def _play_until(self, until_us: int) -> bool:
        """Play every pulse with its onset up to `until_us`; tell whether still RUNNING."""
        session = self._gate.session
        while True:
            channel, player = self._playing[0]
            for other in self._playing:
                if other[1].next_us < player.next_us:
                    channel, player = other
            onset_us = player.next_us
            if onset_us > until_us:
                return True
            finding = channel.play(player, session)
            if finding is not Finding.NOTHING:
                self._now_us = onset_us
                self._act_on_finding(finding, channel)
                if self.state is not DeviceState.RUNNING:
                    return False

    def _act_on_finding(self, finding: Finding, channel: OutputChannel) -> None:
        index = channel.number - 1
        if finding is Finding.CONTACT_GOOD:
            self._emit(EventCode.CONTACT_GOOD, index, channel.load_ohm)
        elif finding is Finding.OVERCURRENT:
            self._latch_fault(FaultCode.OVERCURRENT)
        elif finding is Finding.LEAD_OFF:
            stops_all = PolicyFlag.LEAD_OFF_STOPS_ALL in self._gate.session.policy
            for other in self.channels if stops_all else (channel,):
                other.latch_lead_off()
            self._latch_count = (self._latch_count + 1) & COUNT_MASK
            self._emit(EventCode.LEAD_OFF, index, channel.load_ohm)

    # Messages.

    def _act_on_message(self, received: Received) -> None:
        message = received.message
        # A Hello that comes while RUNNING is answered, not refused.
        if self.state not in message.allowed_in and not isinstance(message, Hello):
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
        elif self.state is DeviceState.RUNNING:
            adoption = Adoption.ENERGISED
        else:
            self._adopt(epoch, sequence)
        identity = Identity(
            in_reply_to=sequence,
            adoption=adoption,
            protocol_version=PROTOCOL_VERSION,
            schema_hash=self._settings.schema_hash,
            firmware_version=FIRMWARE_VERSION,
            tick_ms=self._tick_ms(),
            state=self.state,
            model=self._settings.model,
            serial_number=self._settings.serial_number,
        )
        self._reports.send(identity, epoch)
        if adoption is Adoption.ADOPTED:
            self._emit(EventCode.EPOCH_ADOPTED)

    def _adopt(self, epoch: int, sequence: int) -> None:
        self._reports.connection.adopt(epoch, sequence)
        if self.state is DeviceState.ARMED:
            self._change_state(DeviceState.SAFE)
        self._gate.reset()
        self._loading.clear()
        self._lease_expiry_us = None
        for channel in self.channels:
            channel.zero()
            channel.unload_program()
        self._reports.begin_epoch(self._now_us)

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
        for channel in self.channels:
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
        for channel in self.channels:
            channel.unload_program()
        for channel, program, shapes in zip(
            self.channels, self._gate.program.channels, self._gate.shapes, strict=False
        ):
            channel.load_program(program, shapes)
        self._reports.send(ProgramAccepted(sequence, self._gate.program_digest))

    def _on_drive(self, drive: Drive, sequence: int, _epoch: int) -> None:
        age_ms = (self._tick_ms() - drive.echoed_tick_ms) % TICK_MODULUS
        if age_ms > limits.lease_ms.maximum:
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
        echoed_ms = (self._now_us - self._boot_us) // US_PER_MS - age_ms
        expiry_us = self._boot_us + (echoed_ms + limits.lease_ms.maximum) * US_PER_MS
        self._lease_expiry_us = max(self._lease_expiry_us or expiry_us, expiry_us)

    def _drive_below_running(self, drive: Drive) -> Refusal | None:
        if self.state is DeviceState.FAULT:
            return None
        was_safe = self.state is DeviceState.SAFE
        if drive.wanted_state is WantedState.SAFE:
            self._change_state(DeviceState.SAFE)
        elif self.state is DeviceState.RUNNING:
            self._change_state(DeviceState.ARMED)
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
        if self._battery_percent < BATTERY_LOW_PERCENT:
            return Refusal(
                RefusalReason.CAUSE_PRESENT,
                asked=self._battery_percent,
                allowed=BATTERY_LOW_PERCENT,
            )
        self._change_state(DeviceState.ARMED)
        return None

    def _drive_to_running(self, drive: Drive) -> Refusal | None:
        if self.state is DeviceState.SAFE:
            return Refusal(RefusalReason.STEP_TOO_FAR)
        if self.state is DeviceState.FAULT:
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
        if self.state is DeviceState.ARMED:
            self._change_state(DeviceState.RUNNING)
        for channel, row in zip(self.channels, drive.targets, strict=False):
            channel.set_target(row.target_ua)
        return None

    def _review_target(self, index: int, target_ua: int) -> Refusal | None:
        if target_ua and self.state is DeviceState.ARMED:
            return Refusal(RefusalReason.NOT_FROM_ZERO, channel=index, asked=target_ua)
        if target_ua and self.channels[index].is_latched:
            # The amplitude limit is named first, where both apply.
            return self._gate.review_amplitude(index, target_ua) or Refusal(
                RefusalReason.LEAD_OFF_LATCHED, channel=index, asked=target_ua
            )
        return self._gate.review_target(index, target_ua)

    def _on_stop(self, _stop: Stop, _sequence: int, _epoch: int) -> None:
        self._emit(EventCode.STOP_RECEIVED)
        if self.state is not DeviceState.FAULT:
            self._change_state(DeviceState.SAFE)
        self._answer_with_status()

    def _on_acknowledge(self, message: AcknowledgeFault, sequence: int, _epoch: int) -> None:
        refusal = self._acknowledge(message)
        if refusal is not None:
            self._reports.refuse(message, sequence, refusal)
        self._answer_with_status()

    def _acknowledge(self, message: AcknowledgeFault) -> Refusal | None:
        if message.latch_count != self._latch_count:
            return Refusal(
                RefusalReason.NOT_THE_LATEST, asked=message.latch_count, allowed=self._latch_count
            )
        if message.channels >> len(self.channels):
            return Refusal(
                RefusalReason.CHANNELS, asked=message.channels, allowed=len(self.channels)
            )
        if not message.channels:
            return self._acknowledge_fault()
        for channel in self.channels:
            if message.channels >> (channel.number - 1) & 1 and channel.is_latched:
                channel.is_latched = False
                channel.forget_contact()
                self._emit(EventCode.LEAD_OFF_CLEARED, channel.number - 1)
        return None

    def _acknowledge_fault(self) -> Refusal | None:
        if self.state is not DeviceState.FAULT:
            return Refusal(RefusalReason.STATE)
        if self._is_stop_pressed or self._battery_percent < BATTERY_EMPTY_PERCENT:
            return Refusal(RefusalReason.CAUSE_PRESENT)
        cleared = self.fault
        self._is_stop_latched = False
        self.fault = FaultCode.NONE
        self._change_state(DeviceState.SAFE)
        self._emit(EventCode.FAULT_CLEARED, detail=int(cleared))
        return None

    def _on_get_events(self, message: GetEvents, _sequence: int, _epoch: int) -> None:
        self._reports.resend_events(message.first_index)

    def _on_self_test(self, _message: SelfTest, sequence: int, _epoch: int) -> None:
        self._reports.send(SelfTestReport(sequence, passed=SELF_TEST_CHECKS, failed=0))

    def _note_damaged(self) -> None:
        if self.state not in ENERGISED:
            return
        noted = self._damaged_at_us
        noted.append(self._now_us)
        if len(noted) == noted.maxlen and self._now_us - noted[0] < US_PER_S:
            self._latch_fault(FaultCode.LINE_NOISE)

    # Reports.

    def _tick_ms(self) -> int:
        return (self._now_us - self._boot_us) // US_PER_MS % TICK_MODULUS

    def _emit(self, code: EventCode, channel_index: int = NO_CHANNEL, detail: int = 0) -> None:
        self._reports.emit(self._tick_ms(), code, channel_index, detail)

    def _answer_with_status(self) -> None:
        self._reports.answer_with_status(self._now_us, self.state)

    def _status(self) -> Status:
        inputs = InputFlag.NONE
        if self._settings.has_patient_stop:
            inputs = InputFlag.PATIENT_STOP_PRESENT
            if self._is_stop_pressed or self._is_stop_latched:
                inputs |= InputFlag.PATIENT_STOP_PRESSED
            if self._is_stop_tested:
                inputs |= InputFlag.PATIENT_STOP_TESTED
        is_running = self.state is DeviceState.RUNNING
        if is_running:
            self._ran_ms = (self._now_us - self._run_us) // US_PER_MS
        return Status(
            tick_ms=self._tick_ms(),
            state=self.state,
            fault=self.fault,
            latch_count=self._latch_count,
            inputs=inputs,
            battery_percent=self._battery_percent,
            drive_sequence=self._drive_sequence,
            program_digest=self._gate.program_digest,
            limits_digest=self._gate.limits_digest,
            refusal_count=self._reports.refusal_count,
            damaged_count=self._reports.connection.damaged_count & COUNT_MASK,
            event_count=self._reports.event_count,
            running_ms=self._ran_ms,
            channels=tuple(channel.status(is_running, self._now_us) for channel in self.channels),
        )
