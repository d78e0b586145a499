"""Field types of the wire: how wide, in which unit, and what each is called in C.

A message is a frozen dataclass whose fields are made with `scalar`, `enumeration`, `text` or
`rows`. Everything else (codec, C header, PROTOCOL.md, test vectors, schema hash) is derived from
that one declaration.

`dataclass` alone would write and compile six methods for each class, and an import of all messages
would take twice as long: `Declared` has three of them once for all, and leaves three for later.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple, TypeVar, dataclass_transform

_WIRE_KEY = "wire"
_T = TypeVar("_T")


class Scalar(NamedTuple):
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


class Wire(NamedTuple):
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


class Declared:
    """What every declared message, row and part of a programme is: frozen, compared by its fields.

    `__init__`, `__eq__` and `__hash__` are written for each class when its first object is made.
    """

    __slots__: tuple[str, ...] = ()
    __match_args__: tuple[str, ...] = ()

    def __init__(self, *given: Any, **named: Any) -> None:
        _write_methods(type(self))
        type(self).__init__(self, *given, **named)

    def __setattr__(self, name: str, _: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({', '.join(fields)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in self.__match_args__)


@dataclass_transform(frozen_default=True, field_specifiers=(scalar, enumeration, text, rows))
def declared(kind: type[_T]) -> type[_T]:
    """Make a frozen dataclass of a subclass of `Declared`."""
    return dataclass(init=False, repr=False, eq=False, slots=True)(kind)


def _write_methods(kind: type) -> None:
    """Give a class of `declared` the methods that `dataclass` writes for one of the same fields."""
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    alike = dataclasses.make_dataclass(
        kind.__name__,
        [(field.name, field.type, dataclasses.field(default=field.default)) for field in fields],
        frozen=True,
        repr=False,
    )
    for name in ("__eq__", "__hash__", "__init__"):  # the last one last: it ends the writing
        if name not in vars(kind):
            setattr(kind, name, getattr(alike, name))


def wire_fields(declared: type) -> tuple[tuple[str, Wire], ...]:
    """Return (name, wire) of every field of a declared message or row, in wire order."""
    return tuple(
        (field.name, field.metadata[_WIRE_KEY])
        for field in dataclasses.fields(declared)
        if _WIRE_KEY in field.metadata
    )
