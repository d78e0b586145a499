"""A person's visit, step after step.

Rules:
1. What counts is what the record holds: a step is past once its answers are durable in it.
2. Old answers are shown with their date and the question whether they changed; nothing is taken
   over unless somebody says that it did not.
3. Output is not begun here: the stimulation step opens the session's own screen, once the engine
   and what was read back allow it.
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
from estim.tui import words
from estim.tui.running import READ_US
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.sitting import Sitting
from estim.tui.widgets.form import FormView
from estim.visit import forms
from estim.visit.guide import Earlier
from estim.visit.protocol import Step
from estim.visit.questions import Answers, Kind, Question
from estim.visit.repeat import Shown

_CHANGED = "changed"
_DONE, _OUT, _NOW, _LATER = "✓", "-", "▸", "·"


class VisitScreen(EstimScreen[None]):
    """Walk the steps of a visit."""

    TITLE_WORDS = "Visit"
    HELP_LINES: ClassVar[HelpLines] = (
        ("y, n, digits", "answer the question that is asked"),
        ("Enter", "give what was typed; on the last line, confirm the step"),
        ("u", "take the newest answer back, before the step is confirmed"),
        ("PgUp, PgDn", "question before, question after"),
        ("Tab, up, down", "scroll earlier answers, where they are many; Tab comes back"),
        ("F2", "leave this step out, where that is allowed, with a reason"),
        ("F3, F4", "step before, step after"),
        ("F5", "write a note"),
        ("F6", "the stimulation: read back and arm, or go to the one that runs"),
        ("F8", "a clinician takes responsibility for a screening item"),
        ("F9", "end the visit"),
        ("F10", "hand over to somebody else"),
        ("F11", "make or change the plan: how often, how long, at most how much"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "leave_out", "Leave out"),
        Binding("f3", "look(-1)", "Before"),
        Binding("f4", "look(1)", "After"),
        Binding("f5", "note", "Note"),
        Binding("f6", "stimulation", "Stimulate"),
        Binding("f8", "override", "Override"),
        Binding("f9", "end_visit", "End"),
        Binding("f10", "hand_over", show=False),
        Binding("f11", "plan", "Plan", show=False),
    ]

    def __init__(self, sitting: Sitting) -> None:
        super().__init__()
        self._sitting = sitting
        self._clock = SystemClock()
        self._step: Step | None = None
        self._earlier: Earlier | None = None
        self._earlier_us = 0

    def compose_body(self) -> ComposeResult:
        yield Static(id="visit-title", markup=False)
        with Horizontal(id="visit"):
            with VerticalScroll(id="steps", can_focus=False):
                yield Static(id="step-list", markup=False)
            with Vertical(id="step"):
                yield Static(id="step-head", markup=False)
                yield Vertical(id="step-body")
            with VerticalScroll(id="beside", can_focus=False):
                yield Static(id="chart", markup=False)

    def on_mount(self) -> None:
        self.open_next()

    # Which step.

    def open_next(self) -> None:
        """Ask what comes next."""
        self._open(self._sitting.visit.next_step)

    def _open(self, step: Step | None) -> None:
        self._step = step
        self.run_worker(self._show_step(step), exclusive=True, group="step")

    async def _show_step(self, step: Step | None) -> None:
        visit = self._sitting.visit
        body = self.query_one("#step-body", Vertical)
        await body.remove_children()
        self.query_one("#visit-title", Static).update(
            Content.assemble(
                (f"{words.safe(visit.pseudonym)}  ", "bold"),
                f"{words.safe(visit.protocol.title)}, with {words.safe(visit.operator)}",
            )
        )
        self.query_one("#step-list", Static).update(_step_list(visit.protocol.steps, self))
        self.query_one("#step-head", Static).update(_head(step))
        self._show_chart({})
        if step is None:
            await body.mount(Static("Every step is done. F9 ends the visit.", markup=False))
            return
        if step.kind == "stimulate":
            await body.mount(Static(self._stimulation_words(), markup=False))
            return
        shown = Shown(None) if visit.is_past(step) else self._sitting.earlier(step)
        self._earlier = earlier = shown.earlier
        if earlier is None:
            await self._ask(step, shown.words)
            return
        self._show_chart(earlier.answers)
        await body.mount(
            VerticalScroll(Static(_earlier_words(earlier), markup=False), classes="earlier"),
            FormView(lambda answers: (_changed_since(earlier),)),
        )
        self._earlier_us = self._clock.now_us()

    async def _ask(self, step: Step, why_anew: str = "") -> None:
        """Ask a step's own questions."""
        body = self.query_one("#step-body", Vertical)
        await body.remove_children()
        said = "F11 makes or changes the plan." if step.kind == "review" else why_anew
        if said:
            await body.mount(Static(words.safe(said), classes="label", markup=False))
        await body.mount(
            FormView(
                lambda answers: self._sitting.form(step, answers),
                lambda answers: self._sitting.remarks(step, answers),
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

    def on_form_view_confirmed(self, event: FormView.Confirmed) -> None:
        step = self._step
        if _CHANGED in event.answers:
            return  # that answer is taken by itself
        if step is not None and step.kind == "try_stop":
            self.notify("Press the stop key: SPACE, x, F12 or Ctrl+X.")
        elif step is not None:
            self._try(self._confirm(step, event.answers))

    def hear_stop(self) -> None:
        """Take it that a stop key was pressed: in the step that tries it, that is the answer."""
        step = self._step
        forms_shown = self.query(FormView)
        if step is None or step.kind != "try_stop" or not forms_shown:
            return
        form = forms_shown.first()
        question = form.current
        if question is not None and question.id == "key":
            form.answer(forms.HEARD)
            if form.current is None:
                self._try(self._confirm(step, form.answers))

    async def _confirm(self, step: Step, answers: Answers) -> None:
        await self._sitting.confirm(step, answers)
        self.open_next()
        following = self._sitting.visit.next_step
        if following is not None and following.kind == "stimulate":
            self.action_stimulation()

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

    def _show_chart(self, answers: Answers) -> None:
        lines = self._sitting.chart(self._step, answers) if self._step is not None else ()
        self.query_one("#chart", Static).update("\n".join(map(words.safe, lines)))
        self.set_class(bool(lines), "-charted")

    def _stimulation_words(self) -> str:
        problems = self._sitting.output_problems()
        if problems:
            return "Output waits for:\n" + "\n".join(
                f"{words.STOP_SIGN} {words.safe(problem)}" for problem in problems
            )
        return "F6 finds the device, reads site, side and limits back, and arms at zero."

    def on_click(self, event: Click) -> None:
        """Open the step that was clicked on."""
        steps = self._sitting.visit.protocol.steps
        if event.widget is self.query_one("#step-list", Static) and event.y < len(steps):
            self._look_at(steps[event.y])

    # Keys.

    def action_look(self, direction: int) -> None:
        """Look at the step before or after."""
        steps = self._sitting.visit.protocol.steps
        at = steps.index(self._step) if self._step is not None else len(steps)
        if 0 <= at + direction < len(steps):
            self._look_at(steps[at + direction])

    def _look_at(self, step: Step) -> None:
        visit = self._sitting.visit
        if visit.may_open(step):
            self._open(step)
        elif visit.next_step is not None:
            self.notify(f"First comes: {words.safe(visit.next_step.title)}", markup=False)

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


def _step_list(steps: tuple[Step, ...], screen: VisitScreen) -> Content:
    return Content("\n").join(
        Content.styled(
            f"{screen.is_done(step)} {words.safe(step.title)}",
            "bold" if screen.is_done(step) == _NOW else "",
        )
        for step in steps
    )
