"""A host for tests, as small as can be: it speaks the protocol and steps a device in time."""

from __future__ import annotations

import zlib
from typing import Protocol, TypeVar

from estim.simulator.device import DeviceSettings, VirtualDevice
from estim.simulator.load import Load
from estim.simulator.trace import DeliveredPhases
from firmware_protocol import codec
from firmware_protocol.connection import Connection, Received, Role
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    ChannelLimits,
    CommitProgram,
    DeviceState,
    Drive,
    Hello,
    LimitsAccepted,
    Message,
    PolicyFlag,
    ProgramAccepted,
    SetLimits,
    Status,
    TargetRow,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram
from firmware_protocol.schema import SCHEMA_HASH

EPOCH = 0x1122334455667788
MS = 1000
S = 1_000_000
DRIVE_US = 50 * MS

_M = TypeVar("_M", bound=Message)

BIPHASIC = (Phase(200, 1000), Phase(200, -1000))


def one_channel(
    period_us: int = 10_000, phases: tuple[Phase, ...] = BIPHASIC, **more: object
) -> PulseProgram:
    """Return a programme of one channel; by default 100 Hz and 2 x 200 us, in units of 1 us."""
    fields = {"unit_us": 1} | more
    return PulseProgram((ChannelProgram(phases, pulse_period_us=period_us, **fields),))  # type: ignore[arg-type]


def session_limits(channel_count: int = 2, **changed: int | PolicyFlag) -> SetLimits:
    """Return the compiled limits, restated by hand, with some values changed."""
    row = {
        "amplitude_ua": 100_000,
        "phase_charge_pc": 48_000_000,
        "rms_ua": 50_000,
        "average_ua": 10_000,
    }
    head: dict[str, int | PolicyFlag] = {
        "setpoint_slew_ua_per_s": 2000,
        "rise_per_cycle_ua": 2000,
        "step_ua": 1000,
        "running_ms": 10_800_000,
        "policy": PolicyFlag.NONE,
    }
    for name, value in changed.items():
        (row if name in row else head)[name] = value
    return SetLimits(**head, channels=(ChannelLimits(**row),) * channel_count)  # type: ignore[arg-type]


class PulseList:
    """A trace in memory: (onset_us, channel, phases).

    Attributes:
        is_balanced: whether every pulse must be; a P24 told otherwise plays one that is not.
    """

    def __init__(self) -> None:
        self.pulses: list[tuple[int, int, DeliveredPhases]] = []
        self.is_balanced = True

    def add_pulse(self, onset_us: int, channel_number: int, phases: DeliveredPhases) -> None:
        # Two invariants of every pulse in every test: no net charge, no row without current.
        if self.is_balanced:
            assert sum(current * duration for _, current, duration in phases) == 0
        assert phases
        assert all(current and duration > 0 for _, current, duration in phases)
        self.pulses.append((onset_us, channel_number, phases))

    def flush(self) -> None:
        pass

    def onsets(self, channel: int = 1) -> list[int]:
        return [onset for onset, number, _ in self.pulses if number == channel]

    def amplitudes(self, channel: int = 1) -> list[tuple[int, int]]:
        """Return (onset_us, largest current) of a channel's pulses."""
        return [
            (onset, max(abs(current) for _, current, _ in phases))
            for onset, number, phases in self.pulses
            if number == channel
        ]


class Steppable(Protocol):
    def receive(self, received: bytes, now_us: int) -> None: ...

    def take_output(self, now_us: int) -> bytes: ...


class Host:
    """Drive a virtual device at 20 Hz, echoing the newest tick, on a clock of its own."""

    def __init__(
        self,
        settings: DeviceSettings | None = None,
        *,
        load: Load | None = None,
        wire: Steppable | None = None,
        device: VirtualDevice | None = None,
    ) -> None:
        self.trace = PulseList()
        if settings is None:
            settings = DeviceSettings(load=load or Load(500))
        self.device = device or VirtualDevice(settings, self.trace)
        self.wire: Steppable = wire or self.device
        self.now_us = settings.boot_us
        self.connection = Connection(Role.HOST, EPOCH)
        self.seen: list[Message] = []
        self.program_digest = 0
        self.limits_digest = zlib.crc32(
            codec.encode_payload(session_limits(settings.channel_count))
        )
        self.channel_count = 0

    # Talking.

    def send(self, message: Message, epoch: int | None = None) -> list[Message]:
        """Send one message now; return what comes back at once."""
        return self.write(self.connection.send(message, epoch))

    def write(self, raw: bytes) -> list[Message]:
        self.wire.receive(raw, self.now_us)
        return self.collect()

    def collect(self) -> list[Message]:
        self.connection.receive_bytes(self.wire.take_output(self.now_us))
        fresh = []
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, Received):
                fresh.append(event.message)
        self.seen += fresh
        return fresh

    def pass_time(self, duration_us: int) -> list[Message]:
        """Let time pass in silence."""
        self.now_us += duration_us
        return self.collect()

    def state(self) -> DeviceState:
        return self.device.state

    @property
    def status(self) -> Status:
        return next(m for m in reversed(self.seen) if isinstance(m, Status))

    def of(self, kind: type[_M]) -> list[_M]:
        return [message for message in self.seen if isinstance(message, kind)]

    # What every session begins with.

    def hello(self) -> list[Message]:
        return self.send(Hello(PROTOCOL_VERSION, SCHEMA_HASH))

    def set_limits(self, limits: SetLimits) -> list[Message]:
        answer = self.send(limits)
        if answer and isinstance(answer[0], LimitsAccepted):
            self.limits_digest = answer[0].limits_digest
        return answer

    def load(self, program: PulseProgram) -> list[Message]:
        for message in program.messages():
            self.send(message)
        answer = self.send(CommitProgram(program.digest))
        if answer and isinstance(answer[0], ProgramAccepted):
            self.program_digest = program.digest
            self.channel_count = len(program.channels)
        return answer

    @property
    def tick_ms(self) -> int:
        return (self.now_us - self.device._states.boot_us) // MS % 2**32

    def drive(
        self, wanted: WantedState, *targets_ua: int, echoed_tick_ms: int | None = None
    ) -> list[Message]:
        """Send a Drive that echoes the present tick, or another."""
        if not targets_ua:
            targets_ua = (0,) * self.channel_count
        return self.send(
            Drive(
                wanted,
                self.tick_ms if echoed_tick_ms is None else echoed_tick_ms,
                self.program_digest,
                self.limits_digest,
                tuple(TargetRow(target) for target in targets_ua),
            )
        )

    def prepare(self, program: PulseProgram, limits: SetLimits | None = None) -> None:
        self.hello()
        if limits is not None:
            assert isinstance(self.set_limits(limits)[0], LimitsAccepted)
        assert isinstance(self.load(program)[0], ProgramAccepted)

    def arm(self) -> None:
        self.drive(WantedState.ARMED)
        assert self.status.state is DeviceState.ARMED

    def start(self, program: PulseProgram, limits: SetLimits | None = None) -> int:
        """Go to RUNNING at zero; return when it began."""
        self.prepare(program, limits)
        self.arm()
        self.drive(WantedState.RUNNING)
        assert self.status.state is DeviceState.RUNNING
        return self.now_us

    def keep(self, duration_us: int, *targets_ua: int) -> None:
        """Keep RUNNING with these targets: a Drive every 50 ms, the first at once."""
        end_us = self.now_us + duration_us
        while self.now_us < end_us:
            self.drive(WantedState.RUNNING, *targets_ua)
            self.pass_time(min(DRIVE_US, end_us - self.now_us))
