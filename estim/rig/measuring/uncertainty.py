"""How sure a figure is, from what the capture itself shows and what the instrument states.

Rules:
1. All uncertainties are expanded, k = 2 (about 95 %). Independent parts add as squares.
2. An ideal edge between two samples is known to half a sample: a uniform distribution, standard
   deviation sample / sqrt(12) (GUM, type B). A duration has two edges. The net charge of a pulse
   of two phases has one edge twice and two once: sqrt(6 / 12) of a sample.
3. The mean of N pulses is sqrt(N) times surer, for N up to AVERAGING_MAX, as the clocks of
   stimulator and instrument are independent. Not so where a phase has fewer than SAMPLES_MIN
   samples: there a duration stays uncertain by a whole sample, and a net charge by two.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from estim.rig.measuring.instrument import Instrument
from estim.rig.measuring.pulses import Floats, Found

AVERAGING_MAX = 100
SAMPLES_MIN = 25
K = 2.0
_EDGE = 1 / sqrt(12)
_FOLLOWED = 0.05
"""What remains, beside a single pulse, of an offset that moves while it is followed."""
_SINGLE = 4.5
"""Standard deviations for single pulses: the largest of 100 000 stays below (Gaussian)."""


class Uncertainty:
    """Return uncertainties of one capture."""

    def __init__(
        self, found: Found, instrument: Instrument | None, has_load: bool, shortest_us: float
    ) -> None:
        self._sample_us = found.sample_us
        self._noise_ua = found.noise_ua
        self._sway_ua = _FOLLOWED * found.drift_ua
        self._resolution_ua = found.resolution_ua or 0.0
        self.has_coarse_steps = found.noise_ua < 0.3 * self._resolution_ua
        self._step_ua = self._resolution_ua * _EDGE if self.has_coarse_steps else 0.0
        self.is_undersampled = 0 < shortest_us < SAMPLES_MIN * found.sample_us
        self._gain = 0.0
        self._clock = 0.0
        if instrument is not None:
            load = instrument.load_uncertainty_percent if has_load else 0.0
            self._gain = sqrt(instrument.amplitude_uncertainty_percent**2 + load**2) / 100
            self._clock = instrument.time_uncertainty_ppm * 1e-6

    def gain(self, figure: float) -> float:
        """Return what the instrument's gain makes of a current, a charge or a mean of them."""
        return self._gain * abs(figure)

    def current_ua(self, figure_ua: float, samples: float, count: int) -> float:
        """Return that of the mean current of `count` plateaus of `samples` samples each."""
        noise = K * self._noise_ua / sqrt(max(1.0, samples) * max(1, count))
        return sqrt(noise**2 + (K * self._step_ua) ** 2 + self.gain(figure_ua) ** 2)

    def single_current_ua(self, samples: Floats) -> Floats:
        """Return that of the plateau of single pulses, the instrument's gain aside."""
        noise = _SINGLE * self._noise_ua / np.sqrt(np.maximum(1.0, samples))
        single: Floats = noise + self._resolution_ua
        return single

    def duration_us(self, figure_us: float, edge_us: float, count: int) -> float:
        """Return that of the mean of `count` durations; `edge_us` is what noise adds to an edge."""
        clock_us = self._clock * abs(figure_us)
        if self.is_undersampled:
            return self._sample_us + clock_us
        spread_us = sqrt(2 * (self._sample_us * _EDGE) ** 2 + 2 * edge_us**2)
        return sqrt((K * spread_us / self._root(count)) ** 2 + clock_us**2)

    def single_duration_us(self, edge_us: float) -> float:
        """Return that of a single duration."""
        return self._sample_us + _SINGLE * sqrt(2.0) * edge_us

    def rise_us(self) -> float:
        """Return that of a rise time: ideal edges read as most of a sample."""
        return self._sample_us

    def net_pc(self, figure_pc: float, current_ua: float, pulse_us: float, count: int) -> float:
        """Return that of the mean net charge of `count` pulses of a current and a length."""
        if self.is_undersampled:
            return 2 * self._sample_us * current_ua
        edges_pc = sqrt(0.5) * self._sample_us * current_ua
        noise_pc = self._noise_ua * sqrt(max(0.0, pulse_us * self._sample_us))
        random_pc = K * sqrt(edges_pc**2 + noise_pc**2) / self._root(count)
        steps_pc = K * self._step_ua * pulse_us
        return sqrt(random_pc**2 + steps_pc**2 + self.gain(figure_pc) ** 2)

    def single_net_pc(self, current_ua: float, pulse_us: float) -> float:
        """Return that of the net charge of a single pulse."""
        noise_pc = self._noise_ua * sqrt(max(0.0, pulse_us * self._sample_us))
        steps_pc = (self._resolution_ua + self._sway_ua) * pulse_us
        return 2 * self._sample_us * current_ua + _SINGLE * noise_pc + steps_pc

    def charge_pc(self, figure_pc: float, current_ua: float, lobe_us: float, count: int) -> float:
        """Return that of the mean charge of a lobe."""
        edges_pc = current_ua * self.duration_us(0.0, 0.0, count)
        noise_pc = K * self._noise_ua * sqrt(max(0.0, lobe_us * self._sample_us))
        steps_pc = K * self._step_ua * lobe_us
        random_pc = noise_pc / self._root(count)
        return sqrt(edges_pc**2 + random_pc**2 + steps_pc**2 + self.gain(figure_pc) ** 2)

    def rate_share(self, span_us: float) -> float:
        """Return that of a rate counted over a span, as a share of the rate."""
        if span_us <= 0:
            return 1.0
        return sqrt((K * sqrt(2.0) * _EDGE * self._sample_us / span_us) ** 2 + self._clock**2)

    def time_us(self, span_us: float) -> float:
        """Return that of a time between two onsets."""
        return sqrt((K * sqrt(2.0) * _EDGE * self._sample_us) ** 2 + (self._clock * span_us) ** 2)

    @staticmethod
    def _root(count: int) -> float:
        return sqrt(max(1, min(count, AVERAGING_MAX)))
