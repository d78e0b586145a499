"""Hold the device against its protocol: what is asked for before the kit runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Button, Checkbox, Static

from estim.errors import UsageError
from estim.rig.conformance.suite import chosen_requirements, every_requirement
from estim.rig.reports import junit
from estim.tui import words
from estim.tui.bench_jobs import BenchJob
from estim.tui.bench_kit import run_kit
from estim.tui.screens.technician import typed
from estim.tui.screens.technician.jobs import JobFormScreen
from estim.tui.screens.technician.running import Work
from estim.tui.widgets.fields import Field
from estim.tui.widgets.tick import TickBox

OHM_MIN, OHM_MAX = 100, 10_000
SOAK_MAX_S = 86_400


class ConformanceScreen(JobFormScreen):
    """Say what to try, and for how long."""

    TITLE_WORDS = "Conformance"

    def compose_body(self) -> ComposeResult:
        plan = self.link.plan
        with VerticalScroll(classes="page", can_focus=False):
            yield Static("Does the device do what its protocol says?", classes="heading")
            yield Static(
                f"{len(every_requirement())} requirements at {words.safe(plan.url)}, on "
                f"{plan.bench_ohm} ohm at every channel: at most 3 mA, for about a minute.",
                markup=False,
            )
            yield Field("only", "Only these", placeholder="ids or groups, such as LEASE STOP-03")
            yield Field("soak", "A bad line for, in s", "3")
            yield Field("report", "JUnit report in", placeholder="a file; empty: show it only")
            yield TickBox(
                "A hand is at the leads and at the patient's stop", id="hands", compact=True
            )
            yield Button("Begin", id="begin", variant="primary", compact=True)
            yield Static("", id="complaint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#only").focus()

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        self.query_one("#begin").focus()

    def planned(self) -> tuple[str, Work, bool, int]:
        plan = self.link.plan
        if not OHM_MIN <= plan.bench_ohm <= OHM_MAX:
            raise UsageError(
                f"the dummy load is {plan.bench_ohm} ohm: expected {OHM_MIN} to {OHM_MAX}"
            )
        only = typed.text(self, "only").replace(",", " ").split()
        chosen = chosen_requirements(only)
        soak_s = typed.whole(self, "soak", 0, SOAK_MAX_S)
        report = typed.text(self, "report")
        arguments = [
            f"--device={plan.url}", f"--bench={plan.bench_ohm}", "--nobody-connected",
            f"--soak={soak_s}", *(f"--only={name}" for name in only),
        ]  # fmt: skip
        if report:
            path = str(Path(report).expanduser())
            junit.check_folder(path)
            arguments.append(f"--junit={path}")
        if any(box.value for box in self.query(Checkbox)):
            arguments.append("--hands")

        def work(job: BenchJob) -> Content:
            return result_words(run_kit(job, arguments))

        return f"Conformance: {plan.url}", work, False, len(chosen)


def result_words(result: dict[str, Any]) -> Content:
    """Return the verdict of a run and what failed."""
    verdict = "CONFORMS, AS FAR AS TESTED" if result["conforms"] else "DOES NOT CONFORM"
    counts = ", ".join(f"{count} {name}" for name, count in result["counts"].items() if count)
    rows = [Content.assemble(("Verdict: ", "bold"), (verdict, "bold $accent")), Content(counts)]
    if result["failed"]:
        rows.append(Content(f"failed: {words.safe(', '.join(result['failed']))}"))
    if result["end"]:
        rows.append(Content(f"ended: {words.safe(result['end'])}"))
    rows.append(Content("the output is off, confirmed by a Status"))
    return Content("\n").join(rows)
