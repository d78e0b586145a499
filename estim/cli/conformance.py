"""`estim conformance`: hold a device against PROTOCOL.md, on the bench."""

from __future__ import annotations

import os
import select
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from estim.cli.arguments import whole
from estim.cli.console import complain, say, say_json
from estim.cli.failures import FAILED, INTERRUPTED
from estim.cli.interruption import Interruption
from estim.clock import SystemClock
from estim.drivers import registry
from estim.drivers.native import NativeStimulator
from estim.errors import DeviceFault, LimitRefused, UsageError
from estim.priority import NICE, ask_for_priority
from estim.rig.conformance.capture import Capture
from estim.rig.conformance.recording import Recorder
from estim.rig.conformance.report import (
    cases,
    finding_document,
    finding_lines,
    report_document,
    requirement_document,
    summary_lines,
)
from estim.rig.conformance.requirement import Finding, Requirement
from estim.rig.conformance.suite import SCHEMA, Report, Suite, chosen_requirements
from estim.rig.conformance.world import world_of
from estim.rig.reports import junit
from estim.text import sanitize

OHM_MIN, OHM_MAX = 100, 10_000
"""Below, leads count; above, 3 mA need more voltage than many devices have."""
SOAK_MAX_S = 86_400
HELD_US = 1_000_000
_SIMULATOR = "sim:"
_MISSING = (
    "conformance is for the bench: add --bench OHM, the dummy load on every channel, and "
    "--nobody-connected"
)


def run(arguments: Namespace) -> int:
    """Judge a device; return 0 where nothing failed and 1 where something did.

    Raises:
        LimitRefused: load and nobody were not declared, or the load contradicts.
        UsageError: the command line makes no sense.
        PortLost: there is no such device.
    """
    chosen = chosen_requirements(arguments.only or [])
    if arguments.list:
        _list(chosen, is_json=arguments.json)
        return 0
    if arguments.bench is None or not arguments.nobody_connected:
        raise LimitRefused(_MISSING)
    bench_ohm = whole("--bench", arguments.bench, OHM_MIN, OHM_MAX)
    soak_s = whole("--soak", arguments.soak, 0, SOAK_MAX_S)
    if not issubclass(registry.driver_class(arguments.device), NativeStimulator):
        raise UsageError(
            f"device URL {arguments.device!r}: the kit speaks PROTOCOL.md alone: native: or sim:"
        )
    junit.check_folder(arguments.junit)
    with Interruption() as interruption, tempfile.TemporaryDirectory(prefix="estim-") as folder:
        url, capture = _with_capture(arguments, bench_ohm, Path(folder))
        recorder = (
            Recorder(Path(arguments.scope), bench_ohm, _instruct) if arguments.scope else None
        )
        held = _Held(interruption) if arguments.held else None
        stop_reason = held.reason if held is not None else interruption.reason
        transport = registry.open_transport(url)
        ask_for_priority(NICE)
        try:
            suite = Suite(
                transport,
                SystemClock(),
                world_of(transport, _instruct if arguments.hands else None),
                url=arguments.device,
                bench_ohm=bench_ohm,
                soak_s=soak_s,
                capture=capture,
                recorder=recorder,
                stop_reason=stop_reason,
            )
            report = suite.run(chosen, _Teller(chosen, is_json=arguments.json).tell)
        finally:
            transport.close()
    _end(report, arguments)
    if reason := stop_reason():
        at_zero = "the output is off" if report.is_at_zero else "NO STATUS CONFIRMS ZERO"
        complain(f"{reason}: {at_zero}")
        return INTERRUPTED
    if not report.is_at_zero:
        raise DeviceFault("no Status confirms zero at the end: the lease must end the output")
    if report.refusal is not None:
        raise report.refusal
    return 0 if report.conforms else FAILED


class _Held:
    """End unless whoever started this keeps writing to standard input."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._clock = SystemClock()
        self._heard_us = self._clock.now_us()
        self._let_go = ""

    def reason(self) -> str:
        """Return why to end, '' for not."""
        stream = sys.stdin.fileno()
        while not self._let_go and select.select([stream], [], [], 0)[0]:
            if not os.read(stream, 4096):
                self._let_go = "whoever started this has gone"
            self._heard_us = self._clock.now_us()
        if not self._let_go and self._clock.now_us() - self._heard_us > HELD_US:
            self._let_go = "whoever started this stood still"
        return self._interruption.reason() or self._let_go


class _Teller:
    """Say each finding as it comes."""

    def __init__(self, chosen: Sequence[Requirement], *, is_json: bool) -> None:
        self._is_json = is_json
        if is_json:
            self._line("begin", total=len(chosen))

    def tell(self, finding: Finding, number: int, total: int) -> None:
        """Take a finding."""
        if self._is_json:
            self._line("check", number=number, total=total, **finding_document(finding))
            return
        for line in finding_lines(finding):
            say(line)
        sys.stdout.flush()

    def _line(self, event: str, **fields: object) -> None:
        say_json(SCHEMA, event=event, **fields)
        sys.stdout.flush()


def _end(report: Report, arguments: Namespace) -> None:
    if arguments.json:
        say_json(SCHEMA, event="result", **report_document(report))
    else:
        for line in summary_lines(report):
            say(line)
    if arguments.junit:
        junit.write(arguments.junit, "estim conformance", cases(report))


def _list(chosen: Sequence[Requirement], *, is_json: bool) -> None:
    for requirement in chosen:
        document = requirement_document(requirement)
        if is_json:
            say_json(SCHEMA, **document)
        else:
            say(f"{document['id']:<29} {document['requirement']} [{document['rule']}]")


def _instruct(text: str) -> None:
    print(f"estim: {sanitize(text)}", file=sys.stderr, flush=True)


def _with_capture(arguments: Namespace, bench_ohm: int, folder: Path) -> tuple[str, Capture | None]:
    """Return the URL to open and the capture to read: the simulator writes its own."""
    url: str = arguments.device
    if arguments.scope:
        if arguments.capture:
            raise UsageError("--scope and --capture: expected one of them")
        if not Path(arguments.scope).parent.is_dir():
            raise UsageError(f"--scope {arguments.scope}: there is no such folder")
        return url, None
    if not url.startswith(_SIMULATOR):
        if not arguments.capture:
            return url, None
        capture = Capture(Path(arguments.capture))
        capture.check()
        return url, capture
    plain, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    trace = Path(arguments.capture or options.get("trace") or folder / "trace.csv").absolute()
    options = {"load": str(bench_ohm)} | options | {"trace": str(trace)}
    return f"{plain}?{urlencode(options, safe='/')}", Capture(trace)
