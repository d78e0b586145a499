"""How long `estim --version` and `estim devices` take, beside a Python that does nothing.

All are started in turn, so that whatever else the machine does strikes all alike; the median of
each counts.
`ratio` is `value` over `reference`. Python keeps what it compiled, as it does where Estim is
installed.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
ROUNDS = 21
EMPTY = ("-c", "pass")
COMMANDS = {
    "startup_version": ("-m", "estim", "--version"),
    "startup_devices": ("-m", "estim", "devices", "--json"),
}


def run() -> Iterable[dict[str, Any]]:
    """Yield one figure for each command."""
    measured = measure_ms([EMPTY, *COMMANDS.values()], ROUNDS)
    times_ms = {command: statistics.median(taken) for command, taken in measured.items()}
    for name, arguments in COMMANDS.items():
        yield {
            "name": name,
            "value": round(times_ms[arguments], 2),
            "unit": "ms",
            "reference": round(times_ms[EMPTY], 2),
            "ratio": round(times_ms[arguments] / times_ms[EMPTY], 3),
        }


def measure_ms(
    commands: Sequence[tuple[str, ...]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[tuple[str, ...], list[float]]:
    """Return how long each command took in each round; one more round before does not count."""
    taken_ms: dict[tuple[str, ...], list[float]] = {command: [] for command in commands}
    with tempfile.TemporaryDirectory(prefix="estim-") as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(rounds + 1):
            for command in commands:
                began = clock()
                _run(command, environment)
                taken_ms[command].append((clock() - began) * 1000)
    return {command: times_ms[1:] for command, times_ms in taken_ms.items()}


def children_cpu_s() -> float:
    """Return the processor's time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(command: tuple[str, ...], environment: dict[str, str]) -> None:
    # No timeout: with one, the wait is a poll in steps that grow to tens of milliseconds.
    subprocess.run(
        [sys.executable, *command],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
