"""The line to one engine: what it said last, and asking it for things. Knows no widget.

Rules:
1. `stop` sends at once, from any thread, and waits for nothing.
2. Nothing here starts or raises output by itself: each such call is one action of a person.
3. What came from the engine last is what is known; older than 500 ms by our own clock, nothing is.
4. Without an engine there is no session: what is left is the record, to be recovered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from estim.clock import SystemClock
from estim.engine.client import EngineClient
from estim.errors import DeviceFault, EstimError
from estim.session import messages
from estim.session.messages import Outcome, Reply, Request, Snapshot
from estim.session.states import ENERGISED, HostState

T = TypeVar("T")

KNOWN_US = 500_000
REQUEST_S = 10.0
SNAPSHOT_S = 2.0
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one stimulation delivered; pulses and highest current shown per channel."""

    profile_id: str
    delivered_ms: int
    plateau_ms: int
    pulse_counts: tuple[int, ...]
    highest_ua: tuple[int, ...]


class EngineLink:
    """Hold an engine and the newest it said.

    Args:
        on_reply: called with each reply, in the engine client's thread, after it was taken in.
        on_end: called with the reason, in that thread, when the engine has gone unasked.
    """

    def __init__(self, on_reply: Callable[[Reply], None], on_end: Callable[[str], None]) -> None:
        self.snapshot: Snapshot | None = None
        self.record_path: Path | None = None
        self.step_ua = 0
        self.is_ended = False
        self.is_lost = False
        self._end_reason = ""
        self._finished: list[Delivered] = []
        self._current: Delivered | None = None
        self._on_reply = on_reply
        self._on_end = on_end
        self._clock = SystemClock()
        self._heard_us = 0
        self._is_leaving = False
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._own_ids: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._client = EngineClient.spawn(self._take, self._end)

    # What is known.

    def is_known(self) -> bool:
        """Tell whether the newest snapshot is fresh, and its report too (rule 3)."""
        if self.snapshot is None:
            return False
        if self.snapshot.state is HostState.CLOSED:
            return True  # sealed after zero was confirmed; the engine says no more
        age_us = self._clock.now_us() - self._heard_us
        has_device = self.snapshot.state is not HostState.DISCONNECTED
        return age_us <= KNOWN_US and (self.snapshot.is_known or not has_device)

    @property
    def engine_pid(self) -> int:
        """Return the process id of the engine."""
        return self._client.pid

    @property
    def is_energised(self) -> bool:
        """Tell whether output is possible, as far as anybody knows."""
        if self.is_ended or self.snapshot is None:
            return False
        return self.snapshot.state in ENERGISED or self.snapshot.state is HostState.STOPPING

    @property
    def deliveries(self) -> tuple[Delivered, ...]:
        """Return what was delivered so far, one entry for each stimulation."""
        return (*self._finished, *([self._current] if self._current else []))

    def is_waited_for(self, request_id: int) -> bool:
        """Tell whether a call of this object reports the outcome of a request by itself."""
        return request_id in self._own_ids

    # What a person asks for.

    def raise_channels(self, channels: tuple[int, ...]) -> None:
        """Ask for one step more; the engine records, reviews, and may refuse."""
        self._client.send(messages.Raise(self._client.new_id(), channels, "key"))

    def lower_channels(self, channels: tuple[int, ...]) -> None:
        """Go down by one step."""
        self._client.send(messages.Lower(self._client.new_id(), channels, self.step_ua))

    def rearm(self, channels: tuple[int, ...], latch_count: int) -> None:
        """Clear the lead-off latch of channels; `latch_count` is the one that was on screen."""
        self._client.send(messages.Rearm(self._client.new_id(), channels, latch_count))

    def acknowledge(self, latch_count: int) -> None:
        """Acknowledge the fault; `latch_count` is the one that was on screen."""
        self._client.send(messages.Acknowledge(self._client.new_id(), latch_count))

    def note(self, kind: str, content: dict[str, Any]) -> None:
        """Have something kept in the record; a refusal comes back as its outcome."""
        if not self.is_ended:
            self._client.send(messages.Annotate(self._client.new_id(), kind, content))

    def ask(self, kind: Callable[[int], Request]) -> None:
        """Send a request that carries only its number: Pause, Resume, Finish."""
        self._client.send(kind(self._client.new_id()))

    def stop(self, reason: str = "stop key") -> None:
        """Send Stop now (rule 1)."""
        if not self.is_ended:
            self._client.send(messages.Stop(self._client.new_id(), reason))

    def heartbeat(self, beat: int) -> None:
        """Tell the engine that the display has shown a beat."""
        if not self.is_ended:
            self._client.heartbeat(beat)

    async def must(self, build: Callable[[int], Request]) -> None:
        """Make a request and wait for its outcome.

        Raises:
            EstimError: it was refused or failed, in the class that its exit code names.
        """
        if self.is_ended:
            raise DeviceFault(f"the engine has ended: {self._end_reason}")
        number = self._client.new_id()
        self._own_ids.add(number)
        waiting = self._waiting[number] = self._loop.create_future()
        self._client.send(build(number))
        try:
            outcome = await asyncio.wait_for(waiting, REQUEST_S)
        except TimeoutError:
            raise DeviceFault("the engine did not answer in time") from None
        finally:
            self._waiting.pop(number, None)
        if not outcome.is_done:
            raise messages.error_of(outcome)

    async def next_snapshot(self) -> Snapshot:
        """Wait for a snapshot that came after this call.

        Raises:
            DeviceFault: the engine says nothing, or has ended.
        """
        before = self.snapshot
        for _ in range(int(SNAPSHOT_S / _LOOK_S)):
            if self.is_ended:
                raise DeviceFault(f"the engine has ended: {self._end_reason}")
            if self.snapshot is not None and self.snapshot is not before:
                return self.snapshot
            await asyncio.sleep(_LOOK_S)
        raise DeviceFault("the engine does not say how things stand")

    async def close(self, reason: str = "closed") -> None:
        """Seal the record and end the engine.

        Raises:
            EstimError: output is on, or the record cannot be sealed.
        """
        self._is_leaving = True
        try:
            await self.must(lambda number: messages.CloseVisit(number, reason))
        except EstimError:
            self._is_leaving = False
            raise
        await asyncio.to_thread(self._client.close)
        self.is_ended = True

    def abandon(self) -> None:
        """Let go of the engine: at the end of its input it stops and closes the record."""
        self._is_leaving = True
        self._client.close()

    # What the engine says; in the client's thread.

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Snapshot):
            self._heard_us = self._clock.now_us()
            self.snapshot = reply
            if reply.record_path:
                self.record_path = Path(reply.record_path)
            self._count(reply)
        elif isinstance(reply, Outcome):
            self._in_loop(self._settle, reply)
        self._on_reply(reply)

    def _count(self, snapshot: Snapshot) -> None:
        """Keep what was delivered, one entry for each programme loaded."""
        current = self._current
        if current is not None and snapshot.delivered_ms < current.delivered_ms:
            self._finished.append(current)
            current = None
        if snapshot.delivered_ms == 0:
            self._current = None
            return
        before = current.highest_ua if current else (0,) * len(snapshot.channels)
        self._current = Delivered(
            snapshot.profile_id,
            snapshot.delivered_ms,
            snapshot.plateau_ms,
            tuple(channel.pulse_count for channel in snapshot.channels),
            tuple(
                max(highest, channel.shown_ua)
                for highest, channel in zip(before, snapshot.channels, strict=True)
            ),
        )

    def _settle(self, outcome: Outcome) -> None:
        waiting = self._waiting.pop(outcome.request_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    def _end(self, reason: str) -> None:
        self._end_reason = reason
        self.is_ended = True
        if self.snapshot is not None:
            self.snapshot = replace(self.snapshot, is_known=False)
        self._in_loop(self._give_up, reason)
        if not self._is_leaving:
            self.is_lost = True
            self._on_end(reason)

    def _in_loop(self, call: Callable[[T], None], argument: T) -> None:
        """Call in the interface's loop, unless that has closed already."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, argument)

    def _give_up(self, reason: str) -> None:
        for request_id in list(self._waiting):
            self._settle(Outcome(request_id, False, (f"the engine has ended: {reason}",), 5))
