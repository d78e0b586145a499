"""Two hosts, two devices, a terminal, an output nobody reads: what a real desk brings along."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from estim.engine.client import EngineClient
from estim.session import messages as msg
from estim.session.messages import Outcome, Reply, Snapshot
from estim.session.states import HostState
from tests.engine.faults import ZERO_AFTER_DEATH_US, ZERO_AFTER_FREEZE_US
from tests.engine.scene import (
    Host,
    Scene,
    children,
    fill,
    is_alive,
    judge_record,
    now_us,
    small_pipe,
    wait_for,
)

pytestmark = pytest.mark.long  # whole processes in real time

NO_DEVICE = 3
FAULT = 5
INTERRUPTED = 130
CTRL_C, CTRL_Z = b"\x03", b"\x1a"
PROGRESS_US = 1_000_000


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path) as scene:
        yield scene


@pytest.mark.hazard(15)
def test_a_second_host_is_turned_away_and_disturbs_nothing(scene: Scene) -> None:
    scene.start_simulator()
    host = scene.start_host()
    scene.watch(host.engine_pid())
    scene.wait_for_current()
    second = Host(scene.command(), scene.environment)
    assert second.end() == NO_DEVICE
    second.close()
    assert second.complaints.decode().count("\n") == 1
    assert "in use by another program" in second.complaints.decode()
    ended_us = now_us()
    wait_for(lambda: scene.last_current_us() > ended_us, 2.0, "current after the second host")
    os.kill(host.pid, signal.SIGTERM)
    assert host.end() == INTERRUPTED
    gaps = [
        later - sooner
        for sooner, later in zip(_onsets(scene), _onsets(scene)[1:], strict=False)
        if sooner < ended_us
    ]
    assert max(gaps) == 12_500  # 80 pulses a second, none missing


@pytest.mark.hazard(14)
def test_another_device_behind_the_same_name_is_not_driven(scene: Scene, tmp_path: Path) -> None:
    name = tmp_path / "ttyDEVICE"
    name.symlink_to(scene.start_simulator("--serial", "FIRST"))
    replies: SimpleQueue[Reply] = SimpleQueue()
    client = EngineClient.spawn(replies.put, lambda reason: None)
    scene.watch(client.pid)
    try:
        assert client.ask(msg.Connect(client.new_id(), f"native:{name}")).is_done
        scene.end_simulator()
        while not (isinstance(reply := replies.get(timeout=5.0), Snapshot) and not reply.device):
            pass
        assert reply.state is HostState.DISCONNECTED
        name.unlink()
        name.symlink_to(scene.start_simulator("--serial", "SECOND"))
        outcome = client.ask(msg.Connect(client.new_id(), f"native:{name}"))
        assert outcome.exit_code == FAULT
        assert "SECOND" in outcome.reasons[0]
        assert "bound to FIRST" in outcome.reasons[0]
    finally:
        assert client.close() == 0


def test_the_same_device_may_come_back(scene: Scene, tmp_path: Path) -> None:
    name = tmp_path / "ttyDEVICE"
    name.symlink_to(scene.start_simulator("--serial", "ONE"))
    client = EngineClient.spawn(lambda reply: None, lambda reason: None)
    scene.watch(client.pid)
    try:
        for _ in range(3):
            assert client.ask(msg.Connect(client.new_id(), f"native:{name}")).is_done
            assert client.ask(msg.Disconnect(client.new_id())) == Outcome(client._next_id - 1, True)
    finally:
        assert client.close() == 0


@pytest.mark.parametrize("which", ["engine", "interface", "both"])
def test_the_built_in_simulator_ends_by_itself(scene: Scene, which: str) -> None:
    host = scene.start_host("sim:", "--trace", str(scene.trace))
    engine_pid = host.engine_pid()
    scene.watch(engine_pid)
    scene.wait_for_current()
    # The simulator, and what keeps the computer awake where the system has that.
    helpers = children(engine_pid)
    assert any(b"estim.simulator" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in helpers)
    scene.watch(*helpers)
    struck_us = now_us()
    for pid in [host.pid] * (which != "engine") + [engine_pid] * (which != "interface"):
        os.kill(pid, signal.SIGKILL)
    host.end()
    wait_for(lambda: not any(map(is_alive, [engine_pid, *helpers])), 6.0, "end of them all")
    assert -60_000 < scene.last_current_us() - struck_us <= ZERO_AFTER_DEATH_US


def test_an_engine_that_stands_still_for_good_is_given_up(scene: Scene) -> None:
    scene.start_simulator()
    host = scene.start_host()
    engine_pid = host.engine_pid()
    scene.watch(engine_pid)
    scene.wait_for_current()
    os.kill(engine_pid, signal.SIGSTOP)
    assert host.end(20.0) == FAULT
    assert b"the engine stands still" in host.complaints
    assert not is_alive(engine_pid)
    tail = judge_record(scene.record(), scene.key())
    assert tail.was_sealed
    assert tail.is_recovered


def test_an_output_that_nobody_reads_ends_the_stimulation(scene: Scene) -> None:
    reader, writer = small_pipe()
    with os.fdopen(reader, "rb") as output, os.fdopen(writer, "wb") as input_end:
        scene.start_simulator()
        host = scene.start_host(stdout=input_end)
        scene.watch(host.engine_pid())
        scene.wait_for_current()
        fill(input_end.fileno())
        filled_us = now_us()
        time.sleep(2.5)
        zero_after_us = scene.last_current_us() - filled_us
        assert 0 < zero_after_us <= PROGRESS_US + ZERO_AFTER_FREEZE_US
        input_end.close()
        said = output.read()
    assert host.end() == FAULT
    assert b"the display stood still" in said


def test_a_reader_that_goes_away_ends_the_stimulation_in_good_order(scene: Scene) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as input_end:
        scene.start_simulator()
        host = scene.start_host(stdout=input_end)
        engine_pid = host.engine_pid()
        scene.watch(engine_pid)
        scene.wait_for_current()
        os.close(reader)
        assert host.end() == 141
    assert not is_alive(engine_pid)
    assert b"Traceback" not in host.complaints
    tail = judge_record(scene.record(), scene.key())
    assert tail.was_sealed
    assert not tail.is_recovered


@pytest.mark.hazard(37)
def test_records_that_cannot_be_written_refuse_the_start(scene: Scene) -> None:
    scene.start_simulator()
    scene.records.write_text("this is no folder")
    host = scene.start_host()
    assert host.end() == 1
    assert host.complaints.decode().count("\n") == 1
    assert "cannot start a record" in host.complaints.decode()
    assert scene.last_current_us() == 0


class Terminal:
    """A pseudo-terminal with a shell and, in its foreground, a host."""

    def __init__(self, scene: Scene) -> None:
        self.master, slave = pty.openpty()
        self._code = scene.folder / "code"
        self.shell = subprocess.Popen(
            # With job control the host has a process group of its own, as at a prompt.
            ["bash", "-m", "-c", '"$@"; echo $? > "$CODE"; read -r _', "-", *scene.command()],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=scene.environment | {"CODE": str(self._code)},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        (self.host_pid,) = wait_for(lambda: children(self.shell.pid), 5.0, "host")
        (self.engine_pid,) = wait_for(lambda: children(self.host_pid), 5.0, "engine")
        scene.watch(self.shell.pid, self.host_pid, self.engine_pid)
        scene.wait_for_current()

    def exit_code(self) -> int:
        """Return the host's exit code as its shell saw it."""
        return int(wait_for(lambda: self._code.exists() and self._code.read_text(), 5.0, "end"))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.master)
        self.shell.kill()
        self.shell.wait()

    def press(self, key: bytes) -> None:
        os.write(self.master, key)


@pytest.fixture
def terminal(scene: Scene) -> Iterator[Terminal]:
    scene.start_simulator()
    terminal = Terminal(scene)
    yield terminal
    terminal.close()


def test_ctrl_c_in_a_terminal_reaches_the_interface_alone(scene: Scene, terminal: Terminal) -> None:
    pressed_us = now_us()
    terminal.press(CTRL_C)
    assert terminal.exit_code() == INTERRUPTED
    assert scene.last_current_us() - pressed_us <= ZERO_AFTER_DEATH_US
    reasons = [event["content"]["reason"] for event in scene.events() if event["kind"] == "stop"]
    # The interface asked for it; an engine that was hit itself says 'the engine was interrupted'.
    assert reasons == ["interrupted by SIGINT"]
    assert judge_record(scene.record(), scene.key()).was_sealed


def test_ctrl_z_in_a_terminal_stops_the_interface_and_so_the_output(
    scene: Scene, terminal: Terminal
) -> None:
    pressed_us = now_us()
    terminal.press(CTRL_Z)
    wait_for(lambda: _state(terminal.host_pid) == "T", 1.0, "stopped interface")
    time.sleep(1.0)
    assert 0 < scene.last_current_us() - pressed_us <= ZERO_AFTER_FREEZE_US
    assert _state(terminal.engine_pid) in "SR"
    os.kill(terminal.host_pid, signal.SIGCONT)
    wait_for(lambda: not is_alive(terminal.host_pid), 5.0, "end of the interface")
    codes = [event["content"]["code"] for event in scene.events() if event["kind"] == "fault"]
    assert codes == ["display_frozen"]


@pytest.mark.hazard(34)
def test_a_terminal_that_vanishes_ends_the_stimulation(scene: Scene, terminal: Terminal) -> None:
    closed_us = now_us()
    os.close(terminal.master)
    wait_for(
        lambda: not is_alive(terminal.host_pid) and not is_alive(terminal.engine_pid),
        5.0,
        "end of host and engine",
    )
    assert scene.last_current_us() - closed_us <= ZERO_AFTER_DEATH_US
    tail = judge_record(scene.record(), scene.key())
    assert tail.was_sealed
    assert not tail.is_recovered


def test_signal_handlers_are_given_back(scene: Scene) -> None:
    """A program that calls `run` itself keeps its own handlers."""
    script = (
        "import signal, sys\n"
        "mine = lambda *_: None\n"
        "signal.signal(signal.SIGHUP, mine)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a background job
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "from estim.__main__ import main\n"
        "code = main(sys.argv[1:])\n"
        "assert signal.getsignal(signal.SIGHUP) is mine\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "sys.exit(code)\n"
    )
    command = scene.command("sim:", "--clock", "virtual", "--duration", "1")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *command[3:]],
        env=scene.environment,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def _onsets(scene: Scene) -> list[int]:
    return sorted({at_us for at_us, channel, current_ua, _ in scene.rows() if current_ua > 0})
