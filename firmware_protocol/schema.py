"""The identity of all declarations, so that two ends can tell whether they speak the same language.

The hash covers what changes bytes or behaviour: names, ids, directions, allowed states, field
names, wire types, units, row maxima and enum values, in wire order. Wording is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import IntEnum, IntFlag

from firmware_protocol.fields import Wire, wire_fields
from firmware_protocol.messages import MESSAGES, PROTOCOL_VERSION, Message


def canonical_description() -> str:
    """Return one line per message, field, row and enum value; the schema hash covers its UTF-8."""
    return "\n".join(_lines()) + "\n"


def wire_type(wire: Wire) -> str:
    """Name a field's wire type, such as `u16`, `text16`, `u8 Contact` or `TargetRow[0..4]`."""
    if wire.text_size:
        return f"text{wire.text_size}"
    if wire.row is not None:
        return f"{wire.row.__name__}[0..{wire.row_maximum}]"
    if wire.enum is not None:
        return f"{wire.scalar.name} {wire.enum.__name__}"
    return wire.scalar.name


def ordered_messages() -> list[type[Message]]:
    """Return every message by rising id."""
    return [MESSAGES[message_id] for message_id in sorted(MESSAGES)]


def rows_used() -> list[type]:
    """Return every row class, in the order in which messages first use it."""
    return list(
        dict.fromkeys(
            wire.row
            for declared in ordered_messages()
            for _, wire in wire_fields(declared)
            if wire.row is not None
        )
    )


def enums_used() -> list[type[IntEnum] | type[IntFlag]]:
    """Return every enum, in the order in which messages and their rows first use it."""
    return list(
        dict.fromkeys(
            wire.enum
            for declared in [*ordered_messages(), *rows_used()]
            for _, wire in wire_fields(declared)
            if wire.enum is not None
        )
    )


def _lines() -> Iterator[str]:
    yield f"protocol {PROTOCOL_VERSION}"
    for declared in ordered_messages():
        states = ",".join(state.name for state in sorted(declared.allowed_in))
        yield f"message {declared.message_id} {declared.__name__} {declared.direction} {states}"
        yield from _field_lines(declared)
    for row in rows_used():
        yield f"row {row.__name__}"
        yield from _field_lines(row)
    for kind in enums_used():
        yield f"{'flags' if issubclass(kind, IntFlag) else 'enum'} {kind.__name__}"
        for name, member in kind.__members__.items():
            yield f"value {int(member)} {name}"


def _field_lines(declared: type) -> Iterator[str]:
    for name, wire in wire_fields(declared):
        yield f"field {name}|{wire_type(wire)}|{wire.unit}"


SCHEMA_HASH: int = zlib.crc32(canonical_description().encode())
