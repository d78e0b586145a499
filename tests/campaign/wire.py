"""Both directions of a line, with everything that can happen to bytes on their way.

Rules:
1. Bytes take 1 ms and 87 us each (115200 baud); without faults they arrive in order, unchanged.
2. A fault of frames waits for the next frame; each brings the number that its choices come from.
3. The wire knows frames by their closing zero alone, and nothing of what they say.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from random import Random

TRANSIT_US = 1000
US_PER_BYTE = 87
FRAME_VERBS = ("drop", "duplicate", "flip", "truncate", "merge", "reorder", "late")
KEPT_FRAMES = 400


class Way:
    """One direction."""

    def __init__(self, arrive: Callable[[bytes], None]) -> None:
        self._arrive = arrive
        self._under_way: list[tuple[int, int, bytes]] = []
        self._count = 0
        self._free_us = 0
        self._waiting: deque[tuple[str, int, int]] = deque()
        self._held: bytes | None = None
        self._lost_until_us = 0
        self._stalled_until_us = 0
        self._delay_us = 0
        self._delayed_until_us = 0
        self.seen: deque[bytes] = deque(maxlen=KEPT_FRAMES)
        self.alter: Callable[[bytes], bytes] | None = None

    def disturb(self, verb: str, amount: int, salt: int, now_us: int) -> None:
        """Begin a fault: `amount` counts frames, bytes, or milliseconds, by the verb."""
        if verb in ("late", "reorder", "flip", "truncate"):
            self._waiting.append((verb, amount, salt))
        elif verb in FRAME_VERBS:
            self._waiting.extend([(verb, 0, salt)] * amount)
        elif verb == "lose":
            self._lost_until_us = max(self._lost_until_us, now_us + amount * 1000)
        elif verb == "stall":
            self._stalled_until_us = max(self._stalled_until_us, now_us + amount * 1000)
        elif verb == "delay":
            self._delay_us, self._delayed_until_us = amount * 1000, now_us + salt * 1000
        elif verb == "garbage":
            self.send(Random(salt).randbytes(amount), now_us)
        elif verb == "replay":
            for frame in list(self.seen)[-amount:]:
                self.send(frame, now_us)
        else:
            raise ValueError(f"no fault of a wire: {verb}")

    def mend(self, now_us: int) -> None:
        """Let every fault end; what is under way arrives now, in order."""
        self._under_way = [(now_us, count, octets) for _, count, octets in sorted(self._under_way)]
        self._free_us = now_us
        self._waiting.clear()
        self._lost_until_us = self._stalled_until_us = self._delayed_until_us = 0
        self.alter = None
        if self._held is not None:
            held, self._held = self._held, None
            self.send(held, now_us)

    def carry(self, written: bytes, now_us: int) -> None:
        """Take what one end wrote, frame by frame."""
        start = 0
        while start < len(written):
            end = written.find(0, start) + 1 or len(written)
            frame = written[start:end]
            start = end
            if self.alter is not None:
                frame = self.alter(frame)
            self.seen.append(frame)
            self._carry_frame(frame, now_us)

    def _carry_frame(self, frame: bytes, now_us: int) -> None:
        if now_us < self._lost_until_us:
            return
        if not self._waiting:
            self.send(frame, now_us)
        else:
            verb, amount, salt = self._waiting.popleft()
            if verb == "duplicate":
                self.send(frame, now_us)
                self.send(frame, now_us)
            elif verb == "flip":
                bit = Random(salt).randrange(8 * len(frame))
                flipped = bytearray(frame)
                flipped[bit // 8] ^= 1 << bit % 8
                self.send(bytes(flipped), now_us)
            elif verb == "truncate":
                self.send(frame[: Random(salt).randrange(len(frame))], now_us)
            elif verb == "merge":
                self.send(frame[:-1], now_us)
            elif verb == "reorder" and self._held is None:
                self._held = frame
                return
            elif verb == "late":
                self._push(now_us + amount * 1000, frame)
        if self._held is not None:
            held, self._held = self._held, None
            self.send(held, now_us)

    def send(self, octets: bytes, now_us: int) -> None:
        """Put bytes on the line behind those under way."""
        begin_us = max(now_us, self._free_us, self._stalled_until_us)
        if now_us < self._delayed_until_us:
            begin_us = max(begin_us, now_us + self._delay_us)
        self._free_us = begin_us + US_PER_BYTE * len(octets)
        self._push(self._free_us + TRANSIT_US, octets)

    def _push(self, arrival_us: int, octets: bytes) -> None:
        self._count += 1
        heapq.heappush(self._under_way, (arrival_us, self._count, octets))

    def next_us(self) -> int | None:
        """Return when something arrives next."""
        if not self._under_way:
            return None
        return max(self._under_way[0][0], self._stalled_until_us)

    def deliver(self, now_us: int) -> None:
        """Hand over what has arrived."""
        if now_us < self._stalled_until_us:
            return
        while self._under_way and self._under_way[0][0] <= now_us:
            self._arrive(heapq.heappop(self._under_way)[2])
