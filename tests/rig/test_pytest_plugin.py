"""The plugin as a rig has it: a wheel beside the suite, found by its entry point.

The suites run in a process of their own; what they say is read from the JUnit file.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from estim import api
from estim.drivers.base import NOT_TOLD
from estim.errors import RigFault
from estim.rig.port_lock import port_lock, port_of
from estim.rig.self_check import check_identity
from tests.cli.commands import CHECKOUT
from tests.simulator.processes import simulated as simulated_process

GUIDE = (CHECKOUT / "docs" / "rig.md").read_text("utf-8")
SUITE = Path(__file__).parent / "example_suite"
ALWAYS = {
    "dut_serial", "dut_model", "firmware_version", "firmware_hash", "schema_hash",
    "program_digest", "rig", "seed", "attempts",
}  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with estim installed in it, as pip leaves it."""
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = WheelBuilder(str(CHECKOUT)).build(directory=str(folder / "dist"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@dataclasses.dataclass(frozen=True)
class Case:
    """One test case of a JUnit file; `outcome` is passed, failure, error or skipped."""

    outcome: str
    text: str
    properties: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Run:
    code: int
    printed: str
    cases: dict[str, Case]


class Rig:
    """A folder with a suite, run with the installed plugin."""

    def __init__(self, installed: Path, folder: Path, home: Path | None = None) -> None:
        self.folder = folder
        self._installed = installed
        self._home = home or folder  # what a run writes goes there

    def write(self, text: str) -> None:
        (self.folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
        (self.folder / "test_it.py").write_text(f"import pytest\nfrom pathlib import Path\n{text}")

    def run(self, *arguments: str) -> Run:
        environment = os.environ | {"PYTHONPATH": str(self._installed), "HOME": str(self._home)}
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:asyncio",
             f"--junitxml={self._home / 'j.xml'}", f"--basetemp={self._home / 'base'}", *arguments],
            env=environment, cwd=self.folder, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        report = self._home / "j.xml"
        cases = {}
        if report.exists():
            for found in ElementTree.parse(report).getroot().iter("testcase"):
                cases[found.get("name", "")] = _case(found)
            report.unlink()
        return Run(ended.returncode, ended.stdout + ended.stderr, cases)


def _case(found: ElementTree.Element) -> Case:
    outcomes = [part for part in found if part.tag in ("failure", "error", "skipped")]
    properties = {each.get("name", ""): each.get("value", "") for each in found.iter("property")}
    if not outcomes:
        return Case("passed", "", properties)
    (outcome,) = outcomes
    return Case(outcome.tag, f"{outcome.get('message')}\n{outcome.text}", properties)


@pytest.fixture
def rig(installed: Path, tmp_path: Path) -> Rig:
    folder = tmp_path / "rig"
    folder.mkdir()
    return Rig(installed, folder)


@contextmanager
def simulated(*arguments: str) -> Iterator[str]:
    """Give the URL of a simulated stimulator that lives as long as this."""
    with simulated_process(*arguments) as (_, address):
        yield f"native:{address}"


# The example suite.


@pytest.mark.long
def test_the_example_suite_passes_on_the_simulator_and_every_case_says_of_what(rig: Rig) -> None:
    shutil.copytree(SUITE, rig.folder, dirs_exist_ok=True)
    image = rig.folder / "image.hex"
    image.write_bytes(b"abc")
    ran = rig.run(
        "--estim-device", "sim:", "--estim-rig", "bench-7", "--estim-seed", "11",
        "--estim-firmware", str(image),
    )  # fmt: skip
    assert ran.code == 0, ran.printed
    outcomes = {name: case.outcome for name, case in ran.cases.items()}
    skipped = {name for name, outcome in outcomes.items() if outcome == "skipped"}
    assert skipped == {"test_the_serial_number_is_not_that_of_the_simulator"}
    assert len(outcomes) == 9
    for name, case in ran.cases.items():
        assert case.properties.keys() >= ALWAYS
        assert case.properties["rig"] == "bench-7"
        assert case.properties["seed"] == "11"
        # SHA-256 of 'abc', from FIPS 180-2, appendix B.1.
        assert case.properties["firmware_hash"] == (
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        if name not in skipped:
            assert case.properties["dut_serial"] == "SIM-0001"
    waveform = ran.cases["test_the_pulses_are_those_of_the_profile"].properties
    assert int(waveform["program_digest"], 16) > 0
    assert not (rig.folder / "estim-artefacts").exists()


@pytest.mark.long
def test_a_broken_device_fails_once_and_what_it_did_is_kept(rig: Rig) -> None:
    """Its output stage gives half as much again: the load is right, so the rig is not to blame."""
    shutil.copytree(SUITE, rig.folder, dirs_exist_ok=True)
    faults = rig.folder / "faults.txt"
    faults.write_text("at 0 gain 1 1500\n")
    with simulated("--faults", str(faults)) as url:
        ran = rig.run(
            "--estim-device", url, "--estim-bench", "500", "-k", "rises or says or comes_off",
        )  # fmt: skip
    assert ran.code == 1, ran.printed
    broken = ran.cases["test_it_rises_no_faster_than_its_slew_and_gives_what_was_asked"]
    assert broken.outcome == "failure"
    assert broken.properties["blame"] == "device"
    assert broken.properties["attempts"] == "1"
    assert broken.properties["dut_serial"] == "SIM-0001"
    kept = Path(broken.properties["artefacts"])
    assert str(kept) in ran.printed
    (record,) = kept.glob("*.jsonl")
    assert '"kind":"seal"' in record.read_text("utf-8").splitlines()[-1]
    assert "device:" in (kept / "failure.txt").read_text("utf-8")
    assert ran.cases["test_the_device_says_who_it_is"].outcome == "passed"


INSTRUMENT = """
import sys, time
trace, target = sys.argv[1:]
end_us = time.monotonic_ns() // 1000 + 1_000_000
begin_us = end_us - 800_000
time.sleep(1.3)
head, *rows = open(trace).read().splitlines()
seen = [row for row in rows if begin_us <= int(row.split(",")[0]) < end_us]
while int(seen[0].split(",")[2]) < 0:
    del seen[0]
while int(seen[-1].split(",")[2]) > 0:
    del seen[-1]
open(target, "w").write("\\n".join([head, *seen]) + "\\n")
"""
"""Takes whole pulses of 0.8 s, beginning 0.2 s after it is armed, as an instrument would."""


@pytest.mark.long
def test_a_waveform_is_measured_by_an_instrument_on_a_device_that_writes_no_trace(
    rig: Rig, tmp_path: Path
) -> None:
    shutil.copytree(SUITE, rig.folder, dirs_exist_ok=True)
    (rig.folder / "instrument.py").write_text(INSTRUMENT)
    trace = tmp_path / "trace.csv"
    name = "test_the_pulses_are_those_of_the_profile"
    with simulated("--trace", str(trace)) as url:
        device = ["--estim-device", url, "--estim-bench", "500", "-k", name]
        without = rig.run(*device)
        capture = f"command:{sys.executable} instrument.py {trace} {{file}}"
        with_one = rig.run(*device, "--estim-capture", capture)
        missing = rig.run(*device, "--estim-capture", "command:true {file}")
    assert without.cases[name].outcome == "skipped"
    assert with_one.cases[name].outcome == "passed", with_one.printed
    assert missing.cases[name].outcome == "error"
    assert missing.cases[name].properties["blame"] == "rig"
    assert missing.cases[name].properties["attempts"] == "2"


# Whose fault.


@pytest.mark.long
def test_a_wrong_load_is_an_error_tried_again_and_every_attempt_is_kept(rig: Rig) -> None:
    rig.write("def test_it(stimulator): assert stimulator.identify()\n")
    ran = rig.run("--estim-device", "sim:?load=1000", "--estim-bench", "500")
    assert ran.code == 1
    case = ran.cases["test_it"]
    assert case.outcome == "error"
    assert "said 500 ohm, see 1000 ohm" in case.text
    assert case.properties["blame"] == "rig"
    assert case.properties["attempts"] == "2"
    assert "said 500 ohm" in case.properties["attempt_1"]
    last = Path(case.properties["artefacts"])
    assert [last.name, last.with_name("attempt-1").is_dir()] == ["attempt-2", True]
    assert list((last / "self-check").glob("*.jsonl"))
    assert "tried again after a fault of the rig" in ran.printed


FLAKY = """
from estim.errors import DeviceFault, PortLost, RigFault

def first(name):
    seen = Path(name)
    if seen.exists():
        return False
    seen.touch()
    return True

def test_rig(stimulator):
    if first("rig"):
        raise PortLost("the plug is loose")

def test_loose(stimulator):
    raise PortLost("the plug is loose for good")

def test_host(stimulator):
    error = DeviceFault("too late")
    error.blame = "host"
    if first("host"):
        raise error

def test_device(stimulator):
    if first("device"):
        raise DeviceFault("the output stage is dead")

def test_assertion(stimulator):
    assert not first("assertion"), "4 mA asked, 5 mA seen"

@pytest.fixture
def broken(stimulator):
    raise DeviceFault("died while it was prepared")

def test_setup(broken):
    pass

@pytest.mark.xfail(raises=PortLost)
def test_expected(stimulator):
    raise PortLost("as expected")
"""


@pytest.mark.long
def test_rig_and_host_are_tried_again_and_device_and_unknown_never(rig: Rig) -> None:
    rig.write(FLAKY)
    ran = rig.run("--estim-device", "sim:", "--estim-artefacts", "kept", "--estim-rig-retries", "2")
    outcomes = {name: case.outcome for name, case in ran.cases.items()}
    assert outcomes == {
        "test_rig": "passed",
        "test_loose": "error",
        "test_host": "passed",
        "test_device": "failure",
        "test_assertion": "failure",
        "test_setup": "failure",
        "test_expected": "skipped",
    }, ran.printed
    attempts = {name: case.properties["attempts"] for name, case in ran.cases.items()}
    again = {name for name, count in attempts.items() if count != "1"}
    assert again == {"test_rig", "test_loose", "test_host"}
    assert attempts["test_loose"] == "3"
    assert "rig: the plug is loose" in ran.cases["test_rig"].properties["attempt_1"]
    assert "blame" not in ran.cases["test_rig"].properties
    assert ran.cases["test_assertion"].properties["blame"] == "unknown"
    assert ran.cases["test_setup"].properties["blame"] == "device"
    kept = sorted(path.parent.name for path in (rig.folder / "kept").glob("*/*/attempt-1"))
    assert [name.rpartition("_test_")[2] for name in kept] == [
        "assertion", "device", "host", "loose", "rig", "setup",
    ]  # fmt: skip


def test_a_device_without_an_id_is_an_error_unless_it_is_given_one(tmp_path: Path) -> None:
    with api.open("sim:", is_virtual=True, records=tmp_path) as stimulator:
        device = stimulator.identify()
    for none in (" ", NOT_TOLD):
        nameless = dataclasses.replace(device, serial_number=none)
        with pytest.raises(RigFault, match="no serial number"):
            check_identity(nameless, "")
        assert check_identity(nameless, "B-12") == "B-12"
    assert check_identity(device, "SIM-0001") == "SIM-0001"
    with pytest.raises(RigFault, match="SIM-0001 is on the bench, B-12 was expected"):
        check_identity(device, "B-12")


# Without a device, and with a wrong one.


def test_without_a_device_its_tests_are_skipped_and_never_run_on_the_simulator(rig: Rig) -> None:
    rig.write("def test_it(stimulator): Path('ran').touch()\ndef test_other(): pass\n")
    ran = rig.run("-rs")
    assert ran.code == 0, ran.printed
    assert ran.cases["test_it"].outcome == "skipped"
    assert "no --estim-device" in ran.printed
    assert ran.cases["test_other"].properties == {}
    assert not (rig.folder / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--estim-device", "native:/dev/ttyUSB0"], "needs --estim-bench OHM"),
        (["--estim-device", "nobox:x", "--estim-bench", "500"], "expected one of"),
        (["--estim-device", "sim:", "--estim-bench", "0"], "ohms above 0"),
        (["--estim-device", "sim:", "--estim-channels", "1,x"], "such as 1,2"),
        (["--estim-device", "sim:", "--estim-firmware", "none.hex"], "no such file"),
        (["--estim-device", "sim:", "--estim-capture", "scope"], "expected folder:PATH"),
    ],
)
def test_options_that_make_no_sense_get_one_message(
    rig: Rig, arguments: list[str], words: str
) -> None:
    rig.write("def test_it(stimulator): pass\n")
    ran = rig.run(*arguments)
    assert ran.code == 4
    (line,) = [each for each in ran.printed.splitlines() if each.startswith("ERROR")]
    assert words in line
    assert "Traceback" not in ran.printed


def test_a_port_that_is_not_there_is_the_rigs_fault(rig: Rig) -> None:
    rig.write("def test_it(stimulator): pass\n")
    ran = rig.run(
        "--estim-device", "native:/dev/none", "--estim-bench", "500", "--estim-rig-retries", "0"
    )
    assert ran.cases["test_it"].outcome == "error"
    assert ran.cases["test_it"].properties["blame"] == "rig"
    assert ran.cases["test_it"].properties["dut_serial"] == "not identified"


def test_another_run_without_stimulators_loads_nothing_of_ours(rig: Rig) -> None:
    """The plugin itself, and estim.clock for the name of the run; no library beside pytest."""
    rig.write(
        "import sys, json\n"
        "def test_it():\n"
        "    Path('loaded').write_text(json.dumps(sorted(sys.modules)))\n"
    )
    assert rig.run().code == 0
    loaded = set(json.loads((rig.folder / "loaded").read_text()))
    ours = {name for name in loaded if name.split(".")[0] in ("estim", "firmware_protocol")}
    assert ours == {"estim", "estim.clock", "estim.rig", "estim.rig.pytest_plugin"}
    assert not loaded & {"numpy", "pydantic", "serial", "textual"}


# The guide.


@pytest.mark.long
def test_the_guides_example_runs_as_it_stands(rig: Rig) -> None:
    (_, *blocks) = GUIDE.partition("## With pytest")[2].split("```python\n")
    rig.write("")
    (rig.folder / "test_it.py").write_text(blocks[0].partition("```")[0])
    ran = rig.run("--estim-device", "sim:")
    assert [case.outcome for case in ran.cases.values()] == ["passed"], ran.printed


def test_the_guides_tables_name_every_fixture_option_and_marker() -> None:
    source = (CHECKOUT / "estim" / "rig" / "pytest_plugin.py").read_text("utf-8")
    options = set(re.findall(r'"(--estim-[a-z-]+)"', source))
    fixtures = set(re.findall(r"@pytest.fixture\ndef (\w+)", source))
    markers = set(re.findall(r'"(estim_\w+)[(:]', source))
    assert len(options) == 13
    assert len(fixtures) == 7
    assert markers == {"estim_hardware", "estim_profile"}
    cells = " ".join(re.findall(r"^\| (`.*?) \|", GUIDE, re.MULTILINE))
    told = set(re.findall(r"--estim-[a-z-]+|\b(?:estim_)?[a-z_]+\b", cells))
    assert options | fixtures | markers <= told


# One device, one test at a time.


def test_a_port_is_one_by_whatever_name_it_is_called(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    (tmp_path / "by-id").symlink_to(port)
    assert port_of(f"p24:{tmp_path}/by-id?baud=9600") == port_of(f"native:{port}") == str(port)
    assert port_of("native:socket://rig:5000") == "socket://rig:5000"
    assert port_of("sim:?load=500") == ""


@pytest.mark.long
def test_a_device_in_use_is_waited_for_and_then_told_by_whom(rig: Rig) -> None:
    rig.write("def test_it(stimulator): pass\n")
    with simulated() as url, port_lock(url, 0.0, "the other test"):
        ran = rig.run(
            "--estim-device", url, "--estim-bench", "500", "--estim-lock-timeout", "0.3",
            "--estim-rig-retries", "0",
        )  # fmt: skip
    case = ran.cases["test_it"]
    assert case.outcome == "error"
    assert f"in use for over 0.3 s by process {os.getpid()}: the other test" in case.text
    assert case.properties["blame"] == "rig"


@pytest.mark.long
def test_two_workers_never_use_one_device_at_once(rig: Rig) -> None:
    rig.write(
        "import os, time\n"
        "@pytest.mark.parametrize('number', range(4))\n"
        "def test_it(stimulator, number):\n"
        "    mine = os.open('in-use', os.O_CREAT | os.O_EXCL)\n"
        "    time.sleep(0.1)\n"
        "    os.unlink('in-use')\n"
        "    Path(f'worker-{os.getpid()}').touch()\n"
    )
    with simulated() as url:
        ran = rig.run("--estim-device", url, "--estim-bench", "500", "-n", "2")
    assert ran.code == 0, ran.printed
    assert {case.properties["attempts"] for case in ran.cases.values()} == {"1"}
    assert len(list(rig.folder.glob("worker-*"))) == 2
