"""On a terminal that has little: no colour, no capabilities, hardly any room."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from estim.tui import session_words
from estim.tui.screens.technician.frames import FramesScreen
from estim.tui.screens.technician.running import JobScreen
from tests.soak.monkey import F12, PROGRAM, come_to_output
from tests.tui.every_screen import SCREENS
from tests.tui.harness import WatchedApp, drive, open_demo, until
from tests.tui.terminal import Terminal

pytestmark = pytest.mark.long

COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:[34][0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")
PLAIN = [
    {"NO_COLOR": "1", "TERM": "vt100", "COLORTERM": ""},
    {"TERM": "dumb", "COLORTERM": ""},
]


@pytest.mark.parametrize("environment", PLAIN, ids=["vt100", "dumb"])
def test_a_stimulation_is_run_and_stopped_on_a_poor_terminal(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    (tmp_path / "configuration").mkdir()
    with Terminal(tmp_path, program=PROGRAM, environment=environment) as terminal:
        drawn = b""
        come_to_output(terminal)
        assert terminal.wait_for(lambda: terminal.shows("0.5 mA"))
        assert terminal.shows("RUNNING")
        assert terminal.shows("stops")
        drawn += terminal.drawn
        terminal.drawn = b""
        terminal.press(F12)
        assert terminal.wait_for(lambda: terminal.shows("STOPPED"))
        drawn += terminal.drawn
        if "NO_COLOR" in environment:
            assert COLOUR.findall(drawn) == []
    assert '"kind":"stop"' in terminal.record()


def words(app: WatchedApp) -> list[str]:
    """Return the words on screen below the strip; figures and bars may move."""
    return re.findall(r"[^\W\d_]{2,}", app.text().partition("\n")[2])


async def settled(app: WatchedApp, pilot: Pilot[Any]) -> list[str]:
    """Return the words on screen once what is loaded in the background is there."""
    newest: list[str] = []
    for _ in range(20):
        await pilot.pause(0.15)
        before, newest = newest, words(app)
        if before == newest:
            break
    return newest


LIVE = (FramesScreen, JobScreen)
"""What comes in all the time is another thing a moment later."""


@pytest.mark.hazard(34)
@pytest.mark.parametrize("third", [0, 1, 2])
def test_every_screen_shrinks_to_20_by_5_and_comes_back_as_it_was(
    records: Path, third: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the strip tells the state by its sign, and which key stops; without colour."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        for kind, make in list(SCREENS.items())[third::3]:
            screen = make(app)
            if screen is not None:
                await app.push_screen(screen)
            before = await settled(app, pilot)
            await pilot.resize_terminal(20, 5)
            await pilot.pause(0.05)
            assert app.strip().rstrip().endswith("stops"), kind
            assert app.state is not None
            assert session_words.STATE_SIGNS[app.state][0] in app.strip(), kind
            await pilot.resize_terminal(80, 24)
            if kind not in LIVE:
                with contextlib.suppress(AssertionError):
                    await until(lambda before=before: words(app) == before, 2.0)  # type: ignore[misc]
                assert words(app) == before, kind
            while app.screen is not session:
                await app.pop_screen()

    drive(script, records)
