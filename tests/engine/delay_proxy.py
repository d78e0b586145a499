"""A network between a host and a device, as bad as a test wants it: a TCP relay on loopback.

What is held up is delivered later, in order and whole, as TCP does: nothing is lost but by a cut.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import deque
from types import TracebackType
from urllib.parse import urlsplit

_CHUNK = 65_536


class Direction:
    """One way through the relay; its figures, shared with the relay, may change at any time."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, figures: dict[str, float], piece_size: int
    ) -> None:
        self._figures = figures
        self._piece_size = piece_size
        self.flows = threading.Event()
        self.flows.set()
        self._source = source
        self._sink = sink
        self._random = random.Random(piece_size)
        self._condition = threading.Condition()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._take, self._deliver)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        self.flows.set()
        for thread in self._threads:
            thread.join(5.0)

    def _take(self) -> None:
        received = b"?"
        while received:
            try:
                received = self._source.recv(self._piece_size)
            except OSError:
                received = b""
            late_s = self._figures["delay_s"] + self._random.random() * self._figures["jitter_s"]
            due_s = time.monotonic() + late_s
            with self._condition:
                self._waiting.append((due_s, received))
                self._condition.notify()

    def _deliver(self) -> None:
        while True:
            with self._condition:
                while not self._waiting:
                    self._condition.wait()
                due_s, sending = self._waiting.popleft()
            time.sleep(max(0.0, due_s - time.monotonic()))
            self.flows.wait()
            try:
                if not sending:
                    self._sink.shutdown(socket.SHUT_WR)
                    return
                self._sink.sendall(sending)
            except OSError:
                return


class DelayProxy:
    """A relay in front of `socket://HOST:PORT`; one host at a time."""

    def __init__(
        self,
        target: str,
        *,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        piece_size: int = _CHUNK,
    ) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = parts.hostname, parts.port
        self.figures = {"delay_s": delay_s, "jitter_s": jitter_s}
        self._piece_size = piece_size
        self.connection_count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"native:socket://127.0.0.1:{self.port}"
        self.to_device: Direction | None = None
        self.to_host: Direction | None = None
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> DelayProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A thread that waits in accept() is not woken by closing what it waits on.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5.0)
        self._listener.close()
        self.cut()
        for way in self.ways():
            way.join()

    def ways(self) -> list[Direction]:
        """Return both ways, none before a host has come."""
        return [way for way in (self.to_device, self.to_host) if way is not None]

    def set_delay(self, delay_s: float) -> None:
        """Hold up by this much what comes from now on, either way."""
        self.figures["delay_s"] = delay_s

    def stall(self, *ways: Direction | None) -> None:
        """Deliver nothing, on both ways or on these."""
        for way in ways or self.ways():
            assert way is not None
            way.flows.clear()

    def flow(self) -> None:
        """Deliver again, beginning with what was held up."""
        for way in self.ways():
            way.flows.set()

    def cut(self) -> None:
        """Break the connection."""
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._sockets = []

    def _accept(self) -> None:
        while True:
            try:
                host, _ = self._listener.accept()
            except OSError:
                return
            device = socket.create_connection(self._target, 5.0)
            device.settimeout(None)
            for end in (host, device):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [host, device]
            self.connection_count += 1
            self.to_device = Direction(host, device, self.figures, self._piece_size)
            self.to_host = Direction(device, host, self.figures, self._piece_size)
