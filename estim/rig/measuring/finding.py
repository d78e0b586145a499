"""Find pulses in samples that are noisy, offset, clipped or few.

Rules:
1. Nothing of the expected amplitude or timing decides what is found: only the order of the lobes
   and the shares of their steps are taken from the programme.
2. The offset is that of the silent stretches, followed chunk by chunk; it is told, never hidden.
3. An edge lies where the current crosses half of the step beside it, interpolated between samples;
   between two lobes without a gap, half way between the two steps.
4. Charges are sums of all samples of a lobe and of what trails it, not amplitude x duration.
5. Memory is bounded by a chunk, by one pulse that is not over, and by PULSES_MAX.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from estim.rig.captures.capture import Capture
from estim.rig.measuring.pulses import (
    PULSES_MAX,
    Floats,
    Found,
    Integers,
    Layout,
    Others,
    Pulses,
    group,
    of_one_polarity,
)
from estim.rig.measuring.silence import SLOW_US, Silence
from estim.rig.measuring.step_finding import find_in_steps
from estim.units import US_PER_S

CHUNK_SAMPLES = 1 << 20
_MARGIN = 8
_EDGE_REACH_MAX = 400
_CRUMB_DURATION, _CRUMB_CHARGE = 0.3, 0.05
_PENDING_MAX = 1 << 23


def find(capture: Capture, layout: Layout) -> Found:
    """Return the pulses of a capture, reading it to its end."""
    if not capture.is_sampled:
        return find_in_steps(capture, layout)
    finder = _Finder(layout)
    for chunk in rechunked(capture.chunks(), CHUNK_SAMPLES):
        # The rate is known once the first samples are.
        finder.add(chunk, US_PER_S / (capture.info.sample_rate_hz or 1.0))
    return finder.found(US_PER_S / (capture.info.sample_rate_hz or 1.0))


def rechunked(chunks: Iterator[Floats], size: int) -> Iterator[Floats]:
    """Yield the same samples in chunks of at least `size`, but for the last."""
    waiting: list[Floats] = []
    count = 0
    for chunk in chunks:
        waiting.append(chunk)
        count += len(chunk)
        if count >= size:
            yield np.concatenate(waiting) if len(waiting) > 1 else chunk
            waiting, count = [], 0
    if count:
        yield np.concatenate(waiting)


@dataclass(slots=True)
class _Lobes:
    """Lobes of a chunk: indexes of its samples, and what they hold."""

    starts: Integers
    stops: Integers
    signs: Integers
    peaks: Floats
    flat: Floats
    before: Integers
    after: Integers

    def only(self, chosen: Integers | np.ndarray[tuple[int], np.dtype[np.bool_]]) -> _Lobes:
        return _Lobes(
            self.starts[chosen],
            self.stops[chosen],
            self.signs[chosen],
            self.peaks[chosen],
            self.flat[chosen],
            self.before[chosen],
            self.after[chosen],
        )


class _Finder:
    """Take samples chunk by chunk; positions are kept in samples until the end."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._silence = Silence(layout.has_silence)
        self._pending = np.empty(0)
        self._base = 0
        self._searched = 0
        self._sample_us = 1.0
        self._pulses: list[Pulses] = []
        self._odd: list[Others] = []
        self._glitches: list[Others] = []
        self._pulse_count = 0
        self._sample_count = 0
        self._is_cut_short = False
        self._is_begin_cut = self._is_end_cut = False

    def add(self, samples: Floats, sample_us: float) -> None:
        """Take the next samples in uA."""
        self._sample_us = sample_us
        window = int(self._layout.window_us / sample_us)
        shortest, slow = self._layout.shortest_lobe_us / sample_us, int(SLOW_US / sample_us)
        self._silence.take(samples, shortest, window, slow)
        self._sample_count += len(samples)
        waiting = np.concatenate([self._pending, samples]) if len(self._pending) else samples
        keep = self._search(waiting, is_last=False)
        self._pending = waiting[keep:].copy()
        self._base += keep

    def found(self, sample_us: float) -> Found:
        """Return what was found in all."""
        if len(self._pending):
            self._search(self._pending, is_last=True)
        silence = self._silence
        scale = sample_us
        pulses, odd, is_inverted = of_one_polarity(
            _in_us(Pulses.joined(self._pulses, self._layout), scale),
            _others_in_us(Others.joined(self._odd), scale),
            self._layout,
        )
        return Found(
            pulses=pulses,
            odd=odd,
            glitches=_others_in_us(Others.joined(self._glitches), scale),
            is_inverted=is_inverted,
            duration_us=self._sample_count * scale,
            sample_us=scale,
            offset_ua=silence.offset_ua,
            largest_offset_ua=silence.largest_offset_ua,
            has_silence=silence.has_silence,
            drift_ua=silence.drift_ua,
            noise_ua=silence.noise_ua,
            threshold_ua=silence.threshold_ua,
            resolution_ua=silence.resolution_ua,
            is_cut_short=self._is_cut_short,
            is_begin_cut=self._is_begin_cut,
            is_end_cut=self._is_end_cut,
        )

    def _search(self, raw: Floats, is_last: bool) -> int:
        """Find the whole pulses of some samples; return from where samples are still needed."""
        current = self._silence.taken_off(raw)
        lobes = self._lobes(current)
        lobes = lobes.only(lobes.starts + self._base >= self._searched)
        size = len(current)
        margin = max(_MARGIN, self._silence.reach)
        if not len(lobes.starts):
            return max(0, size - margin)
        numbers = group(lobes.starts, lobes.stops, lobes.signs, self._layout, self._sample_us)
        keep = size
        self._searched = self._base + int(lobes.stops[-1])
        silence = self._layout.silence_us / self._sample_us
        if not is_last and size - lobes.stops[-1] <= silence + _MARGIN and size < _PENDING_MAX:
            whole = numbers < numbers[-1]
            keep = int(lobes.starts[np.count_nonzero(whole)])
            self._searched = self._base + keep
            lobes, numbers = lobes.only(whole), numbers[whole]
        # What the instrument did not see whole is no pulse: it began before, or goes on after.
        if len(numbers) and self._base == 0 and lobes.starts[0] == 0:
            whole = numbers > numbers[0]
            if self._may_be_cut(lobes.only(~whole)):
                self._is_begin_cut = True
                lobes, numbers = lobes.only(whole), numbers[whole]
        if len(numbers) and is_last and lobes.stops[-1] == size:
            whole = numbers < numbers[-1]
            if self._may_be_cut(lobes.only(~whole)):
                self._is_end_cut = True
                lobes, numbers = lobes.only(whole), numbers[whole]
        if len(numbers) and not self._is_cut_short:
            self._take(current, lobes, numbers)
        return max(0, keep - margin)

    def _may_be_cut(self, lobes: _Lobes) -> bool:
        length = (lobes.stops[-1:] - lobes.starts[:1]).astype(np.float64)
        return bool(self._layout.may_be_cut(length * self._sample_us).all())

    def _lobes(self, current: Floats) -> _Lobes:
        """Return the runs of samples of one sign that stand out of the noise."""
        magnitude = np.abs(current)
        indexes = np.flatnonzero(magnitude > self._silence.threshold_ua)
        none = np.empty(0, np.int64)
        if not len(indexes):
            return _Lobes(none, none, none, np.empty(0), np.empty(0), none, none)
        positive = current[indexes] > 0
        # One or two samples that noise pushed below the threshold do not end a lobe.
        gap = self._layout.shortest_gap_us / self._sample_us
        bridged = 2 if not gap else min(2, int(gap / 2))
        breaks = (np.diff(indexes) > 1 + bridged) | (positive[1:] != positive[:-1])
        firsts = np.concatenate(([0], np.flatnonzero(breaks) + 1))
        lasts = np.append(firsts[1:], len(indexes)) - 1
        heights = magnitude[indexes]
        peaks = np.maximum.reduceat(heights, firsts)
        counts = lasts - firsts + 1
        at_peak = np.add.reduceat((heights == np.repeat(peaks, counts)).astype(np.int64), firsts)
        starts, stops = indexes[firsts], indexes[lasts] + 1
        # Silence on either side, whoever the neighbour is.
        apart = np.concatenate((starts[:1], starts[1:] - stops[:-1], len(current) - stops[-1:]))
        return _Lobes(
            starts,
            stops,
            np.where(positive[firsts], 1, -1),
            peaks,
            (at_peak - 1) / np.maximum(counts - 1, 1),
            apart[:-1],
            apart[1:],
        )

    def _take(self, current: Floats, lobes: _Lobes, numbers: Integers) -> None:
        """Sort lobes into pulses, odd ones and glitches, and measure the pulses."""
        layout = self._layout
        sums = np.concatenate(([0.0], np.cumsum(current)))
        charges = np.abs(sums[lobes.stops] - sums[lobes.starts])
        lengths = lobes.stops - lobes.starts
        shortest = layout.shortest_lobe_us / self._sample_us
        _, dense = np.unique(numbers, return_inverse=True)
        largest = np.zeros(dense[-1] + 1)
        np.maximum.at(largest, dense, charges)
        is_short = lengths < _CRUMB_DURATION * shortest
        # Ringing beside a phase is part of the pulse's charge, and no phase.
        kept = ~(is_short & (charges < _CRUMB_CHARGE * largest[dense]))
        lobes, dense, is_short = lobes.only(kept), dense[kept], is_short[kept]
        firsts = np.concatenate(([0], np.flatnonzero(np.diff(dense)) + 1))
        counts = np.diff(np.append(firsts, len(dense)))
        is_glitch = np.logical_and.reduceat(is_short, firsts)
        nets = np.add.reduceat(lobes.signs * charges[kept], firsts)
        self._glitches += [self._others(lobes, firsts, counts, nets, is_glitch)]
        lobe_count = len(layout.signs)
        is_pulse = ~is_glitch & (counts == lobe_count)
        rows = firsts[is_pulse][:, None] + np.arange(lobe_count)
        signs = lobes.signs[rows] * np.array(layout.signs)
        is_regular = (signs == signs[:, :1]).all(axis=1)
        # Every pulse whose lobes take turns as they should is one, whichever way the leads are.
        regular = np.flatnonzero(is_pulse)[is_regular]
        is_odd = ~is_glitch
        is_odd[regular] = False
        self._odd += [self._others(lobes, firsts, counts, nets, is_odd)]
        rows = rows[is_regular]
        if len(rows):
            self._pulses.append(_measured(current, sums, lobes, rows, layout, self._silence))
            shift = float(self._base)
            last = self._pulses[-1]
            self._pulses[-1] = replace(
                last, start_us=last.start_us + shift, end_us=last.end_us + shift
            )
            self._pulse_count += len(rows)
            self._is_cut_short = self._pulse_count > PULSES_MAX

    def _others(
        self,
        lobes: _Lobes,
        firsts: Integers,
        counts: Integers,
        nets: Floats,
        chosen: Floats | Integers,
    ) -> Others:
        first = firsts[chosen]
        last = first + counts[chosen] - 1
        peaks: Floats = np.maximum.reduceat(lobes.peaks, firsts)[chosen]
        onsets: Floats = lobes.starts[first].astype(np.float64) + self._base
        return Others(
            onsets,
            (lobes.stops[last] - lobes.starts[first]).astype(np.float64),
            (lobes.stops[first] - lobes.starts[first]).astype(np.float64),
            peaks,
            counts[chosen],
            nets[chosen],
        )


def _measured(
    current: Floats,
    sums: Floats,
    lobes: _Lobes,
    rows: Integers,
    layout: Layout,
    silence: Silence,
) -> Pulses:
    """Return what pulses hold; `rows` are the indexes of their lobes, shape (pulses, lobes)."""
    starts, stops, signs = lobes.starts[rows], lobes.stops[rows], lobes.signs[rows]
    steps = _step_means(sums, starts, stops, layout)
    at = np.cumsum([0, *map(len, layout.ends)])
    first_step, last_step = steps[:, at[:-1]], steps[:, at[1:] - 1]
    begin, end = _edges(current, starts, stops, signs, first_step, last_step)
    lengths = stops - starts
    # Half of every gap belongs to either lobe; what trails a pulse belongs to its last lobe.
    trail = np.maximum(2, lengths // 10)
    after = lobes.after[rows]
    lower = starts - np.minimum(trail, lobes.before[rows] // 2)
    upper = stops + np.minimum(trail, after - after // 2)
    between = (stops[:, :-1] + starts[:, 1:]) // 2
    lower[:, 1:], upper[:, :-1] = between, between
    np.clip(lower, 0, len(current), out=lower)
    np.clip(upper, 0, len(current), out=upper)
    charges = sums[upper] - sums[lower]
    square_sums = np.concatenate(([0.0], np.cumsum(current * current)))
    squares = square_sums[upper[:, -1]] - square_sums[lower[:, 0]]
    squares -= silence.noise_ua**2 * (upper[:, -1] - lower[:, 0])
    return Pulses(
        start_us=begin,
        end_us=end,
        step_ua=steps,
        charge_pc=charges,
        net_pc=charges.sum(axis=1),
        square=np.maximum(squares, 0.0),
        peak_ua=lobes.peaks[rows[:, 0]],
        rise_us=_rise(current, starts[:, 0], lengths[:, 0], signs[:, 0], first_step[:, 0]),
        flat=lobes.flat[rows].max(axis=1),
    )


def _step_means(sums: Floats, starts: Integers, stops: Integers, layout: Layout) -> Floats:
    """Return the mean current of the middle half of every step, shape (pulses, steps)."""
    columns = []
    for lobe, ends in enumerate(layout.ends):
        start, length = starts[:, lobe], stops[:, lobe] - starts[:, lobe]
        before = 0.0
        for end in ends:
            quarter = (end - before) / 4
            low = np.ceil(start + (before + quarter) * length).astype(np.int64)
            high = np.floor(start + (end - quarter) * length).astype(np.int64)
            high = np.maximum(high, low + 1)
            high = np.minimum(high, stops[:, lobe])
            low = np.minimum(low, high - 1)
            columns.append((sums[high] - sums[low]) / (high - low))
            before = end
    return np.stack(columns, axis=1)


def _edges(
    current: Floats,
    starts: Integers,
    stops: Integers,
    signs: Integers,
    first_step: Floats,
    last_step: Floats,
) -> tuple[Floats, Floats]:
    """Return where every lobe begins and ends, as fractions of samples (rule 3)."""
    lengths = stops - starts
    begin = np.empty(starts.shape)
    end = np.empty(starts.shape)
    for lobe in range(starts.shape[1]):
        sign, length = signs[:, lobe], lengths[:, lobe]
        level = np.abs(first_step[:, lobe]) / 2
        begin[:, lobe] = _crossing(current, starts[:, lobe], 1, sign, level, length)
        level = np.abs(last_step[:, lobe]) / 2
        end[:, lobe] = _crossing(current, stops[:, lobe] - 1, -1, sign, level, length)
    for lobe in range(1, starts.shape[1]):
        silent = starts[:, lobe] - stops[:, lobe - 1]
        gap = begin[:, lobe] - end[:, lobe - 1]
        turns = signs[:, lobe] != signs[:, lobe - 1]
        direct = turns & ((silent <= 1) | (silent < 0.5 * gap))
        if direct.any():
            sign = signs[direct, lobe]
            level = sign * (first_step[direct, lobe] + last_step[direct, lobe - 1]) / 2
            near = starts[direct, lobe]
            middle = _crossing(current, near, 1, sign, level, lengths[direct, lobe])
            begin[direct, lobe] = end[direct, lobe - 1] = middle
    return begin, end


def _crossing(
    current: Floats,
    anchors: Integers,
    direction: int,
    signs: Integers,
    levels: Floats,
    lengths: Integers,
) -> Floats:
    """Return where the current first reaches a level on the way into a lobe from its edge.

    A sample holds from half a sample before its index to half a sample after, so that a lobe of n
    equal samples lasts n samples. `anchors` are the lobes' outermost samples; `direction` is 1
    from the left, -1 from the right.
    """
    reach = int(np.clip(np.median(lengths) * 0.45, 2, _EDGE_REACH_MAX))
    offsets = np.arange(-min(reach, _MARGIN - 1), reach + 1)
    where = anchors[:, None] + direction * offsets
    outside = (where < 0) | (where >= len(current))
    heights = current[np.clip(where, 0, len(current) - 1)] * signs[:, None]
    heights[outside] = 0.0
    reached = heights >= levels[:, None]
    reached &= offsets <= np.maximum(lengths, 1)[:, None]
    found = reached.any(axis=1)
    at = reached.argmax(axis=1)
    rows = np.arange(len(anchors))
    after, before = heights[rows, at], heights[rows, np.maximum(at - 1, 0)]
    rise = np.where(after > before, after - before, 1.0)
    share = np.clip((after - levels) / rise, 0.0, 1.0)
    exact = anchors + direction * (offsets[at] - share)
    exact = np.where(found & (at > 0), exact, anchors - direction * 0.5)
    crossing: Floats = exact + 0.5
    return crossing


def _rise(
    current: Floats, starts: Integers, lengths: Integers, signs: Integers, steps: Floats
) -> Floats:
    """Return the samples from 10 to 90 % of the first step; nan where it is not reached."""
    plateau = np.abs(steps)
    ninety = _crossing(current, starts, 1, signs, 0.9 * plateau, lengths)
    ten = _crossing(current, starts, 1, signs, 0.1 * plateau, lengths)
    rise: Floats = np.where(ninety >= ten, ninety - ten, np.nan)
    return rise


def _in_us(pulses: Pulses, scale: float) -> Pulses:
    """Return pulses whose times were in samples, and charges in uA x samples."""
    return replace(
        pulses,
        start_us=pulses.start_us * scale,
        end_us=pulses.end_us * scale,
        charge_pc=pulses.charge_pc * scale,
        net_pc=pulses.net_pc * scale,
        square=pulses.square * scale,
        rise_us=pulses.rise_us * scale,
    )


def _others_in_us(others: Others, scale: float) -> Others:
    return replace(
        others,
        onset_us=others.onset_us * scale,
        duration_us=others.duration_us * scale,
        lobe_us=others.lobe_us * scale,
        net_pc=others.net_pc * scale,
    )
