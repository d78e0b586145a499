"""The report of a job: one document for programs, and the blocks that people read and sign.

Rules:
1. Everything comes from the journals: a job that was interrupted and resumed has the same report,
   but for the lines that say when, and how often.
2. What was not known, not done or refused is said as plainly as what was measured.
3. An as-left job stands beside the as-found one, step by step; where that one was of another
   device, it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from estim.errors import UsageError
from estim.rig.counts import counted
from estim.rig.jobs import course as kinds
from estim.rig.jobs.course import Course
from estim.rig.reports.blocks import Block, Grid, Heading, Listing, Paragraph, Signatures
from estim.rig.reports.words import figure_words, format_ohm, plain_figure, unit_words

SCHEMA = "estim.verification/1"
NOT_CERTIFIED = "Estim is not a certified medical device."
_CHECK_HEADER = (
    "check", "expected", "measured", "deviation", "tolerance", "uncertainty", "verdict"
)  # fmt: skip
_CHECK_SHARES = (24, 13, 13, 13, 12, 13, 12)
_WORST_MAX = 20
_NO_WORST = "none deviates"


def document(course: Course, as_found: Course | None) -> dict[str, Any]:
    """Return everything that is known of a job.

    Raises:
        UsageError: it has not begun, or the as-found job was of another device.
    """
    if course.started is None:
        raise UsageError("the job has not begun")
    _check_pair(course, as_found)
    started = dict(course.started)
    steps = [_step(content, as_found) for _, content in sorted(course.steps.items())]
    return {
        "schema": SCHEMA,
        "verdict": course.finished["verdict"] if course.finished else "not finished",
        "as_found_verdict": as_found.finished["verdict"]
        if as_found and as_found.finished
        else None,
        **{key: started[key] for key in ("job", "job_sha256", "software", "profiles")},
        "instruments": started["instruments"],
        "step_count": started["step_count"],
        "device": dict(course.device or {}),
        "register": course.finished["register"] if course.finished else "",
        "visual": [dict(check) for check in course.visual.values()],
        "leakage": [dict(entry) for entry in course.leakage.values()],
        "steps": steps,
        "contradicted": [dict(content) for content in course.contradicted],
        "began_at": _stamp(course.began_at),
        "ended_at": _stamp(course.ended_at),
        "stops": course.stops,
        "journal": {"lines": course.line_count, "sha256": course.head},
        "as_found_at": _stamp(as_found.ended_at) if as_found else None,
        "disclaimer": NOT_CERTIFIED,
    }


def report_blocks(report: dict[str, Any]) -> list[Block]:
    """Return the blocks of a report, in the order in which it is read."""
    return [
        *_front(report),
        *_summary(report),
        *_typed(report),
        *_worst(report),
        *_unknowns(report),
        *_details(report),
        *_course(report),
        Heading("Signatures"),
        Signatures(("Done by", "Reviewed by")),
        Paragraph(NOT_CERTIFIED, is_strong=True),
    ]


# The document.


def _check_pair(course: Course, as_found: Course | None) -> None:
    if as_found is None or as_found.device is None or course.device is None:
        return
    serials = [device["serial_number"] for device in (as_found.device, course.device)]
    if serials[0] != serials[1]:
        raise UsageError(
            f"the as-found job was of device {serials[0]}, this one is of {serials[1]}: "
            "expected another folder for another device"
        )


def _step(content: kinds.Content, as_found: Course | None) -> dict[str, Any]:
    before = None
    if as_found is not None:
        before = next((s for s in as_found.steps.values() if _key(s) == _key(content)), None)
    return {**content, "as_found": dict(before) if before is not None else None}


def _key(content: kinds.Content) -> tuple[Any, ...]:
    return tuple(content[name] for name in ("load_ohm", "profile", "channel", "amplitude_ua"))


def _stamp(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else None


# What is read.


def _front(report: dict[str, Any]) -> Iterator[Block]:
    job, device = report["job"], report["device"]
    yield Heading(f"{job['title']}: {job['phase']}", 1)
    yield Paragraph(f"Verdict: {report['verdict'].upper()}", is_strong=True)
    if report["as_found_verdict"]:
        yield Paragraph(
            f"As found ({report['as_found_at']}): {report['as_found_verdict'].upper()}. "
            f"As left: {report['verdict'].upper()}."
        )
    yield Paragraph(
        f"{NOT_CERTIFIED} The verdict says whether what was measured agrees with what was "
        "commanded, within the tolerances below; it is no statement of conformity with a standard."
    )
    rows = [
        ("stimulator", f"{device.get('model', '?')}, serial {device.get('serial_number', '?')}, "
         f"firmware {device.get('firmware_version', '?')}"),
        ("connected as", job["device"]),
        ("by", job["who"]),
        ("reason", job["why"]),
        *(_instrument_row(name, found, report["began_at"] or "")
          for name, found in report["instruments"].items()),
        *((f"profile {p['id']}", f"version {p['version']}, SHA-256 {p['sha256']}")
          for p in report["profiles"]),
        ("tolerances", f"set '{job['tolerances']}'; dwell {job['dwell_s']} s a step; load "
         f"contradicted beyond {job['load_tolerance_percent']} %"),
        *_condition_rows(job["conditions"]),
        ("software", f"Estim {report['software']}"),
        ("job file", f"SHA-256 {report['job_sha256']}"),
    ]  # fmt: skip
    if report["register"]:
        rows.append(("station register", report["register"]))
    yield Grid(("what", "which"), tuple(rows), (24, 76))


def _instrument_row(name: str, found: dict[str, Any], began_at: str) -> tuple[str, str]:
    # Dates in ISO form are in order as texts are.
    overdue = " (OVERDUE)" if found["calibration_due"] < began_at[:10] else ""
    offset = found.get("offset_uncertainty_ua")
    return (
        f"instrument ({found['kind']})",
        f"{found['model']}, serial {found['serial']}, calibration due {found['calibration_due']}"
        f"{overdue}; expanded uncertainty {found['amplitude_uncertainty_percent']:g} % of "
        f"amplitude, {found['time_uncertainty_ppm']:g} ppm of time"
        + (f", {offset:g} uA of offset" if offset is not None else "")
        + f" ({name})",
    )


def _condition_rows(conditions: dict[str, Any]) -> Iterator[tuple[str, str]]:
    said = [
        f"{conditions[key]:g} {unit}"
        for key, unit in (("temperature_c", "degrees C"), ("humidity_percent", "% humidity"))
        if conditions[key] is not None
    ]
    said += [conditions[key] for key in ("supply", "notes") if conditions[key]]
    yield ("conditions", "; ".join(said) or "not stated")


def _summary(report: dict[str, Any]) -> Iterator[Block]:
    yield Heading("Steps")
    is_paired = report["as_found_verdict"] is not None
    header = ["step", "load", "profile", "channel", "commanded", "measured", "verdict"]
    shares = [9, 13, 26, 13, 17, 17, 16]
    if is_paired:
        header += ["as found", "as found verdict"]
        shares += [16, 16]
    rows = []
    for step in report["steps"]:
        row = [
            str(step["number"]),
            format_ohm(step["load_ohm"]),
            step["profile"],
            str(step["channel"]),
            figure_words(step["amplitude_ua"], "uA"),
            _amplitude(step),
            step["verdict"],
        ]
        if is_paired:
            before = step["as_found"]
            row += [_amplitude(before), before["verdict"]] if before else ["not done", ""]
        rows.append(tuple(row))
    if rows:
        yield Grid(tuple(header), tuple(rows), tuple(shares))
    missing = report["step_count"] - len(rows)
    if missing:
        steps = counted(report["step_count"], "step")
        yield Paragraph(f"Not done: {missing} of {steps}.", is_strong=True)


def _amplitude(step: dict[str, Any]) -> str:
    """Return the measured amplitude of a step: that of the check which lies farthest off."""
    found = [c for c in _checks(step) if c["name"].startswith("amplitude")]
    measured = [c for c in found if c["measured"] is not None]
    if not measured:
        return "not measured"
    worst = max(measured, key=lambda check: abs(check["deviation"] or 0))
    return figure_words(abs(worst["measured"]), worst["unit"])


def _typed(report: dict[str, Any]) -> Iterator[Block]:
    if report["visual"]:
        yield Heading("Looked at")
        rows = tuple((check["question"], check["verdict"]) for check in report["visual"])
        yield Grid(("check", "verdict"), rows, (80, 20))
    if report["leakage"]:
        yield Heading("Leakage, typed in")
        yield Grid(
            ("check", "measured", "at most", "uncertainty", "source", "verdict"),
            tuple(
                (
                    entry["question"],
                    f"{entry['measured_ua']:g} uA",
                    f"{entry['at_most_ua']:g} uA",
                    f"{entry['uncertainty_ua']:g} uA",
                    f"{entry['source']} ({entry['certainty']})",
                    entry["verdict"] + (f" ({entry['note']})" if entry["note"] else ""),
                )
                for entry in report["leakage"]
            ),
            (28, 11, 11, 12, 24, 14),
        )


def _worst(report: dict[str, Any]) -> Iterator[Block]:
    """Say where each capture lies farthest off."""
    points = []
    for step in report["steps"]:
        worst = (step.get("result") or {}).get("worst_pulse")
        if worst and not worst["reason"].startswith(_NO_WORST):
            said = f"{worst['reason']} at {worst['at_s']:.6f} s of the capture"
            points.append(f"Step {step['number']}, {step['words']}: {said}")
    if points:
        yield Heading("Worst pulses")
        yield Listing(tuple(points[:_WORST_MAX]))
        if len(points) > _WORST_MAX:
            yield Paragraph(f"The first {_WORST_MAX} of {len(points)} captures; the JSON has all.")


def _unknowns(report: dict[str, Any]) -> Iterator[Block]:
    yield Heading("Not known, not done, noted")
    points = []
    for step in report["steps"]:
        result = step.get("result") or {}
        points += [f"Step {step['number']}: {note}" for note in step["notes"]]
        for said in (*result.get("unknowns", ()), *result.get("notes", ())):
            points.append(f"Step {step['number']}: {said}")
    points += [
        f"Step {refused['number']} was refused once: {refused['text']}"
        for refused in report["contradicted"]
    ]
    yield Listing(_merged(points)) if points else Paragraph("Nothing.")


def _merged(points: Iterable[str]) -> tuple[str, ...]:
    """Say once what holds for several steps."""
    by_text: dict[str, list[str]] = {}
    for point in points:
        step, _, text = point.partition(": ")
        by_text.setdefault(text, []).append(step)
    return tuple(
        f"{steps[0]}: {text}"
        if len(steps) == 1
        else f"Steps {', '.join(step.split()[1] for step in steps)}: {text}"
        for text, steps in by_text.items()
    )


def _details(report: dict[str, Any]) -> Iterator[Block]:
    yield Heading("Every check")
    rule = next((s["result"]["decision_rule"] for s in report["steps"] if s.get("result")), None)
    if rule:
        yield Paragraph(f"Decision rule: {rule}")
    for step in report["steps"]:
        checks = _checks(step)
        yield Heading(f"Step {step['number']}: {step['words']} ({step['verdict']})", 3)
        if not checks:
            yield Paragraph("Not measured.")
            continue
        yield Paragraph(_source_words(step))
        yield Grid(_CHECK_HEADER, tuple(map(_check_row, checks)), _CHECK_SHARES)
    sources = sorted(
        {f"{c['source']} ({c['certainty']})" for s in report["steps"] for c in _checks(s)}
    )
    if sources:
        yield Paragraph(
            "Sources of the tolerances (S read, K common knowledge, K? to be checked, E proposal "
            "of this project):"
        )
        yield Listing(tuple(sources))


def _source_words(step: dict[str, Any]) -> str:
    capture, device = step["capture"], step["device"]
    said = f"Capture {capture['name']}, SHA-256 {capture['sha256']}."
    if device:
        load = f"{device['load_ohm']} ohm" if device["load_ohm"] else "no load"
        peak = figure_words(device["measured_ua"], "uA") if device["measured_ua"] >= 0 else "none"
        said += f" The device reports {load} and a peak of {peak}; record {device['record']}."
    return said


def _check_row(check: dict[str, Any]) -> tuple[str, ...]:
    unit = check["unit"]
    name = check["name"].replace("_", " ").replace(".phase", ", phase ")
    numbers = [
        plain_figure(check[key], unit)
        for key in ("expected", "measured", "deviation", "tolerance", "uncertainty")
    ]
    numbers[3] += f" ({check['certainty']})"
    note = f" ({check['note']})" if check["note"] else ""
    return (f"{name}{f', {unit_words(unit)}' if unit else ''}{note}", *numbers, check["verdict"])


def _checks(step: dict[str, Any]) -> list[dict[str, Any]]:
    return list((step.get("result") or {}).get("checks", ()))


def _course(report: dict[str, Any]) -> Iterator[Block]:
    yield Heading("When")
    rows = [("began", report["began_at"] or "-"), ("ended", report["ended_at"] or "not ended")]
    rows.append(("interrupted and resumed", counted(report["stops"], "time")))
    journal = report["journal"]
    said = f"{counted(journal['lines'], 'line')}, SHA-256 of the last {journal['sha256']}"
    rows.append(("journal", said))
    yield Grid(("what", "when"), tuple(rows), (30, 70))
