"""Text from outside comes out as one line of visible characters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.text import first_unsafe, sanitize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Left leg, 5 x 5 cm (25 cm²) µA ≥ 1", "Left leg, 5 x 5 cm (25 cm²) µA ≥ 1"),
        ("\x1b[31m0 mA", "\ufffd[31m0 mA"),  # ESC
        ("\x9b2J", "\ufffd2J"),  # C1: CSI in one byte
        ("a\nb\tc\r", "a\ufffdb\ufffdc\ufffd"),
        ("20\u202e0.2 mA", "20\ufffd0.2 mA"),  # right-to-left override
        ("\u2066x\u2069", "\ufffdx\ufffd"),  # isolates
        ("a\u200bb\u00adc\ufeff", "a\ufffdb\ufffdc\ufffd"),  # zero width, soft hyphen, BOM
        ("a\u2028b\u2029", "a\ufffdb\ufffd"),
        ("\ud800", "\ufffd"),  # a lone surrogate, as from a file name
        ("\x7f\x00", "\ufffd\ufffd"),
    ],
)
def test_controls_and_invisible_characters_are_replaced(text: str, expected: str) -> None:
    assert sanitize(text) == expected


@given(st.text(alphabet=st.characters(codec=None)))
def test_what_comes_out_is_safe_and_stays_as_it_is(text: str) -> None:
    cleaned = sanitize(text)
    assert len(cleaned) == len(text)
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in cleaned)
    assert sanitize(cleaned) == cleaned
    cleaned.encode("utf-8")


def test_the_first_unsafe_character_is_found() -> None:
    assert first_unsafe("plain µ") is None
    assert first_unsafe("µ\x1b\x1b") == 1
