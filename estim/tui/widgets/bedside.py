"""A view to be read across a room: intensity and minutes left in large digits, state, stop key."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content
from textual.widget import Widget

from estim.session.messages import Snapshot
from estim.tui import session_words, words
from estim.tui.widgets.strip import stop_key_words
from estim.units import format_ma

ROWS = 5
_GLYPHS = {
    "0": "###|#.#|#.#|#.#|###",
    "1": ".#.|##.|.#.|.#.|###",
    "2": "###|..#|###|#..|###",
    "3": "###|..#|.##|..#|###",
    "4": "#.#|#.#|###|..#|..#",
    "5": "###|#..|###|..#|###",
    "6": "###|#..|###|#.#|###",
    "7": "###|..#|..#|.#.|.#.",
    "8": "###|#.#|###|#.#|###",
    "9": "###|#.#|###|..#|###",
    ".": ".|.|.|.|#",
    ":": ".|#|.|#|.",
    "?": "###|..#|.##|...|.#.",
    "-": "...|...|###|...|...",
}
"""Digits three dots wide and five high; a dot is two cells wide, so that it is about square."""


@dataclass(frozen=True, slots=True)
class BedsideState:
    """What the view shows."""

    intensity: str = ""
    left: str = ""
    state: str = ""
    channels: str = ""


def bedside_state(snapshot: Snapshot, is_known: bool) -> BedsideState:
    """Return what a snapshot says across a room; nothing known is a question mark, no number."""
    sign, state = session_words.state_words(snapshot)
    left_ms = session_words.left_ms(snapshot)
    shown = [format_ma(row.shown_ua) for row in snapshot.channels]
    return BedsideState(
        format_ma(session_words.largest_ua(snapshot)) if is_known else "?",
        "-" if left_ms is None else words.clock_ms(left_ms),
        f"{sign} {state}",
        "   ".join(f"channel {n}: {each} mA" for n, each in enumerate(shown, start=1))
        if is_known and len(shown) > 1
        else "",
    )


class Bedside(Widget):
    """Draw a `BedsideState` as large as the place allows."""

    def __init__(self) -> None:
        super().__init__()
        self._state = BedsideState()

    def show(self, state: BedsideState) -> None:
        """Draw another state, if it is another."""
        if state != self._state:
            self._state = state
            self.refresh()

    def render(self) -> Content:
        width, height = self.size.width, self.size.height
        state, stop = self._state, stop_key_words(self.screen.focused)
        figures = ((state.intensity, "mA"), (state.left, "left"))
        for scale in range(min(height // ROWS, 8), 0, -1):
            for second in (max(1, scale - 1), 1):
                blocks = [
                    _large(text, unit, size)
                    for (text, unit), size in zip(figures, (scale, second), strict=True)
                ]
                lines = [*blocks[0], "", *blocks[1]]
                if len(lines) + 3 <= height and max(map(len, lines)) <= width:
                    return _page(lines, state, stop, width)
        plain = [f"{text} {unit}" for text, unit in figures]
        return _page(plain, state, stop, width)


def _large(text: str, unit: str, scale: int) -> list[str]:
    """Return text in large digits, its unit beside the last line."""
    rows = [""] * ROWS
    for sign in text:
        for number, dots in enumerate(_GLYPHS[sign].split("|")):
            rows[number] += "".join(("█" if dot == "#" else " ") * 2 * scale for dot in dots)
            rows[number] += "  " * scale
    lines = [row for row in rows for _ in range(scale)]
    lines[-1] += unit
    return lines


def _page(lines: list[str], state: BedsideState, stop: str, width: int) -> Content:
    body = [Content.styled(line.ljust(min(width, max(map(len, lines)))), "bold") for line in lines]
    body.append(Content.styled(state.channels, "dim"))
    body.append(
        Content.assemble((state.state, "bold"), "    ", (f" {stop.upper()} ", "bold reverse"))
    )
    return Content("\n").join([line.truncate(width) for line in body])
