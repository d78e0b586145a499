"""The wire as written down by hand, and what happens to it on a bad line."""

from __future__ import annotations

import itertools
import random
import zlib

import pytest

from firmware_protocol import codec, framing
from firmware_protocol.errors import FrameError, ProtocolError
from firmware_protocol.messages import MESSAGES, Adoption, DeviceState, Hello, Identity
from tests.protocol.frames import HAND_WRITTEN, HandWritten

each_frame = pytest.mark.parametrize(
    "written", HAND_WRITTEN, ids=[type(written.message).__name__ for written in HAND_WRITTEN]
)


def decode(frame: bytes) -> codec.Envelope:
    return codec.decode_body(framing.decode_frame(frame))


def test_every_message_has_a_frame_written_by_hand() -> None:
    assert {type(written.message) for written in HAND_WRITTEN} == set(MESSAGES.values())
    assert len(HAND_WRITTEN) == len(MESSAGES) == 20


@pytest.mark.hazard(18)
@each_frame
def test_encoding_gives_the_frame_written_by_hand(written: HandWritten) -> None:
    body = codec.encode_body(written.message, written.sequence, written.epoch)
    assert framing.encode_frame(body).hex() == written.frame.hex()


@each_frame
def test_the_frame_written_by_hand_decodes_to_its_message(written: HandWritten) -> None:
    assert decode(written.frame[:-1]) == (written.message, written.sequence, written.epoch)


@pytest.mark.hazard(17)
def test_hello_and_identity_keep_their_layout_for_ever() -> None:
    """Ends of different schemas must still be able to tell each other so: never edit this hex."""
    hello = bytes.fromhex("01 0201 0807060504030201  05 efbeadde")
    identity = bytes.fromhex(
        "81 0100 0807060504030201  0201 00 05 efbeadde 03020100 15cd5b07 00"
        "4d4f44454c0000000000000000000000 53455249414c00000000000000000000"
    )
    for content in (hello, identity):
        body = content + zlib.crc32(content).to_bytes(4, "little")
        assert codec.encode_body(*codec.decode_body(body)) == body
    assert codec.decode_payload(Hello, hello, 11) == Hello(5, 0xDEADBEEF)
    assert codec.decode_payload(Identity, identity, 11) == Identity(
        in_reply_to=0x0102,
        adoption=Adoption.ADOPTED,
        protocol_version=5,
        schema_hash=0xDEADBEEF,
        firmware_version=0x00010203,
        tick_ms=123_456_789,
        state=DeviceState.SAFE,
        model="MODEL",
        serial_number="SERIAL",
    )


@pytest.mark.hazard(10)
@each_frame
def test_every_flip_of_one_bit_is_rejected(written: HandWritten) -> None:
    frame = written.frame[:-1]
    for bit in range(len(frame) * 8):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError):
            decode(bytes(flipped))


@pytest.mark.hazard(10)
@each_frame
def test_flips_of_two_bits_are_rejected(written: HandWritten) -> None:
    """All neighbouring pairs, and 1500 pairs at random."""
    frame = written.frame[:-1]
    bits = range(len(frame) * 8)
    chooser = random.Random(1982)
    pairs = [*itertools.pairwise(bits), *(chooser.sample(bits, 2) for _ in range(1500))]
    for first, second in pairs:
        flipped = bytearray(frame)
        flipped[first // 8] ^= 1 << first % 8
        flipped[second // 8] ^= 1 << second % 8
        with pytest.raises(ProtocolError):
            decode(bytes(flipped))


@pytest.mark.hazard(11)
@each_frame
def test_every_truncation_is_rejected(written: HandWritten) -> None:
    frame = written.frame[:-1]
    for size in range(len(frame)):
        for part in (frame[:size], frame[len(frame) - size :]):
            with pytest.raises(ProtocolError):
                decode(part)


@pytest.mark.hazard(11)
@each_frame
def test_two_frames_without_a_zero_between_are_rejected(written: HandWritten) -> None:
    for other in HAND_WRITTEN:
        with pytest.raises(FrameError):
            decode(written.frame[:-1] + other.frame[:-1])
