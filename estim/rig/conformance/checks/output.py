"""What a capture shows: the pulses themselves, and when the last one came."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from estim.rig.conformance.bench import ANSWER_MS, HOST_MS, LEASE_MS, Bench
from estim.rig.conformance.capture import Row
from estim.rig.conformance.checks.rising import LOWERED_UA, Delivery, delivery, pad
from estim.rig.conformance.checks.states import SMALL_UA
from estim.rig.conformance.line import US_PER_MS
from estim.rig.conformance.requirement import NotTestable, expect, requirement
from firmware_protocol import limits
from firmware_protocol.messages import DeviceState, EventCode, WantedState

EDGE_US = 1
WRITTEN_MS = 400
STOPPED_MS = 20
SILENCE_MS = limits.zero_after_silence_ms.maximum


@requirement(
    "OUTPUT-01", "5", "each pulse has the phases of its programme, to 1 us, and no net charge"
)
def phases(bench: Bench) -> None:
    pulses = _pulses(bench)
    lasts_us = bench.programs.phase_us
    for first, second in pulses:
        found = (first.lasts_us, second.lasts_us, second.at_us - first.at_us - first.lasts_us)
        is_right = all(
            abs(seen - wanted) <= EDGE_US
            for seen, wanted in zip(found, (lasts_us, lasts_us, 0), strict=True)
        )
        expect(is_right, f"two phases of {lasts_us} us, one behind the other", found)
        net_pc = first.current_ua * first.lasts_us + second.current_ua * second.lasts_us
        allowed_pc = EDGE_US * abs(first.current_ua)
        expect(abs(net_pc) <= allowed_pc, f"no net charge (+-{allowed_pc} pC)", f"{net_pc} pC")
        expect(first.current_ua > 0 > second.current_ua, "first positive, then negative", found)


@requirement("OUTPUT-02", "5", "pulses follow at the pulse period, to 1 us")
def period(bench: Bench) -> None:
    onsets = [first.at_us for first, _ in _pulses(bench)]
    period_us = bench.programs.period_us
    for earlier, later in pairwise(onsets):
        expect(
            abs(later - earlier - period_us) <= EDGE_US,
            f"{period_us} us from onset to onset",
            f"{later - earlier} us",
        )


@requirement("OUTPUT-03", "6", "no pulse exceeds its target, and those of the plateau reach it")
def amplitude(bench: Bench) -> None:
    made = _made(bench)
    step_ua = bench.can.amplitude_step_ua
    pulses = _pulses(bench)
    highest_ua = max(abs(row.current_ua) for pulse in pulses for row in pulse)
    expect(
        made.target_ua - step_ua < highest_ua <= made.target_ua,
        f"{made.target_ua} uA, on its grid",
        f"{highest_ua} uA",
    )
    late_us = made.lowered_us + HOST_MS * US_PER_MS
    above = [
        first for first, _ in pulses if first.at_us > late_us and first.current_ua > LOWERED_UA
    ]
    expect(not above, f"at most {LOWERED_UA} uA once the target was lowered", f"{len(above)} above")


@requirement("OUTPUT-04", "8", "no pulse later than 20 ms and the pulse in progress after Stop")
def zero_after_stop(bench: Bench) -> None:
    made = _made(bench)
    last = _rows(bench, made)[-1]
    after_ms = (last.at_us + last.lasts_us - made.stopped_us) / US_PER_MS
    expect(
        after_ms <= STOPPED_MS + HOST_MS, f"zero within {STOPPED_MS} ms (+{HOST_MS})",
        f"{after_ms:.1f} ms",
    )  # fmt: skip


@requirement("OUTPUT-05", "8", "output is zero at most 350 ms after the host fell silent")
def zero_after_silence(bench: Bench) -> None:
    capture = bench.need_capture()
    bench.begin(bench.programs.everyday())
    start_us = bench.line.now_us()
    bench.reach(DeviceState.RUNNING)
    bench.hold(500, pad(bench, SMALL_UA))
    silent_us = bench.line.now_us()
    bench.drive(bench.drive_message(WantedState.RUNNING, bench.targets_ua))
    answered_us = bench.line.now_us()
    mark = bench.line.mark()
    bench.wait_event(mark, EventCode.FAULT_LATCHED, LEASE_MS + ANSWER_MS)
    bench.line.listen(WRITTEN_MS)
    rows = capture.rows(start_us, bench.line.now_us())
    if not rows:
        raise NotTestable("the capture has nothing of this time: another clock, or not written")
    end_us = rows[-1].at_us + rows[-1].lasts_us
    after_ms = (end_us - answered_us) / US_PER_MS
    expect(after_ms <= SILENCE_MS, f"zero within {SILENCE_MS} ms", f"{after_ms:.1f} ms")
    lived_ms = (end_us - silent_us) / US_PER_MS
    expect(lived_ms > LEASE_MS // 2, "output until the lease ended", f"{lived_ms:.1f} ms")


@requirement("OUTPUT-06", "5", "pulses of two channels never coincide")
def never_together(bench: Bench) -> None:
    capture = bench.need_capture()
    bench.need_channels(2)
    bench.begin(bench.programs.everyday())
    start_us = bench.line.now_us()
    bench.reach(DeviceState.RUNNING)
    bench.hold(700, pad(bench, *(SMALL_UA,) * bench.channel_count))
    bench.stop()
    bench.line.listen(WRITTEN_MS)
    rows = capture.rows(start_us, bench.line.now_us())
    if not rows:
        raise NotTestable("the capture has nothing of this time: another clock, or not written")
    expect(
        len({row.channel for row in rows}) == bench.channel_count,
        f"pulses on {bench.channel_count} channels",
        sorted({row.channel for row in rows}),
    )
    for earlier, later in pairwise(rows):
        expect(
            earlier.at_us + earlier.lasts_us <= later.at_us,
            "one phase ended before the next began",
            f"channels {earlier.channel} and {later.channel} at {later.at_us} us",
        )


def _made(bench: Bench) -> Delivery:
    bench.need_capture()
    made = delivery(bench)
    if "written" not in bench.scenarios:
        bench.line.listen(WRITTEN_MS)
        bench.scenarios["written"] = True
    return made


def _rows(bench: Bench, made: Delivery) -> list[Row]:
    rows = bench.need_capture().rows(*made.window_us)
    if not rows:
        raise NotTestable("the capture has nothing of this time: another clock, or not written")
    return rows


def _pulses(bench: Bench) -> list[tuple[Row, Row]]:
    """Return the delivery's pulses as pairs of phases, of its one channel."""
    by_channel: dict[int, list[Row]] = defaultdict(list)
    for row in _rows(bench, _made(bench)):
        by_channel[row.channel].append(row)
    expect(set(by_channel) == {1}, "current on channel 1 alone", sorted(by_channel))
    rows = by_channel[1]
    expect(len(rows) % 2 == 0, "whole pulses of two phases", f"{len(rows)} phases")
    return list(zip(rows[::2], rows[1::2], strict=True))
