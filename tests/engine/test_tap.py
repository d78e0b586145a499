"""Frames on their way to whoever looks: bounded, and never in the way of anything else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from estim.drivers.base import Output
from estim.engine.lines import ReplyWriter
from estim.engine.tap import FRAMES_MAX, FrameTap
from estim.session.messages import Frames, FrameSeen, Notice, Severity, from_line

FRAME = b"\x03\x11\x22"
"""Not a message of ours, and of no matter here."""


@pytest.fixture
def line() -> Iterator[tuple[ReplyWriter, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.settimeout(5.0)
    writer = ReplyWriter(theirs)
    yield writer, ours
    ours.close()
    writer.close(1.0)
    theirs.close()


def test_frames_of_both_directions_come_whole_in_order_without_their_closing_zero() -> None:
    tap = FrameTap()
    tap.saw_input(FRAME[:2], 10)
    assert tap.take() is None
    tap.saw_output(Output([b"\x01\0"], [b"\x02\0"], b"\x03\0"), 20)
    tap.saw_input(FRAME[2:] + b"\0", 30)
    assert tap.take() == Frames(
        (
            FrameSeen(20, True, "01"),
            FrameSeen(20, True, "02"),
            FrameSeen(20, True, "03"),
            FrameSeen(30, False, "031122"),
        ),
        0,
    )
    assert tap.take() is None


def test_a_frame_that_is_too_long_is_told_without_its_bytes() -> None:
    tap = FrameTap()
    tap.saw_input(b"\x01" * 5000 + b"\0", 1)
    assert tap.take() == Frames((FrameSeen(1, False, ""),), 0)


def test_a_flood_is_bounded_counted_and_quickly_done_with() -> None:
    assert FRAMES_MAX == 32
    tap = FrameTap()
    chunk = (FRAME + b"\0") * 1000
    began_s = time.perf_counter()
    for _ in range(20):
        tap.saw_input(chunk, 1)
    spent_s = time.perf_counter() - began_s
    taken = tap.take()
    assert taken is not None
    assert (len(taken.frames), taken.dropped_count) == (32, 20_000 - 32)
    # 20000 frames are 100 s of a line at 115200 baud.
    assert spent_s < 1.0


def test_an_interface_that_does_not_read_costs_frames_and_not_one_word(
    line: tuple[ReplyWriter, socket.socket],
) -> None:
    """Frames wait in one reply at the most; notices beyond it are all there, and in order."""
    writer, reader = line
    big = tuple(FrameSeen(1, False, "00" * 250) for _ in range(32))
    rounds = 200
    for number in range(rounds):
        writer.say(Frames(big, 0))
        writer.say(Notice(number, Severity.INFORMATION, "word"))
    frames_seen, dropped = 0, 0
    words: list[int] = []
    with reader.makefile("rb") as lines:
        while len(words) < rounds or frames_seen + dropped < 32 * rounds:
            reply = from_line(lines.readline())
            if isinstance(reply, Frames):
                frames_seen += len(reply.frames)
                dropped += reply.dropped_count
            elif isinstance(reply, Notice):
                words.append(reply.at_us)
    assert words == list(range(rounds))
    assert dropped > 0
    assert frames_seen + dropped == 32 * rounds
