"""The interface in memory, with the real engine and simulator behind it.

`MemoryDriver` is a terminal that takes every byte at once: what Textual writes goes through the
`BeatReportingFile` of a real terminal, so the engine gets its heartbeats from what was drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.app import App
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from estim.session.messages import Reply
from estim.session.states import HostState
from estim.tui.app import EstimApp, Options
from estim.tui.screens.library import LibraryScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.terminal import BeatReportingFile

SMALL, LARGE = (80, 24), (160, 50)

Script = Callable[["WatchedApp", Pilot[Any]], Awaitable[None]]


class MemoryDriver(HeadlessDriver):
    """Write to memory; everything written is flushed at once."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        assert isinstance(app, WatchedApp)
        self._file = BeatReportingFile(app.written, app.beat_flushed)

    @property
    def is_headless(self) -> bool:
        return False

    def write(self, data: str) -> None:
        self._file.write(data)
        self._file.flush()


class WatchedApp(EstimApp):
    """The interface, keeping what it wrote and what the engine answered."""

    def __init__(self, options: Options) -> None:
        self.written = io.StringIO()
        self.replies: list[Reply] = []
        super().__init__(options, MemoryDriver)

    def _engine_said(self, reply: Reply) -> None:
        self.replies.append(reply)
        super()._engine_said(reply)

    def text(self) -> str:
        """Return what the screen on top shows, a line each."""
        strips = self.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)

    def strip(self) -> str:
        """Return the first line: state, current, time left, stop key."""
        return self.text().partition("\n")[0]

    @property
    def state(self) -> HostState | None:
        """Return the session's state, None without a session."""
        if self.controller is None or self.controller.snapshot is None:
            return None
        return self.controller.snapshot.state


def drive(
    script: Script, records: Path, size: tuple[int, int] = SMALL, *, from_profiles: bool = True
) -> WatchedApp:
    """Run the interface and a script of key presses in it, from the profiles or from today."""
    app = WatchedApp(Options(records=records))

    async def opened(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await until(lambda: app.screen.is_mounted)
        if from_profiles:
            app.push_screen(LibraryScreen())
            await until(lambda: "▲ not reviewed" in app.text())
        await script(app, pilot)

    return play(app, opened, size)


def play(app: WatchedApp, script: Script, size: tuple[int, int]) -> WatchedApp:
    """Run an interface and a script in it; show the screen where it fails, leave no output."""

    async def pilot_script(pilot: Pilot[Any]) -> None:
        try:
            await script(app, pilot)
        except AssertionError:
            print(app.text())
            raise
        finally:
            if app.controller is not None and not app.controller.is_ended:
                app.controller.stop("end of the test")
                await asyncio.to_thread(app.controller.abandon)
            app.exit()

    asyncio.run(app.run_async(headless=False, size=size, auto_pilot=pilot_script))
    return app


async def until(is_met: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for a condition; fail where it does not come."""
    end = time.monotonic() + timeout_s
    while not is_met():
        assert time.monotonic() < end, "what was waited for did not come"
        await asyncio.sleep(0.03)  # looking at the screen is work, and a beat is due at 10 Hz


async def open_demo(app: WatchedApp, pilot: Pilot[Any]) -> SessionScreen:
    """Open the demo session and wait until it can be started."""
    await pilot.press("d")
    await until(lambda: app.controller is not None and app.controller.prepared is not None)
    await until(lambda: app.state is HostState.READY and "g starts" in app.text())
    assert isinstance(app.screen, SessionScreen)
    return app.screen


async def start(app: WatchedApp, pilot: Pilot[Any]) -> None:
    """Arm and start an open session; where a slow disk made the engine refuse, once more."""
    for _ in range(6):
        await pilot.press("g")
        with contextlib.suppress(AssertionError):
            await until(lambda: app.state is HostState.RUNNING, 3.0)
            return
    raise AssertionError("the session did not start")
