"""A stimulator's data sheet: what leaves it at 500 ohm, 2 kohm and 10 kohm.

Rules:
1. On the bench alone, and only after it was said that nobody is connected.
2. Each figure says where it comes from: a capture, or the device's own word.
3. Where the compliance voltage ends the amplitude, that is a result, not a failure; higher
   amplitudes at that load are not tried.

The quantities are those of 21 CFR 882.5891 (read in a public copy): voltage and current at the
three loads, duration, rate, net charge, and at 500 ohm the largest phase charge, RMS density,
average current and power density; and how impedance is watched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from estim import api
from estim.clock import Clock
from estim.errors import UsageError
from estim.prepare.session import Prepared
from estim.profile.loader import LoadedProfile
from estim.rig.captures.capture import ReadOptions
from estim.rig.jobs.delivery import Bench, Delivered, Interrupted, deliver, identify
from estim.rig.jobs.scope import UV_PER_MV
from estim.rig.jobs.steps import Step
from estim.rig.jobs.taking import CaptureFolder, cut_trace
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.instrument import Instrument
from estim.rig.measuring.measurement import Settings, measure
from estim.rig.measuring.one_pulse import Curve, one_pulse
from estim.rig.measuring.result import Result
from estim.session.messages import DeviceSnapshot
from estim.units import UA_PER_MA

SCHEMA = "estim.characterisation/1"
LOADS_OHM = (500, 2_000, 10_000)
STATED_OHM = 500
"""The load at which charge, densities and average are stated."""
AREAS_CM2 = (Decimal(8), Decimal(16), Decimal(25), Decimal(50))
"""Round of 3.2 cm, 4 x 4, 5 x 5 and 5 x 10 cm."""
SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Of the profile's ceiling, where no amplitude is asked for."""
DWELL_S = 2
LOAD_TOLERANCE_PERCENT = 10
CAPTURE_WAIT_S = 60
TRACE, CAPTURE, DEVICE = "trace of the simulator", "capture", "the device's own report"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to characterise.

    Attributes:
        loaded: the profile that is played.
        channel: from 1.
        amplitudes_ua: rising; empty for shares of the ceiling.
        areas_cm2: of electrodes, for the densities.
        captures: folder of captures; None for the trace or the device's own word.
        instrument: what takes the captures.
        today: for the instrument's calibration.
    """

    loaded: LoadedProfile
    channel: int
    amplitudes_ua: tuple[int, ...]
    areas_cm2: tuple[Decimal, ...]
    captures: Path | None
    instrument: Instrument | None
    today: date


@dataclass(frozen=True, slots=True)
class Point:
    """One amplitude at one load.

    Attributes:
        load_ohm, amplitude_ua: what was asked for.
        delivered: what the device said.
        result: what a capture says; None where the device's word is all there is.
        pulse: one captured pulse.
    """

    load_ohm: int
    amplitude_ua: int
    delivered: Delivered
    result: Result | None = None
    pulse: Curve = ((), ())

    @property
    def is_cut_short(self) -> bool:
        """Tell whether the device switched the channel off."""
        return bool(self.delivered.lead_off)

    @property
    def measured_ua(self) -> float | None:
        """Return the measured amplitude; None where nobody knows it."""
        if self.is_cut_short:
            return None
        if self.result is not None:
            figures = _figures(self.result, "amplitude")
            return max(map(abs, figures)) if figures else None
        measured_ua = self.delivered.measured_ua
        return float(measured_ua) if measured_ua >= 0 else None


@dataclass
class Characterisation:
    """Walk loads and amplitudes.

    Attributes:
        bench: the device.
        wanted: what to characterise.
        clock: the station's.
        say: one line for people.
        set_load: has a load set, and returns once it is.
    """

    bench: Bench
    wanted: Wanted
    clock: Clock
    say: Callable[[str], None]
    set_load: Callable[[int], None]

    def run(self, loads_ohm: Sequence[int]) -> dict[str, Any]:
        """Return the sheet as a document, with the waveforms that pictures are drawn from.

        Raises:
            Interrupted: somebody asked to end; the output is zero.
            EstimError: something was refused or failed.
        """
        device: DeviceSnapshot | None = None
        points: list[Point] = []
        for load_ohm in loads_ohm:
            self.set_load(load_ohm)
            device, prepared = identify(self._at(load_ohm), self.wanted.loaded, load_ohm, DWELL_S)
            points += self._walk_load(load_ohm, prepared)
        if device is None:
            raise UsageError("no load was named")
        return _sheet(self.wanted, device, prepared, points)

    def _walk_load(self, load_ohm: int, prepared: Prepared) -> list[Point]:
        points: list[Point] = []
        for amplitude_ua in self.wanted.amplitudes_ua or _default_amplitudes(
            prepared, self.wanted.channel
        ):
            if self.bench.stop_reason():
                raise Interrupted
            point = self._take(load_ohm, amplitude_ua, prepared)
            points.append(point)
            self.say(_point_words(point))
            if point.is_cut_short:
                break
        return points

    def _take(self, load_ohm: int, amplitude_ua: int, prepared: Prepared) -> Point:
        wanted = self.wanted
        channel = prepared.program.channels[wanted.channel - 1]
        if self.bench.url.startswith("sim:"):
            with tempfile.TemporaryDirectory(prefix="estim-") as folder:
                trace, cut = Path(folder) / "whole.csv", Path(folder) / "trace.csv"
                delivered = self._deliver(load_ohm, amplitude_ua, trace)
                if delivered.lead_off:
                    return Point(load_ohm, amplitude_ua, delivered)
                cut_trace(trace, cut, channel, wanted.channel, delivered.plateau_us)
                return self._measure(cut, prepared, load_ohm, delivered, amplitude_ua)
        if wanted.captures is None:
            delivered = self._deliver(load_ohm, amplitude_ua)
            return Point(load_ohm, amplitude_ua, delivered)
        folder_of = CaptureFolder(wanted.captures, self.clock)
        step = Step(1, load_ohm, wanted.loaded, wanted.channel, amplitude_ua)
        waiting = folder_of.begin(step)
        delivered = self._deliver(load_ohm, amplitude_ua)
        if delivered.lead_off:
            return Point(load_ohm, amplitude_ua, delivered)
        path = folder_of.wait(waiting, frozenset(), CAPTURE_WAIT_S, self.bench.stop_reason)
        if path is None and self.bench.stop_reason():
            raise Interrupted
        if path is None:
            raise UsageError(f"no capture of {step.words} came to {wanted.captures}")
        return self._measure(path, prepared, load_ohm, delivered, amplitude_ua)

    def _deliver(self, load_ohm: int, amplitude_ua: int, trace: Path | None = None) -> Delivered:
        delivered, _ = deliver(
            self._at(load_ohm, trace),
            self.wanted.loaded,
            self.wanted.channel - 1,
            amplitude_ua,
            load_ohm=load_ohm,
            dwell_s=DWELL_S,
            load_tolerance_percent=LOAD_TOLERANCE_PERCENT,
        )
        return delivered

    def _measure(
        self,
        path: Path,
        prepared: Prepared,
        load_ohm: int,
        delivered: Delivered,
        amplitude_ua: int,
    ) -> Point:
        expected = Expected.of(prepared, self.wanted.channel - 1, amplitude_ua)
        read = ReadOptions(load_ohm=load_ohm, channel=self.wanted.channel)
        settings = Settings(read=read, instrument=self.wanted.instrument, today=self.wanted.today)
        result = measure(path, expected, settings)
        longest_us = max(expected.channel.pulse_us(s.unit_us) for s in expected.channel.settings)
        pulse = one_pulse(path, read, longest_us, amplitude_ua)
        return Point(load_ohm, amplitude_ua, delivered, result, pulse)

    def _at(self, load_ohm: int, trace: Path | None = None) -> Bench:
        bench = self.bench
        if not bench.url.startswith("sim:"):
            return bench
        options = {} if "load=" in bench.url else {"load": str(load_ohm)}
        if trace is not None:
            options["trace"] = str(trace)
        url = api.simulator_url(bench.url, options)
        return replace(bench, url=url)


def _default_amplitudes(prepared: Prepared, channel: int) -> tuple[int, ...]:
    """Return shares of the ceiling, on the device's grid."""
    ceiling_ua = prepared.ceilings[channel - 1].ceiling_ua
    played = prepared.program.channels[channel - 1]
    step_ua = prepared.bounds.amplitude_step_ua
    shares = (played.deliverable_ua(int(ceiling_ua * share), step_ua) for share in SHARES)
    return tuple(sorted({amplitude_ua for amplitude_ua in shares if amplitude_ua > 0}))


def _figures(result: Result, name: str) -> list[float]:
    """Return every measured figure of a name, of one phase or of several."""
    return [
        check.measured
        for check in result.checks
        if check.name.split(".")[0] == name and check.measured is not None
    ]


def _largest(result: Result | None, name: str) -> float | None:
    found = _figures(result, name) if result is not None else []
    return max(found, key=abs) if found else None


# The sheet.


def _sheet(
    wanted: Wanted, device: DeviceSnapshot, prepared: Prepared, points: Sequence[Point]
) -> dict[str, Any]:
    loads = sorted({point.load_ohm for point in points})
    profile = wanted.loaded.profile
    return {
        "schema": SCHEMA,
        "device": {
            "model": device.model,
            "serial_number": device.serial_number,
            "firmware_version": device.firmware_version,
            "compliance_mv": device.capabilities["compliance_mv"],
            "amplitude_max_ua": device.amplitude_max_ua,
            "amplitude_step_ua": device.amplitude_step_ua,
        },
        "impedance_monitor": "reports V/I at the end of the first phase of a pulse, and switches "
        "the channel off above its lead-off limit or at its compliance voltage",
        "profile": {
            "id": profile.id, "version": profile.version, "sha256": wanted.loaded.sha256
        },
        "channel": wanted.channel,
        "instrument": wanted.instrument.document() if wanted.instrument else None,
        "loads": [_load_row([p for p in points if p.load_ohm == load_ohm]) for load_ohm in loads],
        "stated": _stated(points, wanted.areas_cm2),
        "waveforms": _waveforms(points),
        "disclaimer": "Estim is not a certified medical device.",
    }  # fmt: skip


def _load_row(points: Sequence[Point]) -> dict[str, Any]:
    load_ohm = points[0].load_ohm
    done = [point for point in points if point.measured_ua is not None]
    cut = next((point for point in points if point.is_cut_short), None)
    return {
        "load_ohm": load_ohm,
        "points": [_point_row(point) for point in points],
        "linearity": _linearity(done),
        "compliance": None
        if cut is None
        else {
            "asked_ua": cut.amplitude_ua,
            "reached_ua": cut.delivered.reached_ua,
            "is_by_voltage": cut.delivered.is_compliance_reached,
            "voltage_mv": cut.delivered.reached_ua * load_ohm // UV_PER_MV,
        },
    }


def _point_row(point: Point) -> dict[str, Any]:
    result, measured_ua = point.result, point.measured_ua
    return {
        "commanded_ua": point.amplitude_ua,
        "measured_ua": measured_ua,
        "peak_mv": None if measured_ua is None else measured_ua * point.load_ohm / UV_PER_MV,
        "device_ua": point.delivered.measured_ua if point.delivered.measured_ua >= 0 else None,
        "device_load_ohm": point.delivered.load_ohm or None,
        "phase_duration_us": _largest(result, "phase_duration"),
        "pulse_rate_hz": _largest(result, "pulse_rate"),
        "phase_charge_pc": _largest(result, "charge"),
        "net_charge_pc": _largest(result, "net_charge"),
        "rms_ua": _largest(result, "rms"),
        "average_ua": _largest(result, "average"),
        "from": _origin(point),
        "unknowns": list(result.unknowns) if result is not None else [],
    }


def _origin(point: Point) -> str:
    if point.result is None:
        return DEVICE
    return TRACE if point.result.capture.sample_rate_hz is None else CAPTURE


def _linearity(points: Sequence[Point]) -> dict[str, float] | None:
    """Fit measured = gain x commanded + offset; None with fewer than two points."""
    if len(points) < 2:
        return None
    commanded = np.array([point.amplitude_ua for point in points], np.float64)
    measured = np.array([point.measured_ua for point in points], np.float64)
    gain, offset_ua = np.polyfit(commanded, measured, 1)
    residual_ua = np.abs(measured - (gain * commanded + offset_ua)).max()
    deviation = np.abs(measured - commanded) / commanded
    return {
        "gain": round(float(gain), 6),
        "offset_ua": round(float(offset_ua), 3),
        "largest_residual_ua": round(float(residual_ua), 3),
        "largest_deviation_percent": round(float(deviation.max()) * 100, 4),
    }


def _stated(points: Sequence[Point], areas_cm2: Sequence[Decimal]) -> dict[str, Any] | None:
    """Return charge, densities and average at 500 ohm, at the highest amplitude that was done."""
    done = [p for p in points if p.load_ohm == STATED_OHM and p.result and not p.is_cut_short]
    if not done:
        return None
    top = max(done, key=lambda point: point.amplitude_ua)
    rms_ua = _largest(top.result, "rms")
    return {
        "load_ohm": STATED_OHM,
        "amplitude_ua": top.amplitude_ua,
        "phase_charge_pc": _largest(top.result, "charge"),
        "net_charge_pc": _largest(top.result, "net_charge"),
        "average_ua": _largest(top.result, "average"),
        "rms_ua": rms_ua,
        "areas": [
            {
                "area_cm2": float(area_cm2),
                "rms_density_ua_per_cm2": rms_ua / float(area_cm2),
                # uA2 x ohm = 1e-12 W = 1e-6 uW
                "power_density_uw_per_cm2": rms_ua**2 * STATED_OHM * 1e-6 / float(area_cm2),
            }
            for area_cm2 in areas_cm2
        ]
        if rms_ua is not None
        else [],
    }


def _waveforms(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return one captured pulse of each load, at the highest amplitude that was done."""
    found = {point.load_ohm: point for point in points if point.pulse[0]}
    return [
        {
            "load_ohm": load_ohm,
            "amplitude_ua": point.amplitude_ua,
            "times_us": [round(time_us, 3) for time_us in point.pulse[0]],
            "current_ua": [round(current_ua, 3) for current_ua in point.pulse[1]],
        }
        for load_ohm, point in sorted(found.items())
    ]


def _point_words(point: Point) -> str:
    asked = f"{point.load_ohm} ohm, {point.amplitude_ua / UA_PER_MA:g} mA"
    if point.is_cut_short:
        reached = f"{point.delivered.reached_ua / UA_PER_MA:.4g} mA"
        why = "compliance voltage reached" if point.delivered.is_compliance_reached else "cut off"
        return f"{asked}: {why} at {reached}"
    if point.measured_ua is None:
        return f"{asked}: delivered, not measured"
    return f"{asked}: {point.measured_ua / UA_PER_MA:.4g} mA ({_origin(point)})"
