"""Faults: what latches them, that they stay, and how they are cleared; the patient's own stop."""

from __future__ import annotations

from dataclasses import replace

from estim.rig.conformance.bench import HOST_MS, LEASE_MS, NOISE_FRAME, TICK_MS, Bench
from estim.rig.conformance.checks.rising import CONTACT_UA, pad
from estim.rig.conformance.checks.states import SMALL_UA
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.hearing import elapsed_ms, in_state, words
from estim.rig.conformance.line import Heard
from estim.rig.conformance.requirement import expect, fail, requirement
from firmware_protocol import limits
from firmware_protocol.messages import (
    AcknowledgeFault,
    CapabilityFlag,
    DeviceState,
    Drive,
    Event,
    EventCode,
    FaultCode,
    InputFlag,
    RefusalReason,
    Status,
    WantedState,
)

NOISE_MOST = limits.line_errors_per_s.maximum
RUNNING_MS = 500
SLIDING_MS = 600


@requirement("FAULT-01", "7", "a fault stays latched through Drives, Stops and time")
def stays(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    fault = bench.reach(DeviceState.FAULT).fault
    for wanted in (WantedState.ARMED, WantedState.RUNNING, WantedState.SAFE):
        bench.line.send(bench.drive_message(wanted))
    status = bench.stop()
    expect(status.fault is fault, f"FAULT({fault.name})", words(status))
    bench.line.listen(LEASE_MS + HOST_MS)
    status = bench.probe_in_fault()
    expect(status.fault is fault, f"FAULT({fault.name}) still", words(status))


@requirement("FAULT-02", "3.7", "only the latest latch_count clears it, else NOT_THE_LATEST")
def latest_alone(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    latch_count = bench.reach(DeviceState.FAULT).latch_count
    for wrong in (latch_count - 1, latch_count + 1, latch_count ^ 0x8000):
        bench.expect_refused(AcknowledgeFault(wrong & 0xFFFF, 0), RefusalReason.NOT_THE_LATEST)
    bench.probe_in_fault()


@requirement("FAULT-03", "3.7", "acknowledged it leads to SAFE, is told, and nothing resumes")
def cleared(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING, pad(bench, SMALL_UA))
    bench.hold(200)
    mark = bench.line.mark()
    bench.line.send_raw(NOISE_FRAME * NOISE_MOST)
    heard = bench.line.wait(mark, in_state(DeviceState.FAULT), LEASE_MS + ANSWER_MS)
    expect(heard is not None, "FAULT", words(bench.status))
    status = bench.probe_in_fault()
    mark = bench.line.mark()
    bench.line.send(AcknowledgeFault(status.latch_count, 0))
    event = bench.wait_event(mark, EventCode.FAULT_CLEARED, ANSWER_MS)
    expect(event.detail == status.fault, f"FAULT_CLEARED, detail {status.fault}", event.detail)
    drive = bench.drive_message(WantedState.RUNNING, pad(bench, SMALL_UA))
    outcome = bench.expect_drive_refused(drive, RefusalReason.STEP_TOO_FAR, what="after a fault")
    cleared_status = outcome.status
    expect(
        (cleared_status.state, cleared_status.fault) == (DeviceState.SAFE, FaultCode.NONE),
        "SAFE without a fault",
        words(cleared_status),
    )
    found = [channel.setpoint_ua for channel in cleared_status.channels]
    expect(not any(found), "every setpoint 0", found)


@requirement("FAULT-04", "9", "every fault is counted once in latch_count, and told with its code")
def counted(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    before = bench.reach(DeviceState.ARMED).latch_count
    mark = bench.line.mark()
    bench.line.send_raw(NOISE_FRAME * NOISE_MOST)
    event = bench.wait_event(mark, EventCode.FAULT_LATCHED, LEASE_MS + ANSWER_MS)
    status = bench.probe_in_fault()
    expect(event.detail == status.fault, f"its code {status.fault.name}", event.detail)
    more = (status.latch_count - before) & 0xFFFF
    expect(more == 1, "latch_count one more", more)


@requirement(
    "FAULT-05", "7", "16 damaged frames within 1 s while ARMED are FAULT(LINE_NOISE), 15 not"
)
def noise_while_armed(bench: Bench) -> None:
    _noise_in(bench, DeviceState.ARMED)


@requirement(
    "FAULT-06", "7", "16 damaged frames within 1 s while RUNNING are FAULT(LINE_NOISE), 15 not"
)
def noise_while_running(bench: Bench) -> None:
    _noise_in(bench, DeviceState.RUNNING)


@requirement("FAULT-07", "7", "damaged frames that are spread over more than 1 s are no fault")
def spread_noise(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    for _ in range(2):
        bench.line.send_raw(NOISE_FRAME * (NOISE_MOST - 1))
        bench.hold(1000 + 2 * HOST_MS)


@requirement("FAULT-08", "7", "RUNNING longer than the session's running_ms is FAULT(RUNNING_TIME)")
def running_time(bench: Bench) -> None:
    bench.begin(bench.programs.everyday(), replace(bench.compiled, running_ms=RUNNING_MS))
    mark = bench.line.mark()
    bench.reach(DeviceState.RUNNING)
    begun = bench.wait_event(mark, EventCode.STATE_CHANGED, HOST_MS, detail=DeviceState.RUNNING)
    mark = bench.line.mark()
    bench.hold(RUNNING_MS + ANSWER_MS, may_end=True)
    fault = bench.wait_event(mark, EventCode.FAULT_LATCHED, HOST_MS)
    expect(fault.detail == FaultCode.RUNNING_TIME, "RUNNING_TIME", f"fault {fault.detail}")
    after_ms = elapsed_ms(fault.tick_ms, begun.tick_ms)
    expect(
        RUNNING_MS <= after_ms <= RUNNING_MS + TICK_MS,
        f"after {RUNNING_MS} ms (+{TICK_MS})",
        f"{after_ms} ms",
    )


@requirement(
    "FAULT-09", "7", "a measured peak above setpoint x 1.1 + 1 mA, twice, is FAULT(OVERCURRENT)"
)
def overcurrent(bench: Bench) -> None:
    bench.need(CapabilityFlag.REPORTS_CURRENT)
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    bench.hold(
        2000, pad(bench, CONTACT_UA), until=lambda status: status.channels[0].setpoint_ua >= 1500
    )
    mark = bench.line.mark()
    bench.play("gain 1 2500")
    try:
        bench.hold(bench.world.patience_ms, may_end=True)
        fault = bench.wait_event(mark, EventCode.FAULT_LATCHED, HOST_MS)
    finally:
        bench.play("gain 1 1000")
    expect(fault.detail == FaultCode.OVERCURRENT, "OVERCURRENT", f"fault {fault.detail}")


@requirement("FAULT-10", "7", "a supply too low is FAULT(SUPPLY), cleared once it is good again")
def supply(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    bench.play("battery 4")
    try:
        bench.hold(bench.world.patience_ms, may_end=True)
        fault = bench.wait_event(mark, EventCode.FAULT_LATCHED, HOST_MS)
        expect(fault.detail == FaultCode.SUPPLY, "SUPPLY", f"fault {fault.detail}")
        _expect_cause_present(bench)
    finally:
        bench.play("battery 100")
    _expect_cleared(bench)


@requirement("FAULT-11", "7", "any 1 s with 16 damaged frames is LINE_NOISE, wherever it begins")
def sliding_noise(bench: Bench) -> None:
    """Send 1, 8 and 8 damaged frames 600 ms apart: the last 16 lie within a second."""
    half = NOISE_MOST // 2
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    for count in (1, half):
        bench.line.send_raw(NOISE_FRAME * count)
        bench.hold(SLIDING_MS)
    bench.line.send_raw(NOISE_FRAME * (half - 1))
    bench.hold(HOST_MS)
    bench.line.send_raw(NOISE_FRAME)
    fault = bench.wait_event(mark, EventCode.FAULT_LATCHED, HOST_MS)
    expect(fault.detail == FaultCode.LINE_NOISE, "LINE_NOISE", f"fault {fault.detail}")


@requirement("FAULT-12", "7", "a cause that stays holds, though a later fault is the one told")
def older_cause(bench: Bench) -> None:
    bench.need(CapabilityFlag.HAS_PATIENT_STOP)
    bench.begin()
    _emptied(bench)
    try:
        _pressed(bench)
        _let_go(bench)
        _expect_cause_present(bench)
    finally:
        bench.play("battery 100")
    _expect_cleared(bench)


@requirement("FAULT-13", "7", "a supply that is too low is latched once, however often it is told")
def supply_once(bench: Bench) -> None:
    bench.begin()
    before = bench.probe().latch_count
    _emptied(bench)
    try:
        bench.play("battery 3")
        bench.line.listen(HOST_MS)
        more = (bench.probe_in_fault().latch_count - before) & 0xFFFF
        expect(more == 1, "latch_count one more", more)
    finally:
        bench.play("battery 100")
    _expect_cleared(bench)


@requirement("PSTOP-01", "9", "HAS_PATIENT_STOP and PATIENT_STOP_PRESENT agree")
def presence(bench: Bench) -> None:
    bench.begin()
    status = bench.probe()
    if CapabilityFlag.HAS_PATIENT_STOP not in bench.can.flags:
        expect(status.inputs is InputFlag.NONE, "no input told", status.inputs)
        return
    expect(InputFlag.PATIENT_STOP_PRESENT in status.inputs, "PATIENT_STOP_PRESENT", status.inputs)


@requirement("PSTOP-02", "7", "pressed in RUNNING: zero, FAULT(PATIENT_STOP), told, shown PRESSED")
def pressed_in_running(bench: Bench) -> None:
    _press_in(bench, DeviceState.RUNNING)


@requirement("PSTOP-03", "7", "pressed in SAFE and ARMED: FAULT(PATIENT_STOP) likewise")
def pressed_in_any_state(bench: Bench) -> None:
    for state in (DeviceState.SAFE, DeviceState.ARMED):
        _press_in(bench, state)


@requirement("PSTOP-04", "3.7", "while it is pressed the fault is not cleared: CAUSE_PRESENT")
def held(bench: Bench) -> None:
    bench.need(CapabilityFlag.HAS_PATIENT_STOP)
    bench.begin()
    _pressed(bench)
    try:
        _expect_cause_present(bench)
    finally:
        _let_go(bench)
    _expect_cleared(bench)


@requirement("PSTOP-05", "7", "released it stays latched and PRESSED until acknowledged")
def released(bench: Bench) -> None:
    bench.need(CapabilityFlag.HAS_PATIENT_STOP)
    bench.begin()
    _pressed(bench)
    _let_go(bench)
    status = bench.probe_in_fault()
    expect(
        status.fault is FaultCode.PATIENT_STOP and InputFlag.PATIENT_STOP_PRESSED in status.inputs,
        "FAULT(PATIENT_STOP) and PRESSED after the release",
        f"{words(status)}, {status.inputs!r}",
    )
    _expect_cleared(bench)
    inputs = bench.probe().inputs
    expect(
        InputFlag.PATIENT_STOP_PRESSED not in inputs and InputFlag.PATIENT_STOP_TESTED in inputs,
        "not PRESSED, and TESTED, once acknowledged",
        inputs,
    )


def _noise_in(bench: Bench, state: DeviceState) -> None:
    bench.begin(bench.programs.everyday())
    before = bench.reach(state)
    mark = bench.line.mark()
    bench.line.send_raw(NOISE_FRAME * (NOISE_MOST - 1))
    status = bench.probe()
    expect(
        status.state is state, f"{state.name} after {NOISE_MOST - 1} damaged frames", words(status)
    )
    bench.line.send_raw(NOISE_FRAME)
    event = bench.wait_event(mark, EventCode.FAULT_LATCHED, HOST_MS)
    expect(event.detail == FaultCode.LINE_NOISE, "LINE_NOISE", f"fault {event.detail}")
    after = bench.probe_in_fault()
    counted = (after.damaged_count - before.damaged_count) & 0xFFFF
    expect(counted == NOISE_MOST, f"{NOISE_MOST} damaged frames counted", counted)


def _emptied(bench: Bench) -> None:
    """Empty the supply in SAFE; return once its fault is told."""
    mark = bench.line.mark()
    bench.play("battery 4")
    event = bench.wait_event(mark, EventCode.FAULT_LATCHED, bench.world.patience_ms)
    expect(event.detail == FaultCode.SUPPLY, "SUPPLY", f"fault {event.detail}")


def _press_in(bench: Bench, state: DeviceState) -> None:
    bench.need(CapabilityFlag.HAS_PATIENT_STOP)
    bench.begin(bench.programs.everyday())
    bench.reach(state, pad(bench, SMALL_UA) if state is DeviceState.RUNNING else None)
    if state is DeviceState.RUNNING:
        bench.hold(300)
    mark = bench.line.mark()
    status = _pressed(bench, state)
    found = [(channel.setpoint_ua, channel.target_ua) for channel in status.channels]
    expect(all(pair == (0, 0) for pair in found), "every setpoint and target 0", found)
    expect(InputFlag.PATIENT_STOP_PRESSED in status.inputs, "PATIENT_STOP_PRESSED", status.inputs)
    bench.wait_event(mark, EventCode.PATIENT_STOP, HOST_MS)
    _released(bench)


def _pressed(bench: Bench, state: DeviceState = DeviceState.SAFE) -> Status:
    """Press the stop; return the Status that shows its fault."""
    mark = bench.line.mark()
    bench.play("patient-stop press")
    end_us = bench.line.now_us() + bench.world.patience_ms * 1000
    latched: Event | None = None
    while latched is None and bench.line.now_us() < end_us:
        if state is not DeviceState.SAFE:
            bench.line.send(_staying(bench, state))
        bench.line.turn()
        latched = next(
            (
                h.message
                for h in bench.line.heard[mark:]
                if isinstance(h.message, Event) and h.message.code is EventCode.FAULT_LATCHED
            ),
            None,
        )
    if latched is None:
        bench.play("patient-stop release")
        fail(f"FAULT(PATIENT_STOP) in {state.name}", words(bench.status))
    expect(
        latched.detail == FaultCode.PATIENT_STOP, "FAULT(PATIENT_STOP)", f"fault {latched.detail}"
    )
    return bench.probe_in_fault()


def _let_go(bench: Bench) -> None:
    """Release the stop; nothing needs to tell of it."""
    bench.play("patient-stop release")
    bench.line.listen(HOST_MS)


def _released(bench: Bench) -> None:
    """Release the stop and clear its fault."""
    _let_go(bench)
    _expect_cleared(bench)


def _expect_cause_present(bench: Bench) -> None:
    status = bench.probe_in_fault()
    bench.expect_refused(AcknowledgeFault(status.latch_count, 0), RefusalReason.CAUSE_PRESENT)
    bench.probe_in_fault()


def _expect_cleared(bench: Bench) -> None:
    """Acknowledge until it is cleared: a hand may need its time to take the cause away."""
    end_us = bench.line.now_us() + bench.world.patience_ms * 1000
    while bench.line.now_us() < end_us:
        status = bench.probe_in_fault()
        mark = bench.line.mark()
        bench.line.send(AcknowledgeFault(status.latch_count, 0))
        if bench.line.wait(mark, _is_cleared, ANSWER_MS) is not None:
            status = bench.stop()
            expect(status.state is DeviceState.SAFE, "SAFE", words(status))
            return
    fail("the fault cleared, its cause gone", words(bench.status))


def _is_cleared(heard: Heard) -> bool:
    message = heard.message
    return isinstance(message, Event) and message.code is EventCode.FAULT_CLEARED


def _staying(bench: Bench, state: DeviceState) -> Drive:
    targets_ua = bench.targets_ua if state is DeviceState.RUNNING else None
    return bench.drive_message(WantedState(int(state)), targets_ua)
