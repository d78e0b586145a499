"""The line on every screen: state, largest current, time left, and the key that stops now.

Rules:
1. It never understates: a report that is old, or missing, shows UNKNOWN instead of a number.
2. The beat sign turns while a device is connected, so that beats flow before anything is armed;
   no other widget draws one.
3. The key it names is one that works at this moment, wherever the focus is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget

from estim.tui import words

if TYPE_CHECKING:
    from estim.session.messages import Snapshot


@dataclass(frozen=True, slots=True)
class StripState:
    """What the strip shows: no snapshot without a session, `is_lost` once the engine has died.

    `person` is a pseudonym; `alarm` is one of high priority, in words; `asked` is a question that
    waits on the session's own screen; `replay` says which record is replayed below: what is live
    comes first. `driven_by` is a program of its own that drives the device: no engine can say what
    flows.
    """

    snapshot: Snapshot | None = None
    is_known: bool = True
    beat: int = 0
    is_lost: bool = False
    person: str = ""
    alarm: str = ""
    asked: str = ""
    replay: str = ""
    driven_by: str = ""


NARROW_CELLS = 24
"""With less room than this beside the stop key there is the current alone, and a sign."""


class StatusStrip(Widget):
    """Draw one line from a `StripState` and the place of the focus."""

    DEFAULT_CLASSES = "status-strip"

    def __init__(self) -> None:
        super().__init__()
        self._state = StripState()
        self._stop_words = ""

    def show(self, state: StripState) -> None:
        """Draw what changed: the whole line, or the beat sign alone."""
        before, self._state = self._state, state
        stop_words = stop_key_words(self.screen.focused)
        if (replace(before, beat=state.beat), self._stop_words) == (state, stop_words):
            if before.beat != state.beat:
                self.refresh(Region(0, 0, 2, 1))
            return
        self._stop_words = stop_words
        is_energised = _is_energised(state.snapshot) or bool(state.driven_by)
        self.set_class(is_energised, "-energised")
        self.set_class(_is_alarming(state), "-alarm")
        self.refresh()

    def render(self) -> Content:
        width = self.size.width
        stop_words = f" {self._stop_words} "
        is_narrow = len(stop_words) + NARROW_CELLS > width
        if is_narrow:
            stop_words = stop_words.strip().replace(" or Ctrl+X", "")
        # The beat comes first even here: a strip without it would end the output.
        right = Content.assemble((stop_words, "bold reverse")).truncate(max(0, width - 2))
        room = width - right.cell_length
        left = self._left(is_narrow)
        return Content.assemble(left.truncate(room, ellipsis=True, pad=True), right)

    def _left(self, is_narrow: bool) -> Content:
        """Return beat, state, current, then what a narrow terminal may cut off."""
        snapshot = self._state.snapshot
        person = words.safe(self._state.person)
        if snapshot is None and self._state.driven_by:
            beat = words.BEAT_SIGNS[self._state.beat % len(words.BEAT_SIGNS)]
            shown_by = "" if is_narrow else f" {self._state.driven_by}   "
            return Content.assemble((f"{beat}{shown_by}UNKNOWN mA", "bold"))
        if snapshot is None and self._state.replay:
            return Content(f"   {words.safe(self._state.replay)}, nothing is delivered")
        if snapshot is None:
            idle = "   NO SESSION, nothing is delivered"
            return Content(f"{idle}   {person}" if person else idle)
        from estim.tui import session_words

        sign, state_words = session_words.state_words(snapshot)
        if self._state.is_lost:
            sign, state_words = "▲", "ENGINE LOST"
        is_known = self._state.is_known
        beat = " "
        if snapshot.device is not None and not self._state.is_lost:
            beat = words.BEAT_SIGNS[self._state.beat % len(words.BEAT_SIGNS)]
        largest = words.current(session_words.largest_ua(snapshot)) if is_known else "UNKNOWN mA"
        shown = (largest, "bold")
        if is_narrow:
            sign = "!" if self._state.alarm else "?" if self._state.asked else sign
            return Content.assemble((f"{beat}{sign}{largest.replace(' mA', 'mA')}", "bold"))
        parts: list[str | tuple[str, str]] = [
            (f"{beat} ", "bold"), (f"{sign} {state_words}", "bold"), "   ", shown,
        ]  # fmt: skip
        if self._state.alarm:
            parts.append((f"   {words.safe(self._state.alarm)}", "bold $error"))
        if self._state.asked:
            parts.append((f"   {words.safe(self._state.asked)}", "bold reverse"))
        left_ms = session_words.left_ms(snapshot)
        if left_ms is not None and not session_words.is_over(snapshot):
            parts.append(f"   {words.clock_ms(left_ms)} left")
        if person:
            parts.append((f"   {person}", "bold"))
        if self._state.replay:
            parts.append(f"   below: {words.safe(self._state.replay)}")
        if snapshot.is_busy:
            parts.append("   … busy")
        elif snapshot.is_link_slow:
            parts.append("   slow link")
        return Content.assemble(*parts)


def stop_key_words(focused: Widget | None) -> str:
    """Name the key that stops now: a text field that takes printable keys takes Space and x too."""
    if focused is not None and any(
        node.check_consume_key("space", " ") for node in focused.ancestors_with_self
    ):
        return "F12 or Ctrl+X stops"
    return "SPACE stops"


def _is_energised(snapshot: Snapshot | None) -> bool:
    if snapshot is None:
        return False
    from estim.session.states import ENERGISED

    return snapshot.state in ENERGISED


def _is_alarming(state: StripState) -> bool:
    snapshot = state.snapshot
    return snapshot is not None and (
        snapshot.fault is not None or not state.is_known or bool(state.alarm)
    )
