"""A host on a real descriptor, in real time, and what a device's process leaves behind."""

from __future__ import annotations

import csv
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firmware_protocol.connection import Connection, Received, Role
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    CommitProgram,
    DeviceState,
    Drive,
    FaultCode,
    Hello,
    Identity,
    LimitsAccepted,
    Message,
    ProgramAccepted,
    Status,
    TargetRow,
    WantedState,
)
from firmware_protocol.schema import SCHEMA_HASH
from tests.simulator.host import EPOCH, one_channel, session_limits

PROGRAM = one_channel()


class WireHost:
    """A host on a descriptor, in real time."""

    def __init__(self, descriptor: int, epoch: int = EPOCH) -> None:
        self._descriptor = descriptor
        self._connection = Connection(Role.HOST, epoch)
        self._limits_digest = 0
        self.status: Status | None = None

    def send(self, message: Message) -> None:
        os.write(self._descriptor, self._connection.send(message))

    def read(self, for_s: float) -> list[Message]:
        """Return what comes in within a time."""
        messages: list[Message] = []
        end = time.monotonic() + for_s
        while (left := end - time.monotonic()) > 0:
            if select.select([self._descriptor], [], [], left)[0]:
                self._connection.receive_bytes(os.read(self._descriptor, 4096))
            while (event := self._connection.next_event()) is not None:
                if isinstance(event, Received):
                    messages.append(event.message)
                    if isinstance(event.message, Status):
                        self.status = event.message
        return messages

    def ask(self, message: Message, answer: type[Message]) -> Message:
        """Send a message and wait for its answer."""
        self.send(message)
        for _ in range(100):
            for told in self.read(0.02):
                if isinstance(told, answer):
                    return told
        raise AssertionError(f"no {answer.__name__} came")

    def drive(self, wanted: WantedState, target_ua: int = 0) -> Status:
        assert self.status is not None
        self.send(
            Drive(
                wanted,
                self.status.tick_ms,
                PROGRAM.digest,
                self._limits_digest,
                (TargetRow(target_ua),),
            )
        )
        self.read(0.03)
        return self.status

    def run(self) -> None:
        """Go to RUNNING."""
        assert isinstance(self.ask(Hello(PROTOCOL_VERSION, SCHEMA_HASH), Identity), Identity)
        accepted = self.ask(session_limits(), LimitsAccepted)
        assert isinstance(accepted, LimitsAccepted)
        self._limits_digest = accepted.limits_digest
        for message in PROGRAM.messages():
            self.send(message)
        self.ask(CommitProgram(PROGRAM.digest), ProgramAccepted)
        self.read(0.3)
        assert self.drive(WantedState.ARMED).state is DeviceState.ARMED
        assert self.drive(WantedState.RUNNING).state is DeviceState.RUNNING


@contextmanager
def opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def trace_rows(path: Path) -> list[dict[str, int]]:
    with path.open(newline="") as stream:
        reader = csv.DictReader(stream)
        assert reader.fieldnames == ["t_us", "channel", "current_ua", "duration_us"]
        return [{key: int(text) for key, text in row.items()} for row in reader]


def assert_the_lease_ends_on_schedule(
    process: subprocess.Popen[bytes], path: str, trace: Path
) -> None:
    """Stop a process for 600 ms in mid-session: it plays up to the expiry and no further."""
    with opened(path) as descriptor:
        host = WireHost(descriptor)
        host.run()
        for _ in range(10):
            host.drive(WantedState.RUNNING, 1_000)
        process.send_signal(signal.SIGSTOP)
        last_us = time.monotonic_ns() // 1000
        for _ in range(12):
            host.send(Drive(WantedState.RUNNING, 0, PROGRAM.digest, 0, (TargetRow(1_000),)))
            time.sleep(0.05)
        process.send_signal(signal.SIGCONT)
        host.read(0.4)
        assert host.status is not None
        assert host.status.fault is FaultCode.LEASE_EXPIRED
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert b"ms late, its own doing" in process.stderr.read()
    assert trace_rows(trace)[-1]["t_us"] <= last_us + 320_000
