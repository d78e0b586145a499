"""Every derived figure of a profile with its limit, margin, owner and certainty.

It is what `estim profiles show` prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from estim.prepare.session import Prepared
from estim.safety.bounds import Bound, ChannelBounds
from estim.safety.checks import current_density_ua_per_cm2, power_density_uw_per_cm2
from estim.safety.figures import Figures, figures
from firmware_protocol import limits


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit of one channel, at an amplitude.

    Attributes:
        channel: number from 1.
        limit: name of the limit.
        unit: of `figure` and `allowed`.
        figure: what the programme reaches, or does not exceed.
        is_upper_bound: whether less may flow in truth than `figure` says.
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
    is_upper_bound: bool
    allowed: int
    margin_permille: int
    owner: str
    certainty: str
    source: str


_FIGURES: dict[str, Callable[[Figures, int], int]] = {
    limits.amplitude_ua.name: lambda worst, _: worst.amplitude_ua,
    limits.sensory_amplitude_ua.name: lambda worst, _: worst.amplitude_ua,
    limits.phase_duration_us.name: lambda worst, _: worst.phase_max_us,
    limits.pulse_duration_us.name: lambda worst, _: worst.pulse_max_us,
    limits.net_charge_pc.name: lambda worst, _: worst.net_charge_pc,
    limits.pulse_energy_uj.name: lambda worst, _: worst.pulse_energy_uj,
    limits.rms_ua.name: lambda worst, _: worst.rms_ua,
    limits.average_ua.name: lambda worst, _: worst.average_ua,
    limits.current_density_ua_per_cm2.name: current_density_ua_per_cm2,
    limits.impaired_current_density_ua_per_cm2.name: current_density_ua_per_cm2,
    limits.power_density_uw_per_cm2.name: power_density_uw_per_cm2,
}

_OVER_THE_WORST_SECOND = frozenset(
    {
        limits.rms_ua.name,
        limits.average_ua.name,
        limits.current_density_ua_per_cm2.name,
        limits.impaired_current_density_ua_per_cm2.name,
        limits.power_density_uw_per_cm2.name,
    }
)


def limit_lines(prepared: Prepared, amplitudes_ua: tuple[int, ...]) -> tuple[LimitLine, ...]:
    """Return every limit of every channel at amplitudes, tightest first within a channel."""
    lines: list[LimitLine] = []
    for index, (channel, bounds) in enumerate(
        zip(prepared.program.channels, prepared.bounds.channels, strict=True)
    ):
        # Elsewhere sums over the worst second are not reached, only never exceeded.
        is_exact = len(channel.settings) == 1 and channel.cycle is None
        worst = figures(channel, amplitudes_ua[index], prepared.bounds.amplitude_step_ua)
        of_channel = [
            _line(index + 1, name, worst, bounds, is_exact)
            for name in sorted({bound.limit for bound in bounds.bounds})
        ]
        lines += sorted(of_channel, key=lambda line: line.margin_permille)
    return tuple(lines)


def preview(prepared: Prepared) -> tuple[LimitLine, ...]:
    """Return every limit at the ceilings: what would bind a full session."""
    return limit_lines(prepared, tuple(line.ceiling_ua for line in prepared.ceilings))


def _line(
    channel: int, name: str, worst: Figures, bounds: ChannelBounds, is_exact: bool
) -> LimitLine:
    bound = min((b for b in bounds.bounds if b.limit == name), key=lambda b: b.value)
    if name == limits.phase_charge_pc.name:
        figure, allowed = _tightest_phase(worst, bound)
    else:
        figure, allowed = _FIGURES[name](worst, bounds.electrode_area_mm2), bound.value
    entry = limits.BY_NAME[name]
    return LimitLine(
        channel, name, entry.unit, figure,
        not is_exact and name in _OVER_THE_WORST_SECOND, allowed,
        (allowed - figure) * 1000 // allowed if allowed else 1000,
        bound.owner.value, entry.certainty.value, entry.source,
    )  # fmt: skip


def _tightest_phase(worst: Figures, bound: Bound) -> tuple[int, int]:
    """Return charge and allowed charge of the phase that has the least left."""
    return max(
        (
            (charge_pc, min(bound.value, limits.compiled_phase_charge_pc(duration_us)))
            for charge_pc, duration_us in worst.phase_charges
        ),
        key=lambda pair: Fraction(pair[0], max(pair[1], 1)),
    )
