"""Show the pulse that is farthest from what was commanded, over what was commanded."""

from __future__ import annotations

import numpy as np

from estim.rig.captures.capture import Capture
from estim.rig.measuring.alignment import Alignment
from estim.rig.measuring.expectation import Expected, Places
from estim.rig.measuring.judge import Singles
from estim.rig.measuring.pulses import Floats, Found
from estim.rig.measuring.result import WorstPulse
from estim.units import US_PER_S

_MARGIN_SHARE = 0.25
_POINTS_MAX = 4000


def worst_pulse(
    capture: Capture,
    expected: Expected,
    found: Found,
    alignment: Alignment,
    singles: Singles,
) -> WorstPulse | None:
    """Return the worst pulse; the first where none is worse; None without pulses."""
    if not found.pulses.count:
        return None
    worst = singles.worst()
    steady = np.flatnonzero(alignment.steady)
    index, reason = worst or (int(steady[0]) if len(steady) else 0, "none deviates: the first")
    onset_us = float(found.pulses.onset_us[index])
    end_us = float(found.pulses.end_us[index, -1])
    margin_us = _MARGIN_SHARE * (end_us - onset_us)
    if found.sample_us:
        times_us, currents = _samples(capture, found, onset_us - margin_us, end_us + margin_us)
        times_us = times_us - onset_us
    else:
        times_us, currents = _corners(found, expected, index)
    wanted_us, wanted = _wanted(expected, alignment, index)
    return WorstPulse(
        at_s=capture.info.start_s + onset_us / US_PER_S,
        reason=reason,
        times_us=tuple(times_us.tolist()),
        current_ua=tuple(currents.tolist()),
        expected_times_us=tuple(wanted_us.tolist()),
        expected_ua=tuple(wanted.tolist()),
    )


def _samples(capture: Capture, found: Found, from_us: float, to_us: float) -> tuple[Floats, Floats]:
    """Return times and currents of samples, offset taken off, read once more from the file."""
    first = max(0, int(from_us / found.sample_us))
    count = int((to_us - from_us) / found.sample_us) + 2
    currents = capture.window(first, count) - found.offset_ua
    stride = -(-len(currents) // _POINTS_MAX) or 1
    # A sample holds from half a sample before to half a sample after.
    times_us = (first + np.arange(len(currents), dtype=np.float64) + 0.5) * found.sample_us
    return times_us[::stride], currents[::stride]


def _corners(found: Found, expected: Expected, index: int) -> tuple[Floats, Floats]:
    """Return where the current of an exact pulse changes, and to what, as a drawn line."""
    times: list[float] = []
    currents: list[float] = []
    step = 0
    onset_us = float(found.pulses.onset_us[index])
    for number, lobe in enumerate(expected.lobes):
        begin_us = float(found.pulses.start_us[index, number]) - onset_us
        length_us = float(found.pulses.end_us[index, number]) - onset_us - begin_us
        before = 0.0
        for share in lobe.ends:
            current = float(found.pulses.step_ua[index, step])
            times += [begin_us + before * length_us, begin_us + share * length_us]
            currents += [current, current]
            before, step = share, step + 1
    return np.array([times[0], *times, times[-1]]), np.array([0.0, *currents, 0.0])


def _wanted(expected: Expected, alignment: Alignment, index: int) -> tuple[Floats, Floats]:
    """Return the corners of the commanded pulse, as a drawn line."""
    places = alignment.places
    chosen = slice(index, index + 1)
    place = Places(
        places.setting[chosen], places.ramp[chosen], places.is_on[chosen], places.is_sure[chosen]
    )
    amplitude_ua = expected.amplitude_ua
    level = float(amplitude_ua) if amplitude_ua is not None else alignment.reference_ua + 1e-6
    active = dict(zip(expected.active, expected.currents_ua(level, place)[0].tolist(), strict=True))
    edges_us = np.concatenate(([0], np.cumsum(expected.durations_us(place.setting)[0])))
    times = [0.0]
    currents = [0.0]
    for phase, (begin_us, end_us) in enumerate(
        zip(edges_us[:-1].tolist(), edges_us[1:].tolist(), strict=True)
    ):
        times += [begin_us, end_us]
        currents += [active.get(phase, 0.0)] * 2
    return np.array([*times, times[-1]]), np.array([*currents, 0.0])
