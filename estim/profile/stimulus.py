"""What a channel plays: pulse, rate, burst, on/off cycle, modulation. Each attribute is a TOML key.

Rules:
1. Every number's key ends in its unit, except counts.
2. `phase_duration_us` is that of the first phase. Except in a custom pulse that phase is positive
   and has the whole amplitude.
3. A limit is never restated here; it is read from `firmware_protocol.limits`.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from estim.profile.fields import Exact, Whole
from estim.units import MS_PER_S, US_PER_S
from firmware_protocol import limits
from firmware_protocol.messages import KEYFRAMES_MAX, PHASES_MAX
from firmware_protocol.program import FULL_PERMILLE

_PHASE_US = Whole("us", limits.phase_duration_us.minimum, limits.phase_duration_us.maximum)
_RATE_HZ = Exact("Hz", Decimal("0.1"), Decimal(5000), 3)
_RAMP_S = Exact("s", Decimal(0), Decimal(10), 3)


class KeyProblem(ValueError):
    """A key that does not go with another; `path` starts at the model that raises it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


class Table(BaseModel):
    """The base of every table of a profile: strict, frozen, closed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class PulsePhase(Table):
    """One phase of a pulse; a share of 0 is a gap."""

    duration_us: Annotated[int, Whole("us", 1, limits.phase_duration_us.maximum)]
    amplitude_permille: Annotated[int, Whole("permille", -FULL_PERMILLE, FULL_PERMILLE)]


class SymmetricPulse(Table):
    """Two equal and opposite phases."""

    waveform: Literal["symmetric-biphasic"]
    phase_duration_us: Annotated[int, _PHASE_US]
    interphase_gap_us: Annotated[int, Whole("us", 0, 1000)] = 0

    def sequence(self) -> tuple[PulsePhase, ...]:
        """Return the phases in order, gaps included."""
        return _two_phases(
            self.phase_duration_us, self.interphase_gap_us, self.phase_duration_us, FULL_PERMILLE
        )


class AsymmetricPulse(Table):
    """A second phase that is weaker and longer, with the same charge."""

    waveform: Literal["asymmetric-biphasic"]
    phase_duration_us: Annotated[int, _PHASE_US]
    interphase_gap_us: Annotated[int, Whole("us", 0, 1000)] = 0
    second_phase_duration_us: Annotated[int, _PHASE_US]
    second_phase_amplitude_permille: Annotated[int, Whole("permille", 1, FULL_PERMILLE)]

    def sequence(self) -> tuple[PulsePhase, ...]:
        """Return the phases in order, gaps included."""
        return _two_phases(
            self.phase_duration_us,
            self.interphase_gap_us,
            self.second_phase_duration_us,
            self.second_phase_amplitude_permille,
        )


class CustomPulse(Table):
    """Any balanced sequence of phases."""

    waveform: Literal["custom"]
    phases: Annotated[
        tuple[PulsePhase, ...], Field(strict=False, min_length=2, max_length=PHASES_MAX)
    ]

    @property
    def phase_duration_us(self) -> int:
        """Return the length of the first phase."""
        return self.phases[0].duration_us

    def sequence(self) -> tuple[PulsePhase, ...]:
        """Return the phases in order, gaps included."""
        return self.phases


Pulse = Annotated[SymmetricPulse | AsymmetricPulse | CustomPulse, Field(discriminator="waveform")]


class Burst(Table):
    """Groups of pulses."""

    pulses_per_burst: Annotated[int, Whole("", 2, 1000)]
    burst_rate_hz: Annotated[Decimal, Exact("Hz", Decimal("0.1"), Decimal(500), 3)]

    @property
    def burst_period_us(self) -> int:
        """Return start to start of two bursts, floored to whole microseconds."""
        return period_us(self.burst_rate_hz)


class OnOffCycle(Table):
    """An on/off cycle; the plateau `on_s` excludes both ramps."""

    ramp_up_s: Annotated[Decimal, _RAMP_S]
    on_s: Annotated[Decimal, Exact("s", Decimal("0.1"), Decimal(600), 3)]
    ramp_down_s: Annotated[Decimal, _RAMP_S]
    off_s: Annotated[Decimal, Exact("s", Decimal(0), Decimal(600), 3)]


class ModulationPoint(Table):
    """What holds, or is passed through, at one time; what is left out is the stimulus' own."""

    at_s: Annotated[Decimal, Exact("s", Decimal(0), Decimal(60), 3)]
    pulse_rate_hz: Annotated[Decimal, _RATE_HZ] | None = None
    phase_duration_us: Annotated[int, _PHASE_US] | None = None
    amplitude_permille: Annotated[int, Whole("permille", 0, FULL_PERMILLE)] = FULL_PERMILLE


class Modulation(Table):
    """Changes of rate, phase duration and amplitude that repeat every `cycle_s`.

    `hold` keeps each point until the next. `linear` goes straight from each point to the next, and
    from the last back to the first, in holds of `hold_s`, each with the values at its start.
    """

    change: Literal["hold", "linear"]
    cycle_s: Annotated[Decimal, Exact("s", Decimal("0.1"), Decimal(60), 3)]
    hold_s: Annotated[Decimal, Exact("s", Decimal("0.1"), Decimal(10), 3)] | None = None
    points: Annotated[
        tuple[ModulationPoint, ...], Field(strict=False, min_length=2, max_length=KEYFRAMES_MAX)
    ]

    @model_validator(mode="after")
    def _check(self) -> Modulation:
        if self.points[0].at_s != 0:
            raise KeyProblem(
                ("points", 0, "at_s"), f"{self.points[0].at_s}; expected 0 s for the first point"
            )
        times = [point.at_s for point in self.points]
        for index in range(1, len(times)):
            if times[index] <= times[index - 1]:
                raise KeyProblem(
                    ("points", index, "at_s"),
                    f"{times[index]}; expected a time after {times[index - 1]} s",
                )
        if times[-1] >= self.cycle_s:
            raise KeyProblem(
                ("cycle_s",),
                f"{self.cycle_s}; expected a cycle that outlasts its last point, {times[-1]} s",
            )
        if max(point.amplitude_permille for point in self.points) != FULL_PERMILLE:
            raise KeyProblem(
                ("points",),
                "expected amplitude_permille 1000 at one point: the amplitude shown is reached",
            )
        self._check_holds()
        return self

    def _check_holds(self) -> None:
        if self.change == "hold":
            if self.hold_s is not None:
                raise KeyProblem(("hold_s",), "given; expected with change = 'linear' only")
            return
        if self.hold_s is None:
            raise KeyProblem(("hold_s",), "missing; expected the length of one hold")
        for time_s in (*(point.at_s for point in self.points), self.cycle_s):
            if time_s % self.hold_s:
                raise KeyProblem(
                    ("hold_s",),
                    f"{self.hold_s}; expected a length of which {time_s} s is a whole multiple",
                )
        if self.cycle_s / self.hold_s > KEYFRAMES_MAX:
            raise KeyProblem(
                ("hold_s",),
                f"{self.hold_s}; expected at least {self.cycle_s / KEYFRAMES_MAX} s: "
                f"a cycle has at most {KEYFRAMES_MAX} holds",
            )


class Stimulus(Table):
    """What a channel plays."""

    pulse: Pulse
    pulse_rate_hz: Annotated[Decimal, _RATE_HZ]
    burst: Burst | None = None
    cycle: OnOffCycle | None = None
    modulation: Modulation | None = None

    @property
    def pulse_period_us(self) -> int:
        """Return onset to onset of two pulses, floored to whole microseconds."""
        return period_us(self.pulse_rate_hz)

    @model_validator(mode="after")
    def _check(self) -> Stimulus:
        if self.modulation is not None and isinstance(self.pulse, CustomPulse):
            for index, point in enumerate(self.modulation.points):
                if point.phase_duration_us is not None:
                    raise KeyProblem(
                        ("modulation", "points", index, "phase_duration_us"),
                        "given; expected none: a custom pulse has no single phase duration",
                    )
        return self


def period_us(rate_hz: Decimal | Fraction) -> int:
    """Return the period of a rate, floored to whole microseconds.

    So the rate delivered is the one asked, or higher by less than one microsecond a period.
    """
    return int(US_PER_S / Fraction(rate_hz))


def whole_ms(duration_s: Decimal) -> int:
    """Return a duration with at most three decimals as whole milliseconds."""
    return int(duration_s * MS_PER_S)


def _two_phases(
    first_us: int, gap_us: int, second_us: int, second_permille: int
) -> tuple[PulsePhase, ...]:
    first = PulsePhase(duration_us=first_us, amplitude_permille=FULL_PERMILLE)
    second = PulsePhase(duration_us=second_us, amplitude_permille=-second_permille)
    if not gap_us:
        return first, second
    return first, PulsePhase(duration_us=gap_us, amplitude_permille=0), second
