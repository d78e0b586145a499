"""What the kernel answers: approved, or refused with every reason.

Rules:
1. Only the kernel makes an approval; anyone else's attempt raises.
2. An approval is for one Drive, or one load, and expires.
"""

from __future__ import annotations

from dataclasses import dataclass

from firmware_protocol.limits import BY_NAME
from firmware_protocol.messages import SetLimits, WantedState
from firmware_protocol.program import PulseProgram

from estim.safety.bounds import Owner

APPROVAL_US = 100_000

_UNIT_SCALES = {
    "uA": (1000, "mA"),
    "uA/s": (1000, "mA/s"),
    "pC": (1_000_000, "uC"),
    "uJ": (1000, "mJ"),
    "uA/cm2 RMS": (1000, "mA/cm2 RMS"),
    "uW/cm2": (1_000_000, "W/cm2"),
}

_OWNER_WORDS = {
    Owner.STANDARD: "the compiled safety limit",
    Owner.DEVICE: "the device",
    Owner.ELECTRODE: "the electrode area",
    Owner.PROFILE: "the profile",
    Owner.PATIENT: "the patient's ceiling",
    Owner.SITE: "the site policy",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was refused.

    Attributes:
        limit: name of the limit, or of the interlock.
        asked: value asked, in the limit's unit; None for an interlock.
        allowed: value allowed, in the limit's unit; None for an interlock.
        owner: whose limit it is; None for an interlock.
        channel: number from 1; 0 for the session.
        explanation: the words for an interlock.
    """

    limit: str
    asked: int | None = None
    allowed: int | None = None
    owner: Owner | None = None
    channel: int = 0
    explanation: str = ""

    def __str__(self) -> str:
        place = f"channel {self.channel}: " if self.channel else ""
        if self.asked is None or self.allowed is None or self.owner is None:
            return place + self.explanation
        limit = BY_NAME[self.limit]
        words = self.limit.removesuffix("_" + limit.name.rsplit("_", 1)[-1]).replace("_", " ")
        asked = in_unit(self.asked, limit.unit)
        allowed = in_unit(self.allowed, limit.unit)
        extra = f" ({self.explanation})" if self.explanation else ""
        return (
            f"{place}{words}: {asked} asked, {allowed} allowed by {_OWNER_WORDS[self.owner]}{extra}"
        )


def in_unit(value: int, unit: str) -> str:
    """Write a value of a limit as people read it."""
    scale, shown = _UNIT_SCALES.get(unit, (1, unit))
    return f"{value / scale:g} {shown}"


_SEAL = object()


class Approved:
    """Permission for one Drive, until it expires."""

    __slots__ = ("expires_us", "targets_ua", "wanted")

    def __init__(
        self, seal: object, wanted: WantedState, targets_ua: tuple[int, ...], expires_us: int
    ) -> None:
        if seal is not _SEAL:
            raise PermissionError("only the safety kernel approves")
        self.wanted = wanted
        self.targets_ua = targets_ua
        self.expires_us = expires_us


class ApprovedLoad:
    """Permission to load one programme with its session limits, until it expires."""

    __slots__ = ("expires_us", "limits", "program")

    def __init__(
        self, seal: object, program: PulseProgram, limits: SetLimits, expires_us: int
    ) -> None:
        if seal is not _SEAL:
            raise PermissionError("only the safety kernel approves")
        self.program = program
        self.limits = limits
        self.expires_us = expires_us


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal with all its reasons, at least one."""

    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return "; ".join(str(reason) for reason in self.reasons)
