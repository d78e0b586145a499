"""What a channel delivers, by brute force from the words of `firmware_protocol/program.py`.

Every onset of several seconds is enumerated, and a window of one second slid over them. Nothing of
the kernel, of the device or of the programme's own arithmetic is called.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from firmware_protocol.program import ChannelProgram

SECOND_US = 1_000_000


@dataclass(frozen=True)
class Delivered:
    """One pulse: its onset, (start, end, signed current) of each active phase, and their signs."""

    onset_us: int
    phases: tuple[tuple[int, int, int], ...]
    signs: tuple[int, ...]

    @property
    def runs(self) -> set[tuple[int, int]]:
        """Return (charge, time) of what flows one way, going round the ring of the pulse."""
        ring = deque(zip(self.phases, self.signs, strict=True))
        while ring[0][1] == ring[-1][1]:
            ring.rotate()
        return {
            (sum(abs(i) * (b - a) for a, b, i in flow), sum(b - a for a, b, _ in flow))
            for flow in (
                [phase for phase, _ in members]
                for _, members in groupby(ring, key=lambda member: member[1])
            )
        }

    @property
    def stretches(self) -> list[tuple[int, int, int]]:
        """Return (net charge, charge and time without what a slope of 28 mA excuses), every way.

        A stretch is any number of neighbours on the ring of the pulse; what flows back counts
        against what flows.
        """
        flows = [(current, end - start) for start, end, current in self.phases]
        found = []
        for first in range(len(flows)):
            for count in range(1, len(flows) + 1):
                for sign in (1, -1):
                    taken = [(sign * i, t) for i, t in (flows * 2)[first : first + count]]
                    strong = [(i, t) for i, t in taken if i < 0 or i > 28_000]
                    found.append(
                        (
                            sum(i * t for i, t in taken),
                            sum(i * t for i, t in strong),
                            sum(t for i, t in strong if i > 0),
                        )
                    )
        return found

    @property
    def square(self) -> int:
        return sum(current**2 * (end - start) for start, end, current in self.phases)

    @property
    def charge(self) -> int:
        return sum(abs(current) * (end - start) for start, end, current in self.phases)

    @property
    def net(self) -> int:
        return sum(current * (end - start) for start, end, current in self.phases)


def grid_ua(channel: ChannelProgram, step_ua: int) -> int:
    """Return the least amplitude of which every phase is a whole number of steps."""
    shares = [phase.amplitude_permille for phase in channel.phases if phase.amplitude_permille]
    pulses = [(p.duration, p.amplitude_permille) for p in channel.phases if p.amplitude_permille]
    if all(
        pulses.count((duration, share)) == pulses.count((duration, -share))
        for duration, share in pulses
    ):
        return step_ua
    multiple = 1
    while any(Fraction(multiple * share, 1000).denominator != 1 for share in shares):
        multiple += 1
    return step_ua * multiple


def delivered(
    channel: ChannelProgram, setpoint_ua: int, step_ua: int, until_us: int
) -> list[Delivered]:
    """Return every pulse with its onset before `until_us`."""
    grid = grid_ua(channel, step_ua)
    cycle = channel.cycle
    pulses: list[Delivered] = []
    on_phase = 0
    while True:
        start_us, length_us = 0, None
        if cycle is not None:
            length_us = 1000 * (cycle.ramp_up_ms + cycle.on_ms + cycle.ramp_down_ms)
            total_us = length_us + 1000 * cycle.off_ms
            start_us = 1000 * cycle.offset_ms + on_phase * total_us
        if start_us >= until_us or (on_phase and cycle is None):
            return pulses
        end_us = until_us if length_us is None else min(until_us, start_us + length_us)
        for onset_us, setting in _onsets(channel, start_us, end_us):
            permille, unit_us = setting
            phases, signs, at_us = [], [], onset_us
            share = Fraction(setpoint_ua)
            if cycle is not None:
                share = Fraction(int(share * _ramp(channel, onset_us - start_us)))
            amplitude = int(share * Fraction(permille, 1000)) // grid * grid
            for phase in channel.phases:
                active = phase.amplitude_permille != 0
                lasts_us = phase.duration * (unit_us if active else 1)
                if active:
                    size = abs(phase.amplitude_permille) * amplitude // 1000 // step_ua * step_ua
                    sign = 1 if phase.amplitude_permille > 0 else -1
                    phases.append((at_us, at_us + lasts_us, sign * size))
                    signs.append(sign)
                at_us += lasts_us
            if length_us is None or at_us <= start_us + length_us:
                pulses.append(Delivered(onset_us, tuple(phases), tuple(signs)))
        on_phase += 1


def _ramp(channel: ChannelProgram, elapsed_us: int) -> Fraction:
    cycle = channel.cycle
    assert cycle is not None
    up, on, down = 1000 * cycle.ramp_up_ms, 1000 * cycle.on_ms, 1000 * cycle.ramp_down_ms
    if elapsed_us < up:
        return Fraction(elapsed_us, up)
    if elapsed_us < up + on:
        return Fraction(1)
    return Fraction(up + on + down - elapsed_us, down)


def _onsets(
    channel: ChannelProgram, start_us: int, end_us: int
) -> list[tuple[int, tuple[int, int]]]:
    """Return (onset, (keyframe permille, unit)) within one on-phase."""
    first_us = start_us + channel.pulse_offset_us
    found = []
    burst_us = onset_us = first_us
    in_burst = 0
    while onset_us < end_us:
        permille, unit_us, period_us = 1000, channel.unit_us, channel.pulse_period_us
        if channel.keyframes:
            at_us = (onset_us - first_us) % (1000 * channel.keyframe_cycle_ms)
            held = [frame for frame in channel.keyframes if 1000 * frame.at_ms <= at_us][-1]
            permille, unit_us = held.amplitude_permille, held.unit_us
            period_us = held.pulse_period_us
        found.append((onset_us, (permille, unit_us)))
        in_burst += 1
        onset_us += period_us
        if channel.pulses_per_burst and in_burst == channel.pulses_per_burst:
            burst_us += channel.burst_period_us
            onset_us, in_burst = burst_us, 0
    return found


def worst_by_onset(pulses: list[Delivered], quantity: str) -> int:
    """Return the most of a quantity whose pulses begin within one second."""
    worst = total = first = 0
    for pulse in pulses:
        total += getattr(pulse, quantity)
        while pulses[first].onset_us <= pulse.onset_us - SECOND_US:
            total -= getattr(pulses[first], quantity)
            first += 1
        worst = max(worst, total)
    return worst


def worst_by_current(pulses: list[Delivered], power: int) -> int:
    """Return the most of |current| ** power x time that flows within any second whatever.

    The window's edges matter only where a phase begins or ends.
    """
    phases = [phase for pulse in pulses for phase in pulse.phases]
    total, steps = 0, []
    for start, end, current in phases:
        steps.append((start, end, abs(current) ** power, total))
        total += abs(current) ** power * (end - start)

    def until(at_us: int, hint: int) -> tuple[int, int]:
        while hint + 1 < len(steps) and steps[hint + 1][0] <= at_us:
            hint += 1
        start, end, density, before = steps[hint]
        return before + density * max(0, min(at_us, end) - start), hint

    worst = 0
    edges = sorted({s for s, *_ in steps} | {e - SECOND_US for _, e, *_ in steps})
    low = high = 0
    for edge in edges:
        if edge < 0:
            continue
        left, low = until(edge, low)
        right, high = until(edge + SECOND_US, high)
        worst = max(worst, right - left)
    return worst
