"""Hypothesis strategies, derived from the declarations and for pulse programmes."""

from __future__ import annotations

from enum import IntFlag
from typing import Any

from hypothesis import strategies as st

from firmware_protocol.fields import Wire, wire_fields
from firmware_protocol.messages import MESSAGES, Message
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram

PRINTABLE_ASCII = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def declared_objects(declared: type) -> st.SearchStrategy[Any]:
    """Build any message or row of a declared class."""
    return st.builds(
        declared, **{name: _field_strategy(wire) for name, wire in wire_fields(declared)}
    )


def messages() -> st.SearchStrategy[Message]:
    """Build any message of any class."""
    return st.sampled_from(sorted(MESSAGES)).flatmap(
        lambda message_id: declared_objects(MESSAGES[message_id])
    )


def _field_strategy(wire: Wire) -> st.SearchStrategy[Any]:
    if wire.row is not None:
        return st.lists(declared_objects(wire.row), max_size=wire.row_maximum).map(tuple)
    if wire.text_size:
        return st.text(PRINTABLE_ASCII, max_size=wire.text_size)
    kind = wire.enum
    if kind is None:
        return st.integers(wire.scalar.minimum, wire.scalar.maximum)
    if issubclass(kind, IntFlag):
        members = st.lists(st.sampled_from(list(kind)), unique=True)
        return members.map(lambda chosen: kind(sum(chosen)))
    return st.sampled_from(list(kind))


def pulses() -> st.SearchStrategy[tuple[Phase, ...]]:
    """Build the phases of a balanced pulse: mirrored pairs, or a long weak recovery."""
    return _paired_pulses() | _recovered_pulses()


@st.composite
def _paired_pulses(draw: st.DrawFn) -> tuple[Phase, ...]:
    halves = [Phase(draw(st.integers(1, 4)), 1000)]
    for _ in range(draw(st.integers(0, 2))):
        halves.append(Phase(draw(st.integers(1, 4)), draw(st.integers(1, 1000))))
    mirrored = [Phase(half.duration, -half.amplitude_permille) for half in halves]
    return _with_gaps(draw, draw(st.permutations(halves + mirrored)))


@st.composite
def _recovered_pulses(draw: st.DrawFn) -> tuple[Phase, ...]:
    duration = draw(st.integers(1, 3))
    share = draw(st.sampled_from([500, 250, 200, 125, 100, 1]))
    phases = [Phase(duration, 1000), Phase(duration * 1000 // share, -share)]
    if draw(st.booleans()):
        phases = [Phase(phase.duration, -phase.amplitude_permille) for phase in phases]
    return _with_gaps(draw, phases)


def _with_gaps(draw: st.DrawFn, active: list[Phase]) -> tuple[Phase, ...]:
    phases = active[:1]
    for phase in active[1:]:
        if draw(st.booleans()):
            phases.append(Phase(draw(st.integers(1, 60)), 0))
        phases.append(phase)
    return tuple(phases)


@st.composite
def channel_programs(draw: st.DrawFn, *, unit_us_max: int = 300) -> ChannelProgram:
    """Build a well-formed channel, with or without bursts, cycle and keyframes."""
    phases = draw(pulses())
    keyframe_count = draw(st.sampled_from([0, 0, 1, 2, 5, 16, 17, 32]))
    settings = [_setting(draw, phases, unit_us_max) for _ in range(max(1, keyframe_count))]
    keyframes: tuple[Keyframe, ...] = ()
    keyframe_cycle_ms = 0
    if keyframe_count:
        lengths_ms = draw(st.lists(st.integers(1, 500), min_size=keyframe_count,
                                   max_size=keyframe_count))  # fmt: skip
        full = draw(st.integers(0, keyframe_count - 1))
        keyframes = tuple(
            Keyframe(
                sum(lengths_ms[:index]),
                1000 if index == full else draw(st.integers(0, 1000)),
                unit_us,
                pulse_period_us,
            )
            for index, (unit_us, pulse_period_us) in enumerate(settings)
        )
        keyframe_cycle_ms = sum(lengths_ms)
    pulses_per_burst = draw(st.sampled_from([0, 0, 1, 2, 7]))
    longest_period_us = max(pulse_period_us for _, pulse_period_us in settings)
    cycle = None
    if draw(st.booleans()):
        times = st.integers(0, 3000)
        cycle = Cycle(draw(times), draw(times) + 1, draw(times), draw(times), draw(times))
    return ChannelProgram(
        phases=phases,
        unit_us=settings[0][0],
        pulse_period_us=settings[0][1],
        pulse_offset_us=draw(st.integers(0, 5000)),
        pulses_per_burst=pulses_per_burst,
        burst_period_us=(
            pulses_per_burst * longest_period_us + draw(st.integers(0, 100_000))
            if pulses_per_burst
            else 0
        ),
        cycle=cycle,
        keyframes=keyframes,
        keyframe_cycle_ms=keyframe_cycle_ms,
    )


def programs() -> st.SearchStrategy[PulseProgram]:
    """Build a well-formed programme whose channels may overlap."""
    return st.lists(channel_programs(), min_size=1, max_size=4).map(
        lambda channels: PulseProgram(tuple(channels), allow_overlap=True)
    )


def _setting(draw: st.DrawFn, phases: tuple[Phase, ...], unit_us_max: int) -> tuple[int, int]:
    """Return a unit and a pulse period in which the pulse has room."""
    unit_us = draw(st.integers(1, unit_us_max))
    pulse_us = ChannelProgram(phases, unit_us, 0).pulse_us(unit_us)
    return unit_us, pulse_us + draw(st.integers(0, 20_000))
