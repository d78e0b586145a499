"""What a profile comes to, fact by fact, so that two of them can be compared.

Rules:
1. A fact is physics as far as it can be: figures of the quantised programme at the channel's own
   ceiling, in the units that people read. What a profile only says stands as text.
2. Every key of a profile is in some fact: what has no fact of its own is told by its key, so that
   no difference between two files is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from estim.cli.profile_figures import binding_words, limit_words, rate_hz
from estim.prepare.report import preview
from estim.prepare.session import Prepared
from estim.profile.loader import LoadedProfile
from estim.units import MS_PER_S, UA_PER_MA, US_PER_MS, in_unit
from firmware_protocol import limits
from firmware_protocol.program import ChannelProgram


class Harm(Enum):
    """Which way a fact becomes less safe."""

    HIGHER = "higher"
    LOWER = "lower"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a profile comes to.

    Attributes:
        section: 'safety', 'stimulus', 'session', 'guidance', 'evidence' or 'identity'.
        channel: number from 1, or 0 for all.
        name: what it is, in words.
        shown: what it comes to, in words with its unit.
        figure: the same as a number, where it is one.
        harm: which way it becomes less safe.
        part_of: name of the fact that this one is a detail of; '' for none.
    """

    section: str
    channel: int
    name: str
    shown: str
    figure: float | None = None
    harm: Harm = Harm.NONE
    part_of: str = ""

    @property
    def key(self) -> tuple[str, int, str]:
        """Return what the same fact of another profile is found by."""
        return self.section, self.channel, self.name


AS_WRITTEN = "as written"
"""The stimulus of the file: worth telling only where the programmes do not differ."""

# Beginnings of keys that other facts tell.
_TOLD = ("schema", "stimulus.", "evidence.", "guidance.contraindications.")
_TOLD_OF_CHANNEL = ("stimulus.", "amplitude_ceiling_ma", "cycle_offset_s")
_SECTIONS = {
    "ceilings": "safety",
    "guidance": "guidance",
    "basis": "evidence",
    "channels": "guidance",
}

_NUMBERS: tuple[tuple[str, str, str, str, Harm], ...] = (
    ("safety", "electrode.minimum_area_cm2", "smallest electrode", "cm2", Harm.LOWER),
    ("safety", "electrode.recommended_area_cm2", "recommended electrode", "cm2", Harm.LOWER),
    (
        "safety", "ceilings.impaired_sensation_permille",
        "share of the ceilings where sensation is impaired", "permille", Harm.HIGHER,
    ),
    ("safety", "rise.step_ma", "step of a rise", "mA", Harm.HIGHER),
    ("safety", "rise.setpoint_slew_ma_per_s", "slew of a rise", "mA/s", Harm.HIGHER),
    ("safety", "rise.rise_per_cycle_ma", "rise within one cycle", "mA", Harm.HIGHER),
    ("session", "session.duration_s", "session", "s", Harm.HIGHER),
    ("session", "session.longest_duration_s", "longest session", "s", Harm.HIGHER),
    ("session", "session.first_exposure_s", "first exposure", "s", Harm.HIGHER),
)  # fmt: skip
_WORDS = (
    ("session", "session.dose", "dose"),
    ("guidance", "electrode.size", "electrode size"),
)
# What is said of each, the safer one first.
_SWITCHES: dict[str, tuple[str, dict[Any, str]]] = {
    "policy.lead_off": (
        "on lead-off",
        {"all": "all channels stop", "channel": "that channel stops"},
    ),
    "policy.requires_patient_stop": (
        "patient's stop",
        {True: "required", False: "not required"},
    ),
    "allow_overlap": (
        "pulses of two channels at once",
        {False: "never", True: "allowed"},
    ),
}
_LIMIT_WORDS = {
    limits.phase_duration_us.name: "longest phase",
    limits.pulse_duration_us.name: "longest pulse",
    limits.rms_ua.name: "worst-second RMS",
    limits.average_ua.name: "worst-second average",
    limits.current_density_ua_per_cm2.name: "RMS current density",
}


def facts(loaded: LoadedProfile, prepared: Prepared) -> list[Fact]:
    """Return every fact of a profile; no two have the same key."""
    flat = dict(_flattened(loaded.profile.model_dump(mode="json", by_alias=True), ""))
    found = [
        *_of_limits(prepared),
        *_of_profile(loaded, flat),
        *(
            fact
            for number, channel in enumerate(prepared.program.channels, start=1)
            for fact in _of_channel(number, channel)
        ),
        *_of_stimuli(loaded),
        *_of_evidence(loaded),
        *_of_other_keys(flat),
    ]
    return list({fact.key: fact for fact in found}.values())


def _of_limits(prepared: Prepared) -> Iterator[Fact]:
    for line in prepared.ceilings:
        ceiling_ma = line.ceiling_ua / UA_PER_MA
        yield Fact("safety", line.channel, "ceiling", f"{ceiling_ma:g} mA", ceiling_ma, Harm.HIGHER)
        yield Fact("safety", line.channel, "binding limit", binding_words(line))
    for limit in preview(prepared):
        name = _LIMIT_WORDS.get(limit.limit, limit_words(limit.limit))
        # The ceiling is told already; what a mode may have at all is still worth a line.
        if limit.limit not in (limits.amplitude_ua.name, limits.sensory_amplitude_ua.name):
            shown = in_unit(limit.figure, limit.unit)
            yield Fact(
                "safety", limit.channel, f"{name} at the ceiling", shown, limit.figure, Harm.HIGHER
            )
        shown = f"{in_unit(limit.allowed, limit.unit)} ({limit.owner})"
        yield Fact("safety", limit.channel, f"{name} allowed", shown, limit.allowed, Harm.HIGHER)


def _of_profile(loaded: LoadedProfile, flat: dict[str, Any]) -> Iterator[Fact]:
    profile = loaded.profile
    yield Fact("safety", 0, "channels", str(len(profile.channels)), len(profile.channels))
    reason = profile.bench_only_reason
    use = "a person" if reason is None else "the bench only"
    yield Fact("safety", 0, "may be used on", use, float(reason is None), Harm.HIGHER)
    for section, key, name, unit, harm in _NUMBERS:
        yield Fact(section, 0, name, f"{flat[key]:g} {unit}", flat[key], harm)
    for section, key, name in _WORDS:
        yield Fact(section, 0, name, flat[key])
    for key, (name, words) in _SWITCHES.items():
        place = list(words).index(flat[key])
        yield Fact("safety", 0, name, words[flat[key]], place, Harm.HIGHER)
    for text in profile.guidance.contraindications:
        yield Fact("safety", 0, f"contraindication: {text}", "told", 1, Harm.LOWER)


def _of_channel(number: int, channel: ChannelProgram) -> Iterator[Fact]:
    """Yield what the programme of a channel says."""

    def fact(name: str, figures: list[float], unit: str, harm: Harm = Harm.NONE) -> Fact:
        low, high = min(figures), max(figures)
        shown = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        worst = low if harm is Harm.LOWER else high
        return Fact("stimulus", number, name, f"{shown} {unit}".rstrip(), worst, harm)

    settings = channel.settings
    yield fact("pulse rate", [rate_hz(setting.pulse_period_us) for setting in settings], "Hz")
    active = [phase for phase in channel.phases if not phase.is_gap]
    gaps = [phase for phase in channel.phases if phase.is_gap]
    for order, phase in enumerate(active, start=1):
        durations = [float(channel.phase_us(phase, setting.unit_us)) for setting in settings]
        yield fact(f"phase {order} duration", durations, "us")
        yield fact(f"phase {order} share", [float(phase.amplitude_permille)], "permille")
    yield fact("interphase gap", [float(sum(gap.duration for gap in gaps))], "us")
    order_words = " ".join("gap" if phase.is_gap else "phase" for phase in channel.phases)
    yield Fact("stimulus", number, "order within a pulse", order_words)
    yield fact("offset against other channels", [channel.pulse_offset_us / US_PER_MS], "ms")
    if channel.pulses_per_burst:
        yield fact("pulses per burst", [float(channel.pulses_per_burst)], "")
        yield fact("burst rate", [rate_hz(channel.burst_period_us)], "Hz")
    cycle = channel.cycle
    if cycle is not None:
        # Steeper ramps and shorter rests are harder on whoever feels them.
        yield fact("ramp up", [cycle.ramp_up_ms / MS_PER_S], "s", Harm.LOWER)
        yield fact("on time", [cycle.on_ms / MS_PER_S], "s", Harm.HIGHER)
        yield fact("ramp down", [cycle.ramp_down_ms / MS_PER_S], "s", Harm.LOWER)
        yield fact("off time", [cycle.off_ms / MS_PER_S], "s", Harm.LOWER)
        yield fact("start of the first cycle", [cycle.offset_ms / MS_PER_S], "s")
    if channel.keyframes:
        yield fact("modulation cycle", [channel.keyframe_cycle_ms / MS_PER_S], "s")
        shares = [float(frame.amplitude_permille) for frame in settings]
        yield fact("modulated amplitude", shares, "permille")
        holds = "; ".join(
            f"{frame.at_ms / MS_PER_S:g} s: {rate_hz(frame.pulse_period_us):g} Hz, "
            f"{channel.phase_us(channel.phases[0], frame.unit_us)} us, "
            f"{frame.amplitude_permille} permille"
            for frame in channel.keyframes
        )
        yield Fact("stimulus", number, "holds of the modulation", holds)


def _of_stimuli(loaded: LoadedProfile) -> Iterator[Fact]:
    for number, channel in enumerate(loaded.profile.channels, start=1):
        stimulus = loaded.profile.channel_stimulus(channel)
        words = ", ".join(
            f"{key} {content}" for key, content in _flattened(stimulus.model_dump(mode="json"), "")
        )
        yield Fact("stimulus", number, AS_WRITTEN, words)


def _of_evidence(loaded: LoadedProfile) -> Iterator[Fact]:
    for item in loaded.profile.evidence:
        study = f"study: {item.study}"
        yield Fact("evidence", 0, study, f"{item.grade} [{item.certainty}]")
        for part in ("effect", "caveat", "source"):
            words = getattr(item, part)
            yield Fact("evidence", 0, f"{study}: {part}", words, part_of=study)


def _of_other_keys(flat: dict[str, Any]) -> Iterator[Fact]:
    """Yield what has no fact of its own (rule 2)."""
    told = {*_SWITCHES, *(key for _, key, *_ in (*_NUMBERS, *_WORDS))}
    for key, content in flat.items():
        top, _, rest = key.partition(".")
        number, name = 0, key
        if top == "channels":
            place, _, name = rest.partition(".")
            number = int(place)
            if name.startswith(_TOLD_OF_CHANNEL):
                continue
        elif key in told or key.startswith(_TOLD):
            continue
        words = name.replace(".", ", ").replace("_", " ")
        yield Fact(_SECTIONS.get(top, "identity"), number, words, str(content))


def _flattened(content: object, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys with what they hold; members of a list count from 1."""
    if isinstance(content, list):
        content = {str(number): part for number, part in enumerate(content, start=1)}
    if not isinstance(content, dict):
        if content is not None:
            yield prefix, content
        return
    for key, part in content.items():
        yield from _flattened(part, f"{prefix}.{key}" if prefix else key)
