"""The kit in real time, on pseudo-terminals and TCP: whole, broken, interrupted."""

from __future__ import annotations

import json
import signal
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from estim.rig.conformance.requirement import Verdict
from estim.rig.conformance.suite import every_requirement
from tests.rig.conformance.broken import FAULTS
from tests.rig.conformance.ptys import BENCH, conformance, device, judge_process

pytestmark = pytest.mark.long

ON_A_PTY = (
    "ignores_the_lease",
    "lease_of_400_ms",
    "accepts_a_stale_drive",
    "energises_at_a_target",
    "accepts_a_wrong_crc",
    "no_slew",
    "amplitude_limit_off_by_one",
    "ignores_stop_in_armed",
    "resumes_after_a_fault",
    "loses_events",
    "commits_any_digest",
    "arms_with_any_digest",
    "ignores_the_sequence_window",
    "ignores_the_epoch",
    "forgets_a_lead_off",
    "patient_stop_not_latched",
    "ticks_five_percent_fast",
    "fakes_the_measured_current",
    "leaves_charge_behind",
    "refused_drive_renews_the_lease",
)


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_the_simulator_conforms_wholly_in_about_a_minute(tmp_path: Path) -> None:
    began_s = time.monotonic()
    process = conformance(*BENCH, "--json", "--junit", str(tmp_path / "result.xml"))
    out, err = process.communicate(timeout=120)
    assert time.monotonic() - began_s < 80
    assert (process.returncode, err) == (0, "")
    begin, *checks, result = events(out)
    ids = [requirement.id for requirement in every_requirement()]
    assert begin["total"] == len(ids)
    assert [check["id"] for check in checks] == ids
    assert [check["id"] for check in checks if check["verdict"] != "pass"] == []
    assert result["conforms"]
    assert result["is_at_zero"]
    assert result["device"]["serial_number"] == "SIM-0001"
    suite = ElementTree.parse(tmp_path / "result.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == (str(len(ids)), "0")


@pytest.mark.parametrize("name", ON_A_PTY)
def test_a_broken_device_on_a_pty_is_found(name: str, tmp_path: Path) -> None:
    broken = FAULTS[name]
    report = judge_process((broken.found_by,), tmp_path, "tests.rig.conformance.broken", name)
    finding = report.findings[-1]
    assert finding.requirement.id == broken.found_by
    assert finding.verdict is Verdict.FAIL, finding
    assert broken.says in f"{finding.expected}; {finding.seen}", finding


def test_a_device_behind_tcp_is_judged_and_what_needs_a_hand_is_said() -> None:
    with device("estim.simulator", "--tcp", "0") as (_, address):
        process = conformance(
            *BENCH, "--device", f"native:{address}", "--json",
            *("--only=EPOCH", "--only=STOP", "--only=PSTOP", "--only=LEAD-01", "--only=OUTPUT"),
        )  # fmt: skip
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    _, *checks, result = events(out)
    verdicts = {check["id"]: (check["verdict"], check.get("why", "")) for check in checks}
    assert verdicts["STOP-03"] == ("pass", "")
    assert verdicts["EPOCH-02"] == ("pass", "")
    assert verdicts["EPOCH-01"][0] == "not testable here"
    assert verdicts["PSTOP-02"] == (
        "not testable here", "needs a hand on the patient's stop: add --hands"
    )  # fmt: skip
    assert verdicts["LEAD-01"][1] == "needs a hand on a lead: add --hands"
    assert "add --capture or --scope" in verdicts["OUTPUT-01"][1]
    assert result["is_at_zero"]


def test_ctrl_c_ends_with_zero_output_confirmed(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    process = conformance(*BENCH, "--only", "RISE-01", "--json", "--capture", str(trace))
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("id") == "ID-01":
            break
    time.sleep(1.2)
    asked_us = time.monotonic_ns() // 1000
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "estim: interrupted by SIGINT: the output is off\n"
    *_, check, result = events(out)
    assert (check["id"], check["verdict"]) == ("RISE-01", "not testable here")
    assert (result["is_at_zero"], result["conforms"]) == (True, False)
    onsets_us = [int(row.split(",")[0]) for row in trace.read_text().splitlines()[1:]]
    assert len(onsets_us) > 50  # it was delivering
    assert onsets_us[-1] - asked_us < 250_000
    assert time.monotonic_ns() // 1000 - onsets_us[-1] > 0


@pytest.mark.parametrize(
    ("is_closed", "said"),
    [(True, "whoever started this has gone"), (False, "whoever started this stood still")],
)
def test_a_held_run_ends_with_whoever_holds_it(is_closed: bool, said: str) -> None:
    with conformance(*BENCH, "--only", "RISE-01", "--json", "--held") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(12):
            process.stdin.write(".")
            process.stdin.flush()
            time.sleep(0.1)
        if is_closed:
            process.stdin.close()
        process.wait(20)
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert err == f"estim: {said}: the output is off\n"
    *_, result = events(out)
    assert (result["end"], result["is_at_zero"]) == (said, True)


def test_a_device_that_goes_away_ends_the_run_with_code_5(tmp_path: Path) -> None:
    with device("estim.simulator", "--tcp", "0") as (simulator, address):
        process = conformance(*BENCH, "--device", f"native:{address}", "--only=STATUS", "--json")
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("id") == "STATUS-01":
                break
        simulator.kill()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 5
    assert "no Status confirms zero" in err
    checks = [event for event in events(out) if event["event"] == "check"]
    assert checks[-1]["verdict"] == "not testable here"
    assert "the port is gone" in checks[-1]["why"]
