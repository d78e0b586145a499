"""Say how many there are of something."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return the number and the noun: 1 pulse, 2 pulses, 2 glitches."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}{'es' if noun.endswith(('ch', 's')) else 's'}"
