"""A pseudonym that was typed or scanned wrong is never taken for another person's."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.errors import UsageError
from estim.record.names import check_pseudonym
from estim.visit import pseudonym

ALPHABET = string.digits + string.ascii_uppercase
plain = st.text(ALPHABET, min_size=3, max_size=19)


def fits(text: str) -> bool:
    """ISO 7064's definition, from the right side: the recursion over all characters ends in 1."""
    remainder = 36
    for position, character in enumerate(text):
        total = remainder + ALPHABET.index(character)
        if position == len(text) - 1:
            return total % 36 == 1
        remainder = 2 * (total % 36 or 36) % 37
    return False


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("A12425GABC1234002", "M"),  # the GRid standard's own example, A1-2425G-ABC1234002-M
        ("00000000D07A0090", "Q"),  # ISAN 0000-0000-D07A-0090-Q, its standard's example
        ("00000000D07A009000000000", "X"),  # ... and with its version, 0000-0000-X
        ("0", "2"),  # by hand: (36 + 0) mod 36 = 0 -> 36, x2 = 72 mod 37 = 35; 37 - 35 = 2
        ("1", "Z"),  # by hand: 37 mod 36 = 1, x2 = 2; 37 - 2 = 35
    ],
)
def test_published_check_characters(body: str, expected: str) -> None:
    assert pseudonym.check_character(body) == expected


@given(plain)
def test_a_check_character_fits_by_the_definition_and_no_other_does(body: str) -> None:
    fitting = [c for c in ALPHABET if fits(body + c)]
    assert fitting == [pseudonym.check_character(body)]


@pytest.mark.hazard(21)
@given(plain, st.data())
def test_every_single_wrong_character_is_found(body: str, data: st.DataObject) -> None:
    whole = body + pseudonym.check_character(body)
    place = data.draw(st.integers(0, len(whole) - 1))
    wrong = data.draw(st.sampled_from([c for c in ALPHABET if c != whole[place]]))
    with pytest.raises(UsageError, match="does not fit"):
        pseudonym.normalise(whole[:place] + wrong + whole[place + 1 :])


@given(st.randoms(use_true_random=False))
def test_what_is_made_is_plain_and_fits(source: random.Random) -> None:
    made = pseudonym.generate(source.choice)
    assert len(made) == 7
    assert not set(made) & set("01258BILOSUZAE")
    assert fits(made)
    assert check_pseudonym("pseudonym", made) == pseudonym.normalise(made) == made


def test_none_that_is_taken_is_made() -> None:
    first = pseudonym.generate(random.Random(1).choice)
    assert pseudonym.generate(random.Random(1).choice, {first}) != first
    with pytest.raises(UsageError, match="no free pseudonym"):
        pseudonym.generate(lambda _: first[0], _Everything())


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


@pytest.mark.parametrize(
    "typed", ["a1-2425g-abc1234002-m", " A12425G ABC1234002 M ", "A12425GABC1234002M"]
)
def test_spaces_dashes_and_case_do_not_matter(typed: str) -> None:
    assert pseudonym.normalise(typed) == "A12425GABC1234002M"


@given(st.text(max_size=60))
def test_whatever_is_typed_gives_a_pseudonym_or_one_plain_line(typed: str) -> None:
    found = message = ""
    try:
        found = pseudonym.normalise(typed)
    except UsageError as error:
        message = str(error)
    assert message.isprintable()
    assert bool(found) != bool(message)
    if found:
        assert fits(found)
        check_pseudonym("pseudonym", found)


@pytest.mark.parametrize(
    "typed", ["", "AB2", "A" * 21, "ÄBC234", "straße", "12.45", "\x1b[2J2", "٣٤٥٦"]
)
def test_what_cannot_be_one_is_refused_with_what_was_expected(typed: str) -> None:
    with pytest.raises(UsageError, match="expected 4 to 20 letters and digits"):
        pseudonym.normalise(typed)


def test_the_message_does_not_offer_the_right_character() -> None:
    """Who is offered a fitting pseudonym takes it, and it may be another person's."""
    with pytest.raises(UsageError) as caught:
        pseudonym.normalise("A12425GABC1234002Q")
    assert "'M'" not in str(caught.value)
    assert "A12425GABC1234002M" not in str(caught.value)
