"""ScienceMode 4, as the HASOMED P24 speaks it: frames and messages, without I/O.

Rules:
1. A frame is found by its length, never by looking for its last byte: escaped length and checksum
   may look like either end.
2. Nothing that a field cannot hold is written: an amplitude, a duration or a period off the
   device's range or grid raises, and never wraps.
3. What cannot be read is told as damage, and costs no frame after it.

Source: the vendor's published protocol description (ScienceMode 4) and the bytes of its published
client; nobody here has checked them on a device.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from firmware_protocol.errors import MessageError

BAUD = 3_000_000
STOP_BITS = 2
USB_VID, USB_PID = 0x0483, 0x5740

START, END, ESCAPE, KEY = 0xF0, 0x0F, 0x81, 0x55
FRAME_BYTES_MIN = 12
FRAME_BYTES_MAX = 1200
HEADER_BYTES = 9
PACKET_NUMBERS = 64

CHANNELS = 8
POINTS_MAX = 16
POINT_MIN_US = 10
POINT_MAX_US = 4095
CURRENT_STEP_UA = 500
CURRENT_MAX_UA = 130_000
CURRENT_ZERO = 300
PERIOD_STEP_US = 500
FINE_PERIOD_STEP_US = 250
PERIOD_MAX_US = 16_383_000
FINE_PERIOD_MAX_US = 8_191_000
RAMP_MAX = 15
LOW_LEVEL_CHANNELS = 4
COMPLIANCE_MV = 150_000
KEEP_ALIVE_US = 2_000_000
"""After so long without Ml_update or Ml_get_current_data the device stops by itself."""
LOAD_POINT_US = 60
LOAD_MAX_PPM = 999_000
"""The sum over channels of (microseconds of points + 60) / milliseconds of period, rounded up to a
whole number as the vendor's library does, stays below 1000: so the sum itself is at most 999."""
HIGH_VOLTAGE_ON = 6
CURRENT_DATA_CHANNELS = 4
"""Ml_get_current_data asks for the state of each channel with this."""


class Command(IntEnum):
    """What a frame asks; the answer is the next number."""

    LL_INIT = 0
    LL_CHANNEL_CONFIG = 2
    LL_STOP = 4
    ML_INIT = 30
    ML_UPDATE = 32
    ML_STOP = 34
    ML_GET_CURRENT_DATA = 36
    GET_DEVICE_ID = 52
    RESET = 58
    GET_STIM_STATUS = 62
    GENERAL_ERROR = 66
    UNKNOWN_COMMAND = 67
    GET_EXTENDED_VERSION = 68


class Result(IntEnum):
    """What an answer begins with."""

    OK = 0
    TRANSFER = 1
    PARAMETER = 2
    PROTOCOL_VERSION = 3
    NOT_INITIALISED = 7
    HIGH_VOLTAGE = 8
    ELECTRODE = 10
    INVALID_COMMAND = 11
    PULSE_TIMEOUT = 16
    BUSY = 21
    PULSE_LOW_CURRENT = 28


class StimStatus(IntEnum):
    """Which level is in use."""

    NONE = 0
    LOW_LEVEL = 1
    MID_LEVEL = 2
    MID_LEVEL_RUNNING = 3


class ChannelState(IntEnum):
    """What the device found on a channel."""

    OK = 0
    ELECTRODE = 1
    PULSE_TIMEOUT = 2
    LOW_CURRENT = 3


class Frame(NamedTuple):
    """One frame, read or to be written; `command` may be one that nobody knows."""

    command: int
    number: int
    payload: bytes


class Damage(NamedTuple):
    """Bytes that are no frame."""

    explanation: str


class Point(NamedTuple):
    """A hold of one current."""

    duration_us: int
    current_ua: int


class ChannelUpdate(NamedTuple):
    """What one channel plays from now on: its points, again every period.

    Attributes:
        points: 1 to 16 of them.
        period_us: onset to onset.
        ramp: pulses over which the device itself rises, where the channel was off.
    """

    points: tuple[Point, ...]
    period_us: int
    ramp: int = 0


class CurrentData(NamedTuple):
    """The answer to Ml_get_current_data; one entry per channel.

    Attributes:
        is_active: whether the channel plays.
        states: what was found there; an int where the device says something unknown.
    """

    result: int
    is_active: tuple[bool, ...]
    states: tuple[int, ...]


class Status(NamedTuple):
    """The answer to Get_stim_status."""

    result: int
    status: int
    is_high_voltage_on: bool


class Version(NamedTuple):
    """The answer to Get_extended_version, as people write versions."""

    result: int
    firmware: str
    protocol: str


# Frames.

_SPECIAL = re.compile(rb"[\xf0\x0f\x81]")
_ESCAPED = re.compile(rb"\x81(.)", re.DOTALL)
_STUFFED = {bytes((each,)): bytes((ESCAPE, each ^ KEY)) for each in (START, END, ESCAPE)}
_PAIR = tuple(bytes((ESCAPE, each ^ KEY)) for each in range(256))
_PLAIN = {bytes((each ^ KEY,)): bytes((each,)) for each in range(256)}
_PREFIX = _PERIOD = Struct(">H")
_POINT = Struct(">I")
_COMMAND_MAX = 0x3FF


def encode(command: int, number: int, payload: bytes = b"") -> bytes:
    """Return a frame as it goes over the line; `number` counts packets modulo 64."""
    prefix = (number % PACKET_NUMBERS) << 10 | command
    body = _SPECIAL.sub(lambda found: _STUFFED[found[0]], _PREFIX.pack(prefix) + payload)
    size, crc = len(body) + HEADER_BYTES + 1, crc_hqx(body, 0)
    if size > FRAME_BYTES_MAX:
        raise MessageError(f"a frame of {size} bytes, at most {FRAME_BYTES_MAX} fit")
    header = _PAIR[size >> 8] + _PAIR[size & 255] + _PAIR[crc >> 8] + _PAIR[crc & 255]
    return b"\xf0" + header + body + b"\x0f"


STRAY = Damage("bytes between two frames")


class Decoder:
    """Cut a stream into frames."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, received: bytes) -> list[Frame | Damage]:
        """Return what is whole by now, in order."""
        buffer, found = self._buffer + received, list[Frame | Damage]()
        at, start = 0, buffer.find(START)
        if (start < 0 and buffer) or start > 0:
            found.append(STRAY)
        while start >= 0:
            outcome = _read_frame(buffer, start)
            if outcome is None:
                break
            size, frame = outcome
            found.append(frame)
            at = start + size
            start = buffer.find(START, at)
            if start != at and at < len(buffer) and isinstance(frame, Frame):
                found.append(STRAY)
        self._buffer = buffer[start:] if start >= 0 else b""
        return found


def cut(carried: bytes) -> tuple[list[bytes], bytes]:
    """Return whole frames, and what lies between them, and what may be the beginning of another."""
    pieces, begin, start = list[bytes](), 0, carried.find(START)
    while start >= 0:
        outcome = _read_frame(carried, start)
        if outcome is None:
            break
        size, found = outcome
        if isinstance(found, Frame):
            pieces += [carried[begin:start], carried[start : start + size]]
            begin = start + size
        start = carried.find(START, start + size)
    end = len(carried) if start < 0 else start
    pieces.append(carried[begin:end])
    return [piece for piece in pieces if piece], carried[end:]


def _read_frame(buffer: bytes, start: int) -> tuple[int, Frame | Damage] | None:
    """Return what begins at `start` and how far to go on; None where more must come.

    After damage the search goes on with the next byte: the next frame may have begun within.
    """
    header = buffer[start + 1 : start + HEADER_BYTES]
    if header[0::2].strip(b"\x81"):
        return 1, Damage("a frame's header is not escaped")
    if len(header) < HEADER_BYTES - 1:
        return None
    size = (header[1] ^ KEY) << 8 | header[3] ^ KEY
    if not FRAME_BYTES_MIN <= size <= FRAME_BYTES_MAX:
        return 1, Damage(f"a frame of {size} bytes")
    body = buffer[start + HEADER_BYTES : start + size - 1]
    if START in body or END in body:  # neither occurs inside: it was cut short
        return 1, Damage("a frame shorter than it says")
    if len(buffer) < start + size:
        return None
    if buffer[start + size - 1] != END:
        return 1, Damage("a frame longer than it says")
    if crc_hqx(body, 0) != (header[5] ^ KEY) << 8 | header[7] ^ KEY:
        return 1, Damage("a wrong checksum")
    plain = body
    if ESCAPE in body:
        plain = _ESCAPED.sub(lambda pair: _PLAIN[pair[1]], body)
        if body[-1] == plain[-1] == ESCAPE:
            return 1, Damage("an escape without its byte")
    if len(plain) < _PREFIX.size:
        return 1, Damage("a frame without a command")
    prefix = _PREFIX.unpack_from(plain)[0]
    return size, Frame(prefix & _COMMAND_MAX, prefix >> 10, plain[_PREFIX.size :])


# Messages to the device.


def pack_update(channels: Sequence[ChannelUpdate | None]) -> bytes:
    """Return the payload of Ml_update, channel by channel; what is None is switched off.

    Raises:
        MessageError: a point, a period, a ramp or the whole is not the device's.
    """
    if len(channels) > CHANNELS:
        raise MessageError(f"{len(channels)} channels, the device has {CHANNELS}")
    playing = [channel for channel in channels if channel is not None]
    packed = b"".join(_pack_channel(channel) for channel in playing)
    load = sum(load_ppm(channel) for channel in playing)
    if load > LOAD_MAX_PPM:
        raise MessageError(
            f"{load / 10_000:.1f} % of the device's time: shorter pulses, or lower rates"
        )
    mask = sum(1 << index for index, channel in enumerate(channels) if channel is not None)
    return bytes((mask,)) + packed


def load_ppm(channel: ChannelUpdate) -> int:
    """Return how much of the device's time a channel takes, in parts per million, rounded up.

    The period is above zero.
    """
    busy_us = sum(point.duration_us for point in channel.points) + LOAD_POINT_US
    return -(-busy_us * 1_000_000 // channel.period_us)


@lru_cache(maxsize=1024)
def _pack_channel(channel: ChannelUpdate) -> bytes:
    if not 0 <= channel.ramp <= RAMP_MAX:
        raise MessageError(f"a ramp of {channel.ramp} pulses, expected 0 to {RAMP_MAX}")
    points = _pack_points(channel.points)
    head = (len(channel.points) - 1) << 4 | channel.ramp
    return bytes((head,)) + _PERIOD.pack(_period_field(channel.period_us)) + points


def _period_field(period_us: int) -> int:
    """Return steps of 0.5 ms, or of 0.25 ms where only these meet the period."""
    for step_us, longest_us, fine in (
        (PERIOD_STEP_US, PERIOD_MAX_US, 0),
        (FINE_PERIOD_STEP_US, FINE_PERIOD_MAX_US, 1),
    ):
        steps, rest_us = divmod(period_us, step_us)
        if not rest_us and step_us <= period_us <= longest_us:
            return steps << 1 | fine
    raise MessageError(
        f"a period of {period_us} us, expected steps of {PERIOD_STEP_US} us up to {PERIOD_MAX_US} "
        f"us or of {FINE_PERIOD_STEP_US} us up to {FINE_PERIOD_MAX_US} us"
    )


def _pack_points(points: tuple[Point, ...]) -> bytes:
    if not 1 <= len(points) <= POINTS_MAX:
        raise MessageError(f"{len(points)} points, expected 1 to {POINTS_MAX}")
    return b"".join(_pack_point(point) for point in points)


def _pack_point(point: Point) -> bytes:
    duration_us, current_ua = point
    if not POINT_MIN_US <= duration_us <= POINT_MAX_US:
        raise MessageError(
            f"a point of {duration_us} us, expected {POINT_MIN_US} to {POINT_MAX_US} us"
        )
    steps, rest_ua = divmod(current_ua, CURRENT_STEP_UA)
    if rest_ua or abs(current_ua) > CURRENT_MAX_UA:
        raise MessageError(
            f"a point of {current_ua} uA, expected steps of {CURRENT_STEP_UA} uA up to "
            f"{CURRENT_MAX_UA} uA either way"
        )
    return _POINT.pack(duration_us << 20 | (steps + CURRENT_ZERO) << 10)


def pack_channel_config(
    channel: int, connector: int, points: tuple[Point, ...], is_executed: bool = True
) -> bytes:
    """Return the payload of Ll_channel_config: one pulse, at once where `is_executed`.

    Raises:
        MessageError: channel (0 to 3), connector (0, 1) or a point is not the device's.
    """
    if not (0 <= channel < LOW_LEVEL_CHANNELS and connector in (0, 1)):
        raise MessageError(f"low-level channel {channel}, connector {connector}: there is none")
    packed = _pack_points(points)
    head = is_executed << 7 | channel << 5 | connector << 4 | (len(points) - 1)
    return bytes((head,)) + packed


# Messages from the device.


def unpack_result(payload: bytes) -> int:
    """Return the result that every answer begins with.

    Raises:
        MessageError: the answer is empty.
    """
    if not payload:
        raise MessageError("an answer without a result")
    return payload[0]


def unpack_device_id(payload: bytes) -> tuple[int, str]:
    """Return the result and the serial number, printable ASCII alone.

    Raises:
        MessageError: the answer is too short.
    """
    _expect(payload, 11, "device id")
    text = payload[1:11].rstrip(b"\0 ").decode("ascii", "replace")
    return payload[0], "".join(each if " " <= each <= "~" else "?" for each in text)


def unpack_status(payload: bytes) -> Status:
    """Read the answer to Get_stim_status.

    Raises:
        MessageError: the answer is too short.
    """
    _expect(payload, 3, "status")
    return Status(payload[0], payload[1], payload[2] == HIGH_VOLTAGE_ON)


def unpack_version(payload: bytes) -> Version:
    """Read the answer to Get_extended_version.

    Raises:
        MessageError: the answer is too short.
    """
    _expect(payload, 13, "version")
    return Version(
        payload[0],
        ".".join(str(each) for each in payload[1:4]),
        ".".join(str(each) for each in payload[4:7]),
    )


def unpack_current_data(payload: bytes) -> CurrentData:
    """Read the answer to Ml_get_current_data: channel states, low half of each byte first.

    Raises:
        MessageError: the answer is too short, or of other data.
    """
    _expect(payload, 7, "current data")
    if payload[1] != CURRENT_DATA_CHANNELS:
        raise MessageError(f"current data of kind {payload[1]}, expected {CURRENT_DATA_CHANNELS}")
    return CurrentData(
        payload[0],
        tuple(bool(payload[2] >> index & 1) for index in range(CHANNELS)),
        tuple(payload[3 + index // 2] >> 4 * (index % 2) & 15 for index in range(CHANNELS)),
    )


def _expect(payload: bytes, size: int, what: str) -> None:
    if len(payload) < size:
        raise MessageError(f"{what}: {len(payload)} bytes, expected {size}")
