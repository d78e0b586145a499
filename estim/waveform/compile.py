"""Compile a profile to the pulse programme that a device plays.

Rules:
1. Integers only, and every pulse balanced exactly: what is not balanced is refused, with the phase duration that would balance it.
2. A period is floored to whole microseconds and a phase duration of a modulation to whole units; the programme, never the wish, is what
   is shown and checked.
3. Channels that tick together are spread evenly over the shortest period; channels whose on-phases never meet start at once. Anything
   else is refused unless the profile allows overlap.
4. Each refusal is one `ProfileError` that names the key and the physics.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import gcd

from estim.errors import ProfileError
from estim.profile.models import (
    Channel,
    Modulation,
    ModulationPoint,
    OnOffCycle,
    Profile,
    PulsePhase,
    Stimulus,
    period_us,
    whole_ms,
)
from estim.units import PC_PER_UC
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


def compile_profile(profile: Profile) -> PulseProgram:
    """Return the programme of a profile.

    Raises:
        ProfileError: a pulse is not balanced, does not fit its period or burst, or channels would overlap.
    """
    channels = [
        _Compiler(profile, index, channel).channel_program()
        for index, channel in enumerate(profile.channels)
    ]
    if not profile.allow_overlap:
        channels = _spread(profile, channels)
    program = PulseProgram(tuple(channels), profile.allow_overlap)
    try:
        check_form(program)
    except ProgramError as error:
        raise ProfileError(
            f"{profile.id}: channels: {error}; expected one stimulus for all, or cycles of equal length "
            "whose on-phases never meet"
        ) from None
    return program


class _Compiler:
    """Compile one channel, and name its keys in refusals."""

    def __init__(self, profile: Profile, index: int, channel: Channel) -> None:
        self._profile = profile
        self._channel = channel
        self._stimulus: Stimulus = profile.channel_stimulus(channel)
        own = channel.stimulus is not None
        self._key = f"channels[{index + 1}].stimulus" if own else "stimulus"

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
        first = keyframes[0] if keyframes else Keyframe(0, 0, unit_us, stimulus.pulse_period_us)
        burst = stimulus.burst
        program = ChannelProgram(
            phases=phases,
            unit_us=first.unit_us,
            pulse_period_us=first.pulse_period_us,
            pulses_per_burst=burst.pulses_per_burst if burst else 0,
            burst_period_us=burst.burst_period_us if burst else 0,
            cycle=_cycle(stimulus.cycle, self._channel.cycle_offset_s),
            keyframes=keyframes,
            keyframe_cycle_ms=keyframe_cycle_ms,
        )
        self._check_timing(program)
        return program

    def _refuse(self, key: str, problem: str) -> ProfileError:
        return ProfileError(f"{self._profile.id}: {self._key}.{key}: {problem}")

    def _check_balance(self, sequence: tuple[PulsePhase, ...]) -> None:
        """Refuse a pulse whose phases do not cancel exactly, and say what would make them."""
        if not sequence[0].amplitude_permille or not sequence[-1].amplitude_permille:
            raise self._refuse("pulse.phases", "a pulse begins and ends with a current, not a gap")
        if max(abs(phase.amplitude_permille) for phase in sequence) != FULL_PERMILLE:
            raise self._refuse("pulse.phases", "the largest phase must have 1000 permille")
        net_us_permille = sum(phase.duration_us * phase.amplitude_permille for phase in sequence)
        if net_us_permille == 0:
            return
        net_uc = (
            Fraction(net_us_permille, FULL_PERMILLE)
            * self._channel.amplitude_ceiling_ua
            / PC_PER_UC
        )
        last = sequence[-1]
        rest = net_us_permille - last.duration_us * last.amplitude_permille
        balancing_us = Fraction(-rest, last.amplitude_permille)
        key = "pulse.phases" if len(sequence) > 3 else "pulse.second_phase_duration_us"
        raise self._refuse(
            key,
            f"net charge {_signed(net_uc)} uC per pulse at {self._channel.amplitude_ceiling_ma} mA: "
            f"{_remedy(balancing_us, last)}",
        )

    def _check_timing(self, program: ChannelProgram) -> None:
        """Refuse phases, pulses and bursts that do not fit their limits and periods, at every setting."""
        for setting in program.settings:
            for phase in program.phases:
                duration_us = program.phase_us(phase, setting.unit_us)
                if not phase.is_gap and not (
                    limits.phase_duration_us.minimum
                    <= duration_us
                    <= limits.phase_duration_us.maximum
                ):
                    raise self._refuse(
                        "modulation.points" if program.keyframes else "pulse",
                        f"a phase of {duration_us} us; expected {limits.phase_duration_us.minimum} to "
                        f"{limits.phase_duration_us.maximum} us",
                    )
            pulse_us = program.pulse_us(setting.unit_us)
            if pulse_us > limits.pulse_duration_us.maximum:
                raise self._refuse(
                    "pulse",
                    f"a pulse of {pulse_us} us; expected at most {limits.pulse_duration_us.maximum} us",
                )
            if pulse_us > setting.pulse_period_us:
                raise self._refuse(
                    "modulation.points" if program.keyframes else "pulse_rate_hz",
                    f"a pulse of {pulse_us} us does not fit a period of {setting.pulse_period_us} us; "
                    f"expected at most {1_000_000 // pulse_us} Hz",
                )
            burst_us = program.pulses_per_burst * setting.pulse_period_us
            if burst_us > program.burst_period_us:
                raise self._refuse(
                    "burst",
                    f"{program.pulses_per_burst} pulses {setting.pulse_period_us} us apart last {burst_us} us, "
                    f"longer than the burst period of {program.burst_period_us} us",
                )

    def _keyframes(
        self, phases: tuple[Phase, ...], unit_us: int
    ) -> tuple[tuple[Keyframe, ...], int]:
        """Return the holds that stand for a modulation, and the length of its cycle."""
        modulation = self._stimulus.modulation
        if modulation is None:
            return (), 0
        units = phases[0].duration
        if modulation.change == "hold" or modulation.hold_s is None:
            times_s = [point.at_s for point in modulation.points]
        else:
            count = int(modulation.cycle_s / modulation.hold_s)
            times_s = [index * modulation.hold_s for index in range(count)]
        keyframes = []
        for at_s in times_s:
            amplitude, duration_us, rate_hz = self._setting_at(modulation, at_s, units * unit_us)
            keyframes.append(
                Keyframe(
                    at_ms=whole_ms(at_s),
                    amplitude_permille=int(amplitude),
                    unit_us=max(1, int(duration_us / units)),
                    pulse_period_us=period_us(rate_hz),
                )
            )
        return tuple(keyframes), whole_ms(modulation.cycle_s)

    def _setting_at(
        self, modulation: Modulation, at_s: Decimal, base_duration_us: int
    ) -> tuple[Fraction, Fraction, Fraction]:
        """Return amplitude share, first phase's duration and pulse rate at a time of the modulation's cycle."""
        points = modulation.points
        index = max(i for i, point in enumerate(points) if point.at_s <= at_s)
        before, after = points[index], points[(index + 1) % len(points)]
        until_s = points[index + 1].at_s if index + 1 < len(points) else modulation.cycle_s
        share = Fraction(at_s - before.at_s) / Fraction(until_s - before.at_s)

        def between(name: str, base: Decimal | int) -> Fraction:
            start, end = (_or_base(point, name, base) for point in (before, after))
            return start + (end - start) * share

        return (
            between("amplitude_permille", FULL_PERMILLE),
            between("phase_duration_us", base_duration_us),
            between("pulse_rate_hz", self._stimulus.pulse_rate_hz),
        )


def _or_base(point: ModulationPoint, name: str, base: Decimal | int) -> Fraction:
    stated = getattr(point, name)
    return Fraction(base if stated is None else stated)


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


def _spread(profile: Profile, channels: list[ChannelProgram]) -> list[ChannelProgram]:
    """Give channels of the same cycle offsets that keep their pulses apart (rule 3)."""
    spread = []
    for index, channel in enumerate(channels):
        together = [i for i, other in enumerate(channels) if other.cycle == channel.cycle]
        slot_us = min(setting.pulse_period_us for setting in channel.settings) // len(together)
        longest_us = max(channel.pulse_us(setting.unit_us) for setting in channel.settings)
        if longest_us > slot_us:
            raise ProfileError(
                f"{profile.id}: channels[{index + 1}]: a pulse of {longest_us} us does not fit the {slot_us} us "
                f"that each of {len(together)} channels has; expected a lower pulse rate or shorter phases"
            )
        spread.append(replace(channel, pulse_offset_us=together.index(index) * slot_us))
    return spread


def _remedy(balancing_us: Fraction, last: PulsePhase) -> str:
    """Say how long the last phase must be, or that no length will do."""
    low, high = limits.phase_duration_us.minimum, limits.phase_duration_us.maximum
    if balancing_us.denominator != 1 or not low <= balancing_us <= high:
        return "no last phase of this amplitude balances it; change its amplitude_permille"
    verb = "lengthen" if balancing_us > last.duration_us else "shorten"
    return f"{verb} the last phase to {balancing_us} us"


def _signed(charge_uc: Fraction) -> str:
    """Show microcoulombs with as many decimals as it takes not to read as zero."""
    for places in (1, 3, 6):
        shown = f"{float(charge_uc):+.{places}f}"
        if float(shown):
            return shown
    return f"{float(charge_uc):+g}"
