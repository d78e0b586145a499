"""A person's visit, step after step.

Rules:
1. What counts is what the record holds: a step is past once its answers are durable in it.
2. Old answers are shown with their date and the question whether they changed; nothing is taken
   over unless somebody says that it did not.
3. Output is not begun here: the stimulation step opens the session's own screen, once the engine
   and what was read back allow it.
4. While output is possible what gates it is shown, and not asked; what hangs on nothing that the
   stimulation does is asked meanwhile, by the protocol's own order.
5. That the patient's stop works is the device's word, never a person's.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.widgets import Static

from estim.clock import SystemClock
from estim.errors import EstimError
from estim.session.states import HostState
from estim.tui import words
from estim.tui.running import READ_US
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.sitting import Sitting
from estim.tui.widgets.form import FormView
from estim.visit import forms
from estim.visit.known import Earlier
from estim.visit.protocol import Exercise, Step
from estim.visit.questions import Answers, Kind, Question
from estim.visit.repeat import Shown
from estim.visit.timer import Timer, tenths

_CHANGED = "changed"
_SIMULATOR = "sim:"
_TRY_STOP = "try_stop"
_DONE, _OUT, _NOW, _LATER = "✓", "-", "▸", "·"


class VisitScreen(EstimScreen[None]):
    """Walk the steps of a visit."""

    TITLE_WORDS = "Visit"
    HELP_LINES: ClassVar[HelpLines] = (
        ("y, n, digits", "answer the question that is asked"),
        ("Enter", "give what was typed; on the last line, confirm the step"),
        ("u, Ctrl+Z", "take the newest answer back, before the step is confirmed"),
        ("PgUp, PgDn", "question before, question after"),
        ("Tab, up, down", "scroll earlier answers, where they are many; Tab comes back"),
        ("F2", "leave this step out, where that is allowed, with a reason"),
        ("F3, F4", "step before, step after"),
        ("F5", "write a note"),
        ("F6", "the stimulation: read back and arm, or go to the one that runs"),
        ("F7", "look somebody up in today's list; F6 or Esc comes back"),
        ("F8", "a clinician takes responsibility for a screening item"),
        ("F9", "end the visit"),
        ("F10", "hand over to somebody else"),
        ("Ctrl+T", "stopwatch, or the timer of the exercise: begin, go on, end"),
        ("d, p, k", "trying the stop: find the device, press the simulated one, acknowledge"),
        ("F11", "make or change the plan: how often, how long, at most how much"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "leave_out", "Leave out"),
        Binding("f3", "look(-1)", "Step before", show=False),
        Binding("f4", "look(1)", "Step after", show=False),
        Binding("f5", "note", "Note"),
        Binding("f6", "stimulation", "Stimulate"),
        Binding("f7", "look_up", "Today"),
        Binding("f8", "override", "Override", show=False),
        Binding("f9", "end_visit", "End"),
        Binding("f10", "hand_over", "Hand over", show=False),
        Binding("ctrl+t", "time", "Stopwatch", show=False),
        Binding("d", "find_device", "Find the device", show=False),
        Binding("p", "press_simulated", "Press the simulated stop", show=False),
        Binding("k", "acknowledge", "Acknowledge", show=False),
        Binding("f11", "plan", "Plan", show=False),
    ]

    def __init__(self, sitting: Sitting) -> None:
        super().__init__()
        self._sitting = sitting
        self._clock = SystemClock()
        self._step: Step | None = None
        self._earlier: Earlier | None = None
        self._earlier_us = 0
        self._timer: Timer | None = None
        self._timed: str | None = None
        self._trial: str | None = None

    @property
    def sitting(self) -> Sitting:
        """Return the visit that is walked."""
        return self._sitting

    def compose_body(self) -> ComposeResult:
        yield Static(id="visit-title", markup=False)
        with Horizontal(id="visit"):
            with VerticalScroll(id="steps", can_focus=False):
                yield Static(id="step-list", markup=False)
            with Vertical(id="step"):
                yield Static(id="step-head", markup=False)
                yield Static(id="trial", markup=False)
                yield Static(id="timer", markup=False)
                yield Vertical(id="step-body")
            with VerticalScroll(id="beside", can_focus=False):
                yield Static(id="chart", markup=False)

    def on_mount(self) -> None:
        self.open_next()

    # Which step.

    def open_next(self) -> None:
        """Ask what comes next; while current flows, what can be filled in meanwhile."""
        visit = self._sitting.visit
        meanwhile = visit.open_meanwhile if self._sitting.is_energised else ()
        self._open(meanwhile[0] if meanwhile else visit.next_step)

    def show_meanwhile(self) -> None:
        """Go on where somebody was, over a session that runs; an answer half given stays."""
        if self._step is None or self._sitting.is_held(self._step):
            self.open_next()
        else:
            self.tick()

    def _open(self, step: Step | None) -> None:
        self._step = step
        self._timer = None
        self.run_worker(self._show_step(step), exclusive=True, group="step")
        if step is not None and step.kind == _TRY_STOP and not self._sitting.is_connected:
            self.action_find_device()

    async def _show_step(self, step: Step | None) -> None:
        visit = self._sitting.visit
        body = self.query_one("#step-body", Vertical)
        await body.remove_children()
        if not body.is_attached:
            return  # the screen was left meanwhile
        self.query_one("#visit-title", Static).update(
            Content.assemble(
                (f"{words.safe(visit.pseudonym)}  ", "bold"),
                f"{words.safe(visit.protocol.title)}, with {words.safe(visit.operator)}",
                (_place(step, visit.protocol.steps), "$secondary"),
            )
        )
        self.query_one("#step-list", Static).update(_step_list(visit.protocol.steps, self))
        self.query_one("#step-head", Static).update(_head(step))
        self._show_chart({})
        self._trial = self._timed = None
        self.tick()
        if step is None:
            await body.mount(Static("Every step is done. F9 ends the visit.", markup=False))
            return
        if not visit.may_open(step) or self._sitting.is_held(step):
            await body.mount(Static(self._outlook(step), markup=False, classes="outlook"))
            return
        if step.kind == _TRY_STOP and not self._sitting.is_connected:
            await body.mount(Static("The device has to be there: d finds it.", markup=False))
            return
        if step.kind == "stimulate":
            await body.mount(Static(self._stimulation_words(), markup=False))
            return
        shown = Shown(None) if visit.is_past(step) else self._sitting.earlier(step)
        self._earlier = earlier = shown.earlier
        if earlier is None:
            await self._ask(step, shown.words)
            return
        self._show_chart(earlier.answers, is_asked=False)
        await body.mount(
            VerticalScroll(Static(_earlier_words(earlier), markup=False), classes="earlier"),
            FormView(lambda answers: (_changed_since(earlier),)),
        )
        self._earlier_us = self._clock.now_us()

    def _outlook(self, step: Step) -> Content:
        """Show a step that cannot be answered now: why not, and what it asks or was told."""
        visit = self._sitting.visit
        ahead = visit.next_step
        why = "Every step is done." if ahead is None else f"First comes '{ahead.title}'."
        if self._sitting.is_held(step):
            why = "Output is on: this is answered once it is stopped."
        meanwhile = ", ".join(f"'{each.title}'" for each in visit.open_meanwhile)
        if meanwhile:
            why += f" F4 comes to what can be filled in meanwhile: {meanwhile}."
        answered = visit.answered.get(step.id)
        answers = answered.answers if answered is not None else {}
        lines = [Content.styled(words.safe(why), "bold $warning")]
        for question in self._sitting.form(step, answers):
            told = question.words_of(answers[question.id]) if question.id in answers else ""
            lines.append(
                Content.assemble(f"· {words.safe(question.words)}  ", (words.safe(told), "bold"))
            )
        return Content("\n").join(lines)

    async def _ask(self, step: Step, why_anew: str = "") -> None:
        """Ask a step's own questions."""
        body = self.query_one("#step-body", Vertical)
        await body.remove_children()
        if not body.is_attached:
            return
        said = "F11 makes or changes the plan." if step.kind == "review" else why_anew
        if said:
            await body.mount(Static(words.safe(said), classes="label", markup=False))
        await body.mount(
            FormView(
                lambda answers: self._sitting.form(step, answers),
                lambda answers: self._sitting.remarks(step, answers),
                self._held,
            )
        )

    def is_done(self, step: Step) -> str:
        """Return the sign of a step in the list."""
        visit = self._sitting.visit
        if step == self._step:
            return _NOW
        if step.id in visit.answered:
            return _DONE
        return _OUT if step.id in visit.skipped else _LATER

    # Answers.

    def on_form_view_changed(self, event: FormView.Changed) -> None:
        if self._step is None:
            return
        if _CHANGED in event.answers:
            self._settle_earlier(self._step, is_changed=bool(event.answers[_CHANGED]))
        else:
            self._show_chart(event.answers)
        if self._timer is not None and not self._timer.is_running:
            self._timer = None  # the next question may be about another exercise

    def on_form_view_confirmed(self, event: FormView.Confirmed) -> None:
        step = self._step
        if _CHANGED in event.answers:
            return  # that answer is taken by itself
        if step is not None and step.kind == _TRY_STOP:
            self._confirm_trial(step, event.answers)
        elif step is not None:
            self._try(self._confirm(step, event.answers))

    async def _confirm(self, step: Step, answers: Answers) -> None:
        await self._sitting.confirm(step, answers)
        self.open_next()
        steps = self._sitting.visit.protocol.steps
        following = self._sitting.visit.next_step
        if following is None or following.kind != "stimulate" or self._sitting.is_energised:
            return
        if steps.index(step) < steps.index(following) and not self._sitting.output_problems():
            self.action_stimulation()

    # The stop is tried.

    def hear_stop(self) -> None:
        """Take it that a stop key was pressed: in the step that tries it, that is the answer."""
        step = self._step
        form = self._trial_form
        if step is None or form is None:
            return
        question = form.current
        if question is not None and question.id == "key":
            form.answer(forms.HEARD)
        elif question is not None:
            self.notify("First the person presses their own stop; then the stop key.")
        if form.current is None:
            self._confirm_trial(step, form.answers)

    def _held(self, question: Question) -> str:
        """Say what answers a question that no key answers."""
        if self._step is None or self._step.kind != _TRY_STOP:
            return ""
        if question.id == "key":
            return "press a stop key: that is the answer"
        if question.id == "patient" and self._sitting.given.has_patient_stop:
            return "the device has to report it: let the person press their stop"
        return ""

    @property
    def _trial_form(self) -> FormView | None:
        """Return the form of the step that tries the stop, while it is asked."""
        if self._step is None or self._step.kind != _TRY_STOP:
            return None
        found = self.query(FormView)
        return found.first() if found else None

    def _confirm_trial(self, step: Step, answers: Answers) -> None:
        snapshot = self._sitting.controller.snapshot
        if snapshot is not None and snapshot.state is HostState.FAULT:
            self.notify("The device holds its stop: release it, k acknowledges, then confirm.")
        else:
            self._try(self._confirm(step, answers))

    def tick(self) -> None:
        """Show what the device says while its stop is tried, and the timer; 10 times a second."""
        if not self.query("#trial"):
            return  # it is not composed yet
        step = self._step
        told = ""
        if step is not None and step.kind == _TRY_STOP:
            is_reported = self._sitting.see_trial()
            form = self._trial_form
            question = form.current if form is not None else None
            is_waiting = question is not None and question.id == "patient"
            if form is not None and is_waiting and is_reported:
                form.answer(forms.TRIED)
            told = self._trial_words()
        if told != self._trial:
            self._trial = told
            trial = self.query_one("#trial", Static)
            trial.update(told)
            trial.display = bool(told)
        self._show_timer()

    def _trial_words(self) -> str:
        snapshot = self._sitting.controller.snapshot
        if snapshot is None or snapshot.device is None:
            return f"{words.CARE_SIGN} no device"
        device = snapshot.device
        said = f"{words.safe(device.model)} {words.safe(device.serial_number)}"
        if snapshot.state is HostState.FAULT:
            fault = snapshot.fault
            what = words.safe(fault.text) if fault is not None else "fault"
            return f"{said}: {words.CARE_SIGN} {what}. Once it is released, k acknowledges."
        if not device.has_patient_stop:
            return f"{said} has no stop for the patient"
        if self._sitting.given.is_patient_stop_reported:
            return f"{said}: ✓ the patient's stop was reported"
        if device.url.startswith(_SIMULATOR):
            return f"{said}: nobody is there to press it; p presses and releases the simulated one"
        return f"{said}: waiting for the patient's stop"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what does something in this step."""
        is_trial = self._step is not None and self._step.kind == _TRY_STOP
        if action == "leave_out":
            return self._step is not None and self._step.may_skip
        if action in ("find_device", "press_simulated"):
            return is_trial
        if action == "acknowledge":
            snapshot = self._sitting.controller.snapshot
            return is_trial and snapshot is not None and snapshot.state is HostState.FAULT
        return True

    def action_find_device(self) -> None:
        """Find the device, where it is not there."""
        if not self._sitting.is_connected:
            self.estim.visiting.ask_to_find_device()

    def action_press_simulated(self) -> None:
        """Let the simulated person press and release their stop."""
        self.estim.visiting.ask_to_press_simulated_stop()

    def action_acknowledge(self) -> None:
        """Acknowledge the fault that a pressed stop latches."""
        snapshot = self._sitting.controller.snapshot
        if snapshot is not None:
            self._sitting.controller.acknowledge(snapshot.latch_count)

    # Time.

    def action_time(self) -> None:
        """Begin, go on with or end the stopwatch, or the timer of the exercise that is asked."""
        now_us = self._clock.now_us()
        if self._timer is None:
            self._timer = Timer(self._exercise())
        was_running = self._timer.is_running
        self._timer.press(now_us)
        if was_running and not self._timer.is_running:
            forms_shown = self.query(FormView)
            if forms_shown:
                forms_shown.first().offer(tenths(self._timer.elapsed_us(now_us)))
        self._show_timer()

    def _exercise(self) -> Exercise | None:
        """Return the exercise that is asked about."""
        form = self.query(FormView)
        question = form.first().current if form else None
        if self._step is None or question is None or not self._step.exercises:
            return None
        number = question.id.rpartition("-")[2]
        if number.isdecimal() and 1 <= int(number) <= len(self._step.exercises):
            return self._step.exercises[int(number) - 1]
        return None

    def _is_timed(self) -> bool:
        """Tell whether seconds are asked for."""
        found = self.query(FormView)
        question = found.first().current if found else None
        return question is not None and question.unit == "s"

    def _show_timer(self) -> None:
        told = "begins the stopwatch" if self._is_timed() else ""
        if self._timer is not None:
            now_us = self._clock.now_us()
            self._timer.advance(now_us)
            told = self._timer.words(now_us)
        if told != self._timed:
            self._timed = told
            timer = self.query_one("#timer", Static)
            timer.update(f"Ctrl+T  {words.safe(told)}" if told else "")
            timer.display = bool(told)

    def _settle_earlier(self, step: Step, *, is_changed: bool) -> None:
        """Take what is shown over where somebody said that nothing changed; else ask anew."""
        earlier = self._earlier
        if is_changed or earlier is None:
            self.run_worker(self._ask(step), exclusive=True, group="step")
            return
        if self._clock.now_us() - self._earlier_us < READ_US:
            # A held key answers nothing that nobody can have read.
            self.notify("These answers have just come: read them, then answer.")
            self._open(step)
            return

        async def take_over() -> None:
            await self._sitting.confirm(step, earlier.answers, earlier.session_id)
            self.open_next()

        self._try(take_over())

    # Drawing.

    def _show_chart(self, answers: Answers, *, is_asked: bool = True) -> None:
        """Show where pads lie; where there is little room, while they are placed alone."""
        lines = self._sitting.chart(self._step, answers) if self._step is not None else ()
        self.query_one("#chart", Static).update("\n".join(map(words.safe, lines)))
        is_placing = self._step is not None and self._step.kind == "place_electrodes"
        self.set_class(bool(lines), "-charted")
        self.set_class(bool(lines) and is_placing and is_asked, "-placing")

    def _stimulation_words(self) -> str:
        snapshot = self._sitting.controller.snapshot
        if snapshot is not None and snapshot.fault is not None:
            return "The device holds a fault: F6 shows it, k acknowledges it there."
        problems = self._sitting.output_problems()
        if problems:
            told = [f"{words.STOP_SIGN} {words.safe(problem)}" for problem in problems]
            return "\n".join(("Output waits for:", *told, "F3 goes back, to answer anew."))
        return "F6 finds the device, reads site, side and limits back, and arms at zero."

    def on_click(self, event: Click) -> None:
        """Open the step that was clicked on."""
        steps = self._sitting.visit.protocol.steps
        if event.widget is self.query_one("#step-list", Static) and event.y < len(steps):
            self._open(steps[event.y])

    # Keys.

    def action_look(self, direction: int) -> None:
        """Look at the step before or after."""
        steps = self._sitting.visit.protocol.steps
        at = steps.index(self._step) if self._step is not None else len(steps)
        if 0 <= at + direction < len(steps):
            self._open(steps[at + direction])

    def action_leave_out(self) -> None:
        """Leave the step out, with a reason."""
        step = self._step
        if step is None:
            return
        if not step.may_skip:
            self.notify(
                f"{words.safe(step.title)} is never left out: it gates {words.safe(step.gates)}",
                severity="warning",
                markup=False,
            )
            return
        self._try(self._leave_out(step))

    async def _leave_out(self, step: Step) -> None:
        from estim.tui.screens.text import TextScreen

        title = f"Why is '{step.title}' left out?"
        reason = await self.app.push_screen_wait(TextScreen(title, step.why))
        if reason:
            await self._sitting.leave_out(step, reason)
            self.open_next()

    def action_note(self) -> None:
        """Write a note down."""
        self._try(self._note())

    async def _note(self) -> None:
        from estim.tui.screens.text import TextScreen

        text = await self.app.push_screen_wait(TextScreen("A note for the record"))
        if text:
            await self._sitting.remark(text)
            self.notify("noted")

    def action_plan(self) -> None:
        """Make or change the person's plan."""
        self._try(self._plan())

    async def _plan(self) -> None:
        from estim.tui.screens.plan import PlanScreen

        if await self.app.push_screen_wait(PlanScreen(self._sitting)):
            self.notify("The plan is kept. Its ceiling holds for what is armed next.")
            if self._step is not None and self._step.kind == "stimulate":
                self.show_again()

    def action_stimulation(self) -> None:
        """Read back and arm; or go to the stimulation that runs."""
        self.estim.visiting.ask_to_stimulate()

    def action_look_up(self) -> None:
        """Look at today's list meanwhile."""
        self.estim.visiting.look_up()

    def action_override(self) -> None:
        """Let a clinician take responsibility for a screening item."""
        self.estim.visiting.ask_to_override()

    def show_again(self) -> None:
        """Show the same step anew: what holds it back may have changed."""
        self._open(self._step)

    def action_hand_over(self) -> None:
        """Let somebody else go on, level and limits read back."""
        self.estim.visiting.ask_who()

    def action_end_visit(self) -> None:
        """End the visit, finished or not."""
        self.estim.visiting.ask_to_end()

    def _try(self, step: Awaitable[None]) -> None:
        """Do something in the background; say what refused it."""

        async def attempt() -> None:
            try:
                await step
            except EstimError as error:
                self.notify(words.safe(str(error)), severity="warning", markup=False, timeout=15)

        self.run_worker(attempt(), group="visit")


def _changed_since(earlier: Earlier) -> Question:
    return Question(
        _CHANGED,
        f"Is any of this different today, or changed since {earlier.on:%Y-%m-%d}?",
        Kind.YES_NO,
        note="n takes these answers over; y asks everything anew",
    )


def _earlier_words(earlier: Earlier) -> Content:
    return Content("\n").join(
        Content.assemble((f"{words.safe(asked)}  ", "dim"), (words.safe(answer), "bold"))
        for asked, answer in earlier.lines
    )


def _head(step: Step | None) -> Content:
    if step is None:
        return Content("")
    return Content.assemble(
        (words.safe(step.title), "bold"),
        (f"  {words.safe(step.why)}\n", "$secondary"),
        words.safe(step.do),
        (f"\nGates: {words.safe(step.gates)}" if step.gates != "nothing" else "", "$accent"),
    )


def _place(step: Step | None, steps: tuple[Step, ...]) -> str:
    """Say how far on a step is."""
    return f"   {steps.index(step) + 1} of {len(steps)}" if step is not None else ""


def _step_list(steps: tuple[Step, ...], screen: VisitScreen) -> Content:
    return Content("\n").join(
        Content.styled(
            f"{screen.is_done(step)} {words.safe(step.title)}",
            "bold" if screen.is_done(step) == _NOW else "",
        )
        for step in steps
    )
