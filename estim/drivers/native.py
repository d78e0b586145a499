"""Drive a device that speaks the Estim protocol.

Rules:
1. Every Drive echoes the device tick of the newest Status; without a Status there is no Drive.
2. Set-up exchanges (identify, limits, programme) are repeated as a whole, in SAFE alone; output is
   never repeated blindly.
3. Stop is sent three times at least, then until a Status shows zero.
4. A load goes on with answers to its own requests alone, never with one to a load before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from estim.drivers.base import (
    ConnectFailed,
    DeviceTold,
    DriveRefused,
    DriverEvent,
    Identified,
    LineDamaged,
    Loaded,
    LoadFailed,
    Output,
    RoundTrip,
    SelfTested,
    StatusSeen,
    Stimulator,
)
from estim.errors import DeviceFault, EstimError, LimitRefused, PortLost, ReplyTimeout
from estim.safety.verdict import Approved, ApprovedLoad
from estim.units import in_unit
from firmware_protocol.connection import Connection, Damaged, Dropped, Received, Role, is_newer
from firmware_protocol.limits import BY_WIRE_ID
from firmware_protocol.messages import (
    NO_CHANNEL,
    PROTOCOL_VERSION,
    AcknowledgeFault,
    Adoption,
    Capabilities,
    CommitProgram,
    DeviceState,
    Drive,
    Event,
    GetCapabilities,
    Hello,
    Identity,
    LimitsAccepted,
    Message,
    ProgramAccepted,
    RefusalReason,
    Refused,
    SelfTest,
    SelfTestReport,
    Status,
    Stop,
    TargetRow,
)
from firmware_protocol.schema import SCHEMA_HASH
from firmware_protocol.session_limits import limits_digest

HELLO_US = 250_000
HELLO_ATTEMPTS = 12
EXCHANGE_US = 300_000
EXCHANGE_ATTEMPTS = 4
STOP_REPEAT_US = 30_000
STOP_COUNT_MIN = 3
_DRIVES_REMEMBERED = 32


@dataclass(slots=True)
class _Exchange:
    """A set-up request that waits for its answer."""

    send: Callable[[], None]
    failed: Callable[[], DriverEvent]
    period_us: int
    attempts_left: int
    due_us: int = 0
    began_us: int = 0
    before: int = 0
    """Sequence of the message before its first one."""


class NativeStimulator(Stimulator):
    """Speak the Estim protocol, without I/O."""

    def __init__(self, epoch: int, address: str) -> None:
        self._address = address
        self._connection = Connection(Role.HOST, epoch)
        self._events: list[DriverEvent] = []
        self._urgent: list[bytes] = []
        self._ordered: list[bytes] = []
        self._drive: tuple[Drive, int] | None = None
        self._exchange: _Exchange | None = None
        self._identity: Identity | None = None
        self._loading: ApprovedLoad | None = None
        self._program_digest = 0
        self._limits_digest = 0
        self._newest_tick_ms: int | None = None
        self._drive_times_us: dict[int, int] = {}
        self._stop_count = 0
        self._stop_due_us: int | None = None
        self._self_test_sequence: int | None = None

    def connect(self, now_us: int) -> None:
        self._begin(_Exchange(self._send_hello, self._nobody, HELLO_US, HELLO_ATTEMPTS), now_us)

    def receive(self, received: bytes, now_us: int) -> None:
        self._connection.receive_bytes(received)
        while (event := self._connection.next_event()) is not None:
            if isinstance(event, Received):
                self._take(event.message, now_us)
            elif isinstance(event, Damaged):
                self._events.append(LineDamaged(event.reason))
            elif isinstance(event, Dropped) and isinstance(event.message, Identity):
                self._events.append(LineDamaged("the device answered another host"))

    def poll(self, now_us: int) -> list[DriverEvent]:
        exchange = self._exchange
        if exchange is not None and now_us >= exchange.due_us:
            if exchange.attempts_left == 0:
                self._exchange = None
                self._events.append(exchange.failed())
            else:
                self._attempt(exchange, now_us)
        if self._stop_due_us is not None and now_us >= self._stop_due_us:
            self._send_stop(now_us)
        events, self._events = self._events, []
        return events

    def next_deadline_us(self) -> int | None:
        if self._exchange is None:
            return self._stop_due_us
        if self._stop_due_us is None:
            return self._exchange.due_us
        return min(self._stop_due_us, self._exchange.due_us)

    def load(self, approved: ApprovedLoad, now_us: int) -> None:
        if now_us > approved.expires_us:
            self._events.append(LoadFailed(LimitRefused("the approval to load has expired")))
            return
        self._loading = approved
        self._program_digest = 0
        self._begin(self._setup(self._send_limits, "limits"), now_us)

    def drive(self, approved: Approved, now_us: int) -> None:
        if now_us > approved.expires_us or self._newest_tick_ms is None:
            return
        message = Drive(
            wanted_state=approved.wanted,
            echoed_tick_ms=self._newest_tick_ms,
            program_digest=self._program_digest,
            limits_digest=self._limits_digest,
            targets=tuple(TargetRow(target_ua) for target_ua in approved.targets_ua),
        )
        self._drive = message, now_us

    def stop(self, now_us: int) -> None:
        self._stop_count = 0
        self._drive = None
        if self._loading is not None:
            self._loading = None
            self._exchange = None
        self._send_stop(now_us)

    def acknowledge(self, latch_count: int, channel_mask: int, now_us: int) -> None:
        self._send(AcknowledgeFault(latch_count, channel_mask))

    def self_test(self, now_us: int) -> bool:
        self._send(SelfTest())
        self._self_test_sequence = self._connection.last_sequence
        return True

    @property
    def has_output(self) -> bool:
        return bool(self._urgent or self._ordered or self._drive)

    def take_output(self) -> Output:
        output = Output(self._urgent, self._ordered, self._take_drive())
        self._urgent, self._ordered = [], []
        return output

    def _take_drive(self) -> bytes | None:
        """Return the frame of the Drive that waits, numbered after all that is ordered."""
        if self._drive is None:
            return None
        (message, now_us), self._drive = self._drive, None
        frame = self._connection.send(message)
        self._drive_times_us[self._connection.last_sequence] = now_us
        if len(self._drive_times_us) > _DRIVES_REMEMBERED:
            del self._drive_times_us[next(iter(self._drive_times_us))]
        return frame

    def _send(self, message: Message) -> None:
        self._ordered.append(self._connection.send(message))

    def _send_stop(self, now_us: int) -> None:
        self._urgent.append(self._connection.send(Stop()))
        self._stop_count += 1
        self._stop_due_us = now_us + STOP_REPEAT_US

    # Set-up.

    def _begin(self, exchange: _Exchange, now_us: int) -> None:
        self._exchange = exchange
        exchange.began_us = now_us
        exchange.before = self._connection.last_sequence
        self._attempt(exchange, now_us)

    def _attempt(self, exchange: _Exchange, now_us: int) -> None:
        exchange.attempts_left -= 1
        exchange.due_us = now_us + exchange.period_us
        exchange.send()

    def _setup(self, send: Callable[[], None], what: str) -> _Exchange:
        error = ReplyTimeout(f"{self._address}: the device did not answer ({what})")

        def failed() -> DriverEvent:
            if self._loading is None:
                return ConnectFailed(error)
            self._loading = None
            return LoadFailed(error)

        return _Exchange(send, failed, EXCHANGE_US, EXCHANGE_ATTEMPTS)

    def _send_hello(self) -> None:
        self._send(Hello(PROTOCOL_VERSION, SCHEMA_HASH))

    def _nobody(self) -> DriverEvent:
        return ConnectFailed(
            PortLost(
                f"{self._address}: the port is open, but no device answered: "
                "check that it is switched on and speaks the Estim protocol"
            )
        )

    def _send_capabilities_request(self) -> None:
        self._send(GetCapabilities())

    def _send_limits(self) -> None:
        assert self._loading is not None
        self._send(self._loading.limits)

    def _send_program(self) -> None:
        assert self._loading is not None
        program = self._loading.program
        for message in program.messages():
            self._send(message)
        self._send(CommitProgram(program.digest))

    # What comes in.

    def _take(self, message: Message, now_us: int) -> None:
        if isinstance(message, Status):
            self._take_status(message, now_us)
        elif isinstance(message, Event):
            self._events.append(DeviceTold(message))
        elif isinstance(message, Identity):
            self._take_identity(message, now_us)
        elif isinstance(message, Capabilities):
            self._take_capabilities(message, now_us)
        elif isinstance(message, LimitsAccepted):
            self._take_limits(message, now_us)
        elif isinstance(message, ProgramAccepted):
            self._take_program(message)
        elif isinstance(message, SelfTestReport):
            if message.in_reply_to == self._self_test_sequence:
                self._self_test_sequence = None
                self._events.append(SelfTested(message.passed, message.failed))
        elif isinstance(message, Refused):
            self._take_refusal(message)

    def _take_status(self, status: Status, now_us: int) -> None:
        self._newest_tick_ms = status.tick_ms
        sent_us = self._drive_times_us.pop(status.drive_sequence, None)
        if sent_us is not None:
            self._events.append(RoundTrip(now_us - sent_us))
        is_zero = status.state is not DeviceState.RUNNING and not any(
            row.setpoint_ua for row in status.channels
        )
        if self._stop_due_us is not None and is_zero and self._stop_count >= STOP_COUNT_MIN:
            self._stop_due_us = None
        self._events.append(StatusSeen(status))

    def _take_identity(self, identity: Identity, now_us: int) -> None:
        if self._identity is not None or identity.adoption is Adoption.ENERGISED:
            return
        if identity.adoption is Adoption.SCHEMA_MISMATCH or identity.schema_hash != SCHEMA_HASH:
            self._exchange = None
            version = identity.firmware_version
            self._events.append(
                ConnectFailed(
                    DeviceFault(
                        f"{self._address}: {identity.model} {identity.serial_number} (firmware "
                        f"{version >> 16}.{version >> 8 & 255}.{version & 255}) speaks another "
                        f"protocol schema ({identity.schema_hash:08x}, expected "
                        f"{SCHEMA_HASH:08x}): update the firmware or this program"
                    )
                )
            )
            return
        self._identity = identity
        self._begin(self._setup(self._send_capabilities_request, "capabilities"), now_us)

    def _take_capabilities(self, capabilities: Capabilities, now_us: int) -> None:
        exchange = self._exchange
        if self._identity is not None and exchange is not None and self._loading is None:
            self._exchange = None
            self._events.append(Identified(self._identity, capabilities))
            # A link beyond what the lease allows never has a Drive answered that could tell.
            self._events.append(RoundTrip(now_us - exchange.began_us))

    def _take_limits(self, message: LimitsAccepted, now_us: int) -> None:
        loading = self._loading
        if loading is None or message.limits_digest != limits_digest(loading.limits):
            return
        if self._is_answered(self._send_limits, message.in_reply_to):
            self._limits_digest = message.limits_digest
            self._begin(self._setup(self._send_program, "programme"), now_us)

    def _take_program(self, message: ProgramAccepted) -> None:
        loading = self._loading
        if loading is None or message.program_digest != loading.program.digest:
            return
        if self._is_answered(self._send_program, message.in_reply_to):
            self._exchange = None
            self._loading = None
            self._program_digest = message.program_digest
            self._events.append(Loaded(self._program_digest, self._limits_digest))

    def _is_answered(self, send: Callable[[], None], in_reply_to: int) -> bool:
        """Tell whether an answer is one to the exchange that waits; rule 4."""
        exchange = self._exchange
        if exchange is None or exchange.send != send:
            return False
        return is_newer(in_reply_to, exchange.before)

    def _take_refusal(self, refusal: Refused) -> None:
        explanation = explain(refusal)
        if refusal.message == SelfTest.message_id:
            if refusal.in_reply_to == self._self_test_sequence:
                self._self_test_sequence = None
                self._events.append(SelfTested(refusal=f"the device refused: {explanation}"))
            return
        is_damage = refusal.reason in (RefusalReason.PROGRAM_DIGEST, RefusalReason.PROGRAM)
        is_drive = refusal.message == Drive.message_id
        if self._loading is None or is_drive:
            is_lead_off = refusal.reason is RefusalReason.LEAD_OFF_LATCHED
            self._events.append(DriveRefused(explanation, is_drive, is_lead_off))
        elif not is_damage or (self._exchange is not None and self._exchange.attempts_left == 0):
            self._fail_load(LimitRefused(f"the device refused: {explanation}"))

    def _fail_load(self, error: EstimError) -> None:
        self._exchange = None
        self._loading = None
        self._events.append(LoadFailed(error))


def explain(refusal: Refused) -> str:
    """Say in words what a device refused."""
    words = refusal.reason.name.replace("_", " ").lower()
    place = "" if refusal.channel == NO_CHANNEL else f"channel {refusal.channel + 1}: "
    limit = BY_WIRE_ID.get(refusal.limit)
    if limit is None:
        return place + words
    return (
        f"{place}{limit.name}: {in_unit(refusal.asked, limit.unit)} asked, "
        f"{in_unit(refusal.allowed, limit.unit)} allowed by the device"
    )
