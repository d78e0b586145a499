"""Turn integers in base units into the words that people read, and back.

Inside Estim: microamperes, microseconds, picocoulombs, ohms. People read milliamperes and minutes.
"""

from __future__ import annotations

import re

UA_PER_MA = 1000
US_PER_MS = 1000
US_PER_S = 1_000_000
MS_PER_S = 1000
PC_PER_UC = 1_000_000

_PLAIN_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")


def format_ma(current_ua: int) -> str:
    """Show microamperes as milliamperes with one decimal, rounded up: it never understates."""
    tenths = -(-abs(current_ua) // 100)
    sign = "-" if current_ua < 0 else ""
    return f"{sign}{tenths // 10}.{tenths % 10}"


def format_clock(duration_s: int) -> str:
    """Show whole seconds as m:ss."""
    return f"{duration_s // 60}:{duration_s % 60:02d}"


def parse_ma(text: str) -> int:
    """Read milliamperes such as '12' or '12.5' into microamperes.

    Only digits and one point are taken: no sign, exponent, comma, NaN or infinity.

    Raises:
        ValueError: the text is anything else.
    """
    if not _PLAIN_DECIMAL.fullmatch(text):
        raise ValueError(f"expected milliamperes such as 12 or 12.5, got {text!r}")
    whole, _, fraction = text.partition(".")
    return int(whole) * UA_PER_MA + int((fraction + "000")[:3])


_UNIT_PLACES = {
    "uA": (3, "mA"),
    "uA/s": (3, "mA/s"),
    "pC": (6, "uC"),
    "uJ": (3, "mJ"),
    "uA/cm2 RMS": (3, "mA/cm2 RMS"),
    "uW/cm2": (6, "W/cm2"),
    "mm2": (2, "cm2"),
}
"""Unit of a limit: decimal places to move, and the unit shown."""


def in_unit(value: int, unit: str) -> str:
    """Write a value of a limit as people read it, to its last digit."""
    places, shown = _UNIT_PLACES.get(unit, (0, unit))
    whole, rest = divmod(abs(value), 10**places)
    fraction = f".{rest:0{places}}".rstrip("0") if rest else ""
    return f"{'-' if value < 0 else ''}{whole}{fraction} {shown}"
