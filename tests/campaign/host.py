"""The real engine, stepped: loop, core, kernel, driver and record, in a world that may fail.

Rules:
1. Nothing of the product is replaced but its threads and its clock: what threads would do, the
   world does at virtual instants.
2. A host that is stopped takes nothing; what came meanwhile waits for its next turn, in order. A
   loop that is stalled does not turn, while its threads go on.
3. A host that is killed is gone with what waited; one that raised ends as `engine.process` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Protocol

from estim.drivers.base import Output, Stimulator
from estim.drivers.registry import make_driver
from estim.engine.loop import EngineLoop, Port, is_urgent
from estim.errors import PortLost
from estim.record.journal import Journal
from estim.record.writer import EventWriter
from estim.session import events as ev
from estim.session.messages import Heartbeat, Reply, Request, from_line, to_line
from tests.campaign.clocks import HostClock
from tests.campaign.disk import Disk, SteppedWriter
from tests.campaign.log import HostLife

JOBS_PER_TURN = 64
LEAST_TURN_US = 100
"""No loop turns quicker than this."""


class Surroundings(Protocol):
    """What a host is connected with."""

    def carry(self, octets: bytes, host: HostLife) -> None:
        """Take bytes for the device."""

    def show(self, reply: Reply, host: HostLife) -> None:
        """Take a reply for the interface."""

    def play_fault(self, line: str) -> None:
        """Let the simulator play a fault."""


class Host:
    """One engine, from start to end."""

    def __init__(
        self, around: Surroundings, life: HostLife, clock: HostClock, disk: Disk, epochs: Random
    ) -> None:
        self.life = life
        self.clock = clock
        self.disk = disk
        self.is_alive = True
        self.stopped_until_us = 0
        self.stalled_until_us = 0
        self.writes_blocked_until_us = 0
        self.raises_next = False
        self._around = around
        self._epochs = epochs
        self._urgent: deque[Callable[[], None]] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        self._writer: SteppedWriter | None = None
        self._disk_due_us: int | None = None
        self._port: _LinePort | None = None
        self._turned_us = -LEAST_TURN_US
        disk.on_sync = lambda size: life.synced.append((clock.true_us, size))
        disk.on_failure = self._note_failure
        self.loop = EngineLoop(self, clock, file_ops=disk)

    # What the surroundings do.

    def request(self, request: Request) -> None:
        """Take a request over the interface's socket."""
        event = ev.RequestMade(from_line(to_line(request)))  # type: ignore[arg-type]
        first = is_urgent(request) or isinstance(request, Heartbeat)
        (self._urgent if first else self._jobs).append(lambda: self.loop.post(event))

    def interface_gone(self) -> None:
        self._urgent.append(lambda: self.loop.post(ev.InterfaceGone()))

    def interrupted(self) -> None:
        self._urgent.append(lambda: self.loop.post(ev.Interrupted("SIGTERM")))

    def port_gone(self) -> None:
        if self._port is not None:
            self._port.is_open = False
            self._port = None
            self._jobs.append(lambda: self.loop.post(ev.PortGone("the cable was pulled")))

    def receive(self, received: bytes) -> None:
        if self._port is not None:
            self._jobs.append(lambda: self.loop.receive(received))

    def kill(self) -> None:
        """End without a word, as by SIGKILL."""
        self.is_alive = False
        self._port = None
        if self._writer is not None:
            self._writer.kill()

    def end(self) -> None:
        """End as the process does, after an exception too."""
        if self.is_alive:
            self.loop.end()
            self.is_alive = False
            self._port = None

    # Time.

    def next_us(self, now_us: int) -> int | None:
        """Return when this host does something next, in true time."""
        if not self.is_alive:
            return None
        if self._urgent or self._jobs:
            due_us = now_us
        else:
            due_us = self.clock.when(self.loop.next_deadline_us())
        due_us = max(due_us, self._turned_us + LEAST_TURN_US, self.stalled_until_us)
        if self._disk_due_us is not None:
            due_us = min(due_us, max(self._disk_due_us, self.disk.busy_until_us))
        if self._port is not None and self._port.waits:
            due_us = min(due_us, max(now_us, self.writes_blocked_until_us))
        return max(due_us, self.stopped_until_us)

    def advance(self, now_us: int) -> None:
        """Do what is due: the threads' work, then a turn."""
        if now_us < self.stopped_until_us:
            return
        self._serve_disk(now_us)
        if self._port is not None and now_us >= self.writes_blocked_until_us:
            self._port.write()
        if now_us < max(self.stalled_until_us, self._turned_us + LEAST_TURN_US):
            return
        if not (self._urgent or self._jobs) and now_us < self.clock.when(
            self.loop.next_deadline_us()
        ):
            return
        self._turned_us = now_us
        try:
            self._turn()
        except _Raised:
            self.end()
        if self.loop.has_ended:
            self.end()
        if self._writer is not None and self._writer.has_work and self._disk_due_us is None:
            self._disk_due_us = now_us + self.disk.latency_us

    def _turn(self) -> None:
        """Turn as `engine.process` turns."""
        self.loop.wake()
        for _ in range(JOBS_PER_TURN):
            if not (self._urgent or self._jobs):
                break
            (self._urgent or self._jobs).popleft()()
        if self.raises_next:
            raise _Raised
        self.loop.turn()

    def _serve_disk(self, now_us: int) -> None:
        if self._disk_due_us is None or self._writer is None:
            return
        if now_us < max(self._disk_due_us, self.disk.busy_until_us):
            return
        self._writer.step()
        self._disk_due_us = now_us + self.disk.latency_us if self._writer.has_work else None

    def _note_failure(self) -> None:
        if self.life.disk_failed_us is None and self._writer is not None:
            self.life.disk_failed_us = self.clock.true_us

    # World, as `engine.loop` asks for it.

    def open_port(self, url: str, now_us: int) -> tuple[Port, Stimulator] | None:
        if self._port is not None:
            raise PortLost(f"{url}: in use")
        self._port = _LinePort(self)
        epoch = self._epochs.getrandbits(64) or 1
        self.life.epochs.append(epoch)
        return self._port, make_driver(url, epoch)

    def make_writer(
        self,
        journal: Journal,
        on_durable: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> EventWriter:
        self.life.record = Path(journal.path)
        self._writer = SteppedWriter(
            journal,
            lambda token: self._jobs.append(lambda: on_durable(token)),
            lambda text: self._jobs.append(lambda: on_failure(text)),
        )
        return self._writer

    def say(self, reply: Reply) -> None:
        self._around.show(reply, self.life)

    def play_fault(self, line: str) -> None:
        self._around.play_fault(line)

    # The line.

    def wrote(self, octets: bytes, has_drive: bool) -> None:
        """Put bytes on the line, as the port's writer does."""
        self._around.carry(octets, self.life)
        if has_drive:
            at_us = self.clock.now_us()
            self._jobs.append(lambda: self.loop.post(ev.DriveWritten(at_us)))

    def port_closed(self, port: _LinePort) -> None:
        if self._port is port:
            self._port = None


class _Raised(Exception):
    """Stand for any exception that nobody expected."""


class _LinePort:
    """What `lines.ThreadedPort` does: nothing queues but orders; the newest Drive alone waits."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._urgent: list[bytes] = []
        self._ordered: list[bytes] = []
        self._drive: bytes | None = None
        self.is_open = True

    @property
    def waits(self) -> bool:
        return bool(self._urgent or self._ordered or self._drive)

    def send(self, output: Output) -> None:
        if output.urgent:
            self._urgent += output.urgent
            self._drive = None
        self._ordered += output.ordered
        if output.drive is not None:
            self._drive = output.drive
        if self._host.clock.true_us >= self._host.writes_blocked_until_us:
            self.write()

    def write(self) -> None:
        octets = b"".join(self._urgent) + b"".join(self._ordered)
        drive, self._drive = self._drive, None
        self._urgent, self._ordered = [], []
        if self.is_open and (octets or drive):
            self._host.wrote(octets + (drive or b""), drive is not None)

    def close(self) -> None:
        self.write()
        self.is_open = False
        self._host.port_closed(self)
