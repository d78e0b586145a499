"""The terminal interface: which screen follows which, the stop key, the beat.

Rules:
1. The stop keys send Stop at once, from everywhere: F12 and Ctrl+X always, Space and x unless a
   text field takes them.
2. One clock of 10 Hz drives strip and session screen; a beat is drawn in each turn, and the
   terminal's file reports it.
3. While output is possible the interface cannot be left.
4. Whose visit it is, what the engine does, and what waits for an answer stand on every screen.
5. What is pasted reaches a field as text that may be drawn and kept: no control, no escape, no sign
   that turns or hides what stands beside it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.driver import Driver
from textual.events import Event, Key, MouseDown, Paste
from textual.screen import Screen

from estim.errors import EstimError
from estim.priority import NICE, ask_for_priority
from estim.tui import messages, themes, words
from estim.tui.screens.base import EstimScreen, HelpScreen
from estim.tui.screens.today import TodayScreen
from estim.tui.visiting import Visiting
from estim.tui.widgets.strip import StatusStrip, StripState

if TYPE_CHECKING:
    from estim.profile.loader import LoadedProfile
    from estim.session.messages import Reply
    from estim.tui.bench import BenchLink
    from estim.tui.bench_jobs import BenchJob
    from estim.tui.controller import SessionController, SessionPlan, VisitPlan
    from estim.tui.screens.palette import Command
    from estim.tui.screens.session import SessionScreen

TICK_S = 0.1
IDLE_LOOK_S = 1.0
WIDTHS = [(0, "-narrow"), (78, "-usual"), (120, "-wide")]
HEIGHTS = [(0, "-tiny"), (12, "-low"), (36, "-tall")]
BELL_GAP_S = 0.3
DEMO_OHM = 500
SIMULATOR_URL = "sim:"
EXIT_NO_TERMINAL = 2


@dataclass(frozen=True, slots=True)
class FoundPort:
    """A serial port that is there; `url` is what to connect to, the number its USB line's."""

    url: str
    description: str
    serial_number: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line chose.

    Attributes:
        device_url: offered first in the device picker.
        profile: id or path of the profile to begin with.
        records: folder of the records; None for the usual one.
        is_demo: begin the demo session at once.
        list_ports: finds the serial ports that are there.
        theme: one of `themes.THEMES`.
        is_reduced_motion: nothing moves on screen but the beat that output needs.
        is_prompt_heard: prompts ring; alarms ring always.
    """

    device_url: str = ""
    profile: str = ""
    records: Path | None = None
    is_demo: bool = False
    list_ports: Callable[[], tuple[FoundPort, ...]] = tuple
    theme: str = themes.DEFAULT
    is_reduced_motion: bool = False
    is_prompt_heard: bool = True


class EstimApp(App[None]):
    """The application."""

    CSS_PATH: ClassVar[list[str | PurePath]] = [
        Path(__file__).with_name("estim.tcss"),
        # With the first: what is parsed later holds the display up.
        Path(__file__).with_name("technician.tcss"),
        Path(__file__).with_name("records.tcss"),
    ]
    TITLE = "Estim"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f12,ctrl+x", "stop", "Stop", priority=True, show=False),
        Binding("space,x,X", "stop", "Stop", priority=True, show=False),
        Binding("ctrl+c", "stop_or_leave", "Stop, then leave", priority=True, show=False),
        Binding("ctrl+q", "leave", "Quit", priority=True, show=False),
        Binding("q", "leave", "Quit"),
        Binding("f6", "show_stimulation", "The stimulation", show=False),
        Binding("T", "show_technician", "Technician's bench", show=False),
        Binding("question_mark", "show_help", "Help", key_display="?"),
        Binding("ctrl+p", "palette", "Commands", show=False),
    ]

    def __init__(self, options: Options, driver_class: type[Driver] | None = None) -> None:
        # Textual turns colours into greys under NO_COLOR unless it uses the terminal's own.
        super().__init__(driver_class, ansi_color=True if "NO_COLOR" in os.environ else None)
        self.options = options
        self.controller: SessionController | None = None
        self.visiting = Visiting(self)
        self.bench: BenchLink | None = None
        self.bench_job: BenchJob | None = None
        self.before_suspension: Callable[[], None] = lambda: None
        self._beat = 0
        self.person = ""
        for theme in themes.THEMES.values():
            self.register_theme(theme)
        self.set_theme(self.options.theme)
        if self.options.is_reduced_motion:
            self.animation_level = "none"

    def on_mount(self) -> None:
        self.set_interval(TICK_S, self._tick)
        self.set_interval(IDLE_LOOK_S, self.visiting.watch_idle)

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key | MouseDown | Paste):
            self.visiting.touch()
        if isinstance(event, Paste):
            event = Paste(words.pasted(event.text))
        await super().on_event(event)

    def get_default_screen(self) -> TodayScreen:
        """Return the home screen."""
        return TodayScreen()

    # The strip and the beat.

    def _tick(self) -> None:
        if self.controller is not None or self.bench_job is not None:
            self._beat += 1
            self.refresh_strip()
            session = self.session_screen
            if session is not None:
                session.tick(self._beat)
            if self.visiting.sitting is not None:
                self.visiting.tick()

    def refresh_strip(self) -> None:
        """Draw the strip of the screen on top."""
        try:
            strip = self.screen.query_one(StatusStrip)
        except NoMatches:
            return
        if self.bench_job is not None:
            strip.show(self.bench_job.strip_state(self._beat))
            return
        controller = self.controller
        if controller is None:
            strip.show(StripState(person=self.person, replay=self.replayed))
            return
        session = self.session_screen
        running = session.running if session is not None else None
        strip.show(
            StripState(
                controller.snapshot,
                controller.is_known(),
                self._beat,
                controller.is_lost,
                self.person,
                running.strip_alarm if running is not None else "",
                running.strip_prompt if running is not None and self.screen is not session else "",
                replay=self.replayed,
            )
        )

    def ring(self, bells: int) -> None:
        """Ring the bell some times: what is heard tells an alarm's priority."""
        for number in range(bells):
            self.set_timer(0.001 + number * BELL_GAP_S, self.bell)

    def set_theme(self, name: str) -> None:
        """Choose a theme by the name that people know it by."""
        self.theme = themes.chosen(name).name

    def beat_flushed(self, beat: int) -> None:
        """Pass a beat on that has reached the terminal; called in the terminal's writer thread."""
        controller = self.controller
        if controller is not None:
            controller.heartbeat(beat)

    @property
    def session_screen(self) -> SessionScreen | None:
        """Return the session screen, on top or below a dialogue."""
        if self.controller is None:
            return None
        from estim.tui.screens.session import SessionScreen

        return next(
            (shown for shown in self.screen_stack if isinstance(shown, SessionScreen)), None
        )

    @property
    def replayed(self) -> str:
        """Return which record is replayed, on top or below a dialogue; '' for none."""
        shown = (each.replayed for each in self.screen_stack if isinstance(each, EstimScreen))
        return next(filter(None, shown), "")

    @property
    def is_output_possible(self) -> bool:
        """Tell whether output is possible, as far as anybody knows."""
        controller = self.controller
        if self.bench_job is not None:
            return True
        if controller is None or controller.is_ended:
            return False
        return controller.is_energised or (
            controller.snapshot is not None and not controller.is_known()
        )

    # Stop, help, leave.

    def action_stop(self) -> None:
        """Send Stop."""
        if self.bench_job is not None:
            self.bench_job.stop("stop key")
        if self.controller is None:
            replayed = f" This is a {self.replayed}." if self.replayed else ""
            self.notify(f"Nothing is being delivered.{words.safe(replayed)}", markup=False)
            return
        self.controller.stop()
        self.visiting.hear_stop()

    def stop_now(self, reason: str) -> None:
        """Send Stop from any thread."""
        controller, job = self.controller, self.bench_job
        if job is not None:
            job.stop(reason)
        if controller is not None:
            controller.stop(reason)

    def action_show_help(self) -> None:
        """Show the keys of this screen."""
        screen = self.screen
        if isinstance(screen, EstimScreen) and not isinstance(screen, HelpScreen):
            self.push_screen(HelpScreen(screen.TITLE_WORDS, screen.HELP_LINES))

    def action_palette(self) -> None:
        """Offer what the screen on top can do, by name."""
        from estim.tui.screens.palette import PaletteScreen, commands_of

        if isinstance(self.screen, PaletteScreen):
            return
        commands = commands_of(self.screen, self.set_theme)

        async def run(chosen: Command | None) -> None:
            if chosen is not None:
                await chosen.run()

        self.push_screen(PaletteScreen(commands), run)

    def action_stop_or_leave(self) -> None:
        """Stop the output; where there is none, leave."""
        if self.bench_job is not None:
            self.bench_job.stop("Ctrl+C")
            self.notify("Stopped. Ctrl+C once more leaves.")
            return
        if self.controller is not None and self.controller.is_energised:
            self.controller.stop("Ctrl+C")
            self.notify("Stopped. Ctrl+C once more leaves.")
            return
        self._begin_to_leave()

    def action_leave(self) -> None:
        """Leave, unless output is possible."""
        if self.bench_job is not None:
            self.notify("A job is running: SPACE stops it, then q leaves.", severity="warning")
            return
        if self.controller is not None and self.controller.is_energised:
            self.notify("Output is on: SPACE stops it, then q leaves.", severity="warning")
            return
        self._begin_to_leave()

    def _begin_to_leave(self) -> None:
        """Leave; while a visit asks whether it may be left, asking again asks nothing more."""
        if not any(worker.group == "leave" and worker.is_running for worker in self.workers):
            self.run_worker(self._leave(), group="leave")

    async def _leave(self) -> None:
        lost = self.screen.why_not_leave() if isinstance(self.screen, EstimScreen) else ""
        if lost:
            self.notify(lost, severity="warning", markup=False, timeout=10)
            return
        controller = self.controller
        try:
            if self.visiting.sitting is not None:
                if not await self.visiting.ask_to_leave():
                    return
            elif controller is not None and not controller.is_ended:
                await controller.close("the interface was left")
        except EstimError as error:
            self.notify(words.safe(str(error)), severity="error", markup=False)
            return
        self.exit()

    # Sessions.

    def plan_session(self, loaded: LoadedProfile, *, is_technician: bool = False) -> None:
        """Ask for device and dummy load, then open the session, or the technician's bench."""
        self.run_worker(self._plan_session(loaded, is_technician), exclusive=True, group="plan")

    async def _plan_session(self, loaded: LoadedProfile, is_technician: bool) -> None:
        from estim.tui.controller import SessionPlan
        from estim.tui.screens.bench import BenchScreen
        from estim.tui.screens.devices import DeviceScreen

        url = await self.push_screen_wait(DeviceScreen())
        if url is None:
            return
        bench_ohm = await self.push_screen_wait(BenchScreen(loaded.profile.title, url))
        if bench_ohm is not None:
            self.open_session(SessionPlan(loaded, url, bench_ohm))
            if is_technician:
                self.action_show_technician()

    def start_demo(self, loaded: LoadedProfile) -> None:
        """Open the demo session: the simulator, 500 ohm, nobody connected, recorded as such."""
        from estim.tui.controller import SessionPlan

        self.open_session(SessionPlan(loaded, SIMULATOR_URL, DEMO_OHM, is_demo=True))

    def open_session(self, plan: SessionPlan) -> None:
        """Start an engine for a bench session and show it."""
        from estim.tui.screens.session import SessionScreen

        if self.controller is not None:
            self.notify("A session is open already: end it first.", severity="warning")
            return
        self.push_screen(SessionScreen(self.open_engine(plan)))

    def open_engine(self, plan: SessionPlan | VisitPlan) -> SessionController:
        """Start an engine for a plan."""
        from estim.tui.controller import SessionController

        self.controller = SessionController(
            plan, self.options.records, self._engine_said, self._engine_ended
        )
        return self.controller

    def go_home(self) -> None:
        """Close every screen but the first; whoever waits for one is told nothing."""
        while len(self.screen_stack) > 1:
            self.screen.dismiss(None)

    async def uncover(self, kind: type[Screen[Any]]) -> None:
        """Close what covers a screen of a kind; whoever waits for one is told nothing."""
        while not isinstance(self.screen, kind) and len(self.screen_stack) > 1:
            await self.screen.dismiss(None)

    def action_show_stimulation(self) -> None:
        """Go to the stimulation that runs, or to the visit that is open."""
        self.visiting.ask_to_stimulate()

    def end_session(self) -> None:
        """Forget a session that has ended."""
        self.controller = None
        self.bench = None
        self.refresh_strip()

    def action_show_technician(self) -> None:
        """Open the technician's bench over the session; the session goes on below."""
        from estim.tui.bench import BenchLink
        from estim.tui.screens.technician.menu import TechnicianMenu

        controller = self.controller
        if controller is None or controller.is_ended or self.screen is not self.session_screen:
            return
        if not controller.is_bench:
            self.notify("The technician's tools are for the bench alone.", severity="warning")
            return
        if self.bench is None or self.bench.controller is not controller:
            self.bench = BenchLink(controller)
        self.push_screen(TechnicianMenu(self.bench))

    # What the engine says, in the thread of its client.

    def _engine_said(self, reply: Reply) -> None:
        if self.bench is not None and self.bench.take(reply):
            return
        session = self.session_screen
        if session is not None:
            session.take(reply)

    def _engine_ended(self, reason: str) -> None:
        if self.session_screen is not None or self.visiting.sitting is not None:
            self.call_later(self._tell_loss, reason)

    async def _tell_loss(self, reason: str) -> None:
        """Uncover the session, which says what was lost and is left with it; else say it here."""
        session, controller = self.session_screen, self.controller
        is_visit = self.visiting.sitting is not None
        self.visiting.forget()
        if session is not None:
            while session in self.screen_stack and self.screen is not session:
                await self.screen.dismiss(None)
            session.post_message(messages.EngineGone(reason))
        elif is_visit and controller is not None:
            self.run_worker(self.visiting.lose(controller, reason), group="lost")


def run(options: Options | None = None) -> int:
    """Run the interface in this terminal; return the exit code of the command line."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        print("estim: the interface needs a terminal; try `estim run --help`", file=sys.stderr)
        return EXIT_NO_TERMINAL
    from estim.tui.terminal import BeatDriver, Guard

    ask_for_priority(NICE)
    app = EstimApp(options or Options(), BeatDriver)

    def leave(code: int) -> None:
        if app.controller is not None:
            app.controller.abandon()
        app.call_later(app.exit, None, code)

    guard = Guard(app.stop_now, leave, sys.stdin.fileno())
    app.before_suspension = guard.post_stop
    guard.start()
    try:
        app.run()
    finally:
        guard.end()
        if app.controller is not None and not app.controller.is_ended:
            app.controller.abandon()
    return app.return_code or 0
