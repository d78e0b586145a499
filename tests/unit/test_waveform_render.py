"""Pulses and samples agree with the programme, with an independent interpreter and by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.waveform.pulses import iter_pulses, pulses
from estim.waveform.render import iter_chunks, phase_currents_ua, phase_edges_us
from firmware_protocol.program import (
    ChannelProgram,
    Cycle,
    Keyframe,
    Phase,
    PulseProgram,
    check_form,
)
from tests.unit.programs import Pulse, channels, walk

SYMMETRIC = (Phase(1, 1000), Phase(1, -1000))
HUNDRED_HZ = ChannelProgram(SYMMETRIC, unit_us=200, pulse_period_us=10_000)


def rendered(
    program: PulseProgram, amplitudes_ua: list[int], rate_hz: int, duration_us: int, **more: int
) -> np.ndarray:
    return np.concatenate(
        list(iter_chunks(program, amplitudes_ua, 100, rate_hz, duration_us, **more)), axis=1
    )


def listed(
    channel: ChannelProgram, setpoint_ua: int, step_ua: int, start_us: int, end_us: int
) -> list[Pulse]:
    train = pulses(PulseProgram((channel,)), 0, setpoint_ua, step_ua, start_us, end_us)
    lengths = np.diff(phase_edges_us(channel, train), axis=1).tolist()
    currents = phase_currents_ua(channel, train, step_ua).tolist()
    return [
        Pulse(onset, tuple(zip(length, current, strict=True)))
        for onset, length, current in zip(train.onset_us.tolist(), lengths, currents, strict=True)
    ]


def test_every_sample_of_a_pulse_at_one_megahertz() -> None:
    """200 us up, 200 us down, nothing until 10 ms."""
    samples = rendered(PulseProgram((HUNDRED_HZ,)), [20_000], 1_000_000, 20_000)
    assert samples.dtype == np.int32
    assert samples.shape == (1, 20_000)
    one_pulse = [20_000] * 200 + [-20_000] * 200 + [0] * 9600
    assert samples[0].tolist() == one_pulse * 2


def test_a_gap_and_a_weaker_second_phase() -> None:
    """At 1.25 mA the quarter is 312.5 uA: the grid of 400 uA makes it 1.2 mA and 300 uA."""
    channel = ChannelProgram((Phase(1, 1000), Phase(50, 0), Phase(4, -250)), 100, 10_000)
    samples = rendered(PulseProgram((channel,)), [1250], 1_000_000, 700)
    assert samples[0].tolist() == [1200] * 100 + [0] * 50 + [-300] * 400 + [0] * 150
    assert samples.sum() == 0


def test_a_cycle_ramps_up_holds_ramps_down_and_rests() -> None:
    """10 Hz, 0.4 s up, 0.3 s on, 0.2 s down, 0.5 s off after 0.1 s: 1 mA by quarters."""
    channel = ChannelProgram(SYMMETRIC, 100, 100_000, cycle=Cycle(400, 300, 200, 500, 100))
    expected = [
        (200_000, 200),  # 100 ms into the ramp: 250 uA, on the 100 uA step 200
        (300_000, 500),
        (400_000, 700),  # 750
        (500_000, 1000),
        (600_000, 1000),
        (700_000, 1000),
        (800_000, 1000),  # where the ramp down begins
        (900_000, 500),
        # at 1000 ms the on-phase is over; the next begins at 0.1 + 1.4 s with nothing
        (1_600_000, 200),
    ]
    train = pulses(PulseProgram((channel,)), 0, 1000, 100, 0, 1_650_000)
    assert list(zip(train.onset_us.tolist(), train.amplitude_ua.tolist(), strict=True)) == expected


def test_a_pulse_that_would_outlast_its_on_phase_is_not_started() -> None:
    for unit_us, count in ((500, 2), (501, 1)):
        channel = ChannelProgram(SYMMETRIC, unit_us, 99_000, cycle=Cycle(0, 100, 0, 100))
        train = pulses(PulseProgram((channel,)), 0, 1000, 100, 0, 200_000)
        assert train.count == count  # at 99 ms a pulse of 1 ms still fits, one of 1.002 ms not


def test_keyframes_change_rate_length_and_amplitude_from_the_next_onset_on() -> None:
    """The period that held at the onset before decides the next onset: 2 Hz, then 100 Hz."""
    channel = ChannelProgram(
        SYMMETRIC,
        600,
        500_000,
        keyframes=(Keyframe(0, 1000, 600, 500_000), Keyframe(1200, 500, 200, 10_000)),
        keyframe_cycle_ms=1230,
    )
    train = pulses(PulseProgram((channel,)), 0, 1000, 100, 0, 3_100_000)
    # 0, 0.5, 1.0, 1.5 s: the last is 0.27 s into the second turn and so on: 100 Hz is never met
    # before 2.5 s - 2 x 1.23 = 0.04 s; 3.0 s is 0.54 s into the third turn.
    assert train.onset_us.tolist() == [0, 500_000, 1_000_000, 1_500_000, 2_000_000, 2_500_000,
                                       3_000_000]  # fmt: skip
    even = ChannelProgram(
        SYMMETRIC,
        600,
        400_000,
        keyframes=(Keyframe(0, 1000, 600, 400_000), Keyframe(1200, 500, 200, 10_000)),
        keyframe_cycle_ms=1230,
    )
    train = pulses(PulseProgram((even,)), 0, 1000, 100, 0, 1_700_000)
    assert train.onset_us.tolist() == [0, 400_000, 800_000, 1_200_000, 1_210_000, 1_220_000,
                                       1_230_000, 1_630_000]  # fmt: skip
    assert train.unit_us.tolist() == [600, 600, 600, 200, 200, 200, 600, 600]
    assert train.amplitude_ua.tolist() == [1000, 1000, 1000, 500, 500, 500, 1000, 1000]


def test_bursts_repeat_whole_from_their_own_start() -> None:
    """3 pulses 10 ms apart, twice a second, 5 ms late."""
    channel = ChannelProgram(
        SYMMETRIC, 200, 10_000, pulse_offset_us=5000, pulses_per_burst=3, burst_period_us=500_000
    )
    train = pulses(PulseProgram((channel,)), 0, 1000, 100, 0, 1_000_000)
    assert train.onset_us.tolist() == [5000, 15_000, 25_000, 505_000, 515_000, 525_000]


def test_channels_are_rows_and_never_both_on_when_spread() -> None:
    late = ChannelProgram(SYMMETRIC, 200, 10_000, pulse_offset_us=5000)
    program = PulseProgram((HUNDRED_HZ, late))
    check_form(program)
    samples = rendered(program, [20_000, 10_000], 1_000_000, 1_000_000)
    assert samples.max(axis=1).tolist() == [20_000, 10_000]
    assert not (samples[0] * samples[1]).any()
    with pytest.raises(ValueError, match="2 channels, 1 amplitudes"):
        list(iter_chunks(program, [1000], 100, 1000, 1000))


def test_zero_amplitude_is_silence() -> None:
    assert not rendered(PulseProgram((HUNDRED_HZ,)), [99], 1_000_000, 100_000).any()


@settings(max_examples=150)
@given(channels(), st.integers(0, 30_000), st.sampled_from([1, 100, 250]), st.data())
def test_pulses_are_those_of_an_interpreter_that_shares_no_code(
    channel: ChannelProgram, setpoint_ua: int, step_ua: int, data: st.DataObject
) -> None:
    check_form(PulseProgram((channel,)))
    expected = walk(channel, setpoint_ua, step_ua, 2_000_000)
    assert listed(channel, setpoint_ua, step_ua, 0, 2_000_000) == expected
    start_us, end_us = sorted(data.draw(st.tuples(*[st.integers(0, 2_000_000)] * 2)))
    inside = [pulse for pulse in expected if start_us <= pulse.onset_us < end_us]
    assert listed(channel, setpoint_ua, step_ua, start_us, end_us) == inside


@settings(max_examples=60)
@given(channels(), st.integers(1000, 30_000), st.integers(0, 500_000), st.integers(1, 3000))
def test_samples_at_one_megahertz_hold_exactly_the_interpreters_charge(
    channel: ChannelProgram, setpoint_ua: int, start_us: int, chunk_ms: int
) -> None:
    """Analytic integers against numeric samples, from any start and in chunks of any size."""
    duration_us = 700_000
    samples = rendered(
        PulseProgram((channel,)), [setpoint_ua], 1_000_000, duration_us,
        start_us=start_us, chunk_samples=chunk_ms * 1000,
    )[0]  # fmt: skip
    expected = np.zeros(duration_us, np.int64)
    for onset_us, phases in walk(channel, setpoint_ua, 100, start_us + duration_us):
        at_us = onset_us - start_us
        for length_us, current_ua in phases:
            first, last = max(0, at_us), max(0, min(duration_us, at_us + length_us))
            expected[first:last] = current_ua
            at_us += length_us
    assert np.array_equal(samples, expected)


@settings(max_examples=60)
@given(channels(), st.integers(1000, 30_000), st.sampled_from([44_100, 100_000, 333_333]))
def test_a_coarser_rate_is_right_within_one_sample_an_edge(
    channel: ChannelProgram, setpoint_ua: int, rate_hz: int
) -> None:
    duration_us = 500_000
    samples = rendered(PulseProgram((channel,)), [setpoint_ua], rate_hz, duration_us)[0]
    delivered = walk(channel, setpoint_ua, 100, duration_us)
    whole = [p for p in delivered if p.onset_us + sum(d for d, _ in p.phases) <= duration_us]
    charge_pc = sum(length * abs(current) for p in whole for length, current in p.phases)
    sampled_pc = np.abs(samples.astype(np.int64)).sum() * 1e6 / rate_hz
    phase_count = sum(len(p.phases) for p in delivered)
    longest_us = max((sum(d for d, _ in p.phases) for p in delivered), default=0)
    tolerance_pc = setpoint_ua * (phase_count * 1e6 / rate_hz + longest_us)
    assert abs(sampled_pc - charge_pc) <= tolerance_pc


def test_a_long_session_is_rendered_in_bounded_memory() -> None:
    """Half an hour at 20 kHz, two modulated channels: 72 million samples, a few MiB at once."""
    frames = tuple(Keyframe(500 * i, 1000, 100, 8000 + 700 * i) for i in range(24))
    first = ChannelProgram(SYMMETRIC, 100, 8000, keyframes=frames, keyframe_cycle_ms=12_000)
    second = ChannelProgram(SYMMETRIC, 100, 8000, 4000, keyframes=frames, keyframe_cycle_ms=12_000)
    tracemalloc.start()
    count = 0
    for chunk in iter_chunks(
        PulseProgram((first, second)), [1000, 1000], 100, 20_000, 1_800_000_000
    ):
        count += chunk.shape[1]
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 36_000_000
    assert peak_bytes < 40 * 1024 * 1024


def test_a_late_window_costs_no_more_than_an_early_one() -> None:
    """Three hours in, the next 10 ms of a steady programme are one block of one pulse."""
    start_us = 3 * 3600 * 1_000_000
    blocks = list(iter_pulses(HUNDRED_HZ, 1000, 100, start_us, start_us + 10_000))
    assert [block.onset_us.tolist() for block in blocks] == [[start_us]]
