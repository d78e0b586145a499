"""Figures between pulses: rate, bursts, on/off cycle, modulation, jitter, missing and extra pulses.

Rules:
1. What is missing or extra is counted against the rate that the capture itself has, so that a
   wrong rate is told as a wrong rate.
2. A pulse of another shape fills its place: it is odd, not missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt

import numpy as np

from estim.rig.counts import counted
from estim.rig.measuring.alignment import Alignment
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.judge import Judge
from estim.rig.measuring.pulses import Booleans, Floats, Found, Integers
from estim.rig.measuring.strays import strays
from estim.rig.measuring.uncertainty import Uncertainty
from estim.units import UA_PER_MA, US_PER_MS, US_PER_S

_EARLY, _LATE = 0.75, 1.5
_FAINT_SHARE = 0.1
_FAINT = 3.0
_CHARGE_SHARE = 0.05
"""Charge between pulses, in shares of a phase's, that a capture may not pass with unexplained."""
_BURST_GAP_SHARE = 1.3
_CUT_PERIODS = 2.2
"""Silence that tells a burst's first or last pulse: one more may be cut by the capture's end."""
_RAMP_LOW, _RAMP_HIGH, _RAMP_PULSES = 0.1, 0.9, 3
_PLATEAU = 0.97
_STAIRS = 2.5
_FLAT, _STEP_TOLD = 0.05, 0.01
_SHORT_PERIODS = 4
_STEPS_OF_WEAKEST = 2


@dataclass(frozen=True, slots=True)
class _Segment:
    """One on-phase as found; times in us, nan where the capture does not show them.

    `is_sure` where its form is the programme's alone: the amplitude was reached before it.
    """

    up_us: float
    plateau_us: float
    fall_us: float
    down_us: float
    is_sure: bool


class Timing:
    """Judge what lies between pulses; `missing_us` holds when pulses were missing."""

    def __init__(
        self,
        expected: Expected,
        found: Found,
        alignment: Alignment,
        sure: Uncertainty,
        judge: Judge,
    ) -> None:
        self._expected = expected
        self._found = found
        self._alignment = alignment
        self._sure = sure
        self._judge = judge
        self.missing_us: Floats = np.empty(0)
        self._stray_us: Floats = np.empty(0)
        onset_us = found.pulses.onset_us
        odd_us = found.odd.onset_us[
            found.odd.peak_ua >= _FAINT_SHARE * max(alignment.reference_ua, 1e-9)
        ]
        self._odd_us = odd_us
        times = np.concatenate([onset_us, odd_us])
        order = np.argsort(times, kind="stable")
        self._onset_us = times[order]
        # An odd pulse has the setting of the pulse before it.
        before = np.clip(np.searchsorted(onset_us, self._onset_us, side="right") - 1, 0, None)
        self._setting: Integers = alignment.places.setting[before]
        is_faint = found.pulses.amplitude_ua < _FAINT * found.threshold_ua
        # Where the weakest hold comes to less than a step of the device, its pulses are no current.
        shares = expected.shares(alignment.places.setting)
        least = float(expected.shares(np.arange(len(expected.settings))).min())
        weakest_ua = found.pulses.amplitude_ua / np.maximum(shares, 1e-9) * least
        is_faint |= weakest_ua < _STEPS_OF_WEAKEST * expected.amplitude_step_ua
        self._is_sure: Booleans = (alignment.places.is_sure & ~is_faint)[before]
        self._period_us = expected.periods_us(self._setting).astype(np.float64)
        cycle = expected.channel.cycle
        self._off_us = np.inf
        if cycle is not None:
            self._off_us = max(1.5 * expected.longest_spacing_us, 0.5 * cycle.off_ms * US_PER_MS)

    def run(self, *, is_other: bool) -> None:
        """Add every check; of another profile's capture only the rate."""
        self._leave_out_strays()
        interval_us = np.diff(self._onset_us)
        is_off = interval_us > self._off_us
        breaks = self._burst_breaks(interval_us) & ~is_off
        within = ~is_off & ~breaks
        is_normal, is_extra, skipped = self._classes(interval_us, within)
        self._rate(interval_us, is_normal)
        if is_other:
            return
        self._jitter(interval_us, is_normal)
        missing = [self._missing_us(interval_us, skipped)]
        if self._has_bursts:
            missing.append(self._bursts(is_off, breaks))
        self.missing_us = np.concatenate(missing)
        self._counts(is_extra)
        if self._expected.channel.cycle is not None:
            self._cycle(is_off)
        if self._expected.channel.keyframes:
            self._modulation()
        if self._expected.channel.cycle is not None and self._alignment.is_triggered:
            self._after_trigger()

    def _leave_out_strays(self) -> None:
        """Take lone pulses between bursts for what they are, before bursts are judged."""
        if not self._has_bursts:
            return
        is_off = np.diff(self._onset_us) > self._off_us
        channel = self._expected.channel
        parts = [
            strays(train_us, channel.pulses_per_burst, channel.burst_period_us, self._break_us)
            for train_us in np.split(self._onset_us, np.flatnonzero(is_off) + 1)
        ]
        is_stray = np.concatenate(parts)
        self._stray_us = self._onset_us[is_stray]
        kept = ~is_stray
        self._onset_us, self._setting = self._onset_us[kept], self._setting[kept]
        self._is_sure, self._period_us = self._is_sure[kept], self._period_us[kept]

    # ---- single intervals ----

    @property
    def _has_bursts(self) -> bool:
        return self._burst_gap_us > 0

    @property
    def _burst_gap_us(self) -> float:
        """Return the time between two bursts' nearest onsets; 0 where bursts cannot be told."""
        channel = self._expected.channel
        if not channel.pulses_per_burst:
            return 0.0
        periods = [s.pulse_period_us for s in channel.settings]
        gap_us = channel.burst_period_us - (channel.pulses_per_burst - 1) * max(periods)
        return float(gap_us) if gap_us > _BURST_GAP_SHARE * max(periods) else 0.0

    def _burst_breaks(self, interval_us: Floats) -> Booleans:
        if not self._has_bursts:
            if self._expected.channel.pulses_per_burst:
                self._judge.unknowns.append("bursts follow each other too closely to be told apart")
            return np.zeros(len(interval_us), np.bool_)
        breaks: Booleans = interval_us > self._break_us
        return breaks

    @property
    def _break_us(self) -> float:
        """Return the interval that tells a burst's last pulse from the next one's first."""
        longest_us = max(s.pulse_period_us for s in self._expected.channel.settings)
        return sqrt(longest_us * self._burst_gap_us)

    def _classes(
        self, interval_us: Floats, within: Booleans
    ) -> tuple[Booleans, Booleans, Integers]:
        """Return which intervals are normal, which end at an extra pulse, and pulses skipped."""
        ratio = interval_us / self._period_us[:-1]
        known = within & self._is_sure[:-1] & self._is_sure[1:]
        base = float(np.median(ratio[known])) if known.any() else 1.0
        share = ratio / base
        following = np.append(share[1:], np.inf)
        is_early = known & (share < _EARLY)
        is_extra = is_early & (share + following < _LATE)
        # The interval after an extra pulse is what is left of a normal one.
        is_rest = np.append(False, is_extra[:-1])
        skipped = np.where(
            known & ~is_extra & ~is_rest & (share >= _LATE), np.round(share) - 1, 0
        ).astype(np.int64)
        is_normal = known & ~is_extra & ~is_rest & (skipped == 0)
        return is_normal, is_extra, skipped

    def _rate(self, interval_us: Floats, is_normal: Booleans) -> None:
        if not is_normal.any():
            self._judge.unknowns.append("fewer than two pulses in a row: the pulse rate is unknown")
            return
        measured_us, wanted_us = interval_us[is_normal], self._period_us[:-1][is_normal]
        worst = int(np.argmax(np.abs(measured_us - wanted_us)))
        rate_hz = US_PER_S / float(measured_us.mean())
        self._judge.add(
            "pulse_rate",
            US_PER_S / float(wanted_us.mean()),
            rate_hz,
            rate_hz * self._sure.rate_share(float(measured_us.sum())),
            worst_us=float(self._onset_us[:-1][is_normal][worst]),
            worst=US_PER_S / float(measured_us[worst]),
        )

    def _jitter(self, interval_us: Floats, is_normal: Booleans) -> None:
        if np.count_nonzero(is_normal) < 3:
            return
        measured_us, wanted_us = interval_us[is_normal], self._period_us[:-1][is_normal]
        residual_us = measured_us - wanted_us * (measured_us.mean() / wanted_us.mean())
        # An interval has two edges, each known to a uniform sample: variance sample^2 / 6.
        sampled = self._found.sample_us**2 / 6
        jitter_us = sqrt(max(0.0, float(residual_us.var()) - sampled))
        worst = int(np.argmax(np.abs(residual_us)))
        count = len(residual_us)
        uncertainty_us = 0.5 * self._found.sample_us + 2 * jitter_us / sqrt(2 * count)
        self._judge.add(
            "jitter",
            0.0,
            jitter_us,
            uncertainty_us,
            scale=float(wanted_us.mean()),
            worst_us=float(self._onset_us[:-1][is_normal][worst]),
            worst=float(residual_us[worst]),
            note="standard deviation of the pulse period; the worst is a single period's",
        )

    def _missing_us(self, interval_us: Floats, skipped: Integers) -> Floats:
        """Return when pulses were missing within a train."""
        where = np.flatnonzero(skipped)
        times = [
            self._onset_us[i]
            + interval_us[i] * np.arange(1, skipped[i] + 1, dtype=np.float64) / (skipped[i] + 1)
            for i in where.tolist()
        ]
        return np.concatenate(times) if times else np.empty(0)

    def _counts(self, is_extra: Booleans) -> None:
        judge, missing_us = self._judge, self.missing_us
        first_us = float(missing_us.min()) if len(missing_us) else None
        judge.add(
            "missing_pulses",
            0.0,
            float(len(missing_us)),
            0.0,
            worst_us=first_us,
            lower_bound=self._end(),
        )
        extra_us = np.sort(np.append(self._onset_us[1:][is_extra], self._stray_us))
        note = ""
        if len(self._stray_us):
            at_s = judge.at_s(float(self._stray_us[0]))
            note = (
                f"{counted(len(self._stray_us), 'pulse')} between bursts, the first at {at_s:.6f} s"
            )
        first_extra_us = float(extra_us[0]) if len(extra_us) else None
        judge.count("extra_pulses", 0, len(extra_us), first_extra_us, note)
        odd_us = self._odd_us
        judge.add(
            "odd_pulses", 0.0, float(len(odd_us)), 0.0,
            worst_us=float(odd_us[0]) if len(odd_us) else None,
            note="pulses of another shape or polarity" if len(odd_us) else "",
            lower_bound=self._unexplained(),
        )  # fmt: skip

    def _unexplained(self) -> str:
        """Return what else flowed and may be the device's, or ''."""
        found, reference_ua = self._found, self._alignment.reference_ua
        phase_pc = float(np.median(np.abs(found.pulses.charge_pc)))
        is_faint = found.odd.peak_ua < _FAINT_SHARE * reference_ua
        charged = found.odd.only(is_faint & (np.abs(found.odd.net_pc) > _CHARGE_SHARE * phase_pc))
        overshoot_share = self._judge.row("overshoot").absolute / 100
        tall = found.glitches.only(found.glitches.peak_ua > (1 + overshoot_share) * reference_ua)
        texts = []
        if charged.count:
            share = float(np.abs(charged.net_pc).max()) / phase_pc * 100
            texts.append(
                f"{counted(charged.count, 'faint excursion')} of up to {share:.3g} % of a phase's "
                f"charge, the first at {self._judge.at_s(float(charged.onset_us[0])):.6f} s"
            )
        if tall.count:
            texts.append(
                f"{counted(tall.count, 'glitch')} of up to "
                f"{tall.peak_ua.max() / UA_PER_MA:.4g} mA, the first at "
                f"{self._judge.at_s(float(tall.onset_us[0])):.6f} s"
            )
        return "; ".join([*texts, "the capture cannot tell whose"]) if texts else ""

    # ---- bursts ----

    def _bursts(self, is_off: Booleans, breaks: Booleans) -> Floats:
        """Judge bursts; return when pulses of whole missing bursts should have begun."""
        wanted = self._expected.channel.pulses_per_burst
        period_us = float(self._expected.channel.burst_period_us)
        ends = np.flatnonzero(breaks | is_off)
        firsts = np.concatenate(([0], ends + 1))
        counts = np.diff(np.append(firsts, len(self._onset_us)))
        starts_us = self._onset_us[firsts]
        # A burst is whole where the capture shows silence before its first and after its last.
        whole = np.ones(len(firsts), np.bool_)
        whole[0] = starts_us[0] > _CUT_PERIODS * self._period_us[0]
        tail_us = self._found.duration_us - self._onset_us[-1]
        whole[-1] &= tail_us > _CUT_PERIODS * self._period_us[-1]
        if self._expected.channel.cycle is not None:
            # Bursts that a ramp or the end of an on-phase cuts are not judged.
            whole[0] = whole[-1] = False
            after_off = is_off[firsts[1:] - 1]
            whole[1:] &= ~after_off
            whole[:-1] &= ~after_off
        if whole.any():
            chosen = np.flatnonzero(whole)
            worst = int(chosen[np.argmax(np.abs(counts[chosen] - wanted))])
            wrong = int(np.count_nonzero(counts[chosen] != wanted))
            self._judge.count(
                "pulses_per_burst", wanted, int(counts[worst]), float(starts_us[worst]),
                f"{wrong} of {counted(len(chosen), 'burst')}" if wrong else "",
            )  # fmt: skip
        else:
            self._judge.unknowns.append("no whole burst: pulses per burst are unknown")
        apart_us = np.diff(starts_us)[~is_off[firsts[1:] - 1]]
        begin_us = starts_us[:-1][~is_off[firsts[1:] - 1]]
        if not len(apart_us):
            self._judge.unknowns.append("fewer than two bursts: the burst rate is unknown")
            return np.empty(0)
        base_us = float(np.median(apart_us))
        turns = np.round(apart_us / base_us)
        # The first burst may have begun before the capture did.
        normal = (turns == 1) & ((begin_us > starts_us[0]) | bool(whole[0]))
        if normal.any():
            mean_us = float(apart_us[normal].mean())
            worst = int(np.argmax(np.abs(apart_us[normal] - period_us)))
            self._judge.add(
                "burst_rate",
                US_PER_S / period_us,
                US_PER_S / mean_us,
                US_PER_S / mean_us * self._sure.rate_share(float(apart_us[normal].sum())),
                worst_us=float(begin_us[normal][worst]),
                worst=US_PER_S / float(apart_us[normal][worst]),
            )
        missing = []
        for index in np.flatnonzero(turns > 1).tolist():
            for turn in range(1, int(turns[index])):
                pulse_us = np.arange(wanted) * self._period_us[0]
                missing.append(begin_us[index] + turn * base_us + pulse_us)
        return np.concatenate(missing) if missing else np.empty(0)

    # ---- on/off cycle and modulation ----

    def _cycle(self, is_off: Booleans) -> None:
        cycle = self._expected.channel.cycle
        assert cycle is not None
        if cycle.off_ms * US_PER_MS <= 1.5 * self._expected.longest_spacing_us:
            self._judge.unknowns.append("the off time is too short to tell on-phases apart")
            return
        segments = self._segments(is_off)
        found: dict[str, list[tuple[float, float, bool]]] = {
            "ramp.up": [(s.plateau_us - s.up_us, s.up_us, s.is_sure) for s in segments],
            "on_time": [(s.fall_us - s.plateau_us, s.plateau_us, s.is_sure) for s in segments],
            "ramp.down": [(s.down_us - s.fall_us, s.fall_us, s.is_sure) for s in segments],
            "off_time": [
                (later.up_us - earlier.down_us, earlier.down_us, earlier.is_sure and later.is_sure)
                for earlier, later in pairwise(segments)
            ],
        }
        wanted_ms = {
            "ramp.up": cycle.ramp_up_ms,
            "on_time": cycle.on_ms,
            "ramp.down": cycle.ramp_down_ms,
            "off_time": cycle.off_ms,
        }
        period_s = self._expected.longest_spacing_us / US_PER_S
        unseen = []
        for name, stretches in found.items():
            seen = [stretch for stretch in stretches if np.isfinite(stretch[0])]
            if not seen:
                unseen.append(name.replace(".", " ").replace("_", " "))
                continue
            sure = [stretch for stretch in seen if stretch[2]]
            judged = sure or seen
            wanted_s = wanted_ms[name] / 1000
            lengths_s = np.array([stretch[0] for stretch in judged]) / US_PER_S
            mean_s = float(lengths_s.mean())
            worst = int(np.argmax(np.abs(lengths_s - wanted_s)))
            step_s = self._step_s(name)
            uncertainty_s, note = max(0.5 * period_s, step_s), ""
            if step_s > _STEP_TOLD * wanted_s:
                note = "the ramps have too few of the device's steps to be timed closely"
            allowed_s = self._judge.row(name).allowed(wanted_s, period_s)
            if not sure and abs(mean_s - wanted_s) > allowed_s:
                # A person who raises the amplitude makes a ramp longer, and a plateau shorter.
                uncertainty_s = max(uncertainty_s, abs(mean_s - wanted_s))
                note = "of the first on-phase, in which the amplitude may still be rising"
            self._judge.add(
                name, wanted_s, mean_s, uncertainty_s, period=period_s,
                worst_us=judged[worst][1], worst=float(lengths_s[worst]), note=note,
            )  # fmt: skip
        if unseen:
            self._judge.unknowns.append(f"the capture does not show whole: {', '.join(unseen)}")

    def _step_s(self, name: str) -> float:
        """Return what the steps of the device leave open of a ramp, or of what lies between two.

        A single step may be seen as late as it is long; a line through n steps is off by about
        1 / n of a step at either end.
        """
        cycle = self._expected.channel.cycle
        assert cycle is not None
        grid_ua = self._expected.channel.grid_ua(self._expected.amplitude_step_ua)
        share = grid_ua / max(self._alignment.reference_ua, float(grid_ua))
        up_s, down_s = cycle.ramp_up_ms / 1000, cycle.ramp_down_ms / 1000
        ramp_s = {"ramp.up": up_s, "ramp.down": down_s}.get(name, up_s + down_s)
        return min(share, _STAIRS * share**2) * ramp_s

    def _segments(self, is_off: Booleans) -> list[_Segment]:
        """Return the on-phases, as far as the capture shows them."""
        alignment, pulses = self._alignment, self._found.pulses
        share = self._expected.shares(alignment.places.setting)
        full_ua = pulses.amplitude_ua / np.maximum(share, 1e-9)
        level = alignment.reference_ua
        held_us = float(pulses.onset_us[alignment.steady][0]) if alignment.steady.any() else 0.0
        edges_us = self._onset_us[1:][is_off]
        numbers = np.searchsorted(edges_us, pulses.onset_us, side="right")
        segments = []
        for number in np.unique(numbers).tolist():
            chosen = numbers == number
            times_us, heights = pulses.onset_us[chosen], full_ua[chosen]
            is_begun = number > 0 or times_us[0] > 1.5 * self._expected.longest_spacing_us
            left_us = self._found.duration_us - times_us[-1]
            is_over = bool(
                number < len(edges_us) or left_us > 1.5 * self._expected.longest_spacing_us
            )
            is_held = times_us[-1] >= held_us and heights.max() >= _PLATEAU * level
            is_captured = is_begun and is_over
            # While the amplitude rises or ends, an on-phase is not what the programme alone makes.
            if is_held:
                rose = alignment.has_rise or is_captured
                is_sure = bool(times_us[0] >= held_us) or not rose
                segments.append(self._segment(times_us, heights, is_begun, is_over, is_sure))
        return self._without_last(segments)

    def _without_last(self, segments: list[_Segment]) -> list[_Segment]:
        """Leave the last on-phase out where it is short: output may have been ended in it.

        Where no other is sure it stays: nothing else tells the times of the programme.
        """
        cycle = self._expected.channel.cycle
        if cycle is None or not any(segment.is_sure for segment in segments[:-1]):
            return segments
        last = segments[-1]
        short_us = cycle.on_phase_ms * US_PER_MS - (last.down_us - last.up_us)
        if short_us <= _SHORT_PERIODS * self._expected.longest_spacing_us:
            return segments
        self._judge.notes.append("the last on-phase is short, as if output was ended; not judged")
        return [*segments[:-1], replace(last, is_sure=False)]

    def _segment(
        self, times_us: Floats, heights: Floats, is_begun: bool, is_over: bool, is_sure: bool
    ) -> _Segment:
        cycle = self._expected.channel.cycle
        assert cycle is not None
        level = float(np.median(heights[heights >= _RAMP_HIGH * heights.max()]))
        if not (is_begun and is_over):  # it may not show its plateau
            level = max(level, self._alignment.reference_ua)
        # A ramp that is near zero begins or ends there, though no silence beside it is captured.
        is_begun |= bool(cycle.ramp_up_ms and heights[0] < _RAMP_LOW * level)
        is_over |= bool(cycle.ramp_down_ms and heights[-1] < _RAMP_LOW * level)
        up = plateau = fall = down = np.nan
        top = np.flatnonzero(heights >= _PLATEAU * level)
        first, last = (int(top[0]), int(top[-1])) if len(top) else (len(heights) - 1, 0)
        if is_begun:
            up = plateau = float(times_us[0])
            if cycle.ramp_up_ms:
                up, plateau = _ramp(times_us[: first + 1], heights[: first + 1], level)
        if is_over:
            fall = down = float(times_us[-1]) + float(self._expected.longest_spacing_us)
            if cycle.ramp_down_ms:
                down, fall = _ramp(times_us[last:], heights[last:], level)
        return _Segment(up, plateau, fall, down, is_sure)

    def _after_trigger(self) -> None:
        """Judge what flows when, by the trigger, nothing should."""
        places, onset_us = self._alignment.places, self._found.pulses.onset_us
        stray = ~places.is_on[places.is_sure]
        first_us = float(onset_us[places.is_sure][stray][0]) if stray.any() else None
        self._judge.add(
            "after_trigger", 0.0, float(stray.mean() * 100) if len(stray) else 0.0, 0.0,
            worst_us=first_us, note="share of pulses that come in the off time, by the trigger",
        )  # fmt: skip

    def _modulation(self) -> None:
        alignment = self._alignment
        if not len(alignment.follows):
            self._judge.unknowns.append("no pulse lies surely within a hold of the modulation")
            return
        sure_us = self._found.pulses.onset_us[alignment.places.is_sure]
        stray = ~alignment.follows
        first_us = float(sure_us[stray][0]) if stray.any() else None
        self._judge.add(
            "modulation", 0.0, float(stray.mean() * 100), 0.0, worst_us=first_us,
            note="share of pulses whose duration or period is not that of their place",
        )  # fmt: skip
        times_us, shifts_us = alignment.shift_us
        cycle_us = self._expected.channel.keyframe_cycle_ms * US_PER_MS
        if self._expected.channel.cycle is not None or len(times_us) < 3:
            return
        slope = float(np.polyfit(times_us, shifts_us, 1)[0])
        period_s = self._expected.longest_spacing_us / US_PER_S
        span_us = float(times_us[-1] - times_us[0])
        uncertainty_s = period_s * cycle_us / span_us
        self._judge.add(
            "modulation_cycle", cycle_us / US_PER_S, cycle_us / US_PER_S * (1 + slope),
            uncertainty_s, period=period_s,
        )  # fmt: skip

    def _end(self) -> str:
        """Return where pulses end long before the capture does, and without a ramp down."""
        last_us = float(self._onset_us[-1])
        silent_us = self._found.duration_us - last_us
        cycle = self._expected.channel.cycle
        allowed_us = 3.0 * self._expected.longest_spacing_us
        if cycle is not None:
            allowed_us += cycle.off_ms * US_PER_MS
        if silent_us <= allowed_us or self._alignment.has_ramp_down:
            return ""
        return (
            f"pulses end at {self._judge.at_s(last_us):.3f} s, {silent_us / US_PER_S:.3f} s before "
            "the capture, without a ramp down: stopped or lost, a capture cannot tell"
        )


def _ramp(times_us: Floats, heights: Floats, level: float) -> tuple[float, float]:
    """Return when a straight ramp is at zero and when at `level`.

    With fewer pulses than a line needs the ramp is as long as they are apart: a missing ramp is 0.
    """
    inner = (heights > _RAMP_LOW * level) & (heights < _RAMP_HIGH * level)
    # What holds one step only shows no slope.
    if np.count_nonzero(inner) < _RAMP_PULSES or np.ptp(heights[inner]) < _FLAT * level:
        outer, top = (0, -1) if heights[0] < heights[-1] else (-1, 0)
        return float(times_us[outer]), float(times_us[top])
    origin = float(times_us[inner][0])
    slope, base = np.polyfit(times_us[inner] - origin, heights[inner], 1)
    if slope == 0:
        return float("nan"), float("nan")
    return origin - float(base / slope), origin + float((level - base) / slope)
