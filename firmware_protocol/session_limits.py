"""The session limits that a device holds before any are sent, and the digest of those in force."""

from __future__ import annotations

import zlib

from firmware_protocol import codec, limits
from firmware_protocol.messages import ChannelLimits, PolicyFlag, SetLimits


def limits_digest(message: SetLimits) -> int:
    """Return the CRC-32 of the payload of the limits in force (identity, not security).

    Raises:
        MessageError: a field does not fit its declared type.
    """
    return zlib.crc32(codec.encode_payload(message))


def compiled_limits(channel_count: int, amplitude_max_ua: int) -> SetLimits:
    """Return the limits in force when an epoch begins; a session may only lower them.

    Both arguments are what the device's Capabilities say. The charge of a phase is also held to
    `limits.compiled_phase_charge_pc` of its duration, whatever stands here.
    """
    channel = ChannelLimits(
        amplitude_ua=min(limits.amplitude_ua.maximum, amplitude_max_ua),
        phase_charge_pc=limits.phase_charge_pc.maximum,
        rms_ua=limits.rms_ua.maximum,
        average_ua=limits.average_ua.maximum,
    )
    return SetLimits(
        setpoint_slew_ua_per_s=limits.setpoint_slew_ua_per_s.maximum,
        rise_per_cycle_ua=limits.rise_per_cycle_ua.maximum,
        step_ua=limits.step_ua.maximum,
        running_ms=limits.running_ms.maximum,
        policy=PolicyFlag.NONE,
        channels=(channel,) * channel_count,
    )
