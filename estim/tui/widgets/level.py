"""One line below the channels: whether increases are locked, and the markers of each channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual.content import Content
from textual.widgets import Static

from estim.units import format_ma
from estim.visit.level import Marker

Markers = tuple[Mapping[Marker, int], ...]


@dataclass(frozen=True, slots=True)
class LevelState:
    """What the line shows; `markers` by channel."""

    markers: Markers = ()
    is_locked: bool = False
    is_linked: bool = True


class LevelLine(Static):
    """Draw a `LevelState`."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._state = LevelState()

    def show(self, state: LevelState) -> None:
        """Draw another state, if it is another."""
        if state != self._state:
            self._state = state
            self.update(_line(state))


def _line(state: LevelState) -> Content:
    parts: list[str | tuple[str, str]] = [
        ("▲ increases locked: - opens them", "bold $warning")
        if state.is_locked
        else ("increases open", "dim"),
        ("   linked" if state.is_linked else "   apart", "dim"),
    ]
    if any(state.markers):
        parts.append(("   marked", "dim"))
    for number, marked in enumerate(state.markers, start=1):
        if marked:
            parts.append((f"  {number}:", "bold"))
            parts += [
                f" {marker.letter} {format_ma(marked[marker])}"
                for marker in Marker
                if marker in marked
            ]
    return Content.assemble(*parts)
