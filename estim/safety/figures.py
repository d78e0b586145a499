"""What a programme delivers at an amplitude, in exact integers.

Rules:
1. Every figure is the worst over all settings (keyframes) of a channel, at the quantised
   currents that would really flow.
2. Sums over the worst sliding second are upper bounds, exact where a channel has one setting and
   no cycle: bursts average in, off time does not.
3. Each on-phase begins anew: what it adds where the off time is shorter than the spacing of
   pulses, or of bursts, is counted.

With currents in uA and times in us, a charge is in pC, and a sum of squares in uA2 us; the RMS over
one second is the square root of that sum / 1e6 (for example 4 mA for 100 Hz, 2 x 200 us, 20 mA).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

from firmware_protocol.limits import PHASE_CHARGE_SLOPE_PC_PER_US as _SLOPE
from firmware_protocol.limits import RAMP_STEP_MS, cycle_ramp_up_ms
from firmware_protocol.program import FULL_PERMILLE, US_PER_MS, ChannelProgram, Keyframe

US_PER_S = 1_000_000
STANDARD_LOAD_OHM = 500


@dataclass(frozen=True, slots=True)
class Figures:
    """The worst of what one channel delivers at a target amplitude.

    Attributes:
        amplitude_ua: the target asked for.
        peak_ua: largest phase current after quantisation.
        phase_charges: (charge in pC, duration in us) of the stretches nearest to a limit of charge.
        net_charge_pc: largest absolute net charge of a pulse.
        second_square: sum of squares over the worst second, uA2 us.
        second_absolute_pc: absolute charge over the worst second.
        pulse_square: largest sum of squares of one pulse, uA2 us.
        phase_min_us: shortest active phase.
        phase_max_us: longest polarity run.
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
        mean_square = -(-self.second_square // US_PER_S)
        return isqrt(mean_square - 1) + 1 if mean_square else 0

    @property
    def average_ua(self) -> int:
        """Return the average absolute current over the worst second, rounded up."""
        return -(-self.second_absolute_pc // US_PER_S)

    @property
    def pulse_energy_uj(self) -> int:
        """Return the energy of the largest pulse into 500 ohm, rounded up."""
        return -(-self.pulse_square * STANDARD_LOAD_OHM // 10**12)


@lru_cache(maxsize=256)
def pulses_in_second(channel: ChannelProgram, pulse_period_us: int) -> int:
    """Return the most pulse onsets that any half-open second can hold.

    `pulse_period_us` is the shortest period that may hold within it.
    """
    spaced = -(-US_PER_S // pulse_period_us) + _restarts_in_second(channel, pulse_period_us)
    per_burst, burst_period_us = channel.pulses_per_burst, channel.burst_period_us
    if not per_burst:
        return spaced
    longest_us = max(setting.pulse_period_us for setting in channel.settings)
    in_bursts = 0
    # The second begins after `missed` pulses of a burst, spread out as far as they can be; where
    # all bursts are alike that gains nothing.
    for missed in range(per_burst if pulse_period_us < longest_us else 1):
        bursts, rest_us = divmod(US_PER_S + missed * longest_us, burst_period_us)
        last = min(per_burst, -(-rest_us // pulse_period_us))
        in_bursts = max(in_bursts, bursts * per_burst - missed + last)
    return min(spaced, in_bursts + _restarts_in_second(channel, burst_period_us) * per_burst)


def _restarts_in_second(channel: ChannelProgram, spacing_us: int) -> int:
    """Return how many on-phases of a second may begin sooner than `spacing_us` after an onset."""
    if channel.cycle is None:
        return 0
    pulse_us = min(channel.pulse_us(setting.unit_us) for setting in channel.settings)
    if pulse_us + channel.cycle.off_ms * US_PER_MS + channel.pulse_offset_us >= spacing_us:
        return 0
    return -(-US_PER_S // (channel.cycle.total_ms * US_PER_MS))


def figures(channel: ChannelProgram, amplitude_ua: int, amplitude_step_ua: int) -> Figures:
    """Compute the worst of a channel at a target amplitude."""
    pulses = [
        _Pulse.at(channel, setting, amplitude_ua, amplitude_step_ua) for setting in channel.settings
    ]
    return Figures(
        amplitude_ua=amplitude_ua,
        peak_ua=max(pulse.peak_ua for pulse in pulses),
        phase_charges=tuple(sorted({charge for pulse in pulses for charge in pulse.charges})),
        net_charge_pc=max(abs(pulse.net_pc) for pulse in pulses),
        second_square=_worst_second(channel, [(p.period_us, p.square) for p in pulses]),
        second_absolute_pc=_worst_second(channel, [(p.period_us, p.absolute_pc) for p in pulses]),
        pulse_square=max(pulse.square for pulse in pulses),
        phase_min_us=min(pulse.shortest_us for pulse in pulses),
        phase_max_us=max(pulse.longest_us for pulse in pulses),
        pulse_max_us=max(pulse.duration_us for pulse in pulses),
    )


def _worst_stretches(flows: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield (charge, duration) of the stretches of a pulse, a ring, nearest to either charge rule.

    What flows back is taken off. Where time excuses charge, what flows weaker than it excuses is
    left out, so that no weak phase excuses a strong one.
    """
    for sign, slope in ((1, 0), (-1, 0), (1, _SLOPE), (-1, _SLOPE)):
        worst = charge_pc = counted_us = 0
        stretch = (0, 0)
        for current_ua, duration_us in flows * 2:
            forward_ua = sign * current_ua
            if forward_ua < 0 or forward_ua > slope:
                charge_pc += forward_ua * duration_us
                counted_us += duration_us if forward_ua > 0 else 0
            if charge_pc <= slope * counted_us:
                charge_pc = counted_us = 0
            elif charge_pc - slope * counted_us > worst:
                worst, stretch = charge_pc - slope * counted_us, (charge_pc, counted_us)
        yield stretch


def _worst_second(channel: ChannelProgram, settings: list[tuple[int, int]]) -> int:
    """Return the most of a quantity in any second, over (period, quantity of a pulse)."""
    largest = max(quantity for _, quantity in settings)
    if len(settings) == 1 or channel.pulses_per_burst:
        count = pulses_in_second(channel, min(period_us for period_us, _ in settings))
        return (count + (len(settings) > 1)) * largest
    extra = 1 + _restarts_in_second(channel, max(period_us for period_us, _ in settings))
    return extra * largest + max(
        -(-US_PER_S // period_us) * quantity for period_us, quantity in settings
    )


def _ring(channel: ChannelProgram) -> list[tuple[Keyframe, Keyframe, int]]:
    """Return each setting with the next one, and the ms of ramp that its hold counts for.

    A hold counts for `RAMP_STEP_MS` at most, however long the next step is awaited.
    """
    frames = channel.settings
    ends_ms = [*(frame.at_ms for frame in frames[1:]), channel.keyframe_cycle_ms]
    counted_ms = [min(end - f.at_ms, RAMP_STEP_MS) for f, end in zip(frames, ends_ms, strict=True)]
    return list(zip(frames, frames[1:] + frames[:1], counted_ms, strict=True))


def largest_charge_rise(channel: ChannelProgram) -> int:
    """Return how much of the largest charge of a pulse a modulation adds at once, in permille.

    Steps add up, less what a ramp would add in the time between them; rounded up.
    """
    largest = max(frame.amplitude_permille * frame.unit_us for frame in channel.settings)
    ramp_ms = cycle_ramp_up_ms.minimum
    worst = risen = 0
    for frame, following, counted_ms in _ring(channel) * 2:
        charge = following.amplitude_permille * following.unit_us
        step = charge - frame.amplitude_permille * frame.unit_us
        risen = max(0, risen - largest * counted_ms) + step * ramp_ms
        worst = max(worst, risen)
    return -(-FULL_PERMILLE * worst // (largest * ramp_ms))


def shortest_ramp_up(channel: ChannelProgram, least_ms: int) -> tuple[int, str]:
    """Return how fast the amplitude may come from nothing, in ms to the whole of it, and how.

    A burst of more than `least_ms` is an on-phase without a ramp.
    """
    ramps = [(channel.cycle.ramp_up_ms if channel.cycle else least_ms, "at least")]
    for frame, following, counted_ms in _ring(channel):
        rise = following.amplitude_permille - frame.amplitude_permille
        if rise > 0:
            ramps.append((FULL_PERMILLE * counted_ms // rise, "at least, in a modulation too"))
    period_us = max(frame.pulse_period_us for frame in channel.settings)
    if (channel.pulses_per_burst - 1) * period_us > least_ms * US_PER_MS:
        ramps.append((0, "at least, a burst is too long without"))
    return min(ramps)


@dataclass(frozen=True, slots=True)
class _Pulse:
    """One pulse of one setting, as it would be delivered."""

    peak_ua: int
    charges: frozenset[tuple[int, int]]
    shortest_us: int
    longest_us: int
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
        delivered_ua = channel.deliverable_ua(scaled_ua, amplitude_step_ua)
        currents = channel.phase_currents_ua(delivered_ua, amplitude_step_ua)
        durations = [channel.phase_us(phase, setting.unit_us) for phase in channel.phases]
        pairs = list(zip(currents, durations, strict=True))
        return cls(
            peak_ua=max(abs(current) for current in currents),
            charges=frozenset(_worst_stretches(pairs)),
            shortest_us=min(durations[i] for run in channel.polarity_runs for i in run),
            longest_us=max(sum(durations[i] for i in run) for run in channel.polarity_runs),
            net_pc=sum(current * duration for current, duration in pairs),
            square=sum(current * current * duration for current, duration in pairs),
            absolute_pc=sum(abs(current) * duration for current, duration in pairs),
            duration_us=sum(durations),
            period_us=setting.pulse_period_us,
        )
