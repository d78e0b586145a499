"""Make or change a person's plan, inside a visit: it is written into the visit's record.

Rules:
1. The plan of before is shown to be changed; nothing counts before the whole is confirmed.
2. Where no plan can be read, there is nothing to show: it is made anew.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from estim.errors import EstimError, UsageError
from estim.tui import words
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.sitting import Sitting
from estim.tui.widgets.form import FormView
from estim.visit import plan, protocol
from estim.visit.protocol import Protocol
from estim.visit.questions import Answers, Choice


class PlanScreen(EstimScreen[bool]):
    """Give True once a plan is durable."""

    TITLE_WORDS = "Plan"
    HELP_LINES: ClassVar[HelpLines] = (
        ("PgUp, PgDn", "question before, question after"),
        ("Enter", "give what was typed; on the last line, keep the plan"),
        ("Esc", "back; the plan stays as it was"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back")]

    def __init__(self, sitting: Sitting) -> None:
        super().__init__()
        self._sitting = sitting

    def compose_body(self) -> ComposeResult:
        found = self._sitting.found_plan
        offered, why_not = _offered(self._sitting.visit.protocol)
        choices = tuple(Choice(each.id, each.title) for each in offered)
        if why_not:
            self.notify(words.safe(why_not), severity="warning", markup=False, timeout=15)
        kept = plan.answers_of(found.plan) if found.plan is not None else {}
        with Vertical(classes="page"):
            whose = f"Plan of {self._sitting.visit.pseudonym}"
            yield Static(words.safe(whose), classes="heading", markup=False)
            yield Static(words.safe(found.words), classes="remark", markup=False)
            yield FormView(lambda answers: plan.form(choices), kept=kept)

    def on_form_view_confirmed(self, event: FormView.Confirmed) -> None:
        self.run_worker(self._keep(event.answers), exclusive=True, group="plan")

    async def _keep(self, answers: Answers) -> None:
        sitting = self._sitting
        try:
            content = plan.content_of(answers, sitting.visit.operator, sitting.given.today)
            await sitting.make_plan(content)
        except UsageError as error:
            self.query_one(FormView).complain(str(error))
        except EstimError as error:
            self.notify(words.safe(str(error)), severity="warning", markup=False, timeout=15)
        else:
            self.dismiss(True)

    def action_leave(self) -> None:
        """Leave the plan as it was."""
        self.dismiss(False)


def _offered(followed: Protocol) -> tuple[tuple[Protocol, ...], str]:
    """Return the protocols that may be planned; where one is damaged, this visit's, and why."""
    try:
        found = (each.protocol for each in protocol.shipped())
        return tuple(each for each in found if each.is_for_people), ""
    except EstimError as error:
        return (followed,), str(error)
