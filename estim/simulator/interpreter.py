"""Play a pulse programme with integers of its own: when pulses begin, and what flows in each phase.

Rules:
1. Nothing here calls the arithmetic of `firmware_protocol.program`; only its data are read.
2. Amplitude at an onset: setpoint x ramp x keyframe, each floored, then snapped down to the grid on
   which every phase is a whole number of device steps.
3. A pulse that would outlast its on-phase is not started.
4. Every step is later than the one before, so that a programme which can deliver nothing still
   costs bounded work.
"""

from __future__ import annotations

from bisect import bisect_right
from math import gcd

from firmware_protocol.messages import CyclePhase
from firmware_protocol.program import ChannelProgram, Cycle

PERMILLE = 1000
US_PER_MS = 1000


class PulseShape:
    """The pulse of one setting (keyframe): durations in us, shares in permille, the grid in uA.

    Attributes:
        phases: (duration_us, signed permille) of each phase, gaps included.
        runs: which phases flow one way in a row and so are felt, and judged, as one.
        pulse_us: onset to the end of the last phase.
        period_us: onset to the next onset.
        keyframe_permille: share of the amplitude that this setting delivers.
        grid_ua: the channel's amplitude is a multiple of this.
    """

    __slots__ = (
        "grid_ua",
        "keyframe_permille",
        "period_us",
        "phases",
        "pulse_us",
        "runs",
        "step_ua",
    )

    def __init__(
        self,
        channel: ChannelProgram,
        unit_us: int,
        period_us: int,
        keyframe_permille: int,
        step_ua: int,
    ) -> None:
        self.phases = tuple(
            (
                phase.duration * (unit_us if phase.amplitude_permille else 1),
                phase.amplitude_permille,
            )
            for phase in channel.phases
        )
        self.runs = _runs([share for _, share in self.phases])
        self.pulse_us = sum(duration_us for duration_us, _ in self.phases)
        self.period_us = period_us
        self.keyframe_permille = keyframe_permille
        self.step_ua = step_ua
        self.grid_ua = step_ua if is_paired(channel) else step_ua * _grid_steps(self.phases)

    def amplitude_ua(self, ramped_ua: int) -> int:
        """Return what a setpoint, ramp already applied, delivers in this setting."""
        scaled_ua = ramped_ua * self.keyframe_permille // PERMILLE
        return scaled_ua - scaled_ua % self.grid_ua

    def currents_ua(self, amplitude_ua: int) -> list[int]:
        """Return the signed current of every phase, each a whole number of steps."""
        currents = []
        for _, share in self.phases:
            steps = amplitude_ua * abs(share) // (PERMILLE * self.step_ua)
            currents.append(-steps * self.step_ua if share < 0 else steps * self.step_ua)
        return currents


def is_paired(channel: ChannelProgram) -> bool:
    """Tell whether every positive phase has a negative one of the same length and share."""
    balance: dict[tuple[int, int], int] = {}
    for phase in channel.phases:
        share = phase.amplitude_permille
        if share:
            key = (phase.duration, abs(share))
            balance[key] = balance.get(key, 0) + (1 if share > 0 else -1)
    return not any(balance.values())


def _runs(shares: list[int]) -> tuple[tuple[int, ...], ...]:
    """Return the phases of each one-way flow; gaps do not end it, and a pulse is a ring."""
    active = [index for index, share in enumerate(shares) if share]
    turns = [
        at
        for at, index in enumerate(active)
        if (shares[index] > 0) != (shares[active[at - 1]] > 0)  # -1 is the last: a ring
    ]
    if not turns:
        return (tuple(active),)
    ring = active[turns[0] :] + active[: turns[0]]
    lengths = [
        (later - earlier) % len(active) or len(active)
        for earlier, later in zip(turns, turns[1:] + turns[:1], strict=True)
    ]
    ends = [sum(lengths[: count + 1]) for count in range(len(lengths))]
    return tuple(tuple(ring[end - length : end]) for end, length in zip(ends, lengths, strict=True))


def _grid_steps(phases: tuple[tuple[int, int], ...]) -> int:
    """Return the fewest steps of which every phase's share is a whole number of steps."""
    steps = 1
    for _, share in phases:
        if share:
            needed = PERMILLE // gcd(PERMILLE, abs(share))
            steps = steps * needed // gcd(steps, needed)
    return steps


def pulse_shapes(channel: ChannelProgram, step_ua: int) -> tuple[PulseShape, ...]:
    """Return the pulse of every keyframe, or the one pulse where there are none."""
    if not channel.keyframes:
        return (PulseShape(channel, channel.unit_us, channel.pulse_period_us, PERMILLE, step_ua),)
    return tuple(
        PulseShape(channel, frame.unit_us, frame.pulse_period_us, frame.amplitude_permille, step_ua)
        for frame in channel.keyframes
    )


class ChannelPlayer:
    """Step through the onsets of one channel since RUNNING began.

    `next_us` is when the next step is due; `begin` takes it. Of the onset taken these stay:
    `shape`, `interval_us` (since the pulse before in the same on-phase, 0 for its first),
    `is_plateau`, `on_phase_count`.
    """

    __slots__ = (
        "_burst_period_us", "_burst_start_us", "_elapsed_us", "_is_new_on_phase", "_is_plain",
        "_keyframe_cycle_us", "_keyframe_starts_us", "_offset_us", "_on_start_us", "_previous_us",
        "_pulse_index", "_pulses_per_burst", "_run_us", "_timing", "interval_us", "is_plateau",
        "next_us", "on_phase_count", "shape", "shapes",
    )  # fmt: skip

    def __init__(self, channel: ChannelProgram, shapes: tuple[PulseShape, ...]) -> None:
        self.shapes = shapes
        self._timing = None if channel.cycle is None else _CycleTiming(channel.cycle)
        self._offset_us = channel.pulse_offset_us
        self._pulses_per_burst = channel.pulses_per_burst
        self._burst_period_us = channel.burst_period_us
        self._keyframe_cycle_us = channel.keyframe_cycle_ms * US_PER_MS
        self._keyframe_starts_us = [frame.at_ms * US_PER_MS for frame in channel.keyframes]
        self._is_plain = self._timing is None and not channel.pulses_per_burst
        self.next_us: int
        self._on_start_us: int
        self._is_new_on_phase: bool
        self._previous_us: int | None
        self.start(0)

    def start(self, run_us: int) -> None:
        """Set the channel's clock to zero at `run_us`."""
        self._run_us = run_us
        self.on_phase_count = 0
        self.shape = self.shapes[0]
        self.interval_us = 0
        self.is_plateau = True
        self._elapsed_us = 0
        self._schedule_on_phase(run_us + (self._timing.offset_us if self._timing else 0))

    def begin(self) -> PulseShape | None:
        """Take the onset at `next_us` and schedule the one after it.

        Returns:
            The pulse that begins now, or None where it would outlast its on-phase.
        """
        onset_us = self.next_us
        if self._is_new_on_phase:
            self._is_new_on_phase = False
            self.on_phase_count += 1
            self._previous_us = None
            self._burst_start_us = onset_us
            self._pulse_index = 0
        self._elapsed_us = elapsed_us = onset_us - self._on_start_us
        if self._keyframe_starts_us:
            at_us = (elapsed_us - self._offset_us) % self._keyframe_cycle_us
            self.shape = shape = self.shapes[bisect_right(self._keyframe_starts_us, at_us) - 1]
        else:
            shape = self.shape
        if self._is_plain:
            self.next_us = onset_us + shape.period_us
        else:
            self._schedule(onset_us, shape.period_us)
        timing = self._timing
        if timing is not None:
            if elapsed_us + shape.pulse_us > timing.on_phase_us:
                return None
            self.is_plateau = timing.ramp_up_us <= elapsed_us < timing.ramp_down_at_us
        self.interval_us = 0 if self._previous_us is None else onset_us - self._previous_us
        self._previous_us = onset_us
        return shape

    def amplitude_ua(self, setpoint_ua: int) -> int:
        """Return the amplitude of the pulse just begun at a setpoint."""
        timing = self._timing
        if timing is not None and not self.is_plateau:
            setpoint_ua = timing.ramped_ua(setpoint_ua, self._elapsed_us)
        return self.shape.amplitude_ua(setpoint_ua)

    def cycle_phase(self, now_us: int) -> CyclePhase:
        """Tell where the channel stands in its cycle; without one, always in PLATEAU."""
        if self._timing is None:
            return CyclePhase.PLATEAU
        return self._timing.phase_at(now_us - self._run_us)

    @property
    def has_cycle(self) -> bool:
        """Tell whether the channel has an on/off cycle."""
        return self._timing is not None

    def _schedule_on_phase(self, on_start_us: int) -> None:
        # The pulse in hand may still belong to the on-phase before: `begin` turns the page.
        self._is_new_on_phase = True
        self._on_start_us = on_start_us
        self.next_us = on_start_us + self._offset_us

    def _schedule(self, onset_us: int, period_us: int) -> None:
        if not self._pulses_per_burst:
            self.next_us = onset_us + period_us
        elif self._pulse_index + 1 < self._pulses_per_burst:
            self._pulse_index += 1
            self.next_us = onset_us + period_us
        else:
            self._pulse_index = 0
            self._burst_start_us += self._burst_period_us
            self.next_us = self._burst_start_us
        timing = self._timing
        if timing is not None and self.next_us >= self._on_start_us + timing.on_phase_us:
            self._schedule_on_phase(self._on_start_us + timing.total_us)


class _CycleTiming:
    """An on/off cycle in microseconds."""

    def __init__(self, cycle: Cycle) -> None:
        self.offset_us = cycle.offset_ms * US_PER_MS
        self.ramp_up_us = cycle.ramp_up_ms * US_PER_MS
        self.ramp_down_us = cycle.ramp_down_ms * US_PER_MS
        self.ramp_down_at_us = self.ramp_up_us + cycle.on_ms * US_PER_MS
        self.on_phase_us = self.ramp_down_at_us + self.ramp_down_us
        self.total_us = self.on_phase_us + cycle.off_ms * US_PER_MS

    def ramped_ua(self, setpoint_ua: int, elapsed_us: int) -> int:
        """Return the setpoint under the cycle's envelope, `elapsed_us` into the on-phase."""
        if elapsed_us < self.ramp_up_us:
            return setpoint_ua * elapsed_us // self.ramp_up_us
        if elapsed_us < self.ramp_down_at_us:
            return setpoint_ua
        return setpoint_ua * (self.on_phase_us - elapsed_us) // self.ramp_down_us

    def phase_at(self, since_run_us: int) -> CyclePhase:
        """Return the phase of the cycle at a time since RUNNING began."""
        if since_run_us < self.offset_us:
            return CyclePhase.WAITING
        elapsed_us = (since_run_us - self.offset_us) % self.total_us
        if elapsed_us < self.ramp_up_us:
            return CyclePhase.RAMP_UP
        if elapsed_us < self.ramp_down_at_us:
            return CyclePhase.PLATEAU
        if elapsed_us < self.on_phase_us:
            return CyclePhase.RAMP_DOWN
        return CyclePhase.OFF
