"""Measure a capture against what was commanded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from estim.clock import SystemClock
from estim.rig.captures.capture import Progress, ReadOptions, open_capture
from estim.rig.measuring import tolerances
from estim.rig.measuring.checking import Checker
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.finding import find
from estim.rig.measuring.instrument import Instrument
from estim.rig.measuring.pulses import Layout
from estim.rig.measuring.result import (
    DECISION_RULE,
    SCHEMA,
    Check,
    Result,
    Verdict,
    WorstPulse,
    decide,
    overall,
)
from estim.rig.measuring.worst import worst_pulse

__all__ = [
    "DECISION_RULE",
    "SCHEMA",
    "Check",
    "Result",
    "Settings",
    "Verdict",
    "WorstPulse",
    "decide",
    "measure",
    "overall",
]

_HASH_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure.

    Attributes:
        read: what a person says of the capture.
        tolerances: name of the table: project or standard.
        instrument: what took the capture; None where nobody said.
        requires_instrument: whether a capture without an instrument in calibration may not pass.
        today: for the calibration's end; None for the day on the clock.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    tolerances: str = "project"
    instrument: Instrument | None = None
    requires_instrument: bool = False
    today: date | None = None


def measure(
    path: str | Path, expected: Expected, settings: Settings, progress: Progress | None = None
) -> Result:
    """Read a capture and hold it against what was commanded.

    Raises:
        UsageError: the capture cannot be read.
    """
    capture = open_capture(path, settings.read, progress)
    found = find(capture, Layout.of(expected))
    info = capture.info
    if settings.read.trigger_s is not None:
        info = replace(info, triggers_s=(settings.read.trigger_s,))
    checker = Checker(
        expected,
        found,
        info,
        tolerances.TABLES[settings.tolerances],
        settings.instrument,
        settings.read.load_ohm,
    )
    checker.run()
    checks, unknowns = tuple(checker.judge.checks), checker.judge.unknowns
    today = settings.today or SystemClock().wall().date()
    instrument = settings.instrument
    verdict = overall(checks)
    if instrument is None:
        unknowns.append(
            "no instrument was named: the uncertainty holds noise and sampling only, not the "
            "instrument's own"
        )
    elif instrument.is_overdue(today):
        unknowns.append(
            f"the calibration of {instrument.model} {instrument.serial} ended on "
            f"{instrument.calibration_due.isoformat()}: nothing measured with it can pass"
        )
    is_overdue = instrument is not None and instrument.is_overdue(today)
    lacks_one = instrument is None and settings.requires_instrument
    if verdict is Verdict.PASS and (is_overdue or lacks_one):
        verdict = Verdict.INCONCLUSIVE
    return Result(
        verdict=verdict,
        checks=checks,
        unknowns=tuple(unknowns),
        worst_pulse=worst_pulse(capture, expected, found, checker.alignment, checker.singles),
        capture=info,
        instrument=instrument,
        sha256=_sha256(path),
        profile_id=expected.profile_id,
        program_digest=expected.program_digest,
        channel=expected.channel_number,
        amplitude_ua=expected.amplitude_ua,
        load_ohm=settings.read.load_ohm,
        tolerances=settings.tolerances,
        notes=tuple(checker.judge.notes),
        looks_like=checker.looks_like,
        pulse_count=found.pulses.count,
    )


def _sha256(path: str | Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_HASH_BYTES):
            digest.update(block)
    return digest.hexdigest()
