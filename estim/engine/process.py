"""The engine's main: port, clock, session and record in one small process.

Started as `python -m estim.engine FD`, FD being its end of a socket pair.

Rules:
1. It ends when its interface asks, or is gone; without an interface it turns for `ORPHAN_S` at
   most, even where the disk does not answer, and lets go of record, line and replies within
   `LET_GO_S`. What holds the loop itself, a record that is being opened, holds no orphan longer.
2. It opens a port only once the one before has been let go.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

from estim.clock import SystemClock
from estim.drivers.base import Stimulator
from estim.drivers.registry import make_driver, open_transport
from estim.engine.inbox import Inbox
from estim.engine.inhibit import Inhibitor
from estim.engine.lines import ReplyWriter, ThreadedPort, read_requests
from estim.engine.loop import EngineLoop, Port, is_urgent
from estim.engine.viewers import Viewers, viewers_folder
from estim.errors import EstimError, PortLost, UsageError
from estim.priority import ask_to_come_first
from estim.record.journal import Journal
from estim.record.writer import EventWriter, RecordWriter
from estim.session import events as ev
from estim.session.messages import Blame, Heartbeat, Notice, Reply, Request, Severity, Snapshot
from estim.session.states import ENERGISED

WAIT_MAX_S = 0.1
ORPHAN_S = 5.0
LET_GO_S = 2.0
HELD = 1
"""Exit code of an orphan whose loop was held."""
PORT_END_S = 0.5
JOBS_PER_TURN = 64
"""Then deadlines are served, whatever still waits."""
RECEIVED_MAX = 64
"""Chunks from the line that may wait; beyond them the reader waits, and with it the sender."""


class EngineProcess:
    """Join the loop to threads, signals and the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._clock = SystemClock()
        self._inbox = Inbox()
        self._replies = ReplyWriter(connection)
        self._viewers = Viewers(viewers_folder())
        self._loop = EngineLoop(self, self._clock, inhibitor=Inhibitor())
        self._port: ThreadedPort | None = None
        self._room = threading.BoundedSemaphore(RECEIVED_MAX)
        self._end_by_us: int | None = None
        self._is_orphan = threading.Event()
        threading.Thread(
            target=read_requests,
            args=(connection, self._take_request, self._take_mistake, self._take_end),
            name="request-reader",
            daemon=True,
        ).start()

    def run(self) -> None:
        """Turn until the visit ends."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._outlast, name="orphan-end", daemon=True).start()
        gc.collect()
        gc.freeze()
        try:
            while not self._loop.has_ended and not self._is_overdue():
                waiting_us = self._loop.next_deadline_us() - self._clock.now_us()
                job = self._inbox.get(min(max(waiting_us / 1e6, 0.0), WAIT_MAX_S))
                self._loop.wake()
                for _ in range(JOBS_PER_TURN - 1):
                    if job is None:
                        break
                    job()
                    job = self._inbox.get(0.0)
                if job is not None:
                    job()
                self._loop.turn()
                if (self._loop.core.state in ENERGISED) is gc.isenabled():
                    gc.disable() if gc.isenabled() else gc.enable()
        finally:
            self._loop.end()
            if self._port is not None:
                self._port.join(PORT_END_S)
            self._viewers.close()
            self._replies.close(0.5)

    # World.

    def open_port(self, url: str, now_us: int) -> tuple[Port, Stimulator] | None:
        """Open in a thread: an address on a network may take its time."""
        # 0 is what a device without an epoch sends. Not `secrets`: it loads for 10 ms.
        epoch = int.from_bytes(os.urandom(8), "big") or 1
        former = self._port

        def work() -> None:
            try:
                driver = make_driver(url, epoch)
                if former is not None:
                    former.join(PORT_END_S)
                port = self._port = ThreadedPort(open_transport(url), self, self._clock)
            except (EstimError, OSError) as error:  # OSError: no simulator could be started
                lost = error if isinstance(error, EstimError) else PortLost(f"{url}: {error}")
                failure = ev.PortFailed(lost)
                self._post(lambda: self._loop.post(failure))
                return
            self._post(lambda: self._loop.port_opened(port, driver))

        threading.Thread(target=work, name="port-opener", daemon=True).start()
        return None

    def make_writer(
        self,
        journal: Journal,
        on_durable: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> EventWriter:
        return RecordWriter(
            journal,
            lambda token: self._post(lambda: on_durable(token)),
            lambda text: self._post(lambda: on_failure(text)),
        )

    def say(self, reply: Reply) -> None:
        self._replies.say(reply)
        if isinstance(reply, Snapshot):
            self._viewers.publish(reply)

    def play_fault(self, line: str) -> None:
        if self._port is None:
            raise UsageError("no device is connected")
        self._port.play_fault(line)

    # Threads.

    def received(self, received: bytes) -> None:
        """Take bytes from the port's reader."""
        if not self._room.acquire(timeout=1.0):
            return  # the loop stands still: what comes now will be stale by then

        def take() -> None:
            self._room.release()
            self._loop.receive(received)

        self._post(take)

    def drive_written(self, at_us: int) -> None:
        """Take a time from the port's writer."""
        self._post(lambda: self._loop.post(ev.DriveWritten(at_us)))

    def port_gone(self, explanation: str) -> None:
        """Take the end of the port from its threads."""
        self._post(lambda: self._loop.post(ev.PortGone(explanation)))

    def _take_request(self, request: Request) -> None:
        event = ev.RequestMade(request)
        urgent = is_urgent(request) or isinstance(request, Heartbeat)
        self._post(lambda: self._loop.post(event), urgent)

    def _take_mistake(self, text: str) -> None:
        self.say(Notice(self._clock.now_us(), Severity.WARNING, text, "", Blame.HOST))

    def _take_end(self) -> None:
        self._end_by_us = self._clock.now_us() + int(ORPHAN_S * 1e6)
        self._is_orphan.set()
        self._post(lambda: self._loop.post(ev.InterfaceGone()), True)

    def _outlast(self) -> None:
        """End the process of an orphan that has not ended by itself, whatever holds its loop."""
        self._is_orphan.wait()
        time.sleep(ORPHAN_S + LET_GO_S)
        os._exit(HELD)

    def _is_overdue(self) -> bool:
        return self._end_by_us is not None and self._clock.now_us() > self._end_by_us

    def _on_signal(self, number: int, frame: object) -> None:
        name = signal.Signals(number).name
        self._post(lambda: self._loop.post(ev.Interrupted(name)), True)

    def _post(self, job: Callable[[], None], urgent: bool = False) -> None:
        self._inbox.put(job, urgent)


def main(descriptor: int) -> int:
    """Run the engine on an inherited socket; return its exit code."""
    ask_to_come_first()
    with socket.socket(fileno=descriptor) as connection:
        EngineProcess(connection).run()
    return 0
