"""Field types of the wire: how wide, in which unit, and what each is called in C.

A message is a frozen dataclass whose fields are made with `scalar`, `enumeration`, `text` or
`rows`. Everything else (codec, C header, PROTOCOL.md, test vectors, schema hash) is derived from
that one declaration.

`dataclass` alone would write and compile six methods for each class, and an import of all messages
would take twice as long: `Declared` has five of them once for all, and leaves the sixth until then.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, TypeVar, dataclass_transform

_WIRE_KEY = "wire"
_T = TypeVar("_T")


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


class Declared:
    """What every declared message and row does: frozen, compared by its fields, none left out."""

    __slots__: tuple[str, ...] = ()
    __match_args__: tuple[str, ...] = ()

    def __init__(self, *given: Any, **named: Any) -> None:
        """Write the class's own `__init__` when its first object is made."""
        names, made = self.__match_args__, dict[str, Any](put=object.__setattr__)
        lines = [f"def __init__(self, {', '.join(names)}):"]
        lines += [f"    put(self, {name!r}, {name})" for name in names] or ["    pass"]
        exec("\n".join(lines), made)
        made["__init__"].__qualname__ = f"{type(self).__qualname__}.__init__"
        type(self).__init__ = made["__init__"]  # type: ignore[method-assign]
        made["__init__"](self, *given, **named)

    def __setattr__(self, name: str, _: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__match_args__))

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({', '.join(fields)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in self.__match_args__)


@dataclass_transform(frozen_default=True, field_specifiers=(scalar, enumeration, text, rows))
def declared(kind: type[_T]) -> type[_T]:
    """Make a frozen dataclass of a subclass of `Declared`."""
    return dataclass(init=False, repr=False, eq=False, slots=True)(kind)


def wire_fields(declared: type) -> tuple[tuple[str, Wire], ...]:
    """Return (name, wire) of every field of a declared message or row, in wire order."""
    return tuple(
        (field.name, field.metadata[_WIRE_KEY])
        for field in dataclasses.fields(declared)
        if _WIRE_KEY in field.metadata
    )
