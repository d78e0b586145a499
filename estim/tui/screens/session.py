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
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from estim.clock import SystemClock
from estim.errors import EstimError
from estim.session import messages as requests
from estim.session.messages import Notice, Reply, Severity, Snapshot
from estim.session.states import ENERGISED, HostState
from estim.tui import session_keys, session_words, words
from estim.tui.controller import SessionController
from estim.tui.messages import EngineGone, EngineTold, StateChanged
from estim.tui.running import Running, RunningPlan
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.screens.bell import BellScreen, is_bell_tried
from estim.tui.widgets.alarms import AlarmPanel
from estim.tui.widgets.bedside import Bedside, bedside_state
from estim.tui.widgets.channels import ChannelPanel, ChannelsState
from estim.tui.widgets.events import EventList
from estim.tui.widgets.fault import FaultPanel
from estim.tui.widgets.level import LevelLine, LevelState
from estim.tui.widgets.plot import VIEWS, Plot, history_trace
from estim.tui.widgets.prompt import PromptPanel
from estim.units import US_PER_S
from estim.visit.level import Marker

if TYPE_CHECKING:
    from estim.tui.screens.lost import LostScreen
    from estim.tui.screens.report import ReportScreen

PADS_OFF = "zero confirmed: take the pads off, then w goes on with the visit"
HISTORY_US = 60 * US_PER_S
PLOT_TURNS = 2
"""Plots are drawn in every second turn of 10 Hz; in every fourth when the engine asks for less."""


class SessionScreen(EstimScreen[None]):
    """Show one visit's session until it is closed."""

    TITLE_WORDS = "Session"
    HELP_LINES: ClassVar[HelpLines] = session_keys.HELP_LINES
    BINDINGS: ClassVar[list[BindingType]] = session_keys.BINDINGS

    def __init__(self, controller: SessionController, plan: RunningPlan | None = None) -> None:
        super().__init__()
        self._controller = controller
        self._clock = SystemClock()
        self.running = Running(plan or RunningPlan(controller.note))
        self._view = 0
        self._history: deque[tuple[int, int]] = deque()
        self._shown_trace: object = None
        self._newest_state: object = None
        self._keys_for: object = None
        self._shown: Snapshot | None = None
        self._is_over = self._was_energised = False

    def compose_body(self) -> ComposeResult:
        yield Static(id="session-title", markup=False)
        yield Static(id="session-time", markup=False)
        yield ChannelPanel()
        yield Static(PADS_OFF, id="session-ended", markup=False)
        yield LevelLine()
        yield FaultPanel()
        yield AlarmPanel()
        yield PromptPanel()
        yield Bedside()
        with Horizontal(id="plots"):
            yield Plot(id="waveform")
            yield Plot(id="history")
        yield EventList()

    def on_mount(self) -> None:
        self._show_title()
        if self._controller.is_bench:
            self._say(Severity.INFORMATION, "opening the record, asking the device who it is")
        self._try(self._open)

    def _show_title(self) -> None:
        """Show for whom, where the device stands once that is known, and the profile."""
        controller = self._controller
        found, place = controller.standing, ""
        if found is not None:
            place = f"{found.state}  " if found.is_for_people else f"! {found.state}, bench only  "
        self.query_one("#session-title", Static).update(
            Content.assemble(
                (f"{words.safe(controller.plan.heading)}  ", "$accent"),
                (place, "" if found is None or found.is_for_people else "bold $warning"),
                (words.safe(controller.title), "bold"),
            )
        )

    def _tell_standing(self, serial_number: str) -> None:
        """Say what the station's register has of the device, and what to do where it holds it."""
        found = self._controller.standing
        if found is None:
            self._say(Severity.INFORMATION, f"{serial_number} is not in the station's register")
        elif found.is_for_people:
            self._say(Severity.INFORMATION, f"{serial_number} is {found.words}")
        else:
            self._say(Severity.WARNING, f"{serial_number}: {found.words}; {found.remedy}")

    async def _open(self) -> None:
        controller = self._controller
        if controller.is_bench:
            await controller.open()
        self._show_title()
        assert controller.prepared is not None
        self.running.prepare(len(controller.prepared.ceilings), controller.step_ua)
        snapshot = controller.snapshot
        if snapshot is not None and snapshot.device is not None:
            device = snapshot.device
            self._say(
                Severity.INFORMATION,
                f"{device.model} {device.serial_number}, firmware {device.firmware_version}, at "
                f"{device.url}; output ends {device.residual_ms} ms after this computer's silence",
            )
            if device.caution:
                self._say(Severity.WARNING, device.caution)
            self._tell_standing(device.serial_number)
            if not device.reports_current:
                self._say(
                    Severity.WARNING, "this device measures nothing: what is shown is what was set"
                )
        # All is loaded: from now on a full collection would hold up the beat for nothing.
        gc.collect()
        gc.freeze()
        compared = "ready: compare the ceilings with what you meant, then g starts"
        self._say(
            Severity.INFORMATION,
            compared
            if controller.is_bench
            else "armed at zero: g starts; w shows the visit meanwhile, F6 comes back",
        )
        if not is_bell_tried():
            self._say(Severity.INFORMATION, "the bell was not tried today: t tries it")

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
            self.running.hear(reply)
            self._say(reply.severity, reply.text, reply.remedy, reply.blame)
        elif not reply.is_done and not self._controller.is_waited_for(reply.request_id):
            self._say(Severity.WARNING, f"refused: {'; '.join(reply.reasons)}")

    def on_engine_gone(self, event: EngineGone) -> None:
        from estim.tui.screens.lost import LostScreen

        self._say(Severity.ALARM, f"{event.reason}: output ends by itself, this session is over")
        self.running.lose(event.reason)
        self.estim.refresh_strip()
        self._show(0)
        self.run_worker(self._after_loss(LostScreen(self._controller, event.reason)))

    async def _after_loss(self, lost: LostScreen) -> None:
        await self.app.push_screen_wait(lost)
        await asyncio.to_thread(self._controller.abandon)
        self.estim.end_session()
        if self._controller.is_bench:
            self.dismiss(None)
        else:
            self.estim.go_home()

    def tick(self, turn: int) -> None:
        """Draw what is newest; called 10 times a second."""
        self._show(turn)

    # Drawing.

    def _show(self, turn: int) -> None:
        snapshot = self._controller.snapshot
        if snapshot is None or not self.is_mounted:
            return
        is_known = self._controller.is_known()
        self._follow(snapshot, is_known)
        self.query_one("#session-time", Static).update(_time_line(snapshot, self.size.width))
        keys = self.running.keys
        markers = tuple(keys.markers(index) for index in range(keys.count))
        self.query_one(ChannelPanel).show(
            ChannelsState(snapshot.channels, is_known, keys.chosen, markers)
        )
        is_locked = keys.is_locked and snapshot.state is HostState.RUNNING
        self.query_one(LevelLine).show(LevelState(markers, is_locked, keys.is_linked))
        self._show_asked(snapshot)
        if self.has_class("-bedside"):
            self.query_one(Bedside).show(bedside_state(snapshot, is_known))
        keys_for = (
            snapshot.state, snapshot.has_program, snapshot.fault,
            session_keys.lead_off(snapshot), bool(self.query_one(AlarmPanel).waiting),
        )  # fmt: skip
        if keys_for != self._keys_for:
            self._keys_for = keys_for
            self.refresh_bindings()
        self._tell_changes(snapshot)
        self._tell_end(snapshot, is_known=is_known)
        turns = PLOT_TURNS * (2 if snapshot.draw_less else 1)
        self._remember(snapshot)
        if turn % turns == 0:
            self._plot(snapshot)

    def _follow(self, snapshot: Snapshot, is_known: bool) -> None:
        """Let level, prompts and alarms see a snapshot; ring, and pause where nobody answers."""
        turn = self.running.see(snapshot, is_known=is_known, now_us=self._clock.now_us())
        if turn.bells:
            self.estim.ring(turn.bells)
        if turn.must_pause:
            self._say(Severity.WARNING, "nobody answered: the output is paused")
            self._controller.ask(requests.Pause)

    def _show_asked(self, snapshot: Snapshot) -> None:
        """Show fault, alarms and the question; a fault's own alarm only where the fault is gone."""
        fault, latched, asked = (
            snapshot.fault,
            self.running.alarms.latched,
            self.running.prompts.open,
        )
        told = tuple(one for one in latched if fault is None or one.finding.words != fault.text)
        is_tiny = self.has_class("-tiny")
        if is_tiny:  # one thing at a time: what is not drawn is neither answered nor acknowledged
            asked = () if fault else asked
            told = () if fault or asked else told
            latched = () if asked else latched
        self.query_one(FaultPanel).show(fault)
        self.query_one(AlarmPanel).show(told, latched)
        self.query_one(PromptPanel).show(
            asked[0] if asked else None, len(asked) - 1, is_tiny=is_tiny
        )
        self.set_class(bool(asked or told or fault), "-asking")

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
                replaces="rise" if is_rise else "fall",
            )

    def _tell_end(self, snapshot: Snapshot, *, is_known: bool) -> None:
        """On a person, say when the pads may come off, and what comes then."""
        self._was_energised |= snapshot.state in ENERGISED
        is_over = (
            not self._controller.is_bench
            and self._was_energised
            and is_known
            and snapshot.state in (HostState.READY, HostState.IDENTIFIED)
            and not session_words.largest_ua(snapshot)
        )
        if is_over is not self._is_over:
            self._is_over = is_over
            self.query_one("#session-ended", Static).display = is_over
            if is_over:
                self._say(Severity.INFORMATION, PADS_OFF)

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
        index = min(self.running.keys.chosen & _indexes(snapshot), default=0)
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
        self.query_one(EventList).add(severity, text, remedy, blame)

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the keys that do something now; what stops or lowers is never taken away."""
        snapshot, is_bench = self._controller.snapshot, self._controller.is_bench
        if action in (session_keys.VISIT_ALONE if is_bench else session_keys.BENCH_ALONE):
            return False
        if action == "start" and not is_bench and snapshot is not None:
            # What a stop cleared is prepared and read back from the visit.
            is_armed = snapshot.state is HostState.ARMED and not session_keys.is_paused(snapshot)
            return is_armed or snapshot.state is HostState.DISCONNECTED
        if action == "acknowledge":
            is_fault = snapshot is not None and snapshot.state is HostState.FAULT
            return is_fault or (self.is_mounted and bool(self.query_one(AlarmPanel).waiting))
        if action == "select":
            return parameters[0] == 0 or parameters[0] in range(1, self.running.keys.count + 1)
        if snapshot is None:
            return action not in session_keys.NEEDS
        needed = session_keys.NEEDS.get(action)
        return needed is None or needed(snapshot)

    def action_start(self) -> None:
        """Arm and start, or find the device again."""
        snapshot = self._controller.snapshot
        if snapshot is not None and snapshot.state is HostState.DISCONNECTED:
            self._try(self._controller.reconnect)
        else:
            self._try(self._controller.arm_and_start)

    def action_raise(self) -> None:
        """Ask for one step more, where the level's keys let it pass."""
        snapshot = self._controller.snapshot
        if snapshot is None:
            return
        keys = self.running.keys
        refusal = self.running.press_raise(snapshot, self._clock.now_us())
        if refusal:
            self._say(Severity.WARNING, f"refused: {refusal}")
        else:
            self._controller.raise_channels(tuple(sorted(keys.chosen)))

    def action_lower(self) -> None:
        """Go down by one step."""
        self.running.press_lower(self._clock.now_us())
        self._controller.lower_channels(tuple(sorted(self.running.keys.chosen)))

    def action_mark(self, marker: str) -> None:
        """Mark the chosen channels where they are."""
        snapshot = self._controller.snapshot
        if snapshot is None or not self._controller.is_known():
            self._say(Severity.WARNING, "nothing is marked while the intensity is not known")
            return
        said = self.running.mark(Marker(marker), snapshot, self._clock.now_us())
        self._say(Severity.INFORMATION, said)
        self._show(0)

    def action_answer(self, key: str) -> None:
        """Answer the question on screen."""
        snapshot = self._controller.snapshot
        if snapshot is None:
            return
        drawn = self.query_one(PromptPanel).drawn
        answered = self.running.answer(key, drawn, snapshot, self._clock.now_us())
        if answered.words:
            self._say(Severity.WARNING, answered.words)
        if answered.raised:
            self._controller.raise_channels(answered.raised)
        self._show(0)

    def action_pause(self) -> None:
        """Go to zero, armed."""
        self._controller.ask(requests.Pause)

    def action_resume(self) -> None:
        """Rise from zero to where the pause began."""
        self.running.press_resume()
        self._controller.ask(requests.Resume)

    def action_finish(self) -> None:
        """Ramp down and stop."""
        self._controller.ask(requests.Finish)

    def action_acknowledge(self) -> None:
        """Acknowledge the alarms and the fault that are on screen (rule 3)."""
        self.running.acknowledge(self.query_one(AlarmPanel).drawn)
        if self._shown is not None and self._shown.state is HostState.FAULT:
            self._controller.acknowledge(self._shown.latch_count)
        self._show(0)

    def action_rearm(self) -> None:
        """Clear the lead-off latches that are on screen (rule 3)."""
        shown = self._shown
        if shown is not None and session_keys.lead_off(shown):
            self._controller.rearm(session_keys.lead_off(shown), shown.latch_count)

    def action_select(self, number: int) -> None:
        """Choose a channel by its number; 0 chooses all."""
        self.running.keys.choose(number - 1 if number else None)
        self._show(0)

    def action_bedside(self) -> None:
        """Turn to the view that is read across a room, and back."""
        self.toggle_class("-bedside")
        self._show(0)

    def action_try_bell(self) -> None:
        """Ring the bell and ask whether it was heard."""
        self.app.push_screen(BellScreen())

    def action_next_view(self) -> None:
        """Show another view of the waveform."""
        self._view = (self._view + 1) % len(VIEWS)
        self._show(0)

    def action_look_back(self, lines: int) -> None:
        """Scroll the events."""
        self.query_one(EventList).look_back(lines)

    def action_show_visit(self) -> None:
        """Show the visit: meanwhile while current flows, for good once it has ended."""
        self.estim.visiting.ask_to_leave_session()

    def action_look_up(self) -> None:
        """Look at today's list meanwhile."""
        self.estim.visiting.look_up()

    def action_end_visit(self) -> None:
        """Seal the record of a bench session and show the report."""
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
