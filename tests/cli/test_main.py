"""How commands fail: one line, the documented exit code, and never a traceback uninvited."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from estim.cli import failures
from estim.errors import (
    DeviceFault,
    EstimError,
    LimitRefused,
    PortLost,
    ProfileError,
    RecordError,
    UsageError,
)
from estim.simulator.faults import Verb, parse_line
from firmware_protocol.errors import FrameError
from tests.cli.commands import CHECKOUT, PROFILE, Shell

ESTIM = [sys.executable, "-m", "estim"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["nonsense"],
        ["profiles"],
        ["profiles", "nonsense"],
        ["profiles", "show"],
        ["profiles", "check"],
        ["profiles", "show", "dpn-conventional", "--js"],  # no abbreviations
        ["profiles", "show", "dpn-conventional", "--area", "0"],
        ["profiles", "show", "dpn-conventional", "--area", "NaN"],
        ["profiles", "show", "dpn-conventional", "--area", "1e9999999999"],
        ["profiles", "show", "dpn-conventional", "--amplitude", "3=5"],
        ["profiles", "show", "dpn-conventional", "--amplitude", "1=-5"],
        ["profiles", "show", "dpn-conventional", "--amplitude", "1=5,5"],
        ["profiles", "show", "dpn-conventional", "--amplitude", "1=5", "--amplitude", "1=6"],
        ["profiles", "show", "dpn-convention"],
        ["profiles", "show", "../dpn-conventional"],
        ["profiles", "show", "\x1b[2J\x07"],
        ["profiles", "show", "\udcff"],
        ["profiles", "plot", "dpn-conventional", "--channel", "3"],
        ["profiles", "plot", "dpn-conventional", "--width", "1"],
        ["records", "verify", "x", "y", "--head", "0" * 64],
        ["records", "verify", "x", "--head", "xyz"],
        ["records", "show", "../../etc/passwd\n"],
        ["records", "show", "NOT AN ID"],
        ["records", "export", "x"],
        ["records", "list", "--records", "/nowhere/at/all"],
        ["run"],
        ["run", "x", "--clock", "sundial"],
        ["simulate", "--model", "dc"],
        ["simulate", "--tcp", "70000"],
        ["simulate", "--load", "-1"],
        ["devices", "--all\x1b[31m"],
    ],
    ids=ascii,
)
def test_a_bad_command_line_is_one_message_and_exit_code_2_or_1(
    estim: Shell, arguments: list[str]
) -> None:
    answer = estim(*arguments)
    # A record that is not there is a matter of records; everything else is bad usage.
    is_missing_record = arguments[:2] == ["records", "show"] and os.sep in arguments[2]
    answer.assert_one_message(1 if is_missing_record else 2)


@pytest.mark.parametrize("arguments", [["--help"], ["profiles", "--help"], ["run", "--help"]])
def test_help_goes_to_standard_output_and_is_no_failure(estim: Shell, arguments: list[str]) -> None:
    answer = estim(*arguments)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("usage: estim")


def test_the_help_of_simulate_offers_what_there_is_and_teaches_every_fault(estim: Shell) -> None:
    """Each line of the fault script in it is one that the simulator takes."""
    told = estim("simulate", "--help").out
    assert "--model {native,reference,p24,pulsepal}" in told
    script = [line.strip().partition("  ")[0] for line in told.splitlines() if "  at 2.0 " in line]
    faults = [parse_line(line, 2, frozenset(Verb)) for line in script]
    assert {fault.verb for fault in faults if fault is not None} == set(Verb)
    assert all(fault is not None and fault.at_us == 2_000_000 for fault in faults)
    assert max(map(len, told.splitlines())) <= 100


def test_version_says_that_this_is_no_medical_device(estim: Shell) -> None:
    answer = estim("--version")
    assert answer.code == 0
    assert answer.out == "estim 0.1.0. Not a certified medical device.\n"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (EstimError("x"), 1),
        (RecordError("x"), 1),
        (UsageError("x"), 2),
        (ProfileError("x"), 2),
        (PortLost("x"), 3),
        (LimitRefused("x"), 4),
        (DeviceFault("x"), 5),
        (FrameError("x"), 5),
    ],
    ids=lambda item: type(item).__name__,
)
def test_each_failure_has_its_documented_exit_code(
    failure: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failures.explain(failure) == code
    assert capsys.readouterr().err == "estim: x\n"


def test_an_interruption_is_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.explain(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "estim: interrupted\n"


@pytest.mark.hazard(40)
@pytest.mark.parametrize("is_asked", [False, True])
def test_a_bug_says_where_to_report_it_and_shows_its_traceback_only_when_asked(
    is_asked: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(failures.TRACEBACK_VARIABLE, raising=False)
    if is_asked:
        monkeypatch.setenv(failures.TRACEBACK_VARIABLE, "1")
    with pytest.raises(ZeroDivisionError) as caught:
        raise ZeroDivisionError("seven\x1b[2J\nlines")
    assert failures.explain(caught.value) == 1
    *traceback, message = capsys.readouterr().err.splitlines()
    assert message.startswith("estim: a bug in Estim: ZeroDivisionError: seven")
    assert "report" in message
    assert message.isprintable()
    assert bool(traceback) is is_asked


def test_a_reader_that_goes_away_is_no_noise() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody_reads:
        answer = subprocess.run(
            [*ESTIM, "profiles", "show", str(PROFILE)],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=nobody_reads,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (answer.returncode, answer.stderr) == (141, "")


def test_output_that_cannot_be_written_is_one_message() -> None:
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [*ESTIM, "devices"],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert answer.returncode == 1
    assert answer.stderr.endswith("estim: the output cannot be written: No space left on device\n")
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(("has_input", "expected"), [(True, "True"), (False, "False")])
def test_only_a_terminal_at_both_ends_counts_as_a_person(has_input: bool, expected: str) -> None:
    keyboard, terminal = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", "from estim.cli.console import *; print(is_attended())"],
            cwd=CHECKOUT,
            stdin=terminal if has_input else subprocess.DEVNULL,
            stdout=terminal,
            timeout=60,
            check=True,
        )
        assert os.read(keyboard, 100).decode().strip() == expected
    finally:
        os.close(keyboard)
        os.close(terminal)


def test_simulate_hands_its_flags_over(estim: Shell, tmp_path: Path) -> None:
    # The simulator's own message proves that it got the value.
    answer = estim("simulate", "--channels", "9", "--trace", tmp_path / "t.csv")
    assert answer.code == 2
    assert "channels: expected a whole number from 1 to 4, got '9'" in answer.err
