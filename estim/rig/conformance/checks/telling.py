"""What a device tells by itself: events and their ring, Status and its times and counters."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from estim.rig.conformance.bench import HOST_MS, NOISE_FRAME, TICK_MS, Bench
from estim.rig.conformance.checks.states import SMALL_UA
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.hearing import elapsed_ms, words
from estim.rig.conformance.line import US_PER_MS
from estim.rig.conformance.requirement import expect, fail, requirement
from firmware_protocol.messages import (
    Capabilities,
    CommitProgram,
    CyclePhase,
    DeviceState,
    Event,
    EventCode,
    GetCapabilities,
    GetEvents,
    RefusalReason,
    Status,
    Stop,
    WantedState,
)

EVENTS_KEPT_MAX = 64
STOPS = 70
STOPS_AT_ONCE = 3
IDLE_MS = 250
RUNNING_MS = (25, 50)
CADENCE_MS = 10
RESTARTED_PERCENT = 75
TICK_PERMILLE = 20


@requirement("EVENT-01", "3.8", "each event comes once, as it happens, with the next index")
def each_once(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    count = bench.probe().event_count
    mark = bench.line.mark()
    for _ in range(STOPS_AT_ONCE):
        bench.line.send(Stop())
    bench.fence(mark)
    status = bench.probe()
    events = _events(bench, mark)
    indices = [event.index for event in events]
    expected = [(count + n) & 0xFFFF for n in range((status.event_count - count) & 0xFFFF)]
    expect(indices == expected, f"events of index {expected}", indices)
    stops = sum(event.code is EventCode.STOP_RECEIVED for event in events)
    expect(stops == STOPS_AT_ONCE, f"{STOPS_AT_ONCE} events STOP_RECEIVED", stops)


@requirement("EVENT-02", "3.8", "GetEvents sends the same events again, from an index on")
def sent_again(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    mark = bench.line.mark()
    bench.reach(DeviceState.RUNNING)
    bench.stop()
    bench.fence(mark)
    first = _events(bench, mark)
    expect(len(first) >= 4, "events of arming, starting, Stop", len(first))
    mark = bench.line.mark()
    bench.line.send(GetEvents(first[1].index))
    bench.fence(mark)
    again = _events(bench, mark)
    expect(
        again == first[1:], f"the same {len(first) - 1} events", [event.index for event in again]
    )


@requirement("EVENT-03", "3.8", "the last events are kept, 64 at most, and sent as far as asked")
def ring(bench: Bench) -> None:
    bench.begin()
    for _ in range(STOPS):
        mark = bench.line.mark()
        bench.line.send(Stop())
        bench.wait_event(mark, EventCode.STOP_RECEIVED, ANSWER_MS)
    count = bench.probe().event_count
    kept = len(_asked_again(bench, count, STOPS))
    expect(1 <= kept <= EVENTS_KEPT_MAX, f"1 to {EVENTS_KEPT_MAX} events kept", kept)
    for back in (STOPS, kept, 1):
        indices = _asked_again(bench, count, back)
        last = min(back, kept)
        expected = [(count - last + n) & 0xFFFF for n in range(last)]
        expect(
            indices == expected,
            f"{last} events from {expected[0]} for those of the last {back}",
            f"{len(indices)} events" + (f" from {indices[0]}" if indices else ""),
        )


def _asked_again(bench: Bench, count: int, back: int) -> list[int]:
    """Ask for the events from so many back on; return the indices that come."""
    mark = bench.line.mark()
    bench.line.send(GetEvents((count - back) & 0xFFFF))
    bench.fence(mark)
    return [event.index for event in _events(bench, mark)]


@requirement("EVENT-04", "9", "an event's tick is that of its moment")
def event_ticks(bench: Bench) -> None:
    bench.begin()
    for _ in range(3):
        before_ms = bench.probe().tick_ms
        mark = bench.line.mark()
        bench.line.send(Stop())
        event = bench.wait_event(mark, EventCode.STOP_RECEIVED, ANSWER_MS)
        after_ms = bench.probe().tick_ms
        is_between = (
            elapsed_ms(event.tick_ms, before_ms) >= 0 and elapsed_ms(after_ms, event.tick_ms) >= 0
        )
        expect(is_between, f"a tick from {before_ms} to {after_ms}", event.tick_ms)


@requirement("STATUS-01", "8", "each fresh Drive and each Stop is answered with a Status at once")
def answered_at_once(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    for _ in range(10):
        sent_us = bench.line.now_us()
        outcome = bench.drive(bench.drive_message(WantedState.ARMED))
        took_ms = (bench.line.now_us() - sent_us) // US_PER_MS
        expect(outcome.refused is None, "the Drive accepted", words(outcome.refused))
        expect(took_ms <= HOST_MS, f"a Status within {HOST_MS} ms", f"{took_ms} ms")


@requirement(
    "STATUS-02", "8", "while RUNNING a Status goes out every 25 ms, or 50 ms on a slow line"
)
def running_cadence(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    bench.hold(900, every_us=220_000)
    apart = _apart_ms(bench, mark)
    expect(bool(apart), "a Status every 25 or 50 ms", "one at most in 900 ms")
    usual_ms = median(apart)
    expect(
        any(abs(usual_ms - wanted) <= CADENCE_MS for wanted in RUNNING_MS),
        "25 or 50 ms apart",
        f"{usual_ms} ms",
    )


@requirement("STATUS-03", "8", "in other states a Status goes out every 250 ms")
def idle_cadence(bench: Bench) -> None:
    bench.begin()
    bench.line.listen(1)
    mark = bench.line.mark()
    bench.line.listen(4 * IDLE_MS + HOST_MS)
    apart = _apart_ms(bench, mark)
    expect(bool(apart), f"a Status every {IDLE_MS} ms", f"one at most in {4 * IDLE_MS} ms")
    usual_ms = median(apart)
    expect(abs(usual_ms - IDLE_MS) <= 2 * CADENCE_MS, f"{IDLE_MS} ms apart", f"{usual_ms} ms")


@requirement("STATUS-04", "8", "tick_ms counts milliseconds")
def ticks_are_milliseconds(bench: Bench) -> None:
    """Bracket two ticks by when each was asked for and told: a slow line is no slow clock."""
    bench.begin()
    first, first_asked_us, first_told_us = _probed(bench)
    bench.line.listen(1200)
    last, last_asked_us, last_told_us = _probed(bench)
    least_ms = (last_asked_us - first_told_us) // US_PER_MS
    most_ms = (last_told_us - first_asked_us) // US_PER_MS
    ticked_ms = elapsed_ms(last.tick_ms, first.tick_ms)
    allowed_ms = most_ms * TICK_PERMILLE // 1000 + TICK_MS
    expect(
        least_ms - allowed_ms <= ticked_ms <= most_ms + allowed_ms,
        f"{least_ms} to {most_ms} ms, give or take {allowed_ms}",
        f"{ticked_ms} ms",
    )


def _probed(bench: Bench) -> tuple[Status, int, int]:
    asked_us = bench.line.now_us()
    return bench.probe(), asked_us, bench.line.now_us()


@requirement("STATUS-05", "9", "drive_sequence is that of the newest Drive accepted")
def drive_sequence(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    accepted = bench.drive(bench.drive_message(WantedState.ARMED))
    refused = bench.expect_drive_refused(
        bench.drive_message(WantedState.RUNNING, (SMALL_UA,) + (0,) * (bench.channel_count - 1)),
        RefusalReason.NOT_FROM_ZERO,
    )
    found = refused.status.drive_sequence
    expect(found == accepted.sequence, f"sequence {accepted.sequence}", found)


@requirement("STATUS-06", "9", "refusal_count and damaged_count count each once")
def counters(bench: Bench) -> None:
    bench.begin()
    before = bench.probe()
    for _ in range(3):
        bench.expect_refused(CommitProgram(1), RefusalReason.PROGRAM)
    bench.line.send_raw(NOISE_FRAME * 5)
    bench.fence(bench.line.mark())
    after = bench.probe()
    for name, expected in (("refusal_count", 3), ("damaged_count", 5)):
        more = (getattr(after, name) - getattr(before, name)) & 0xFFFF
        expect(more == expected, f"{name} {expected} more", more)


@requirement("STATUS-07", "9", "running_ms counts the time in RUNNING, from zero at each start")
def running_ms(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    for _ in range(2):
        first = bench.reach(DeviceState.RUNNING)
        last = bench.hold(400)
        ran_ms = last.running_ms - first.running_ms
        ticked_ms = elapsed_ms(last.tick_ms, first.tick_ms)
        expect(abs(ran_ms - ticked_ms) <= 2, f"{ticked_ms} ms as its tick", f"{ran_ms} ms")
        expect(first.running_ms <= TICK_MS, "from 0", first.running_ms)
        bench.stop()


@requirement(
    "STATUS-08", "9", "a row for each channel; cycle_phase IDLE unless RUNNING, then PLATEAU"
)
def channel_rows(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    for state, phase in (
        (DeviceState.SAFE, CyclePhase.IDLE),
        (DeviceState.RUNNING, CyclePhase.PLATEAU),
    ):
        status = bench.reach(state)
        rows = len(status.channels)
        expect(rows == bench.can.channel_count, f"{bench.can.channel_count} rows", rows)
        found = [channel.cycle_phase for channel in status.channels[: bench.channel_count]]
        expect(set(found) == {phase}, f"{phase.name} in {state.name}", [p.name for p in found])


@requirement("STATUS-09", "8", "an answer restarts the timer: the next Status comes a period later")
def answers_restart_timer(bench: Bench) -> None:
    """Of a few rounds the longest counts: on a slow line an answer may wait behind a Status."""
    bench.begin(bench.programs.everyday())
    for state, rounds in ((DeviceState.SAFE, 1), (DeviceState.RUNNING, 5)):
        bench.reach(state)
        found = [_answered_between(bench) for _ in range(rounds)]
        usual_ms = median(usual_ms for usual_ms, _ in found)
        apart_ms = max(apart_ms for _, apart_ms in found)
        expect(
            apart_ms >= usual_ms * RESTARTED_PERCENT / 100,
            f"{usual_ms:g} ms from an answer to the next Status in {state.name}",
            f"{apart_ms} ms",
        )


def _answered_between(bench: Bench) -> tuple[int, int]:
    """Return from Status to Status, and from an answer half way between two to the next."""
    _, asked_us, told_us = _probed(bench)
    first, second = _next_status(bench), _next_status(bench)
    usual_ms = elapsed_ms(second.tick_ms, first.tick_ms)
    # What is heard was told earlier, by as long as the line takes.
    half_us = bench.line.now_us() + usual_ms * US_PER_MS // 2 - (told_us - asked_us)
    while bench.line.now_us() < half_us:
        bench.ask(GetCapabilities(), Capabilities)  # which no Status answers
    answer = bench.probe()
    return usual_ms, elapsed_ms(_next_status(bench).tick_ms, answer.tick_ms)


def _next_status(bench: Bench) -> Status:
    heard = bench.line.wait(bench.line.mark(), lambda h: isinstance(h.message, Status), ANSWER_MS)
    if heard is None:
        fail(f"a Status within {ANSWER_MS} ms", "none")
    assert isinstance(heard.message, Status)
    return heard.message


def _events(bench: Bench, mark: int) -> list[Event]:
    return [h.message for h in bench.line.heard[mark:] if isinstance(h.message, Event)]


def _apart_ms(bench: Bench, mark: int) -> list[int]:
    """Return the times between Status by their own ticks."""
    ticks = [h.message.tick_ms for h in bench.line.heard[mark:] if isinstance(h.message, Status)]
    return [elapsed_ms(later, earlier) for earlier, later in pairwise(ticks)]
