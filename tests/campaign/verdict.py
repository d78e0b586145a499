"""What the judges say, and the figures that they share.

Restated by hand from architecture.md, sections 4 and 10.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

MS = 1000
MILLION = 1_000_000
LEASE_MS = 320
ZERO_AFTER_LINK_LOSS_US = 350 * MS
ZERO_AFTER_FROZEN_US = 750 * MS
ZERO_AFTER_STOP_US = 20 * MS
STOP_TO_WIRE_US = 50 * MS
FOR_EVER_US = 2**62


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise broken."""

    invariant: str
    at_us: int
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at_us / 1e6:.6f}: {self.text}"


@dataclass(slots=True)
class Verdict:
    """What was found, and how often there was anything to find."""

    violations: list[Violation] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def fail(self, invariant: str, at_us: int, text: str) -> None:
        self.violations.append(Violation(invariant, at_us, text))


def last_before(times_us: Sequence[int], at_us: int) -> int:
    """Return the newest of sorted times up to a moment; long ago for none."""
    index = bisect.bisect_right(times_us, at_us)
    return times_us[index - 1] if index else -FOR_EVER_US
