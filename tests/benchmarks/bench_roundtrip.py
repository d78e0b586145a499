"""Drive to Status through the whole engine, beside a raw termios exchange of the same frames.

Both run against the same simulated device, RUNNING, at the same pace of 20 Drives a second. The
engine's time counts from the moment at which a Drive is due, before its review, to the moment at
which the session has taken the Status.
"""

from __future__ import annotations

import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tty
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from estim.clock import SystemClock
from estim.drivers.base import DriverEvent, RoundTrip, StatusSeen
from estim.engine.process import EngineProcess
from estim.prepare.places import record_header
from estim.prepare.session import Prepared, prepare
from estim.profile.library import find
from estim.session import messages as msg
from estim.session.messages import Outcome, Snapshot
from firmware_protocol.connection import Connection, Received, Role
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    Capabilities,
    CommitProgram,
    Drive,
    GetCapabilities,
    Hello,
    Identity,
    Message,
    ProgramAccepted,
    Status,
    TargetRow,
    WantedState,
)
from firmware_protocol.schema import SCHEMA_HASH

PROFILE = "dpn-conventional"
DRIVES = 200
DRIVE_S = 0.05
TARGETS_UA = (4000, 4000)
CHECKOUT = Path(__file__).resolve().parents[2]


def run() -> Iterable[dict[str, Any]]:
    """Measure; the figure to hold is five times the raw exchange, at the median."""
    with tempfile.TemporaryDirectory() as folder:
        device = subprocess.Popen(
            [sys.executable, "-m", "estim.simulator"],
            stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=str(CHECKOUT)),
        )
        assert device.stdout is not None
        try:
            address = device.stdout.readline().decode().strip()
            raw_us, prepared = _raw_us(address)
            engine_us = _engine_us(address, Path(folder), prepared)
        finally:
            device.kill()
            device.wait()
            device.stdout.close()
    for name, permille in (("median", 500), ("p99", 990)):
        yield {
            "name": f"drive_round_trip_{name}",
            "value": _at(engine_us, permille),
            "unit": "us",
            "reference": _at(raw_us, permille),
        }


def _at(samples: list[int], permille: int) -> int:
    return round(statistics.quantiles(samples, n=1000)[permille - 1])


# The yardstick.


class _RawHost:
    """A host of a few lines: it writes a frame and reads until something comes back."""

    def __init__(self, address: str) -> None:
        self.descriptor = os.open(address, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.descriptor)
        self.connection = Connection(Role.HOST, 1 + int.from_bytes(os.urandom(6), "big"))
        self.status: Status | None = None

    def exchange_us(self, message: Message) -> int:
        """Send a message; return the time to the first bytes, in us."""
        self.take(0.0)
        frame = self.connection.send(message)
        began_ns = time.monotonic_ns()
        os.write(self.descriptor, frame)
        select.select([self.descriptor], [], [], 1.0)
        received = os.read(self.descriptor, 4096)
        took_us = (time.monotonic_ns() - began_ns) // 1000
        self.connection.receive_bytes(received)
        return took_us

    def take(self, timeout_s: float) -> list[Message]:
        """Return the messages that have come."""
        while select.select([self.descriptor], [], [], timeout_s)[0]:
            self.connection.receive_bytes(os.read(self.descriptor, 4096))
            timeout_s = 0.0
        taken = []
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, Received):
                taken.append(event.message)
                if isinstance(event.message, Status):
                    self.status = event.message
        return taken

    def ask(self, message: Message, kind: type[Message]) -> Any:
        """Send a message and wait for an answer of this kind."""
        os.write(self.descriptor, self.connection.send(message))
        for _ in range(100):
            for answer in self.take(0.1):
                if isinstance(answer, kind):
                    return answer
        raise RuntimeError(f"the device does not answer {type(message).__name__}")


def _raw_us(address: str) -> tuple[list[int], Prepared]:
    host = _RawHost(address)
    try:
        host.ask(Hello(PROTOCOL_VERSION, SCHEMA_HASH), Identity)
        capabilities: Capabilities = host.ask(GetCapabilities(), Capabilities)
        prepared = prepare(find(PROFILE).profile, capabilities, is_bench=True)
        for message in prepared.program.messages():
            os.write(host.descriptor, host.connection.send(message))
        host.ask(CommitProgram(prepared.program.digest), ProgramAccepted)
        while host.status is None:
            host.take(0.1)
        samples = []
        for number in range(DRIVES):
            wanted = WantedState.ARMED if number == 0 else WantedState.RUNNING
            targets_ua = TARGETS_UA if number > 1 else (0, 0)
            status = host.status
            drive = Drive(
                wanted, status.tick_ms, status.program_digest, status.limits_digest,
                tuple(TargetRow(target_ua) for target_ua in targets_ua),
            )  # fmt: skip
            took_us = host.exchange_us(drive)
            host.take(DRIVE_S)
            if host.status.drive_sequence == host.connection.last_sequence:
                samples.append(took_us)
            time.sleep(DRIVE_S)
        return samples, prepared
    finally:
        os.close(host.descriptor)


# The engine.


def _engine_us(address: str, folder: Path, prepared: Prepared) -> list[int]:
    """Run a session in an engine of this process, its interface on a thread."""
    time.sleep(1.0)  # the lease of the raw host has run out
    ours, theirs = socket.socketpair()
    interface = threading.Thread(target=_interface, args=(ours, address, folder, prepared))
    with ours, theirs:
        engine = EngineProcess(theirs)
        samples = _watch(engine)
        interface.start()
        engine.run()
        interface.join()
    return samples


def _watch(engine: EngineProcess) -> list[int]:
    """Have the time of every Drive noted once its Status has been taken."""
    samples: list[int] = []
    sent_us: list[int] = []
    clock = SystemClock()
    see = engine._loop._see

    def watched(event: DriverEvent, now_us: int) -> None:
        see(event, now_us)
        if isinstance(event, RoundTrip):
            sent_us.append(now_us - event.duration_us)
        elif isinstance(event, StatusSeen) and sent_us:
            samples.append(clock.now_us() - sent_us.pop())

    engine._loop._see = watched  # type: ignore[method-assign]
    return samples


def _interface(line: socket.socket, address: str, folder: Path, prepared: Prepared) -> None:
    header = record_header("bench", find(PROFILE), bench_ohm=500, clock="real")
    with line, line.makefile("rb") as replies:

        def ask(request: Any) -> None:
            line.sendall(msg.to_line(msg.Heartbeat(1)) + msg.to_line(request))
            for reply in replies:
                outcome = msg.from_line(reply)
                if isinstance(outcome, Outcome) and outcome.request_id == request.request_id:
                    if not outcome.is_done:
                        raise RuntimeError(f"{type(request).__name__}: {outcome.reasons}")
                    return

        ask(msg.OpenRecord(1, str(folder / "records"), str(folder / "key"), "bench", header))
        ask(msg.Connect(2, f"native:{address}"))
        for reply in replies:
            shown = msg.from_line(reply)
            if isinstance(shown, Snapshot) and shown.status_age_ms >= 0:
                ask(msg.Acknowledge(3, shown.latch_count))
                break
        program_hex = prepared.program.canonical_bytes().hex()
        ask(msg.Prepare(4, program_hex, prepared.bounds, prepared.settings))
        ask(msg.Arm(5))
        ask(msg.Start(6))
        ask(msg.SetTargets(7, TARGETS_UA))
        for beat in range(round(DRIVES * DRIVE_S * 10)):
            line.sendall(msg.to_line(msg.Heartbeat(beat)))
            time.sleep(0.1)
        ask(msg.Stop(8))
        ask(msg.CloseVisit(9))
