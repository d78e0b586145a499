"""Have a P24 play one single pulse, by its low level, and say what it measured: for the bench.

Rules:
1. One pulse for each connection, on one channel, at one approved target of an approved programme:
   its amplitude is on the device's grid, rounded towards zero, before either phase is made of it.
   A target that is out of range or below the first step is refused.
2. The low level is entered at rest and confirmed by the device's status; nothing flows in it until
   the one request for the pulse. That request is never repeated: where its answer is missing or
   makes no sense, the pulse counts as played.
3. Whatever became of the pulse, the low level is left by a Stop that the device confirms.
4. The whole pulse is in its request, so it ends by itself, after its own 10 ms at most; nothing
   here can make it go on.

What the device does in its low level when the host falls silent is not told by anything that is
public: that it plays nothing more follows from the protocol, which has no request that would; that
it switches its high voltage off, nobody here knows. Nobody here has tried this on a device.
"""

from __future__ import annotations

from typing import NamedTuple

from estim.dialects import p24, p24_low_level
from estim.dialects.p24 import Command, Point, StimStatus
from estim.dialects.p24_low_level import Measurement, PulseAnswer
from estim.drivers.base import DriveRefused, DriverEvent, Fitting
from estim.drivers.p24 import CHANNELS, P24Stimulator
from estim.drivers.p24_program import channel_update
from estim.drivers.player import Train
from estim.drivers.stand_in import ENERGISED
from estim.safety.verdict import Approved
from firmware_protocol.errors import MessageError
from firmware_protocol.messages import DeviceState, FaultCode, WantedState
from firmware_protocol.program import ChannelProgram, PulseProgram

CAUTION = (
    "The P24 is no medical device. A single pulse ends by itself, whatever becomes of this "
    "computer; whether the device then leaves its low level and switches its high voltage off is "
    "not known: unplug it. It has no patient's stop, and notices a lost electrode only above about "
    "15 mA."
)
CONNECTOR = 0
"""The yellow one: its channels are outputs 1 to 4, the same that are driven by mid-level."""


class AskedPulse(NamedTuple):
    """A pulse as it went out.

    Attributes:
        channel: index from 0.
        amplitude_ua: on the device's grid, at or below what was approved.
        points: what the device was told.
        answer: what it said after the pulse; None where it did not: the pulse counts as played.
    """

    channel: int
    amplitude_ua: int
    points: tuple[Point, ...]
    answer: PulseAnswer | None = None


class P24SinglePulse(P24Stimulator):
    """Speak the low level of ScienceMode 4, without I/O.

    ARMED is the low level at rest, and so is RUNNING until a target comes.

    Attributes:
        pulse: what went out, None before.
    """

    stop_command = Command.LL_STOP

    @classmethod
    def fitting(cls, program: PulseProgram) -> Fitting:
        return Fitting(tuple(dict.fromkeys(_shortfalls(program))))

    def __init__(
        self, epoch: int, address: str, measurement: Measurement = Measurement.CURRENT
    ) -> None:
        super().__init__(epoch, address)
        self._measurement = measurement
        self.pulse: AskedPulse | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Tell whether the pulse is over, however it went."""
        return self._is_over

    @property
    def is_stopping(self) -> bool:
        """Tell whether a Stop waits for its confirmation."""
        return self._stop_due_us is not None

    def drive(self, approved: Approved, now_us: int) -> None:
        if self.pulse is not None and approved.wanted is WantedState.RUNNING:
            self._events.append(DriveRefused("its one pulse was asked for already"))
            return
        super().drive(approved, now_us)

    def poll(self, now_us: int) -> list[DriverEvent]:
        events = super().poll(now_us)
        if self.pulse is not None and self._pending is None and not self._is_over:
            self._is_over = True
            if self._stop_due_us is None:
                self.stop(now_us)
        return events

    def _is_told(self, result: int, command: Command) -> bool:
        return command is Command.LL_CHANNEL_CONFIG

    def _follow(self, now_us: int) -> None:
        """Ask for the next step: the low level, its status, the pulse."""
        if self._pending is not None or self._wanted is None or not self._is_asked:
            return
        wanted, state = self._wanted.wanted, self._stand_in.state
        if state in ENERGISED and wanted is WantedState.SAFE:
            self.stop(now_us)
        elif state is DeviceState.SAFE and wanted is WantedState.ARMED and self._stand_in.program:
            payload = p24_low_level.pack_low_level_init(self._measurement)
            self._ask(Command.LL_INIT, self._take_entered, now_us, payload)
        elif state is DeviceState.RUNNING and any(self._wanted.targets_ua):
            self._ask_pulse(self._wanted, now_us)
        else:
            self._ask(Command.GET_STIM_STATUS, self._take_level, now_us)

    def _take_entered(self, payload: bytes, now_us: int) -> None:
        self._ask(Command.GET_STIM_STATUS, self._take_level, now_us)

    def _take_level(self, payload: bytes, now_us: int) -> None:
        """Go where the device's own status says that it is."""
        _, status, _ = p24.unpack_status(payload)
        state, wanted = self._stand_in.state, self._wanted
        if status == StimStatus.MID_LEVEL_RUNNING or (
            status != StimStatus.LOW_LEVEL and state in ENERGISED
        ):
            self._latch(FaultCode.OUTPUT_STAGE, now_us)  # it is not where it was put
        elif status == StimStatus.LOW_LEVEL and wanted is not None:
            if state is DeviceState.SAFE and wanted.wanted is WantedState.ARMED:
                self._stand_in.go(DeviceState.ARMED, now_us)
            elif state is DeviceState.ARMED and wanted.wanted is WantedState.RUNNING:
                self._stand_in.go(DeviceState.RUNNING, now_us)
        self._report(now_us)

    def _ask_pulse(self, approved: Approved, now_us: int) -> None:
        self._is_asked = False
        if now_us > approved.expires_us:
            return
        problem = self._problem(approved)
        if problem:
            self._events.append(DriveRefused(problem))
            return
        assert self._stand_in.program is not None
        channels = self._stand_in.program.channels
        index = next(at for at, target_ua in enumerate(approved.targets_ua) if target_ua)
        amplitude_ua = channels[index].deliverable_ua(
            approved.targets_ua[index], p24.CURRENT_STEP_UA
        )
        train = _train(channels[index], amplitude_ua)
        points = channel_update(channels[index], train).points
        payload = p24.pack_channel_config(index, CONNECTOR, points)
        self.pulse = AskedPulse(index, amplitude_ua, points)
        self._stand_in.sent(tuple(train if at == index else None for at in range(len(channels))))
        self._ask(Command.LL_CHANNEL_CONFIG, self._take_pulse, now_us, payload)

    def _problem(self, approved: Approved) -> str:
        """Say why no pulse can be made of an approval, '' where one can."""
        asked = [(at, each) for at, each in enumerate(approved.targets_ua) if each]
        if len(asked) != 1:
            return "a single pulse goes to one channel"
        (index, target_ua), program = asked[0], self._stand_in.program
        assert program is not None
        channel = program.channels[index]
        if not channel.deliverable_ua(target_ua, p24.CURRENT_STEP_UA):
            return f"channel {index + 1}: {target_ua} uA is less than the device's first step"
        return ""

    def _take_pulse(self, payload: bytes, now_us: int) -> None:
        answer = p24_low_level.unpack_pulse_answer(payload)
        assert self.pulse is not None
        if (answer.channel, answer.connector) != (self.pulse.channel, CONNECTOR):
            raise MessageError("answer to a pulse: it names another output")
        self.pulse = self.pulse._replace(answer=answer)
        self._stand_in.confirmed()


def _train(channel: ChannelProgram, amplitude_ua: int) -> Train:
    return Train(amplitude_ua, channel.unit_us, channel.pulse_period_us)


def _shortfalls(program: PulseProgram) -> list[str]:
    found = []
    for number, channel in enumerate(program.channels, start=1):
        if number > CHANNELS:
            found.append(f"channel {number}: a single pulse goes to channels 1 to {CHANNELS}")
        elif channel.keyframes:
            found.append(f"channel {number}: a modulation has no one pulse")
        else:
            try:
                train = _train(channel, channel.grid_ua(p24.CURRENT_STEP_UA))
                p24.pack_channel_config(
                    number - 1, CONNECTOR, channel_update(channel, train).points
                )
            except MessageError as error:
                found.append(f"channel {number}: {error}")
    return found
