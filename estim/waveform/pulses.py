"""The pulses of a programme as arrays: when each begins, how large it is, how long its units are.

Rules:
1. This follows the words of `firmware_protocol/program.py` on its own, so that it can bear witness
   against the device and against the kernel's arithmetic.
2. Amplitudes are those of the plateau: every setpoint has reached its target. What the programme
   itself does (cycle ramps, keyframes, bursts) is in them.
3. Integers only. Loops run over blocks of pulses, holds and bursts, never over single pulses.
4. Memory is bounded whatever the duration: pulses come in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_protocol.program import FULL_PERMILLE, US_PER_MS, ChannelProgram, Cycle, PulseProgram

_BLOCK_PULSES = 1 << 16

Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PulseTrain:
    """Pulses in order of time, one row each; those whose amplitude floors to zero are left out."""

    onset_us: Int64Array
    amplitude_ua: Int64Array
    unit_us: Int64Array

    @property
    def count(self) -> int:
        """Return the number of pulses."""
        return len(self.onset_us)


@dataclass(frozen=True, slots=True)
class Onsets:
    """Onsets of one on-phase in order of time, one row each.

    Attributes:
        begin_us: start of the on-phase.
        since_us: each onset, since that start.
        setting: index of the setting (keyframe) that each plays.
    """

    begin_us: int
    since_us: Int64Array
    setting: Int64Array

    def amplitude_ua(self, channel: ChannelProgram, setpoint_ua: int) -> Int64Array:
        """Return setpoint x ramp x keyframe at each onset, each floored."""
        amplitude_ua = np.full(len(self.since_us), setpoint_ua, np.int64)
        cycle = channel.cycle
        if cycle is not None:
            ramp_up_us, ramp_down_us = cycle.ramp_up_ms * US_PER_MS, cycle.ramp_down_ms * US_PER_MS
            left_us = cycle.on_phase_ms * US_PER_MS - self.since_us
            rising, falling = self.since_us < ramp_up_us, left_us <= ramp_down_us
            amplitude_ua[rising] = setpoint_ua * self.since_us[rising] // max(1, ramp_up_us)
            amplitude_ua[falling] = setpoint_ua * left_us[falling] // max(1, ramp_down_us)
        shares = np.array([frame.amplitude_permille for frame in channel.settings], np.int64)
        return amplitude_ua * shares[self.setting] // FULL_PERMILLE


def pulses(
    program: PulseProgram,
    channel_index: int,
    setpoint_ua: int,
    amplitude_step_ua: int,
    start_us: int,
    end_us: int,
) -> PulseTrain:
    """Return the pulses of one channel whose onset lies in [start_us, end_us)."""
    channel = program.channels[channel_index]
    blocks = list(iter_pulses(channel, setpoint_ua, amplitude_step_ua, start_us, end_us))
    if not blocks:
        empty = np.empty(0, np.int64)
        return PulseTrain(empty, empty, empty)
    return PulseTrain(
        np.concatenate([block.onset_us for block in blocks]),
        np.concatenate([block.amplitude_ua for block in blocks]),
        np.concatenate([block.unit_us for block in blocks]),
    )


def iter_pulses(
    channel: ChannelProgram, setpoint_ua: int, amplitude_step_ua: int, start_us: int, end_us: int
) -> Iterator[PulseTrain]:
    """Yield the same pulses as `pulses`, in blocks."""
    units_us = np.array([setting.unit_us for setting in channel.settings], np.int64)
    grid_ua = channel.grid_ua(amplitude_step_ua)
    for onsets in iter_onsets(channel, start_us, end_us):
        amplitude_ua = onsets.amplitude_ua(channel, setpoint_ua)
        amplitude_ua -= amplitude_ua % grid_ua
        heard = amplitude_ua > 0
        if heard.any():
            yield PulseTrain(
                onsets.begin_us + onsets.since_us[heard],
                amplitude_ua[heard],
                units_us[onsets.setting[heard]],
            )


def iter_onsets(channel: ChannelProgram, start_us: int, end_us: int) -> Iterator[Onsets]:
    """Yield every onset in [start_us, end_us), silent ones too, in blocks of one on-phase each."""
    lengths_us = np.array(
        [channel.pulse_us(setting.unit_us) for setting in channel.settings], np.int64
    )
    for begin_us, length_us in _on_phases(channel.cycle, start_us, end_us):
        from_us, to_us = max(0, start_us - begin_us), min(length_us, end_us - begin_us)
        for since_us, setting in _onsets(channel, from_us, to_us):
            whole = since_us + lengths_us[setting] <= length_us
            yield Onsets(begin_us, since_us[whole], setting[whole])


def _on_phases(cycle: Cycle | None, start_us: int, end_us: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of every on-phase that meets [start_us, end_us)."""
    if cycle is None:
        yield 0, max(end_us, 0) + (1 << 40)
        return
    total_us, length_us = cycle.total_ms * US_PER_MS, cycle.on_phase_ms * US_PER_MS
    begin_us = cycle.offset_ms * US_PER_MS
    begin_us += max(0, (start_us - begin_us) // total_us) * total_us
    while begin_us < end_us:
        if begin_us + length_us > start_us:
            yield begin_us, length_us
        begin_us += total_us


def _onsets(
    channel: ChannelProgram, from_us: int, to_us: int
) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Yield blocks of onsets within [from_us, to_us) of an on-phase, and the setting of each."""
    offset_us = channel.pulse_offset_us
    if channel.keyframes:
        found = _modulated_onsets(channel, from_us - offset_us, to_us - offset_us)
    else:
        found = _steady_onsets(channel, from_us - offset_us, to_us - offset_us)
    for since_us, setting in found:
        inside = (since_us >= from_us - offset_us) & (since_us < to_us - offset_us)
        yield since_us[inside] + offset_us, setting[inside]


def _steady_onsets(
    channel: ChannelProgram, from_us: int, to_us: int
) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Yield onsets since the first one where nothing modulates; a lone pulse is a burst of one."""
    size = max(1, channel.pulses_per_burst)
    group_us = channel.burst_period_us or channel.pulse_period_us
    within_us = np.arange(size, dtype=np.int64) * channel.pulse_period_us
    groups = max(1, _BLOCK_PULSES // size)
    first, stop = max(0, from_us // group_us), -(-to_us // group_us)
    for block in range(first, stop, groups):
        starts_us = np.arange(block, min(block + groups, stop), dtype=np.int64) * group_us
        onsets_us = (starts_us[:, None] + within_us).ravel()
        yield onsets_us, np.zeros(len(onsets_us), np.int64)


def _modulated_onsets(
    channel: ChannelProgram, from_us: int, to_us: int
) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Yield onsets since the first one under keyframes; without bursts all is one endless burst."""
    bursts = channel.pulses_per_burst > 0
    size = channel.pulses_per_burst if bursts else to_us + 1
    burst_us = 0
    if bursts:
        burst_us = max(0, from_us // channel.burst_period_us) * channel.burst_period_us
    onsets: list[Int64Array] = []
    settings: list[Int64Array] = []
    waiting = 0
    while burst_us < to_us:
        for held_us, setting in _held_onsets(channel, burst_us, size, from_us, to_us):
            onsets.append(held_us)
            settings.append(np.full(len(held_us), setting, np.int64))
            waiting += len(held_us)
            if waiting >= _BLOCK_PULSES:
                yield np.concatenate(onsets), np.concatenate(settings)
                onsets, settings, waiting = [], [], 0
        if not bursts:
            break
        burst_us += channel.burst_period_us
    if onsets:
        yield np.concatenate(onsets), np.concatenate(settings)


def _held_onsets(
    channel: ChannelProgram, onset_us: int, count: int, from_us: int, to_us: int
) -> Iterator[tuple[Int64Array, int]]:
    """Yield, hold by hold, the onsets of one burst of `count` pulses that begins at `onset_us`."""
    cycle_us = channel.keyframe_cycle_ms * US_PER_MS
    starts_us = [frame.at_ms * US_PER_MS for frame in channel.keyframes]
    ends_us = [*starts_us[1:], cycle_us]
    while onset_us < to_us and count > 0:
        repeat_us = onset_us // cycle_us * cycle_us
        place_us = onset_us - repeat_us
        setting = max(i for i, start in enumerate(starts_us) if start <= place_us)
        period_us = channel.keyframes[setting].pulse_period_us
        end_us = min(repeat_us + ends_us[setting], to_us)
        held = min(count, -(-(end_us - onset_us) // period_us))
        after_us = onset_us + held * period_us
        for first_us in range(onset_us, after_us, _BLOCK_PULSES * period_us):
            if after_us > from_us:
                last_us = min(first_us + _BLOCK_PULSES * period_us, after_us)
                yield np.arange(first_us, last_us, period_us, dtype=np.int64), setting
        onset_us, count = after_us, count - held
