"""A profile as numbers: its programme, its ceilings, and every limit with its margin."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from estim.prepare.report import LimitLine, limit_lines
from estim.prepare.session import ChannelCeiling, Prepared
from estim.profile.body_chart import draw
from estim.profile.loader import LoadedEntry, LoadedProfile
from estim.profile.models import Neuropathy
from estim.safety.bounds import Owner
from estim.safety.verdict import Reason
from estim.units import US_PER_S
from firmware_protocol.limits import BY_NAME
from firmware_protocol.program import ChannelProgram, Keyframe

_UNIT_WORDS = frozenset({"ua", "us", "ms", "s", "pc", "uj", "uw", "per", "cm2"})

CERTAINTY_LINES = (
    "Certainty: S read in a public source, K common knowledge, K? to be checked",
    "against the original, E a proposal of this project.",
)
"""What the letters mean that stand beside every group of parameters and every study."""


def summary(loaded: LoadedProfile) -> dict[str, Any]:
    """Return what a list of profiles tells of one."""
    profile = loaded.profile
    return {
        "id": profile.id,
        "version": profile.version,
        "title": profile.title,
        "mode": profile.mode,
        "indications": list(profile.indications),
        "neuropathy": _neuropathy(profile.neuropathy),
        "review_status": profile.review_status,
        "is_bench_only": profile.is_bench_only,
        "channels": [channel.name for channel in profile.channels],
        "duration_s": profile.session.duration_s,
        "sha256": loaded.sha256,
        "path": str(loaded.path),
    }


def entry_summary(loaded: LoadedEntry) -> dict[str, Any]:
    """Return what a list tells of an entry that cannot be run."""
    entry = loaded.entry
    return {
        "id": entry.id,
        "version": entry.version,
        "kind": entry.kind,
        "title": entry.title,
        "mode": entry.mode,
        "indications": list(entry.indications),
        "neuropathy": _neuropathy(entry.neuropathy),
        "review_status": entry.review_status,
        "cannot_run": entry.cannot_run,
        "sha256": loaded.sha256,
        "path": str(loaded.path),
    }


def neuropathy_words(neuropathy: Neuropathy) -> str:
    """Say which neuropathies something is about."""
    causes = ", ".join(neuropathy.causes) or "any"
    return f"neuropathy: {', '.join(neuropathy.kinds)}; cause: {causes}"


def document(
    loaded: LoadedProfile, prepared: Prepared, targets_ua: tuple[int, ...] | None
) -> dict[str, Any]:
    """Return everything about a profile, ready for JSON."""
    ceilings_ua = tuple(line.ceiling_ua for line in prepared.ceilings)
    fields = summary(loaded) | {
        "parameters": loaded.profile.model_dump(mode="json", by_alias=True),
        "chart": list(draw([channel.pads for channel in loaded.profile.channels])),
        "electrode_area_mm2": prepared.bounds.channels[0].electrode_area_mm2,
        "program_digest": f"{prepared.program.digest:08x}",
        "program": [
            {"channel": number, "name": line.name, **_program(channel, prepared)}
            for number, (channel, line) in enumerate(
                zip(prepared.program.channels, prepared.ceilings, strict=True), start=1
            )
        ],
        "ceilings": [
            {
                "channel": line.channel,
                "name": line.name,
                "ceiling_ua": line.ceiling_ua,
                "binding": [_reason(reason) for reason in binding(line)],
            }
            for line in prepared.ceilings
        ],
        "at_ceiling": at(prepared, ceilings_ua),
    }
    if targets_ua is not None:
        fields["at_amplitude"] = at(prepared, targets_ua)
    return fields


def at(prepared: Prepared, amplitudes_ua: tuple[int, ...]) -> dict[str, Any]:
    """Return every limit at some amplitudes, ready for JSON."""
    return {
        "amplitudes_ua": list(amplitudes_ua),
        "limits": [
            asdict(line) | {"is_exceeded": is_exceeded(line)}
            for line in limit_lines(prepared, amplitudes_ua)
        ],
    }


def binding(line: ChannelCeiling) -> list[Reason]:
    """Return what refuses the next step above a ceiling; no device is there to be named."""
    return [reason for reason in line.reasons if reason.owner is not Owner.DEVICE]


def binding_words(line: ChannelCeiling) -> str:
    """Say which limits bind a ceiling, and whose they are."""
    owners: dict[str, list[str]] = {}
    for reason in binding(line):
        if reason.owner is not None:
            owners.setdefault(limit_words(reason.limit), []).append(reason.owner.value)
    return "; ".join(f"{limit} ({', '.join(names)})" for limit, names in owners.items())


def is_exceeded(line: LimitLine) -> bool:
    """Tell whether a limit refuses the amplitude that a line was computed for."""
    return line.figure > line.allowed


def limit_words(name: str) -> str:
    """Return the quantity that a limit's name holds, without its unit."""
    parts = name.split("_")
    while parts[-1] in _UNIT_WORDS:
        parts.pop()
    return " ".join(parts)


def rate_hz(period_us: int) -> float:
    """Return the rate that a whole number of microseconds really gives."""
    return round(US_PER_S / period_us, 6)


def _program(channel: ChannelProgram, prepared: Prepared) -> dict[str, Any]:
    cycle = channel.cycle
    return {
        **_setting(channel, channel.settings[0]),
        "pulse_offset_us": channel.pulse_offset_us,
        "grid_ua": channel.grid_ua(prepared.bounds.amplitude_step_ua),
        "burst": {
            "pulses_per_burst": channel.pulses_per_burst,
            "burst_period_us": channel.burst_period_us,
            "burst_rate_hz": rate_hz(channel.burst_period_us),
        }
        if channel.pulses_per_burst
        else None,
        "cycle": asdict(cycle) | {"total_ms": cycle.total_ms} if cycle else None,
        "keyframe_cycle_ms": channel.keyframe_cycle_ms,
        "keyframes": [
            {
                "at_ms": frame.at_ms,
                "amplitude_permille": frame.amplitude_permille,
                **_setting(channel, frame),
            }
            for frame in channel.keyframes
        ],
    }


def _setting(channel: ChannelProgram, setting: Keyframe) -> dict[str, Any]:
    return {
        "phases": [
            {
                "duration_us": channel.phase_us(phase, setting.unit_us),
                "amplitude_permille": phase.amplitude_permille,
            }
            for phase in channel.phases
        ],
        "pulse_duration_us": channel.pulse_us(setting.unit_us),
        "pulse_period_us": setting.pulse_period_us,
        "pulse_rate_hz": rate_hz(setting.pulse_period_us),
    }


def _neuropathy(neuropathy: Neuropathy | None) -> dict[str, list[str]] | None:
    if neuropathy is None:
        return None
    return {"kinds": list(neuropathy.kinds), "causes": list(neuropathy.causes)}


def _reason(reason: Reason) -> dict[str, Any]:
    known = BY_NAME.get(reason.limit)
    return {
        "limit": reason.limit,
        "unit": known.unit if known else "",
        "asked": reason.asked,
        "allowed": reason.allowed,
        "owner": reason.owner.value if reason.owner else "",
        "explanation": reason.explanation,
    }
