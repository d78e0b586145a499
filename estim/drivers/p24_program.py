"""Say whether a P24 can play a programme, and make of each pulse what it is told."""

from __future__ import annotations

from collections.abc import Iterator

from estim.dialects import p24
from estim.dialects.p24 import ChannelUpdate, Point
from estim.drivers.player import HOLD_MIN_US, Train, shortest_part_ms
from firmware_protocol.errors import MessageError
from firmware_protocol.program import ChannelProgram, PulseProgram

BURST_PERIOD_MIN_US = 5_000
"""The shortest pulse period of a burst, so that a late update adds no pulse."""


def shortfalls(program: PulseProgram) -> tuple[str, ...]:
    """Return one sentence for each thing in a programme that cannot be played on a P24."""
    found = []
    load_ppm = 0
    for number, channel in enumerate(program.channels, start=1):
        worst_ppm = 0
        for setting in channel.settings:
            train = Train(
                channel.grid_ua(p24.CURRENT_STEP_UA), setting.unit_us, setting.pulse_period_us
            )
            try:
                update = channel_update(channel, train)
                p24.pack_update((update,))
                worst_ppm = max(worst_ppm, p24.load_ppm(update))
            except MessageError as error:
                found.append(f"channel {number}: {error}")
        found += [f"channel {number}: {words}" for words in _too_short(channel)]
        load_ppm += worst_ppm
    if load_ppm >= p24.LOAD_MAX_PPM:
        found.append("all channels together take more than the device's time")
    return tuple(dict.fromkeys(found))


def remarks(program: PulseProgram) -> tuple[str, ...]:
    """Return one sentence for each thing that is played otherwise than written, safely."""
    found = []
    for number, channel in enumerate(program.channels, start=1):
        for setting in channel.settings:
            period_us = played_period_us(setting.pulse_period_us)
            if period_us != setting.pulse_period_us:
                found.append(
                    f"channel {number}: a pulse period of {setting.pulse_period_us} us is played "
                    f"as {period_us} us ({1_000_000 / period_us:.4g} Hz)"
                )
        for what in _played_by_host(channel):
            found.append(f"channel {number}: this computer plays {what}, to about 5 ms")
        if channel.pulse_offset_us:
            found.append(f"channel {number}: the device itself keeps pulses of channels apart")
    return tuple(dict.fromkeys(found))


def channel_update(channel: ChannelProgram, train: Train) -> ChannelUpdate:
    """Return a train as the device is told it.

    Raises:
        MessageError: a gap or a period is nothing that the device has.
    """
    currents = channel.phase_currents_ua(train.amplitude_ua, p24.CURRENT_STEP_UA)
    points = [
        point
        for phase, current_ua in zip(channel.phases, currents, strict=True)
        for point in _points(channel.phase_us(phase, train.unit_us), current_ua)
    ]
    return ChannelUpdate(tuple(points), played_period_us(train.pulse_period_us))


def played_period_us(pulse_period_us: int) -> int:
    """Return the period on the device's grid, rounded up: never more pulses than approved."""
    for step_us, longest_us in (
        (p24.FINE_PERIOD_STEP_US, p24.FINE_PERIOD_MAX_US),
        (p24.PERIOD_STEP_US, p24.PERIOD_MAX_US),
    ):
        period_us = -(-pulse_period_us // step_us) * step_us
        if period_us <= longest_us:
            return period_us
    return pulse_period_us  # more than it can hold: refused where it is packed


def _points(duration_us: int, current_ua: int) -> Iterator[Point]:
    """Cut a phase into points; only a long gap needs more than one."""
    while duration_us > p24.POINT_MAX_US:
        part_us = min(p24.POINT_MAX_US, duration_us - p24.POINT_MIN_US)
        yield Point(part_us, current_ua)
        duration_us -= part_us
    yield Point(duration_us, current_ua)


def _too_short(channel: ChannelProgram) -> Iterator[str]:
    """Tell what is too short to be played by updates from the host."""
    if channel.pulses_per_burst:
        period_us = min(setting.pulse_period_us for setting in channel.settings)
        if period_us < BURST_PERIOD_MIN_US:
            yield (
                f"bursts with a pulse period of {period_us} us, which this computer cannot time: "
                f"at least {BURST_PERIOD_MIN_US} us"
            )
    shortest_ms = shortest_part_ms(channel)
    if shortest_ms is not None and shortest_ms * 1000 < HOLD_MIN_US:
        yield (
            f"a part of {shortest_ms} ms, which this computer cannot time: at least "
            f"{HOLD_MIN_US // 1000} ms"
        )


def _played_by_host(channel: ChannelProgram) -> Iterator[str]:
    if channel.pulses_per_burst:
        yield "the bursts"
    if channel.cycle is not None:
        yield "the on/off cycle"
    if channel.keyframes:
        yield "the modulation"
