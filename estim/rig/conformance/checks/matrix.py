"""Every message in every state: acted on, or Refused(STATE), as chapter 9 lists."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from estim.rig.conformance.bench import Bench
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.hearing import words
from estim.rig.conformance.line import Heard
from estim.rig.conformance.requirement import expect, fail, requirement
from firmware_protocol.messages import (
    MESSAGES,
    PROTOCOL_VERSION,
    TO_DEVICE,
    AcknowledgeFault,
    BeginProgram,
    Capabilities,
    CommitProgram,
    DeviceState,
    Drive,
    Event,
    GetCapabilities,
    GetEvents,
    Hello,
    Identity,
    KeyframeRow,
    LimitsAccepted,
    Message,
    ProgramFlag,
    ProgramKeyframes,
    ProgramPhases,
    RefusalReason,
    Refused,
    SelfTest,
    SelfTestReport,
    SetLimits,
    Status,
    Stop,
    WantedState,
)
from firmware_protocol.schema import SCHEMA_HASH

SELF_TEST_MS = 5000
_ANSWERS: dict[type[Message], type[Message] | None] = {
    Hello: Identity,
    GetCapabilities: Capabilities,
    SetLimits: LimitsAccepted,
    BeginProgram: None,
    ProgramPhases: None,
    ProgramKeyframes: None,
    CommitProgram: Refused,
    Drive: Status,
    Stop: Status,
    AcknowledgeFault: Refused,
    GetEvents: Event,
    SelfTest: SelfTestReport,
}
"""What each is answered by where it is allowed; the messages of `_example` are made for it."""


def _example(bench: Bench, declared: type[Message], state: DeviceState) -> Message:
    """Return a message whose answer tells that it was acted on, and that leads nowhere."""
    status = bench.status
    assert status is not None
    wanted = WantedState.SAFE if state is DeviceState.FAULT else WantedState(int(state))
    made: dict[type[Message], Callable[[], Message]] = {
        Hello: lambda: Hello(PROTOCOL_VERSION, SCHEMA_HASH),
        SetLimits: lambda: bench.compiled,
        BeginProgram: lambda: BeginProgram(1, ProgramFlag.NONE),
        ProgramPhases: lambda: bench.programs.single().messages()[1],
        ProgramKeyframes: lambda: ProgramKeyframes(0, 0, (KeyframeRow(0, 1000, 200, 10_000),)),
        CommitProgram: lambda: CommitProgram(0),
        Drive: lambda: bench.drive_message(wanted),
        AcknowledgeFault: lambda: AcknowledgeFault((status.latch_count + 7) & 0xFFFF, 0),
        GetEvents: lambda: GetEvents((status.event_count - 1) & 0xFFFF),
    }
    return made.get(declared, declared)()


def _judge(declared: type[Message], state: DeviceState, bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    before = bench.reach(state)
    message = _example(bench, declared, state)
    # A Hello that comes while RUNNING is answered, not refused.
    if state in declared.allowed_in or declared is Hello:
        _expect_acted_on(bench, message)
        return
    bench.expect_refused(message, RefusalReason.STATE, what=f"in {state.name}")
    after = bench.probe()
    expect(after.state is state, f"{state.name} as before", words(after))
    counted = (after.refusal_count - before.refusal_count) & 0xFFFF
    expect(counted == 1, "one refusal counted", counted)
    for name in ("program_digest", "limits_digest"):
        expect(
            getattr(after, name) == getattr(before, name),
            f"{name} as before the refusal",
            f"{getattr(after, name):#x}",
        )


def _expect_acted_on(bench: Bench, message: Message) -> None:
    wanted = _ANSWERS[type(message)]
    mark = bench.line.mark()
    sequence = bench.line.send(message)

    def is_state_refusal(heard: Heard) -> bool:
        found = heard.message
        return (
            isinstance(found, Refused)
            and found.in_reply_to == sequence
            and found.reason is RefusalReason.STATE
        )

    name = type(message).__name__
    if wanted is None:
        refused = [m for m in bench.fence(mark) if isinstance(m, Refused)]
        expect(not refused, f"{name} taken, and not answered", ", ".join(map(words, refused)))
        return
    within_ms = SELF_TEST_MS if isinstance(message, SelfTest) else ANSWER_MS
    answer = bench.line.wait(
        mark, lambda h: is_state_refusal(h) or _is_answer(h, wanted, sequence), within_ms
    )
    if answer is None or is_state_refusal(answer):
        fail(
            f"{name} to be answered by {wanted.__name__}",
            words(answer.message if answer is not None else None),
        )


def _is_answer(heard: Heard, wanted: type[Message], sequence: int) -> bool:
    message = heard.message
    if not isinstance(message, wanted):
        return False
    return isinstance(message, (Status, Event)) or getattr(message, "in_reply_to", -1) == sequence


for _state in DeviceState:
    for _declared in MESSAGES.values():
        if _declared.direction != TO_DEVICE:
            continue
        _is_allowed = _state in _declared.allowed_in
        _does = "is acted on" if _is_allowed else "is refused: STATE"
        if _declared is Hello and not _is_allowed:
            _does = "is answered, not refused"
        requirement(
            f"ALLOW-{_state.name}-{_declared.__name__}",
            "9",
            f"in {_state.name} {_declared.__name__} {_does}",
        )(partial(_judge, _declared, _state))
