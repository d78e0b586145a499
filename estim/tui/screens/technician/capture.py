"""A capture laid over the commanded waveform: the worst pulse, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError, UsageError
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.rig.captures.capture import ReadOptions
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.measurement import Settings, measure
from estim.rig.measuring.overlay import Overlay, overlay_of
from estim.rig.measuring.result import Check, Result, Verdict
from estim.rig.reports.words import figure_words
from estim.tui import words
from estim.tui.screens.base import HelpLines
from estim.tui.screens.technician import typed
from estim.tui.screens.technician.base import TechnicianScreen
from estim.tui.widgets.fields import Field
from estim.tui.widgets.overlay import OverlayPlot
from estim.tui.widgets.plot import Trace

LOAD_MAX_OHM = 1_000_000
VERDICT_SIGNS = {
    Verdict.PASS: ("✓ PASS", "bold $success"),
    Verdict.FAIL: ("✗ FAIL", "bold $error"),
    Verdict.INCONCLUSIVE: ("? INCONCLUSIVE", "bold $warning"),
}


class CaptureScreen(TechnicianScreen):
    """Choose a capture and what was commanded; see both."""

    TITLE_WORDS = "A capture over the waveform"
    HELP_LINES: ClassVar[HelpLines] = (
        ("Enter", "measure"),
        ("Tab, Shift+Tab", "next field, field before"),
        ("PgUp, PgDn", "scroll the result"),
        ("Esc", "back to the bench"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next field"),
        Binding("enter", "measure", "Measure"),
        Binding("pagedown", "scroll_page(1)", show=False),
        Binding("pageup", "scroll_page(-1)", show=False),
    ]

    _is_left = False

    def compose_body(self) -> ComposeResult:
        plan = self.link.plan
        yield Field("capture", "Capture file", placeholder="scope.csv, trace.csv, logic.vcd")
        yield Field("profile", "Profile", plan.loaded.profile.id)
        yield Field("channel", "Channel", "1")
        yield Field("amplitude", "Commanded, in mA", placeholder="12")
        yield Field("load", "Dummy load, in ohm", str(plan.bench_ohm))
        yield Static("", id="complaint", markup=False)
        with VerticalScroll(id="capture-place"):
            yield OverlayPlot(id="overlay")
            yield Static("Enter measures.", id="capture-result", markup=False)

    def on_mount(self) -> None:
        self.query_one("#capture").focus()

    def on_unmount(self) -> None:
        self._is_left = True

    def on_input_submitted(self) -> None:
        self.action_measure()

    def action_measure(self) -> None:
        """Measure the capture against what was commanded, in a thread."""
        try:
            path = typed.path(self, "capture")
            loaded = find(typed.text(self, "profile"))
            prepared = prepare(loaded.profile, is_bench=True, origin=loaded.origin)
            number = typed.whole(self, "channel", 1, len(prepared.program.channels))
            amplitudes = typed.amplitudes_ua(self, "amplitude")
            if len(amplitudes) != 1:
                raise UsageError("amplitude: expected what was commanded, in mA")
            load_ohm = typed.whole(self, "load", 1, LOAD_MAX_OHM)
        except EstimError as error:
            self.complain(str(error))
            return
        self.complain("")
        expected = Expected.of(prepared, number - 1, amplitudes[0])
        settings = Settings(read=ReadOptions(load_ohm=load_ohm, channel=number))
        self._tell(Content(f"reading {words.safe(path.name)} …"))

        def work() -> None:
            try:
                result = measure(path, expected, settings, self._progress)
            except EstimError as error:
                why = str(error)
                self._in_screen(lambda: self._failed(why))
                return
            self._in_screen(lambda: self._show(result))

        self.run_worker(work, thread=True, exclusive=True, group="measure")

    def action_scroll_page(self, direction: int) -> None:
        """Scroll the result by most of a page."""
        place = self.query_one("#capture-place")
        place.scroll_relative(y=direction * max(1, place.size.height - 2), animate=False)

    def _progress(self, done: int, total: int) -> None:
        if self._is_left:
            raise UsageError("given up")

    def _in_screen(self, call: Callable[[], None]) -> None:
        if not self._is_left:
            self.app.call_from_thread(call)

    def _failed(self, why: str) -> None:
        self._tell(Content(""))
        self.query_one(OverlayPlot).show(None)
        self.complain(why)

    def _tell(self, content: Content) -> None:
        self.query_one("#capture-result", Static).update(content)

    def _show(self, result: Result) -> None:
        worst = result.worst_pulse
        overlay = overlay_of(worst) if worst is not None else None
        if worst is None or overlay is None:
            self.query_one(OverlayPlot).show(None)
        else:
            caption = f"worst pulse, at {worst.at_s:.6f} s ({worst.reason})"
            self.query_one(OverlayPlot).show_both(*_traces(overlay, caption))
        self._tell(result_words(result))


def _traces(overlay: Overlay, caption: str) -> tuple[Trace, Trace]:
    scale = (overlay.start_us, overlay.end_us, overlay.low_ua, overlay.high_ua)
    return (
        Trace(overlay.captured_us, overlay.captured_ua, *scale, words.safe(caption)),
        Trace(overlay.commanded_us, overlay.commanded_ua, *scale, ""),
    )


def result_words(result: Result) -> Content:
    """Return verdict, figures, and what is not known."""
    sign, style = VERDICT_SIGNS[result.verdict]
    rows = [
        Content.assemble(
            ("captured ", "$primary"), ("over commanded", "$accent"), ", bold where both lie"
        ),
        Content.assemble(
            (sign, style),
            f": {words.safe(result.capture.path)}, {result.pulse_count} pulses, "
            f"tolerances: {result.tolerances}",
        ),
    ]
    if result.looks_like:
        rows.append(Content.styled(f"It looks like this: {words.safe(result.looks_like)}", "bold"))
    head = f"{'figure':<24}{'commanded':>13}{'captured':>13}{'allowed':>13}  verdict"
    rows += [Content.styled(head, "dim"), *(_check_row(check) for check in result.checks)]
    for title, lines in (("Notes", result.notes), ("Not known", result.unknowns)):
        if lines:
            rows.append(Content.styled(title, "bold"))
            rows += [Content(f"  {words.safe(line)}") for line in lines]
    return Content("\n").join(rows)


def _check_row(check: Check) -> Content:
    cells = "".join(
        f"{'–' if figure is None else figure_words(figure, check.unit):>13}"
        for figure in (check.expected, check.measured, check.tolerance)
    )
    sign, style = VERDICT_SIGNS[check.verdict]
    return Content.assemble(f"{check.name:<24}{cells}  ", (sign.lower(), style))
