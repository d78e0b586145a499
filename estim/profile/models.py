"""What a treatment profile says, as strict and frozen models. Each attribute is the TOML key of the same name.

Rules:
1. Every number's key ends in its unit, except counts, `schema` and `version`. Currents are mA with exact tenths.
2. An unknown key, a wrong type, a number out of range: the profile is refused whole.
3. A limit is never restated here; it is read from `firmware_protocol.limits`.
4. A profile is meant for a person unless `bench_only_reason` says why not.
5. `phase_duration_us` is that of the first phase, positive and with the whole amplitude; nothing later has a larger share.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from estim.profile.fields import Exact, Identifier, Version, Whole, Words
from estim.units import MS_PER_S, UA_PER_MA, US_PER_S
from firmware_protocol import limits
from firmware_protocol.messages import CHANNELS_MAX, KEYFRAMES_MAX, PHASES_MAX

Mode = Literal[
    "conventional",
    "low-rate",
    "burst",
    "brief-intense",
    "modulated",
    "dense-disperse",
    "tibial-nerve",
    "nmes",
    "fes",
    "russian",
    "interferential",
]
MOTOR_MODES: frozenset[Mode] = frozenset({"nmes", "fes", "russian"})
"""Modes meant to move a limb; all others are sensory and bound by `limits.sensory_amplitude_ua`."""
BENCH_ONLY_MODES: frozenset[Mode] = frozenset({"russian", "interferential"})
"""Modes that meet the average limit at low amplitudes only; not for a person until a clinician has reviewed them."""

Certainty = Literal["S", "K", "K?", "E"]
Grade = Literal[
    "meta-analysis",
    "randomised",
    "controlled",
    "observational",
    "review",
    "animal",
    "manufacturer",
    "textbook",
]

SCHEMA = 1
HALF_PERMILLE = 500
_FULL_PERMILLE = 1000
_MA_MAX = Decimal(limits.amplitude_ua.maximum) / UA_PER_MA
_PHASE_US = Whole("us", limits.phase_duration_us.minimum, limits.phase_duration_us.maximum)
_RATE_HZ = Exact("Hz", Decimal("0.1"), Decimal(5000), 3)
_CYCLE_S = Exact("s", Decimal(0), Decimal(60), 3)
_SESSION_S = Whole("s", 1, limits.running_ms.maximum // MS_PER_S)
_AREA_CM2 = Exact("cm2", Decimal(1), Decimal(400), 1)
_TEXT = Words(1000)
_LINE = Words(200)


class KeyProblem(ValueError):
    """A key whose value does not go with another; `path` is relative to the model that raises it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


# The stimulus.


class PulsePhase(_Table):
    """One phase of a pulse; a share of 0 is a gap."""

    duration_us: Annotated[int, Whole("us", 1, limits.phase_duration_us.maximum)]
    amplitude_permille: Annotated[int, Whole("permille", -_FULL_PERMILLE, _FULL_PERMILLE)]


class SymmetricPulse(_Table):
    """Two equal and opposite phases."""

    waveform: Literal["symmetric-biphasic"]
    phase_duration_us: Annotated[int, _PHASE_US]
    interphase_gap_us: Annotated[int, Whole("us", 0, 1000)] = 0

    def sequence(self) -> tuple[PulsePhase, ...]:
        """Return the phases in order, gaps included."""
        return _two_phases(
            self.phase_duration_us, self.interphase_gap_us, self.phase_duration_us, _FULL_PERMILLE
        )


class AsymmetricPulse(_Table):
    """A second phase that is weaker and longer, with the same charge."""

    waveform: Literal["asymmetric-biphasic"]
    phase_duration_us: Annotated[int, _PHASE_US]
    interphase_gap_us: Annotated[int, Whole("us", 0, 1000)] = 0
    second_phase_duration_us: Annotated[int, _PHASE_US]
    second_phase_amplitude_permille: Annotated[int, Whole("permille", 1, _FULL_PERMILLE)]

    def sequence(self) -> tuple[PulsePhase, ...]:
        """Return the phases in order, gaps included."""
        return _two_phases(
            self.phase_duration_us,
            self.interphase_gap_us,
            self.second_phase_duration_us,
            self.second_phase_amplitude_permille,
        )


class CustomPulse(_Table):
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


Pulse = Annotated[
    SymmetricPulse | AsymmetricPulse | CustomPulse, Field(discriminator="waveform")
]


class Burst(_Table):
    """Groups of pulses."""

    pulses_per_burst: Annotated[int, Whole("", 2, 1000)]
    burst_rate_hz: Annotated[Decimal, Exact("Hz", Decimal("0.1"), Decimal(500), 3)]

    @property
    def burst_period_us(self) -> int:
        """Return start to start of two bursts, floored to whole microseconds."""
        return period_us(self.burst_rate_hz)


class OnOffCycle(_Table):
    """An on/off cycle; the plateau `on_s` excludes both ramps."""

    ramp_up_s: Annotated[Decimal, Exact("s", Decimal(0), Decimal(10), 3)]
    on_s: Annotated[Decimal, Exact("s", Decimal("0.1"), Decimal(600), 3)]
    ramp_down_s: Annotated[Decimal, Exact("s", Decimal(0), Decimal(10), 3)]
    off_s: Annotated[Decimal, Exact("s", Decimal(0), Decimal(600), 3)]


class ModulationPoint(_Table):
    """What holds, or is passed through, at one time of the modulation; what is left out is the stimulus' own."""

    at_s: Annotated[Decimal, _CYCLE_S]
    pulse_rate_hz: Annotated[Decimal, _RATE_HZ] | None = None
    phase_duration_us: Annotated[int, _PHASE_US] | None = None
    amplitude_permille: Annotated[int, Whole("permille", 0, _FULL_PERMILLE)] = _FULL_PERMILLE


class Modulation(_Table):
    """Changes of rate, phase duration and amplitude that repeat every `cycle_s`.

    `hold` keeps each point until the next. `linear` goes straight from each point to the next, and from the last back to the first, in
    steps of `hold_s` that take the value at their start.
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
            raise KeyProblem(("points", 0, "at_s"), "the first point starts at 0 s")
        times = [point.at_s for point in self.points]
        for index in range(1, len(times)):
            if times[index] <= times[index - 1]:
                raise KeyProblem(("points", index, "at_s"), "points must rise in time")
        if times[-1] >= self.cycle_s:
            raise KeyProblem(
                ("cycle_s",),
                f"the cycle of {self.cycle_s} s ends before its last point at {times[-1]} s",
            )
        if max(point.amplitude_permille for point in self.points) != _FULL_PERMILLE:
            raise KeyProblem(
                ("points",),
                "one point must have amplitude_permille 1000, or the intensity shown is never reached",
            )
        self._check_holds()
        return self

    def _check_holds(self) -> None:
        if self.change == "hold":
            if self.hold_s is not None:
                raise KeyProblem(("hold_s",), "belongs to change = 'linear'")
            return
        if self.hold_s is None:
            raise KeyProblem(("hold_s",), "missing; change = 'linear' is played in holds")
        for time_s in (*(point.at_s for point in self.points), self.cycle_s):
            if time_s % self.hold_s:
                raise KeyProblem(
                    ("hold_s",), f"{time_s} s is not a whole number of holds of {self.hold_s} s"
                )
        if self.cycle_s / self.hold_s > KEYFRAMES_MAX:
            raise KeyProblem(
                ("hold_s",),
                f"{self.cycle_s / self.hold_s} holds a cycle: a device takes {KEYFRAMES_MAX}, "
                f"expected at least {self.cycle_s / KEYFRAMES_MAX} s",
            )


class Stimulus(_Table):
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
                        "a custom pulse has no single phase duration to modulate",
                    )
        return self


# What surrounds the stimulus.


class Channel(_Table):
    """One channel: where its pads go, how far it may rise, and its own stimulus if it differs."""

    name: Annotated[str, Words(40)]
    placement: Annotated[str, _TEXT]
    amplitude_ceiling_ma: Annotated[Decimal, Exact("mA", Decimal("0.1"), _MA_MAX, 1)]
    cycle_offset_s: Annotated[Decimal, Exact("s", Decimal(0), Decimal(600), 3)] = Decimal(0)
    stimulus: Stimulus | None = None

    @property
    def amplitude_ceiling_ua(self) -> int:
        """Return the ceiling in microamperes."""
        return whole_ua(self.amplitude_ceiling_ma)


class Electrode(_Table):
    """The pads that the profile was thought out for."""

    minimum_area_cm2: Annotated[Decimal, _AREA_CM2]
    recommended_area_cm2: Annotated[Decimal, _AREA_CM2]
    size: Annotated[str, _LINE]

    @model_validator(mode="after")
    def _check(self) -> Electrode:
        if self.minimum_area_cm2 > self.recommended_area_cm2:
            raise KeyProblem(
                ("minimum_area_cm2",), f"exceeds recommended_area_cm2, {self.recommended_area_cm2}"
            )
        return self


class Ceilings(_Table):
    """Ceilings for every channel, below the compiled limits; each channel states its own amplitude.

    Attributes:
        impaired_sensation_permille: share of amplitude and density ceilings where sensation is impaired. 1000 where the ceilings
            already are those for impaired sensation (half of what the mode may have); at most 500 elsewhere.
    """

    impaired_sensation_permille: Annotated[int, Whole("permille", 1, _FULL_PERMILLE)]
    phase_charge_uc: (
        Annotated[
            Decimal,
            Exact("uC", Decimal("0.1"), Decimal(limits.phase_charge_pc.maximum) / 1_000_000, 1),
        ]
        | None
    ) = None
    rms_ma: (
        Annotated[Decimal, Exact("mA", Decimal("0.1"), Decimal(limits.rms_ua.maximum) / 1000, 1)]
        | None
    ) = None
    average_ma: (
        Annotated[
            Decimal, Exact("mA", Decimal("0.1"), Decimal(limits.average_ua.maximum) / 1000, 1)
        ]
        | None
    ) = None
    current_density_ma_per_cm2: (
        Annotated[
            Decimal,
            Exact(
                "mA/cm2 RMS",
                Decimal("0.1"),
                Decimal(limits.current_density_ua_per_cm2.maximum) / 1000,
                1,
            ),
        ]
        | None
    ) = None


class Rise(_Table):
    """How the amplitude may rise."""

    step_ma: Annotated[
        Decimal,
        Exact(
            "mA",
            Decimal(limits.step_ua.minimum) / UA_PER_MA,
            Decimal(limits.step_ua.maximum) / UA_PER_MA,
            1,
        ),
    ]
    setpoint_slew_ma_per_s: Annotated[
        Decimal,
        Exact(
            "mA/s", Decimal("0.1"), Decimal(limits.setpoint_slew_ua_per_s.maximum) / UA_PER_MA, 1
        ),
    ]
    rise_per_cycle_ma: Annotated[
        Decimal,
        Exact("mA", Decimal("0.1"), Decimal(limits.rise_per_cycle_ua.maximum) / UA_PER_MA, 1),
    ] = Decimal(limits.rise_per_cycle_ua.maximum) / UA_PER_MA

    @property
    def step_ua(self) -> int:
        """Return one key press in microamperes."""
        return whole_ua(self.step_ma)

    @property
    def setpoint_slew_ua_per_s(self) -> int:
        """Return the fastest rise of a setpoint in microamperes a second."""
        return whole_ua(self.setpoint_slew_ma_per_s)

    @property
    def rise_per_cycle_ua(self) -> int:
        """Return the largest rise within one on/off cycle in microamperes."""
        return whole_ua(self.rise_per_cycle_ma)


class Session(_Table):
    """How long and how often."""

    duration_s: Annotated[int, _SESSION_S]
    longest_duration_s: Annotated[int, _SESSION_S]
    first_exposure_s: Annotated[int, _SESSION_S]
    dose: Annotated[str, _TEXT]

    @model_validator(mode="after")
    def _check(self) -> Session:
        for key in ("duration_s", "first_exposure_s"):
            if getattr(self, key) > self.longest_duration_s:
                raise KeyProblem((key,), f"exceeds longest_duration_s, {self.longest_duration_s}")
        return self


class Policy(_Table):
    """What the device does on lead-off, and what it must have."""

    lead_off: Literal["channel", "all"]
    requires_patient_stop: bool


class Guidance(_Table):
    """What the therapist reads."""

    intensity: Annotated[str, _TEXT]
    expect: Annotated[str, _TEXT]
    contraindications: Annotated[
        tuple[Annotated[str, _TEXT], ...], Field(strict=False, min_length=1, max_length=40)
    ]


class Basis(_Table):
    """How sure a group of parameters is, and why: S read in a public source, K common knowledge, K? unchecked, E our proposal."""

    certainty: Certainty
    source: Annotated[str, _TEXT]


class ParameterBasis(_Table):
    """The basis of every group of parameters."""

    stimulus: Basis
    session: Basis
    placement: Basis
    electrode: Basis
    ceilings: Basis
    guidance: Basis


class Evidence(_Table):
    """One study or statement, with its caveat."""

    study: Annotated[str, _LINE]
    source: Annotated[str, _LINE]
    grade: Grade
    certainty: Certainty
    effect: Annotated[str, _TEXT]
    caveat: Annotated[str, _TEXT]


class Profile(_Table):
    """A treatment profile."""

    schema_version: Annotated[int, Whole("", SCHEMA, SCHEMA), Field(alias="schema")]
    id: Annotated[str, Identifier()]
    version: Annotated[str, Version()]
    title: Annotated[str, Words(80)]
    mode: Mode
    indications: Annotated[
        tuple[Annotated[str, Identifier()], ...],
        Field(strict=False, min_length=1, max_length=20),
    ]
    review_status: Annotated[str, _LINE]
    bench_only_reason: Annotated[str, _TEXT] | None = None
    allow_overlap: bool = False
    stimulus: Stimulus
    channels: Annotated[
        tuple[Channel, ...], Field(strict=False, min_length=1, max_length=CHANNELS_MAX)
    ]
    electrode: Electrode
    ceilings: Ceilings
    rise: Rise
    session: Session
    policy: Policy
    guidance: Guidance
    basis: ParameterBasis
    evidence: Annotated[
        tuple[Evidence, ...], Field(strict=False, min_length=1, max_length=40)
    ]

    @property
    def is_motor(self) -> bool:
        """Tell whether the mode is meant to move a limb."""
        return self.mode in MOTOR_MODES

    @property
    def is_bench_only(self) -> bool:
        """Tell whether the profile may never be used on a person."""
        return self.bench_only_reason is not None

    @property
    def mode_amplitude_ua(self) -> int:
        """Return the highest amplitude that the mode may have at all."""
        limit = limits.amplitude_ua if self.is_motor else limits.sensory_amplitude_ua
        return limit.maximum

    def channel_stimulus(self, channel: Channel) -> Stimulus:
        """Return what a channel plays: its own stimulus, or the profile's."""
        return channel.stimulus or self.stimulus

    def impaired_amplitude_ceiling_ua(self, channel: Channel) -> int:
        """Return a channel's amplitude ceiling where sensation is impaired."""
        return (
            channel.amplitude_ceiling_ua
            * self.ceilings.impaired_sensation_permille
            // _FULL_PERMILLE
        )

    @model_validator(mode="after")
    def _check(self) -> Profile:
        if self.bench_only_reason is None:
            if self.mode in BENCH_ONLY_MODES:
                raise KeyProblem(("bench_only_reason",), f"missing; mode {self.mode!r} needs one")
            if self.allow_overlap:
                raise KeyProblem(("allow_overlap",), "only with a bench_only_reason")
            self._check_ramps()
        for index, channel in enumerate(self.channels):
            if channel.amplitude_ceiling_ua > self.mode_amplitude_ua:
                raise KeyProblem(
                    ("channels", index, "amplitude_ceiling_ma"),
                    f"{channel.amplitude_ceiling_ma} mA; expected at most "
                    f"{self.mode_amplitude_ua // UA_PER_MA} mA for mode {self.mode!r}",
                )
            if channel.cycle_offset_s and self.channel_stimulus(channel).cycle is None:
                raise KeyProblem(
                    ("channels", index, "cycle_offset_s"), "the stimulus has no cycle to shift"
                )
        self._check_impaired()
        return self

    def _check_ramps(self) -> None:
        minimum_s = Decimal(limits.cycle_ramp_up_ms.minimum) / MS_PER_S
        owners: list[tuple[tuple[str | int, ...], Stimulus | None]] = [(("stimulus",), self.stimulus)]
        owners += [
            (("channels", index, "stimulus"), channel.stimulus)
            for index, channel in enumerate(self.channels)
        ]
        for path, stimulus in owners:
            if stimulus and stimulus.cycle and stimulus.cycle.ramp_up_s < minimum_s:
                raise KeyProblem(
                    (*path, "cycle", "ramp_up_s"),
                    f"{stimulus.cycle.ramp_up_s} s; expected at least {minimum_s} s on a person",
                )

    def _check_impaired(self) -> None:
        """Refuse a share above one half unless the ceilings are halved already."""
        if self.ceilings.impaired_sensation_permille <= HALF_PERMILLE:
            return
        density_ma_per_cm2 = self.ceilings.current_density_ma_per_cm2
        density_max = Decimal(limits.impaired_current_density_ua_per_cm2.maximum) / UA_PER_MA
        halved = density_ma_per_cm2 is not None and density_ma_per_cm2 <= density_max
        halved = halved and all(
            2 * channel.amplitude_ceiling_ua <= self.mode_amplitude_ua for channel in self.channels
        )
        if not halved:
            raise KeyProblem(
                ("ceilings", "impaired_sensation_permille"),
                "expected at most 500, unless every amplitude ceiling is at most half of the mode's and "
                f"current_density_ma_per_cm2 at most {density_max}",
            )


def period_us(rate_hz: Decimal | Fraction) -> int:
    """Return the period of a rate, floored to whole microseconds: the rate delivered is never below the one asked."""
    return int(US_PER_S / Fraction(rate_hz))


def whole_ms(duration_s: Decimal) -> int:
    """Return a duration with at most three decimals as whole milliseconds."""
    return int(duration_s * MS_PER_S)


def whole_ua(current_ma: Decimal) -> int:
    """Return a current with at most one decimal as whole microamperes."""
    return int(current_ma * UA_PER_MA)


def _two_phases(
    first_us: int, gap_us: int, second_us: int, second_permille: int
) -> tuple[PulsePhase, ...]:
    first = PulsePhase(duration_us=first_us, amplitude_permille=_FULL_PERMILLE)
    second = PulsePhase(duration_us=second_us, amplitude_permille=-second_permille)
    if not gap_us:
        return first, second
    return first, PulsePhase(duration_us=gap_us, amplitude_permille=0), second
