"""c/protocol.h: ids, field offsets, values, limits and the allowed matrix, for devices in C.

Rules:
1. Only constants: the C core has its own arithmetic and its own decisions.
2. A number that may be multiplied is written UINT32_C(...): where `int` has 16 bits a bare literal
   would overflow silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum, IntFlag

from firmware_protocol import codec, framing, limits, messages, reference
from firmware_protocol.fields import Wire, wire_fields
from firmware_protocol.messages import TO_DEVICE, Message
from firmware_protocol.schema import SCHEMA_HASH, enums_used, ordered_messages, rows_used

NO_ENUM_OFFSET = 255
_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])")
_HEAD = """\
/* Written by `python -m firmware_protocol.generate` from firmware_protocol/. Do not edit.
 *
 * The wire contract as constants: message ids, field offsets within a payload, values, limits, and
 * the states in which a message is allowed (a bit mask by EST_DEVICE_STATE_*).
 */

#ifndef EST_PROTOCOL_H
#define EST_PROTOCOL_H

#include <stdint.h>
"""


def render() -> str:
    """Return protocol.h."""
    parts = [_HEAD, *_figures(), *_enums(), *_messages(), *_rows(), *_inbound(), *_limits()]
    return "\n".join([*parts, "#endif\n"])


def _upper(name: str) -> str:
    return _WORD_START.sub("_", name).upper()


def _define(name: str, value: str) -> str:
    return f"#define EST_{name} {value}\n"


def _count(number: int) -> str:
    return f"{number}U"


def _quantity(number: int) -> str:
    return f"UINT32_C({number})"


def _figures() -> Iterator[str]:
    yield "".join(
        (
            _define("PROTOCOL_VERSION", _count(messages.PROTOCOL_VERSION)),
            _define("SCHEMA_HASH", f"UINT32_C(0x{SCHEMA_HASH:08x})"),
            _define("HEADER_SIZE", _count(codec.HEADER.size)),
            _define("CRC_SIZE", _count(codec.CRC.size)),
            _define("BODY_MIN", _count(codec.BODY_MIN)),
            _define("BODY_MAX", _count(codec.BODY_MAX)),
            _define("FRAME_MAX", _count(framing.FRAME_MAX)),
            _define("WIRE_CHANNELS_MAX", _count(messages.CHANNELS_MAX)),
            _define("WIRE_PHASES_MAX", _count(messages.PHASES_MAX)),
            _define("WIRE_KEYFRAMES_MAX", _count(messages.KEYFRAMES_MAX)),
            _define("KEYFRAMES_PER_MESSAGE", _count(messages.KEYFRAMES_PER_MESSAGE)),
            _define("WIRE_EVENTS_MAX", _count(reference.EVENTS_KEPT)),
            _define("NO_CHANNEL", _count(messages.NO_CHANNEL)),
        )
    )


def _enums() -> Iterator[str]:
    for kind in enums_used():
        prefix = _upper(kind.__name__)
        lines = [f"/* {(kind.__doc__ or '').strip()} */\n"]
        lines += [
            _define(f"{prefix}_{name}", _count(int(member)))
            for name, member in kind.__members__.items()
        ]
        yield "".join(lines)


def _highest(kind: type[IntEnum] | type[IntFlag]) -> int:
    """Return the bound at and below which every number is a value.

    Raises:
        ValueError: the values have a hole, so that one bound cannot tell them from others.
    """
    known = sum(set(kind)) if issubclass(kind, IntFlag) else max(kind)
    members = {int(member) for member in kind}
    expected = (
        {1 << bit for bit in range(known.bit_length())}
        if issubclass(kind, IntFlag)
        else {*range(known + 1)}
    )
    if members - {0} != expected - {0} or (not issubclass(kind, IntFlag) and 0 not in members):
        raise ValueError(f"{kind.__name__} has a hole: protocol.h needs another way to judge it")
    return int(known)


def _messages() -> Iterator[str]:
    for declared in ordered_messages():
        name = _upper(declared.__name__)
        lines = [
            f"/* {declared.__name__} */\n",
            _define(f"MESSAGE_{name}", f"0x{declared.message_id:02X}U"),
        ]
        yield "".join([*lines, *_layout(declared, name)])


def _rows() -> Iterator[str]:
    for row in rows_used():
        yield "".join([f"/* {row.__name__} */\n", *_layout(row, _upper(row.__name__))])


def _layout(declared: type, name: str) -> Iterator[str]:
    """Give the offset of every field, and the size without rows (their count included)."""
    offset = 0
    for field_name, wire in wire_fields(declared):
        is_rows = wire.row is not None
        suffix = "_COUNT" if is_rows else ""
        yield _define(f"{name}_AT_{_upper(field_name)}{suffix}", _count(offset))
        offset += _field_size(wire)
        if is_rows:
            yield _define(f"{name}_AT_{_upper(field_name)}", _count(offset))
    yield _define(f"{name}_SIZE", _count(offset))


def _field_size(wire: Wire) -> int:
    return 1 if wire.row is not None else wire.text_size or wire.scalar.size


def _inbound() -> Iterator[str]:
    """Give one line for each message to the device: everything needed to judge a payload."""
    rows = [
        f"    ROW({', '.join(_inbound_cells(declared))})"
        for declared in ordered_messages()
        if declared.direction == TO_DEVICE
    ]
    yield (
        "/* ROW(id, size, row size, rows at most, allowed in, offset of an enumerated byte or "
        f"{NO_ENUM_OFFSET}, its\n * highest value). The size includes the row count, which is its "
        "last byte. */\n#define EST_TO_DEVICE(ROW) \\\n" + " \\\n".join(rows) + "\n"
    )


def _inbound_cells(declared: type[Message]) -> tuple[str, ...]:
    name = _upper(declared.__name__)
    size, row_size, rows_max, enums = 0, 0, 0, []
    for _, wire in wire_fields(declared):
        if wire.row is not None:
            row_size = sum(_field_size(each) for _, each in wire_fields(wire.row))
            rows_max = wire.row_maximum
            if any(each.enum or each.text_size for _, each in wire_fields(wire.row)):
                raise ValueError(f"{wire.row.__name__}: protocol.h judges no values in rows")
        elif wire.enum is not None:
            enums.append((size, _highest(wire.enum)))
        elif wire.text_size:
            raise ValueError(f"{declared.__name__}: protocol.h judges no text to the device")
        size += _field_size(wire)
    if len(enums) > 1:
        raise ValueError(f"{declared.__name__}: protocol.h judges one enumerated byte a message")
    offset, highest = enums[0] if enums else (NO_ENUM_OFFSET, 0)
    allowed = sum(1 << state for state in declared.allowed_in)
    return (
        f"EST_MESSAGE_{name}",
        *(_count(number) for number in (size, row_size, rows_max)),
        f"0x{allowed:X}U",
        _count(offset),
        _count(highest),
    )


def _limits() -> Iterator[str]:
    for limit in limits.LIMITS:
        name = f"LIMIT_{_upper(limit.name)}"
        lines = [
            f"/* {limit.name}, {limit.unit} */\n",
            _define(f"{name}_ID", _count(limit.wire_id)),
        ]
        if limit.hard_max is not None:
            lines.append(_define(f"{name}_MAX", _quantity(limit.hard_max)))
        if limit.hard_min is not None:
            lines.append(_define(f"{name}_MIN", _quantity(limit.hard_min)))
        yield "".join(lines)
    yield "".join(
        _define(name, _quantity(number))
        for name, number in (
            ("PHASE_CHARGE_BASE_PC", limits.PHASE_CHARGE_BASE_PC),
            ("PHASE_CHARGE_SLOPE_PC_PER_US", limits.PHASE_CHARGE_SLOPE_PC_PER_US),
            ("OVERCURRENT_MARGIN_UA", limits.OVERCURRENT_MARGIN_UA),
            ("OVERCURRENT_PULSES", limits.OVERCURRENT_PULSES),
            ("LEAD_OFF_PULSES", limits.LEAD_OFF_PULSES),
            ("LEAD_OFF_US", limits.LEAD_OFF_US),
            ("CONTACT_PULSES", limits.CONTACT_PULSES),
            ("CONTACT_US", limits.CONTACT_US),
            ("SLOW_PULSE_US", limits.SLOW_PULSE_US),
        )
    )
