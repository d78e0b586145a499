"""What a technician types: one message for each thing that makes no sense."""

from __future__ import annotations

from pathlib import Path

from textual.screen import Screen
from textual.widgets import Input

from estim.errors import UsageError
from estim.units import parse_ma
from firmware_protocol import limits


def text(screen: Screen[None], name: str) -> str:
    """Return what stands in a field, without blanks around."""
    return screen.query_one(f"#{name}", Input).value.strip()


def whole(screen: Screen[None], name: str, lowest: int, highest: int) -> int:
    """Return a field's whole number; raise UsageError where it is none."""
    typed = text(screen, name)
    is_whole = typed.isascii() and typed.isdigit() and len(typed) <= 9
    if not is_whole or not lowest <= int(typed) <= highest:
        screen.query_one(f"#{name}").focus()
        raise UsageError(f"{name}: expected a whole number from {lowest} to {highest}")
    return int(typed)


def amplitudes_ua(screen: Screen[None], name: str) -> tuple[int, ...]:
    """Return a field's amplitudes in mA, rising; raise UsageError where one is none."""
    found = set()
    for word in text(screen, name).replace(",", " ").split():
        try:
            amplitude_ua = parse_ma(word)
        except ValueError:
            amplitude_ua = 0
        if not 0 < amplitude_ua <= limits.amplitude_ua.maximum:
            screen.query_one(f"#{name}").focus()
            raise UsageError(
                f"{name}: {word}: expected mA above 0 and up to 100, such as 12 or 7.5"
            )
        found.add(amplitude_ua)
    return tuple(sorted(found))


def path(screen: Screen[None], name: str) -> Path:
    """Return a field's path to a file that is there; raise UsageError where there is none."""
    typed = text(screen, name)
    found = Path(typed).expanduser()
    if not typed or not found.is_file():
        screen.query_one(f"#{name}").focus()
        raise UsageError(f"{name}: expected the path of a file that is there")
    return found
