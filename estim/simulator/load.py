"""What lies between the leads: skin and electrodes as Rs + (Rp || Cp), in closed form.

Rules:
1. Rp falls with the current that flows: Rp = Rp0 / (1 + |I| / 10 mA); without current it is Rp0.
2. A phase of constant current is solved exactly, so the step between two phases costs nothing.

Sources: the cases and the fall of Rp are engineering proposals of this project (project notes on
simulated loads); published magnitudes of skin impedance at 100 Hz are 5 to 11 kohm.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from estim.errors import UsageError

HALVING_CURRENT_UA = 10_000
"""I0: the current at which Rp has fallen to half."""
PLAIN_OHM_MAX = 1_000_000
UV_PER_MV = 1000
NS_PER_US = 1000
SETTLED_TIME_CONSTANTS = 25
"""After so many, less than half a millivolt is left of any voltage up to 10 MV."""


@dataclass(frozen=True, slots=True)
class Load:
    """One pair of electrodes.

    Attributes:
        series_ohm: Rs.
        parallel_ohm: Rp0; 0 for a plain resistor.
        parallel_nf: Cp.
        is_open: nothing is connected, so no current flows.
    """

    series_ohm: int
    parallel_ohm: int = 0
    parallel_nf: int = 0
    is_open: bool = False

    def after_phase(
        self, current_ua: int, duration_us: int, capacitor_mv: float
    ) -> tuple[float, float]:
        """Return the voltage at the leads and across Cp at the end of a phase, in mV."""
        series_mv = current_ua * self.series_ohm / UV_PER_MV
        if not self.parallel_ohm:
            return series_mv, 0.0
        parallel_ohm = self.parallel_ohm / (1 + abs(current_ua) / HALVING_CURRENT_UA)
        settled_mv = current_ua * parallel_ohm / UV_PER_MV
        time_constant_us = parallel_ohm * self.parallel_nf / NS_PER_US
        rest = exp(-duration_us / time_constant_us)
        capacitor_mv = settled_mv + (capacitor_mv - settled_mv) * rest
        return series_mv + capacitor_mv, capacitor_mv

    def decayed_mv(self, capacitor_mv: int, duration_us: int) -> int:
        """Return what is left across Cp after a rest without current, in whole mV."""
        if not capacitor_mv or not self.parallel_ohm:
            return 0
        time_constant_us = self.parallel_ohm * self.parallel_nf / NS_PER_US
        return round(capacitor_mv * exp(-duration_us / time_constant_us))

    @property
    def settled_us(self) -> int:
        """Return after how long a rest nothing is left across Cp."""
        return SETTLED_TIME_CONSTANTS * self.parallel_ohm * self.parallel_nf // NS_PER_US


NAMED_LOADS = {
    "good-gel": Load(200, 2_000, 100),
    "typical": Load(300, 5_000, 50),
    "dry": Load(500, 20_000, 30),
    "open": Load(0, is_open=True),
    "short": Load(20),
}


def parse_load(text: str) -> Load:
    """Read a load: a name, or whole ohms of a plain resistor.

    Raises:
        UsageError: the text is neither.
    """
    named = NAMED_LOADS.get(text)
    if named is not None:
        return named
    if text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= PLAIN_OHM_MAX:
        return Load(int(text))
    raise UsageError(
        f"load: expected 1 to {PLAIN_OHM_MAX} ohm or one of {', '.join(NAMED_LOADS)}, got {text!r}"
    )
