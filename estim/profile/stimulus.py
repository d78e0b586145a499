"""What a channel plays: pulse, rate, burst, on/off cycle, modulation. Each attribute is a TOML key.

Rules:
1. Every number's key ends in its unit, except counts.
2. `phase_duration_us` is that of the first phase. Except in a custom pulse and a stepped sine that
   phase is positive and has the whole amplitude.
3. A limit is never restated here; it is read from `firmware_protocol.limits`.
"""

from __future__ import annotations

from decimal import Decimal
from math import pi, sin
from typing import Annotated, Literal

from pydantic import Field, model_validator

from estim.profile.fields import Exact, Whole
from estim.profile.modulation import (
    PHASE_US,
    RATE_HZ,
    BeatModulation,
    DurationPoint,
    HeldModulation,
    LinearModulation,
    Modulation,
    ModulationPoint,
    RandomModulation,
    StrengthDurationModulation,
)
from estim.profile.table import KeyProblem, Table, period_us, whole_ms
from estim.units import US_PER_MS
from firmware_protocol import limits
from firmware_protocol.messages import PHASES_MAX
from firmware_protocol.program import FULL_PERMILLE

_RAMP_S = Exact("s", Decimal(0), Decimal(10), 3)


class PulsePhase(Table):
    """One phase of a pulse; a share of 0 is a gap."""

    duration_us: Annotated[int, Whole("us", 1, limits.phase_duration_us.maximum)]
    amplitude_permille: Annotated[int, Whole("permille", -FULL_PERMILLE, FULL_PERMILLE)]


class SymmetricPulse(Table):
    """Two equal and opposite phases."""

    waveform: Literal["symmetric-biphasic"]
    phase_duration_us: Annotated[int, PHASE_US]
    interphase_gap_us: Annotated[int, Whole("us", 0, 1000)] = 0

    def sequence(self) -> tuple[PulsePhase, ...]:
        """Return the phases in order, gaps included."""
        return _two_phases(
            self.phase_duration_us, self.interphase_gap_us, self.phase_duration_us, FULL_PERMILLE
        )


class AsymmetricPulse(Table):
    """A second phase that is weaker and longer, with the same charge."""

    waveform: Literal["asymmetric-biphasic"]
    phase_duration_us: Annotated[int, PHASE_US]
    interphase_gap_us: Annotated[int, Whole("us", 0, 1000)] = 0
    second_phase_duration_us: Annotated[int, PHASE_US]
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


class SteppedSinePulse(Table):
    """One period of a sine in equal steps, the negative half the mirror of the positive one.

    Each step has the sine at its middle, scaled so that the largest is the whole amplitude, rounded
    to permille.
    """

    waveform: Literal["stepped-sine"]
    period_us: Annotated[int, Whole("us", 20, limits.pulse_duration_us.maximum)]
    step_count: Annotated[int, Whole("", 2, PHASES_MAX)]

    @property
    def phase_duration_us(self) -> int:
        """Return the length of one step."""
        return self.period_us // self.step_count

    def sequence(self) -> tuple[PulsePhase, ...]:
        """Return the steps in order."""
        half = self.step_count // 2
        heights = [sin(pi * (index + 0.5) / half) for index in range(half)]
        shares = [round(FULL_PERMILLE * height / max(heights)) for height in heights]
        return tuple(
            PulsePhase(duration_us=self.phase_duration_us, amplitude_permille=share)
            for share in (*shares, *(-share for share in shares))
        )

    @model_validator(mode="after")
    def _check(self) -> SteppedSinePulse:
        if self.step_count % 2:
            raise KeyProblem(
                ("step_count",),
                f"{self.step_count}; expected an even number: each half has as many steps",
            )
        if self.period_us % self.step_count:
            raise KeyProblem(
                ("period_us",),
                f"{self.period_us}; expected a multiple of step_count, {self.step_count}: "
                "steps of whole microseconds",
            )
        return self


Pulse = Annotated[
    SymmetricPulse | AsymmetricPulse | SteppedSinePulse | CustomPulse,
    Field(discriminator="waveform"),
]


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


class Stimulus(Table):
    """What a channel plays."""

    pulse: Pulse
    pulse_rate_hz: Annotated[Decimal, RATE_HZ]
    burst: Burst | None = None
    cycle: OnOffCycle | None = None
    modulation: Modulation | None = None

    @property
    def pulse_period_us(self) -> int:
        """Return onset to onset of two pulses, floored to whole microseconds."""
        return period_us(self.pulse_rate_hz)

    @model_validator(mode="after")
    def _check(self) -> Stimulus:
        modulation = self.modulation
        if isinstance(modulation, HeldModulation | LinearModulation | StrengthDurationModulation):
            self._check_durations(modulation)
        elif isinstance(modulation, RandomModulation):
            lowest, highest = modulation.lowest_pulse_rate_hz, modulation.highest_pulse_rate_hz
            if not lowest <= self.pulse_rate_hz <= highest:
                raise KeyProblem(
                    ("pulse_rate_hz",),
                    f"{self.pulse_rate_hz}; expected a rate that occurs, {lowest} to {highest} Hz",
                )
        elif isinstance(modulation, BeatModulation):
            hold_us = whole_ms(modulation.hold_s) * US_PER_MS
            if self.pulse_period_us > hold_us:
                raise KeyProblem(
                    ("modulation", "hold_s"),
                    f"{modulation.hold_s}; expected at least one pulse period, "
                    f"{self.pulse_period_us} us",
                )
        return self

    def _check_durations(
        self, modulation: HeldModulation | LinearModulation | StrengthDurationModulation
    ) -> None:
        """Refuse phase durations for a pulse that has no single one."""
        if isinstance(self.pulse, SymmetricPulse | AsymmetricPulse):
            return
        points: tuple[ModulationPoint | DurationPoint, ...] = modulation.points
        for index, point in enumerate(points):
            if point.phase_duration_us is not None:
                raise KeyProblem(
                    ("modulation", "points", index, "phase_duration_us"),
                    f"given; expected none: a {self.pulse.waveform} pulse has no single phase "
                    "duration",
                )


def _two_phases(
    first_us: int, gap_us: int, second_us: int, second_permille: int
) -> tuple[PulsePhase, ...]:
    first = PulsePhase(duration_us=first_us, amplitude_permille=FULL_PERMILLE)
    second = PulsePhase(duration_us=second_us, amplitude_permille=-second_permille)
    if not gap_us:
        return first, second
    return first, PulsePhase(duration_us=gap_us, amplitude_permille=0), second
