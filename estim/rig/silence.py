"""Tell the silent stretches of a capture from its pulses: offset, noise, threshold, resolution.

Rules:
1. Noise is that of short blocks, the quietest of them: pulses in between do not count as noise.
2. The offset is the mean of what lies within the threshold; it follows the capture chunk by chunk.
3. The threshold stands six standard deviations above the noise: of a thousand million samples of
   noise two would pass it.
"""

from __future__ import annotations

import numpy as np

from estim.rig.capture import Floats

_BLOCK = 16
_LOOK_SAMPLES = 1 << 20
_SIGMAS = 6.0
_PEAK_SHARE = 0.02
_MAD_TO_SIGMA = 1.4826
_BLOCKS_MIN = 4
_RESOLUTION_SAMPLES = 1 << 17
_STEP_SHARE_MAX = 0.125


class Silence:
    """Follow the silent stretches through a capture."""

    def __init__(self) -> None:
        self.offset_ua = 0.0
        self.noise_ua = 0.0
        self.threshold_ua = 0.0
        self.resolution_ua: float | None = None
        self.has_silence = True
        self.drift_ua = 0.0
        self._offsets: list[float] = []
        self._peak_ua = 0.0

    def take(self, samples: Floats, shortest_lobe: float) -> None:
        """Learn from the next samples, before they are searched; lobe lengths in samples."""
        if not len(samples):
            return
        if not self._offsets:
            self._look(samples[:_LOOK_SAMPLES], shortest_lobe)
        deviation = np.abs(samples - self.offset_ua)
        self._peak_ua = max(self._peak_ua, float(deviation.max()))
        is_silent = deviation <= self._threshold()
        share = np.count_nonzero(is_silent) / len(samples)
        if share >= 0.05:
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

    def _threshold(self) -> float:
        floor_ua = max(_SIGMAS * self.noise_ua, 2 * (self.resolution_ua or 0.0))
        return max(floor_ua, _PEAK_SHARE * self._peak_ua, 1e-9)

    def _look(self, samples: Floats, shortest_lobe: float) -> None:
        """Estimate offset, noise and resolution from the first samples."""
        block = max(2, min(_BLOCK, int(shortest_lobe / 3)))
        count = len(samples) // block
        self.offset_ua = float(np.median(samples))
        if count < _BLOCKS_MIN:
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
        if self.resolution_ua is not None:
            # Noise below a step shows as readings that flicker by one, now and then.
            flicker = silent[np.abs(silent - self.offset_ua) <= 2 * self.resolution_ua]
            self.noise_ua = max(self.noise_ua, float(flicker.std()))


def _resolution(silent: Floats, peak: float) -> float | None:
    """Return the smallest step between silent readings; None where they do not tell."""
    readings = np.unique(silent.ravel()[:_RESOLUTION_SAMPLES])
    if len(readings) < 2:
        return None
    smallest = float(np.quantile(np.diff(readings), 0.05))
    if not 1e-9 * peak < smallest < _STEP_SHARE_MAX * peak:
        return None
    multiples = (readings - readings[0]) / smallest
    if np.abs(multiples - np.round(multiples)).max() > 0.1:
        return None
    return smallest
