"""What a PulsePal makes of the bytes that come in: messages, as its firmware counts them off."""

from __future__ import annotations

from typing import NamedTuple

from estim.dialects import pulsepal
from estim.dialects.pulsepal import Opcode, Parameter

PULSE_BYTES = 6
HEAD_BYTES = 2
UNBOUNDED = -1
WAITING_MAX = 65_536
"""Bytes that wait at most, more than the longest message has; the rest is lost."""

_BODY_BYTES: dict[int, int] = {
    Opcode.HANDSHAKE: 0,
    Opcode.PROGRAM_ALL: 178,
    Opcode.TRIGGER: 1,
    Opcode.FIXED_VOLTAGE: 3,
    Opcode.ABORT: 0,
    Opcode.DISCONNECT: 0,
    Opcode.CONTINUOUS: 2,
    Opcode.READ_SETTINGS: 0,
    Opcode.WRITE_PIN: 2,
    Opcode.READ_PIN: 1,
    Opcode.CLIENT_NAME: 6,
}
_PARAMETERS = frozenset(Parameter)
_CUSTOM = (Opcode.CUSTOM_TRAIN_1, Opcode.CUSTOM_TRAIN_2)


class Command(NamedTuple):
    """One message; `opcode` may be one that nobody knows.

    Attributes:
        is_overlong: it announces more than the device has room for, which it does not check.
    """

    opcode: int
    body: bytes = b""
    is_overlong: bool = False


def value_size(parameter: int) -> int:
    """Return how many bytes follow a parameter's code and channel; none where it is unknown."""
    if parameter in pulsepal.TIMES:
        return 4
    if parameter in pulsepal.VOLTAGES:
        return 2
    return 1 if parameter in _PARAMETERS else 0


class CommandReader:
    """Take bytes, give messages; between two messages everything but a start byte is passed over.

    There is no checksum and no length but what a message itself implies: a lost byte makes it eat
    the next message.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing waits, not even the beginning of a message."""
        return not self._buffer

    def feed(self, received: bytes) -> None:
        """Take bytes from the line."""
        self._buffer += received[: WAITING_MAX - len(self._buffer)]

    def take(self) -> Command | None:
        """Return the next whole message; None where more must come."""
        start = self._buffer.find(pulsepal.START)
        del self._buffer[: start if start >= 0 else len(self._buffer)]
        if len(self._buffer) < HEAD_BYTES:
            return None
        size = self._body_size()
        if size == UNBOUNDED:
            self._buffer.clear()
            return Command(Opcode.CUSTOM_TRAIN_1, is_overlong=True)
        end = HEAD_BYTES + size
        if len(self._buffer) < end:
            return None
        command = Command(self._buffer[1], bytes(self._buffer[HEAD_BYTES:end]))
        del self._buffer[:end]
        return command

    def take_filled(self) -> Command:
        """Return the message begun, with zeros for all that has not come: the device gave up."""
        while (command := self.take()) is None:
            self._buffer += bytes(64)
        self._buffer.clear()
        return command

    def _body_size(self) -> int:
        """Return how long the body is, as far as what has come tells."""
        opcode, body = self._buffer[1], self._buffer[HEAD_BYTES:]
        if opcode == Opcode.PROGRAM_ONE:
            return 2 + (value_size(body[0]) if body else 0)
        if opcode in _CUSTOM:
            count = int.from_bytes(body[:4], "little") if len(body) >= 4 else 0
            return UNBOUNDED if count > pulsepal.CUSTOM_PULSES_MAX else 4 + count * PULSE_BYTES
        if opcode == Opcode.DISPLAY:
            return 1 + (body[0] if body else 0)
        if opcode == Opcode.SETTINGS_FILE:
            return 2 + (body[1] if len(body) > 1 else 0)
        return _BODY_BYTES.get(opcode, 0)
