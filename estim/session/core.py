"""The session: from events to effects, without I/O, clock or thread.

Rules:
1. The state moves along `states.TRANSITIONS` alone.
2. Output is asked for only by a person's request, recorded first where it rises, and reviewed by
   the kernel every time.
3. Stop is accepted in every state and clears programme, targets and every pending wish.
4. Nothing resumes by itself: after a pause, a fault, a lost electrode or a lost link a person must
   ask.
5. Liveness is a Status, never a successful write; a failure names a suspect.

`requests.py` holds what people ask, `reports.py` what the device says, `state.py` the steps they
share; here is the rest
of the world: time, record, port, reviews, and the end.
"""

from __future__ import annotations

from collections.abc import Callable

from estim.errors import DeviceFault, LimitRefused, RecordError
from estim.safety.kernel import DriveRequest, RiseKind
from estim.safety.verdict import Approved
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.messages import Blame, Severity
from estim.session.overload import Lateness
from estim.session.reports import REPORTS, tick_drive
from estim.session.requests import REQUESTS
from estim.session.state import (
    FROZEN_US,
    ORPHAN_US,
    SILENT_AT_REST_US,
    SILENT_ENERGISED_US,
    SessionState,
)
from estim.session.states import ENERGISED, HostState, Trigger


class SessionCore(SessionState):
    """Hold one visit; `handle` takes an event and returns what is to be done."""

    def handle(self, event: ev.CoreEvent, now_us: int) -> list[ev.Effect]:
        """Take one event; return what is to be done, in order."""
        _HANDLERS[type(event)](self, event, now_us)
        effects, self.effects = self.effects, []
        return effects


def _on_request(session: SessionState, event: ev.RequestMade, now_us: int) -> None:
    request = event.request
    if isinstance(request, msg.Heartbeat):
        session.beat_us = now_us
        return
    handler = REQUESTS.get(type(request))
    if handler is not None:  # a reply is no request: whoever sends one waits for nothing
        handler(session, request, now_us)


def _on_tick(session: SessionState, event: ev.Ticked, now_us: int) -> None:
    for token, pending in list(session.durable.items()):
        if now_us >= pending.deadline_us:
            del session.durable[token]
            session.refuse(pending.request_id, RecordError(pending.failure))
    if session.goal and now_us >= session.goal[1].deadline_us:
        pending = session.goal[1]
        slow = session.slow_link_words
        failure, blame = pending.failure + slow, Blame.RIG if slow else Blame.DEVICE
        session.refuse(pending.request_id, DeviceFault(failure), blame=blame)
        pending.request_id = 0  # answered; that there was a goal is for `begin_stop` to see
        session.begin_stop(failure, now_us, blame)
    if session.acknowledge and now_us >= session.acknowledge.deadline_us:
        session.refuse(session.acknowledge.request_id, DeviceFault(session.acknowledge.failure))
        session.acknowledge = None
    if session.rearming and now_us >= session.rearming[1].deadline_us:
        pending = session.rearming[1]
        session.rearming = None
        session.refuse(pending.request_id, DeviceFault(pending.failure))
    if session.self_test and now_us >= session.self_test.deadline_us:
        session.end_self_test(DeviceFault(session.self_test.failure))
    if session.state is HostState.STOPPING and now_us >= session.stopping_until_us:
        session.latch_fault(
            now_us, "stop_unconfirmed", "zero was not confirmed: output may still be on",
            "take the electrodes off or switch the device off now", Blame.UNKNOWN,
        )  # fmt: skip
    _tick_liveness(session, now_us)
    if session.orphaned_us is not None and now_us >= session.orphaned_us:
        session.end_visit(session.end_reason, now_us)
    if session.closing_until_us is not None and now_us >= session.closing_until_us:
        _end_unsealed(session, "the record's seal was not confirmed")
    tick_drive(session, now_us)


def _end_unsealed(session: SessionState, explanation: str) -> None:
    session.closing_until_us = None
    session.refuse(session.close_id, RecordError(explanation))
    session.close_id = 0
    session.do(ev.EndEngine())


def _tick_liveness(session: SessionState, now_us: int) -> None:
    if session.state in ENERGISED:
        if now_us - session.beat_us > FROZEN_US:
            session.latch_fault(
                now_us, "display_frozen", "the display stood still: output stopped",
                "look at the terminal and the computer's load, then acknowledge", Blame.HOST,
            )  # fmt: skip
        elif now_us - session.status_us > SILENT_ENERGISED_US:
            session.fail_silent(now_us, "the device fell silent")
    elif session.has_link and now_us - session.status_us > SILENT_AT_REST_US:
        _on_port_gone(session, ev.PortGone("the device fell silent"), now_us)


def _on_reviewed(session: SessionState, event: ev.DriveReviewed, now_us: int) -> None:
    request, result = event.request, event.result
    request_id, session.reviewing_id = session.reviewing_id, 0
    is_rise = request.rise_kind is not RiseKind.NONE
    if isinstance(result, Approved):
        if is_rise:
            _accept_rise(session, request, request_id, now_us)
        return
    reasons = tuple(str(reason) for reason in result.reasons)
    session.append(
        "drive_refused", {"targets_ua": list(request.targets_ua), "reasons": list(reasons)}
    )
    if is_rise:
        session.refuse(request_id, LimitRefused("; ".join(reasons)), reasons)
        session.review_drive(now_us)
        return
    if session.state in ENERGISED or session.goal:
        text = "; ".join(reasons)
        session.notice(now_us, Severity.ALARM, f"output stopped: {text}", blame=Blame.UNKNOWN)
        session.begin_stop(text, now_us, Blame.UNKNOWN)


def _accept_rise(
    session: SessionState, request: DriveRequest, request_id: int, now_us: int
) -> None:
    if request.rise_kind is RiseKind.KEY:
        for index, target_ua in enumerate(request.targets_ua):
            rise_ua = target_ua - request.former_targets_ua[index]
            if rise_ua > 0:
                session.key_rises.append((now_us, index, rise_ua))
    session.targets_ua = list(request.targets_ua)
    session.append(
        "targets",
        {"targets_ua": list(request.targets_ua), "from_ua": list(request.former_targets_ua)},
    )
    session.done(request_id)


def _on_port_failed(session: SessionState, event: ev.PortFailed, now_us: int) -> None:
    session.fail_connect(event.error)


def _on_port_gone(session: SessionState, event: ev.PortGone, now_us: int) -> None:
    if session.connect_id:
        session.fail_connect(DeviceFault(event.explanation), Blame.RIG)
        return
    if session.state in ENERGISED or session.state is HostState.STOPPING:
        session.fail_silent(now_us, event.explanation)
    elif session.has_link:
        text = f"the device is gone: {event.explanation}"
        session.notice(now_us, Severity.WARNING, text, blame=Blame.RIG)
    session.fail_load(DeviceFault(event.explanation), blame=Blame.RIG)
    session.lose_link(Blame.RIG)
    session.follow(Trigger.LINK_CLOSED)
    if session.orphaned_us is not None:
        session.end_visit(session.end_reason, now_us)


def _on_record_opened(session: SessionState, event: ev.RecordOpened, now_us: int) -> None:
    session.record_path = event.path
    session.done(session.open_id)
    session.open_id = 0


def _on_durable(session: SessionState, event: ev.RecordDurable, now_us: int) -> None:
    pending = session.durable.pop(event.token, None)
    if pending is None:
        return
    if now_us < pending.deadline_us:
        pending.proceed(now_us)
    else:
        session.refuse(pending.request_id, RecordError(pending.failure))


def _on_record_failed(session: SessionState, event: ev.RecordFailed, now_us: int) -> None:
    if session.open_id:
        session.refuse(session.open_id, RecordError(event.explanation))
        session.open_id = 0
        return
    text = f"the record cannot be written: {event.explanation}"
    if session.state is HostState.CLOSED:
        _end_unsealed(session, text)
        return
    session.record_failure = event.explanation
    session.drop_wishes("the record cannot be written", Blame.HOST)
    for pending in session.durable.values():
        session.refuse(pending.request_id, RecordError(text))
    session.durable.clear()
    session.notice(now_us, Severity.ALARM, text, "free the disk, start a new session", Blame.HOST)
    if session.state is HostState.RUNNING and session.finish_from is None:
        session.begin_finish(text, now_us, Blame.HOST)
    elif session.state is HostState.ARMED:
        session.begin_stop(text, now_us, Blame.HOST)


def _on_sealed(session: SessionState, event: ev.RecordSealed, now_us: int) -> None:
    session.closing_until_us = None
    session.done(session.close_id)
    session.do(ev.EndEngine())


def _on_load_reviewed(session: SessionState, event: ev.LoadReviewed, now_us: int) -> None:
    if event.refused is not None:
        reasons = tuple(str(reason) for reason in event.refused.reasons)
        session.fail_load(LimitRefused("; ".join(reasons)), reasons)


def _on_written(session: SessionState, event: ev.DriveWritten, now_us: int) -> None:
    if session.state not in ENERGISED:
        return
    lateness = session.overload.written(event.at_us)
    if lateness is Lateness.WARN:
        session.append("overload_warning", {})
    elif lateness is Lateness.STOP and session.finish_from is None:
        text = "computer too busy: output stopped safely"
        remedy = "end other programs, then prepare and arm again"
        session.notice(now_us, Severity.ALARM, text, remedy, Blame.HOST)
        if session.state is HostState.RUNNING:
            session.begin_finish(text, now_us, Blame.HOST)
        else:
            session.begin_stop(text, now_us, Blame.HOST)


def _on_stalled(session: SessionState, event: ev.LoopStalled, now_us: int) -> None:
    text = f"the engine stood still for {event.gap_us // 1000} ms"
    session.append("stalled", {"gap_us": event.gap_us})
    if session.state in ENERGISED:
        remedy = "end other programs, then acknowledge"
        session.latch_fault(now_us, "engine_stalled", text, remedy, Blame.HOST)


def _on_suspended(session: SessionState, event: ev.Suspended, now_us: int) -> None:
    session.append("suspended", {"duration_us": event.duration_us})
    if session.state in ENERGISED:
        text = "the computer slept during the session"
        session.latch_fault(now_us, "suspended", text, "acknowledge, prepare again", Blame.HOST)


def _on_interface_gone(session: SessionState, event: ev.InterfaceGone, now_us: int) -> None:
    _leave(session, now_us, "the interface is gone", Blame.HOST)


def _on_interrupted(session: SessionState, event: ev.Interrupted, now_us: int) -> None:
    text = f"the engine was interrupted by {event.name}"
    session.notice(now_us, Severity.ALARM, text, "open the session anew", Blame.OPERATOR)
    _leave(session, now_us, text, Blame.OPERATOR)


def _on_fault_played(session: SessionState, event: ev.FaultPlayed, now_us: int) -> None:
    if event.error is not None:
        session.append("fault_not_injected", {"line": event.line, "reason": str(event.error)})
        session.refuse(event.request_id, event.error)
        return
    session.append("fault_injected", {"line": event.line})
    session.done(event.request_id)


def _leave(session: SessionState, now_us: int, reason: str, blame: Blame) -> None:
    """Stop, wait for zero within reason, seal, end."""
    if session.orphaned_us is not None or session.state is HostState.CLOSED:
        return
    session.orphaned_us = now_us + ORPHAN_US
    session.begin_stop(reason, now_us, blame)
    session.end_reason = reason
    if session.state is not HostState.STOPPING:
        session.end_visit(reason, now_us)


_HANDLERS: dict[type, Callable[..., None]] = {
    ev.RequestMade: _on_request,
    **REPORTS,
    ev.PortFailed: _on_port_failed,
    ev.PortGone: _on_port_gone,
    ev.RecordOpened: _on_record_opened,
    ev.RecordDurable: _on_durable,
    ev.RecordFailed: _on_record_failed,
    ev.RecordSealed: _on_sealed,
    ev.LoadReviewed: _on_load_reviewed,
    ev.DriveReviewed: _on_reviewed,
    ev.DriveWritten: _on_written,
    ev.LoopStalled: _on_stalled,
    ev.Suspended: _on_suspended,
    ev.InterfaceGone: _on_interface_gone,
    ev.Interrupted: _on_interrupted,
    ev.FaultPlayed: _on_fault_played,
    ev.Ticked: _on_tick,
}
