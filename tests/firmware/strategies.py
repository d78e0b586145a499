"""Sessions for simulator and C core: programmes, limits, and everything that may happen to them."""

from __future__ import annotations

from hypothesis import strategies as st

from estim.simulator.device import DeviceSettings
from estim.simulator.load import Load
from estim.simulator.settings import EVERYTHING_HELD
from firmware_protocol.messages import (
    ChannelLimits,
    KeyframeRow,
    PolicyFlag,
    ProgramKeyframes,
    SetLimits,
)
from firmware_protocol.program import ChannelProgram, Cycle, PulseProgram
from tests.protocol.strategies import channel_programs
from tests.safety.strategies import channels as slow_channels

POLICIES = st.sampled_from([PolicyFlag(n) for n in (0, 0, 0, 1, 2, 3)])


@st.composite
def device_settings(draw: st.DrawFn) -> DeviceSettings:
    """Build a device: mostly one that can do everything, so that most sessions get far."""
    is_able = draw(st.sampled_from([True, True, True, False]))
    return DeviceSettings(
        channel_count=draw(st.integers(1, 4)),
        amplitude_max_ua=draw(st.sampled_from([100_000, 100_000, 60_000, 12_345])),
        amplitude_step_ua=draw(st.sampled_from([100, 100, 1, 50, 1000])),
        compliance_mv=draw(st.sampled_from([180_000, 180_000, 3_000])),
        load=Load(draw(st.sampled_from([500, 500, 50, 14_999, 15_000, 1_000_000]))),
        baud=draw(st.sampled_from([115_200, 57_600, 500_000])),
        flags=EVERYTHING_HELD if is_able else draw(st.sampled_from(list(EVERYTHING_HELD))),
        has_patient_stop=draw(st.booleans()),
        phase_min_us=10 if is_able else draw(st.sampled_from([10, 50, 200])),
        phase_max_us=1000 if is_able else draw(st.sampled_from([1000, 300])),
        pulse_period_min_us=100 if is_able else draw(st.sampled_from([100, 10_000])),
        battery_percent=draw(st.sampled_from([100, 100, 255, 10, 9, 5, 4, 0])),
        is_switched=False if is_able else draw(st.booleans()),
    )


@st.composite
def programmes(draw: st.DrawFn, channels_max: int) -> PulseProgram:
    """Build a programme; where channels come apart by their timing, overlap may be forbidden."""
    count = draw(st.integers(1, channels_max))
    if count > 1 and draw(st.booleans()):
        return PulseProgram(_alternating(draw, count))
    shapes = slow_channels(fastest_us=200) | channel_programs(unit_us_max=200)
    return PulseProgram(tuple(draw(shapes) for _ in range(count)), allow_overlap=True)


def _alternating(draw: st.DrawFn, count: int) -> tuple[ChannelProgram, ...]:
    """Give channels that share their timing, or whose on-phases never meet: nearly always."""
    first = draw(slow_channels(fastest_us=5_000, cycles=False))
    cycle = None
    if draw(st.booleans()):
        cycle = Cycle(draw(st.sampled_from([0, 100])), 300, draw(st.sampled_from([0, 50])), 2_000)
    slip_us = draw(st.sampled_from([0, 0, 0, 1]))
    made = []
    for index in range(count):
        apart_us = max(first.pulse_us(setting.unit_us) for setting in first.settings) - slip_us
        offset_ms = index * 450 if cycle is not None else 0
        made.append(
            ChannelProgram(
                phases=first.phases,
                unit_us=first.unit_us,
                pulse_period_us=first.pulse_period_us,
                pulse_offset_us=0 if cycle is not None else index * apart_us,
                pulses_per_burst=first.pulses_per_burst,
                burst_period_us=first.burst_period_us,
                cycle=None
                if cycle is None
                else Cycle(cycle.ramp_up_ms, cycle.on_ms, cycle.ramp_down_ms, 2_000, offset_ms),
                keyframes=first.keyframes,
                keyframe_cycle_ms=first.keyframe_cycle_ms,
            )
        )
    return tuple(made)


@st.composite
def session_limits(draw: st.DrawFn, settings: DeviceSettings) -> SetLimits:
    """Build limits that a device takes."""
    own_ua = min(100_000, settings.amplitude_max_ua)
    return SetLimits(
        setpoint_slew_ua_per_s=draw(st.sampled_from([2000, 2000, 1000, 1999, 1])),
        rise_per_cycle_ua=draw(st.sampled_from([2000, 2000, 500, 1])),
        step_ua=draw(st.sampled_from([1000, 1000, 100, 999])),
        running_ms=draw(st.sampled_from([10_800_000, 10_800_000, 3_000, 1])),
        policy=draw(POLICIES),
        channels=tuple(
            ChannelLimits(
                amplitude_ua=draw(st.sampled_from([own_ua, own_ua, own_ua // 2])),
                phase_charge_pc=draw(st.sampled_from([48_000_000, 48_000_000, 2_000_000])),
                rms_ua=draw(st.sampled_from([50_000, 50_000, 3_000])),
                average_ua=draw(st.sampled_from([10_000, 10_000, 300])),
            )
            for _ in range(settings.channel_count)
        ),
    )


def keyframes_one_by_one(message: ProgramKeyframes) -> list[ProgramKeyframes]:
    """Cut a message of keyframes into one for each."""
    rows: tuple[KeyframeRow, ...] = message.keyframes
    return [
        ProgramKeyframes(message.channel, message.first_index + at, (row,))
        for at, row in enumerate(rows)
    ]
