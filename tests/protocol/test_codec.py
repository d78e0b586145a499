"""Messages to bytes and back: everything declared, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_protocol import codec, framing
from firmware_protocol.errors import FrameError, MessageError, ProtocolError
from firmware_protocol.messages import (
    MESSAGES,
    AcknowledgeFault,
    BeginProgram,
    ChannelFlag,
    Contact,
    CyclePhase,
    Drive,
    GetEvents,
    Identity,
    Message,
    ProgramFlag,
    Status,
    Stop,
    TargetRow,
    WantedState,
)
from tests.protocol.frames import HAND_WRITTEN
from tests.protocol.strategies import declared_objects, messages

U16 = st.integers(0, 2**16 - 1)
U64 = st.integers(0, 2**64 - 1)

DRIVE = Drive(WantedState.RUNNING, 100_000, 1, 2, (TargetRow(5_000),))
STATUS = next(w.message for w in HAND_WRITTEN if isinstance(w.message, Status))
IDENTITY = next(w.message for w in HAND_WRITTEN if isinstance(w.message, Identity))


def sealed(message_id: int, payload: bytes) -> bytes:
    """Return a body with a right CRC around any payload."""
    content = bytes((message_id, 0, 0)) + bytes(8) + payload
    return content + zlib.crc32(content).to_bytes(4, "little")


@pytest.mark.parametrize("declared", MESSAGES.values(), ids=lambda declared: declared.__name__)
@given(data=st.data(), sequence=U16, epoch=U64)
@settings(max_examples=60)
def test_every_message_survives_the_wire(
    declared: type[Message], data: st.DataObject, sequence: int, epoch: int
) -> None:
    message = data.draw(declared_objects(declared))
    frame = framing.encode_frame(codec.encode_body(message, sequence, epoch))
    envelope = codec.decode_body(framing.decode_frame(frame[:-1]))
    assert envelope == codec.Envelope(message, sequence, epoch)


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_protocol_errors(noise: bytes) -> None:
    for decode in (codec.decode_body, framing.decode_frame):
        with contextlib.suppress(ProtocolError):
            decode(noise)


@given(st.integers(0, 255), st.binary(max_size=260))
@settings(max_examples=400)
@example(0x85, bytes(31))
def test_any_payload_behind_a_right_crc_decodes_to_one_encoding_or_is_refused(
    message_id: int, payload: bytes
) -> None:
    body = sealed(message_id, payload)
    try:
        envelope = codec.decode_body(body)
    except ProtocolError:
        return
    assert codec.encode_body(*envelope) == body


@given(messages(), st.data())
def test_a_payload_with_some_bytes_changed_has_one_encoding_or_is_refused(
    message: Message, data: st.DataObject
) -> None:
    payload = bytearray(codec.encode_payload(message))
    for _ in range(min(len(payload), 3)):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    body = sealed(message.message_id, bytes(payload))
    try:
        envelope = codec.decode_body(body)
    except MessageError:
        return
    assert codec.encode_body(*envelope) == body


def test_bodies_from_15_to_250_bytes_are_looked_at() -> None:
    assert codec.decode_body(sealed(Stop.message_id, b"")).message == Stop()
    assert len(sealed(Stop.message_id, b"")) == 15
    with pytest.raises(FrameError, match="15 to 250"):
        codec.decode_body(sealed(Stop.message_id, b"")[:-1])
    with pytest.raises(MessageError, match="235 bytes too many"):
        codec.decode_body(sealed(Stop.message_id, bytes(235)))
    with pytest.raises(FrameError, match="15 to 250"):
        codec.decode_body(sealed(Stop.message_id, bytes(236)))


@pytest.mark.parametrize("message_id", sorted(set(range(256)) - set(MESSAGES)))
def test_an_unknown_id_is_refused(message_id: int) -> None:
    with pytest.raises(MessageError, match=f"unknown message id {message_id}"):
        codec.decode_body(sealed(message_id, b""))


@pytest.mark.parametrize(
    ("message", "changes", "words"),
    [
        (GetEvents(0), {"first_index": -1}, "GetEvents"),
        (GetEvents(0), {"first_index": 65_536}, "GetEvents"),
        (GetEvents(0), {"first_index": 1.0}, "GetEvents"),
        (GetEvents(0), {"first_index": None}, "GetEvents"),
        (AcknowledgeFault(0, 0), {"channels": 256}, "AcknowledgeFault"),
        (DRIVE, {"targets": (TargetRow(-1),)}, "Drive"),
        (DRIVE, {"targets": (TargetRow(2**32),)}, "Drive"),
        (DRIVE, {"targets": (TargetRow(0),) * 5}, "5 rows, at most 4"),
        (DRIVE, {"wanted_state": 3}, "wanted_state has the unknown value 3"),
        (BeginProgram(1, ProgramFlag.NONE), {"flags": ProgramFlag(2)}, "unknown value"),
        (IDENTITY, {"model": "seventeen letters"}, "model: at most 16"),
        (IDENTITY, {"model": "caf\u00e9"}, "model: at most 16"),
        (IDENTITY, {"serial_number": "\x1b[2J"}, "serial_number: at most 16"),
        (IDENTITY, {"serial_number": "A\0"}, "serial_number: at most 16"),
    ],
)
def test_a_field_that_does_not_fit_is_not_sent(
    message: Any, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(MessageError, match=words):
        codec.encode_body(dataclasses.replace(message, **changes), 0, 0)


@pytest.mark.parametrize(("sequence", "epoch"), [(-1, 0), (65_536, 0), (0, -1), (0, 2**64)])
def test_a_sequence_or_epoch_that_does_not_fit_is_not_sent(sequence: int, epoch: int) -> None:
    with pytest.raises(MessageError, match="sequence or epoch"):
        codec.encode_body(Stop(), sequence, epoch)


def test_unknown_values_inside_rows_are_refused_in_both_directions() -> None:
    """A row of Status is five u32, then contact, cycle phase and flags; the first row is at 31."""
    assert isinstance(STATUS, Status)
    payload = codec.encode_payload(STATUS)
    for offset, unknown in ((20, 3), (21, 6), (22, 8)):
        changed = bytearray(payload)
        changed[31 + offset] = unknown
        with pytest.raises(MessageError, match=f"unknown value {unknown}"):
            codec.decode_payload(Status, bytes(changed))
    row = STATUS.channels[0]
    for changes in ({"contact": 3}, {"cycle_phase": 6}, {"flags": ChannelFlag(8)}):
        channels = (dataclasses.replace(row, **changes),)
        with pytest.raises(MessageError, match="unknown value"):
            codec.encode_payload(dataclasses.replace(STATUS, channels=channels))


def test_enums_come_back_as_members() -> None:
    assert isinstance(STATUS, Status)
    decoded = codec.decode_payload(Status, codec.encode_payload(STATUS))
    assert decoded.channels[1].contact is Contact.OFF
    assert decoded.channels[1].cycle_phase is CyclePhase.OFF
    assert ChannelFlag.LEAD_OFF_LATCHED in decoded.channels[1].flags
    assert ChannelFlag.SHORTED not in decoded.channels[1].flags


def test_texts_lose_their_padding_and_nothing_else() -> None:
    assert isinstance(IDENTITY, Identity)
    for model in ("", " ", " a ", "~" * 16):
        sent = dataclasses.replace(IDENTITY, model=model)
        assert codec.decode_payload(Identity, codec.encode_payload(sent)).model == model


def test_texts_hold_printable_ascii_and_nothing_else() -> None:
    """The model of an Identity lies at 17; here one byte of it becomes every other."""
    assert isinstance(IDENTITY, Identity)
    payload = bytearray(codec.encode_payload(IDENTITY))
    assert payload[17:25] == b"EstimSim"
    for byte in range(256):
        payload[19] = byte
        if 0x20 <= byte <= 0x7E:
            assert codec.decode_payload(Identity, bytes(payload)).model == f"Es{chr(byte)}imSim"
        else:
            with pytest.raises(MessageError, match="model is not printable ASCII"):
                codec.decode_payload(Identity, bytes(payload))


@pytest.mark.parametrize("row_count", range(5))
def test_rows_cost_four_bytes_each_and_their_count_one(row_count: int) -> None:
    message = dataclasses.replace(DRIVE, targets=(TargetRow(7),) * row_count)
    assert len(codec.encode_payload(message)) == 13 + 1 + 4 * row_count
