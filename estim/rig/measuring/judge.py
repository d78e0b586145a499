"""Gather checks, and what could not be known, of one capture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from estim.rig.captures.capture import CaptureInfo
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.pulses import Floats, Found, Integers
from estim.rig.measuring.result import Check, Verdict, decide
from estim.rig.measuring.tolerances import Tolerance
from estim.units import US_PER_S


class Judge:
    """Apply the decision rule to figures, with the tolerances of one table.

    Attributes:
        checks: so far.
        unknowns: what could not be known, in words.
        notes: what was found, in words.
    """

    def __init__(
        self, expected: Expected, info: CaptureInfo, table: Mapping[str, Tolerance]
    ) -> None:
        self.checks: list[Check] = []
        self.unknowns: list[str] = []
        self.notes: list[str] = []
        self._channel = expected.channel_number
        self._start_s = info.start_s
        self._table = table

    def row(self, name: str) -> Tolerance:
        """Return the tolerance of a figure; what follows its first point is not part of it."""
        return self._table[name.partition(".")[0]]

    def at_s(self, time_us: float) -> float:
        """Return a time in the file's own time."""
        return self._start_s + time_us / US_PER_S

    def add(
        self,
        name: str,
        expected: float | None,
        measured: float | None,
        uncertainty: float,
        *,
        scale: float | None = None,
        period: float = 0.0,
        tolerance: float | None = None,
        worst_us: float | None = None,
        worst: float | None = None,
        note: str = "",
        lower_bound: str = "",
    ) -> Verdict:
        """Add a check and return its verdict.

        Args:
            name: of the figure, and after a point which of several.
            expected: what was commanded; None leaves the check inconclusive.
            measured: None leaves the check inconclusive.
            uncertainty: expanded.
            scale: what a relative tolerance is relative to; what was expected if None.
            period: of the pulses, in the figure's unit.
            tolerance: instead of the table's.
            worst_us: time of the worst pulse.
            worst: its figure.
            note: what the figures alone do not say.
            lower_bound: why the figure is only a lower bound; it may then fail, never pass.
        """
        row = self.row(name)
        deviation = None
        verdict = Verdict.INCONCLUSIVE
        if expected is not None and tolerance is None:
            tolerance = row.allowed(expected if scale is None else scale, period)
        if expected is not None and measured is not None and tolerance is not None:
            deviation = measured - expected
            verdict = decide(deviation, tolerance, uncertainty)
        if lower_bound:
            note = f"{note}; {lower_bound}" if note else lower_bound
            if verdict is Verdict.PASS or (deviation is not None and deviation < 0):
                verdict = Verdict.INCONCLUSIVE
        self.checks.append(
            Check(
                name=name,
                channel=self._channel,
                unit=row.unit,
                expected=expected,
                measured=measured,
                deviation=deviation,
                tolerance=tolerance,
                uncertainty=uncertainty,
                verdict=verdict,
                certainty=row.certainty.value,
                source=row.source,
                worst_at_s=None if worst_us is None else self.at_s(worst_us),
                worst=worst,
                note=note,
            )
        )
        return verdict

    def count(
        self, name: str, expected: int, counted: int, worst_us: float | None, note: str = ""
    ) -> Verdict:
        """Add a check of something that is counted."""
        return self.add(name, float(expected), float(counted), 0.0, worst_us=worst_us, note=note)

    def leave_open(self, sure: frozenset[str], why: str) -> None:
        """Turn what failed into what is not known, but for figures that are sure all the same."""
        self.checks = [
            replace(check, verdict=Verdict.INCONCLUSIVE, note=f"{check.note}; {why}".lstrip("; "))
            if check.verdict is Verdict.FAIL and check.name not in sure
            else check
            for check in self.checks
        ]


class Singles:
    """Keep which single pulses are certainly outside of a tolerance, and which is the worst."""

    def __init__(self, found: Found) -> None:
        count = found.pulses.count
        self._onset_us = found.pulses.onset_us
        self._badness = np.zeros(count)
        self._what = np.full(count, -1)
        self._names: list[str] = []

    def take(
        self,
        chosen: Integers,
        deviations: Floats,
        allowed: Floats | float,
        sure: Floats | float,
        what: str,
    ) -> tuple[float, int]:
        """Note deviations of pulses; return onset and place of the one farthest off.

        Args:
            chosen: indexes of the pulses.
            deviations: of each.
            allowed: tolerance of each.
            sure: uncertainty of a single one.
            what: the figure, in words.
        """
        magnitudes = np.abs(deviations)
        excess = magnitudes / np.maximum(np.asarray(allowed) + sure, 1e-12)
        worse = excess > self._badness[chosen]
        self._badness[chosen[worse]] = excess[worse]
        self._what[chosen[worse]] = len(self._names)
        self._names.append(what)
        index = int(np.argmax(magnitudes))
        return float(self._onset_us[chosen[index]]), index

    @property
    def outside_count(self) -> int:
        """Return how many pulses are certainly outside."""
        return int(np.count_nonzero(self._badness > 1.0))

    def worst(self) -> tuple[int, str] | None:
        """Return index and figure of the worst pulse; None where none deviates."""
        if not len(self._badness) or not self._badness.any():
            return None
        index = int(np.argmax(self._badness))
        return index, self._names[self._what[index]]
