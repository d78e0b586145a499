"""From state to state: what arming and starting need, and how output ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from estim.rig.conformance.bench import HOST_MS, TICK_MS, Bench
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.hearing import elapsed_ms, words
from estim.rig.conformance.requirement import expect, requirement
from firmware_protocol.messages import (
    CapabilityFlag,
    Contact,
    DeviceState,
    Event,
    EventCode,
    PolicyFlag,
    RefusalReason,
    Status,
    Stop,
    WantedState,
)

SMALL_UA = 500
STOPPED_MS = 20


@requirement("STATE-01", "2", "SAFE to ARMED to RUNNING: one step a Drive, each told by an event")
def step_by_step(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    mark = bench.line.mark()
    bench.reach(DeviceState.RUNNING)
    for state in (DeviceState.ARMED, DeviceState.RUNNING):
        bench.wait_event(mark, EventCode.STATE_CHANGED, HOST_MS, detail=int(state))


@requirement("STATE-02", "2", "no arming without a programme")
def no_programme(bench: Bench) -> None:
    bench.begin()
    outcome = bench.expect_drive_refused(
        bench.drive_message(WantedState.ARMED), RefusalReason.NO_PROGRAM, what="to arm without one"
    )
    expect(outcome.status.state is DeviceState.SAFE, "SAFE", words(outcome.status))


@requirement("STATE-03", "2", "no arming with another programme's digest")
def wrong_program_digest(bench: Bench) -> None:
    _wrong_digest(bench, "program_digest", RefusalReason.PROGRAM_DIGEST)


@requirement("STATE-04", "2", "no arming with another digest of the limits")
def wrong_limits_digest(bench: Bench) -> None:
    _wrong_digest(bench, "limits_digest", RefusalReason.LIMITS_DIGEST)


@requirement("STATE-05", "4", "while RUNNING both digests must match as well")
def digests_while_running(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    right = bench.drive_message(WantedState.RUNNING, bench.targets_ua)
    for drive, reason in (
        (replace(right, program_digest=right.program_digest ^ 1), RefusalReason.PROGRAM_DIGEST),
        (replace(right, limits_digest=right.limits_digest ^ 1), RefusalReason.LIMITS_DIGEST),
    ):
        bench.expect_drive_refused(drive, reason, what="with another digest")


@requirement("STATE-06", "2", "where the policy requires a patient's stop, no arming without one")
def patient_stop_required(bench: Bench) -> None:
    session = replace(bench.compiled, policy=PolicyFlag.REQUIRE_PATIENT_STOP)
    bench.begin(bench.programs.everyday(), session)
    drive = bench.drive_message(WantedState.ARMED)
    if CapabilityFlag.HAS_PATIENT_STOP in bench.can.flags:
        status = bench.drive(drive).status
        expect(status.state is DeviceState.ARMED, "ARMED: its stop is there", words(status))
        return
    bench.expect_drive_refused(drive, RefusalReason.PATIENT_STOP_MISSING)


@requirement("STATE-07", "4.3", "RUNNING is not entered from SAFE")
def not_from_safe(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    outcome = bench.expect_drive_refused(
        bench.drive_message(WantedState.RUNNING), RefusalReason.STEP_TOO_FAR, what="from SAFE"
    )
    expect(outcome.status.state is DeviceState.SAFE, "SAFE", words(outcome.status))


@requirement("STATE-08", "4.3", "RUNNING is not entered from FAULT")
def not_from_fault(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.FAULT)
    outcome = bench.expect_drive_refused(
        bench.drive_message(WantedState.RUNNING), RefusalReason.FAULT_LATCHED, what="from FAULT"
    )
    expect(outcome.status.state is DeviceState.FAULT, "FAULT", words(outcome.status))


@requirement("STATE-09", "4.2", "a Drive below RUNNING is answered in FAULT and changes nothing")
def below_running_in_fault(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    fault = bench.reach(DeviceState.FAULT).fault
    for wanted in (WantedState.SAFE, WantedState.ARMED):
        mark = bench.line.mark()
        bench.line.send(bench.drive_message(wanted))
        heard = bench.line.wait(mark, lambda h: isinstance(h.message, Status), HOST_MS)
        expect(heard is not None, "a Status in answer to a Drive in FAULT", "no answer")
        status = bench.probe_in_fault()
        expect(status.fault is fault, f"FAULT({fault.name}) still", words(status))


@requirement(
    "STATE-10", "4.2", "ARMED wanted while RUNNING pauses: zero at once, and resumed from zero"
)
def pause_and_resume(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING, _first(bench, SMALL_UA))
    bench.hold(600, until=lambda status: status.channels[0].setpoint_ua >= SMALL_UA // 2)
    status = bench.drive(bench.drive_message(WantedState.ARMED)).status
    expect(status.state is DeviceState.ARMED, "ARMED", words(status))
    _expect_zero(status)
    again = bench.drive(bench.drive_message(WantedState.RUNNING)).status
    expect(again.state is DeviceState.RUNNING, "RUNNING again", words(again))
    _expect_zero(again)
    expect(
        all(channel.contact is Contact.UNKNOWN for channel in again.channels),
        "contact UNKNOWN whenever RUNNING begins",
        [channel.contact.name for channel in again.channels],
    )


@requirement("STATE-11", "4.2", "SAFE wanted ends RUNNING and ARMED at once")
def safe_wanted(bench: Bench) -> None:
    for state in (DeviceState.ARMED, DeviceState.RUNNING):
        bench.begin(bench.programs.everyday())
        bench.reach(state, _first(bench, SMALL_UA) if state is DeviceState.RUNNING else None)
        status = bench.drive(bench.drive_message(WantedState.SAFE)).status
        expect(status.state is DeviceState.SAFE, f"SAFE from {state.name}", words(status))
        _expect_zero(status)


@requirement("STATE-12", "4.2", "targets below RUNNING are refused, and the wish is obeyed")
def targets_below_running(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    for wanted in (WantedState.ARMED, WantedState.SAFE):
        drive = bench.drive_message(wanted, _first(bench, SMALL_UA))
        bench.expect_drive_refused(
            drive, RefusalReason.NOT_FROM_ZERO, what=f"wanting {wanted.name} with a target"
        )
        status = bench.probe()
        expect(int(status.state) == wanted, f"{wanted.name} all the same", words(status))


@requirement("STATE-13", "4.3", "as many targets as the programme has channels, or CHANNELS")
def target_count(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    for count in {0, bench.channel_count - 1, bench.channel_count + 1} - {bench.channel_count}:
        if 0 <= count <= 4:
            bench.expect_drive_refused(
                bench.drive_message(WantedState.RUNNING, (0,) * count),
                RefusalReason.CHANNELS,
                what=f"with {count} targets",
            )


@requirement("START-01", "4.3", "RUNNING begins from zero alone: a target from ARMED is refused")
def start_from_zero(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.ARMED)
    step_ua = bench.can.amplitude_step_ua
    for target_ua in (1, step_ua, SMALL_UA):
        outcome = bench.expect_drive_refused(
            bench.drive_message(WantedState.RUNNING, _first(bench, target_ua)),
            RefusalReason.NOT_FROM_ZERO,
            what=f"from ARMED with a target of {target_ua} uA",
        )
        expect(outcome.status.state is DeviceState.ARMED, "ARMED still", words(outcome.status))
        bench.probe()


@requirement("START-02", "4.3", "a start shows zero: setpoint, target, pulses and running time")
def start_shows_zero(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    status = bench.reach(DeviceState.RUNNING)
    _expect_zero(status)
    expect(status.running_ms <= TICK_MS, "running_ms from 0", status.running_ms)
    counts = [channel.pulse_count for channel in status.channels]
    expect(not any(counts), "no pulse yet", counts)


@requirement("STOP-01", "3.6", "Stop in SAFE is answered, and stays SAFE")
def stop_in_safe(bench: Bench) -> None:
    _stop_in(bench, DeviceState.SAFE, DeviceState.SAFE)


@requirement("STOP-02", "3.6", "Stop in ARMED leads to SAFE")
def stop_in_armed(bench: Bench) -> None:
    _stop_in(bench, DeviceState.ARMED, DeviceState.SAFE)


@requirement("STOP-03", "3.6", "Stop in RUNNING ends output and leads to SAFE")
def stop_in_running(bench: Bench) -> None:
    _stop_in(bench, DeviceState.RUNNING, DeviceState.SAFE)


@requirement("STOP-04", "3.6", "Stop in FAULT is answered, and the fault stays")
def stop_in_fault(bench: Bench) -> None:
    _stop_in(bench, DeviceState.FAULT, DeviceState.FAULT)


@requirement("STOP-05", "1", "Stop is taken in any epoch and sequence, RUNNING included")
def stop_from_anywhere(bench: Bench) -> None:
    own = 0
    for epoch, back in ((None, 200), (0, 1), (own ^ 0x1234, 30_000), ((1 << 64) - 1, 0)):
        bench.begin(bench.programs.everyday())
        bench.reach(DeviceState.RUNNING, _first(bench, SMALL_UA))
        bench.hold(120)
        mark = bench.line.mark()
        sequence = (bench.line.connection.last_sequence - back) % 65536
        bench.line.send(Stop(), sequence=sequence, epoch=epoch)
        heard = bench.line.wait(mark, lambda h: _shows(h.message, WantedState.SAFE), HOST_MS)
        shown = "the device's epoch" if epoch is None else f"epoch {epoch:#x}"
        expect(
            heard is not None,
            f"SAFE after a Stop of {shown}, sequence {back} back",
            words(bench.status),
        )


@requirement("STOP-06", "8", "after Stop the Status shows zero within 20 ms, and events say so")
def stop_is_quick(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING, _first(bench, SMALL_UA))
    bench.hold(300)
    mark, sent_us = bench.line.mark(), bench.line.now_us()
    bench.line.send(Stop())
    heard = bench.line.wait(mark, lambda h: _shows(h.message, WantedState.SAFE), ANSWER_MS)
    expect(heard is not None, "a Status of SAFE", words(bench.status))
    assert heard is not None
    took_ms = (heard.at_us - sent_us) // 1000
    expect(took_ms <= STOPPED_MS + HOST_MS, f"zero within {STOPPED_MS} ms (+{HOST_MS})", took_ms)
    stopped = bench.wait_event(mark, EventCode.STOP_RECEIVED, HOST_MS)
    changed = bench.wait_event(mark, EventCode.STATE_CHANGED, HOST_MS, detail=DeviceState.SAFE)
    between_ms = elapsed_ms(changed.tick_ms, stopped.tick_ms)
    expect(0 <= between_ms <= STOPPED_MS, f"SAFE {STOPPED_MS} ms after Stop", between_ms)


@requirement("STOP-07", "3.6", "nothing resumes after a Stop: a Drive wanting RUNNING is refused")
def no_resume(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING, _first(bench, SMALL_UA))
    bench.hold(120)
    drive = bench.drive_message(WantedState.RUNNING, bench.targets_ua)
    bench.stop()
    outcome = bench.expect_drive_refused(drive, RefusalReason.STEP_TOO_FAR, what="after a Stop")
    _expect_zero(outcome.status)


@requirement("STOP-08", "3.6", "Stop is taken three times in a row, each told by an event")
def stop_thrice(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    for _ in range(3):
        bench.line.send(Stop())
    bench.fence(mark)
    events = [
        h for h in bench.line.heard[mark:]
        if isinstance(h.message, Event) and h.message.code is EventCode.STOP_RECEIVED
    ]  # fmt: skip
    expect(len(events) == 3, "3 events STOP_RECEIVED", len(events))
    status = bench.stop()
    expect(status.state is DeviceState.SAFE, "SAFE", words(status))


def _stop_in(bench: Bench, state: DeviceState, expected: DeviceState) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(state, _first(bench, SMALL_UA) if state is DeviceState.RUNNING else None)
    if state is DeviceState.RUNNING:
        bench.hold(300, until=lambda status: status.channels[0].setpoint_ua > 0)
    mark = bench.line.mark()
    bench.line.send(Stop())
    bench.wait_event(mark, EventCode.STOP_RECEIVED, ANSWER_MS)
    bench.fence(mark)
    status = bench.line.wait(
        mark,
        lambda h: isinstance(h.message, Status) and h.message.state is expected,
        HOST_MS,
    )
    expect(status is not None, f"{expected.name} after Stop in {state.name}", words(bench.status))
    assert status is not None
    assert isinstance(status.message, Status)
    _expect_zero(status.message)


def _wrong_digest(bench: Bench, name: str, reason: RefusalReason) -> None:
    bench.begin(bench.programs.everyday())
    right = bench.drive_message(WantedState.ARMED)
    for wrong in (0, getattr(right, name) ^ 1, getattr(right, name) ^ 0x8000_0000):
        outcome = bench.expect_drive_refused(
            replace(right, **cast("dict[str, Any]", {name: wrong})),
            reason,
            what=f"to arm with {name} {wrong:#x}",
        )
        expect(outcome.status.state is DeviceState.SAFE, "SAFE", words(outcome.status))


def _first(bench: Bench, target_ua: int) -> tuple[int, ...]:
    """Return a target on the first channel alone."""
    return (target_ua,) + (0,) * (bench.channel_count - 1)


def _shows(message: object, wanted: WantedState) -> bool:
    return isinstance(message, Status) and int(message.state) == int(wanted)


def _expect_zero(status: Status) -> None:
    found = [(channel.setpoint_ua, channel.target_ua) for channel in status.channels]
    expect(all(pair == (0, 0) for pair in found), "every setpoint and target 0", found)
