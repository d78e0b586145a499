"""The conformance kit holds the reference firmware against PROTOCOL.md: both ports, wholly."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from estim.rig.conformance.requirement import GROUPS, Verdict
from estim.rig.conformance.suite import Report, every_requirement
from tests.firmware.avr_line import judge
from tests.firmware.avr_machine import Avr, Machine
from tests.firmware.test_process import device
from tests.rig.conformance.ptys import BENCH, conformance, judge_device

PARTS = (
    ("ID", "EPOCH", "LINE", "SEQ", "STATE", "START", "STOP", "ALLOW", "FRESH", "LEASE"),
    ("LOAD", "LIMIT", "TARGET", "RISE", "CONTACT", "MEASURE", "LEAD"),
    ("FAULT", "PSTOP", "EVENT", "STATUS", "FLOOD", "SOAK", "OUTPUT", "ALWAYS"),
)
"""Of about 20 s of the device's time each, so that a second processor helps."""

AVR_CANNOT = {
    # The device lacks it.
    "LOAD-18", "TARGET-09", "TARGET-10", "LEAD-02", "LEAD-06", "LEAD-08",  # a second channel
    "OUTPUT-06",
    "RISE-12", "OUTPUT-10",  # unequal phases
    "TARGET-11", "TARGET-12", "TARGET-13",  # shares other than 1000 permille
    # The emulator lacks it.
    "EPOCH-01",  # a reset without a fault
    "FAULT-09",  # a stage that delivers too much within a pulse
    "FAULT-10", "FAULT-12", "FAULT-13",  # a supply
}  # fmt: skip


def ids(report: Report, *verdicts: Verdict) -> set[str]:
    return {each.requirement.id for each in report.findings if each.verdict in verdicts}


@pytest.mark.long
def test_the_posix_build_conforms_wholly(built: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    with device(built, "--trace", str(trace)) as (process, path):
        report = judge_device((), process, path, trace)
    assert [each.requirement for each in report.findings] == every_requirement()
    assert ids(report, Verdict.FAIL, Verdict.NOT_APPLICABLE, Verdict.NOT_TESTABLE) == set()
    assert report.conforms


@pytest.mark.emulated
@pytest.mark.parametrize("groups", PARTS, ids=lambda groups: f"{groups[0]}-to-{groups[-1]}")
def test_the_avr_image_conforms_but_for_what_it_cannot(
    avr: Avr, groups: tuple[str, ...], tmp_path: Path
) -> None:
    """In lock-step, its pins as the capture: what it cannot is listed wholly."""
    machine = Machine(avr.runner, avr.image, tmp_path / "trace.csv")
    try:
        report = judge(machine, groups, soak_s=3)
    finally:
        assert machine.close() == 0
    tried = {each.requirement.id for each in report.findings}
    assert {each.group for each in every_requirement() if each.id in tried} == {"ID", *groups}
    found = {
        each.requirement.id: (each.expected, each.seen)
        for each in report.findings
        if each.verdict is Verdict.FAIL
    }
    assert found == {}
    assert ids(report, Verdict.NOT_TESTABLE, Verdict.NOT_APPLICABLE) == AVR_CANNOT & tried
    assert report.is_at_zero
    assert not report.end


def test_every_group_is_in_one_part() -> None:
    assert sorted(group for part in PARTS for group in part) == sorted(GROUPS)


@pytest.mark.emulated
def test_the_command_judges_the_avr_image_on_a_pseudo_terminal(avr: Avr, tmp_path: Path) -> None:
    tty = tmp_path / "tty"
    with subprocess.Popen(
        [avr.runner, "--pty", "--link", tty, "--load", "500", avr.image],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as runner:  # fmt: skip
        assert runner.stdout is not None
        assert runner.stdout.readline().startswith(b"/dev/")
        process = conformance(
            *BENCH, "--device", f"native:{tty}?baud=500000", "--json",
            *("--only=STATE-01", "--only=STOP-02", "--only=OUTPUT-01", "--only=LEAD-02"),
        )  # fmt: skip
        out, err = process.communicate(timeout=60)
        runner.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")
    _, *checks, result = [json.loads(line) for line in out.splitlines()]
    assert {check["id"]: check["verdict"] for check in checks} == {
        "ID-01": "pass",
        "STATE-01": "pass",
        "STOP-02": "pass",
        "OUTPUT-01": "not testable here",
        "LEAD-02": "not applicable",
    }
    assert result["device"]["model"] == "estim-avr"
    assert result["is_at_zero"]
