"""When the interface is first painted, beside an empty Textual application; what a plot costs."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from textual.app import App, ComposeResult

from estim.tui.widgets.plot import Plot, Trace
from tests.tui.terminal import PROGRAM, Terminal

PAINT_ROUNDS = 7
PLOT_ROUNDS = 200
PLOT_SIZE = (120, 40)
SAMPLES = 100_000

EMPTY_PROGRAM = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("NO SESSION")
Empty().run()
"""


def run() -> Iterable[dict[str, Any]]:
    """Measure first paint in turn with its yardstick, then the drawing of a plot."""
    ours: list[float] = []
    empty: list[float] = []
    for _ in range(PAINT_ROUNDS):
        ours.append(_first_paint_ms(PROGRAM))
        empty.append(_first_paint_ms(EMPTY_PROGRAM))
    yield {
        "name": "tui_first_paint",
        "value": statistics.median(ours),
        "unit": "ms",
        "reference": statistics.median(empty),
    }
    drawn_ms, plain_ms = asyncio.run(_plot_ms())
    yield {"name": "tui_plot_frame", "value": drawn_ms, "unit": "ms", "reference": plain_ms}


def _first_paint_ms(program: str) -> float:
    """Return the time from the start of a process to its first words on the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with Terminal(Path(folder), program=program) as terminal:
            if not terminal.wait_for(lambda: terminal.shows("NO SESSION")):
                raise RuntimeError("nothing was painted")
            return (time.perf_counter() - begun) * 1000


async def _plot_ms() -> tuple[float, float]:
    """Return the median time to draw a full plot, and to reduce its samples alone with numpy."""
    times = np.arange(SAMPLES, dtype=np.float64)
    noise = np.random.default_rng(1).integers(-20_000, 20_000, SAMPLES).astype(np.float64)
    trace = Trace(times, noise, 0, SAMPLES, -20_000, 20_000, "noise")

    class Alone(App[None]):
        def compose(self) -> ComposeResult:
            yield Plot()

    app = Alone()
    async with app.run_test(size=PLOT_SIZE):
        plot = app.query_one(Plot)
        plot.show(trace)
        drawn = [_timed_ms(lambda: plot.draw_strips(*PLOT_SIZE)) for _ in range(PLOT_ROUNDS)]
    columns = noise[: SAMPLES // 240 * 240].reshape(240, -1)
    plain = [
        _timed_ms(lambda: (columns.min(axis=1), columns.max(axis=1))) for _ in range(PLOT_ROUNDS)
    ]
    return statistics.median(drawn), statistics.median(plain)


def _timed_ms(work: Any) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000
