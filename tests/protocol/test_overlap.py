"""Pulses of two channels never coincide: the rule against every pulse played out by hand.

The player below knows only the words of the protocol (keyframes, bursts, cycles, offsets), not the
rule: it lists each pulse of each channel, and the two lists are laid side by side.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from firmware_protocol.errors import ProgramError
from firmware_protocol.program import (
    ChannelProgram,
    Cycle,
    Keyframe,
    Phase,
    PulseProgram,
    check_form,
)

SYMMETRIC = (Phase(1, 1000), Phase(1, -1000))
WATCHED_US = 15_000


def pulses_played(channel: ChannelProgram, until_us: int) -> Iterator[tuple[int, int]]:
    """Give (start, end) of every pulse that starts before `until_us`."""
    for on_start_us, on_end_us in on_phases(channel.cycle, until_us):
        first_us = on_start_us + channel.pulse_offset_us
        burst_us = first_us
        while burst_us < min(on_end_us, until_us):
            onset_us, played = burst_us, 0
            while onset_us < min(on_end_us, until_us):
                unit_us, period_us = setting_at(channel, onset_us - first_us)
                lasts_us = sum(
                    phase.duration * (unit_us if phase.amplitude_permille else 1)
                    for phase in channel.phases
                )
                if onset_us + lasts_us <= on_end_us:
                    yield onset_us, onset_us + lasts_us
                onset_us += period_us
                played += 1
                if played == channel.pulses_per_burst:
                    break
            if not channel.pulses_per_burst:
                break
            burst_us += channel.burst_period_us


def on_phases(cycle: Cycle | None, until_us: int) -> Iterator[tuple[int, int]]:
    if cycle is None:
        yield 0, 10**9
        return
    start_ms = cycle.offset_ms
    while start_ms * 1000 < until_us:
        end_ms = start_ms + cycle.ramp_up_ms + cycle.on_ms + cycle.ramp_down_ms
        yield start_ms * 1000, end_ms * 1000
        start_ms = end_ms + cycle.off_ms


def setting_at(channel: ChannelProgram, elapsed_us: int) -> tuple[int, int]:
    if not channel.keyframes:
        return channel.unit_us, channel.pulse_period_us
    within_us = elapsed_us % (channel.keyframe_cycle_ms * 1000)
    held = [frame for frame in channel.keyframes if frame.at_ms * 1000 <= within_us][-1]
    return held.unit_us, held.pulse_period_us


def coincide(first: ChannelProgram, second: ChannelProgram) -> bool:
    together = sorted([*pulses_played(first, WATCHED_US), *pulses_played(second, WATCHED_US)])
    return any(later[0] < earlier[1] for earlier, later in itertools.pairwise(together))


def is_taken(first: ChannelProgram, second: ChannelProgram) -> bool:
    """Tell whether a programme of two channels, each well formed alone, is well formed."""
    for channel in (first, second):
        check_form(PulseProgram((channel,)))
    try:
        check_form(PulseProgram((first, second)))
    except ProgramError:
        return False
    return True


@st.composite
def small_channels(draw: st.DrawFn) -> ChannelProgram:
    """Build a channel so short and dense that a few milliseconds show all that it does."""
    gap_us = draw(st.integers(0, 30))
    phases = (SYMMETRIC[0], Phase(gap_us, 0), SYMMETRIC[1]) if gap_us else SYMMETRIC
    frame_count = draw(st.sampled_from([0, 0, 2, 3]))
    held = [
        (unit_us := draw(st.integers(1, 40)), 2 * unit_us + gap_us + draw(st.integers(0, 200)))
        for _ in range(max(1, frame_count))
    ]
    pulses_per_burst = draw(st.sampled_from([0, 0, 1, 2, 3]))
    longest_us = max(period_us for _, period_us in held)
    cycle = None
    if draw(st.booleans()):
        short = st.integers(0, 2)
        cycle = Cycle(draw(short), draw(short) + 1, draw(short), draw(short), draw(short))
    return ChannelProgram(
        phases=phases,
        unit_us=held[0][0],
        pulse_period_us=held[0][1],
        pulse_offset_us=draw(st.integers(0, 300)),
        pulses_per_burst=pulses_per_burst,
        burst_period_us=(
            pulses_per_burst * longest_us + draw(st.integers(0, 300)) if pulses_per_burst else 0
        ),
        cycle=cycle,
        keyframes=tuple(Keyframe(at_ms, 1000, *held[at_ms]) for at_ms in range(frame_count)),
        keyframe_cycle_ms=frame_count + draw(st.integers(0, 1)) if frame_count else 0,
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[ChannelProgram, ChannelProgram]:
    """Build two channels that share most of their timing, so that the rule takes many of them."""
    first = draw(small_channels())
    longest_us = max(first.pulse_us(setting.unit_us) for setting in first.settings)
    lead_us = longest_us + draw(st.sampled_from([-longest_us, -1, 0, 0, 1, 5, 20, 100]))
    second = dataclasses.replace(first, pulse_offset_us=first.pulse_offset_us + lead_us)
    kind = draw(
        st.sampled_from(["offset", "pulse", "cycle", "period", "burst", "modulation", "other"])
    )
    if kind == "pulse":
        second = dataclasses.replace(second, phases=SYMMETRIC)
    elif kind == "period":
        second = dataclasses.replace(
            second,
            pulse_period_us=second.pulse_period_us + 1,
            burst_period_us=second.burst_period_us + second.pulses_per_burst,
        )
    elif kind == "cycle":
        on = st.integers(1, 3)
        own, other, rest = draw(on), draw(on), draw(st.integers(0, 3))
        lead, start = draw(st.integers(0, 8)), draw(st.integers(0, 2))
        total = own + other + rest
        first = dataclasses.replace(first, cycle=Cycle(0, own, 0, total - own, start))
        second = dataclasses.replace(second, cycle=Cycle(0, other, 0, total - other, start + lead))
    elif kind == "burst" and second.pulses_per_burst:
        second = dataclasses.replace(second, burst_period_us=second.burst_period_us + 7)
    elif kind == "modulation" and second.keyframes:
        second = dataclasses.replace(second, keyframe_cycle_ms=second.keyframe_cycle_ms + 1)
    elif kind == "other":
        second = draw(small_channels())
    return (first, second) if draw(st.booleans()) else (second, first)


@pytest.mark.hazard(44)
@given(pairs())
@settings(max_examples=600)
def test_channels_that_the_rule_takes_never_coincide(
    pair: tuple[ChannelProgram, ChannelProgram],
) -> None:
    taken = is_taken(*pair)
    event(f"taken: {taken}")
    if taken:
        assert not coincide(*pair)


@given(*[st.integers(1, 60)] * 2, st.integers(0, 200), st.data())
@settings(max_examples=300)
def test_the_rule_is_exact_for_plain_channels_of_one_period(
    unit_us: int, other_unit_us: int, rest_us: int, data: st.DataObject
) -> None:
    """Nothing is refused that does not overlap, as long as the second offset is within a period."""
    period_us = 2 * max(unit_us, other_unit_us) + rest_us
    lead_us = data.draw(st.integers(0, period_us - 1))
    first = ChannelProgram(SYMMETRIC, unit_us, period_us)
    second = ChannelProgram(SYMMETRIC, other_unit_us, period_us, pulse_offset_us=lead_us)
    assert is_taken(first, second) is not coincide(first, second)


def test_the_rule_is_exact_for_dense_channels_with_cycles_of_one_length() -> None:
    """Back-to-back pulses fill their on-phases, so they coincide whenever on-phases do."""
    dense = ChannelProgram(SYMMETRIC, 250, 500)
    verdicts = set()
    for total_ms, lead_ms in itertools.product(range(2, 6), range(8)):
        for on_ms, other_on_ms in itertools.product(range(1, total_ms + 1), repeat=2):
            first = dataclasses.replace(dense, cycle=Cycle(0, on_ms, 0, total_ms - on_ms, 1))
            second = dataclasses.replace(
                dense, cycle=Cycle(0, other_on_ms, 0, total_ms - other_on_ms, 1 + lead_ms)
            )
            verdicts.add(is_taken(first, second))
            assert is_taken(first, second) is not coincide(first, second)
    assert verdicts == {True, False}


PLAIN = ChannelProgram(SYMMETRIC, 200, 10_000)
BURSTS = dataclasses.replace(PLAIN, pulses_per_burst=7, burst_period_us=100_000)
FRAMES = (Keyframe(0, 1000, 200, 10_000), Keyframe(100, 500, 200, 15_000))
MODULATED = dataclasses.replace(PLAIN, keyframes=FRAMES, keyframe_cycle_ms=200)
CYCLE = Cycle(1000, 5000, 500, 6500)


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (PLAIN, PLAIN, False),
        (PLAIN, dataclasses.replace(PLAIN, pulse_offset_us=399), False),
        (PLAIN, dataclasses.replace(PLAIN, pulse_offset_us=400), True),
        (PLAIN, dataclasses.replace(PLAIN, pulse_offset_us=9_600), True),
        (PLAIN, dataclasses.replace(PLAIN, pulse_offset_us=9_601), False),
        (PLAIN, dataclasses.replace(PLAIN, pulse_offset_us=5_000, pulse_period_us=9_999), False),
        (
            dataclasses.replace(PLAIN, cycle=CYCLE),
            dataclasses.replace(PLAIN, cycle=dataclasses.replace(CYCLE, offset_ms=6500)),
            True,
        ),
        (
            dataclasses.replace(PLAIN, cycle=CYCLE),
            dataclasses.replace(PLAIN, cycle=dataclasses.replace(CYCLE, offset_ms=6499)),
            False,
        ),
        (
            dataclasses.replace(PLAIN, cycle=CYCLE),
            dataclasses.replace(PLAIN, cycle=dataclasses.replace(CYCLE, offset_ms=6501)),
            False,
        ),
        (
            dataclasses.replace(PLAIN, cycle=dataclasses.replace(CYCLE, offset_ms=6500)),
            dataclasses.replace(PLAIN, cycle=dataclasses.replace(CYCLE, offset_ms=26_000)),
            True,
        ),
        (
            dataclasses.replace(PLAIN, cycle=CYCLE),
            dataclasses.replace(PLAIN, cycle=Cycle(1000, 5000, 500, 6501, 6500)),
            False,
        ),
        (dataclasses.replace(PLAIN, cycle=CYCLE), PLAIN, False),
        (BURSTS, dataclasses.replace(BURSTS, pulse_offset_us=5_000), True),
        (
            BURSTS,
            dataclasses.replace(BURSTS, pulse_offset_us=5_000, burst_period_us=100_001),
            False,
        ),
        (BURSTS, dataclasses.replace(BURSTS, pulse_offset_us=5_000, pulses_per_burst=6), False),
        (MODULATED, dataclasses.replace(MODULATED, pulse_offset_us=5_000), True),
        (
            MODULATED,
            dataclasses.replace(MODULATED, pulse_offset_us=5_000, keyframe_cycle_ms=201),
            False,
        ),
        (
            MODULATED,
            dataclasses.replace(
                MODULATED,
                pulse_offset_us=5_000,
                keyframes=(FRAMES[0], dataclasses.replace(FRAMES[1], at_ms=99)),
            ),
            False,
        ),
        (
            MODULATED,
            dataclasses.replace(
                MODULATED,
                pulse_offset_us=5_000,
                keyframes=(FRAMES[0], dataclasses.replace(FRAMES[1], unit_us=5_001)),
            ),
            False,
        ),
    ],
)
def test_edges_worked_out_by_hand(
    first: ChannelProgram, second: ChannelProgram, taken: bool
) -> None:
    assert is_taken(first, second) is taken
    assert is_taken(second, first) is taken


def test_every_pair_of_channels_is_looked_at() -> None:
    apart = [dataclasses.replace(PLAIN, pulse_offset_us=400 * index) for index in range(4)]
    check_form(PulseProgram(tuple(apart)))
    for first in range(4):
        for second in range(first + 1, 4):
            clash = [*apart]
            clash[second] = apart[first]
            with pytest.raises(ProgramError, match=f"{first + 1} and {second + 1} can overlap"):
                check_form(PulseProgram(tuple(clash)))
            check_form(PulseProgram(tuple(clash), allow_overlap=True))
