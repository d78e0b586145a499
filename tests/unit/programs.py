"""Random pulse programmes, and a slow interpreter of them, written straight from the contract.

The interpreter walks pulse by pulse in plain integers, as the docstring of
`firmware_protocol/program.py` says; it shares nothing with `estim.waveform`.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase


class Pulse(NamedTuple):
    """One delivered pulse: onset, and (duration in us, signed current in uA) of each phase."""

    onset_us: int
    phases: tuple[tuple[int, int], ...]


def walk(channel: ChannelProgram, setpoint_ua: int, step_ua: int, end_us: int) -> list[Pulse]:
    """Return every pulse with an onset before `end_us` and a current above zero."""
    found: list[Pulse] = []
    cycle = channel.cycle
    begin_us = cycle.offset_ms * 1000 if cycle else 0
    while begin_us < end_us:
        on_us = cycle.on_phase_ms * 1000 if cycle else end_us * 2
        for since_us in _onsets(channel, min(on_us, end_us - begin_us)):
            pulse = _pulse(channel, setpoint_ua, step_ua, since_us, on_us)
            if pulse is not None:
                found.append(Pulse(begin_us + since_us, pulse))
        if cycle is None:
            break
        begin_us += cycle.total_ms * 1000
    return found


def _onsets(channel: ChannelProgram, end_us: int) -> list[int]:
    onsets = []
    onset_us = burst_us = channel.pulse_offset_us
    count = 0
    while onset_us < end_us:
        onsets.append(onset_us)
        count += 1
        if count == channel.pulses_per_burst:
            burst_us += channel.burst_period_us
            onset_us, count = burst_us, 0
        else:
            onset_us += _setting(channel, onset_us).pulse_period_us
    return onsets


def _setting(channel: ChannelProgram, since_us: int) -> Keyframe:
    if not channel.keyframes:
        return Keyframe(0, 1000, channel.unit_us, channel.pulse_period_us)
    place_ms = (since_us - channel.pulse_offset_us) / 1000 % channel.keyframe_cycle_ms
    return [frame for frame in channel.keyframes if frame.at_ms <= place_ms][-1]


def _pulse(
    channel: ChannelProgram, setpoint_ua: int, step_ua: int, since_us: int, on_us: int
) -> tuple[tuple[int, int], ...] | None:
    setting = _setting(channel, since_us)
    durations_us = [
        phase.duration if phase.amplitude_permille == 0 else phase.duration * setting.unit_us
        for phase in channel.phases
    ]
    if since_us + sum(durations_us) > on_us:
        return None
    amplitude_ua = setpoint_ua
    if channel.cycle is not None:
        up_us, down_us = channel.cycle.ramp_up_ms * 1000, channel.cycle.ramp_down_ms * 1000
        if since_us < up_us:
            amplitude_ua = amplitude_ua * since_us // up_us
        elif on_us - since_us < down_us:
            amplitude_ua = amplitude_ua * (on_us - since_us) // down_us
    amplitude_ua = amplitude_ua * setting.amplitude_permille // 1000
    amplitude_ua -= amplitude_ua % channel.grid_ua(step_ua)
    if amplitude_ua == 0:
        return None
    phases = []
    for phase, duration_us in zip(channel.phases, durations_us, strict=True):
        current_ua = amplitude_ua * abs(phase.amplitude_permille) // 1000 // step_ua * step_ua
        phases.append((duration_us, current_ua if phase.amplitude_permille > 0 else -current_ua))
    return tuple(phases)


PULSES = (
    (Phase(1, 1000), Phase(1, -1000)),
    (Phase(1, 1000), Phase(100, 0), Phase(1, -1000)),
    (Phase(1, 1000), Phase(4, -250)),
    (Phase(1, 1000), Phase(37, 0), Phase(2, -500)),
    (Phase(1, 1000), Phase(1, -1000), Phase(20, 0), Phase(1, 333), Phase(1, -333)),
)


@st.composite
def channels(draw: st.DrawFn) -> ChannelProgram:
    """Draw a well-formed channel: every combination of burst, cycle and keyframes."""
    phases = draw(st.sampled_from(PULSES))
    # The longest pulse is 5 units and a gap of 100 us at most.
    units_us = st.integers(10, 200)
    periods_us = st.integers(1100, 60_000)
    keyframes: tuple[Keyframe, ...] = ()
    keyframe_cycle_ms = 0
    if draw(st.booleans()):
        steps_ms = draw(st.lists(st.integers(1, 400), min_size=2, max_size=6))
        starts_ms = [sum(steps_ms[:index]) for index in range(len(steps_ms))]
        keyframe_cycle_ms = sum(steps_ms)
        full = draw(st.integers(0, len(steps_ms) - 1))
        keyframes = tuple(
            Keyframe(
                at_ms,
                1000 if index == full else draw(st.integers(0, 1000)),
                draw(units_us),
                draw(periods_us),
            )
            for index, at_ms in enumerate(starts_ms)
        )
    period_us = draw(periods_us)
    pulses_per_burst = burst_period_us = 0
    if draw(st.booleans()):
        pulses_per_burst = draw(st.integers(1, 8))
        longest_us = max([period_us, *(frame.pulse_period_us for frame in keyframes)])
        burst_period_us = pulses_per_burst * longest_us + draw(st.integers(0, 50_000))
    cycle = None
    if draw(st.booleans()):
        cycle = Cycle(
            draw(st.integers(0, 300)),
            draw(st.integers(1, 500)),
            draw(st.integers(0, 300)),
            draw(st.integers(0, 300)),
            draw(st.integers(0, 300)),
        )
    return ChannelProgram(
        phases=phases,
        unit_us=draw(units_us),
        pulse_period_us=period_us,
        pulse_offset_us=draw(st.integers(0, 20_000)),
        pulses_per_burst=pulses_per_burst,
        burst_period_us=burst_period_us,
        cycle=cycle,
        keyframes=keyframes,
        keyframe_cycle_ms=keyframe_cycle_ms,
    )
