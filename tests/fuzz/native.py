"""What comes over the line, in our own protocol and in those of other makers."""

from __future__ import annotations

import zlib
from itertools import islice
from typing import Any

from estim.dialects import p24, p24_device, p24_low_level, pulsepal
from estim.simulator.pulsepal_commands import WAITING_MAX, CommandReader
from firmware_protocol import codec, framing, program
from firmware_protocol.connection import Connection, Damaged, Received, Role
from firmware_protocol.errors import MessageError, ProgramError, ProtocolError

EPOCH = 0xA1B2C3D4E5F60718
"""Of the connections that a stream meets: that of the frames in tests/protocol/frames.py."""


def in_pieces(octets: bytes) -> tuple[bytes, list[bytes]]:
    """Take the first byte as the size of the pieces that the rest is cut into."""
    size = octets[0] or 1 if octets else 1
    stream = octets[1:]
    return stream, [stream[at : at + size] for at in range(0, len(stream), size)]


def _is_told(error: ProtocolError) -> bool:
    """Assert that a refusal is one short visible line; False, since nothing was accepted."""
    assert str(error).isprintable()
    assert len(str(error)) < 300
    return False


def stream(octets: bytes) -> bool:
    """Frames are found whatever the pieces; each message goes out again as it came in."""
    whole, pieces = in_pieces(octets)
    was_accepted = False
    for role in Role:
        at_once, bit_by_bit = Connection(role, EPOCH), Connection(role, EPOCH)
        at_once.receive_bytes(whole)
        events = list(iter(at_once.next_event, None))
        judged: list[Any] = []
        for piece in pieces:
            bit_by_bit.receive_bytes(piece)
            judged += iter(bit_by_bit.next_event, None)
            partial = bit_by_bit._deframer._partial
            assert len(partial) <= framing.FRAME_MAX, "the partial frame is bounded"
        assert events == judged, "how bytes were cut changes nothing"
        assert len(events) <= whole.count(0), "at most one event for each end of a frame"
        assert at_once.damaged_count == sum(isinstance(each, Damaged) for each in events)
        for event in events:
            if isinstance(event, Received):
                was_accepted = True
                frame = framing.encode_frame(codec.encode_body(*event))
                assert frame[:-1] in whole, "what was accepted is what came"
    return was_accepted


def body(octets: bytes) -> bool:
    """Whatever stands behind a right CRC is refused, or has this one encoding."""
    whole = octets + codec.CRC.pack(zlib.crc32(octets))
    try:
        envelope = codec.decode_body(whole)
    except ProtocolError as error:
        return _is_told(error)
    assert codec.encode_body(*envelope) == whole
    return True


def programme(octets: bytes) -> bool:
    """A programme's bytes are refused, or are the canonical ones of a balanced programme."""
    try:
        decoded = program.from_canonical_bytes(octets)
    except (MessageError, ProgramError) as error:
        return _is_told(error)
    assert decoded.canonical_bytes() == octets
    for channel in decoded.channels:
        for setting in channel.settings:
            net = sum(
                phase.amplitude_permille * channel.phase_us(phase, setting.unit_us)
                for phase in channel.phases
                if not phase.is_gap
            )
            assert net == 0, "every pulse is balanced"
            assert channel.pulse_us(setting.unit_us) <= setting.pulse_period_us
    return True


_P24_READERS = (
    p24.unpack_result,
    p24.unpack_device_id,
    p24.unpack_status,
    p24.unpack_version,
    p24.unpack_current_data,
    p24_device.unpack_init,
    p24_device.unpack_update,
    p24_low_level.unpack_low_level_init,
    p24_low_level.unpack_channel_config,
    p24_low_level.unpack_pulse_answer,
)


def p24_stream(octets: bytes) -> bool:
    """Frames are found whatever the pieces, go out as they came, and each payload is read."""
    whole, pieces = in_pieces(octets)
    found = [each for each in p24.Decoder().feed(whole) if isinstance(each, p24.Frame)]
    decoder, again = p24.Decoder(), list[p24.Frame]()
    for piece in pieces:
        again += (each for each in decoder.feed(piece) if isinstance(each, p24.Frame))
        assert len(decoder._buffer) <= p24.FRAME_BYTES_MAX + len(piece), "bounded memory"
    assert again == found, "how bytes were cut loses no frame"
    cut, rest = p24.cut(whole)
    assert b"".join(cut) + rest == whole, "cutting loses no byte"
    for frame in found:
        again_read = p24.Decoder().feed(p24.encode(*frame))
        assert again_read == [frame], "a frame comes back from its own bytes"
        _read_p24(frame.payload)
    return bool(found)


def p24_payload(octets: bytes) -> bool:
    """Each payload is read as every message, or refused in words."""
    return _read_p24(octets)


def _read_p24(payload: bytes) -> bool:
    was_accepted = False
    for reader in _P24_READERS:
        try:
            message = reader(payload)
        except MessageError as error:
            _is_told(error)
            continue
        was_accepted = True
        if reader is p24.unpack_device_id:
            assert isinstance(message, tuple)
            assert str(message[1]).isprintable(), "a serial number is one visible line"
        if reader is p24_device.unpack_update:
            _check_update(message)
    return was_accepted


def _check_update(channels: Any) -> None:
    """What the device takes up is within its own range, and what a host may ask is asked alike."""
    for channel in channels:
        if channel is not None:
            assert 1 <= len(channel.points) <= p24.POINTS_MAX
            assert all(abs(point.current_ua) <= p24.CURRENT_MAX_UA for point in channel.points)
    try:
        asked = p24.pack_update(channels)
    except MessageError:
        return  # what the device forgives and a host never asks
    assert p24_device.unpack_update(asked) == channels


def pulsepal_answers(octets: bytes) -> bool:
    """As many answers as were asked for come, however the bytes are cut; nothing is kept."""
    whole, pieces = in_pieces(octets[1:])
    asked = [
        pulsepal.Awaited.HANDSHAKE if octets[0] >> bit & 1 else pulsepal.Awaited.CONFIRMATION
        for bit in range(8 if octets else 0)
    ]
    reader = pulsepal.ReplyReader()
    for each in asked:
        reader.expect(each)
    answers = list[Any]()
    for piece in pieces:
        answers += reader.feed(piece)
        assert len(reader._buffer) < pulsepal.Awaited.HANDSHAKE.value
    good = [each for each in answers if not isinstance(each, pulsepal.Damage)]
    assert len(good) + reader.awaited_count == len(asked)
    other = pulsepal.ReplyReader()
    for each in asked:
        other.expect(each)
    assert [a for a in other.feed(whole) if not isinstance(a, pulsepal.Damage)] == good
    return bool(good)


def pulsepal_commands(octets: bytes) -> bool:
    """Messages to the device are counted off in bounded memory, whatever they announce."""
    _, pieces = in_pieces(octets)
    reader, was_accepted = CommandReader(), False
    for piece in pieces:
        reader.feed(piece)
        assert len(reader._buffer) <= WAITING_MAX
        for _ in islice(iter(reader.take, None), len(octets) + 1):
            was_accepted = True
        assert reader.take() is None, "no message without bytes"
    if not reader.is_empty:
        assert reader.take_filled(), "what was begun is filled up"
    return was_accepted
