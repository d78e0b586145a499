"""What the application tells its screens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from estim.session.messages import Notice, Outcome


class EngineTold(Message):
    """The engine sent a notice, or the outcome of a request."""

    def __init__(self, reply: Notice | Outcome) -> None:
        super().__init__()
        self.reply = reply


class StateChanged(Message):
    """The newest snapshot has another state or fault than the one before."""


class EngineGone(Message):
    """The engine has ended without being asked."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason
