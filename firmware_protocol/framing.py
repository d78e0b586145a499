"""Cut a byte stream into frames: COBS, with 0x00 between frames.

Bodies have at most 250 bytes, so a COBS block never reaches 254 and the long-block case cannot
occur.
"""

from __future__ import annotations

from firmware_protocol.codec import BODY_MAX
from firmware_protocol.errors import FrameError

FRAME_MAX = BODY_MAX + 1


def encode_frame(body: bytes) -> bytes:
    """Return the COBS form of a body and its closing zero.

    Raises:
        FrameError: the body is longer than 250 bytes.
    """
    if len(body) > BODY_MAX:
        raise FrameError(f"a body has at most {BODY_MAX} bytes, got {len(body)}")
    frame = bytearray(b"\0" + body + b"\0")
    code_index = 0
    for block in body.split(b"\0"):
        frame[code_index] = distance = len(block) + 1
        code_index += distance
    return bytes(frame)


def decode_frame(frame: bytes) -> bytes:
    """Return the body of a frame given without its closing zero.

    Raises:
        FrameError: the bytes are not a COBS frame of a body.
    """
    size = len(frame)
    if not 1 <= size <= FRAME_MAX:
        raise FrameError(f"a frame has 1 to {FRAME_MAX} bytes, got {size}")
    if 0 in frame:
        raise FrameError("a zero stands inside the frame")
    body = bytearray(frame)
    code_index = 0
    while code_index < size:
        body[code_index] = 0
        code_index += frame[code_index]
    if code_index != size:
        raise FrameError("a COBS code points outside the frame")
    return bytes(body[1:])


class Deframer:
    """Collect bytes and give out whole frames, in bounded memory."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._is_overlong = False

    def feed(self, received: bytes) -> list[bytes | None]:
        """Take bytes; return the frames they complete in order, None for each one too long."""
        frames: list[bytes | None] = []
        *complete, tail = received.split(b"\0")
        for piece in complete:
            self._extend(piece)
            if self._is_overlong:
                frames.append(None)
            elif self._partial:
                frames.append(bytes(self._partial))
            self._partial.clear()
            self._is_overlong = False
        self._extend(tail)
        return frames

    def _extend(self, piece: bytes) -> None:
        if self._is_overlong:
            return
        if len(self._partial) + len(piece) > FRAME_MAX:
            self._is_overlong = True
            self._partial.clear()
        else:
            self._partial += piece
