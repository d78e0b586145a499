"""How long an engine takes from its start to its first snapshot, beside an empty Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from estim.engine.client import EngineClient
from estim.session.messages import Reply, Snapshot

ROUNDS = 9


def run() -> Iterable[dict[str, Any]]:
    """Measure; the figure to hold is 150 ms."""
    engines = [_engine_s() for _ in range(ROUNDS)]
    empty = [_empty_s() for _ in range(ROUNDS)]
    yield {
        "name": "engine_start_to_first_snapshot",
        "value": round(statistics.median(engines) * 1000, 1),
        "unit": "ms",
        "reference": round(statistics.median(empty) * 1000, 1),
    }


def _engine_s() -> float:
    is_there = threading.Event()

    def see(reply: Reply) -> None:
        if isinstance(reply, Snapshot):
            is_there.set()

    began_s = time.perf_counter()
    client = EngineClient.spawn(see, lambda reason: is_there.set())
    is_there.wait(10.0)
    took_s = time.perf_counter() - began_s
    if client.close() != 0:
        raise RuntimeError("the engine did not start")
    return took_s


def _empty_s() -> float:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began_s
