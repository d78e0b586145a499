"""How far a figure may lie from what was commanded: two tables, each row with its source.

Rules:
1. A tolerance is relative + absolute + a share of the pulse period; all are added.
2. Two tables. `standard` is what public summaries say of IEC 60601-2-10 (width, rate and amplitude
   within 20 %), and what follows from it by arithmetic; the standard itself was not read. `project`
   is tight enough to see a device drift, and is the default.
3. Where the standard's summaries say nothing, both tables have the row of the project.
4. A measurement decides well only where its uncertainty is below half the tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from firmware_protocol.limits import Certainty


@dataclass(frozen=True, slots=True)
class Tolerance:
    """One row.

    Attributes:
        name: of the figure, without the number of its phase.
        unit: of the figure.
        relative: share of what was expected.
        absolute: in the figure's unit.
        periods: pulse periods, for times that only pulses show.
        why: what it separates.
        source: where it comes from.
        certainty: how sure it is.
    """

    name: str
    unit: str
    relative: float
    absolute: float
    why: str
    source: str
    certainty: Certainty
    periods: float = 0.0

    def allowed(self, expected: float, period: float = 0.0) -> float:
        """Return how far from `expected` a figure may lie; `period` is in the figure's unit."""
        return self.relative * abs(expected) + self.absolute + self.periods * period


_E = Certainty.ENGINEERING
_U = Certainty.UNCHECKED
_PROJECT = "proposal of this project"

_PROJECT_ROWS = (
    Tolerance(
        "amplitude", "uA", 0.025, 20,
        "half of 5 %: an instrument of up to 2 % still tells 0 from 5 %; 20 uA of zero error",
        _PROJECT, _E,
    ),
    Tolerance(
        "phase_duration", "us", 0.01, 1.0,
        "a timer's ratio is exact and its clock good to 0.5 %; one tick of 1 us", _PROJECT, _E,
    ),
    Tolerance("interphase_gap", "us", 0.05, 2.0, "switching takes some of it", _PROJECT, _E),
    Tolerance(
        "charge", "pC", 0.035, 2e4, "amplitude and phase duration together", _PROJECT, _E
    ),
    Tolerance(
        "net_charge", "pC", 0.0025, 0.0,
        "relative to the charge of a phase: half of 1 us in 200 us, the least that a device whose "
        "timer ticks in microseconds gets wrong", _PROJECT, _E,
    ),
    Tolerance("pulse_rate", "Hz", 0.01, 0.0, "a ceramic resonator and to spare", _PROJECT, _E),
    Tolerance("pulses_per_burst", "", 0.0, 0.0, "counted", _PROJECT, _E),
    Tolerance("burst_rate", "Hz", 0.01, 0.0, "a ceramic resonator and to spare", _PROJECT, _E),
    Tolerance(
        "ramp", "s", 0.05, 0.0, "pulses show where a ramp begins and ends", _PROJECT, _E, 2.0
    ),
    Tolerance(
        "on_time", "s", 0.02, 0.0, "pulses show where a plateau begins and ends", _PROJECT, _E, 2.0
    ),
    Tolerance(
        "off_time", "s", 0.02, 0.0, "pulses show where a silence begins and ends", _PROJECT, _E, 2.0
    ),
    Tolerance("modulation_cycle", "s", 0.01, 0.0, "as the pulse rate", _PROJECT, _E, 1.0),
    Tolerance(
        "modulation", "%", 0.0, 2.0, "share of pulses that do not follow the modulation",
        _PROJECT, _E,
    ),
    Tolerance(
        "after_trigger", "%", 0.0, 2.0,
        "share of pulses in the off time, as the device's trigger tells it; as the on time",
        _PROJECT, _E,
    ),
    Tolerance(
        "rise_time", "us", 0.0, 0.0,
        "at most a fifth of the shortest phase, or 20 us where that is less: the charge is then "
        "still that of a rectangle", _PROJECT, _E,
    ),
    Tolerance("overshoot", "%", 0.0, 10.0, "peaks hurt before they burn", _PROJECT, _E),
    Tolerance("rms", "uA", 0.035, 100, "amplitude, duration and rate together", _PROJECT, _E),
    Tolerance("average", "uA", 0.04, 20, "amplitude, duration and rate together", _PROJECT, _E),
    Tolerance(
        "dc", "uA", 0.0, 100, "direct current burns the skin",
        "FDA 2010 draft (never finalised), limited output: at most 100 uA", _U,
    ),
    Tolerance(
        "offset", "uA", 0.0, 100, "direct current burns the skin",
        "FDA 2010 draft (never finalised), limited output: at most 100 uA", _U,
    ),
    Tolerance(
        "jitter", "us", 0.005, 2.0,
        "relative to the pulse period: a timer jitters by microseconds, a busy computer by "
        "milliseconds", _PROJECT, _E,
    ),
    Tolerance("missing_pulses", "", 0.0, 0.0, "counted", _PROJECT, _E),
    Tolerance("extra_pulses", "", 0.0, 0.0, "counted", _PROJECT, _E),
    Tolerance("odd_pulses", "", 0.0, 0.0, "pulses of another shape, counted", _PROJECT, _E),
    Tolerance(
        "pulses_outside", "", 0.0, 0.0,
        "single pulses that are certainly outside of a tolerance, counted", _PROJECT, _E,
    ),
    Tolerance("polarity", "", 0.0, 0.0, "leads swapped", _PROJECT, _E),
    Tolerance(
        "samples", "", 0.0, 0.0, "fewer than its header states: the file was cut", _PROJECT, _E
    ),
    Tolerance("pulses", "", 0.0, 0.0, "nothing can be said of silence", _PROJECT, _E),
    Tolerance("profile", "", 0.0, 0.0, "another profile, unit or load", _PROJECT, _E),
)  # fmt: skip

_IEC = "IEC 60601-2-10 by public summaries: width, rate, amplitude within 20 %; not read"
_FOLLOWS = "follows from 20 % of amplitude, width and rate (IEC 60601-2-10 by public summaries)"
_STANDARD = {
    "amplitude": (0.20, 0.0, _IEC),
    "phase_duration": (0.20, 0.0, _IEC),
    "pulse_rate": (0.20, 0.0, _IEC),
    "burst_rate": (0.20, 0.0, _IEC),
    # 1.2 x 1.2 = 1.44, and for the RMS 1.2 x sqrt(1.2 x 1.2) = 1.44.
    "charge": (0.44, 0.0, _FOLLOWS),
    "rms": (0.44, 0.0, _FOLLOWS),
    # 1.2 x 1.2 x 1.2 = 1.728.
    "average": (0.728, 0.0, _FOLLOWS),
    # Two phases 20 % apart would differ by as much; the direct current is judged by its own row.
    "net_charge": (0.20, 0.0, _FOLLOWS),
}

PROJECT: Mapping[str, Tolerance] = {row.name: row for row in _PROJECT_ROWS}
STANDARD: Mapping[str, Tolerance] = {
    name: replace(
        row,
        relative=_STANDARD[name][0],
        absolute=_STANDARD[name][1],
        source=_STANDARD[name][2],
        certainty=_U,
    )
    if name in _STANDARD
    else row
    for name, row in PROJECT.items()
}
TABLES: Mapping[str, Mapping[str, Tolerance]] = {"project": PROJECT, "standard": STANDARD}

DRIFT_SHARE = 0.4
"""Share of a tolerance by which a figure may drift from an approved earlier result.

Less than half, so that a device seen to move is told before it leaves its tolerance.
"""
