"""What reached the load, as an oscilloscope recorded it while a session was played for it.

Rules:
1. The person is told when to start it and where to save it; nothing flows while that is waited for.
2. Its clock is not this computer's. Where both meet is told by the pattern: in each train of pulses
   the target is lowered once, by a Drive whose time is known. What that leaves open is granted to
   the device: from the Drive to its answer, a pulse period, and what may be decided ahead.
3. An edge is known to a sample, a current to `GAIN_PERCENT`; no verdict asks for more.
4. A recording that lacks a part, or cannot be read, makes a requirement not testable, never a fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from estim.errors import UsageError
from estim.rig.conformance.line import US_PER_MS, Line
from estim.rig.conformance.requirement import NotTestable
from firmware_protocol.program import ChannelProgram

START_MS = 10_000
LASTS_S = 15
SAVED_MS = 600_000
SETTLED_MS = 1_000
GAIN_PERCENT = 5
EDGE_US = 1
SEEN_SHARE = 4
"""Pulses below a quarter of the target are not judged: an instrument's noise may hide them."""
PHASE_SAMPLES = 8
TRAIN_GAP_MS = 500
LOBES = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """One pulse of two phases; times in us on the instrument's clock, currents signed.

    Attributes:
        onset_us: of the first phase.
        lasts_us: of each phase.
        gap_us: between them.
        currents_ua: of each phase.
        net_pc: its whole charge.
    """

    onset_us: float
    lasts_us: tuple[float, float]
    gap_us: float
    currents_ua: tuple[float, float]
    net_pc: float

    @property
    def amplitude_ua(self) -> float:
        """Return the larger current of its phases."""
        return max(map(abs, self.currents_ua))

    @property
    def end_us(self) -> float:
        """Return when its current ends."""
        return self.onset_us + sum(self.lasts_us) + self.gap_us


@dataclass(frozen=True, slots=True)
class Recording:
    """What was read.

    Attributes:
        trains: pulses that follow each other without a long silence.
        sample_us: between two samples; 0 where changes were recorded.
        odd_count: excursions as high as a pulse, but of another form.
        is_inverted: every pulse begins with the negative phase.
    """

    trains: tuple[tuple[Seen, ...], ...]
    sample_us: float
    odd_count: int
    is_inverted: bool

    @property
    def edge_us(self) -> float:
        """Return how far the time between two edges may be off."""
        return EDGE_US + 2 * self.sample_us


class Recorder:
    """A person with an oscilloscope or a logic analyser at the first channel."""

    def __init__(self, path: Path, bench_ohm: int, say: Callable[[str], None]) -> None:
        self._path = path
        self._bench_ohm = bench_ohm
        self._say = say
        self._before = self._state()

    def begin(self, line: Line) -> None:
        """Have the recording started."""
        self._before = self._state()
        self._say(
            f"Record the voltage across the load of channel 1, or its current: start now, for at "
            f"least {LASTS_S} s. The pulses begin in {START_MS // 1000} s."
        )
        line.listen(START_MS)

    def take(self, line: Line, channel: ChannelProgram, target_ua: int, step_ua: int) -> Recording:
        """Have the recording saved, and read it.

        Raises:
            NotTestable: it does not come, or does not hold what was played.
        """
        self._say(f"Save the recording as {self._path}: it is waited for.")
        self._await_file(line)
        try:
            return self._read(channel, target_ua, step_ua)
        except UsageError as error:
            raise NotTestable(f"the recording cannot be read: {error}") from None

    def _await_file(self, line: Line) -> None:
        end_us = line.now_us() + SAVED_MS * US_PER_MS
        former, since_us = self._before, line.now_us()
        while line.now_us() < end_us:
            line.turn()
            now, now_us = self._state(), line.now_us()
            if now != former:
                former, since_us = now, now_us
            is_settled = now_us - since_us >= SETTLED_MS * US_PER_MS
            if now not in (None, self._before) and is_settled:
                return
        raise NotTestable(f"no recording was saved as {self._path}")

    def _state(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def _read(self, channel: ChannelProgram, target_ua: int, step_ua: int) -> Recording:
        # numpy is loaded where a recording is read, and nowhere else in the kit.
        from estim.rig.captures.capture import ReadOptions, open_capture
        from estim.rig.measuring.expectation import Expected
        from estim.rig.measuring.finding import find
        from estim.rig.measuring.pulses import Layout

        expected = Expected("conformance", 0, 1, channel, target_ua, target_ua, step_ua)
        capture = open_capture(self._path, ReadOptions(load_ohm=self._bench_ohm))
        found = find(capture, Layout.of(expected))
        if found.sample_us * PHASE_SAMPLES > expected.shortest_phase_us:
            raise NotTestable(
                f"the recording's samples, {found.sample_us:g} us apart, are too few for phases of "
                f"{expected.shortest_phase_us} us: at least {PHASE_SAMPLES} each"
            )
        lowest_ua = target_ua / SEEN_SHARE
        each = found.pulses
        pulses = [
            Seen(
                onset_us=float(start[0]),
                lasts_us=(float(end[0] - start[0]), float(end[1] - start[1])),
                gap_us=float(start[1] - end[0]),
                currents_ua=(float(current[0]), float(current[1])),
                net_pc=float(net_pc),
            )
            for start, end, current, net_pc in zip(
                each.start_us, each.end_us, each.step_ua, each.net_pc, strict=True
            )
        ]
        seen = [pulse for pulse in pulses if pulse.amplitude_ua >= lowest_ua]
        if not seen:
            raise NotTestable("the recording holds no pulse: another channel, load or time")
        return Recording(
            trains=_trains(seen, 3 * channel.pulse_period_us),
            sample_us=found.sample_us,
            odd_count=int((found.odd.peak_ua >= lowest_ua).sum()),
            is_inverted=found.is_inverted,
        )


def _trains(pulses: list[Seen], gap_us: int) -> tuple[tuple[Seen, ...], ...]:
    longest_us = max(gap_us, TRAIN_GAP_MS * US_PER_MS)
    starts = [0]
    starts += [
        at
        for at, (sooner, later) in enumerate(pairwise(pulses), start=1)
        if later.onset_us - sooner.end_us > longest_us
    ]
    return tuple(tuple(pulses[start:stop]) for start, stop in pairwise([*starts, len(pulses)]))
