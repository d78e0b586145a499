"""What a channel is to deliver, taken from its quantised programme.

Rules:
1. The programme decides, never the wish: an amplitude off the grid of the device is refused.
2. A lobe is a run of adjacent phases of one sign: what a capture shows as one excursion. Its steps
   are the phases. Where a capture shows steps of equal current, they are still told apart, by time.
3. Where a programme modulates, what is expected of a pulse follows from its place in the cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estim.errors import LimitRefused
from estim.prepare.session import Prepared, target_reasons
from estim.units import US_PER_MS, US_PER_S
from firmware_protocol.program import FULL_PERMILLE, ChannelProgram, Keyframe, Phase

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lobe:
    """Adjacent phases of one sign.

    Attributes:
        first: index of the first phase.
        stop: index after the last phase.
        sign: of the current, 1 or -1.
        ends: where each step ends, as a share of the lobe's duration; the last is 1.
    """

    first: int
    stop: int
    sign: int
    ends: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Where pulses lie in the programme, one entry for each pulse.

    Attributes:
        setting: index of the keyframe that holds.
        ramp: share of the plateau that the on/off cycle allows, 0 to 1.
        is_on: whether the on/off cycle delivers at all.
        is_sure: whether the place is far enough from any change to be judged.
    """

    setting: Integers
    ramp: Floats
    is_on: NDArray[np.bool_]
    is_sure: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Expected:
    """What one channel is to deliver.

    Attributes:
        profile_id: whose programme it is.
        program_digest: of the whole programme.
        channel_number: from 1.
        channel: its programme.
        amplitude_ua: what was commanded, on the device's grid; None where nobody said.
        ceiling_ua: the highest amplitude that this profile may have.
        amplitude_step_ua: of the device that the programme is quantised for.
    """

    profile_id: str
    program_digest: int
    channel_number: int
    channel: ChannelProgram
    amplitude_ua: int | None
    ceiling_ua: int
    amplitude_step_ua: int

    @classmethod
    def of(cls, prepared: Prepared, channel_index: int, amplitude_ua: int | None) -> Expected:
        """Return what a channel delivers at an amplitude.

        Raises:
            IndexError: there is no such channel.
            LimitRefused: a run would refuse this amplitude: it cannot have been commanded.
        """
        channel = prepared.program.channels[channel_index]
        step_ua = prepared.bounds.amplitude_step_ua
        if amplitude_ua is not None:
            reasons = target_reasons(prepared, channel_index, amplitude_ua)
            if reasons:
                raise LimitRefused("; ".join(reasons))
        return cls(
            profile_id=prepared.settings.profile_id,
            program_digest=prepared.program.digest,
            channel_number=channel_index + 1,
            channel=channel,
            amplitude_ua=amplitude_ua,
            ceiling_ua=prepared.ceilings[channel_index].ceiling_ua,
            amplitude_step_ua=step_ua,
        )

    @property
    def active(self) -> tuple[int, ...]:
        """Return the indexes of the phases that hold current."""
        return tuple(i for i, phase in enumerate(self.channel.phases) if not phase.is_gap)

    @property
    def lobes(self) -> tuple[Lobe, ...]:
        """Return the lobes of a pulse, in order (rule 2)."""
        phases = self.channel.phases
        lobes: list[Lobe] = []
        first = 0
        for index, phase in enumerate(phases):
            following = phases[index + 1] if index + 1 < len(phases) else None
            if phase.is_gap:
                first = index + 1
                continue
            if following is not None and not following.is_gap and _sign(following) == _sign(phase):
                continue
            units = np.cumsum([p.duration for p in phases[first : index + 1]])
            ends = tuple((units / units[-1]).tolist())
            lobes.append(Lobe(first, index + 1, _sign(phase), ends))
            first = index + 1
        return tuple(lobes)

    @property
    def shortest_lobes_us(self) -> tuple[float, ...]:
        """Return the length of each lobe under the setting that makes it shortest."""
        phases = self.channel.phases
        return tuple(
            min(
                float(sum(self.channel.phase_us(p, s.unit_us) for p in phases[o.first : o.stop]))
                for s in self.channel.settings
            )
            for o in self.lobes
        )

    @property
    def shortest_lobe_us(self) -> float:
        """Return the length of the shortest lobe under any setting."""
        return min(self.shortest_lobes_us)

    @property
    def shortest_phase_us(self) -> int:
        """Return the length of the shortest phase under any setting."""
        return min(
            self.channel.phase_us(self.channel.phases[i], s.unit_us)
            for i in self.active
            for s in self.channel.settings
        )

    @property
    def longest_gap_us(self) -> int:
        """Return the longest silence beside a lobe of a pulse; 0 where lobes always touch.

        At a low amplitude the device rounds small steps to zero: what is left of a lobe may be its
        largest steps alone.
        """
        return max(
            sum(self._quiet_us(index, setting) for index in range(one.start, one.stop))
            for setting in self.settings
            for one in self._between_largest()
        )

    def _between_largest(self) -> list[range]:
        """Return the phases that lie between the largest step of a lobe and that of the next.

        Indexes past the last phase stand for the next pulse.
        """
        count, largest = len(self.channel.phases), []
        for lobe in self.lobes:
            shares = [
                abs(p.amplitude_permille) for p in self.channel.phases[lobe.first : lobe.stop]
            ]
            at = [lobe.first + i for i, share in enumerate(shares) if share == max(shares)]
            largest.append((at[0], at[-1]))
        following = [*largest[1:], (largest[0][0] + count, 0)]
        return [
            range(last + 1, first) for (_, last), (first, _) in zip(largest, following, strict=True)
        ]

    def _quiet_us(self, index: int, setting: Keyframe) -> int:
        """Return the length of a phase, of which some may follow after the pulse's last."""
        phases = self.channel.phases
        return self.channel.phase_us(phases[index % len(phases)], setting.unit_us)

    @property
    def shortest_silence_us(self) -> int:
        """Return the shortest time from the end of a pulse to the next onset."""
        return min(s.pulse_period_us - self.channel.pulse_us(s.unit_us) for s in self.settings)

    @property
    def longest_spacing_us(self) -> int:
        """Return the longest time between two onsets while output is on."""
        spacings = [s.pulse_period_us for s in self.settings]
        if self.channel.pulses_per_burst:
            count = self.channel.pulses_per_burst - 1
            spacings.append(self.channel.burst_period_us - count * min(spacings))
        return max(spacings)

    @property
    def settings(self) -> tuple[Keyframe, ...]:
        """Return the keyframes, or the one setting that stands for none."""
        return self.channel.settings

    def durations_us(self, setting: Integers) -> Integers:
        """Return the length of every phase, gaps included: shape (pulses, phases)."""
        units_us = np.array([s.unit_us for s in self.settings], np.int64)[setting]
        lengths = [
            np.full(len(setting), p.duration) if p.is_gap else p.duration * units_us
            for p in self.channel.phases
        ]
        return np.stack(lengths, axis=1)

    def shares(self, setting: Integers) -> Floats:
        """Return the amplitude that each pulse's setting leaves, as a share of the whole."""
        permilles = np.array([s.amplitude_permille for s in self.settings], np.float64)
        shares: Floats = permilles[setting] / FULL_PERMILLE
        return shares

    def periods_us(self, setting: Integers) -> Integers:
        """Return the pulse period that each pulse's setting asks for."""
        return np.array([s.pulse_period_us for s in self.settings], np.int64)[setting]

    def currents_ua(self, amplitude_ua: float, places: Places) -> Floats:
        """Return the signed current of every active phase: shape (pulses, active phases).

        An amplitude that is no whole number stands for a measured one, and is not quantised.
        """
        permilles = np.array([self.channel.phases[i].amplitude_permille for i in self.active])
        if float(amplitude_ua).is_integer():
            scaled = np.floor(amplitude_ua * places.ramp + 1e-6).astype(np.int64)
            scaled = scaled * np.round(self.shares(places.setting) * FULL_PERMILLE).astype(np.int64)
            scaled //= FULL_PERMILLE
            scaled -= scaled % self.channel.grid_ua(self.amplitude_step_ua)
            magnitudes = scaled[:, None] * np.abs(permilles) // FULL_PERMILLE
            magnitudes -= magnitudes % self.amplitude_step_ua
            currents: Floats = (magnitudes * np.sign(permilles)).astype(np.float64)
            return currents
        scaled_ua = amplitude_ua * places.ramp * self.shares(places.setting)
        exact: Floats = scaled_ua[:, None] * (permilles / FULL_PERMILLE)
        return exact

    @property
    def cycle_us(self) -> int:
        """Return how often the programme repeats its envelope; 0 where nothing is modulated."""
        if self.channel.cycle is not None:
            return self.channel.cycle.total_ms * US_PER_MS
        return self.channel.keyframe_cycle_ms * US_PER_MS

    def places(self, times_us: Floats, margin_us: Floats | float = 0.0) -> Places:
        """Return where pulses lie whose onsets are given since an on-phase began.

        Within `margin_us` of a change of setting, or of an edge of the cycle, no place is sure.
        """
        count = len(times_us)
        since_us = times_us
        ramp = np.ones(count)
        is_on = np.ones(count, np.bool_)
        is_sure = np.ones(count, np.bool_)
        cycle = self.channel.cycle
        if cycle is not None:
            up, down = cycle.ramp_up_ms * US_PER_MS, cycle.ramp_down_ms * US_PER_MS
            length = cycle.on_phase_ms * US_PER_MS
            since_us = np.mod(times_us, cycle.total_ms * US_PER_MS)
            is_on = since_us < length
            left_us = length - since_us
            if up:
                ramp = np.minimum(ramp, since_us / up)
            if down:
                ramp = np.minimum(ramp, np.maximum(left_us, 0.0) / down)
            is_sure = (np.abs(left_us) > margin_us) & (since_us > margin_us)
        setting = np.zeros(count, np.int64)
        if self.channel.keyframes:
            keyframe_cycle_us = self.channel.keyframe_cycle_ms * US_PER_MS
            starts_us = np.array([k.at_ms * US_PER_MS for k in self.channel.keyframes], np.float64)
            within_us = np.mod(since_us - self.channel.pulse_offset_us, keyframe_cycle_us)
            setting = np.searchsorted(starts_us, within_us, side="right") - 1
            ends_us = np.append(starts_us[1:], keyframe_cycle_us)
            to_change = np.minimum(within_us - starts_us[setting], ends_us[setting] - within_us)
            is_sure &= to_change > margin_us
        return Places(setting, ramp, is_on, is_sure)


def rate_hz(period_us: float) -> float:
    """Return the rate of a period; 0 for none."""
    return US_PER_S / period_us if period_us > 0 else 0.0


def _sign(phase: Phase) -> int:
    return 1 if phase.amplitude_permille > 0 else -1
