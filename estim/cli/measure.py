"""`estim measure`: hold a capture against what a profile commands."""

from __future__ import annotations

from argparse import Namespace

from estim.cli.arguments import whole
from estim.cli.console import say, say_json, say_table, say_wrapped
from estim.errors import UsageError
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.rig import instrument as instruments
from estim.rig.capture import UNITS_UA, ReadOptions
from estim.rig.expectation import Expected
from estim.rig.measurement import Settings, measure
from estim.rig.result import SCHEMA, Check, Result, Verdict
from estim.units import parse_ma

LOAD_MAX_OHM = 1_000_000


def run(arguments: Namespace) -> int:
    """Measure a capture; return 0 where it passes and 1 otherwise.

    Raises:
        UsageError: the command line or the capture makes no sense.
        ProfileError: there is no such profile.
    """
    loaded = find(arguments.profile)
    prepared = prepare(loaded.profile, is_bench=True, origin=loaded.path)
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
        ),
        tolerances=arguments.tolerances,
        instrument=instruments.load(arguments.instrument) if arguments.instrument else None,
    )
    result = measure(arguments.capture, expected, settings)
    if arguments.json:
        document = result.document()
        document.pop("schema")
        say_json(SCHEMA, **document)
    else:
        _show(result)
    return 0 if result.verdict is Verdict.PASS else 1


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


def _show(result: Result) -> None:
    """Print a result for people."""
    say(f"{result.verdict.value.upper()}: {result.capture.path} against {result.profile_id}")
    if result.looks_like:
        say(f"it looks like this: {result.looks_like}")
    rows = [_row(check) for check in result.checks]
    say_table(
        (
            "figure",
            "unit",
            "expected",
            "measured",
            "deviation",
            "tolerance",
            "+-U",
            "verdict",
            "worst at s",
        ),
        rows,
    )
    for title, lines in (
        ("Notes", (*result.capture.notes, *result.notes)),
        ("Unknown", result.unknowns),
    ):
        if lines:
            say(f"{title}:")
            for line in lines:
                say_wrapped(line)


def _row(check: Check) -> tuple[str, ...]:
    return (
        check.name,
        check.unit,
        *(
            _number(f)
            for f in (
                check.expected,
                check.measured,
                check.deviation,
                check.tolerance,
                check.uncertainty,
            )
        ),
        check.verdict.value,
        "" if check.worst_at_s is None else f"{check.worst_at_s:.6f}",
    )


def _number(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.5g}"
