"""Turn messages into bytes and back, from their declarations alone.

Rules:
1. Nothing is coded by hand for one message: layouts come from `fields.wire_fields`.
2. Decoding is total: any bytes give a message or a `MessageError`, never another exception.
3. Only one encoding of a message exists: padding is NUL, unknown flags and enum values are errors,
   and no bytes are left over.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntFlag
from typing import Any, NamedTuple, TypeVar

from firmware_protocol.errors import FrameError, MessageError
from firmware_protocol.fields import Wire, wire_fields
from firmware_protocol.messages import MESSAGES, Message

HEADER = struct.Struct("<BHQ")
CRC = struct.Struct("<I")
BODY_MAX = 250
BODY_MIN = HEADER.size + CRC.size
PAYLOAD_MAX = BODY_MAX - BODY_MIN

_T = TypeVar("_T")


class Envelope(NamedTuple):
    """A decoded body: the message and what its header said."""

    message: Message
    sequence: int
    epoch: int


class _Layout:
    """How one declared class lies on the wire."""

    def __init__(self, declared: type) -> None:
        self.declared = declared
        fields = wire_fields(declared)
        self.row_name = ""
        self.row_maximum = 0
        self.row_layout: _Layout | None = None
        if fields and fields[-1][1].row is not None:
            self.row_name, wire = fields[-1]
            self.row_maximum = wire.row_maximum
            self.row_layout = layout_of(wire.row) if wire.row else None
            fields = fields[:-1]
        self.names = tuple(name for name, _ in fields)
        self.wires = tuple(wire for _, wire in fields)
        self.codes = "".join(
            f"{wire.text_size}s" if wire.text_size else wire.scalar.code for wire in self.wires
        )
        self.fixed = struct.Struct("<" + self.codes + ("B" if self.row_layout else ""))
        self.special = tuple(
            (index, _decoder(name, wire))
            for index, (name, wire) in enumerate(fields)
            if wire.enum is not None or wire.text_size
        )
        self.text_indexes = tuple(i for i, wire in enumerate(self.wires) if wire.text_size)
        self.row_structs: dict[int, struct.Struct] = {}

    def row_struct(self, count: int) -> struct.Struct:
        """Return the layout of `count` rows, made once."""
        found = self.row_structs.get(count)
        if found is None:
            assert self.row_layout is not None
            found = self.row_structs[count] = struct.Struct("<" + self.row_layout.codes * count)
        return found


_LAYOUTS: dict[type, _Layout] = {}


def layout_of(declared: type) -> _Layout:
    """Return the wire layout of a declared class, made once."""
    found = _LAYOUTS.get(declared)
    if found is None:
        found = _LAYOUTS[declared] = _Layout(declared)
    return found


def _decoder(name: str, wire: Wire) -> Any:
    """Return the function that turns a raw field into what people use."""
    if wire.text_size:

        def decode_text(raw: bytes) -> str:
            stripped = raw.rstrip(b"\0")
            if any(not 0x20 <= byte < 0x7F for byte in stripped):
                raise MessageError(f"{name} is not printable ASCII")
            return stripped.decode("ascii")

        return decode_text
    kind = wire.enum
    assert kind is not None
    if issubclass(kind, IntFlag):
        known = 0
        for member in kind:
            known |= member
        table: dict[int, Any] = {n: kind(n) for n in range(known + 1) if n & ~known == 0}
    else:
        table = {int(member): member for member in kind}

    def decode_enum(raw: int) -> Any:
        try:
            return table[raw]
        except KeyError:
            raise MessageError(f"{name} has the unknown value {raw}") from None

    return decode_enum


def encode_payload(message: Message) -> bytes:
    """Return the payload of a message.

    Raises:
        MessageError: a field does not fit its declared type.
    """
    layout = layout_of(type(message))
    fields: list[Any] = [getattr(message, name) for name in layout.names]
    for index in layout.text_indexes:
        fields[index] = _encode_text(
            layout.names[index], fields[index], layout.wires[index].text_size
        )
    try:
        if layout.row_layout is None:
            return layout.fixed.pack(*fields)
        row_tuple = getattr(message, layout.row_name)
        if len(row_tuple) > layout.row_maximum:
            raise MessageError(
                f"{type(message).__name__}: {len(row_tuple)} rows, at most {layout.row_maximum}"
            )
        names = layout.row_layout.names
        flat = [getattr(row, name) for row in row_tuple for name in names]
        return layout.fixed.pack(*fields, len(row_tuple)) + layout.row_struct(len(row_tuple)).pack(
            *flat
        )
    except struct.error as error:
        raise MessageError(f"{type(message).__name__}: {error}") from None


def _encode_text(name: str, written: str, size: int) -> bytes:
    if not written.isascii() or not written.isprintable() or len(written) > size:
        raise MessageError(f"{name}: at most {size} printable ASCII characters, got {written!r}")
    return written.encode("ascii")


def decode_payload_prefix(declared: type[_T], raw: bytes) -> tuple[_T, bytes]:
    """Decode a payload at the start of `raw`; return the message and the bytes after it.

    Raises:
        MessageError: the bytes do not hold such a message.
    """
    layout = layout_of(declared)
    size = layout.fixed.size
    if len(raw) < size:
        raise MessageError(f"{declared.__name__}: {size} bytes expected, got {len(raw)}")
    fields = list(layout.fixed.unpack_from(raw))
    for index, decode in layout.special:
        fields[index] = decode(fields[index])
    if layout.row_layout is None:
        return declared(*fields), raw[size:]
    count = fields.pop()
    if count > layout.row_maximum:
        raise MessageError(f"{declared.__name__}: {count} rows, at most {layout.row_maximum}")
    row_layout = layout.row_layout
    packed = layout.row_struct(count)
    end = size + packed.size
    if len(raw) < end:
        raise MessageError(f"{declared.__name__}: {end} bytes expected, got {len(raw)}")
    flat = packed.unpack_from(raw, size)
    per_row = len(row_layout.names)
    built = []
    for start in range(0, len(flat), per_row):
        row = flat[start : start + per_row]
        if row_layout.special:
            changed = list(row)
            for index, decode in row_layout.special:
                changed[index] = decode(changed[index])
            row = tuple(changed)
        built.append(row_layout.declared(*row))
    return declared(*fields, tuple(built)), raw[end:]


def decode_payload(declared: type[_T], raw: bytes) -> _T:
    """Decode exactly one payload.

    Raises:
        MessageError: the bytes are not exactly such a message.
    """
    message, rest = decode_payload_prefix(declared, raw)
    if rest:
        raise MessageError(f"{declared.__name__}: {len(rest)} bytes too many")
    return message


def encode_body(message: Message, sequence: int, epoch: int) -> bytes:
    """Return header, payload and CRC-32 of a message.

    Raises:
        MessageError: a field, the sequence or the epoch does not fit.
    """
    try:
        content = HEADER.pack(message.message_id, sequence, epoch) + encode_payload(message)
    except struct.error as error:
        raise MessageError(f"sequence or epoch does not fit: {error}") from None
    if len(content) + CRC.size > BODY_MAX:
        raise MessageError(f"{type(message).__name__}: body longer than {BODY_MAX} bytes")
    return content + CRC.pack(zlib.crc32(content))


def decode_body(body: bytes) -> Envelope:
    """Check length, then CRC, then the fields of a body.

    Raises:
        FrameError: too short, too long, or a wrong CRC.
        MessageError: the CRC is right but the message is not one of ours.
    """
    if not BODY_MIN <= len(body) <= BODY_MAX:
        raise FrameError(f"a body has {BODY_MIN} to {BODY_MAX} bytes, got {len(body)}")
    content = body[: -CRC.size]
    if zlib.crc32(content) != CRC.unpack_from(body, len(content))[0]:
        raise FrameError("the CRC does not match")
    message_id, sequence, epoch = HEADER.unpack_from(content)
    declared = MESSAGES.get(message_id)
    if declared is None:
        raise MessageError(f"unknown message id {message_id}")
    return Envelope(decode_payload(declared, content[HEADER.size :]), sequence, epoch)
