"""Sit in the line between a host and a device, and tell what passes.

`python -m tests.soak.wire_tap DEVICE` prints the pseudo-terminal to open. Then come JSON lines: one
for each Stop from the host with the monotonic time at which its last byte was read, one for each
mark that comes in on standard input, and, once that is closed, a summary of the Drives.
"""

from __future__ import annotations

import json
import os
import pty
import select
import sys
import time
import tty
from collections.abc import Mapping
from dataclasses import dataclass

from estim.priority import ask_to_come_first
from firmware_protocol import codec, framing
from firmware_protocol.errors import ProtocolError
from firmware_protocol.messages import Drive, Message, Status, Stop, WantedState

TICK_MODULUS = 1 << 32
STDIN = 0


@dataclass(slots=True)
class Drives:
    """What was seen of the Drives that wanted RUNNING.

    The age of an echo counts to the moment at which the Drive passes here, as the device will count
    it on arrival.
    """

    count: int = 0
    late_count: int = 0
    worst_gap_us: int = 0
    worst_echo_us: int = 0
    last_us: int | None = None
    status_us: int = 0
    status_tick_ms: int = 0

    def see_status(self, status: Status, now_us: int) -> None:
        self.status_us, self.status_tick_ms = now_us, status.tick_ms

    def see_drive(self, drive: Drive, now_us: int) -> None:
        if drive.wanted_state is not WantedState.RUNNING:
            self.last_us = None
            return
        self.count += 1
        if self.last_us is not None:
            gap_us = now_us - self.last_us
            self.worst_gap_us = max(self.worst_gap_us, gap_us)
            self.late_count += gap_us > 150_000
        self.last_us = now_us
        behind_ms = (self.status_tick_ms - drive.echoed_tick_ms) % TICK_MODULUS
        echo_us = now_us - self.status_us + behind_ms * 1000
        self.worst_echo_us = max(self.worst_echo_us, echo_us)

    def summary(self) -> dict[str, float]:
        return {
            "drives": self.count,
            "drive_gaps_over_150_ms": self.late_count,
            "worst_drive_gap_ms": self.worst_gap_us / 1000,
            "worst_echo_age_ms": self.worst_echo_us / 1000,
        }


def main(device: str) -> None:
    """Pass bytes on until standard input is closed."""
    ask_to_come_first()  # a cable waits for no processor
    host, slave = pty.openpty()
    tty.setraw(slave)
    _say({"address": os.ttyname(slave)})
    line = os.open(device, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    drives = Drives()
    partial = {host: b"", line: b""}
    while True:
        readable, _, _ = select.select([host, line, STDIN], [], [])
        if STDIN in readable:
            if not os.read(STDIN, 100):
                _say(drives.summary())
                return
            _say({"mark_us": time.monotonic_ns() // 1000})
        for near, far in ((host, line), (line, host)):
            if near not in readable:
                continue
            received = os.read(near, 4096)
            now_us = time.monotonic_ns() // 1000
            os.write(far, received)
            *frames, partial[near] = (partial[near] + received).split(b"\0")
            for frame in frames:
                _see(frame, drives, now_us)


def _see(frame: bytes, drives: Drives, now_us: int) -> None:
    message = _message(frame)
    if isinstance(message, Stop):
        _say({"stop_us": now_us})
    elif isinstance(message, Drive):
        drives.see_drive(message, now_us)
    elif isinstance(message, Status):
        drives.see_status(message, now_us)


def _message(frame: bytes) -> Message | None:
    try:
        return codec.decode_body(framing.decode_frame(frame)).message
    except ProtocolError:
        return None


def _say(content: Mapping[str, object]) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
