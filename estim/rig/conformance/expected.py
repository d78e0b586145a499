"""The pulses of a programme by chapter 5 of PROTOCOL.md, at a setpoint that stands still.

Written from the chapter for this kit: neither the simulator's interpreter nor a device's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from firmware_protocol.program import FULL_PERMILLE, US_PER_MS, ChannelProgram, Keyframe


class Pulse(NamedTuple):
    """One pulse that delivers something.

    Attributes:
        onset_us: since RUNNING began.
        phases: offset from the onset, signed current and duration of each active phase.
    """

    onset_us: int
    phases: tuple[tuple[int, int, int], ...]


def pulses(
    channel: ChannelProgram, step_ua: int, setpoint_ua: int, until_us: int
) -> Iterator[Pulse]:
    """Yield the pulses of a channel that begin before `until_us`."""
    cycle = channel.cycle
    on_us = until_us if cycle is None else cycle.on_phase_ms * US_PER_MS
    start_us = 0 if cycle is None else cycle.offset_ms * US_PER_MS
    while start_us < until_us:
        for elapsed_us, frame in _onsets(channel, min(on_us, until_us - start_us)):
            if cycle is not None and elapsed_us + channel.pulse_us(frame.unit_us) > on_us:
                continue
            ramped_ua = _ramped_ua(channel, setpoint_ua, elapsed_us)
            scaled_ua = ramped_ua * frame.amplitude_permille // FULL_PERMILLE
            amplitude_ua = channel.deliverable_ua(scaled_ua, step_ua)
            if amplitude_ua:
                phases = _phases(channel, frame.unit_us, amplitude_ua, step_ua)
                yield Pulse(start_us + elapsed_us, phases)
        if cycle is None:
            return
        start_us += cycle.total_ms * US_PER_MS


def _onsets(channel: ChannelProgram, on_us: int) -> Iterator[tuple[int, Keyframe]]:
    """Yield the onsets of one on-phase, from its beginning, each with the setting it finds."""
    at_us = burst_us = channel.pulse_offset_us
    count = 0
    while at_us < on_us:
        frame = _frame(channel, at_us - channel.pulse_offset_us)
        yield at_us, frame
        count += 1
        if channel.pulses_per_burst and count % channel.pulses_per_burst == 0:
            burst_us += channel.burst_period_us
            at_us = burst_us
        else:
            at_us += frame.pulse_period_us


def _frame(channel: ChannelProgram, since_first_us: int) -> Keyframe:
    if not channel.keyframes:
        return channel.settings[0]
    at_ms = since_first_us / US_PER_MS % channel.keyframe_cycle_ms
    return [frame for frame in channel.keyframes if frame.at_ms <= at_ms][-1]


def _ramped_ua(channel: ChannelProgram, setpoint_ua: int, elapsed_us: int) -> int:
    cycle = channel.cycle
    if cycle is None:
        return setpoint_ua
    up_us, down_us = cycle.ramp_up_ms * US_PER_MS, cycle.ramp_down_ms * US_PER_MS
    left_us = cycle.on_phase_ms * US_PER_MS - elapsed_us
    if elapsed_us < up_us:
        return setpoint_ua * elapsed_us // up_us
    if left_us <= down_us and down_us:
        return setpoint_ua * left_us // down_us
    return setpoint_ua


def _phases(
    channel: ChannelProgram, unit_us: int, amplitude_ua: int, step_ua: int
) -> tuple[tuple[int, int, int], ...]:
    found = []
    offset_us = 0
    currents_ua = channel.phase_currents_ua(amplitude_ua, step_ua)
    for phase, current_ua in zip(channel.phases, currents_ua, strict=True):
        lasts_us = channel.phase_us(phase, unit_us)
        if current_ua:
            found.append((offset_us, current_ua, lasts_us))
        offset_us += lasts_us
    return tuple(found)
