"""Captures without hands: a folder, a command, an oscilloscope on the network, each as it may fail.

The oscilloscope is a fake of ours that speaks what Rigol's programming guide has; no real one was
tried.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from estim.errors import RigFault, UsageError
from estim.rig.captures.sources import (
    CommandSource,
    FolderSource,
    ScpiSource,
    check_source,
    open_source,
    pause,
)


class Waiting:
    """Count how often a session would have been kept alive."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_s = 0.0
        self._last_s = time.monotonic()

    def __call__(self) -> None:
        now_s = time.monotonic()
        self.longest_s = max(self.longest_s, now_s - self._last_s)
        self.count += 1
        pause()
        self._last_s = time.monotonic()


# Which.


def test_a_url_names_a_source(tmp_path: Path) -> None:
    assert isinstance(open_source("folder:captures", tmp_path), FolderSource)
    assert isinstance(open_source("command:take -o {file}", tmp_path), CommandSource)
    assert isinstance(open_source("scpi:rig-scope:5555?channel=2", tmp_path), ScpiSource)


@pytest.mark.parametrize(
    "url",
    [
        "", "folder:", "scope", "command:take", "command:take '{file}", "scpi:host",
        "scpi:host:x", "scpi:host:1?channel=9", "scpi:host:1?colour=red",
    ],
)  # fmt: skip
def test_what_names_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        check_source(url)


# A folder.


def test_only_a_file_that_came_after_arming_counts_once_it_has_stopped_growing(
    tmp_path: Path,
) -> None:
    (tmp_path / "old.csv").write_text("old")
    source = FolderSource(tmp_path, 5.0)
    source.arm()

    def grow() -> None:
        for _ in range(4):
            with (tmp_path / "new.csv").open("a") as file:
                file.write("part\n")
            time.sleep(0.15)

    growing = threading.Thread(target=grow)
    growing.start()
    taken = source.fetch(Waiting())
    held = taken.read_text()
    growing.join()
    assert taken.name == "new.csv"
    assert held == "part\n" * 4


def test_a_folder_in_which_nothing_appears_is_the_rigs_fault(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    source = FolderSource(tmp_path, 0.6)
    source.arm()
    with pytest.raises(RigFault, match=r"no capture came within 0\.6 s"):
        source.fetch(Waiting())
    with pytest.raises(RigFault, match="No such file"):
        FolderSource(tmp_path / "none").arm()


# A command.


def command(program: str, folder: Path, within_s: float = 10.0) -> CommandSource:
    return CommandSource([sys.executable, "-c", program, "{file}"], folder / "c.csv", within_s)


def test_a_command_runs_from_arming_and_its_file_comes_back(tmp_path: Path) -> None:
    source = command(
        "import sys, time; time.sleep(0.4); open(sys.argv[1], 'w').write('taken')", tmp_path
    )
    source.arm()
    waiting = Waiting()
    assert source.fetch(waiting).read_text() == "taken"
    assert waiting.count >= 3


@pytest.mark.parametrize(
    ("program", "within_s", "words"),
    [
        ("import sys; sys.exit('no device found')", 10.0, "exit code 1 no device found"),
        ("pass", 10.0, "wrote no capture"),
        ("import time; time.sleep(60)", 0.2, r"not done within 0\.2 s"),
    ],
)
def test_a_command_that_brings_nothing_is_the_rigs_fault(
    tmp_path: Path, program: str, within_s: float, words: str
) -> None:
    (tmp_path / "c.csv").write_text("of before")
    source = command(program, tmp_path, within_s)
    source.arm()
    with pytest.raises(RigFault, match=words):
        source.fetch(Waiting())


def test_a_command_that_is_let_go_of_is_ended(tmp_path: Path) -> None:
    source = command(
        "import sys, time, os; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)",
        tmp_path,
    )
    source.arm()
    deadline_s = time.monotonic() + 5
    while not (tmp_path / "c.csv").exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    time.sleep(0.05)
    process = Path("/proc") / (tmp_path / "c.csv").read_text()
    assert process.exists()
    source.close()
    assert not process.exists()


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RigFault, match="No such file"):
        CommandSource(["/none/sigrok-cli"], tmp_path / "c.csv").arm()


# An oscilloscope.

SAMPLES = bytes([127, 227, 27, 10])
"""The third is any; the last is a newline, which ends no block."""
PREAMBLE = "0,0,4,1,1.000000e-05,-2.000000e-05,0,4.000000e-02,0,127"
BLOCK = b"#9000000004" + SAMPLES + b"\n"


class FakeScope:
    """Answer one client; `answers` are words and what they get, the last for ever."""

    def __init__(self, answers: dict[str, list[bytes]]) -> None:
        self.heard: list[str] = []
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._serving.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._listener.close()
        self._serving.join(5.0)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            line, _ = self._listener.accept()
            with line, line.makefile("rb") as words:
                for word in words:
                    self.heard.append(word.decode().strip())
                    given = self._answers.get(self.heard[-1], [])
                    answer = given.pop(0) if len(given) > 1 else (given or [b""])[0]
                    for begin in range(0, len(answer), 3):  # in pieces, as a network has it
                        line.sendall(answer[begin : begin + 3])


Scope = Callable[..., FakeScope]


@pytest.fixture
def scope() -> Iterator[Scope]:
    made: list[FakeScope] = []

    def make(**changed: list[bytes]) -> FakeScope:
        answers = {
            "*IDN?": [b"RIGOL TECHNOLOGIES,DS1054Z,FAKE,00.04\n"],
            ":TRIGger:STATus?": [b"WAIT\n", b"TD\n", b"STOP\n"],
            ":WAVeform:PREamble?": [PREAMBLE.encode() + b"\n"],
            ":WAVeform:DATA?": [BLOCK],
        }
        names = {"idn": "*IDN?", "status": ":TRIGger:STATus?"}
        names |= {"preamble": ":WAVeform:PREamble?", "data": ":WAVeform:DATA?"}
        made.append(FakeScope(answers | {names[name]: given for name, given in changed.items()}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_screen_of_an_oscilloscope_becomes_volts_over_time(
    tmp_path: Path, scope: Scope
) -> None:
    """By hand, of 40 mV each: 227 - 127 is 4 V, 27 - 127 is -4 V, 10 - 127 is -4.68 V."""
    faked = scope()
    source = ScpiSource("127.0.0.1", faked.port, 2, tmp_path / "c.csv", 5.0)
    source.arm()
    assert faked.heard == [":SINGle", "*IDN?"]
    waiting = Waiting()
    assert source.fetch(waiting).read_text().splitlines() == [
        "Time (s),CH2 (V)", "-2e-05,0", "-1e-05,4", "0,-4", "1e-05,-4.68",
    ]  # fmt: skip
    assert ":WAVeform:SOURce CHANnel2" in faked.heard
    assert waiting.longest_s < 0.2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"status": [b"WAIT\n"]}, "not triggered"),
        ({"status": [b""]}, "does not answer"),
        ({"preamble": [b"0,0,4\n"]}, "10 figures expected"),
        ({"data": [b"busy\n"]}, "begins with #"),
        ({"data": [b"#9999999999"]}, "unknown length"),
        ({"data": [b"#14ab"]}, "does not answer"),
        ({"data": [b"#10\n"]}, "holds no samples"),
    ],
)
def test_an_oscilloscope_that_brings_nothing_is_the_rigs_fault(
    tmp_path: Path, scope: Scope, changed: dict[str, list[bytes]], words: str
) -> None:
    source = ScpiSource("127.0.0.1", scope(**changed).port, 1, tmp_path / "c.csv", 0.5)
    source.arm()
    with pytest.raises(RigFault, match=words):
        source.fetch(Waiting())
    assert not (tmp_path / "c.csv").exists()


def test_an_oscilloscope_that_is_not_there_is_told(tmp_path: Path, scope: Scope) -> None:
    faked = scope()
    faked.close()
    with pytest.raises(RigFault, match="refused"):
        ScpiSource("127.0.0.1", faked.port, 1, tmp_path / "c.csv").arm()
