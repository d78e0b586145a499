"""Say quantities of the bench as people say them."""

from __future__ import annotations

OHM_PER_KOHM = 1000
_SHOWN = {"uA": ("mA", 1e-3), "pC": ("uC", 1e-6)}


def format_ohm(load_ohm: int) -> str:
    """Show a load: 500 ohm, 2 kohm, 4.7 kohm."""
    if load_ohm < OHM_PER_KOHM:
        return f"{load_ohm} ohm"
    return f"{load_ohm / OHM_PER_KOHM:.10g} kohm"


def unit_words(unit: str) -> str:
    """Return the unit in which people read a figure."""
    return _SHOWN.get(unit, (unit, 1.0))[0]


def plain_figure(figure: float | None, unit: str) -> str:
    """Show a figure of a report with four digits, in the unit that people read it in."""
    if figure is None:
        return "not known"
    return f"{figure * _SHOWN.get(unit, (unit, 1.0))[1]:.4g}"


def figure_words(figure: float | None, unit: str) -> str:
    """Show a figure with its unit."""
    if figure is None:
        return plain_figure(figure, unit)
    return f"{plain_figure(figure, unit)} {unit_words(unit)}".rstrip()
