"""From profile, device, electrodes, patient and site to a programme and its bounds.

Rules:
1. Every layer adds bounds; none takes one away.
2. The programme is the quantised one: what is shown and checked is what will flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from estim.errors import LimitRefused
from estim.prepare.site import SitePolicy
from estim.prepare.station import Standing, check_for_people
from estim.profile.explain import Origin
from estim.profile.models import AREA_MAX_CM2, Profile
from estim.safety import kernel
from estim.safety.bounds import (
    Bound,
    Bounds,
    ChannelBounds,
    Owner,
    intersect,
)
from estim.safety.verdict import Reason, Refused
from estim.session.messages import DeviceSnapshot, SessionSettings
from estim.units import MS_PER_S, UA_PER_MA
from estim.waveform.compile import compile_profile
from firmware_protocol import limits
from firmware_protocol.messages import Capabilities, CapabilityFlag, PolicyFlag
from firmware_protocol.program import FULL_PERMILLE, PulseProgram, from_canonical_bytes

MM2_PER_CM2 = 100
END_ALLOWANCE_S = 60
IMPAIRED_AREA_CM2 = Decimal(25)
IMPAIRED_SLEW_UA_PER_S = 1000
"""What impaired sensation asks for, beside lower ceilings: proposals of this project [E]."""

REFERENCE = Capabilities(
    in_reply_to=0,
    channel_count=4,
    phases_max=16,
    keyframes_max=32,
    flags=CapabilityFlag(sum(CapabilityFlag)),
    amplitude_max_ua=limits.amplitude_ua.maximum,
    amplitude_step_ua=100,
    compliance_mv=180_000,
    phase_min_us=limits.phase_duration_us.minimum,
    phase_max_us=limits.phase_duration_us.maximum,
    pulse_period_min_us=100,
    residual_ms=limits.zero_after_silence_ms.maximum,
)
"""A device that can do everything the protocol can: for looking at a profile without a device."""


@dataclass(frozen=True, slots=True)
class ChannelCeiling:
    """How far a channel may rise, and what stops it there."""

    channel: int
    name: str
    ceiling_ua: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that an engine needs to load."""

    program: PulseProgram
    bounds: Bounds
    settings: SessionSettings
    ceilings: tuple[ChannelCeiling, ...]


def prepare(
    profile: Profile,
    capabilities: Capabilities = REFERENCE,
    *,
    is_bench: bool,
    site: SitePolicy | None = None,
    duration_s: int | None = None,
    electrode_area_cm2: Decimal | None = None,
    patient_ceiling_ua: int | None = None,
    is_sensation_impaired: bool = False,
    standing: Standing | None = None,
    sha256: str = "",
    origin: Origin | None = None,
) -> Prepared:
    """Compile a profile and gather its bounds for one device.

    Args:
        profile: what to deliver.
        capabilities: of the device; the reference where there is none yet.
        is_bench: a dummy load and nobody connected.
        site: the site's policy.
        duration_s: seconds of plateau; the profile's own if None.
        electrode_area_cm2: of the smallest electrode; if None the profile's recommendation on a
            bench, and on a person the least that the profile allows.
        patient_ceiling_ua: what this patient may have at most.
        is_sensation_impaired: whether sensation at the site is impaired.
        standing: where the station's register says that the device stands; None if it is not there.
        sha256: of the profile's file, for the record; on a person the engine asks for it.
        origin: the profile's file, for messages.

    Raises:
        ProfileError: the profile cannot be compiled.
        LimitRefused: a limit refuses it before anything is sent.
    """
    site = site or SitePolicy()
    if not is_bench:
        check_for_people(standing)
    # Through its bytes, so that what is shown and checked is what a device will decode.
    program = from_canonical_bytes(compile_profile(profile, origin).canonical_bytes())
    _check_grid(profile, program, capabilities.amplitude_step_ua)
    area_mm2 = _area_mm2(profile, electrode_area_cm2, is_bench)
    if is_sensation_impaired and not is_bench and area_mm2 < IMPAIRED_AREA_CM2 * MM2_PER_CM2:
        raise LimitRefused(
            f"electrode area: {Decimal(area_mm2) / MM2_PER_CM2} cm2 given, at least "
            f"{IMPAIRED_AREA_CM2} cm2 required where sensation is impaired"
        )
    if profile.is_bench_only and not is_bench:
        raise LimitRefused(f"{profile.id} is for the bench only: {profile.bench_only_reason}")
    wanted_s = profile.session.duration_s if duration_s is None else duration_s
    _check_duration(profile, site, wanted_s)
    asked = Bounds(
        channels=tuple(
            ChannelBounds(
                _channel_bounds(profile, index, site, patient_ceiling_ua, is_sensation_impaired),
                area_mm2,
            )
            for index in range(len(profile.channels))
        ),
        session=_session_bounds(profile, site, program, is_sensation_impaired),
        policy=_policy(profile, site),
        is_bench=is_bench,
        amplitude_step_ua=capabilities.amplitude_step_ua,
    )
    bounds = intersect(asked, capabilities)
    verdict = kernel.review_load(program, bounds, capabilities, 0)
    if isinstance(verdict, Refused):
        raise LimitRefused(str(verdict))
    settings = SessionSettings(
        profile.id,
        wanted_s,
        profile.rise.step_ua,
        profile_version=profile.version,
        profile_sha256=sha256,
        allows_research_device=site.allows_research_device,
    )
    return Prepared(program, bounds, settings, _ceilings(profile, program, bounds))


def target_reasons(prepared: Prepared, channel_index: int, target_ua: int) -> list[str]:
    """Return everything that refuses a target, in words: each limit, and the device's steps."""
    program, bounds = prepared.program, prepared.bounds
    refused = kernel.amplitude_reasons(program, bounds, channel_index, target_ua)
    reasons = [str(reason) for reason in refused]
    channel, step_ua = program.channels[channel_index], bounds.amplitude_step_ua
    if channel.deliverable_ua(target_ua, step_ua) != target_ua:
        reasons.append(
            f"channel {channel_index + 1}: {target_ua / UA_PER_MA:g} mA asked, the device "
            f"delivers steps of {channel.grid_ua(step_ua) / UA_PER_MA:g} mA"
        )
    return reasons


def check_targets(prepared: Prepared, targets_ua: Sequence[int]) -> None:
    """Refuse targets that would not be delivered as they are asked for.

    Raises:
        LimitRefused: with all reasons.
    """
    reasons = [
        reason
        for index, target_ua in enumerate(targets_ua)
        for reason in target_reasons(prepared, index, target_ua)
    ]
    if reasons:
        raise LimitRefused("; ".join(reasons))


def capabilities_from_snapshot(device: DeviceSnapshot) -> Capabilities:
    """Return the device's capabilities as an engine's snapshot carries them."""
    fields: dict[str, int] = dict(device.capabilities)
    flags = CapabilityFlag(fields.pop("flags"))
    return Capabilities(in_reply_to=0, flags=flags, **fields)


def _check_grid(profile: Profile, program: PulseProgram, amplitude_step_ua: int) -> None:
    """Refuse a pulse whose shares this device could only play in leaps above a key press."""
    for number, channel in enumerate(program.channels, start=1):
        grid_ua = channel.grid_ua(amplitude_step_ua)
        if grid_ua > profile.rise.step_ua:
            raise LimitRefused(
                f"channel {number}: balanced pulses of this shape exist on the device every "
                f"{grid_ua / UA_PER_MA:g} mA only, more than one step of "
                f"{profile.rise.step_ua / UA_PER_MA:g} mA"
            )


def _area_mm2(profile: Profile, given_cm2: Decimal | None, is_bench: bool) -> int:
    """Return the area that counts: what was given, or the largest that nobody need vouch for."""
    electrode = profile.electrode
    if given_cm2 is None:
        given_cm2 = electrode.recommended_area_cm2 if is_bench else electrode.minimum_area_cm2
    if not given_cm2.is_finite() or not electrode.minimum_area_cm2 <= given_cm2 <= AREA_MAX_CM2:
        raise LimitRefused(
            f"electrode area: {given_cm2} cm2 given, at least "
            f"{electrode.minimum_area_cm2} cm2 required by the profile and at most "
            f"{AREA_MAX_CM2} cm2 possible"
        )
    return int(given_cm2 * MM2_PER_CM2)


def _ceilings(
    profile: Profile, program: PulseProgram, bounds: Bounds
) -> tuple[ChannelCeiling, ...]:
    """Return how far each channel may rise, on the device's own steps."""
    ceilings = []
    for index, channel in enumerate(profile.channels):
        highest_ua, reasons = kernel.ceiling(program, bounds, index)
        played_ua = program.channels[index].deliverable_ua(highest_ua, bounds.amplitude_step_ua)
        ceilings.append(ChannelCeiling(index + 1, channel.name, played_ua, reasons))
    return tuple(ceilings)


def _check_duration(profile: Profile, site: SitePolicy, wanted_s: int) -> None:
    longest_s, owner = profile.session.longest_duration_s, "the profile"
    if site.longest_session_s is not None and site.longest_session_s < longest_s:
        longest_s, owner = site.longest_session_s, "the site policy"
    if wanted_s < 1:
        raise LimitRefused(f"duration: {wanted_s} s asked, at least 1 s expected")
    if wanted_s > longest_s:
        raise LimitRefused(f"duration: {wanted_s} s asked, {longest_s} s allowed by {owner}")


def _channel_bounds(
    profile: Profile,
    index: int,
    site: SitePolicy,
    patient_ceiling_ua: int | None,
    is_sensation_impaired: bool,
) -> tuple[Bound, ...]:
    channel, ceilings = profile.channels[index], profile.ceilings
    amplitude = limits.amplitude_ua.name
    density = limits.current_density_ua_per_cm2.name
    bounds = [Bound(amplitude, channel.amplitude_ceiling_ua, Owner.PROFILE)]
    if not profile.is_motor:
        sensory = limits.sensory_amplitude_ua
        bounds.append(Bound(sensory.name, sensory.maximum, Owner.STANDARD))
    optional = (
        (limits.phase_charge_pc.name, ceilings.phase_charge_pc),
        (limits.rms_ua.name, ceilings.rms_ua),
        (limits.average_ua.name, ceilings.average_ua),
        (density, ceilings.current_density_ua_per_cm2),
    )
    bounds += [
        Bound(name, stated, Owner.PROFILE) for name, stated in optional if stated is not None
    ]
    if patient_ceiling_ua is not None:
        bounds.append(Bound(amplitude, patient_ceiling_ua, Owner.PATIENT))
    if is_sensation_impaired:
        impaired = limits.impaired_current_density_ua_per_cm2
        lowered_ua = profile.impaired_amplitude_ceiling_ua(channel)
        bounds.append(Bound(amplitude, lowered_ua, Owner.PATIENT))
        bounds.append(Bound(impaired.name, impaired.maximum, Owner.PATIENT))
        if ceilings.current_density_ua_per_cm2 is not None:
            share = ceilings.impaired_sensation_permille
            lowered = ceilings.current_density_ua_per_cm2 * share // FULL_PERMILLE
            bounds.append(Bound(density, lowered, Owner.PATIENT))
    if site.amplitude_ceiling_ua is not None:
        bounds.append(Bound(amplitude, site.amplitude_ceiling_ua, Owner.SITE))
    return tuple(bounds)


def _session_bounds(
    profile: Profile, site: SitePolicy, program: PulseProgram, is_sensation_impaired: bool
) -> tuple[Bound, ...]:
    slew, running = limits.setpoint_slew_ua_per_s.name, limits.running_ms.name
    slews = [Bound(slew, profile.rise.setpoint_slew_ua_per_s, Owner.PROFILE)]
    if site.setpoint_slew_ua_per_s is not None:
        slews.append(Bound(slew, site.setpoint_slew_ua_per_s, Owner.SITE))
    if is_sensation_impaired:
        slews.append(Bound(slew, IMPAIRED_SLEW_UA_PER_S, Owner.PATIENT))
    rise_s = _rise_s(profile, program, min(bound.value for bound in slews))
    bounds = [
        *slews,
        Bound(limits.rise_per_cycle_ua.name, profile.rise.rise_per_cycle_ua, Owner.PROFILE),
        Bound(limits.step_ua.name, profile.rise.step_ua, Owner.PROFILE),
        Bound(running, _running_ms(profile.session.longest_duration_s, rise_s), Owner.PROFILE),
    ]
    if site.longest_session_s is not None:
        bounds.append(Bound(running, _running_ms(site.longest_session_s, rise_s), Owner.SITE))
    return tuple(bounds)


def _running_ms(longest_s: int, rise_s: int) -> int:
    """Return the longest RUNNING: the longest session, the slowest rise and the end."""
    return min((longest_s + rise_s + END_ALLOWANCE_S) * MS_PER_S, limits.running_ms.maximum)


def _rise_s(profile: Profile, program: PulseProgram, slew_ua_per_s: int) -> int:
    """Return how long the slowest channel may rise to its ceiling."""
    rises_s = []
    for channel, played in zip(profile.channels, program.channels, strict=True):
        rise_s = channel.amplitude_ceiling_ua // slew_ua_per_s
        if played.cycle is not None:
            cycles = channel.amplitude_ceiling_ua // profile.rise.rise_per_cycle_ua + 2
            rise_s = max(rise_s, cycles * played.cycle.total_ms // MS_PER_S)
        slowest_us = max(setting.pulse_period_us for setting in played.settings)
        if slowest_us > limits.SLOW_PULSE_US:
            pulses = channel.amplitude_ceiling_ua // profile.rise.step_ua + 2
            rise_s = max(rise_s, pulses * slowest_us // 1_000_000)
        rises_s.append(rise_s)
    return max(rises_s)


def _policy(profile: Profile, site: SitePolicy) -> PolicyFlag:
    policy = PolicyFlag.NONE
    if profile.policy.lead_off == "all":
        policy |= PolicyFlag.LEAD_OFF_STOPS_ALL
    if profile.policy.requires_patient_stop or site.requires_patient_stop:
        policy |= PolicyFlag.REQUIRE_PATIENT_STOP
    return policy
