"""A core that holds as little as a microcontroller's: what does not fit is refused, and said so."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from estim.simulator.device import DeviceSettings
from firmware_protocol.messages import (
    BeginProgram,
    Capabilities,
    CommitProgram,
    GetCapabilities,
    ProgramAccepted,
    ProgramFlag,
    ProgramKeyframes,
    ProgramPhases,
    RefusalReason,
    Refused,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, PulseProgram
from firmware_protocol.program import Phase as PulsePhase
from tests.firmware import strategies
from tests.firmware.core import Lockstep, Twins
from tests.firmware.strategies import keyframes_one_by_one
from tests.simulator.host import MS, Host, S

OWN = DeviceSettings(channel_count=1, phases_max=6, keyframes_max=8)
PAIR = (PulsePhase(1, 1000), PulsePhase(1, -1000))
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def host_of(small: Lockstep, own: DeviceSettings = OWN) -> Host:
    twins = Twins(small, own)
    host = Host(own, wire=twins, device=twins.python)
    host.hello()
    return host


def pulse(phase_count: int) -> tuple[PulsePhase, ...]:
    """Return a balanced pulse of an even number of phases."""
    return PAIR * (phase_count // 2)


def modulated(keyframe_count: int) -> ChannelProgram:
    frames = tuple(Keyframe(10 * n, 1000, 100, 10_000) for n in range(keyframe_count))
    return ChannelProgram(PAIR, 100, 10_000, keyframes=frames, keyframe_cycle_ms=1_000)


def test_its_capabilities_tell_what_fits(small: Lockstep) -> None:
    (answer,) = host_of(small).send(GetCapabilities())
    assert isinstance(answer, Capabilities)
    assert (answer.channel_count, answer.phases_max, answer.keyframes_max) == (1, 6, 8)


@pytest.mark.parametrize(
    ("played", "refused"),
    [
        (PulseProgram((ChannelProgram(pulse(6), 100, 10_000),)), None),
        (PulseProgram((ChannelProgram(pulse(8), 100, 10_000),)), (0, 8, 6)),
        (PulseProgram((ChannelProgram(pulse(16), 100, 10_000),)), (0, 16, 6)),
        (PulseProgram((modulated(8),)), None),
        (PulseProgram((modulated(9),)), (0, 9, 8)),
        (PulseProgram((modulated(32),)), (0, 32, 8)),
        (PulseProgram((modulated(1),) * 2, allow_overlap=True), (255, 2, 1)),
        (PulseProgram((modulated(9),) * 4, allow_overlap=True), (255, 4, 1)),
    ],
)
def test_what_does_not_fit_is_a_capability(
    small: Lockstep, played: PulseProgram, refused: tuple[int, int, int] | None
) -> None:
    host = host_of(small)
    (answer,) = host.load(played)
    if refused is None:
        assert isinstance(answer, ProgramAccepted)
        return
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.CAPABILITY
    assert (answer.channel, answer.asked, answer.allowed) == refused
    # Nothing of it is left, and the next one is judged afresh.
    assert isinstance(host.load(PulseProgram((modulated(8),)))[0], ProgramAccepted)


def test_more_keyframes_than_announced_are_a_bad_programme_also_where_they_do_not_fit(
    small: Lockstep,
) -> None:
    host = host_of(small)
    begin, phases, frames = PulseProgram((modulated(10),)).messages()
    assert isinstance(phases, ProgramPhases)
    host.send(begin)
    host.send(dataclasses.replace(phases, keyframe_count=8))
    host.send(frames)
    (answer,) = host.send(CommitProgram(1))
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.PROGRAM


@pytest.mark.parametrize("count", [33, 40])
def test_more_keyframes_than_any_programme_has_are_a_bad_programme(
    small: Lockstep, count: int
) -> None:
    """Announced, or sent one by one until the wire's own maximum is passed."""
    host = host_of(small)
    begin, phases, frames = PulseProgram((modulated(16),)).messages()
    assert isinstance(phases, ProgramPhases)
    assert isinstance(frames, ProgramKeyframes)
    host.send(begin)
    host.send(dataclasses.replace(phases, keyframe_count=count))
    row = frames.keyframes[0]
    for index in range(count):
        host.send(ProgramKeyframes(0, index, (dataclasses.replace(row, at_ms=index),)))
    (answer,) = host.send(CommitProgram(1))
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.PROGRAM


def test_keyframes_of_a_channel_that_does_not_fit_are_not_kept(small: Lockstep) -> None:
    host = host_of(small)
    host.send(BeginProgram(2, ProgramFlag.ALLOW_OVERLAP))
    two = PulseProgram((modulated(2), modulated(4)), allow_overlap=True)
    for message in two.messages()[1:]:
        parts = (
            keyframes_one_by_one(message) if isinstance(message, ProgramKeyframes) else [message]
        )
        for part in parts:
            host.send(part)
    (answer,) = host.send(CommitProgram(two.digest))
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.CAPABILITY


@given(strategies.programmes(1), st.integers(0, 30_000))
@settings(max_examples=30, suppress_health_check=SHARED, phases=(Phase.reuse, Phase.generate))
def test_it_plays_what_fits_as_the_simulator_does(
    small: Lockstep, played: PulseProgram, target_ua: int
) -> None:
    host = host_of(small)
    if isinstance(host.load(played)[0], ProgramAccepted):
        host.arm()
        host.keep(2 * S, 0)
        host.keep(3 * S, target_ua)


# A stage of one current source, switched by pins: what it cannot play is refused, never trimmed.

SWITCHED = dataclasses.replace(OWN, is_switched=True, phase_min_us=50, pulse_period_min_us=5000)
APART = ((100, 1000), (100, -1000))
SLOWEST_US = 2_000_000_200
UNITS = ((10, 10_000), (5, 10_000), (1, 10_000))


def switched(
    *phases: tuple[int, int], period_us: int = 10_000, **timing: Any
) -> tuple[ChannelProgram]:
    shape = tuple(PulsePhase(*phase) for phase in phases)
    return (ChannelProgram(shape, 1, period_us, **timing),)


def in_turn(*settings: tuple[int, int], gap_us: int = 0, **timing: Any) -> tuple[ChannelProgram]:
    """Return two phases of 100 units, with keyframes of (unit, period)."""
    frames = tuple(Keyframe(at_ms, 1000, *each) for at_ms, each in enumerate(settings))
    gap = ((gap_us, 0),) if gap_us else ()
    return switched(
        APART[0], *gap, APART[1], keyframes=frames, keyframe_cycle_ms=len(frames), **timing
    )


def cut(*gaps_us: int) -> tuple[tuple[int, int], ...]:
    """Return a positive phase in two pieces, with gaps between them."""
    return ((100, 1000), *((gap_us, 0) for gap_us in gaps_us), (100, 1000), (200, -1000))


def after_silence(
    silence_us: int, off_ms: int = 0, *phases: tuple[int, int]
) -> tuple[ChannelProgram]:
    cycle = Cycle(0, 1000, 0, off_ms)
    return switched(*(phases or APART), pulse_offset_us=silence_us, cycle=cycle)


def assert_told(
    small: Lockstep,
    own: DeviceSettings,
    channels: tuple[ChannelProgram],
    asked: int | None,
    allowed: int | None,
) -> None:
    """Assert that a programme is refused with these figures, or taken where there are none."""
    (answer,) = host_of(small, own).load(PulseProgram(channels))
    if asked is None:
        assert isinstance(answer, ProgramAccepted)
        return
    assert isinstance(answer, Refused)
    told = (answer.reason, answer.channel, answer.asked, answer.allowed)
    assert told == (RefusalReason.CAPABILITY, 0, asked, allowed)


# (channels, asked and allowed of the refusal, or None where they are taken)
PINS = [
    (switched((100, 1000), (1, 0), (100, -1000)), None, None),
    # One magnitude: asked is the smallest share.
    (switched(*APART, (100, 999), (100, -999)), 999, 1000),
    (switched((100, 1000), (200, -500)), 500, 1000),
    (switched((200, 500), (100, -1000)), 500, 1000),
    (switched((100, 1000), (100, -400), (100, -600)), 400, 1000),
    # Gaps between two phases of one polarity.
    (switched(*cut(1)), 1, 50),
    (switched(*cut(49)), 49, 50),
    (switched(*cut(50)), None, None),
    (switched(*cut(25, 24)), 49, 50),
    (switched(*cut(25, 25)), None, None),
    (switched(*cut()), None, None),
    # Of two such gaps the shorter, first or last; with six phases the memory is full.
    (switched((50, 1000), (30, 0), (50, 1000), (60, 0), (50, 1000), (150, -1000)), 30, 50),
    (switched((50, 1000), (60, 0), (50, 1000), (30, 0), (50, 1000), (150, -1000)), 30, 50),
    (switched((50, 1000), (60, 0), (50, 1000), (50, 0), (50, 1000), (150, -1000)), None, None),
    # A gap between two polarities is none of theirs: 49 us are not 98, and 20 us are no gap.
    (switched((100, 1000), (49, 0), (100, -1000), (49, 0), (100, -1000), (100, 1000)), 49, 50),
    (switched((100, 1000), (20, 0), (100, -1000), (100, -1000), (100, 1000)), None, None),
    # Rests between two pulses: after 4901 and after 4900 us.
    (switched((100, 1000), (4701, 0), (100, -1000), period_us=5000), 99, 100),
    (switched((100, 1000), (4700, 0), (100, -1000), period_us=5000), None, None),
    # Of every keyframe: 2000 us and a gap of 2901, or 200 and 4701, in 5000.
    (in_turn((1, 5000), (9, 5000), (10, 5000), gap_us=2901), 99, 100),
    (in_turn((1, 5000), (10, 5000), (9, 5000), gap_us=2901), 99, 100),
    (in_turn((10, 5000), (9, 5000), (1, 5000), gap_us=2901), 99, 100),
    (in_turn((1, 5000), (9, 5000), (10, 5000), gap_us=2900), None, None),
    (in_turn((1, 10_000), (1, 10_000), (1, 5000), gap_us=4701), 99, 100),
    # From one on-phase to the next: 0 ms off, and the pulse offset; 200 us of pulse before.
    (after_silence(0), 0, 100),
    (after_silence(99), 99, 100),
    (after_silence(100), 300, 5000),
    (after_silence(4799), 4999, 5000),
    (after_silence(4800), None, None),
    (after_silence(799, 4), 4999, 5000),
    (after_silence(800, 4), None, None),
    (after_silence(0, 5), None, None),
    (after_silence(4_000_000_000, 4_000_000_000), None, None),
    # After the shortest of 2000, 1000 and 200 us of pulse.
    (in_turn(*UNITS, pulse_offset_us=4799, cycle=Cycle(0, 1000, 0, 0)), 4999, 5000),
    (in_turn(*UNITS, pulse_offset_us=4800, cycle=Cycle(0, 1000, 0, 0)), None, None),
    (in_turn(*UNITS[::-1], pulse_offset_us=4799, cycle=Cycle(0, 1000, 0, 0)), 4999, 5000),
]


@pytest.mark.parametrize(("channels", "asked", "allowed"), PINS)
def test_a_switched_stage_refuses_what_its_pins_cannot_play(
    small: Lockstep, channels: tuple[ChannelProgram], asked: int | None, allowed: int | None
) -> None:
    """Twins: the simulator of such a stage says the same, and every other stage takes all."""
    assert_told(small, SWITCHED, channels, asked, allowed)
    able = dataclasses.replace(SWITCHED, is_switched=False)
    assert isinstance(host_of(small, able).load(PulseProgram(channels))[0], ProgramAccepted)


@pytest.mark.parametrize(
    ("silence_us", "off_ms", "asked"),
    [
        (1_999_999_999, 0, SLOWEST_US - 1),
        (2_000_000_000, 0, None),
        (999, 1_999_999, SLOWEST_US - 1),
        (0, 2_000_000, None),
    ],
)
def test_silences_of_up_to_2000_s_are_told_to_the_microsecond(
    small: Lockstep, silence_us: int, off_ms: int, asked: int | None
) -> None:
    """200 us of pulse before; no two pulses may begin sooner than 2000.0002 s after each other."""
    own = dataclasses.replace(SWITCHED, pulse_period_min_us=SLOWEST_US)
    cycle = Cycle(0, 1000, 0, off_ms)
    channels = switched(*APART, period_us=SLOWEST_US, pulse_offset_us=silence_us, cycle=cycle)
    assert_told(small, own, channels, asked, SLOWEST_US)


@st.composite
def nearly_switched(draw: st.DrawFn) -> PulseProgram:
    """Build what such a stage just can play, or just cannot."""
    gaps = st.lists(st.sampled_from([1, 24, 25, 26, 49, 50, 51]), max_size=2)
    share = draw(st.sampled_from([1000, 1000, 1000, 999]))
    sign = draw(st.sampled_from([1000, -1000]))
    phases = (
        (50, sign), *((gap, 0) for gap in draw(gaps)), (50, draw(st.sampled_from([sign, -sign]))),
        *((gap, 0) for gap in draw(gaps)),
    )  # fmt: skip
    net = sum(duration * (size // 1000) for duration, size in phases)
    phases = (*phases, (100, -sign), (100, sign)) if net == 0 else (*phases, (100, -sign))
    if share != 1000:
        phases = (*phases, (50, share), (50, -share))
    pulse_us = sum(duration for duration, _ in phases)
    near = st.sampled_from([-1, 0, 1])
    timing: dict[str, Any] = {"pulse_offset_us": draw(st.sampled_from([0, 99, 100, 101]))}
    if draw(st.booleans()):
        restart_us = 5000 - pulse_us - timing["pulse_offset_us"] + draw(near)
        off_ms = draw(st.sampled_from([0, 0, 1, 4, 5]))
        timing["cycle"] = Cycle(0, 1000, 0, off_ms)
        timing["pulse_offset_us"] += draw(st.sampled_from([0, restart_us - off_ms * 1000, 0]))
    assume(timing["pulse_offset_us"] >= 0 and len(phases) <= 6)
    period_us = draw(st.sampled_from([5000, 4999, 10_000]))
    if draw(st.booleans()):
        phases = (*phases[:-1], (period_us - pulse_us - 100 + draw(near), 0), phases[-1])
    assume(len(phases) <= 6)
    return PulseProgram(switched(*phases, period_us=period_us, **timing))


@given(nearly_switched())
@settings(max_examples=200, suppress_health_check=SHARED, phases=(Phase.reuse, Phase.generate))
def test_a_switched_stage_is_judged_alike_by_the_simulator(
    small: Lockstep, played: PulseProgram
) -> None:
    host = host_of(small, SWITCHED)
    if isinstance(host.load(played)[0], ProgramAccepted):
        host.arm()
        host.keep(500 * MS, 1000)
