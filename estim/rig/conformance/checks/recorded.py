"""What an oscilloscope's recording shows of one session, in two trains of pulses on channel 1.

The first comes to the target, is lowered, and ended by Stop; the second is lowered too, and then
the host falls silent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from estim.rig.conformance.bench import AHEAD_MS, HOST_MS, LEASE_MS, Bench
from estim.rig.conformance.checks.rising import LOWERED_UA, Delivery, deliver, pad
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.line import US_PER_MS
from estim.rig.conformance.played import CLOCK_PPM
from estim.rig.conformance.recording import GAIN_PERCENT, TRAIN_GAP_MS, Recorder, Recording, Seen
from estim.rig.conformance.requirement import Check, NotTestable, expect
from firmware_protocol import limits
from firmware_protocol.messages import DeviceState, EventCode, WantedState

STOPPED_MS = 20
SILENCE_MS = limits.zero_after_silence_ms.maximum
SECOND_PERCENT = 60
SECOND_MS = 1500
LOWERED_MS = 300
LOUD_SHARE = 2
"""Pulses of half the target and more are judged to the microsecond: noise hardly moves them."""


@dataclass(frozen=True)
class Silence:
    """The second train, as the host drove it; on this computer's clock."""

    lowered_us: int
    answered_us: int
    silent_us: int
    silence_answered_us: int


@dataclass(frozen=True)
class Played:
    """The session and its recording."""

    first: Delivery
    second: Silence
    recording: Recording


def judged_by(check: Callable[[Bench, Recorder], None]) -> Callable[[Check], Check]:
    """Judge a requirement by the recording, where there is a recorder."""

    def chosen(otherwise: Check) -> Check:
        def judge(bench: Bench) -> None:
            if bench.recorder is None:
                otherwise(bench)
            else:
                check(bench, bench.recorder)

        return judge

    return chosen


def phases(bench: Bench, recorder: Recorder) -> None:
    """Judge form, polarity and charge of the louder pulses."""
    played = _played(bench, recorder)
    recording, lasts_us = played.recording, bench.programs.phase_us
    allowed_us = recording.edge_us
    expect(not recording.odd_count, "pulses of two phases alone", f"{recording.odd_count} others")
    expect(
        not recording.is_inverted, "first positive, then negative", "the reverse, or leads swapped"
    )
    loud = [
        pulse
        for train in recording.trains
        for pulse in train
        if pulse.amplitude_ua >= played.first.target_ua / LOUD_SHARE
    ]
    for pulse in loud:
        found = (*pulse.lasts_us, pulse.gap_us)
        is_right = all(
            abs(seen - wanted) <= allowed_us
            for seen, wanted in zip(found, (lasts_us, lasts_us, 0), strict=True)
        )
        expect(
            is_right,
            f"two phases of {lasts_us} us, one behind the other (+-{allowed_us:g} us)",
            ", ".join(f"{each:.1f}" for each in found),
        )
        allowed_pc = allowed_us * pulse.amplitude_ua
        expect(
            abs(pulse.net_pc) <= allowed_pc,
            f"no net charge (+-{allowed_pc:.0f} pC)",
            f"{pulse.net_pc:.0f} pC",
        )


def period(bench: Bench, recorder: Recorder) -> None:
    """Judge the time from onset to onset."""
    recording, period_us = _played(bench, recorder).recording, bench.programs.period_us
    allowed_us = recording.edge_us + period_us * CLOCK_PPM / 1_000_000
    for train in recording.trains:
        for earlier, later in pairwise(train):
            apart_us = later.onset_us - earlier.onset_us
            expect(
                abs(apart_us - period_us) <= allowed_us,
                f"{period_us} us from onset to onset (+-{allowed_us:g} us)",
                f"{apart_us:.1f} us",
            )


def amplitude(bench: Bench, recorder: Recorder) -> None:
    """Judge the highest pulse, and those after the target was lowered."""
    played = _played(bench, recorder)
    target_ua, step_ua = played.first.target_ua, bench.can.amplitude_step_ua
    train, lowered = _first(played)
    highest_ua = max(pulse.amplitude_ua for pulse in train)
    allowed_ua = target_ua * GAIN_PERCENT / 100
    expect(
        target_ua - step_ua - allowed_ua < highest_ua <= target_ua + allowed_ua,
        f"{target_ua} uA, give or take {GAIN_PERCENT} %",
        f"{highest_ua:.0f} uA",
    )
    most_ua = LOWERED_UA * (100 + GAIN_PERCENT) / 100
    above = [pulse for pulse in train[lowered:] if pulse.amplitude_ua > most_ua]
    expect(not above, f"at most {LOWERED_UA} uA once the target was lowered", f"{len(above)} above")


def zero_after_stop(bench: Bench, recorder: Recorder) -> None:
    """Judge the end of the first train."""
    played = _played(bench, recorder)
    train, lowered = _first(played)
    earliest_us = played.first.lowered_us - train[lowered].onset_us
    after_ms = (train[-1].end_us + earliest_us - played.first.stopped_us) / US_PER_MS
    expect(
        after_ms <= STOPPED_MS + HOST_MS, f"zero within {STOPPED_MS} ms (+{HOST_MS})",
        f"{after_ms:.1f} ms, or later",
    )  # fmt: skip


def zero_after_silence(bench: Bench, recorder: Recorder) -> None:
    """Judge the end of the second train."""
    played = _played(bench, recorder)
    if len(played.recording.trains) < 2:
        raise NotTestable("the recording ends before the second train of pulses, or it is one")
    train, second = played.recording.trains[1], played.second
    lowered = _lowered(train)
    open_us = bench.programs.period_us + AHEAD_MS * US_PER_MS
    earliest_us = second.lowered_us - train[lowered].onset_us
    latest_us = second.answered_us + open_us - train[lowered].onset_us
    after_ms = (train[-1].end_us + earliest_us - second.silence_answered_us) / US_PER_MS
    expect(after_ms <= SILENCE_MS, f"zero within {SILENCE_MS} ms", f"{after_ms:.1f} ms, or later")
    lived_ms = (train[-1].end_us + latest_us - second.silent_us) / US_PER_MS
    expect(lived_ms > LEASE_MS // 2, "output until the lease ended", f"{lived_ms:.1f} ms")


def _played(bench: Bench, recorder: Recorder) -> Played:
    """Return the session and its recording, made the first time they are asked for."""
    made = bench.scenarios.get("recorded")
    if isinstance(made, NotTestable):
        raise NotTestable(str(made))
    if isinstance(made, Played):
        return made
    bench.begin()
    recorder.begin(bench.line)
    first = deliver(bench)
    channel = bench.programs.everyday().channels[0]
    bench.line.listen(2 * TRAIN_GAP_MS + 3 * channel.pulse_period_us // US_PER_MS)
    second = _fall_silent(bench, first.target_ua * SECOND_PERCENT // 100)
    bench.begin()
    try:
        recording = recorder.take(bench.line, channel, first.target_ua, bench.can.amplitude_step_ua)
    except NotTestable as reason:
        bench.scenarios["recorded"] = reason
        raise
    played = bench.scenarios["recorded"] = Played(first, second, recording)
    return played


def _fall_silent(bench: Bench, target_ua: int) -> Silence:
    line = bench.line
    step_ua = bench.can.amplitude_step_ua
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    bench.hold(SECOND_MS, pad(bench, target_ua // step_ua * step_ua))
    lowered_us = line.now_us()
    bench.targets_ua = pad(bench, LOWERED_UA)
    bench.drive(bench.drive_message(WantedState.RUNNING, bench.targets_ua))
    answered_us = line.now_us()
    bench.hold(LOWERED_MS)
    mark, silent_us = line.mark(), line.now_us()
    bench.drive(bench.drive_message(WantedState.RUNNING, bench.targets_ua))
    silence = Silence(lowered_us, answered_us, silent_us, line.now_us())
    bench.wait_event(mark, EventCode.FAULT_LATCHED, LEASE_MS + ANSWER_MS)
    return silence


def _first(played: Played) -> tuple[tuple[Seen, ...], int]:
    """Return the first train, and which of its pulses is the first lowered one."""
    train = played.recording.trains[0]
    highest_ua = max(pulse.amplitude_ua for pulse in train)
    least_ua = played.first.target_ua * (SECOND_PERCENT + 100) / 200
    if highest_ua < least_ua:
        raise NotTestable(f"no pulse of {least_ua:.0f} uA: it began late, or the load is another")
    return train, _lowered(train)


def _lowered(train: tuple[Seen, ...]) -> int:
    """Return the index of the first pulse after the target was lowered."""
    peaks_ua = [pulse.amplitude_ua for pulse in train]
    half_ua = (max(peaks_ua) + LOWERED_UA) / 2
    last_high = max(at for at, peak_ua in enumerate(peaks_ua) if peak_ua > half_ua)
    if last_high + 1 == len(train):
        raise NotTestable("no pulse shows that the target was lowered: the recording ends before")
    return last_high + 1
