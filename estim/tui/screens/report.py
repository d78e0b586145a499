"""The end of a visit: planned beside delivered, where the record lies, and whether it verifies."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError
from estim.prepare.places import configuration_folder
from estim.record import station_key
from estim.record.verify import Verification, verify
from estim.tui import words
from estim.tui.controller import SessionController
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.units import format_clock

NOT_A_DEVICE = "Estim is not a certified medical device. This report is of a bench session."


class ReportScreen(EstimScreen[None]):
    """Show what was planned and what was delivered."""

    TITLE_WORDS = "Report"
    HELP_LINES: ClassVar[HelpLines] = (
        ("Enter, Esc", "back to the profiles"),
        ("up, down", "scroll"),
        ("q", "quit"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,escape", "leave", "Back to profiles")]

    def __init__(self, controller: SessionController) -> None:
        super().__init__()
        self._controller = controller

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(classes="page"):
            yield Static(planned_and_delivered(self._controller), markup=False)
            yield Static("checking the record …", id="record", markup=False)
            yield Static(NOT_A_DEVICE, classes="remark")

    def on_mount(self) -> None:
        path = self._controller.record_path
        if path is not None:
            self.run_worker(lambda: self._verify(path), thread=True)
        else:
            self.query_one("#record", Static).update("No record was opened: nothing was delivered.")

    def _verify(self, path: Path) -> None:
        try:
            text = record_words(path, verify(path, station_key.load(configuration_folder())))
        except EstimError as error:
            text = Content.styled(f"✗ {words.safe(str(error))}", "bold $error")
        self.app.call_from_thread(self.query_one("#record", Static).update, text)

    def action_leave(self) -> None:
        """Go back to the profiles."""
        self.dismiss(None)


def planned_and_delivered(controller: SessionController) -> Content:
    """Return what the session was to deliver, and each stimulation that it did."""
    prepared = controller.prepared
    rows: list[Content] = [
        Content.styled(
            f"Report of a {'bench session' if controller.is_bench else 'visit'}", "bold"
        ),
        Content.assemble(
            words.safe(controller.title), (f"  {words.safe(controller.plan.heading)}", "$accent")
        ),
        Content(""),
    ]
    if prepared is not None:
        ceilings = ", ".join(
            f"{row.channel}: at most {words.current(row.ceiling_ua)}" for row in prepared.ceilings
        )
        rows += [
            Content.styled(f"{'':<14}{'time':<10}{'plateau':<10}per channel", "dim"),
            Content(
                f"{'planned':<14}{'':<10}{format_clock(prepared.settings.duration_s):<10}{ceilings}"
            ),
        ]
    for number, done in enumerate(controller.deliveries, start=1):
        times = f"{words.clock_ms(done.delivered_ms):<10}{words.clock_ms(done.plateau_ms):<10}"
        for channel, (highest_ua, pulses) in enumerate(
            zip(done.highest_ua, done.pulse_counts, strict=True), start=1
        ):
            which = f" {number}" if len(controller.deliveries) > 1 else ""
            head = f"delivered{which}" if channel == 1 else ""
            rows.append(
                Content.assemble(
                    (f"{head:<14}", "bold"),
                    times if channel == 1 else " " * len(times),
                    f"{channel}: up to {words.current(highest_ua)}, {pulses} pulses",
                )
            )
    if not controller.deliveries:
        rows.append(Content("delivered     nothing"))
    return Content("\n").join(rows)


def record_words(path: Path, found: Verification) -> Content:
    """Return where the record lies, its head, and whether it verifies."""
    sign = "✓ the record verifies" if found.is_ok else "✗ THE RECORD DOES NOT VERIFY"
    rows = [
        Content(""),
        Content.styled("Record", "bold"),
        Content(words.safe(str(path))),
        Content.assemble(("head  ", "dim"), found.head),
        Content.assemble(
            (f"{sign}: {found.lines} lines, {found.state.value}",
             "bold $success" if found.is_ok else "bold $error"),
        ),
    ]  # fmt: skip
    rows += [Content(words.safe(str(finding))) for finding in found.findings[:5]]
    rows += [Content.styled(words.safe(note), "dim") for note in found.notes[:3]]
    rows.append(
        Content.styled(
            "Note the head down elsewhere: it proves later that nothing was cut off.", "dim"
        )
    )
    return Content("\n").join(rows)
