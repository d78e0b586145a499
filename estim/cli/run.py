"""`estim run`: one stimulation without a person at the keys, on the bench."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from estim import api
from estim.cli.arguments import area_cm2 as read_area_cm2
from estim.cli.arguments import targets_ua as read_targets_ua
from estim.cli.arguments import whole
from estim.cli.interruption import Interruption
from estim.errors import DeviceFault, EstimError, LimitRefused, RecordError, UsageError
from estim.prepare import places
from estim.prepare.session import Prepared, check_targets
from estim.priority import NICE, ask_for_priority
from estim.profile.library import find
from estim.profile.loader import LoadedProfile
from estim.record import station_key
from estim.record.verify import Verification, verify
from estim.rig.reports import junit
from estim.session.messages import Notice, Reply, Severity, Snapshot
from estim.session.states import HostState
from estim.text import sanitize
from estim.units import format_clock, format_ma

SCHEMA = "estim.run/1"
DEMO_PROFILE = "dpn-conventional"
DEMO_OHM = 500
DEMO_DURATION_S = 60
DEMO_MA = 12
INTERRUPTED = 130
BENCH_OHM_MAX = 1_000_000
DURATION_MAX_S = 86_400
SEED_MAX = 2**32 - 1
_PROGRESS_US = 1_000_000

_CLINICAL_MISSING = (
    "a clinical session is refused: screening, consent, a sensation test and a named operator are "
    "missing; it needs the guided visit of the terminal interface, which `estim` opens; on a dummy "
    "load with nobody connected, add --bench OHM"
)


class _Teller:
    """Say what goes on: JSON lines on standard output, or words and progress on standard error."""

    def __init__(self, is_json: bool) -> None:
        self.alarm = ""
        self._is_json = is_json
        self._shows_progress = not is_json and sys.stderr.isatty()
        self._told_us = 0
        self._is_prepared = False
        self._is_mute = False

    def event(self, name: str, **fields: Any) -> None:
        """Write one JSON line."""
        self._is_prepared |= name == "prepared"
        if self._is_json:
            self._write(sys.stdout, json.dumps({"schema": SCHEMA, "event": name, **fields}) + "\n")

    def say(self, text: str) -> None:
        """Write one line for people."""
        if not self._is_json:
            self._write(sys.stderr, sanitize(text) + "\n")

    def reply(self, reply: Reply) -> None:
        """Take everything that the engine says."""
        if isinstance(reply, Notice):
            if reply.severity is Severity.ALARM:
                self.alarm = reply.text
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
        elif not self._is_prepared or not isinstance(reply, Snapshot):
            return  # nothing progresses yet
        elif reply.at_us - self._told_us >= _PROGRESS_US:
            self._told_us = reply.at_us
            self._progress(reply)

    def _progress(self, shown: Snapshot) -> None:
        self.event(
            "progress",
            state=shown.state.value,
            plateau_ms=shown.plateau_ms,
            delivered_ms=shown.delivered_ms,
            setpoints_ua=[channel.setpoint_ua for channel in shown.channels],
            measured_ua=[
                None if channel.measured_ua < 0 else channel.measured_ua
                for channel in shown.channels
            ],
        )
        if self._shows_progress:
            amplitudes = " ".join(format_ma(channel.shown_ua) for channel in shown.channels)
            done_s, all_s = shown.plateau_ms // 1000, shown.duration_ms // 1000
            clock = f"{format_clock(done_s)} of {format_clock(all_s)}"
            line = f"{shown.state.value:12} {clock}  {amplitudes} mA"
            self._write(sys.stderr, f"\r{line:70}")

    def end_progress(self) -> None:
        """Leave the progress line standing."""
        if self._shows_progress:
            self._write(sys.stderr, "\n")

    def _write(self, stream: TextIO, text: str) -> None:
        """Write and flush: an output that does not flow must hold the heartbeat up.

        One that is gone ends the session with its OSError, and nothing more is written.
        """
        if self._is_mute:
            return
        try:
            print(text, end="", file=stream, flush=True)
        except OSError:
            self._is_mute = True
            raise


def run(arguments: Namespace) -> int:
    """Run one stimulation as the command line asks; return the exit code."""
    loaded = find(arguments.profile)
    if arguments.bench is None:
        raise LimitRefused(_CLINICAL_MISSING)
    bench_ohm = whole("--bench", arguments.bench, 1, BENCH_OHM_MAX)
    records = Path(arguments.records) if arguments.records else places.records_folder()
    if arguments.plain:
        from estim.cli import plain

        return plain.run(arguments, loaded, bench_ohm, _url(arguments, bench_ohm), records)
    targets_ua = read_targets_ua(arguments.amplitude or [], len(loaded.profile.channels))
    if not any(targets_ua):
        raise UsageError("--amplitude: expected a target above zero, for example 1=12")
    area_cm2 = read_area_cm2(arguments.area, loaded.profile)
    duration_s = duration_of(arguments)
    seed = arguments.seed and whole("--seed", arguments.seed, 0, SEED_MAX)
    url = _url(arguments, bench_ohm)
    junit.check_folder(arguments.junit)
    teller = _Teller(arguments.json)
    if arguments.clock == "real":
        ask_for_priority(NICE)
    with Interruption() as interruption:
        try:
            with api.open(
                url,
                bench_ohm=bench_ohm,
                is_virtual=arguments.clock == "virtual",
                seed=seed,
                records=records,
                on_reply=teller.reply,
            ) as stimulator:
                result, prepared = _deliver(
                    stimulator, loaded, targets_ua, duration_s, area_cm2, teller, interruption
                )
            teller.end_progress()
            summary = _summary(result, prepared, interruption, teller.alarm)
            code: int = summary["exit_code"]
            teller.event("result", **summary)
            if not arguments.json:
                _print_summary(summary)
            _write_junit(arguments.junit, loaded, str(summary["end"]), code, summary)
            return code
        except EstimError as error:
            code = INTERRUPTED if interruption.name else error.exit_code
            teller.end_progress()
            teller.event("error", text=str(error), exit_code=code, blame=error.blame or None)
            _write_junit(arguments.junit, loaded, str(error), code, None)
            if interruption.name:
                return INTERRUPTED
            raise
        except OSError:
            if interruption.name:  # a terminal that vanished takes the output with it
                return INTERRUPTED
            raise


def duration_of(arguments: Namespace) -> int | None:
    """Return --duration in seconds, None where it was not given."""
    if not arguments.duration:
        return None
    return whole("--duration", arguments.duration, 1, DURATION_MAX_S)


def _url(arguments: Namespace, bench_ohm: int) -> str:
    """Return the device's URL with what the simulator must know."""
    url: str = arguments.device
    if not url.startswith("sim:"):
        if arguments.trace:
            raise UsageError("--trace is written by the simulator: it goes with --device sim:")
        return url
    options = {} if "load=" in url else {"load": str(bench_ohm)}
    if arguments.trace:
        options["trace"] = str(Path(arguments.trace).absolute())
    return api.simulator_url(url, options)


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
            area=None,
            json=False,
            junit=None,
            plain=False,
            records=None,
            trace=None,
        )
    )


def _deliver(
    stimulator: api.Stimulator,
    loaded: LoadedProfile,
    targets_ua: tuple[int, ...],
    duration_s: int | None,
    area_cm2: Decimal | None,
    teller: _Teller,
    interruption: Interruption,
) -> tuple[api.Result, Prepared]:
    prepared = stimulator.prepare(loaded, duration_s=duration_s, electrode_area_cm2=area_cm2)
    check_targets(prepared, targets_ua)  # before anything is armed
    device = stimulator.snapshot.device if stimulator.snapshot else None
    if device is not None and device.caution:
        teller.say(f"warning: {device.caution}")
    standing = stimulator.standing
    if standing is not None and not standing.is_for_people:
        teller.say(f"warning: device {standing.serial_number}: {standing.words}")
    teller.event(
        "prepared",
        device=device.serial_number if device else "",
        model=device.model if device else "",
        residual_ms=device.residual_ms if device else None,
        caution=device.caution if device else "",
        station=standing.state.value if standing else None,
        profile=loaded.profile.id,
        sha256=loaded.sha256,
        program_digest=f"{prepared.program.digest:08x}",
        electrode_areas_mm2=[channel.electrode_area_mm2 for channel in prepared.bounds.channels],
        ceilings_ua=[line.ceiling_ua for line in prepared.ceilings],
    )
    for step in (stimulator.arm, stimulator.start, lambda: stimulator.set_targets_ua(targets_ua)):
        if interruption.name:
            raise DeviceFault("interrupted before output began")
        step()
    return stimulator.wait_until_finished(interruption.reason), prepared


def _summary(
    result: api.Result, prepared: Prepared, interruption: Interruption, alarm: str
) -> dict[str, Any]:
    verification = record_verification(result.record_path)
    is_sound = verification is not None and verification.is_ok
    is_whole = result.plateau_ms >= prepared.settings.duration_s * 1000
    if interruption.name:
        end, code = interruption.reason(), INTERRUPTED
    elif result.fault or result.end_state is not HostState.READY:
        end, code = result.fault or alarm or result.end_state.value, DeviceFault.exit_code
    elif not is_sound:
        end, code = alarm or "the record does not verify", RecordError.exit_code
    elif not is_whole:
        end, code = alarm or "stopped before the duration was reached", DeviceFault.exit_code
    else:
        end, code = "finished", 0
    return {
        "exit_code": code,
        "end": end,
        "rise_s": result.rise_ms / 1000,
        "plateau_s": result.plateau_ms / 1000,
        "total_s": result.delivered_ms / 1000,
        "pulses": {str(n): count for n, count in enumerate(result.pulse_counts, start=1)},
        "record": result.record_path,
        "head": verification.head if verification else "",
        "record_verifies": is_sound,
    }


def record_verification(record_path: str) -> Verification | None:
    """Check the record; None where there is none any more."""
    try:
        return verify(Path(record_path), station_key.load(places.configuration_folder()))
    except RecordError:
        return None


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


def _write_junit(
    path: str | None, loaded: LoadedProfile, failure: str, code: int, summary: dict[str, Any] | None
) -> None:
    """Write one test case: the session."""
    if path is None:
        return
    properties = tuple(
        (name, content if isinstance(content, str) else json.dumps(content))
        for name, content in (("profile_sha256", loaded.sha256), *(summary or {}).items())
    )
    case = junit.Case(
        classname="estim.run",
        name=loaded.profile.id,
        time_s=f"{summary['total_s']:.3f}" if summary else "0",
        properties=properties,
        failure=failure if code else "",
        detail=f"exit code {code}",
    )
    junit.write(path, "estim run", [case])
