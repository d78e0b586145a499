"""The low level of ScienceMode 4, both sides: one pulse for each request, measured where asked.

`p24.pack_channel_config` writes the request for a pulse.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from estim.dialects.p24 import LOW_LEVEL_CHANNELS, Point
from estim.dialects.p24_device import unpack_points
from firmware_protocol.errors import MessageError

SAMPLES = 128
CONNECTORS = 2
HUNDREDTHS_MAX = 0xFFFF
_ANSWER_HEAD_BYTES = 3
_SAMPLES = Struct(f">{1 + SAMPLES}H")


class Measurement(IntEnum):
    """What is measured during a pulse."""

    NONE = 0
    CURRENT = 1
    VOLTAGE = 2
    HIGH_VOLTAGE = 3


class HighVoltage(IntEnum):
    """Where the high voltage comes from; the vendor has further settings, of 30 to 120 V."""

    ON = 0
    OFF = 1


class LowLevelInit(NamedTuple):
    """What Ll_init asks for."""

    measurement: Measurement
    high_voltage: HighVoltage


class ChannelConfig(NamedTuple):
    """What Ll_channel_config asks for; no points where nothing is to be played."""

    is_executed: bool
    channel: int
    connector: int
    points: tuple[Point, ...]


class PulseAnswer(NamedTuple):
    """What comes back after the pulse.

    Attributes:
        measurement: as Ll_init had it; an int where the device says something unknown.
        sample_us: from one sample to the next; 0 without measurement.
        hundredths: 128 of them: of mA or of V, never negative; none without measurement.
    """

    result: int
    channel: int
    connector: int
    measurement: int
    sample_us: int = 0
    hundredths: tuple[int, ...] = ()


def pack_low_level_init(
    measurement: Measurement = Measurement.NONE, high_voltage: HighVoltage = HighVoltage.ON
) -> bytes:
    """Return the payload of Ll_init."""
    return bytes((measurement << 4 | high_voltage << 1,))


def unpack_low_level_init(payload: bytes) -> LowLevelInit:
    """Read Ll_init.

    Raises:
        MessageError: there is no payload, or it asks for something unknown.
    """
    if not payload:
        raise MessageError("Ll_init without its byte")
    try:
        return LowLevelInit(Measurement(payload[0] >> 4 & 7), HighVoltage(payload[0] >> 1 & 7))
    except ValueError as error:
        raise MessageError(f"Ll_init: {error}") from None


def unpack_channel_config(payload: bytes) -> ChannelConfig:
    """Read Ll_channel_config; what is not to be played needs no points.

    Raises:
        MessageError: the payload is too short, or a current is out of range.
    """
    if not payload:
        raise MessageError("Ll_channel_config without its head")
    head = payload[0]
    is_executed = bool(head >> 7)
    points = unpack_points(payload[1:], (head & 15) + 1) if is_executed else ()
    return ChannelConfig(is_executed, head >> 5 & 3, head >> 4 & 1, points)


def pack_pulse_answer(
    result: int,
    channel: int,
    connector: int,
    measurement: int = Measurement.NONE,
    sample_us: int = 0,
    hundredths: Sequence[int] = (),
) -> bytes:
    """Return the payload that follows a pulse; samples only where something was measured."""
    head = bytes((result, connector << 4 | channel, measurement))
    if measurement == Measurement.NONE:
        return head
    return head + _SAMPLES.pack(sample_us, *(min(each, HUNDREDTHS_MAX) for each in hundredths))


def unpack_pulse_answer(payload: bytes) -> PulseAnswer:
    """Read what follows a pulse.

    Raises:
        MessageError: the answer is too short, or names a channel that there is not.
    """
    if len(payload) < _ANSWER_HEAD_BYTES:
        raise MessageError(f"answer to a pulse: {len(payload)} bytes, expected at least 3")
    result, where, measurement = payload[:_ANSWER_HEAD_BYTES]
    channel, connector = where & 15, where >> 4
    if channel >= LOW_LEVEL_CHANNELS or connector >= CONNECTORS:
        raise MessageError(f"answer to a pulse: channel {channel}, connector {connector}")
    if measurement == Measurement.NONE:
        return PulseAnswer(result, channel, connector, measurement)
    if len(payload) < _ANSWER_HEAD_BYTES + _SAMPLES.size:
        raise MessageError(
            f"answer to a pulse: {len(payload)} bytes, "
            f"expected {_ANSWER_HEAD_BYTES + _SAMPLES.size} with samples"
        )
    sample_us, *hundredths = _SAMPLES.unpack_from(payload, _ANSWER_HEAD_BYTES)
    return PulseAnswer(result, channel, connector, measurement, sample_us, tuple(hundredths))
