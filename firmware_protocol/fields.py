"""Field types of the wire: how wide, in which unit, and what each is called in C.

A message is a frozen dataclass whose fields are made with `scalar`, `enumeration`, `text` or
`rows`. Everything else (codec, C header, PROTOCOL.md, test vectors, schema hash) is derived from
that one declaration.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

_WIRE_KEY = "wire"


@dataclass(frozen=True, slots=True)
class Scalar:
    """An integer on the wire: its `struct` code, size in bytes, bounds and C type."""

    name: str
    code: str
    size: int
    minimum: int
    maximum: int
    c_type: str


def _unsigned(bits: int, code: str) -> Scalar:
    return Scalar(f"u{bits}", code, bits // 8, 0, 2**bits - 1, f"uint{bits}_t")


def _signed(bits: int, code: str) -> Scalar:
    half = 2 ** (bits - 1)
    return Scalar(f"i{bits}", code, bits // 8, -half, half - 1, f"int{bits}_t")


U8 = _unsigned(8, "B")
U16 = _unsigned(16, "H")
U32 = _unsigned(32, "I")
U64 = _unsigned(64, "Q")
I16 = _signed(16, "h")
I32 = _signed(32, "i")


@dataclass(frozen=True, slots=True)
class Wire:
    """What the codec and the generator need to know of one field.

    Exactly one shape applies: a number (`scalar`), a number with named values (`enum`), a text of
    `text_size` bytes, or up to `row_maximum` rows of another declared class (`row`), which is
    always the last field and has a u8 count before it.
    """

    scalar: Scalar
    unit: str
    doc: str
    enum: type[IntEnum] | type[IntFlag] | None = None
    text_size: int = 0
    row: type | None = None
    row_maximum: int = 0


def scalar(kind: Scalar, unit: str, doc: str) -> Any:
    """Declare an integer field; `unit` is '' for a bare count."""
    return dataclasses.field(metadata={_WIRE_KEY: Wire(kind, unit, doc)})


def enumeration(kind: type[IntEnum] | type[IntFlag], doc: str, wire: Scalar = U8) -> Any:
    """Declare a field that holds a member of an enum, or any union of a flag's members."""
    return dataclasses.field(metadata={_WIRE_KEY: Wire(wire, "", doc, enum=kind)})


def text(size: int, doc: str) -> Any:
    """Declare a printable ASCII text of at most `size` bytes, padded with NUL on the wire."""
    return dataclasses.field(metadata={_WIRE_KEY: Wire(U8, "", doc, text_size=size)})


def rows(row: type, maximum: int, doc: str) -> Any:
    """Declare the last field of a message: a u8 count and as many rows of a declared class."""
    return dataclasses.field(metadata={_WIRE_KEY: Wire(U8, "", doc, row=row, row_maximum=maximum)})


def wire_fields(declared: type) -> tuple[tuple[str, Wire], ...]:
    """Return (name, wire) of every field of a declared message or row, in wire order."""
    return tuple(
        (field.name, field.metadata[_WIRE_KEY])
        for field in dataclasses.fields(declared)
        if _WIRE_KEY in field.metadata
    )
