"""Two ways to the same figure, over random programmes: the kernel's integers and the samples.

`make agreement TRIALS=10000`, or `python -m tests.soak.agreement --trials 200 --seed 7`. Each
programme is rendered at a rate on which its edges fall and measured. What the samples say must be

- equal to what an enumeration of every phase says (tests/safety/oracle.py), to the last count;
- never above the kernel's figures: peak, charge of a phase, net charge, energy, RMS, average;
- where there is one setting and no cycle, below them by less than one pulse.

Prints one JSON object; exits 1 where one programme disagreed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isclose, pi, sin
from random import Random

from estim.safety.figures import figures
from estim.waveform.measure import Measurement, Meter
from estim.waveform.render import iter_chunks
from firmware_protocol.errors import ProgramError
from firmware_protocol.program import (
    ChannelProgram,
    Cycle,
    Keyframe,
    Phase,
    PulseProgram,
    check_form,
)
from tests.safety import oracle
from tests.safety.strategies import SHAPES

SCHEMA = "estim.agreement/1"
SECOND_US = 1_000_000


@dataclass(frozen=True)
class Trial:
    """One programme: what disagreed, and whether its pulses could be told apart."""

    seed: str
    problems: tuple[str, ...]
    is_separable: bool
    is_modulated: bool


def main() -> int:
    """Try as many programmes as asked; return 1 where one disagreed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.agreement")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--jobs", type=int)
    arguments = parser.parse_args()
    began = time.monotonic()
    seeds = [f"{arguments.seed} {number}" for number in range(arguments.trials)]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        trials = list(pool.map(try_programme, seeds, chunksize=20))
    failed = [trial for trial in trials if trial.problems]
    for trial in failed[:20]:
        print(f"seed {trial.seed!r}: {'; '.join(trial.problems)}", file=sys.stderr)
    print(
        json.dumps(
            {
                "schema": SCHEMA,
                "seed": arguments.seed,
                "trials": len(trials),
                "failed": len(failed),
                "modulated": sum(trial.is_modulated for trial in trials),
                "pulses_told_apart": sum(trial.is_separable for trial in trials),
                "elapsed_s": round(time.monotonic() - began, 1),
            }
        )
    )
    return int(bool(failed))


def try_programme(seed: str) -> Trial:
    """Make the programme of a seed, render it, measure it and compare."""
    random = Random(seed)
    grid_us = random.choice((2, 5, 10, 10, 20))
    channel = _channel(random, grid_us)
    step_ua = random.choice((1, 50, 100, 100, 100))
    setpoint_ua = random.randrange(0, 100_001, random.choice((1, 100)))
    until_us = _until_us(channel, grid_us)
    gap_us, phases_per_pulse = _separation(channel, setpoint_ua, step_ua)
    meter = Meter(SECOND_US // grid_us, gap_us, phases_per_pulse)
    program = PulseProgram((channel,))
    for chunk in iter_chunks(program, [setpoint_ua], step_ua, SECOND_US // grid_us, until_us):
        meter.add(chunk[0])
    measured = meter.measurement()
    problems = _against_enumeration(
        measured, channel, setpoint_ua, step_ua, until_us, phases_per_pulse is not None
    )
    problems += _against_kernel(
        measured, channel, setpoint_ua, step_ua, phases_per_pulse is not None
    )
    return Trial(seed, tuple(problems), phases_per_pulse is not None, bool(channel.keyframes))


# Random programmes, every time on a grid of `grid_us`.


def _channel(random: Random, grid_us: int) -> ChannelProgram:
    while True:
        channel = _wish(random, grid_us)
        try:
            check_form(PulseProgram((channel,)))
        except ProgramError:
            continue
        return channel


def _wish(random: Random, grid_us: int) -> ChannelProgram:
    def on_grid(lowest_us: int, highest_us: int) -> int:
        return random.randint(-(-lowest_us // grid_us), highest_us // grid_us) * grid_us

    phases = _phases(random, grid_us)
    units = sum(phase.duration for phase in phases if not phase.is_gap)
    gaps_us = sum(phase.duration for phase in phases if phase.is_gap)

    def unit_us() -> int:
        return on_grid(grid_us, max(grid_us, min(1000, 8000 // units)))

    def period_us(unit: int) -> int:
        pulse_us = units * unit + gaps_us
        filled_us = pulse_us + random.choice((0, 0, grid_us, on_grid(0, 2000)))
        return random.choice((max(filled_us, 500), on_grid(max(2000, pulse_us), 400_000)))

    frames: tuple[Keyframe, ...] = ()
    cycle_ms = 0
    kind = random.choice(("steady", "steady", "holds", "beat"))
    unit = unit_us()
    period = period_us(unit)
    if kind != "steady":
        count = random.randint(2, 12)
        hold_ms = 1 if kind == "beat" else random.randint(2, 150)
        shares = [random.randint(0, 1000) for _ in range(count)]
        if kind == "beat":
            shares = [round(1000 * sin(pi * (index + 0.5) / count)) for index in range(count)]
        shares[random.randrange(count)] = 1000
        settings = [(unit, period)] * count
        if kind == "holds":
            settings = [(each, period_us(each)) for each in (unit_us() for _ in range(count))]
        frames = tuple(
            Keyframe(index * hold_ms, share, each, every)
            for index, (share, (each, every)) in enumerate(zip(shares, settings, strict=True))
        )
        cycle_ms = count * hold_ms
        unit, period = settings[0]
    per_burst = random.choice((0, 0, 0, 1, 3, 25))
    slowest_us = max([period, *(frame.pulse_period_us for frame in frames)])
    burst_us = per_burst * slowest_us + on_grid(0, 300_000) if per_burst else 0
    cycle = None
    if random.random() < 0.3:
        times_ms = [random.choice((0, 20, 100, 500)) for _ in range(3)]
        cycle = Cycle(times_ms[0], random.randint(1, 900), times_ms[1], times_ms[2])
    return ChannelProgram(
        phases, unit, period, on_grid(0, 50_000), per_burst, burst_us, cycle, frames, cycle_ms
    )


def _phases(random: Random, grid_us: int) -> tuple[Phase, ...]:
    """Return a shape with its gaps on the grid: known ones, sines, or pairs of any size."""
    kind = random.choice(("known", "known", "sine", "pairs"))
    if kind == "known":
        return tuple(
            Phase(-(-p.duration // grid_us) * grid_us, 0) if p.is_gap else p
            for p in random.choice(SHAPES)
        )
    if kind == "sine":
        half = random.randint(1, 8)
        shares = [round(1000 * sin(pi * (index + 0.5) / half)) for index in range(half)]
        shares[half // 2] = 1000
        return tuple(Phase(1, share) for share in (*shares, *(-share for share in shares)))
    shares = [random.randint(1, 1000) for _ in range(random.randint(1, 8))]
    shares[random.randrange(len(shares))] = 1000
    return tuple(
        Phase(length, sign * share)
        for share, length in ((share, random.randint(1, 3)) for share in shares)
        for sign in (1, -1)
    )


def _until_us(channel: ChannelProgram, grid_us: int) -> int:
    """Return an end that leaves room for the worst second: a whole number of samples."""
    longest_us = channel.keyframe_cycle_ms * 1000 + channel.pulse_offset_us
    if channel.cycle is not None:
        longest_us += channel.cycle.total_ms * 1000
    until_us = min(SECOND_US + longest_us + channel.pulse_period_us, 3 * SECOND_US)
    return -(-until_us // grid_us) * grid_us


def _separation(channel: ChannelProgram, setpoint_ua: int, step_ua: int) -> tuple[int, int | None]:
    """Return the longest silence within a pulse, and the number of phases where it tells pulses.

    A pulse that begins and ends one way may run into the next; one whose phases are too small to
    flow here has fewer of them.
    """
    silence_us, counts = 0, set()
    for pulse in oracle.delivered(channel, setpoint_ua, step_ua, 3 * SECOND_US)[:5000]:
        flowing = [phase for phase in pulse.phases if phase[2]]
        if not flowing:
            continue
        silence_us = max([silence_us, *(b[0] - a[1] for a, b in pairwise(flowing))])
        turns = sum((a[2] > 0) != (b[2] > 0) for a, b in pairwise(flowing))
        counts.add(turns + 1 if turns % 2 else None)
    return silence_us, counts.pop() if len(counts) == 1 else None


# What must be equal, and what must not be exceeded.


def _against_enumeration(
    measured: Measurement,
    channel: ChannelProgram,
    setpoint_ua: int,
    step_ua: int,
    until_us: int,
    is_separable: bool,
) -> list[str]:
    """Compare with every phase that flows before the end, by plain integers."""
    pulses = [
        replace(
            pulse,
            phases=tuple(
                (start, min(end, until_us), current)
                for start, end, current in pulse.phases
                if start < until_us and current
            ),
        )
        for pulse in oracle.delivered(channel, setpoint_ua, step_ua, until_us)
    ]
    pulses = [pulse for pulse in pulses if pulse.phases]
    expected = {
        "peak_ua": max((abs(c) for p in pulses for _, _, c in p.phases), default=0),
        "net_charge_pc": sum(pulse.net for pulse in pulses),
        "rms_ua": (oracle.worst_by_current(pulses, 2) / SECOND_US) ** 0.5,
        "average_ua": oracle.worst_by_current(pulses, 1) / SECOND_US,
    }
    if is_separable:
        expected |= {
            "pulse_count": len(pulses),
            "pulse_net_charge_pc": max((abs(pulse.net) for pulse in pulses), default=0),
            "pulse_energy_uj": max((pulse.square for pulse in pulses), default=0) * 500 / 1e12,
            "phase_charge_pc": max((_largest_run(pulse) for pulse in pulses), default=0),
        }
    return [
        f"{name}: samples {getattr(measured, name)}, enumeration {figure}"
        for name, figure in expected.items()
        if not isclose(getattr(measured, name), figure, rel_tol=1e-9, abs_tol=1e-9)
    ]


def _largest_run(pulse: oracle.Delivered) -> int:
    """Return the largest charge that flows one way without a turn."""
    largest = run = 0
    for start, end, current in pulse.phases:
        charge = current * (end - start)
        run = run + charge if run * charge > 0 else charge
        largest = max(largest, abs(run))
    return largest


def _against_kernel(
    measured: Measurement,
    channel: ChannelProgram,
    setpoint_ua: int,
    step_ua: int,
    is_separable: bool,
) -> list[str]:
    """Compare with the kernel's worst: never above, and near it where it claims to be exact."""
    analytic = figures(channel, setpoint_ua, step_ua)
    found: dict[str, tuple[float, float, float]] = {
        "peak": (measured.peak_ua, analytic.peak_ua, 0.0),
        "square of a second": (
            measured.rms_ua**2 * SECOND_US, analytic.second_square, analytic.pulse_square,
        ),
        "charge of a second": (
            measured.average_ua * SECOND_US, analytic.second_absolute_pc,
            2 * max((charge for charge, _ in analytic.phase_charges), default=0)
            * len(channel.polarity_runs),
        ),
    }  # fmt: skip
    if is_separable:
        charges = [charge for charge, _ in analytic.phase_charges]
        is_cyclic = len(channel.polarity_runs) % 2 == 1
        found["charge of a phase"] = (
            measured.phase_charge_pc, max(charges), max(charges) if is_cyclic else 0.0,
        )  # fmt: skip
        energy_uj = analytic.pulse_square * 500 / 1e12
        found["energy of a pulse"] = (measured.pulse_energy_uj, energy_uj, 0.0)
    is_exact = not channel.keyframes and channel.cycle is None
    problems = []
    for name, (samples, kernel, slack) in found.items():
        if samples > kernel * (1 + 1e-9):
            problems.append(f"{name}: samples {samples}, above the kernel's {kernel}")
        if is_exact and samples < (kernel - slack) * (1 - 1e-9):
            problems.append(f"{name}: samples {samples}, far below the kernel's {kernel}")
    if analytic.net_charge_pc:
        problems.append(f"the kernel has a net charge of {analytic.net_charge_pc}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
