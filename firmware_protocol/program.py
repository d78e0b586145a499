"""The pulse programme: what a device plays alone, its canonical bytes and its digest.

Rules:
1. Integers only. 1 uA x 1 us = 1 pC.
2. Every pulse is balanced: over the active phases the sum of units x permille is exactly 0.
3. The largest |permille| of a pulse is 1000 and, where there are keyframes, one of them has 1000:
   full scale is reachable.
4. A polarity run is what the body feels as one phase: neighbours of one sign, gaps between them
   ignored, the last joined with the first. The length of a phase is that of its run, so that a
   phase cut in steps gains nothing. Its charge is judged over every stretch of the pulse, a ring:
   neither a weak phase nor a weak turn excuses the charge beside it.
5. Nesting: cycle > keyframes (their clock restarts with each on-phase) > burst > pulse.
6. A pulse that would outlast its on-phase is not started, so an off time holds no current.
7. Pulses of two channels never overlap in time, unless the programme says that they may.
8. The canonical bytes are the payloads of BeginProgram, then per channel ProgramPhases and its
   ProgramKeyframes (16 at a time), in order; the digest is their CRC-32 (identity, not security).

Time. A channel's clock is zero when RUNNING begins. With a cycle, on-phase k starts at
`cycle_offset_ms + k x (ramp_up + on + ramp_down + off)` and lasts ramp_up + on + ramp_down; without
one (`on_ms` 0) there is a single endless on-phase from 0. Within an on-phase the first burst starts
at `pulse_offset_us`; bursts follow at `burst_period_us`, pulses within them at the pulse period
that held at the onset before. A keyframe is looked up at each onset, by the time since
the first onset of its on-phase (start plus `pulse_offset_us`), modulo `keyframe_cycle_ms`.

Amplitude. At each onset: setpoint x ramp x keyframe, each floored, then snapped down to `grid_ua`;
then the phases.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from itertools import pairwise
from math import gcd, lcm

from firmware_protocol import codec
from firmware_protocol.errors import MessageError, ProgramError
from firmware_protocol.fields import Declared, declared
from firmware_protocol.messages import (
    CHANNELS_MAX,
    KEYFRAMES_MAX,
    KEYFRAMES_PER_MESSAGE,
    PHASES_MAX,
    BeginProgram,
    KeyframeRow,
    Message,
    PhaseRow,
    ProgramFlag,
    ProgramKeyframes,
    ProgramPhases,
)

FULL_PERMILLE = 1000
US_PER_MS = 1000


@declared
class Phase(Declared):
    """One phase: `duration` in units and a signed share, or a gap of `duration` us with share 0."""

    duration: int
    amplitude_permille: int

    @property
    def is_gap(self) -> bool:
        """Tell whether no current flows."""
        return self.amplitude_permille == 0


@declared
class Keyframe(Declared):
    """One hold of a modulation; `unit_us` and `pulse_period_us` are absolute."""

    at_ms: int
    amplitude_permille: int
    unit_us: int
    pulse_period_us: int


@declared
class Cycle(Declared):
    """An on/off cycle; the plateau `on_ms` excludes both ramps."""

    ramp_up_ms: int
    on_ms: int
    ramp_down_ms: int
    off_ms: int
    offset_ms: int = 0

    @property
    def on_phase_ms(self) -> int:
        """Return ramp up, plateau and ramp down together."""
        return self.ramp_up_ms + self.on_ms + self.ramp_down_ms

    @property
    def total_ms(self) -> int:
        """Return the length of the whole cycle."""
        return self.on_phase_ms + self.off_ms


@declared
class ChannelProgram(Declared):
    """What one channel plays.

    Attributes:
        phases: 1 to 16 phases of a pulse.
        unit_us: length of one phase unit where there are no keyframes.
        pulse_period_us: onset to onset where there are no keyframes.
        pulse_offset_us: first onset after the start of an on-phase.
        pulses_per_burst: 0 for no bursts.
        burst_period_us: start to start of bursts; 0 for no bursts.
        cycle: the on/off cycle, or None for continuous output.
        keyframes: up to 32 holds, the first at 0 ms.
        keyframe_cycle_ms: when the keyframes start again; 0 without keyframes.
    """

    phases: tuple[Phase, ...]
    unit_us: int
    pulse_period_us: int
    pulse_offset_us: int = 0
    pulses_per_burst: int = 0
    burst_period_us: int = 0
    cycle: Cycle | None = None
    keyframes: tuple[Keyframe, ...] = ()
    keyframe_cycle_ms: int = 0

    @property
    def settings(self) -> tuple[Keyframe, ...]:
        """Return the keyframes, or the one setting that stands for none."""
        if self.keyframes:
            return self.keyframes
        return (Keyframe(0, FULL_PERMILLE, self.unit_us, self.pulse_period_us),)

    def phase_us(self, phase: Phase, unit_us: int) -> int:
        """Return the length of a phase at a unit length, in microseconds."""
        return phase.duration if phase.is_gap else phase.duration * unit_us

    def pulse_us(self, unit_us: int) -> int:
        """Return the length of a whole pulse at a unit length, in microseconds."""
        return sum(self.phase_us(phase, unit_us) for phase in self.phases)

    @property
    def is_paired(self) -> bool:
        """Tell whether positive and negative phases are equal and opposite in pairs."""
        positive = sorted(
            (p.duration, p.amplitude_permille) for p in self.phases if p.amplitude_permille > 0
        )
        negative = sorted(
            (p.duration, -p.amplitude_permille) for p in self.phases if p.amplitude_permille < 0
        )
        return positive == negative

    @property
    def polarity_runs(self) -> tuple[tuple[int, ...], ...]:
        """Return the indices of the active phases of each polarity run, in order (rule 4)."""
        runs: list[list[int]] = []
        for index, phase in enumerate(self.phases):
            if phase.is_gap:
                continue
            if runs and self.phases[runs[-1][0]].amplitude_permille * phase.amplitude_permille > 0:
                runs[-1].append(index)
            else:
                runs.append([index])
        first, last = self.phases[runs[0][0]], self.phases[runs[-1][0]]
        if len(runs) > 1 and first.amplitude_permille * last.amplitude_permille > 0:
            runs[0] = runs.pop() + runs[0]
        return tuple(tuple(run) for run in runs)

    def grid_ua(self, amplitude_step_ua: int) -> int:
        """Return the amplitude grid on which every phase is a whole number of device steps."""
        if self.is_paired:
            return amplitude_step_ua
        shares = [abs(p.amplitude_permille) for p in self.phases if not p.is_gap]
        return amplitude_step_ua * lcm(
            *(FULL_PERMILLE // gcd(FULL_PERMILLE, share) for share in shares)
        )

    def deliverable_ua(self, target_ua: int, amplitude_step_ua: int) -> int:
        """Return the amplitude that a target delivers: the grid point at or below it."""
        return target_ua - target_ua % self.grid_ua(amplitude_step_ua)

    def phase_currents_ua(self, amplitude_ua: int, amplitude_step_ua: int) -> tuple[int, ...]:
        """Return the signed current of each phase for an amplitude that is already on the grid."""
        currents = []
        for phase in self.phases:
            magnitude = amplitude_ua * abs(phase.amplitude_permille) // FULL_PERMILLE
            magnitude -= magnitude % amplitude_step_ua
            currents.append(-magnitude if phase.amplitude_permille < 0 else magnitude)
        return tuple(currents)


@declared
class PulseProgram(Declared):
    """What all channels play together."""

    channels: tuple[ChannelProgram, ...]
    allow_overlap: bool = False

    def __hash__(self) -> int:
        """Hash little: whoever caches by programme has few of them."""
        return hash((len(self.channels), self.allow_overlap))

    def messages(self) -> tuple[Message, ...]:
        """Return the messages that load this programme, without the commit."""
        flags = ProgramFlag.ALLOW_OVERLAP if self.allow_overlap else ProgramFlag.NONE
        loading: list[Message] = [BeginProgram(len(self.channels), flags)]
        for index, channel in enumerate(self.channels):
            loading.append(_phases_message(index, channel))
            for first in range(0, len(channel.keyframes), KEYFRAMES_PER_MESSAGE):
                batch = channel.keyframes[first : first + KEYFRAMES_PER_MESSAGE]
                key_rows = tuple(
                    KeyframeRow(k.at_ms, k.amplitude_permille, k.unit_us, k.pulse_period_us)
                    for k in batch
                )
                loading.append(ProgramKeyframes(index, first, key_rows))
        return tuple(loading)

    def canonical_bytes(self) -> bytes:
        """Return the bytes that the digest covers (rule 8)."""
        return b"".join(codec.encode_payload(message) for message in self.messages())

    @property
    def digest(self) -> int:
        """Return the CRC-32 of the canonical bytes."""
        return zlib.crc32(self.canonical_bytes())


def from_messages(loading: tuple[Message, ...]) -> PulseProgram:
    """Put a programme together from the messages that loaded it.

    Raises:
        ProgramError: a message is missing, out of order, repeated, or the programme is not well
            formed.
    """
    if not loading or not isinstance(loading[0], BeginProgram):
        raise ProgramError("a programme begins with BeginProgram")
    begin = loading[0]
    channels: list[ProgramPhases] = []
    keyframes: list[list[Keyframe]] = []
    for message in loading[1:]:
        if isinstance(message, ProgramPhases):
            if message.channel != len(channels):
                raise ProgramError(f"channel {message.channel + 1} came out of order")
            channels.append(message)
            keyframes.append([])
        elif isinstance(message, ProgramKeyframes):
            if message.channel != len(channels) - 1 or message.first_index != len(keyframes[-1]):
                raise ProgramError(f"keyframes of channel {message.channel + 1} came out of order")
            if not message.keyframes:
                raise ProgramError("a keyframe message is empty")
            keyframes[-1].extend(
                Keyframe(row.at_ms, row.amplitude_permille, row.unit_us, row.pulse_period_us)
                for row in message.keyframes
            )
        else:
            raise ProgramError(f"{type(message).__name__} does not belong to a programme")
    if len(channels) != begin.channel_count:
        raise ProgramError(f"{begin.channel_count} channels announced, {len(channels)} came")
    built = []
    for phases, frames in zip(channels, keyframes, strict=True):
        if len(frames) != phases.keyframe_count:
            raise ProgramError(
                f"channel {phases.channel + 1}: "
                f"{phases.keyframe_count} keyframes announced, {len(frames)} came"
            )
        built.append(_channel_from(phases, tuple(frames)))
    program = PulseProgram(tuple(built), ProgramFlag.ALLOW_OVERLAP in begin.flags)
    check_form(program)
    return program


@lru_cache(maxsize=16)
def from_canonical_bytes(canonical: bytes) -> PulseProgram:
    """Rebuild a programme from its canonical bytes.

    Raises:
        ProgramError: the bytes are not those of a well-formed programme.
    """
    loading: list[Message] = []
    try:
        begin, at = codec.decode_payload_prefix(BeginProgram, canonical)
        loading.append(begin)
        while at < len(canonical):
            phases, at = codec.decode_payload_prefix(ProgramPhases, canonical, at)
            loading.append(phases)
            missing = phases.keyframe_count
            while missing > 0:
                frames, at = codec.decode_payload_prefix(ProgramKeyframes, canonical, at)
                if not frames.keyframes:
                    raise ProgramError("a keyframe message is empty")
                loading.append(frames)
                missing -= len(frames.keyframes)
    except MessageError as error:
        raise ProgramError(f"not the bytes of a programme: {error}") from error
    program = from_messages(tuple(loading))
    if program.canonical_bytes() != canonical:
        raise ProgramError("not the canonical bytes of a programme")
    return program


def check_form(program: PulseProgram) -> None:
    """Check everything about a programme that needs no limit and no device.

    Raises:
        ProgramError: the first rule broken, naming the channel.
    """
    if not 1 <= len(program.channels) <= CHANNELS_MAX:
        raise ProgramError(f"1 to {CHANNELS_MAX} channels, got {len(program.channels)}")
    for number, channel in enumerate(program.channels, start=1):
        problem = _channel_problem(channel)
        if problem:
            raise ProgramError(f"channel {number}: {problem}")
    if not program.allow_overlap:
        for second in range(len(program.channels)):
            for first in range(second):
                if _may_overlap(program.channels[first], program.channels[second]):
                    raise ProgramError(
                        f"pulses of channels {first + 1} and {second + 1} can overlap"
                    )
    try:
        program.canonical_bytes()
    except MessageError as error:
        raise ProgramError(f"does not fit the wire: {error}") from error


def _channel_problem(channel: ChannelProgram) -> str:
    """Return the first rule that a channel breaks, or ''."""
    if not 1 <= len(channel.phases) <= PHASES_MAX:
        return f"1 to {PHASES_MAX} phases, got {len(channel.phases)}"
    if len(channel.keyframes) > KEYFRAMES_MAX:
        return f"at most {KEYFRAMES_MAX} keyframes, got {len(channel.keyframes)}"
    if any(phase.duration < 1 for phase in channel.phases):
        return "a phase has no duration"
    if channel.phases[0].is_gap or channel.phases[-1].is_gap:
        return "a pulse begins and ends with an active phase"
    if max(abs(phase.amplitude_permille) for phase in channel.phases) != FULL_PERMILLE:
        return "the largest phase must have 1000 permille"
    net = sum(phase.duration * phase.amplitude_permille for phase in channel.phases)
    if net != 0:
        return f"net charge is not zero: {net:+d} unit-permille"
    return _keyframe_problem(channel) or _timing_problem(channel)


def _keyframe_problem(channel: ChannelProgram) -> str:
    if not channel.keyframes:
        return "a keyframe cycle without keyframes" if channel.keyframe_cycle_ms else ""
    starts = [frame.at_ms for frame in channel.keyframes]
    if starts[0] != 0 or any(later <= earlier for earlier, later in pairwise(starts)):
        return "keyframes start at 0 ms and rise in time"
    if channel.keyframe_cycle_ms <= starts[-1]:
        return "the keyframe cycle ends before its last keyframe"
    if any(frame.amplitude_permille > FULL_PERMILLE for frame in channel.keyframes):
        return "a keyframe exceeds 1000 permille"
    if max(frame.amplitude_permille for frame in channel.keyframes) != FULL_PERMILLE:
        return "one keyframe must have 1000 permille"
    return ""


def _timing_problem(channel: ChannelProgram) -> str:
    for setting in channel.settings:
        if setting.unit_us < 1:
            return "a phase unit has no duration"
        if channel.pulse_us(setting.unit_us) > setting.pulse_period_us:
            return "the pulse is longer than its period"
        if channel.pulses_per_burst * setting.pulse_period_us > channel.burst_period_us:
            return "the burst is longer than its period"
    if channel.burst_period_us and not channel.pulses_per_burst:
        return "a burst period without bursts"
    cycle = channel.cycle
    if cycle is not None and cycle.on_ms < 1:
        return "a cycle without an on time"
    return ""


def _may_overlap(first: ChannelProgram, second: ChannelProgram) -> bool:
    """Tell whether two channels could ever deliver at once (rule 7)."""
    return not (_share_timing(first, second) or _never_on_together(first, second))


def _share_timing(first: ChannelProgram, second: ChannelProgram) -> bool:
    """Tell whether both channels tick together with offsets that keep every pulse pair apart."""
    if first.cycle != second.cycle or first.keyframe_cycle_ms != second.keyframe_cycle_ms:
        return False
    if (first.pulses_per_burst, first.burst_period_us) != (
        second.pulses_per_burst,
        second.burst_period_us,
    ):
        return False
    times = [(s.at_ms, s.pulse_period_us) for s in first.settings]
    if times != [(s.at_ms, s.pulse_period_us) for s in second.settings]:
        return False
    early, late = sorted((first, second), key=lambda channel: channel.pulse_offset_us)
    lead_us = late.pulse_offset_us - early.pulse_offset_us
    return all(
        early.pulse_us(mine.unit_us) <= lead_us
        and lead_us + late.pulse_us(theirs.unit_us) <= mine.pulse_period_us
        for mine, theirs in zip(early.settings, late.settings, strict=True)
    )


def _never_on_together(first: ChannelProgram, second: ChannelProgram) -> bool:
    """Tell whether the on-phases of two cycles of equal length are apart for ever."""
    one, other = first.cycle, second.cycle
    if one is None or other is None or one.total_ms != other.total_ms:
        return False
    lead_ms = (other.offset_ms - one.offset_ms) % one.total_ms
    return one.on_phase_ms <= lead_ms and lead_ms + other.on_phase_ms <= one.total_ms


def _phases_message(index: int, channel: ChannelProgram) -> ProgramPhases:
    cycle = channel.cycle or Cycle(0, 0, 0, 0)
    return ProgramPhases(
        channel=index,
        unit_us=channel.unit_us,
        pulse_period_us=channel.pulse_period_us,
        pulse_offset_us=channel.pulse_offset_us,
        pulses_per_burst=channel.pulses_per_burst,
        burst_period_us=channel.burst_period_us,
        ramp_up_ms=cycle.ramp_up_ms,
        on_ms=cycle.on_ms,
        ramp_down_ms=cycle.ramp_down_ms,
        off_ms=cycle.off_ms,
        cycle_offset_ms=cycle.offset_ms,
        keyframe_cycle_ms=channel.keyframe_cycle_ms,
        keyframe_count=len(channel.keyframes),
        phases=tuple(
            PhaseRow(phase.duration, phase.amplitude_permille) for phase in channel.phases
        ),
    )


def _channel_from(message: ProgramPhases, keyframes: tuple[Keyframe, ...]) -> ChannelProgram:
    cycle = None
    parts = (
        message.ramp_up_ms,
        message.on_ms,
        message.ramp_down_ms,
        message.off_ms,
        message.cycle_offset_ms,
    )
    if any(parts):
        cycle = Cycle(*parts)
    return ChannelProgram(
        phases=tuple(Phase(row.duration, row.amplitude_permille) for row in message.phases),
        unit_us=message.unit_us,
        pulse_period_us=message.pulse_period_us,
        pulse_offset_us=message.pulse_offset_us,
        pulses_per_burst=message.pulses_per_burst,
        burst_period_us=message.burst_period_us,
        cycle=cycle,
        keyframes=keyframes,
        keyframe_cycle_ms=message.keyframe_cycle_ms,
    )
