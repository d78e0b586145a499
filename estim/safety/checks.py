"""One check per limit: does what is asked exceed one bound?

Rules:
1. A check compares integers and returns a `Reason` or None; it changes nothing and clamps nothing.
2. `CHECKS` holds exactly the limits that the host enforces; a test compares it with `limits.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

from estim.safety.bounds import Bound
from estim.safety.figures import (
    STANDARD_LOAD_OHM,
    Figures,
    largest_charge_rise,
    shortest_ramp_up,
)
from estim.safety.verdict import Reason
from estim.units import in_unit
from firmware_protocol import limits
from firmware_protocol.messages import SetLimits
from firmware_protocol.program import ChannelProgram

MM2_PER_CM2 = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of one channel, or (channel 0) of the session."""

    channel: int
    program: ChannelProgram | None = None
    figures: Figures | None = None
    electrode_area_mm2: int = 0
    key_rise_ua: int = 0
    key_rise_in_second_ua: int = 0
    session_limits: SetLimits | None = None
    heartbeat_age_ms: int = 0
    running_ms: int = 0

    @property
    def played(self) -> ChannelProgram:
        """Return the programme; raise ValueError where there is none to check."""
        if self.program is None:
            raise ValueError("a check of rises needs a programme")
        return self.program

    @property
    def worst(self) -> Figures:
        """Return the figures; raise ValueError where there are none to check."""
        if self.figures is None:
            raise ValueError("a check of output needs figures")
        return self.figures


Check = Callable[[Ask, Bound], Reason | None]


def _too_high(ask: Ask, bound: Bound, asked: int) -> Reason | None:
    if asked <= bound.value:
        return None
    return Reason(bound.limit, asked, bound.value, bound.owner, ask.channel)


def _at_most(figure: Callable[[Ask], int]) -> Check:
    """Return the check that refuses a figure above the bound."""
    return lambda ask, bound: _too_high(ask, bound, figure(ask))


def check_phase_duration(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse an active phase longer than the bound, or shorter than the compiled minimum."""
    figures = ask.worst
    shortest_us = limits.phase_duration_us.minimum
    if figures.phase_min_us < shortest_us:
        return Reason(
            bound.limit, figures.phase_min_us, shortest_us, bound.owner, ask.channel, "at least"
        )
    return _too_high(ask, bound, figures.phase_max_us)


def check_phase_charge(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a phase whose charge exceeds the bound or 20 uC + 28 uC/ms x its duration."""
    judged = [
        (charge_pc, min(bound.value, limits.compiled_phase_charge_pc(duration_us)))
        for charge_pc, duration_us in ask.worst.phase_charges
    ]
    charge_pc, allowed_pc = max(judged, key=lambda pair: pair[0] - pair[1])
    if charge_pc <= allowed_pc:
        return None
    return Reason(bound.limit, charge_pc, allowed_pc, bound.owner, ask.channel)


def check_density(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse an RMS current above what a density allows under the smallest electrode."""
    worst, area_mm2 = ask.worst, ask.electrode_area_mm2
    if worst.rms_ua <= density_rms_ua(bound, area_mm2):
        return None
    is_power = bound.limit == limits.power_density_uw_per_cm2.name
    density = power_density_uw_per_cm2 if is_power else current_density_ua_per_cm2
    asked, area = density(worst, area_mm2), in_unit(area_mm2, "mm2")
    return Reason(bound.limit, asked, bound.value, bound.owner, ask.channel, area)


def density_rms_ua(bound: Bound, area_mm2: int) -> int:
    """Return the RMS current that a density bound allows on an electrode, rounded down.

    The device is sent this figure, so the kernel judges by it too and both refuse alike.
    """
    if bound.limit == limits.power_density_uw_per_cm2.name:
        return isqrt(bound.value * area_mm2 * 10**6 // (STANDARD_LOAD_OHM * MM2_PER_CM2))
    return bound.value * area_mm2 // MM2_PER_CM2


def current_density_ua_per_cm2(worst: Figures, area_mm2: int) -> int:
    """Return the RMS current density under an electrode, rounded up."""
    return -(-worst.rms_ua * MM2_PER_CM2 // area_mm2)


def power_density_uw_per_cm2(worst: Figures, area_mm2: int) -> int:
    """Return the mean power density into 500 ohm under an electrode, rounded up.

    uA2 x ohm is 1e-12 W, which is 1e-6 uW.
    """
    return -(-(worst.rms_ua**2) * STANDARD_LOAD_OHM * MM2_PER_CM2 // (area_mm2 * 10**6))


def check_session_limit(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse session limits above the bound; below its minimum the device takes no value."""
    lowest = limits.BY_NAME[bound.limit].minimum
    if bound.value < lowest:
        return Reason(bound.limit, bound.value, lowest, bound.owner, 0, "at least")
    asked: int = getattr(ask.session_limits, bound.limit)
    return _too_high(ask, bound, asked)


def check_ramp_up(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse an amplitude that, on a person, rises from nothing faster than the bound."""
    ramp_up_ms, cause = shortest_ramp_up(ask.played, bound.value)
    if ramp_up_ms >= bound.value:
        return None
    return Reason(bound.limit, ramp_up_ms, bound.value, bound.owner, ask.channel, cause)


SHAPE_CHECKS: dict[str, Check] = {
    limits.phase_duration_us.name: check_phase_duration,
    limits.pulse_duration_us.name: _at_most(lambda ask: ask.worst.pulse_max_us),
}
DENSITY_CHECKS: dict[str, Check] = {
    limits.current_density_ua_per_cm2.name: check_density,
    limits.impaired_current_density_ua_per_cm2.name: check_density,
    limits.power_density_uw_per_cm2.name: check_density,
}
OUTPUT_CHECKS: dict[str, Check] = {
    limits.amplitude_ua.name: _at_most(lambda ask: ask.worst.amplitude_ua),
    limits.sensory_amplitude_ua.name: _at_most(lambda ask: ask.worst.amplitude_ua),
    limits.phase_charge_pc.name: check_phase_charge,
    limits.net_charge_pc.name: _at_most(lambda ask: ask.worst.net_charge_pc),
    limits.pulse_energy_uj.name: _at_most(lambda ask: ask.worst.pulse_energy_uj),
    limits.rms_ua.name: _at_most(lambda ask: ask.worst.rms_ua),
    limits.average_ua.name: _at_most(lambda ask: ask.worst.average_ua),
    **SHAPE_CHECKS,
    **DENSITY_CHECKS,
}
KEY_CHECKS: dict[str, Check] = {
    limits.step_ua.name: _at_most(lambda ask: ask.key_rise_ua),
    limits.held_key_rise_ua_per_s.name: _at_most(
        lambda ask: max(ask.key_rise_in_second_ua, 0) + ask.key_rise_ua
    ),
}
LOAD_CHECKS: dict[str, Check] = {
    limit.name: check_session_limit
    for limit in (
        limits.setpoint_slew_ua_per_s,
        limits.rise_per_cycle_ua,
        limits.step_ua,
        limits.running_ms,
    )
}
RISE_CHECKS: dict[str, Check] = {
    limits.cycle_ramp_up_ms.name: check_ramp_up,
    limits.charge_rise_permille.name: _at_most(lambda ask: largest_charge_rise(ask.played)),
}
TIME_CHECKS: dict[str, Check] = {
    limits.running_ms.name: _at_most(lambda ask: ask.running_ms),
    limits.heartbeat_ms.name: _at_most(lambda ask: ask.heartbeat_age_ms),
}
SESSION_CHECKS = KEY_CHECKS | RISE_CHECKS | TIME_CHECKS | LOAD_CHECKS
CHECKS = OUTPUT_CHECKS | SESSION_CHECKS


def run(checks: dict[str, Check], ask: Ask, bounds: tuple[Bound, ...]) -> list[Reason]:
    """Run every check whose limit is bounded; return all reasons, tightest layer first."""
    reasons = []
    for bound in bounds:
        check = checks.get(bound.limit)
        reason = check(ask, bound) if check else None
        if reason is not None:
            reasons.append(reason)
    return sorted(reasons, key=lambda reason: reason.allowed or 0)
