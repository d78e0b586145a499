"""How fast a frame is written and read, beside the least that Python can do for the same bytes."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from firmware_protocol import codec, framing
from firmware_protocol.messages import Drive, Message, Status, TargetRow, WantedState
from firmware_protocol.vectors import example

ROUNDS = 7
FRAMES_PER_ROUND = 10_000
SEQUENCE = 0x1234
EPOCH = 0x0123456789ABCDEF


def run() -> Iterable[dict[str, Any]]:
    """Measure whole round trips a second; the yardstick packs the same bytes with `struct`."""
    for channel_count in (1, 4):
        targets = tuple(TargetRow(12_000 + channel) for channel in range(channel_count))
        drive = Drive(WantedState.RUNNING, 123_456, 0xDEADBEEF, 0x13572468, targets)
        yield _measured(f"codec_drive_{channel_count}_channels", drive)
    yield _measured("codec_status_4_channels", example(Status, "highest"))


def _measured(name: str, message: Message) -> dict[str, Any]:
    return {
        "name": name,
        "value": _best_rate(lambda: _round_trip(message)),
        "unit": "frames/s",
        "reference": _best_rate(_yardstick(message)),
    }


def _round_trip(message: Message) -> codec.Envelope:
    frame = framing.encode_frame(codec.encode_body(message, SEQUENCE, EPOCH))
    return codec.decode_body(framing.decode_frame(frame[:-1]))


def _yardstick(message: Message) -> Callable[[], tuple[int, ...]]:
    """Pack, check and unpack as many bytes as bare integers: no message, no checks, no COBS."""
    content = codec.encode_body(message, SEQUENCE, EPOCH)[:-4]
    words, rest = divmod(len(content) - codec.HEADER.size, 4)
    layout = struct.Struct(f"<BHQ{words}I{rest}B")
    numbers = layout.unpack(content)

    def bare() -> tuple[int, ...]:
        packed = layout.pack(*numbers)
        body = packed + zlib.crc32(packed).to_bytes(4, "little")
        if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
            raise AssertionError
        return layout.unpack(body[:-4])

    return bare


def _best_rate(measured: Callable[[], object]) -> int:
    """Return calls a second in the best of several rounds: the one least disturbed by others."""
    best_s = min(_round_s(measured) for _ in range(ROUNDS))
    return round(FRAMES_PER_ROUND / best_s)


def _round_s(measured: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    for _ in range(FRAMES_PER_ROUND):
        measured()
    return time.perf_counter() - start_s
