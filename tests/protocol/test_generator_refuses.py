"""What the generators cannot put into C, or into vectors, they refuse: nothing wrong is written."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import pytest

from firmware_protocol import c_header, codec, framing, vectors
from firmware_protocol.fields import U8, Declared, declared, enumeration, rows, scalar, text
from firmware_protocol.messages import (
    TO_DEVICE,
    DeviceState,
    Message,
    PolicyFlag,
    Stop,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram


class Holed(IntEnum):
    """2 is no value."""

    NONE = 0
    ONE = 1
    THREE = 3


class FromOne(IntEnum):
    """0 is no value."""

    ONE = 1


class HoledFlag(IntFlag):
    """2 is no bit."""

    NONE = 0
    ONE = 1
    FOUR = 4


@pytest.mark.parametrize("kind", [Holed, FromOne, HoledFlag])
def test_values_with_a_hole_are_not_judged_by_a_bound(kind: type[IntEnum] | type[IntFlag]) -> None:
    with pytest.raises(ValueError, match=f"^{kind.__name__} has a hole"):
        c_header._highest(kind)


def test_the_bound_of_values_without_a_hole_is_the_highest() -> None:
    assert c_header._highest(DeviceState) == 3
    assert c_header._highest(PolicyFlag) == 3


@declared
class Named(Declared):
    """A row with a value that not every number is."""

    state: WantedState = enumeration(WantedState, "a state")


@declared
class Labelled(Declared):
    """A row with a text."""

    name: str = text(4, "a name")


@declared
class NamedRows(Message):
    """Rows with an enumeration."""

    rows: tuple[Named, ...] = rows(Named, 4, "rows")


@declared
class LabelledRows(Message):
    """Rows with a text."""

    rows: tuple[Labelled, ...] = rows(Labelled, 4, "rows")


@declared
class Text(Message):
    """A text to the device."""

    name: str = text(4, "a name")


@declared
class TwoStates(Message):
    """Two enumerations."""

    first: WantedState = enumeration(WantedState, "one")
    count: int = scalar(U8, "", "between them")
    second: WantedState = enumeration(WantedState, "another")


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (NamedRows, "^Named: protocol.h judges no values in rows"),
        (LabelledRows, "^Labelled: protocol.h judges no values in rows"),
        (Text, "^Text: protocol.h judges no text to the device"),
        (TwoStates, "^TwoStates: protocol.h judges one enumerated byte a message"),
    ],
)
def test_a_message_that_c_could_not_judge_is_refused(declared: type[Message], words: str) -> None:
    declared.direction = TO_DEVICE
    declared.allowed_in = frozenset(DeviceState)
    with pytest.raises(ValueError, match=words):
        c_header._inbound_cells(declared)


def test_a_vector_of_something_bad_is_not_made_from_something_good() -> None:
    pair = (Phase(1, 1000), Phase(1, -1000))
    good = PulseProgram((ChannelProgram(pair, 200, 10_000),)).canonical_bytes()
    with pytest.raises(AssertionError, match="taken for a good programme"):
        vectors._bad_program("good", good)
    frame = framing.encode_frame(codec.encode_body(Stop(), 1, 2))[:-1]
    with pytest.raises(AssertionError, match="taken for a good frame"):
        vectors._bad_frame("good", frame)


def test_a_vector_that_decodes_to_something_else_is_refused() -> None:
    vectors._require_same((1, 2), (1, 2), "Alike")
    with pytest.raises(ValueError, match=r"^Other: not the same after decoding$"):
        vectors._require_same((1, 2), (2, 1), "Other")
