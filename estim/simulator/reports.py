"""What the device says: answers, events, and when a Status is due.

Rules:
1. There is never more than one Status to be sent: the newest, built when it is taken.
2. A Status given as an answer restarts the timer of the others.
3. What nobody takes is bounded; the oldest goes first.
"""

from __future__ import annotations

from collections import deque

from estim.simulator.gate import Refusal
from firmware_protocol import codec
from firmware_protocol.connection import Connection, Role
from firmware_protocol.framing import encode_frame
from firmware_protocol.messages import (
    NO_CHANNEL,
    DeviceState,
    Event,
    EventCode,
    Message,
    Refused,
    Status,
)

STATUS_RUNNING_US = 25_000
STATUS_RUNNING_SLOW_LINE_US = 50_000
STATUS_IDLE_US = 250_000
STATUS_PER_S_AT_MOST = 60
LINE_SHARE_PERCENT = 65
BITS_PER_BYTE = 10
EVENTS_KEPT = 64
UNSENT_FRAMES_MAX = 256
COUNT_MASK = 0xFFFF
I32_MAX = (1 << 31) - 1


def status_running_us(status: Status, baud: int) -> int:
    """Return the time between two Status while RUNNING: longer where 60 a second crowd the line."""
    frame_size = len(encode_frame(codec.encode_body(status, 0, 0)))
    bits_per_s = frame_size * BITS_PER_BYTE * STATUS_PER_S_AT_MOST
    is_crowded = bits_per_s * 100 > LINE_SHARE_PERCENT * baud
    return STATUS_RUNNING_SLOW_LINE_US if is_crowded else STATUS_RUNNING_US


class Reports:
    """Keep the connection's output, the ring of events and the timer of the Status."""

    def __init__(self) -> None:
        self.connection = Connection(Role.DEVICE)
        self.refusal_count = 0
        self.event_count = 0
        self.status_due_us: int | None = None
        self.running_us = STATUS_RUNNING_US
        self._is_status_wanted = False
        self._unsent: deque[bytes] = deque(maxlen=UNSENT_FRAMES_MAX)
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)

    def begin_epoch(self, now_us: int) -> None:
        """Begin to report of our own accord."""
        self._is_status_wanted = False
        self.status_due_us = now_us + STATUS_IDLE_US

    def send(self, message: Message, epoch: int | None = None) -> None:
        """Send a message; `epoch` is for an Identity that refuses one."""
        self._unsent.append(self.connection.send(message, epoch))

    def refuse(self, message: Message, sequence: int, refusal: Refusal) -> None:
        """Count and tell a refusal."""
        self.refusal_count = (self.refusal_count + 1) & COUNT_MASK
        self.send(
            Refused(
                in_reply_to=sequence,
                message=message.message_id,
                reason=refusal.reason,
                limit=refusal.limit,
                channel=refusal.channel,
                asked=min(refusal.asked, I32_MAX),
                allowed=min(refusal.allowed, I32_MAX),
            )
        )

    def emit(
        self, tick_ms: int, code: EventCode, channel_index: int = NO_CHANNEL, detail: int = 0
    ) -> None:
        """Keep an event, and tell it where anybody is known to listen."""
        event = Event(self.event_count, tick_ms, code, channel_index, detail)
        self.event_count = (self.event_count + 1) & COUNT_MASK
        self._events.append(event)
        if self.connection.epoch is not None:
            self.send(event)

    def resend_events(self, first_index: int) -> None:
        """Send the events kept, from an index on."""
        for event in self._events:
            if (event.index - first_index) & COUNT_MASK <= COUNT_MASK // 2:
                self.send(event)

    def answer_with_status(self, now_us: int, state: DeviceState) -> None:
        """Send a Status now, and the next one a whole period later."""
        self._is_status_wanted = True
        if self.status_due_us is not None:
            self.status_due_us = now_us + self._period_us(state)

    def note_time(self, now_us: int, state: DeviceState) -> None:
        """Want a Status where its time has come."""
        due_us = self.status_due_us
        if due_us is not None and now_us >= due_us:
            self._is_status_wanted = True
            next_us = due_us + self._period_us(state)
            self.status_due_us = next_us if next_us > now_us else now_us + self._period_us(state)

    def take_status_wanted(self) -> bool:
        """Tell whether a Status goes out now, once."""
        wanted, self._is_status_wanted = self._is_status_wanted, False
        return wanted

    def take(self) -> bytes:
        """Return everything to be sent, in order; it is gone from here then."""
        output = b"".join(self._unsent)
        self._unsent.clear()
        return output

    def _period_us(self, state: DeviceState) -> int:
        return self.running_us if state is DeviceState.RUNNING else STATUS_IDLE_US
