"""Find pulses in a list of stretches of constant current: our own trace, or a VCD. Exact."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from estim.rig.captures.capture import Capture, Steps
from estim.rig.measuring.pulses import (
    PULSES_MAX,
    Booleans,
    Floats,
    Found,
    Integers,
    Layout,
    Others,
    Pulses,
    group,
    of_one_polarity,
)
from estim.units import US_PER_S
from firmware_protocol.program import FULL_PERMILLE

_TOUCH_US = 1e-3
_WHOLE_LOBE = 0.99
_CRUMB_DURATION, _CRUMB_HEIGHT = 0.3, 0.1
"""Of the shortest step and of the highest lobe: what is less is a reading that flickered."""


def find_in_steps(capture: Capture, layout: Layout) -> Found:
    """Return the pulses of a list of changes, reading it to its end."""
    pulses: list[Pulses] = []
    odd: list[Others] = []
    count = 0
    pending: Steps | None = None
    for block in capture.steps():
        if count > PULSES_MAX:
            continue  # to its end all the same, so that a damaged line is told
        steps = _joined(pending, block)
        whole, pending = _split(steps, layout)
        if whole is not None:
            found, others = _sorted(whole, layout)
            pulses.append(found)
            odd.append(others)
            count += found.count
    if pending is not None and len(pending.start_us):
        found, others = _sorted(pending, layout)
        pulses.append(found)
        odd.append(others)
        count += found.count
    duration_us = capture.info.duration_s * US_PER_S
    all_pulses, all_odd = Pulses.joined(pulses, layout), Others.joined(odd)
    is_begin_cut = is_end_cut = False
    if capture.is_window:
        all_pulses, all_odd, is_begin_cut, is_end_cut = _without_cut(
            all_pulses, all_odd, layout, duration_us
        )
    alike, rest, is_inverted = of_one_polarity(all_pulses, all_odd, layout)
    return Found(
        pulses=alike,
        odd=rest,
        glitches=Others.joined([]),
        is_inverted=is_inverted,
        duration_us=duration_us,
        sample_us=0.0,
        is_cut_short=count > PULSES_MAX,
        is_begin_cut=is_begin_cut,
        is_end_cut=is_end_cut,
    )


def _without_cut(
    pulses: Pulses, odd: Others, layout: Layout, duration_us: float
) -> tuple[Pulses, Others, bool, bool]:
    """Return pulses and others without what the edges cut, and whether the edges cut any."""
    begin_us, end_us = pulses.start_us, pulses.end_us
    lengths_us = end_us - begin_us
    # What has its whole length began, or ended, just there.
    is_short = lengths_us < _WHOLE_LOBE * np.array(layout.lobes_us)
    first = (begin_us[:, 0] <= _TOUCH_US) & is_short[:, 0]
    last = (end_us[:, -1] >= duration_us - _TOUCH_US) & is_short[:, -1]
    may_be = layout.may_be_cut(odd.duration_us)
    odd_first = (odd.onset_us <= _TOUCH_US) & may_be
    odd_last = (odd.onset_us + odd.duration_us >= duration_us - _TOUCH_US) & may_be
    return (
        pulses.only(~(first | last)),
        odd.only(~(odd_first | odd_last)),
        bool(first.any() or odd_first.any()),
        bool(last.any() or odd_last.any()),
    )


@dataclass(frozen=True, slots=True)
class _Lobes:
    """Steps of one sign that touch, one row each."""

    first: Integers
    start_us: Floats
    end_us: Floats
    sign: Integers
    charge_pc: Floats
    square: Floats
    peak_ua: Floats
    number: Integers

    def only(self, chosen: Booleans) -> _Lobes:
        return _Lobes(*(getattr(self, item.name)[chosen] for item in fields(self)))


def _lobes(steps: Steps, layout: Layout) -> _Lobes:
    sign = np.sign(steps.current_ua).astype(np.int64)
    touches = steps.start_us[1:] - steps.end_us[:-1] <= _TOUCH_US
    breaks = ~touches | (sign[1:] != sign[:-1])
    first = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    last = np.append(first[1:], len(sign)) - 1
    length_us = steps.end_us - steps.start_us
    start_us, end_us, signs = steps.start_us[first], steps.end_us[last], sign[first]
    peak_ua = np.maximum.reduceat(np.abs(steps.current_ua), first)
    is_crumb = end_us - start_us < _CRUMB_DURATION * layout.shortest_step_us
    is_crumb &= peak_ua < _CRUMB_HEIGHT * peak_ua.max()
    number = np.zeros(len(first), np.int64)
    number[~is_crumb] = group(start_us[~is_crumb], end_us[~is_crumb], signs[~is_crumb], layout, 1.0)
    lobes = _Lobes(
        first=first,
        start_us=start_us,
        end_us=end_us,
        sign=signs,
        charge_pc=np.add.reduceat(steps.current_ua * length_us, first),
        square=np.add.reduceat(steps.current_ua**2 * length_us, first),
        peak_ua=peak_ua,
        number=number,
    )
    return lobes.only(~is_crumb)


def _split(steps: Steps, layout: Layout) -> tuple[Steps | None, Steps]:
    """Return the steps of the pulses that are over, and those of the last one."""
    lobes = _lobes(steps, layout)
    whole = int(np.count_nonzero(lobes.number < lobes.number[-1]))
    if not whole:
        return None, steps
    cut = int(lobes.first[whole])
    arrays = (steps.start_us, steps.end_us, steps.current_ua)
    return Steps(*(a[:cut] for a in arrays)), Steps(*(a[cut:] for a in arrays))


def _sorted(steps: Steps, layout: Layout) -> tuple[Pulses, Others]:
    """Return the pulses, of either polarity, and the others."""
    lobes = _lobes(steps, layout)
    firsts = np.concatenate(([0], np.flatnonzero(np.diff(lobes.number)) + 1))
    counts = np.diff(np.append(firsts, len(lobes.number)))
    is_pulse = counts == len(layout.signs)
    rows = firsts[is_pulse][:, None] + np.arange(len(layout.signs))
    turns = lobes.sign[rows] * np.array(layout.signs)
    is_regular = (turns == turns[:, :1]).all(axis=1)
    is_odd = ~is_pulse
    is_odd[np.flatnonzero(is_pulse)[~is_regular]] = True
    first, last = firsts[is_odd], firsts[is_odd] + counts[is_odd] - 1
    others = Others(
        lobes.start_us[first],
        lobes.end_us[last] - lobes.start_us[first],
        lobes.end_us[first] - lobes.start_us[first],
        lobes.peak_ua[first],
        counts[is_odd],
        np.add.reduceat(lobes.charge_pc, firsts)[is_odd],
    )
    rows = rows[is_regular]
    if not len(rows):
        return Pulses.joined([], layout), others
    begin, end = _whole_lobes(lobes, rows, layout)
    pulses = Pulses(
        start_us=begin,
        end_us=end,
        step_ua=_currents(steps, begin, end, layout),
        charge_pc=lobes.charge_pc[rows],
        net_pc=lobes.charge_pc[rows].sum(axis=1),
        square=lobes.square[rows].sum(axis=1),
        peak_ua=lobes.peak_ua[rows[:, 0]],
        rise_us=np.zeros(len(rows)),
        flat=np.zeros(len(rows)),
    )
    return pulses, others


def _whole_lobes(lobes: _Lobes, rows: Integers, layout: Layout) -> tuple[Floats, Floats]:
    """Return where lobes begin and end, steps included that the device rounded to zero."""
    begin, end = lobes.start_us[rows], lobes.end_us[rows]
    amplitude_ua = lobes.peak_ua[rows].max(axis=1)
    for lobe, (ends, permilles) in enumerate(zip(layout.ends, layout.permilles, strict=True)):
        steps_ua = amplitude_ua[:, None] * np.array(permilles) / FULL_PERMILLE
        flows = steps_ua >= layout.amplitude_step_ua
        flows[~flows.any(axis=1)] = True
        first = flows.argmax(axis=1)
        last = len(ends) - 1 - flows[:, ::-1].argmax(axis=1)
        before, until = np.array([0.0, *ends])[first], np.array(ends)[last]
        whole_us = (end[:, lobe] - begin[:, lobe]) / (until - before)
        begin[:, lobe] -= before * whole_us
        end[:, lobe] += (1.0 - until) * whole_us
    return begin, end


def _currents(steps: Steps, begin: Floats, end: Floats, layout: Layout) -> Floats:
    """Return the current in the middle of every expected step, shape (pulses, steps)."""
    columns = []
    for lobe, ends in enumerate(layout.ends):
        length = end[:, lobe] - begin[:, lobe]
        before = 0.0
        for share in ends:
            middle = begin[:, lobe] + (before + share) / 2 * length
            index = np.maximum(np.searchsorted(steps.start_us, middle, side="right") - 1, 0)
            # The first steps of the first pulse may be those that round to zero.
            flows = (steps.start_us[index] <= middle) & (steps.end_us[index] > middle)
            columns.append(np.where(flows, steps.current_ua[index], 0.0))
            before = share
    return np.stack(columns, axis=1)


def _joined(pending: Steps | None, block: Steps) -> Steps:
    if pending is None or not len(pending.start_us):
        return block
    return Steps(
        np.concatenate([pending.start_us, block.start_us]),
        np.concatenate([pending.end_us, block.end_us]),
        np.concatenate([pending.current_ua, block.current_ua]),
    )
