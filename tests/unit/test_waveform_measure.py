"""Figures taken from samples, each worked out by hand."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.waveform.measure import Measurement, Meter
from estim.waveform.render import iter_chunks
from firmware_protocol.program import ChannelProgram, Cycle, Phase, PulseProgram
from tests.unit.programs import channels, walk

SYMMETRIC = (Phase(1, 1000), Phase(1, -1000))


def measured(
    channel: ChannelProgram,
    amplitude_ua: int,
    duration_us: int,
    gap_us: int = 0,
    rate_hz: int = 1_000_000,
    phases_per_pulse: int | None = None,
) -> Measurement:
    meter = Meter(rate_hz, gap_us, phases_per_pulse)
    for chunk in iter_chunks(PulseProgram((channel,)), [amplitude_ua], 100, rate_hz, duration_us):
        meter.add(chunk[0])
    return meter.measurement()


def test_conventional_tens_by_hand() -> None:
    """100 Hz, 200 us, 20 mA for 2 s."""
    figures = measured(ChannelProgram(SYMMETRIC, 200, 10_000), 20_000, 2_000_000)
    assert figures.duration_s == 2.0
    assert figures.pulse_count == 200
    assert figures.peak_ua == 20_000
    assert figures.phase_charge_pc == 4_000_000  # 20 mA x 200 us = 4 uC
    assert figures.pulse_net_charge_pc == 0
    assert figures.net_charge_pc == 0
    assert figures.rms_ua == pytest.approx(4000)  # 20 x sqrt(2 x 200e-6 x 100) = 4.0 mA
    assert figures.average_ua == pytest.approx(800)  # 20 mA x 400 us x 100 Hz = 0.8 mA
    assert figures.pulse_energy_uj == pytest.approx(80)  # 0.02 A ^2 x 500 ohm x 400 us
    assert figures.shortest_period_us == 10_000
    assert figures.mean_rate_hz == pytest.approx(100)
    assert figures.current_density_ua_per_cm2(25) == pytest.approx(160)  # 4 mA / 25 cm2
    # 0.004 A ^2 x 500 ohm = 8 mW; / 25 cm2 = 0.32 mW/cm2
    assert figures.power_density_uw_per_cm2(25) == pytest.approx(320)


def test_bursts_average_in_and_off_time_does_not() -> None:
    """10 pulses of 100 Hz twice a second: 20 a second, 20 x sqrt(400e-6 x 20) = 1.789 mA.

    The same pulses with 3 s off after 2 s on measure the same over their worst second.
    """
    burst = ChannelProgram(SYMMETRIC, 200, 10_000, pulses_per_burst=10, burst_period_us=500_000)
    figures = measured(burst, 20_000, 2_000_000)
    assert figures.pulse_count == 40
    assert figures.rms_ua == pytest.approx(20_000 * sqrt(400e-6 * 20))
    assert figures.shortest_period_us == 10_000
    assert figures.mean_rate_hz == pytest.approx(39 / 1.59)  # from 0 to 1.59 s
    resting = ChannelProgram(
        SYMMETRIC, 200, 10_000, pulses_per_burst=10, burst_period_us=500_000,
        cycle=Cycle(0, 2000, 0, 3000),
    )  # fmt: skip
    assert measured(resting, 20_000, 5_000_000).rms_ua == pytest.approx(figures.rms_ua)


def test_the_worst_second_slides() -> None:
    """1 s of pulses from 0.5 s to 1.5 s counts whole, though no whole second holds it."""
    channel = ChannelProgram(SYMMETRIC, 200, 10_000, cycle=Cycle(0, 1000, 0, 10_000, 500))
    assert measured(channel, 20_000, 3_000_000).rms_ua == pytest.approx(4000)


def test_less_than_a_second_counts_as_followed_by_silence() -> None:
    """25 pulses in 0.25 s: a quarter of the mean square, half of the RMS."""
    figures = measured(ChannelProgram(SYMMETRIC, 200, 10_000), 20_000, 250_000)
    assert figures.rms_ua == pytest.approx(2000)
    assert figures.average_ua == pytest.approx(200)


def test_a_gap_belongs_to_the_pulse_if_it_is_said_to() -> None:
    channel = ChannelProgram((Phase(1, 1000), Phase(100, 0), Phase(1, -1000)), 200, 10_000)
    whole = measured(channel, 20_000, 100_000, gap_us=100)
    assert (whole.pulse_count, whole.pulse_net_charge_pc) == (10, 0)
    split = measured(channel, 20_000, 100_000, gap_us=99)
    assert (split.pulse_count, split.pulse_net_charge_pc) == (20, 4_000_000)


FULL = ChannelProgram(SYMMETRIC, 200, 400)


def test_pulses_that_fill_their_period_are_told_apart_by_their_phases() -> None:
    """2500 Hz, 2 x 200 us, 10 mA for 2.5 s without a moment of silence.

    One phase is 2 uC; a pulse has 0.01 A ^2 x 500 ohm x 400 us = 20 uJ; RMS is 10 mA.
    """
    figures = measured(FULL, 10_000, 2_500_000, phases_per_pulse=2)
    assert figures.pulse_count == 6250
    assert figures.phase_charge_pc == 2_000_000
    assert figures.pulse_net_charge_pc == 0
    assert figures.pulse_energy_uj == pytest.approx(20)
    assert figures.shortest_period_us == 400
    assert figures.mean_rate_hz == pytest.approx(2500)
    assert figures.rms_ua == pytest.approx(10_000)


def test_without_the_number_of_phases_they_are_one_long_pulse() -> None:
    figures = measured(FULL, 10_000, 100_000)
    assert figures.pulse_count == 1
    assert figures.phase_charge_pc == 2_000_000
    assert figures.pulse_energy_uj == pytest.approx(250 * 20)


def test_phases_are_counted_anew_after_a_silence() -> None:
    """25 full pulses and 10 ms of silence; then a lone half, as if a pulse had been cut."""
    burst = ChannelProgram(SYMMETRIC, 200, 400, pulses_per_burst=25, burst_period_us=20_000)
    program = PulseProgram((burst,))
    samples = next(iter_chunks(program, [10_000], 100, 1_000_000, 60_000))[0].copy()
    samples[20_000:20_200] = 0  # the first half of the second burst's first pulse
    meter = Meter(1_000_000, 0, 2)
    for first in range(0, len(samples), 777):
        meter.add(samples[first : first + 777])
    figures = meter.measurement()
    # The cut burst begins with a negative half: 49 phases, so 24 pairs and one half left over.
    assert figures.pulse_count == 25 + 25 + 25
    assert figures.pulse_net_charge_pc == 2_000_000


def test_a_pulse_cut_by_the_end_of_a_long_chunk_is_one_pulse() -> None:
    """At 10 kHz a chunk may hold many seconds; 10 Hz, 2 x 1 ms, cut 1 ms into the last pulse."""
    program = PulseProgram((ChannelProgram(SYMMETRIC, 1000, 100_000),))
    samples = next(iter_chunks(program, [10_000], 100, 10_000, 5_000_000))[0]
    meter = Meter(10_000, 0)
    meter.add(samples[:40_010])
    meter.add(samples[40_010:])
    figures = meter.measurement()
    assert figures.pulse_count == 50
    assert figures.pulse_net_charge_pc == 0


def test_an_unbalanced_pulse_is_seen_even_if_the_next_one_undoes_it() -> None:
    """+20 mA x 200 us, then 5 ms later -20 mA x 190 us: 4 uC each pulse, 0.2 uC in all."""
    samples = np.zeros(10_000, np.int32)
    samples[1000:1200] = 20_000
    samples[6000:6190] = -20_000
    meter = Meter(1_000_000, 0)
    meter.add(samples)
    figures = meter.measurement()
    assert figures.pulse_count == 2
    assert figures.pulse_net_charge_pc == 4_000_000
    assert figures.net_charge_pc == 200_000


def test_captured_floats_and_direct_current() -> None:
    """1 mA for 3 s at 10 kHz: 3000 uC, RMS and average 1 mA, no end of the pulse needed."""
    meter = Meter(10_000, 0)
    for _ in range(30):
        meter.add(np.full(1000, 1000.0))
    figures = meter.measurement()
    assert figures.rms_ua == pytest.approx(1000)
    assert figures.average_ua == pytest.approx(1000)
    assert figures.net_charge_pc == pytest.approx(3e9)
    assert figures.pulse_net_charge_pc >= 1e9


def test_silence_and_nothing_measure_zero() -> None:
    meter = Meter(1000, 0)
    assert meter.measurement() == Measurement(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    meter.add(np.zeros(0, np.int32))
    meter.add(np.zeros(5000, np.int32))
    assert meter.measurement() == Measurement(5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_one_sample_at_a_time_is_the_same() -> None:
    samples = next(
        iter_chunks(
            PulseProgram((ChannelProgram(SYMMETRIC, 200, 10_000),)), [20_000], 100, 10_000, 50_000
        )
    )[0]
    whole, pieces = Meter(10_000, 0), Meter(10_000, 0)
    whole.add(samples)
    for index in range(len(samples)):
        pieces.add(samples[index : index + 1])
    assert pieces.measurement() == whole.measurement()
    assert whole.measurement().pulse_count == 5


@settings(max_examples=50)
@given(
    channels() | st.just(FULL),
    st.lists(st.integers(40, 9000), min_size=1, max_size=6),
    st.sampled_from([None, 2, 4]),
)
def test_figures_do_not_depend_on_the_chunks(
    channel: ChannelProgram, sizes: list[int], phases_per_pulse: int | None
) -> None:
    program = PulseProgram((channel,))
    samples = next(iter_chunks(program, [20_000], 100, 50_000, 400_000))[0]
    whole = Meter(50_000, 100, phases_per_pulse)
    whole.add(samples)
    pieces = Meter(50_000, 100, phases_per_pulse)
    first = index = 0
    while first < len(samples):
        size = sizes[index % len(sizes)]
        pieces.add(samples[first : first + size])
        first, index = first + size, index + 1
    assert pieces.measurement() == whole.measurement()


@settings(max_examples=40)
@given(channels(), st.integers(1000, 30_000))
def test_numeric_figures_are_the_analytic_ones(channel: ChannelProgram, setpoint_ua: int) -> None:
    """Charges, counts, RMS and average from integers alone, by an independent interpreter."""
    duration_us = 600_000
    delivered = walk(channel, setpoint_ua, 100, duration_us)
    figures = measured(channel, setpoint_ua, duration_us + 20_000, gap_us=100)
    whole = walk(channel, setpoint_ua, 100, duration_us + 20_000)
    if len(whole) != len(delivered):
        return  # a pulse in the last 20 ms: the sums below would not cover it
    squares = sum(length * current**2 for p in delivered for length, current in p.phases)
    charges = [length * abs(current) for p in delivered for length, current in p.phases]
    assert figures.pulse_count == len(delivered)
    assert figures.net_charge_pc == 0
    assert figures.pulse_net_charge_pc == 0
    assert figures.phase_charge_pc == max(charges, default=0)
    assert figures.peak_ua == max((abs(c) for p in delivered for _, c in p.phases), default=0)
    assert figures.rms_ua == pytest.approx(sqrt(squares / 1_000_000))
    assert figures.average_ua == pytest.approx(sum(charges) / 1_000_000)
