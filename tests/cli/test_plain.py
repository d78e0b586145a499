"""Line mode: what is said, what stops, and that nothing is ever said too low."""

from __future__ import annotations

import csv
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from estim.cli.plain import COMMANDS, Command, read_command
from estim.cli.spoken import UNKNOWN, Speaker, summary
from estim.session.states import HostState
from tests.cli.commands import Shell
from tests.tui.snapshots import FAULT, channel, snapshot
from tests.tui.terminal import Terminal

CHECKOUT = Path(__file__).parents[2]
pytestmark = pytest.mark.long

RUN = (
    "run", "dpn-conventional", "--bench", "500", "--plain", "--records", "{0}", "--trace",
    "{0}/trace.csv",
)  # fmt: skip
PROGRAM = f"""
import sys
from estim.__main__ import main
sys.exit(main([word.format(sys.argv[1]) for word in {RUN!r}]))
"""


def test_only_exact_commands_do_anything_but_stop() -> None:
    assert read_command("raise") == read_command(" RAISE \r") == read_command("+")
    assert read_command("raise 2") == Command("raise", 2)
    assert read_command("rearm 1") == Command("rearm", 1)
    for line in (
        "", " ", "stop", "x", "raix", "rasie", "raise two", "raise 0", "raise -1", "raise 1 2",
        "pause 1", "raise 2.5", "stopp", "\x1b[A", "start!", "ra\x00ise",
    ):  # fmt: skip
        assert read_command(line) is None, line
    assert set(COMMANDS) >= {"start", "raise", "lower", "pause", "resume", "finish", "stop"}


def test_a_rise_is_told_at_once_and_a_fall_once_it_rests() -> None:
    speaker = Speaker()
    running = snapshot(channels=(channel(target_ua=0, setpoint_ua=0, shown_ua=0),))
    speaker.changes(running)
    # Commanded 0.5 mA, still at zero: what may flow is told, not what has arrived.
    rising = channel(target_ua=500, setpoint_ua=0, measured_ua=0, shown_ua=500)
    assert speaker.changes(replace(running, channels=(rising,))) == ["Channel 1: 0.5 mA."]
    falling = channel(target_ua=0, setpoint_ua=300, measured_ua=300, shown_ua=300)
    at_zero = channel(target_ua=0, setpoint_ua=0, measured_ua=0, shown_ua=0)
    told = []
    for at_ms, row in ((0, falling), (100, falling), (200, at_zero), (500, at_zero)):
        told += speaker.changes(replace(running, channels=(row,), at_us=2_000_000 + at_ms * 1000))
    assert told == []
    assert speaker.changes(replace(running, channels=(at_zero,), at_us=2_650_000)) == [
        "Channel 1: 0.0 mA."
    ]


def test_a_measurement_above_what_was_asked_is_told_and_one_that_wavers_once() -> None:
    speaker = Speaker()
    speaker.changes(snapshot())  # 12 mA
    above, below = channel(shown_ua=12_600), channel()
    told = []
    for turn in range(40):
        row = above if turn % 20 < 10 else below
        told += speaker.changes(snapshot(channels=(row,), at_us=turn * 100_000))
    assert told == ["Channel 1: 12.6 mA."]


def test_what_has_not_changed_is_not_said_again() -> None:
    speaker = Speaker()
    assert speaker.changes(snapshot()) == [
        "State: running.", "Channel 1: 12.0 mA.", "Channel 1: electrode good."
    ]  # fmt: skip
    assert speaker.changes(snapshot(at_us=9_000_000, plateau_ms=68_000)) == []


def test_what_is_stale_is_unknown_and_never_a_state() -> None:
    speaker = Speaker()
    speaker.changes(snapshot())
    assert speaker.changes(snapshot(is_known=False)) == [UNKNOWN]
    assert speaker.unknown() == []
    assert summary(snapshot(is_known=False))[0] == UNKNOWN
    assert speaker.changes(snapshot()) == ["State: running."]


def test_an_electrode_that_came_off_is_said_with_its_remedy_and_counts_as_seen() -> None:
    speaker = Speaker()
    speaker.changes(snapshot(latch_count=3))
    off = channel(is_lead_off=True, target_ua=12_000)
    assert speaker.latch_count == 3
    assert speaker.changes(snapshot(channels=(off,), latch_count=4)) == [
        "Channel 1: electrode off. Press it on, then say: rearm 1. It begins from zero."
    ]
    assert speaker.latch_count == 4


def test_asked_for_everything_is_said_with_the_limit_and_whose_it_is() -> None:
    said = summary(snapshot(state=HostState.FAULT, fault=FAULT, battery_percent=40))
    assert said == [
        "State: fault.",
        "Fault: the device fell silent. check cable and device. Then say: acknowledge.",
        "Channel 1: 12.0 mA, measured 11.8 mA, electrode good, at most 25.0 mA (amplitude: 25 mA "
        "allowed by the profile).",
        "Time left: 29:00 of 30:00.",
        "Battery: 40 percent.",
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--amplitude", "1=5"), "--amplitude"),
        (("--json",), "--json"),
        (("--seed", "1"), "--seed"),
        (("--junit", "j.xml"), "--junit"),
        (("--clock", "virtual"), "--clock virtual"),
    ],
)
def test_what_scripts_use_does_not_go_with_lines(
    estim: Shell, flags: tuple[str, ...], words: str
) -> None:
    refused = estim("run", "dpn-conventional", "--bench", "500", "--plain", *flags)
    refused.assert_one_message(2)
    assert f"{words} does not go with --plain" in refused.err


def test_lines_need_a_declared_bench_too(estim: Shell) -> None:
    estim("run", "dpn-conventional", "--plain").assert_one_message(4)


class Piped:
    """`estim run --plain` between two pipes, as a dumb terminal or a script has it."""

    def __init__(self, folder: Path) -> None:
        self.trace = folder / "trace.csv"
        self.said = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "estim", *(word.format(folder) for word in RUN)],
            cwd=CHECKOUT,
            env=dict(os.environ, TERM="dumb"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def hears(self, words: str, within_s: float = 10.0) -> bool:
        """Tell whether words are said, and take all that comes before them."""
        assert self.process.stdout is not None
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            self.said += self.process.stdout.read() or b""
            _, found, after = self.said.partition(words.encode())
            if found:
                self.said = after
                return True
            time.sleep(0.02)
        print(self.said.decode())
        return False


@contextmanager
def piped(folder: Path) -> Iterator[Piped]:
    talk = Piped(folder)
    try:
        yield talk
    finally:
        talk.process.kill()
        talk.process.communicate()


def last_current_us(trace: Path) -> int:
    """Return when the last phase that flowed was over, on the clock of this machine."""
    with trace.open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["current_ua"])]
    return int(rows[-1]["t_us"]) + int(rows[-1]["duration_us"])


def test_a_whole_session_goes_through_a_pipe(tmp_path: Path) -> None:
    with piped(tmp_path) as talk:
        assert talk.hears("help for the commands")
        talk.say("start")
        assert talk.hears("State: running.")
        talk.say("raise 2")
        assert talk.hears("Channel 2: 0.5 mA.")
        talk.say("raise")
        assert talk.hears("Channel 1: 0.5 mA.\nChannel 2: 1.0 mA.")
        talk.say("raise 7")
        assert talk.hears("Not done: there is no channel 7.")
        talk.say("lower 2")
        assert talk.hears("Channel 2: 0.5 mA.")
        talk.say("pause")
        assert talk.hears("State: paused, at zero.")
        talk.say("resume")
        assert talk.hears("State: running.")
        talk.say("state")
        assert talk.hears("Time left: ")
        talk.say("rasie")
        assert talk.hears("Stopped, since this is no command: rasie.")
        assert talk.hears("State: stopped, output off.")
        talk.say("start")  # loaded anew, from zero
        assert talk.hears("State: running.")
        assert talk.hears("Channel 1: 0.5", 1.0) is False
        talk.say("quit")
        assert talk.hears("verifies.")
        assert talk.process.wait(10) == 0
    record = next(tmp_path.glob("*.jsonl")).read_text()
    assert '"kind":"stop' in record.replace(" ", "")


@pytest.mark.hazard(32)
def test_the_end_of_the_input_stops(tmp_path: Path) -> None:
    with piped(tmp_path) as talk:
        assert talk.hears("help for the commands")
        talk.say("start")
        talk.say("raise")
        assert talk.hears("Channel 1: 0.5 mA.")
        assert talk.process.stdin is not None
        time.sleep(0.6)  # so that current flows
        closed_us = time.monotonic_ns() // 1000
        talk.process.stdin.close()
        talk.process.stdin = None
        assert talk.hears("verifies.")
        assert talk.process.wait(10) == 0
    assert last_current_us(talk.trace) - closed_us < 150_000


@pytest.mark.hazard(32)
def test_lines_that_nobody_takes_end_the_output(tmp_path: Path) -> None:
    """Rule 3: the reader stands still, the pipe fills, no beat goes out any more."""
    with piped(tmp_path) as talk:
        assert talk.process.stdout is not None
        fcntl.fcntl(talk.process.stdout.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        assert talk.hears("help for the commands")
        talk.say("start")
        talk.say("raise")
        assert talk.hears("Channel 1: 0.5 mA.")
        time.sleep(0.6)
        full_us = time.monotonic_ns() // 1000
        for _ in range(12):  # each help takes more than 500 bytes
            talk.say("help")
        time.sleep(1.2)
        assert talk.hears("the display stood still")
        assert talk.hears("State: fault.")
    # 400 ms without a beat, and what a pause in this process may add.
    assert last_current_us(talk.trace) - full_us < 750_000


@pytest.mark.hazard(31)
@pytest.mark.parametrize("keys", ["\x03", "x\r"])
def test_a_half_typed_line_holds_no_stop_up(tmp_path: Path, keys: str) -> None:
    with Terminal(tmp_path, program=PROGRAM) as terminal:
        assert terminal.wait_for(lambda: terminal.shows("help for the commands"))
        terminal.press("start\r")
        assert terminal.wait_for(lambda: terminal.shows("State: running."))
        terminal.press("raise\r")
        assert terminal.wait_for(lambda: terminal.shows("Channel 1: 0.5 mA."))
        time.sleep(0.6)
        terminal.press("raise\rrai")
        terminal.read(0.2)
        pressed_us = time.monotonic_ns() // 1000
        terminal.press(keys)
        assert terminal.wait_for(lambda: terminal.shows("State: stopped, output off."))
        assert b"\x1b" not in terminal.drawn  # no cursor is moved
        terminal.press("\x03")
        assert terminal.wait_for(lambda: terminal.process.poll() is not None)
        assert terminal.process.returncode == 130
    assert last_current_us(tmp_path / "trace.csv") - pressed_us < 150_000


def test_a_stop_forgets_what_was_typed_before_it(tmp_path: Path) -> None:
    with piped(tmp_path) as talk:
        assert talk.hears("help for the commands")
        talk.say("start\nraise\nraise\n")  # and an empty line
        assert talk.hears("Stop sent.")
        talk.say("quit")
        assert talk.hears("verifies.")
    assert '"kind":"arm' not in next(tmp_path.glob("*.jsonl")).read_text().replace(" ", "")
