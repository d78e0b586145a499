"""The latched alarms: sign, priority in words, what is wrong, what to do."""

from __future__ import annotations

from textual.content import Content
from textual.style import Style
from textual.widgets import Static

from estim.tui import words
from estim.visit.alarms import Alarm, Priority

SHOWN = 3
STYLES = {Priority.HIGH: "bold $error", Priority.MEDIUM: "bold $warning", Priority.LOW: "$accent"}

_ACKNOWLEDGE = Content.styled(" k ", "reverse").stylize(
    Style.from_meta({"@click": "screen.acknowledge"})
)


class AlarmPanel(Static):
    """Show alarms while there are any.

    Attributes:
        drawn: what is on screen, here or as a fault beside it: what a key acknowledges.
    """

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.drawn: tuple[Alarm, ...] = ()
        self._shown: tuple[Alarm, ...] = ()

    @property
    def waiting(self) -> tuple[Alarm, ...]:
        """Return what a key would acknowledge."""
        return tuple(alarm for alarm in self.drawn if not alarm.is_acknowledged)

    def show(self, listed: tuple[Alarm, ...], latched: tuple[Alarm, ...]) -> None:
        """Show the first of the alarms that are listed here; the others stand elsewhere."""
        shown = listed[:SHOWN]
        left_out = listed[SHOWN:]
        self.drawn = tuple(alarm for alarm in latched if alarm not in left_out)
        self.display = bool(shown)
        if listed == self._shown:
            return
        self._shown = listed
        lines = [_line(alarm) for alarm in shown]
        if left_out:
            lines.append(Content.styled(f"    and {len(left_out)} more", "dim"))
        self.update(Content("\n").join(lines))


def _line(alarm: Alarm) -> Content:
    finding = alarm.finding
    head = f"{finding.priority.sign:<3} {finding.priority.name:<6} "
    told = Content.assemble((words.safe(finding.text), "bold"), f": {words.safe(finding.remedy)}")
    if alarm.is_acknowledged:
        return Content.assemble((head, "dim"), told.stylize("dim"), ("  seen, still so", "dim"))
    return Content.assemble((head, STYLES[finding.priority]), told, "  ", _ACKNOWLEDGE)
