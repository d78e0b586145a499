"""Tell lone pulses between bursts from the bursts, so that they are counted as what they are."""

from __future__ import annotations

import numpy as np

from estim.rig.measuring.pulses import Booleans, Floats
from estim.rig.measuring.smoothing import smoothed

_BURSTS_MIN = 2
_NEIGHBOURS = 9
_NEXT = 1.5
_RATE_SHARE = 0.25


def strays(onset_us: Floats, pulse_count: int, burst_us: float, break_us: float) -> Booleans:
    """Tell of each pulse of one train of bursts whether it belongs to none of them.

    Args:
        onset_us: of the pulses, in order.
        pulse_count: of a burst.
        burst_us: burst period that was commanded.
        break_us: a longer interval ends a burst.
    """
    none = np.zeros(len(onset_us), np.bool_)
    interval_us = np.diff(onset_us)
    breaks = np.flatnonzero(interval_us > break_us)
    firsts = np.concatenate(([0], breaks + 1))
    sizes = np.diff(np.append(firsts, len(onset_us)))
    # What is left of a burst, and one with a stray beside it, still tell where bursts begin.
    starts_us = onset_us[firsts[sizes >= max(2, (pulse_count + 1) // 2)]]
    if len(starts_us) < _BURSTS_MIN:
        return none
    apart_us = np.diff(starts_us)
    period_us = float(np.median(apart_us))
    if len(starts_us) == _BURSTS_MIN and abs(period_us / burst_us - 1) > _RATE_SHARE:
        return none
    turns = np.concatenate(([0.0], np.cumsum(np.maximum(1.0, np.round(apart_us / period_us)))))
    off_us = starts_us - turns * period_us
    every = np.arange(-1.0, turns[-1] + 2)
    # The pulses' own clock: bursts may begin a little earlier or later as time goes on.
    grid_us = every * period_us + np.interp(every, turns, smoothed(off_us, _NEIGHBOURS))
    pulse_us = float(np.median(interval_us[interval_us <= break_us]))
    near = np.clip(np.searchsorted(grid_us - pulse_us / 2, onset_us, side="right") - 1, 0, None)
    is_outside = onset_us - grid_us[near] > (pulse_count - 0.5) * pulse_us
    # A burst of one pulse too many is a wrong burst: a stray has silence between it and a burst.
    runs = np.concatenate(([0], np.cumsum(interval_us > _NEXT * pulse_us)))
    is_mixed = np.zeros(runs[-1] + 1, np.bool_)
    is_mixed[runs[~is_outside]] = True
    stray: Booleans = is_outside & ~is_mixed[runs]
    return stray if np.count_nonzero(stray) < np.count_nonzero(~stray) else none
