"""What to set an oscilloscope to for one step. Rules of thumb of this project, certainty E."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_protocol.program import ChannelProgram

SCREEN_DIVISIONS_USED = 6
"""Of the eight vertical divisions, so that an overshoot still shows."""
TIME_DIVISIONS_USED = 5
"""Of the ten horizontal divisions, for one pulse."""
SAMPLES_PER_PHASE = 100
"""In the shortest phase or gap: one sample is then 1 % of its duration."""
PERIODS_RECORDED = 10
RECORD_MIN_MS = 1000
"""The worst sliding second needs a second."""
PROBE_MAX_MV = 300_000
UV_PER_MV = 1000  # 1 uA through 1 ohm is 1 uV
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class ScopeSettings:
    """Settings for a capture across the dummy load.

    Attributes:
        peak_mv: voltage to expect at the load.
        vertical_mv_per_div: from amplitude and load.
        time_us_per_div: for looking at one pulse.
        record_ms: how long a capture to save.
        sample_rate_hz: least sample rate.
        trigger_mv: level, half the first phase; its edge goes away from zero.
    """

    peak_mv: int
    vertical_mv_per_div: int
    time_us_per_div: int
    record_ms: int
    sample_rate_hz: int
    trigger_mv: int

    @property
    def words(self) -> str:
        """Say it in one line."""
        edge = "rising" if self.trigger_mv > 0 else "falling"
        warning = ""
        if self.peak_mv > PROBE_MAX_MV:
            warning = f"; {self.peak_mv / 1000:g} V: use a high-voltage probe"
        return (
            f"{_volts(self.vertical_mv_per_div)}/div, {_time(self.time_us_per_div)}/div to see one "
            f"pulse; single trigger at {_volts(self.trigger_mv)}, {edge}; save at least "
            f"{self.record_ms / 1000:g} s at {_rate(self.sample_rate_hz)} or more{warning}"
        )


def scope_settings(
    channel: ChannelProgram, amplitude_ua: int, load_ohm: int, amplitude_step_ua: int
) -> ScopeSettings:
    """Return the settings for one channel at an amplitude into a load."""
    peak_mv = -(-amplitude_ua * load_ohm // UV_PER_MV)
    units_us = [setting.unit_us for setting in channel.settings]
    shortest_us = min(
        channel.phase_us(phase, unit_us) for phase in channel.phases for unit_us in units_us
    )
    pulse_us = max(channel.pulse_us(unit_us) for unit_us in units_us)
    period_us = max(setting.pulse_period_us for setting in channel.settings)
    if channel.pulses_per_burst:
        period_us = max(period_us, channel.burst_period_us)
    spans_ms = [RECORD_MIN_MS, PERIODS_RECORDED * period_us // 1000, channel.keyframe_cycle_ms]
    if channel.cycle is not None:
        spans_ms.append(channel.cycle.total_ms)
    delivered_ua = channel.deliverable_ua(amplitude_ua, amplitude_step_ua)
    first_ua = channel.phase_currents_ua(delivered_ua, amplitude_step_ua)[0]
    return ScopeSettings(
        peak_mv=peak_mv,
        vertical_mv_per_div=_step_up(-(-2 * peak_mv // SCREEN_DIVISIONS_USED)),
        time_us_per_div=_step_up(-(-pulse_us // TIME_DIVISIONS_USED)),
        record_ms=max(spans_ms),
        sample_rate_hz=_step_up(-(-SAMPLES_PER_PHASE * 1_000_000 // shortest_us)),
        trigger_mv=first_ua * load_ohm // 2 // UV_PER_MV,
    )


def _step_up(least: int) -> int:
    """Return the smallest of 1, 2, 5, 10, 20 ... that is not less."""
    decade = 1
    while True:
        for step in _STEPS:
            if step * decade >= least:
                return step * decade
        decade *= 10


def _volts(millivolts: int) -> str:
    return f"{millivolts / 1000:g} V" if abs(millivolts) >= 1000 else f"{millivolts} mV"


def _time(microseconds: int) -> str:
    return f"{microseconds / 1000:g} ms" if microseconds >= 1000 else f"{microseconds} us"


def _rate(hertz: int) -> str:
    return f"{hertz / 1e6:g} MS/s" if hertz >= 1_000_000 else f"{hertz / 1000:g} kS/s"
