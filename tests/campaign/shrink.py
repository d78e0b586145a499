"""Make a failing script short: leave out steps for as long as it fails in the same way."""

from __future__ import annotations

from tests.campaign.campaign import run_script
from tests.campaign.devices import Cores
from tests.campaign.script import US_PER_S, Script
from tests.campaign.verdict import Violation

QUIET_AFTER_US = 1_000_000


def shrink(script: Script, cores: Cores) -> tuple[Script, Violation | None]:
    """Return the shortest script found that breaks the same invariant, and how it does."""
    violation = _first(script, cores)
    if violation is None:
        return script, None
    kind = violation.invariant
    size = max(1, len(script.steps) // 2)
    while True:
        shorter = _without(script, size, kind, cores)
        if shorter is not None:
            script = shorter
            size = min(size, max(1, len(script.steps) // 2))
        elif size == 1:
            break
        else:
            size //= 2
    script = _earlier_quiet(script, kind, cores)
    return script, _first(script, cores, kind)


def _without(script: Script, size: int, kind: str, cores: Cores) -> Script | None:
    for begin in range(0, len(script.steps), size):
        steps = script.steps[:begin] + script.steps[begin + size :]
        shorter = script.with_steps(steps)
        if _first(shorter, cores, kind) is not None:
            return shorter
    return None


def _earlier_quiet(script: Script, kind: str, cores: Cores) -> Script:
    last_us = max((step.at_us for step in script.steps), default=US_PER_S)
    earlier = Script(
        script.seed, script.core, script.session, last_us + QUIET_AFTER_US, script.steps
    )
    is_alike = earlier.quiet_us < script.quiet_us and _first(earlier, cores, kind) is not None
    return earlier if is_alike else script


def _first(script: Script, cores: Cores, kind: str = "") -> Violation | None:
    found = run_script(script, cores).violations
    return next((each for each in found if not kind or each.invariant == kind), None)
