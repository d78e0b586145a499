"""`estim run`: one stimulation without a person at the keys, on the bench."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from argparse import Namespace
from pathlib import Path
from typing import Any

from estim import api
from estim.errors import DeviceFault, EstimError, LimitRefused, UsageError
from estim.prepare import places
from estim.prepare.session import Prepared
from estim.profile.library import find
from estim.profile.loader import LoadedProfile
from estim.record import station_key
from estim.record.verify import verify
from estim.session.messages import Notice, Reply, Snapshot
from estim.session.states import HostState
from estim.text import sanitize
from estim.units import format_clock, format_ma, parse_ma

SCHEMA = "estim.run/1"
DEMO_PROFILE = "dpn-conventional"
DEMO_OHM = 500
DEMO_DURATION_S = 60
DEMO_MA = 12
INTERRUPTED = 130
_PROGRESS_US = 1_000_000

_CLINICAL_MISSING = (
    "a clinical session is refused: screening, consent, a sensation test and a named operator are "
    "missing, and this version cannot take them; on a dummy load with nobody connected, add "
    "--bench OHM"
)


class _Interruption:
    """Remember the first signal that asks to end."""

    def __init__(self) -> None:
        self.name = ""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._take)

    def _take(self, number: int, frame: object) -> None:
        self.name = signal.Signals(number).name

    def is_wanted(self) -> bool:
        """Tell whether the session shall end."""
        return bool(self.name)


class _Teller:
    """Say what goes on: JSON lines on standard output, or words and progress on standard error."""

    def __init__(self, is_json: bool) -> None:
        self._is_json = is_json
        self._shows_progress = not is_json and sys.stderr.isatty()
        self._told_us = 0

    def event(self, name: str, **fields: Any) -> None:
        """Write one JSON line, flushed: an output that does not flow must hold the heartbeat up."""
        if self._is_json:
            print(json.dumps({"schema": SCHEMA, "event": name, **fields}), flush=True)

    def say(self, text: str) -> None:
        """Write one line for people."""
        if not self._is_json:
            print(sanitize(text), file=sys.stderr, flush=True)

    def reply(self, reply: Reply) -> None:
        """Take everything that the engine says."""
        if isinstance(reply, Notice):
            blame = reply.blame.value if reply.blame else None
            self.event(
                "notice",
                severity=reply.severity.value,
                text=reply.text,
                remedy=reply.remedy,
                blame=blame,
            )
            remedy = f" ({reply.remedy})" if reply.remedy else ""
            self.say(f"{reply.severity.value}: {reply.text}{remedy}")
        elif isinstance(reply, Snapshot) and reply.at_us - self._told_us >= _PROGRESS_US:
            self._told_us = reply.at_us
            self._progress(reply)

    def _progress(self, shown: Snapshot) -> None:
        self.event(
            "progress",
            state=shown.state.value,
            plateau_ms=shown.plateau_ms,
            delivered_ms=shown.delivered_ms,
            setpoints_ua=[channel.setpoint_ua for channel in shown.channels],
            measured_ua=[channel.measured_ua for channel in shown.channels],
        )
        if self._shows_progress:
            amplitudes = " ".join(format_ma(channel.shown_ua) for channel in shown.channels)
            done, whole = shown.plateau_ms // 1000, shown.duration_ms // 1000
            clock = f"{format_clock(done)} of {format_clock(whole)}"
            line = f"{shown.state.value:12} {clock}  {amplitudes} mA"
            print(f"\r{line:70}", end="", file=sys.stderr, flush=True)

    def end_progress(self) -> None:
        """Leave the progress line standing."""
        if self._shows_progress:
            print(file=sys.stderr)


def run(arguments: Namespace) -> int:
    """Run one stimulation as the command line asks; return the exit code."""
    loaded = find(arguments.profile)
    if arguments.bench is None:
        raise LimitRefused(_CLINICAL_MISSING)
    bench_ohm = _bench_ohm(arguments.bench)
    targets_ua = _targets_ua(arguments.amplitude or [], len(loaded.profile.channels))
    duration_s = _whole("--duration", arguments.duration, 86_400)
    seed = _whole("--seed", arguments.seed, 2**32 - 1)
    is_virtual = arguments.clock == "virtual"
    url = arguments.device
    if url.startswith("sim:"):
        options = {} if "load=" in url else {"load": str(bench_ohm)}
        if arguments.trace:
            options["trace"] = str(Path(arguments.trace).absolute())
        url = api.simulator_url(url, options)
    elif arguments.trace:
        raise UsageError("--trace is written by the simulator: it goes with --device sim:")
    records = Path(arguments.records) if arguments.records else places.records_folder()
    teller = _Teller(arguments.json)
    interruption = _Interruption()
    with api.open(
        url,
        bench_ohm=bench_ohm,
        is_virtual=is_virtual,
        seed=seed,
        records=records,
        on_reply=teller.reply,
    ) as stimulator:
        try:
            result, prepared = _deliver(
                stimulator, loaded, targets_ua, duration_s, teller, interruption
            )
        except EstimError as error:
            teller.end_progress()
            _write_junit(arguments.junit, loaded, str(error), error.exit_code, None)
            teller.event("error", text=str(error), exit_code=error.exit_code)
            if interruption.is_wanted():
                return INTERRUPTED
            raise
    teller.end_progress()
    code = _exit_code(result, interruption)
    summary = _summary(result, prepared, interruption)
    teller.event("result", exit_code=code, **summary)
    if not arguments.json:
        _print_summary(summary)
    failure = "" if code == 0 else str(summary["end"])
    _write_junit(arguments.junit, loaded, failure, code, summary)
    return code


def demo() -> int:
    """Run the demo session on the virtual clock: what `estim` does without a terminal."""
    print(
        f"Demo: {DEMO_PROFILE}, {DEMO_MA} mA on both channels for {DEMO_DURATION_S} s, "
        f"simulator with {DEMO_OHM} ohm, virtual clock. Not a certified medical device.",
        flush=True,
    )
    return run(
        Namespace(
            profile=DEMO_PROFILE,
            device="sim:",
            amplitude=[f"1={DEMO_MA}", f"2={DEMO_MA}"],
            duration=str(DEMO_DURATION_S),
            clock="virtual",
            seed=None,
            bench=str(DEMO_OHM),
            json=False,
            junit=None,
            records=None,
            trace=None,
        )
    )


def _deliver(
    stimulator: api.Stimulator,
    loaded: LoadedProfile,
    targets_ua: tuple[int, ...],
    duration_s: int | None,
    teller: _Teller,
    interruption: _Interruption,
) -> tuple[api.Result, Prepared]:
    prepared = stimulator.prepare(loaded, duration_s=duration_s)
    for line in prepared.ceilings:
        asked_ua = targets_ua[line.channel - 1]
        if asked_ua > line.ceiling_ua:
            reasons = "; ".join(str(reason) for reason in line.reasons)
            raise LimitRefused(
                f"channel {line.channel}: {format_ma(asked_ua)} mA asked, at most "
                f"{line.ceiling_ua / 1000:g} mA possible ({reasons})"
            )
    device = stimulator.snapshot.device if stimulator.snapshot else None
    teller.event(
        "prepared",
        device=device.serial_number if device else "",
        model=device.model if device else "",
        profile=loaded.profile.id,
        sha256=loaded.sha256,
        program_digest=f"{prepared.program.digest:08x}",
        ceilings_ua=[line.ceiling_ua for line in prepared.ceilings],
    )
    if interruption.is_wanted():
        raise DeviceFault("interrupted before output began")
    stimulator.arm()
    stimulator.start()
    stimulator.set_targets_ua(targets_ua)
    return stimulator.wait_until_finished(interruption.is_wanted), prepared


def _exit_code(result: api.Result, interruption: _Interruption) -> int:
    if interruption.is_wanted():
        return INTERRUPTED
    if result.fault or result.end_state is not HostState.READY:
        return DeviceFault.exit_code
    return 0


def _summary(result: api.Result, prepared: Prepared, interruption: _Interruption) -> dict[str, Any]:
    key = station_key.load(places.configuration_folder())
    verification = verify(Path(result.record_path), key) if result.record_path else None
    end = result.fault or (
        f"interrupted by {interruption.name}" if interruption.name else "finished"
    )
    wanted_ms = prepared.settings.duration_s * 1000
    if end == "finished" and result.plateau_ms < wanted_ms:
        end = "stopped before the duration was reached"
    return {
        "end": end,
        "rise_s": result.rise_ms / 1000,
        "plateau_s": result.plateau_ms / 1000,
        "total_s": result.delivered_ms / 1000,
        "pulses": {str(n): count for n, count in enumerate(result.pulse_counts, start=1)},
        "record": result.record_path,
        "head": verification.head if verification else "",
        "record_verifies": bool(verification and verification.is_ok),
    }


def _print_summary(summary: dict[str, Any]) -> None:
    pulses = ", ".join(f"channel {number}: {count}" for number, count in summary["pulses"].items())
    verifies = "verifies" if summary["record_verifies"] else "DOES NOT VERIFY"
    print(f"End:      {sanitize(summary['end'])}")
    print(
        f"Output:   {summary['total_s']:.1f} s in all: rise {summary['rise_s']:.1f} s, "
        f"plateau {summary['plateau_s']:.1f} s, the rest ramp down"
    )
    print(f"Pulses:   {pulses}")
    print(f"Record:   {summary['record']} ({verifies})")
    print(f"Head:     {summary['head']}", flush=True)


def _targets_ua(texts: list[str], channel_count: int) -> tuple[int, ...]:
    if not texts:
        raise UsageError("--amplitude: expected at least one CH=MA, for example 1=12")
    targets = [0] * channel_count
    seen = set()
    for text in texts:
        channel_text, separator, amplitude_text = text.partition("=")
        is_number = channel_text.isascii() and channel_text.isdigit() and len(channel_text) < 4
        if not separator or not is_number or not 1 <= int(channel_text) <= channel_count:
            raise UsageError(
                f"--amplitude {sanitize(text)}: expected CH=MA, channels 1 to {channel_count}"
            )
        channel = int(channel_text)
        if channel in seen:
            raise UsageError(f"--amplitude: channel {channel} is given twice")
        seen.add(channel)
        try:
            targets[channel - 1] = parse_ma(amplitude_text)
        except ValueError as error:
            raise UsageError(f"--amplitude: {sanitize(str(error))}") from None
    if not any(targets):
        raise UsageError("--amplitude: every target is zero")
    return tuple(targets)


def _bench_ohm(text: str) -> int:
    ohm = _whole("--bench", text, 1_000_000)
    if not ohm:
        raise UsageError("--bench: expected the dummy load in ohms, for example 500")
    return ohm


def _whole(flag: str, text: str | None, highest: int) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= highest):
        raise UsageError(f"{flag} {sanitize(text)}: expected a whole number up to {highest}")
    return int(text)


def _write_junit(
    path: str | None, loaded: LoadedProfile, failure: str, code: int, summary: dict[str, Any] | None
) -> None:
    """Write one test case: the session."""
    if path is None:
        return
    failed = "1" if code else "0"
    suite = ElementTree.Element("testsuite", name="estim run", tests="1", failures=failed)
    seconds = f"{summary['total_s']:.3f}" if summary else "0"
    case = ElementTree.SubElement(
        suite, "testcase", classname="estim.run", name=loaded.profile.id, time=seconds
    )
    properties = ElementTree.SubElement(case, "properties")
    for name, content in (("profile_sha256", loaded.sha256), *(summary or {}).items()):
        ElementTree.SubElement(properties, "property", name=name, value=str(content))
    if code:
        element = ElementTree.SubElement(case, "failure", message=sanitize(failure))
        element.text = f"exit code {code}"
    document = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    target = Path(path)
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            file.write(document)
        Path(file.name).replace(target)
    except OSError as error:
        raise UsageError(f"--junit {path}: {error.strerror}") from None
