"""Hypothesis strategies, derived from the declarations and for pulse programmes."""

from __future__ import annotations

from enum import IntFlag
from typing import Any

from hypothesis import strategies as st

from firmware_protocol.fields import Wire, wire_fields
from firmware_protocol.messages import MESSAGES, Message

PRINTABLE_ASCII = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def declared_objects(declared: type) -> st.SearchStrategy[Any]:
    """Build any message or row of a declared class."""
    return st.builds(
        declared, **{name: _field_strategy(wire) for name, wire in wire_fields(declared)}
    )


def messages() -> st.SearchStrategy[Message]:
    """Build any message of any class."""
    return st.sampled_from(sorted(MESSAGES)).flatmap(
        lambda message_id: declared_objects(MESSAGES[message_id])
    )


def _field_strategy(wire: Wire) -> st.SearchStrategy[Any]:
    if wire.row is not None:
        return st.lists(declared_objects(wire.row), max_size=wire.row_maximum).map(tuple)
    if wire.text_size:
        return st.text(PRINTABLE_ASCII, max_size=wire.text_size)
    kind = wire.enum
    if kind is None:
        return st.integers(wire.scalar.minimum, wire.scalar.maximum)
    if issubclass(kind, IntFlag):
        members = st.lists(st.sampled_from(list(kind)), unique=True)
        return members.map(lambda chosen: kind(sum(chosen)))
    return st.sampled_from(list(kind))
