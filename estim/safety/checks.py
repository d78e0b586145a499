"""One function per limit: does what is asked exceed one bound?

Rules:
1. A check compares integers and returns a `Reason` or None; it changes nothing and clamps nothing.
2. `CHECKS` holds exactly the limits that the host enforces; a test compares it with `limits.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from firmware_protocol import limits
from firmware_protocol.messages import SetLimits
from firmware_protocol.program import ChannelProgram

from estim.safety.bounds import Bound
from estim.safety.figures import STANDARD_LOAD_OHM, US_PER_S, Figures, ceil_sqrt
from estim.safety.verdict import Reason

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


Check = Callable[[Ask, Bound], Reason | None]


def _too_high(ask: Ask, bound: Bound, asked: int, explanation: str = "") -> Reason | None:
    if asked <= bound.value:
        return None
    return Reason(bound.limit, asked, bound.value, bound.owner, ask.channel, explanation)


def _figures(ask: Ask) -> Figures:
    if ask.figures is None:
        raise ValueError("a check of output needs figures")
    return ask.figures


def _limits(ask: Ask) -> SetLimits:
    if ask.session_limits is None:
        raise ValueError("a check of the session needs its limits")
    return ask.session_limits


def check_amplitude(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a target amplitude above the bound."""
    return _too_high(ask, bound, _figures(ask).amplitude_ua)


def check_phase_duration(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse an active phase longer than the bound, or shorter than the compiled minimum."""
    figures = _figures(ask)
    shortest_us = limits.phase_duration_us.minimum
    if figures.phase_min_us < shortest_us:
        return Reason(
            bound.limit, figures.phase_min_us, shortest_us, bound.owner, ask.channel, "at least"
        )
    return _too_high(ask, bound, figures.phase_max_us)


def check_pulse_duration(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a whole pulse longer than the bound."""
    return _too_high(ask, bound, _figures(ask).pulse_max_us)


def check_phase_charge(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a phase whose charge exceeds the bound or 20 uC + 28 uC/ms x its duration."""
    for charge_pc, duration_us in _figures(ask).phase_charges:
        allowed_pc = min(bound.value, limits.compiled_phase_charge_pc(duration_us))
        if charge_pc > allowed_pc:
            return Reason(bound.limit, charge_pc, allowed_pc, bound.owner, ask.channel)
    return None


def check_net_charge(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a pulse that is not balanced to the last picocoulomb."""
    return _too_high(ask, bound, _figures(ask).net_charge_pc)


def check_pulse_energy(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a pulse whose energy into 500 ohm exceeds the bound."""
    return _too_high(ask, bound, _figures(ask).pulse_energy_uj)


def check_rms(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse an RMS current over the worst second above the bound."""
    figures = _figures(ask)
    if figures.second_square <= bound.value**2 * US_PER_S:
        return None
    return Reason(bound.limit, figures.rms_ua, bound.value, bound.owner, ask.channel)


def check_average(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse an average absolute current over the worst second above the bound."""
    figures = _figures(ask)
    if figures.second_absolute_pc <= bound.value * US_PER_S:
        return None
    return Reason(bound.limit, figures.average_ua, bound.value, bound.owner, ask.channel)


def check_current_density(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse an RMS current above density x area of the smallest electrode."""
    figures = _figures(ask)
    allowed = bound.value * ask.electrode_area_mm2
    if figures.second_square * MM2_PER_CM2**2 <= allowed**2 * US_PER_S:
        return None
    asked = ceil_sqrt(-(-figures.second_square * MM2_PER_CM2**2 // US_PER_S))
    density = -(-asked // ask.electrode_area_mm2) if ask.electrode_area_mm2 else asked
    return Reason(bound.limit, density, bound.value, bound.owner, ask.channel, _area_words(ask))


def check_power_density(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a mean output into 500 ohm above density x area of the smallest electrode."""
    # uA2 us per second x ohm = 1e-18 W s / s; x 1e12 makes uW, and 1 cm2 is 100 mm2.
    scaled = _figures(ask).second_square * STANDARD_LOAD_OHM * MM2_PER_CM2
    if scaled <= bound.value * ask.electrode_area_mm2 * 10**12:
        return None
    density = -(-scaled // (max(ask.electrode_area_mm2, 1) * 10**12))
    return Reason(bound.limit, density, bound.value, bound.owner, ask.channel, _area_words(ask))


def check_step(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a rise by one key press above the bound, or a session step above it."""
    if ask.session_limits is not None:
        return _too_high(ask, bound, ask.session_limits.step_ua)
    return _too_high(ask, bound, ask.key_rise_ua)


def check_held_key_rise(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a rise that makes more than the bound within one second by keys."""
    if ask.key_rise_ua == 0:
        return None
    return _too_high(ask, bound, ask.key_rise_in_second_ua + ask.key_rise_ua)


def check_setpoint_slew(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse session limits that let a setpoint rise faster than the bound."""
    return _too_high(ask, bound, _limits(ask).setpoint_slew_ua_per_s)


def check_rise_per_cycle(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse session limits that let a setpoint rise further in a cycle than the bound."""
    return _too_high(ask, bound, _limits(ask).rise_per_cycle_ua)


def check_running(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse to run on, or to let the device run, longer than the bound."""
    asked_ms = ask.running_ms if ask.session_limits is None else _limits(ask).running_ms
    return _too_high(ask, bound, asked_ms)


def check_heartbeat(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse to drive on when the display has not shown anything new within the bound."""
    return _too_high(ask, bound, ask.heartbeat_age_ms)


def check_cycle_ramp_up(ask: Ask, bound: Bound) -> Reason | None:
    """Refuse a cycle on a person that ramps up faster than the bound."""
    if ask.program is None or ask.program.cycle is None:
        return None
    ramp_up_ms = ask.program.cycle.ramp_up_ms
    if ramp_up_ms >= bound.value:
        return None
    return Reason(bound.limit, ramp_up_ms, bound.value, bound.owner, ask.channel, "at least")


OUTPUT_CHECKS: dict[str, Check] = {
    limits.amplitude_ua.name: check_amplitude,
    limits.sensory_amplitude_ua.name: check_amplitude,
    limits.phase_duration_us.name: check_phase_duration,
    limits.pulse_duration_us.name: check_pulse_duration,
    limits.phase_charge_pc.name: check_phase_charge,
    limits.net_charge_pc.name: check_net_charge,
    limits.pulse_energy_uj.name: check_pulse_energy,
    limits.rms_ua.name: check_rms,
    limits.average_ua.name: check_average,
    limits.current_density_ua_per_cm2.name: check_current_density,
    limits.impaired_current_density_ua_per_cm2.name: check_current_density,
    limits.power_density_uw_per_cm2.name: check_power_density,
}
KEY_CHECKS: dict[str, Check] = {
    limits.step_ua.name: check_step,
    limits.held_key_rise_ua_per_s.name: check_held_key_rise,
}
LOAD_CHECKS: dict[str, Check] = {
    limits.setpoint_slew_ua_per_s.name: check_setpoint_slew,
    limits.rise_per_cycle_ua.name: check_rise_per_cycle,
    limits.step_ua.name: check_step,
    limits.running_ms.name: check_running,
}
CYCLE_CHECKS: dict[str, Check] = {limits.cycle_ramp_up_ms.name: check_cycle_ramp_up}
TIME_CHECKS: dict[str, Check] = {
    limits.running_ms.name: check_running,
    limits.heartbeat_ms.name: check_heartbeat,
}
CHECKS: dict[str, Check] = {
    **OUTPUT_CHECKS,
    **KEY_CHECKS,
    **LOAD_CHECKS,
    **CYCLE_CHECKS,
    **TIME_CHECKS,
}


def run(checks: dict[str, Check], ask: Ask, bounds: tuple[Bound, ...]) -> list[Reason]:
    """Run every check whose limit is bounded; return all reasons, tightest layer first."""
    reasons = []
    for bound in sorted(bounds, key=lambda bound: bound.value):
        check = checks.get(bound.limit)
        reason = check(ask, bound) if check else None
        if reason is not None:
            reasons.append(reason)
    return reasons


def _area_words(ask: Ask) -> str:
    return f"{ask.electrode_area_mm2 / MM2_PER_CM2:g} cm2"
