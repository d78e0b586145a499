"""A device with one fault is found by the requirement that names it; a sound one passes wholly."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.rig.conformance.requirement import Finding, Verdict
from estim.rig.conformance.suite import Report, every_requirement
from tests.rig.conformance.broken import FAULTS
from tests.rig.conformance.stepped import judge


def found(report: Report, requirement_id: str) -> Finding:
    (finding,) = [each for each in report.findings if each.requirement.id == requirement_id]
    return finding


@pytest.mark.parametrize("channels", ["1", "2", "4"])
def test_a_sound_device_passes_wholly(channels: str, tmp_path: Path) -> None:
    report = judge((), tmp_path, channels=channels)
    assert len(report.findings) == len(every_requirement())
    bad = [f for f in report.findings if f.verdict in (Verdict.FAIL, Verdict.NOT_TESTABLE)]
    assert bad == []
    not_applicable = {f.requirement.id for f in report.findings if f.verdict is not Verdict.PASS}
    of_two_channels = {"TARGET-09", "LEAD-02", "LEAD-06", "OUTPUT-06"}
    assert not_applicable == (of_two_channels if channels == "1" else set())
    assert report.conforms


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_device_is_found_by_the_requirement_that_names_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = FAULTS[name]
    assert found(judge((broken.found_by,), tmp_path), broken.found_by).verdict is Verdict.PASS
    broken.break_it(monkeypatch.setattr)
    finding = found(judge((broken.found_by,), tmp_path), broken.found_by)
    assert finding.verdict is Verdict.FAIL, finding
    assert broken.says in f"{finding.expected}; {finding.seen}", finding
