"""The recipe from flash to verdict, unchanged: on the simulator and on the posix build."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from estim.rig.campaign import rows
from tests.cli.commands import Shell
from tests.firmware.core import NO_COMPILER, compiler
from tests.rig.test_pytest_plugin import Rig, installed

__all__ = ["installed"]

CHECKOUT = Path(__file__).resolve().parents[2]
RECIPE = Path(__file__).parent / "recipe"
TAPPED = "head -n 1 {trace}; exec tail -n 0 -f {trace}"
"""What a simulated device's trace is tapped by, as sigrok-cli would tap its leads."""
SHORT = "--only ID --only LEASE --soak 0"


@dataclass
class Maker:
    """Somebody who has a device on the bench, and a command that flashes it."""

    folder: Path
    url: str
    flash: str

    @property
    def environment(self) -> dict[str, str]:
        """Return what the recipes are told."""
        trace = self.folder / "trace.csv"
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {
            "PATH": path, "PYTHONPATH": str(CHECKOUT), "DEVICE": self.url, "FLASH": self.flash,
            "CAPTURE": TAPPED.format(trace=trace), "OUT": str(self.folder / "out"),
            "CONFORMANCE": f"{SHORT} --capture {trace}",
        }  # fmt: skip

    def run(self, **told: str) -> subprocess.CompletedProcess[str]:
        """Run the shell recipe."""
        return subprocess.run(
            ["sh", RECIPE / "recipe.sh"], env=self.environment | told, cwd=self.folder,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def table(self) -> list[dict[str, Any]]:
        return rows.read(self.folder / "out")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture(params=["simulator", "reference"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def maker(model: str, tmp_path: Path) -> Iterator[Maker]:
    """Return a maker whose flashing builds and starts a device, and end that device."""
    if model == "reference" and compiler() is None:
        pytest.skip(NO_COMPILER)
    folder = tmp_path / "maker"
    folder.mkdir()
    shim = folder / "estim"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m estim "$@"\n')
    shim.chmod(0o755)
    port, trace, pid = free_port(), folder / "trace.csv", folder / "pid"
    faults = folder / "faults.txt"
    faults.write_text("")
    started = f"--tcp {port} --trace {trace} >{folder}/device.txt 2>&1 </dev/null & echo $! >{pid}"
    if model == "simulator":
        flash = f"exec estim simulate --faults {faults} {started}".removeprefix("exec ")
    else:
        build = folder / "build"
        source = CHECKOUT / "firmware_protocol" / "c"
        flash = f"make -s -C {source} posix BUILD={build} && {{ {build}/estim-device {started}; }}"
    try:
        yield Maker(folder, f"native:socket://127.0.0.1:{port}", flash)
    finally:
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGTERM)


@pytest.mark.long
def test_the_shell_recipe_comes_from_flash_to_a_verdict(maker: Maker, model: str) -> None:
    done = maker.run()
    assert done.returncode == 0, done.stdout + done.stderr
    serial = {"simulator": "SIM-0001", "reference": "REF-0001"}[model]
    *_, verdict = done.stdout.splitlines()
    assert verdict == "VERDICT: passed"
    table = maker.table()
    assert {row["dut_serial"] for row in table} == {serial}
    steps = ["flash", "wait", "self-check", "conformance", "characterise", "play", "measure"]
    assert list(dict.fromkeys(row["task"] for row in table)) == steps
    tested = {task: [row for row in table if row["task"] == task] for task in steps}
    assert all("LEASE-" in row["test"] or "ID-" in row["test"] for row in tested["conformance"])
    assert len(tested["conformance"]) >= 10
    assert "estim.measure.amplitude.phase1" in {row["test"] for row in tested["measure"]}
    for row in (*tested["conformance"], *tested["measure"]):
        (kept,) = row["artefacts"]
        assert (maker.folder / "out" / kept).is_file()


@pytest.mark.long
@pytest.mark.parametrize("model", ["simulator"])
def test_the_shell_recipe_fails_a_device_whose_current_is_five_percent_off(maker: Maker) -> None:
    """3 mA become 3.15 mA: 0.15 mA off, where 3 % of 3 mA and half a step are allowed."""
    (maker.folder / "faults.txt").write_text("at 0 gain 1 1050\n")
    done = maker.run(CONFORMANCE="--only ID --soak 0")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "VERDICT: failed, blame: device"
    failed = {row["test"] for row in maker.table() if row["outcome"] == "failed"}
    assert {"estim.measure.amplitude.phase1", "estim.measure.amplitude.phase2"} <= failed
    assert all(test.startswith("estim.measure.") for test in failed)


@pytest.mark.long
@pytest.mark.parametrize("model", ["simulator"])
@pytest.mark.parametrize(("told", "task"), [({"FLASH": "echo no programmer >&2; exit 1"}, "flash")])
def test_a_rig_that_cannot_flash_judges_nothing(
    maker: Maker, told: dict[str, str], task: str
) -> None:
    done = maker.run(**told)
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "VERDICT: no verdict, blame: rig"
    (row,) = maker.table()
    assert (row["task"], row["outcome"], row["blame"]) == (task, "error", "rig")
    assert row["text"] == "no programmer"


@pytest.mark.long
@pytest.mark.parametrize("model", ["simulator"])
def test_a_load_that_is_not_the_declared_one_judges_nothing(maker: Maker) -> None:
    done = maker.run(BENCH="2000")
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "VERDICT: no verdict, blame: rig"
    *_, row = maker.table()
    assert (row["task"], row["outcome"], row["dut_serial"]) == ("self-check", "error", "SIM-0001")
    assert "channel 1" in row["text"]


@pytest.mark.long
def test_the_pytest_recipe_comes_from_flash_to_a_verdict(
    maker: Maker, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLASH", "CONFORMANCE", "PATH"):
        monkeypatch.setenv(name, maker.environment[name])
    trace = maker.folder / "trace.csv"
    capture = f"(head -n 1 {trace}; timeout 1.5 tail -n 0 -f {trace}) | sed -n '/[0-9a-z]$/p'"
    rig = Rig(installed, RECIPE, home=maker.folder)
    ran = rig.run(
        str(RECIPE), "--estim-device", maker.url, "--estim-bench", "500",
        "--estim-capture", f'command:sh -c "{capture} >{{file}}"',
        "--estim-artefacts", str(maker.folder / "kept"), "-p", "no:cacheprovider",
    )  # fmt: skip
    assert ran.code == 0, ran.printed
    assert {name: case.outcome for name, case in ran.cases.items()} == {
        "test_it_conforms": "passed",
        "test_its_output_is_linear": "passed",
        "test_what_reaches_the_load_is_what_was_asked": "passed",
    }
    for case in ran.cases.values():
        assert case.properties["dut_serial"] in ("SIM-0001", "REF-0001")


# The two commands that the recipe needs beside those of a rig.


def entered(estim: Shell, folder: Path, *words: str | Path) -> list[dict[str, Any]]:
    answer = estim("campaign", "add", folder, "--device", "sim:?serial=A", "--json", *words)
    assert answer.code == 0, answer.err
    return rows.read(folder)


def test_a_table_with_a_failure_and_an_error_has_failed(estim: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    junit = tmp_path / "m.xml"
    junit.write_text('<testsuite><testcase name="ok"/></testsuite>')
    entered(estim, out, "--junit", junit, "--task", "measure")
    assert estim("campaign", "verdict", out).out.endswith("A: passed: 1 passed\nVERDICT: passed\n")
    junit.write_text(
        '<testsuite><testcase name="x"><failure message="?" type="inconclusive"/></testcase>'
        '<testcase name="ok"/></testsuite>'
    )
    (*_, row, _) = entered(estim, out, "--junit", junit, "--task", "unsure", "--exit-code", "1")
    assert (row["outcome"], row["blame"]) == ("error", "rig")
    answer = estim("campaign", "verdict", out, "--json")
    assert (answer.code, answer.objects[0]["verdict"], answer.objects[0]["blame"]) == (
        3, "no verdict", "rig",
    )  # fmt: skip
    junit.write_text(
        '<testsuite><testcase name="y"><failure message="7 mA"/></testcase></testsuite>'
    )
    entered(estim, out, "--junit", junit, "--task", "worse", "--exit-code", "1")
    answer = estim("campaign", "verdict", out, "--json")
    assert (answer.code, answer.objects[0]["verdict"], answer.objects[0]["blame"]) == (
        1, "failed", "device",
    )  # fmt: skip
    (device,) = answer.objects[0]["devices"]
    assert device["reasons"] == ["unsure: x: ?", "worse: y: 7 mA"]
    entered(estim, out, "--junit", junit, "--task", "worse", "--exit-code", "1")
    assert "worse: y: 7 mA (2 times)" in estim("campaign", "verdict", out).out


def test_a_device_that_is_not_there_is_entered_as_the_rigs_fault(
    estim: Shell, tmp_path: Path
) -> None:
    answer = estim(
        "campaign", "add", tmp_path, "--device", "native:/dev/ttyNO", "--task", "flash"
    )  # fmt: skip
    assert answer.code == 0
    (row,) = rows.read(tmp_path)
    assert (row["outcome"], row["blame"], row["exit_code"]) == ("error", "rig", 3)
    assert estim("campaign", "verdict", tmp_path).code == 3


def test_a_command_that_went_well_and_left_no_junit_is_refused(
    estim: Shell, tmp_path: Path
) -> None:
    answer = estim(
        "campaign", "add", tmp_path, "--junit", tmp_path / "no.xml", "--device", "sim:",
        "--task", "t",
    )  # fmt: skip
    answer.assert_one_message(2)
    assert rows.read(tmp_path) == []
    estim("campaign", "verdict", tmp_path).assert_one_message(2)


@pytest.mark.long
def test_waiting_for_a_device_that_never_comes_ends_with_code_3(
    estim: Shell, tmp_path: Path
) -> None:
    answer = estim("devices", f"native:{tmp_path / 'no'}", "--wait", "1")
    answer.assert_one_message(3)
    assert "no answer within 1 s" in answer.err
    estim("devices", "--wait", "1").assert_one_message(2)
    assert estim("devices", "sim:", "--wait", "5", "--json").code == 0


@pytest.mark.long
def test_doctor_checks_a_rig_or_says_what_it_lacks(estim: Shell) -> None:
    answer = estim("doctor", "--device", "sim:", "--bench", "500", "--nobody-connected", "--json")
    assert answer.code == 0, answer.err
    found = {item["check"]: item["found"] for item in answer.objects}
    assert found["device"] == "estim-virtual SIM-0001 at sim:"
    assert found["load"] == "500 ohm measured, 500 ohm declared"
    estim("doctor", "--device", "sim:", "--bench", "500").assert_one_message(4)
    estim("doctor", "--bench", "500").assert_one_message(2)
    wrong = estim("doctor", "--device", "sim:", "--bench", "2000", "--nobody-connected")
    wrong.assert_one_message(3)
    assert "said 2 kohm, see 500 ohm" in wrong.err


@pytest.mark.long
def test_a_run_in_real_time_says_prepared_before_any_progress(estim: Shell, tmp_path: Path) -> None:
    answer = estim(
        "run", "dpn-conventional", "--bench", "500", "--amplitude", "1=1", "--duration", "1",
        "--json", "--records", tmp_path,
    )  # fmt: skip
    events = [item["event"] for item in answer.objects if item["event"] != "notice"]
    assert events[:2] == ["prepared", "progress"]
    assert events.count("prepared") == 1
