"""`estim measure` and `estim baseline`, as a technician and a rig call them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.cli.commands import Answer, Shell
from tests.rig.generator import noise, sampled, steady, write_csv, write_trace

INSTRUMENT = """\
kind = "oscilloscope"
model = "DS1054Z"
serial = "DS1ZA1"
calibration_due = {due}
amplitude_uncertainty_percent = 1.5
time_uncertainty_ppm = 25
"""
ARGUMENTS = ("--profile", "dpn-conventional", "--amplitude", "20")


def trace(folder: Path, ma: float = 20, name: str = "trace.csv") -> Path:
    return write_trace(folder / name, steady(ma, 3))


def saved(folder: Path, answer: Answer, name: str = "result.json") -> Path:
    path = folder / name
    path.write_text(answer.out)
    return path


def test_a_pass_is_0_and_a_fail_is_1_with_every_figure_in_json(
    estim: Shell, tmp_path: Path
) -> None:
    answer = estim("measure", trace(tmp_path), *ARGUMENTS, "--json")
    (result,) = answer.objects
    assert (answer.code, answer.err) == (0, "")
    assert (result["schema"], result["verdict"]) == ("estim.measurement/1", "pass")
    figures = {check["name"]: check for check in result["checks"]}
    assert figures["amplitude.phase1"]["measured"] == 20_000
    assert figures["charge.phase1"]["measured"] == 4_000_000
    assert set(figures["pulse_rate"]) >= {
        "expected", "measured", "deviation", "tolerance", "uncertainty", "verdict", "certainty",
        "source", "worst_at_s",
    }  # fmt: skip
    assert "|deviation| + U <= tolerance" in result["decision_rule"]
    failing = estim("measure", trace(tmp_path, 21), *ARGUMENTS, "--json")
    assert failing.code == 1
    assert failing.objects[0]["verdict"] == "fail"


def test_people_see_figures_unknowns_and_the_worst_pulse(estim: Shell, tmp_path: Path) -> None:
    samples = sampled(steady(21, 0.2), 0.2) + noise(200_000, 0.1)
    path = write_csv(tmp_path / "scope.csv", samples)
    answer = estim("measure", path, *ARGUMENTS)
    assert (answer.code, answer.err) == (1, "")
    assert answer.out.startswith("FAIL: ")
    for words in ("amplitude.phase1", "Not known", "no instrument was named", "worst pulse, at"):
        assert words in answer.out
    assert all(len(line) <= 120 for line in answer.out.splitlines())


def test_an_instrument_is_named_in_the_result_and_overdue_cannot_pass(
    estim: Shell, tmp_path: Path
) -> None:
    instrument = tmp_path / "scope.toml"
    instrument.write_text(INSTRUMENT.format(due="9999-12-31"))
    command = ("measure", trace(tmp_path), *ARGUMENTS, "--json", "--instrument", instrument)
    (result,) = estim(*command).objects
    assert (result["verdict"], result["instrument"]["serial"]) == ("pass", "DS1ZA1")
    instrument.write_text(INSTRUMENT.format(due="2001-01-01"))
    answer = estim(*command)
    assert (answer.code, answer.objects[0]["verdict"]) == (1, "inconclusive")
    assert any("ended on 2001-01-01" in text for text in answer.objects[0]["unknowns"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("volume = 11", "volume: unknown key; expected"),
        ("time_uncertainty_ppm = -1", "time_uncertainty_ppm: expected a number from 0 to 50000"),
        ("calibration_due = 'soon'", "calibration_due: expected a date"),
        ("serial = ''", "serial: expected a text"),
        ("kind = ", "not TOML"),
    ],
)
def test_a_damaged_instrument_is_one_message(
    line: str, words: str, estim: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "scope.toml"
    kept = [
        text for text in INSTRUMENT.format(due="2030-01-01").splitlines()
        if not text.startswith(line.split()[0])
    ]  # fmt: skip
    path.write_text("\n".join([*kept, line]))
    answer = estim("measure", trace(tmp_path), *ARGUMENTS, "--instrument", path)
    answer.assert_one_message(2)
    assert words in answer.err


def test_checks_become_junit_cases(estim: Shell, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    estim("measure", trace(tmp_path, 21), *ARGUMENTS, "--json", "--junit", report)
    suite = ElementTree.parse(report).getroot()
    cases = {case.get("name"): case.find("failure") for case in suite}
    amplitude = cases["amplitude.phase1"]
    assert amplitude is not None
    assert amplitude.get("type") == "fail"
    assert "21000 uA, expected 20000" in str(amplitude.get("message"))
    assert cases["pulse_rate"] is None
    assert suite.get("failures") == str(sum(failure is not None for failure in cases.values()))


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_worst_pulse_is_drawn(suffix: str, estim: Shell, tmp_path: Path) -> None:
    picture = tmp_path / f"worst.{suffix}"
    answer = estim("measure", trace(tmp_path), *ARGUMENTS, "--json", "--picture", picture)
    assert answer.code == 0
    octets = picture.read_bytes()
    assert octets.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    assert len(octets) > 5000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--amplitude", "lots"), "--amplitude"),
        (("--amplitude", "0"), "--amplitude 0"),
        (("--channel", "3"), "--channel 3"),
        (("--load", "-5"), "--load -5"),
        (("--unit", "kV"), "--unit kV"),
        (("--sample-rate", "fast"), "--sample-rate fast"),
        (("--probe", "0"), "--probe 0"),
        (("--picture", "worst.bmp"), "--picture worst.bmp"),
        (("--junit", "no/such/folder.xml"), "--junit"),
        (("--baseline", "unheard"), "no approved result 'unheard'"),
        (("--profile", "none-such"), "there is no profile"),
    ],
)
def test_bad_arguments_are_one_message(
    arguments: tuple[str, ...], words: str, estim: Shell, tmp_path: Path
) -> None:
    answer = estim("measure", trace(tmp_path), *ARGUMENTS, *arguments)
    answer.assert_one_message()
    assert words in answer.err


@pytest.mark.parametrize(
    ("amplitude", "words"),
    [
        # The device has steps of 0.1 mA.
        ("20.05", "channel 1: 20.05 mA asked, the device delivers steps of 0.1 mA"),
        ("0.05", "steps of 0.1 mA"),
        ("99", "99 mA"),
    ],
)
def test_an_amplitude_that_would_not_be_delivered_is_refused_as_a_run_refuses_it(
    amplitude: str, words: str, estim: Shell, tmp_path: Path
) -> None:
    path = trace(tmp_path)
    answer = estim("measure", path, "--profile", "dpn-conventional", "--amplitude", amplitude)
    answer.assert_one_message(4)
    assert words in answer.err
    run = estim("run", "dpn-conventional", "--bench", "500", "--clock", "virtual",
                "--amplitude", f"1={amplitude}")  # fmt: skip
    run.assert_one_message(4)
    assert words in run.err


def test_an_approved_result_shows_a_drift_within_tolerance(estim: Shell, tmp_path: Path) -> None:
    first = estim("measure", trace(tmp_path), *ARGUMENTS, "--json")
    result = saved(tmp_path, first)
    approved = estim("baseline", "approve", result, "--name", "bench-1", "--who", "tech-7",
                     "--why", "after service", "--json")  # fmt: skip
    assert approved.code == 0
    (approval,) = approved.objects
    assert (approval["schema"], approval["who"]) == ("estim.baseline/1", "tech-7")
    same = estim("measure", trace(tmp_path), *ARGUMENTS, "--json", "--baseline", "bench-1")
    assert same.code == 0
    # 1.5 % more is within the 2.5 % of the tolerance, and more than 0.4 of it.
    moved = estim("measure", trace(tmp_path, 20.3), *ARGUMENTS, "--json", "--baseline", "bench-1")
    (drifted,) = moved.objects
    failed = [c["name"] for c in drifted["checks"] if c["verdict"] == "fail"]
    assert moved.code == 1
    assert failed[:2] == ["drift.amplitude.phase1", "drift.amplitude.phase2"]
    assert all(name.startswith("drift.") for name in failed)
    # The file that was approved is as good a reference as its name.
    by_file = estim("measure", trace(tmp_path), *ARGUMENTS, "--json", "--baseline", result)
    assert by_file.code == 0


def test_approving_what_has_no_drift_that_could_be_judged_warns_of_it(
    estim: Shell, tmp_path: Path
) -> None:
    # 0.25 % of 4 uC are allowed, 0.4 of that as drift: 4 nC. With a sample every us the edges leave
    # sqrt(1/2) us x 20 mA x 2 / sqrt(16 pulses) = 7 nC open.
    samples = sampled(steady(20, 0.2), 0.2) + noise(200_000, 0.05)
    capture = write_csv(tmp_path / "capture.csv", samples)
    command = ("measure", capture, *ARGUMENTS, "--json")
    result = saved(tmp_path, estim(*command))
    approve = ("baseline", "approve", result, "--name", "b", "--who", "t", "--why", "w")
    approved = estim(*approve)
    assert approved.code == 0
    assert "drift.net_charge" in approved.out
    assert "drift.amplitude" not in approved.out
    assert estim(*approve, "--json").objects[0]["never_judged"] == ["drift.net_charge"]
    # It is as was said.
    (again,) = estim(*command, "--baseline", "b").objects
    drifts = [c for c in again["checks"] if c["name"].startswith("drift.")]
    assert [c["name"] for c in drifts if c["verdict"] != "pass"] == ["drift.net_charge"]
    # An exact trace leaves nothing open.
    exact = saved(tmp_path, estim("measure", trace(tmp_path), *ARGUMENTS, "--json"))
    approved = estim("baseline", "approve", exact, "--name", "c", "--who", "t", "--why", "w")
    assert "drift" not in approved.out


def test_an_instrument_cancels_out_of_its_own_drift(estim: Shell, tmp_path: Path) -> None:
    instrument = tmp_path / "scope.toml"
    instrument.write_text(INSTRUMENT.format(due="9999-12-31"))
    command = (*ARGUMENTS, "--json", "--instrument", instrument)
    result = saved(tmp_path, estim("measure", trace(tmp_path), *command))
    estim("baseline", "approve", result, "--name", "b", "--who", "t", "--why", "w")
    same = estim("measure", trace(tmp_path), *command, "--baseline", "b")
    assert same.objects[0]["verdict"] == "pass"
    # Another instrument may be 1.5 % off where the first was not: a drift of 1 % stays open.
    instrument.write_text(INSTRUMENT.format(due="9999-12-31").replace("DS1ZA1", "DS1ZA2"))
    other = estim("measure", trace(tmp_path), *command, "--baseline", "b")
    assert other.objects[0]["verdict"] == "inconclusive"


def test_what_nobody_approved_and_what_did_not_pass_are_refused(
    estim: Shell, tmp_path: Path
) -> None:
    passed = saved(tmp_path, estim("measure", trace(tmp_path), *ARGUMENTS, "--json"))
    answer = estim("measure", trace(tmp_path), *ARGUMENTS, "--baseline", passed)
    answer.assert_one_message(4)
    assert "nobody approved this result" in answer.err
    failing = saved(tmp_path, estim("measure", trace(tmp_path, 22), *ARGUMENTS, "--json"))
    command = ("--name", "bad", "--who", "tech-7", "--why", "hope")
    answer = estim("baseline", "approve", failing, *command)
    answer.assert_one_message(4)
    assert "only a result that passes" in answer.err
    prose = tmp_path / "prose.json"
    prose.write_text("{}")
    answer = estim("baseline", "approve", prose, *command)
    answer.assert_one_message(2)
    assert "that estim measure --json prints" in answer.err


def test_a_baseline_of_something_else_is_not_compared(estim: Shell, tmp_path: Path) -> None:
    result = saved(tmp_path, estim("measure", trace(tmp_path), *ARGUMENTS, "--json"))
    estim("baseline", "approve", result, "--name", "b", "--who", "t", "--why", "w")
    other = estim("measure", trace(tmp_path, 15), "--profile", "dpn-conventional",
                  "--amplitude", "15", "--baseline", "b")  # fmt: skip
    other.assert_one_message(2)
    assert "amplitude_ua is 20000 there and 15000 here" in other.err


def test_a_baseline_that_was_changed_is_not_believed(
    estim: Shell, tmp_path: Path, home: Path
) -> None:
    result = saved(tmp_path, estim("measure", trace(tmp_path), *ARGUMENTS, "--json"))
    for why in ("first", "second"):
        estim("baseline", "approve", result, "--name", "b", "--who", "t", "--why", why)
    (path,) = home.rglob("b.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text().splitlines()
    assert [json.loads(line)["why"] for line in lines] == ["first", "second"]
    listed = estim("baseline", "list")
    assert "second" in listed.out
    assert [item["why"] for item in estim("baseline", "show", "b", "--json").objects] == [
        "first",
        "second",
    ]
    path.write_text(lines[0].replace("first", "fist") + "\n" + lines[1] + "\n")
    answer = estim("baseline", "show", "b")
    answer.assert_one_message(1)
    assert "b.jsonl:1: changed, left out or torn" in answer.err
    # The last line is the one that counts, and none after it tells.
    for was, changed in (('"who": "t"', '"who": "u"'), ('_ua": 20000', '_ua": 20001')):
        assert was in lines[1]
        path.write_text(lines[0] + "\n" + lines[1].replace(was, changed, 1) + "\n")
        answer = estim("measure", trace(tmp_path), *ARGUMENTS, "--baseline", "b")
        answer.assert_one_message(1)
        assert "b.jsonl:2: changed, left out or torn" in answer.err
    path.write_text(lines[1] + "\n")
    estim("baseline", "show", "b").assert_one_message(1)
