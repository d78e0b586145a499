"""A core that holds as little as a microcontroller's: what does not fit is refused, and said so."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from estim.simulator.device import DeviceSettings
from estim.simulator.settings import EVERYTHING_HELD
from firmware_protocol.connection import Received
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    BeginProgram,
    Capabilities,
    CommitProgram,
    GetCapabilities,
    Hello,
    ProgramAccepted,
    ProgramFlag,
    ProgramKeyframes,
    ProgramPhases,
    RefusalReason,
    Refused,
)
from firmware_protocol.program import ChannelProgram, Keyframe, PulseProgram
from firmware_protocol.program import Phase as PulsePhase
from firmware_protocol.schema import SCHEMA_HASH
from tests.firmware import strategies
from tests.firmware.core import Lockstep, Twins
from tests.firmware.strategies import keyframes_one_by_one
from tests.simulator.host import Host, S

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


# A stage that sets one current for a whole pulse.


@pytest.mark.parametrize(
    ("phases", "is_taken"),
    [
        (PAIR, True),
        (((1, 1000), (50, 0), (1, -1000)), True),
        (((1, 1000), (1, -1000), (1, 999), (1, -999)), False),
        (((1, 1000), (2, -500)), False),
    ],
)
def test_a_stage_of_one_magnitude_takes_only_phases_of_one(
    small: Lockstep, phases: tuple[PulsePhase, ...] | tuple[tuple[int, int], ...], is_taken: bool
) -> None:
    """Asked is the smallest share, allowed 1000 permille."""
    own = dataclasses.replace(OWN, flags=EVERYTHING_HELD)
    twins = Twins(small, own)
    host = Host(own, wire=twins, device=twins.python)
    small.boot(own, has_one_magnitude=True)
    shape = tuple(p if isinstance(p, PulsePhase) else PulsePhase(*p) for p in phases)
    played = PulseProgram((ChannelProgram(shape, 100, 10_000),))
    answers = bytearray()
    for message in (
        Hello(PROTOCOL_VERSION, SCHEMA_HASH),
        *played.messages(),
        CommitProgram(played.digest),
    ):
        answers += small.command(f"bytes 0 {host.connection.send(message).hex()}").frames
    host.connection.receive_bytes(bytes(answers))
    events = iter(host.connection.next_event, None)
    told = [event.message for event in events if isinstance(event, Received)]
    if is_taken:
        assert isinstance(told[-1], ProgramAccepted)
        return
    assert isinstance(told[-1], Refused)
    smallest = min(abs(p.amplitude_permille) for p in shape if p.amplitude_permille)
    assert (told[-1].reason, told[-1].asked, told[-1].allowed) == (
        RefusalReason.CAPABILITY, smallest, 1000,
    )  # fmt: skip
