"""What a device lacks for a programme, at both sides of every edge; the limits it starts with."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from typing import Any

import pytest

from firmware_protocol.capabilities import shortfalls
from firmware_protocol.errors import MessageError
from firmware_protocol.messages import Capabilities, CapabilityFlag, PolicyFlag
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from firmware_protocol.session_limits import compiled_limits, limits_digest

SYMMETRIC = (Phase(1, 1000), Phase(1, -1000))
PLAIN = ChannelProgram(SYMMETRIC, 200, 10_000)
RECOVERED = dataclasses.replace(PLAIN, phases=(Phase(1, 1000), Phase(50, 0), Phase(4, -250)))
MODULATED = dataclasses.replace(
    PLAIN,
    unit_us=999,
    pulse_period_us=1,
    keyframes=(Keyframe(0, 1000, 100, 20_000), Keyframe(500, 0, 400, 5_000)),
    keyframe_cycle_ms=1000,
)
ALL_FLAGS = CapabilityFlag(0b111_1111)
ABLE = Capabilities(
    in_reply_to=0,
    channel_count=4,
    phases_max=16,
    keyframes_max=32,
    flags=ALL_FLAGS,
    amplitude_max_ua=100_000,
    amplitude_step_ua=100,
    compliance_mv=150_000,
    phase_min_us=10,
    phase_max_us=1_000,
    pulse_period_min_us=1_000,
    residual_ms=330,
)


@pytest.mark.parametrize(
    ("channel", "enough", "too_little", "words"),
    [
        (PLAIN, {"phases_max": 2}, {"phases_max": 1}, "a pulse of 2 phases"),
        (RECOVERED, {"phases_max": 3}, {"phases_max": 2}, "a pulse of 3 phases"),
        (PLAIN, {"phase_min_us": 200}, {"phase_min_us": 201}, "a phase of 200 us"),
        (PLAIN, {"phase_max_us": 200}, {"phase_max_us": 199}, "a phase of 200 us"),
        (RECOVERED, {"phase_min_us": 200}, {"phase_min_us": 201}, "a phase of 200 us"),
        (RECOVERED, {"phase_max_us": 800}, {"phase_max_us": 799}, "a phase of 800 us"),
        (MODULATED, {"phase_min_us": 100}, {"phase_min_us": 101}, "a phase of 100 us"),
        (MODULATED, {"phase_max_us": 400}, {"phase_max_us": 399}, "a phase of 400 us"),
        (
            PLAIN,
            {"pulse_period_min_us": 10_000},
            {"pulse_period_min_us": 10_001},
            "a pulse period of 10000 us",
        ),
        (
            MODULATED,
            {"pulse_period_min_us": 5_000},
            {"pulse_period_min_us": 5_001},
            "a pulse period of 5000 us",
        ),
        (MODULATED, {"keyframes_max": 2}, {"keyframes_max": 1}, "a modulation of 2 keyframes"),
        (
            PLAIN,
            {"flags": CapabilityFlag.NONE},
            {"channel_count": 0},
            "needs 1 channels, the device has 0",
        ),
        (
            RECOVERED,
            {"flags": CapabilityFlag.UNEQUAL_PHASES},
            {"flags": ALL_FLAGS & ~CapabilityFlag.UNEQUAL_PHASES},
            "phases of unequal size",
        ),
        (
            dataclasses.replace(PLAIN, pulses_per_burst=3, burst_period_us=50_000),
            {"flags": CapabilityFlag.HOLDS_BURST},
            {"flags": ALL_FLAGS & ~CapabilityFlag.HOLDS_BURST},
            "bursts, which the device cannot time",
        ),
        (
            dataclasses.replace(PLAIN, cycle=Cycle(0, 1, 0, 0)),
            {"flags": CapabilityFlag.HOLDS_CYCLE},
            {"flags": ALL_FLAGS & ~CapabilityFlag.HOLDS_CYCLE},
            "an on/off cycle, which the device cannot time",
        ),
        (
            MODULATED,
            {"flags": CapabilityFlag.HOLDS_KEYFRAMES},
            {"flags": ALL_FLAGS & ~CapabilityFlag.HOLDS_KEYFRAMES},
            "a modulation, which the device cannot time",
        ),
    ],
)
def test_each_shortfall_begins_at_its_edge(
    channel: ChannelProgram, enough: dict[str, Any], too_little: dict[str, Any], words: str
) -> None:
    program = PulseProgram((channel,))
    assert shortfalls(program, ABLE) == ()
    assert shortfalls(program, dataclasses.replace(ABLE, **enough)) == ()
    told = shortfalls(program, dataclasses.replace(ABLE, **too_little))
    assert len(told) == 1
    assert words in told[0]


def test_all_shortfalls_are_told_each_with_its_channel() -> None:
    program = PulseProgram((PLAIN, RECOVERED, MODULATED), allow_overlap=True)
    poor = dataclasses.replace(
        ABLE, channel_count=2, phases_max=2, phase_max_us=300, flags=CapabilityFlag.NONE
    )
    assert shortfalls(program, poor) == (
        "the programme needs 3 channels, the device has 2",
        "channel 2: a pulse of 3 phases, the device plays at most 2",
        "channel 2: a phase of 800 us, the device's longest is 300 us",
        "channel 2: phases of unequal size, the device plays only equal and opposite ones",
        "channel 3: a phase of 400 us, the device's longest is 300 us",
        "channel 3: a modulation, which the device cannot time by itself",
    )


def test_the_length_of_a_gap_is_no_phase_duration() -> None:
    """The gap of 50 us is shorter than the shortest phase, and that is fine."""
    program = PulseProgram((RECOVERED,))
    assert shortfalls(program, dataclasses.replace(ABLE, phase_min_us=51)) == ()


@pytest.mark.parametrize(
    ("amplitude_max_ua", "amplitude_ua"),
    [(60_000, 60_000), (100_000, 100_000), (100_001, 100_000), (2_000_000, 100_000)],
)
def test_compiled_limits_and_their_digest_written_by_hand(
    amplitude_max_ua: int, amplitude_ua: int
) -> None:
    payload = struct.pack("<HHHIB", 2000, 2000, 1000, 10_800_000, 0) + struct.pack(
        "<BIIIIIIII", 2, *(amplitude_ua, 48_000_000, 50_000, 10_000) * 2
    )
    compiled = compiled_limits(2, amplitude_max_ua)
    assert compiled.policy is PolicyFlag.NONE
    assert limits_digest(compiled) == zlib.crc32(payload)


def test_the_digest_tells_any_two_sets_of_limits_apart() -> None:
    compiled = compiled_limits(1, 100_000)
    channel = compiled.channels[0]
    others = [
        dataclasses.replace(compiled, step_ua=999),
        dataclasses.replace(compiled, policy=PolicyFlag.REQUIRE_PATIENT_STOP),
        dataclasses.replace(compiled, channels=(dataclasses.replace(channel, rms_ua=49_999),)),
        compiled_limits(2, 100_000),
    ]
    digests = {limits_digest(limits) for limits in (compiled, *others)}
    assert len(digests) == 5


def test_limits_that_cannot_be_sent_have_no_digest() -> None:
    with pytest.raises(MessageError):
        limits_digest(compiled_limits(5, 100_000))


def test_a_device_of_just_as_many_channels_lacks_none() -> None:
    able = dataclasses.replace(ABLE, channel_count=1)
    assert shortfalls(PulseProgram((PLAIN,)), able) == ()
