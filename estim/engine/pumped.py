"""Engines that say something only when they are pumped, in real or in stepped time."""

from __future__ import annotations

import queue
from typing import Protocol

from estim.clock import SystemClock, VirtualClock
from estim.engine.client import EngineClient
from estim.engine.virtual import VirtualEngine
from estim.errors import DeviceFault
from estim.session.messages import Blame, Reply, Request

SILENT_S = 5.0


class Engine(Protocol):
    """An engine, in real or in stepped time."""

    @property
    def clock(self) -> SystemClock | VirtualClock:
        """Return the clock that the engine runs on."""

    @property
    def has_died(self) -> bool:
        """Tell, once closed, whether it ended otherwise than by itself."""

    def new_id(self) -> int:
        """Return a fresh request id."""

    def send(self, request: Request) -> None:
        """Make a request."""

    def pump(self, timeout_s: float) -> list[Reply]:
        """Let a little time pass and return what was said; raise DeviceFault once it has gone."""

    def close(self) -> None:
        """Let go."""


class RealEngine:
    """An engine process, with its replies in a queue."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.has_died = False
        self._silent_s = 0.0
        self._replies: queue.SimpleQueue[Reply | str] = queue.SimpleQueue()
        self._client = EngineClient.spawn(self._replies.put, self._replies.put)
        self._end = ""

    def new_id(self) -> int:
        return self._client.new_id()

    def send(self, request: Request) -> None:
        self._client.send(request)

    def pump(self, timeout_s: float) -> list[Reply]:
        if self._end:
            error = DeviceFault(self._end)
            error.blame = Blame.HOST.value
            raise error
        taken: list[Reply] = []
        try:
            reply = self._replies.get(timeout=timeout_s)
            self._silent_s = 0.0
            while True:
                if isinstance(reply, str):
                    self._end = reply
                    break
                taken.append(reply)
                reply = self._replies.get_nowait()
        except queue.Empty:
            self._note_silence(0.0 if taken else timeout_s)
        return taken

    def close(self) -> None:
        self.has_died = self._client.close() != 0

    def _note_silence(self, waited_s: float) -> None:
        """Give an engine up that says nothing; only time spent listening counts."""
        self._silent_s += waited_s
        if self._silent_s >= SILENT_S:
            self._end = "the engine stands still: the device has ended the output by itself"


class SteppedEngine(VirtualEngine):
    """A virtual engine that steps when it is pumped."""

    has_died = False

    def pump(self, timeout_s: float) -> list[Reply]:
        if not self.has_ended:
            self.step()
        replies = self.take_replies()
        if self.has_ended and not replies:
            raise DeviceFault("the engine has ended")
        return replies
