"""Read a value change dump (IEEE 1364): real variables, and whole numbers with a unit."""

from __future__ import annotations

from estim.errors import UsageError
from estim.rig.capture import Capture, Progress, ReadOptions


def is_vcd(probe: bytes) -> bool:
    """Tell whether a file is a VCD."""
    return b"$enddefinitions" in probe or b"$timescale" in probe or b"$var" in probe


def open_vcd(name: str, options: ReadOptions, progress: Progress) -> Capture:
    """Open a VCD."""
    raise UsageError(f"{name}: VCD is not read yet")
