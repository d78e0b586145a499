"""A programme played on channel 1 and held against the capture, pulse by pulse.

Rules:
1. When RUNNING began is told by the pulses alone: a device says it by a message, and messages take
   as long as their line. Where several beginnings are possible, one of them must explain all.
2. What differs first is told, in times since RUNNING began.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from estim.rig.conformance.bench import HOST_MS, Bench
from estim.rig.conformance.capture import Row
from estim.rig.conformance.expected import Pulse, pulses
from estim.rig.conformance.line import US_PER_MS
from estim.rig.conformance.requirement import NotTestable, expect, fail
from firmware_protocol.messages import DeviceState, WantedState
from firmware_protocol.program import ChannelProgram, PulseProgram

EDGE_US = 1
GAP_US = 200
"""No gap within the pulses played here is longer, and no two pulses are nearer."""
BEGUN_US = 2_000
CLOCK_PPM = 100
PLAYED_UA = 700
PLAYED_MS = 4000
WRITTEN_MS = 400


class Difference(NamedTuple):
    """What differs first: behind so many pulses that are right, since RUNNING began."""

    right_count: int
    expected: str
    seen: str


def played_ua(bench: Bench) -> int:
    """Return the amplitude that is played, on the device's steps."""
    return PLAYED_UA - PLAYED_UA % bench.can.amplitude_step_ua


def captured(bench: Bench, start_us: int, end_us: int) -> list[Row]:
    """Return the rows of a stretch of time, of which there must be some.

    Raises:
        NotTestable: there are none.
    """
    capture = bench.need_capture()
    rows = capture.rows(start_us, end_us)
    if not rows:
        raise NotTestable(
            f"the capture has no row from {start_us} to {end_us} us of this computer's monotonic "
            f"clock (CLOCK_MONOTONIC); {capture.span()}"
        )
    return rows


def expect_played(bench: Bench, channel: ChannelProgram, for_ms: int = 1000) -> None:
    """Expect the pulses of chapter 5 in the capture, once the setpoint has come to its target."""
    bench.need_capture()
    line, target_ua = bench.line, played_ua(bench)
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
    rows = captured(bench, begun_us, line.now_us())
    channels = sorted({row.channel for row in rows})
    expect(channels == [1], "current on channel 1 alone", f"on channels {channels}")
    found = _pulses(rows)
    step_ua = bench.can.amplitude_step_ua
    wanted = list(pulses(channel, step_ua, target_ua, line.now_us() - begun_us))
    seen = [pulse for pulse in found if from_us <= pulse.onset_us < to_us]
    differences = []
    for zero_us in _beginnings_us(
        [found[0], *seen[:1], found[-1]], wanted, begun_us - BEGUN_US, started_us + BEGUN_US
    ):
        due = [
            Pulse(pulse.onset_us + zero_us, pulse.phases)
            for pulse in wanted
            if from_us <= pulse.onset_us + zero_us < to_us
        ]
        difference = _first_difference(seen, due, zero_us)
        if difference is None:
            return
        differences.append(difference)
    if not differences:
        fail(
            "pulses that fit a start when the device said RUNNING",
            f"a last pulse {found[-1].onset_us - begun_us} us after the Drive",
        )
    worst = max(differences, key=lambda difference: difference.right_count)
    fail(worst.expected, worst.seen)


def _first_difference(seen: list[Pulse], due: list[Pulse], zero_us: int) -> Difference | None:
    """Return what differs first, None where each pulse is at its time, as it must be."""
    for count, (pulse, expected) in enumerate(zip_longest(seen, due)):
        if pulse is None:
            return Difference(count, f"a pulse {_since(expected, zero_us)}", "none")
        if expected is None:
            return Difference(count, f"no pulse {_since(pulse, zero_us)}", "one")
        allowed_us = EDGE_US + (expected.onset_us - zero_us) * CLOCK_PPM // 1_000_000
        if abs(pulse.onset_us - expected.onset_us) > allowed_us:
            text = f"a pulse {_since(expected, zero_us)} (+-{allowed_us})"
            if count:
                text += f", {expected.onset_us - due[count - 1].onset_us} us after the one before"
            return Difference(count, text, f"the next {_since(pulse, zero_us)}")
        if not _is_alike(pulse, expected):
            return Difference(
                count,
                f"{_words(expected)}, {_since(expected, zero_us)}",
                _words(pulse),
            )
    return None


def _is_alike(pulse: Pulse, expected: Pulse) -> bool:
    return len(pulse.phases) == len(expected.phases) and all(
        abs(is_us - be_us) <= EDGE_US and is_ua == be_ua and abs(lasts_us - last_us) <= EDGE_US
        for (is_us, is_ua, lasts_us), (be_us, be_ua, last_us) in zip(
            pulse.phases, expected.phases, strict=True
        )
    )


def _since(pulse: Pulse, zero_us: int) -> str:
    return f"{pulse.onset_us - zero_us} us after RUNNING began"


def _words(pulse: Pulse) -> str:
    return "phases of " + ", ".join(
        f"{current_ua:+d} uA for {lasts_us} us at {at_us} us"
        for at_us, current_ua, lasts_us in pulse.phases
    )


def _pulses(rows: list[Row]) -> list[Pulse]:
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
    anchors: Sequence[Pulse], wanted: list[Pulse], earliest_us: int, latest_us: int
) -> list[int]:
    """Return when RUNNING may have begun on the capture's clock: a pulse finds its place."""
    return sorted(
        {
            zero_us
            for anchor in anchors
            for pulse in wanted
            if earliest_us <= (zero_us := anchor.onset_us - pulse.onset_us) <= latest_us
        }
    )
