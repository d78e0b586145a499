"""What was found in a capture: one row a pulse. The form that samples and steps share."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from estim.rig.measuring.expectation import Expected

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

_SPARSE_PULSES = 4
_CUT_LENGTH = 1.2
PULSES_MAX = 2_000_000
"""More pulses of one capture are not kept: memory stays bounded, and the result says so."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What must be known of a pulse to tell one from the next.

    Attributes:
        signs: of the lobes, in order.
        ends: where the steps of each lobe end, as shares of its duration.
        permilles: of the amplitude, the share that each step of each lobe carries.
        amplitude_step_ua: of the device; a step that comes to less is silence.
        silence_us: a silence longer than this ends a pulse.
        is_continuous: pulses may follow each other without silence: lobes are counted instead.
        lobes_us: the shortest of any setting, of each lobe.
        shortest_step_us: of any setting.
        longest_pulse_us: of any setting.
        window_us: as long as a pulse; silence is followed in it, 0 where there is too little.
        has_silence: whether the programme ever pauses.
        shortest_gap_us: within a pulse, between lobes of one sign; 0 for none.
    """

    signs: tuple[int, ...]
    ends: tuple[tuple[float, ...], ...]
    permilles: tuple[tuple[int, ...], ...]
    amplitude_step_ua: int
    silence_us: float
    is_continuous: bool
    lobes_us: tuple[float, ...]
    shortest_step_us: float
    longest_pulse_us: float
    shortest_gap_us: float
    window_us: float
    has_silence: bool

    @classmethod
    def of(cls, expected: Expected) -> Layout:
        """Return the layout of a programme's pulses."""
        lobes = expected.lobes
        gap_us, silence_us = expected.longest_gap_us, expected.shortest_silence_us
        is_continuous = silence_us <= gap_us
        spare_us = silence_us - gap_us
        # As short as can be, so that a pulse too many is seen as one.
        ends_us = gap_us + max(0.1 * spare_us, min(0.5 * spare_us, expected.shortest_lobe_us))
        longest_us = max(expected.channel.pulse_us(s.unit_us) for s in expected.settings)
        is_sparse = _SPARSE_PULSES * longest_us <= silence_us
        return cls(
            window_us=longest_us if is_sparse else 0.0,
            has_silence=bool(
                silence_us > 0
                or expected.channel.pulses_per_burst
                or (expected.channel.cycle and expected.channel.cycle.off_ms)
            ),
            signs=tuple(lobe.sign for lobe in lobes),
            ends=tuple(lobe.ends for lobe in lobes),
            permilles=tuple(
                tuple(
                    abs(phase.amplitude_permille)
                    for phase in expected.channel.phases[lobe.first : lobe.stop]
                )
                for lobe in lobes
            ),
            amplitude_step_ua=expected.amplitude_step_ua,
            # Pulses that abut are one group as long as no silence outlasts their own.
            silence_us=1.5 * gap_us + 1 if is_continuous else ends_us,
            is_continuous=is_continuous,
            lobes_us=expected.shortest_lobes_us,
            shortest_step_us=expected.shortest_phase_us,
            longest_pulse_us=longest_us,
            shortest_gap_us=min(
                (p.duration for p in expected.channel.phases if p.is_gap), default=0
            ),
        )

    @property
    def shortest_lobe_us(self) -> float:
        """Return the length of the shortest lobe under any setting."""
        return min(self.lobes_us)

    def may_be_cut(self, length_us: Floats) -> Booleans:
        """Tell whether what the edge of a capture cuts may be a pulse: it is no longer than one."""
        may_be: Booleans = length_us <= _CUT_LENGTH * self.longest_pulse_us
        return may_be

    @property
    def step_count(self) -> int:
        """Return the number of steps of a pulse."""
        return sum(map(len, self.ends))


@dataclass(frozen=True, slots=True)
class Pulses:
    """Pulses of the expected form; times in us since the first sample, one row each.

    Attributes:
        start_us: of each lobe, shape (pulses, lobes).
        end_us: of each lobe, shape (pulses, lobes).
        step_ua: signed current of each step, shape (pulses, steps).
        charge_pc: signed charge of each lobe, shape (pulses, lobes).
        net_pc: of each pulse.
        square: integral of the squared current of each pulse, uA2 us.
        peak_ua: largest magnitude within the first lobe.
        rise_us: from 10 to 90 % of the first step; nan where it cannot be told.
        flat: largest share of a lobe's other samples that equal its peak exactly.
    """

    start_us: Floats
    end_us: Floats
    step_ua: Floats
    charge_pc: Floats
    net_pc: Floats
    square: Floats
    peak_ua: Floats
    rise_us: Floats
    flat: Floats

    @property
    def count(self) -> int:
        """Return the number of pulses."""
        return len(self.net_pc)

    @property
    def onset_us(self) -> Floats:
        """Return when each pulse begins."""
        onsets: Floats = self.start_us[:, 0]
        return onsets

    @property
    def amplitude_ua(self) -> Floats:
        """Return the largest magnitude of any step of each pulse."""
        largest: Floats = np.abs(self.step_ua).max(axis=1) if self.count else np.empty(0)
        return largest

    def only(self, chosen: Booleans | Integers) -> Pulses:
        """Return some of the pulses."""
        return Pulses(*(getattr(self, item.name)[chosen] for item in fields(self)))

    @classmethod
    def joined(cls, parts: list[Pulses], layout: Layout) -> Pulses:
        """Return the pulses of all parts, in order."""
        if not parts:
            lobes, none = np.empty((0, len(layout.signs))), np.empty(0)
            steps = np.empty((0, layout.step_count))
            return cls(lobes, lobes, steps, lobes, none, none, none, none, none)
        return cls(
            *(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls))
        )


@dataclass(frozen=True, slots=True)
class Others:
    """Excursions that are no pulse of the expected form, one row each.

    Attributes:
        onset_us: when each begins.
        duration_us: how long each lasts.
        lobe_us: length of the first lobe of each.
        peak_ua: largest magnitude of each.
        lobe_count: how many lobes each has.
        net_pc: charge of each.
    """

    onset_us: Floats
    duration_us: Floats
    lobe_us: Floats
    peak_ua: Floats
    lobe_count: Integers
    net_pc: Floats

    @property
    def count(self) -> int:
        """Return their number."""
        return len(self.onset_us)

    def only(self, chosen: Booleans | Integers) -> Others:
        """Return some of them."""
        return Others(*(getattr(self, item.name)[chosen] for item in fields(self)))

    @classmethod
    def joined(cls, parts: list[Others]) -> Others:
        """Return those of all parts, in order."""
        if not parts:
            none = np.empty(0)
            return cls(none, none, none, none, np.empty(0, np.int64), none)
        return cls(
            *(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls))
        )


def of_one_polarity(pulses: Pulses, odd: Others, layout: Layout) -> tuple[Pulses, Others, bool]:
    """Return the pulses of the polarity that most have, the odd ones with the rest, and if swapped.

    A single pulse the other way round is balanced as well: by its polarity alone it is odd.
    """
    is_turned = pulses.step_ua[:, 0] * layout.signs[0] < 0
    is_inverted = bool(np.count_nonzero(is_turned) > pulses.count / 2)
    is_stray = is_turned != is_inverted
    if is_stray.any():
        stray = pulses.only(is_stray)
        begin_us, end_us = stray.start_us, stray.end_us
        others = Others(
            begin_us[:, 0],
            end_us[:, -1] - begin_us[:, 0],
            end_us[:, 0] - begin_us[:, 0],
            stray.amplitude_ua,
            np.full(stray.count, len(layout.signs)),
            stray.net_pc,
        )
        joined = Others.joined([odd, others])
        odd = joined.only(np.argsort(joined.onset_us, kind="stable"))
        pulses = pulses.only(~is_stray)
    return pulses, odd, is_inverted


@dataclass(frozen=True, slots=True)
class Found:
    """What a capture holds.

    Attributes:
        pulses: of the expected form, polarity aside.
        odd: excursions of another form.
        glitches: excursions too short to be a phase.
        is_inverted: the lobes have the opposite signs; those of `pulses` all have.
        duration_us: of the capture.
        sample_us: between samples; 0 for a list of changes.
        offset_ua: what flows, or seems to, in the silent stretches; the mean of all samples where
            there are none, since every pulse is balanced.
        largest_offset_ua: the mean of a tenth of a second of it that is farthest from zero.
        has_silence: whether there are silent stretches.
        drift_ua: how much that moved within the capture.
        noise_ua: standard deviation in the silent stretches.
        threshold_ua: below it nothing was looked for.
        resolution_ua: smallest step between readings; None where it cannot be told.
        is_cut_short: more pulses than are kept.
        is_begin_cut: a pulse had begun before the capture did; it is left out.
        is_end_cut: a pulse was not over when the capture ended; it is left out.
    """

    pulses: Pulses
    odd: Others
    glitches: Others
    is_inverted: bool
    duration_us: float
    sample_us: float
    offset_ua: float = 0.0
    largest_offset_ua: float = 0.0
    has_silence: bool = True
    drift_ua: float = 0.0
    noise_ua: float = 0.0
    threshold_ua: float = 0.0
    resolution_ua: float | None = None
    is_cut_short: bool = False
    is_begin_cut: bool = False
    is_end_cut: bool = False

    @property
    def cut_words(self) -> str:
        """Say which pulses the edges of the capture cut, or ''."""
        if self.is_begin_cut and self.is_end_cut:
            return "one is cut by the capture's beginning and another by its end"
        if self.is_begin_cut or self.is_end_cut:
            return f"one is cut by the capture's {'beginning' if self.is_begin_cut else 'end'}"
        return ""


def group(
    starts: Floats | Integers,
    stops: Floats | Integers,
    signs: Integers,
    layout: Layout,
    scale: float,
) -> Integers:
    """Return the number of the pulse that each lobe belongs to; `scale` is us per unit of time."""
    breaks = (starts[1:] - stops[:-1]) * scale > layout.silence_us
    groups = np.concatenate(([0], np.cumsum(breaks)))
    if not layout.is_continuous:
        return groups
    # Without silence lobes are counted, from the first one that has the sign of a pulse's first.
    firsts = np.flatnonzero(np.concatenate(([True], breaks)))
    place = np.arange(len(starts)) - firsts[groups]
    shifted = signs[firsts] != layout.signs[0]
    # Where most groups after a silence begin the other way, the leads are swapped.
    if np.count_nonzero(shifted[1:]) > len(shifted[1:]) / 2:
        shifted = ~shifted
    place = place - shifted[groups]
    number = np.floor_divide(place, len(layout.signs))
    keys = groups * (int(number.max()) + 3) + number + 1
    _, dense = np.unique(keys, return_inverse=True)
    return np.asarray(dense, np.int64)
