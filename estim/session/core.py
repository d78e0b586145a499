"""The session: from events to effects, without I/O, clock or thread.

Rules:
1. The state moves along `states.TRANSITIONS` alone.
2. Output is asked for only by a person's request, recorded first where it rises, and reviewed by the kernel every time.
3. Stop is accepted in every state and clears programme, targets and every pending wish.
4. Nothing resumes by itself: after a pause, a fault, a lost electrode or a lost link a person must ask.
5. Liveness is a Status, never a successful write; a failure names a suspect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from firmware_protocol import limits
from firmware_protocol.errors import ProgramError
from firmware_protocol.messages import (
    FAULT_REMEDIES,
    Capabilities,
    ChannelFlag,
    CyclePhase,
    DeviceState,
    FaultCode,
    Identity,
    InputFlag,
    PolicyFlag,
    Status,
    WantedState,
)
from firmware_protocol.program import PulseProgram, from_canonical_bytes

from estim.drivers import base as driver
from estim.errors import DeviceFault, EstimError, LimitRefused, RecordError, UsageError
from estim.safety import kernel
from estim.safety.bounds import Bounds, intersect
from estim.safety.kernel import DriveRequest, Facts, RiseKind
from estim.safety.verdict import Approved
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.delivery import Delivery
from estim.session.messages import Blame, Fault, Notice, Outcome, Severity
from estim.session.overload import Lateness, Overload
from estim.session.states import ENERGISED, WANTED, HostState, Trigger, follow

DRIVE_AFTER_STATUS_US = 45_000
DRIVE_WITHOUT_STATUS_US = 60_000
DURABLE_US = 250_000
GOAL_US = 1_500_000
ZERO_US = 1_000_000
SILENT_ENERGISED_US = kernel.STATUS_FRESH_US
SILENT_AT_REST_US = 2_000_000
SLOW_LINK_US = 150_000
SLOW_LINK_SHOWN_US = 2_000_000
KEY_WINDOW_US = 1_000_000
ORPHAN_US = 1_000_000

_NO_BOUNDS = Bounds((), (), PolicyFlag.NONE, is_bench=True, amplitude_step_ua=1)

_FAULT_BLAME = {
    FaultCode.LEASE_EXPIRED: Blame.HOST,
    FaultCode.OVERCURRENT: Blame.DEVICE,
    FaultCode.RUNNING_TIME: Blame.OPERATOR,
    FaultCode.PATIENT_STOP: Blame.OPERATOR,
    FaultCode.LINE_NOISE: Blame.RIG,
    FaultCode.SUPPLY: Blame.DEVICE,
    FaultCode.SELF_TEST: Blame.DEVICE,
    FaultCode.OUTPUT_STAGE: Blame.DEVICE,
}


@dataclass(slots=True)
class _Pending:
    """Something that waits for the record to be durable, the device to follow, or both."""

    request_id: int
    deadline_us: int
    proceed: Callable[[int], None]
    failure: str


class SessionCore:
    """Hold one visit's state; `handle` takes an event and returns what is to be done."""

    def __init__(self) -> None:
        self.state = HostState.DISCONNECTED
        self.url = ""
        self.identity: Identity | None = None
        self.capabilities: Capabilities | None = None
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
        self.overload = Overload()
        self.record_path = ""
        self.record_failure = ""
        self.end_reason = ""
        self.has_link = False
        self.slow_link_until_us = 0
        self._effects: list[ev.Effect] = []
        self._tokens = 0
        self._durable: dict[int, _Pending] = {}
        self._goal: tuple[Trigger, _Pending] | None = None
        self._return_ua: list[int] = []
        self._preparing: tuple[int, PulseProgram, Bounds, msg.SessionSettings] | None = None
        self._connect_id = 0
        self._open_id = 0
        self._close_id = 0
        self._acknowledge: _Pending | None = None
        self._stopping: list[int] = []
        self._stopping_until_us = 0
        self._finish_from: tuple[int, list[int]] | None = None
        self._key_rises: deque[tuple[int, int, int]] = deque()
        self._beat_us = 0
        self._drive_us = 0
        self._has_status_since_drive = False
        self._program_digest = 0
        self._limits_digest = 0
        self._loaded_until_us: int | None = None
        self._orphaned_us: int | None = None
        self._reviewing_id = 0

    # The way in and the ways out.

    def handle(self, event: ev.CoreEvent, now_us: int) -> list[ev.Effect]:
        """Take one event; return what is to be done, in order."""
        _HANDLERS[type(event)](self, event, now_us)
        effects, self._effects = self._effects, []
        return effects

    def next_deadline_us(self) -> int:
        """Return when `Ticked` is due at the latest."""
        due = [self._drive_us + DRIVE_WITHOUT_STATUS_US] if self.has_link and self.status else []
        if self._has_status_since_drive:
            due.append(self._drive_us + DRIVE_AFTER_STATUS_US)
        due += [pending.deadline_us for pending in self._durable.values()]
        if self._goal:
            due.append(self._goal[1].deadline_us)
        if self.state in ENERGISED:
            due.append(self._beat_us + limits.heartbeat_ms.maximum * 1000 + 1)
            due.append(self.status_us + SILENT_ENERGISED_US + 1)
        elif self.has_link and self.status:
            due.append(self.status_us + SILENT_AT_REST_US + 1)
        if self.state is HostState.STOPPING:
            due.append(self._stopping_until_us)
        if self._acknowledge:
            due.append(self._acknowledge.deadline_us)
        if self._orphaned_us is not None:
            due.append(self._orphaned_us)
        return min(due, default=2**62)

    @property
    def is_busy(self) -> bool:
        """Tell whether a wish still waits for the record or the device."""
        return bool(self._durable or self._goal or self._preparing or self._connect_id)

    # Small steps that everything else is made of.

    def _do(self, effect: ev.Effect) -> None:
        self._effects.append(effect)

    def _follow(self, trigger: Trigger) -> bool:
        target = follow(self.state, trigger)
        if target is None:
            return False
        was_energised = self.state in ENERGISED
        if target is not self.state:
            self._append("state", {"from": self.state.value, "to": target.value, "by": trigger.value})
        self.state = target
        if (target in ENERGISED) is not was_energised:
            self._do(ev.Inhibit(target in ENERGISED))
            self.overload.reset()
        return True

    def _append(self, kind: str, content: dict[str, object]) -> None:
        if self.record_path and not self.record_failure:
            self._do(ev.Append(kind, content))

    def _done(self, request_id: int) -> None:
        if request_id:
            self._do(ev.Say(Outcome(request_id, True)))

    def _refuse(self, request_id: int, error: EstimError, reasons: tuple[str, ...] = ()) -> None:
        if request_id:
            said = reasons or (str(error),)
            self._do(ev.Say(Outcome(request_id, False, said, error.exit_code)))

    def _notice(
        self, now_us: int, severity: Severity, text: str, remedy: str = "", blame: Blame | None = None
    ) -> None:
        self._do(ev.Say(Notice(now_us, severity, text, remedy, blame)))
        self._append(
            "notice",
            {"severity": severity.value, "text": text, "blame": blame.value if blame else None},
        )

    def _when_durable(
        self, kind: str, content: dict[str, object], pending: _Pending
    ) -> None:
        """Append, and proceed once that is durable; rule 2."""
        self._tokens += 1
        self._durable[self._tokens] = pending
        self._do(ev.Append(kind, content, self._tokens))

    def _record_missing(self) -> str:
        if self.record_failure:
            return f"the record cannot be written: {self.record_failure}"
        return "" if self.record_path else "there is no record yet"

    # Requests.

    def _on_request(self, event: ev.RequestMade, now_us: int) -> None:
        request = event.request
        if isinstance(request, msg.Heartbeat):
            self._beat_us = now_us
            return
        _REQUESTS[type(request)](self, request, now_us)

    def _open_record(self, request: msg.OpenRecord, now_us: int) -> None:
        if self.record_path or self._open_id:
            self._refuse(request.request_id, UsageError("the record is open already"))
            return
        self._open_id = request.request_id
        self._do(ev.OpenRecordFile(request))

    def _connect(self, request: msg.Connect, now_us: int) -> None:
        if self.state is not HostState.DISCONNECTED or self._connect_id:
            self._refuse(request.request_id, UsageError("a device is connected already"))
            return
        self._connect_id = request.request_id
        self.url = request.url
        self._do(ev.OpenPort(request.url))

    def _disconnect(self, request: msg.Disconnect, now_us: int) -> None:
        if self.state not in (HostState.IDENTIFIED, HostState.READY):
            self._refuse(request.request_id, LimitRefused(f"not while {self.state.value}"))
            return
        self._lose_link()
        self._follow(Trigger.LINK_CLOSED)
        self._done(request.request_id)

    def _prepare(self, request: msg.Prepare, now_us: int) -> None:
        if self.state not in (HostState.IDENTIFIED, HostState.READY) or self._preparing or self._goal:
            self._refuse(request.request_id, LimitRefused(f"not while {self.state.value}"))
            return
        missing = self._record_missing()
        if missing or self.capabilities is None:
            self._refuse(request.request_id, RecordError(missing or "no device"))
            return
        try:
            program = from_canonical_bytes(bytes.fromhex(request.program_hex))
        except (ValueError, ProgramError) as error:
            self._refuse(request.request_id, UsageError(f"programme: {error}"))
            return
        bounds = intersect(request.bounds, self.capabilities)
        self._clear_program()
        self._preparing = (request.request_id, program, bounds, request.settings)
        self._do(ev.ReviewLoad(program, bounds))

    def _arm(self, request: msg.Arm, now_us: int) -> None:
        problem = self._record_missing()
        if self.state is not HostState.READY or self._goal or self._durable:
            problem = f"not while {self.state.value}"
        elif self.program is None:
            problem = "no programme is loaded: prepare one first"
        if problem:
            self._refuse(request.request_id, LimitRefused(problem))
            return
        self._beat_us = now_us
        goal = self._goal_for(Trigger.ARMED, request.request_id, "the device did not arm")
        self._when_durable("arm_asked", {"profile": self.settings.profile_id}, goal(now_us))

    def _start(self, request: msg.Start | msg.Resume, now_us: int) -> None:
        if self.state is not HostState.ARMED or self._goal or self._durable:
            self._refuse(request.request_id, LimitRefused(f"not while {self.state.value}"))
            return
        is_return = isinstance(request, msg.Resume)
        if is_return and not any(self.marker_ua):
            self._refuse(request.request_id, LimitRefused("nothing was paused"))
            return
        self._return_ua = list(self.marker_ua) if is_return else []
        goal = self._goal_for(Trigger.STARTED, request.request_id, "the device did not start")
        kind = "resume_asked" if is_return else "start_asked"
        self._when_durable(kind, {"targets_ua": self._return_ua}, goal(now_us))

    def _pause(self, request: msg.Pause, now_us: int) -> None:
        if self.state is not HostState.RUNNING:
            self._refuse(request.request_id, LimitRefused(f"not while {self.state.value}"))
            return
        self._go_to_zero()
        self._follow(Trigger.PAUSED)
        self._append("paused", {"marker_ua": self.marker_ua})
        self._send_drive(now_us)
        self._done(request.request_id)

    def _raise(self, request: msg.Raise, now_us: int) -> None:
        wished = list(self.targets_ua)
        for index in request.channels:
            if not 0 <= index < len(wished):
                self._refuse(request.request_id, UsageError(f"there is no channel {index + 1}"))
                return
            if self._is_between_contractions(index):
                text = f"channel {index + 1}: wait for the contraction"
                self._refuse(request.request_id, LimitRefused(text))
                return
            wished[index] += self.settings.step_ua
        self._ask_for(request.request_id, wished, RiseKind.KEY, request.reason or "key", now_us)

    def _set_targets(self, request: msg.SetTargets, now_us: int) -> None:
        if len(request.targets_ua) != len(self.targets_ua):
            count = len(self.targets_ua)
            self._refuse(request.request_id, UsageError(f"{count} targets expected"))
            return
        self._ask_for(
            request.request_id, list(request.targets_ua), RiseKind.TARGET, "target", now_us
        )

    def _ask_for(
        self, request_id: int, wished_ua: list[int], kind: RiseKind, reason: str, now_us: int
    ) -> None:
        """Record a rise as asked, then have it reviewed once that is durable."""
        problem = self._record_missing()
        if self.state is not HostState.RUNNING or self._finish_from:
            problem = f"not while {self.state.value}"
        elif self._durable:
            problem = "the last wish is still being recorded"
        if problem:
            self._refuse(request_id, LimitRefused(problem))
            return
        content = {"from_ua": self.targets_ua[:], "to_ua": wished_ua, "by": reason}
        pending = _Pending(
            request_id,
            now_us + DURABLE_US,
            lambda at_us: self._review_rise(request_id, wished_ua, kind, at_us),
            "the record is too slow: nothing was raised",
        )
        self._when_durable("rise_asked", content, pending)

    def _review_rise(
        self, request_id: int, wished_ua: list[int], kind: RiseKind, now_us: int
    ) -> None:
        if self.state is not HostState.RUNNING or self._finish_from:
            self._refuse(request_id, LimitRefused(f"not while {self.state.value}"))
            return
        self._send_drive(now_us, wished_ua, kind, request_id)

    def _lower(self, request: msg.Lower, now_us: int) -> None:
        if self.state is not HostState.RUNNING or request.amount_ua < 0:
            self._refuse(request.request_id, LimitRefused(f"not while {self.state.value}"))
            return
        if any(not 0 <= index < len(self.targets_ua) for index in request.channels):
            self._refuse(request.request_id, UsageError("there is no such channel"))
            return
        self._drop_wishes("lowered meanwhile")
        before = list(self.targets_ua)
        for index in request.channels:
            self.targets_ua[index] = max(0, self.targets_ua[index] - request.amount_ua)
        self._append("lowered", {"from_ua": before, "to_ua": self.targets_ua[:]})
        self._send_drive(now_us)
        self._done(request.request_id)

    def _finish(self, request: msg.Finish, now_us: int) -> None:
        if self.state is HostState.RUNNING:
            self._begin_finish("finished", now_us)
            self._stopping.append(request.request_id)
        elif self.state is HostState.ARMED:
            self._begin_stop("finished", now_us)
            self._stopping.append(request.request_id)
        else:
            self._refuse(request.request_id, LimitRefused(f"not while {self.state.value}"))

    def _stop(self, request: msg.Stop, now_us: int) -> None:
        self._begin_stop(request.reason, now_us)
        if self.state is HostState.STOPPING:
            self._stopping.append(request.request_id)
        else:
            self._done(request.request_id)

    def _acknowledge_fault(self, request: msg.Acknowledge, now_us: int) -> None:
        if self.state is not HostState.FAULT:
            self._refuse(request.request_id, LimitRefused("there is no fault"))
            return
        self._append("acknowledged", {"fault": self.fault.code if self.fault else ""})
        if not self.has_link or self.status is None:
            self.fault = None
            self._follow(Trigger.ACKNOWLEDGED_UNLINKED)
            self._done(request.request_id)
        elif self.status.fault is FaultCode.NONE and self.status.state is not DeviceState.FAULT:
            self._leave_fault(request.request_id)
        else:
            self._acknowledge = _Pending(
                request.request_id,
                now_us + GOAL_US,
                lambda _: self._leave_fault(request.request_id),
                "the device keeps its fault: is the cause gone?",
            )
            self._do(ev.AcknowledgeDevice(self.status.latch_count, 0))

    def _leave_fault(self, request_id: int) -> None:
        self.fault = None
        self._acknowledge = None
        self._follow(Trigger.ACKNOWLEDGED)
        self._done(request_id)

    def _rearm(self, request: msg.Rearm, now_us: int) -> None:
        mask = sum(1 << index for index in set(request.channels) if 0 <= index < 8)
        if self.status is None or mask == 0 or any(
            index < len(self.targets_ua) and self.targets_ua[index] for index in request.channels
        ):
            self._refuse(request.request_id, LimitRefused("no electrode to re-arm at zero"))
            return
        self._append("rearmed", {"channels": list(request.channels)})
        self._do(ev.AcknowledgeDevice(self.status.latch_count, mask))
        self._done(request.request_id)

    def _annotate(self, request: msg.Annotate, now_us: int) -> None:
        missing = self._record_missing()
        if missing:
            self._refuse(request.request_id, RecordError(missing))
            return
        pending = _Pending(
            request.request_id,
            now_us + 20 * DURABLE_US,
            lambda _: self._done(request.request_id),
            "the record is too slow: nobody knows whether the note was kept",
        )
        self._when_durable("annotation", {"kind": request.kind, "content": request.content}, pending)

    def _close(self, request: msg.CloseVisit, now_us: int) -> None:
        if follow(self.state, Trigger.CLOSED) is None or self._goal:
            error = LimitRefused(f"stop first: the session is {self.state.value}")
            self._refuse(request.request_id, error)
            return
        self._close_id = request.request_id
        self._end(request.reason)

    # What the driver says.

    def _on_driver(self, event: ev.DriverSaid, now_us: int) -> None:
        _DRIVER_EVENTS[type(event.event)](self, event.event, now_us)

    def _on_identified(self, told: driver.Identified, now_us: int) -> None:
        serial_number = told.identity.serial_number
        if self.identity is not None and serial_number != self.identity.serial_number:
            error = DeviceFault(
                f"another device answers: {serial_number}, but this session is bound to "
                f"{self.identity.serial_number}: connect that one, or open a new session"
            )
            self._fail_connect(error)
            return
        self.identity = told.identity
        self.capabilities = told.capabilities
        self.has_link = True
        self._follow(Trigger.IDENTIFIED)
        self._append(
            "identified",
            {
                "url": self.url,
                "model": told.identity.model,
                "serial_number": serial_number,
                "firmware_version": told.identity.firmware_version,
                "schema_hash": told.identity.schema_hash,
                "residual_ms": told.capabilities.residual_ms,
            },
        )
        self._done(self._connect_id)
        self._connect_id = 0

    def _on_connect_failed(self, told: driver.ConnectFailed, now_us: int) -> None:
        self._fail_connect(told.error)

    def _fail_connect(self, error: EstimError) -> None:
        self._lose_link()
        self._append("connect_failed", {"error": str(error)})
        self._refuse(self._connect_id, error)
        self._connect_id = 0

    def _on_loaded(self, told: driver.Loaded, now_us: int) -> None:
        if self._preparing is not None:
            self._program_digest = told.program_digest
            self._limits_digest = told.limits_digest
            self._loaded_until_us = now_us + GOAL_US

    def _see_loaded(self, status: Status, now_us: int) -> None:
        """Take the programme once the device itself reports it."""
        if self._preparing is None or self._loaded_until_us is None:
            return
        if not self._has_digests(status):
            if now_us >= self._loaded_until_us:
                self._fail_load(DeviceFault("the device does not report the programme it accepted"))
            return
        request_id, self.program, self.bounds, self.settings = self._preparing
        self._preparing = None
        self._loaded_until_us = None
        count = len(self.program.channels)
        self.targets_ua = [0] * count
        self.marker_ua = [0] * count
        self.delivery = Delivery(count)
        self.ceilings = []
        for index in range(count):
            highest_ua, reasons = kernel.ceiling(self.program, self.bounds, index)
            self.ceilings.append((highest_ua, str(reasons[0]) if reasons else ""))
        self._follow(Trigger.PREPARED)
        self._append(
            "prepared",
            {
                "profile": self.settings.profile_id,
                "program_digest": self._program_digest,
                "limits_digest": self._limits_digest,
                "program": self.program.canonical_bytes().hex(),
                "bounds": msg.to_fields(self.bounds),
                "ceilings_ua": [ceiling_ua for ceiling_ua, _ in self.ceilings],
                "duration_s": self.settings.duration_s,
            },
        )
        self._done(request_id)

    def _has_digests(self, status: Status) -> bool:
        return (
            status.program_digest == self._program_digest
            and status.limits_digest == self._limits_digest
        )

    def _on_load_failed(self, told: driver.LoadFailed, now_us: int) -> None:
        self._fail_load(told.error)

    def _fail_load(self, error: EstimError, reasons: tuple[str, ...] = ()) -> None:
        if self._preparing is None:
            return
        request_id = self._preparing[0]
        self._preparing = None
        self._loaded_until_us = None
        self._append("prepare_refused", {"reasons": list(reasons or (str(error),))})
        self._refuse(request_id, error, reasons)

    def _on_drive_refused(self, told: driver.DriveRefused, now_us: int) -> None:
        text = f"the device refused: {told.explanation}"
        self._notice(now_us, Severity.WARNING, text, blame=Blame.UNKNOWN)
        if self.state in ENERGISED or self._goal:
            # The device does not follow any more, and would let its lease run out: stop in good order.
            self._begin_stop(text, now_us)

    def _on_told(self, told: driver.DeviceTold, now_us: int) -> None:
        event = told.event
        self._append(
            "device_event",
            {
                "index": event.index,
                "tick_ms": event.tick_ms,
                "code": event.code.name.lower(),
                "channel": event.channel,
                "detail": event.detail,
            },
        )

    def _on_round_trip(self, told: driver.RoundTrip, now_us: int) -> None:
        if told.duration_us > SLOW_LINK_US:
            self.slow_link_until_us = now_us + SLOW_LINK_SHOWN_US

    def _on_line_damaged(self, told: driver.LineDamaged, now_us: int) -> None:
        self._append("line_damaged", {"explanation": told.explanation})

    def _on_status(self, told: driver.StatusSeen, now_us: int) -> None:
        if not self.has_link:
            return
        status, before = told.status, self.status
        self.status = status
        self.status_us = now_us
        self._has_status_since_drive = True
        self.delivery.take(status, self.targets_ua, now_us)
        self._see_lead_off(status, before, now_us)
        self._see_fault(status, now_us)
        self._see_loaded(status, now_us)
        self._see_goal(status, now_us)
        if self.state is HostState.STOPPING:
            self._see_zero(status)
        elif self.state in ENERGISED:
            self._see_disobedience(status, now_us)
        self._see_end(now_us)
        self._tick_drive(now_us)

    def _see_lead_off(self, status: Status, before: Status | None, now_us: int) -> None:
        for index, row in enumerate(status.channels):
            if ChannelFlag.LEAD_OFF_LATCHED not in row.flags:
                continue
            if before is not None and index < len(before.channels):
                if ChannelFlag.LEAD_OFF_LATCHED in before.channels[index].flags:
                    continue
            was_ua = self.targets_ua[index] if index < len(self.targets_ua) else 0
            self._drop_wishes("an electrode came off")
            if was_ua:
                self.marker_ua[index] = was_ua
                self.targets_ua[index] = 0
            self._append("lead_off", {"channel": index + 1, "load_ohm": row.load_ohm, "at_ua": was_ua})
            self._notice(
                now_us,
                Severity.ALARM,
                f"channel {index + 1}: electrode off, output of the channel is zero",
                "press the electrode on, then re-arm the channel and raise from zero",
                Blame.OPERATOR,
            )

    def _see_fault(self, status: Status, now_us: int) -> None:
        if status.fault is FaultCode.NONE:
            if self._acknowledge is not None:
                self._acknowledge.proceed(now_us)
            return
        if self.state in (HostState.FAULT, HostState.CLOSED):
            return
        words = status.fault.name.replace("_", " ").lower()
        self._fail(
            now_us,
            f"device_{status.fault.name.lower()}",
            f"the device stopped: {words}",
            FAULT_REMEDIES[status.fault],
            _FAULT_BLAME[status.fault],
        )

    def _see_goal(self, status: Status, now_us: int) -> None:
        if self._goal is None:
            return
        trigger, pending = self._goal
        reached = {
            Trigger.ARMED: DeviceState.ARMED,
            Trigger.STARTED: DeviceState.RUNNING,
        }[trigger]
        if status.state is not reached:
            return
        self._goal = None
        self._follow(trigger)
        if trigger is Trigger.STARTED and any(self._return_ua):
            wished, self._return_ua = self._return_ua, []
            self._ask_for(pending.request_id, wished, RiseKind.RETURN, "resume", now_us)
            return
        self._done(pending.request_id)

    def _see_zero(self, status: Status) -> None:
        if status.state is not DeviceState.SAFE or any(row.setpoint_ua for row in status.channels):
            return
        self._follow(Trigger.ZERO_CONFIRMED)
        self._append("zero_confirmed", {"tick_ms": status.tick_ms, "reason": self.end_reason})
        for request_id in self._stopping:
            self._done(request_id)
        self._stopping.clear()
        if self._orphaned_us is not None:
            self._end(self.end_reason)

    def _see_disobedience(self, status: Status, now_us: int) -> None:
        if not self._has_digests(status):
            self._fail(
                now_us, "programme_lost", "the device no longer holds the programme",
                "prepare again; if it comes back, take the device out of use", Blame.DEVICE,
            )  # fmt: skip
        elif self.state is HostState.RUNNING and status.state is not DeviceState.RUNNING:
            self._fail(
                now_us, "left_running", f"the device went to {status.state.name} by itself",
                "look at the device, acknowledge, prepare again", Blame.DEVICE,
            )  # fmt: skip

    def _see_end(self, now_us: int) -> None:
        duration_us = self.settings.duration_s * 1_000_000
        if (
            self.state is HostState.RUNNING
            and self._finish_from is None
            and duration_us
            and self.delivery.plateau_us >= duration_us
        ):
            self._begin_finish("duration reached", now_us)

    # Time.

    def _on_tick(self, event: ev.Ticked, now_us: int) -> None:
        for token, pending in list(self._durable.items()):
            if now_us >= pending.deadline_us:
                del self._durable[token]
                self._refuse(pending.request_id, RecordError(pending.failure))
        if self._goal and now_us >= self._goal[1].deadline_us:
            pending = self._goal[1]
            self._refuse(pending.request_id, DeviceFault(pending.failure))
            self._goal = None
            self._begin_stop(pending.failure, now_us)
        if self._acknowledge and now_us >= self._acknowledge.deadline_us:
            self._refuse(self._acknowledge.request_id, DeviceFault(self._acknowledge.failure))
            self._acknowledge = None
        if self.state is HostState.STOPPING and now_us >= self._stopping_until_us:
            self._fail(
                now_us, "stop_unconfirmed", "zero was not confirmed: output may still be on",
                "take the electrodes off or switch the device off now", Blame.UNKNOWN,
            )  # fmt: skip
        self._tick_liveness(now_us)
        if self._orphaned_us is not None and now_us >= self._orphaned_us:
            self._end(self.end_reason)
        self._tick_drive(now_us)

    def _tick_liveness(self, now_us: int) -> None:
        if self.state in ENERGISED:
            if now_us - self._beat_us > limits.heartbeat_ms.maximum * 1000:
                self._fail(
                    now_us, "display_frozen", "the display stood still: output stopped",
                    "look at the terminal and the computer's load, then acknowledge", Blame.HOST,
                )  # fmt: skip
            elif now_us - self.status_us > SILENT_ENERGISED_US:
                self._fail_silent(now_us, "the device fell silent")
        elif self.has_link and self.status and now_us - self.status_us > SILENT_AT_REST_US:
            self._on_port_gone(ev.PortGone("the device fell silent"), now_us)

    def _tick_drive(self, now_us: int) -> None:
        if not self.has_link or self.status is None:
            return
        waited_us = now_us - self._drive_us
        if waited_us >= DRIVE_WITHOUT_STATUS_US or (
            self._has_status_since_drive and waited_us >= DRIVE_AFTER_STATUS_US
        ):
            self._lower_for_finish(now_us)
            if self.state is not HostState.CLOSED:
                self._send_drive(now_us)

    # Sending.

    def _send_drive(
        self,
        now_us: int,
        wished_ua: list[int] | None = None,
        kind: RiseKind = RiseKind.NONE,
        request_id: int = 0,
    ) -> None:
        """Have the whole wanted state reviewed and sent; a refused rise leaves everything as it was."""
        if not self.has_link or self.status is None:
            return
        self._drive_us = now_us
        self._has_status_since_drive = False
        self._reviewing_id = request_id
        targets = tuple(self.targets_ua if wished_ua is None else wished_ua)
        self._do(
            ev.ReviewDrive(
                DriveRequest(
                    wanted=self._wanted(),
                    targets_ua=targets,
                    former_targets_ua=tuple(self.targets_ua),
                    rise_kind=kind,
                    key_rise_in_second_ua=self._key_rises_ua(now_us),
                    return_targets_ua=tuple(self.marker_ua),
                )
            )
        )

    def _on_reviewed(self, event: ev.DriveReviewed, now_us: int) -> None:
        request, result = event.request, event.result
        request_id, self._reviewing_id = self._reviewing_id, 0
        is_rise = request.rise_kind is not RiseKind.NONE
        if isinstance(result, Approved):
            if is_rise:
                self._accept_rise(request, request_id, now_us)
            return
        reasons = tuple(str(reason) for reason in result.reasons)
        self._append("drive_refused", {"targets_ua": list(request.targets_ua), "reasons": list(reasons)})
        if is_rise:
            self._refuse(request_id, LimitRefused("; ".join(reasons)), reasons)
            self._send_drive(now_us)
            return
        if self.state in ENERGISED or self._goal:
            text = "; ".join(reasons)
            self._notice(now_us, Severity.ALARM, f"output stopped: {text}")
            self._begin_stop(text, now_us)

    def _accept_rise(self, request: DriveRequest, request_id: int, now_us: int) -> None:
        if request.rise_kind is RiseKind.KEY:
            for index, target_ua in enumerate(request.targets_ua):
                rise_ua = target_ua - request.former_targets_ua[index]
                if rise_ua > 0:
                    self._key_rises.append((now_us, index, rise_ua))
        self.targets_ua = list(request.targets_ua)
        self._append(
            "targets",
            {"targets_ua": list(request.targets_ua), "from_ua": list(request.former_targets_ua)},
        )
        self._done(request_id)

    def _key_rises_ua(self, now_us: int) -> tuple[int, ...]:
        while self._key_rises and now_us - self._key_rises[0][0] >= KEY_WINDOW_US:
            self._key_rises.popleft()
        totals = [0] * len(self.targets_ua)
        for _, index, rise_ua in self._key_rises:
            if index < len(totals):
                totals[index] += rise_ua
        return tuple(totals)

    def _wanted(self) -> WantedState:
        if self._goal is not None:
            arming = self._goal[0] is Trigger.ARMED
            return WantedState.ARMED if arming else WantedState.RUNNING
        return WANTED.get(self.state, WantedState.SAFE)

    def facts(self, now_us: int) -> Facts:
        """Return what the kernel must know now."""
        status = self.status
        if status is None:
            return Facts(
                DeviceState.SAFE, 2**62, 0, 0, False, False, frozenset(), InputFlag.NONE
            )
        return Facts(
            device_state=status.state,
            status_age_us=now_us - self.status_us,
            heartbeat_age_us=now_us - self._beat_us,
            running_ms=status.running_ms,
            digests_match=self._has_digests(status),
            is_fault_latched=status.fault is not FaultCode.NONE,
            lead_off_channels=frozenset(
                index
                for index, row in enumerate(status.channels)
                if ChannelFlag.LEAD_OFF_LATCHED in row.flags
            ),
            inputs=status.inputs,
        )

    # Going down.

    def _go_to_zero(self) -> None:
        self._drop_wishes("output went to zero")
        if any(self.targets_ua):
            self.marker_ua = list(self.targets_ua)
        self.targets_ua = [0] * len(self.targets_ua)
        self._finish_from = None
        self.delivery.is_ramping_down = False

    def _drop_wishes(self, why: str) -> None:
        """Refuse every rise or start that still waits."""
        for pending in self._durable.values():
            self._refuse(pending.request_id, LimitRefused(why))
        self._durable.clear()
        if self._goal is not None:
            self._refuse(self._goal[1].request_id, LimitRefused(why))
            self._goal = None
        self._return_ua = []

    def _begin_finish(self, reason: str, now_us: int) -> None:
        self._drop_wishes(reason)
        self.end_reason = reason
        self._finish_from = (now_us, list(self.targets_ua))
        self.delivery.is_ramping_down = True
        self._append("ramp_down", {"from_ua": self.targets_ua[:], "reason": reason})

    def _lower_for_finish(self, now_us: int) -> None:
        if self._finish_from is None or self.state is not HostState.RUNNING:
            return
        began_us, from_ua = self._finish_from
        left_us = self.settings.ramp_down_ms * 1000 - (now_us - began_us)
        if left_us <= 0:
            self._begin_stop(self.end_reason, now_us)
            return
        self.targets_ua = [
            min(target_ua, start_ua * left_us // (self.settings.ramp_down_ms * 1000))
            for target_ua, start_ua in zip(self.targets_ua, from_ua, strict=True)
        ]

    def _begin_stop(self, reason: str, now_us: int) -> None:
        """Send Stop whatever the state; clear everything that could bring output back."""
        self._do(ev.StopOutput())
        self._fail_load(LimitRefused(reason))
        was_busy = self._goal is not None or self.state in (*ENERGISED, HostState.STOPPING)
        self._go_to_zero()
        self._append("stop", {"reason": reason, "state": self.state.value})
        if was_busy and self._follow(Trigger.STOPPED):
            self.end_reason = reason
            self._stopping_until_us = now_us + ZERO_US
            self._clear_program()

    def _clear_program(self) -> None:
        self.program = None
        self._program_digest = 0

    def _fail(self, now_us: int, code: str, text: str, remedy: str, blame: Blame) -> None:
        """Latch a fault: output to zero, everything pending refused."""
        self._do(ev.StopOutput())
        self._fail_load(DeviceFault(text))
        self._go_to_zero()
        self._clear_program()
        self.fault = Fault(code, text, remedy, blame)
        self.end_reason = text
        for request_id in self._stopping:
            self._refuse(request_id, DeviceFault(text))
        self._stopping.clear()
        self._follow(Trigger.FAULT)
        self._append("fault", {"code": code, "text": text, "blame": blame.value})
        self._notice(now_us, Severity.ALARM, text, remedy, blame)

    def _fail_silent(self, now_us: int, explanation: str) -> None:
        self._append("uncertain_delivery", {"targets_ua": self.targets_ua[:]})
        self._fail(
            now_us, "link_lost", f"{explanation}: output ends by itself, recorded as delivered",
            "check cable and device, then acknowledge", Blame.UNKNOWN,
        )  # fmt: skip

    def _lose_link(self) -> None:
        self.has_link = False
        self.status = None
        self._has_status_since_drive = False
        self._clear_program()
        self._do(ev.ClosePort())

    # The world around.

    def _on_port_failed(self, event: ev.PortFailed, now_us: int) -> None:
        self._fail_connect(event.error)

    def _on_port_gone(self, event: ev.PortGone, now_us: int) -> None:
        if self._connect_id:
            self._fail_connect(DeviceFault(event.explanation))
            return
        if self.state in ENERGISED or self.state is HostState.STOPPING:
            self._fail_silent(now_us, event.explanation)
        elif self.has_link:
            text = f"the device is gone: {event.explanation}"
            self._notice(now_us, Severity.WARNING, text, blame=Blame.RIG)
        self._fail_load(DeviceFault(event.explanation))
        self._lose_link()
        self._follow(Trigger.LINK_CLOSED)
        if self._orphaned_us is not None:
            self._end(self.end_reason)

    def _on_record_opened(self, event: ev.RecordOpened, now_us: int) -> None:
        self.record_path = event.path
        self._done(self._open_id)
        self._open_id = 0

    def _on_durable(self, event: ev.RecordDurable, now_us: int) -> None:
        pending = self._durable.pop(event.token, None)
        if pending is not None:
            pending.proceed(now_us)

    def _on_record_failed(self, event: ev.RecordFailed, now_us: int) -> None:
        if self._open_id:
            self._refuse(self._open_id, RecordError(event.explanation))
            self._open_id = 0
            return
        self.record_failure = event.explanation
        self._drop_wishes("the record cannot be written")
        text = f"the record cannot be written: {event.explanation}"
        self._notice(now_us, Severity.ALARM, text, "free the disk, start a new session", Blame.HOST)
        if self.state is HostState.RUNNING and self._finish_from is None:
            self._begin_finish(text, now_us)
        elif self.state is HostState.ARMED:
            self._begin_stop(text, now_us)
        if self._close_id or self._orphaned_us is not None:
            self._refuse(self._close_id, RecordError(text))
            self._do(ev.EndEngine())

    def _on_sealed(self, event: ev.RecordSealed, now_us: int) -> None:
        self._done(self._close_id)
        self._do(ev.EndEngine())

    def _on_load_reviewed(self, event: ev.LoadReviewed, now_us: int) -> None:
        if event.refused is not None:
            reasons = tuple(str(reason) for reason in event.refused.reasons)
            self._fail_load(LimitRefused("; ".join(reasons)), reasons)

    def _on_written(self, event: ev.DriveWritten, now_us: int) -> None:
        if self.state not in ENERGISED:
            return
        lateness = self.overload.written(event.at_us)
        if lateness is Lateness.WARN:
            self._append("overload_warning", {})
        elif lateness is Lateness.STOP and self._finish_from is None:
            text = "computer too busy: output stopped safely"
            remedy = "end other programs, then prepare and arm again"
            self._notice(now_us, Severity.ALARM, text, remedy, Blame.HOST)
            if self.state is HostState.RUNNING:
                self._begin_finish(text, now_us)
            else:
                self._begin_stop(text, now_us)

    def _on_stalled(self, event: ev.LoopStalled, now_us: int) -> None:
        text = f"the engine stood still for {event.gap_us // 1000} ms"
        self._append("stalled", {"gap_us": event.gap_us})
        if self.state in ENERGISED:
            remedy = "end other programs, then acknowledge"
            self._fail(now_us, "engine_stalled", text, remedy, Blame.HOST)

    def _on_suspended(self, event: ev.Suspended, now_us: int) -> None:
        self._append("suspended", {"duration_us": event.duration_us})
        if self.state in ENERGISED:
            text = "the computer slept during the session"
            self._fail(now_us, "suspended", text, "acknowledge, prepare again", Blame.HOST)

    def _on_interface_gone(self, event: ev.InterfaceGone, now_us: int) -> None:
        self._leave(now_us, "the interface is gone")

    def _on_interrupted(self, event: ev.Interrupted, now_us: int) -> None:
        self._leave(now_us, f"interrupted by {event.name}")

    def _leave(self, now_us: int, reason: str) -> None:
        """Stop, wait for zero within reason, seal, end."""
        if self._orphaned_us is not None or self.state is HostState.CLOSED:
            return
        self._orphaned_us = now_us + ORPHAN_US
        self._begin_stop(reason, now_us)
        self.end_reason = reason
        if self.state is not HostState.STOPPING:
            self._end(reason)

    def _end(self, reason: str) -> None:
        self._orphaned_us = None
        if self.state in (HostState.STOPPING, *ENERGISED):
            self._follow(Trigger.FAULT)
        self._append("closed", {"reason": reason, "delivered_ms": self.delivery.delivered_us // 1000})
        self._follow(Trigger.CLOSED)
        self._lose_link()
        if self.record_path and not self.record_failure:
            self._do(ev.SealRecord(reason))
        else:
            self._done(self._close_id)
            self._do(ev.EndEngine())

    def _goal_for(
        self, trigger: Trigger, request_id: int, failure: str
    ) -> Callable[[int], _Pending]:
        """Return a maker of what waits for the record, then for the device."""

        def proceed(now_us: int) -> None:
            self._goal = (trigger, _Pending(request_id, now_us + GOAL_US, lambda _: None, failure))
            self._send_drive(now_us)

        return lambda now_us: _Pending(
            request_id, now_us + DURABLE_US, proceed, "the record is too slow: nothing was started"
        )

    def _is_between_contractions(self, index: int) -> bool:
        program = self.program
        if program is None or program.channels[index].cycle is None or self.status is None:
            return False
        return self.status.channels[index].cycle_phase is not CyclePhase.PLATEAU


_REQUESTS: dict[type, Callable[..., None]] = {
    msg.OpenRecord: SessionCore._open_record,
    msg.Connect: SessionCore._connect,
    msg.Disconnect: SessionCore._disconnect,
    msg.Prepare: SessionCore._prepare,
    msg.Arm: SessionCore._arm,
    msg.Start: SessionCore._start,
    msg.Pause: SessionCore._pause,
    msg.Resume: SessionCore._start,
    msg.Raise: SessionCore._raise,
    msg.Lower: SessionCore._lower,
    msg.SetTargets: SessionCore._set_targets,
    msg.Finish: SessionCore._finish,
    msg.Stop: SessionCore._stop,
    msg.Acknowledge: SessionCore._acknowledge_fault,
    msg.Rearm: SessionCore._rearm,
    msg.Annotate: SessionCore._annotate,
    msg.CloseVisit: SessionCore._close,
}

_DRIVER_EVENTS: dict[type, Callable[..., None]] = {
    driver.Identified: SessionCore._on_identified,
    driver.ConnectFailed: SessionCore._on_connect_failed,
    driver.Loaded: SessionCore._on_loaded,
    driver.LoadFailed: SessionCore._on_load_failed,
    driver.StatusSeen: SessionCore._on_status,
    driver.DriveRefused: SessionCore._on_drive_refused,
    driver.DeviceTold: SessionCore._on_told,
    driver.RoundTrip: SessionCore._on_round_trip,
    driver.LineDamaged: SessionCore._on_line_damaged,
}

_HANDLERS: dict[type, Callable[..., None]] = {
    ev.RequestMade: SessionCore._on_request,
    ev.DriverSaid: SessionCore._on_driver,
    ev.PortFailed: SessionCore._on_port_failed,
    ev.PortGone: SessionCore._on_port_gone,
    ev.RecordOpened: SessionCore._on_record_opened,
    ev.RecordDurable: SessionCore._on_durable,
    ev.RecordFailed: SessionCore._on_record_failed,
    ev.RecordSealed: SessionCore._on_sealed,
    ev.LoadReviewed: SessionCore._on_load_reviewed,
    ev.DriveReviewed: SessionCore._on_reviewed,
    ev.DriveWritten: SessionCore._on_written,
    ev.LoopStalled: SessionCore._on_stalled,
    ev.Suspended: SessionCore._on_suspended,
    ev.InterfaceGone: SessionCore._on_interface_gone,
    ev.Interrupted: SessionCore._on_interrupted,
    ev.Ticked: SessionCore._on_tick,
}
