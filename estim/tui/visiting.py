"""Lead through a visit: who works, whose visit, by which protocol, then output, then the end.

Rules:
1. A visit needs somebody who signed in; the record names them.
2. Site, side and limits are read back before each arming, and the record says so.
3. Nothing here sends a stop or a rise; the stop keys stay the application's.
4. A station that nobody touched for the time of the site's policy is locked: the stop keys stop all
   the same, the strip goes on, and what is asked meanwhile waits for a PIN, or pauses the output.
5. There is one visit at a time. While current flows its other screens, and today's list, may cover
   the session; nothing that gates output can be changed there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estim.clock import SystemClock
from estim.errors import EstimError, LimitRefused
from estim.tui import words
from estim.units import US_PER_S

if TYPE_CHECKING:
    from estim.tui.app import EstimApp
    from estim.tui.controller import SessionController
    from estim.tui.screens.sign_in import SignInScreen
    from estim.tui.sitting import Sitting
    from estim.visit.protocol import LoadedProtocol


class Visiting:
    """What the application does for visits.

    Attributes:
        operator: id of who signed in last; '' for nobody.
        sitting: the visit that goes on, if any.
        next_person: whose visit was asked for meanwhile; shown once this one has ended.
    """

    def __init__(self, app: EstimApp) -> None:
        self._app = app
        self.operator = ""
        self.sitting: Sitting | None = None
        self.next_person = ""
        self.last_url = app.options.device_url
        self._idle_lock_us = 0
        self._is_leading = False
        self._touched_us = SystemClock().now_us()

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

    def key(self) -> bytes | None:
        """Return the station's key, with which the catalogue knows what was verified already.

        Raises:
            RecordError: the key cannot be read.
        """
        from estim.record import station_key

        return station_key.load(self.configuration)

    def due_and_unfinished(self) -> list[tuple[str, str]]:
        """Return who is due and what is unfinished; reads records.

        Records that were cut off, of this interface or of another, are recovered first.

        Raises:
            EstimError: the record folder cannot be read.
        """
        from estim.tui import people

        controller = self._app.controller
        if controller is None:
            people.recover_cut_off(self.records, self.key())
        open_session = self.sitting.controller.session_id if self.sitting is not None else ""
        return people.due_and_unfinished(self.records, self.key(), open_session)

    def new_pseudonym(self) -> str:
        """Return a pseudonym that nobody has; reads records.

        Raises:
            EstimError: the record folder cannot be read.
        """
        from estim.tui import people

        return people.new_pseudonym(self.records, self.key())

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

    def ask_to_find_device(self) -> None:
        """Find the device for the step that tries the stop."""
        self._run(self._find_device_and_show())

    def ask_to_press_simulated_stop(self) -> None:
        """Press and release the stop of the simulated person."""
        if self.sitting is not None:
            self._run(self.sitting.press_simulated_stop())

    def ask_to_leave_session(self) -> None:
        """Go from the session to the visit: meanwhile, or because the stimulation has ended."""
        self._run(self.leave_session())

    def look_up(self) -> None:
        """Show today's list over what is open."""
        from estim.tui.screens.today import TodayScreen

        self._app.push_screen(TodayScreen())

    def ask_to_end(self) -> None:
        """End the visit."""
        self._run(self.end())

    def ask_to_override(self) -> None:
        """Let a clinician take responsibility for a screening item."""
        self._run(self.override())

    def _run(self, doing: Coroutine[Any, Any, None]) -> None:
        """Lead through something, one thing at a time; say what refused it."""
        if self._is_leading:
            doing.close()
            self._app.notify("One moment: something else is being done.")
            return
        self._is_leading = True

        async def attempt() -> None:
            try:
                await doing
            except EstimError as error:
                self._say(error)
            finally:
                self._is_leading = False

        self._app.run_worker(attempt(), group="visiting")

    def _say(self, error: EstimError) -> None:
        self._app.notify(words.safe(str(error)), severity="warning", markup=False, timeout=15)

    # Who works here.

    async def sign_in(self, title: str = "Who works here?") -> bool:
        """Ask who works at the station; tell whether somebody signed in."""
        from estim.prepare import site
        from estim.tui.screens.sign_in import SignInScreen

        policy = await asyncio.to_thread(site.load_site, self.configuration)
        operator = await self._app.push_screen_wait(SignInScreen(self.configuration, title))
        if operator is None:
            return False
        if self.sitting is not None and operator != self.sitting.visit.operator:
            await self._hand_over(self.sitting, operator)
        self.operator = operator
        self._idle_lock_us = policy.idle_lock_s * US_PER_S
        self.touch()
        return True

    def tick(self) -> None:
        """Let the visit's screen, where it is on top, show what the device says."""
        from estim.tui.screens.visit import VisitScreen

        if isinstance(self._app.screen, VisitScreen):
            self._app.screen.tick()

    def touch(self) -> None:
        """Take it that somebody touched a key or the mouse."""
        self._touched_us = SystemClock().now_us()

    def watch_idle(self) -> None:
        """Lock the station where nobody has touched it for too long; called again and again."""
        if not self.operator or self.lock_screen is not None:
            return
        if SystemClock().now_us() - self._touched_us < self._idle_lock_us:
            return
        if self.sitting is None:
            self.operator = ""  # nothing is open: whoever begins something signs in
        else:
            self._app.run_worker(self.lock(self.sitting), group="lock", exclusive=True)

    @property
    def lock_screen(self) -> SignInScreen | None:
        """Return what the station is locked by."""
        from estim.tui.screens.sign_in import SignInScreen

        shown = [one for one in self._app.screen_stack if isinstance(one, SignInScreen)]
        return next((one for one in shown if one.is_lock), None)

    async def lock(self, sitting: Sitting) -> None:
        """Ask for the PIN of whoever works here; the stop keys work meanwhile.

        Whoever takes over has to read level and limits back; else it stays locked.
        """
        from estim.tui.screens.sign_in import SignInScreen

        title = "Locked: nobody touched a key. F12 and Ctrl+X stop, from everywhere."
        while self.sitting is sitting:
            operator = await self._app.push_screen_wait(
                SignInScreen(self.configuration, title, is_lock=True)
            )
            if operator is None or self.sitting is not sitting:
                continue
            if operator != sitting.visit.operator:
                try:
                    await self._hand_over(sitting, operator)
                except EstimError as error:
                    title = f"Locked: {error}. F12 and Ctrl+X stop, from everywhere."
                    continue
            self.operator = operator
            self.touch()
            return

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
        self._show_visit_again()

    # A visit.

    async def begin(self, pseudonym: str, loaded: LoadedProtocol) -> None:
        """Open the record of a visit, and walk it.

        Raises:
            EstimError: nobody signed in, the protocol or one of its profiles is damaged, or the
                record cannot be opened.
        """
        from estim.prepare import site
        from estim.tui.controller import VisitPlan
        from estim.tui.screens.visit import VisitScreen
        from estim.tui.sitting import Sitting, given_for
        from estim.visit import protocol

        app = self._app
        if self.sitting is not None:
            self.next_person = pseudonym
            raise LimitRefused(f"a visit is open already: {pseudonym} comes up once it has ended")
        if app.controller is not None:
            raise LimitRefused("a session is open already: end it first")
        if not self.operator and not await self.sign_in():
            return
        # As it is now: the visit goes on with what is read here, whatever becomes of the files.
        loaded = await asyncio.to_thread(protocol.load, loaded.path)
        policy = site.load_site(self.configuration)
        given = await asyncio.to_thread(
            given_for,
            self.records,
            self.configuration,
            policy,
            pseudonym,
            loaded.protocol.id,
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
        self._idle_lock_us = policy.idle_lock_s * US_PER_S
        app.person = pseudonym
        await app.push_screen(VisitScreen(self.sitting))

    async def stimulate(self) -> None:
        """Go to the stimulation that runs; else find the device, read back, and show the session.

        Raises:
            EstimError: something is missing, or a limit refuses it.
        """
        from estim.tui.screens.session import SessionScreen
        from estim.tui.screens.visit import VisitScreen

        app, sitting = self._app, self.sitting
        if sitting is None:
            return
        if app.session_screen is not None:
            await app.uncover(SessionScreen)
            return
        if not isinstance(app.screen, VisitScreen):
            await app.uncover(VisitScreen)
            return
        controller = sitting.controller
        sitting.check_output()
        if not sitting.is_connected:
            await self.find_device()
        if not sitting.is_connected:
            return
        snapshot = controller.snapshot
        if snapshot is not None and snapshot.fault is not None:
            raise LimitRefused(f"the device holds a fault: {snapshot.fault.text}; k acknowledges")
        if not sitting.is_energised:
            await sitting.prepare()
            if not await self.read_back():
                return
        is_heard = app.options.is_prompt_heard
        plan = replace(sitting.running_plan(), is_prompt_heard=is_heard)
        # First the screen, then the arming: what a first drawing loads would hold up the beats.
        await asyncio.to_thread(_load_plots)
        await app.push_screen(SessionScreen(controller, plan))
        if not sitting.is_energised:
            await controller.arm()

    async def leave_session(self) -> None:
        """Uncover the visit: over the session that runs, or in the place of one that has ended.

        Raises:
            EstimError: what was delivered could not be confirmed.
        """
        from estim.tui.screens.session import SessionScreen
        from estim.tui.screens.visit import VisitScreen

        app, sitting = self._app, self.sitting
        if sitting is None or not isinstance(app.screen, SessionScreen):
            return
        snapshot = sitting.controller.snapshot
        visit_screen = next(one for one in app.screen_stack if isinstance(one, VisitScreen))
        if sitting.is_energised or (snapshot is not None and snapshot.fault is not None):
            await app.push_screen(visit_screen)
            visit_screen.show_meanwhile()
            return
        if sitting.delivered_ms:
            await sitting.confirm_stimulation()
        await app.uncover(VisitScreen)
        visit_screen.open_next()

    async def _find_device_and_show(self) -> None:
        sitting = self.sitting
        if sitting is None or sitting.is_connected:
            return
        try:
            await self.find_device()
        finally:
            self._show_visit_again()

    def _show_visit_again(self) -> None:
        from estim.tui.screens.visit import VisitScreen

        if isinstance(self._app.screen, VisitScreen):
            self._app.screen.show_again()

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

        sitting = self.sitting
        if sitting is None:
            return
        items = sitting.overridable()
        if not items:
            raise LimitRefused("no screening item holds output back")
        chosen = await self._app.push_screen_wait(OverrideScreen(items))
        if chosen is None:
            return
        clinicians = roster.clinicians(self.configuration)
        if not clinicians:
            raise LimitRefused("no clinician is on this station's roster")
        title = "Which clinician takes responsibility?"
        who = await self._app.push_screen_wait(
            SignInScreen(self.configuration, title, only=clinicians)
        )
        if who is not None:
            await sitting.override(chosen[0], who, chosen[1])
        self._show_visit_again()

    async def end(self) -> None:
        """End the visit: note, report, seal.

        Raises:
            EstimError: output is possible, or the record cannot be sealed.
        """
        from estim.tui.screens.visit_report import VisitReportScreen

        app, sitting = self._app, self.sitting
        if sitting is None:
            return
        if sitting.is_energised:
            raise LimitRefused("output is on: stop it first, then end the visit")
        if app.session_screen is not None:
            raise LimitRefused("first leave the stimulation: F6 shows it, w goes on from it")
        if await app.push_screen_wait(VisitReportScreen(sitting)):
            await sitting.close()
            self.forget()
            app.end_session()
            app.go_home()
            following, self.next_person = self.next_person, ""
            if following:
                self.open_person(following)

    async def ask_to_leave(self) -> bool:
        """Ask whether a visit is left as it is; tell whether it was, and is sealed.

        Raises:
            EstimError: the record cannot be sealed.
        """
        from estim.tui.screens.read_back import ReadBackScreen

        sitting = self.sitting
        if sitting is None:
            return True
        visit = sitting.visit
        left = [step.title for step in visit.protocol.steps if not visit.is_past(step)]
        text = f"Not done: {', '.join(left)}." if left else "Every step is done."
        text += "\nThe record is sealed as it is; what is confirmed is kept."
        title = f"Leave the visit of {visit.pseudonym}?"
        if not await self._app.push_screen_wait(ReadBackScreen(title, text, "y seals and quits.")):
            return False
        if sitting.delivered_ms and not sitting.visit.is_reviewed:
            await sitting.confirm_stimulation()
        await sitting.close()
        return True

    def forget(self) -> None:
        """Forget the visit: it is sealed, or its engine is gone."""
        if self.lock_screen is not None:
            self.operator = ""  # what was locked is over: whoever comes next signs in
        self.sitting = None
        self._app.person = ""

    async def lose(self, controller: SessionController, reason: str) -> None:
        """Tell that the engine of a visit is gone, recover its record, and go home."""
        from estim.tui.screens.lost import LostScreen

        self.next_person = ""
        await self._app.push_screen_wait(LostScreen(controller, reason))
        await asyncio.to_thread(controller.abandon)
        self._app.end_session()
        self._app.go_home()


def _load_plots() -> None:
    """Load what the first drawing of a session needs."""
    import estim.tui.widgets.preview
    import estim.waveform.pulses  # noqa: F401
