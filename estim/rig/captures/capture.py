"""Open a capture, whatever made it: samples or steps in microamperes, in bounded memory.

Rules:
1. A capture is either sampled (`chunks`) or a list of changes (`steps`); `is_sampled` tells which.
2. Volts become amperes by the declared load only. Nothing is guessed that would change a figure:
   what is missing is asked for, by the name of its flag.
3. Times count from the first sample; `info.start_s` is that sample's time in the file.
4. A file that is damaged raises `UsageError` with file, line and what was expected.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estim.errors import UsageError
from estim.text import sanitize

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with bytes read and bytes in all."""

PROBE_BYTES = 1 << 17
"""What of a file is looked at to tell what it is."""

_ZIP = b"PK\x03\x04"
UNITS_UA: dict[str, tuple[str, float]] = {
    "A": ("A", 1e6),
    "mA": ("A", 1e3),
    "uA": ("A", 1.0),
    "V": ("V", 1e6),
    "mV": ("V", 1e3),
    "uV": ("V", 1.0),
}
"""Quantity of a unit, and what turns it into microamperes; for volts, over one ohm."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a person says of a capture, where the file does not.

    Attributes:
        column: name of the column or variable, or its number from 1.
        unit: V, mV, A, mA or uA.
        sample_rate_hz: where the file has no times.
        load_ohm: the dummy load; needed where volts were captured.
        probe: factor by which the instrument divided what it saw.
        channel: of the stimulator, from 1.
        trigger_s: when its trigger rose, in the times of the file; None where nobody says.
    """

    column: str | None = None
    unit: str | None = None
    sample_rate_hz: float | None = None
    load_ohm: int | None = None
    probe: float | None = None
    channel: int = 1
    trigger_s: float | None = None


@dataclass(frozen=True, slots=True)
class CaptureInfo:
    """What is known of a capture.

    Attributes:
        path: of the file.
        format: what it was read as.
        quantity: A or V.
        sample_rate_hz: None for a list of changes.
        duration_s: 0 until it has been read.
        resolution_ua: smallest step between readings; None where it cannot be told.
        start_s: time of the first sample in the file.
        column: what was read, in the file's own words.
        notes: what a person should know of how it was read.
        is_clipped: whether the file marks readings beyond the instrument's range.
        sample_count: as many as were read; 0 for a list of changes.
        stated_count: as many as the header says there are, at least; None where it does not say.
        triggers_s: when the channel's trigger rose, in the times of the file, in order.
    """

    path: str
    format: str
    quantity: str
    sample_rate_hz: float | None
    duration_s: float
    resolution_ua: float | None
    start_s: float = 0.0
    column: str = ""
    notes: tuple[str, ...] = ()
    is_clipped: bool = False
    sample_count: int = 0
    stated_count: int | None = None
    triggers_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Steps:
    """Stretches of constant current, in order, silence left out; times in us."""

    start_us: Floats
    end_us: Floats
    current_ua: Floats


class Capture(ABC):
    """A capture that can be read once from its beginning."""

    is_sampled = True
    is_window = True
    """Whether it began and ended at any time, within a pulse perhaps; a trace of ours does not."""

    @property
    @abstractmethod
    def info(self) -> CaptureInfo:
        """Return what is known so far; everything once it was read."""

    def chunks(self) -> Iterator[Floats]:
        """Yield samples in uA."""
        raise NotImplementedError

    def steps(self) -> Iterator[Steps]:
        """Yield stretches of constant current."""
        raise NotImplementedError

    def window(self, first: int, count: int) -> Floats:
        """Return some samples in uA, read once more from the file; empty where it cannot be."""
        return np.empty(0)


def open_capture(
    path: str | Path, options: ReadOptions, progress: Progress | None = None
) -> Capture:
    """Open a capture by what it holds, not by its name.

    Raises:
        UsageError: it cannot be read, is of no known form, or something must be said about it.
    """
    from estim.rig.captures import csv_files, trace_files, vcd_files

    name = str(path)
    probe = read_probe(name)
    if not probe.strip():
        raise UsageError(f"{sanitize(name)}: the file is empty; expected a capture")
    progress = progress or (lambda done, total: None)
    if trace_files.is_trace(probe):
        return trace_files.open_trace(name, options, progress)
    if vcd_files.is_vcd(probe):
        return vcd_files.open_vcd(name, options, progress)
    if probe.startswith(_ZIP):
        shown = sanitize(name)
        raise UsageError(
            f"{shown}: a packed file, perhaps a session of sigrok; export its samples first: "
            f"sigrok-cli -i {shown} -O csv"
        )
    if b"\0" in probe[:1024] and not probe.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(
            f"{sanitize(name)}: not a text file; expected CSV, VCD or a trace of estim"
        )
    return csv_files.open_csv(name, options, progress)


def read_probe(name: str) -> bytes:
    """Return the beginning of a file; raise UsageError where it cannot be read."""
    try:
        # It is read more than once: a pipe would hold us up, and give another answer each time.
        mode = os.stat(name).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a folder is told by opening it
            raise UsageError(f"{sanitize(name)}: expected a plain file")
        with open(name, "rb") as file:
            return file.read(PROBE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{sanitize(name)}: cannot be read: {reason}") from None


def scale_to_ua(unit: str, what: str, options: ReadOptions) -> tuple[str, float]:
    """Return the quantity of a unit and what turns a reading into uA, probe and load included.

    Raises:
        UsageError: the unit is volts and no load was declared.
    """
    quantity, factor = UNITS_UA[unit]
    factor *= options.probe or 1.0
    if quantity == "A":
        return quantity, factor
    if options.load_ohm is None:
        said = what if what.endswith(f"({unit})") else f"{what} is in {unit}"
        raise UsageError(
            f"{said}: a current follows from volts only with the dummy load; say it with --load OHM"
        )
    return quantity, factor / options.load_ohm


def whole_lines(file: Any, size: int) -> Iterator[bytes]:
    """Yield blocks of a binary file that end at the end of a line."""
    rest = b""
    while True:
        block = file.read(size)
        if not block:
            if rest:
                yield rest
            return
        block = rest + block
        end = block.rfind(b"\n") + 1
        if end == 0 and len(block) > 4 * size:
            # A file without line ends is no text; its one line ends here, and will be refused.
            end = len(block)
        rest = block[end:]
        if end:
            yield block[:end]
