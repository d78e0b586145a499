"""The amplitude over a whole session: rise from zero, plateau with all its modulation, ramp down.

Rules:
1. Every setpoint rises as a device lets it: pulse by pulse, held at the contact amplitude until
   contact is proven on a good load by pulses that reach that amplitude, in plateaus only, no
   further in one cycle or one slow pulse than the session allows. Time begins with the first rise;
   the plateau begins once every setpoint has reached its target.
2. It is a picture: amplitudes are exact to about one step of the device, and each column of time
   keeps the lowest and the highest that occur in it, so that nothing is too short to be seen.
3. Memory is bounded whatever the duration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from estim.units import US_PER_S
from estim.waveform.pulses import Int64Array, iter_onsets, iter_pulses
from firmware_protocol import limits
from firmware_protocol.program import FULL_PERMILLE, US_PER_MS, ChannelProgram, PulseProgram

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
        rise_us: from the first rise until every setpoint has reached its target.
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
        _rise(channel, target_ua, amplitude_step_ua, pace)
        for channel, target_ua in zip(program.channels, targets_ua, strict=True)
    ]
    # Before the first rise nothing flows: a session's clock stands still too.
    begin_us = min((int(times_us[1]) for times_us, _ in rises if len(times_us) > 1), default=0)
    rise_us = max(0, *(int(times_us[-1]) - begin_us for times_us, _ in rises))
    plateau_us = duration_s * US_PER_S
    total_us = rise_us + plateau_us + RAMP_DOWN_US
    end_us = begin_us + total_us
    channels = []
    for channel, (times_us, setpoints_ua) in zip(program.channels, rises, strict=True):
        columns = _Columns(column_count, total_us)
        grid_ua = channel.grid_ua(amplitude_step_ua)
        for onset_us, share, hold_us in _held(channel, begin_us, end_us):
            place = np.searchsorted(times_us, onset_us, side="right") - 1
            left_us = np.clip(end_us - onset_us, 0, RAMP_DOWN_US)
            amplitude_ua = setpoints_ua[place] * left_us // RAMP_DOWN_US * share // _SHARES
            start_us = onset_us - begin_us
            columns.add(start_us, start_us + hold_us, amplitude_ua - amplitude_ua % grid_ua)
        channels.append(columns.envelope())
    return SessionEnvelope(rise_us, plateau_us, total_us, tuple(channels))


def _held(
    channel: ChannelProgram, start_us: int, end_us: int
) -> Iterator[tuple[Int64Array, Int64Array, Int64Array]]:
    """Yield blocks of onsets, shares of the setpoint, and how long each pulse stands for.

    A pulse stands until the next, but no longer than the longest spacing within an on-phase.
    """
    longest_us = max(
        channel.burst_period_us, *(setting.pulse_period_us for setting in channel.settings)
    )
    kept: tuple[Int64Array, Int64Array] | None = None
    for train in iter_pulses(channel, _SHARES, 1, start_us, end_us):
        onset_us, share = train.onset_us, train.amplitude_ua
        if kept is not None:
            onset_us = np.concatenate([kept[0], onset_us])
            share = np.concatenate([kept[1], share])
        kept = onset_us[-1:], share[-1:]
        yield onset_us[:-1], share[:-1], np.minimum(np.diff(onset_us), longest_us)
    if kept is not None:
        yield *kept, np.minimum(end_us - kept[0], longest_us)


def _rise(
    channel: ChannelProgram, target_ua: int, amplitude_step_ua: int, pace: Pace
) -> tuple[Int64Array, Int64Array]:
    """Return when the setpoint changes and to what, from zero at time zero to the target.

    The second entry, if there is one, is zero too: there the first rise begins.
    """
    setpoint = _Setpoint(channel, target_ua, amplitude_step_ua, pace)
    times_us, setpoints_ua = [0], [0]
    begun_us, before_us = -1, -1
    for onsets in iter_onsets(channel, 0, _RISE_MAX_US):
        if onsets.begin_us != begun_us:
            begun_us, before_us = onsets.begin_us, -1
            setpoint.begin_on_phase()
        shares = onsets.amplitude_ua(channel, _SHARES).tolist()
        rows = zip(onsets.since_us.tolist(), onsets.setting.tolist(), shares, strict=True)
        for since_us, setting, share in rows:
            if setpoint.now_ua >= target_ua:
                return np.array(times_us), np.array(setpoints_ua)
            interval_us = since_us - before_us if before_us >= 0 else 0
            before_us = since_us
            if setpoint.rise(since_us, setting, interval_us):
                if len(times_us) == 1:
                    times_us.append(begun_us + since_us - interval_us)
                    setpoints_ua.append(0)
                times_us.append(begun_us + since_us)
                setpoints_ua.append(setpoint.now_ua)
            setpoint.judge_contact(begun_us + since_us, share)
    return np.array(times_us), np.array(setpoints_ua)


class _Setpoint:
    """One setpoint as it rises, onset by onset, in the protocol's words (chapters 6 and 7)."""

    def __init__(
        self, channel: ChannelProgram, target_ua: int, amplitude_step_ua: int, pace: Pace
    ) -> None:
        self.now_ua = 0
        self._target_ua, self._pace = target_ua, pace
        self._grid_ua = channel.grid_ua(amplitude_step_ua)
        self._hold_ua = -(-limits.contact_ua.maximum // self._grid_ua) * self._grid_ua
        self._permille = [frame.amplitude_permille for frame in channel.settings]
        self._has_cycle = channel.cycle is not None
        self._plateau_us = (0, _RISE_MAX_US)
        if channel.cycle is not None:
            start_ms = channel.cycle.ramp_up_ms
            end_ms = start_ms + channel.cycle.on_ms
            self._plateau_us = (start_ms * US_PER_MS, end_ms * US_PER_MS)
        self._credit, self._risen_ua = 0, 0
        self._good_count, self._first_good_us, self._is_proven = 0, -1, False

    def begin_on_phase(self) -> None:
        """Count the rises of a cycle anew."""
        self._risen_ua = 0

    def rise(self, since_us: int, setting: int, interval_us: int) -> int:
        """Rise as far as an onset allows, `interval_us` after the one before; return by how much.

        `since_us` counts from the start of the on-phase; its first onset has no interval.
        """
        start_us, end_us = self._plateau_us
        felt_ua = max(self.now_ua, self._hold_ua) * self._permille[setting] // FULL_PERMILLE
        if not start_us <= since_us < end_us or felt_ua < self._grid_ua:
            return 0
        slew = self._pace.setpoint_slew_ua_per_s * interval_us
        if interval_us > limits.SLOW_PULSE_US:
            rise_ua = min(slew // US_PER_S, self._pace.step_ua)
        else:
            rise_ua, self._credit = divmod(self._credit + slew, US_PER_S)
        if self._has_cycle:
            rise_ua = min(rise_ua, self._pace.rise_per_cycle_ua - self._risen_ua)
        highest_ua = self._target_ua
        if not self._is_proven:
            highest_ua = min(highest_ua, max(self._hold_ua, self.now_ua))
        rise_ua = min(rise_ua, highest_ua - self.now_ua)
        self._risen_ua += rise_ua
        self.now_ua += rise_ua
        return rise_ua

    def judge_contact(self, onset_us: int, share: int) -> None:
        """Take a pulse that delivers a share of the setpoint into a good load."""
        amplitude_ua = self.now_ua * share // _SHARES
        if amplitude_ua - amplitude_ua % self._grid_ua < limits.contact_ua.maximum:
            return
        if not self._good_count:
            self._first_good_us = onset_us
        self._good_count += 1
        self._is_proven = self._is_proven or (
            self._good_count >= limits.CONTACT_PULSES
            and onset_us - self._first_good_us >= limits.CONTACT_US
        )


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
