"""What may happen around a host: its terminal, its plug, its neighbours, its disk, its processors.

As in `tests.engine.faults`: `make test-long` tries each once, `make faults` each many times.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from dataclasses import replace
from pathlib import Path
from random import Random

from estim.engine.client import EngineClient
from estim.errors import DeviceFault
from estim.session import messages as msg
from tests.engine.faults import (
    CASES,
    DONE_BY_SIGNAL,
    FAULT,
    ZERO_AFTER_FREEZE_US,
    Before,
    Case,
    Strike,
    Undo,
    signalled,
)
from tests.engine.scene import Host, Scene, now_us, wait_for

NO_DEVICE = 3
SLOW_DISK = Path(__file__).parent / "slow_disk"
SLOW_S = 1.0
"""A sync of a disk that is busy with something else. Nothing would start on it: 250 ms at most."""
GONE_WITHOUT_A_DISK_S = 8.0
"""An engine without an interface waits 5 s for the disk, and then 2 s for its threads to end."""
KEEPS_TRYING_S = 2.0
PULSE_PERIOD_US = 12_500
"""80 pulses a second."""
HOG = "while True: pass"


class Window:
    """A terminal window: the far end of a pseudo-terminal, and somebody who reads it."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self._is_open = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Close it, as a click does."""
        if self._is_open:
            self._is_open = False
            self._reader.join()  # what somebody still reads from stays open
            os.close(self._master)

    def _read(self) -> None:
        while self._is_open:
            if select.select([self._master], [], [], 0.005)[0]:
                with contextlib.suppress(OSError):
                    os.read(self._master, 4096)


def _start_in_a_window(scene: Scene) -> Host:
    scene.start_simulator()
    window = scene.props["window"] = Window()
    scene.at_end.callback(window.close)
    slave = window.slave
    host = scene.start_host(
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    return host


def _close_window(scene: Scene, host: Host, engine_pid: int) -> None:
    scene.props["window"].close()


def _start_on_a_cable(scene: Scene) -> Host:
    """Start two devices, and a host at the end of a cable that is plugged into the first."""
    folder = scene.folder / "other"
    folder.mkdir()
    other = scene.props["other"] = scene.at_end.enter_context(Scene(folder))
    first = scene.start_simulator("--serial", "FIRST")
    second = other.start_simulator("--serial", "SECOND")
    name = scene.props["name"] = scene.folder / "ttyDEVICE"
    _plug_in(scene, first, second)
    return scene.start_host(f"native:{name}")


def _plug_in(scene: Scene, *devices: str) -> None:
    cable = scene.props["cable"] = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.relay", str(scene.props["name"]), *devices],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=scene.environment,
    )
    assert cable.stdin is not None
    assert cable.stdout is not None
    for close in (cable.stdin.close, cable.stdout.close, cable.wait, cable.kill):
        scene.at_end.callback(close)  # the last comes first
    assert cable.stdout.readline()


def _unplug(scene: Scene, host: Host, engine_pid: int) -> None:
    scene.props["cable"].kill()


def _plug_in_the_other(scene: Scene, host: Host, engine_pid: int) -> None:
    """Pull the plug, and have the other device there under the same name at once."""
    scene.props["cable"].kill()
    _plug_in(scene, scene.props["other"].device)


def _switch_to_the_other(scene: Scene, host: Host, engine_pid: int) -> None:
    """Let the open port lead to the other device, as a switch box does."""
    stdin = scene.props["cable"].stdin
    stdin.write(b"\n")
    stdin.flush()


def _the_other_was_never_driven(scene: Scene, host: Host, struck_us: int) -> None:
    other = scene.props["other"]
    assert other.end_simulator(signal.SIGTERM) == 0
    assert other.last_current_us() == 0


def _turn_a_second_host_away(scene: Scene, host: Host, random: Random) -> None:
    began_us = now_us()
    records = scene.folder / "records of the second"
    second = Host(scene.command("", "--records", str(records)), scene.environment)
    scene.at_end.callback(second.close)
    assert second.end() == NO_DEVICE, second.complaints
    assert "in use by another program" in second.complaints.decode()
    ended_us = now_us()
    wait_for(lambda: scene.last_current_us() > ended_us, 2.0, "current after the second host")
    scene.props["disturbed_us"] = began_us, ended_us


def _no_pulse_was_missing(scene: Scene, host: Host, struck_us: int) -> None:
    began_us, ended_us = scene.props["disturbed_us"]
    onsets = sorted({at_us for at_us, _, current_ua, _ in scene.rows() if current_ua > 0})
    beside = [at_us for at_us in onsets if began_us <= at_us <= ended_us]
    gaps = {later - sooner for sooner, later in itertools.pairwise(beside)}
    assert gaps == {PULSE_PERIOD_US}


class Neighbour(threading.Thread):
    """A second host that asks for the port again and again, and has it once it is free."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._is_wanted = True
        self.refusal_count = 0
        self.connected_us = 0
        self.start()

    def run(self) -> None:
        while self._is_wanted and not self.connected_us:
            client = EngineClient.spawn(lambda reply: None, lambda reason: None)
            try:
                is_done = client.ask(msg.Connect(client.new_id(), self._url)).is_done
            except DeviceFault:  # no answer: a machine that has no time for it
                is_done = False
            if is_done:
                self.connected_us = now_us()
                time.sleep(KEEPS_TRYING_S)
            else:
                self.refusal_count += 1
            client.close()

    def end(self) -> None:
        self._is_wanted = False
        self.join()


def _have_a_neighbour_wait(scene: Scene, host: Host, random: Random) -> None:
    neighbour = scene.props["neighbour"] = Neighbour(f"native:{scene.device}")
    scene.at_end.callback(neighbour.end)
    wait_for(lambda: neighbour.refusal_count, 10.0, "refusal")


def _let_the_neighbour_connect(scene: Scene, host: Host, engine_pid: int) -> Undo:
    """Kill the first host; the second then opens the port of a device that still has a lease."""
    signalled(signal.SIGKILL, interface=True, engine=True)(scene, host, engine_pid)
    neighbour = scene.props["neighbour"]

    def wait_until_it_has() -> None:
        wait_for(lambda: neighbour.connected_us, 20.0, "connection of the second host")

    return wait_until_it_has


def _start_on_a_slow_disk(scene: Scene) -> Host:
    """Start where every sync takes as long as a file says: nothing yet."""
    scene.start_simulator()
    give_slow_disk(scene, "0")
    return scene.start_host()


def give_slow_disk(scene: Scene, told: str) -> None:
    """Let every process from now on have a disk that is as slow as `told`, in seconds, or hangs."""
    path = scene.props["disk"] = scene.folder / "disk.txt"
    path.write_text(told)
    paths = os.pathsep.join([scene.environment["PYTHONPATH"], str(SLOW_DISK)])
    scene.environment |= {"PYTHONPATH": paths, "ESTIM_TEST_DISK": str(path)}


def _slow_the_disk(scene: Scene, host: Host, random: Random) -> None:
    scene.props["disk"].write_text(str(SLOW_S))


def _hang_the_disk(scene: Scene, host: Host, random: Random) -> None:
    scene.props["disk"].write_text("hang")


def _and_mend_the_disk(strike: Strike) -> Strike:
    def strike_then_mend(scene: Scene, host: Host, engine_pid: int) -> Undo:
        undo = strike(scene, host, engine_pid)

        def mend() -> None:
            if undo is not None:
                undo()
            scene.props["disk"].write_text("0")

        return mend

    return strike_then_mend


def _hog_every_core(scene: Scene, host: Host, random: Random) -> None:
    for _ in range(os.cpu_count() or 1):
        hog = subprocess.Popen([sys.executable, "-S", "-c", HOG])
        for close in (hog.wait, hog.kill):
            scene.at_end.callback(close)


def _beside_hogs(name: str) -> Case:
    """Return a case of the others with a busy loop on every core."""
    return replace(CASES[name], before=_hog_every_core)


_KILL, _STOP = signal.SIGKILL, signal.SIGSTOP
_KILL_BOTH = signalled(_KILL, interface=True, engine=True)


def _slow(strike: Strike, exit_code: int, words: str, before: Before = _slow_the_disk) -> Case:
    # Whether the seal was on the disk in time depends on where in a sync the fault came.
    return Case(
        strike, exit_code, words, is_sealed=None, start=_start_on_a_slow_disk, before=before
    )


DESK_CASES: dict[str, Case] = {
    "terminal closed": Case(_close_window, DONE_BY_SIGNAL, "", start=_start_in_a_window),
    "unplugged": Case(_unplug, FAULT, "the port is gone", start=_start_on_a_cable),
    "another device, same name": Case(
        _plug_in_the_other,
        FAULT,
        "the port is gone",
        start=_start_on_a_cable,
        after=_the_other_was_never_driven,
    ),
    "another device, same port": Case(
        _switch_to_the_other,
        FAULT,
        "",
        start=_start_on_a_cable,
        after=_the_other_was_never_driven,
    ),
    "second host, then killed": Case(
        _KILL_BOTH,
        -_KILL,
        "",
        is_sealed=False,
        before=_turn_a_second_host_away,
        after=_no_pulse_was_missing,
    ),
    "second host takes over": Case(
        _let_the_neighbour_connect, -_KILL, "", is_sealed=False, before=_have_a_neighbour_wait
    ),
    "slow disk, both killed": _slow(_KILL_BOTH, -_KILL, ""),
    "slow disk, engine killed": _slow(
        signalled(_KILL, engine=True), FAULT, "the engine died (signal 9)"
    ),
    "slow disk, SIGTERM": _slow(
        signalled(signal.SIGTERM, interface=True), DONE_BY_SIGNAL, "SIGTERM"
    ),
    "disk hangs, both killed": _slow(_KILL_BOTH, -_KILL, "", _hang_the_disk),
    "disk hangs, interface killed": _slow(
        _and_mend_the_disk(signalled(_KILL, interface=True)), -_KILL, "", _hang_the_disk
    ),
    "disk hangs, SIGTERM": _slow(
        _and_mend_the_disk(signalled(signal.SIGTERM, interface=True)),
        DONE_BY_SIGNAL,
        "SIGTERM",
        _hang_the_disk,
    ),
    "disk hangs, interface stopped": replace(
        _slow(
            _and_mend_the_disk(signalled(_STOP, interface=True)),
            FAULT,
            "the display stood still|heartbeat:",
            _hang_the_disk,
        ),
        zero_within_us=ZERO_AFTER_FREEZE_US,
    ),
    "disk dead, interface killed": replace(
        _slow(signalled(_KILL, interface=True), -_KILL, "", _hang_the_disk),
        gone_within_s=GONE_WITHOUT_A_DISK_S,
    ),
    "disk dead, SIGTERM": _slow(
        signalled(signal.SIGTERM, interface=True), DONE_BY_SIGNAL, "SIGTERM", _hang_the_disk
    ),
    "hogs, engine killed": _beside_hogs("engine killed"),
    "hogs, interface killed": _beside_hogs("interface killed"),
    "hogs, both killed": _beside_hogs("both killed"),
    "hogs, engine stopped": _beside_hogs("engine stopped"),
    "hogs, interface stopped": _beside_hogs("interface stopped"),
    "hogs, both stopped": _beside_hogs("both stopped"),
    "hogs, SIGTERM": _beside_hogs("SIGTERM"),
    "hogs, line silent": _beside_hogs("line silent"),
}
ALL_CASES = CASES | DESK_CASES
