"""Who bounds what: limits as data, layered.

Rules:
1. A bound names a limit of `firmware_protocol.limits`, a value, and whose it is.
2. Layers only lower: every check runs against every bound, so the lowest binds and a higher one
   cannot undo it.
3. `intersect` adds the compiled limits and the device's capabilities whatever it was given;
   without the compiled limits bounds allow nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from firmware_protocol import limits
from firmware_protocol.messages import Capabilities, PolicyFlag


class Owner(Enum):
    """Whose limit it is."""

    STANDARD = "standard"
    DEVICE = "device"
    ELECTRODE = "electrode"
    PROFILE = "profile"
    PATIENT = "patient"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit's value in one layer, in the unit of `limits.BY_NAME[limit]`."""

    limit: str
    value: int
    owner: Owner


@dataclass(frozen=True, slots=True)
class ChannelBounds:
    """What bounds one channel; `electrode_area_mm2` is that of its smallest electrode."""

    bounds: tuple[Bound, ...]
    electrode_area_mm2: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """Everything that bounds a session.

    Attributes:
        channels: one entry per channel of the programme.
        session: bounds on rise and time that hold for all channels.
        policy: what the device is told of lead-off and patient stop.
        is_bench: a dummy load and nobody connected; a clinical session is never that.
        amplitude_step_ua: the device's amplitude step.
    """

    channels: tuple[ChannelBounds, ...]
    session: tuple[Bound, ...]
    policy: PolicyFlag
    is_bench: bool
    amplitude_step_ua: int

    def __hash__(self) -> int:
        """Hash little: every Drive looks these bounds up, and they are nearly always the same."""
        return hash((len(self.session), self.amplitude_step_ua))


COMPILED_CHANNEL_LIMITS = (
    limits.amplitude_ua,
    limits.phase_duration_us,
    limits.pulse_duration_us,
    limits.phase_charge_pc,
    limits.net_charge_pc,
    limits.pulse_energy_uj,
    limits.rms_ua,
    limits.average_ua,
    limits.current_density_ua_per_cm2,
    limits.power_density_uw_per_cm2,
)
COMPILED_SESSION_LIMITS = (
    limits.setpoint_slew_ua_per_s,
    limits.rise_per_cycle_ua,
    limits.step_ua,
    limits.held_key_rise_ua_per_s,
    limits.running_ms,
    limits.heartbeat_ms,
)


def compiled_channel_bounds() -> tuple[Bound, ...]:
    """Return what `limits.py` says of any channel; densities bind by the electrode."""
    return tuple(
        Bound(
            limit.name,
            limit.maximum,
            Owner.ELECTRODE if limit.name.endswith("_per_cm2") else Owner.STANDARD,
        )
        for limit in COMPILED_CHANNEL_LIMITS
    )


def compiled_session_bounds(is_bench: bool) -> tuple[Bound, ...]:
    """Return what `limits.py` says of any session; on a person nothing may leap either."""
    stated = [(limit.name, limit.maximum) for limit in COMPILED_SESSION_LIMITS]
    if not is_bench:
        ramp_up, charge_rise = limits.cycle_ramp_up_ms, limits.charge_rise_permille
        stated += [(ramp_up.name, ramp_up.minimum), (charge_rise.name, charge_rise.maximum)]
    return tuple(Bound(name, value, Owner.STANDARD) for name, value in stated)


def with_compiled(bounds: Bounds, device: tuple[Bound, ...] = ()) -> Bounds:
    """Add the compiled limits, and what a device bounds, wherever they are missing."""
    layers = (*compiled_channel_bounds(), *device)
    channels = tuple(
        ChannelBounds(_merge(layers, channel.bounds), channel.electrode_area_mm2)
        for channel in bounds.channels
    )
    session = _merge(compiled_session_bounds(bounds.is_bench), bounds.session)
    return replace(bounds, channels=channels, session=session)


def intersect(bounds: Bounds, capabilities: Capabilities) -> Bounds:
    """Add the compiled limits and the device's own to whatever was prepared (rule 3)."""
    device = Bound(limits.amplitude_ua.name, capabilities.amplitude_max_ua, Owner.DEVICE)
    merged = with_compiled(bounds, (device,))
    merged = replace(merged, amplitude_step_ua=capabilities.amplitude_step_ua)
    return bounds if merged == bounds else merged


def _merge(layers: tuple[Bound, ...], given: tuple[Bound, ...]) -> tuple[Bound, ...]:
    return (*layers, *(bound for bound in given if bound not in layers))
