"""What a treatment profile says, as strict and frozen models. Each attribute is a TOML key.

Rules:
1. Every number's key ends in its unit, except counts, `schema` and `version`. Currents are mA with
   exact tenths.
2. An unknown key, a wrong type, a number out of range: the profile is refused whole.
3. A limit is never restated here; it is read from `firmware_protocol.limits`.
4. A profile is meant for a person unless `bench_only_reason` says why not.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from estim.profile.body_chart import SITES, parts
from estim.profile.fields import Exact, Identifier, Member, Version, Whole, Words
from estim.profile.modes import MOTOR_MODES, Mode, is_for_bench_only, mismatch, rate_mismatch
from estim.profile.stimulus import Stimulus
from estim.profile.table import KeyProblem, Table
from estim.units import MS_PER_S, PC_PER_UC, UA_PER_MA
from firmware_protocol import limits
from firmware_protocol.limits import Limit
from firmware_protocol.messages import CHANNELS_MAX
from firmware_protocol.program import FULL_PERMILLE

SCHEMA = 1

Certainty = Literal["S", "K", "K?", "E"]
"""S read in a public source, K common knowledge, K? to be checked, E a proposal of this project."""

Grade = Literal[
    "meta-analysis",
    "randomised",
    "controlled",
    "observational",
    "review",
    "animal",
    "manufacturer",
    "practice",
    "not-graded",
]

_HALF_PERMILLE = FULL_PERMILLE // 2
_TENTH = Decimal("0.1")
_TEXT = Words(1000)
_LINE = Words(200)
_SESSION_S = Whole("s", 1, limits.running_ms.maximum // MS_PER_S)
_PADS_MAX = 4
AREA_MAX_CM2 = 400
"""No pad is larger; a larger area is a slip of the hand that would lift the density limits."""
_AREA_CM2 = Exact("cm2", Decimal(1), Decimal(AREA_MAX_CM2), 1)


def _up_to(limit: Limit, unit: str, per_unit: int, minimum: Decimal = _TENTH) -> Exact:
    """Return the expectation of tenths of a unit up to a compiled limit."""
    return Exact(unit, minimum, Decimal(limit.maximum) / per_unit, 1)


NEUROPATHY_KINDS = ("peripheral", "proximal", "focal", "autonomic")
NEUROPATHY_CAUSES = (
    "diabetic",
    "chemotherapy",
    "idiopathic",
    "trauma",
    "infection",
    "toxic",
    "autoimmune",
)

NOT_REVIEWED = "not reviewed by a clinician"
"""What a profile's `review_status` says until somebody has."""


def whole_ua(current_ma: Decimal) -> int:
    """Return a current with at most one decimal as whole microamperes."""
    return int(current_ma * UA_PER_MA)


class Channel(Table):
    """One channel: where its pads go, how far it may rise, and its own stimulus if it differs."""

    name: Annotated[str, Words(40)]
    placement: Annotated[str, _TEXT]
    pads: Annotated[
        tuple[Annotated[str, Member("a site of the body chart", SITES)], ...],
        Field(strict=False, max_length=_PADS_MAX),
    ] = ()
    amplitude_ceiling_ma: Annotated[Decimal, _up_to(limits.amplitude_ua, "mA", UA_PER_MA)]
    cycle_offset_s: Annotated[Decimal, Exact("s", Decimal(0), Decimal(600), 3)] = Decimal(0)
    stimulus: Stimulus | None = None

    @property
    def amplitude_ceiling_ua(self) -> int:
        """Return the ceiling in microamperes."""
        return whole_ua(self.amplitude_ceiling_ma)

    @model_validator(mode="after")
    def _check(self) -> Channel:
        for index, pad in enumerate(self.pads):
            if pad in self.pads[:index]:
                raise KeyProblem(("pads", index), f"{pad!r}; expected each site once")
        found = parts(self.pads)
        if len(found) > 1:
            raise KeyProblem(
                ("pads",),
                f"on {' and '.join(found)}; expected one part of the body, so that no current "
                "crosses the trunk",
            )
        if len(self.pads) == 1:
            raise KeyProblem(("pads",), "one site; expected two at least, or none")
        return self


class Electrode(Table):
    """The pads that the profile was thought out for."""

    minimum_area_cm2: Annotated[Decimal, _AREA_CM2]
    recommended_area_cm2: Annotated[Decimal, _AREA_CM2]
    size: Annotated[str, _LINE]

    @model_validator(mode="after")
    def _check(self) -> Electrode:
        if self.minimum_area_cm2 > self.recommended_area_cm2:
            raise KeyProblem(
                ("minimum_area_cm2",),
                f"{self.minimum_area_cm2}; expected at most recommended_area_cm2, "
                f"{self.recommended_area_cm2}",
            )
        return self


class Ceilings(Table):
    """Ceilings of every channel, at or below the compiled limits; amplitude is the channel's own.

    Attributes:
        impaired_sensation_permille: share of the amplitude and density ceilings that is left where
            sensation is impaired. At most 500, or up to 1000 where the ceilings already are those
            for impaired sensation (half of what the mode may have).
        phase_charge_uc: highest charge of one phase.
        rms_ma: highest RMS current over the worst sliding second.
        average_ma: highest average absolute current over the worst sliding second.
        current_density_ma_per_cm2: highest RMS current density under the smaller pad.
    """

    impaired_sensation_permille: Annotated[int, Whole("permille", 1, FULL_PERMILLE)]
    phase_charge_uc: Annotated[Decimal, _up_to(limits.phase_charge_pc, "uC", PC_PER_UC)] | None = (
        None
    )
    rms_ma: Annotated[Decimal, _up_to(limits.rms_ua, "mA", UA_PER_MA)] | None = None
    average_ma: Annotated[Decimal, _up_to(limits.average_ua, "mA", UA_PER_MA)] | None = None
    current_density_ma_per_cm2: (
        Annotated[Decimal, _up_to(limits.current_density_ua_per_cm2, "mA/cm2 RMS", UA_PER_MA)]
        | None
    ) = None

    @property
    def phase_charge_pc(self) -> int | None:
        """Return the ceiling of one phase's charge in picocoulombs."""
        return None if self.phase_charge_uc is None else int(self.phase_charge_uc * PC_PER_UC)

    @property
    def rms_ua(self) -> int | None:
        """Return the RMS ceiling in microamperes."""
        return None if self.rms_ma is None else whole_ua(self.rms_ma)

    @property
    def average_ua(self) -> int | None:
        """Return the ceiling of the average absolute current in microamperes."""
        return None if self.average_ma is None else whole_ua(self.average_ma)

    @property
    def current_density_ua_per_cm2(self) -> int | None:
        """Return the ceiling of the RMS current density in microamperes per square centimetre."""
        density_ma_per_cm2 = self.current_density_ma_per_cm2
        return None if density_ma_per_cm2 is None else whole_ua(density_ma_per_cm2)


class Rise(Table):
    """How the amplitude may rise."""

    step_ma: Annotated[
        Decimal,
        _up_to(limits.step_ua, "mA", UA_PER_MA, Decimal(limits.step_ua.minimum) / UA_PER_MA),
    ]
    setpoint_slew_ma_per_s: Annotated[
        Decimal, _up_to(limits.setpoint_slew_ua_per_s, "mA/s", UA_PER_MA)
    ]
    rise_per_cycle_ma: Annotated[Decimal, _up_to(limits.rise_per_cycle_ua, "mA", UA_PER_MA)] = (
        Decimal(limits.rise_per_cycle_ua.maximum) / UA_PER_MA
    )

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


class Session(Table):
    """How long and how often."""

    duration_s: Annotated[int, _SESSION_S]
    longest_duration_s: Annotated[int, _SESSION_S]
    first_exposure_s: Annotated[int, _SESSION_S]
    dose: Annotated[str, _TEXT]

    @model_validator(mode="after")
    def _check(self) -> Session:
        for key in ("duration_s", "first_exposure_s"):
            if getattr(self, key) > self.longest_duration_s:
                raise KeyProblem(
                    (key,),
                    f"{getattr(self, key)}; expected at most longest_duration_s, "
                    f"{self.longest_duration_s}",
                )
        return self


class Policy(Table):
    """What happens on lead-off, and what the device must have."""

    lead_off: Literal["channel", "all"]
    requires_patient_stop: bool


class Guidance(Table):
    """What the therapist reads; `precautions` ask for care where nothing forbids."""

    intensity: Annotated[str, _TEXT]
    expect: Annotated[str, _TEXT]
    contraindications: Annotated[
        tuple[Annotated[str, _TEXT], ...], Field(strict=False, min_length=1, max_length=40)
    ]
    precautions: Annotated[
        tuple[Annotated[str, _TEXT], ...], Field(strict=False, max_length=40)
    ] = ()


class Neuropathy(Table):
    """Which neuropathies a profile or an entry is about, for searching; no cause means any."""

    kinds: Annotated[
        tuple[Annotated[str, Member("a kind of neuropathy", NEUROPATHY_KINDS)], ...],
        Field(strict=False, min_length=1, max_length=8),
    ]
    causes: Annotated[
        tuple[Annotated[str, Member("a cause of neuropathy", NEUROPATHY_CAUSES)], ...],
        Field(strict=False, max_length=8),
    ] = ()


class Basis(Table):
    """How sure a group of parameters is, and why."""

    certainty: Certainty
    source: Annotated[str, _TEXT]


class ParameterBasis(Table):
    """The basis of every group of parameters."""

    stimulus: Basis
    session: Basis
    placement: Basis
    electrode: Basis
    ceilings: Basis
    guidance: Basis


class Evidence(Table):
    """One study or statement, with its caveat."""

    study: Annotated[str, _LINE]
    source: Annotated[str, _LINE]
    grade: Grade
    certainty: Certainty
    effect: Annotated[str, _TEXT]
    caveat: Annotated[str, _TEXT]


class Profile(Table):
    """A treatment profile."""

    schema_version: Annotated[int, Whole("", SCHEMA, SCHEMA), Field(alias="schema")]
    id: Annotated[str, Identifier()]
    version: Annotated[str, Version()]
    title: Annotated[str, Words(80)]
    mode: Mode
    indications: Annotated[
        tuple[Annotated[str, Identifier()], ...], Field(strict=False, min_length=1, max_length=20)
    ]
    neuropathy: Neuropathy | None = None
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
    evidence: Annotated[tuple[Evidence, ...], Field(strict=False, min_length=1, max_length=40)]

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
        share_permille = self.ceilings.impaired_sensation_permille
        return channel.amplitude_ceiling_ua * share_permille // FULL_PERMILLE

    @model_validator(mode="after")
    def _check(self) -> Profile:
        own = ((("channels", i, "stimulus"), c.stimulus) for i, c in enumerate(self.channels))
        for path, stimulus in ((("stimulus",), self.stimulus), *own):
            if stimulus is None:
                continue
            problem = mismatch(self.mode, stimulus)
            if problem:
                raise KeyProblem((*path, *problem[0]), problem[1])
            if not self.is_bench_only:
                self._check_for_a_person(path, stimulus)
        for index, channel in enumerate(self.channels):
            if channel.amplitude_ceiling_ua > self.mode_amplitude_ua:
                raise KeyProblem(
                    ("channels", index, "amplitude_ceiling_ma"),
                    f"{channel.amplitude_ceiling_ma}; expected at most "
                    f"{self.mode_amplitude_ua // UA_PER_MA} mA in mode {self.mode!r}",
                )
            if channel.cycle_offset_s and self.channel_stimulus(channel).cycle is None:
                raise KeyProblem(
                    ("channels", index, "cycle_offset_s"),
                    f"{channel.cycle_offset_s}; expected 0: there is no cycle to shift",
                )
        self._check_impaired_sensation()
        return self

    def _check_for_a_person(self, path: tuple[str | int, ...], stimulus: Stimulus) -> None:
        """Refuse what only a bench may have."""
        if is_for_bench_only(self.mode, stimulus):
            raise KeyProblem(
                ("bench_only_reason",),
                f"missing; expected the reason why mode {self.mode!r} with waveform "
                f"{stimulus.pulse.waveform!r} is not for a person",
            )
        problem = rate_mismatch(self.mode, stimulus)
        if problem:
            raise KeyProblem((*path, *problem[0]), problem[1])
        if self.allow_overlap:
            raise KeyProblem(
                ("allow_overlap",), "true; expected false unless bench_only_reason is given"
            )
        ramp_up_min_s = Decimal(limits.cycle_ramp_up_ms.minimum) / MS_PER_S
        cycle = stimulus.cycle
        if cycle is not None and cycle.ramp_up_s < ramp_up_min_s:
            raise KeyProblem(
                (*path, "cycle", "ramp_up_s"),
                f"{cycle.ramp_up_s}; expected at least {ramp_up_min_s} s on a person",
            )

    def _check_impaired_sensation(self) -> None:
        """Refuse a share above one half unless the ceilings are halved already."""
        if self.ceilings.impaired_sensation_permille <= _HALF_PERMILLE:
            return
        density_max_ua_per_cm2 = limits.impaired_current_density_ua_per_cm2.maximum
        density_ua_per_cm2 = self.ceilings.current_density_ua_per_cm2
        halved_ua = self.mode_amplitude_ua // 2
        if (
            density_ua_per_cm2 is None
            or density_ua_per_cm2 > density_max_ua_per_cm2
            or any(channel.amplitude_ceiling_ua > halved_ua for channel in self.channels)
        ):
            raise KeyProblem(
                ("ceilings", "impaired_sensation_permille"),
                f"{self.ceilings.impaired_sensation_permille}; expected at most {_HALF_PERMILLE}, "
                f"unless every amplitude ceiling is at most {halved_ua // UA_PER_MA} mA and "
                "current_density_ma_per_cm2 is given and at most "
                f"{Decimal(density_max_ua_per_cm2) / UA_PER_MA}",
            )
