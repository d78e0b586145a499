"""Figures that sum many pulses: RMS and average over the worst second, and direct current."""

from __future__ import annotations

from math import sqrt

import numpy as np

from estim.rig.measuring.alignment import Alignment
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.instrument import Instrument
from estim.rig.measuring.judge import Judge
from estim.rig.measuring.pulses import Floats, Found
from estim.rig.measuring.uncertainty import Uncertainty
from estim.units import US_PER_S


def judge_sums(
    expected: Expected,
    found: Found,
    alignment: Alignment,
    sure: Uncertainty,
    judge: Judge,
    missing_us: Floats,
    lower_bound: str,
    instrument: Instrument | None,
) -> None:
    """Add the checks of sums."""
    _judge_dc(found, sure, judge, lower_bound)
    offset_ua = found.largest_offset_ua
    if instrument is not None and instrument.offset_uncertainty_ua is not None:
        if found.sample_us:
            judge.add("offset", 0.0, offset_ua, instrument.offset_uncertainty_ua)
    elif abs(offset_ua) > judge.row("offset").absolute:
        # All of it may be the instrument's, or none: a direct current may not pass unseen.
        judge.add("offset", 0.0, offset_ua, abs(offset_ua), note="the instrument's or the device's")
        judge.unknowns.append(
            f"an offset of {offset_ua:.4g} uA: whether it is the instrument's or a direct current "
            "of the device, the capture cannot tell; zero the instrument, its input shorted, or "
            "state its offset_uncertainty_ua"
        )
    steady = np.flatnonzero(alignment.steady)
    if len(steady) < 2:
        return
    _judge_second(expected, found, alignment, sure, judge, missing_us, lower_bound)


def _judge_second(
    expected: Expected,
    found: Found,
    alignment: Alignment,
    sure: Uncertainty,
    judge: Judge,
    missing_us: Floats,
    lower_bound: str,
) -> None:
    steady = np.flatnonzero(alignment.steady)
    held = slice(int(steady[0]), int(steady[-1]) + 1)
    pulses = found.pulses
    onset_us = pulses.onset_us[held]
    places = alignment.places
    kept = type(places)(
        places.setting[held], places.ramp[held], places.is_on[held], places.is_sure[held]
    )
    is_judged = expected.amplitude_ua is not None and not alignment.is_rising
    active_us = expected.durations_us(kept.setting)[:, list(expected.active)]
    currents = expected.currents_ua(float(expected.amplitude_ua or 0), kept)
    wanted_square = (currents**2 * active_us).sum(axis=1)
    wanted_charge = (np.abs(currents) * active_us).sum(axis=1)
    # Pulses that are missing are expected all the same, each like the one before it.
    inside = missing_us[(missing_us > onset_us[0]) & (missing_us < onset_us[-1])]
    before = np.searchsorted(onset_us, inside, side="right") - 1
    all_us = np.concatenate([onset_us, inside])
    order = np.argsort(all_us, kind="stable")
    period_us = float(np.median(np.diff(all_us[order])))
    # Pulses at both ends stand for a period each.
    span_us = float(all_us.max() - all_us.min()) + period_us
    window_us = min(float(US_PER_S), span_us)
    is_short = window_us < US_PER_S
    note = f"over {window_us / US_PER_S:.3f} s, all there is" if is_short else ""

    def worst(times_us: Floats, sums: Floats) -> tuple[float, float]:
        total = np.concatenate(([0.0], np.cumsum(sums)))
        # A train whose period divides the second exactly must not catch one pulse more.
        ends = np.searchsorted(times_us, times_us + window_us - 1e-3 * period_us)
        held_sums = total[ends] - total[:-1]
        index = int(np.argmax(held_sums))
        return float(held_sums[index]) / window_us, float(times_us[index])

    square, at_us = worst(onset_us, pulses.square[held])
    charge, charge_at_us = worst(onset_us, np.abs(pulses.charge_pc[held]).sum(axis=1))
    wanted_rms, _ = worst(
        all_us[order], np.concatenate([wanted_square, wanted_square[before]])[order]
    )
    wanted_average, _ = worst(
        all_us[order], np.concatenate([wanted_charge, wanted_charge[before]])[order]
    )
    count = len(steady)
    shortest_us = float(expected.shortest_phase_us)
    amplitude_ua = max(alignment.reference_ua, 1e-9)
    samples = shortest_us / 2 / max(found.sample_us, 1e-9)
    share = sqrt(
        (sure.current_ua(amplitude_ua, samples, count) / amplitude_ua) ** 2
        + (sure.duration_us(shortest_us, 0.0, count) / shortest_us) ** 2
    )
    rms_ua = sqrt(square)
    judge.add(
        "rms", sqrt(wanted_rms) if is_judged else None, rms_ua, share * rms_ua,
        worst_us=at_us, worst=rms_ua, note=note, lower_bound=lower_bound,
    )  # fmt: skip
    judge.add(
        "average", wanted_average if is_judged else None, charge, share * charge,
        worst_us=charge_at_us, worst=charge, note=note, lower_bound=lower_bound,
    )  # fmt: skip


def _judge_dc(found: Found, sure: Uncertainty, judge: Judge, lower_bound: str) -> None:
    """Judge the direct current that the pulses make; what flows in silence is the offset."""
    pulses = found.pulses
    if found.duration_us <= 0:
        return
    dc_ua = float(pulses.net_pc.sum()) / found.duration_us
    rate = pulses.count / found.duration_us
    current_ua = float(np.abs(pulses.step_ua[:, -1]).mean())
    pulse_us = float((pulses.end_us[:, -1] - pulses.start_us[:, 0]).mean())
    uncertainty_ua = sure.net_pc(dc_ua / rate, current_ua, pulse_us, pulses.count) * rate
    judge.add(
        "dc", 0.0, None if lower_bound else dc_ua, uncertainty_ua,
        note=lower_bound or "of the pulses, over the whole capture; the offset is not in it",
    )  # fmt: skip
