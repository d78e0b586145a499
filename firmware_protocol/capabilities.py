"""What a device lacks to play a pulse programme, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from firmware_protocol.messages import Capabilities, CapabilityFlag
from firmware_protocol.program import ChannelProgram, PulseProgram


def shortfalls(program: PulseProgram, capabilities: Capabilities) -> tuple[str, ...]:
    """Return one sentence for each thing that a device cannot do for a well-formed programme.

    Empty means that the device can play it. Channels are numbered from 1, as people number them.
    """
    return tuple(_all_shortfalls(program, capabilities))


def _all_shortfalls(program: PulseProgram, capabilities: Capabilities) -> Iterator[str]:
    if len(program.channels) > capabilities.channel_count:
        yield (
            f"the programme needs {len(program.channels)} channels, "
            f"the device has {capabilities.channel_count}"
        )
    for number, channel in enumerate(program.channels, start=1):
        for shortfall in _pulse_shortfalls(channel, capabilities):
            yield f"channel {number}: {shortfall}"
        for shortfall in _pattern_shortfalls(channel, capabilities):
            yield f"channel {number}: {shortfall}"


def _pulse_shortfalls(channel: ChannelProgram, capabilities: Capabilities) -> Iterator[str]:
    """Tell what is missing for single pulses, at the worst of the channel's settings."""
    if len(channel.phases) > capabilities.phases_max:
        yield (
            f"a pulse of {len(channel.phases)} phases, the device plays at most "
            f"{capabilities.phases_max}"
        )
    durations_us = [
        channel.phase_us(phase, setting.unit_us)
        for setting in channel.settings
        for phase in channel.phases
        if not phase.is_gap
    ]
    if min(durations_us) < capabilities.phase_min_us:
        yield (
            f"a phase of {min(durations_us)} us, the device's shortest is "
            f"{capabilities.phase_min_us} us"
        )
    if max(durations_us) > capabilities.phase_max_us:
        yield (
            f"a phase of {max(durations_us)} us, the device's longest is "
            f"{capabilities.phase_max_us} us"
        )
    pulse_period_us = min(setting.pulse_period_us for setting in channel.settings)
    if pulse_period_us < capabilities.pulse_period_min_us:
        yield (
            f"a pulse period of {pulse_period_us} us, the device's shortest is "
            f"{capabilities.pulse_period_min_us} us"
        )
    if not channel.is_paired and CapabilityFlag.UNEQUAL_PHASES not in capabilities.flags:
        yield "phases of unequal size, the device plays only equal and opposite ones"


def _pattern_shortfalls(channel: ChannelProgram, capabilities: Capabilities) -> Iterator[str]:
    """Tell what is missing to repeat and modulate pulses without the host."""
    if channel.pulses_per_burst and CapabilityFlag.HOLDS_BURST not in capabilities.flags:
        yield "bursts, which the device cannot time by itself"
    if channel.cycle is not None and CapabilityFlag.HOLDS_CYCLE not in capabilities.flags:
        yield "an on/off cycle, which the device cannot time by itself"
    if not channel.keyframes:
        return
    if CapabilityFlag.HOLDS_KEYFRAMES not in capabilities.flags:
        yield "a modulation, which the device cannot time by itself"
    elif len(channel.keyframes) > capabilities.keyframes_max:
        yield (
            f"a modulation of {len(channel.keyframes)} keyframes, the device holds at most "
            f"{capabilities.keyframes_max}"
        )
