"""A worst pulse as two lines to draw one over the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estim.rig.captures.capture import Floats
from estim.rig.measuring.result import WorstPulse


@dataclass(frozen=True, slots=True)
class Overlay:
    """Captured and commanded current over time since the onset; in us and uA.

    Attributes:
        captured_us, captured_ua: what was captured.
        commanded_us, commanded_ua: what was commanded.
        start_us, end_us: what both span.
        low_ua, high_ua: the extremes of both, 0 included.
    """

    captured_us: Floats
    captured_ua: Floats
    commanded_us: Floats
    commanded_ua: Floats
    start_us: float
    end_us: float
    low_ua: float
    high_ua: float


def overlay_of(worst: WorstPulse) -> Overlay | None:
    """Return both lines on one scale; None where one of them has no points."""
    captured_us, captured_ua = np.array(worst.times_us), np.array(worst.current_ua)
    commanded_us, commanded_ua = np.array(worst.expected_times_us), np.array(worst.expected_ua)
    if not len(captured_us) or not len(commanded_us):
        return None
    every_us = np.concatenate((captured_us, commanded_us))
    every_ua = np.concatenate((captured_ua, commanded_ua, [0.0]))
    start_us, end_us = float(every_us.min()), float(every_us.max())
    if end_us <= start_us:
        return None
    return Overlay(
        captured_us, captured_ua, commanded_us, commanded_ua, start_us, end_us,
        float(every_ua.min()), float(every_ua.max()),
    )  # fmt: skip
