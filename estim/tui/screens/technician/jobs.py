"""Characterise the device, or verify a job: what is asked for before it runs.

The load and that nobody is connected were declared when this bench was opened; each further load is
asked for by the job itself. The session lets go of the device for as long as a job drives it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Button, Checkbox, Static

from estim.errors import EstimError, LimitRefused, UsageError
from estim.prepare import places
from estim.record.ledger import open_ledger
from estim.rig.characterise import AREAS_CM2, LOADS_OHM, SHARES, Characterisation, Wanted
from estim.rig.jobs.course import journal_path
from estim.rig.jobs.delivery import Bench
from estim.rig.jobs.job import LoadedJob, load_job
from estim.rig.jobs.steps import steps_of
from estim.rig.jobs.walk import Walk
from estim.rig.jobs.written import report_path, write_reports
from estim.rig.reports.words import figure_words, format_ohm
from estim.rig.sheet import check_pictures_available, write_sheet
from estim.session.states import HostState
from estim.tui import words
from estim.tui.bench_jobs import BenchJob
from estim.tui.screens.base import HelpLines
from estim.tui.screens.technician import typed
from estim.tui.screens.technician.base import TechnicianScreen
from estim.tui.screens.technician.running import JobScreen, Work
from estim.tui.widgets.fields import Field
from estim.tui.widgets.tick import TickBox
from firmware_protocol.messages import CHANNELS_MAX

AT_REST = (HostState.READY, HostState.IDENTIFIED, HostState.DISCONNECTED)
_HELP: HelpLines = (
    ("Tab, Shift+Tab", "next field, field before"),
    ("Enter", "in a field: begin; on a box: tick it"),
    ("Esc", "back to the bench"),
)


class JobFormScreen(TechnicianScreen):
    """Take what a job needs, then run it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "app.focus_next", "Next field")]
    HELP_LINES = _HELP

    def on_input_submitted(self) -> None:
        self._begin()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self._begin()

    def _begin(self) -> None:
        self.complain("")
        try:
            snapshot = self.link.controller.snapshot
            if snapshot is None or snapshot.state not in AT_REST:
                raise LimitRefused("end what the session delivers first: SPACE stops it")
            title, work, is_virtual, step_count = self.planned()
        except EstimError as error:
            self.complain(str(error))
            return
        self.app.push_screen(
            JobScreen(self.link, title, work, is_virtual=is_virtual, step_count=step_count)
        )

    def planned(self) -> tuple[str, Work, bool, int]:
        """Return title, work, whether it is on the virtual clock, and how many steps it has.

        Raises:
            EstimError: what was typed makes no sense.
        """
        raise NotImplementedError

    @property
    def records(self) -> Path:
        """Return where the records of a job's deliveries go."""
        return self.estim.options.records or places.records_folder()


class CharacteriseScreen(JobFormScreen):
    """Say what to characterise."""

    TITLE_WORDS = "Characterise"

    def compose_body(self) -> ComposeResult:
        plan = self.link.plan
        loads = ", ".join(map(format_ohm, LOADS_OHM))
        with VerticalScroll(classes="page", can_focus=False):
            yield Static("What leaves the device", classes="heading")
            yield Static(
                f"{words.safe(plan.loaded.profile.title)} at {words.safe(plan.url)}; loads of the "
                f"sheet: {loads}. Of a device with a port, its own report is what is measured.",
                markup=False,
            )
            yield Field("channel", "Channel", "1")
            yield Field("amplitudes", "Amplitudes, in mA", placeholder="shares of the ceiling")
            yield Field("loads", "Loads, in ohm", "500 2000 10000")
            yield Field("folder", "Keep the sheet in", placeholder="a folder; empty: show it only")
            if plan.url.startswith("sim:"):
                yield TickBox(
                    "On a virtual clock: seconds, not minutes", id="virtual", compact=True
                )
            yield Button("Begin", id="begin", variant="primary", compact=True)
            yield Static("", id="complaint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#channel").focus()

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        self.query_one("#begin").focus()

    def planned(self) -> tuple[str, Work, bool, int]:
        plan = self.link.plan
        profile = plan.loaded.profile
        channel = typed.whole(self, "channel", 1, min(CHANNELS_MAX, len(profile.channels)))
        loads_ohm = self._loads_ohm(plan.bench_ohm)
        is_virtual = any(box.value for box in self.query(Checkbox))
        folder = typed.text(self, "folder")
        if folder:
            check_pictures_available()
        wanted = Wanted(
            loaded=plan.loaded,
            channel=channel,
            amplitudes_ua=typed.amplitudes_ua(self, "amplitudes"),
            areas_cm2=AREAS_CM2,
            captures=None,
            instrument=None,
            today=self.link.clock.wall().date(),
        )
        records, clock = self.records, self.link.clock

        def work(job: BenchJob) -> Content:
            def set_load(load_ohm: int) -> None:
                is_set = plan.url.startswith("sim:") or load_ohm == plan.bench_ohm
                asked = (
                    f"Set the dummy load to {format_ohm(load_ohm)}; nobody connected. Is it set?"
                )
                if not is_set and job.ask("load_is_set", asked, ("yes", "no")) == "no":
                    raise LimitRefused("the dummy load is not set: nothing is delivered")

            def say(text: str) -> None:
                job.say(text)
                job.tell("step")

            bench = Bench(plan.url, is_virtual, records, job.stop_reason, job.opened)
            sheet = Characterisation(bench, wanted, clock, say, set_load).run(loads_ohm)
            if folder:
                write_sheet(Path(folder).expanduser(), sheet, with_pdf=False)
                job.say(f"the sheet is in {folder}")
            return sheet_words(sheet)

        count = len(loads_ohm) * (len(wanted.amplitudes_ua) or len(SHARES))
        return f"Characterise: {profile.title}", work, is_virtual, count

    def _loads_ohm(self, bench_ohm: int) -> tuple[int, ...]:
        """Return the loads to walk, the one that is set now first."""
        known = {str(load_ohm): load_ohm for load_ohm in LOADS_OHM}
        names = typed.text(self, "loads").replace(",", " ").split()
        if not names or not set(names) <= set(known):
            raise UsageError(f"loads: expected some of {', '.join(known)}")
        loads_ohm = sorted({known[name] for name in names})
        return tuple(sorted(loads_ohm, key=lambda load_ohm: load_ohm != bench_ohm))


class VerifyScreen(JobFormScreen):
    """Choose a job file."""

    TITLE_WORDS = "Verify a job"

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(classes="page", can_focus=False):
            yield Static("A technician's job", classes="heading")
            yield Static(
                "The job says what is delivered, captured and measured, and at which device: the "
                "session lets go of its own meanwhile. A job that was interrupted goes on.",
                markup=False,
            )
            yield Field("job", "Job file", placeholder="acceptance.toml")
            yield Button("Begin", id="begin", variant="primary", compact=True)
            yield Static("", id="complaint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#job").focus()

    def planned(self) -> tuple[str, Work, bool, int]:
        loaded = load_job(typed.path(self, "job"))
        records, clock = self.records, self.link.clock

        def work(job: BenchJob) -> Content:
            with open_ledger(journal_path(loaded.folder, loaded.job.phase)) as ledger:
                walk = Walk(loaded, ledger, job, clock, records, job.stop_reason, job.opened)
                for content in walk.course.steps.values():
                    job.tell("step", **content)
                course = walk.run()
                report = write_reports(loaded, course, with_pdf=False)
            return report_words(loaded, report["verdict"], report["steps"])

        is_virtual = loaded.job.clock == "virtual"
        return f"Verify: {loaded.job.title}", work, is_virtual, len(steps_of(loaded))


def report_words(loaded: LoadedJob, verdict: str, steps: list[dict[str, Any]]) -> Content:
    """Return the verdict of each step and of the whole job."""
    rows = [
        Content.assemble(("Verdict: ", "bold"), (words.safe(verdict).upper(), "bold $accent")),
        Content(f"Report: {words.safe(str(report_path(loaded, 'md')))}"),
    ]
    for step in steps:
        rows.append(
            Content(f"{step['number']:>4}  {words.safe(step['words']):<52} {step['verdict']}")
        )
    return Content("\n").join(rows)


def sheet_words(sheet: dict[str, Any]) -> Content:
    """Return a characterisation as a table."""
    head = f"{'load':>9}{'commanded':>12}{'measured':>12}{'voltage':>10}{'charge':>11}{'RMS':>11}"
    rows = [Content.styled(head, "dim")]
    for load in sheet["loads"]:
        for point in load["points"]:
            peak_mv = point["peak_mv"]
            rows.append(
                Content(
                    f"{format_ohm(load['load_ohm']):>9}"
                    f"{figure_words(point['commanded_ua'], 'uA'):>12}"
                    f"{figure_words(point['measured_ua'], 'uA'):>12}"
                    f"{figure_words(peak_mv / 1000 if peak_mv is not None else None, 'V'):>10}"
                    f"{figure_words(point['phase_charge_pc'], 'pC'):>11}"
                    f"{figure_words(point['rms_ua'], 'uA'):>11}"
                )
            )
        compliance = load["compliance"]
        if compliance is not None:
            why = "its voltage" if compliance["is_by_voltage"] else "its lead-off limit"
            reached = figure_words(compliance["reached_ua"], "uA")
            rows.append(Content.styled(f"{'':>9}ended at {reached} by {why}", "$warning"))
    return Content("\n").join(rows)
