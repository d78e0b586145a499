"""`estim measure`: hold a capture against what a profile commands."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace

from estim.cli.arguments import whole
from estim.cli.console import can_print, say, say_json, say_table, say_wrapped
from estim.cli.plot import BRAILLE_FULL, Axes, Step, draw
from estim.clock import SystemClock
from estim.errors import UsageError
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.rig.captures.capture import UNITS_UA, ReadOptions
from estim.rig.counts import counted
from estim.rig.measuring import baseline, pictures
from estim.rig.measuring import instrument as instruments
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.measurement import Settings, measure
from estim.rig.measuring.result import SCHEMA, Check, Result, Verdict, WorstPulse
from estim.rig.reports import junit
from estim.units import UA_PER_MA, parse_ma

LOAD_MAX_OHM = 1_000_000
TIME_MAX_S = 1e9
_PROGRESS_US = 500_000
_PICTURE_WIDTH_MAX, _PICTURE_ROWS = 100, 10


def run(arguments: Namespace) -> int:
    """Measure a capture; return 0 where it passes and 1 otherwise.

    Raises:
        UsageError: the command line or the capture makes no sense.
        ProfileError: there is no such profile.
        LimitRefused: the baseline was never approved.
    """
    loaded = find(arguments.profile)
    prepared = prepare(loaded.profile, is_bench=True, origin=loaded.origin)
    number = whole("--channel", arguments.channel, 1, len(prepared.program.channels))
    expected = Expected.of(prepared, number - 1, _amplitude_ua(arguments.amplitude))
    settings = Settings(
        read=ReadOptions(
            column=arguments.column,
            unit=_unit(arguments.unit),
            sample_rate_hz=_positive("--sample-rate", arguments.sample_rate, 1, 1e11),
            load_ohm=arguments.load and whole("--load", arguments.load, 1, LOAD_MAX_OHM),
            probe=_positive("--probe", arguments.probe, 1e-6, 1e6),
            channel=number,
            trigger_s=_time_s("--trigger", arguments.trigger),
        ),
        tolerances=arguments.tolerances,
        instrument=instruments.load(arguments.instrument) if arguments.instrument else None,
    )
    junit.check_folder(arguments.junit)
    pictures.check_picture(arguments.picture)
    approval = baseline.find(arguments.baseline) if arguments.baseline else None
    with _Progress() as progress:
        result = measure(arguments.capture, expected, settings, progress.told)
    if approval is not None:
        result = baseline.compare(result, approval)
    if arguments.json:
        document = result.document()
        document.pop("schema")
        say_json(SCHEMA, **document)
    else:
        _show(result)
    if arguments.junit:
        junit.write(arguments.junit, "estim measure", junit.cases_of(result))
    if arguments.picture:
        pictures.draw_worst_pulse(result, arguments.picture)
    return 0 if result.verdict is Verdict.PASS else 1


class _Progress:
    """Show how much of a file was read, on standard error, if somebody watches."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._told_us = self._clock.now_us()
        self._is_watched = sys.stderr is not None and sys.stderr.isatty()
        self._shown = ""

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._shown:
            print(f"\r{' ' * len(self._shown)}\r", end="", file=sys.stderr, flush=True)

    def told(self, done: int, total: int) -> None:
        now_us = self._clock.now_us()
        if not self._is_watched or now_us - self._told_us < _PROGRESS_US:
            return
        self._told_us = now_us
        self._shown = f"estim: {done / 1e6:.0f} of {total / 1e6:.0f} MB read"
        print(f"\r{self._shown}", end="", file=sys.stderr, flush=True)


def _amplitude_ua(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        amplitude_ua = parse_ma(text)
    except ValueError as error:
        raise UsageError(f"--amplitude: {error}") from None
    if not amplitude_ua:
        raise UsageError("--amplitude 0: expected what was commanded, in mA")
    return amplitude_ua


def _unit(text: str | None) -> str | None:
    if text is not None and text not in UNITS_UA:
        raise UsageError(f"--unit {text}: expected one of {', '.join(UNITS_UA)}")
    return text


def _positive(flag: str, text: str | None, lowest: float, highest: float) -> float | None:
    """Read a number that may have decimals or an exponent."""
    if text is None:
        return None
    try:
        number = float(text) if text.isascii() and "_" not in text else float("nan")
    except ValueError:
        number = float("nan")
    if not lowest <= number <= highest:
        raise UsageError(f"{flag} {text}: expected a number from {lowest:g} to {highest:g}")
    return number


def _time_s(flag: str, text: str | None) -> float | None:
    """Read a time on a file's own axis, which may be before its zero."""
    if text is None or not text.startswith("-"):
        return _positive(flag, text, 0, TIME_MAX_S)
    before_s = _positive(flag, text[1:], 0, TIME_MAX_S)
    return None if before_s is None else -before_s


def _show(result: Result) -> None:
    """Print a result for people."""
    capture = result.capture
    say(f"{result.verdict.value.upper()}: {capture.path} against {result.profile_id}")
    rate = f", {capture.sample_rate_hz:.6g} samples/s" if capture.sample_rate_hz else ""
    say(
        f"{capture.format}, {capture.column}: {capture.duration_s:.6g} s{rate}, "
        f"{counted(result.pulse_count, 'pulse')}; tolerances: {result.tolerances}"
    )
    if result.instrument is not None:
        one = result.instrument
        say(f"{one.kind} {one.model}, serial {one.serial}, calibration due {one.calibration_due}")
    if result.looks_like:
        say_wrapped(f"It looks like this: {result.looks_like}", 0)
    say()
    say_table(
        ("figure", "unit", "expected", "measured", "off by", "allowed", "U", "verdict", "worst at"),
        [_row(check) for check in result.checks],
        giving=("worst at", "U"),
        folding=("figure",),
    )
    for check in result.checks:
        if check.note and check.verdict is not Verdict.PASS:
            say_wrapped(f"{check.name}: {check.note}")
    _say_lines("Notes", (*capture.notes, *result.notes))
    _say_lines("Not known", result.unknowns)
    if result.worst_pulse is not None:
        _draw(result.worst_pulse)


def _say_lines(title: str, lines: tuple[str, ...]) -> None:
    if lines:
        say()
        say(title)
        for line in lines:
            say_wrapped(line)


def _row(check: Check) -> tuple[str, ...]:
    """Return a line of the table; charges are shown in uC, large currents in mA."""
    scale, unit = 1.0, check.unit
    largest = max(abs(figure or 0.0) for figure in (check.expected, check.measured))
    if unit == "pC":
        scale, unit = 1e-6, "uC"
    elif unit == "uA" and largest >= UA_PER_MA:
        scale, unit = 1 / UA_PER_MA, "mA"
    figures = (
        check.expected,
        check.measured,
        check.deviation,
        check.tolerance,
        check.uncertainty,
    )
    return (
        check.name,
        unit,
        *("-" if figure is None else f"{figure * scale:.4g}" for figure in figures),
        check.verdict.value,
        "" if check.worst_at_s is None else f"{check.worst_at_s:.6f} s",
    )


def _draw(worst: WorstPulse) -> None:
    """Draw the worst pulse and the commanded one, one above the other."""
    width = min(shutil.get_terminal_size().columns, _PICTURE_WIDTH_MAX)
    is_ascii = not can_print(BRAILLE_FULL + "│└─")
    captured = _steps(worst.times_us, worst.current_ua)
    commanded = _steps(worst.expected_times_us, worst.expected_ua)
    everything = [*captured, *commanded]
    if not everything:
        return
    axes = Axes(
        min(step.start for step in everything),
        max(step.end for step in everything),
        min(0.0, *(step.held for step in everything)),
        max(0.0, *(step.held for step in everything)) or 1.0,
        "us",
        "mA",
    )
    axes = Axes(
        round(axes.start, 1), round(axes.end, 1), round(axes.lowest, 3), round(axes.highest, 3),
        axes.time_unit, axes.unit,
    )  # fmt: skip
    for title, steps in (
        (f"worst pulse, at {worst.at_s:.6f} s ({worst.reason}), captured", captured),
        ("as commanded", commanded),
    ):
        say()
        say(title)
        for line in draw(steps, axes, width, _PICTURE_ROWS, is_ascii):
            say(line)


def _steps(times_us: tuple[float, ...], currents_ua: tuple[float, ...]) -> list[Step]:
    return [
        Step(start, end, current / UA_PER_MA)
        for start, end, current in zip(times_us[:-1], times_us[1:], currents_ua[:-1], strict=True)
        if end > start and current
    ]
