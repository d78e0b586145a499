"""What a person asks of a session.

Each function takes the session, the request and the time; it answers at once, or once record and
device have followed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from operator import le

from estim.drivers.base import Use
from estim.errors import EstimError, LimitRefused, RecordError, UsageError
from estim.record.lines import ANNOTATION, event_entry
from estim.safety.bounds import Bounds, intersect
from estim.safety.kernel import RiseKind
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.gate import VOIDING, annotation_problem
from estim.session.messages import Blame
from estim.session.state import DURABLE_US, GOAL_US, Pending, SessionState
from estim.session.states import HostState, Trigger, follow
from firmware_protocol import limits
from firmware_protocol.errors import ProgramError
from firmware_protocol.messages import CyclePhase, DeviceState, FaultCode, PolicyFlag, Status
from firmware_protocol.program import from_canonical_bytes

RAMP_DOWN_MAX_MS = 10_000
AREA_MAX_MM2 = 40_000
"""The largest pad that a profile can name: a larger one would lift the density limits."""
SIMULATOR = "sim:"
SIMULATED_PERSON = ("patient-stop press", "patient-stop release")
"""What the simulated person may do in a person's record too: nobody else can press their stop."""
FAULT_LINE_MAX = 200
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_UNSEEN = "something new has happened: look again"
_EVERY_POLICY = PolicyFlag.LEAD_OFF_STOPS_ALL | PolicyFlag.REQUIRE_PATIENT_STOP


def _open_record(session: SessionState, request: msg.OpenRecord, now_us: int) -> None:
    if session.record_path or session.open_id or session.state is HostState.CLOSED:
        session.refuse(request.request_id, UsageError("the record is open already"))
        return
    session.open_id = request.request_id
    session.is_bench = request.header.get("kind") == "bench"
    session.do(ev.OpenRecordFile(request))


def _connect(session: SessionState, request: msg.Connect, now_us: int) -> None:
    if session.state is not HostState.DISCONNECTED or session.connect_id:
        session.refuse(request.request_id, UsageError("a device is connected already"))
        return
    session.connect_id = request.request_id
    session.url = request.url
    session.do(ev.OpenPort(request.url))


def _disconnect(session: SessionState, request: msg.Disconnect, now_us: int) -> None:
    if session.state not in (HostState.IDENTIFIED, HostState.READY):
        session.refuse(request.request_id, LimitRefused(f"not while {session.state.value}"))
        return
    session.lose_link(Blame.OPERATOR)
    session.follow(Trigger.LINK_CLOSED)
    session.done(request.request_id)


def _prepare(session: SessionState, request: msg.Prepare, now_us: int) -> None:
    if (
        session.state not in (HostState.IDENTIFIED, HostState.READY)
        or session.preparing
        or session.goal
        or session.has_wish
    ):
        session.refuse(request.request_id, LimitRefused(f"not while {session.state.value}"))
        return
    missing = session.record_missing()
    if missing or session.capabilities is None:
        session.refuse(request.request_id, RecordError(missing or "no device"))
        return
    problem = _settings_problem(request.settings, session.is_bench) or _bounds_problem(
        request.bounds
    )
    if request.bounds.is_bench is not session.is_bench:
        problem = "bounds: the record and they differ about whether this is a bench or a person"
    if problem:
        session.refuse(request.request_id, UsageError(problem))
        return
    try:
        program = from_canonical_bytes(bytes.fromhex(request.program_hex))
    except (ValueError, ProgramError) as error:
        session.refuse(request.request_id, UsageError(f"programme: {error}"))
        return
    bounds = intersect(request.bounds, session.capabilities)
    problem = _use_problem(session, request.settings) or _dose_problem(
        session, bounds, request.settings
    )
    if problem:
        session.refuse(request.request_id, LimitRefused(problem))
        return
    session.clear_program()
    session.preparing = (request.request_id, program, bounds, request.settings)
    session.do(ev.ReviewLoad(program, bounds))


def _use_problem(session: SessionState, settings: msg.SessionSettings) -> str:
    """Say why this kind of device may not be used on a person."""
    if session.is_bench or session.use is Use.CLINICAL:
        return ""
    model = session.identity.model if session.identity is not None else "the device"
    if session.use is Use.BENCH:
        return f"{model} is for the bench alone, never for a person"
    if settings.allows_research_device:
        return ""
    return (
        f"{model} is no medical device: for the bench alone, unless the site's policy says "
        "otherwise (allows_research_device)"
    )


def _settings_problem(settings: msg.SessionSettings, is_bench: bool) -> str:
    """Say which setting makes no sense; the interface's own checks are not relied on."""
    step = limits.step_ua
    named = settings.profile_id and settings.profile_version and settings.profile_sha256
    if not is_bench and not named:
        return "profile: on a person its id, version and sha256 are recorded"
    if settings.duration_s < 0:
        return f"duration_s: 0 or more expected, got {settings.duration_s}"
    if not settings.duration_s and not is_bench:
        return "duration_s: 1 or more expected on a person, got 0"
    if not step.minimum <= settings.step_ua <= step.maximum:
        return f"step_ua: {step.minimum} to {step.maximum} expected, got {settings.step_ua}"
    if not 0 <= settings.ramp_down_ms <= RAMP_DOWN_MAX_MS:
        return f"ramp_down_ms: 0 to {RAMP_DOWN_MAX_MS} expected, got {settings.ramp_down_ms}"
    return ""


def _bounds_problem(bounds: Bounds) -> str:
    """Say which bound is none, before anything is computed from it."""
    given = [*bounds.session, *(each for channel in bounds.channels for each in channel.bounds)]
    for bound in given:
        if bound.limit not in limits.BY_NAME:
            return f"bounds: there is no limit {bound.limit!r}"
        if bound.value < 0:
            return f"bounds: {bound.limit} is below zero"
    if any(not 0 <= each.electrode_area_mm2 <= AREA_MAX_MM2 for each in bounds.channels):
        return f"bounds: an electrode has 0 to {AREA_MAX_MM2} mm2"
    if int(bounds.policy) & ~int(_EVERY_POLICY):  # `~` of a flag knows declared bits alone
        return "bounds: an unknown policy"
    return ""


def _dose_problem(session: SessionState, bounds: Bounds, settings: msg.SessionSettings) -> str:
    """Say that a person would get output for longer in all than this load's longest running.

    Every load of the record counts, whatever it was made of: what the interface adds up itself is
    not relied on.
    """
    if session.is_bench:
        return ""
    running = limits.running_ms.name
    longest_ms = min(bound.value for bound in bounds.session if bound.limit == running)
    done_ms = (session.former_delivered_us + session.delivery.delivered_us) // 1000
    if done_ms + settings.duration_s * 1000 <= longest_ms:
        return ""
    return (
        f"duration: {settings.duration_s} s asked after {done_ms // 1000} s delivered already, "
        f"{longest_ms // 1000} s allowed in all"
    )


def _arm(session: SessionState, request: msg.Arm, now_us: int) -> None:
    problem = session.record_missing()
    if (
        session.state is not HostState.READY
        or session.goal
        or session.has_wish
        or session.self_test
    ):
        problem = f"not while {session.state.value}"
    elif session.program is None:
        problem = "no programme is loaded: prepare one first"
    if _is_refused(session, request, problem):
        return
    session.beat_us = now_us
    goal = _goal_for(session, Trigger.ARMED, request.request_id, "the device did not arm")
    content: dict[str, object] = {
        "profile": session.settings.profile_id,
        "prepared_digest": session.gate.digest,
    }
    session.when_durable("arm_asked", content, goal(now_us))


def _is_refused(
    session: SessionState, request: msg.Arm | msg.Start | msg.Resume, problem: str
) -> bool:
    """Refuse a step towards output where something stands against it, with every reason."""
    missing = () if session.is_bench else session.gate.missing()
    reasons = (*([problem] if problem else ()), *missing)
    if not reasons:
        return False
    if missing:
        asked = type(request).__name__.lower()
        session.append("gate_refused", {"asked": asked, "reasons": list(reasons)})
    session.refuse(request.request_id, LimitRefused("; ".join(reasons)), reasons)
    return True


def _start(session: SessionState, request: msg.Start | msg.Resume, now_us: int) -> None:
    problem = session.record_missing()
    if session.state is not HostState.ARMED or session.goal or session.has_wish:
        problem = f"not while {session.state.value}"
    if _is_refused(session, request, problem):
        return
    is_return = isinstance(request, msg.Resume)
    if is_return and not any(session.marker_ua):
        session.refuse(request.request_id, LimitRefused("nothing was paused"))
        return
    session.return_ua = list(session.marker_ua) if is_return else []
    goal = _goal_for(session, Trigger.STARTED, request.request_id, "the device did not start")
    kind = "resume_asked" if is_return else "start_asked"
    session.when_durable(kind, {"targets_ua": session.return_ua}, goal(now_us))


def _goal_for(
    session: SessionState, trigger: Trigger, request_id: int, failure: str
) -> Callable[[int], Pending]:
    """Return a maker of what waits for the record, then for the device."""

    def proceed(now_us: int) -> None:
        session.goal = (trigger, Pending(request_id, now_us + GOAL_US, lambda _: None, failure))
        session.review_drive(now_us)

    return lambda now_us: Pending(
        request_id, now_us + DURABLE_US, proceed, "the record is too slow: nothing was started"
    )


def _pause(session: SessionState, request: msg.Pause, now_us: int) -> None:
    if session.state is not HostState.RUNNING:
        session.refuse(request.request_id, LimitRefused(f"not while {session.state.value}"))
        return
    for finish_id in session.stopping:
        session.refuse(finish_id, LimitRefused("paused meanwhile"))
    session.stopping.clear()
    session.note_lowering(now_us)
    session.paused_us = now_us
    session.is_pause_seen = False
    session.go_to_zero("paused meanwhile", Blame.OPERATOR)
    session.follow(Trigger.PAUSED)
    session.append("paused", {"marker_ua": session.marker_ua})
    session.review_drive(now_us)
    session.done(request.request_id)


def _raise(session: SessionState, request: msg.Raise, now_us: int) -> None:
    wished = list(session.targets_ua)
    if not request.channels:
        session.refuse(request.request_id, UsageError("no channel is named"))
        return
    for index in sorted(set(request.channels)):
        if not 0 <= index < len(wished):
            session.refuse(request.request_id, UsageError(f"there is no channel {index + 1}"))
            return
        if _is_between_contractions(session, index):
            text = f"channel {index + 1}: wait for the contraction"
            session.refuse(request.request_id, LimitRefused(text))
            return
        wished[index] += session.settings.step_ua
    session.ask_for(request.request_id, wished, RiseKind.KEY, request.reason or "key", now_us)


def _is_between_contractions(session: SessionState, index: int) -> bool:
    program = session.program
    if program is None or program.channels[index].cycle is None or session.status is None:
        return False
    return session.status.channels[index].cycle_phase is not CyclePhase.PLATEAU


def _set_targets(session: SessionState, request: msg.SetTargets, now_us: int) -> None:
    if len(request.targets_ua) != len(session.targets_ua):
        count = len(session.targets_ua)
        session.refuse(request.request_id, UsageError(f"{count} targets expected"))
        return
    if any(target_ua < 0 for target_ua in request.targets_ua):
        session.refuse(request.request_id, UsageError("targets from 0 on expected"))
        return
    if session.state is HostState.RUNNING and all(map(le, request.targets_ua, session.targets_ua)):
        _lower_to(session, list(request.targets_ua), request.request_id, now_us)
        return
    session.ask_for(request.request_id, list(request.targets_ua), RiseKind.TARGET, "target", now_us)


def _lower(session: SessionState, request: msg.Lower, now_us: int) -> None:
    if session.state is not HostState.RUNNING or request.amount_ua < 0:
        session.refuse(request.request_id, LimitRefused(f"not while {session.state.value}"))
        return
    if any(not 0 <= index < len(session.targets_ua) for index in request.channels):
        session.refuse(request.request_id, UsageError("there is no such channel"))
        return
    wished = list(session.targets_ua)
    for index in set(request.channels):
        wished[index] = max(0, wished[index] - request.amount_ua)
    _lower_to(session, wished, request.request_id, now_us)


def _lower_to(session: SessionState, wished_ua: list[int], request_id: int, now_us: int) -> None:
    session.drop_wishes("lowered meanwhile", Blame.OPERATOR)
    session.note_lowering(now_us)
    before, session.targets_ua = session.targets_ua, wished_ua
    session.append("lowered", {"from_ua": before, "to_ua": session.targets_ua[:]})
    session.review_drive(now_us)
    session.done(request_id)


def _finish(session: SessionState, request: msg.Finish, now_us: int) -> None:
    if session.state is HostState.RUNNING:
        if session.finish_from is None:  # again does not begin the ramp anew
            session.begin_finish("finished", now_us, Blame.OPERATOR)
        session.stopping.append(request.request_id)
    elif session.state is HostState.ARMED:
        session.begin_stop("finished", now_us, Blame.OPERATOR)
        session.stopping.append(request.request_id)
    else:
        session.refuse(request.request_id, LimitRefused(f"not while {session.state.value}"))


def _stop(session: SessionState, request: msg.Stop, now_us: int) -> None:
    session.begin_stop(request.reason, now_us, Blame.OPERATOR)
    if session.state is HostState.STOPPING:
        session.stopping.append(request.request_id)
    else:
        session.done(request.request_id)


def _acknowledge_fault(session: SessionState, request: msg.Acknowledge, now_us: int) -> None:
    if session.state is not HostState.FAULT:
        session.refuse(request.request_id, LimitRefused("there is no fault"))
        return
    if session.acknowledge is not None:
        session.refuse(request.request_id, LimitRefused("the device is being asked already"))
        return
    if request.latch_count != session.latch_count:
        session.refuse(request.request_id, LimitRefused(_UNSEEN))
        return
    if session.status is not None and is_output_possible(session.status):
        error = LimitRefused("zero is not confirmed yet: output may still be on")
        session.refuse(request.request_id, error)
        return
    session.append("acknowledged", {"fault": session.fault.code if session.fault else ""})
    if session.status is None:
        session.lose_link(Blame.OPERATOR)
        session.fault = None
        session.follow(Trigger.ACKNOWLEDGED_UNLINKED)
        session.done(request.request_id)
    elif session.status.fault is FaultCode.NONE and session.status.state is not DeviceState.FAULT:
        _leave_fault(session, request.request_id)
    else:
        session.acknowledge = Pending(
            request.request_id,
            now_us + GOAL_US,
            lambda _: _leave_fault(session, request.request_id),
            "the device keeps its fault: is the cause gone?",
        )
        session.do(ev.AcknowledgeDevice(request.latch_count, 0))


def is_output_possible(status: Status) -> bool:
    """Tell whether a report says anything but zero."""
    return status.state is DeviceState.RUNNING or any(row.setpoint_ua for row in status.channels)


def _leave_fault(session: SessionState, request_id: int) -> None:
    session.fault = None
    session.acknowledge = None
    session.follow(Trigger.ACKNOWLEDGED)
    session.done(request_id)


def _rearm(session: SessionState, request: msg.Rearm, now_us: int) -> None:
    channels = sorted(set(request.channels))
    count = len(session.status.channels) if session.status else 0
    if (
        session.status is None
        or not channels
        or not all(0 <= index < count for index in channels)
        or any(index < len(session.targets_ua) and session.targets_ua[index] for index in channels)
    ):
        session.refuse(request.request_id, LimitRefused("no electrode to re-arm at zero"))
        return
    if session.rearming is not None:
        session.refuse(request.request_id, LimitRefused("a channel is being re-armed already"))
        return
    if request.latch_count != session.latch_count:
        session.refuse(request.request_id, LimitRefused(_UNSEEN))
        return

    def proceed(_: int) -> None:
        session.append("rearmed", {"channels": numbers})
        session.done(request.request_id)

    numbers = [index + 1 for index in channels]
    session.append("rearm_asked", {"channels": numbers})
    failure = "the device keeps the electrode latched: press it on and try again"
    session.rearming = (channels, Pending(request.request_id, now_us + GOAL_US, proceed, failure))
    mask = sum(1 << index for index in channels)
    session.do(ev.AcknowledgeDevice(request.latch_count, mask))


def _annotate(session: SessionState, request: msg.Annotate, now_us: int) -> None:
    missing = session.record_missing()
    if missing:
        session.refuse(request.request_id, RecordError(missing))
        return
    problem = annotation_problem(request.kind, request.content)
    if problem:
        session.refuse(request.request_id, UsageError(problem))
        return
    content: dict[str, object] = {"kind": request.kind, "content": request.content}
    try:
        event_entry(ANNOTATION, content, mono_us=0, wall=_ANY_TIME)
    except RecordError as error:  # told here: the writer takes it for a failed disk
        session.refuse(request.request_id, UsageError(str(error)))
        return
    if request.kind in VOIDING:
        session.fail_load(LimitRefused("an answer changed while this was loaded: load it again"))
    turn = session.gate.ask(request.kind)

    def proceed(_: int) -> None:
        session.gate.keep(request.kind, request.content, turn)
        session.done(request.request_id)

    pending = Pending(
        request.request_id,
        now_us + 20 * DURABLE_US,
        proceed,
        "the record is too slow: nobody knows whether the note was kept",
        is_wish=False,
    )
    session.when_durable(ANNOTATION, content, pending)


def _self_test(session: SessionState, request: msg.SelfTest, now_us: int) -> None:
    problem = session.record_missing()
    if session.state not in (HostState.IDENTIFIED, HostState.READY):
        problem = f"not while {session.state.value}"
    elif session.self_test is not None:
        problem = "the device is testing itself already"
    elif session.is_busy:
        problem = "something else is being done"
    if problem:
        session.refuse(request.request_id, LimitRefused(problem))
        return
    session.append("self_test_asked", {})
    session.self_test = Pending(
        request.request_id,
        now_us + GOAL_US,
        lambda _: None,
        "the device did not tell how its self-test went",
    )
    session.do(ev.TestDevice())


def _watch(session: SessionState, request: msg.Watch, now_us: int) -> None:
    missing = session.record_missing()
    if missing:
        session.refuse(request.request_id, RecordError(missing))
        return
    if not session.is_bench:
        session.refuse(request.request_id, LimitRefused("frames are shown on the bench alone"))
        return
    session.do(ev.WatchFrames(request.frames))
    session.done(request.request_id)


def _inject_fault(session: SessionState, request: msg.InjectFault, now_us: int) -> None:
    """Record what shall go wrong, and let it once that is durable."""
    line = request.line
    missing = session.record_missing()
    error: EstimError | None = RecordError(missing) if missing else None
    if not session.is_bench and line not in SIMULATED_PERSON:
        error = LimitRefused("faults are injected on the bench alone")
    elif not session.url.startswith(SIMULATOR):
        error = LimitRefused(f"faults are for {SIMULATOR} alone, not for {session.url or 'nobody'}")
    elif not (line.isascii() and line.isprintable() and 0 < len(line) <= FAULT_LINE_MAX):
        error = UsageError(f"a fault is one line of 1 to {FAULT_LINE_MAX} visible ASCII characters")
    if error is not None:
        session.refuse(request.request_id, error)
        return
    pending = Pending(
        request.request_id,
        now_us + DURABLE_US,
        lambda _: session.do(ev.PlayFault(request.request_id, line)),
        "the record is too slow: the fault was not injected",
        is_wish=False,
    )
    session.when_durable("fault_asked", {"line": line}, pending)


def _close_visit(session: SessionState, request: msg.CloseVisit, now_us: int) -> None:
    if follow(session.state, Trigger.CLOSED) is None or session.goal:
        error = LimitRefused(f"stop first: the session is {session.state.value}")
        session.refuse(request.request_id, error)
        return
    session.close_id = request.request_id
    session.end_visit(request.reason, now_us)


REQUESTS: dict[type, Callable[..., None]] = {
    msg.OpenRecord: _open_record,
    msg.Connect: _connect,
    msg.Disconnect: _disconnect,
    msg.Prepare: _prepare,
    msg.Arm: _arm,
    msg.Start: _start,
    msg.Pause: _pause,
    msg.Resume: _start,
    msg.Raise: _raise,
    msg.Lower: _lower,
    msg.SetTargets: _set_targets,
    msg.Finish: _finish,
    msg.Stop: _stop,
    msg.Acknowledge: _acknowledge_fault,
    msg.Rearm: _rearm,
    msg.Annotate: _annotate,
    msg.SelfTest: _self_test,
    msg.Watch: _watch,
    msg.InjectFault: _inject_fault,
    msg.CloseVisit: _close_visit,
}
