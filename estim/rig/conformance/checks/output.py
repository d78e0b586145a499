"""What a capture shows: the pulses themselves, and when the last one came."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

from estim.rig.conformance.bench import HOST_MS, LEASE_MS, Bench
from estim.rig.conformance.capture import Row
from estim.rig.conformance.checks import recorded
from estim.rig.conformance.checks.recorded import CLOCK_PPM, SILENCE_MS, STOPPED_MS
from estim.rig.conformance.checks.rising import LOWERED_UA, Delivery, delivery, pad
from estim.rig.conformance.checks.states import SMALL_UA
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.expected import Pulse, pulses
from estim.rig.conformance.line import US_PER_MS
from estim.rig.conformance.requirement import (
    Failed,
    NotApplicable,
    NotTestable,
    expect,
    fail,
    requirement,
)
from firmware_protocol.messages import CapabilityFlag, DeviceState, EventCode, WantedState
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram

EDGE_US = 1
GAP_US = 200
"""No gap within the pulses played here is longer, and no two pulses are nearer."""
BEGUN_US = 2_000
PLAYED_UA = 700
PLAYED_MS = 4000
WRITTEN_MS = 400


@requirement(
    "OUTPUT-01", "5", "each pulse has the phases of its programme, to 1 us, and no net charge"
)
@recorded.judged_by(recorded.phases)
def phases(bench: Bench) -> None:
    made_pulses = _pulses(bench)
    lasts_us = bench.programs.phase_us
    for first, second in made_pulses:
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
@recorded.judged_by(recorded.period)
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
@recorded.judged_by(recorded.amplitude)
def amplitude(bench: Bench) -> None:
    made = _made(bench)
    step_ua = bench.can.amplitude_step_ua
    made_pulses = _pulses(bench)
    highest_ua = max(abs(row.current_ua) for pulse in made_pulses for row in pulse)
    expect(
        made.target_ua - step_ua < highest_ua <= made.target_ua,
        f"{made.target_ua} uA, on its grid",
        f"{highest_ua} uA",
    )
    late_us = made.lowered_us + HOST_MS * US_PER_MS
    above = [
        first for first, _ in made_pulses if first.at_us > late_us and first.current_ua > LOWERED_UA
    ]
    expect(not above, f"at most {LOWERED_UA} uA once the target was lowered", f"{len(above)} above")


@requirement("OUTPUT-04", "8", "no pulse later than 20 ms and the pulse in progress after Stop")
@recorded.judged_by(recorded.zero_after_stop)
def zero_after_stop(bench: Bench) -> None:
    made = _made(bench)
    last = _rows(bench, made)[-1]
    after_ms = (last.at_us + last.lasts_us - made.stopped_us) / US_PER_MS
    expect(
        after_ms <= STOPPED_MS + HOST_MS, f"zero within {STOPPED_MS} ms (+{HOST_MS})",
        f"{after_ms:.1f} ms",
    )  # fmt: skip


@requirement("OUTPUT-05", "8", "output is zero at most 350 ms after the host fell silent")
@recorded.judged_by(recorded.zero_after_silence)
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


@requirement("OUTPUT-07", "5", "bursts are played: every pulse at its time, to 1 us")
def bursts(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_BURST)
    channel = replace(bench.programs.channel(), pulses_per_burst=5, burst_period_us=100_000)
    _expect_played(bench, channel)


@requirement("OUTPUT-08", "5", "keyframes are played: each pulse at its time, amplitude and length")
def keyframes(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_KEYFRAMES)
    programs = bench.programs
    unit_us, period_us = programs.phase_us, programs.period_us
    shorter_us = max(programs.phase_min_us, unit_us // 2)
    frames = (
        Keyframe(0, 1000, unit_us, period_us),
        Keyframe(155, 500, shorter_us, 4 * period_us),
        Keyframe(300, 750, unit_us, period_us + 1_234),
    )
    _expect_played(
        bench, replace(programs.channel(), keyframes=frames, keyframe_cycle_ms=420), for_ms=900
    )


@requirement("OUTPUT-09", "5", "on/off cycles are played: ramps, plateau and rest")
def cycles(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_CYCLE)
    cycle = Cycle(ramp_up_ms=150, on_ms=500, ramp_down_ms=100, off_ms=150, offset_ms=40)
    _expect_played(bench, replace(bench.programs.channel(), cycle=cycle), for_ms=1050)


@requirement("OUTPUT-10", "5", "unequal phases are played on their grid, with the gap between them")
def unequal_phases(bench: Bench) -> None:
    bench.need(CapabilityFlag.UNEQUAL_PHASES)
    programs = bench.programs
    unit_us = max(programs.phase_min_us, min(100, programs.phase_max_us // 4))
    if 4 * unit_us > programs.phase_max_us or bench.can.phases_max < 3:
        raise NotApplicable("its phases leave no room for one of four units")
    phases = (Phase(1, 1000), Phase(50, 0), Phase(4, -250))
    channel = ChannelProgram(phases, unit_us, max(programs.period_us, 10 * unit_us))
    _expect_played(bench, channel)


def _expect_played(bench: Bench, channel: ChannelProgram, for_ms: int = 1000) -> None:
    """Expect the pulses of chapter 5 in the capture, once the setpoint has come to its target."""
    capture, line = bench.need_capture(), bench.line
    step_ua = bench.can.amplitude_step_ua
    target_ua = PLAYED_UA // step_ua * step_ua
    bench.begin(PulseProgram((channel,)))
    bench.reach(DeviceState.ARMED)
    begun_us = line.now_us()
    status = bench.arrived(
        bench.drive(bench.drive_message(WantedState.RUNNING)), DeviceState.RUNNING
    )
    started_us = line.now_us() - status.running_ms * US_PER_MS
    bench.hold(
        PLAYED_MS,
        (target_ua,),
        until=lambda status: status.channels[0].setpoint_ua == target_ua,
    )
    from_us = line.now_us()
    last = bench.hold(for_ms)
    to_us = line.now_us() - HOST_MS * US_PER_MS
    reached_ua = last.channels[0].setpoint_ua
    expect(reached_ua == target_ua, f"a setpoint of {target_ua} uA", f"{reached_ua} uA")
    bench.stop()
    line.listen(WRITTEN_MS)
    found = _captured(capture.rows(begun_us, line.now_us()))
    if not found:
        raise NotTestable("the capture has nothing of this time: another clock, or not written")
    wanted = list(pulses(channel, step_ua, target_ua, line.now_us() - begun_us))
    seen = [pulse for pulse in found if from_us <= pulse.onset_us < to_us]
    failures: list[Failed] = []
    # On a line slower than the pulses several starts are possible: one of them must explain all.
    for zero_us in _beginnings_us(found, wanted, begun_us, started_us):
        due = [
            Pulse(pulse.onset_us + zero_us, pulse.phases)
            for pulse in wanted
            if from_us <= pulse.onset_us + zero_us < to_us
        ]
        try:
            _expect_alike(seen, due, zero_us)
        except Failed as failure:
            failures.append(failure)
        else:
            return
    raise failures[0]


def _expect_alike(seen: list[Pulse], due: list[Pulse], zero_us: int) -> None:
    """Expect each pulse that is due, at its time, as it must be."""
    expect(len(seen) == len(due), f"{len(due)} pulses", len(seen))
    for pulse, expected in zip(seen, due, strict=True):
        allowed_us = EDGE_US + (expected.onset_us - zero_us) * CLOCK_PPM // 1_000_000
        late_us = pulse.onset_us - expected.onset_us
        expect(
            abs(late_us) <= allowed_us,
            f"a pulse {expected.onset_us - zero_us} us after the start (+-{allowed_us})",
            f"{late_us:+d} us",
        )
        is_alike = len(pulse.phases) == len(expected.phases) and all(
            abs(is_us - be_us) <= EDGE_US and is_ua == be_ua and abs(lasts - last_us) <= EDGE_US
            for (is_us, is_ua, lasts), (be_us, be_ua, last_us) in zip(
                pulse.phases, expected.phases, strict=True
            )
        )
        expect(is_alike, f"phases {expected.phases}", f"phases {pulse.phases}")


def _captured(rows: list[Row]) -> list[Pulse]:
    """Return the pulses of a capture: phases that follow each other within a pulse's length."""
    found: list[list[Row]] = []
    for row in rows:
        if found and row.at_us - found[-1][-1].at_us - found[-1][-1].lasts_us <= GAP_US:
            found[-1].append(row)
        else:
            found.append([row])
    return [
        Pulse(
            pulse[0].at_us,
            tuple((row.at_us - pulse[0].at_us, row.current_ua, row.lasts_us) for row in pulse),
        )
        for pulse in found
    ]


def _beginnings_us(
    found: list[Pulse], wanted: list[Pulse], earliest_us: int, latest_us: int
) -> list[int]:
    """Return when RUNNING may have begun on the capture's clock: the last pulse finds its place."""
    beginnings_us = [
        zero_us
        for pulse in wanted
        if earliest_us - BEGUN_US
        <= (zero_us := found[-1].onset_us - pulse.onset_us)
        <= latest_us + BEGUN_US
    ]
    if not beginnings_us:
        fail(
            "pulses that fit a start when the device said RUNNING",
            f"a last pulse {found[-1].onset_us - earliest_us} us after the Drive",
        )
    return beginnings_us
