"""Freshness and the lease, by the device's own ticks: an expiry is told by an event with its tick.

A host cannot meet an age to the millisecond; what is aged here is `MARGIN_MS` to either side.
"""

from __future__ import annotations

from dataclasses import replace

from estim.rig.conformance.bench import DRIVE_US, HOST_MS, LEASE_MS, TICK_MS, Bench
from estim.rig.conformance.checks.states import SMALL_UA
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.hearing import elapsed_ms, words
from estim.rig.conformance.line import US_PER_MS
from estim.rig.conformance.requirement import expect, fail, requirement
from firmware_protocol.messages import (
    DeviceState,
    Drive,
    Event,
    EventCode,
    FaultCode,
    GetCapabilities,
    Status,
    WantedState,
)

MARGIN_MS = 40
EDGE_MS = 12
ANSWERED_MS = 3
"""From the judgement to the tick of the answer: a frame may be under way, and time goes on."""


@requirement("FRESH-01", "4.1", "a Drive that echoes a tick within the lease is accepted")
def within_the_lease(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    for age_ms in (0, 100, LEASE_MS - 2 * MARGIN_MS):
        bench.probe()
        aged = replace(bench.drive_message(WantedState.SAFE), echoed_tick_ms=_aged(bench, age_ms))
        bench.drive(aged)


@requirement("FRESH-02", "4.1", "a Drive whose echoed tick is older than 320 ms is ignored whole")
def older_than_the_lease(bench: Bench) -> None:
    for age_ms in (LEASE_MS + 5, LEASE_MS + 1000, 1 << 31):
        _expect_ignored(bench, -age_ms)


@requirement("FRESH-03", "4.1", "a Drive that echoes a tick of the future is ignored whole")
def from_the_future(bench: Bench) -> None:
    for ahead_ms in (HOST_MS + MARGIN_MS, 10_000, (1 << 31) - 1):
        _expect_ignored(bench, ahead_ms)


@requirement("FRESH-04", "4.1", "a stale Drive does not even end output")
def stale_safe_is_ignored(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    bench.hold(500)
    stale = bench.drive_message(WantedState.SAFE, echoed_ms=bench.tick_now() - LEASE_MS - 5)
    bench.line.send(stale)
    bench.fence(bench.line.mark())
    status = bench.probe()
    expect(status.state is DeviceState.RUNNING, "RUNNING: the stale Drive ignored", words(status))


@requirement(
    "FRESH-05", "4.1", "by its ticks: nothing older than 320 ms accepted, nothing younger ignored"
)
def edge_of_freshness(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.line.listen(LEASE_MS + HOST_MS)  # so that no tick lies before the start of its count
    for age_ms in range(LEASE_MS - EDGE_MS, LEASE_MS + EDGE_MS):
        bench.probe()
        drive = bench.drive_message(WantedState.SAFE, echoed_ms=_aged(bench, age_ms))
        mark = bench.line.mark()
        sequence = bench.line.send(drive)
        bench.fence(mark)
        later = bench.probe()
        answer = next(
            (
                h.message
                for h in bench.line.heard[mark:]
                if isinstance(h.message, Status) and h.message.drive_sequence == sequence
            ),
            None,
        )
        if answer is not None:
            found_ms = elapsed_ms(answer.tick_ms, drive.echoed_tick_ms)
            expect(
                found_ms <= LEASE_MS + ANSWERED_MS, f"a Drive {found_ms} ms old ignored", "accepted"
            )
        else:
            found_ms = elapsed_ms(later.tick_ms, drive.echoed_tick_ms)
            expect(found_ms > LEASE_MS, f"a Drive at most {found_ms} ms old accepted", "ignored")


@requirement("LEASE-01", "4", "RUNNING becomes FAULT(LEASE_EXPIRED) 320 ms after the echoed tick")
def running_expires(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING, _small(bench))
    bench.hold(300)
    mark, drive = bench.line.mark(), _last_drive(bench)
    fault = bench.wait_event(mark, EventCode.FAULT_LATCHED, LEASE_MS + ANSWER_MS)
    expect(fault.detail == FaultCode.LEASE_EXPIRED, "FAULT(LEASE_EXPIRED)", f"fault {fault.detail}")
    _expect_at(fault, drive.echoed_tick_ms)
    status = bench.probe_in_fault()
    found = [channel.setpoint_ua for channel in status.channels]
    expect(not any(found), "every setpoint 0", found)


@requirement("LEASE-02", "4", "ARMED becomes SAFE 320 ms after the echoed tick")
def armed_expires(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.ARMED)
    mark = bench.line.mark()
    drive = bench.drive_message(WantedState.ARMED)
    bench.drive(drive)
    changed = bench.wait_event(mark, EventCode.STATE_CHANGED, LEASE_MS + ANSWER_MS)
    expect(changed.detail == DeviceState.SAFE, "SAFE", f"state {changed.detail}")
    _expect_at(changed, drive.echoed_tick_ms)


@requirement("LEASE-03", "4", "an older echo never shortens the lease")
def older_echo_never_shortens(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    bench.hold(300)
    mark, newest = bench.line.mark(), _last_drive(bench)
    older = replace(newest, echoed_tick_ms=newest.echoed_tick_ms - 200)
    bench.line.send(older)
    fault = bench.wait_event(mark, EventCode.FAULT_LATCHED, LEASE_MS + ANSWER_MS)
    _expect_at(fault, newest.echoed_tick_ms)


@requirement("LEASE-04", "4", "an echoed tick renews the lease once, however often it comes")
def same_echo_again(bench: Bench) -> None:
    def again(bench: Bench, drive: Drive) -> None:
        bench.line.send(drive)

    _expect_not_renewed_by(bench, again)


@requirement("LEASE-05", "4", "a refused Drive does not renew the lease")
def refused_drive(bench: Bench) -> None:
    def too_high(bench: Bench, drive: Drive) -> None:
        asked_ua = bench.can.amplitude_max_ua + bench.can.amplitude_step_ua
        targets = (asked_ua,) + (0,) * (bench.channel_count - 1)
        bench.line.send(bench.drive_message(WantedState.RUNNING, targets))

    _expect_not_renewed_by(bench, too_high)


@requirement("LEASE-06", "4", "other messages do not renew the lease")
def other_traffic(bench: Bench) -> None:
    def chatter(bench: Bench, drive: Drive) -> None:
        bench.line.send(GetCapabilities())

    _expect_not_renewed_by(bench, chatter)


@requirement("LEASE-07", "1", "Drives of another epoch or an old sequence do not renew the lease")
def dropped_drives(bench: Bench) -> None:
    def foreign(bench: Bench, drive: Drive) -> None:
        fresh = bench.drive_message(WantedState.RUNNING, bench.targets_ua)
        own = bench.line.connection.epoch or 0
        bench.line.send(fresh, epoch=own ^ 1)
        newest = bench.line.connection.last_sequence
        bench.line.send(fresh, sequence=(newest - 50) % 65536)

    _expect_not_renewed_by(bench, foreign)


@requirement("LEASE-08", "4", "while fresh Drives come nothing expires")
def kept_alive(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    bench.hold(900, every_us=120_000)
    bench.hold(400, every_us=20_000)


@requirement("LEASE-09", "4", "no pulse is delivered once the lease has ended")
def no_pulse_after(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING, _small(bench))
    bench.hold(400)
    mark, drive = bench.line.mark(), _last_drive(bench)
    bench.wait_event(mark, EventCode.FAULT_LATCHED, LEASE_MS + ANSWER_MS)
    first = bench.probe_in_fault()
    bench.line.listen(HOST_MS)
    second = bench.probe_in_fault()
    counts = [[channel.pulse_count for channel in status.channels] for status in (first, second)]
    expect(counts[0] == counts[1], f"{counts[0]} pulses, no more", counts[1])
    del drive


def _expect_not_renewed_by(bench: Bench, disturb: object) -> None:
    """Keep RUNNING, then do something else instead; the last good Drive decides the expiry."""
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    bench.hold(200)
    mark, drive = bench.line.mark(), _last_drive(bench)
    end_us = bench.line.now_us() + (LEASE_MS + ANSWER_MS) * US_PER_MS
    next_us = 0
    while bench.line.now_us() < end_us:
        if bench.line.now_us() >= next_us:
            disturb(bench, drive)  # type: ignore[operator]
            next_us = bench.line.now_us() + DRIVE_US
        bench.line.turn()
        for heard in bench.line.heard[mark:]:
            event = heard.message
            if isinstance(event, Event) and event.code is EventCode.FAULT_LATCHED:
                _expect_at(event, drive.echoed_tick_ms)
                return
    fail(f"the lease to end {LEASE_MS} ms after the last Drive accepted", words(bench.status))


def _last_drive(bench: Bench) -> Drive:
    """Send one more Drive, and return it once it is accepted."""
    drive = bench.drive_message(WantedState.RUNNING, bench.targets_ua)
    bench.drive(drive)
    return drive


def _expect_at(event: Event, echoed_tick_ms: int) -> None:
    after_ms = elapsed_ms(event.tick_ms, echoed_tick_ms)
    expect(
        LEASE_MS <= after_ms <= LEASE_MS + TICK_MS,
        f"the end {LEASE_MS} ms after the echoed tick (+{TICK_MS})",
        f"{after_ms} ms",
    )


def _aged(bench: Bench, age_ms: int) -> int:
    return (bench.tick_now() - age_ms) % (1 << 32)


def _small(bench: Bench) -> tuple[int, ...]:
    return (SMALL_UA,) + (0,) * (bench.channel_count - 1)


def _expect_ignored(bench: Bench, ahead_ms: int) -> None:
    """Send a Drive to arm whose echo is off by so much; it must leave no trace."""
    bench.begin(bench.programs.everyday())
    before = bench.probe()
    drive = bench.drive_message(WantedState.ARMED, echoed_ms=bench.tick_now() + ahead_ms)
    mark = bench.line.mark()
    sequence = bench.line.send(drive)
    found = bench.fence(mark)
    shown = f"{ahead_ms} ms ahead" if ahead_ms > 0 else f"{-ahead_ms} ms old"
    expect(not found, f"no answer to a Drive whose tick is {shown}", ", ".join(map(words, found)))
    accepted = [
        h
        for h in bench.line.heard[mark:]
        if isinstance(h.message, Status) and h.message.drive_sequence == sequence
    ]
    expect(not accepted, f"a Drive whose tick is {shown} ignored", "a Status that accepts it")
    after = bench.probe()
    expect(after.state is DeviceState.SAFE, f"SAFE: a tick {shown} ignored", words(after))
    expect(after.refusal_count == before.refusal_count, "no refusal counted", after.refusal_count)
