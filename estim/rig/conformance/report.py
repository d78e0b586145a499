"""A run of the kit as text, as JSON and as JUnit test cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from estim.rig.conformance.requirement import Finding, Requirement, Verdict
from estim.rig.conformance.suite import Report
from estim.rig.reports.junit import Case

PROTOCOL = "PROTOCOL.md"
CLASSNAME = "estim.conformance"
DISCLAIMER = "Conformance to the Estim protocol alone; no statement of safety or of a standard."
_WORDS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "FAIL",
    Verdict.NOT_TESTABLE: "not testable here",
    Verdict.NOT_APPLICABLE: "not applicable",
}


def requirement_document(requirement: Requirement) -> dict[str, Any]:
    """Return a requirement as programs read it."""
    return {
        "id": requirement.id,
        "rule": f"{PROTOCOL} {requirement.chapter}",
        "requirement": requirement.text,
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """Return a finding as programs read it."""
    document = requirement_document(finding.requirement) | {
        "verdict": finding.verdict.value,
        "lasted_ms": finding.lasted_us // 1000,
    }
    for name in ("expected", "seen", "why", "follows"):
        text = getattr(finding, name)
        if text:
            document[name] = text
    return document


def report_document(report: Report) -> dict[str, Any]:
    """Return the end of a report as programs read it; its findings came one by one."""
    return {
        "device_url": report.url,
        "bench_ohm": report.bench_ohm,
        "device": report.device,
        "conforms": report.conforms,
        "counts": {verdict.value: report.count(verdict) for verdict in Verdict},
        "failed": [
            finding.requirement.id for finding in report.findings if finding.verdict is Verdict.FAIL
        ],
        "is_at_zero": report.is_at_zero,
        "end": report.end,
        "disclaimer": DISCLAIMER,
    }


def finding_lines(finding: Finding) -> Iterator[str]:
    """Yield a finding for people."""
    requirement = finding.requirement
    rule = f"[{PROTOCOL} {requirement.chapter}]"
    yield f"{_WORDS[finding.verdict]:<17}  {requirement.id}  {requirement.text} {rule}"
    if finding.verdict is Verdict.FAIL:
        yield f"{'':<19}expected {finding.expected}"
        yield f"{'':<19}seen     {finding.seen}"
        if finding.follows:
            yield f"{'':<19}may follow from {finding.follows}, which failed before"
    if finding.why:
        yield f"{'':<19}{finding.why}"


def summary_lines(report: Report) -> Iterator[str]:
    """Yield the end of a report for people."""
    device = report.device
    if device:
        yield (
            f"Device:   {device['model']}, serial number {device['serial_number']}, firmware "
            f"{device['firmware_version']}, schema {device['schema_hash']}"
        )
    counts = ", ".join(
        f"{report.count(verdict)} {verdict.value}" for verdict in Verdict if report.count(verdict)
    )
    yield f"Verdicts: {len(report.findings)} requirements: {counts}"
    follow_count = sum(bool(finding.follows) for finding in report.findings)
    if follow_count:
        yield f"Of them:  {follow_count} failed on the way to what they judge, after another one"
    if report.end:
        yield f"End:      {report.end}"
    yield f"Output:   {'zero, confirmed by a Status' if report.is_at_zero else _UNCONFIRMED}"
    yield f"Verdict:  {'conforms, as far as tested' if report.conforms else 'does not conform'}"
    yield DISCLAIMER


_UNCONFIRMED = "NOT CONFIRMED: the lease of a sound device ends it within 350 ms"


def cases(report: Report) -> list[Case]:
    """Return a test case for each requirement; what was not tested is skipped."""
    return [_case(finding) for finding in report.findings]


def _failure(finding: Finding) -> str:
    text = f"expected {finding.expected}; seen {finding.seen}"
    if finding.follows:
        text += f"; may follow from {finding.follows}"
    return f"{text}; {finding.why}" if finding.why else text


def _case(finding: Finding) -> Case:
    requirement = finding.requirement
    is_failure = finding.verdict is Verdict.FAIL
    is_skipped = finding.verdict in (Verdict.NOT_TESTABLE, Verdict.NOT_APPLICABLE)
    return Case(
        CLASSNAME,
        f"{requirement.id} {requirement.text}",
        time_s=f"{finding.lasted_us / 1_000_000:.3f}",
        properties=(("requirement", requirement.id), ("rule", f"{PROTOCOL} {requirement.chapter}")),
        failure=_failure(finding) if is_failure else "",
        kind=requirement.id if is_failure else "",
        skipped=f"{finding.verdict.value}: {finding.why}" if is_skipped else "",
    )
