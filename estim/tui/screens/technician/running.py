"""A job while it runs, and what came of it. The stop key ends it: output first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError
from estim.rig.jobs.delivery import Interrupted
from estim.session import messages
from estim.session.states import HostState
from estim.tui import words
from estim.tui.bench import BenchLink
from estim.tui.bench_jobs import BenchJob
from estim.tui.screens.base import HelpLines
from estim.tui.screens.technician.base import TechnicianScreen
from estim.tui.screens.technician.question import QuestionScreen

TURN_S = 0.2
LET_GO_S = 0.3
"""The session's engine lets go of a port once the read that waits there has ended."""
LINES_SHOWN = 200
BAR_CELLS = 40

Work = Callable[[BenchJob], Content]
"""What a job does, in a thread; returns what came of it. Raises EstimError or Interrupted."""


class JobScreen(TechnicianScreen):
    """Run a job from the moment it is shown until it ends."""

    TITLE_WORDS = "Job"
    HELP_LINES: ClassVar[HelpLines] = (
        ("any stop key", "stop the output and end the job"),
        ("arrows, PgUp/Dn", "scroll"),
        ("Esc", "back, once it has ended"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave_tool", "Back")]

    def __init__(
        self, link: BenchLink, title: str, work: Work, *, is_virtual: bool, step_count: int
    ) -> None:
        super().__init__(link)
        self._title = f"{title}, on a virtual clock: nothing real flows" if is_virtual else title
        self._work = work
        self._step_count = step_count
        self.job = BenchJob(self._show_question, is_virtual=is_virtual)
        self._question: QuestionScreen | None = None
        self._shown: object = None
        self.has_ended = False

    def compose_body(self) -> ComposeResult:
        yield Static(Content.styled(words.safe(self._title), "bold"), classes="label")
        yield Static("", id="job-progress", markup=False)
        yield Static("", id="complaint", markup=False)
        with VerticalScroll(id="job-place"):
            yield Static("", id="job-result", markup=False)
            yield Static("", id="job-lines", markup=False)

    def on_mount(self) -> None:
        self.query_one("#job-place").focus()
        self.set_interval(TURN_S, self._look)
        self.run_worker(self._run(), group="job")

    def on_unmount(self) -> None:
        if not self.has_ended:
            self.job.stop("the job's screen was left")
            self.estim.bench_job = None

    def action_leave_tool(self) -> None:
        """Go back, once the job has ended."""
        if self.has_ended:
            self.dismiss(None)
        else:
            self.notify("The job is running: SPACE stops it.", severity="warning")

    async def _run(self) -> None:
        """Take the device from the session, run the job, and give it back."""
        controller = self.link.controller
        snapshot = controller.snapshot
        result = Content("")
        try:
            if snapshot is not None and snapshot.state is not HostState.DISCONNECTED:
                await self.link.ask(messages.Disconnect)
                await asyncio.sleep(LET_GO_S)
            self.estim.bench_job = self.job
            result = await asyncio.to_thread(self._work, self.job)
        except asyncio.CancelledError:
            self.job.stop("the interface was left")  # its thread would keep the process alive
            raise
        except Interrupted:
            self.complain(f"ended: {self.job.stop_reason()}; the output is off")
        except EstimError as error:
            self.complain(str(error))
        finally:
            self.has_ended = True
            self.estim.bench_job = None
            self._close_question()
        self.query_one("#job-result", Static).update(result)
        self._look()
        try:
            await controller.reconnect()
        except EstimError as error:
            self.job.say(f"the session did not find its device again: {error}; g looks for it")
        self._look()

    def _look(self) -> None:
        job = self.job
        done = len(job.steps)
        seen = (len(job.lines), job.lines[-1:], done, self.has_ended)
        if seen == self._shown:
            return
        self._shown = seen
        total = max(self._step_count, done, 1)
        filled = BAR_CELLS * done // total
        state = "ended" if self.has_ended else "running"
        self.query_one("#job-progress", Static).update(
            Content.assemble(
                (f"{state}  ", "bold"), ("━" * filled, "$success"),
                ("─" * (BAR_CELLS - filled), "dim"), f"  {done} of {total} steps",
            )
        )  # fmt: skip
        lines = [Content(words.safe(line)) for line in job.lines[-LINES_SHOWN:]]
        self.query_one("#job-lines", Static).update(Content("\n").join(lines))
        place = self.query_one("#job-place", VerticalScroll)
        if not self.has_ended:
            place.scroll_end(animate=False)
        else:
            place.scroll_home(animate=False)

    # Questions, from the job's thread.

    def _show_question(self, question: str, choices: Sequence[str]) -> None:
        self.app.call_from_thread(self._push_question, question, choices)

    def _push_question(self, question: str, choices: Sequence[str]) -> None:
        self._question = QuestionScreen(
            question, choices, self.job.answer, lambda: self.job.stop("a question was left open")
        )
        self.app.push_screen(self._question)

    def _close_question(self) -> None:
        """Take a question away that nobody waits for any more."""
        question, self._question = self._question, None
        if question is not None and question is self.app.screen:
            question.dismiss(None)
