"""Look at the frames on the line while the loop turns: bench only, and only while asked for.

Rules:
1. The loop never waits for whoever looks: frames beyond `FRAMES_MAX` between two snapshots are
   counted and forgotten.
2. Nothing is decoded here; a frame is passed on as it was coded, damaged ones too.
3. A frame to the device is told when it is handed to the line; a Drive that a newer one replaced
   there is told as well.
"""

from __future__ import annotations

from estim.drivers.base import Output
from estim.session.messages import Frames, FrameSeen
from firmware_protocol.framing import Deframer

FRAMES_MAX = 32
"""Snapshots are 50 ms apart at the least: a line of 115200 baud carries fewer whole Status."""


class FrameTap:
    """Keep the frames that passed since the last `take`."""

    def __init__(self) -> None:
        self._deframer = Deframer()
        self._kept: list[FrameSeen] = []
        self._dropped_count = 0

    def saw_input(self, received: bytes, now_us: int) -> None:
        """Take note of bytes from the device."""
        for frame in self._deframer.feed(received):
            self._keep(now_us, frame or b"", is_to_device=False)

    def saw_output(self, output: Output, now_us: int) -> None:
        """Take note of what is handed to the line."""
        drives = [output.drive] if output.drive is not None else []
        for frame in (*output.urgent, *output.ordered, *drives):
            self._keep(now_us, frame.removesuffix(b"\0"), is_to_device=True)

    def take(self) -> Frames | None:
        """Return what passed since the last time; None for nothing."""
        if not self._kept and not self._dropped_count:
            return None
        frames = Frames(tuple(self._kept), self._dropped_count)
        self._kept, self._dropped_count = [], 0
        return frames

    def _keep(self, now_us: int, octets: bytes, *, is_to_device: bool) -> None:
        if len(self._kept) < FRAMES_MAX:
            self._kept.append(FrameSeen(now_us, is_to_device, octets.hex()))
        else:
            self._dropped_count += 1
