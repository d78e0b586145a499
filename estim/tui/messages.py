"""What the application tells its screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.message import Message

if TYPE_CHECKING:
    from estim.session.messages import Notice, Outcome, Reply


class EngineTold(Message):
    """The engine sent a notice, or the outcome of a request; the rest has ways of its own."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = cast("Notice | Outcome", reply)


class StateChanged(Message):
    """The newest snapshot has another state or fault than the one before."""


class EngineGone(Message):
    """The engine has ended without being asked."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason
