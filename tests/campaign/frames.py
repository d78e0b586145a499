"""Read what lies on the wire, by hand: nothing here is the product's.

Body: `message_id u8 | sequence u16 | epoch u64 | payload | crc32 u32`, little-endian, COBS-coded,
closed by a zero (architecture.md, section 4).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

HELLO, DRIVE, STOP, STATUS = 0x01, 0x08, 0x09, 0x85
SAFE, ARMED, RUNNING = 0, 1, 2
_HEAD = struct.Struct("<BHQ")
_DRIVE = struct.Struct("<BIIIB")


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame."""

    message_id: int
    sequence: int
    epoch: int
    octets: bytes
    wanted: int = -1
    echoed_ms: int = 0
    targets_ua: tuple[int, ...] = ()
    tick_ms: int = -1


def read_frame(octets: bytes) -> Frame | None:
    """Read one frame given without its zero; None where it is not whole."""
    body = bytearray()
    at = 0
    while at < len(octets):
        code = octets[at]
        if code == 0 or at + code > len(octets):
            return None
        body += octets[at + 1 : at + code]
        at += code
        if at < len(octets):
            body.append(0)
    if len(body) < _HEAD.size + 4 or zlib.crc32(body[:-4]).to_bytes(4, "little") != body[-4:]:
        return None
    message_id, sequence, epoch = _HEAD.unpack_from(body)
    if message_id == STATUS:
        tick_ms = int.from_bytes(body[_HEAD.size : _HEAD.size + 4], "little")
        return Frame(message_id, sequence, epoch, octets, tick_ms=tick_ms)
    if message_id != DRIVE:
        return Frame(message_id, sequence, epoch, octets)
    if len(body) < _HEAD.size + _DRIVE.size + 4:
        return None
    wanted, echoed_ms, _, _, count = _DRIVE.unpack_from(body, _HEAD.size)
    begin = _HEAD.size + _DRIVE.size
    if len(body) != begin + 4 * count + 4:
        return None
    targets = struct.unpack_from(f"<{count}I", body, begin)
    return Frame(message_id, sequence, epoch, octets, wanted, echoed_ms, targets)


class Cutter:
    """Cut bytes into whole frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, octets: bytes) -> list[Frame]:
        *pieces, self._rest = (self._rest + octets).split(b"\0")
        frames = [read_frame(piece) for piece in pieces if piece]
        return [frame for frame in frames if frame is not None]


def is_newer(sequence: int, than: int) -> bool:
    """Compare as RFC 1982 does, with 16 bits."""
    return 0 < (sequence - than) % 65536 < 32768
