"""When the interface is first painted, what it takes while a session runs, what a plot costs."""

from __future__ import annotations

import asyncio
import os
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
LIVE_SIZE = (120, 40)
LIVE_SETTLE_S, LIVE_S = 2.0, 12.0
LIVE_MOST_PERCENT = 8.0
"""The figure that the live screen has to keep at 10 redraws a second."""

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
    yield {
        "name": "tui_live_screen",
        "value": _live_percent(),
        "unit": "percent of a core",
        "reference": LIVE_MOST_PERCENT,
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


def _live_percent() -> float:
    """Return what the interface alone takes of one core while it shows a running session."""
    with tempfile.TemporaryDirectory() as folder:
        columns, rows = LIVE_SIZE
        path = Path(folder)
        with Terminal(path, is_demo=True, columns=columns, rows=rows) as terminal:
            for keys, words in (("", "g starts"), ("g", "RUNNING"), ("+", "0.5 mA")):
                terminal.press(keys)
                if not terminal.wait_for(lambda said=words: terminal.shows(said)):  # type: ignore[misc]
                    raise RuntimeError(f"no {words} was shown")
            terminal.read(LIVE_SETTLE_S)
            begun, used = time.perf_counter(), _used_s(terminal.process.pid)
            end = begun + LIVE_S
            while (left := end - time.perf_counter()) > 0:
                terminal.read(left)
            used = _used_s(terminal.process.pid) - used
            return 100 * used / (time.perf_counter() - begun)


def _used_s(pid: int) -> float:
    """Return the time that a process has computed, its children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
