"""Turn messages into bytes and back, from their declarations alone.

Rules:
1. Nothing is coded by hand for one message: layouts come from `fields.wire_fields`.
2. Decoding is total: any bytes give a message or a `ProtocolError`, never another exception.
3. Only one encoding of a message exists: padding is NUL, unknown flags and enum values are errors
   (in both directions), and no bytes are left over.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple, TypeVar

from firmware_protocol.errors import FrameError, MessageError
from firmware_protocol.fields import wire_fields
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


class _Members(dict[int, IntEnum | IntFlag]):
    """Every value that an enumerated field may have, by its number."""

    def __init__(self, field_name: str, kind: type[IntEnum] | type[IntFlag]) -> None:
        self.field_name = field_name
        if issubclass(kind, IntFlag):
            known = sum(set(kind))
            super().__init__({n: kind(n) for n in range(known + 1) if n & ~known == 0})
        else:
            super().__init__({int(member): member for member in kind})

    def __missing__(self, number: int) -> IntEnum:
        raise MessageError(f"{self.field_name} has the unknown value {number!r}")


class _Layout:
    """How one declared class lies on the wire.

    Attributes:
        build: makes an object of the class from its fields in order.
        names: its fields that are not rows.
        fixed: the bytes of those fields.
        is_plain: nothing but numbers is in them.
        row: the layout of one row, or None; `rows_name` and `rows_maximum` go with it.
        minimum_size: bytes without any row.
    """

    def __init__(self, declared: type) -> None:
        self.build: Callable[..., Any] = declared
        self.name = declared.__name__
        fields = wire_fields(declared)
        self.rows_name = ""
        self.rows_maximum = 0
        self.row: _Layout | None = None
        if fields and fields[-1][1].row is not None:
            (self.rows_name, rows), fields = fields[-1], fields[:-1]
            self.rows_maximum = rows.row_maximum
            self.row = layout_of(rows.row) if rows.row else None
        self.names = tuple(name for name, _ in fields)
        self.codes = "".join(
            f"{wire.text_size}s" if wire.text_size else wire.scalar.code for _, wire in fields
        )
        self.fixed = struct.Struct("<" + self.codes)
        self.minimum_size = self.fixed.size + (0 if self.row is None else 1)
        self._whole: dict[int, struct.Struct] = {}
        self._members = [
            (index, _Members(name, wire.enum))
            for index, (name, wire) in enumerate(fields)
            if wire.enum is not None
        ]
        self._texts = [
            (index, name, wire.text_size)
            for index, (name, wire) in enumerate(fields)
            if wire.text_size
        ]
        self.is_plain = not self._members and not self._texts

    def whole(self, row_count: int) -> struct.Struct:
        """Return the bytes of all fields, the row count and `row_count` rows; made once."""
        found = self._whole.get(row_count)
        if found is None:
            row_codes = "" if self.row is None else "B" + self.row.codes * row_count
            found = self._whole[row_count] = struct.Struct("<" + self.codes + row_codes)
        return found

    def to_wire(self, message: object) -> list[Any]:
        """Return the fields of one object, as numbers and byte strings."""
        fields = [getattr(message, name) for name in self.names]
        for index, members in self._members:
            members[fields[index]]  # an unknown one raises
        for index, name, size in self._texts:
            fields[index] = _encode_text(name, fields[index], size)
        return fields

    def from_wire(self, numbers: tuple[Any, ...]) -> Sequence[Any]:
        """Return the fields of one object for its numbers and byte strings."""
        if self.is_plain:
            return numbers
        fields = list(numbers)
        for index, members in self._members:
            fields[index] = members[fields[index]]
        for index, name, _ in self._texts:
            fields[index] = _decode_text(name, fields[index])
        return fields


_LAYOUTS: dict[type, _Layout] = {}


def layout_of(declared: type) -> _Layout:
    """Return the wire layout of a declared class, made once."""
    found = _LAYOUTS.get(declared)
    if found is None:
        found = _LAYOUTS[declared] = _Layout(declared)
    return found


def encode_payload(message: Message) -> bytes:
    """Return the payload of a message.

    Raises:
        MessageError: a field does not fit its declared type.
    """
    layout = layout_of(type(message))
    fields = layout.to_wire(message)
    try:
        if layout.row is None:
            return layout.fixed.pack(*fields)
        rows = getattr(message, layout.rows_name)
        if len(rows) > layout.rows_maximum:
            raise MessageError(f"{layout.name}: {len(rows)} rows, at most {layout.rows_maximum}")
        fields.append(len(rows))
        for row in rows:
            fields += layout.row.to_wire(row)
        return layout.whole(len(rows)).pack(*fields)
    except struct.error as error:
        raise MessageError(f"{layout.name}: {error}") from None


def _encode_text(name: str, written: str, size: int) -> bytes:
    if not written.isascii() or not written.isprintable() or len(written) > size:
        raise MessageError(f"{name}: at most {size} printable ASCII characters, got {written!r}")
    return written.encode("ascii")


def _decode_text(name: str, raw: bytes) -> str:
    stripped = raw.rstrip(b"\0")
    if any(not 0x20 <= byte < 0x7F for byte in stripped):
        raise MessageError(f"{name} is not printable ASCII")
    return stripped.decode("ascii")


def decode_payload_prefix(declared: type[_T], raw: bytes, start: int = 0) -> tuple[_T, int]:
    """Decode the payload that begins at `start`; return the message and where the payload ends.

    Raises:
        MessageError: the bytes do not hold such a message.
    """
    layout = layout_of(declared)
    end = start + layout.minimum_size
    if len(raw) < end:
        raise MessageError(f"{layout.name}: {end - start} bytes expected, got {len(raw) - start}")
    fields = layout.from_wire(layout.fixed.unpack_from(raw, start))
    row = layout.row
    if row is None:
        return layout.build(*fields), end
    row_count = raw[end - 1]
    if row_count > layout.rows_maximum:
        raise MessageError(f"{layout.name}: {row_count} rows, at most {layout.rows_maximum}")
    rows_start, end = end, end + row_count * row.fixed.size
    if len(raw) < end:
        raise MessageError(f"{layout.name}: {end - start} bytes expected, got {len(raw) - start}")
    row_numbers = row.fixed.iter_unpack(raw[rows_start:end])
    if row.is_plain:
        rows = tuple([row.build(*numbers) for numbers in row_numbers])
    else:
        rows = tuple([row.build(*row.from_wire(numbers)) for numbers in row_numbers])
    return layout.build(*fields, rows), end


def decode_payload(declared: type[_T], raw: bytes, start: int = 0) -> _T:
    """Decode the one payload that fills `raw` from `start` on.

    Raises:
        MessageError: the bytes are not exactly such a message.
    """
    message, end = decode_payload_prefix(declared, raw, start)
    if end != len(raw):
        raise MessageError(f"{declared.__name__}: {len(raw) - end} bytes too many")
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
    return Envelope(decode_payload(declared, content, HEADER.size), sequence, epoch)
