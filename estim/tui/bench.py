"""The technician's line to the engine: frames as they pass, the self-test, faults, one at a time.

Rules:
1. `take` is called in the engine client's thread and only puts away; all else is the interface's.
2. What waits is bounded: the oldest frames are forgotten first, and how many is known.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from estim.clock import SystemClock
from estim.errors import LimitRefused
from estim.session import messages
from estim.session.messages import Frames, FrameSeen, Outcome, Reply, Request, SelfTestSeen
from estim.tui.controller import SessionController, SessionPlan

if TYPE_CHECKING:
    from estim.visit.course import Visit

FRAMES_KEPT = 2000
ANSWER_S = 10.0


class BenchLink:
    """Ask what only a technician asks, over the engine of a bench session."""

    def __init__(self, controller: SessionController) -> None:
        assert isinstance(controller.plan, SessionPlan)
        self.controller = controller
        self.plan: SessionPlan = controller.plan
        self.clock = SystemClock()
        self.self_test: SelfTestSeen | None = None
        self.injected: list[str] = []
        self.acceptance: Visit | None = None
        """The acceptance test of this session, as far as it was confirmed."""
        self.arrived: deque[FrameSeen] = deque(maxlen=FRAMES_KEPT)
        self.dropped_count = 0
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._loop = asyncio.get_running_loop()

    def take(self, reply: Reply) -> bool:
        """Take what is meant for the bench; False for the rest."""
        if isinstance(reply, Frames):
            self.arrived.extend(reply.frames)
            self.dropped_count += reply.dropped_count
            return True
        if isinstance(reply, SelfTestSeen):
            self.self_test = reply
            return True
        if isinstance(reply, Outcome) and reply.request_id in self._waiting:
            self._loop.call_soon_threadsafe(self._settle, reply)
            return True
        return False

    async def ask(self, build: Callable[[int], Request]) -> None:
        """Make a request and wait for its outcome.

        Raises:
            LimitRefused: the engine refused it, or is gone.
        """
        waiting: asyncio.Future[Outcome] = self._loop.create_future()
        numbers: list[int] = []

        def numbered(number: int) -> Request:
            numbers.append(number)
            self._waiting[number] = waiting
            return build(number)

        self.controller.ask(numbered)
        try:
            outcome = await asyncio.wait_for(waiting, ANSWER_S)
        except TimeoutError:
            raise LimitRefused("the engine did not answer in time") from None
        finally:
            del self._waiting[numbers[0]]
        if not outcome.is_done:
            raise LimitRefused("; ".join(outcome.reasons))

    async def watch(self, is_wanted: bool) -> None:
        """Begin or cease to be told frames; see `ask`."""
        await self.ask(lambda number: messages.Watch(number, is_wanted))

    async def inject(self, line: str) -> None:
        """Let something go wrong at the simulator; see `ask`."""
        await self.ask(lambda number: messages.InjectFault(number, line))
        self.injected.append(line)

    def _settle(self, outcome: Outcome) -> None:
        waiting = self._waiting.get(outcome.request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)
