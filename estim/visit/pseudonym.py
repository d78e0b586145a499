"""Pseudonyms with a check character: made, typed and scanned without taking one for another.

Rules:
1. A pseudonym is capital letters and digits; the last is its check character by ISO 7064,
   MOD 37,36, which finds every single wrong character and almost every swap of two neighbours.
2. What is made has no character that is mistaken for another, and no vowel, so that it spells
   nothing; what is typed may have any.
3. A wrong one is never mended or guessed at: the right one might be another person's.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from estim.errors import UsageError
from estim.text import sanitize

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
UNAMBIGUOUS = "34679CDFGHJKMNPQRTVWXY"
BODY_SIZE = 6
SIZE_MIN = 4
SIZE_MAX = 20
_TRIES_MAX = 10_000
_IGNORED = str.maketrans("", "", " -")


def check_character(body: str) -> str:
    """Return the check character of capital letters and digits (ISO 7064, MOD 37,36)."""
    size = len(CHARACTERS)
    product = size
    for character in body:
        total = (product + CHARACTERS.index(character)) % size or size
        product = total * 2 % (size + 1)
    return CHARACTERS[(size + 1 - product) % size]


def normalise(typed: str) -> str:
    """Return a pseudonym as it is kept: without spaces and dashes, in capitals.

    Raises:
        UsageError: it is too short or too long, has other characters, or its check character does
            not match.
    """
    shown = sanitize(typed)[:40]
    plain = typed.translate(_IGNORED)
    if not plain.isascii() or not plain.isalnum() or not SIZE_MIN <= len(plain) <= SIZE_MAX:
        raise UsageError(
            f"pseudonym {shown!r}: expected {SIZE_MIN} to {SIZE_MAX} letters and digits; spaces "
            "and dashes do not count"
        )
    plain = plain.upper()
    if check_character(plain[:-1]) != plain[-1]:
        raise UsageError(
            f"pseudonym {shown!r}: its last character does not fit the others, so one of them is "
            "wrong; type or scan it again"
        )
    return plain


def generate(choose: Callable[[str], str], taken: Container[str] = ()) -> str:
    """Return a new pseudonym that is not among those taken.

    Args:
        choose: returns one character of a text by chance, as `secrets.choice` does.
        taken: pseudonyms that are in use.

    Raises:
        UsageError: none was found that is free.
    """
    for _ in range(_TRIES_MAX):
        body = "".join(choose(UNAMBIGUOUS) for _ in range(BODY_SIZE))
        found = body + check_character(body)
        if found[-1] in UNAMBIGUOUS and found not in taken:
            return found
    raise UsageError("no free pseudonym found; type one of your own")
