"""Lead through a visit: who works, whose visit, by which protocol, then output, then the end.

Rules:
1. A visit needs somebody who signed in; the record names them.
2. Site, side and limits are read back before each arming, and the record says so.
3. Nothing here sends a stop or a rise; the stop keys stay the application's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estim.clock import SystemClock
from estim.errors import EstimError, LimitRefused
from estim.session.states import ENERGISED, HostState
from estim.tui import words

if TYPE_CHECKING:
    from estim.tui.app import EstimApp
    from estim.tui.sitting import Sitting
    from estim.visit.protocol import LoadedProtocol


class Visiting:
    """What the application does for visits.

    Attributes:
        operator: id of who signed in last; '' for nobody.
        sitting: the visit that goes on, if any.
    """

    def __init__(self, app: EstimApp) -> None:
        self._app = app
        self.operator = ""
        self.sitting: Sitting | None = None
        self.last_url = app.options.device_url

    @property
    def configuration(self) -> Path:
        """Return the folder of roster, policy and key."""
        from estim.prepare import places

        return places.configuration_folder()

    @property
    def records(self) -> Path:
        """Return the folder of the records."""
        from estim.prepare import places

        return self._app.options.records or places.records_folder()

    def due_and_unfinished(self) -> list[tuple[str, str]]:
        """Return who is due and what is unfinished; reads records.

        Raises:
            EstimError: the record folder cannot be read.
        """
        from estim.tui import people

        return people.due_and_unfinished(self.records)

    def new_pseudonym(self) -> str:
        """Return a pseudonym that nobody has; reads records.

        Raises:
            EstimError: the record folder cannot be read.
        """
        from estim.tui import people

        return people.new_pseudonym(self.records)

    def open_person(self, pseudonym: str) -> None:
        """Show a person."""
        from estim.tui.screens.person import PersonScreen

        self._app.push_screen(PersonScreen(pseudonym))

    # What screens ask for; each runs in the background and says what refused it.

    def ask_who(self) -> None:
        """Ask who works here; during a visit, hand over."""
        self._run(self._ask_who())

    async def _ask_who(self) -> None:
        await self.sign_in()

    def ask_to_begin(self, pseudonym: str, loaded: LoadedProtocol) -> None:
        """Begin a visit."""
        self._run(self.begin(pseudonym, loaded))

    def ask_to_stimulate(self) -> None:
        """Go to the stimulation."""
        self._run(self.stimulate())

    def hear_stop(self) -> None:
        """Take it that a stop key was pressed; it was sent already."""
        from estim.tui.screens.visit import VisitScreen

        if isinstance(self._app.screen, VisitScreen):
            self._app.screen.hear_stop()

    def ask_to_end(self) -> None:
        """End the visit."""
        self._run(self.end())

    def ask_to_override(self) -> None:
        """Let a clinician take responsibility for a screening item."""
        self._run(self.override())

    def _run(self, doing: Coroutine[Any, Any, None]) -> None:
        async def attempt() -> None:
            try:
                await doing
            except EstimError as error:
                self._app.notify(
                    words.safe(str(error)), severity="warning", markup=False, timeout=15
                )

        self._app.run_worker(attempt(), group="visiting")

    # Who works here.

    async def sign_in(self, title: str = "Who works here?") -> bool:
        """Ask who works at the station; tell whether somebody signed in."""
        from estim.tui.screens.sign_in import SignInScreen

        operator = await self._app.push_screen_wait(SignInScreen(self.configuration, title))
        if operator is None:
            return False
        if self.sitting is not None and operator != self.sitting.visit.operator:
            await self._hand_over(self.sitting, operator)
        self.operator = operator
        return True

    async def lock(self) -> None:
        """Ask for the PIN of whoever works here; the stop keys work meanwhile."""
        from estim.tui.screens.sign_in import SignInScreen

        if self.operator and not isinstance(self._app.screen, SignInScreen):
            title = "Locked: nobody touched a key. SPACE and F12 still stop."
            operator = await self._app.push_screen_wait(
                SignInScreen(self.configuration, title, is_lock=True)
            )
            if operator and self.sitting and operator != self.sitting.visit.operator:
                await self._hand_over(self.sitting, operator)
            self.operator = operator or self.operator

    async def _hand_over(self, sitting: Sitting, to_operator: str) -> None:
        """Read level and limits back to who takes over, and note it."""
        from estim.tui.screens.read_back import ReadBackScreen

        snapshot = self._app.controller.snapshot if self._app.controller is not None else None
        lines = [f"Person  {sitting.visit.pseudonym}", *sitting.placement_words()]
        for number, channel in enumerate(snapshot.channels if snapshot else (), start=1):
            lines.append(
                f"Channel {number}  now {words.current(channel.shown_ua)}, at most "
                f"{words.current(channel.ceiling_ua)}"
            )
        title = f"Handing over from {sitting.visit.operator} to {to_operator}"
        question = "Did whoever takes over read this back?"
        if not await self._app.push_screen_wait(ReadBackScreen(title, "\n".join(lines), question)):
            raise LimitRefused("not handed over: it was not read back")
        await sitting.hand_over(to_operator)

    # A visit.

    async def begin(self, pseudonym: str, loaded: LoadedProtocol) -> None:
        """Open the record of a visit, and walk it.

        Raises:
            EstimError: nobody signed in, or the record cannot be opened.
        """
        from estim.prepare import site
        from estim.tui.controller import VisitPlan
        from estim.tui.screens.visit import VisitScreen
        from estim.tui.sitting import Sitting, given_for

        app = self._app
        if app.controller is not None:
            raise LimitRefused("a session is open already: end it first")
        if not self.operator and not await self.sign_in():
            return
        policy = site.load_site(self.configuration)
        given = await asyncio.to_thread(
            given_for,
            self.records,
            self.configuration,
            policy,
            pseudonym,
            SystemClock().wall().date(),
        )
        plan = VisitPlan(loaded.facts, pseudonym, self.operator)
        controller = app.open_engine(plan)
        try:
            await controller.open()
        except EstimError:
            await asyncio.to_thread(controller.abandon)
            app.end_session()
            raise
        self.sitting = Sitting(loaded, given, controller, plan, policy)
        await app.push_screen(VisitScreen(self.sitting))

    async def stimulate(self) -> None:
        """Go to the stimulation that runs; else find the device, read back, and show the session.

        Raises:
            EstimError: something is missing, or a limit refuses it.
        """
        from estim.tui.screens.session import SessionScreen

        app, sitting = self._app, self.sitting
        if sitting is None:
            return
        controller = sitting.controller
        if app.session_screen is not None:
            while not isinstance(app.screen, SessionScreen):
                app.pop_screen()
            return
        sitting.check_output()
        snapshot = controller.snapshot
        if snapshot is None or snapshot.state is HostState.DISCONNECTED:
            await self.find_device()
        if controller.snapshot is None or controller.snapshot.state is HostState.DISCONNECTED:
            return
        await sitting.prepare()
        if await self.read_back():
            await controller.arm()
            is_heard = app.options.is_prompt_heard
            plan = replace(sitting.running_plan(), is_prompt_heard=is_heard)
            await app.push_screen(SessionScreen(controller, plan))

    async def find_device(self) -> None:
        """Connect the device of before, or ask for one.

        Raises:
            EstimError: it is not there.
        """
        from estim.tui.screens.devices import DeviceScreen

        sitting = self.sitting
        assert sitting is not None
        url: str | None = self.last_url
        if not url:
            url = await self._app.push_screen_wait(DeviceScreen())
        if url is None:
            return
        try:
            await sitting.connect(url)
        except EstimError:
            self.last_url = ""
            raise
        self.last_url = url

    async def read_back(self) -> bool:
        """Read back what is loaded; tell whether it was so, and is on record."""
        from estim.tui.screens.read_back import ReadBackScreen

        sitting = self.sitting
        assert sitting is not None
        question = "Is it this person, this site, this side? y arms at zero."
        screen = ReadBackScreen("Before arming", sitting.read_back_text(), question)
        if not await self._app.push_screen_wait(screen):
            return False
        await sitting.read_back()
        return True

    async def override(self) -> None:
        """Have a clinician sign for a screening item.

        Raises:
            EstimError: nothing can be overridden, or it was not kept.
        """
        from estim.prepare import roster
        from estim.tui.screens.override import OverrideScreen
        from estim.tui.screens.sign_in import SignInScreen
        from estim.tui.screens.visit import VisitScreen

        sitting = self.sitting
        if sitting is None:
            return
        items = sitting.overridable()
        if not items:
            raise LimitRefused("no screening item holds output back")
        chosen = await self._app.push_screen_wait(OverrideScreen(items))
        if chosen is None:
            return
        clinicians = frozenset(
            each.id for each in roster.operators(self.configuration) if each.may_override
        )
        if not clinicians:
            raise LimitRefused("no clinician is on this station's roster")
        title = "Which clinician takes responsibility?"
        who = await self._app.push_screen_wait(
            SignInScreen(self.configuration, title, only=clinicians)
        )
        if who is not None:
            await sitting.override(chosen[0], who, chosen[1])
        if isinstance(self._app.screen, VisitScreen):
            self._app.screen.show_again()

    async def end(self) -> None:
        """End the visit: note, report, seal.

        Raises:
            EstimError: output is possible, or the record cannot be sealed.
        """
        from estim.tui.screens.visit_report import VisitReportScreen

        app, sitting = self._app, self.sitting
        if sitting is None:
            return
        snapshot = sitting.controller.snapshot
        if snapshot is not None and snapshot.state in (*ENERGISED, HostState.STOPPING):
            raise LimitRefused("output is on: stop it first, then end the visit")
        if await app.push_screen_wait(VisitReportScreen(sitting)):
            await sitting.close()
            self.sitting = None
            app.end_session()
            app.go_home()
