"""The last gate: every limit that the device enforces on what it is asked to do.

Rules:
1. It refuses, it never clamps; a refusal names the limit, what was asked and what is allowed.
2. Compiled limits stand even where a session limit would allow more.
3. A target is judged by the currents that would really flow, in the worst setting and the worst
   sliding second.
4. All arithmetic is in integers, and none of it is shared with the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

from estim.simulator.interpreter import PulseShape, is_paired, pulse_shapes
from firmware_protocol import limits
from firmware_protocol.errors import ProgramError
from firmware_protocol.limits import Limit
from firmware_protocol.messages import (
    NO_CHANNEL,
    Capabilities,
    CapabilityFlag,
    Message,
    RefusalReason,
    SetLimits,
    TargetRow,
)
from firmware_protocol.program import ChannelProgram, PulseProgram, from_messages
from firmware_protocol.session_limits import compiled_limits, limits_digest

US_PER_S = 1_000_000
PERMILLE = 1000
_REVIEWED_TARGETS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not done, as a Refused message tells it."""

    reason: RefusalReason
    limit: int = 0
    channel: int = NO_CHANNEL
    asked: int = 0
    allowed: int = 0


class Gate:
    """Hold the limits and the programme in force, and judge what is asked against them."""

    def __init__(self, capabilities: Capabilities, *, is_switched: bool = False) -> None:
        self._capabilities = capabilities
        self._is_switched = is_switched
        self._compiled = compiled_limits(capabilities.channel_count, capabilities.amplitude_max_ua)
        self.program: PulseProgram | None = None
        self.shapes: tuple[tuple[PulseShape, ...], ...] = ()
        self._reviewed: dict[tuple[int, int], Refusal | None] = {}
        self.reset()

    def reset(self) -> None:
        """Go back to the compiled limits and unload the programme."""
        self._put_in_force(self._compiled)
        self.unload()

    def unload(self) -> None:
        """Forget the programme."""
        self.program = None
        self.program_digest = 0
        self.shapes = ()
        self._reviewed.clear()

    def take_limits(self, asked: SetLimits) -> Refusal | None:
        """Put session limits in force, or say which value is out of bounds."""
        compiled = self._compiled
        if len(asked.channels) != len(compiled.channels):
            return Refusal(
                RefusalReason.CHANNELS, asked=len(asked.channels), allowed=len(compiled.channels)
            )
        for limit in (
            limits.setpoint_slew_ua_per_s,
            limits.rise_per_cycle_ua,
            limits.step_ua,
            limits.running_ms,
        ):
            refusal = _outside(limit, getattr(asked, limit.name), limit.maximum, limit.minimum)
            if refusal is not None:
                return refusal
        for index, (row, most) in enumerate(zip(asked.channels, compiled.channels, strict=True)):
            for limit in (
                limits.amplitude_ua,
                limits.phase_charge_pc,
                limits.rms_ua,
                limits.average_ua,
            ):
                highest = getattr(most, limit.name)
                refusal = _outside(limit, getattr(row, limit.name), highest, 0, index)
                if refusal is not None:
                    return refusal
        self._put_in_force(asked)
        return None

    def take_program(self, loading: tuple[Message, ...], digest: int) -> Refusal | None:
        """Load a programme from the messages that brought it, or say why not."""
        try:
            program = from_messages(loading)
        except ProgramError:
            return Refusal(RefusalReason.PROGRAM)
        if program.digest != digest:
            return Refusal(RefusalReason.PROGRAM_DIGEST)
        if len(program.channels) > self._capabilities.channel_count:
            return Refusal(
                RefusalReason.CAPABILITY,
                asked=len(program.channels),
                allowed=self._capabilities.channel_count,
            )
        step_ua = self._capabilities.amplitude_step_ua
        shapes = tuple(pulse_shapes(channel, step_ua) for channel in program.channels)
        for review in (self._review_capability, _review_durations):
            for index, channel in enumerate(program.channels):
                refusal = review(index, channel, shapes[index])
                if refusal is not None:
                    return refusal
        self.program, self.program_digest, self.shapes = program, digest, shapes
        self._reviewed.clear()
        return None

    def review_target(self, index: int, target_ua: int) -> Refusal | None:
        """Judge one channel's target: amplitude, charge per phase, RMS and average."""
        key = (index, target_ua)
        if key not in self._reviewed:
            if len(self._reviewed) >= _REVIEWED_TARGETS_MAX:
                self._reviewed.clear()
            self._reviewed[key] = self.review_amplitude(index, target_ua) or self._review_derived(
                index, target_ua
            )
        return self._reviewed[key]

    def review_digests(self, program_digest: int, limits_digest: int) -> Refusal | None:
        """Tell whether the host believes what is true."""
        if self.program is None:
            return Refusal(RefusalReason.NO_PROGRAM)
        if program_digest != self.program_digest:
            return Refusal(RefusalReason.PROGRAM_DIGEST)
        if limits_digest != self.limits_digest:
            return Refusal(RefusalReason.LIMITS_DIGEST)
        return None

    def review_count(self, targets: tuple[TargetRow, ...]) -> Refusal | None:
        """Tell whether there is one target for each channel of the programme."""
        channel_count = 0 if self.program is None else len(self.program.channels)
        if len(targets) == channel_count:
            return None
        return Refusal(RefusalReason.CHANNELS, asked=len(targets), allowed=channel_count)

    def _put_in_force(self, session: SetLimits) -> None:
        self.session = session
        self.limits_digest = limits_digest(session)
        self._reviewed.clear()

    def _review_capability(
        self, index: int, channel: ChannelProgram, shapes: tuple[PulseShape, ...]
    ) -> Refusal | None:
        can = self._capabilities
        needed = CapabilityFlag.NONE
        if channel.pulses_per_burst:
            needed |= CapabilityFlag.HOLDS_BURST
        if channel.cycle is not None:
            needed |= CapabilityFlag.HOLDS_CYCLE
        if channel.keyframes:
            needed |= CapabilityFlag.HOLDS_KEYFRAMES
        if not is_paired(channel):
            needed |= CapabilityFlag.UNEQUAL_PHASES
        durations = [duration_us for shape in shapes for duration_us in _active_us(shape)]
        shortest_period_us = min(shape.period_us for shape in shapes)
        for asked, allowed, is_possible in (
            (len(channel.phases), can.phases_max, len(channel.phases) <= can.phases_max),
            (
                len(channel.keyframes),
                can.keyframes_max,
                len(channel.keyframes) <= can.keyframes_max,
            ),
            (int(needed), int(can.flags), needed in can.flags),
            (min(durations), can.phase_min_us, min(durations) >= can.phase_min_us),
            (max(durations), can.phase_max_us, max(durations) <= can.phase_max_us),
            (
                shortest_period_us,
                can.pulse_period_min_us,
                shortest_period_us >= can.pulse_period_min_us,
            ),
        ):
            if not is_possible:
                return Refusal(
                    RefusalReason.CAPABILITY, channel=index, asked=asked, allowed=allowed
                )
        if not self._is_switched:
            return None
        for asked, allowed in (
            (_smallest_share(channel), PERMILLE),
            (_shortest_gap_us(channel), can.phase_min_us),
            (_shortest_rest_us(channel, shapes), 2 * can.phase_min_us),
            (_soonest_restart_us(channel, shapes), can.pulse_period_min_us),
        ):
            if asked < allowed:
                return Refusal(
                    RefusalReason.CAPABILITY, channel=index, asked=asked, allowed=allowed
                )
        return None

    def review_amplitude(self, index: int, target_ua: int) -> Refusal | None:
        highest_ua = self.session.channels[index].amplitude_ua
        return _outside(limits.amplitude_ua, target_ua, highest_ua, 0, index)

    def _review_derived(self, index: int, target_ua: int) -> Refusal | None:
        session = self.session.channels[index]
        shapes = self.shapes[index]
        pulses = []
        for shape in shapes:
            amplitude_ua = shape.amplitude_ua(target_ua)
            flows = [
                (abs(current_ua), duration_us)
                for current_ua, (duration_us, _) in zip(
                    shape.currents_ua(amplitude_ua), shape.phases, strict=True
                )
            ]
            charge_pc, allowed_pc = _worst_stretch(shape, amplitude_ua, session.phase_charge_pc)
            refusal = _outside(limits.phase_charge_pc, charge_pc, allowed_pc, 0, index)
            if refusal is not None:
                return refusal
            pulses.append(
                (
                    shape.period_us,
                    sum(current_ua * current_ua * us for current_ua, us in flows),
                    sum(current_ua * us for current_ua, us in flows),
                )
            )
        squares = self._worst_second(index, [(period, square) for period, square, _ in pulses])
        if squares > session.rms_ua * session.rms_ua * US_PER_S:
            asked_ua = isqrt((squares - 1) // US_PER_S) + 1
            return _refused(limits.rms_ua, asked_ua, session.rms_ua, index)
        charge = self._worst_second(index, [(period, charge) for period, _, charge in pulses])
        if charge > session.average_ua * US_PER_S:
            return _refused(limits.average_ua, -(-charge // US_PER_S), session.average_ua, index)
        return None

    def _worst_second(self, index: int, settings: list[tuple[int, int]]) -> int:
        """Return the most that any sliding second holds, from (period, quantity) of each pulse."""
        assert self.program is not None
        channel = self.program.channels[index]
        largest = max(quantity for _, quantity in settings)
        if len(settings) == 1:
            return _pulses_in_second(channel, settings[0][0]) * largest
        # A second that spans two keyframes may hold one pulse more.
        if channel.pulses_per_burst:
            shortest_us = min(period_us for period_us, _ in settings)
            return (_pulses_in_second(channel, shortest_us) + 1) * largest
        longest_us = max(period_us for period_us, _ in settings)
        return (1 + _fresh_starts(channel, longest_us)) * largest + max(
            (US_PER_S + period_us - 1) // period_us * quantity for period_us, quantity in settings
        )


def _worst_stretch(shape: PulseShape, amplitude_ua: int, session_pc: int) -> tuple[int, int]:
    """Return charge and charge allowed of the stretch of the ring nearest to its limit."""
    ring = list(
        zip(shape.currents_ua(amplitude_ua), (lasts for lasts, _ in shape.phases), strict=True)
    )
    slope = limits.PHASE_CHARGE_SLOPE_PC_PER_US
    worst = (0, session_pc)
    for first in range(len(ring)):
        turned = ring[first:] + ring[:first]
        for count in range(1, len(ring) + 1):
            net_pc = sum(current_ua * us for current_ua, us in turned[:count])
            sign = 1 if net_pc >= 0 else -1
            flows = [(sign * current_ua, us) for current_ua, us in turned[:count]]
            strong_us = sum(us for forward_ua, us in flows if forward_ua > slope)
            strong_pc = sum(f_ua * us for f_ua, us in flows if not 0 < f_ua <= slope)
            for asked_pc, allowed_pc in (
                (abs(net_pc), session_pc),
                (strong_pc, limits.compiled_phase_charge_pc(strong_us)),
            ):
                if asked_pc - allowed_pc > worst[0] - worst[1]:
                    worst = asked_pc, allowed_pc
    return worst


def _pulses_in_second(channel: ChannelProgram, period_us: int) -> int:
    """Return the most onsets in any second, pulses being `period_us` apart at the least."""
    evenly = (US_PER_S + period_us - 1) // period_us + _fresh_starts(channel, period_us)
    burst = channel.pulses_per_burst
    if not burst:
        return evenly
    slowest_us = max((frame.pulse_period_us for frame in channel.keyframes), default=period_us)
    most = 0
    for skipped in range(burst):
        # A slow burst whose first pulses lie before the second, then quick ones.
        left_us = US_PER_S + skipped * slowest_us
        count = -skipped
        whole = max(0, left_us // channel.burst_period_us - 1)
        count += whole * burst
        left_us -= whole * channel.burst_period_us
        while left_us > 0:
            count += min(burst, (left_us + period_us - 1) // period_us)
            left_us -= channel.burst_period_us
        most = max(most, count)
        if slowest_us == period_us:
            break
    return min(evenly, most + burst * _fresh_starts(channel, channel.burst_period_us))


def _fresh_starts(channel: ChannelProgram, apart_us: int) -> int:
    """Return how many on-phases in a second may cut in before pulses are `apart_us` apart."""
    cycle = channel.cycle
    if cycle is None:
        return 0
    units_us = [frame.unit_us for frame in channel.keyframes] or [channel.unit_us]
    gaps_us = sum(phase.duration for phase in channel.phases if not phase.amplitude_permille)
    units = sum(phase.duration for phase in channel.phases if phase.amplitude_permille)
    silence_us = units * min(units_us) + gaps_us + cycle.off_ms * 1000 + channel.pulse_offset_us
    if silence_us >= apart_us:
        return 0
    length_us = 1000 * (cycle.ramp_up_ms + cycle.on_ms + cycle.ramp_down_ms + cycle.off_ms)
    return (US_PER_S + length_us - 1) // length_us


def _smallest_share(channel: ChannelProgram) -> int:
    return min(
        abs(phase.amplitude_permille) for phase in channel.phases if phase.amplitude_permille
    )


def _shortest_gap_us(channel: ChannelProgram) -> int:
    """Return the shortest gap between two phases of one polarity, or more than any pulse has."""
    gaps_us = [limits.pulse_duration_us.maximum]
    active = [at for at, phase in enumerate(channel.phases) if phase.amplitude_permille]
    for sooner, later in pairwise(active):
        has_one_sign = (
            channel.phases[sooner].amplitude_permille == channel.phases[later].amplitude_permille
        )
        if has_one_sign and later > sooner + 1:
            gaps_us.append(sum(phase.duration for phase in channel.phases[sooner + 1 : later]))
    return min(gaps_us)


def _shortest_rest_us(channel: ChannelProgram, shapes: tuple[PulseShape, ...]) -> int:
    """Return the shortest rest between two pulses, also of two on-phases."""
    rest_us = min(shape.period_us - shape.pulse_us for shape in shapes)
    return rest_us if channel.cycle is None else min(rest_us, _silence_us(channel))


def _soonest_restart_us(channel: ChannelProgram, shapes: tuple[PulseShape, ...]) -> int:
    """Return how soon the first pulse of an on-phase may follow the onset before it."""
    shortest_us = min(shape.period_us for shape in shapes)
    if channel.cycle is None:
        return shortest_us
    return min(shortest_us, min(shape.pulse_us for shape in shapes) + _silence_us(channel))


def _silence_us(channel: ChannelProgram) -> int:
    assert channel.cycle is not None
    return channel.cycle.off_ms * 1000 + channel.pulse_offset_us


def _review_durations(
    index: int, _channel: ChannelProgram, shapes: tuple[PulseShape, ...]
) -> Refusal | None:
    phase, pulse = limits.phase_duration_us, limits.pulse_duration_us
    for shape in shapes:
        runs_us = [sum(shape.phases[i][0] for i in run) for run in shape.runs]
        for duration_us in (*_active_us(shape), *runs_us):
            refusal = _outside(phase, duration_us, phase.maximum, phase.minimum, index)
            if refusal is not None:
                return refusal
        refusal = _outside(pulse, shape.pulse_us, pulse.maximum, 0, index)
        if refusal is not None:
            return refusal
    return None


def _active_us(shape: PulseShape) -> list[int]:
    return [duration_us for duration_us, share in shape.phases if share]


def _outside(
    limit: Limit, asked: int, highest: int, lowest: int, channel: int = NO_CHANNEL
) -> Refusal | None:
    if asked > highest:
        return _refused(limit, asked, highest, channel)
    if asked < lowest:
        return _refused(limit, asked, lowest, channel)
    return None


def _refused(limit: Limit, asked: int, allowed: int, channel: int) -> Refusal:
    return Refusal(RefusalReason.LIMIT, limit.wire_id, channel, asked, allowed)
