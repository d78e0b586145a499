"""Two lines per channel: commanded, measured, ceiling and whose it is, load, contact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget

from estim.session.messages import ChannelSnapshot
from estim.tui import session_words, words
from estim.visit.level import Marker

_HEAD_CELLS = 14
_BAR_MIN, _BAR_MAX = 12, 60


@dataclass(frozen=True, slots=True)
class ChannelsState:
    """What the panel shows; `selected` holds indexes from 0, `markers` stands by channel."""

    channels: tuple[ChannelSnapshot, ...] = ()
    is_known: bool = True
    selected: frozenset[int] = frozenset()
    markers: tuple[Mapping[Marker, int], ...] = ()


class ChannelPanel(Widget):
    """Draw a `ChannelsState`; the sign ► marks what the keys act on."""

    DEFAULT_CLASSES = "channel-panel"
    COLUMNS: ClassVar[tuple[tuple[str, int], ...]] = (
        ("commanded", 11), ("measured", 19), ("ceiling", 11), ("load", 11), ("contact", 13),
    )  # fmt: skip
    MARK: ClassVar[str] = ""
    """Stands before each line."""

    def __init__(self) -> None:
        super().__init__()
        self._state = ChannelsState()

    def show(self, state: ChannelsState) -> None:
        """Draw another state, if it is another."""
        if state == self._state:
            return
        resized = len(state.channels) != len(self._state.channels)
        self._state = state
        self.refresh(layout=resized)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return 1 + 2 * max(1, len(self._state.channels))

    def render(self) -> Content:
        width = self.size.width - len(self.MARK)
        heads = "".join(f"{name:<{cells}}" for name, cells in self.COLUMNS)
        lines = [Content.styled("   channel".ljust(_HEAD_CELLS) + heads, "dim").truncate(width)]
        if not self._state.channels:
            lines.append(Content.styled("   no programme is loaded", "dim"))
        for index, channel in enumerate(self._state.channels):
            lines.append(self._figures(index, channel).truncate(width))
            lines.append(self._explanation(index, channel, width).truncate(width, ellipsis=True))
        return Content("\n").join([Content.assemble((self.MARK, "bold"), line) for line in lines])

    def tail(self, index: int, channel: ChannelSnapshot) -> str:
        """Return what stands behind a channel's bar."""
        reason = session_words.limit(channel.ceiling_reason)
        limit = f"limit {reason}" if reason else ""
        cycle = session_words.CYCLE_WORDS.get(channel.cycle_phase, words.safe(channel.cycle_phase))
        return f"{cycle}, {limit}" if cycle and limit else cycle or limit

    def _figures(self, index: int, channel: ChannelSnapshot) -> Content:
        is_selected = index in self._state.selected
        shown = words.current(channel.shown_ua) if self._state.is_known else "UNKNOWN"
        cells = (
            words.current(channel.target_ua),
            session_words.measured(channel) if self._state.is_known else "UNKNOWN",
            words.current(channel.ceiling_ua),
            session_words.load(channel.load_ohm) if self._state.is_known else "–",
            session_words.contact(channel) if self._state.is_known else "? unknown",
        )
        row = "".join(
            f"{cell:<{size}}" for cell, (_, size) in zip(cells, self.COLUMNS, strict=True)
        )
        alarm = "$error" if channel.is_lead_off else ""
        return Content.assemble(
            ("► " if is_selected else "  ", "bold $accent"),
            (f"{index + 1} ", "bold" if is_selected else ""),
            (f"{shown:<10}", "bold $primary" if channel.shown_ua else "bold"),
            (row, alarm),
        )

    def _explanation(self, index: int, channel: ChannelSnapshot, width: int) -> Content:
        if channel.is_lead_off:
            return Content.styled(
                "    ▲ electrode off, at zero: press it on, then l re-arms", "bold $error"
            )
        tail = self.tail(index, channel)
        bar_cells = max(_BAR_MIN, min(_BAR_MAX, width - 7 - len(tail)))
        return Content.assemble("    ", self._bar(index, channel, bar_cells), "  ", (tail, "dim"))

    def _bar(self, index: int, channel: ChannelSnapshot, cells: int) -> Content:
        """Return how much of the ceiling flows, with the letters of the markers at their places."""
        ceiling_ua = channel.ceiling_ua
        share = channel.shown_ua / ceiling_ua if ceiling_ua else 0.0
        filled = min(cells, -(-int(share * cells * 1000) // 1000)) if self._state.is_known else 0
        line = list("━" * filled + "─" * (cells - filled))
        for marker, amplitude_ua in sorted(self._markers(index).items(), key=lambda one: one[1]):
            if ceiling_ua:
                line[min(cells - 1, amplitude_ua * cells // ceiling_ua)] = marker.letter
        text = "".join(line)
        return Content.assemble((text[:filled], "$primary"), (text[filled:], "dim"))

    def _markers(self, index: int) -> Mapping[Marker, int]:
        return self._state.markers[index] if index < len(self._state.markers) else {}
