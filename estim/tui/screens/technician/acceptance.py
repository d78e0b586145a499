"""The technician's acceptance test: a protocol's checks, one after the other, kept in this record.

Rules:
1. A step counts once the record of this bench session has it; whoever tests signs in first.
2. No output is begun here: the session below delivers, and only what it did is confirmed.
3. Nothing is entered into the station's register: the command for that is shown at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError, LimitRefused
from estim.tui import words
from estim.tui.screens.base import HelpLines
from estim.tui.screens.technician.base import TechnicianScreen
from estim.tui.sitting import delivered_answers
from estim.tui.widgets.form import FormView
from estim.visit import course, forms, guide, protocol
from estim.visit.known import Given
from estim.visit.protocol import Step
from estim.visit.questions import Answers, Form, Kind, Question, Remark

PROTOCOL = "technician-acceptance"
ACCEPTANCE = "acceptance"
"""Kind of the annotation that opens the test: protocol and operator."""
_SEEN = (Question("words", "What was seen:", Kind.TEXT, is_optional=True),)


class AcceptanceScreen(TechnicianScreen):
    """Walk the steps of the acceptance test."""

    TITLE_WORDS = "Acceptance test"
    HELP_LINES: ClassVar[HelpLines] = (
        ("digits, y, n", "answer the check that is asked"),
        ("Enter", "give what was typed; on the last line, confirm"),
        ("u, Ctrl+Z", "take the newest answer back"),
        ("F2", "leave this step out, where that is allowed"),
        ("F3, F4", "step before, step after"),
        ("Esc", "back to the bench; what was confirmed is kept"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "leave_out", "Leave out"),
        Binding("f3", "look(-1)", "Step before"),
        Binding("f4", "look(1)", "Step after"),
    ]

    _step: Step | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="visit-title", markup=False)
        yield Static("", id="complaint", markup=False)
        with Horizontal(id="visit"):
            with VerticalScroll(id="steps", can_focus=False):
                yield Static(id="step-list", markup=False)
            with Vertical(id="step"):
                yield Static(id="step-head", markup=False)
                yield Vertical(id="step-body")

    def on_mount(self) -> None:
        self._try(self._begin())

    async def _begin(self) -> None:
        """Ask who tests, where nobody signed in; go on where this session's test stands."""
        if self.link.acceptance is None:
            visiting = self.estim.visiting
            if not visiting.operator and not await visiting.sign_in("Who tests this device?"):
                self.dismiss(None)
                return
            loaded = await asyncio.to_thread(protocol.find, PROTOCOL)
            content = {"protocol": loaded.facts, "operator": visiting.operator}
            await self.link.controller.annotate(ACCEPTANCE, content)
            self.link.acceptance = course.begin(loaded.protocol, "", visiting.operator)
        await self._open(self._visit.next_step)

    @property
    def _visit(self) -> course.Visit:
        assert self.link.acceptance is not None
        return self.link.acceptance

    async def _open(self, step: Step | None) -> None:
        visit, self._step = self._visit, step
        self.query_one("#visit-title", Static).update(
            words.safe(f"{visit.protocol.title}, by {visit.operator}; {self.link.plan.heading}")
        )
        self.query_one("#step-list", Static).update(
            Content("\n").join(self._line(each) for each in visit.protocol.steps)
        )
        self.query_one("#step-head", Static).update(_head(step))
        body = self.query_one("#step-body", Vertical)
        await body.remove_children()
        if step is None:
            await body.mount(Static(words.safe_lines(self._outcome()), markup=False))
        elif not visit.may_open(step):
            ahead = visit.next_step
            why = f"First comes '{ahead.title}'." if ahead else "The test was reviewed."
            await body.mount(Static(words.safe(why), markup=False))
        else:
            await body.mount(FormView(self._form, self._judge))
        self.refresh_bindings()

    def _line(self, step: Step) -> Content:
        visit = self._visit
        sign = "✓" if step.id in visit.answered else "-" if step.id in visit.skipped else "·"
        is_now = step == self._step
        return Content.styled(
            f"{'▸' if is_now else sign} {words.safe(step.title)}", "bold" if is_now else ""
        )

    # What is asked. A bench asks nothing that a person's visits would have to tell.

    def _given(self) -> Given:
        return Given(self.link.clock.wall().date(), 0, 0)

    def _form(self, answers: Answers) -> Form:
        step = self._step
        if step is None or step.kind == "stimulate":
            return _SEEN
        return guide.form(step, self._visit, self._given(), answers)

    def _judge(self, answers: Answers) -> tuple[Remark, ...]:
        step = self._step
        return guide.remarks(step, self._visit, self._given(), answers) if step else ()

    def on_form_view_confirmed(self, event: FormView.Confirmed) -> None:
        if self._step is not None:
            self._try(self._confirm(self._step, event.answers))

    async def _confirm(self, step: Step, answers: Answers) -> None:
        if step.kind == "stimulate":
            deliveries = self.link.controller.deliveries
            if not deliveries:
                raise LimitRefused(
                    "nothing was delivered yet: Esc, Manual control, g, raise, f; then come back"
                )
            answers = {**delivered_answers(deliveries), **answers}
        await self._keep(*course.answer(self._visit, step, answers))

    async def _keep(self, kind: str, content: dict[str, object]) -> None:
        """Write something down, let it count, and ask what comes next."""
        await self.link.controller.annotate(kind, content)
        self.link.acceptance = course.fold(self._visit, kind, content)
        await self._open(self._visit.next_step)

    def _outcome(self) -> str:
        """Say what was decided, what speaks against it, and how it is entered."""
        visit = self._visit
        failed: list[str] = []
        for step in visit.protocol.steps:
            if step.kind == "check" and step.id in visit.answered:
                found = forms.check_verdict(step, visit.answered[step.id].answers)
                failed += (*found.blocks, *found.cautions)
        decided = visit.answers("review") or {}
        is_accepted = decided.get("accepted") is True
        lines = [
            "Accepted." if is_accepted else "Not accepted.",
            *(f"{words.CARE_SIGN} {each}" for each in failed),
            "",
            "It is kept in this session's record. In the station's register it is entered by:",
            f"estim station set {self._serial()} --state "
            f"{'in-service --due DATE' if is_accepted else 'quarantined'} "
            f"--who {visit.operator} --why TEXT",
        ]
        return "\n".join(lines)

    def _serial(self) -> str:
        snapshot = self.link.controller.snapshot
        device = snapshot.device if snapshot is not None else None
        return device.serial_number if device is not None else "SERIAL"

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to leave out what may be."""
        return action != "leave_out" or (self._step is not None and self._step.may_skip)

    def action_look(self, direction: int) -> None:
        """Look at the step before or after."""
        if self.link.acceptance is None:
            return
        steps = self._visit.protocol.steps
        at = steps.index(self._step) if self._step is not None else len(steps)
        if 0 <= at + direction < len(steps):
            self._try(self._open(steps[at + direction]))

    def action_leave_out(self) -> None:
        """Leave the step out, with a reason."""
        if self._step is not None:
            self._try(self._leave_out(self._step))

    async def _leave_out(self, step: Step) -> None:
        from estim.tui.screens.text import TextScreen

        title = f"Why is '{step.title}' left out?"
        reason = await self.app.push_screen_wait(TextScreen(title, step.why))
        if reason:
            await self._keep(*course.skip(self._visit, step, reason))

    def _try(self, doing: Awaitable[None]) -> None:
        """Do something in the background; say what refused it."""

        async def attempt() -> None:
            self.complain("")
            try:
                await doing
            except EstimError as error:
                self.complain(str(error))

        self.run_worker(attempt(), group="step")


def _head(step: Step | None) -> Content:
    if step is None:
        return Content("")
    return Content.assemble(
        (words.safe(step.title), "bold"),
        (f"  {words.safe(step.why)}\n", "$secondary"),
        words.safe(step.do),
    )
