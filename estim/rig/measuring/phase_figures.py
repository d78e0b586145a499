"""Figures of single pulses: amplitude, phase duration, gap, charge, balance, rise, overshoot."""

from __future__ import annotations

from itertools import pairwise
from math import log, sqrt

import numpy as np

from estim.rig.measuring.alignment import Alignment
from estim.rig.measuring.expectation import Expected, Places
from estim.rig.measuring.judge import Judge, Singles
from estim.rig.measuring.pulses import Floats, Found, Integers
from estim.rig.measuring.result import Verdict
from estim.rig.measuring.uncertainty import Uncertainty

_RISE_MAX_US, _RISE_SHARE = 20.0, 0.2


class PhaseFigures:
    """Judge what every pulse on a plateau must be."""

    def __init__(
        self,
        expected: Expected,
        found: Found,
        alignment: Alignment,
        sure: Uncertainty,
        judge: Judge,
        singles: Singles,
        lower_bound: str,
    ) -> None:
        self._expected = expected
        self._found = found
        self._sure = sure
        self._judge = judge
        self._singles = singles
        self._lower_bound = lower_bound
        self._steady: Integers = np.flatnonzero(alignment.steady)
        self._pulses = found.pulses.only(self._steady)
        self._is_rising = alignment.is_rising
        self._reference_ua = alignment.reference_ua
        places = alignment.places
        self._places = Places(
            places.setting[self._steady],
            np.ones(len(self._steady)),
            places.is_on[self._steady],
            places.is_sure[self._steady],
        )
        self._durations_us = expected.durations_us(self._places.setting).astype(np.float64)
        self._count = len(self._steady)
        amplitude = expected.amplitude_ua
        self._is_judged = amplitude is not None and not alignment.is_rising
        wanted_ua = float(amplitude) if self._is_judged and amplitude else self._reference_ua
        self._currents_ua = expected.currents_ua(
            wanted_ua if self._is_judged else wanted_ua + 1e-6, self._places
        )
        # What noise makes of an edge: its standard deviation over the edge's slope.
        rise_us = float(np.nanmedian(self._pulses.rise_us)) if self._count else 0.0
        slope = 0.8 * max(self._reference_ua, 1e-9) / max(rise_us, found.sample_us, 1e-9)
        self._edge_us = found.noise_ua / slope

    def run(self) -> None:
        """Add every check."""
        self._amplitudes()
        self._durations()
        self._gaps()
        self._charges()
        self._balance()
        if self._found.sample_us:
            self._rise()
            self._overshoot()

    def _name(self, figure: str, lobe_index: int) -> str:
        return f"{figure}.phase{lobe_index + 1}"

    def _amplitudes(self) -> None:
        found, judge = self._found, self._judge
        for step, phase_index in enumerate(self._expected.active):
            measured = np.abs(self._pulses.step_ua[:, step])
            wanted = np.abs(self._currents_ua[:, step])
            samples = self._durations_us[:, phase_index] / 2 / max(found.sample_us, 1e-9)
            mean_ua = float(measured.mean())
            allowed = judge.row("amplitude").allowed(0.0) + judge.row("amplitude").relative * wanted
            worst_us, index = self._singles.take(
                self._steady,
                self._single_deviation(measured - wanted),
                allowed,
                self._sure.single_current_ua(samples) + self._sure.gain(mean_ua),
                f"amplitude of phase {step + 1}",
            )
            note = ""
            if not self._is_judged:
                note = self._why_not()
            judge.add(
                f"amplitude.phase{step + 1}",
                float(wanted.mean()) if self._is_judged else None,
                mean_ua,
                self._sure.current_ua(mean_ua, float(samples.mean()), self._count),
                worst_us=worst_us,
                worst=float(measured[index]),
                note=note,
                lower_bound=self._lower_bound,
            )

    def _single_deviation(self, deviation: Floats) -> Floats:
        """Return what of a deviation of amplitude counts against single pulses."""
        if not self._is_judged:
            return np.zeros(self._count)
        return np.maximum(deviation, 0.0) if self._lower_bound else deviation

    def _why_not(self) -> str:
        """Return why an amplitude is not judged."""
        return "still rising" if self._is_rising else "not commanded: give --amplitude"

    def _durations(self) -> None:
        for index, lobe in enumerate(self._expected.lobes):
            wanted = self._durations_us[:, lobe.first : lobe.stop].sum(axis=1)
            measured = self._pulses.end_us[:, index] - self._pulses.start_us[:, index]
            name = self._name("phase_duration", index)
            self._judge_length(name, wanted, measured, f"duration of phase {index + 1}")

    def _gaps(self) -> None:
        lobes = self._expected.lobes
        for index, (one, other) in enumerate(pairwise(lobes)):
            wanted = self._durations_us[:, one.stop : other.first].sum(axis=1)
            measured = self._pulses.start_us[:, index + 1] - self._pulses.end_us[:, index]
            if not wanted.any() and not measured.any():
                continue
            name = f"interphase_gap.{index + 1}"
            self._judge_length(name, wanted, measured, f"gap after phase {index + 1}")

    def _judge_length(self, name: str, wanted: Floats, measured: Floats, what: str) -> None:
        """Judge a length of time between two edges, in every pulse and in the mean."""
        row = self._judge.row(name)
        worst_us, worst = self._singles.take(
            self._steady,
            measured - wanted,
            row.allowed(0.0) + row.relative * wanted,
            self._sure.single_duration_us(self._edge_us),
            what,
        )
        mean_us = float(measured.mean())
        self._judge.add(
            name,
            float(wanted.mean()),
            mean_us,
            self._sure.duration_us(mean_us, self._edge_us, self._count),
            worst_us=worst_us,
            worst=float(measured[worst]),
        )

    def _lobe_charges(self) -> Floats:
        """Return the charge that each lobe must have: shape (pulses, lobes)."""
        active_us = self._durations_us[:, list(self._expected.active)]
        charges = np.abs(self._currents_ua) * active_us
        step = 0
        columns = []
        for lobe in self._expected.lobes:
            count = lobe.stop - lobe.first
            columns.append(charges[:, step : step + count].sum(axis=1))
            step += count
        return np.stack(columns, axis=1)

    def _charges(self) -> None:
        wanted_pc = self._lobe_charges()
        for index in range(wanted_pc.shape[1]):
            measured = np.abs(self._pulses.charge_pc[:, index])
            wanted = wanted_pc[:, index]
            deviation = measured - wanted
            worst = int(np.argmax(np.abs(deviation)))
            mean_pc = float(measured.mean())
            lobe_us = float((self._pulses.end_us - self._pulses.start_us)[:, index].mean())
            self._judge.add(
                self._name("charge", index),
                float(wanted.mean()) if self._is_judged else None,
                mean_pc,
                self._sure.charge_pc(mean_pc, mean_pc / max(lobe_us, 1e-9), lobe_us, self._count),
                worst_us=float(self._pulses.onset_us[worst]),
                worst=float(measured[worst]),
                note="" if self._is_judged else self._why_not(),
                lower_bound=self._lower_bound,
            )

    def _balance(self) -> None:
        """Judge the net charge of the pulses: in relation to the charge of a phase, as measured.

        Relative to what was measured, so that a wrong amplitude alone does not look like imbalance.
        """
        net = self._pulses.net_pc
        phase_pc = float(np.abs(self._pulses.charge_pc).sum(axis=1).mean() / 2)
        current_ua = float(np.abs(self._pulses.step_ua[:, -1]).mean())
        largest_ua = float(self._pulses.amplitude_ua.mean())
        pulse_us = float((self._pulses.end_us[:, -1] - self._pulses.start_us[:, 0]).mean())
        row = self._judge.row("net_charge")
        allowed_pc = row.allowed(phase_pc)
        unknown = self._lower_bound and "unknown, since clipped"
        worst_us, worst = self._singles.take(
            self._steady,
            np.zeros(self._count) if unknown else net,
            allowed_pc,
            self._sure.single_net_pc(largest_ua, pulse_us),
            "net charge",
        )
        mean_pc = float(net.mean())
        uncertainty_pc = self._sure.net_pc(mean_pc, largest_ua, pulse_us, self._count)
        note = ""
        if abs(mean_pc) > allowed_pc:
            longer_us = mean_pc / max(current_ua, 1e-9)
            note = f"as if {abs(longer_us):.3g} us more of {'+' if mean_pc > 0 else '-'}"
            note += f"{current_ua / 1000:.3g} mA in every pulse"
        verdict = self._judge.add(
            "net_charge",
            0.0,
            None if unknown else mean_pc,
            uncertainty_pc,
            scale=phase_pc,
            worst_us=worst_us,
            worst=float(net[worst]),
            note=unknown or note,
        )
        if verdict is Verdict.INCONCLUSIVE and not unknown and self._found.sample_us:
            self._judge.unknowns.append(
                f"the balance of pulses is uncertain by {uncertainty_pc / phase_pc * 100:.2g} % of "
                "a phase: sample faster, capture more pulses, or with finer steps"
            )

    def _rise(self) -> None:
        rise = self._pulses.rise_us[np.isfinite(self._pulses.rise_us)]
        if not len(rise):
            return
        allowed_us = min(_RISE_MAX_US, _RISE_SHARE * self._expected.shortest_phase_us)
        worst = int(np.nanargmax(self._pulses.rise_us))
        self._judge.add(
            "rise_time",
            0.0,
            float(np.median(rise)),
            self._sure.rise_us(),
            tolerance=allowed_us,
            worst_us=float(self._pulses.onset_us[worst]),
            worst=float(self._pulses.rise_us[worst]),
            note="at most the tolerance",
        )

    def _overshoot(self) -> None:
        found = self._found
        first = len(self._expected.lobes[0].ends)
        plateau = np.abs(self._pulses.step_ua[:, :first]).max(axis=1)
        samples = max(2.0, self._expected.shortest_lobe_us / found.sample_us)
        # The largest of n samples of noise stands about this far above their mean.
        bias_ua = found.noise_ua * sqrt(2 * log(samples))
        share = np.maximum(0.0, self._pulses.peak_ua - bias_ua - plateau) / plateau * 100
        worst = int(np.argmax(share))
        steps_ua = found.resolution_ua or 0.0
        uncertainty = (2 * found.noise_ua / sqrt(self._count) + steps_ua) / plateau.mean() * 100
        self._judge.add(
            "overshoot",
            0.0,
            None if self._lower_bound else float(share.mean()),
            float(uncertainty),
            worst_us=float(self._pulses.onset_us[worst]),
            worst=float(share[worst]),
            note=self._lower_bound or "at most the tolerance",
        )
