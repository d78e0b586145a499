"""The threads between the engine's loop and its two lines: the device's and the interface's.

Rules:
1. Nothing here queues output for the device: Stop goes first, and the newest Drive replaces one
   that waits. All else is written in the order it came, as the device drops what is numbered lower
   than what it took last.
2. The interface may stop reading without holding the engine up: the newest snapshot replaces one
   that waits, and words beyond a bound are dropped, oldest first. Frames that come while others
   wait are counted and dropped, and never take the place of a word.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from estim.clock import Clock
from estim.drivers.base import Output
from estim.drivers.registry import FaultPlayer, Transport
from estim.errors import PortLost, UsageError
from estim.session.messages import LINE_MAX, Frames, Reply, Request, Snapshot, from_line, to_line

WORDS_MAX = 1000


class PortListener(Protocol):
    """What a port tells, from its threads."""

    def received(self, received: bytes) -> None:
        """Take bytes that came in."""

    def drive_written(self, at_us: int) -> None:
        """Take note that a Drive was handed to the line."""

    def port_gone(self, explanation: str) -> None:
        """Take note that the port is gone; nothing more will come."""


class ThreadedPort:
    """A device's line with a thread to read and a thread to write.

    It tells its end once, and not at all where `close` came first.
    """

    def __init__(self, transport: Transport, listener: PortListener, clock: Clock) -> None:
        self._transport = transport
        self._listener = listener
        self._clock = clock
        self._condition = threading.Condition()
        self._urgent: list[bytes] = []
        self._ordered: list[bytes] = []
        self._drive: bytes | None = None
        self._later: list[bytes] = []  # what was ordered after the Drive that waits
        self._is_open = True
        self._reader = threading.Thread(target=self._read, name="port-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="port-writer", daemon=True)
        self._reader.start()
        self._writer.start()

    def send(self, output: Output) -> None:
        """Hand over output; a Stop drops the Drive that waits."""
        with self._condition:
            if output.urgent:
                self._urgent += output.urgent
                self._drive = None
            self._later += output.ordered
            if self._drive is None or output.drive is not None:
                self._ordered += self._later
                self._later = []
            if output.drive is not None:
                self._drive = output.drive
            self._condition.notify()

    def play_fault(self, line: str) -> None:
        """Tell the simulator a fault, without waiting.

        Raises:
            UsageError: there is no simulator at the other end, or the line makes no sense.
            PortLost: the simulator is gone, or does not listen.
        """
        if not isinstance(self._transport, FaultPlayer):
            raise UsageError("there is no simulator at the other end of this line")
        self._transport.play_fault(line)

    def close(self) -> None:
        """Have what waits written and the line let go, without waiting for either."""
        self._end()

    def join(self, timeout_s: float) -> None:
        """Wait until the line has been let go."""
        self._writer.join(timeout_s)

    def _read(self) -> None:
        try:
            while self._is_open:
                received = self._transport.read()
                if received:
                    self._listener.received(received)
        except PortLost as error:
            self._gone(str(error))

    def _write(self) -> None:
        try:
            while self._write_next():
                pass
        except PortLost as error:
            self._gone(str(error))
        # The reader leaves within its time-out; closed under it, its descriptor's number might
        # already name another file.
        self._reader.join()
        self._transport.close()

    def _write_next(self) -> bool:
        """Wait for output and write it; return False once closed with nothing left."""
        with self._condition:
            while not (self._urgent or self._ordered or self._drive) and self._is_open:
                self._condition.wait()
            drive, self._drive = self._drive, None
            waiting = [*self._urgent, *self._ordered, drive or b"", *self._later]
            self._urgent, self._ordered, self._later = [], [], []
        sending = b"".join(waiting)
        if not sending:
            return False
        self._transport.write(sending)
        if drive is not None:
            self._listener.drive_written(self._clock.now_us())
        return True

    def _gone(self, explanation: str) -> None:
        if self._end():
            self._listener.port_gone(explanation)

    def _end(self) -> bool:
        """Have both threads end; return False if that was asked before."""
        with self._condition:
            was_open, self._is_open = self._is_open, False
            self._condition.notify()
        return was_open


class ReplyWriter:
    """Write replies to the interface on a thread, whether it reads or not."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._condition = threading.Condition()
        self._words: deque[Reply] = deque(maxlen=WORDS_MAX)
        self._snapshot: Snapshot | None = None
        self._frames: Frames | None = None
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="reply-writer", daemon=True)
        self._thread.start()

    def say(self, reply: Reply) -> None:
        """Hand over a reply."""
        with self._condition:
            if isinstance(reply, Snapshot):
                self._snapshot = reply
            elif isinstance(reply, Frames):
                self._frames = _joined(self._frames, reply)
            else:
                self._words.append(reply)
            self._condition.notify()

    def close(self, timeout_s: float) -> None:
        """Write what waits, within reason."""
        with self._condition:
            self._is_open = False
            self._condition.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with self._condition:
                    while not (self._words or self._snapshot or self._frames):
                        if not self._is_open:
                            return
                        self._condition.wait()
                    waiting: list[Reply] = list(self._words)
                    self._words.clear()
                    if self._snapshot is not None:
                        waiting.append(self._snapshot)
                        self._snapshot = None
                    if self._frames is not None:
                        waiting.append(self._frames)
                        self._frames = None
                self._connection.sendall(b"".join(to_line(reply) for reply in waiting))


def _joined(waiting: Frames | None, newer: Frames) -> Frames:
    """Return what waits, with the newer frames counted as dropped."""
    if waiting is None:
        return newer
    dropped_count = waiting.dropped_count + len(newer.frames) + newer.dropped_count
    return Frames(waiting.frames, dropped_count)


def read_requests(
    connection: socket.socket,
    on_request: Callable[[Request], None],
    on_mistake: Callable[[str], None],
    on_end: Callable[[], None],
) -> None:
    """Read lines until the interface's end closes; run in a thread."""
    try:
        with contextlib.suppress(OSError), connection.makefile("rb") as lines:
            while line := lines.readline(LINE_MAX):
                try:
                    request = from_line(line)
                except UsageError as error:
                    on_mistake(str(error))
                    continue
                if isinstance(request, Request):
                    on_request(request)
                else:
                    on_mistake(f"{type(request).__name__} is not a request")
    finally:
        # However reading ended: an engine that hears nobody must stop.
        on_end()
