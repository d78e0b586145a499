"""Tell the silent stretches of a capture from its pulses: offset, noise, threshold, resolution.

Rules:
1. Noise is that of short blocks, the quietest of them: pulses in between do not count as noise.
2. The offset is the mean of what lies within the threshold; it follows the capture chunk by chunk.
3. Hum, and whatever else moves slowly against a pulse, is followed by the medians of short windows
   without pulses, where there are enough. Elsewhere one level stands for a chunk.
4. A current that changes its sign now and then is one all the same: the largest mean of a tenth of
   a second, whole periods of the mains, is kept beside the offset.
5. The threshold stands six standard deviations above the noise: of a thousand million samples of
   noise two would pass it.
"""

from __future__ import annotations

import numpy as np

from estim.rig.measuring.smoothing import Floats, smoothed

_BLOCK = 16
_LOOK_SAMPLES = 1 << 20
_SIGMAS = 6.0
_PEAK_SHARE = 0.02
_MAD_TO_SIGMA = 1.4826
_BLOCKS_MIN = 4
_RESOLUTION_SAMPLES = 1 << 17
_STEP_SHARE_MAX = 0.125
_PASSED_MIN = 4
_WINDOWS_MIN = 16
_REACH_WINDOWS = 12
_SWAY_SIGMAS, _SWAY_SHARE, _SWAY_PART = 5.0, 0.002, 0.5
_BUSY, _AWAY, _LEAP, _NEIGHBOURS = 3.0, 8.0, 0.05, 9
_WINDOW_SAMPLES_MIN = 24
SLOW_US = 100_000


class Silence:
    """Follow the silent stretches through a capture."""

    def __init__(self, has_silence: bool = True) -> None:
        self.offset_ua = 0.0
        self.noise_ua = 0.0
        self.threshold_ua = 0.0
        self.resolution_ua: float | None = None
        self.has_silence = has_silence
        self.drift_ua = 0.0
        self.is_swaying = False
        self._offsets: list[float] = []
        self._peak_ua = 0.0
        self._window = 0
        self._means: list[float] = []
        self._slow_sum, self._slow_count = 0.0, 0

    def take(self, samples: Floats, shortest_lobe: float, window: int, slow: int) -> None:
        """Learn from the next samples, before they are searched.

        Args:
            samples: in uA.
            shortest_lobe: of a pulse, in samples.
            window: samples in which silence is followed; 0 where pulses leave too little of it.
            slow: samples of SLOW_US.
        """
        if not len(samples):
            return
        if not self._offsets:
            self._look(samples[:_LOOK_SAMPLES], shortest_lobe, window)
        if self.is_swaying:
            self._follow(samples, slow)
            return
        if not self.has_silence:
            self._offsets.append(float(samples.mean()))
            self.offset_ua = self._offsets[0]
        deviation = np.abs(samples - self.offset_ua)
        self._peak_ua = max(self._peak_ua, float(deviation.max()))
        is_silent = deviation <= self._threshold()
        share = np.count_nonzero(is_silent) / len(samples)
        if share >= 0.05 and self.has_silence:
            offset_ua = float(samples[is_silent].mean())
            # A leap is no drift: the silence of this chunk is another one, and pulses lie in it.
            if abs(offset_ua - self.offset_ua) <= self._threshold():
                self.offset_ua = offset_ua
            self._offsets.append(self.offset_ua)
            self.drift_ua = max(self._offsets) - min(self._offsets)
        elif not self._offsets:
            self.has_silence = False
            self._offsets.append(self.offset_ua)
        self.threshold_ua = self._threshold()

    def taken_off(self, samples: Floats) -> Floats:
        """Return samples without what flows in the silence around them."""
        if self.is_swaying:
            return samples - _sway(samples, self._window)
        return samples - self.offset_ua

    @property
    def largest_offset_ua(self) -> float:
        """Return the mean of a tenth of a second, or of a chunk, that is farthest from zero."""
        means = self._means or self._offsets
        if self.is_swaying and not self._means:
            means = [self._slow_sum / max(1, self._slow_count)]
        return max([self.offset_ua, *means] if not self.is_swaying else means, key=abs)

    def _slow_means(self, silence: Floats, slow: int) -> None:
        """Take the means of whole tenths of a second, across chunks."""
        at = 0
        while at < len(silence):
            part = silence[at : at + max(1, slow) - self._slow_count]
            self._slow_sum += float(part.sum())
            self._slow_count += len(part)
            at += len(part)
            if self._slow_count >= max(1, slow):
                mean = self._slow_sum / self._slow_count
                self._means = [max([*self._means, mean], key=abs)]
                self._slow_sum, self._slow_count = 0.0, 0

    def _follow(self, samples: Floats, slow: int) -> None:
        silence = _sway(samples, self._window)
        self._slow_means(silence, slow)
        self._peak_ua = max(self._peak_ua, float(np.abs(samples - silence).max()))
        self._offsets += [float(silence.min()), float(silence.max())]
        self._offsets = [min(self._offsets), max(self._offsets)]
        self.offset_ua = sum(self._offsets) / 2
        self.drift_ua = self._offsets[1] - self._offsets[0]
        self.threshold_ua = self._threshold()

    @property
    def reach(self) -> int:
        """Return how many samples beside a pulse are needed to know the silence there."""
        return _REACH_WINDOWS * self._window if self.is_swaying else 0

    def _threshold(self) -> float:
        floor_ua = max(_SIGMAS * self.noise_ua, 2 * (self.resolution_ua or 0.0))
        return max(floor_ua, _PEAK_SHARE * self._peak_ua, 1e-9)

    def _look(self, samples: Floats, shortest_lobe: float, window: int) -> None:
        """Estimate offset, noise and resolution from the first samples."""
        block = max(2, min(_BLOCK, int(shortest_lobe / 3)))
        if window >= _WINDOW_SAMPLES_MIN and len(samples) >= _WINDOWS_MIN * window:
            self._window = window
            silence = _sway(samples, window)
            rest = samples - silence
            noise = _MAD_TO_SIGMA * float(np.median(np.abs(rest)))
            # The median of a window of noise moves by 1.25 standard deviations / sqrt(samples).
            moved = 1.25 * noise / np.sqrt(window)
            peak = float(np.abs(rest).max())
            sway = float(silence.std())
            is_part = np.ptp(silence) < _SWAY_PART * np.ptp(samples)
            # What takes most of the capture's range is the signal itself, slower than expected.
            if is_part and sway > max(_SWAY_SIGMAS * moved, _SWAY_SHARE * peak):
                self.is_swaying = True
                samples = rest
        count = len(samples) // block
        self.offset_ua = float(np.median(samples))
        if count < _BLOCKS_MIN:
            return
        if not self.has_silence:
            # Pulses all along: what changes from one sample to the next is mostly noise.
            steps = np.abs(np.diff(samples))
            self.noise_ua = _MAD_TO_SIGMA * float(np.median(steps)) / float(np.sqrt(2))
            return
        blocks = samples[: count * block].reshape(count, block)
        away = np.abs(blocks.mean(axis=1) - self.offset_ua)
        # The silent blocks are those near the level that most samples have.
        silent = blocks[away <= np.quantile(away, 0.5)]
        self.noise_ua = float(np.quantile(silent.std(axis=1, ddof=1), 0.5))
        deviations = np.abs(samples - self.offset_ua)
        whole = _MAD_TO_SIGMA * float(np.median(deviations))
        peak = float(deviations.max())
        # Hum and drift are slower than a block; they count unless pulses fill the capture.
        if _SIGMAS * whole < peak / 4:
            self.noise_ua = max(self.noise_ua, whole)
        self.resolution_ua = _resolution(silent, peak)
        if self.resolution_ua is None and not np.ptp(silent):
            self.resolution_ua = _resolution(np.abs(_passed(samples) - self.offset_ua), peak)
        if self.resolution_ua is not None:
            # Noise below a step shows as readings that flicker by one, now and then.
            flicker = silent[np.abs(silent - self.offset_ua) <= 2 * self.resolution_ua]
            if len(flicker):
                self.noise_ua = max(self.noise_ua, float(flicker.std()))


def _passed(samples: Floats) -> Floats:
    """Return what was read on the way from one level to another.

    Where an instrument's steps are coarser than its noise, silence reads as one figure, and only
    the edges show how far apart its readings are, rising ones beside falling ones. A computed
    waveform leaps: it has none of these.
    """
    steps = np.diff(samples)
    on_the_way = (steps[:-1] != 0) & (steps[1:] != 0)
    passed: Floats = samples[1:-1][on_the_way]
    return passed if len(np.unique(passed)) >= _PASSED_MIN else np.empty(0)


def _resolution(readings: Floats, peak: float) -> float | None:
    """Return the smallest step between readings; None where they do not tell."""
    readings = np.unique(readings.ravel()[:_RESOLUTION_SAMPLES])
    if len(readings) < 2:
        return None
    smallest = float(np.quantile(np.diff(readings), 0.05, method="lower"))
    if not 1e-9 * peak < smallest < _STEP_SHARE_MAX * peak:
        return None
    multiples = (readings - readings[0]) / smallest
    if np.abs(multiples - np.round(multiples)).max() > 0.1:
        return None
    return smallest


def _sway(samples: Floats, window: int) -> Floats:
    """Return the median of each silent window, joined by straight lines: a figure for each sample.

    A window in which far more happens than in most holds an edge, and one whose median leaps from
    that of its neighbours lies within a phase: neither says anything of silence.
    """
    width = min(window, len(samples))
    count = max(1, len(samples) // width)
    windows = samples[: count * width].reshape(count, width)
    busy = np.ptp(windows, axis=1)
    medians = np.median(windows, axis=1)
    away = np.abs(medians - smoothed(medians, _NEIGHBOURS))
    allowed = max(_AWAY * np.median(away), _LEAP * away.max())
    silent = (busy <= _BUSY * np.median(busy)) & (away <= allowed)
    middles = (np.flatnonzero(silent) + 0.5) * width
    joined: Floats = np.interp(np.arange(len(samples)), middles, medians[silent])
    return joined
