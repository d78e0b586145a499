"""What a capture shows: the pulses themselves, and when the last one came."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

from estim.rig.conformance.bench import HOST_MS, LEASE_MS, Bench
from estim.rig.conformance.capture import Row
from estim.rig.conformance.checks import recorded
from estim.rig.conformance.checks.recorded import SILENCE_MS, STOPPED_MS
from estim.rig.conformance.checks.rising import LOWERED_UA, Delivery, delivery, pad
from estim.rig.conformance.checks.states import SMALL_UA
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.line import US_PER_MS
from estim.rig.conformance.played import EDGE_US, WRITTEN_MS, captured, expect_played, played_ua
from estim.rig.conformance.requirement import NotApplicable, expect, requirement
from firmware_protocol.messages import CapabilityFlag, DeviceState, EventCode, WantedState
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase


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
    bench.need_capture()
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
    rows = captured(bench, start_us, bench.line.now_us())
    end_us = rows[-1].at_us + rows[-1].lasts_us
    after_ms = (end_us - answered_us) / US_PER_MS
    expect(after_ms <= SILENCE_MS, f"zero within {SILENCE_MS} ms", f"{after_ms:.1f} ms")
    lived_ms = (end_us - silent_us) / US_PER_MS
    expect(lived_ms > LEASE_MS // 2, "output until the lease ended", f"{lived_ms:.1f} ms")


@requirement("OUTPUT-06", "5", "pulses of two channels never coincide")
def never_together(bench: Bench) -> None:
    bench.need_capture()
    bench.need_channels(2)
    bench.begin(bench.programs.everyday())
    start_us = bench.line.now_us()
    bench.reach(DeviceState.RUNNING)
    bench.hold(700, pad(bench, *(SMALL_UA,) * bench.channel_count))
    bench.stop()
    bench.line.listen(WRITTEN_MS)
    rows = captured(bench, start_us, bench.line.now_us())
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
    return captured(bench, *made.window_us)


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
    expect_played(bench, channel)


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
    expect_played(
        bench, replace(programs.channel(), keyframes=frames, keyframe_cycle_ms=420), for_ms=900
    )


@requirement("OUTPUT-09", "5", "on/off cycles are played: ramps, plateau and rest")
def cycles(bench: Bench) -> None:
    """Ramp up within 1 ms more than the target has uA: early pulses fall just short of a step."""
    bench.need(CapabilityFlag.HOLDS_CYCLE)
    ramp_ms = played_ua(bench) + 1
    cycle = Cycle(ramp_up_ms=ramp_ms, on_ms=400, ramp_down_ms=100, off_ms=50, offset_ms=40)
    expect_played(bench, replace(bench.programs.channel(), cycle=cycle), for_ms=ramp_ms + 600)


@requirement("OUTPUT-10", "5", "unequal phases are played on their grid, with the gap between them")
def unequal_phases(bench: Bench) -> None:
    bench.need(CapabilityFlag.UNEQUAL_PHASES)
    programs = bench.programs
    unit_us = max(programs.phase_min_us, min(100, programs.phase_max_us // 4))
    if 4 * unit_us > programs.phase_max_us or bench.can.phases_max < 3:
        raise NotApplicable("its phases leave no room for one of four units")
    phases = (Phase(1, 1000), Phase(50, 0), Phase(4, -250))
    channel = ChannelProgram(phases, unit_us, max(programs.period_us, 10 * unit_us))
    expect_played(bench, channel)


@requirement("OUTPUT-11", "5", "each on-phase waits its pulse offset, and starts no pulse too long")
def offset_and_end(bench: Bench) -> None:
    """Let the last onset of an on-phase come one phase before its end: half a pulse too late."""
    bench.need(CapabilityFlag.HOLDS_CYCLE)
    programs = bench.programs
    period_us = programs.period_us
    on_ms = 21 * period_us // 2000
    offset_us = (on_ms * US_PER_MS - programs.phase_us) % period_us
    cycle = Cycle(ramp_up_ms=0, on_ms=on_ms, ramp_down_ms=0, off_ms=95)
    channel = replace(programs.channel(), cycle=cycle, pulse_offset_us=offset_us)
    expect_played(bench, channel, for_ms=700)


@requirement("OUTPUT-12", "5", "keyframes begin anew with the first onset of each on-phase")
def keyframes_in_cycles(bench: Bench) -> None:
    """Neither the pulse offset nor the cycle is a multiple of the keyframes' times."""
    bench.need(CapabilityFlag.HOLDS_CYCLE)
    bench.need(CapabilityFlag.HOLDS_KEYFRAMES)
    programs = bench.programs
    frames = (
        Keyframe(0, 1000, programs.phase_us, programs.period_us),
        Keyframe(80, 500, programs.phase_us, programs.period_us),
    )
    channel = replace(
        programs.channel(),
        cycle=Cycle(ramp_up_ms=0, on_ms=290, ramp_down_ms=0, off_ms=110),
        pulse_offset_us=35_000,
        keyframes=frames,
        keyframe_cycle_ms=170,
    )
    expect_played(bench, channel, for_ms=1000)
