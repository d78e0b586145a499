"""Make captures with arithmetic of their own: nothing here knows a profile or a programme.

A train is a list of pulses; a pulse is its onset in seconds and its phases, each a current in mA
and a duration in us (0 mA for a gap). Sampled at a rate, each sample is what flows at its instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Phases = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Pulse:
    """One pulse: onset in s, phases in (mA, us)."""

    at_s: float
    phases: Phases


def biphasic(at_s: float, ma: float, first_us: float = 200, second_us: float = 200) -> Pulse:
    return Pulse(at_s, ((ma, first_us), (-ma, second_us)))


def steady(
    ma: float, duration_s: float, rate_hz: float = 80, start_s: float = 0.00123, **lengths: float
) -> list[Pulse]:
    """Return pulses at one rate."""
    count = int((duration_s - start_s - 0.001) * rate_hz) + 1
    return [biphasic(start_s + n / rate_hz, ma, **lengths) for n in range(count)]


def sampled(
    pulses: Iterable[Pulse], duration_s: float, rate_hz: float = 1e6, start_s: float = 0.0
) -> Floats:
    """Return the current in mA at each instant."""
    samples = np.zeros(round(duration_s * rate_hz))
    for pulse in pulses:
        begin_s = pulse.at_s - start_s
        for ma, length_us in pulse.phases:
            end_s = begin_s + length_us * 1e-6
            first = max(0, int(np.ceil(begin_s * rate_hz - 1e-6)))
            last = max(0, int(np.ceil(end_s * rate_hz - 1e-6)))
            samples[first:last] = ma
            begin_s = end_s
    return samples


def noise(count: int, deviation: float, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(0.0, deviation, count)


def slowed(samples: Floats, length: int) -> Floats:
    """Return what an instrument of little bandwidth shows: straight edges of `length` samples."""
    kernel = np.full(length, 1.0 / length)
    return np.convolve(samples, kernel, mode="same")


def write_csv(path: Path, samples: Floats, rate_hz: float = 1e6, unit: str = "uA") -> Path:
    """Write one column of whole numbers: microamperes, or whatever the header shall claim."""
    readings = np.round(samples * 1000).astype(np.int64).tolist()
    head = f"# Sample rate: {rate_hz:.0f} Hz\nCH1 ({unit})\n"
    path.write_text(head + "\n".join(map(str, readings)) + "\n")
    return path


def write_trace(path: Path, pulses: Iterable[Pulse], channel: int = 1) -> Path:
    """Write what the simulator writes: a row for every active phase."""
    rows = ["t_us,channel,current_ua,duration_us"]
    for pulse in pulses:
        at_us = round(pulse.at_s * 1e6)
        for ma, length_us in pulse.phases:
            if ma:
                rows.append(f"{at_us},{channel},{round(ma * 1000)},{round(length_us)}")
            at_us += round(length_us)
    path.write_text("\n".join(rows) + "\n")
    return path


def write_vcd(path: Path, pulses: Iterable[Pulse], end_s: float, name: str = "load_ma") -> Path:
    """Write a real variable that changes with every phase."""
    lines = [
        "$date today $end", "$timescale 1 us $end", "$scope module bench $end",
        f"$var real 64 ! {name} $end", "$upscope $end", "$enddefinitions $end",
        "#0", "$dumpvars", "r0 !", "$end",
    ]  # fmt: skip
    for pulse in pulses:
        at_us = round(pulse.at_s * 1e6)
        for ma, length_us in pulse.phases:
            lines += [f"#{at_us}", f"r{ma:g} !"]
            at_us += round(length_us)
        lines += [f"#{at_us}", "r0 !"]
    lines.append(f"#{round(end_s * 1e6)}")
    path.write_text("\n".join(lines) + "\n")
    return path
