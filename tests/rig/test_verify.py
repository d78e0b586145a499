"""Whole jobs: on the simulator with its trace, and by hand with captures that the test drops."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from estim.clock import SystemClock
from estim.errors import LimitRefused
from estim.prepare import places, station
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.record.ledger import open_ledger, read_ledger
from estim.rig.jobs.course import journal_path
from estim.rig.jobs.job import load_job
from estim.rig.jobs.walk import Walk
from tests.cli.commands import CHECKOUT, Shell
from tests.rig.job_text import write_job

TWO_BY_TWO = (("[500]", "[500, 2000]"), ("[3]", "[3, 5]"))
BY_HAND = (
    ('"sim:"', '"manual:"'),
    ('capture = "trace"\nclock = "virtual"', "capture_wait_s = 1"),
    (
        'instrument = "scope.toml"',
        'instrument = "scope.toml"\nstimulator = { model = "Old", serial_number = "OLD-7" }\n'
        "answers = { nobody_connected = true, load_is_set = true, delivered = true }",
    ),
)
VISUAL = (
    'instrument = "scope.toml"',
    'instrument = "scope.toml"\n[[visual]]\nname = "case"\nquestion = "Case whole"',
)


def report_of(job: Path, phase: str = "as-found") -> dict[str, Any]:
    report: dict[str, Any] = json.loads((job.parent / "state" / f"report-{phase}.json").read_text())
    return report


def text_of(job: Path, phase: str = "as-found") -> str:
    return (job.parent / "state" / f"report-{phase}.md").read_text()


def check_of(step: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in step["result"]["checks"] if c["name"] == name)
    return found


def state_of(serial_number: str) -> str:
    entries = station.history(places.configuration_folder(), serial_number)
    return entries[-1].state.value if entries else "unknown"


def pulses(amplitude_ua: int, *, load_ohm: int = 0) -> str:
    """Return 2 s at 80 Hz and 2 x 200 us: as a trace, or as volts across a load every 20 us."""
    onsets = range(0, 2_000_000, 12_500)
    if not load_ohm:
        rows = [
            f"{t + 1000},1,{amplitude_ua},200\n{t + 1200},1,{-amplitude_ua},200" for t in onsets
        ]
        return "\n".join(["t_us,channel,current_ua,duration_us", *rows]) + "\n"
    volts = amplitude_ua * load_ohm / 1e6
    pulse = [volts] * 10 + [-volts] * 10 + [0.0] * (625 - 20)
    samples = ([0.0] * 50 + pulse * 160)[:100_000]
    rows = [f"{index * 20e-6:.6f},{sample:g}" for index, sample in enumerate(samples)]
    return "\n".join(["Time (s),Channel 1 (V)", *rows]) + "\n"


def drop(job: Path, name: str, text: str) -> None:
    (job.parent / "captures").mkdir(exist_ok=True)
    (job.parent / "captures" / name).write_text(text)


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report without when it was done, how often it was begun, and names of records."""
    kept = {
        key: found
        for key, found in report.items()
        if key not in ("began_at", "ended_at", "stops", "journal")
    }
    for step in kept["steps"]:
        step["device"] = {**step["device"], "record": ""}
    return kept


# On the simulator.


def test_a_whole_job_runs_unattended_and_its_report_holds_everything(
    estim: Shell, tmp_path: Path
) -> None:
    job = write_job(tmp_path / "job", *TWO_BY_TWO)
    answer = estim("verify", job)
    assert answer.code == 0, answer
    report = report_of(job)
    assert report["verdict"] == "pass"
    assert [(s["load_ohm"], s["amplitude_ua"]) for s in report["steps"]] == [
        (500, 3000), (500, 5000), (2000, 3000), (2000, 5000)
    ]  # fmt: skip
    for step in report["steps"]:
        assert check_of(step, "amplitude.phase1")["measured"] == step["amplitude_ua"]
        assert check_of(step, "pulse_rate")["measured"] == pytest.approx(80)
        assert step["device"]["load_ohm"] == step["load_ohm"]
    text = text_of(job)
    for said in (
        "Verdict: PASS", "not a certified medical device", "SIM-0001", "serial T-1",
        "calibration due 2099-12-31", "Decision rule", "signature", "A. Technician", "SHA-256",
        "| step", "(E)", "proposal of this project",
    ):  # fmt: skip
        assert said in text, said
    assert state_of("SIM-0001") == "unknown", "a pass enters nothing that the job does not say"
    # Again: nothing is delivered, and the report is the same.
    journal = (job.parent / "state" / "as-found.jsonl").read_bytes()
    again = estim("verify", job, "--json")
    assert again.code == 0
    assert again.objects[-1]["verdict"] == "pass"
    assert (job.parent / "state" / "as-found.jsonl").read_bytes() == journal
    assert text_of(job) == text


def test_the_example_job_runs_as_the_readme_says(estim: Shell, tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "docs" / "jobs", tmp_path / "jobs")
    answer = estim("verify", tmp_path / "jobs" / "sim-check.toml")
    assert answer.code == 0, answer
    text = (tmp_path / "jobs" / "sim-check" / "report-as-found.md").read_text()
    for said in (
        "Verdict: PASS", "Case, leads and connectors are whole", "12.5 uA", "serial LM-0001",
        "22.5 degrees C; 45 % humidity",
    ):  # fmt: skip
        assert said in text, said


def test_interrupted_and_resumed_gives_the_same_report(estim: Shell, tmp_path: Path) -> None:
    whole = write_job(tmp_path / "whole", *TWO_BY_TWO)
    assert estim("verify", whole).code == 0
    job = write_job(tmp_path / "job", *TWO_BY_TWO)
    process = subprocess.Popen(
        [sys.executable, "-m", "estim", "verify", str(job), "--json"],
        cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert (first["event"], first["number"]) == ("step", 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted by SIGINT: the output is off" in said
    kinds = [event.kind for event in read_ledger(job.parent / "state" / "as-found.jsonl")]
    assert kinds[-1] == "interrupted"
    done = kinds.count("step")
    assert 1 <= done < 4
    assert not (job.parent / "state" / "report-as-found.json").exists()
    resumed = estim("verify", job)
    assert resumed.code == 0
    assert f"Going on: {done} step" in resumed.out
    assert report_of(job)["stops"] == 1
    assert comparable(report_of(job)) == comparable(report_of(whole))


def test_a_journal_cut_anywhere_in_its_last_step_takes_that_step_again(
    estim: Shell, tmp_path: Path
) -> None:
    job = write_job(tmp_path / "job", ("[3]", "[3, 5]"))
    assert estim("verify", job).code == 0
    expected = comparable(report_of(job))
    journal = job.parent / "state" / "as-found.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    steps = [index for index, line in enumerate(lines) if b'"kind":"step"' in line]
    journal.write_bytes(b"".join(lines[: steps[-1]]) + lines[steps[-1]][:1000])
    # A crash would have left it with the count of the line before.
    last = hashlib.sha256(lines[steps[-1] - 1].rstrip(b"\n")).hexdigest()
    journal.with_name("as-found.jsonl.head").write_text(f"{steps[-1]} {last}\n")
    assert estim("verify", job).code == 0
    assert comparable(report_of(job)) == expected


def test_a_finished_journal_that_was_cut_never_counts_as_passed(
    estim: Shell, tmp_path: Path
) -> None:
    job = write_job(tmp_path / "job")
    assert estim("verify", job).code == 0
    journal = job.parent / "state" / "as-found.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    # The report that is signed names the journal as it was.
    last = hashlib.sha256(lines[-1].rstrip(b"\n")).hexdigest()
    assert report_of(job)["journal"] == {"lines": len(lines), "sha256": last}
    assert last in text_of(job)
    for kept in (len(lines) - 1, 0):
        journal.write_bytes(b"".join(lines[:kept]))
        answer = estim("verify", job)
        answer.assert_one_message(1)
        assert f"{kept} of {len(lines)} lines are left" in answer.err
        as_left = estim("verify", write_job(tmp_path / "job", ('"as-found"', '"as-left"')))
        assert as_left.code == 1
        write_job(tmp_path / "job")


@pytest.mark.hazard(49)
def test_a_load_that_contradicts_the_declared_one_is_refused(estim: Shell, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", ('"sim:"', '"sim:?load=510"'), ("[500]", "[2000]"))
    answer = estim("verify", job)
    assert answer.code == 4
    assert "said 2 kohm, see 510 ohm" in answer.err
    kinds = [event.kind for event in read_ledger(job.parent / "state" / "as-found.jsonl")]
    assert "contradicted" in kinds
    assert "step" not in kinds
    # 510 for 500 is within what leads and a resistor may differ by.
    close = write_job(tmp_path / "close", ('"sim:"', '"sim:?load=510"'))
    assert estim("verify", close).code == 0


@pytest.mark.hazard(49)
def test_an_overdue_instrument_is_inconclusive_and_quarantines_nobody(
    estim: Shell, tmp_path: Path
) -> None:
    job = write_job(tmp_path / "job", due="2020-01-31")
    assert estim("verify", job).code == 1
    assert report_of(job)["verdict"] == "inconclusive"
    assert "2020-01-31" in text_of(job)
    assert state_of("SIM-0001") == "unknown"


@pytest.mark.hazard(48)
def test_a_failed_job_quarantines_and_a_passed_one_releases_by_name_only(
    estim: Shell, tmp_path: Path
) -> None:
    script = tmp_path / "faults.txt"
    script.write_text("at 0 gain 1 800")  # a fifth too little, from the start
    failing = write_job(tmp_path / "failing", ('"sim:"', f'"sim:?faults={script}"'))
    answer = estim("verify", failing)
    assert answer.code == 1, answer
    report = report_of(failing)
    assert report["verdict"] == "fail"
    assert check_of(report["steps"][0], "amplitude.phase1")["verdict"] == "fail"
    assert state_of("SIM-0001") == "quarantined"
    held = station.standing(places.configuration_folder(), "SIM-0001", date(2026, 1, 1))
    profile = find("dpn-conventional").profile
    with pytest.raises(LimitRefused, match=r"SIM-0001: quarantined by A. Technician.*failed job"):
        prepare(profile, is_bench=False, standing=held)
    passing = write_job(tmp_path / "passing")
    assert estim("verify", passing).code == 0, "the bench still works"
    assert state_of("SIM-0001") == "quarantined"
    named = (
        'phase = "as-found"',
        'phase = "as-found"\nrelease_by = "B. Lead"\nnext_due = 2099-01-31',
    )
    assert estim("verify", write_job(tmp_path / "released", named)).code == 0
    assert state_of("SIM-0001") == "in service"
    entry = station.history(places.configuration_folder(), "SIM-0001")[-1]
    assert (entry.who, entry.due) == ("B. Lead", date(2099, 1, 31))


def test_as_found_and_as_left_stand_side_by_side(estim: Shell, tmp_path: Path) -> None:
    script = tmp_path / "faults.txt"
    script.write_text("at 0 gain 1 800")
    job = write_job(tmp_path / "job", ('"sim:"', f'"sim:?faults={script}"'))
    assert estim("verify", job).code == 1
    job = write_job(tmp_path / "job", ('"as-found"', '"as-left"'))
    assert estim("verify", job).code == 0
    report = report_of(job, "as-left")
    (step,) = report["steps"]
    assert (step["verdict"], step["as_found"]["verdict"]) == ("pass", "fail")
    (row,) = [line for line in text_of(job, "as-left").splitlines() if line.startswith("| 1 ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[-4:] == ["3 mA", "pass", "2.4 mA", "fail"]
    # The as-left job passed, but nobody was named who releases the device.
    assert "quarantined by A. Technician" in report["register"]
    other = write_job(
        tmp_path / "job", ('"as-found"', '"as-left"'), ('"sim:"', '"sim:?serial=OTHER"')
    )
    for name in ("as-left.jsonl", "as-left.jsonl.head"):
        (job.parent / "state" / name).unlink()
    answer = estim("verify", other)
    assert answer.code == 2
    assert "of device SIM-0001, this one is of OTHER" in answer.err


def test_a_changed_job_another_device_and_a_second_process_are_refused(
    estim: Shell, tmp_path: Path
) -> None:
    job = write_job(tmp_path / "job", VISUAL)
    assert estim("verify", job).code == 2, "nobody is there to look"
    with open_ledger(job.parent / "state" / "as-found.jsonl"):
        answer = estim("verify", job, "--answer", "visual.case=pass")
        assert answer.code == 1
        assert "another program" in answer.err
    job.write_text(job.read_text().replace("dwell_s = 2", "dwell_s = 3"))
    answer = estim("verify", job, "--answer", "visual.case=pass")
    assert answer.code == 2
    assert "changed since the job began" in answer.err


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ((), 2, "nobody is there to answer visual.case: Case whole"),
        (("visual.case=maybe",), 2, "expected"),
        (("visual.lid=pass",), 2, "no such check; there are: case"),
        (("visual=pass",), 2, "there is no 'visual'"),
        (("nobody_connected",), 2, "NAME=WORD"),
        (("nobody=yes",), 2, "there is no 'nobody'"),
        (("visual.case=fail",), 1, ""),
        (("visual.case=pass",), 0, ""),
    ],
)
def test_answers_come_from_flags_or_the_missing_one_is_named(
    estim: Shell, tmp_path: Path, given: tuple[str, ...], code: int, said: str
) -> None:
    job = write_job(tmp_path / "job", VISUAL)
    flags = [part for text in given for part in ("--answer", text)]
    answer = estim("verify", job, *flags)
    assert answer.code == code, answer
    assert said in answer.err


def test_steps_beyond_the_compliance_voltage_are_told_and_not_done(
    estim: Shell, tmp_path: Path
) -> None:
    # 20 mA into 10 kohm are 200 V; the simulator has 180.
    job = write_job(tmp_path / "job", ("[500]", "[10000]"), ("[3]", "[3, 20]"))
    assert estim("verify", job).code == 0
    assert [step["verdict"] for step in report_of(job)["steps"]] == ["pass", "not-applicable"]
    assert "needs 200 V, the device has 180 V" in text_of(job)


def test_a_person_at_a_terminal_is_asked_until_the_answer_is_one(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", VISUAL)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "estim", "verify", str(job)],
        cwd=CHECKOUT, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"maybe\npass\n")
    out, _ = process.communicate(timeout=30)
    asked = os.read(ours, 65536).decode()
    os.close(ours)
    assert process.returncode == 0
    assert asked.count("Case whole [pass/fail/not-applicable]") == 2
    assert "Verdict: pass" in out


# By hand.


def test_a_stimulator_without_a_port_has_the_same_report(estim: Shell, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", *BY_HAND, ("[3]", "[3, 5]"))
    drop(job, "s01.csv", pulses(3000))
    drop(job, "s02.csv", pulses(5000))
    answer = estim("verify", job)
    assert answer.code == 0, answer
    # 3 mA into 500 ohm are 1.5 V: 3 V peak to peak on six divisions.
    assert "scope: 500 mV/div, 100 us/div" in answer.out
    report = report_of(job)
    assert report["device"]["serial_number"] == "OLD-7"
    measured = [check_of(s, "amplitude.phase1")["measured"] for s in report["steps"]]
    assert measured == [3000, 5000]


def test_a_capture_that_fits_another_step_better_is_said(estim: Shell, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", *BY_HAND, ("[3]", "[3, 5]"))
    drop(job, "s01.csv", pulses(5000))
    drop(job, "s02.csv", pulses(3000))
    assert estim("verify", job).code == 1
    assert "s01.csv fits step 2 better" in text_of(job)
    assert state_of("OLD-7") == "quarantined"


def test_a_capture_that_comes_while_the_job_waits_is_taken(estim: Shell, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", *BY_HAND)
    late = threading.Timer(0.5, drop, (job, "scope-capture.csv", pulses(3000)))
    late.start()
    assert estim("verify", job).code == 0
    late.join()
    assert report_of(job)["steps"][0]["capture"]["name"] == "scope-capture.csv"


def test_a_capture_that_never_comes_is_named_and_the_job_goes_on_later(
    estim: Shell, tmp_path: Path
) -> None:
    job = write_job(tmp_path / "job", *BY_HAND)
    answer = estim("verify", job)
    assert answer.code == 2
    assert "step 1: no capture came to" in answer.err
    drop(job, "s01.csv", pulses(3000))
    assert estim("verify", job).code == 0


class Person:
    """Answer as a person would, and do what a person would do before answering."""

    is_attended = True

    def __init__(self, answers: list[tuple[str, str, Callable[[], None]]]) -> None:
        self.said: list[str] = []
        self._answers = answers

    def say(self, text: str) -> None:
        self.said.append(text)

    def tell(self, event: str, **fields: Any) -> None:
        del event, fields

    def ask(self, name: str, question: str, choices: Sequence[str] = ()) -> str:
        expected, answer, act = self._answers.pop(0)
        assert name == expected, question
        assert not choices or answer in choices
        act()
        return answer


def test_a_person_sets_the_load_right_and_takes_a_mixed_up_capture_again(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", *BY_HAND, ("[500]", "[2000]"), ("[3]", "[3, 5]"))
    drop(job, "s01.csv", pulses(3000, load_ohm=510))
    drop(job, "s02.csv", pulses(3000))
    person = Person(
        [
            ("load_is_set", "yes", lambda: drop(job, "s01.csv", pulses(3000))),
            ("capture", "again", lambda: drop(job, "s02.csv", pulses(5000))),
        ]
    )
    loaded = load_job(job)
    with open_ledger(journal_path(loaded.folder, "as-found")) as ledger:
        course = Walk(loaded, ledger, person, SystemClock(), tmp_path / "records", str).run()
    assert course.finished is not None
    assert course.finished["verdict"] == "pass"
    assert "Refused: load: said 2 kohm, see 510 ohm" in " ".join(person.said)
    assert [content["number"] for content in course.contradicted] == [1]


@pytest.mark.hazard(49)
def test_the_same_bytes_twice_measure_nothing_new(estim: Shell, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", *BY_HAND, ("[500]", "[500, 2000]"))
    drop(job, "s01.csv", pulses(3000))
    drop(job, "s02.csv", pulses(3000))
    assert estim("verify", job).code == 1
    assert [step["verdict"] for step in report_of(job)["steps"]] == ["pass", "inconclusive"]
    assert "the very bytes of as-found step 1" in text_of(job)


def test_volts_across_another_load_are_refused_not_measured(estim: Shell, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", *BY_HAND, ("[500]", "[2000]"))
    drop(job, "s01.csv", pulses(3000, load_ohm=510))
    answer = estim("verify", job)
    assert answer.code == 4, answer
    assert "said 2 kohm, see 510 ohm" in answer.err


@pytest.mark.hazard(45)
@pytest.mark.parametrize("missing", ["nobody_connected", "load_is_set", "delivered"])
def test_nothing_is_asked_of_a_device_before_the_bench_is_confirmed(
    estim: Shell, tmp_path: Path, missing: str
) -> None:
    job = write_job(tmp_path / "job", *BY_HAND, (f"{missing} = true", ""))
    job.write_text(job.read_text().replace("{ ,", "{").replace(", ,", ",").replace(",  }", "}"))
    drop(job, "s01.csv", pulses(3000))
    answer = estim("verify", job)
    assert answer.code == 2, answer
    assert f"nobody is there to answer {missing}" in answer.err
    if missing != "delivered":
        refused = estim("verify", job, "--answer", f"{missing}=no")
        assert refused.code == 4


def test_the_pdf_is_one_and_says_the_same(estim: Shell, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job")
    assert estim("verify", job, "--pdf").code == 0
    made = (job.parent / "state" / "report-as-found.pdf").read_bytes()
    assert made.startswith(b"%PDF-")
    assert made.rstrip().endswith(b"%%EOF")
