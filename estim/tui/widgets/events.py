"""What happened, newest at the bottom; the same thing said again is counted, not listed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget

from estim.clock import SystemClock
from estim.session.messages import Blame, Severity
from estim.tui import session_words, words

KEPT = 500
SAME_US = 10_000_000
_STYLES = {
    Severity.INFORMATION: "",
    Severity.WARNING: "$warning",
    Severity.ALARM: "bold $error",
}


@dataclass(frozen=True, slots=True)
class EventLine:
    """One thing that happened.

    Attributes:
        times: how often within ten seconds.
        kind: the next event of the same kind takes its place; '' for none.
    """

    at_us: int
    severity: Severity
    text: str
    times: int = 1
    kind: str = ""


class EventList(Widget):
    """Keep the last events and show those that fit; `scroll` looks further back."""

    DEFAULT_CLASSES = "event-list"
    MARK: ClassVar[str] = ""
    """Stands before each line."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = SystemClock()
        self._start_us = self._clock.now_us()
        self._events: list[EventLine] = []
        self._back = 0

    @property
    def events(self) -> tuple[EventLine, ...]:
        """Return what is kept, oldest first."""
        return tuple(self._events)

    def add(
        self,
        severity: Severity,
        text: str,
        remedy: str = "",
        blame: Blame | None = None,
        *,
        replaces: str = "",
    ) -> bool:
        """Add an event; return False where it only repeats one of the last ten seconds.

        With `replaces` it takes the place of the last event if that was added with the same.
        """
        now_us = self._clock.now_us()
        line = words.safe(text)
        if remedy:
            line += f": {words.safe(remedy)}"
        if blame is not None and severity is not Severity.INFORMATION:
            line += f" (suspect: {session_words.BLAME_WORDS[blame]})"
        for index in range(len(self._events) - 1, -1, -1) if not replaces else ():
            before = self._events[index]
            if now_us - before.at_us > SAME_US:
                break
            if severity is Severity.INFORMATION and index != len(self._events) - 1:
                break  # the order of what happened is itself information
            if (before.severity, before.text) == (severity, line):
                self._events[index] = replace(before, times=before.times + 1)
                self.refresh()
                return False
        if replaces and self._events and self._events[-1].kind == replaces:
            del self._events[-1]
        self._events.append(EventLine(now_us, severity, line, kind=replaces))
        del self._events[:-KEPT]
        self._back = 0
        self.refresh()
        return True

    def replay(self, events: Sequence[EventLine]) -> None:
        """Show these events instead, whose time counts from zero."""
        self._start_us = 0
        if self._events != list(events):
            self._events = list(events)
            self.refresh()

    def look_back(self, lines: int) -> None:
        """Scroll: positive numbers go back in time."""
        self._back = max(0, min(len(self._events) - 1, self._back + lines))
        self.refresh()

    def render(self) -> Content:
        width, height = self.size.width, self.size.height
        lines: list[Content] = []
        last = len(self._events) - self._back
        for event in reversed(self._events[:last]):
            wrapped = self._wrapped(event, width)
            if lines and len(lines) + len(wrapped) > height:
                break
            lines[:0] = wrapped
        return Content("\n").join(lines[-height:] if height else [])

    def _wrapped(self, event: EventLine, width: int) -> list[Content]:
        elapsed = words.clock_ms((event.at_us - self._start_us) // 1000)
        head = f"{self.MARK}{elapsed:>6} {session_words.SEVERITY_SIGNS[event.severity]} "
        count = f" (×{event.times})" if event.times > 1 else ""
        body = Content.styled(event.text + count, _STYLES[event.severity])
        rows = body.wrap(max(10, width - len(head)))
        indent = self.MARK.ljust(len(head))
        return [
            Content.assemble((head if number == 0 else indent, "dim"), row)
            for number, row in enumerate(rows)
        ]
