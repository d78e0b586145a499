"""Run every check against one device, in order, and end with its output at zero.

Rules:
1. Whatever happens, the last thing sent is Stop, until a Status shows zero; the report says whether
   one did.
2. A check that fails never keeps the next from being tried, unless the line is gone, there is no
   session, or no Stop brings the device to zero.
3. A failure while this computer stood still is tried again, and never held against the device.
4. Requirements are run in the order of the list: who it is, what it can, then what flows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from estim.clock import Clock
from estim.drivers.registry import Transport
from estim.errors import EstimError, LimitRefused, PortLost, UsageError
from estim.rig.conformance.bench import HOST_MS, TICK_MS, Bench
from estim.rig.conformance.capture import Capture
from estim.rig.conformance.checks import (  # noqa: F401  each enters its requirements
    endurance,
    faults,
    framing,
    identity,
    leads,
    lease,
    loading,
    matrix,
    output,
    rising,
    session_limits,
    states,
    telling,
    throughout,
    worst,
)
from estim.rig.conformance.hearing import is_at_rest, longest_gap_ms
from estim.rig.conformance.line import US_PER_MS, Line
from estim.rig.conformance.recording import Recorder
from estim.rig.conformance.requirement import (
    GROUPS,
    REQUIREMENTS,
    Failed,
    Finding,
    Interrupted,
    NeverAtRest,
    NotApplicable,
    NotReached,
    NotTestable,
    Requirement,
    Verdict,
)
from estim.rig.conformance.world import World
from firmware_protocol.messages import Stop
from firmware_protocol.schema import SCHEMA_HASH

SCHEMA = "estim.conformance/1"
STOPS_MAX = 8
AGAIN_MAX = 3
STILL_MS = 150
"""A turn takes 50 ms at most; what is beyond this may have cost the device its lease."""
STOP_MS = 150
GROUPS_OF_THE_WAY = ("ID", "EPOCH", "SEQ", "STATE")
"""What fails here may keep a device from where other checks begin."""
FIRST = "ID-01"

Tell = Callable[[Finding, int, int], None]
"""Called with each finding, its number and how many there will be."""


@dataclass
class Report:
    """What came of a run.

    Attributes:
        url: the device.
        bench_ohm: the declared load.
        findings: in the order of the list.
        is_at_zero: a Status at the end showed no output.
        end: why it ended early, '' where it did not.
        refusal: the load contradicts the declared one, None where it does not.
        device: what its Identity and Capabilities said.
    """

    url: str
    bench_ohm: int
    findings: list[Finding] = field(default_factory=list)
    is_at_zero: bool = False
    end: str = ""
    refusal: LimitRefused | None = None
    device: dict[str, Any] = field(default_factory=dict)

    def count(self, verdict: Verdict) -> int:
        """Return how many requirements got a verdict."""
        return sum(finding.verdict is verdict for finding in self.findings)

    @property
    def conforms(self) -> bool:
        """Tell whether nothing failed, and the run came to its end at zero."""
        return not self.count(Verdict.FAIL) and not self.end and self.is_at_zero


class Suite:
    """One run of the kit."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        world: World,
        *,
        url: str,
        bench_ohm: int,
        soak_s: int = 3,
        capture: Capture | None = None,
        recorder: Recorder | None = None,
        stop_reason: Callable[[], str] = lambda: "",
    ) -> None:
        self._line = Line(transport, clock, stop_reason)
        self.bench = Bench(self._line, world, bench_ohm, soak_s, capture, recorder)
        self._stop_reason = stop_reason
        self._not_reached: dict[str, str] = {}
        self.report = Report(url, bench_ohm)
        witness = throughout.Witness(self.bench)
        self.bench.scenarios["witness"] = witness
        self._line.watchers.append(witness.watch)

    def run(self, chosen: Sequence[Requirement], tell: Tell) -> Report:
        """Run the chosen requirements, `ID-01` always first."""
        report = self.report
        try:
            for number, requirement in enumerate(chosen, start=1):
                finding = self._judge(requirement)
                report.findings.append(finding)
                tell(finding, number, len(chosen))
                if report.end:
                    break
            self._describe()
        except Interrupted:
            report.end = self._stop_reason() or "interrupted"
        except LimitRefused as error:
            report.end, report.refusal = str(error), error
        except PortLost as error:
            report.end = str(error)
        finally:
            self._end_at_zero()
        self._rest(chosen, tell)
        return report

    def _judge(self, requirement: Requirement) -> Finding:
        start_us = self._line.now_us()
        for _ in range(AGAIN_MAX):
            finding = self._try(requirement, start_us)
            still_ms = self._line.stood_still_us // US_PER_MS
            if finding.verdict is not Verdict.FAIL or still_ms <= STILL_MS:
                break
            # What a device does while its host stands still is no fault of it.
            why = f"this computer stood still for {still_ms} ms, again and again"
            finding = replace(finding, verdict=Verdict.NOT_TESTABLE, expected="", seen="", why=why)
        if finding.verdict is Verdict.FAIL and requirement.id == FIRST:
            self.report.end = "no session with this device"
        return finding

    def _try(self, requirement: Requirement, start_us: int) -> Finding:
        self._line.begin()
        verdict, expected, seen, why, follows = Verdict.PASS, "", "", "", ""
        try:
            requirement.check(self.bench)
        except Failed as failure:
            verdict, expected, seen = Verdict.FAIL, failure.expected, failure.seen
            why = self._gap()
            follows = self._cause(failure, requirement)
            if isinstance(failure, NeverAtRest):
                self.report.end = "no Stop brings the device to a Status at zero"
        except NotTestable as reason:
            verdict, why = Verdict.NOT_TESTABLE, str(reason)
        except NotApplicable as reason:
            verdict, why = Verdict.NOT_APPLICABLE, str(reason)
        lasted_us = self._line.now_us() - start_us
        return Finding(requirement, verdict, expected, seen, why, follows, lasted_us)

    def _cause(self, failure: Failed, requirement: Requirement) -> str:
        """Return what failed before, of itself or likewise, where a check was not come to."""
        failed = {
            each.requirement.id: each
            for each in self.report.findings
            if each.verdict is Verdict.FAIL
        }
        if isinstance(failure, NotReached):
            self._not_reached.setdefault(failure.seen, requirement.id)
        elif not failure.seen.startswith("Refused("):
            return ""
        first = self._not_reached.get(failure.seen, "")
        if first in failed:
            return failed[first].follows or first
        if not isinstance(failure, NotReached):
            return ""
        return next((name for name in failed if name.split("-")[0] in GROUPS_OF_THE_WAY), "")

    def _gap(self) -> str:
        """Say where the device itself told nothing for long: it may have stood still."""
        gap_ms = longest_gap_ms(self._line.heard)
        if not gap_ms:
            return ""
        return (
            f"the device told no Status for {gap_ms} ms of its own tick meanwhile: it may have "
            "stood still"
        )

    def _rest(self, chosen: Sequence[Requirement], tell: Tell) -> None:
        """Enter what was not come to, so that a report never looks whole when it is not."""
        done = len(self.report.findings)
        for number, requirement in enumerate(chosen[done:], start=done + 1):
            why = f"not come to: {self.report.end}"
            finding = Finding(requirement, Verdict.NOT_TESTABLE, why=why)
            self.report.findings.append(finding)
            tell(finding, number, len(chosen))

    def _end_at_zero(self) -> None:
        line = self._line
        try:
            for _ in range(STOPS_MAX):
                line.send(Stop())
                mark, end_us = line.mark(), line.now_us() + STOP_MS * 1000
                while line.now_us() < end_us:
                    line.turn_to_the_end()
                    if any(is_at_rest(heard) for heard in line.heard[mark:]):
                        self.report.is_at_zero = True
                        return
        except EstimError:
            return  # the lease ends what may still flow

    def _describe(self) -> None:
        known, can = self.bench.identity, self.bench.can
        if known is None:
            return
        version = known.firmware_version
        self.report.device = {
            "model": known.model,
            "serial_number": known.serial_number,
            "firmware_version": f"{version >> 16}.{version >> 8 & 0xFF}.{version & 0xFF}",
            "schema_hash": f"{SCHEMA_HASH:08x}",
            "capabilities": {
                name: int(getattr(can, name)) for name in can.__slots__ if name != "in_reply_to"
            },
            "tolerances": {"host_ms": HOST_MS, "device_timer_ms": TICK_MS},
        }


def every_requirement() -> list[Requirement]:
    """Return the whole list, in the order in which it is run."""
    order = list(GROUPS)
    return sorted(REQUIREMENTS.values(), key=lambda each: order.index(each.group))


def chosen_requirements(only: Collection[str]) -> list[Requirement]:
    """Return the requirements to run: all, or those whose id or group is named.

    Raises:
        UsageError: a name is no id and no group.
    """
    every = every_requirement()
    for name in only:
        if not any(_is_named(each, name) for each in every):
            groups = ", ".join(GROUPS)
            raise UsageError(f"--only {name}: expected an id of `--list`, or one of {groups}")
    if not only:
        return every
    named = [each for each in every if any(_is_named(each, name) for name in only)]
    first = REQUIREMENTS[FIRST]
    return named if first in named else [first, *named]


def _is_named(requirement: Requirement, name: str) -> bool:
    return requirement.id == name or requirement.id.startswith(f"{name}-")
