"""A device with one fault is found by the requirement that names it; a sound one passes wholly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from estim.rig.conformance.report import finding_lines, summary_lines
from estim.rig.conformance.requirement import Finding, Verdict
from estim.rig.conformance.suite import Report, every_requirement
from estim.simulator import device
from estim.simulator.gate import Gate
from firmware_protocol.messages import CapabilityFlag
from tests.rig.conformance.broken import FAULTS
from tests.rig.conformance.stepped import judge, judge_by_hand

OF_TWO_CHANNELS = {
    "LOAD-18", "TARGET-09", "TARGET-10", "LEAD-02", "LEAD-06", "LEAD-08", "OUTPUT-06",
}  # fmt: skip
SMALL: dict[str, Any] = {
    "channel_count": 1,
    "amplitude_max_ua": 50_000,
    "amplitude_step_ua": 250,
    "compliance_mv": 60_000,
    "flags": CapabilityFlag.REPORTS_CURRENT | CapabilityFlag.HOLDS_KEYFRAMES,
    "has_patient_stop": False,
    "phases_max": 6,
    "keyframes_max": 8,
    "phase_min_us": 50,
    "phase_max_us": 400,
    "pulse_period_min_us": 2_000,
    "baud": 57_600,
    "battery_percent": 255,
}
"""As a small microcontroller might say of itself."""


def found(report: Report, requirement_id: str) -> Finding:
    (finding,) = [each for each in report.findings if each.requirement.id == requirement_id]
    return finding


def ids(report: Report, *verdicts: Verdict) -> set[str]:
    return {each.requirement.id for each in report.findings if each.verdict in verdicts}


@pytest.mark.parametrize("channel_count", [1, 2, 4])
def test_a_sound_device_passes_wholly(channel_count: int, tmp_path: Path) -> None:
    report = judge((), tmp_path, channel_count=channel_count)
    assert [each.requirement for each in report.findings] == every_requirement()
    assert ids(report, Verdict.FAIL, Verdict.NOT_TESTABLE) == set()
    expected = OF_TWO_CHANNELS if channel_count == 1 else set()
    assert ids(report, Verdict.NOT_APPLICABLE) == expected
    assert report.conforms


def test_a_small_device_is_judged_within_its_capabilities(tmp_path: Path) -> None:
    report = judge((), tmp_path, **SMALL)
    assert ids(report, Verdict.FAIL, Verdict.NOT_TESTABLE) == set()
    assert ids(report, Verdict.NOT_APPLICABLE) == OF_TWO_CHANNELS | {
        "MEASURE-01",  # it reports no load
        "LOAD-13", "LOAD-15", "LOAD-16", "TARGET-13",  # no phase of 500 us
        "TARGET-03",  # 50 mA for 400 us are the 20 uC and 28 uC/ms below its charge
        "TARGET-12",  # of 800 us in all, 53 mA are
        "OUTPUT-07", "OUTPUT-10",  # nothing but single pulses and keyframes
        "OUTPUT-09", "OUTPUT-11", "OUTPUT-12",  # no cycles
        "TARGET-06", "TARGET-15", "TARGET-16",  # no bursts
        "TARGET-08", "RISE-06", "RISE-07", "RISE-09",  # no cycles
        "RISE-12",  # 2 mA are 8 steps of 250 uA
        "PSTOP-02", "PSTOP-03", "PSTOP-04", "PSTOP-05", "FAULT-12",  # it has no patient's stop
    }  # fmt: skip
    assert report.conforms


def test_a_minute_on_a_bad_line_finds_nothing_in_a_sound_device(tmp_path: Path) -> None:
    report = judge(("SOAK",), tmp_path, soak_s=60)
    assert found(report, "SOAK-01").verdict is Verdict.PASS
    assert found(report, "SOAK-01").lasted_us >= 60_000_000


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


def test_a_device_that_no_stop_brings_to_zero_is_asked_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS["keeps_the_setpoint_over_a_pause"].break_it(monkeypatch.setattr)
    report = judge((), tmp_path)
    assert report.end == "no Stop brings the device to a Status at zero"
    assert not report.is_at_zero
    assert not report.conforms
    assert len(report.findings) == len(every_requirement())
    behind = [each for each in report.findings if each.requirement.group == "LEASE"]
    assert {each.verdict for each in behind} == {Verdict.NOT_TESTABLE}
    assert all(report.end in each.why for each in behind)


def test_a_failure_on_the_way_names_the_one_it_may_follow_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits that outlive their epoch keep the device from arming ever after."""

    def keep(self: Gate) -> None:
        self.unload()
        if not hasattr(self, "session"):
            self._put_in_force(self._compiled)

    monkeypatch.setattr(Gate, "reset", keep)
    report = judge((), tmp_path)
    assert found(report, "ID-05").follows == ""
    failed = [each for each in report.findings if each.verdict is Verdict.FAIL]
    behind = [each for each in failed if "LIMITS_DIGEST" in each.seen]
    assert len(behind) > 20
    assert {each.follows for each in behind} == {"ID-05"}
    assert f"Of them:  {len(behind)} failed on the way" in "\n".join(summary_lines(report))
    lines = list(finding_lines(behind[0]))
    assert lines[-1].strip() == "may follow from ID-05, which failed before"


def test_a_device_that_tells_nothing_for_long_may_have_stood_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "status_running_us", lambda status, baud: 200_000)
    finding = found(judge(("STATUS-02",), tmp_path), "STATUS-02")
    said = "the device told no Status for 200 ms of its own tick meanwhile: it may have stood still"
    assert finding.why == said
    assert list(finding_lines(finding))[-1].strip() == said


def test_a_computer_that_stands_still_is_never_held_against_the_device(tmp_path: Path) -> None:
    """Every 250th read comes 400 ms late, longer than a lease; each check is tried again."""
    report = judge((), tmp_path, still_every=250)
    assert ids(report, Verdict.FAIL) == set()
    assert len(ids(report, Verdict.NOT_TESTABLE)) < 10
    report = judge(("RISE-01",), tmp_path, still_every=20)
    assert found(report, "RISE-01").why == "this computer stood still for 400 ms, again and again"


def test_a_person_is_told_what_to_do_and_is_waited_for(tmp_path: Path) -> None:
    report, said = judge_by_hand(("LEAD", "PSTOP", "MEASURE-04", "FAULT-09"), tmp_path)
    assert ids(report, Verdict.FAIL, Verdict.NOT_APPLICABLE) == set()
    assert ids(report, Verdict.NOT_TESTABLE) == {"FAULT-09"}  # no hand makes a stage deliver more
    assert "gain can be played" in found(report, "FAULT-09").why
    assert said.count("Take a lead of channel 1 off its dummy load.") == 6
    assert said.count("Put the lead of channel 1 back, within 10 seconds.") == 6
    pressed = [text for text in said if text.startswith("Press the patient's stop")]
    assert len(pressed) == len([text for text in said if text.startswith("Release")]) == 5


def test_a_device_of_another_schema_has_no_session(tmp_path: Path) -> None:
    report = judge((), tmp_path, schema_hash=1)
    assert found(report, "ID-01").seen == "Identity(SCHEMA_MISMATCH)"
    assert report.end == "no session with this device"
    assert ids(report, Verdict.FAIL) == {"ID-01"}
    assert report.is_at_zero
