"""Hold the capture of a step against what was commanded, and against the other steps.

Rules:
1. A capture is judged as the step that it was taken for; where it fits another step better, that is
   said, and changes no verdict.
2. Volts across the wrong load are no measurement: where they say less than half or more than twice
   the commanded current, the load is contradicted and nothing is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from estim.prepare.session import Prepared
from estim.rig.captures.capture import ReadOptions
from estim.rig.jobs import course as kinds
from estim.rig.jobs.job import LoadedJob
from estim.rig.jobs.steps import Step
from estim.rig.measuring import instrument as instruments
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.measurement import Settings, measure
from estim.rig.reports.words import format_ohm

_VOLTS = "V"
_RANKS = {kinds.PASS: 0, kinds.INCONCLUSIVE: 1, kinds.FAIL: 2}
OTHER_LOAD_FACTOR = 2.0
COMPARED_MAX_BYTES = 64_000_000


class StepJudge:
    """Measure captures as a job asks for it."""

    def __init__(self, loaded: LoadedJob, today: date) -> None:
        job, reading = loaded.job, loaded.job.reading
        self._settings = Settings(
            read=ReadOptions(
                column=reading.column,
                unit=reading.unit,
                sample_rate_hz=_number(reading.sample_rate_hz),
                probe=_number(reading.probe),
            ),
            tolerances=job.tolerances,
            instrument=instruments.load(loaded.beside(job.instrument)),
            requires_instrument=True,
            today=today,
        )

    def judge(
        self,
        step: Step,
        path: Path,
        prepared: Mapping[str, Prepared],
        steps: Sequence[Step],
    ) -> tuple[dict[str, Any], list[str], str]:
        """Return the result of a step's capture as a document, and what people should know of it.

        The last text names the step that it fits better, '' for none.

        Raises:
            UsageError: the capture cannot be read.
        """
        result = self._measure(step, path, prepared)
        result["capture"]["path"] = path.name
        notes = [result["looks_like"]] if result["looks_like"] else []
        if result["verdict"] != kinds.FAIL:
            return result, notes, ""
        seen_ohm = _seen_ohm(step, result)
        if seen_ohm:
            notes.append(
                f"if the current is right, the load is {seen_ohm} ohm and not "
                f"{format_ohm(step.load_ohm)}"
            )
        if path.stat().st_size > COMPARED_MAX_BYTES:
            notes.append(f"{path.name} is too long to be held against the other steps too")
            return result, notes, ""
        better = self._better(step, path, prepared, steps, result)
        if better is None:
            return result, notes, ""
        notes.append(f"{path.name} fits step {better.number} better ({better.words})")
        return result, notes, better.tag

    def _better(
        self,
        step: Step,
        path: Path,
        prepared: Mapping[str, Prepared],
        steps: Sequence[Step],
        result: dict[str, Any],
    ) -> Step | None:
        """Return the step that a failed capture fits better, None for none."""
        found, fewest = None, _misfit(result)
        for other in steps:
            if other.load_ohm != step.load_ohm or other.number == step.number:
                continue
            misfit = _misfit(self._measure(other, path, prepared))
            if misfit < fewest:
                found, fewest = other, misfit
        return found

    def _measure(self, step: Step, path: Path, prepared: Mapping[str, Prepared]) -> dict[str, Any]:
        expected = Expected.of(
            prepared[step.loaded.profile.id], step.channel - 1, step.amplitude_ua
        )
        read = replace(self._settings.read, load_ohm=step.load_ohm, channel=step.channel)
        return measure(path, expected, replace(self._settings, read=read)).document()


def captured_contradiction(step: Step, result: dict[str, Any]) -> str:
    """Say how volts across the load contradict the declared one, '' where they do not."""
    seen_ohm = _seen_ohm(step, result)
    if not seen_ohm or 1 / OTHER_LOAD_FACTOR <= seen_ohm / step.load_ohm <= OTHER_LOAD_FACTOR:
        return ""
    return (
        f"load: said {format_ohm(step.load_ohm)}, see {seen_ohm} ohm "
        "(volts in the capture over the commanded current)"
    )


def _seen_ohm(step: Step, result: dict[str, Any]) -> int:
    """Return volts in the capture over the commanded current; 0 where volts were not captured."""
    if result["capture"]["quantity"] != _VOLTS:
        return 0
    for check in result["checks"]:
        measured, expected = check["measured"], check["expected"]
        if check["name"].startswith("amplitude") and measured and expected:
            return round(step.load_ohm * abs(float(measured) / float(expected)))
    return 0


def _misfit(result: dict[str, Any]) -> tuple[int, int]:
    """Return how badly a capture fits: its verdict, then how many checks fail."""
    failed = sum(check["verdict"] == kinds.FAIL for check in result["checks"])
    return (_RANKS[result["verdict"]], failed)


def _number(figure: Any) -> float | None:
    return None if figure is None else float(figure)
