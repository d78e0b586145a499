"""The serial protocol of the Sanworks PulsePal 2: messages and replies, without I/O.

Rules:
1. Nothing that the device cannot hold is written: a time off the grid, a voltage out of range or a
   choice that does not exist raises, and never wraps.
2. A voltage goes to the code next to it towards zero: never more comes out than was asked.
3. A reply has no mark of its own: the reader is told what was asked, and anything else is damage.

Everything is little-endian, without framing and without a checksum. The device takes a message only
whole: it stands still, output included, until the last byte has come; so a message is written in
one piece.

Voltages. Published tools read a code as code / 65535 x 20 V - 10 V. By that only six codes are
whole millivolts (-10, -6, -2, 2, 6 and 10 V) and none is 0 V. Firmware and published clients alike
take 32768 for 0 V: 153 uV too much, one half of a step of 305 uV. (The data sheet of the converter
divides by 65536 instead, which makes 32768 exactly 0 V; the two differ by 305 uV at most.)

Source: the vendor's published firmware 2.0.1 (it calls itself 21) and the bytes of a published
client; nobody here has checked them on a device. A development state of that firmware calls itself
21 too, but takes ProgramAll parameter by parameter and SetContinuous with state and channel turned
round: what must be right on any device uses ProgramOne alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

from firmware_protocol.errors import MessageError

BAUD = 115_200
USB_VID, USB_PID = 0x2341, 0x003E
"""The Arduino Due inside: other devices have one too."""

START = 0xD5
CYCLE_US = 50
TIME_MAX_US = 3_600_000_000
"""What the device's own menu goes up to; the field would hold more."""
VOLTAGE_MAX_MV = 10_000
CODE_MAX = 65_535
CODE_ZERO = 32_768
CHANNELS = 4
TRIGGER_INPUTS = 2
CUSTOM_TRAINS = 2
CUSTOM_PULSES_MAX = 5001
CLIENT_NAME_SIZE = 6
HANDSHAKE_REPLY = ord("K")
FIRMWARE = 21
UV_PER_MV = 1000

_SPAN_MV = 2 * VOLTAGE_MAX_MV
_U16, _U32 = Struct("<H"), Struct("<I")


class Opcode(IntEnum):
    """What a message is; it follows the start byte."""

    HANDSHAKE = 72
    PROGRAM_ALL = 73
    PROGRAM_ONE = 74
    CUSTOM_TRAIN_1 = 75
    CUSTOM_TRAIN_2 = 76
    TRIGGER = 77
    DISPLAY = 78
    FIXED_VOLTAGE = 79
    ABORT = 80
    DISCONNECT = 81
    CONTINUOUS = 82
    READ_SETTINGS = 85
    WRITE_PIN = 86
    READ_PIN = 87
    CLIENT_NAME = 89
    SETTINGS_FILE = 90


class Parameter(IntEnum):
    """What ProgramOne changes."""

    IS_BIPHASIC = 1
    PHASE_1_VOLTAGE = 2
    PHASE_2_VOLTAGE = 3
    PHASE_1_DURATION = 4
    INTERPHASE_GAP = 5
    PHASE_2_DURATION = 6
    INTERPULSE_GAP = 7
    BURST_DURATION = 8
    INTERBURST_GAP = 9
    TRAIN_DURATION = 10
    TRAIN_OFFSET = 11
    LINK_TRIGGER_1 = 12
    LINK_TRIGGER_2 = 13
    CUSTOM_TRAIN = 14
    CUSTOM_TARGET = 15
    CUSTOM_LOOP = 16
    RESTING_VOLTAGE = 17
    TRIGGER_MODE = 128


TIMES = frozenset(range(Parameter.PHASE_1_DURATION, Parameter.TRAIN_OFFSET + 1))
VOLTAGES = frozenset(
    {Parameter.PHASE_1_VOLTAGE, Parameter.PHASE_2_VOLTAGE, Parameter.RESTING_VOLTAGE}
)
_LEAST_US = {
    Parameter.PHASE_1_DURATION: CYCLE_US,
    Parameter.PHASE_2_DURATION: CYCLE_US,
    Parameter.TRAIN_DURATION: CYCLE_US,
}
"""A phase of no time never ends: the device waits for a moment that has passed."""
_CHOICE_MAX = {Parameter.CUSTOM_TRAIN: CUSTOM_TRAINS, Parameter.TRIGGER_MODE: 2}
"""Custom train 0 is none; trigger modes are normal, toggle and gated."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Everything that ProgramAll says of one channel; what stands here is the device's default.

    Attributes:
        resting_mv: what the output returns to: between pulses, after a train and after an abort.
        burst_us: 0, here or between bursts, for no bursts.
        is_linked_1: whether trigger input 1 starts it.
        is_linked_2: whether trigger input 2 starts it.
        custom_train: 1 or 2 plays that custom train; 0 for none.
        is_custom_bursts: whether a custom train's onsets are those of bursts.
        is_custom_looped: whether a custom train starts again until the train's duration is over.
    """

    is_biphasic: bool = False
    phase_1_mv: int = 5000
    phase_2_mv: int = -5000
    resting_mv: int = 0
    phase_1_us: int = 100
    interphase_us: int = 100
    phase_2_us: int = 100
    interpulse_us: int = 1000
    burst_us: int = 0
    interburst_us: int = 0
    train_us: int = 1_000_000
    train_offset_us: int = 0
    is_linked_1: bool = True
    is_linked_2: bool = False
    custom_train: int = 0
    is_custom_bursts: bool = False
    is_custom_looped: bool = False


# Numbers.


def voltage_code(voltage_mv: int) -> int:
    """Return the code of a voltage, rounded towards zero; that of 0 V is 32768.

    Raises:
        MessageError: the device does not reach it.
    """
    if abs(voltage_mv) > VOLTAGE_MAX_MV:
        raise MessageError(f"{voltage_mv} mV, expected {-VOLTAGE_MAX_MV} to {VOLTAGE_MAX_MV} mV")
    if voltage_mv == 0:
        return CODE_ZERO
    scaled = (voltage_mv + VOLTAGE_MAX_MV) * CODE_MAX
    return scaled // _SPAN_MV if voltage_mv > 0 else -(-scaled // _SPAN_MV)


def code_uv(code: int) -> int:
    """Return the voltage of a code in microvolts, to the nearest."""
    return (2 * code * _SPAN_MV * UV_PER_MV + CODE_MAX) // (2 * CODE_MAX) - (
        VOLTAGE_MAX_MV * UV_PER_MV
    )


def cycles(time_us: int, least_us: int = 0) -> int:
    """Return a time in the device's cycles.

    Raises:
        MessageError: the time is off the grid or out of range.
    """
    if time_us % CYCLE_US or not least_us <= time_us <= TIME_MAX_US:
        raise MessageError(
            f"{time_us} us, expected {least_us} to {TIME_MAX_US} us in steps of {CYCLE_US} us"
        )
    return time_us // CYCLE_US


# Messages to the device; channels and trigger inputs count from 1.


def handshake() -> bytes:
    """Ask who is there; answered by 'K' and the version of the firmware."""
    return _message(Opcode.HANDSHAKE)


def program_one(parameter: Parameter, channel: int, value: int) -> bytes:
    """Change one parameter: times in us, voltages in mV, everything else a number; confirmed.

    Raises:
        MessageError: there is no such channel (or input), or the value is none of the parameter's.
    """
    count = TRIGGER_INPUTS if parameter == Parameter.TRIGGER_MODE else CHANNELS
    _expect_number("channel", channel, count)
    try:
        field = _field(parameter, value)
    except MessageError as error:
        name = Parameter(parameter).name.lower().replace("_", " ")
        raise MessageError(f"channel {channel}, {name}: {error}") from None
    return _message(Opcode.PROGRAM_ONE, bytes((parameter, channel)), field)


def program_all(channels: Sequence[ChannelSettings], trigger_modes: Sequence[int]) -> bytes:
    """Change everything at once; confirmed. Every output goes to its resting voltage.

    Raises:
        MessageError: not four channels, not two modes, or a value that the device cannot hold.
    """
    if len(channels) != CHANNELS or len(trigger_modes) != TRIGGER_INPUTS:
        raise MessageError(
            f"{len(channels)} channels and {len(trigger_modes)} trigger modes, "
            f"expected {CHANNELS} and {TRIGGER_INPUTS}"
        )
    rows = [_rows(number, settings) for number, settings in enumerate(channels, start=1)]
    groups = zip(*rows, strict=True)
    modes = b"".join(_field(Parameter.TRIGGER_MODE, mode) for mode in trigger_modes)
    return _message(Opcode.PROGRAM_ALL, *(b"".join(group) for group in groups), modes)


def custom_train(train: int, onsets_us: Sequence[int], voltages_mv: Sequence[int]) -> bytes:
    """Load a custom train, 1 or 2: onsets from its start, and the voltage of each; confirmed.

    A train of one pulse at 0 is refused: the device looks for a second, finds none and stays at
    the voltage of the first.

    Raises:
        MessageError: not 1 to 5001 pulses, onsets that do not rise, or a value out of range.
    """
    _expect_number("custom train", train, CUSTOM_TRAINS)
    count = len(onsets_us)
    if not 1 <= count <= CUSTOM_PULSES_MAX or count != len(voltages_mv):
        raise MessageError(
            f"{count} onsets and {len(voltages_mv)} voltages, "
            f"expected as many of each, 1 to {CUSTOM_PULSES_MAX}"
        )
    if count == 1 and onsets_us[0] == 0:
        raise MessageError(f"one onset at 0 us, expected {CYCLE_US} us or later for one alone")
    for before_us, onset_us in pairwise(onsets_us):
        if onset_us <= before_us:
            raise MessageError(f"an onset at {onset_us} us after one at {before_us} us")
    return _message(
        Opcode.CUSTOM_TRAIN_1 + train - 1,
        _U32.pack(count),
        b"".join(_U32.pack(cycles(onset_us)) for onset_us in onsets_us),
        b"".join(_U16.pack(voltage_code(voltage_mv)) for voltage_mv in voltages_mv),
    )


def trigger(channels: Sequence[int]) -> bytes:
    """Start channels; nothing answers.

    The device keeps a trigger for a channel that plays already, and plays the train again after it,
    even after an abort.
    """
    for channel in channels:
        _expect_number("channel", channel, CHANNELS)
    return _message(Opcode.TRIGGER, bytes((sum(1 << (each - 1) for each in set(channels)),)))


def fixed_voltage(channel: int, voltage_mv: int) -> bytes:
    """Set an output to a voltage until something else sets it; confirmed."""
    _expect_number("channel", channel, CHANNELS)
    code = _U16.pack(voltage_code(voltage_mv))
    return _message(Opcode.FIXED_VOLTAGE, bytes((channel,)), code)


def abort() -> bytes:
    """End every train at once, at the resting voltages; nothing answers."""
    return _message(Opcode.ABORT)


def disconnect() -> bytes:
    """Say goodbye; ends every train as an abort does, and nothing answers."""
    return _message(Opcode.DISCONNECT)


def continuous(channel: int, is_on: bool) -> bytes:
    """Begin to play a channel without end, or end it; confirmed."""
    _expect_number("channel", channel, CHANNELS)
    return _message(Opcode.CONTINUOUS, bytes((channel, is_on)))


def client_name(name: str) -> bytes:
    """Say who is connected, for the device's display: six characters; nothing answers."""
    if len(name) != CLIENT_NAME_SIZE or not (name.isascii() and name.isprintable()):
        raise MessageError(f"{name!r}, expected {CLIENT_NAME_SIZE} printable ASCII characters")
    return _message(Opcode.CLIENT_NAME, name.encode("ascii"))


def _message(opcode: int, *parts: bytes) -> bytes:
    return bytes((START, opcode)) + b"".join(parts)


def _expect_number(what: str, number: int, count: int) -> None:
    if not 1 <= number <= count:
        raise MessageError(f"{what} {number}, expected 1 to {count}")


def _field(parameter: Parameter, value: int) -> bytes:
    if parameter in TIMES:
        return _U32.pack(cycles(value, _LEAST_US.get(parameter, 0)))
    if parameter in VOLTAGES:
        return _U16.pack(voltage_code(value))
    highest = _CHOICE_MAX.get(parameter, 1)
    if not 0 <= value <= highest:
        raise MessageError(f"{value}, expected 0 to {highest}")
    return bytes((value,))


def _rows(number: int, settings: ChannelSettings) -> tuple[bytes, ...]:
    """Return what one channel adds to each group of ProgramAll."""
    groups: tuple[tuple[tuple[Parameter, int], ...], ...] = (
        (
            (Parameter.PHASE_1_DURATION, settings.phase_1_us),
            (Parameter.INTERPHASE_GAP, settings.interphase_us),
            (Parameter.PHASE_2_DURATION, settings.phase_2_us),
            (Parameter.INTERPULSE_GAP, settings.interpulse_us),
            (Parameter.BURST_DURATION, settings.burst_us),
            (Parameter.INTERBURST_GAP, settings.interburst_us),
            (Parameter.TRAIN_DURATION, settings.train_us),
            (Parameter.TRAIN_OFFSET, settings.train_offset_us),
        ),
        (
            (Parameter.PHASE_1_VOLTAGE, settings.phase_1_mv),
            (Parameter.PHASE_2_VOLTAGE, settings.phase_2_mv),
            (Parameter.RESTING_VOLTAGE, settings.resting_mv),
        ),
        (
            (Parameter.IS_BIPHASIC, settings.is_biphasic),
            (Parameter.CUSTOM_TRAIN, settings.custom_train),
            (Parameter.CUSTOM_TARGET, settings.is_custom_bursts),
            (Parameter.CUSTOM_LOOP, settings.is_custom_looped),
        ),
        ((Parameter.LINK_TRIGGER_1, settings.is_linked_1),),
        ((Parameter.LINK_TRIGGER_2, settings.is_linked_2),),
    )
    head = 4  # of `program_one`: start, opcode, parameter, channel
    return tuple(
        b"".join(program_one(parameter, number, value)[head:] for parameter, value in group)
        for group in groups
    )


# Replies from the device.


class Awaited(Enum):
    """What a message is answered by; messages that nothing answers have none."""

    HANDSHAKE = 5
    CONFIRMATION = 1


class Greeting(NamedTuple):
    """The answer to a handshake."""

    firmware: int


class Confirmation(NamedTuple):
    """The answer to whatever changes something; later firmware refuses what it cannot hold."""

    is_accepted: bool


class Damage(NamedTuple):
    """Bytes that are no answer to what was asked."""

    explanation: str


_ANSWERS = {
    Opcode.HANDSHAKE: Awaited.HANDSHAKE,
    Opcode.PROGRAM_ALL: Awaited.CONFIRMATION,
    Opcode.PROGRAM_ONE: Awaited.CONFIRMATION,
    Opcode.CUSTOM_TRAIN_1: Awaited.CONFIRMATION,
    Opcode.CUSTOM_TRAIN_2: Awaited.CONFIRMATION,
    Opcode.FIXED_VOLTAGE: Awaited.CONFIRMATION,
    Opcode.CONTINUOUS: Awaited.CONFIRMATION,
}


def answer_to(message: bytes) -> Awaited | None:
    """Return what answers a message of this module."""
    return _ANSWERS.get(Opcode(message[1]))


class ReplyReader:
    """Read answers in the order of what was asked."""

    def __init__(self) -> None:
        self._awaited: deque[Awaited] = deque()
        self._buffer = b""

    @property
    def awaited_count(self) -> int:
        """Return how many answers have not come yet."""
        return len(self._awaited)

    def expect(self, awaited: Awaited) -> None:
        """Say what was asked last."""
        self._awaited.append(awaited)

    def forget(self) -> None:
        """Wait for nothing more: what was asked was lost."""
        self._awaited.clear()
        self._buffer = b""

    def feed(self, received: bytes) -> list[Greeting | Confirmation | Damage]:
        """Return what is whole by now, in order; a byte that fits nothing is passed over."""
        self._buffer += received
        found = list[Greeting | Confirmation | Damage]()
        while self._buffer:
            if not self._awaited:
                found.append(Damage(f"{len(self._buffer)} bytes that nobody asked for"))
                self._buffer = b""
                break
            answer = self._read(self._awaited[0])
            if answer is None:
                break
            found.append(answer)
            if not isinstance(answer, Damage):
                self._awaited.popleft()
        return found

    def _read(self, awaited: Awaited) -> Greeting | Confirmation | Damage | None:
        first = self._buffer[0]
        if awaited is Awaited.HANDSHAKE and first == HANDSHAKE_REPLY:
            size = Awaited.HANDSHAKE.value
            if len(self._buffer) < size:
                return None
            (firmware,) = _U32.unpack_from(self._buffer, 1)
            self._buffer = self._buffer[size:]
            return Greeting(firmware)
        self._buffer = self._buffer[1:]
        if awaited is Awaited.CONFIRMATION and first in (0, 1):
            return Confirmation(first == 1)
        return Damage(f"byte {first} where an answer was expected")
