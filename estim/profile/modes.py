"""The modes of stimulation: their names, what each must play, and those that are refused by name.

Rules:
1. A mode's name is a claim about what flows. `mismatch` refuses a name that the stimulus belies.
2. On a person a pulse rate is one that its mode is named for; a bench may try any.
3. What leaves a net charge has no mode here. Its name, as a mode or as a waveform, is answered with
   the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal

from estim.profile.modulation import (
    BeatModulation,
    DurationPoint,
    Modulation,
    ModulationPoint,
    Quantity,
    RandomModulation,
    varied,
)
from estim.profile.stimulus import SteppedSinePulse, Stimulus
from firmware_protocol import limits

Mode = Literal[
    "conventional",
    "low-rate",
    "burst",
    "brief-intense",
    "frequency-modulated",
    "width-modulated",
    "frequency-width-modulated",
    "amplitude-modulated",
    "strength-duration",
    "dense-disperse",
    "randomised",
    "tibial-nerve",
    "nmes",
    "fes",
    "russian",
    "interferential",
    "microcurrent",
]
MOTOR_MODES: frozenset[Mode] = frozenset({"nmes", "fes", "russian"})
"""Modes meant to move a limb; all others are sensory, bound by `limits.sensory_amplitude_ua`."""
BENCH_ONLY_MODES: frozenset[Mode] = frozenset({"fes", "russian", "interferential", "microcurrent"})
"""Modes not for a person until reviewed.

Sine carriers meet the average limit at low amplitudes, a movement cannot wait for the slow rise of
a setpoint, and no study used microcurrent in the balanced form that is possible here.
"""

_NET_CHARGE = (
    "it leaves a net charge under the electrodes, which burns the skin; every pulse here must "
    "balance to zero"
)
_AMPLIFIER = "it needs an output that no pulsed, current-controlled stimulator has"
_REASONS: dict[str, str] = {
    "direct current": f"current in one direction: {_NET_CHARGE}",
    "direct current in pulses": f"pulses of one direction: {_NET_CHARGE}",
    "rectified sine": f"a rectified sine flows in one direction: {_NET_CHARGE}",
    "drugs": f"direct current that drives drugs through the skin: {_NET_CHARGE}",
    "one direction": f"pulses of one direction: {_NET_CHARGE}",
    "high voltage": f"twin peaks of one direction at up to 500 V: {_NET_CHARGE}",
    "four-pole": (
        "two medium-frequency currents that cross in the tissue: both flow at once, where channels "
        "here take turns; the premodulated form is mode 'interferential'"
    ),
    "h-wave": (
        f"phases of 4000 us; a phase here lasts at most {limits.phase_duration_us.maximum} us"
    ),
    "htems": f"a sine swept from 4096 to 32768 Hz: {_AMPLIFIER}",
    "frems": "its pulse sequence is proprietary and was not published in full",
}
EXCLUDED: dict[str, str] = {
    name: _REASONS[reason]
    for reason, names in {
        "direct current": ("galvanic", "direct-current", "dc", "continuous-galvanic", "tdcs"),
        "direct current in pulses": (
            "pulsed-direct-current", "pulsed-dc", "interrupted-galvanic", "interrupted-dc",
        ),
        "rectified sine": (
            "diadynamic", "bernard", "monophase-fixe", "diphase-fixe", "courtes-periodes",
            "longues-periodes", "rectified-sine",
        ),
        "drugs": ("iontophoresis", "iontophoretic"),
        "one direction": ("monophasic", "unidirectional", "unipolar"),
        "high voltage": (
            "hvpc", "hvpgs", "hvgs", "hvps", "high-voltage", "high-voltage-pulsed-current",
            "high-voltage-galvanic", "twin-peak",
        ),
        "four-pole": (
            "four-pole-interferential", "4-pole-interferential", "quadripolar-interferential",
            "interferential-four-pole",
        ),
        "h-wave": ("h-wave", "hwave"),
        "htems": ("htems", "high-tone", "high-tone-therapy"),
        "frems": ("frems",),
    }.items()
    for name in names
}  # fmt: skip
"""Names of currents that no profile can have, each with the reason."""

_VARIED: dict[Mode, tuple[frozenset[Quantity], ...]] = {
    "frequency-modulated": (frozenset({"pulse_rate_hz"}),),
    "width-modulated": (frozenset({"phase_duration_us"}),),
    "frequency-width-modulated": (frozenset({"pulse_rate_hz", "phase_duration_us"}),),
    "amplitude-modulated": (frozenset({"amplitude_permille"}),),
    "dense-disperse": (
        frozenset({"pulse_rate_hz"}),
        frozenset({"pulse_rate_hz", "phase_duration_us"}),
    ),
}
_CHANGES: dict[Mode, str] = {
    "strength-duration": "strength-duration",
    "dense-disperse": "hold",
    "randomised": "random",
    "interferential": "beat",
}
_TABLES: dict[Mode, tuple[str, ...]] = {
    "burst": ("burst",),
    "nmes": ("cycle",),
    "fes": ("cycle",),
    "russian": ("burst", "cycle"),
}
_RATES_HZ: dict[Mode, tuple[int, int]] = {"conventional": (10, 150), "low-rate": (1, 10)}
"""The lowest and the highest pulse rate that a mode is named for: a proposal of this project [E].

Sources that were read have 80 to 150 Hz and 50 to 120 Hz for conventional, 1 to 5 Hz for low-rate
stimulation [S]. The names meet at 10 Hz, so that the one trial at 14 Hz has a place.
"""
_OTHER_RATES_HZ = (0, 1000)
"""What any other mode may have on a person: carriers above it are for the bench until reviewed [E].

Without it, steps that draw a sine would pass as a custom pulse.
"""
_SINES: frozenset[Mode] = frozenset({"russian", "interferential"})


def exclusion(name: object) -> str | None:
    """Return why a current of this name is refused, or None for a name that is not excluded."""
    if not isinstance(name, str):
        return None
    return EXCLUDED.get("-".join(name.lower().replace("_", " ").replace("-", " ").split()))


def mismatch(mode: Mode, stimulus: Stimulus) -> tuple[tuple[str, ...], str] | None:
    """Return key and sentence where a stimulus is not what its mode's name says, else None."""
    for table in _TABLES.get(mode, ()):
        if getattr(stimulus, table) is None:
            return (table,), f"missing; mode {mode!r} has one"
    if mode in _SINES and not isinstance(stimulus.pulse, SteppedSinePulse):
        return ("pulse", "waveform"), (
            f"{stimulus.pulse.waveform!r}; expected 'stepped-sine' in mode {mode!r}"
        )
    if mode in _VARIED or mode in _CHANGES:
        return _modulation_mismatch(mode, stimulus.modulation)
    return None


def rate_mismatch(mode: Mode, stimulus: Stimulus) -> tuple[tuple[str | int, ...], str] | None:
    """Return key and sentence where a pulse rate is not one that a mode may have, else None."""
    lowest_hz, highest_hz = _RATES_HZ.get(mode, _OTHER_RATES_HZ)
    for path, rate_hz in _rates_hz(stimulus):
        if not lowest_hz <= rate_hz <= highest_hz:
            return path, f"{rate_hz}; expected {lowest_hz} to {highest_hz} Hz in mode {mode!r}"
    return None


def _rates_hz(stimulus: Stimulus) -> Iterator[tuple[tuple[str | int, ...], Decimal]]:
    """Yield the key of each pulse rate that is stated, and the rate."""
    yield ("pulse_rate_hz",), stimulus.pulse_rate_hz
    modulation = stimulus.modulation
    if isinstance(modulation, RandomModulation):
        yield ("modulation", "lowest_pulse_rate_hz"), modulation.lowest_pulse_rate_hz
        yield ("modulation", "highest_pulse_rate_hz"), modulation.highest_pulse_rate_hz
    elif modulation is not None and not isinstance(modulation, BeatModulation):
        points: tuple[ModulationPoint | DurationPoint, ...] = modulation.points
        for index, point in enumerate(points):
            if point.pulse_rate_hz is not None:
                yield ("modulation", "points", index, "pulse_rate_hz"), point.pulse_rate_hz


def is_for_bench_only(mode: Mode, stimulus: Stimulus) -> bool:
    """Tell whether a person may not have this, whatever its mode is called."""
    return (
        mode in BENCH_ONLY_MODES
        or isinstance(stimulus.pulse, SteppedSinePulse)
        or isinstance(stimulus.modulation, BeatModulation)
    )


def _modulation_mismatch(
    mode: Mode, modulation: Modulation | None
) -> tuple[tuple[str, ...], str] | None:
    if modulation is None:
        return ("modulation",), f"missing; mode {mode!r} has one"
    change = _CHANGES.get(mode, modulation.change)
    if modulation.change != change:
        return ("modulation", "change"), (
            f"{modulation.change!r}; expected {change!r} in mode {mode!r}"
        )
    expected = _VARIED.get(mode)
    found = varied(modulation)
    if expected is not None and found not in expected:
        return ("modulation",), (
            f"it changes {_listed(found) or 'nothing'}; mode {mode!r} changes "
            f"{_listed(expected[-1])}"
        )
    return None


def _listed(quantities: frozenset[Quantity]) -> str:
    return " and ".join(sorted(quantities))
