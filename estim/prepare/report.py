"""Every derived figure of a profile with its limit, margin, owner and certainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from estim.prepare.session import Prepared
from estim.safety.bounds import Bound, ChannelBounds
from estim.safety.checks import MM2_PER_CM2
from estim.safety.figures import STANDARD_LOAD_OHM, US_PER_S, Figures, ceil_sqrt, figures
from firmware_protocol import limits


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit of one channel, at an amplitude.

    Attributes:
        channel: number from 1.
        limit: name of the limit.
        unit: of `figure` and `allowed`.
        figure: what the programme reaches.
        allowed: the lowest bound.
        margin_permille: how much of the bound is left.
        owner: whose bound it is.
        certainty: S, K, K? or E.
        source: where the limit comes from.
    """

    channel: int
    limit: str
    unit: str
    figure: int
    allowed: int
    margin_permille: int
    owner: str
    certainty: str
    source: str


def _density_ua_per_cm2(worst: Figures, area_mm2: int) -> int:
    square = worst.second_square * MM2_PER_CM2**2
    return -(-ceil_sqrt(-(-square // US_PER_S)) // area_mm2)


def _density_uw_per_cm2(worst: Figures, area_mm2: int) -> int:
    return -(-worst.second_square * STANDARD_LOAD_OHM * MM2_PER_CM2 // (area_mm2 * 10**12))


_FIGURES: dict[str, Callable[[Figures, int], int]] = {
    limits.amplitude_ua.name: lambda worst, _: worst.amplitude_ua,
    limits.sensory_amplitude_ua.name: lambda worst, _: worst.amplitude_ua,
    limits.phase_duration_us.name: lambda worst, _: worst.phase_max_us,
    limits.pulse_duration_us.name: lambda worst, _: worst.pulse_max_us,
    limits.phase_charge_pc.name: lambda worst, _: worst.phase_charge_pc,
    limits.net_charge_pc.name: lambda worst, _: worst.net_charge_pc,
    limits.pulse_energy_uj.name: lambda worst, _: worst.pulse_energy_uj,
    limits.rms_ua.name: lambda worst, _: worst.rms_ua,
    limits.average_ua.name: lambda worst, _: worst.average_ua,
    limits.current_density_ua_per_cm2.name: _density_ua_per_cm2,
    limits.impaired_current_density_ua_per_cm2.name: _density_ua_per_cm2,
    limits.power_density_uw_per_cm2.name: _density_uw_per_cm2,
}


def limit_lines(prepared: Prepared, amplitudes_ua: tuple[int, ...]) -> tuple[LimitLine, ...]:
    """Return every limit of every channel at some amplitudes, tightest first in a channel."""
    lines: list[LimitLine] = []
    for index, (channel, bounds) in enumerate(
        zip(prepared.program.channels, prepared.bounds.channels, strict=True)
    ):
        worst = figures(channel, amplitudes_ua[index], prepared.bounds.amplitude_step_ua)
        of_channel = [
            _line(index + 1, name, worst, bounds)
            for name in _FIGURES
            if any(bound.limit == name for bound in bounds.bounds)
        ]
        lines += sorted(of_channel, key=lambda line: line.margin_permille)
    return tuple(lines)


def preview(prepared: Prepared) -> tuple[LimitLine, ...]:
    """Return every limit at the ceilings: what would bind a full session."""
    return limit_lines(prepared, tuple(line.ceiling_ua for line in prepared.ceilings))


def _line(channel: int, name: str, worst: Figures, bounds: ChannelBounds) -> LimitLine:
    bound = min((b for b in bounds.bounds if b.limit == name), key=lambda b: b.value)
    allowed = _allowed(bound, worst)
    figure = _FIGURES[name](worst, bounds.electrode_area_mm2)
    margin = 0 if allowed == 0 else (allowed - figure) * 1000 // allowed
    entry = limits.BY_NAME[name]
    return LimitLine(
        channel, name, entry.unit, figure, allowed, margin if allowed else 1000,
        bound.owner.value, entry.certainty.value, entry.source,
    )  # fmt: skip


def _allowed(bound: Bound, worst: Figures) -> int:
    if bound.limit != limits.phase_charge_pc.name:
        return bound.value
    tightest = max(
        worst.phase_charges,
        key=lambda pair: pair[0] * 1000 // limits.compiled_phase_charge_pc(pair[1]),
    )
    return min(bound.value, limits.compiled_phase_charge_pc(tightest[1]))
