"""The engine on a virtual clock: the same loop, stepped, with the simulator in this process.

Rules:
1. No thread, no sleep, no real clock: the same inputs give the same record, byte for byte.
2. Only this engine loads the simulator into its own process.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from typing import Any, Protocol

from estim.clock import VirtualClock
from estim.drivers.base import Output, Stimulator
from estim.drivers.registry import driver_name, make_driver
from estim.engine.loop import EngineLoop, Port
from estim.errors import UsageError
from estim.record.journal import Journal
from estim.record.writer import EventWriter, SynchronousWriter
from estim.session import events as ev
from estim.session.messages import Heartbeat, Reply, Request
from estim.session.states import ENERGISED
from estim.transport.serial_port import parse_address

HEARTBEAT_US = 100_000
SEED_MODULUS = 1 << 32
SNAPSHOT_US = 500_000
PLAY_OUT_US = 1_000_000


class SteppedDevice(Protocol):
    """The device side, as `estim.simulator.device` offers it."""

    def receive(self, received: bytes, now_us: int) -> None:
        """Take bytes from the host."""

    def advance(self, now_us: int) -> None:
        """Play everything that falls due up to `now_us`."""

    def take_output(self, now_us: int) -> bytes:
        """Return bytes for the host."""

    def next_deadline_us(self) -> int | None:
        """Return when something falls due next."""

    def schedule(self, fault: Any, now_us: int) -> None:
        """Let a fault happen."""


class VirtualEngine:
    """Run a visit in stepped time; `step` moves to the next moment at which anything happens."""

    def __init__(self, seed: int) -> None:
        self.clock = VirtualClock()
        self._random = random.Random(seed)
        self._seed = seed
        self._device: SteppedDevice | None = None
        self._trace: Any = None
        self._channel_count = 0
        self._replies: list[Reply] = []
        self._beat = 0
        self._beat_due_us = 0
        self._has_delivered = False
        self._next_id = 1
        self._loop = EngineLoop(self, self.clock, SNAPSHOT_US)

    @property
    def has_ended(self) -> bool:
        """Tell whether the visit is over."""
        return self._loop.has_ended

    def new_id(self) -> int:
        """Return a fresh request id."""
        self._next_id += 1
        return self._next_id - 1

    def send(self, request: Request) -> None:
        """Make a request now."""
        self._loop.post(ev.RequestMade(request))

    def take_replies(self) -> list[Reply]:
        """Return what the engine said since the last call."""
        replies, self._replies = self._replies, []
        return replies

    def step(self, until_us: int | None = None) -> None:
        """Move to the next deadline, or to `until_us` if that comes first, and serve it."""
        due = [self._loop.next_deadline_us()]
        device_us = self._device.next_deadline_us() if self._device is not None else None
        if device_us is not None:
            due.append(device_us)
        is_energised = self._loop.core.state in ENERGISED
        if is_energised:
            due.append(self._beat_due_us)
        if until_us is not None:
            due.append(until_us)
        now_us = max(self.clock.now_us(), min(due))
        self.clock.advance_to(now_us)
        if is_energised and now_us >= self._beat_due_us:
            self._beat += 1
            self._beat_due_us = now_us + HEARTBEAT_US
            self.send(Heartbeat(self._beat))
        self._loop.wake()
        if device_us is not None and device_us <= now_us:
            self._exchange(now_us)
        self._loop.turn()
        # What the turn sent is answered at this very time.
        while self._has_delivered:
            self._exchange(now_us)

    def _exchange(self, now_us: int) -> None:
        self._has_delivered = False
        if self._device is None:
            return
        received = self._device.take_output(now_us)
        if received:
            self._loop.receive(received)

    def close(self) -> None:
        """Let go of everything."""
        self._loop.end()
        self.unplug()

    # World.

    def open_port(self, url: str, now_us: int) -> tuple[Port, Stimulator] | None:
        if driver_name(url) != "sim":
            raise UsageError(f"the virtual clock drives sim: alone, not {url}")
        driver = make_driver(url, self._random.getrandbits(64) or 1)
        _, query = parse_address(url.removeprefix("sim:"))
        query.setdefault("seed", str(self._seed % SEED_MODULUS))
        options: Any = importlib.import_module("estim.simulator.options")
        chosen = options.SimulatorOptions.from_query(query)
        self._channel_count = chosen.channel_count()
        self._device, self._trace = chosen.build(now_us)
        return _SteppedPort(self), driver

    def make_writer(
        self,
        journal: Journal,
        on_durable: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> EventWriter:
        return SynchronousWriter(journal, on_durable, on_failure)

    def say(self, reply: Reply) -> None:
        self._replies.append(reply)

    def play_fault(self, line: str) -> None:
        if self._device is None:
            raise UsageError("no device is connected")
        faults: Any = importlib.import_module("estim.simulator.faults")
        fault = faults.parse_line(line, self._channel_count)
        if fault is None:
            raise UsageError("expected a fault")
        self._device.schedule(fault, self.clock.now_us())

    def deliver(self, output: Output) -> None:
        """Hand bytes to the device at once."""
        now_us = self.clock.now_us()
        if self._device is None:
            return
        self._has_delivered = True
        self._device.receive(
            b"".join((*output.urgent, *output.ordered, output.drive or b"")), now_us
        )
        if output.drive is not None:
            self._loop.post(ev.DriveWritten(now_us))

    def unplug(self) -> None:
        """Let the device play out what its lease still allows, and forget it."""
        if self._device is not None:
            self._device.advance(self.clock.now_us() + PLAY_OUT_US)
        self._device = None
        if self._trace is not None:
            self._trace.close()
            self._trace = None


class _SteppedPort:
    """A line without delay."""

    def __init__(self, engine: VirtualEngine) -> None:
        self._engine = engine

    def send(self, output: Output) -> None:
        self._engine.deliver(output)

    def close(self) -> None:
        self._engine.unplug()
