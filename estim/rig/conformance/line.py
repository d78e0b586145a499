"""The line to the device under test: everything that it says, and anything that may be sent.

Rules:
1. What comes in is kept with its time, whole: also what a host would drop.
2. No thread: whoever waits, reads. `turn` alone reads, and looks first whether somebody asked to
   end.
3. It notices when this computer stood still: a lease that ended meanwhile is no fault of the
   device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from estim.clock import Clock
from estim.drivers.registry import Transport
from estim.rig.conformance.requirement import Interrupted
from firmware_protocol import codec, framing
from firmware_protocol.connection import SEQUENCE_MODULUS, Connection, Role
from firmware_protocol.errors import ProtocolError
from firmware_protocol.messages import Message

US_PER_MS = 1000


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the device.

    Attributes:
        at_us: when it had come in, on this computer's clock.
    """

    at_us: int
    message: Message
    sequence: int
    epoch: int


Where = Callable[[Heard], bool]


class Line:
    """Send to the device, and hear it."""

    def __init__(
        self, transport: Transport, clock: Clock, stop_reason: Callable[[], str] = lambda: ""
    ) -> None:
        self.transport = transport
        self.clock = clock
        self.connection = Connection(Role.HOST, 0)
        self.heard: list[Heard] = []
        self.damaged: list[str] = []
        self.watchers: list[Callable[[Heard], None]] = []
        self._stop_reason = stop_reason
        self._deframer = framing.Deframer()
        self._byte_count = self._message_count = 0
        self.stood_still_us = 0
        self._turned_us = clock.now_us()

    # Out.

    def send(
        self, message: Message, *, sequence: int | None = None, epoch: int | None = None
    ) -> int:
        """Send a message; return its sequence. A sequence given is sent as it is."""
        if sequence is None:
            self.transport.write(self.connection.send(message, epoch))
            return self.connection.last_sequence
        self.transport.write(self.frame(message, sequence=sequence, epoch=epoch))
        return sequence

    def frame(
        self, message: Message, *, sequence: int | None = None, epoch: int | None = None
    ) -> bytes:
        """Return a frame without sending it; without a sequence it takes the next one."""
        if sequence is None:
            return self.connection.send(message, epoch)
        own = self.connection.epoch or 0
        body = codec.encode_body(
            message, sequence % SEQUENCE_MODULUS, own if epoch is None else epoch
        )
        return framing.encode_frame(body)

    def send_raw(self, sending: bytes) -> None:
        """Send bytes as they are."""
        self.transport.write(sending)

    # In.

    def now_us(self) -> int:
        """Return the time on this computer's clock."""
        return self.clock.now_us()

    def mark(self) -> int:
        """Return where what comes from now on begins."""
        return len(self.heard)

    def turn(self) -> None:
        """Take what has come in, waiting a moment where there is nothing.

        Raises:
            Interrupted: somebody asked to end.
            PortLost: the line is gone.
        """
        if self._stop_reason():
            raise Interrupted
        received = self.transport.read()
        now_us = self.now_us()
        self.stood_still_us = max(self.stood_still_us, now_us - self._turned_us)
        self._turned_us = now_us
        self._take(received)

    def turn_to_the_end(self) -> None:
        """Take what has come in, although somebody asked to end."""
        self._take(self.transport.read())

    def wait(self, mark: int, where: Where, within_ms: int) -> Heard | None:
        """Return the first message from a mark on that fits, None where none comes in time."""
        deadline_us = self.now_us() + within_ms * US_PER_MS
        at = mark
        while True:
            for heard in self.heard[at:]:
                if where(heard):
                    return heard
            at = len(self.heard)
            if self.now_us() >= deadline_us:
                return None
            self.turn()

    def listen(self, for_ms: int) -> list[Heard]:
        """Return everything that comes within a time."""
        mark, deadline_us = self.mark(), self.now_us() + for_ms * US_PER_MS
        while self.now_us() < deadline_us:
            self.turn()
        return self.heard[mark:]

    def silence(self) -> str:
        """Say what no answer may mean, by what has ever come in."""
        if not self._byte_count:
            return "no answer, and no byte at all: cable, power, another port?"
        if not self._message_count:
            return (
                f"no answer; {self._byte_count} bytes came, and no message of this protocol among "
                "them: another line speed (?baud=), another device?"
            )
        return "no answer"

    def forget(self) -> None:
        """Let go of what was heard: a long run must not fill the memory."""
        self.heard.clear()

    def begin(self) -> None:
        """Begin a check: nothing was heard, and nothing stood still."""
        self.forget()
        self.stood_still_us, self._turned_us = 0, self.now_us()

    def _take(self, received: bytes) -> None:
        now_us = self.now_us()
        self._byte_count += len(received)
        for frame in self._deframer.feed(received):
            if frame is None:
                self.damaged.append("a frame that is too long")
                continue
            try:
                message, sequence, epoch = codec.decode_body(framing.decode_frame(frame))
            except ProtocolError as error:
                self.damaged.append(f"{error}: {frame[:24].hex()}")
                continue
            self._message_count += 1
            heard = Heard(now_us, message, sequence, epoch)
            self.heard.append(heard)
            for watch in self.watchers:
                watch(heard)
