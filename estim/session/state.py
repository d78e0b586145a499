"""What a session knows, and the small steps that everything else is made of.

Rules:
1. The state moves along `states.TRANSITIONS` alone (`follow`).
2. Going down never waits: `go_to_zero`, `begin_stop` and `latch_fault` clear every wish that could
   bring output back.
3. A rise is recorded as asked, and reviewed once that is durable (`ask_for`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from estim.drivers.base import Use
from estim.errors import DeviceFault, EstimError, LimitRefused
from estim.safety import kernel
from estim.safety.bounds import Bounds
from estim.safety.kernel import DriveRequest, Facts, RiseKind
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.delivery import Delivery
from estim.session.gate import Gate
from estim.session.limiter import Limiter
from estim.session.messages import Blame, Fault, Notice, Outcome, Severity
from estim.session.overload import Overload
from estim.session.states import ENERGISED, WANTED, HostState, Trigger, follow
from estim.session.suspects import suspect_of
from firmware_protocol import limits
from firmware_protocol.messages import (
    Capabilities,
    ChannelFlag,
    DeviceState,
    FaultCode,
    Identity,
    InputFlag,
    PolicyFlag,
    Status,
    WantedState,
)
from firmware_protocol.program import PulseProgram

DRIVE_AFTER_STATUS_US = 45_000
DRIVE_WITHOUT_STATUS_US = 60_000
DURABLE_US = 250_000
GOAL_US = 1_500_000
ZERO_US = 1_000_000
FROZEN_US = limits.heartbeat_ms.maximum * 1000
SILENT_ENERGISED_US = kernel.STATUS_FRESH_US
SILENT_AT_REST_US = 2_000_000
SLOW_LINK_US = 150_000
SLOW_LINK_SHOWN_US = 2_000_000
KEY_WINDOW_US = 1_000_000
ORPHAN_US = 1_000_000
SEAL_US = 10_000_000
OBEY_US = 500_000
DAMAGE_PERIOD_US = 1_000_000
DEVICE_EVENT_PERIOD_US = 1_000_000
DEVICE_EVENTS_MAX = 100
REFUSAL_PERIOD_US = 10_000_000

_NO_BOUNDS = Bounds((), (), PolicyFlag.NONE, is_bench=True, amplitude_step_ua=1)


@dataclass(slots=True)
class Pending:
    """Something that waits for the record to be durable, the device to follow, or both.

    A wish could bring output about, and is dropped whenever output goes down; a note is not.
    """

    request_id: int
    deadline_us: int
    proceed: Callable[[int], None]
    failure: str
    is_wish: bool = True


class SessionState:
    """Hold one visit's state; effects gather in `effects` until the core hands them out."""

    def __init__(self) -> None:
        self.state = HostState.DISCONNECTED
        self.url = ""
        self.identity: Identity | None = None
        self.capabilities: Capabilities | None = None
        self.reports_current = False
        self.use = Use.CLINICAL
        self.caution = ""
        self.program: PulseProgram | None = None
        self.bounds = _NO_BOUNDS
        self.settings = msg.SessionSettings("", 0, limits.step_ua.minimum)
        self.ceilings: list[tuple[int, str]] = []
        self.status: Status | None = None
        self.status_us = 0
        self.targets_ua: list[int] = []
        self.marker_ua: list[int] = []
        self.fault: Fault | None = None
        self.delivery = Delivery(0)
        self.delivered: dict[str, object] = {}
        self.former_delivered_us = 0
        self.overload = Overload()
        self.record_path = ""
        self.is_bench = False
        self.gate = Gate()
        self.record_failure = ""
        self.end_reason = ""
        self.has_link = False
        self.slow_link_until_us = 0
        self.round_trip_us = 0
        self.effects: list[ev.Effect] = []
        self.tokens = 0
        self.durable: dict[int, Pending] = {}
        self.goal: tuple[Trigger, Pending] | None = None
        self.return_ua: list[int] = []
        self.preparing: tuple[int, PulseProgram, Bounds, msg.SessionSettings] | None = None
        self.connect_id = 0
        self.open_id = 0
        self.close_id = 0
        self.acknowledge: Pending | None = None
        self.rearming: tuple[list[int], Pending] | None = None
        self.self_test: Pending | None = None
        self.paused_us = 0
        self.is_pause_seen = True
        self.stopping: list[int] = []
        self.stopping_until_us = 0
        self.finish_from: tuple[int, list[int]] | None = None
        self.key_rises: deque[tuple[int, int, int]] = deque()
        self.beat_us = 0
        self.drive_us = 0
        self.has_status_since_drive = False
        self.program_digest = 0
        self.limits_digest = 0
        self.load_remarks: tuple[str, ...] = ()
        self.loaded_until_us: int | None = None
        self.orphaned_us: int | None = None
        self.reviewing_id = 0
        self.closing_until_us: int | None = None
        self.lowered: deque[tuple[int, list[int]]] = deque()
        self.followed_us = 0
        self.overshoot_count = 0
        self.damage = Limiter(DAMAGE_PERIOD_US, 1)
        self.device_events = Limiter(DEVICE_EVENT_PERIOD_US, DEVICE_EVENTS_MAX)
        self.refusals = Limiter(REFUSAL_PERIOD_US, 1)

    @property
    def has_wish(self) -> bool:
        """Tell whether a rise, an arming or a start waits for the record."""
        return any(pending.is_wish for pending in self.durable.values())

    @property
    def is_busy(self) -> bool:
        """Tell whether a wish still waits for the record or the device."""
        return bool(self.durable or self.goal or self.preparing or self.connect_id)

    @property
    def latch_count(self) -> int:
        """Return what the device's newest Status counts as latched; -1 without one."""
        return self.status.latch_count if self.status is not None else -1

    def next_deadline_us(self) -> int:
        """Return when `Ticked` is due at the latest."""
        due = [pending.deadline_us for pending in self.durable.values()]
        if self.has_status_since_drive:
            due.append(self.drive_us + DRIVE_AFTER_STATUS_US)
        elif self.has_link and self.status:
            due.append(self.drive_us + DRIVE_WITHOUT_STATUS_US)
        if self.goal:
            due.append(self.goal[1].deadline_us)
        if self.state in ENERGISED:
            due.append(self.beat_us + FROZEN_US + 1)
            due.append(self.status_us + SILENT_ENERGISED_US + 1)
        elif self.has_link:
            due.append(self.status_us + SILENT_AT_REST_US + 1)
        if self.state is HostState.STOPPING:
            due.append(self.stopping_until_us)
        if self.acknowledge:
            due.append(self.acknowledge.deadline_us)
        if self.rearming:
            due.append(self.rearming[1].deadline_us)
        if self.self_test:
            due.append(self.self_test.deadline_us)
        if self.orphaned_us is not None:
            due.append(self.orphaned_us)
        if self.closing_until_us is not None:
            due.append(self.closing_until_us)
        return min(due, default=2**62)

    def do(self, effect: ev.Effect) -> None:
        self.effects.append(effect)

    def follow(self, trigger: Trigger) -> bool:
        target = follow(self.state, trigger)
        if target is None:
            return False
        was_energised = self.state in ENERGISED
        if target is not self.state:
            self.append(
                "state", {"from": self.state.value, "to": target.value, "by": trigger.value}
            )
        self.state = target
        if (target in ENERGISED) is not was_energised:
            self.do(ev.Inhibit(target in ENERGISED))
            self.overload.reset()
        return True

    def append(self, kind: str, content: dict[str, object]) -> None:
        if not self.record_missing():
            self.do(ev.Append(kind, content))

    def done(self, request_id: int) -> None:
        if request_id:
            self.do(ev.Say(Outcome(request_id, True)))

    def refuse(
        self,
        request_id: int,
        error: EstimError,
        reasons: tuple[str, ...] = (),
        blame: Blame | None = None,
    ) -> None:
        if request_id:
            said = reasons or (str(error),)
            suspect = blame or suspect_of(error)
            self.do(ev.Say(Outcome(request_id, False, said, error.exit_code, suspect)))

    def notice(
        self,
        now_us: int,
        severity: Severity,
        text: str,
        remedy: str = "",
        blame: Blame | None = None,
    ) -> None:
        self.do(ev.Say(Notice(now_us, severity, text, remedy, blame)))
        self.append(
            "notice",
            {"severity": severity.value, "text": text, "blame": blame.value if blame else None},
        )

    def when_durable(self, kind: str, content: dict[str, object], pending: Pending) -> None:
        """Append, and proceed once that is durable; rule 2."""
        self.tokens += 1
        self.durable[self.tokens] = pending
        self.do(ev.Append(kind, content, self.tokens))

    def record_missing(self) -> str:
        if self.state is HostState.CLOSED:
            return "the record is closed"
        if self.record_failure:
            return f"the record cannot be written: {self.record_failure}"
        return "" if self.record_path else "there is no record yet"

    def review_drive(
        self,
        now_us: int,
        wished_ua: list[int] | None = None,
        kind: RiseKind = RiseKind.NONE,
        request_id: int = 0,
    ) -> None:
        """Have the whole wanted state reviewed and sent; a refused rise changes nothing."""
        if not self.has_link or self.status is None:
            return
        self.drive_us = now_us
        self.has_status_since_drive = False
        self.reviewing_id = request_id
        targets = tuple(self.targets_ua if wished_ua is None else wished_ua)
        self.do(
            ev.ReviewDrive(
                DriveRequest(
                    wanted=self.wanted(),
                    targets_ua=targets,
                    former_targets_ua=tuple(self.targets_ua),
                    rise_kind=kind,
                    key_rise_in_second_ua=self.key_rises_ua(now_us),
                    return_targets_ua=tuple(self.marker_ua),
                )
            )
        )

    def note_lowering(self, now_us: int) -> None:
        """Remember the targets that are about to be lowered: the device has `OBEY_US` to follow."""
        if any(self.targets_ua):
            self.lowered.append((now_us + OBEY_US, list(self.targets_ua)))

    def allowed_ua(self, index: int, now_us: int) -> int:
        """Return the most that a channel of an obedient device may still be at."""
        while self.lowered and self.lowered[0][0] < now_us:
            self.lowered.popleft()
        highest_ua = self.targets_ua[index] if index < len(self.targets_ua) else 0
        for _, former_ua in self.lowered:
            if index < len(former_ua):
                highest_ua = max(highest_ua, former_ua[index])
        return highest_ua

    def commanded_ua(self, index: int, now_us: int) -> int:
        """Return the most that was commanded and that the device may not have left yet.

        What was lowered counts until a Drive sent later is answered, the device reports that it
        does not run, or `OBEY_US` are over: its lease has ended by then.
        """
        highest_ua = self.targets_ua[index]
        for until_us, former_ua in self.lowered:
            is_open = until_us >= now_us and until_us - OBEY_US >= self.followed_us
            if is_open and index < len(former_ua):
                highest_ua = max(highest_ua, former_ua[index])
        return highest_ua

    def key_rises_ua(self, now_us: int) -> tuple[int, ...]:
        while self.key_rises and now_us - self.key_rises[0][0] >= KEY_WINDOW_US:
            self.key_rises.popleft()
        totals = [0] * len(self.targets_ua)
        for _, index, rise_ua in self.key_rises:
            if index < len(totals):
                totals[index] += rise_ua
        return tuple(totals)

    def wanted(self) -> WantedState:
        if self.goal is not None:
            # A device that has not seen the pause would go on from where it is, not from zero.
            waits = self.goal[0] is Trigger.ARMED or not self.is_pause_seen
            return WantedState.ARMED if waits else WantedState.RUNNING
        return WANTED.get(self.state, WantedState.SAFE)

    def facts(self, now_us: int) -> Facts:
        """Return what the kernel must know now."""
        status = self.status
        if status is None:
            return Facts(DeviceState.SAFE, 2**62, 0, 0, False, False, frozenset(), InputFlag.NONE)
        return Facts(
            device_state=status.state,
            status_age_us=now_us - self.status_us,
            heartbeat_age_us=now_us - self.beat_us,
            running_ms=status.running_ms,
            digests_match=self.has_digests(status),
            is_fault_latched=status.fault is not FaultCode.NONE,
            lead_off_channels=frozenset(
                index
                for index, row in enumerate(status.channels)
                if ChannelFlag.LEAD_OFF_LATCHED in row.flags
            ),
            inputs=status.inputs,
        )

    def has_digests(self, status: Status) -> bool:
        return (
            status.program_digest == self.program_digest
            and status.limits_digest == self.limits_digest
        )

    def ask_for(
        self, request_id: int, wished_ua: list[int], kind: RiseKind, reason: str, now_us: int
    ) -> None:
        """Record a rise as asked, then have it reviewed once that is durable."""
        problem = self.record_missing()
        if self.state is not HostState.RUNNING or self.finish_from:
            problem = f"not while {self.state.value}"
        elif self.has_wish:
            problem = "the last wish is still being recorded"
        if problem:
            self.refuse(request_id, LimitRefused(problem))
            return
        self.return_ua = wished_ua if kind is RiseKind.RETURN else []
        content: dict[str, object] = {
            "from_ua": self.targets_ua[:],
            "to_ua": wished_ua,
            "by": reason,
        }
        pending = Pending(
            request_id,
            now_us + DURABLE_US,
            lambda at_us: self.review_rise(request_id, wished_ua, kind, at_us),
            "the record is too slow: nothing was raised",
        )
        self.when_durable("rise_asked", content, pending)

    def review_rise(
        self, request_id: int, wished_ua: list[int], kind: RiseKind, now_us: int
    ) -> None:
        if self.state is not HostState.RUNNING or self.finish_from:
            self.refuse(request_id, LimitRefused(f"not while {self.state.value}"))
            return
        self.review_drive(now_us, wished_ua, kind, request_id)

    def go_to_zero(self, why: str, blame: Blame) -> None:
        is_return_asked = self.has_wish and any(self.return_ua)
        self.drop_wishes(why, blame)
        if self.state is HostState.RUNNING and not is_return_asked:
            # Zero too: a return must not reach what was lowered before the pause. One that was
            # asked and has not begun may be asked again.
            self.marker_ua = list(self.targets_ua)
        self.targets_ua = [0] * len(self.targets_ua)
        self.finish_from = None
        self.delivery.is_ramping_down = False

    def drop_wishes(self, why: str, blame: Blame) -> None:
        """Refuse every rise or start that still waits."""
        for token, pending in list(self.durable.items()):
            if pending.is_wish:
                del self.durable[token]
                self.refuse(pending.request_id, LimitRefused(why), blame=blame)
        if self.goal is not None:
            self.refuse(self.goal[1].request_id, LimitRefused(why), blame=blame)
            self.goal = None
        self.return_ua = []

    def begin_finish(self, reason: str, now_us: int, blame: Blame) -> None:
        self.drop_wishes(reason, blame)
        self.end_reason = reason
        self.finish_from = (now_us, list(self.targets_ua))
        self.delivery.is_ramping_down = True
        self.append("ramp_down", {"from_ua": self.targets_ua[:], "reason": reason})

    def begin_stop(self, reason: str, now_us: int, blame: Blame) -> None:
        """Send Stop whatever the state; clear everything that could bring output back."""
        self.do(ev.StopOutput())
        self.fail_load(LimitRefused(reason), blame=blame)
        was_stopping = self.state is HostState.STOPPING
        was_busy = self.goal is not None or was_stopping or self.state in ENERGISED
        self.note_lowering(now_us)
        self.go_to_zero(reason, blame)
        self.append("stop", {"reason": reason, "state": self.state.value})
        if was_busy and self.follow(Trigger.STOPPED):
            self.end_reason = reason
            if not was_stopping:  # however often it is pressed, the alarm is due after the first
                self.stopping_until_us = now_us + ZERO_US
        # At rest too: an Arm that waited behind this Stop must find nothing to arm.
        self.clear_program()

    @property
    def slow_link_words(self) -> str:
        """Return how slow the link is, to follow what went wrong over it; '' for quick enough."""
        if self.round_trip_us <= SLOW_LINK_US:
            return ""
        return f": the link takes {self.round_trip_us // 1000} ms there and back"

    def append_delivered(self) -> None:
        """Record what the device reported as delivered since the programme was loaded.

        Again where more has come since the last time, after a fault above all: the last entry of a
        programme is what was really delivered.
        """
        delivery = self.delivery
        figures: dict[str, object] = {
            "rise_ms": delivery.rise_us // 1000,
            "plateau_ms": delivery.plateau_us // 1000,
            "ramp_down_ms": delivery.ramp_down_us // 1000,
            "pulses": delivery.pulse_counts,
        }
        if (delivery.delivered_us or any(delivery.pulse_counts)) and figures != self.delivered:
            self.delivered = figures
            self.append("delivered", figures)

    def clear_program(self) -> None:
        self.program = None
        self.program_digest = 0
        self.gate.unload()

    def latch_fault(self, now_us: int, code: str, text: str, remedy: str, blame: Blame) -> None:
        """Latch a fault: output to zero, everything pending refused."""
        self.do(ev.StopOutput())
        self.fail_load(DeviceFault(text), blame=blame)
        self.note_lowering(now_us)
        self.go_to_zero(text, blame)
        self.clear_program()
        self.fault = Fault(code, text, remedy, blame)
        self.end_reason = text
        for request_id in self.stopping:
            self.refuse(request_id, DeviceFault(text), blame=blame)
        self.stopping.clear()
        self.follow(Trigger.FAULT)
        self.append_delivered()
        self.append("fault", {"code": code, "text": text, "blame": blame.value})
        self.notice(now_us, Severity.ALARM, text, remedy, blame)

    def fail_load(
        self, error: EstimError, reasons: tuple[str, ...] = (), blame: Blame | None = None
    ) -> None:
        if self.preparing is None:
            return
        request_id = self.preparing[0]
        self.preparing = None
        self.loaded_until_us = None
        suspect = blame or suspect_of(error)
        said = list(reasons or (str(error),))
        self.append("prepare_refused", {"reasons": said, "blame": suspect.value})
        self.refuse(request_id, error, reasons, suspect)

    def end_self_test(self, error: EstimError, blame: Blame | None = None) -> None:
        """Refuse a self-test that will not be answered any more."""
        if self.self_test is not None:
            pending, self.self_test = self.self_test, None
            self.append("self_test_unanswered", {"reason": str(error)})
            self.refuse(pending.request_id, error, blame=blame)

    def fail_silent(self, now_us: int, explanation: str) -> None:
        self.append("uncertain_delivery", {"targets_ua": self.targets_ua[:]})
        self.latch_fault(
            now_us, "link_lost", f"{explanation}: output ends by itself, recorded as delivered",
            "check cable and device, then acknowledge", Blame.UNKNOWN,
        )  # fmt: skip

    def fail_connect(self, error: EstimError, blame: Blame | None = None) -> None:
        suspect = blame or suspect_of(error)
        self.lose_link(suspect)
        self.append("connect_failed", {"error": str(error), "blame": suspect.value})
        self.refuse(self.connect_id, error, blame=suspect)
        self.connect_id = 0

    def lose_link(self, blame: Blame) -> None:
        self.drop_wishes("the link was closed", blame)
        self.end_self_test(DeviceFault("the link was closed"), blame)
        self.fail_load(DeviceFault("the link was closed"), blame=blame)
        self.has_link = False
        self.status = None
        self.has_status_since_drive = False
        self.clear_program()
        self.do(ev.ClosePort())

    def end_visit(self, reason: str, now_us: int) -> None:
        self.orphaned_us = None
        self.append_delivered()
        total_us = self.former_delivered_us + self.delivery.delivered_us
        end = self.end_reason or reason  # what ended output tells more than who closed the visit
        self.append("closed", {"reason": end, "delivered_ms": total_us // 1000})
        self.refuse(self.connect_id, LimitRefused(reason))
        self.connect_id = 0
        if self.acknowledge is not None:
            self.refuse(self.acknowledge.request_id, LimitRefused(reason))
            self.acknowledge = None
        if self.rearming is not None:
            self.refuse(self.rearming[1].request_id, LimitRefused(reason))
            self.rearming = None
        self.lose_link(Blame.OPERATOR)
        missing = self.record_missing()
        self.follow(Trigger.CLOSED)
        if not missing:
            self.closing_until_us = now_us + SEAL_US
            self.do(ev.SealRecord(reason))
        else:
            self.done(self.close_id)
            self.do(ev.EndEngine())
