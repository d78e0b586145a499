"""Floods, and a long run with whatever a bad line does to it."""

from __future__ import annotations

import random

from estim.rig.conformance.bench import HOST_MS, LEASE_MS, NOISE_FRAME, Bench
from estim.rig.conformance.checks.rising import pad
from estim.rig.conformance.checks.states import SMALL_UA
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.hearing import answers, elapsed_ms, is_at_rest, words
from estim.rig.conformance.line import US_PER_MS
from estim.rig.conformance.requirement import NotTestable, expect, requirement
from firmware_protocol import codec, framing
from firmware_protocol.messages import (
    Capabilities,
    DeviceState,
    GetCapabilities,
    Refused,
    Status,
    Stop,
    WantedState,
)

REQUESTS = 120
REQUESTS_AT_ONCE = 4
"""So many may wait for their answers, as chapter 8 says; programmes at once are LOAD-11's."""
DRIVES = 180
DRIVES_AT_ONCE = 3
FLOOD = 30
STOPS_AT_ONCE = 3
STOP_AGAIN_MS = 50
LINE_BYTES_PER_S = 11_520


@requirement("FLOOD-01", "8", "requests, four at once, are answered one by one, in order")
def requests(bench: Bench) -> None:
    bench.begin()
    mark = bench.line.mark()
    sent: list[int] = []
    for _ in range(REQUESTS // REQUESTS_AT_ONCE):
        sent += [bench.line.send(GetCapabilities()) for _ in range(REQUESTS_AT_ONCE)]
        bench.line.wait(mark, answers(sent[-1]), ANSWER_MS)
    found = [
        h.message.in_reply_to
        for h in bench.line.heard[mark:]
        if isinstance(h.message, Capabilities)
    ]
    expect(found == sent, f"{len(sent)} answers in order", f"{len(found)}")


@requirement("FLOOD-02", "8", "Status is never queued: after many Drives the newest tick is told")
def many_drives(bench: Bench) -> None:
    """Send Drives as fast as a line of 115200 baud brings them: their Status would not fit one."""
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    for _ in range(DRIVES // DRIVES_AT_ONCE):
        drive = bench.drive_message(WantedState.RUNNING, bench.targets_ua)
        drives = b"".join(bench.line.frame(drive) for _ in range(DRIVES_AT_ONCE))
        bench.line.send_raw(drives)
        bench.line.listen(len(drives) * 1000 // LINE_BYTES_PER_S + 1)
    status = bench.probe()
    expect(status.state is DeviceState.RUNNING, "RUNNING through the flood", words(status))
    again = bench.probe()
    behind_ms = elapsed_ms(again.tick_ms, status.tick_ms)
    expect(behind_ms <= HOST_MS, f"ticks at most {HOST_MS} ms apart", behind_ms)


@requirement("FLOOD-03", "3.6", "Stop behind a flood ends output")
def stop_behind_flood(bench: Bench) -> None:
    """Repeat the Stop, as a host does: of a flood a small device may lose what it cannot hold."""
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING, pad(bench, SMALL_UA))
    bench.hold(150)
    requests = [bench.line.frame(GetCapabilities()) for _ in range(FLOOD)]
    flood = b"".join(requests) + b"\x07" * 40 + b"\0"
    mark = bench.line.mark()
    bench.line.send_raw(flood)
    # The answers of before are longer, and still on their way; yet well before the lease ends.
    answer_bytes = len(framing.encode_frame(codec.encode_body(bench.can, 0, 0)))
    within_ms = FLOOD * answer_bytes * 1000 // LINE_BYTES_PER_S + HOST_MS
    end_us = bench.line.now_us() + within_ms * US_PER_MS
    heard = None
    while heard is None and bench.line.now_us() < end_us:
        for _ in range(STOPS_AT_ONCE):
            bench.line.send(Stop())
        heard = bench.line.wait(mark, is_at_rest, STOP_AGAIN_MS)
    expect(heard is not None, f"a Status at zero within {within_ms} ms", words(bench.status))


@requirement(
    "SOAK-01", "4", "RUNNING holds over a bad line, and no Status shows what was not asked"
)
def soak(bench: Bench) -> None:
    if not bench.soak_s:
        raise NotTestable("left out: --soak 0")
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    chance = random.Random(5)
    line = bench.line
    end_us = line.now_us() + bench.soak_s * 1_000_000
    next_us, target_ua, refusals = 0, SMALL_UA, 0
    highest_ua = 2 * SMALL_UA
    bench.targets_ua = pad(bench, target_ua)
    while (now_us := line.now_us()) < end_us:
        if now_us >= next_us:
            _disturb(bench, chance)
            line.send(bench.drive_message(WantedState.RUNNING, bench.targets_ua))
            next_us = now_us + chance.randrange(20, 120) * US_PER_MS
            if not chance.randrange(20):
                target_ua = chance.randrange(0, highest_ua)
                bench.targets_ua = pad(bench, target_ua)
        mark = line.mark()
        line.turn()
        for heard in line.heard[mark:]:
            message = heard.message
            refusals += isinstance(message, Refused)
            if isinstance(message, Status):
                found = [channel.setpoint_ua for channel in message.channels]
                expect(message.state is DeviceState.RUNNING, "RUNNING held", words(message))
                expect(max(found) <= highest_ua, f"at most {highest_ua} uA", f"{max(found)} uA")
        if line.mark() > 2000:
            line.forget()
    expect(not refusals, "no Drive refused", f"{refusals} refused")
    bench.stop()


def _disturb(bench: Bench, chance: random.Random) -> None:
    """Put on the line what a device must not mind: seldom enough that it is no LINE_NOISE."""
    line, own = bench.line, bench.line.connection.epoch or 0
    kind = chance.randrange(8)
    if kind == 0:
        line.send_raw(NOISE_FRAME)
    elif kind == 1:
        stale = bench.tick_now() - LEASE_MS - chance.randrange(5, 5000)
        line.send(bench.drive_message(WantedState.SAFE, echoed_ms=stale))
    elif kind == 2:
        line.send(bench.drive_message(WantedState.SAFE), epoch=own ^ chance.getrandbits(63) ^ 1)
    elif kind == 3:
        old = (line.connection.last_sequence - chance.randrange(0, 30_000)) % 65536
        line.send(bench.drive_message(WantedState.SAFE), sequence=old)
    elif kind == 4:
        line.send_raw(b"\0" * chance.randrange(1, 20))
