"""Pulse programmes that a device can play by its own Capabilities."""

from __future__ import annotations

from dataclasses import replace

from firmware_protocol import limits
from firmware_protocol.messages import Capabilities, CapabilityFlag
from firmware_protocol.program import (
    ChannelProgram,
    Cycle,
    Keyframe,
    Phase,
    PulseProgram,
)

SYMMETRIC = (Phase(1, 1000), Phase(1, -1000))
PHASE_US = 200
PERIOD_US = 10_000


class Programs:
    """Make programmes that fit, and say how long their phases are."""

    def __init__(self, can: Capabilities) -> None:
        self.can = can
        self.phase_min_us = max(can.phase_min_us, limits.phase_duration_us.minimum)
        self.phase_max_us = min(can.phase_max_us, limits.phase_duration_us.maximum)
        self.phase_us = min(max(PHASE_US, self.phase_min_us), self.phase_max_us)
        self.period_us = max(PERIOD_US, can.pulse_period_min_us)

    def has(self, flag: CapabilityFlag) -> bool:
        """Tell whether the device has a capability."""
        return flag in self.can.flags

    def channel(self, phase_us: int | None = None, period_us: int | None = None) -> ChannelProgram:
        """Return one channel of equal and opposite phases."""
        return ChannelProgram(SYMMETRIC, phase_us or self.phase_us, period_us or self.period_us)

    def single(self, phase_us: int | None = None, period_us: int | None = None) -> PulseProgram:
        """Return a programme of one channel."""
        return PulseProgram((self.channel(phase_us, period_us),))

    def everyday(self, period_us: int | None = None) -> PulseProgram:
        """Return a programme of all channels, one after the other: 200 us at 100 Hz."""
        count = self.can.channel_count
        channel = self.channel(period_us=period_us)
        apart_us = channel.pulse_period_us // count
        return PulseProgram(
            tuple(replace(channel, pulse_offset_us=n * apart_us) for n in range(count))
        )

    def burst(self) -> PulseProgram:
        """Return 7 pulses, twice a second."""
        channel = replace(self.channel(), pulses_per_burst=7, burst_period_us=500_000)
        return PulseProgram((channel,))

    def cycle(self, on_ms: int, off_ms: int, ramp_ms: int = 0) -> PulseProgram:
        """Return an on/off cycle."""
        return PulseProgram((replace(self.channel(), cycle=Cycle(ramp_ms, on_ms, 0, off_ms)),))

    def keyframes(self) -> PulseProgram:
        """Return dense and disperse: 1000 permille at 100 Hz, 500 permille at 2 Hz."""
        frames = (
            Keyframe(0, 1000, self.phase_us, self.period_us),
            Keyframe(3000, 500, self.phase_us, 50 * self.period_us),
        )
        channel = replace(self.channel(), keyframes=frames, keyframe_cycle_ms=6000)
        return PulseProgram((channel,))

    def phases(self, count: int) -> PulseProgram:
        """Return pulses of an even number of phases, in equal and opposite pairs."""
        phases = SYMMETRIC * (count // 2)
        return PulseProgram((ChannelProgram(phases, self.phase_min_us, 10 * self.period_us),))
