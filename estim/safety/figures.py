"""What a programme delivers at an amplitude, in exact integers.

Rules:
1. Every figure is the worst over all settings (keyframes) of a channel, at the quantised currents that would really flow.
2. Sums over the worst sliding second are upper bounds: off time does not average in, bursts do.

With currents in uA and times in us, a charge is in pC, and a sum of squares in uA2 us; the RMS over one second is the
square root of that sum / 1e6 (for example 4 mA for 100 Hz, 2 x 200 us, 20 mA).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

from firmware_protocol.program import FULL_PERMILLE, ChannelProgram, Keyframe

US_PER_S = 1_000_000
STANDARD_LOAD_OHM = 500


@dataclass(frozen=True, slots=True)
class Figures:
    """The worst of what one channel delivers at a target amplitude.

    Attributes:
        amplitude_ua: the target asked for.
        peak_ua: largest phase current after quantisation.
        phase_charges: every (charge in pC, duration in us) of an active phase that occurs.
        net_charge_pc: largest absolute net charge of a pulse.
        second_square: sum of squares over the worst second, uA2 us.
        second_absolute_pc: absolute charge over the worst second.
        pulse_square: largest sum of squares of one pulse, uA2 us.
        phase_min_us: shortest active phase.
        phase_max_us: longest active phase.
        pulse_max_us: longest pulse.
    """

    amplitude_ua: int
    peak_ua: int
    phase_charges: tuple[tuple[int, int], ...]
    net_charge_pc: int
    second_square: int
    second_absolute_pc: int
    pulse_square: int
    phase_min_us: int
    phase_max_us: int
    pulse_max_us: int

    @property
    def rms_ua(self) -> int:
        """Return the RMS current over the worst second, rounded up."""
        return ceil_sqrt(-(-self.second_square // US_PER_S))

    @property
    def average_ua(self) -> int:
        """Return the average absolute current over the worst second, rounded up."""
        return -(-self.second_absolute_pc // US_PER_S)

    @property
    def phase_charge_pc(self) -> int:
        """Return the largest charge of one phase."""
        return max(charge_pc for charge_pc, _ in self.phase_charges)

    @property
    def pulse_energy_uj(self) -> int:
        """Return the energy of the largest pulse into 500 ohm, rounded up."""
        return -(-self.pulse_square * STANDARD_LOAD_OHM // 10**12)


def ceil_sqrt(square: int) -> int:
    """Return the least integer whose square is at least `square`."""
    root = isqrt(square)
    return root if root * root == square else root + 1


def pulses_in_second(channel: ChannelProgram, pulse_period_us: int) -> int:
    """Return the most pulse onsets that any half-open second can hold."""
    if not channel.pulses_per_burst:
        return -(-US_PER_S // pulse_period_us)
    whole, rest_us = divmod(US_PER_S, channel.burst_period_us)
    rest_count = min(channel.pulses_per_burst, -(-rest_us // pulse_period_us))
    return whole * channel.pulses_per_burst + rest_count


@lru_cache(maxsize=4096)
def figures(channel: ChannelProgram, amplitude_ua: int, amplitude_step_ua: int) -> Figures:
    """Compute the worst of a channel at a target amplitude."""
    pulses = [
        _Pulse.at(channel, setting, amplitude_ua, amplitude_step_ua) for setting in channel.settings
    ]
    largest_square = max(pulse.square for pulse in pulses)
    largest_absolute_pc = max(pulse.absolute_pc for pulse in pulses)
    if len(pulses) == 1:
        count = pulses_in_second(channel, pulses[0].period_us)
        second_square = count * largest_square
        second_absolute_pc = count * largest_absolute_pc
    elif channel.pulses_per_burst:
        count = pulses_in_second(channel, min(pulse.period_us for pulse in pulses))
        second_square = (count + 1) * largest_square
        second_absolute_pc = (count + 1) * largest_absolute_pc
    else:
        counts = [pulses_in_second(channel, pulse.period_us) for pulse in pulses]
        second_square = largest_square + max(
            count * pulse.square for count, pulse in zip(counts, pulses, strict=True)
        )
        second_absolute_pc = largest_absolute_pc + max(
            count * pulse.absolute_pc for count, pulse in zip(counts, pulses, strict=True)
        )
    durations_us = [duration_us for pulse in pulses for _, duration_us in pulse.charges]
    return Figures(
        amplitude_ua=amplitude_ua,
        peak_ua=max(pulse.peak_ua for pulse in pulses),
        phase_charges=tuple(sorted({charge for pulse in pulses for charge in pulse.charges})),
        net_charge_pc=max(abs(pulse.net_pc) for pulse in pulses),
        second_square=second_square,
        second_absolute_pc=second_absolute_pc,
        pulse_square=largest_square,
        phase_min_us=min(durations_us),
        phase_max_us=max(durations_us),
        pulse_max_us=max(pulse.duration_us for pulse in pulses),
    )


@dataclass(frozen=True, slots=True)
class _Pulse:
    """One pulse of one setting, as it would be delivered."""

    peak_ua: int
    charges: tuple[tuple[int, int], ...]
    net_pc: int
    square: int
    absolute_pc: int
    duration_us: int
    period_us: int

    @classmethod
    def at(
        cls, channel: ChannelProgram, setting: Keyframe, amplitude_ua: int, amplitude_step_ua: int
    ) -> _Pulse:
        scaled_ua = amplitude_ua * setting.amplitude_permille // FULL_PERMILLE
        scaled_ua -= scaled_ua % channel.grid_ua(amplitude_step_ua)
        currents = channel.phase_currents_ua(scaled_ua, amplitude_step_ua)
        durations = [channel.phase_us(phase, setting.unit_us) for phase in channel.phases]
        active = [
            (current, duration)
            for phase, current, duration in zip(channel.phases, currents, durations, strict=True)
            if not phase.is_gap
        ]
        return cls(
            peak_ua=max(abs(current) for current in currents),
            charges=tuple((abs(current) * duration, duration) for current, duration in active),
            net_pc=sum(current * duration for current, duration in active),
            square=sum(current * current * duration for current, duration in active),
            absolute_pc=sum(abs(current) * duration for current, duration in active),
            duration_us=sum(durations),
            period_us=setting.pulse_period_us,
        )
