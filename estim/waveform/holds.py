"""Turn a modulation into holds: what is played from when to when.

Rules:
1. Exact fractions until the end; whoever makes keyframes floors them.
2. The largest amplitude share of a cycle is the whole one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import pi, sin

from estim.profile.modulation import (
    BeatModulation,
    DurationPoint,
    HeldModulation,
    LinearModulation,
    Modulation,
    ModulationPoint,
    RandomModulation,
    StrengthDurationModulation,
    hold_times_s,
)
from firmware_protocol.program import FULL_PERMILLE

_MHZ_PER_HZ = 1000


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold: when it begins, amplitude share, first phase's duration, pulse rate."""

    at_s: Decimal
    amplitude_permille: Fraction
    phase_duration_us: Fraction
    pulse_rate_hz: Fraction


def holds(modulation: Modulation, phase_duration_us: int, pulse_rate_hz: Decimal) -> list[Hold]:
    """Return the holds of one cycle; duration and rate are the stimulus' own.

    Of a strength-duration modulation the amplitude share is left whole: it depends on the durations
    that can be played, see `strength_duration_permille`.
    """
    times_s = hold_times_s(modulation)
    if isinstance(modulation, RandomModulation):
        own_us = Fraction(phase_duration_us)
        rates_hz = (random_rate_hz(modulation, index) for index in range(len(times_s)))
        full = Fraction(FULL_PERMILLE)
        return [
            Hold(at_s, full, own_us, rate_hz)
            for at_s, rate_hz in zip(times_s, rates_hz, strict=True)
        ]
    if isinstance(modulation, BeatModulation):
        own_us, own_hz = Fraction(phase_duration_us), Fraction(pulse_rate_hz)
        shares = beat_permille(len(times_s))
        return [
            Hold(at_s, Fraction(share), own_us, own_hz)
            for at_s, share in zip(times_s, shares, strict=True)
        ]
    return [_between(modulation, at_s, phase_duration_us, pulse_rate_hz) for at_s in times_s]


def random_rate_hz(modulation: RandomModulation, index: int) -> Fraction:
    """Return the pulse rate of one hold, as the docstring of `RandomModulation` tells it."""
    digest = hashlib.sha256(f"{modulation.seed}:{index}".encode("ascii")).digest()
    lowest = int(modulation.lowest_pulse_rate_hz * _MHZ_PER_HZ)
    highest = int(modulation.highest_pulse_rate_hz * _MHZ_PER_HZ)
    drawn = int.from_bytes(digest[:8], "big")
    return Fraction(lowest + (drawn * (highest - lowest + 1) >> 64), _MHZ_PER_HZ)


def beat_permille(count: int) -> list[int]:
    """Return |sin| at the middle of each of `count` equal holds, the largest being 1000."""
    heights = [sin(pi * (index + 0.5) / count) for index in range(count)]
    return [round(FULL_PERMILLE * height / max(heights)) for height in heights]


def strength_duration_permille(
    modulation: StrengthDurationModulation, duration_us: int, shortest_us: int
) -> int:
    """Return the share of the amplitude at a phase duration (Weiss and Lapicque), floored."""
    chronaxie = Fraction(modulation.chronaxie_us)
    return int(FULL_PERMILLE * (1 + chronaxie / duration_us) / (1 + chronaxie / shortest_us))


def _between(
    modulation: HeldModulation | LinearModulation | StrengthDurationModulation,
    at_s: Decimal,
    phase_duration_us: int,
    pulse_rate_hz: Decimal,
) -> Hold:
    """Return the hold at a time of the cycle, on the straight line between two points."""
    points: tuple[ModulationPoint | DurationPoint, ...] = modulation.points
    index = max(i for i, point in enumerate(points) if point.at_s <= at_s)
    before, after = points[index], points[(index + 1) % len(points)]
    until_s = points[index + 1].at_s if index + 1 < len(points) else modulation.cycle_s
    share = Fraction(at_s - before.at_s) / Fraction(until_s - before.at_s)

    def line(start: Decimal | int, end: Decimal | int) -> Fraction:
        return Fraction(start) + (Fraction(end) - Fraction(start)) * share

    def own(stated: Decimal | int | None, base: Decimal | int) -> Decimal | int:
        return base if stated is None else stated

    shares = [
        point.amplitude_permille if isinstance(point, ModulationPoint) else FULL_PERMILLE
        for point in (before, after)
    ]
    return Hold(
        at_s,
        line(shares[0], shares[1]),
        line(
            own(before.phase_duration_us, phase_duration_us),
            own(after.phase_duration_us, phase_duration_us),
        ),
        line(own(before.pulse_rate_hz, pulse_rate_hz), own(after.pulse_rate_hz, pulse_rate_hz)),
    )
