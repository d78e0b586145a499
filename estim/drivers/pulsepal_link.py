"""What a PulsePal was asked and what has not been answered yet.

Rules:
1. One request is on its way at a time; it is answered when all its messages are.
2. A greeting proves what was asked before it alone: after a Stop, as many greetings as were still
   owed are from before, and prove nothing.
3. Nothing new is asked while a greeting may still come that was asked for a Stop: it could be taken
   for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from estim.dialects import pulsepal
from estim.dialects.pulsepal import Awaited, Confirmation, Damage, Greeting, ReplyReader

DRAIN_US = 50_000
"""After a Stop, answers to its repeats may still come for so long."""


@dataclass(slots=True)
class Request:
    """Messages on their way.

    Attributes:
        left: how many answers have not come.
        answered: what follows once all have; takes the time.
        sent_us: when it was asked.
        due_us: when it is given up.
    """

    left: int
    answered: Callable[[int], None]
    sent_us: int
    due_us: int


class PulsePalLink:
    """Keep what was asked and what is owed."""

    def __init__(self) -> None:
        self.pending: Request | None = None
        self.firmware = 0
        self._reader = ReplyReader()
        self._owed_greetings = 0
        self._stale_greetings = 0
        self._drained_us = 0

    @property
    def is_owed(self) -> bool:
        """Tell whether a greeting that was asked for has not come."""
        return self._owed_greetings > 0

    def ask(
        self, messages: Sequence[bytes], answered: Callable[[int], None], now_us: int, limit_us: int
    ) -> bytes:
        """Expect the answers of messages, and return their bytes."""
        awaited = [pulsepal.answer_to(message) for message in messages]
        for each in awaited:
            if each is not None:
                self._expect(each)
        count = sum(each is not None for each in awaited)
        self.pending = Request(count, answered, now_us, now_us + limit_us)
        return b"".join(messages)

    def feed(self, received: bytes) -> list[Greeting | Confirmation | Damage]:
        """Return the answers that came."""
        found = self._reader.feed(received)
        for each in found:
            if isinstance(each, Greeting):
                self.firmware = each.firmware
                self._owed_greetings = max(0, self._owed_greetings - 1)
        return found

    def take(self) -> Request | None:
        """Count an answer; return the request that is whole with it."""
        request = self.pending
        if request is None:
            return None
        request.left -= 1
        if request.left:
            return None
        self.pending = None
        return request

    def is_overdue(self, now_us: int) -> bool:
        """Give up a request whose answers did not come in time."""
        if self.pending is None or now_us < self.pending.due_us:
            return False
        self.pending = None
        return True

    def begin_stop(self) -> None:
        """Wait for nothing from before, but for greetings that would be mistaken for later ones."""
        self.pending = None
        self._stale_greetings = self._owed_greetings
        self._reader.forget()
        for _ in range(self._owed_greetings):
            self._reader.expect(Awaited.HANDSHAKE)

    def ask_stopped(self) -> None:
        """Expect the greeting behind an abort."""
        self._expect(Awaited.HANDSHAKE)

    def is_proof(self, found: Greeting | Confirmation | Damage) -> bool:
        """Tell whether an answer was asked for behind an abort."""
        if not isinstance(found, Greeting):
            return False
        if self._stale_greetings:
            self._stale_greetings -= 1
            return False
        return True

    def drain(self, now_us: int) -> int:
        """Leave time for greetings that nobody needs any more; return until when."""
        self._drained_us = now_us + DRAIN_US
        return self._drained_us

    def is_drained(self, now_us: int) -> bool:
        """Tell whether anything new may be asked."""
        if self._owed_greetings and now_us < self._drained_us:
            return False
        if self._owed_greetings:
            self.forget()
        return True

    def forget(self) -> None:
        """Wait for nothing more."""
        self._owed_greetings = 0
        self._reader.forget()

    def _expect(self, awaited: Awaited) -> None:
        self._reader.expect(awaited)
        if awaited is Awaited.HANDSHAKE:
            self._owed_greetings += 1
