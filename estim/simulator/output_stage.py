"""The output stage: an amplitude becomes what the load really takes, and what is measured of it.

Rules:
1. A pulse is delivered whole and balanced: where the voltage needed at the end of any phase exceeds
   the compliance voltage, all phases are scaled alike, to the largest amplitude on the grid that
   fits.
2. An open circuit takes no current.
3. A stage set to deliver too much (a fault to be found by the gate) stays balanced too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from estim.simulator.interpreter import PERMILLE
from estim.simulator.load import UV_PER_MV, Load
from estim.simulator.trace import DeliveredPhases
from firmware_protocol import limits

LOAD_OHM_MAX = 1_000_000
"""The highest load that is measured; an open circuit reads as this."""
CACHE_MAX = 4096


class Shape(Protocol):
    """A pulse of any amplitude on its grid."""

    @property
    def phases(self) -> Sequence[tuple[int, int]]:
        """Tell each phase's duration in us, and anything."""

    @property
    def pulse_us(self) -> int:
        """Tell the duration of all phases."""

    @property
    def grid_ua(self) -> int:
        """Tell what an amplitude is a multiple of."""

    def currents_ua(self, amplitude_ua: int) -> list[int]:
        """Return the signed current of every phase."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one pulse did to the load.

    Attributes:
        phases: every phase with current, as it goes into the trace.
        peak_ua: largest absolute current measured.
        load_ohm: voltage over current at the end of the first active phase.
        is_judged: the commanded peak is high enough to judge the contact.
        is_good: load below the lead-off limit and compliance not reached.
        is_compliance_reached: the stage could not deliver what was asked.
        is_amplified: more was measured than asked.
        is_clean: judged, good and not amplified: nothing to find.
        capacitor_mv: what is left across the skin's capacitance at the end of the pulse.
    """

    phases: DeliveredPhases
    peak_ua: int
    load_ohm: int
    is_judged: bool
    is_good: bool
    is_compliance_reached: bool
    is_amplified: bool
    is_clean: bool
    capacitor_mv: int


class OutputStage:
    """Drive one channel's leads."""

    def __init__(self, load: Load, compliance_mv: int) -> None:
        self._load = load
        self._load_settled_us = load.settled_us
        self._is_lead_off = False
        self._compliance_mv = compliance_mv
        self._gain_permille = PERMILLE
        self._capacitor_mv = 0
        self._resting_since_us = 0
        self._cache: dict[tuple[Shape, int, int], Delivery] = {}

    def connect(self, load: Load) -> None:
        """Put another load between the leads; a lead that is off stays off."""
        self._load = load
        self._load_settled_us = load.settled_us
        self._changed()

    def set_lead_off(self, is_off: bool) -> None:
        """Take a lead off the skin, or put it back."""
        self._is_lead_off = is_off
        self._changed()

    def set_gain(self, gain_permille: int) -> None:
        """Deliver more or less than asked; 1000 is a sound stage."""
        self._gain_permille = gain_permille
        self._changed()

    def deliver(self, shape: Shape, amplitude_ua: int, onset_us: int) -> Delivery:
        """Deliver one pulse of a non-zero amplitude on the shape's grid."""
        capacitor_mv = self._capacitor_mv
        if capacitor_mv:
            rest_us = onset_us - self._resting_since_us
            if rest_us > self._load_settled_us:
                capacitor_mv = 0
            else:
                capacitor_mv = self._load.decayed_mv(capacitor_mv, rest_us)
        key = (shape, amplitude_ua, capacitor_mv)
        delivery = self._cache.get(key)
        if delivery is None:
            if len(self._cache) >= CACHE_MAX:
                self._cache.clear()
            delivery = self._cache[key] = self._compute(shape, amplitude_ua, capacitor_mv)
        self._capacitor_mv = delivery.capacitor_mv
        self._resting_since_us = onset_us + shape.pulse_us
        return delivery

    def _changed(self) -> None:
        self._cache.clear()
        self._capacitor_mv = 0

    def _compute(self, shape: Shape, amplitude_ua: int, capacitor_mv: int) -> Delivery:
        asked_ua = amplitude_ua * self._gain_permille // PERMILLE
        asked_ua -= asked_ua % shape.grid_ua
        delivered_ua = self._largest_that_fits(shape, asked_ua, capacitor_mv)
        currents = shape.currents_ua(delivered_ua)
        commanded_peak_ua = max(abs(current) for current in shape.currents_ua(amplitude_ua))
        peak_ua = max(abs(current) for current in currents)
        voltages, end_mv = self._voltages(shape, currents, capacitor_mv)
        load_ohm = LOAD_OHM_MAX
        if currents[0]:
            measured_ohm = round(voltages[0] * UV_PER_MV / currents[0])
            load_ohm = min(max(measured_ohm, 0), LOAD_OHM_MAX)
        is_judged = commanded_peak_ua >= limits.contact_ua.maximum
        is_compliance_reached = delivered_ua < asked_ua
        is_good = load_ohm < limits.lead_off_ohm.maximum and not is_compliance_reached
        is_amplified = peak_ua > commanded_peak_ua
        return Delivery(
            phases=_phases_with_current(shape, currents),
            peak_ua=peak_ua,
            load_ohm=load_ohm,
            is_judged=is_judged,
            is_good=is_good,
            is_compliance_reached=is_compliance_reached,
            is_amplified=is_amplified,
            is_clean=is_judged and is_good and not is_amplified,
            capacitor_mv=round(end_mv),
        )

    def _largest_that_fits(self, shape: Shape, asked_ua: int, capacitor_mv: int) -> int:
        """Return the largest amplitude on the grid that the compliance voltage carries."""
        if self._load.is_open or self._is_lead_off:
            return 0
        if self._fits(shape, asked_ua, capacitor_mv):
            return asked_ua
        fitting, too_much = 0, asked_ua // shape.grid_ua
        while too_much - fitting > 1:
            middle = (fitting + too_much) // 2
            if self._fits(shape, middle * shape.grid_ua, capacitor_mv):
                fitting = middle
            else:
                too_much = middle
        return fitting * shape.grid_ua

    def _fits(self, shape: Shape, amplitude_ua: int, capacitor_mv: int) -> bool:
        voltages, _ = self._voltages(shape, shape.currents_ua(amplitude_ua), capacitor_mv)
        return max(abs(voltage) for voltage in voltages) <= self._compliance_mv

    def _voltages(
        self, shape: Shape, currents: list[int], capacitor_mv: float
    ) -> tuple[list[float], float]:
        """Return the voltage at each phase's end, and across the capacitance at the last, in mV."""
        voltages = []
        for current_ua, (duration_us, _) in zip(currents, shape.phases, strict=True):
            voltage_mv, capacitor_mv = self._load.after_phase(current_ua, duration_us, capacitor_mv)
            voltages.append(voltage_mv)
        return voltages, capacitor_mv


def _phases_with_current(shape: Shape, currents: list[int]) -> DeliveredPhases:
    phases = []
    offset_us = 0
    for current_ua, (duration_us, _) in zip(currents, shape.phases, strict=True):
        if current_ua:
            phases.append((offset_us, current_ua, duration_us))
        offset_us += duration_us
    return tuple(phases)
