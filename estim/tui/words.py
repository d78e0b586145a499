"""Words and signs that every screen shares.

Rules:
1. Text from a file, a device or the engine passes `safe` before it is drawn.
2. No sign here is one of the strip's beat signs: only a beat may look like a beat.
3. A current is rounded up (`units.format_ma`): it never understates.
4. Nothing here needs the session's modules: they load after the first paint (`session_words`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from estim.text import REPLACEMENT, sanitize
from estim.units import format_clock, format_ma

BEAT_SIGNS = "◐◓◑◒"
"""What the strip turns through while a device is connected; nothing else may draw these."""

NAMES_WIDTH = 11
STOP_SIGN, CARE_SIGN = "■", "▲"
"""What forbids, and what asks for care."""

CERTAINTY_WORDS = {
    "S": "read in a public source",
    "K": "common professional knowledge",
    "K?": "not checked against the original",
    "E": "an engineering proposal of this project",
}

BENCH_ONLY = "A session from here is a bench session: a dummy load, nobody connected."
NOT_CERTIFIED = (
    "Not a certified medical device. Use on a person is the decision and the responsibility of "
    "somebody who is qualified to make it."
)

_ENDS = ("\n", "\r", "\t")
_AT_ENDS = re.compile(f"([{''.join(_ENDS)}])")
_NO_BEATS = str.maketrans(BEAT_SIGNS, REPLACEMENT * len(BEAT_SIGNS))


def safe(text: str) -> str:
    """Return text that may be drawn: one line, visible characters, no beat sign."""
    return sanitize(text).translate(_NO_BEATS)


def safe_lines(text: str) -> str:
    """Return text of several lines that may be drawn."""
    return "\n".join(map(safe, text.split("\n")))


def pasted(text: str) -> str:
    """Return what was pasted as text that may be drawn; ends of lines and tabs stay."""
    return "".join(each if each in _ENDS else safe(each) for each in _AT_ENDS.split(text))


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Return what things are called and what they are, one line each."""
    return "\n".join(f"{name:<{NAMES_WIDTH}}{text}" for name, text in rows)


def current(current_ua: int) -> str:
    """Show a current with its unit."""
    return f"{format_ma(current_ua)} mA"


def clock_ms(duration_ms: int) -> str:
    """Show milliseconds as m:ss."""
    return format_clock(duration_ms // 1000)
