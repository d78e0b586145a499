"""The four outputs of a PulsePal: a voltage over a resistor, told to the trace as current.

Rules:
1. Every stretch of one current that is not zero is a row, from when it began until it ended.
2. What is held longer than 100 ms is told in pieces of that length, so that the trace never lags
   further behind and a voltage that never ends is seen.
3. Rows are told in the order of their onsets, over all channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

from estim.dialects import pulsepal
from estim.simulator.load import Load
from estim.simulator.trace import TraceSink

PIECE_US = 100_000
FULL_PERMILLE = 1000


@dataclass(slots=True)
class _Lead:
    """One output, from `since_us` on."""

    load: Load
    code: int = pulsepal.CODE_ZERO
    gain_permille: int = FULL_PERMILLE
    is_off: bool = False
    since_us: int = 0

    @property
    def current_ua(self) -> int:
        """Return the current through the load, to the nearest."""
        if self.is_off or self.load.is_open:
            return 0
        scaled = pulsepal.code_uv(self.code) * self.gain_permille
        divisor = self.load.series_ohm * FULL_PERMILLE
        size = (2 * abs(scaled) + divisor) // (2 * divisor)
        return size if scaled > 0 else -size


class Outputs:
    """Hold four voltages and tell what they drove; channels count from 0 here."""

    def __init__(self, load: Load, trace: TraceSink | None, now_us: int) -> None:
        self._leads = [_Lead(load, since_us=now_us) for _ in range(pulsepal.CHANNELS)]
        self._trace = trace
        self._rows: list[tuple[int, int, int, int]] = []

    @property
    def has_current(self) -> bool:
        """Tell whether any load takes current."""
        return any(lead.current_ua for lead in self._leads)

    def set_code(self, channel: int, code: int, now_us: int) -> None:
        """Put a voltage out."""
        if code != self._leads[channel].code:
            self._change(channel, now_us)
            self._leads[channel].code = code

    def set_load(self, channel: int, load: Load, now_us: int) -> None:
        """Put another resistor between a channel's leads."""
        self._change(channel, now_us)
        self._leads[channel].load = load

    def set_lead_off(self, channel: int, is_off: bool, now_us: int) -> None:
        """Take a lead off, or put it back."""
        self._change(channel, now_us)
        self._leads[channel].is_off = is_off

    def set_gain(self, channel: int, gain_permille: int, now_us: int) -> None:
        """Make an output give more or less than its code says."""
        self._change(channel, now_us)
        self._leads[channel].gain_permille = gain_permille

    def settle(self, now_us: int) -> None:
        """Tell the trace all that can no longer change."""
        for channel, lead in enumerate(self._leads):
            while lead.current_ua and lead.since_us + PIECE_US <= now_us:
                self._note(channel, lead.since_us + PIECE_US)
        open_us = [lead.since_us for lead in self._leads if lead.current_ua]
        settled_us = min(open_us, default=now_us + 1)
        while self._rows and self._rows[0][0] < settled_us:
            onset_us, channel, current_ua, duration_us = heappop(self._rows)
            if self._trace is not None:
                self._trace.add_pulse(onset_us, channel + 1, ((0, current_ua, duration_us),))

    def _change(self, channel: int, now_us: int) -> None:
        self.settle(now_us)
        self._note(channel, now_us)

    def _note(self, channel: int, until_us: int) -> None:
        lead = self._leads[channel]
        if lead.current_ua and until_us > lead.since_us:
            row = (lead.since_us, channel, lead.current_ua, until_us - lead.since_us)
            heappush(self._rows, row)
        lead.since_us = until_us
