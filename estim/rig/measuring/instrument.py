"""The instrument that took a capture: who it is, until when it is calibrated, how sure it is.

A TOML file, one key a line:

    kind = "oscilloscope"
    model = "DS1054Z"
    serial = "DS1ZA000000001"
    calibration_due = 2027-03-31
    amplitude_uncertainty_percent = 1.5
    time_uncertainty_ppm = 25
    offset_uncertainty_ua = 50       # optional: lets a direct current be judged
    load_uncertainty_percent = 0.1   # optional: of the dummy load, where volts are read
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from estim.errors import UsageError
from estim.prepare import durable
from estim.text import sanitize

_WORDS = ("kind", "model", "serial")
_NUMBERS = {
    "amplitude_uncertainty_percent": (True, 0.0, 50.0),
    "time_uncertainty_ppm": (True, 0.0, 50_000.0),
    "offset_uncertainty_ua": (False, 0.0, 1e6),
    "load_uncertainty_percent": (False, 0.0, 50.0),
}
_TEXT_MAX = 80


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument; uncertainties are expanded (k = 2), as calibration certificates state them."""

    kind: str
    model: str
    serial: str
    calibration_due: date
    amplitude_uncertainty_percent: float
    time_uncertainty_ppm: float
    offset_uncertainty_ua: float | None = None
    load_uncertainty_percent: float = 0.0

    def is_overdue(self, today: date) -> bool:
        """Tell whether the calibration ended before `today`."""
        return today > self.calibration_due

    def document(self) -> dict[str, Any]:
        """Return what a result says of the instrument."""
        return {
            "kind": self.kind,
            "model": self.model,
            "serial": self.serial,
            "calibration_due": self.calibration_due.isoformat(),
            "amplitude_uncertainty_percent": self.amplitude_uncertainty_percent,
            "time_uncertainty_ppm": self.time_uncertainty_ppm,
            "offset_uncertainty_ua": self.offset_uncertainty_ua,
            "load_uncertainty_percent": self.load_uncertainty_percent,
        }


def load(path: str | Path) -> Instrument:
    """Read the instrument in a TOML file.

    Raises:
        UsageError: the file cannot be read, or a key is missing, unknown or no such figure.
    """
    octets = durable.read_small(Path(path))
    if octets is None:
        raise UsageError(f"{path}: there is no such file")
    try:
        return parse(tomllib.loads(octets.decode("utf-8")), str(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None


def parse(table: dict[str, Any], origin: str) -> Instrument:
    """Read an instrument from a table; `origin` stands for its file and key in messages.

    Raises:
        UsageError: a key is missing, unknown or no such figure.
    """
    known = {*_WORDS, "calibration_due", *_NUMBERS}
    for key in table:
        if key not in known:
            raise UsageError(
                f"{origin}: {sanitize(key)[:40]}: unknown key; expected {', '.join(sorted(known))}"
            )
    words = {}
    for key in _WORDS:
        text = table.get(key)
        if not isinstance(text, str) or not text.strip() or len(text) > _TEXT_MAX:
            raise UsageError(f"{origin}: {key}: expected a text of 1 to {_TEXT_MAX} characters")
        words[key] = sanitize(text.strip())
    due = table.get("calibration_due")
    if type(due) is not date:
        raise UsageError(f"{origin}: calibration_due: expected a date such as 2027-03-31")
    numbers: dict[str, float] = {}
    for key, (is_required, lowest, highest) in _NUMBERS.items():
        figure = table.get(key)
        if figure is None and not is_required:
            continue
        is_number = isinstance(figure, int | float) and not isinstance(figure, bool)
        if not is_number or not lowest <= figure <= highest:  # type: ignore[operator]
            raise UsageError(f"{origin}: {key}: expected a number from {lowest:g} to {highest:g}")
        numbers[key] = float(figure)  # type: ignore[arg-type]
    return Instrument(
        kind=words["kind"],
        model=words["model"],
        serial=words["serial"],
        calibration_due=due,
        amplitude_uncertainty_percent=numbers["amplitude_uncertainty_percent"],
        time_uncertainty_ppm=numbers["time_uncertainty_ppm"],
        offset_uncertainty_ua=numbers.get("offset_uncertainty_ua"),
        load_uncertainty_percent=numbers.get("load_uncertainty_percent", 0.0),
    )
