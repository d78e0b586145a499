"""Condense a device's reports into what is worth keeping: changes, and one summary a second.

Rules:
1. A change is kept with its time. Changes within GROUP_US of the first share one record line.
2. Target and contact are kept at every change. Setpoint, peak and load move on through a ramp; of
   them a group keeps the newest, and the summary keeps the extremes.
3. A measured value counts as changed once it leaves a band around what was last kept: noise alone
   would fill the disk.
4. Means are floored; what is not measured (None) is left out of its minimum, mean and maximum.
5. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from estim.units import US_PER_S

CHANGED = "telemetry_changed"
SECOND = "telemetry_second"

GROUP_US = 100_000
# Twice the finest step that people set (100 uA), so that one count of noise keeps no line.
PEAK_BAND_UA = 200
# A sixteenth of the load last kept: skin impedance wanders by a few per cent within a minute.
LOAD_BAND_DIVISOR = 16

_MEASURED = ("target_ua", "setpoint_ua", "peak_ua", "load_ohm")

Content = tuple[str, dict[str, Any]]


class Reading(NamedTuple):
    """Hold one channel's report; None where the device does not measure."""

    channel: int
    target_ua: int
    setpoint_ua: int | None
    peak_ua: int | None
    load_ohm: int | None
    contact: str


class Telemetry:
    """Turn readings into pairs of kind and content for the record.

    Call `add` with each report and `due` whenever time has passed; both return what is ready to be
    recorded. `finish` returns the rest.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Reading] = {}
        self._group: list[tuple[int, Reading]] = []
        self._group_start_us = 0
        self._window: list[Reading] = []
        self._window_start_us = 0

    def add(self, now_us: int, readings: Iterable[Reading]) -> list[Content]:
        """Take one report of some channels."""
        ready = self.due(now_us)
        for reading in readings:
            if not self._window:
                self._window_start_us = now_us
            self._window.append(reading)
            kept = self._kept.get(reading.channel)
            if kept is None or (reading != kept and _is_change(kept, reading)):
                self._kept[reading.channel] = reading
                self._add_to_group(now_us, reading)
        return ready

    def due(self, now_us: int) -> list[Content]:
        """Return the group and the summary whose time is over."""
        ready: list[Content] = []
        if self._group and now_us - self._group_start_us >= GROUP_US:
            ready.append(self._close_group())
        if self._window and now_us - self._window_start_us >= US_PER_S:
            ready.append(self._close_window(self._window_start_us + US_PER_S))
        return ready

    def finish(self, now_us: int) -> list[Content]:
        """Return whatever has been gathered."""
        ready = self.due(now_us)
        if self._group:
            ready.append(self._close_group())
        if self._window:
            ready.append(self._close_window(now_us))
        return ready

    def _add_to_group(self, now_us: int, reading: Reading) -> None:
        if not self._group:
            self._group_start_us = now_us
        for index in reversed(range(len(self._group))):
            earlier = self._group[index][1]
            if earlier.channel == reading.channel:
                if _has_same_state(earlier, reading):
                    del self._group[index]
                break
        self._group.append((now_us, reading))

    def _close_group(self) -> Content:
        changes = [{"at_us": at_us} | reading._asdict() for at_us, reading in self._group]
        self._group = []
        return CHANGED, {"changes": changes}

    def _close_window(self, end_us: int) -> Content:
        readings, self._window = self._window, []
        channels = sorted({reading.channel for reading in readings})
        return SECOND, {
            "from_us": self._window_start_us,
            "to_us": end_us,
            "channels": [
                _summary([reading for reading in readings if reading.channel == channel])
                for channel in channels
            ],
        }


def _has_same_state(one: Reading, other: Reading) -> bool:
    return (one.target_ua, one.contact) == (other.target_ua, other.contact)


def _is_change(kept: Reading, reading: Reading) -> bool:
    load_band_ohm = (kept.load_ohm or 0) // LOAD_BAND_DIVISOR
    return (
        not _has_same_state(kept, reading)
        or kept.setpoint_ua != reading.setpoint_ua
        or _has_left(kept.peak_ua, reading.peak_ua, PEAK_BAND_UA)
        or _has_left(kept.load_ohm, reading.load_ohm, load_band_ohm)
    )


def _has_left(kept: int | None, measured: int | None, band: int) -> bool:
    if kept is None or measured is None:
        return kept is not measured
    return abs(measured - kept) > band


def _summary(readings: Sequence[Reading]) -> dict[str, Any]:
    summary: dict[str, Any] = {"channel": readings[0].channel, "count": len(readings)}
    for name in _MEASURED:
        quantity, unit = name.rsplit("_", 1)
        known = [value for reading in readings if (value := getattr(reading, name)) is not None]
        if known:
            summary[f"{quantity}_min_{unit}"] = min(known)
            summary[f"{quantity}_mean_{unit}"] = sum(known) // len(known)
            summary[f"{quantity}_max_{unit}"] = max(known)
    return summary
