"""Pulse programmes: canonical bytes, the rules of their form, grid and currents."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_protocol import codec
from firmware_protocol.errors import ProgramError
from firmware_protocol.messages import (
    BeginProgram,
    Message,
    PhaseRow,
    ProgramFlag,
    ProgramKeyframes,
    ProgramPhases,
    Stop,
)
from firmware_protocol.program import (
    ChannelProgram,
    Cycle,
    Keyframe,
    Phase,
    PulseProgram,
    check_form,
    from_canonical_bytes,
    from_messages,
)
from firmware_protocol.vectors import EXAMPLE_PROGRAMS
from tests.protocol.strategies import channel_programs, programs

SYMMETRIC = (Phase(1, 1000), Phase(1, -1000))
PLAIN = ChannelProgram(SYMMETRIC, unit_us=200, pulse_period_us=10_000)
FRAMES = (Keyframe(0, 1000, 200, 10_000), Keyframe(3_000, 500, 100, 20_000))
MODULATED = dataclasses.replace(PLAIN, keyframes=FRAMES, keyframe_cycle_ms=6_000)
BURSTS = dataclasses.replace(PLAIN, pulses_per_burst=7, burst_period_us=500_000)


# Canonical bytes and digest.


def test_canonical_bytes_written_by_hand() -> None:
    """Two channels, cycle and keyframes: every byte from the tables of the wire, with struct."""
    program = PulseProgram(
        (
            dataclasses.replace(PLAIN, cycle=Cycle(1500, 8000, 700, 12_000, 20_700)),
            dataclasses.replace(MODULATED, pulse_offset_us=5_000),
        ),
        allow_overlap=True,
    )
    no_rest = (0, 0, 0, 0, 0)
    canonical = (
        struct.pack("<BB", 2, 1)
        + struct.pack("<BHIIHI", 0, 200, 10_000, 0, 0, 0)
        + struct.pack("<HIHIIIB", 1500, 8000, 700, 12_000, 20_700, 0, 0)
        + struct.pack("<BHhHh", 2, 1, 1000, 1, -1000)
        + struct.pack("<BHIIHI", 1, 200, 10_000, 5_000, 0, 0)
        + struct.pack("<HIHIIIB", *no_rest, 6_000, 2)
        + struct.pack("<BHhHh", 2, 1, 1000, 1, -1000)
        + struct.pack("<BBB", 1, 0, 2)
        + struct.pack("<IHHI", 0, 1000, 200, 10_000)
        + struct.pack("<IHHI", 3_000, 500, 100, 20_000)
    )
    assert program.canonical_bytes() == canonical
    assert program.digest == zlib.crc32(canonical)
    assert from_canonical_bytes(canonical) == program


@given(programs())
def test_programmes_survive_their_canonical_bytes_and_messages(program: PulseProgram) -> None:
    check_form(program)
    assert from_canonical_bytes(program.canonical_bytes()) == program
    assert from_messages(program.messages()) == program
    assert from_messages(program.messages()).digest == program.digest


@given(programs(), st.data())
def test_any_change_of_the_bytes_is_refused_or_another_programme(
    program: PulseProgram, data: st.DataObject
) -> None:
    canonical = bytearray(program.canonical_bytes())
    canonical[data.draw(st.integers(0, len(canonical) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = from_canonical_bytes(bytes(canonical))
    except ProgramError:
        return
    assert other != program
    assert other.canonical_bytes() == bytes(canonical)


@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_program_errors(noise: bytes) -> None:
    for start in (b"", b"\x01\x00", PulseProgram((PLAIN,)).canonical_bytes()[:46]):
        try:
            program = from_canonical_bytes(start + noise)
        except ProgramError:
            continue
        assert program.canonical_bytes() == start + noise


def test_keyframes_travel_sixteen_at_a_time() -> None:
    loading = EXAMPLE_PROGRAMS["20 keyframes, so two messages of them"].messages()
    assert [type(message) for message in loading] == [
        BeginProgram,
        ProgramPhases,
        ProgramKeyframes,
        ProgramKeyframes,
    ]
    batches = [message for message in loading if isinstance(message, ProgramKeyframes)]
    assert [(batch.first_index, len(batch.keyframes)) for batch in batches] == [(0, 16), (16, 4)]


def test_keyframes_in_other_batches_are_the_same_programme_but_not_canonical() -> None:
    program = PulseProgram((MODULATED,))
    begin, phases, frames = program.messages()
    assert isinstance(frames, ProgramKeyframes)
    first = ProgramKeyframes(0, 0, frames.keyframes[:1])
    second = ProgramKeyframes(0, 1, frames.keyframes[1:])
    split = (begin, phases, first, second)
    assert from_messages(split) == program
    with pytest.raises(ProgramError, match="not the canonical bytes"):
        from_canonical_bytes(b"".join(codec.encode_payload(message) for message in split))


def test_an_empty_keyframe_message_does_not_keep_the_decoder_waiting() -> None:
    """Two keyframes announced, a message of none: refused, where more might be waited for."""
    begin, phases, _ = PulseProgram((MODULATED,)).messages()
    empty = ProgramKeyframes(0, 0, ())
    canonical = b"".join(codec.encode_payload(message) for message in (begin, phases, empty))
    with pytest.raises(ProgramError, match="a keyframe message is empty"):
        from_canonical_bytes(canonical)


LOADED = PulseProgram((PLAIN, dataclasses.replace(MODULATED, pulse_offset_us=5_000)), True)
BEGIN, PHASES_1, PHASES_2, KEYS_2 = LOADED.messages()


@pytest.mark.parametrize(
    ("loading", "words"),
    [
        ((), "begins with BeginProgram"),
        ((PHASES_1, BEGIN), "begins with BeginProgram"),
        ((BEGIN, BEGIN, PHASES_1), "BeginProgram does not belong"),
        ((BEGIN, Stop()), "Stop does not belong"),
        ((BEGIN, PHASES_2, PHASES_1), "channel 2 came out of order"),
        ((BEGIN, PHASES_1, PHASES_1), "channel 1 came out of order"),
        ((BEGIN, KEYS_2, PHASES_1), "keyframes of channel 2 came out of order"),
        ((BEGIN, PHASES_1, KEYS_2, PHASES_2), "keyframes of channel 2 came out of order"),
        ((BEGIN, PHASES_1, PHASES_2, KEYS_2, KEYS_2), "keyframes of channel 2 came out of order"),
        ((BEGIN, PHASES_1, PHASES_2, ProgramKeyframes(1, 0, ())), "a keyframe message is empty"),
        ((BEGIN, PHASES_1), "2 channels announced, 1 came"),
        ((BEGIN, PHASES_1, PHASES_2), "channel 2: 2 keyframes announced, 0 came"),
        ((BeginProgram(0, ProgramFlag.NONE),), "1 to 4 channels, got 0"),
    ],
)
def test_a_programme_not_loaded_in_order_is_refused(
    loading: tuple[Message, ...], words: str
) -> None:
    assert from_messages((BEGIN, PHASES_1, PHASES_2, KEYS_2)) == LOADED
    with pytest.raises(ProgramError, match=words):
        from_messages(loading)


def test_a_phase_of_share_0_at_the_end_cannot_hide_as_a_gap() -> None:
    trailing = ProgramPhases(
        0, 200, 10_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        (PhaseRow(1, 1000), PhaseRow(1, -1000), PhaseRow(1, 0)),
    )  # fmt: skip
    with pytest.raises(ProgramError, match="begins and ends with an active phase"):
        from_messages((BeginProgram(1, ProgramFlag.NONE), trailing))


# The rules of form, each with a counterexample made by hand.


def changed(channel: ChannelProgram, **changes: Any) -> ChannelProgram:
    return dataclasses.replace(channel, **changes)


CHANNEL_COUNTEREXAMPLES: list[tuple[ChannelProgram, str]] = [
    (changed(PLAIN, phases=()), "1 to 16 phases, got 0"),
    (changed(PLAIN, phases=SYMMETRIC * 8 + SYMMETRIC[:1]), "1 to 16 phases, got 17"),
    (changed(PLAIN, phases=(Phase(0, 1000), Phase(1, -1000))), "no duration"),
    (changed(PLAIN, phases=(Phase(1, 1000), Phase(0, 0), Phase(1, -1000))), "no duration"),
    (changed(PLAIN, phases=(Phase(-1, 1000), Phase(-1, -1000))), "no duration"),
    (changed(PLAIN, phases=(Phase(5, 0), *SYMMETRIC)), "begins and ends with an active phase"),
    (changed(PLAIN, phases=(*SYMMETRIC, Phase(5, 0))), "begins and ends with an active phase"),
    (changed(PLAIN, phases=(Phase(1, 999), Phase(1, -999))), "must have 1000 permille"),
    (changed(PLAIN, phases=(Phase(1, 1001), Phase(1, -1001))), "must have 1000 permille"),
    (changed(PLAIN, phases=(Phase(1, 1000),)), r"net charge is not zero: \+1000"),
    (changed(PLAIN, phases=(Phase(1, 1000), Phase(1, -999))), r"net charge is not zero: \+1 "),
    (changed(PLAIN, phases=(Phase(1, 1000), Phase(2, -1000))), "net charge is not zero: -1000"),
    (changed(PLAIN, phases=(Phase(1, 1000), Phase(3, -333))), r"net charge is not zero: \+1 "),
    (changed(PLAIN, unit_us=0), "a phase unit has no duration"),
    (changed(PLAIN, pulse_period_us=399), "the pulse is longer than its period"),
    (
        changed(PLAIN, phases=(Phase(1, 1000), Phase(9_601, 0), Phase(1, -1000))),
        "the pulse is longer than its period",
    ),
    (changed(BURSTS, burst_period_us=69_999), "the burst is longer than its period"),
    (changed(BURSTS, burst_period_us=0), "the burst is longer than its period"),
    (changed(BURSTS, pulses_per_burst=0), "a burst period without bursts"),
    (changed(PLAIN, cycle=Cycle(0, 0, 0, 0)), "a cycle without an on time"),
    (changed(PLAIN, cycle=Cycle(500, 0, 500, 1000)), "a cycle without an on time"),
    (changed(PLAIN, cycle=Cycle(0, 0, 0, 0, 1)), "a cycle without an on time"),
    (changed(PLAIN, keyframe_cycle_ms=1), "a keyframe cycle without keyframes"),
    (changed(MODULATED, keyframes=FRAMES[1:]), "start at 0 ms and rise"),
    (changed(MODULATED, keyframes=(FRAMES[0], FRAMES[0])), "start at 0 ms and rise"),
    (changed(MODULATED, keyframes=(*FRAMES, Keyframe(2_999, 1, 1, 9))), "start at 0 ms and rise"),
    (changed(MODULATED, keyframe_cycle_ms=3_000), "ends before its last keyframe"),
    (changed(MODULATED, keyframe_cycle_ms=0), "ends before its last keyframe"),
    (
        changed(MODULATED, keyframes=(FRAMES[0], Keyframe(3_000, 1001, 100, 20_000))),
        "a keyframe exceeds 1000 permille",
    ),
    (
        changed(MODULATED, keyframes=(Keyframe(0, 999, 200, 10_000), FRAMES[1])),
        "one keyframe must have 1000 permille",
    ),
    (
        changed(MODULATED, keyframes=(FRAMES[0], Keyframe(3_000, 500, 0, 20_000))),
        "a phase unit has no duration",
    ),
    (
        changed(MODULATED, keyframes=(FRAMES[0], Keyframe(3_000, 500, 201, 401))),
        "the pulse is longer than its period",
    ),
    (
        changed(MODULATED, pulses_per_burst=7, burst_period_us=139_999),
        "the burst is longer than its period",
    ),
    (
        changed(
            MODULATED,
            keyframes=tuple(Keyframe(at_ms, 1000, 200, 10_000) for at_ms in range(33)),
        ),
        "at most 32 keyframes, got 33",
    ),
    (changed(PLAIN, unit_us=65_536, pulse_period_us=200_000), "does not fit the wire"),
    (changed(PLAIN, pulse_period_us=2**32), "does not fit the wire"),
    (changed(PLAIN, pulse_offset_us=-1), "does not fit the wire"),
    (changed(PLAIN, cycle=Cycle(65_536, 1, 0, 0)), "does not fit the wire"),
    (changed(PLAIN, cycle=Cycle(0, 1, 0, -1)), "does not fit the wire"),
    (changed(PLAIN, unit_us=200.0), "does not fit the wire"),
    (
        changed(MODULATED, keyframes=(FRAMES[0], Keyframe(3_000, -1, 100, 20_000))),
        "does not fit the wire",
    ),
]


@pytest.mark.parametrize(("channel", "words"), CHANNEL_COUNTEREXAMPLES)
def test_a_channel_that_breaks_a_rule_is_refused_by_name(
    channel: ChannelProgram, words: str
) -> None:
    with pytest.raises(ProgramError, match=words):
        check_form(PulseProgram((channel,)))
    where = "" if words == "does not fit the wire" else "channel 2: .*"
    with pytest.raises(ProgramError, match=where + words):
        check_form(PulseProgram((PLAIN, channel), allow_overlap=True))


@pytest.mark.parametrize(
    "channel",
    [
        PLAIN,
        MODULATED,
        BURSTS,
        changed(PLAIN, pulse_period_us=400),
        changed(PLAIN, phases=SYMMETRIC * 8),
        changed(PLAIN, phases=(Phase(1, 1000), Phase(9_600, 0), Phase(1, -1000))),
        changed(PLAIN, phases=(Phase(1, -1000), Phase(1000, 1)), unit_us=9),
        changed(BURSTS, burst_period_us=70_000),
        changed(BURSTS, pulses_per_burst=1, burst_period_us=10_000),
        changed(PLAIN, cycle=Cycle(0, 1, 0, 0)),
        changed(MODULATED, keyframe_cycle_ms=3_001),
        changed(MODULATED, pulses_per_burst=7, burst_period_us=140_000),
        changed(MODULATED, keyframes=(FRAMES[0], Keyframe(3_000, 0, 100, 200))),
        changed(MODULATED, keyframes=tuple(Keyframe(n, 1000, 200, 10_000) for n in range(32))),
        changed(PLAIN, unit_us=65_535, pulse_period_us=2**32 - 1),
    ],
)
def test_the_other_side_of_each_edge_is_taken(channel: ChannelProgram) -> None:
    check_form(PulseProgram((channel,)))


@pytest.mark.parametrize("channel_count", [0, 5])
def test_one_to_four_channels(channel_count: int) -> None:
    with pytest.raises(ProgramError, match=f"1 to 4 channels, got {channel_count}"):
        check_form(PulseProgram((PLAIN,) * channel_count, allow_overlap=True))
    check_form(PulseProgram((PLAIN,) * 4, allow_overlap=True))


# Lengths, grid and currents, worked out by hand.


def test_gaps_are_microseconds_and_active_phases_units() -> None:
    channel = ChannelProgram((Phase(1, 1000), Phase(50, 0), Phase(4, -250)), 100, 20_000)
    assert [channel.phase_us(phase, 100) for phase in channel.phases] == [100, 50, 400]
    assert channel.pulse_us(100) == 550
    assert channel.pulse_us(250) == 250 + 50 + 1000


def test_a_cycle_counts_its_ramps_as_on() -> None:
    cycle = Cycle(ramp_up_ms=1500, on_ms=8000, ramp_down_ms=700, off_ms=12_000, offset_ms=99)
    assert cycle.on_phase_ms == 10_200
    assert cycle.total_ms == 22_200


def test_settings_are_the_keyframes_or_the_one_that_stands_for_none() -> None:
    assert MODULATED.settings == FRAMES
    assert PLAIN.settings == (Keyframe(0, 1000, 200, 10_000),)


@pytest.mark.parametrize(
    ("phases", "is_paired", "grid_ua"),
    [
        ([(1, 1000), (1, -1000)], True, 100),
        ([(2, 1000), (80, 0), (2, -1000)], True, 100),
        ([(1, 1000), (3, -333), (1, -1000), (3, 333)], True, 100),
        ([(1, 1000), (4, -250)], False, 400),
        ([(1, 1000), (2, -500)], False, 200),
        ([(1, 1000), (50, 0), (8, -125)], False, 800),
        ([(2, 1000), (1, -1000), (1, -1000)], False, 100),
        ([(1, 1000), (1, -600), (1, -400)], False, 500),
        ([(333, 1000), (1000, -333)], False, 100_000),
        ([(3, -1000), (5, 600)], False, 500),
    ],
)
def test_grids_worked_out_by_hand(
    phases: list[tuple[int, int]], is_paired: bool, grid_ua: int
) -> None:
    """100 uA x lcm(1000 / gcd(1000, share)): 250 -> 4, 600 -> 5, 400 -> 5, 333 -> 1000."""
    channel = ChannelProgram(tuple(Phase(*phase) for phase in phases), 1, 10_000)
    check_form(PulseProgram((channel,)))
    assert channel.is_paired is is_paired
    assert channel.grid_ua(100) == grid_ua


@pytest.mark.parametrize(
    ("phases", "amplitude_ua", "step_ua", "currents_ua"),
    [
        ([(1, 1000), (1, -1000)], 12_300, 100, (12_300, -12_300)),
        ([(1, 1000), (50, 0), (4, -250)], 7_200, 100, (7_200, 0, -1_800)),
        ([(1, 1000), (1, 500), (1, -500), (1, -1000)], 700, 100, (700, 300, -300, -700)),
        ([(1, 1000), (1, 99), (1, -99), (1, -1000)], 1_000, 100, (1_000, 0, 0, -1_000)),
        ([(1, -1000), (1, 333), (1, 1000), (1, -333)], 999, 1, (-999, 332, 999, -332)),
        ([(1, 1000), (1, -600), (1, -400)], 2_500, 100, (2_500, -1_500, -1_000)),
        ([(1, 1000), (1, -1000)], 0, 100, (0, 0)),
    ],
)
def test_phase_currents_worked_out_by_hand(
    phases: list[tuple[int, int]], amplitude_ua: int, step_ua: int, currents_ua: tuple[int, ...]
) -> None:
    channel = ChannelProgram(tuple(Phase(*phase) for phase in phases), 1, 10_000)
    assert channel.phase_currents_ua(amplitude_ua, step_ua) == currents_ua


@pytest.mark.hazard(3)
@given(channel_programs(), st.integers(1, 500), st.integers(0, 100_000))
def test_every_pulse_on_the_grid_is_balanced_to_the_last_count(
    channel: ChannelProgram, step_ua: int, wished_ua: int
) -> None:
    amplitude_ua = wished_ua - wished_ua % channel.grid_ua(step_ua)
    currents_ua = channel.phase_currents_ua(amplitude_ua, step_ua)
    assert max(map(abs, currents_ua)) == amplitude_ua
    assert all(current_ua % step_ua == 0 for current_ua in currents_ua)
    for setting in channel.settings:
        durations_us = [channel.phase_us(phase, setting.unit_us) for phase in channel.phases]
        charge_pc = sum(i * t for i, t in zip(currents_ua, durations_us, strict=True))
        assert charge_pc == 0
