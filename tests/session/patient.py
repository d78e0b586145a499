"""The patient's side: judge a trace by what a person asked, trusting neither host nor device.

The judge sees currents with their times, and what was asked and done to the line, with times. It
knows nothing of states, drives or Status.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MS = 1000
S = 1_000_000

# Restated by hand from architecture.md, sections 4 and 10.
ZERO_AFTER_LINK_LOSS_US = 350 * MS
ZERO_AFTER_FROZEN_DISPLAY_US = 750 * MS
ZERO_AFTER_STOP_US = 20 * MS
LONGEST_PULSE_US = 10 * MS
GRID_UA = 100
FOR_EVER_US = 2**62


@dataclass(frozen=True, slots=True)
class Pulse:
    onset_us: int
    channel: int
    peak_ua: int
    net_pc: int
    end_us: int


@dataclass(slots=True)
class Allowance:
    """Pulses that begin from `from_us` to `until_us` may have at most `ceiling_ua`."""

    from_us: int
    until_us: int
    ceiling_ua: int


def read_pulses(trace: Path) -> list[Pulse]:
    """Gather rows into pulses: phases of one channel that follow each other without rest."""
    rows: dict[int, list[tuple[int, int, int]]] = {}
    for line in trace.read_text().splitlines()[1:]:
        t_us, channel, current_ua, duration_us = map(int, line.split(","))
        rows.setdefault(channel, []).append((t_us, current_ua, duration_us))
    pulses = []
    for channel, phases in rows.items():
        current: list[tuple[int, int, int]] = []
        for phase in phases:
            if current and phase[0] - (current[-1][0] + current[-1][2]) > 1 * MS:
                pulses.append(_pulse(channel, current))
                current = []
            current.append(phase)
        pulses.append(_pulse(channel, current))
    return sorted(pulses, key=lambda pulse: pulse.onset_us)


def _pulse(channel: int, phases: list[tuple[int, int, int]]) -> Pulse:
    return Pulse(
        onset_us=phases[0][0],
        channel=channel,
        peak_ua=max(abs(current_ua) for _, current_ua, _ in phases),
        net_pc=sum(current_ua * duration_us for _, current_ua, duration_us in phases),
        end_us=phases[-1][0] + phases[-1][2],
    )


class Judge:
    """Note what was asked; later, judge every pulse."""

    def __init__(self, channel_count: int, slew_ua_per_s: int) -> None:
        self.slew_ua_per_s = slew_ua_per_s
        self.has_armed = False
        self.has_started = False
        self.asked_ua = [0] * channel_count
        self.marker_ua = [0] * channel_count
        self.allowances: list[list[Allowance]] = [[] for _ in range(channel_count)]
        self.starts_us: list[int] = []

    def armed(self) -> None:
        self.has_armed = True

    def started(self, now_us: int) -> None:
        if self.has_armed and not self.has_started:
            self.has_started = True
            self.starts_us.append(now_us)

    def targets(self, targets_ua: Sequence[int], now_us: int) -> None:
        """Note what shall be reached: a rise may come now, a fall must have come in 350 ms."""
        if not self.has_started:
            return
        for index, target_ua in enumerate(targets_ua):
            if target_ua < self.asked_ua[index]:
                self._close(index, now_us + ZERO_AFTER_LINK_LOSS_US)
            self.allowances[index].append(Allowance(now_us, FOR_EVER_US, target_ua))
            self.asked_ua[index] = target_ua

    def paused(self, now_us: int) -> None:
        """Note that output shall end, and that a resume may bring it back."""
        if self.has_started:
            self.marker_ua = list(self.asked_ua)
        self.has_started = False
        self._zero(now_us + ZERO_AFTER_LINK_LOSS_US)

    def resumed(self, now_us: int) -> None:
        if not self.has_started:
            self.started(now_us)
            self.targets(self.marker_ua, now_us)

    def ended(self, now_us: int, within_us: int) -> None:
        """Note that output shall end for good: only arm, start and rise bring it back."""
        self.has_armed = self.has_started = False
        self.marker_ua = [0] * len(self.marker_ua)
        self._zero(now_us + within_us)

    def ceiling_ua(self, index: int, at_us: int) -> int:
        """Return the most that a pulse beginning then may have."""
        return max(
            (
                allowance.ceiling_ua
                for allowance in self.allowances[index]
                if allowance.from_us <= at_us < allowance.until_us
            ),
            default=0,
        )

    def judge(self, pulses: list[Pulse]) -> None:
        """Fail on the first pulse that breaks a promise."""
        floors: dict[int, int] = {}
        starts = deque(sorted(self.starts_us))
        begun_us: list[int] = []
        for pulse in pulses:
            assert pulse.net_pc == 0, f"net charge {pulse.net_pc} pC: {pulse}"
            assert pulse.end_us - pulse.onset_us <= LONGEST_PULSE_US, pulse
            allowed_ua = self.ceiling_ua(pulse.channel - 1, pulse.onset_us)
            assert pulse.peak_ua <= allowed_ua, f"{allowed_ua} uA allowed: {pulse}"
            # Every start is from zero; 350 ms later what was on before it has ended for sure.
            while starts and starts[0] + ZERO_AFTER_LINK_LOSS_US < pulse.onset_us:
                begun_us.append(starts.popleft())
            height = self._height(pulse.peak_ua, pulse.onset_us)
            lines = [self._height(0, begun_us[-1])] if begun_us else []
            if pulse.channel in floors:
                lines.append(floors[pulse.channel])
            if lines:
                assert height - min(lines) <= GRID_UA * S, f"rises faster than the slew: {pulse}"
            floors[pulse.channel] = min(height, *lines) if lines else height

    def _height(self, current_ua: int, at_us: int) -> int:
        """Return how high a point lies above the line that rises with the slew."""
        return current_ua * S - self.slew_ua_per_s * at_us

    def _zero(self, until_us: int) -> None:
        for index in range(len(self.asked_ua)):
            self.asked_ua[index] = 0
            self._close(index, until_us)

    def _close(self, index: int, until_us: int) -> None:
        for allowance in self.allowances[index]:
            allowance.until_us = min(allowance.until_us, until_us)
