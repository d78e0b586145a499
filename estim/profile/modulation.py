"""How a stimulus changes with time: one model for each `change`. Each attribute is a TOML key.

Rules:
1. Every modulation becomes holds: at most 32 of them, each a whole number of milliseconds, that
   repeat every `cycle_s`. Within a hold nothing changes.
2. What a modulation leaves out is the stimulus' own.
3. At one hold at least the whole amplitude is reached, so that the amplitude shown is a true one.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from estim.profile.fields import Exact, Whole
from estim.profile.table import KeyProblem, Table
from firmware_protocol import limits
from firmware_protocol.messages import KEYFRAMES_MAX
from firmware_protocol.program import FULL_PERMILLE

PHASE_US = Whole("us", limits.phase_duration_us.minimum, limits.phase_duration_us.maximum)
RATE_HZ = Exact("Hz", Decimal("0.1"), Decimal(5000), 3)

_Time = Annotated[Decimal, Exact("s", Decimal(0), Decimal(60), 3)]
_Cycle = Annotated[Decimal, Exact("s", Decimal("0.1"), Decimal(60), 3)]
_Hold = Annotated[Decimal, Exact("s", Decimal("0.1"), Decimal(10), 3)]
_ShortCycle = Annotated[Decimal, Exact("s", Decimal("0.002"), Decimal(10), 3)]
_ShortHold = Annotated[Decimal, Exact("s", Decimal("0.001"), Decimal(1), 3)]

Quantity = Literal["pulse_rate_hz", "phase_duration_us", "amplitude_permille"]
"""What a modulation can change."""


class ModulationPoint(Table):
    """What holds, or is passed through, at one time."""

    at_s: _Time
    pulse_rate_hz: Annotated[Decimal, RATE_HZ] | None = None
    phase_duration_us: Annotated[int, PHASE_US] | None = None
    amplitude_permille: Annotated[int, Whole("permille", 0, FULL_PERMILLE)] = FULL_PERMILLE


class DurationPoint(Table):
    """A phase duration that is passed through at one time; the amplitude follows from it."""

    at_s: _Time
    phase_duration_us: Annotated[int, PHASE_US]
    pulse_rate_hz: Annotated[Decimal, RATE_HZ] | None = None


class HeldModulation(Table):
    """Keep each point until the next."""

    change: Literal["hold"]
    cycle_s: _Cycle
    points: Annotated[
        tuple[ModulationPoint, ...], Field(strict=False, min_length=2, max_length=KEYFRAMES_MAX)
    ]

    @model_validator(mode="after")
    def _check(self) -> HeldModulation:
        _check_times(self.points, self.cycle_s)
        _check_full_amplitude(self.points)
        return self


class LinearModulation(Table):
    """Go straight from each point to the next, and from the last back to the first.

    In holds of `hold_s`, each with the values at its start.
    """

    change: Literal["linear"]
    cycle_s: _Cycle
    hold_s: _Hold
    points: Annotated[
        tuple[ModulationPoint, ...], Field(strict=False, min_length=2, max_length=KEYFRAMES_MAX)
    ]

    @model_validator(mode="after")
    def _check(self) -> LinearModulation:
        _check_times(self.points, self.cycle_s)
        _check_full_amplitude(self.points)
        _check_holds(self.hold_s, self.cycle_s, self.points)
        return self


class StrengthDurationModulation(Table):
    """Go straight from phase duration to phase duration, with amplitudes of equal effect.

    At a phase duration t the amplitude is the share (1 + c/t) / (1 + c/s) of the whole one, with
    the chronaxie c and the shortest phase duration s that is played: the strength-duration curve of
    Weiss and Lapicque, I = rheobase x (1 + c/t). Floored to whole permille.
    """

    change: Literal["strength-duration"]
    cycle_s: _Cycle
    hold_s: _Hold
    chronaxie_us: Annotated[int, Whole("us", 10, 10_000)]
    points: Annotated[
        tuple[DurationPoint, ...], Field(strict=False, min_length=2, max_length=KEYFRAMES_MAX)
    ]

    @model_validator(mode="after")
    def _check(self) -> StrengthDurationModulation:
        _check_times(self.points, self.cycle_s)
        _check_holds(self.hold_s, self.cycle_s, self.points)
        return self


class RandomModulation(Table):
    """Hold a pulse rate after another, as irregular as can be and the same each time.

    Of hold number `index`, from 0, let u be the first 8 bytes, big-endian, of the SHA-256 of the
    ASCII text "SEED:INDEX", for example "7:0". With both rates in thousandths of a hertz the rate
    is lowest + u x (highest - lowest + 1) // 2**64 thousandths: anybody can compute it again.
    """

    change: Literal["random"]
    cycle_s: _Cycle
    hold_s: _Hold
    seed: Annotated[int, Whole("", 0, 2**32 - 1)]
    lowest_pulse_rate_hz: Annotated[Decimal, RATE_HZ]
    highest_pulse_rate_hz: Annotated[Decimal, RATE_HZ]

    @model_validator(mode="after")
    def _check(self) -> RandomModulation:
        _check_holds(self.hold_s, self.cycle_s)
        if self.lowest_pulse_rate_hz >= self.highest_pulse_rate_hz:
            raise KeyProblem(
                ("lowest_pulse_rate_hz",),
                f"{self.lowest_pulse_rate_hz}; expected less than highest_pulse_rate_hz, "
                f"{self.highest_pulse_rate_hz}",
            )
        return self


class BeatModulation(Table):
    """Let the amplitude swell and fade as |sin(pi t / T)|, once in each `cycle_s` T.

    In holds of `hold_s`, each with the value at its middle, scaled so that the largest is the whole
    amplitude, rounded to permille. Two sines that differ by 1/T in rate beat like this: the
    premodulated form of interferential current.
    """

    change: Literal["beat"]
    cycle_s: _ShortCycle
    hold_s: _ShortHold

    @model_validator(mode="after")
    def _check(self) -> BeatModulation:
        _check_holds(self.hold_s, self.cycle_s)
        if self.cycle_s == self.hold_s:
            raise KeyProblem(
                ("hold_s",), f"{self.hold_s}; expected at most half of cycle_s, {self.cycle_s}"
            )
        return self


Modulation = Annotated[
    HeldModulation
    | LinearModulation
    | StrengthDurationModulation
    | RandomModulation
    | BeatModulation,
    Field(discriminator="change"),
]


def hold_times_s(modulation: Modulation) -> list[Decimal]:
    """Return when each hold begins within the cycle."""
    if isinstance(modulation, HeldModulation):
        return [point.at_s for point in modulation.points]
    count = int(modulation.cycle_s / modulation.hold_s)
    return [index * modulation.hold_s for index in range(count)]


def varied(modulation: Modulation) -> frozenset[Quantity]:
    """Return what a modulation changes."""
    if isinstance(modulation, RandomModulation):
        return frozenset({"pulse_rate_hz"})
    if isinstance(modulation, BeatModulation):
        return frozenset({"amplitude_permille"})
    names: tuple[Quantity, ...] = ("pulse_rate_hz", "phase_duration_us")
    if not isinstance(modulation, StrengthDurationModulation):
        names += ("amplitude_permille",)
    found: set[Quantity] = {
        name for name in names if len({getattr(point, name) for point in modulation.points}) > 1
    }
    if isinstance(modulation, StrengthDurationModulation):
        found.add("amplitude_permille")
    return frozenset(found)


def _check_times(points: Sequence[ModulationPoint | DurationPoint], cycle_s: Decimal) -> None:
    if points[0].at_s != 0:
        raise KeyProblem(
            ("points", 0, "at_s"), f"{points[0].at_s}; expected 0 s for the first point"
        )
    times = [point.at_s for point in points]
    for index in range(1, len(times)):
        if times[index] <= times[index - 1]:
            raise KeyProblem(
                ("points", index, "at_s"),
                f"{times[index]}; expected a time after {times[index - 1]} s",
            )
    if times[-1] >= cycle_s:
        raise KeyProblem(
            ("cycle_s",),
            f"{cycle_s}; expected a cycle that outlasts its last point, {times[-1]} s",
        )


def _check_full_amplitude(points: Sequence[ModulationPoint]) -> None:
    if max(point.amplitude_permille for point in points) != FULL_PERMILLE:
        raise KeyProblem(
            ("points",),
            "expected amplitude_permille 1000 at one point: the amplitude shown is reached",
        )


def _check_holds(
    hold_s: Decimal, cycle_s: Decimal, points: Sequence[ModulationPoint | DurationPoint] = ()
) -> None:
    for time_s in (*(point.at_s for point in points), cycle_s):
        if time_s % hold_s:
            raise KeyProblem(
                ("hold_s",),
                f"{hold_s}; expected a length of which {time_s} s is a whole multiple",
            )
    if cycle_s / hold_s > KEYFRAMES_MAX:
        raise KeyProblem(
            ("hold_s",),
            f"{hold_s}; expected at least {cycle_s / KEYFRAMES_MAX} s: "
            f"a cycle has at most {KEYFRAMES_MAX} holds",
        )
