"""Render a programme to samples, in chunks, for any duration in bounded memory.

A sample is the current at its instant: a phase from t0 to t1 fills the samples with t0 <= t < t1.
At 1 MHz every phase, and so every charge, is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from estim.units import US_PER_S
from estim.waveform.pulses import Int64Array, PulseTrain, iter_pulses
from firmware_protocol.program import FULL_PERMILLE, ChannelProgram, PulseProgram

CHUNK_SAMPLES = 1 << 18

Int32Array = NDArray[np.int32]
Runs = tuple[Int64Array, Int32Array]


def iter_chunks(
    program: PulseProgram,
    amplitudes_ua: Sequence[int],
    amplitude_step_ua: int,
    sample_rate_hz: int,
    duration_us: int,
    start_us: int = 0,
    chunk_samples: int = CHUNK_SAMPLES,
) -> Iterator[Int32Array]:
    """Yield arrays of shape (channels, samples) in uA; sample n is at start_us + n / sample rate.

    `amplitudes_ua` holds the setpoint of each channel, reached already. All chunks but the last
    have `chunk_samples` samples.

    Raises:
        ValueError: the number of amplitudes is not the number of channels.
    """
    for first, stop, runs in iter_runs(
        program,
        amplitudes_ua,
        amplitude_step_ua,
        sample_rate_hz,
        duration_us,
        start_us,
        chunk_samples,
    ):
        chunk = np.empty((len(runs), stop - first), np.int32)
        for row, (starts, currents_ua) in zip(chunk, runs, strict=True):
            row[:] = np.repeat(currents_ua, np.diff(starts, append=stop))
        yield chunk


def iter_runs(
    program: PulseProgram,
    amplitudes_ua: Sequence[int],
    amplitude_step_ua: int,
    sample_rate_hz: int,
    duration_us: int,
    start_us: int = 0,
    chunk_samples: int = CHUNK_SAMPLES,
) -> Iterator[tuple[int, int, list[Runs]]]:
    """Yield the same samples as `iter_chunks`, as runs: first sample, stop, runs of each channel.

    Runs are (sample at which each starts, current in uA); the first starts at the first sample,
    each lasts until the next, the last until stop. A run may be empty, and a current may repeat.

    Raises:
        ValueError: the number of amplitudes is not the number of channels.
    """
    if len(amplitudes_ua) != len(program.channels):
        raise ValueError(f"{len(program.channels)} channels, {len(amplitudes_ua)} amplitudes")
    end_us = start_us + duration_us
    feeds = [
        _Feed(channel, amplitude_ua, amplitude_step_ua, sample_rate_hz, start_us, end_us)
        for channel, amplitude_ua in zip(program.channels, amplitudes_ua, strict=True)
    ]
    sample_count = duration_us * sample_rate_hz // US_PER_S
    for first in range(0, sample_count, chunk_samples):
        stop = min(first + chunk_samples, sample_count)
        yield first, stop, [feed.take(first, stop) for feed in feeds]


def phase_edges_us(channel: ChannelProgram, train: PulseTrain) -> Int64Array:
    """Return start and end of every phase, shape (pulses, phases + 1)."""
    lengths_us = [
        np.full(train.count, phase.duration) if phase.is_gap else phase.duration * train.unit_us
        for phase in channel.phases
    ]
    return np.cumsum(np.stack([train.onset_us, *lengths_us], axis=1), axis=1)


def phase_currents_ua(
    channel: ChannelProgram, train: PulseTrain, amplitude_step_ua: int
) -> Int64Array:
    """Return the signed current of every phase, shape (pulses, phases)."""
    shares = np.array([phase.amplitude_permille for phase in channel.phases], np.int64)
    currents_ua = train.amplitude_ua[:, None] * np.abs(shares) // FULL_PERMILLE
    currents_ua -= currents_ua % amplitude_step_ua
    return currents_ua * np.sign(shares)


class _Feed:
    """Turn one channel's pulses into runs of equal samples, keeping what later chunks need."""

    def __init__(
        self,
        channel: ChannelProgram,
        setpoint_ua: int,
        amplitude_step_ua: int,
        sample_rate_hz: int,
        start_us: int,
        end_us: int,
    ) -> None:
        longest_us = max(channel.pulse_us(setting.unit_us) for setting in channel.settings)
        self._channel = channel
        self._amplitude_step_ua = amplitude_step_ua
        self._sample_rate_hz = sample_rate_hz
        self._start_us = start_us
        # A pulse that began before the start may still be in progress.
        self._blocks = iter_pulses(
            channel, setpoint_ua, amplitude_step_ua, max(0, start_us - longest_us), end_us
        )
        self._edges = np.empty(0, np.int64)
        self._currents_ua = np.empty(0, np.int32)
        self._held_ua = 0
        self._is_exhausted = False

    def take(self, first: int, stop: int) -> Runs:
        """Return the runs from `first` to before `stop`; chunks are asked for in order."""
        while not self._is_exhausted and (not len(self._edges) or self._edges[-1] < stop):
            self._take_block()
        count = int(np.searchsorted(self._edges, stop))
        starts = np.concatenate(([first], np.maximum(self._edges[:count], first)))
        currents_ua = np.concatenate(([self._held_ua], self._currents_ua[:count])).astype(np.int32)
        self._held_ua = int(currents_ua[-1])
        self._edges, self._currents_ua = self._edges[count:], self._currents_ua[count:]
        return starts, currents_ua

    def _take_block(self) -> None:
        """Append the next block: each phase's start with its current, each pulse's end with 0."""
        train = next(self._blocks, None)
        if train is None:
            self._is_exhausted = True
            return
        edges_us = phase_edges_us(self._channel, train) - self._start_us
        edges = -(-edges_us * self._sample_rate_hz // US_PER_S)
        currents_ua = np.zeros(edges.shape, np.int32)
        currents_ua[:, :-1] = phase_currents_ua(self._channel, train, self._amplitude_step_ua)
        self._edges = np.concatenate([self._edges, edges.ravel()])
        self._currents_ua = np.concatenate([self._currents_ua, currents_ua.ravel()])
