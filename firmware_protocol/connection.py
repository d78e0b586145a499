"""One end of the line, without I/O: messages in, bytes out, and back.

Rules:
1. Sequences count per direction over all messages and are compared as in RFC 1982; a frame that is
   not newer than the newest is dropped.
2. `Stop` is outside that order: it neither needs nor moves the window.
3. Only frames of the current epoch come out; a device also lets through every `Hello` and `Stop`,
   and nothing else before its first epoch.
4. Damaged frames are counted and reported, and never end the connection.
5. How the bytes were cut on their way changes nothing: a frame is judged after everything before it
   was acted on.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from firmware_protocol import codec, framing
from firmware_protocol.errors import FrameError, MessageError
from firmware_protocol.messages import TO_DEVICE, TO_HOST, Hello, Message, Stop

SEQUENCE_MODULUS = 1 << 16
_HALF_WINDOW = 1 << 15


class Role(Enum):
    """Which end of the line this is."""

    HOST = TO_HOST
    DEVICE = TO_DEVICE


class Received(NamedTuple):
    """A message came in."""

    message: Message
    sequence: int
    epoch: int


class Damaged(NamedTuple):
    """Bytes came in that are no message for this end."""

    reason: str


class Dropped(NamedTuple):
    """A whole message came in that is not for now: another epoch, or an old sequence."""

    message: Message
    reason: str


def is_newer(sequence: int, than: int) -> bool:
    """Compare two sequence numbers as in RFC 1982 with 16 bits."""
    return 0 < (sequence - than) % SEQUENCE_MODULUS < _HALF_WINDOW


class Connection:
    """Keep epoch, sequences and frame boundaries of one end."""

    def __init__(self, role: Role, epoch: int | None = None) -> None:
        self.role = role
        self._inward = role.value
        self.epoch = epoch
        self.damaged_count = 0
        self.dropped_count = 0
        self._next_sequence = 0
        self._newest_received: int | None = None
        self._deframer = framing.Deframer()
        self._frames: deque[bytes | None] = deque()

    def adopt(self, epoch: int, newest_received: int | None = None) -> None:
        """Begin an epoch; a device also notes the sequence of the Hello that brought it."""
        self.epoch = epoch
        self._newest_received = newest_received

    def send(self, message: Message, epoch: int | None = None) -> bytes:
        """Return the frame of a message, with the next sequence.

        `epoch` replaces the connection's own in an Identity that does not take the Hello's.

        Raises:
            MessageError: a field does not fit its declared type.
        """
        sequence = self._next_sequence
        self._next_sequence = (sequence + 1) % SEQUENCE_MODULUS
        body = codec.encode_body(message, sequence, (self.epoch or 0) if epoch is None else epoch)
        return framing.encode_frame(body)

    @property
    def last_sequence(self) -> int:
        """Return the sequence of the message sent last."""
        return (self._next_sequence - 1) % SEQUENCE_MODULUS

    def receive_bytes(self, received: bytes) -> None:
        """Take bytes from the line, any number at any time."""
        self._frames.extend(self._deframer.feed(received))

    def next_event(self) -> Received | Damaged | Dropped | None:
        """Return what came in next, or None; judged now, in the epoch that holds now (rule 5)."""
        return self._judge(self._frames.popleft()) if self._frames else None

    def _judge(self, frame: bytes | None) -> Received | Damaged | Dropped:
        if frame is None:
            return self._damaged("frame too long")
        try:
            message, sequence, epoch = codec.decode_body(framing.decode_frame(frame))
        except (FrameError, MessageError) as error:
            return self._damaged(str(error))
        if message.direction != self._inward:
            return self._damaged(f"{type(message).__name__} came from the wrong end")
        if self.role is Role.DEVICE and isinstance(message, (Hello, Stop)):
            return Received(message, sequence, epoch)
        if epoch != self.epoch:
            return self._dropped(message, "another epoch")
        if self._newest_received is not None and not is_newer(sequence, self._newest_received):
            return self._dropped(message, "an old sequence")
        self._newest_received = sequence
        return Received(message, sequence, epoch)

    def _damaged(self, reason: str) -> Damaged:
        self.damaged_count += 1
        return Damaged(reason)

    def _dropped(self, message: Message, reason: str) -> Dropped:
        self.dropped_count += 1
        return Dropped(message, reason)
