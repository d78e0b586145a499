"""Say what a capture looks like, where it is not what was commanded."""

from __future__ import annotations

import numpy as np

from estim.errors import EstimError
from estim.rig.captures.capture import CaptureInfo
from estim.rig.counts import counted
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.pulses import Found
from estim.units import UA_PER_MA, US_PER_S

_LIKE = 0.06
_OTHER_LOW, _OTHER_HIGH = 0.7, 1.4
_KNOWN_LOADS_OHM = (100, 200, 500, 1000, 2000, 5000, 10_000)
_AMPLITUDE_FACTORS = {
    1e6: "amperes read as uA, or uV as V?",
    1e3: "mV read as V, or mA as A?",
    1e-3: "V read as mV, or A as mA?",
    1e-6: "V read as uV, or A as uA?",
    1e2: "a probe factor of 100 too much?",
    1e1: "a probe factor of 10 too much?",
    1e-1: "a probe factor of 10 left out? --probe 10",
    1e-2: "a probe factor of 100 left out? --probe 100",
}
_TIME_FACTORS = {1e3: "ms read as s, or us as ms?", 1e-3: "s read as ms, or ms as us?"}


def mismatch(expected: Expected, found: Found) -> bool:
    """Tell whether the pulses cannot be those of the programme, whatever their amplitude."""
    pulses = found.pulses
    if found.odd.count > max(pulses.count, 1):
        return True
    settings = np.arange(len(expected.settings))
    durations_us = expected.durations_us(settings)
    resolution_us = 2 * found.sample_us
    for index, lobe in enumerate(expected.lobes):
        wanted = durations_us[:, lobe.first : lobe.stop].sum(axis=1)
        measured = float(np.median(pulses.end_us[:, index] - pulses.start_us[:, index]))
        low, high = _OTHER_LOW * wanted.min(), _OTHER_HIGH * wanted.max()
        if not low - resolution_us <= measured <= high + resolution_us:
            return True
    if pulses.count < 3:
        return False
    interval_us = float(np.median(np.diff(pulses.onset_us)))
    periods_us = expected.periods_us(settings)
    return not _OTHER_LOW * periods_us.min() <= interval_us <= _OTHER_HIGH * periods_us.max()


def looks_like(
    expected: Expected,
    found: Found,
    reference_ua: float,
    info: CaptureInfo,
    load_ohm: int | None,
) -> str:
    """Return what a capture seems to be instead of what was commanded, or ''."""
    if not found.pulses.count:
        return _no_pulses(expected, found)
    if mismatch(expected, found):
        return _other(expected, found)
    if not expected.amplitude_ua or reference_ua <= 0:
        return ""
    ratio = reference_ua / expected.amplitude_ua
    for factor, cause in _AMPLITUDE_FACTORS.items():
        if abs(ratio / factor - 1) <= _LIKE:
            times = f"{factor:g} times" if factor > 1 else f"1/{1 / factor:g} of"
            return f"amplitude is {times} what was commanded: {cause}"
    if info.quantity == "V" and load_ohm and abs(ratio - 1) > _LIKE:
        implied_ohm = load_ohm * ratio
        for known_ohm in _KNOWN_LOADS_OHM:
            if known_ohm != load_ohm and abs(implied_ohm / known_ohm - 1) <= _LIKE:
                return f"said {load_ohm} ohm, this looks like {known_ohm} ohm"
    if expected.ceiling_ua and reference_ua > 1.06 * expected.ceiling_ua:
        return (
            f"amplitude {reference_ua / UA_PER_MA:.4g} mA is above the profile's ceiling of "
            f"{expected.ceiling_ua / UA_PER_MA:g} mA"
        )
    return ""


def _no_pulses(expected: Expected, found: Found) -> str:
    others = found.odd if found.odd.count else found.glitches
    if not others.count:
        if found.sample_us == 0.0:
            return "no pulses: nothing flowed"
        return (
            f"no pulses in {found.duration_us / US_PER_S:.6g} s: nothing stands out of "
            f"{found.noise_ua:.3g} uA of noise by more than {found.threshold_ua:.3g} uA"
        )
    lobe_us = float(np.median(others.lobe_us))
    peak_ma = float(np.median(others.peak_ua)) / UA_PER_MA
    text = (
        f"no pulses of this profile, but {counted(others.count, 'other')}: first phase "
        f"{lobe_us:.4g} us, {counted(int(np.median(others.lobe_count)), 'phase')}, {peak_ma:.4g} mA"
    )
    if others.count > 1:
        rate_hz = US_PER_S / max(float(np.median(np.diff(others.onset_us))), 1e-9)
        text += f", {rate_hz:.4g} Hz"
    lobe = expected.lobes[0]
    wanted = float(expected.durations_us(np.zeros(1, np.int64))[0, lobe.first : lobe.stop].sum())
    for factor, cause in _TIME_FACTORS.items():
        if abs(lobe_us / (wanted * factor) - 1) <= 0.3:
            text += f"; time is {_times(factor)}: {cause}"
    return text


def _other(expected: Expected, found: Found) -> str:
    """Describe the pulses, and name a shipped profile that has such."""
    pulses = found.pulses
    lobes_us = [
        float(np.median(pulses.end_us[:, i] - pulses.start_us[:, i]))
        for i in range(pulses.end_us.shape[1])
    ]
    period_us = 0.0
    if pulses.count > 1:
        period_us = float(np.median(np.diff(pulses.onset_us)))
    shown = " + ".join(f"{lobe_us:.4g}" for lobe_us in lobes_us)
    text = f"pulses of {shown} us"
    if period_us:
        text += f" at {US_PER_S / period_us:.4g} Hz"
    text += f", not those of {expected.profile_id}"
    base = expected.durations_us(np.zeros(1, np.int64))[0]
    wanted_us = float(base[expected.lobes[0].first : expected.lobes[0].stop].sum())
    for factor, cause in _TIME_FACTORS.items():
        period_ratio = period_us / float(expected.periods_us(np.zeros(1, np.int64))[0])
        if abs(lobes_us[0] / wanted_us / factor - 1) < 0.3 and 0.3 < period_ratio / factor < 3:
            return f"{text}; time is {_times(factor)}: {cause}"
    name = _known(lobes_us, period_us, expected.profile_id)
    return f"{text}; {name} has such pulses" if name else text


def _known(lobes_us: list[float], period_us: float, not_id: str) -> str:
    """Return the id of a shipped profile with such a first pulse, or ''."""
    from estim.profile.library import library
    from estim.waveform.compile import compile_profile

    try:
        shipped = [(item.profile.id, compile_profile(item.profile)) for item in library()]
    except EstimError:
        return ""
    for profile_id, program in shipped:
        for channel in program.channels:
            if profile_id == not_id:
                continue
            for setting in channel.settings:
                active = [
                    channel.phase_us(p, setting.unit_us) for p in channel.phases if not p.is_gap
                ]
                if len(active) != len(lobes_us):
                    continue
                pairs = [*zip(lobes_us, active, strict=True), (period_us, setting.pulse_period_us)]
                if all(abs(one - other) <= 0.05 * other for one, other in pairs):
                    return profile_id
    return ""


def _times(factor: float) -> str:
    return f"{factor:g} times too long" if factor > 1 else f"{1 / factor:g} times too short"
