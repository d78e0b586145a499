"""COBS against an independent package; cutting a stream into frames in bounded memory."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from cobs import cobs
from crccheck.crc import Crc32
from hypothesis import given
from hypothesis import strategies as st

from firmware_protocol import codec
from firmware_protocol.errors import FrameError
from firmware_protocol.framing import FRAME_MAX, Deframer, decode_frame, encode_frame
from tests.protocol.frames import HAND_WRITTEN

# Zeros are common in bodies, and what COBS is about.
BODIES = st.lists(st.sampled_from([b"\0", b"\x01", b"\xff", b"estim"]), max_size=50).map(
    b"".join
) | st.binary(max_size=250)
FRAMES = [written.frame for written in HAND_WRITTEN]


@given(BODIES)
def test_encoding_agrees_with_the_cobs_package(body: bytes) -> None:
    assert encode_frame(body) == cobs.encode(body) + b"\0"
    assert decode_frame(encode_frame(body)[:-1]) == body


@given(st.binary(min_size=1, max_size=FRAME_MAX))
def test_decoding_agrees_with_the_cobs_package(frame: bytes) -> None:
    try:
        expected = cobs.decode(frame)
    except cobs.DecodeError:
        with pytest.raises(FrameError):
            decode_frame(frame)
    else:
        assert decode_frame(frame) == expected


@pytest.mark.parametrize(
    ("body", "frame"),
    [
        ("", "0100"),
        ("00", "010100"),
        ("0000", "01010100"),
        ("11223300", "041122330100"),
        ("11220033", "031122023300"),
        ("01" * 250, "fb" + "01" * 250 + "00"),
        ("00" * 250, "01" * 251 + "00"),
    ],
)
def test_known_pairs_of_body_and_frame(body: str, frame: str) -> None:
    assert encode_frame(bytes.fromhex(body)).hex() == frame


@pytest.mark.parametrize("frame", ["", "00", "0300", "030001", "0311", "fb01", "01" * 252])
def test_what_is_no_frame_is_refused(frame: str) -> None:
    with pytest.raises(FrameError):
        decode_frame(bytes.fromhex(frame))


def test_a_body_over_250_bytes_is_refused() -> None:
    assert len(encode_frame(bytes(250))) == 252
    with pytest.raises(FrameError):
        encode_frame(bytes(251))


@given(st.binary(max_size=250))
def test_the_crc_agrees_with_crccheck(content: bytes) -> None:
    assert zlib.crc32(content) == Crc32.calc(content)


def test_the_crc_is_the_one_with_the_well_known_check_value() -> None:
    """CRC-32/ISO-HDLC of '123456789' is 0xCBF43926 in every catalogue of CRCs."""
    assert zlib.crc32(b"123456789") == 0xCBF43926
    assert codec.CRC.pack(0xCBF43926).hex() == "2639f4cb"


def test_frames_come_out_byte_at_a_time_with_garbage_between() -> None:
    deframer = Deframer()
    garbage = (b"\xff\x7f", b"\0\0\0", b"\x11" * 251, b"UU\0UU", b"")
    stream = b""
    for index, frame in enumerate(FRAMES):
        stream += garbage[index % len(garbage)] + b"\0" + frame
    found = [piece for byte in stream for piece in deframer.feed(bytes((byte,)))]
    good = [piece for piece in found if piece is not None and piece + b"\0" in FRAMES]
    assert good == [frame[:-1] for frame in FRAMES]


@pytest.mark.hazard(11)
@given(st.data())
def test_the_way_a_stream_is_cut_does_not_matter(data: st.DataObject) -> None:
    pieces = st.sampled_from(FRAMES) | st.binary(max_size=40) | st.just(b"\x02" * 400)
    stream = b"".join(data.draw(st.lists(pieces, max_size=8)))
    whole = Deframer().feed(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    deframer = Deframer()
    in_parts = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        in_parts += deframer.feed(stream[start:end])
    assert in_parts == whole
    assert whole == [
        None if len(part) > FRAME_MAX else part for part in stream.split(b"\0")[:-1] if part
    ]


def test_frames_of_251_bytes_pass_and_of_252_do_not() -> None:
    assert Deframer().feed(b"\x01" * 251 + b"\0") == [b"\x01" * 251]
    assert Deframer().feed(b"\x01" * 252 + b"\0") == [None]


@pytest.mark.hazard(11)
def test_endless_garbage_is_one_damaged_frame_in_bounded_memory() -> None:
    deframer = Deframer()
    chunk = b"\x55" * 4096
    deframer.feed(chunk)
    tracemalloc.start()
    for _ in range(1000):
        assert deframer.feed(chunk) == []
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 * len(chunk)
    assert deframer.feed(b"\0" + FRAMES[0]) == [None, FRAMES[0][:-1]]
