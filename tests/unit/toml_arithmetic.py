"""What a profile's TOML says, in school arithmetic: every hold and every pulse, from the keys.

Nothing of `estim.profile`, `estim.waveform` or the simulator is called. Exact fractions throughout;
sines by the standard library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import pi, sin
from typing import Any, NamedTuple

Phases = tuple[tuple[int, int], ...]
"""(duration in us, signed share in permille) of each phase, gaps with a share of 0."""


class Held(NamedTuple):
    """One hold of a modulation, or the one setting without any."""

    at_us: int
    share_permille: int
    first_phase_us: int
    period_us: int
    phases: Phases


class Onset(NamedTuple):
    """One pulse of the schedule: its onset since RUNNING began, the hold and the ramp there."""

    at_us: int
    held: Held
    ramp: Fraction


def exact(number: Any) -> Fraction:
    return Fraction(str(number))


def period_us(rate_hz: Fraction) -> int:
    return int(Fraction(1_000_000) / rate_hz)


def settings_of(stimulus: dict[str, Any]) -> list[Held]:
    """Return every hold of a stimulus, floored as the profile's rules say."""
    pulse, modulation = stimulus["pulse"], stimulus.get("modulation")
    own_us = int(pulse.get("phase_duration_us", 0))
    if pulse["waveform"] == "stepped-sine":
        own_us = pulse["period_us"] // pulse["step_count"]
    rate_hz = exact(stimulus["pulse_rate_hz"])
    if modulation is None:
        return [Held(0, 1000, own_us, period_us(rate_hz), _phases(pulse, own_us))]
    held = [
        (at_s, int(share), int(phase_us), period_us(rate))
        for at_s, share, phase_us, rate in _holds(modulation, own_us, rate_hz)
    ]
    if modulation["change"] == "strength-duration":
        chronaxie, shortest_us = modulation["chronaxie_us"], min(row[2] for row in held)
        held = [
            (
                at_s,
                int(
                    1000
                    * Fraction(phase_us + chronaxie, phase_us)
                    / Fraction(shortest_us + chronaxie, shortest_us)
                ),
                phase_us,
                period,
            )
            for at_s, _, phase_us, period in held
        ]
    return [
        Held(int(at_s * 1_000_000), share, phase_us, period, _phases(pulse, phase_us))
        for at_s, share, phase_us, period in held
    ]


@cache
def delivered(
    held: Held, amplitude_ua: int, step_ua: int = 100
) -> tuple[tuple[int, int, int], ...]:
    """Return (start in us, current in uA, duration in us) of every phase with current.

    For pulses whose phases are equal and opposite in pairs: each a whole number of steps.
    """
    scaled_ua = amplitude_ua * held.share_permille // 1000 // step_ua * step_ua
    flows, at_us = [], 0
    for duration_us, share in held.phases:
        current_ua = scaled_ua * abs(share) // 1000 // step_ua * step_ua
        if current_ua:
            flows.append((at_us, current_ua if share > 0 else -current_ua, duration_us))
        at_us += duration_us
    return tuple(flows)


def schedule(
    stimulus: dict[str, Any], offset_us: int, cycle_offset_us: int, end_us: int
) -> Iterator[Onset]:
    """Yield every onset before `end_us`; `offset_us` shifts the pulses against other channels."""
    settings, cycle, burst = settings_of(stimulus), stimulus.get("cycle"), stimulus.get("burst")
    repeat_us = int(exact(stimulus.get("modulation", {}).get("cycle_s", 1)) * 1_000_000)
    up_us = on_us = down_us = off_us = 0
    if cycle:
        up_us, on_us, down_us, off_us = (
            int(exact(cycle[key]) * 1_000_000)
            for key in ("ramp_up_s", "on_s", "ramp_down_s", "off_s")
        )
    start_us = cycle_offset_us
    while start_us < end_us:
        length_us = up_us + on_us + down_us if cycle else end_us
        since_us = burst_us = offset_us
        count = 0
        while since_us < length_us and start_us + since_us < end_us:
            place_us = (since_us - offset_us) % repeat_us
            held = [one for one in settings if one.at_us <= place_us][-1]
            if not cycle or since_us + sum(us for us, _ in held.phases) <= length_us:
                ramp = Fraction(1)
                if since_us < up_us:
                    ramp = Fraction(since_us, up_us)
                elif cycle and since_us >= up_us + on_us:
                    ramp = Fraction(length_us - since_us, down_us)
                yield Onset(start_us + since_us, held, ramp)
            since_us += held.period_us
            count += 1
            if burst and count == burst["pulses_per_burst"]:
                burst_us += period_us(exact(burst["burst_rate_hz"]))
                since_us, count = burst_us, 0
        if not cycle:
            return
        start_us += length_us + off_us


def _phases(pulse: dict[str, Any], first_us: int) -> Phases:
    if pulse["waveform"] == "stepped-sine":
        half = pulse["step_count"] // 2
        sines = [sin((2 * step + 1) * pi / (2 * half)) for step in range(half)]
        shares = [int(sine / max(sines) * 1000 + 0.5) for sine in sines]
        return tuple((first_us, share) for share in (*shares, *(-share for share in shares)))
    assert pulse["waveform"] == "symmetric-biphasic"
    gap_us = pulse.get("interphase_gap_us", 0)
    gap = ((gap_us, 0),) if gap_us else ()
    return ((first_us, 1000), *gap, (first_us, -1000))


def _holds(
    modulation: dict[str, Any], own_us: int, own_hz: Fraction
) -> Iterator[tuple[Fraction, Fraction, Fraction, Fraction]]:
    """Yield time in s, share in permille, phase in us and rate in Hz of each hold, not floored."""
    change, cycle_s = modulation["change"], exact(modulation["cycle_s"])
    full, phase_us = Fraction(1000), Fraction(own_us)
    stated = [
        (
            exact(point["at_s"]),
            exact(point.get("amplitude_permille", 1000)),
            exact(point.get("phase_duration_us", own_us)),
            exact(point.get("pulse_rate_hz", own_hz)),
        )
        for point in modulation.get("points", [])
    ]
    if change == "hold":
        yield from stated
        return
    hold_s = exact(modulation["hold_s"])
    stated += [(cycle_s, *row[1:]) for row in stated[:1]]
    count = int(cycle_s / hold_s)
    for number in range(count):
        at_s = number * hold_s
        if change == "beat":
            largest = max(sin(pi * (index + 0.5) / count) for index in range(count))
            share = int(sin(pi * (number + 0.5) / count) / largest * 1000 + 0.5)
            yield at_s, Fraction(share), phase_us, own_hz
        elif change == "random":
            text = f"{modulation['seed']}:{number}"
            drawn = int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)
            lowest = int(exact(modulation["lowest_pulse_rate_hz"]) * 1000)
            highest = int(exact(modulation["highest_pulse_rate_hz"]) * 1000)
            thousandths = lowest + drawn * (highest - lowest + 1) // 2**64
            yield at_s, full, phase_us, Fraction(thousandths, 1000)
        else:
            before = max(row for row in stated if row[0] <= at_s)
            after = min(row for row in stated if row[0] > at_s)
            part = (at_s - before[0]) / (after[0] - before[0])
            share_permille, first_us, rate_hz = (
                start + (end - start) * part
                for start, end in zip(before[1:], after[1:], strict=True)
            )
            yield at_s, share_permille, first_us, rate_hz
