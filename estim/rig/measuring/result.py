"""What a measurement says: checks, their verdicts, and the result that holds them.

Decision rule: a figure passes where |deviation| + U is within the tolerance, fails where
|deviation| - U is beyond it, and is inconclusive otherwise; U is the expanded uncertainty (k = 2).
A result fails where any check fails, passes where all pass, and is inconclusive otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from estim.rig.captures.capture import CaptureInfo
from estim.rig.measuring.instrument import Instrument

SCHEMA = "estim.measurement/1"
DECISION_RULE = (
    "pass: |deviation| + U <= tolerance; fail: |deviation| - U > tolerance; else inconclusive. "
    "U is the expanded uncertainty (k = 2) of instrument, noise, resolution and sampling; edges "
    "are taken to fall anywhere between two samples, independently from pulse to pulse. The "
    "result fails if any check fails, passes if all pass, and is inconclusive otherwise."
)


class Verdict(StrEnum):
    """What a check or a whole result comes to."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Check:
    """One figure held against what was commanded.

    Attributes:
        name: of the figure, for example `amplitude.phase1`.
        channel: number from 1.
        unit: of all figures here.
        expected: what was commanded; None where nobody said.
        measured: typical of all pulses; None where it could not be known.
        deviation: measured less expected.
        tolerance: how far off is allowed.
        uncertainty: expanded, k = 2.
        verdict: by the decision rule.
        certainty: of the tolerance: S, K, K? or E.
        source: of the tolerance.
        worst_at_s: time of the worst pulse; None where no pulse stands out.
        worst: its figure.
        note: why, in words, where the figures alone do not say it.
    """

    name: str
    channel: int
    unit: str
    expected: float | None
    measured: float | None
    deviation: float | None
    tolerance: float | None
    uncertainty: float | None
    verdict: Verdict
    certainty: str
    source: str
    worst_at_s: float | None = None
    worst: float | None = None
    note: str = ""

    def document(self) -> dict[str, Any]:
        """Return the check as JSON holds it."""
        return {
            "name": self.name,
            "channel": self.channel,
            "unit": self.unit,
            "expected": _rounded(self.expected),
            "measured": _rounded(self.measured),
            "deviation": _rounded(self.deviation),
            "tolerance": _rounded(self.tolerance),
            "uncertainty": _rounded(self.uncertainty),
            "verdict": self.verdict.value,
            "certainty": self.certainty,
            "source": self.source,
            "worst_at_s": _rounded(self.worst_at_s, 9),
            "worst": _rounded(self.worst),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class WorstPulse:
    """The pulse that is farthest from what was commanded.

    Attributes:
        at_s: its onset, in the file's time.
        reason: in what it is the worst.
        times_us: of what was captured, since its onset.
        current_ua: what was captured.
        expected_times_us: corners of what was commanded, since its onset.
        expected_ua: the current from each corner to the next.
    """

    at_s: float
    reason: str
    times_us: tuple[float, ...]
    current_ua: tuple[float, ...]
    expected_times_us: tuple[float, ...]
    expected_ua: tuple[float, ...]

    def document(self) -> dict[str, Any]:
        """Return where and why, without the samples."""
        return {"at_s": _rounded(self.at_s, 9), "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Result:
    """What a capture came to.

    Attributes:
        verdict: by the decision rule.
        checks: every figure.
        unknowns: what could not be known, in words.
        worst_pulse: None without pulses.
        capture: how it was read.
        instrument: None where none was named.
        sha256: of the capture file.
        profile_id: what was commanded.
        program_digest: of the programme.
        channel: number from 1.
        amplitude_ua: what was commanded; None where nobody said.
        load_ohm: as declared.
        tolerances: name of the table.
        notes: what was found, in words: offset, noise, alignment.
        looks_like: what the capture seems to be instead; '' where it is what was commanded.
        pulse_count: pulses that were measured.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    unknowns: tuple[str, ...]
    worst_pulse: WorstPulse | None
    capture: CaptureInfo
    instrument: Instrument | None
    sha256: str
    profile_id: str = ""
    program_digest: int = 0
    channel: int = 1
    amplitude_ua: int | None = None
    load_ohm: int | None = None
    tolerances: str = "project"
    notes: tuple[str, ...] = field(default=())
    looks_like: str = ""
    pulse_count: int = 0

    def check(self, name: str) -> Check:
        """Return a check by its name; raise KeyError where there is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def document(self) -> dict[str, Any]:
        """Return the result as JSON holds it, its schema included."""
        info = self.capture
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            "looks_like": self.looks_like,
            "profile": self.profile_id,
            "program_digest": f"{self.program_digest:08x}",
            "channel": self.channel,
            "amplitude_ua": self.amplitude_ua,
            "load_ohm": self.load_ohm,
            "tolerances": self.tolerances,
            "decision_rule": DECISION_RULE,
            "capture": {
                "path": info.path,
                "sha256": self.sha256,
                "format": info.format,
                "column": info.column,
                "quantity": info.quantity,
                "sample_rate_hz": _rounded(info.sample_rate_hz),
                "start_s": _rounded(info.start_s, 9),
                "duration_s": _rounded(info.duration_s, 9),
                "resolution_ua": _rounded(info.resolution_ua),
                "samples": info.sample_count,
                "stated_samples": info.stated_count,
                "pulses": self.pulse_count,
                "notes": list(info.notes),
            },
            "instrument": self.instrument.document() if self.instrument else None,
            "checks": [check.document() for check in self.checks],
            "notes": list(self.notes),
            "unknowns": list(self.unknowns),
            "worst_pulse": self.worst_pulse.document() if self.worst_pulse else None,
        }


def overall(checks: tuple[Check, ...]) -> Verdict:
    """Return what checks come to together."""
    verdicts = {check.verdict for check in checks}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    if not checks or Verdict.INCONCLUSIVE in verdicts:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def decide(deviation: float, tolerance: float, uncertainty: float) -> Verdict:
    """Return the verdict of the decision rule."""
    # Sums of decimal fractions must not fail by the last bit.
    slack = 1e-9 * max(abs(tolerance), abs(deviation))
    if abs(deviation) + uncertainty <= tolerance + slack:
        return Verdict.PASS
    if abs(deviation) - uncertainty > tolerance + slack:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def _rounded(figure: float | None, places: int = 6) -> float | None:
    """Return a figure with no more digits than it can have."""
    if figure is None:
        return None
    return round(float(figure), places)
