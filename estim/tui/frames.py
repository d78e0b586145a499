"""Frames on the line as people read them: what message, whether it is whole, which bytes say what.

Everything follows from the declarations of `firmware_protocol`; nothing is written here for one
message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from estim.session.messages import FrameSeen
from firmware_protocol.codec import CRC, HEADER, decode_body
from firmware_protocol.errors import FrameError, MessageError
from firmware_protocol.fields import Wire, wire_fields
from firmware_protocol.framing import decode_frame
from firmware_protocol.messages import Message

DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, decoded as far as it goes.

    Attributes:
        seen: as it was on the line.
        name: of its message; `damaged` where it is none.
        body: its bytes without the framing; b'' where even that is damaged.
        message: None where it is damaged.
        sequence: -1 where it is damaged.
        problem: what is wrong, '' for nothing.
    """

    seen: FrameSeen
    name: str
    body: bytes
    message: Message | None
    sequence: int
    problem: str


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a body and what they say."""

    octets: bytes
    name: str
    words: str


def decode(seen: FrameSeen) -> Frame:
    """Decode a frame; any bytes give one."""
    body = b""
    try:
        body = decode_frame(bytes.fromhex(seen.octets_hex))
        message, sequence, _ = decode_body(body)
    except (FrameError, MessageError) as error:
        problem = str(error) if seen.octets_hex else "too long to be a frame"
        return Frame(seen, DAMAGED, body, None, -1, problem)
    return Frame(seen, type(message).__name__, body, message, sequence, "")


def summary(frame: Frame) -> str:
    """Return a frame's fields in one line: what has a name first, what is zero left out."""
    if frame.message is None:
        return frame.problem
    told = []
    fields = sorted(wire_fields(type(frame.message)), key=lambda field: field[1].enum is None)
    for name, wire in fields:
        found = getattr(frame.message, name)
        if wire.row is not None:
            told += [
                f"{name}[{number}] {_row_words(wire.row, row)}"
                for number, row in enumerate(found, start=1)
            ]
        elif found or (wire.enum is not None and not issubclass(wire.enum, IntFlag)):
            told.append(f"{name} {value_words(found, wire)}")
    return ", ".join(told)


def parts(frame: Frame) -> tuple[Part, ...]:
    """Return the bytes of a frame in order, each with what it says."""
    if frame.message is None:
        octets = frame.body or bytes.fromhex(frame.seen.octets_hex)
        return (Part(octets, DAMAGED, frame.problem),)
    return tuple(_parts(frame, frame.message))


def value_words(found: Any, wire: Wire) -> str:
    """Return a field's value with its unit, or the name of what it stands for."""
    if wire.enum is not None:
        if issubclass(wire.enum, IntFlag):
            names = [flag.name or "" for flag in wire.enum if flag and flag in found]
            return " + ".join(name.lower() for name in names) or "none"
        return str(found.name).lower()
    if wire.text_size:
        return repr(found)
    return f"{found} {wire.unit}".rstrip()


def _row_words(row: type, found: Any) -> str:
    told = [
        f"{name} {value_words(getattr(found, name), wire)}"
        for name, wire in wire_fields(row)
        if getattr(found, name)
    ]
    return "; ".join(told) or "all zero"


def _parts(frame: Frame, message: Message) -> Iterator[Part]:
    message_id, sequence, epoch = HEADER.unpack_from(frame.body)
    yield Part(frame.body[:1], "message", f"0x{message_id:02x} {frame.name}")
    yield Part(frame.body[1:3], "sequence", str(sequence))
    yield Part(frame.body[3 : HEADER.size], "epoch", f"{epoch:016x}")
    start = HEADER.size
    for name, wire in wire_fields(type(message)):
        found = getattr(message, name)
        if wire.row is None:
            end = start + _size(wire)
            yield Part(frame.body[start:end], name, value_words(found, wire))
            start = end
            continue
        yield Part(frame.body[start : start + 1], f"{name}: count", str(len(found)))
        start += 1
        for number, row in enumerate(found, start=1):
            for inner, inner_wire in wire_fields(wire.row):
                end = start + _size(inner_wire)
                words = value_words(getattr(row, inner), inner_wire)
                yield Part(frame.body[start:end], f"{name}[{number}].{inner}", words)
                start = end
    yield Part(frame.body[-CRC.size :], "CRC-32", "right")


def _size(wire: Wire) -> int:
    return wire.text_size or wire.scalar.size
