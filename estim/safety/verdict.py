"""What the kernel answers: approved, or refused with every reason.

Rules:
1. Only the kernel makes an approval; anyone else's attempt raises.
2. An approval is for one Drive, or one load, and expires.
"""

from __future__ import annotations

import re
from dataclasses import InitVar, dataclass
from typing import final

from estim.safety.bounds import Owner
from estim.units import in_unit
from firmware_protocol.limits import BY_NAME
from firmware_protocol.messages import SetLimits, WantedState
from firmware_protocol.program import PulseProgram

APPROVAL_US = 100_000

_UNIT_SUFFIX = re.compile("_(ua|us|ms|pc|uj|uw|permille)(_per_(s|cm2))?$")

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
        words = _UNIT_SUFFIX.sub("", self.limit).replace("_", " ")
        asked = in_unit(self.asked, limit.unit)
        allowed = in_unit(self.allowed, limit.unit)
        extra = f" ({self.explanation})" if self.explanation else ""
        return (
            f"{place}{words}: {asked} asked, {allowed} allowed by {_OWNER_WORDS[self.owner]}{extra}"
        )


_SEAL = object()


@dataclass(frozen=True, slots=True)
class _Sealed:
    """What only the kernel makes."""

    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise PermissionError("only the safety kernel approves")


@final
@dataclass(frozen=True, slots=True)
class Approved(_Sealed):
    """Permission for one Drive, until it expires."""

    wanted: WantedState
    targets_ua: tuple[int, ...]
    expires_us: int


@final
@dataclass(frozen=True, slots=True)
class ApprovedLoad(_Sealed):
    """Permission to load one programme with its session limits, until it expires."""

    program: PulseProgram
    limits: SetLimits
    expires_us: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal with all its reasons, at least one."""

    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return "; ".join(str(reason) for reason in self.reasons)
