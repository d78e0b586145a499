"""A HASOMED P24 as hosts see it: ScienceMode 4 in, answers out, pulses to the trace, without I/O.

Rules:
1. Any bytes may come in at any time; none raises an exception.
2. Requests are taken up and answered in order, one at a time.
3. Everything happens at its own time, however late `advance` is called; the same calls give the
   same bytes and the same trace.

Nobody here has a P24. These are ours, where the vendor's description and the code of its published
libraries say nothing:

- A damaged frame is answered by General_error (transfer) that bears packet number 0; stray bytes
  between frames by nothing. An unknown command is answered by Unknown_cmd with 'invalid
  command' and the packet number asked. A parameterless request may carry bytes; they are ignored.
- Ll_init and Ml_init may come again in their own level: output stops, and the level starts anew.
  Every other request out of its level gets 'not initialised', Ml_stop and Ll_stop included.
- Ml_update of no channel, a channel's error and the keep-alive all end in 'mid-level init' once no
  channel plays; high voltage stays on until Ml_stop. A request that is refused keeps nothing alive.
- Ml_update forgets earlier errors and switches on again what an error switched off. Where an error
  stops all channels, Ml_get_current_data answers it as its result; where only the failing one
  stops, its result stays 0 and the channel's state tells.
- A load that takes nothing is an electrode error; one that takes less than asked, low current;
  either is found at the first pulse of 15 mA or more. Pulse timeout: a pulse that had to wait for
  others as long as its own period.
- Where 150 V do not suffice the whole pulse is scaled, so that it stays balanced; a real source
  would clip phase by phase.
- More than 130 mA are a parameter error. Of Ml_get_current_data only selection 4, and of Ll_init
  only high voltage on or off are known.
- Low-level channel 0 to 3 of connector 0 (yellow) are outputs 1 to 4, of connector 1 (green) 5 to
  8. At most ten single pulses wait; what comes beyond is answered by 'busy'.
- Reset answers, and then everything is as after switching on, at once; the port stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from estim.dialects import p24_device as codec
from estim.dialects import p24_low_level as low_level
from estim.dialects.p24 import (
    COMPLIANCE_MV,
    CURRENT_DATA_CHANNELS,
    KEEP_ALIVE_US,
    LOW_LEVEL_CHANNELS,
    PACKET_NUMBERS,
    STRAY,
    ChannelState,
    Command,
    Decoder,
    Frame,
    Point,
    Result,
    StimStatus,
    encode,
)
from estim.dialects.p24_low_level import HighVoltage, Measurement
from estim.simulator.faults import CHANNEL_ERRORS, Fault, Verb
from estim.simulator.load import Load, parse_load
from estim.simulator.options import SimulatorOptions, check_serial_number, whole
from estim.simulator.output_stage import Delivery
from estim.simulator.p24_output import Generator, delivered_ua, make_shape, voltage_mv
from estim.simulator.settings import STANDARD_LOAD
from estim.simulator.trace import TraceSink
from firmware_protocol.errors import MessageError

HIGH_VOLTAGE_OFF_US = 40_000
ANSWER_US = 1000
ANSWER_US_MAX = 10_000_000
WAITING_PULSES_MAX = 10
WAITING_MAX = 64
"""Requests that wait at most; the rest is lost, as in a full buffer."""
ANSWERS_MAX = 256
"""Answers that wait at most for a host that does not read; the newest are lost."""
PLAY_EVERY_US = 25_000
"""While it plays it wants to be advanced so often: the trace is to be young."""
UA_PER_HUNDREDTH_MA = 10
MV_PER_HUNDREDTH_V = 10
VERSION = codec.VersionTold((1, 0, 0), (4, 0, 0), 0, 1, True)

STATE_OF_WORD = dict(
    zip(
        CHANNEL_ERRORS,
        (ChannelState.ELECTRODE, ChannelState.PULSE_TIMEOUT, ChannelState.LOW_CURRENT),
        strict=True,
    )
)
RESULT_OF_STATE = {
    ChannelState.OK: Result.OK,
    ChannelState.ELECTRODE: Result.ELECTRODE,
    ChannelState.PULSE_TIMEOUT: Result.PULSE_TIMEOUT,
    ChannelState.LOW_CURRENT: Result.PULSE_LOW_CURRENT,
}
MID_LEVEL = (StimStatus.MID_LEVEL, StimStatus.MID_LEVEL_RUNNING)


@dataclass(frozen=True, slots=True)
class P24Settings:
    """One virtual P24.

    Attributes:
        load: what is connected to every channel at first.
        answer_us: from taking up a request to its answer.
        boot_us: when it was switched on, on the caller's clock.
    """

    serial_number: str = "SIM-0001"
    load: Load = STANDARD_LOAD
    answer_us: int = ANSWER_US
    boot_us: int = 0


def read_settings(options: SimulatorOptions, boot_us: int) -> P24Settings:
    """Read what was asked for.

    Raises:
        UsageError: a value makes no sense.
    """
    check_serial_number(options.serial, codec.DEVICE_ID_CHARACTERS)
    answer_us = ANSWER_US
    if options.answer_us:
        answer_us = whole("answer_us", options.answer_us, 0, ANSWER_US_MAX)
    return P24Settings(options.serial, parse_load(options.load), answer_us, boot_us)


class _Request(NamedTuple):
    """What waits to be taken up; no frame where one came damaged."""

    arrived_us: int
    frame: Frame | None
    is_beyond: bool


class _Answer(NamedTuple):
    """What a request leads to.

    Attributes:
        pulse_us: how long it waits for a pulse's end.
    """

    payload: bytes
    pulse_us: int = 0


class VirtualP24:
    """Behave as a P24: bytes in, bytes out, pulses to the trace, at the times given."""

    def __init__(self, settings: P24Settings, trace: TraceSink | None = None) -> None:
        self._settings = settings
        self._generator = Generator(settings.load, trace)
        self._now_us = settings.boot_us
        self._handlers: dict[int, Callable[[bytes], _Answer]] = {
            Command.GET_DEVICE_ID: self._on_get_device_id,
            Command.RESET: self._on_reset,
            Command.GET_STIM_STATUS: self._on_get_status,
            Command.GET_EXTENDED_VERSION: self._on_get_version,
            Command.LL_INIT: self._on_low_level_init,
            Command.LL_CHANNEL_CONFIG: self._on_channel_config,
            Command.LL_STOP: self._on_low_level_stop,
            Command.ML_INIT: self._on_init,
            Command.ML_UPDATE: self._on_update,
            Command.ML_STOP: self._on_stop,
            Command.ML_GET_CURRENT_DATA: self._on_get_current_data,
        }
        self._stalled_until_us = settings.boot_us
        self._forced_result = 0
        self._spoilt = {Verb.RENUMBER: 0, Verb.TRUNCATE: 0, Verb.SHORTEN: 0}
        self._boot()

    # The four methods of everything that stands at the end of a line.

    def receive(self, received: bytes, now_us: int) -> None:
        """Take bytes from the line; everything due before them happens first."""
        self.advance(now_us)
        if self._is_hung:
            return
        for found in self._decoder.feed(received):
            if found != STRAY:
                self._enqueue(found if isinstance(found, Frame) else None)
                self.advance(now_us)

    def advance(self, now_us: int) -> None:
        """Do everything that falls due up to `now_us`, in order of time.

        Raises:
            ValueError: time went backwards.
        """
        if now_us < self._now_us:
            raise ValueError(f"the device is at {self._now_us} us, later than {now_us}")
        while (due := self._next_event()) is not None and due[0] <= now_us:
            self._now_us = max(due[0], self._now_us)
            self._generator.play_until(self._now_us)
            due[1]()
        self._now_us = now_us
        self._generator.play_until(now_us)

    def take_output(self, now_us: int) -> bytes:
        """Return the answers that are due; they are gone from here then."""
        self.advance(now_us)
        ready = []
        while self._answers and self._answers[0][0] <= now_us:
            ready.append(self._answers.popleft()[1])
        return b"".join(ready)

    def next_deadline_us(self) -> int | None:
        """Return when an answer, a request or a timer is due next.

        Pulses are not deadlines, but while it plays a new one comes every 25 ms.
        """
        event = self._next_event()
        due = [] if event is None else [event[0]]
        if self._answers:
            due.append(self._answers[0][0])
        if self._generator.is_active:
            due.append(self._now_us + PLAY_EVERY_US)
        return min(due, default=None)

    @property
    def is_energised(self) -> bool:
        """Tell whether any channel plays, or single pulses may still come."""
        return self._generator.is_active or (
            self._level is StimStatus.LOW_LEVEL and bool(self._waiting)
        )

    # What the world does to the device.

    def play(self, fault: Fault, now_us: int) -> None:
        """Let a fault of `P24_VERBS` happen that is none of the line's."""
        self.advance(now_us)
        channel = self._generator.channels[fault.channel - 1]
        match fault.verb:
            case Verb.REBOOT:
                self._boot()
            case Verb.HANG:
                self._boot()
                self._is_hung = True
            case Verb.LEAD_OFF | Verb.LEAD_ON:
                channel.stage.set_lead_off(fault.verb is Verb.LEAD_OFF)
            case Verb.LOAD if fault.load is not None:
                channel.connect(fault.load)
            case Verb.GAIN:
                channel.stage.set_gain(fault.amount)
            case Verb.STALL:
                self._stalled_until_us = max(self._stalled_until_us, now_us + fault.amount)
            case Verb.CHANNEL_ERROR:
                channel.forced = STATE_OF_WORD[CHANNEL_ERRORS[fault.amount]]
            case Verb.RESULT:
                self._forced_result = fault.amount
            case Verb.RENUMBER | Verb.TRUNCATE | Verb.SHORTEN:
                self._spoilt[fault.verb] += fault.amount

    def _boot(self) -> None:
        self._generator.stop()
        self._generator.forget()
        self._decoder = Decoder()
        self._waiting: deque[_Request] = deque()
        self._answers: deque[tuple[int, bytes]] = deque()
        self._busy_until_us = self._now_us
        self._stalled_until_us = self._now_us
        self._is_hung = False
        self._clear_level()
        self._high_voltage_ends_us: int | None = None
        self._is_high_voltage_on = False

    def _clear_level(self) -> None:
        self._level = StimStatus.NONE
        self._measurement = Measurement.NONE
        self._alive_until_us = 0

    # Time.

    def _next_event(self) -> tuple[int, Callable[[], None]] | None:
        """Return what happens next by itself, the keep-alive before a request of the same time."""
        events: list[tuple[int, Callable[[], None]]] = []
        if self._generator.is_active:
            events.append((self._alive_until_us, self._generator.stop))
        if self._high_voltage_ends_us is not None:
            events.append((self._high_voltage_ends_us, self._end_high_voltage))
        if self._waiting:
            taken_us = max(self._waiting[0].arrived_us, self._busy_until_us, self._stalled_until_us)
            events.append((taken_us, self._take_request))
        return min(events, key=lambda event: event[0], default=None)

    def _end_high_voltage(self) -> None:
        self._high_voltage_ends_us = None
        self._is_high_voltage_on = False

    # Requests.

    def _enqueue(self, frame: Frame | None) -> None:
        if len(self._waiting) >= WAITING_MAX:
            return
        is_beyond = (
            frame is not None
            and frame.command == Command.LL_CHANNEL_CONFIG
            and sum(
                each.frame is not None and each.frame.command == frame.command
                for each in self._waiting
            )
            >= WAITING_PULSES_MAX
        )
        self._waiting.append(_Request(self._now_us, frame, is_beyond))

    def _take_request(self) -> None:
        request = self._waiting.popleft()
        frame = request.frame
        if frame is None:
            self._answer(Command.GENERAL_ERROR, 0, _Answer(bytes((Result.TRANSFER,))))
            return
        handler = self._handlers.get(frame.command)
        if handler is None:
            answer = _Answer(bytes((Result.INVALID_COMMAND,)))
            self._answer(Command.UNKNOWN_COMMAND, frame.number, answer)
            return
        if self._forced_result:
            answer = _Answer(self._refusal(frame, self._forced_result))
            self._forced_result = 0
        elif request.is_beyond:
            answer = _Answer(self._refusal(frame, Result.BUSY))
        else:
            answer = self._obey(frame, handler)
        self._answer(frame.command + 1, frame.number, answer)

    def _obey(self, frame: Frame, handler: Callable[[bytes], _Answer]) -> _Answer:
        levels = _LEVELS.get(frame.command)
        if levels is not None and self._status() not in levels:
            return _Answer(self._refusal(frame, Result.NOT_INITIALISED))
        try:
            return handler(frame.payload)
        except MessageError:
            return _Answer(self._refusal(frame, Result.PARAMETER))

    def _refusal(self, frame: Frame, result: int) -> bytes:
        """Return an answer that says no, as long as one that says yes."""
        match frame.command:
            case Command.GET_DEVICE_ID:
                return codec.pack_device_id(result, "")
            case Command.GET_STIM_STATUS:
                return codec.pack_status(result, self._status(), self._is_high_voltage_on)
            case Command.GET_EXTENDED_VERSION:
                return codec.pack_version(result, VERSION)
            case Command.LL_CHANNEL_CONFIG:
                head = frame.payload[0] if frame.payload else 0
                return low_level.pack_pulse_answer(result, head >> 5 & 3, head >> 4 & 1)
            case Command.ML_GET_CURRENT_DATA:
                selection = frame.payload[0] if frame.payload else 0
                states = self._states()
                return codec.pack_current_data(result, selection, self._active(), states)
        return bytes((result,))

    def _answer(self, command: int, number: int, answer: _Answer) -> None:
        payload = answer.payload
        self._busy_until_us = self._now_us + answer.pulse_us + self._settings.answer_us
        if self._is_spoilt(Verb.RENUMBER):
            number = (number + 1) % PACKET_NUMBERS
        if self._is_spoilt(Verb.SHORTEN):
            payload = payload[:-1]
        frame = encode(command, number, payload)
        if self._is_spoilt(Verb.TRUNCATE):
            frame = frame[: len(frame) // 2]
        if len(self._answers) < ANSWERS_MAX:
            self._answers.append((self._busy_until_us, frame))

    def _is_spoilt(self, verb: Verb) -> bool:
        if not self._spoilt[verb]:
            return False
        self._spoilt[verb] -= 1
        return True

    # General.

    def _on_get_device_id(self, _payload: bytes) -> _Answer:
        return _Answer(codec.pack_device_id(Result.OK, self._settings.serial_number))

    def _on_get_version(self, _payload: bytes) -> _Answer:
        return _Answer(codec.pack_version(Result.OK, VERSION))

    def _on_get_status(self, _payload: bytes) -> _Answer:
        return _Answer(codec.pack_status(Result.OK, self._status(), self._is_high_voltage_on))

    def _on_reset(self, _payload: bytes) -> _Answer:
        answers = self._answers
        self._boot()
        self._answers = answers
        return _Answer(bytes((Result.OK,)))

    def _status(self) -> StimStatus:
        if self._level is StimStatus.MID_LEVEL and self._generator.is_active:
            return StimStatus.MID_LEVEL_RUNNING
        return self._level

    def _start_level(self, level: StimStatus, is_high_voltage_on: bool) -> None:
        self._generator.stop()
        self._generator.forget()
        self._clear_level()
        self._level = level
        self._high_voltage_ends_us = None
        self._is_high_voltage_on = is_high_voltage_on

    def _end_level(self) -> _Answer:
        self._generator.stop()
        self._clear_level()
        if self._is_high_voltage_on:
            self._high_voltage_ends_us = self._now_us + HIGH_VOLTAGE_OFF_US
        return _Answer(bytes((Result.OK,)))

    # Mid-level.

    def _on_init(self, payload: bytes) -> _Answer:
        stops_all = codec.unpack_init(payload)
        self._start_level(StimStatus.MID_LEVEL, is_high_voltage_on=True)
        self._generator.stops_all = stops_all
        return _Answer(bytes((Result.OK,)))

    def _on_update(self, payload: bytes) -> _Answer:
        self._generator.update(codec.unpack_update(payload), self._now_us)
        self._alive_until_us = self._now_us + KEEP_ALIVE_US
        return _Answer(bytes((Result.OK,)))

    def _on_stop(self, _payload: bytes) -> _Answer:
        return self._end_level()

    def _on_get_current_data(self, payload: bytes) -> _Answer:
        if payload[:1] != bytes((CURRENT_DATA_CHANNELS,)):
            raise MessageError("a selection that is not known here")
        self._alive_until_us = self._now_us + KEEP_ALIVE_US
        states = self._states()
        result = Result.OK
        if self._generator.stops_all:
            result = RESULT_OF_STATE[next(filter(None, states), ChannelState.OK)]
        return _Answer(codec.pack_current_data(result, payload[0], self._active(), states))

    def _states(self) -> list[ChannelState]:
        return [channel.state for channel in self._generator.channels]

    def _active(self) -> list[bool]:
        return [channel.update is not None for channel in self._generator.channels]

    # Low level.

    def _on_low_level_init(self, payload: bytes) -> _Answer:
        asked = low_level.unpack_low_level_init(payload)
        self._start_level(StimStatus.LOW_LEVEL, asked.high_voltage is HighVoltage.ON)
        self._measurement = asked.measurement
        return _Answer(bytes((Result.OK,)))

    def _on_low_level_stop(self, _payload: bytes) -> _Answer:
        return self._end_level()

    def _on_channel_config(self, payload: bytes) -> _Answer:
        asked = low_level.unpack_channel_config(payload)
        place = (asked.channel, asked.connector)
        if not asked.is_executed:
            return _Answer(low_level.pack_pulse_answer(Result.OK, *place))
        if not self._is_high_voltage_on:
            return _Answer(low_level.pack_pulse_answer(Result.HIGH_VOLTAGE, *place))
        channel = self._generator.channels[asked.connector * LOW_LEVEL_CHANNELS + asked.channel]
        delivery = self._generator.play_one(channel, asked.points, self._now_us)
        pulse_us = make_shape(asked.points).pulse_us
        sample_us = -(-pulse_us // low_level.SAMPLES)
        times_us = range(0, sample_us * low_level.SAMPLES, sample_us)
        answer = low_level.pack_pulse_answer(
            RESULT_OF_STATE[channel.state],
            *place,
            self._measurement,
            sample_us,
            [self._sample(channel.load, asked.points, delivery, at_us) for at_us in times_us],
        )
        return _Answer(answer, pulse_us)

    def _sample(self, load: Load, points: tuple[Point, ...], delivery: Delivery, at_us: int) -> int:
        """Return what is measured at a time of a pulse, in hundredths of mA or V."""
        match self._measurement:
            case Measurement.CURRENT:
                return delivered_ua(delivery, at_us) // UA_PER_HUNDREDTH_MA
            case Measurement.VOLTAGE:
                return voltage_mv(load, points, delivery, at_us) // MV_PER_HUNDREDTH_V
            case Measurement.HIGH_VOLTAGE:
                return COMPLIANCE_MV // MV_PER_HUNDREDTH_V
        return 0


_LEVELS: dict[int, tuple[StimStatus, ...]] = {
    Command.LL_INIT: (StimStatus.NONE, StimStatus.LOW_LEVEL),
    Command.LL_CHANNEL_CONFIG: (StimStatus.LOW_LEVEL,),
    Command.LL_STOP: (StimStatus.LOW_LEVEL,),
    Command.ML_INIT: (StimStatus.NONE, *MID_LEVEL),
    Command.ML_UPDATE: MID_LEVEL,
    Command.ML_STOP: MID_LEVEL,
    Command.ML_GET_CURRENT_DATA: MID_LEVEL,
}
"""The levels in which a request is obeyed; the others are, in any."""
