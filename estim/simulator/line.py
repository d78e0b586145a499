"""The line between device and wire, where faults of both are played.

Rules:
1. Without faults every byte passes at once and unchanged.
2. Faults of the line act on whole frames; a delayed frame never overtakes another of its direction.
3. Everything happens at its own scheduled time, however late `advance` is called; a seed decides
   every choice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

from estim.simulator.faults import LINE_VERBS, Direction, Fault, Verb

PARTIAL_MAX = 2048
"""Bytes kept while waiting for the end of a frame; more than any frame has."""

CutFrames = Callable[[bytes], tuple[list[bytes], bytes]]
"""Tell the whole frames of some bytes, delimiters and junk between them included, and the rest."""


def cut_at_zero(carried: bytes) -> tuple[list[bytes], bytes]:
    """Cut frames that end with a zero, as the native protocol's."""
    *frames, rest = carried.split(b"\0")
    return [frame + b"\0" for frame in frames], rest


class Device(Protocol):
    """Stand at the end of a line."""

    @property
    def is_energised(self) -> bool:
        """Tell whether output is on or may begin."""

    def receive(self, received: bytes, now_us: int) -> None:
        """Take bytes from the line; everything due before them happens first."""

    def advance(self, now_us: int) -> None:
        """Do everything that falls due up to `now_us`, in order of time."""

    def take_output(self, now_us: int) -> bytes:
        """Return what is to be sent; it is gone from here then."""

    def next_deadline_us(self) -> int | None:
        """Return when `advance` should be called next."""

    def play(self, fault: Fault, now_us: int) -> None:
        """Let a fault happen that is none of the line's."""


class FaultyLine:
    """Stand in for a device, with a line that may fail; same four methods as the device."""

    def __init__(
        self,
        device: Device,
        script: Iterable[Fault] = (),
        seed: int = 0,
        start_us: int = 0,
        cut: CutFrames = cut_at_zero,
    ) -> None:
        self.device = device
        self._start_us = start_us
        self._script = deque(script)
        random = Random(seed)
        self._to_device = _Way(random, cut)
        self._to_host = _Way(random, cut)
        self._ways = {Direction.TO_DEVICE: self._to_device, Direction.TO_HOST: self._to_host}

    def receive(self, received: bytes, now_us: int) -> None:
        """Take bytes that the host wrote."""
        if self._is_faultless and self._to_device.is_between_frames_with(received):
            self.device.receive(received, now_us)
            return
        self.advance(now_us)
        self._to_device.carry(received, now_us)
        self.advance(now_us)

    def advance(self, now_us: int) -> None:
        """Play the script and what is under way up to `now_us`, in order of time."""
        while True:
            script_us = self._next_fault_us()
            frame_us = self._to_device.next_release_us()
            if (
                script_us is not None
                and script_us <= now_us
                and (frame_us is None or script_us <= frame_us)
            ):
                self.apply(self._script.popleft(), script_us)
            elif frame_us is not None and frame_us <= now_us:
                self.device.receive(self._to_device.release(frame_us), frame_us)
            else:
                break
        self.device.advance(now_us)

    def take_output(self, now_us: int) -> bytes:
        """Return what reaches the host now."""
        if self._is_faultless:
            return self.device.take_output(now_us)
        self.advance(now_us)
        self._to_host.carry(self.device.take_output(now_us), now_us)
        return self._to_host.release(now_us)

    def next_deadline_us(self) -> int | None:
        """Return when `advance` should be called next, if nothing comes in before."""
        if self._is_faultless:
            return self.device.next_deadline_us()
        due = (
            self.device.next_deadline_us(),
            self._next_fault_us(),
            self._to_device.next_release_us(),
            self._to_host.next_release_us(),
        )
        return min((at_us for at_us in due if at_us is not None), default=None)

    def schedule(self, fault: Fault, now_us: int) -> None:
        """Take a fault from outside: at its time, or now where it has none or its time is past."""
        at_us = now_us - self._start_us
        if fault.at_us is None or fault.at_us <= at_us:
            self.advance(now_us)
            self.apply(fault, now_us)
        else:
            self._script = deque(sorted([*self._script, fault], key=lambda each: each.at_us or 0))

    def apply(self, fault: Fault, now_us: int) -> None:
        """Let a fault happen at `now_us`."""
        if fault.verb in LINE_VERBS:
            for direction in fault.directions:
                self._ways[direction].disturb(fault.verb, fault.amount, now_us)
            return
        self.device.play(fault, now_us)

    @property
    def _is_faultless(self) -> bool:
        """Tell whether no fault of the line was played so far, and none waits."""
        return not self._script and self._to_device.is_sound and self._to_host.is_sound

    def _next_fault_us(self) -> int | None:
        if not self._script:
            return None
        return self._start_us + (self._script[0].at_us or 0)


class _Way:
    """One direction of the line."""

    def __init__(self, random: Random, cut: CutFrames) -> None:
        self.is_sound = True
        self._random = random
        self._cut = cut
        self._partial = b""
        self._under_way: deque[tuple[int, bytes]] = deque()
        self._transit_us = 0
        self._silent_until_us = 0
        self._frames_left = {Verb.DROP: 0, Verb.CORRUPT: 0, Verb.DUPLICATE: 0}

    def disturb(self, verb: Verb, amount: int, now_us: int) -> None:
        """Begin a fault of this direction; from now on its frames are looked at one by one."""
        self.is_sound = False
        if verb is Verb.DELAY:
            self._transit_us = amount
        elif verb is Verb.SILENT:
            self._silent_until_us = max(self._silent_until_us, now_us + amount)
        else:
            self._frames_left[verb] += amount

    def is_between_frames_with(self, carried: bytes) -> bool:
        """Tell whether bytes are whole frames, none of which began before them."""
        return not self._partial and not self._cut(carried)[1]

    def carry(self, carried: bytes, now_us: int) -> None:
        """Put bytes on their way, frame by frame."""
        if not carried:
            return
        frames, self._partial = self._cut(self._partial + carried)
        for frame in frames:
            self._carry_frame(frame, now_us)
        if len(self._partial) > PARTIAL_MAX:
            self._carry_frame(self._partial, now_us)
            self._partial = b""

    def release(self, now_us: int) -> bytes:
        """Return what has arrived by `now_us`; a frame waits for those before it."""
        arrived = []
        while self._under_way and self._under_way[0][0] <= now_us:
            arrived.append(self._under_way.popleft()[1])
        return b"".join(arrived)

    def next_release_us(self) -> int | None:
        """Return when the next frame arrives."""
        return self._under_way[0][0] if self._under_way else None

    def _carry_frame(self, frame: bytes, now_us: int) -> None:
        if now_us < self._silent_until_us or self._is_next(Verb.DROP):
            return
        if self._is_next(Verb.CORRUPT):
            frame = self._flipped(frame)
        arrival_us = now_us + self._transit_us
        self._under_way.append((arrival_us, frame))
        if self._is_next(Verb.DUPLICATE):
            self._under_way.append((arrival_us, frame))

    def _is_next(self, verb: Verb) -> bool:
        if not self._frames_left[verb]:
            return False
        self._frames_left[verb] -= 1
        return True

    def _flipped(self, frame: bytes) -> bytes:
        content = bytearray(frame)
        position = self._random.randrange(max(1, len(content) - 1))
        content[position] ^= 1 << self._random.randrange(8)
        return bytes(content)
