"""The live session: what is commanded, measured and allowed, and the keys that change it.

Rules:
1. Every key is one request; the engine decides. What it refuses is shown once, then counted.
2. What is shown is the engine's newest snapshot; older than 500 ms it reads UNKNOWN.
3. What is acknowledged or re-armed is what was drawn, never what came in since.
4. Output that stopped never comes back by itself: g, r or l are pressed by a person.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Awaitable, Callable
from operator import ge
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError
from estim.session import messages as requests
from estim.session.messages import Notice, Reply, Severity, Snapshot
from estim.session.states import HostState
from estim.tui import session_words, words
from estim.tui.controller import SessionController
from estim.tui.messages import EngineGone, EngineTold, StateChanged
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.widgets.channels import ChannelPanel, ChannelsState
from estim.tui.widgets.events import EventList
from estim.tui.widgets.fault import FaultPanel
from estim.tui.widgets.plot import VIEWS, Plot, history_trace
from estim.units import US_PER_S

if TYPE_CHECKING:
    from estim.tui.screens.lost import LostScreen
    from estim.tui.screens.report import ReportScreen

HISTORY_US = 60 * US_PER_S
PLOT_TURNS = 2
"""Plots are drawn in every second turn of 10 Hz; in every fourth when the engine asks for less."""


class SessionScreen(EstimScreen[None]):
    """Show one visit's session until it is closed."""

    TITLE_WORDS = "Session"
    HELP_LINES: ClassVar[HelpLines] = (
        ("g", "arm and start, from zero"),
        ("+, up", "raise the marked channels by one step"),
        ("-, down", "lower them by one step"),
        ("1 to 4", "mark one channel"),
        ("0, a", "mark all channels, linked"),
        ("p", "pause: to zero, armed"),
        ("r", "resume: from zero to the intensity of before"),
        ("f", "finish: ramp down, then stop"),
        ("k", "acknowledge a fault"),
        ("l", "re-arm channels whose electrode came off"),
        ("v", "next waveform view"),
        ("PgUp, PgDn", "look back in the events"),
        ("e", "end the visit: seal the record, show the report"),
        ("q", "end the visit and quit, once output is off"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "start", "Start"),
        Binding("plus,up,equals_sign", "raise", "Raise", key_display="+"),
        Binding("minus,down", "lower", "Lower", key_display="-"),
        Binding("p", "pause", "Pause"),
        Binding("r", "resume", "Resume"),
        Binding("f", "finish", "Finish"),
        Binding("k", "acknowledge", "Acknowledge"),
        Binding("l", "rearm", "Re-arm"),
        Binding("e", "end_visit", "End visit"),
        *(Binding(str(number), f"select({number})", show=False) for number in range(1, 5)),
        Binding("0,a", "select(0)", show=False),
        Binding("v", "next_view", show=False),
        Binding("pageup", "look_back(5)", show=False),
        Binding("pagedown", "look_back(-5)", show=False),
    ]

    def __init__(self, controller: SessionController) -> None:
        super().__init__()
        self._controller = controller
        self._selected: frozenset[int] = frozenset()
        self._view = 0
        self._history: deque[tuple[int, int]] = deque()
        self._shown_trace: object = None
        self._newest_state: object = None
        self._keys_for: object = None
        self._shown: Snapshot | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="session-title", markup=False)
        yield Static(id="session-time", markup=False)
        yield ChannelPanel()
        yield FaultPanel()
        with Horizontal(id="plots"):
            yield Plot(id="waveform")
            yield Plot(id="history")
        yield EventList()

    def on_mount(self) -> None:
        controller = self._controller
        self.query_one("#session-title", Static).update(
            Content.assemble(
                (f"{words.safe(controller.plan.heading)}  ", "$accent"),
                (words.safe(controller.title), "bold"),
            )
        )
        self._say(Severity.INFORMATION, "opening the record, asking the device who it is")
        self._try(self._open)

    async def _open(self) -> None:
        controller = self._controller
        await controller.open()
        assert controller.prepared is not None
        self._selected = frozenset(range(len(controller.prepared.ceilings)))
        snapshot = controller.snapshot
        if snapshot is not None and snapshot.device is not None:
            device = snapshot.device
            self._say(
                Severity.INFORMATION,
                f"{device.model} {device.serial_number}, firmware {device.firmware_version}, at "
                f"{device.url}; output ends {device.residual_ms} ms after this computer's silence",
            )
            if not device.reports_current:
                self._say(
                    Severity.WARNING, "this device measures nothing: what is shown is what was set"
                )
        # All is loaded: from now on a full collection would hold up the beat for nothing.
        gc.collect()
        gc.freeze()
        self._say(
            Severity.INFORMATION, "ready: compare the ceilings with what you meant, then g starts"
        )

    # What the engine says.

    def take(self, reply: Reply) -> None:
        """Pass on what is to be shown at once; called in the client's thread."""
        if not isinstance(reply, Snapshot):
            self.post_message(EngineTold(reply))
            return
        seen = (reply.state, reply.fault, reply.has_program, reply.is_busy)
        if seen != self._newest_state:
            self._newest_state = seen
            self.post_message(StateChanged())

    def on_state_changed(self, event: StateChanged) -> None:
        self.estim.refresh_strip()
        self._show(0)

    def on_engine_told(self, event: EngineTold) -> None:
        reply = event.reply
        if isinstance(reply, Notice):
            self._say(reply.severity, reply.text, reply.remedy, reply.blame)
        elif not reply.is_done and not self._controller.is_waited_for(reply.request_id):
            self._say(Severity.WARNING, f"refused: {'; '.join(reply.reasons)}")

    def on_engine_gone(self, event: EngineGone) -> None:
        from estim.tui.screens.lost import LostScreen

        self._say(Severity.ALARM, f"{event.reason}: output ends by itself, this session is over")
        self.estim.refresh_strip()
        self._show(0)
        self.run_worker(self._after_loss(LostScreen(self._controller, event.reason)))

    async def _after_loss(self, lost: LostScreen) -> None:
        await self.app.push_screen_wait(lost)
        await asyncio.to_thread(self._controller.abandon)
        self.estim.end_session()
        self.dismiss(None)

    def tick(self, turn: int) -> None:
        """Draw what is newest; called 10 times a second."""
        self._show(turn)

    # Drawing.

    def _show(self, turn: int) -> None:
        snapshot = self._controller.snapshot
        if snapshot is None or not self.is_mounted:
            return
        is_known = self._controller.is_known()
        self.query_one("#session-time", Static).update(_time_line(snapshot, self.size.width))
        self.query_one(ChannelPanel).show(
            ChannelsState(snapshot.channels, is_known, self._selected & _indexes(snapshot))
        )
        self.query_one(FaultPanel).show(snapshot.fault)
        self.set_class(snapshot.fault is not None, "-fault")
        keys_for = (snapshot.state, snapshot.has_program, snapshot.fault, _lead_off(snapshot))
        if keys_for != self._keys_for:
            self._keys_for = keys_for
            self.refresh_bindings()
        self._tell_changes(snapshot)
        turns = PLOT_TURNS * (2 if snapshot.draw_less else 1)
        self._remember(snapshot)
        if turn % turns == 0:
            self._plot(snapshot)

    def _tell_changes(self, snapshot: Snapshot) -> None:
        """List what changed between two snapshots: the state, and what is commanded."""
        before, self._shown = self._shown, snapshot
        if before is None:
            return
        if (before.state, before.has_program) != (snapshot.state, snapshot.has_program):
            self._say(Severity.INFORMATION, session_words.state_words(snapshot)[1].lower())
        commanded = [row.target_ua for row in snapshot.channels]
        former = [row.target_ua for row in before.channels]
        if snapshot.state is HostState.RUNNING and commanded != former:
            is_rise = len(former) == len(commanded) and all(map(ge, commanded, former))
            currents = ", ".join(
                f"{number}: {words.current(target_ua)}"
                for number, target_ua in enumerate(commanded, start=1)
            )
            self.query_one(EventList).add(
                Severity.INFORMATION,
                f"{'commanded' if is_rise else 'lowered to'} {currents}",
                replaces=is_rise,
            )

    def _remember(self, snapshot: Snapshot) -> None:
        history = self._history
        if not history or snapshot.at_us > history[-1][0]:
            history.append((snapshot.at_us, session_words.largest_ua(snapshot)))
        while history and history[0][0] < snapshot.at_us - HISTORY_US:
            history.popleft()

    def _plot(self, snapshot: Snapshot) -> None:
        prepared = self._controller.prepared
        if prepared is None or not snapshot.channels:
            return
        index = min(self._selected & _indexes(snapshot), default=0)
        channel = snapshot.channels[index]
        self.query_one("#history", Plot).show(history_trace(list(self._history), HISTORY_US))
        wanted = (self._view, index, channel.shown_ua, prepared)
        if wanted == self._shown_trace or index >= len(prepared.program.channels):
            return
        self._shown_trace = wanted
        trace = VIEWS[self._view](
            prepared.program, index, channel.shown_ua, prepared.bounds.amplitude_step_ua
        )
        note = f", channel {index + 1} at {words.current(channel.shown_ua)}"
        self.query_one("#waveform", Plot).show(trace, note)

    def _say(
        self,
        severity: Severity,
        text: str,
        remedy: str = "",
        blame: requests.Blame | None = None,
    ) -> None:
        is_new = self.query_one(EventList).add(severity, text, remedy, blame)
        if is_new and severity is Severity.ALARM:
            self.app.bell()

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the keys that do something now; what stops or lowers is never taken away."""
        snapshot = self._controller.snapshot
        if snapshot is None:
            return action not in _NEEDS
        needed = _NEEDS.get(action)
        return needed is None or needed(snapshot)

    def action_start(self) -> None:
        """Arm and start, or find the device again."""
        snapshot = self._controller.snapshot
        if snapshot is not None and snapshot.state is HostState.DISCONNECTED:
            self._try(self._controller.reconnect)
        else:
            self._try(self._controller.arm_and_start)

    def action_raise(self) -> None:
        """Ask for one step more."""
        self._controller.raise_channels(tuple(sorted(self._selected)))

    def action_lower(self) -> None:
        """Go down by one step."""
        self._controller.lower_channels(tuple(sorted(self._selected)))

    def action_pause(self) -> None:
        """Go to zero, armed."""
        self._controller.ask(requests.Pause)

    def action_resume(self) -> None:
        """Rise from zero to where the pause began."""
        self._controller.ask(requests.Resume)

    def action_finish(self) -> None:
        """Ramp down and stop."""
        self._controller.ask(requests.Finish)

    def action_acknowledge(self) -> None:
        """Acknowledge the fault that is on screen (rule 3)."""
        if self._shown is not None:
            self._controller.acknowledge(self._shown.latch_count)

    def action_rearm(self) -> None:
        """Clear the lead-off latches that are on screen (rule 3)."""
        shown = self._shown
        if shown is not None and _lead_off(shown):
            self._controller.rearm(_lead_off(shown), shown.latch_count)

    def action_select(self, number: int) -> None:
        """Mark a channel by its number; 0 marks all."""
        snapshot = self._controller.snapshot
        known = _indexes(snapshot) if snapshot is not None else frozenset()
        if number == 0:
            self._selected = known
        elif number - 1 in known:
            self._selected = frozenset({number - 1})
        self._show(0)

    def action_next_view(self) -> None:
        """Show another view of the waveform."""
        self._view = (self._view + 1) % len(VIEWS)
        self._show(0)

    def action_look_back(self, lines: int) -> None:
        """Scroll the events."""
        self.query_one(EventList).look_back(lines)

    def action_end_visit(self) -> None:
        """Seal the record and show the report."""
        self._try(self._end_visit)

    async def _end_visit(self) -> None:
        from estim.tui.screens.report import ReportScreen

        if not self._controller.is_ended:
            await self._controller.close()
        self.run_worker(self._show_report(ReportScreen(self._controller)))

    async def _show_report(self, report: ReportScreen) -> None:
        await self.app.push_screen_wait(report)
        self.estim.end_session()
        self.dismiss(None)

    def _try(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step in the background; say what refused it."""

        async def attempt() -> None:
            try:
                await step()
            except EstimError as error:
                self._say(Severity.WARNING, str(error))
            self._show(0)

        self.run_worker(attempt(), group="step")


def _indexes(snapshot: Snapshot) -> frozenset[int]:
    return frozenset(range(len(snapshot.channels)))


def _lead_off(snapshot: Snapshot) -> tuple[int, ...]:
    return tuple(index for index, row in enumerate(snapshot.channels) if row.is_lead_off)


def _is_paused(snapshot: Snapshot) -> bool:
    return snapshot.state is HostState.ARMED and any(row.marker_ua for row in snapshot.channels)


_NEEDS: dict[str, Callable[[Snapshot], bool]] = {
    "start": lambda now: (
        now.state in (HostState.READY, HostState.IDENTIFIED, HostState.DISCONNECTED)
        or (now.state is HostState.ARMED and not _is_paused(now))
    ),
    "raise": lambda now: now.state is HostState.RUNNING,
    "lower": lambda now: now.state is HostState.RUNNING,
    "pause": lambda now: now.state is HostState.RUNNING,
    "resume": _is_paused,
    "finish": lambda now: now.state in (HostState.RUNNING, HostState.ARMED),
    "acknowledge": lambda now: now.state is HostState.FAULT,
    "rearm": lambda now: bool(_lead_off(now)),
    "end_visit": lambda now: (
        now.state not in (HostState.ARMED, HostState.RUNNING, HostState.STOPPING)
    ),
}


def _time_line(snapshot: Snapshot, width: int) -> Content:
    """Return delivered and left, with a bar of the plateau time."""
    delivered = words.clock_ms(snapshot.delivered_ms)
    left_ms = session_words.left_ms(snapshot)
    if left_ms is None:
        return Content.assemble("delivered ", (delivered, "bold"), ", no end set")
    total = words.clock_ms(snapshot.duration_ms)
    left = words.clock_ms(left_ms)
    cells = max(8, width - 46)
    filled = min(cells, snapshot.plateau_ms * cells // snapshot.duration_ms)
    return Content.assemble(
        "delivered ", (delivered, "bold"), f" of {total} ",
        ("━" * filled, "$success"), ("─" * (cells - filled), "dim"),
        " ", (left, "bold"), " left",
    )  # fmt: skip
