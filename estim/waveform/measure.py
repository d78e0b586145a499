"""Measure what samples of one channel hold: charges, RMS, average, pulses. Numeric on purpose.

Rules:
1. Nothing is taken from a programme: samples in, figures out. It works on rendered samples and on
   captured ones alike, in chunks, in memory bounded by one second of samples.
2. RMS and average absolute current are those of the worst sliding second; a record shorter than a
   second counts as followed by silence.
3. A pulse is a run of samples with no longer silence between them than `gap_us`; a phase is what
   flows one way within it, silence ignored. Integers are summed exactly, so a balanced pulse reads
   exactly 0.
4. Pulses that fill their period have no silence between them: they are told apart only where
   `phases_per_pulse` says how many phases make one. Without it they count as one long pulse, with
   the charge and energy of all; and a pulse that begins and ends one way runs into the next even
   with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estim.units import US_PER_S

TEST_LOAD_OHM = 500
"""Load into which energy and power are stated (IEC 60601-2-10, by public summaries)."""

Samples = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one channel delivered.

    Attributes:
        duration_s: length of the record.
        pulse_count: pulses that ended in the record.
        peak_ua: largest magnitude of any sample.
        phase_charge_pc: largest charge of any phase.
        pulse_net_charge_pc: largest magnitude of any pulse's net charge.
        net_charge_pc: net charge of the whole record.
        rms_ua: RMS over the worst sliding second.
        average_ua: average absolute current over the worst sliding second.
        pulse_energy_uj: largest energy of any pulse into 500 ohm.
        shortest_period_us: shortest time between two onsets; 0 with fewer than two pulses.
        mean_rate_hz: pulses a second between the first onset and the last; 0 with fewer than two.
    """

    duration_s: float
    pulse_count: int
    peak_ua: float
    phase_charge_pc: float
    pulse_net_charge_pc: float
    net_charge_pc: float
    rms_ua: float
    average_ua: float
    pulse_energy_uj: float
    shortest_period_us: float
    mean_rate_hz: float

    def current_density_ua_per_cm2(self, area_cm2: float) -> float:
        """Return the RMS current density under the smaller electrode of the channel."""
        return self.rms_ua / area_cm2

    def power_density_uw_per_cm2(self, area_cm2: float) -> float:
        """Return the power into 500 ohm per area of the smaller electrode."""
        return self.rms_ua**2 * 1e-12 * TEST_LOAD_OHM * 1e6 / area_cm2


@dataclass(frozen=True, slots=True)
class _Parts:
    """Where phases and pulses begin."""

    phase_starts: Samples
    pulse_starts: Samples

    def before(self, end: int) -> _Parts:
        """Return what begins before an index."""
        return _Parts(
            self.phase_starts[: np.searchsorted(self.phase_starts, end)],
            self.pulse_starts[: np.searchsorted(self.pulse_starts, end)],
        )


class Meter:
    """Take samples of one channel, chunk by chunk, and tell what they hold."""

    def __init__(
        self, sample_rate_hz: int, gap_us: int, phases_per_pulse: int | None = None
    ) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._phases_per_pulse = phases_per_pulse
        self._gap_samples = gap_us * sample_rate_hz // US_PER_S + 1
        self._second = _WorstSecond(sample_rate_hz)
        self._pending = np.empty(0, np.int64)
        self._sample_count = 0
        self._pulse_count = 0
        self._peak = 0.0
        self._net_sum = 0.0
        self._phase_sum = 0.0
        self._pulse_net_sum = 0.0
        self._pulse_square_sum = 0.0
        self._first_onset = 0
        self._last_onset = 0
        self._shortest_period = 0

    def add(self, samples: Samples) -> None:
        """Take the next samples, in uA: shape (samples,), integers or floats."""
        exact = samples.astype(np.int64 if np.issubdtype(samples.dtype, np.integer) else np.float64)
        self._second.add(exact)
        self._sample_count += len(exact)
        self._net_sum += exact.sum().item()
        if len(exact):
            self._peak = max(self._peak, abs(exact.min().item()), abs(exact.max().item()))
        waiting = np.concatenate([self._pending, exact])
        current = np.flatnonzero(waiting)
        parts = self._parts(waiting, current)
        keep = len(waiting)
        if self._may_go_on(current, parts, len(waiting)):
            last = int(parts.pulse_starts[-1])
            keep = int(current[last])
            current, parts = current[:last], parts.before(last)
        self._count_pulses(waiting, current, parts, self._sample_count - len(waiting))
        self._pending = waiting[keep:]

    def measurement(self) -> Measurement:
        """Return what was measured so far; a pulse still in progress counts as ended."""
        pending = self._pending
        current = np.flatnonzero(pending)
        parts = self._parts(pending, current)
        self._count_pulses(pending, current, parts, self._sample_count - len(pending))
        self._pending = pending[:0]
        sample_us = US_PER_S / self._sample_rate_hz
        spans = self._pulse_count - 1
        return Measurement(
            duration_s=self._sample_count / self._sample_rate_hz,
            pulse_count=self._pulse_count,
            peak_ua=self._peak,
            phase_charge_pc=self._phase_sum * sample_us,
            pulse_net_charge_pc=self._pulse_net_sum * sample_us,
            net_charge_pc=self._net_sum * sample_us,
            rms_ua=sqrt(self._second.square_sum / self._sample_rate_hz),
            average_ua=self._second.absolute_sum / self._sample_rate_hz,
            # uA2 x us x ohm = 1e-18 J = 1e-12 uJ
            pulse_energy_uj=self._pulse_square_sum * sample_us * TEST_LOAD_OHM * 1e-12,
            shortest_period_us=self._shortest_period * sample_us,
            mean_rate_hz=(
                spans * self._sample_rate_hz / (self._last_onset - self._first_onset)
                if spans > 0
                else 0.0
            ),
        )

    def _may_go_on(self, current: Samples, parts: _Parts, sample_count: int) -> bool:
        """Tell whether the last pulse may continue in the next chunk."""
        if not len(current) or current[-1] + self._gap_samples < sample_count:
            return False
        # A pulse that lasts longer than two seconds is none: count it as it stands, stay bounded.
        lasted = sample_count - int(current[parts.pulse_starts[-1]])
        return lasted <= 2 * self._sample_rate_hz

    def _parts(self, samples: Samples, current: Samples) -> _Parts:
        """Return where phases and pulses begin, as indices of `current`."""
        if not len(current):
            return _Parts(current, current)
        breaks = np.diff(current) > self._gap_samples
        turns = breaks | (np.diff(np.sign(samples[current])) != 0)
        phase_starts = np.concatenate(([0], np.flatnonzero(turns) + 1))
        if self._phases_per_pulse is None:
            return _Parts(phase_starts, np.concatenate(([0], np.flatnonzero(breaks) + 1)))
        # Phases are counted anew after each silence.
        after_silence = np.concatenate(([True], breaks))[phase_starts]
        number = np.arange(len(phase_starts))
        first = np.maximum.accumulate(np.where(after_silence, number, 0))
        return _Parts(phase_starts, phase_starts[(number - first) % self._phases_per_pulse == 0])

    def _count_pulses(
        self, samples: Samples, current: Samples, parts: _Parts, first_index: int
    ) -> None:
        """Count the whole pulses at the indices `current` and keep the worst of each figure."""
        if not len(current):
            return
        delivered = samples[current]
        phase_starts, pulse_starts = parts.phase_starts, parts.pulse_starts
        self._phase_sum = max(self._phase_sum, _largest(np.add.reduceat(delivered, phase_starts)))
        self._pulse_net_sum = max(
            self._pulse_net_sum, _largest(np.add.reduceat(delivered, pulse_starts))
        )
        self._pulse_square_sum = max(
            self._pulse_square_sum, _largest(np.add.reduceat(delivered**2, pulse_starts))
        )
        onsets = current[pulse_starts] + first_index
        if self._pulse_count:
            onsets = np.concatenate(([self._last_onset], onsets))
        else:
            self._first_onset = int(onsets[0])
        if len(onsets) > 1:
            shortest = int(np.diff(onsets).min())
            self._shortest_period = min(self._shortest_period or shortest, shortest)
        self._last_onset = int(onsets[-1])
        self._pulse_count += len(pulse_starts)


class _WorstSecond:
    """Keep the largest sums of squares and of magnitudes over any second so far."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._tail = np.zeros(sample_rate_hz, np.int64)
        self._square_now: Any = 0
        self._absolute_now: Any = 0
        self.square_sum = 0.0
        self.absolute_sum = 0.0

    def add(self, samples: Samples) -> None:
        """Take the next samples; the silence before the first counts as zeros."""
        joined = np.concatenate([self._tail, samples])
        leaving = joined[: len(samples)]
        squares = self._square_now + np.cumsum(samples * samples - leaving * leaving)
        magnitudes = self._absolute_now + np.cumsum(np.abs(samples) - np.abs(leaving))
        if len(samples):
            self.square_sum = max(self.square_sum, float(squares.max()))
            self.absolute_sum = max(self.absolute_sum, float(magnitudes.max()))
            self._square_now, self._absolute_now = squares[-1], magnitudes[-1]
        self._tail = joined[len(samples) :]


def _largest(sums: Samples) -> float:
    return float(np.abs(sums).max())
