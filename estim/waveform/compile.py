"""Compile a profile to the pulse programme that a device plays.

Rules:
1. Integers only, and every pulse balanced exactly: what is not balanced is refused, with the phase
   duration that would balance it.
2. A period is floored to whole microseconds, a modulated phase duration and share likewise; the
   programme, never the wish, is what is shown and checked.
3. Channels that tick together are spread evenly over the shortest period; channels whose on-phases
   never meet start at once. Anything else is refused, unless the profile allows overlap.
4. On a person a modulated amplitude rises no faster than a cycle may ramp up, and no leap follows a
   rest; the charge of a pulse leaps no further than `limits` says; a burst longer than a ramp is
   refused. The kernel judges by the same figures.
5. Each refusal is one `ProfileError` that names file, line, key and the physics.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import ceil, gcd

from estim.errors import ProfileError
from estim.profile.explain import Origin
from estim.profile.lines import Path
from estim.profile.models import Profile
from estim.profile.modulation import (
    BeatModulation,
    Modulation,
    RandomModulation,
    StrengthDurationModulation,
)
from estim.profile.stimulus import CustomPulse, OnOffCycle, PulsePhase
from estim.profile.table import period_us, whole_ms
from estim.units import MS_PER_S, PC_PER_UC, US_PER_MS, US_PER_S
from estim.waveform.holds import holds, strength_duration_permille
from firmware_protocol import limits
from firmware_protocol.errors import ProgramError
from firmware_protocol.program import (
    FULL_PERMILLE,
    ChannelProgram,
    Cycle,
    Keyframe,
    Phase,
    PulseProgram,
    check_form,
)


def compile_profile(profile: Profile, origin: Origin | None = None) -> PulseProgram:
    """Return the programme of a profile; `origin` is the file that messages are about.

    Raises:
        ProfileError: a pulse is not balanced, does not fit its period or burst, or channels would
            overlap.
    """
    origin = origin or Origin(profile.id)
    channels = [
        _Compiler(profile, index, origin).channel_program()
        for index in range(len(profile.channels))
    ]
    if not profile.allow_overlap:
        channels = _spread(channels, origin)
    program = PulseProgram(tuple(channels), profile.allow_overlap)
    try:
        check_form(program)
    except ProgramError as error:
        raise origin.error(
            ("channels",),
            f"{error}; expected one stimulus for all, or cycles of equal length whose on-phases "
            "never meet",
        ) from None
    return program


class _Compiler:
    """Compile one channel, and name its keys in refusals."""

    def __init__(self, profile: Profile, index: int, origin: Origin) -> None:
        self._channel = profile.channels[index]
        self._is_bench_only = profile.is_bench_only
        self._stimulus = profile.channel_stimulus(self._channel)
        own = self._channel.stimulus is not None
        self._origin = origin
        self._table: Path = ("channels", index, "stimulus") if own else ("stimulus",)
        self._timing_key = _modulation_key(self._stimulus.modulation) or "pulse_rate_hz"

    def channel_program(self) -> ChannelProgram:
        """Return the channel's programme, not yet shifted against other channels."""
        stimulus = self._stimulus
        sequence = stimulus.pulse.sequence()
        self._check_balance(sequence)
        active_us = [phase.duration_us for phase in sequence if phase.amplitude_permille]
        unit_us = gcd(*active_us)
        phases = tuple(
            Phase(
                phase.duration_us // unit_us if phase.amplitude_permille else phase.duration_us,
                phase.amplitude_permille,
            )
            for phase in sequence
        )
        keyframes, keyframe_cycle_ms = self._keyframes(phases, unit_us)
        burst = stimulus.burst
        program = ChannelProgram(
            phases=phases,
            unit_us=keyframes[0].unit_us if keyframes else unit_us,
            pulse_period_us=(
                keyframes[0].pulse_period_us if keyframes else stimulus.pulse_period_us
            ),
            pulses_per_burst=burst.pulses_per_burst if burst else 0,
            burst_period_us=burst.burst_period_us if burst else 0,
            cycle=_cycle(stimulus.cycle, self._channel.cycle_offset_s),
            keyframes=keyframes,
            keyframe_cycle_ms=keyframe_cycle_ms,
        )
        for setting in program.settings:
            self._check_pulse(program, setting.unit_us)
            self._check_period(program, setting)
        if not self._is_bench_only:
            if program.keyframes:
                self._check_rises(program)
                self._check_charge_rises(program)
            self._check_bursts(program)
        return program

    def _check_rises(self, program: ChannelProgram) -> None:
        """Refuse, on a person, a modulation whose amplitude rises faster than a cycle's ramp may.

        From nothing to the whole amplitude it takes at least as long as the shortest ramp up, in
        steps that count for `RAMP_STEP_MS` of it at most.
        """
        frames = program.keyframes
        for index, frame in enumerate(frames):
            following = frames[(index + 1) % len(frames)]
            rise = following.amplitude_permille - frame.amplitude_permille
            highest = self._ramped_permille(program, index)
            if rise > highest:
                raise self._refuse(
                    _modulation_key(self._stimulus.modulation),
                    f"the amplitude rises by {rise} permille from the hold at "
                    f"{frame.at_ms / MS_PER_S:g} s to the one at "
                    f"{following.at_ms / MS_PER_S:g} s; expected at most {highest} on a person",
                )

    def _check_charge_rises(self, program: ChannelProgram) -> None:
        """Refuse, on a person, a modulation whose charge per pulse leaps.

        From any hold to any later one it rises by at most `limits.charge_rise_permille`, and by
        what a ramp would add meanwhile; each hold between them counts as in `_check_rises`.
        """
        frames, count = program.keyframes, len(program.keyframes)
        charges = [frame.amplitude_permille * frame.unit_us for frame in frames]
        for first in range(count):
            highest = limits.charge_rise_permille.maximum
            for last in range(first + 1, first + count):
                rise = Fraction(charges[last % count] - charges[first], max(charges))
                if rise * FULL_PERMILLE > highest:
                    raise self._refuse(
                        _modulation_key(self._stimulus.modulation),
                        f"the charge of a pulse rises by {ceil(rise * FULL_PERMILLE)} permille of "
                        f"the largest from the hold at {frames[first].at_ms / MS_PER_S:g} s to the "
                        f"one at {frames[last % count].at_ms / MS_PER_S:g} s; expected at most "
                        f"{highest} on a person",
                    )
                highest += self._ramped_permille(program, last % count)

    def _ramped_permille(self, program: ChannelProgram, index: int) -> int:
        """Return how far a ramp rises during a hold, which counts for `RAMP_STEP_MS` at most."""
        starts_ms = [frame.at_ms for frame in program.keyframes]
        held_ms = [*starts_ms[1:], program.keyframe_cycle_ms][index] - starts_ms[index]
        counted_ms = min(held_ms, limits.RAMP_STEP_MS)
        return FULL_PERMILLE * counted_ms // limits.cycle_ramp_up_ms.minimum

    def _check_bursts(self, program: ChannelProgram) -> None:
        """Refuse, on a person, a burst as long as an on-phase: it would have no ramp."""
        ramp_ms = limits.cycle_ramp_up_ms.minimum
        period_us = max(setting.pulse_period_us for setting in program.settings)
        burst_us = (program.pulses_per_burst - 1) * period_us
        if burst_us > ramp_ms * US_PER_MS:
            raise self._refuse(
                "burst.pulses_per_burst",
                f"bursts of {Decimal(burst_us) / US_PER_S} s; expected at most "
                f"{Decimal(ramp_ms) / MS_PER_S} s on a person: what lasts longer needs a cycle, "
                "with its ramp",
            )

    def _refuse(self, key: str, problem: str) -> ProfileError:
        return self._origin.error((*self._table, *key.split(".")), problem)

    def _check_balance(self, sequence: tuple[PulsePhase, ...]) -> None:
        """Refuse a pulse whose phases do not cancel exactly, and say what would make them."""
        custom = isinstance(self._stimulus.pulse, CustomPulse)
        if not sequence[0].amplitude_permille or not sequence[-1].amplitude_permille:
            raise self._refuse("pulse.phases", "a gap; expected a current first and last")
        largest = max(abs(phase.amplitude_permille) for phase in sequence)
        if largest != FULL_PERMILLE:
            raise self._refuse(
                "pulse.phases", f"at most {largest} permille; expected 1000 in the largest phase"
            )
        net = sum(phase.duration_us * phase.amplitude_permille for phase in sequence)
        if net == 0:
            return
        ceiling_ua = self._channel.amplitude_ceiling_ua
        net_uc = Fraction(net * ceiling_ua, FULL_PERMILLE * PC_PER_UC)
        last = sequence[-1]
        rest = net - last.duration_us * last.amplitude_permille
        remedy = _remedy(Fraction(-rest, last.amplitude_permille), last.duration_us, custom)
        raise self._refuse(
            "pulse.phases" if custom else "pulse.second_phase_duration_us",
            f"net charge {_signed(net_uc)} uC per pulse at "
            f"{self._channel.amplitude_ceiling_ma} mA: {remedy}",
        )

    def _check_pulse(self, program: ChannelProgram, unit_us: int) -> None:
        """Refuse phases and pulses outside their limits."""
        key = _modulation_key(self._stimulus.modulation) or "pulse"
        limit = limits.phase_duration_us
        for phase in program.phases:
            duration_us = program.phase_us(phase, unit_us)
            if not phase.is_gap and not limit.minimum <= duration_us <= limit.maximum:
                raise self._refuse(
                    key,
                    f"a phase of {duration_us} us; expected {limit.minimum} to {limit.maximum} us",
                )
        for run in program.polarity_runs:
            run_us = sum(program.phase_us(program.phases[index], unit_us) for index in run)
            if run_us > limit.maximum:
                raise self._refuse(
                    key,
                    f"{len(run)} phases of one polarity in a row, {run_us} us together; expected "
                    f"at most {limit.maximum} us before the current turns",
                )
        pulse_us, longest_us = program.pulse_us(unit_us), limits.pulse_duration_us.maximum
        if pulse_us > longest_us:
            raise self._refuse(
                key, f"a pulse of {pulse_us} us; expected at most {longest_us} us with its gaps"
            )

    def _check_period(self, program: ChannelProgram, setting: Keyframe) -> None:
        """Refuse pulses that do not fit their period, and bursts that do not fit theirs."""
        pulse_us = program.pulse_us(setting.unit_us)
        if pulse_us > setting.pulse_period_us:
            raise self._refuse(
                self._timing_key,
                f"a pulse of {pulse_us} us in a period of {setting.pulse_period_us} us; "
                f"expected at most {US_PER_S // pulse_us} Hz",
            )
        burst_us = program.pulses_per_burst * setting.pulse_period_us
        if burst_us > program.burst_period_us:
            raise self._refuse(
                "burst",
                f"{program.pulses_per_burst} pulses {setting.pulse_period_us} us apart in "
                f"{program.burst_period_us} us; expected fewer pulses or a lower burst_rate_hz",
            )

    def _keyframes(
        self, phases: tuple[Phase, ...], unit_us: int
    ) -> tuple[tuple[Keyframe, ...], int]:
        """Return the holds that stand for a modulation, and the length of its cycle."""
        stimulus, modulation = self._stimulus, self._stimulus.modulation
        if modulation is None:
            return (), 0
        units = phases[0].duration
        found = holds(modulation, units * unit_us, stimulus.pulse_rate_hz)
        units_us = [max(1, int(hold.phase_duration_us / units)) for hold in found]
        keyframes = []
        for hold, played_us in zip(found, units_us, strict=True):
            share = int(hold.amplitude_permille)
            if isinstance(modulation, StrengthDurationModulation):
                share = strength_duration_permille(
                    modulation, units * played_us, units * min(units_us)
                )
            keyframes.append(
                Keyframe(whole_ms(hold.at_s), share, played_us, period_us(hold.pulse_rate_hz))
            )
        return tuple(keyframes), whole_ms(modulation.cycle_s)


def _modulation_key(modulation: Modulation | None) -> str:
    """Return the key that settles what a modulation plays, '' without one."""
    if modulation is None:
        return ""
    if isinstance(modulation, RandomModulation):
        return "modulation.highest_pulse_rate_hz"
    return "modulation" if isinstance(modulation, BeatModulation) else "modulation.points"


def _cycle(cycle: OnOffCycle | None, offset_s: Decimal) -> Cycle | None:
    if cycle is None:
        return None
    return Cycle(
        ramp_up_ms=whole_ms(cycle.ramp_up_s),
        on_ms=whole_ms(cycle.on_s),
        ramp_down_ms=whole_ms(cycle.ramp_down_s),
        off_ms=whole_ms(cycle.off_s),
        offset_ms=whole_ms(offset_s),
    )


def _spread(channels: list[ChannelProgram], origin: Origin) -> list[ChannelProgram]:
    """Give channels of the same cycle offsets that keep their pulses apart (rule 3)."""
    spread = []
    for index, channel in enumerate(channels):
        together = [i for i, other in enumerate(channels) if other.cycle == channel.cycle]
        slot_us = min(setting.pulse_period_us for setting in channel.settings) // len(together)
        longest_us = max(channel.pulse_us(setting.unit_us) for setting in channel.settings)
        if longest_us > slot_us:
            raise origin.error(
                ("channels", index),
                f"a pulse of {longest_us} us where each of {len(together)} channels has "
                f"{slot_us} us; expected a lower rate or shorter phases",
            )
        spread.append(replace(channel, pulse_offset_us=together.index(index) * slot_us))
    return spread


def _remedy(balancing_us: Fraction, duration_us: int, custom: bool) -> str:
    """Say how long the last phase must be, or that no length will do."""
    phase = "last phase" if custom else "second phase"
    limit = limits.phase_duration_us
    if balancing_us.denominator != 1 or not limit.minimum <= balancing_us <= limit.maximum:
        return f"no length of the {phase} balances it, change its amplitude_permille"
    verb = "lengthen" if balancing_us > duration_us else "shorten"
    return f"{verb} the {phase} to {balancing_us} us"


def _signed(charge_uc: Fraction) -> str:
    """Show microcoulombs with as many decimals as it takes not to read as zero."""
    for places in (1, 3, 6):
        shown = f"{float(charge_uc):+.{places}f}"
        if float(shown):
            return shown
    return f"{float(charge_uc):+g}"
