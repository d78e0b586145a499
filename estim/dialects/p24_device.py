"""The device's side of ScienceMode 4: requests read, answers written.

What a request may hold is judged here and not by `p24`, so that neither hides the other's mistakes.
What the vendor leaves open, and how it is taken here, is told in `estim.simulator.p24`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from estim.dialects.p24 import (
    CHANNELS,
    CURRENT_DATA_CHANNELS,
    CURRENT_MAX_UA,
    CURRENT_STEP_UA,
    CURRENT_ZERO,
    HIGH_VOLTAGE_ON,
    LOAD_POINT_US,
    POINT_MIN_US,
    ChannelUpdate,
    Point,
)
from firmware_protocol.errors import MessageError

HIGH_VOLTAGE_OFF = 1
POINT_BYTES = 4
CHANNEL_HEAD_BYTES = 3
DEVICE_ID_CHARACTERS = 10
US_PER_MS = 1000
LOAD_MS_MAX = 1000
"""Milliseconds of a second; the sum over channels, rounded up to whole ones, stays below."""
COARSE_STEP_US, COARSE_MAX_US = 500, 16_383_000
FINE_STEP_US, FINE_MAX_US = 250, 8_191_500


class VersionTold(NamedTuple):
    """What Get_extended_version answers.

    Attributes:
        firmware: three numbers.
        protocol: three numbers.
        firmware_hash: 32 bits.
        hash_type: 1 for git.
    """

    firmware: tuple[int, int, int]
    protocol: tuple[int, int, int]
    firmware_hash: int
    hash_type: int
    is_hash_valid: bool


# Requests.


def unpack_init(payload: bytes) -> bool:
    """Read Ml_init: whether every channel stops when one has an error.

    Raises:
        MessageError: there is no payload.
    """
    if not payload:
        raise MessageError("Ml_init without its byte")
    return bool(payload[0] & 1)


def unpack_update(payload: bytes) -> tuple[ChannelUpdate | None, ...]:
    """Read Ml_update, channel by channel; None for one that is off.

    Raises:
        MessageError: the mask does not fit what follows, a point or a period is out of range, or
            the whole takes too much of the device's time.
    """
    if not payload:
        raise MessageError("Ml_update without its mask")
    at = 1
    channels: list[ChannelUpdate | None] = []
    for index in range(CHANNELS):
        if not payload[0] >> index & 1:
            channels.append(None)
            continue
        head = payload[at : at + CHANNEL_HEAD_BYTES]
        if len(head) < CHANNEL_HEAD_BYTES:
            raise MessageError(f"channel {index + 1} is in the mask, and nothing follows")
        at += CHANNEL_HEAD_BYTES
        end = at + POINT_BYTES * ((head[0] >> 4) + 1)
        points = unpack_points(payload[at:end], (head[0] >> 4) + 1)
        channels.append(ChannelUpdate(points, _period_us(head[1] << 8 | head[2]), head[0] & 15))
        at = end
    if at != len(payload):
        raise MessageError(f"{len(payload) - at} bytes more than the mask tells")
    _check_load([channel for channel in channels if channel is not None])
    return tuple(channels)


def _period_us(field: int) -> int:
    step_us, longest_us = (
        (FINE_STEP_US, FINE_MAX_US) if field & 1 else (COARSE_STEP_US, COARSE_MAX_US)
    )
    period_us = (field >> 1) * step_us
    if not step_us <= period_us <= longest_us:
        raise MessageError(f"a period of {period_us} us")
    return period_us


def _check_load(channels: list[ChannelUpdate]) -> None:
    """Apply the vendor's rule: microseconds of points and 60 more, over milliseconds of period."""
    common_us = 1
    for channel in channels:
        common_us *= channel.period_us
    busy = sum(
        (sum(point.duration_us for point in channel.points) + LOAD_POINT_US)
        * (common_us // channel.period_us)
        for channel in channels
    )
    if -(-busy * US_PER_MS // common_us) >= LOAD_MS_MAX:
        raise MessageError("the channels take more than the device's time")


def unpack_points(payload: bytes, count: int) -> tuple[Point, ...]:
    """Read points; a duration under 10 us is as the device plays it, the last 10 bits are ignored.

    Raises:
        MessageError: there are not so many, or a current is out of range.
    """
    if len(payload) < POINT_BYTES * count:
        raise MessageError(f"{len(payload)} bytes of points, expected {POINT_BYTES * count}")
    points = []
    for at in range(0, POINT_BYTES * count, POINT_BYTES):
        word = int.from_bytes(payload[at : at + POINT_BYTES], "big")
        current_ua = ((word >> 10 & 0x3FF) - CURRENT_ZERO) * CURRENT_STEP_UA
        if abs(current_ua) > CURRENT_MAX_UA:
            raise MessageError(f"a point of {current_ua} uA")
        points.append(Point(max(word >> 20, POINT_MIN_US), current_ua))
    return tuple(points)


# Answers.


def pack_device_id(result: int, serial_number: str) -> bytes:
    """Return the answer to Get_device_id: 10 characters, zeros behind a shorter number."""
    text = serial_number.encode("ascii", "replace")[:DEVICE_ID_CHARACTERS]
    return bytes((result,)) + text.ljust(DEVICE_ID_CHARACTERS, b"\0")


def pack_status(result: int, status: int, is_high_voltage_on: bool) -> bytes:
    """Return the answer to Get_stim_status."""
    return bytes((result, status, HIGH_VOLTAGE_ON if is_high_voltage_on else HIGH_VOLTAGE_OFF))


def pack_version(result: int, version: VersionTold) -> bytes:
    """Return the answer to Get_extended_version."""
    return (
        bytes((result, *version.firmware, *version.protocol))
        + version.firmware_hash.to_bytes(4, "big")
        + bytes((version.hash_type, version.is_hash_valid))
    )


def pack_current_data(
    result: int, selection: int, is_active: Sequence[bool], states: Sequence[int]
) -> bytes:
    """Return the answer to Ml_get_current_data; of another selection than 4, its head alone."""
    if selection != CURRENT_DATA_CHANNELS:
        return bytes((result, selection))
    mask = sum(1 << index for index, active in enumerate(is_active) if active)
    pairs = zip(states[0::2], states[1::2], strict=True)
    return bytes((result, selection, mask, *(low | high << 4 for low, high in pairs)))
