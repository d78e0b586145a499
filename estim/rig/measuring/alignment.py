"""Find where in its programme a capture lies: it may begin anywhere, even while output still rises.

Rules:
1. Only the programme's own repetition is searched (on/off cycle, keyframes); a programme that
   modulates nothing needs no search. Where the device's trigger is known nothing is searched: it
   says when an on-phase began, and output that does not follow it is wrong.
2. A pulse too near a change to be sure of its place is not judged by what the change changes.
3. What could not be known is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estim.rig.measuring.expectation import Expected, Places
from estim.rig.measuring.pulses import Booleans, Floats, Integers, Pulses
from estim.rig.measuring.smoothing import smoothed
from estim.units import UA_PER_MA, US_PER_S

_CANDIDATES = 720
_COARSE_PULSES = 900
_FINE_PULSES = 20_000
_CYCLES_IN_BLOCK = 3
_TIME_SHARE, _AMPLITUDE_SHARE = 0.05, 0.15
_CLOCK_SHARE = 0.005
_MARGIN_US = 2000.0
_HELD_SHARE = 0.02
_SMOOTH = 9
_RISE_BEGINS_SHARE = 0.5
_RAMP_DOWN_S = 2.5
_HELD_PULSES_MIN = 3
_LAST_STEP_US = 200_000.0
_EDGE_BEGINS, _RAMP_LONG = 0.6, 1.5


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where the pulses of a capture lie in the programme.

    Attributes:
        places: of every pulse.
        steady: pulses on a plateau, at the amplitude that was held, sure of their place.
        reference_ua: amplitude that was held, at full share; 0 without pulses.
        is_rising: whether the amplitude still rose at the end.
        has_rise: whether it rises at the beginning, before what was held.
        has_ramp_down: whether the amplitude ramps down at the end.
        since_us: for each pulse the time since an on-phase began, cycles not taken off.
        shift_us: how far the modulation moved against the pulses' clock, (times, shifts).
        follows: share of the pulses sure of their place that follow the modulation.
        is_triggered: whether the device's trigger told it.
        unknowns: in words.
        notes: in words.
    """

    places: Places
    steady: Booleans
    reference_ua: float
    is_rising: bool = False
    has_rise: bool = False
    has_ramp_down: bool = False
    since_us: Floats = field(default_factory=lambda: np.empty(0))
    shift_us: tuple[Floats, Floats] = field(default_factory=lambda: (np.empty(0), np.empty(0)))
    follows: Booleans = field(default_factory=lambda: np.empty(0, np.bool_))
    is_triggered: bool = False
    unknowns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def align(
    pulses: Pulses, expected: Expected, duration_us: float, triggers_us: Sequence[float] = ()
) -> Alignment:
    """Return where pulses lie in the programme.

    Args:
        pulses: of the capture.
        expected: what they are to be.
        duration_us: of the capture.
        triggers_us: when the device's trigger rose, in us since the capture began; before it, too.
    """
    count = pulses.count
    amplitude_ua = pulses.amplitude_ua
    onset_us = pulses.onset_us
    if not count:
        none = np.empty(0, np.bool_)
        return Alignment(expected.places(np.empty(0)), none, 0.0)
    if not expected.cycle_us:
        places = expected.places(onset_us)
        alignment = Alignment(places, places.is_sure, 0.0, since_us=onset_us)
        return _held(alignment, expected, amplitude_ua, onset_us)
    search = _Search(pulses, expected, duration_us)
    since_us, margin_us = np.empty(count), np.empty(count)
    if triggers_us:
        from_us = _last_before(np.sort(np.asarray(triggers_us, np.float64)), onset_us)
        since_us = onset_us - from_us + expected.channel.pulse_offset_us
        margin_us = _CLOCK_SHARE * np.abs(since_us) + _MARGIN_US
        shifts = [float((onset_us - since_us)[block[0]]) for block in search.blocks]
    else:
        shifts = search.shifts()
        for block, shift_us, slack_us in zip(search.blocks, shifts, search.slacks_us, strict=True):
            since_us[block] = onset_us[block] - shift_us
            span_us = onset_us[block[-1]] - onset_us[block[0]]
            margin_us[block] = slack_us + _CLOCK_SHARE * span_us + _MARGIN_US
    places = search.settled(expected.places(since_us, margin_us), since_us, margin_us)
    middles = np.array([onset_us[b].mean() for b in search.blocks])
    alignment = Alignment(
        places=places,
        steady=places.is_sure & places.is_on & (places.ramp >= 1.0),
        reference_ua=0.0,
        since_us=since_us,
        shift_us=(middles, np.array(shifts)),
        follows=search.follows(places),
        is_triggered=bool(triggers_us),
    )
    if expected.channel.cycle is not None:
        alignment = _without_edges(alignment, expected, amplitude_ua, onset_us)
    what = "on/off cycle" if expected.channel.cycle is not None else "modulation"
    notes, unknowns = [], []
    is_found = bool(triggers_us) or not search.is_one_plateau(places)
    if expected.channel.cycle is not None and not is_found:
        unknowns.append(f"only a plateau is captured: where in the {what} it lies is unknown")
    else:
        place_s = float(np.mod(-shifts[0], expected.cycle_us)) / US_PER_S
        by = ", by the device's trigger" if triggers_us else ""
        notes.append(f"the capture begins {place_s:.3f} s into the {what}{by}")
    if duration_us < expected.cycle_us:
        unknowns.append(
            f"the capture is shorter than the {what} of {expected.cycle_us / US_PER_S:g} s: only "
            "the part that it shows was judged"
        )
    alignment = replace(alignment, notes=tuple(notes), unknowns=tuple(unknowns))
    return _held(alignment, expected, amplitude_ua, onset_us)


class _Search:
    """Shift the programme against the pulses until they agree."""

    def __init__(self, pulses: Pulses, expected: Expected, duration_us: float) -> None:
        self._expected = expected
        self._onset_us = pulses.onset_us
        self._duration_us = duration_us
        self._length_us = pulses.end_us[:, -1] - pulses.start_us[:, 0]
        self._interval_us = np.append(np.diff(pulses.onset_us), np.nan)
        settings = np.arange(len(expected.settings))
        self._shares = expected.shares(settings)
        self._lengths_us = expected.durations_us(settings).sum(axis=1).astype(np.float64)
        self._periods_us = expected.periods_us(settings).astype(np.float64)
        self.slacks_us: list[float] = []
        self._amplitude_ua = pulses.amplitude_ua
        self._top_ua = _top(self._amplitude_ua)
        per_block = _CYCLES_IN_BLOCK * expected.cycle_us
        whole = max(1, int(self._onset_us[-1] // per_block))
        edges_us = np.arange(whole + 1, dtype=np.float64) * per_block
        # The first pulse may have begun, with steps that round to zero, before the capture.
        edges_us[0], edges_us[-1] = -np.inf, np.inf
        numbers = np.searchsorted(edges_us, self._onset_us, side="right") - 1
        self.blocks: list[Integers] = [
            np.flatnonzero(numbers == number) for number in np.unique(numbers)
        ]

    def shifts(self) -> list[float]:
        """Return for each block how much later than the capture an on-phase began, in us."""
        cycle_us = self._expected.cycle_us
        shifts: list[float] = []
        for block in self.blocks:
            if self._expected.channel.cycle is None:
                # Where the amplitude still rises, only its own neighbours tell a weak hold.
                self._top_ua = _top(self._amplitude_ua[block])
            coarse = _thinned(block, _COARSE_PULSES)
            fine = _thinned(block, _FINE_PULSES)
            candidates = np.arange(_CANDIDATES, dtype=np.float64) * (cycle_us / _CANDIDATES)
            reach_us = cycle_us / _CANDIDATES
            best_us, slack_us = self._best(candidates, coarse)
            for _ in range(2):
                around = best_us + np.linspace(-1.5, 1.5, 31) * reach_us
                best_us, slack_us = self._best(around, fine if len(fine) < 5000 else coarse)
                slack_us += reach_us / 10
                reach_us /= 8
            if shifts:
                turns = round((shifts[-1] - best_us) / cycle_us)
                best_us += turns * cycle_us
            shifts.append(best_us)
            self.slacks_us.append(slack_us)
        return shifts

    def follows(self, places: Places) -> Booleans:
        """Tell of each pulse sure of its place whether it is as its place asks."""
        cost = self._cost(places, np.arange(len(self._onset_us)), with_amplitude=False)
        fits: Booleans = cost[places.is_sure] < 1.0
        return fits

    def settled(self, places: Places, since_us: Floats, margin_us: Floats) -> Places:
        """Return places in which pulses near a change have the setting that fits them better."""
        setting, is_sure = places.setting, places.is_sure
        chosen = np.flatnonzero(~is_sure & places.is_on)
        if not self._expected.channel.keyframes or not len(chosen):
            return places
        best, least = setting[chosen].copy(), np.full(len(chosen), np.inf)
        for way in (0.0, -1.0, 1.0):
            moved = self._expected.places(since_us[chosen] + way * margin_us[chosen])
            cost = self._cost(moved, chosen, with_amplitude=False)
            better = cost < least - 1e-9
            best[better], least[better] = moved.setting[better], cost[better]
        settled_setting, settled_sure = setting.copy(), is_sure.copy()
        settled_setting[chosen] = best
        if self._expected.channel.cycle is None:
            settled_sure[chosen] = True
        return replace(places, setting=settled_setting, is_sure=settled_sure)

    def is_one_plateau(self, places: Places) -> bool:
        """Tell whether neither a ramp nor a silence shows where in the cycle pulses lie."""
        top_ua = float(np.median(self._amplitude_ua))
        level = bool((np.abs(self._amplitude_ua - top_ua) < _AMPLITUDE_SHARE * top_ua).all())
        limit_us = 1.5 * self._expected.longest_spacing_us
        times_us = np.concatenate(([0.0], self._onset_us, [self._duration_us]))
        return level and bool((np.diff(times_us) < limit_us).all())

    def _best(self, candidates_us: NDArray[Any], chosen: Integers) -> tuple[float, float]:
        """Return the best shift, and how far it could be moved without being worse."""
        costs = np.array([self._score(float(shift_us), chosen) for shift_us in candidates_us])
        good = np.flatnonzero(costs <= costs.min() + 1e-9)
        # In the middle of equally good ones, so that no change lies nearer than it must.
        runs = np.split(good, np.flatnonzero(np.diff(good) > 1) + 1)
        longest = max(runs, key=len)
        best = candidates_us[longest]
        return float(best.mean()), float(best[-1] - best[0]) / 2

    def _score(self, shift_us: float, chosen: Integers) -> float:
        places = self._expected.places(self._onset_us[chosen] - shift_us)
        score = float(self._cost(places, chosen, with_amplitude=True).mean())
        return score + self._silent_share(shift_us, chosen)

    def _cost(self, places: Places, chosen: Integers, *, with_amplitude: bool) -> Floats:
        """Return how badly each pulse fits its place; 0 for well."""
        setting = places.setting
        length = _misfit(self._length_us[chosen], self._lengths_us[setting])
        interval_us = self._interval_us[chosen]
        interval = _misfit(interval_us, self._periods_us[setting])
        interval[~(interval_us < 1.5 * self._expected.longest_spacing_us)] = 0.0
        if self._expected.channel.pulses_per_burst:
            interval[interval_us > 1.2 * self._periods_us.max()] = 0.0
        cost = np.maximum(length, interval)
        if with_amplitude:
            wanted_ua = self._top_ua * places.ramp * self._shares[setting]
            miss = np.abs(self._amplitude_ua[chosen] - wanted_ua) / self._top_ua
            cost = cost + np.minimum(1.0, miss / _AMPLITUDE_SHARE)
        cost[~places.is_on] = 2.0
        worst: Floats = cost
        return worst

    def _silent_share(self, shift_us: float, chosen: Integers) -> float:
        """Return the share of silences in which the on/off cycle would have delivered."""
        cycle = self._expected.channel.cycle
        if cycle is None:
            return 0.0
        first, last = self._onset_us[chosen[0]], self._onset_us[chosen[-1]]
        begin_us = 0.0 if chosen[0] == 0 else first
        is_end = chosen[-1] == len(self._onset_us) - 1
        end_us = self._duration_us if is_end else last
        onsets_us = np.concatenate(
            ([begin_us], self._onset_us[chosen[0] : chosen[-1] + 1], [end_us])
        )
        gaps_us = np.diff(onsets_us)
        silent = gaps_us > 1.5 * self._expected.longest_spacing_us
        if not silent.any():
            return 0.0
        from_us, to_us = onsets_us[:-1][silent], onsets_us[1:][silent]
        delivered = self._on_us(to_us - shift_us) - self._on_us(from_us - shift_us)
        return float(2.0 * delivered.sum() / max(end_us - begin_us, 1.0))

    def _on_us(self, times_us: Floats) -> Floats:
        """Return how long the cycle delivered from time 0 until each time."""
        cycle = self._expected.channel.cycle
        assert cycle is not None
        total_us, on_us = cycle.total_ms * 1000.0, cycle.on_phase_ms * 1000.0
        turns = np.floor(times_us / total_us)
        spent: Floats = turns * on_us + np.minimum(times_us - turns * total_us, on_us)
        return spent


def _last_before(rises_us: Floats, onset_us: Floats) -> Floats:
    """Return for each pulse the last rise of the trigger before it, or the first of all."""
    number = np.searchsorted(rises_us, onset_us + _MARGIN_US, side="right") - 1
    last: Floats = rises_us[np.maximum(number, 0)]
    return last


def _top(amplitude_ua: Floats) -> float:
    return float(np.quantile(amplitude_ua, 0.95)) or 1.0


def _misfit(measured: Floats, wanted: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.abs(measured / wanted - 1.0) / _TIME_SHARE
    return np.where(np.isfinite(share), np.minimum(share, 1.0), 0.0)


def _thinned(indexes: Integers, count: int) -> Integers:
    if len(indexes) <= count:
        return indexes
    # Runs of neighbours, so that intervals and changes stay what they are.
    chosen: Integers = indexes[:: -(-len(indexes) // count)]
    return chosen


def _held(
    alignment: Alignment, expected: Expected, amplitude_ua: Floats, onset_us: Floats
) -> Alignment:
    """Tell the amplitude that was held from its rise before and its ramp down after."""
    steady = np.flatnonzero(alignment.steady)
    if len(steady) < _HELD_PULSES_MIN:
        reference_ua = float(amplitude_ua.max())
        return replace(alignment, reference_ua=reference_ua)
    places = alignment.places
    share = places.ramp[steady] * expected.shares(places.setting[steady])
    full_ua = amplitude_ua[steady] / np.maximum(share, 1e-9)
    # What a hold leaves of the amplitude is rounded down to a step: of the whole it is more.
    grid_ua = expected.channel.grid_ua(expected.amplitude_step_ua)
    step_ua = grid_ua / max(float(share.min()), 0.1)
    return _held_of(alignment, steady, full_ua, onset_us, grid_ua, step_ua)


def _without_edges(
    alignment: Alignment, expected: Expected, amplitude_ua: Floats, onset_us: Floats
) -> Alignment:
    """Take what surely rises or falls at the edge of an on-phase off its plateau.

    A ramp of few steps does not tell where in it a pulse lies, and output that ends ramps down
    wherever in its cycle it is. How the first on-phase begins is told by what was held.
    """
    cycle = expected.channel.cycle
    assert cycle is not None
    grid_ua = expected.channel.grid_ua(expected.amplitude_step_ua)
    full_ua = amplitude_ua / np.maximum(expected.shares(alignment.places.setting), 1e-9)
    longest_us = max(_RAMP_DOWN_S * US_PER_S, _RAMP_LONG * 1000.0 * cycle.ramp_down_ms)
    edges = np.flatnonzero(np.diff(onset_us) > 1.5 * expected.longest_spacing_us) + 1
    on_phases = np.split(np.arange(len(onset_us)), edges)
    steady, has_ramp_down = alignment.steady.copy(), False
    for number, chosen in enumerate(on_phases):
        times_us, heights = onset_us[chosen], full_ua[chosen]
        fall = _edge(times_us[::-1], heights[::-1], longest_us, grid_ua)
        steady[chosen[len(chosen) - fall :]] = False
        has_ramp_down = fall > 0
        if number:
            steady[chosen[: _edge(times_us, heights, longest_us, grid_ua)]] = False
    return replace(alignment, steady=steady, has_ramp_down=has_ramp_down)


def _edge(times_us: Floats, heights: Floats, longest_us: float, grid_ua: int) -> int:
    """Return how many pulses rise to the plateau, from the first on; 0 where they do not."""
    smooth = smoothed(heights, _SMOOTH)
    level_ua = float(np.median(smooth[smooth >= 0.9 * smooth.max()]))
    near_ua = max(_HELD_SHARE * level_ua, 3 * float(np.median(np.abs(heights - smooth))))
    low = smooth < level_ua - max(near_ua, 0.5 * grid_ua)
    count = len(low) if low.all() else int(np.argmin(low))
    if not count or abs(times_us[count - 1] - times_us[0]) > longest_us:
        return 0
    rises = _only_rises(np.append(smooth[:count], level_ua), max(near_ua, grid_ua))
    return count if rises and smooth[0] <= _EDGE_BEGINS * level_ua else 0


def _held_of(
    alignment: Alignment,
    steady: Integers,
    full_ua: Floats,
    onset_us: Floats,
    grid_ua: int,
    step_ua: float,
) -> Alignment:
    smooth = smoothed(full_ua, _SMOOTH)
    level_ua = float(np.median(full_ua[smooth > 0.9 * smooth.max()]))
    spread_ua = 1.5 * float(np.median(np.abs(full_ua - smooth)))
    near_ua = max(_HELD_SHARE * level_ua, 3 * spread_ua)
    there = np.flatnonzero(smooth >= level_ua - near_ua)
    # The last step of a rise may be as near as noise: what is reached soon after is held.
    reached = np.flatnonzero(smooth >= level_ua - 0.5 * grid_ua)
    edges = [int(there[0]), int(there[-1])]
    is_inside = (edges[0] > 0, edges[1] < len(smooth) - 1)
    for side, end in ((0, 0), (1, -1)) if len(reached) else ():
        if not is_inside[side]:
            continue
        apart_us = abs(onset_us[steady[reached[end]]] - onset_us[steady[edges[side]]])
        if apart_us <= _LAST_STEP_US:
            edges[side] = int(reached[end])
    first, last = edges
    notes, unknowns = list(alignment.notes), list(alignment.unknowns)
    # The very end of a ramp, taken for the plateau, lies one step of the device below it.
    if first and not _only_rises(smooth[: first + 1], max(near_ua, step_ua)):
        first = 0
    after = smooth[last + 1 :]
    time_s = (onset_us[steady[-1]] - onset_us[steady[min(last + 1, len(steady) - 1)]]) / US_PER_S
    is_ramp_down = (
        len(after) > 0
        and time_s <= _RAMP_DOWN_S
        and _only_rises(after[::-1], max(near_ua, step_ua))
        # Sparse pulses at the end are too few for what is smoothed to follow them down.
        and min(after[-1], full_ua[-1]) < 0.5 * level_ua
    )
    if not is_ramp_down:
        last = len(smooth) - 1
    held = slice(first, last + 1)
    third = max(1, (last + 1 - first) // 3)
    begin_ua = float(np.median(full_ua[held][:third]))
    end_ua = float(np.median(full_ua[held][-third:]))
    is_rising = first > 0 and end_ua - begin_ua > near_ua / 2 and _only_rises(smooth, near_ua)
    if first:
        rise_s = (onset_us[steady[first]] - onset_us[steady[0]]) / US_PER_S
        notes.append(
            f"the amplitude rises for {rise_s:.3f} s, from {full_ua[0] / UA_PER_MA:.2f} mA; what "
            "follows was judged"
        )
    if is_ramp_down:
        notes.append(f"the amplitude ramps down in the last {time_s:.3f} s; not judged")
    if is_rising:
        unknowns.append(
            f"the amplitude was still rising at {end_ua / UA_PER_MA:.2f} mA when the capture ended"
        )
    chosen = np.zeros(len(alignment.steady), np.bool_)
    chosen[steady[held]] = True
    return replace(
        alignment,
        steady=chosen,
        reference_ua=end_ua if is_rising else float(np.median(full_ua[held])),
        is_rising=is_rising,
        has_rise=first > 0 and bool(full_ua[0] < _RISE_BEGINS_SHARE * level_ua),
        has_ramp_down=is_ramp_down or alignment.has_ramp_down,
        notes=tuple(notes),
        unknowns=tuple(unknowns),
    )


def _only_rises(smooth: Floats, near: float) -> bool:
    """Tell whether figures rise steadily: never back by more than noise, never by a leap."""
    back = np.maximum.accumulate(smooth) - smooth
    total = smooth[-1] - smooth[0]
    leap = float(np.diff(smooth).max(initial=0.0))
    return bool(back.max() <= near and total > 0 and leap <= max(0.5 * total, near))
