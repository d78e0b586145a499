"""A session's record, shown again as the live screen showed it; nothing is delivered.

Rules:
1. No line can be mistaken for a live one: REPLAY stands before each, and in the strip.
2. No engine is started or asked; the stop keys stay the application's.
3. No replay while output is possible: none begins, and one that goes on ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from estim.clock import SystemClock
from estim.errors import EstimError, LimitRefused
from estim.tui import session_words, words
from estim.tui.background import read_in_background
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.tape import Look, Tape
from estim.tui.widgets.channels import ChannelsState
from estim.tui.widgets.plot import Plot
from estim.tui.widgets.replay import MARK, ReplayChannels, ReplayEvents, tape_trace
from estim.units import US_PER_S

if TYPE_CHECKING:
    from estim.tui.app import EstimApp

TICK_S = 0.1
SEEK_US = 10 * US_PER_S
HISTORY_US = 60 * US_PER_S
SPEEDS = (1, 4, 16)
REFUSED = "no replay while output is possible: stop first"


def refuse_while_output_is_possible(app: EstimApp) -> None:
    """Raise LimitRefused where a replay could be mistaken for what flows."""
    if app.is_output_possible:
        raise LimitRefused(REFUSED)


class ReplayScreen(EstimScreen[None]):
    """Replay one record."""

    TITLE_WORDS = "Replay"
    HELP_LINES: ClassVar[HelpLines] = (
        ("p, Enter", "play, pause"),
        ("s", "speed: once, four times, sixteen times"),
        ("left, right", "10 seconds back, on"),
        ("up, down", "the event before, the next one"),
        ("Home, End", "to the beginning, to the end"),
        ("PgUp, PgDn", "look back in the events"),
        ("Esc", "back to the record"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p,enter", "play", "Play or pause", key_display="p"),
        Binding("s", "speed", "Speed"),
        Binding("left", "seek(-1)", "10 s", key_display="← →"),
        Binding("right", "seek(1)", show=False),
        Binding("up", "seek_event(-1)", "Event", key_display="↑ ↓"),
        Binding("down", "seek_event(1)", show=False),
        Binding("home", "seek_end(0)", show=False),
        Binding("end", "seek_end(1)", show=False),
        Binding("pageup", "look_back(5)", show=False),
        Binding("pagedown", "look_back(-5)", show=False),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._clock = SystemClock()
        self._tape: Tape | None = None
        self._problem = ""
        self._at_us = 0
        self._is_playing = False
        self._speed = SPEEDS[0]
        self._drawn_us = 0

    @property
    def replayed(self) -> str:
        wall = self._tape.wall(0) if self._tape is not None else None
        return f"REPLAY of {wall:%Y-%m-%d}" if wall is not None else "REPLAY of a record"

    @property
    def at_us(self) -> int:
        """Return how far into the session this is."""
        return self._at_us

    def compose_body(self) -> ComposeResult:
        yield Static(f"{MARK} reading the record …", id="replay-title", markup=False)
        yield Static(id="replay-time", markup=False)
        yield Static(id="replay-state", markup=False)
        yield ReplayChannels()
        with Horizontal(id="plots"):
            yield Plot(id="whole")
            yield Plot(id="history")
        yield ReplayEvents()

    def on_mount(self) -> None:
        self._drawn_us = self._clock.now_us()
        self.set_interval(TICK_S, self._turn)
        self.run_worker(self._load(), exclusive=True, group="load")

    async def _load(self) -> None:
        from estim.tui import archive, winding

        path = self._path
        try:
            tape = await read_in_background(lambda: winding.load(path, archive.check(path)))
        except (EstimError, OSError) as error:
            self._problem = str(error)
            told = Content.styled(f"{MARK}✗ {words.safe(self._problem)}", "bold $error")
            self.query_one("#replay-title", Static).update(told)
            return
        self._tape = tape
        self.query_one("#whole", Plot).show(
            tape_trace(tape, (0, tape.duration_us), "the whole session")
        )
        self.estim.refresh_strip()
        self._show()

    def _turn(self) -> None:
        now_us, before_us = self._clock.now_us(), self._drawn_us
        self._drawn_us = now_us
        if self.estim.is_output_possible:  # rule 3
            self._is_playing = False
            if self.app.screen is self:
                self.app.notify(REFUSED, severity="warning")
                self.dismiss(None)
            return
        if self._tape is not None and self._is_playing:
            self._seek(self._at_us + (now_us - before_us) * self._speed)
            if self._at_us >= self._tape.duration_us:
                self._is_playing = False
                self._show()

    def _seek(self, at_us: int) -> None:
        if self._tape is not None:
            self._at_us = max(0, min(at_us, self._tape.duration_us))
            self._show()

    # Drawing.

    def _show(self) -> None:
        tape = self._tape
        if tape is None or not self.is_mounted:
            return
        look = tape.look(self._at_us)
        self.query_one("#replay-title", Static).update(self._title(tape, look))
        self.query_one("#replay-time", Static).update(self._time(tape))
        self.query_one("#replay-state", Static).update(_state(tape, look, self._at_us))
        channels = self.query_one(ReplayChannels)
        channels.show_spans(look.spans_ua)
        snapshot = look.snapshot
        channels.show(
            ChannelsState(snapshot.channels, snapshot.is_known, markers=look.moment.markers)
        )
        start_us = max(0, self._at_us - HISTORY_US)
        name = f"to {words.clock_ms(self._at_us // 1000)}"
        self.query_one("#history", Plot).show(tape_trace(tape, (start_us, self._at_us), name))
        self.query_one(ReplayEvents).show(tape, self._at_us)

    def _title(self, tape: Tape, look: Look) -> Content:
        wall = tape.wall(self._at_us)
        stamp = f"{wall:%Y-%m-%d %H:%M:%S} UTC" if wall is not None else "no header"
        header = tape.header.content if tape.header is not None else {}
        names = (header.get("kind"), header.get("pseudonym"), look.moment.profile_id)
        told = "  ".join(words.safe(name) for name in names if isinstance(name, str) and name)
        return Content.assemble((f"{MARK}{stamp}", "bold $warning"), f"  {told}")

    def _time(self, tape: Tape) -> Content:
        now, end = (words.clock_ms(at_us // 1000) for at_us in (self._at_us, tape.duration_us))
        cells = max(8, self.size.width - 44)
        filled = self._at_us * cells // max(1, tape.duration_us)
        doing = "playing" if self._is_playing else "paused"
        return Content.assemble(
            (MARK, "bold"), (now, "bold"), f" of {end} ",
            ("━" * filled, "$secondary"), ("─" * (cells - filled), "dim"),
            f" {doing} {self._speed}x",
        )  # fmt: skip

    # Keys.

    def action_play(self) -> None:
        """Play, or pause; at the end, from the beginning."""
        if self._tape is not None:
            self._is_playing = not self._is_playing
            is_over = self._at_us >= self._tape.duration_us
            self._seek(0 if self._is_playing and is_over else self._at_us)

    def action_speed(self) -> None:
        """Take the next speed."""
        self._speed = SPEEDS[(SPEEDS.index(self._speed) + 1) % len(SPEEDS)]
        self._show()

    def action_seek(self, way: int) -> None:
        """Go back or on by ten seconds."""
        self._seek(self._at_us + way * SEEK_US)

    def action_seek_event(self, way: int) -> None:
        """Go to the event before, or to the next."""
        if self._tape is not None:
            at_us = self._at_us
            self._seek(self._tape.after(at_us) if way > 0 else self._tape.before(at_us))

    def action_seek_end(self, is_end: int) -> None:
        """Go to the beginning or to the end."""
        if self._tape is not None:
            self._seek(self._tape.duration_us if is_end else 0)

    def action_look_back(self, lines: int) -> None:
        """Scroll the events."""
        self.query_one(ReplayEvents).look_back(lines)

    def action_back(self) -> None:
        """Go back to the record."""
        self.dismiss(None)


def _state(tape: Tape, look: Look, at_us: int) -> Content:
    """Return what was so then: state, fault, alarms, what the record lacks; each line marked."""
    moment = look.moment
    state = "STATE NOT KNOWN"
    if moment.state is not None:
        state = session_words.state_words(look.snapshot)[1]
    parts = [f"it was: {state}"]
    if moment.delivered_ms:
        parts.append(f"delivered by then {words.clock_ms(moment.delivered_ms)}")
    elif not look.snapshot.is_known and not look.is_gap:
        parts.append("at rest no readings are kept")
    lines = [Content.assemble((MARK, "bold"), ", ".join(parts))]
    told: list[str] = []
    if look.is_gap:
        told.append("GAP: the record holds no reading here; what flowed then is not known")
    if tape.unsound_us is not None and at_us >= tape.unsound_us:
        since = words.clock_ms(tape.unsound_us // 1000)
        told.append(f"DAMAGED RECORD: what stands after {since} does not verify")
    if moment.fault is not None:
        blame = session_words.BLAME_WORDS[moment.fault.blame]
        told.append(f"FAULT then: {words.safe(moment.fault.text)} (suspect: {blame})")
    told += [
        f"ALARM then: {words.safe(cause)} ({words.safe(priority)})"
        for cause, priority in moment.alarms[:3]
    ]
    lines += [Content.styled(f"{MARK}▲ {line}", "bold $warning") for line in told]
    return Content("\n").join(lines)
