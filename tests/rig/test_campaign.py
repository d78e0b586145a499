"""A campaign: several devices at once, whole rows, and questions to the table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from estim.errors import RecordError
from estim.rig.campaign import rows
from estim.rig.campaign.rows import Row
from tests.cli.commands import Shell
from tests.engine.scene import CHECKOUT, descendants, is_alive, wait_for
from tests.rig.job_text import write_job

BENCH = ("--bench", "500", "--nobody-connected")
RUN = Row("c", 1, "rig-a", "native:/dev/ttyUSB0", "DUT-1", "m", "1.0.0", "00", "conformance")


@pytest.fixture
def estim(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.long
def test_a_job_on_two_devices_and_one_that_is_not_there(estim: Shell, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job")
    answer = estim(
        "campaign", "run", job, *BENCH, "--out", tmp_path / "out", "--repeat", "2", "--json",
        "--device", "sim:?serial=A", "--device", "sim:?serial=B", "--device", "native:/dev/ttyNO",
    )  # fmt: skip
    assert answer.code == 1, answer.err
    found = rows.read(tmp_path / "out")
    assert [item for item in answer.objects if item["event"] == "row"] != []
    assert answer.objects[-1] == {
        "schema": rows.SCHEMA, "event": "result", "passed": 8, "error": 2,
    }  # fmt: skip
    told = sorted((row["dut_serial"], row["repetition"], row["test"]) for row in found)
    step = "dpn-conventional channel 1 3000 uA 500 ohm"
    assert told == [
        *(("", repetition, str(job)) for repetition in (1, 2)),
        *(
            (serial, repetition, test)
            for serial in "AB" for repetition in (1, 2) for test in (step, "verdict")
        ),
    ]  # fmt: skip
    for row in found:
        if not row["dut_serial"]:
            assert (row["outcome"], row["blame"], row["exit_code"]) == ("error", "rig", 3)
            assert "there is no such port" in row["text"]
            continue
        assert (row["outcome"], row["blame"], row["rig"] != "") == ("passed", "", True)
        kept = {Path(path).suffix for path in row["artefacts"]}
        assert {".csv", ".jsonl", ".md"} <= kept  # captures, records and journal, the report
        assert all((tmp_path / "out" / path).is_file() for path in row["artefacts"])
    assert job.read_text().count('device = "sim:"') == 1  # the job itself is as it was


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_campaign_leaves_whole_rows_and_nothing_running(
    tmp_path: Path, number: int
) -> None:
    job = write_job(
        tmp_path / "job", ('clock = "virtual"', 'clock = "real"'), ("dwell_s = 2", "dwell_s = 60")
    )
    out = tmp_path / "out"
    devices = ("--device", "sim:?serial=A", "--device", "sim:?serial=B")
    campaign = subprocess.Popen(
        [
            *(sys.executable, "-m", "estim", "campaign", "run", str(job), *BENCH, *devices),
            *("--out", str(out)),
        ],
        start_new_session=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: len(_running(out)) == 2, 60.0, "two devices that run")
        everything = descendants(campaign.pid)
        assert len(everything) >= 6  # jobs, their engines, their simulators
        campaign.send_signal(number)
        code = campaign.wait(40.0)
    finally:
        campaign.kill()
        campaign.wait()
    assert code == (-number if number == signal.SIGKILL else 130)
    wait_for(lambda: not any(map(is_alive, everything)), 20.0, "end of them all")
    found = rows.read(out)
    if number == signal.SIGKILL:
        assert found == []
    else:
        assert {row["dut_serial"] for row in found} == {"A", "B"}
        assert {(row["outcome"], row["blame"]) for row in found} == {("error", "host")}
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == []


def _running(out: Path) -> list[Path]:
    """Return the records of sessions that have started."""
    return [path for path in out.glob("runs/*/records/*") if "start_asked" in path.read_text()]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("conformance", "--device", "sim:"), 4, "--nobody-connected"),
        (("conformance", *BENCH), 2, "--device"),
        (("nothing", *BENCH, "--device", "sim:"), 2, "expected conformance, a JOB.toml"),
        (("conformance", *BENCH, "--device", "usb:"), 2, "expected one of"),
        (("conformance", *BENCH, *("--device", "p24:/dev/x") * 2), 2, "given twice"),
        (("conformance", *BENCH, "--device", "sim:", "--repeat", "0"), 2, "--repeat"),
    ],
)
def test_a_campaign_that_makes_no_sense_is_one_message(
    estim: Shell, arguments: tuple[str, ...], code: int, words: str
) -> None:
    answer = estim("campaign", "run", *arguments)
    answer.assert_one_message(code)
    assert words in answer.err


def test_junit_becomes_rows_that_say_whose_fault_it_was(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="suite" name="good" time="1.5"/>'
        '<testcase classname="suite" name="bad"><failure message="7 mA"/></testcase>'
        '<testcase classname="suite" name="rigged"><error>no lead\nmore</error></testcase>'
        '<testcase classname="suite" name="told"><properties>'
        '<property name="blame" value="host"/></properties><error message="late"/></testcase>'
        '<testcase classname="suite" name="left"><skipped message="no hands"/></testcase>'
        "</testsuite></testsuites>"
    )
    found = rows.from_junit(RUN, path)
    assert [(row.test, row.outcome, row.blame, row.text, row.duration_s) for row in found] == [
        ("suite.good", "passed", "", "", 1.5),
        ("suite.bad", "failed", "device", "7 mA", 0.0),
        ("suite.rigged", "error", "rig", "no lead", 0.0),
        ("suite.told", "error", "host", "late", 0.0),
        ("suite.left", "skipped", "", "no hands", 0.0),
    ]
    path.write_text(path.read_text()[:200])
    assert rows.from_junit(RUN, path) == []


def test_rows_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    rows.write(tmp_path, "a", [RUN, RUN])
    (tmp_path / "rows" / "b.jsonl").mkdir()
    with pytest.raises(RecordError, match="cannot be written"):
        rows.write(tmp_path, "b", [RUN])
    (tmp_path / "rows" / "b.jsonl").rmdir()
    assert len(rows.read(tmp_path)) == 2
    assert all(map(json.loads, (tmp_path / "rows" / "a.jsonl").read_text().splitlines()))


def _write_flaky(folder: Path) -> None:
    """One test that passes 3 of 4 times on DUT-1, never on DUT-2; another that always passes."""
    good = replace(RUN, test="t1", outcome="passed")
    bad = replace(good, outcome="failed", blame="device")
    other = replace(good, dut_serial="DUT-2", rig="rig-b")
    rows.write(folder, "1", [good, good, good, bad])
    rows.write(folder, "2", [replace(bad, dut_serial="DUT-2", rig="rig-b")] * 2)
    rows.write(folder, "3", [replace(other, test="t2")] * 4 + [replace(other, outcome="skipped")])


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (
            "test",
            [
                {"test": "t1", "runs": 6, "failed": 3, "errors": 0, "flake_rate": 0.1667},
                {"test": "t2", "runs": 4, "failed": 0, "errors": 0, "flake_rate": 0.0},
            ],
        ),
        (
            "rig",
            [
                {"rig": "rig-a", "runs": 4, "failed": 1, "errors": 0, "flake_rate": 0.25},
                {"rig": "rig-b", "runs": 6, "failed": 2, "errors": 0, "flake_rate": 0.0},
            ],
        ),
        (
            "device",
            [
                {"dut_serial": "DUT-1", "runs": 4, "failed": 1, "errors": 0, "flake_rate": 0.25},
                {"dut_serial": "DUT-2", "runs": 6, "failed": 2, "errors": 0, "flake_rate": 0.0},
            ],
        ),
    ],
)
def test_the_flake_rate_by_test_rig_and_device(
    estim: Shell, tmp_path: Path, by: str, expected: list[dict[str, Any]]
) -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not here: the extra `analysis` brings it")
    _write_flaky(tmp_path)
    answer = estim("campaign", "flakes", tmp_path, "--by", by, "--json")
    assert answer.code == 0, answer.err
    for told, wanted in zip(answer.objects, expected, strict=True):
        assert {name: told[name] for name in wanted} == wanted


def test_questions_in_sql_see_the_table_and_no_other_file(estim: Shell, tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not here: the extra `analysis` brings it")
    _write_flaky(tmp_path)
    answer = estim("campaign", "query", tmp_path, "SELECT count(*) AS n FROM results", "--json")
    assert [item["n"] for item in answer.objects] == [11]
    for sql in ("SELECT * FROM nothing", "SELECT * FROM read_text('/etc/hostname')"):
        refused = estim("campaign", "query", tmp_path, sql)
        refused.assert_one_message(2)
        assert "the question fails" in refused.err
    nowhere = estim("campaign", "flakes", tmp_path / "nowhere")
    nowhere.assert_one_message(2)


def test_without_duckdb_a_question_says_what_to_install(
    estim: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    answer = estim("campaign", "flakes", tmp_path)
    answer.assert_one_message(2)
    assert "estim[analysis]" in answer.err


def test_a_task_does_not_begin_once_its_campaign_has_died() -> None:
    command = [sys.executable, "-m", "estim.rig.campaign.launch", "1", sys.executable, "-c", "1/0"]
    assert os.getpid() != 1
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (130, b"")
