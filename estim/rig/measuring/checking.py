"""Hold what was found against what was commanded, figure by figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from estim.rig.captures.capture import CaptureInfo
from estim.rig.counts import counted
from estim.rig.measuring.alignment import Alignment, align
from estim.rig.measuring.expectation import Expected, Places
from estim.rig.measuring.instrument import Instrument
from estim.rig.measuring.judge import Judge, Singles
from estim.rig.measuring.looks import looks_like, mismatch
from estim.rig.measuring.phase_figures import PhaseFigures
from estim.rig.measuring.pulses import Found
from estim.rig.measuring.sums import judge_sums
from estim.rig.measuring.timing import Timing
from estim.rig.measuring.tolerances import Tolerance
from estim.rig.measuring.uncertainty import Uncertainty
from estim.units import US_PER_S

_FLAT_SHARE = 0.3
_FAINT, _GLITCH_SHARE = 3.0, 0.1
_DIP = 4.5
"""Standard deviations by which a step must clear the threshold, so that no sample dips below it."""
_SURE_OF_FAINT = frozenset({"pulses", "offset", "dc", "rms", "average"})
"""Figures that hardly change with the edges of pulses that are faint."""


class Checker:
    """Make the checks of one capture.

    Attributes:
        judge: what came of it.
        singles: which pulses are outside.
        alignment: where the pulses lie in the programme.
        looks_like: what the capture seems to be instead; '' where it is what was commanded.
    """

    def __init__(
        self,
        expected: Expected,
        found: Found,
        info: CaptureInfo,
        table: Mapping[str, Tolerance],
        instrument: Instrument | None,
        load_ohm: int | None,
    ) -> None:
        self._expected = expected
        self._found = found
        self._info = info
        self._instrument = instrument
        self._load_ohm = load_ohm
        self._sure = Uncertainty(
            found, instrument, info.quantity == "V", expected.shortest_phase_us
        )
        self.judge = Judge(expected, info, table)
        self.singles = Singles(found)
        self.alignment: Alignment = align(
            found.pulses, expected, found.duration_us, _triggers_us(info)
        )
        self.looks_like = looks_like(expected, found, self.alignment.reference_ua, info, load_ohm)

    def run(self) -> None:
        """Make every check."""
        judge, found, alignment = self.judge, self._found, self.alignment
        self._tell_capture()
        self._judge_length()
        count = found.pulses.count
        cut = found.cut_words
        only_cut = f"no whole pulse: {cut}; capture longer"
        judge.add(
            "pulses", 1.0, float(min(1, count)), 0.0,
            note="" if count or cut else self.looks_like,
            lower_bound=only_cut if cut and not count and not found.odd.count else "",
        )  # fmt: skip
        if not count:
            return
        if cut:
            judge.notes.append(f"of the pulses, {cut}; not judged")
        judge.unknowns += alignment.unknowns
        judge.notes += alignment.notes
        is_other = mismatch(self._expected, found)
        if is_other:
            judge.count("profile", 0, 1, None, self.looks_like)
        swapped = "positive and negative are swapped: leads?" if found.is_inverted else ""
        judge.count("polarity", 0, int(found.is_inverted), None, swapped)
        lower_bound = self._clipping()
        if alignment.steady.any():
            PhaseFigures(
                self._expected, found, alignment, self._sure, judge, self.singles, lower_bound
            ).run()
        else:
            amplitude_ua = self._expected.amplitude_ua
            judge.add("amplitude", amplitude_ua and float(amplitude_ua), None, 0.0)
            judge.unknowns.append(
                "no pulse lies surely on a plateau: amplitudes, durations and charges are unknown"
            )
        timing = Timing(self._expected, found, alignment, self._sure, judge)
        timing.run(is_other=bool(is_other))
        if not is_other:
            judge_sums(
                self._expected, found, alignment, self._sure, judge, timing.missing_us, lower_bound,
                self._instrument,
            )  # fmt: skip
        outside = self.singles.outside_count
        worst = self.singles.worst()
        judge.count(
            "pulses_outside",
            0,
            outside,
            float(found.pulses.onset_us[worst[0]]) if worst and outside else None,
            f"worst in {worst[1]}" if worst and outside else "",
        )
        self._leave_faint_open(bool(is_other))

    def _leave_faint_open(self, is_other: bool) -> None:
        """Fail nothing for edges that noise hides: there are steps hardly above the threshold."""
        found, expected = self._found, self._expected
        settings = np.arange(len(expected.settings))
        everywhere = np.ones(len(settings), np.bool_)
        places = Places(settings, np.ones(len(settings)), everywhere, everywhere)
        # As measured: what was commanded may not be what came.
        reference_ua = self.alignment.reference_ua + 1e-6
        steps_ua = np.abs(expected.currents_ua(reference_ua, places))
        steps_ua[steps_ua < expected.amplitude_step_ua] = np.inf
        clear_ua = found.threshold_ua + _DIP * found.noise_ua
        weakest_ua = float(steps_ua.min())
        if weakest_ua >= clear_ua:
            return
        strong = np.flatnonzero((steps_ua >= clear_ua).all(axis=0)) + 1
        amplitudes = {f"amplitude.phase{number}" for number in strong.tolist()}
        self.judge.leave_open(_SURE_OF_FAINT | amplitudes, "hidden by noise")
        if is_other:
            self.looks_like = ""
        self.judge.unknowns.append(
            f"the weakest step of a pulse, {weakest_ua:.3g} uA, hardly stands out of the noise "
            f"(silence is what stays below {found.threshold_ua:.3g} uA): edges, counts and "
            "balance are not known well enough to fail: capture with less noise or finer steps"
        )

    def _judge_length(self) -> None:
        """Leave open what a file does not hold that its header promises."""
        stated, count = self._info.stated_count, self._info.sample_count
        if stated is not None and count < stated:
            self.judge.add(
                "samples", float(stated), float(count), 0.0,
                lower_bound="the file is cut short, or only a part of the record was saved: what "
                "followed was not seen",
            )  # fmt: skip

    def _tell_capture(self) -> None:
        """Say offset, noise, resolution, and what they leave unknown."""
        found, judge = self._found, self.judge
        if found.is_cut_short:
            judge.unknowns.append(
                f"more than {found.pulses.count} pulses: the rest of the capture was not judged"
            )
        if found.sample_us == 0.0:
            judge.unknowns.append(
                "a list of changes: rise time, overshoot, noise and offset are not in it"
            )
            return
        if not found.has_silence:
            judge.unknowns.append(
                "no silent stretches: the mean of all samples was taken for the offset, "
                f"{found.offset_ua:.4g} uA"
            )
        else:
            drift = f" (it drifts by {found.drift_ua:.3g} uA)" if found.drift_ua >= 0.1 else ""
            judge.notes.append(
                f"offset {found.offset_ua:.4g} uA{drift}, noise {found.noise_ua:.3g} uA (standard "
                f"deviation); what stays below {found.threshold_ua:.3g} uA counts as silence"
            )
        if found.noise_ua == 0.0 and found.resolution_ua is None:
            judge.unknowns.append(
                "no noise in the silent stretches: the resolution of the readings cannot be told, "
                "and is not in the uncertainty"
            )
        elif self._sure.has_coarse_steps:
            judge.unknowns.append(
                f"readings are {found.resolution_ua:.3g} uA apart, coarser than the noise: "
                "averages are no finer than that"
            )
        if self._sure.is_undersampled:
            samples = self._expected.shortest_phase_us / found.sample_us
            judge.unknowns.append(
                f"undersampled: samples in the shortest phase: {samples:.3g}; durations are "
                "uncertain by one sample"
            )
        # What barely stands out of the noise is a pulse too faint to be measured, or noise.
        tall = found.glitches.peak_ua > max(
            _FAINT * found.threshold_ua, _GLITCH_SHARE * self.alignment.reference_ua
        )
        if tall.any():
            first_us = float(found.glitches.onset_us[tall][0])
            shown = counted(int(np.count_nonzero(tall)), "glitch")
            judge.notes.append(
                f"{shown} shorter than any phase, the first at {judge.at_s(first_us):.6f} s; not "
                "counted as pulses"
            )

    def _clipping(self) -> str:
        """Return why amplitudes are lower bounds only, or ''."""
        found = self._found
        flat = float(np.median(found.pulses.flat))
        is_noisy = found.noise_ua > 0.7 * (found.resolution_ua or 0.0) and found.noise_ua > 0.0
        if not self._info.is_clipped and not (is_noisy and flat > _FLAT_SHARE):
            return ""
        peak_ma = float(np.median(found.pulses.peak_ua)) / 1000
        self.judge.unknowns.append(
            f"clipped at {peak_ma:.4g} mA: amplitude, charge, net charge, overshoot, RMS and "
            "average are unknown; they are at least what is shown"
        )
        return "clipped: at least this"


def _triggers_us(info: CaptureInfo) -> tuple[float, ...]:
    """Return when the trigger rose, since the capture began."""
    return tuple((at_s - info.start_s) * US_PER_S for at_s in info.triggers_s)
