"""The amplitude over a whole session: rise from zero, plateau with all its modulation, ramp down.

Rules:
1. Every setpoint rises as a device lets it: pulse by pulse, held at the contact amplitude until
   contact is proven on a good load, in plateaus only, no further in one cycle or one slow pulse
   than the session allows. The plateau begins once every setpoint has reached its target.
2. It is a picture: amplitudes are exact to about one step of the device, and each column of time
   keeps the lowest and the highest that occur in it, so that nothing is too short to be seen.
3. Memory is bounded whatever the duration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from estim.units import US_PER_MS, US_PER_S
from estim.waveform.pulses import Int64Array, iter_pulses
from firmware_protocol import limits
from firmware_protocol.program import ChannelProgram, PulseProgram

RAMP_DOWN_US = 2_000_000
"""Length of the ramp to zero that ends a session."""

_SHARES = 1_000_000
_RISE_MAX_US = 24 * 3600 * US_PER_S


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast setpoints may rise: a second, within one on/off cycle, and on one slow pulse."""

    setpoint_slew_ua_per_s: int
    rise_per_cycle_ua: int
    step_ua: int


@dataclass(frozen=True, slots=True)
class ChannelEnvelope:
    """Lowest and highest amplitude within each column of time; 0 where no pulse holds."""

    low_ua: Int64Array
    high_ua: Int64Array


@dataclass(frozen=True, slots=True)
class SessionEnvelope:
    """A whole session, all columns of time equally long.

    Attributes:
        rise_us: until every setpoint has reached its target.
        plateau_us: the session's duration.
        total_us: rise, plateau and ramp down.
        channels: one entry per channel of the programme.
    """

    rise_us: int
    plateau_us: int
    total_us: int
    channels: tuple[ChannelEnvelope, ...]


def session_envelope(
    program: PulseProgram,
    targets_ua: tuple[int, ...],
    amplitude_step_ua: int,
    pace: Pace,
    duration_s: int,
    column_count: int,
) -> SessionEnvelope:
    """Compute the envelope of a session with a plateau of `duration_s`, in columns."""
    rises = [
        _rise(channel, target_ua, pace)
        for channel, target_ua in zip(program.channels, targets_ua, strict=True)
    ]
    rise_us = max(int(onsets_us[-1]) for onsets_us, _ in rises)
    plateau_us = duration_s * US_PER_S
    total_us = rise_us + plateau_us + RAMP_DOWN_US
    channels = []
    for channel, (onsets_us, setpoints_ua) in zip(program.channels, rises, strict=True):
        columns = _Columns(column_count, total_us)
        grid_ua = channel.grid_ua(amplitude_step_ua)
        for onset_us, share, hold_us in _held(channel, total_us):
            place = np.searchsorted(onsets_us, onset_us, side="right") - 1
            left_us = np.clip(total_us - onset_us, 0, RAMP_DOWN_US)
            amplitude_ua = setpoints_ua[place] * left_us // RAMP_DOWN_US * share // _SHARES
            columns.add(onset_us, onset_us + hold_us, amplitude_ua - amplitude_ua % grid_ua)
        channels.append(columns.envelope())
    return SessionEnvelope(rise_us, plateau_us, total_us, tuple(channels))


def _held(
    channel: ChannelProgram, end_us: int
) -> Iterator[tuple[Int64Array, Int64Array, Int64Array]]:
    """Yield blocks of onsets, shares of the setpoint, and how long each pulse stands for.

    A pulse stands until the next, but no longer than the longest spacing within an on-phase.
    """
    longest_us = max(
        channel.burst_period_us, *(setting.pulse_period_us for setting in channel.settings)
    )
    kept: tuple[Int64Array, Int64Array] | None = None
    for train in iter_pulses(channel, _SHARES, 1, 0, end_us):
        onset_us, share = train.onset_us, train.amplitude_ua
        if kept is not None:
            onset_us = np.concatenate([kept[0], onset_us])
            share = np.concatenate([kept[1], share])
        kept = onset_us[-1:], share[-1:]
        yield onset_us[:-1], share[:-1], np.minimum(np.diff(onset_us), longest_us)
    if kept is not None:
        yield *kept, np.minimum(end_us - kept[0], longest_us)


def _rise(channel: ChannelProgram, target_ua: int, pace: Pace) -> tuple[Int64Array, Int64Array]:
    """Return when the setpoint changes and to what, from zero at time zero to the target."""
    times_us, setpoints_ua = [0], [0]
    setpoint_ua, credit, good_count, first_good_us, is_proven = 0, 0, 0, -1, False
    risen_ua, on_phase, before_us = 0, -1, -1
    cycle = channel.cycle
    for train in iter_pulses(channel, _SHARES, 1, 0, _RISE_MAX_US):
        for onset_us in train.onset_us.tolist():
            if setpoint_ua >= target_ua:
                return np.array(times_us), np.array(setpoints_ua)
            is_plateau = True
            if cycle is not None:
                phase, since_us = divmod(
                    onset_us - cycle.offset_ms * US_PER_MS, cycle.total_ms * US_PER_MS
                )
                if phase != on_phase:
                    on_phase, risen_ua, before_us = phase, 0, -1
                plateau_us = since_us - cycle.ramp_up_ms * US_PER_MS
                is_plateau = 0 <= plateau_us < cycle.on_ms * US_PER_MS
            interval_us = onset_us - before_us if before_us >= 0 else 0
            before_us = onset_us
            if is_plateau:
                slew = pace.setpoint_slew_ua_per_s * interval_us
                if interval_us > limits.SLOW_PULSE_US:
                    rise_ua = min(slew // US_PER_S, pace.step_ua)
                else:
                    rise_ua, credit = divmod(credit + slew, US_PER_S)
                if cycle is not None:
                    rise_ua = min(rise_ua, pace.rise_per_cycle_ua - risen_ua)
                hold_ua = target_ua if is_proven else min(target_ua, limits.contact_ua.maximum)
                rise_ua = max(0, min(rise_ua, hold_ua - setpoint_ua))
                risen_ua += rise_ua
                setpoint_ua += rise_ua
                if rise_ua:
                    times_us.append(onset_us)
                    setpoints_ua.append(setpoint_ua)
            if setpoint_ua >= limits.contact_ua.maximum:
                first_good_us = onset_us if first_good_us < 0 else first_good_us
                good_count += 1
                is_proven = is_proven or (
                    good_count >= limits.CONTACT_PULSES
                    and onset_us - first_good_us >= limits.CONTACT_US
                )
    return np.array(times_us), np.array(setpoints_ua)


class _Columns:
    """Gather the lowest and the highest of a quantity that holds for spans of time."""

    def __init__(self, count: int, total_us: int) -> None:
        self._count, self._total_us = count, total_us
        self._low = np.full(count, np.iinfo(np.int64).max)
        self._high = np.zeros(count, np.int64)
        self._free_from_us = 0

    def add(self, start_us: Int64Array, end_us: Int64Array, held: Int64Array) -> None:
        """Take spans in order of time; between two of them the quantity is zero."""
        if not len(start_us):
            return
        first, last = self._column(start_us), self._column(end_us - 1)
        np.maximum.at(self._high, first, held)
        np.minimum.at(self._low, first, held)
        # Few spans are longer than a column: each column is met by at most one of them.
        for index in np.flatnonzero(last > first).tolist():
            met = slice(first[index], last[index] + 1)
            self._high[met] = np.maximum(self._high[met], held[index])
            self._low[met] = np.minimum(self._low[met], held[index])
        before_us = np.concatenate(([self._free_from_us], end_us[:-1]))
        for index in np.flatnonzero(start_us > before_us).tolist():
            self._clear(int(before_us[index]), int(start_us[index]))
        self._free_from_us = int(end_us[-1])

    def envelope(self) -> ChannelEnvelope:
        """Return what was gathered; the rest of the time is zero."""
        if self._free_from_us < self._total_us:
            self._clear(self._free_from_us, self._total_us)
        return ChannelEnvelope(np.minimum(self._low, self._high), self._high)

    def _clear(self, start_us: int, end_us: int) -> None:
        first, last = self._column(np.array([start_us, end_us - 1])).tolist()
        self._low[first : last + 1] = 0

    def _column(self, time_us: Int64Array) -> Int64Array:
        column: Int64Array = np.minimum(time_us * self._count // self._total_us, self._count - 1)
        return column
