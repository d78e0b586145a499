"""Cut one pulse out of a capture, for a picture of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from estim.rig.captures.capture import Capture, ReadOptions, open_capture

BEFORE = 0.25
AFTER = 1.25
"""Shares of a pulse's duration that are shown before its onset and after it."""

Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Times in us since the onset, and the current from each on, in uA."""


def one_pulse(path: Path, options: ReadOptions, pulse_us: int, amplitude_ua: int) -> Curve:
    """Return the first whole pulse of a capture; empty where there is none.

    Raises:
        UsageError: the capture cannot be read.
    """
    capture = open_capture(path, options)
    if capture.is_sampled:
        return _from_samples(capture, pulse_us, amplitude_ua)
    for steps in capture.steps():
        onset_us = float(steps.start_us[0])
        times, currents = [-BEFORE * pulse_us], [0.0]
        for start_us, end_us, current_ua in zip(
            steps.start_us, steps.end_us, steps.current_ua, strict=True
        ):
            since_us = float(start_us) - onset_us
            if since_us >= pulse_us:
                break
            if times[-1] == since_us:  # the step before ended here
                times.pop()
                currents.pop()
            times += [since_us, float(end_us) - onset_us]
            currents += [float(current_ua), 0.0]
        return (*times, AFTER * pulse_us), (*currents, 0.0)
    return (), ()


def _from_samples(capture: Capture, pulse_us: int, amplitude_ua: int) -> Curve:
    rate_hz = capture.info.sample_rate_hz or 0.0
    before = int(BEFORE * pulse_us * rate_hz / 1e6)
    count = int((BEFORE + AFTER) * pulse_us * rate_hz / 1e6)
    held = np.empty(0)
    for chunk in capture.chunks():
        held = np.concatenate([held[-before:] if before else held[:0], chunk])
        above = np.flatnonzero(np.abs(held) > amplitude_ua / 2)
        if not len(above):
            continue
        first = int(above[0])
        shown = held[max(0, first - before) : max(0, first - before) + count]
        times = (np.arange(len(shown)) - min(first, before)) * 1e6 / rate_hz
        return tuple(times.tolist()), tuple(shown.tolist())
    return (), ()
