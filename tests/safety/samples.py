"""What the safety tests start from, all numbers written by hand."""

from __future__ import annotations

from dataclasses import replace

from estim.safety.bounds import Bound, Bounds, ChannelBounds, Owner, intersect
from estim.safety.kernel import DriveRequest, Facts, RiseKind, review
from estim.safety.verdict import Approved, Refused
from firmware_protocol.messages import (
    Capabilities,
    CapabilityFlag,
    DeviceState,
    InputFlag,
    PolicyFlag,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram

NOW_US = 1_000_000
EVERY_FLAG = CapabilityFlag(127)

CAPABILITIES = Capabilities(
    in_reply_to=0,
    channel_count=4,
    phases_max=16,
    keyframes_max=32,
    flags=EVERY_FLAG,
    amplitude_max_ua=100_000,
    amplitude_step_ua=1,
    compliance_mv=180_000,
    phase_min_us=1,
    phase_max_us=60_000,
    pulse_period_min_us=1,
    residual_ms=330,
)
"""A device that stands in nobody's way, with steps of one microampere."""


def pair(duration_us: int = 200, gap_us: int = 0) -> tuple[Phase, ...]:
    """Return a symmetric biphasic pulse."""
    gap = (Phase(gap_us, 0),) if gap_us else ()
    return (Phase(duration_us, 1000), *gap, Phase(duration_us, -1000))


def channel(
    duration_us: int = 200, period_us: int = 10_000, gap_us: int = 0, **more: object
) -> ChannelProgram:
    """Return a channel that plays a symmetric pulse; by default 2 x 200 us at 100 Hz."""
    return ChannelProgram(pair(duration_us, gap_us), 1, period_us, **more)  # type: ignore[arg-type]


def program(*channels: ChannelProgram) -> PulseProgram:
    """Return a programme of some channels, by default one of `channel()`."""
    return PulseProgram(channels or (channel(),), allow_overlap=len(channels) > 1)


def bounds(
    *given: Bound,
    area_mm2: int = 2500,
    channel_count: int = 1,
    session: tuple[Bound, ...] = (),
    policy: PolicyFlag = PolicyFlag.NONE,
    is_bench: bool = True,
    capabilities: Capabilities = CAPABILITIES,
) -> Bounds:
    """Return bounds as the engine holds them: the ones given, the compiled and the device's."""
    return intersect(
        Bounds((ChannelBounds(given, area_mm2),) * channel_count, session, policy, is_bench, 1),
        capabilities,
    )


def only(*given: Bound, owner: Owner = Owner.PROFILE) -> Bounds:
    """Return bounds with one more layer on one channel."""
    return bounds(*(replace(bound, owner=owner) for bound in given))


FACTS = Facts(
    device_state=DeviceState.RUNNING,
    status_age_us=0,
    heartbeat_age_us=0,
    running_ms=0,
    digests_match=True,
    is_fault_latched=False,
    lead_off_channels=frozenset(),
    inputs=InputFlag.NONE,
)


def facts(**changed: object) -> Facts:
    """Return the facts of a healthy session in RUNNING, some of them changed."""
    return replace(FACTS, **changed)  # type: ignore[arg-type]


def target(*targets_ua: int, kind: RiseKind = RiseKind.TARGET, **more: object) -> DriveRequest:
    """Ask for targets from zero in RUNNING."""
    former = tuple(0 for _ in targets_ua)
    return DriveRequest(WantedState.RUNNING, targets_ua, former, kind, **more)  # type: ignore[arg-type]


def judge(
    amplitude_ua: int, within: Bounds, played: PulseProgram | None = None
) -> Approved | Refused:
    """Have one target of channel 1 reviewed in RUNNING."""
    return review(target(amplitude_ua), played or program(), FACTS, within, NOW_US)


def reasons_of(result: object) -> list[tuple[str, int | None, int | None, str | None, int]]:
    """Return (limit, asked, allowed, owner, channel) of every reason; empty where approved."""
    if not isinstance(result, Refused):
        return []
    return [
        (r.limit, r.asked, r.allowed, r.owner.value if r.owner else None, r.channel)
        for r in result.reasons
    ]
