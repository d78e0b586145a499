"""Show what engines publish, for looking on: `estim serve` runs this once for each browser tab.

Rules:
1. View only: nothing here can reach an engine. No module that could is even loaded; every key of
   the stop answers that the stop key is at the station.
2. What is not fresh reads UNKNOWN (`estim.tui.onlooker`), and the plot of it goes.
3. Something is drawn in each turn of 10 Hz, so that whoever carries it to a screen can tell a
   display that stands still.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.driver import Driver
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from estim.clock import SystemClock
from estim.engine.viewers import viewers_folder
from estim.session.messages import ChannelSnapshot, Snapshot
from estim.session.states import HostState
from estim.tui import session_words, themes, words
from estim.tui.onlooker import HISTORY_US, Lookout, Source
from estim.tui.parent import end_with_parent
from estim.tui.widgets.channels import ChannelPanel, ChannelsState
from estim.tui.widgets.choices import ChoiceList
from estim.tui.widgets.plot import Plot, history_trace
from estim.units import US_PER_MS, US_PER_S

TICK_S = 0.1
PLOT_TURNS = 5
TURN_SIGNS = "|/-\\"
VIEW_ONLY = "view only; the stop key is at the station"
BATTERY_LOW_PERCENT = 20


class ViewerApp(App[None]):
    """Show one engine, or which there are."""

    CSS_PATH: ClassVar[list[str | Path]] = [  # type: ignore[assignment]
        Path(__file__).with_name("estim.tcss"),
        Path(__file__).with_name("viewer.tcss"),
    ]
    TITLE = "Estim, view only"
    AUTO_FOCUS = None
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,x,X,f12,ctrl+x,ctrl+c", "no_stop", priority=True, show=False),
        Binding("escape", "choose_again", "Other session"),
    ]

    def __init__(self, folder: Path, driver_class: type[Driver] | None = None) -> None:
        super().__init__(driver_class)
        self._lookout = Lookout(folder)
        self._clock = SystemClock()
        self._turn = 0
        self._chosen: Path | None = None
        self._source_count = 0
        self._offered: list[str] = []
        theme = themes.THEMES[themes.DEFAULT]
        self.register_theme(theme)
        self.theme = theme.name

    def compose(self) -> ComposeResult:
        yield Static(id="view-state", markup=False)
        yield Static(VIEW_ONLY, id="view-only", markup=False)
        with Vertical(id="view-none"):
            yield Static(id="view-waiting", markup=False)
            yield ChoiceList(id="view-sessions")
        with Vertical(id="view-session"):
            yield Static(id="view-title", markup=False)
            yield Static(id="view-alarms", markup=False)
            yield ChannelPanel()
            yield Plot(id="view-plot")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.set_interval(TICK_S, self._tick)
        self._tick()

    def on_unmount(self) -> None:
        self._lookout.close()

    def _tick(self) -> None:
        now_us = self._clock.now_us()
        self._turn += 1
        self._lookout.look(now_us)
        sources = self._lookout.sources
        shown = self._choice(sources)
        self.query_one("#view-none").display = shown is None
        self.query_one("#view-session").display = shown is not None
        sign = TURN_SIGNS[self._turn % len(TURN_SIGNS)]
        line = state_line(shown, now_us) if shown else Content("NO SESSION IS SHOWN")
        self.query_one("#view-state", Static).update(Content.assemble((f"{sign} ", "dim"), line))
        self.screen.set_class(shown is not None and bool(alarms(shown, now_us)), "-view-alarm")
        if shown is None:
            self._offer(sources, now_us)
        else:
            self._show(shown, now_us)

    def _choice(self, sources: tuple[Source, ...]) -> Source | None:
        """Return what is shown: what was chosen, or the only one there is."""
        by_path = {source.path: source for source in sources}
        before = (self._chosen, self._source_count)
        if self._chosen not in by_path:
            self._chosen = sources[0].path if len(sources) == 1 else None
        self._source_count = len(sources)
        if before != (self._chosen, self._source_count):
            self._offered = []
            self.set_focus(None)
            self.refresh_bindings()
        return by_path[self._chosen] if self._chosen is not None else None

    def _offer(self, sources: tuple[Source, ...], now_us: int) -> None:
        shelf = self.query_one("#view-sessions", OptionList)
        shelf.display = bool(sources)
        waiting = (
            "Several sessions are running on this computer. Which one?"
            if sources
            else "No session is running on this computer, as far as this user may see.\n"
            "Waiting: the next one is shown as soon as it begins."
        )
        self.query_one("#view-waiting", Static).update(waiting)
        names = [source.path.name for source in sources]
        labels = [offer(source, now_us) for source in sources]
        if names != self._offered:
            self._offered = names
            kept = shelf.highlighted or 0
            shelf.clear_options()
            shelf.add_options(map(Option, labels, names))
            shelf.highlighted = min(kept, len(names) - 1) if names else None
            if names:
                shelf.focus()
        else:
            for name, label in zip(names, labels, strict=True):
                shelf.replace_option_prompt(name, label)

    def _show(self, source: Source, now_us: int) -> None:
        is_known = source.is_known(now_us)
        snapshot = source.snapshot
        self.query_one("#view-title", Static).update(title(source, len(self._lookout.sources)))
        told = self.query_one("#view-alarms", Static)
        lines = alarms(source, now_us)
        told.display = bool(lines)
        told.update(Content("\n").join(Content.styled(f"▲ {line}", "bold") for line in lines))
        panel, plot = self.query_one(ChannelPanel), self.query_one("#view-plot", Plot)
        panel.display = plot.display = snapshot is not None and is_known
        if snapshot is None or not is_known:
            return
        rows = tuple(map(_without_keys, snapshot.channels))
        panel.show(ChannelsState(rows, snapshot.is_known or snapshot.device is None))
        if self._turn % PLOT_TURNS == 0:
            note = ", the highest of all channels" if len(rows) > 1 else ""
            points, span_us = recent(list(source.history))
            plot.show(history_trace(points, span_us) if span_us else None, note)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Show what was chosen."""
        for source in self._lookout.sources:
            if source.path.name == event.option_id:
                self._chosen = source.path
                self.set_focus(None)
                self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the list only where it is not shown and there are several."""
        return action != "choose_again" or (self._source_count > 1 and self._chosen is not None)

    def action_choose_again(self) -> None:
        """Go back to the list, where there are several."""
        self._chosen = None
        self._offered = []
        self.refresh_bindings()

    def action_no_stop(self) -> None:
        """Say where the stop key is."""
        self.notify(
            "This page cannot stop anything. The stop key is at the station.", severity="error"
        )


def state_line(source: Source, now_us: int) -> Content:
    """Return sign, state, the highest current and the time left; never an old one."""
    snapshot = source.snapshot
    if snapshot is None or not source.is_known(now_us):
        return Content.assemble(("▲ UNKNOWN", "bold"), "   ", ("UNKNOWN mA", "bold"))
    sign, state = session_words.state_words(snapshot)
    has_report = snapshot.is_known or snapshot.device is None
    over = snapshot.state is HostState.CLOSED
    is_told = has_report or over
    shown = words.current(session_words.largest_ua(snapshot)) if is_told else "UNKNOWN mA"
    left_ms = session_words.left_ms(snapshot)
    left = f"   {words.clock_ms(left_ms)} left" if left_ms is not None and not over else ""
    return Content.assemble((f"{sign} {state}", "bold"), "   ", (shown, "bold"), left)


def title(source: Source, source_count: int) -> Content:
    """Return which session this is, and whether there are others."""
    snapshot = source.snapshot
    parts: list[str] = []
    if snapshot is not None:
        parts += [Path(snapshot.record_path).stem, snapshot.profile_id]
        if snapshot.device is not None:
            parts.append(f"{snapshot.device.model} {snapshot.device.serial_number}")
        parts.append(f"delivered {words.clock_ms(snapshot.delivered_ms)}")
    if source_count > 1:
        parts.append(f"one of {source_count} sessions")
    return Content(", ".join(words.safe(part) for part in parts if part))


def offer(source: Source, now_us: int) -> Content:
    """Return the two lines by which a session is chosen."""
    return Content("\n  ").join([state_line(source, now_us), title(source, 1)])


def recent(history: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], int]:
    """Return the points to plot, and how many whole seconds of them in us; 0 for none.

    The plot begins where looking on began, since what was before is not known.
    """
    if not history:
        return [], 0
    now_us = history[-1][0]
    span_us = min(HISTORY_US, (now_us - history[0][0]) // US_PER_S * US_PER_S)
    start_us = now_us - span_us
    held_ua = [current_ua for at_us, current_ua in history if at_us <= start_us][-1]
    return [(start_us, held_ua), *(point for point in history if point[0] > start_us)], span_us


def alarms(source: Source, now_us: int) -> list[str]:
    """Return what is wrong, worst first, in words."""
    snapshot = source.snapshot
    if source.ended and (snapshot is None or snapshot.state is not HostState.CLOSED):
        return [f"UNKNOWN: {source.ended}. Look at the station."]
    if snapshot is None:
        return ["UNKNOWN: this engine has said nothing yet."]
    if not source.is_known(now_us):
        age_s = max(0, now_us - snapshot.at_us) // US_PER_MS / 1000
        return [f"UNKNOWN: nothing new from the engine for {age_s:.1f} s. Look at the station."]
    return _alarms_told(snapshot)


def _alarms_told(snapshot: Snapshot) -> list[str]:
    lines: list[str] = []
    if snapshot.device is not None and not snapshot.is_known:
        lines.append("UNKNOWN: the device has not reported for 500 ms.")
    if snapshot.fault is not None:
        fault = snapshot.fault
        suspect = session_words.BLAME_WORDS[fault.blame]
        lines.append(
            f"FAULT: {words.safe(fault.text)}. What to do at the station: "
            f"{words.safe(fault.remedy)}. Suspect: {suspect}."
        )
    if snapshot.patient_stop == "pressed":
        lines.append("the patient's stop is pressed")
    for number, channel in enumerate(snapshot.channels, start=1):
        if channel.is_lead_off:
            lines.append(f"channel {number}: electrode off, held at zero")
        if channel.is_shorted:
            lines.append(f"channel {number}: shorted")
    if 0 <= snapshot.battery_percent < BATTERY_LOW_PERCENT:
        lines.append(f"the stimulator's battery is at {snapshot.battery_percent} %")
    if snapshot.is_link_slow:
        lines.append("the link to the stimulator is slow")
    return lines


def _without_keys(channel: ChannelSnapshot) -> ChannelSnapshot:
    """Return a channel whose panel names no key: a lost electrode is told among the alarms."""
    return replace(channel, is_lead_off=False, contact="off") if channel.is_lead_off else channel


def main(arguments: Sequence[str]) -> int:
    """Run for the process that started this one, whose id is the only argument."""
    end_with_parent(int(arguments[0]))
    app = ViewerApp(viewers_folder())
    app.run()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
