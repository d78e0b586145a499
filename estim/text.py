"""Make text from outside safe to show: the one function between a file and a terminal.

Rules:
1. Text from a file, a device or the network passes here when it is taken in, and again when shown.
2. What comes out is one line of visible characters: no C0 or C1 control, no escape, no
   bidirectional or other format control, no line or paragraph separator, no lone surrogate.
"""

from __future__ import annotations

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def sanitize(text: str) -> str:
    """Return `text` with every control, format or separator character replaced by U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        REPLACEMENT if unicodedata.category(character) in _UNSAFE_CATEGORIES else character
        for character in text
    )


def first_unsafe(text: str) -> int | None:
    """Return the index of the first character that `sanitize` would replace, if any."""
    for index, (before, after) in enumerate(zip(text, sanitize(text), strict=True)):
        if before != after:
            return index
    return None
