"""The stop key works from every screen, wherever the focus is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from estim.session.messages import Outcome
from estim.session.states import HostState
from estim.tui.running import Running, RunningPlan
from estim.tui.screens.base import EstimScreen, HelpScreen
from estim.visit.prompts import Schedule
from tests.tui.every_screen import BASES, SCREENS
from tests.tui.harness import WatchedApp, drive, open_demo, start, until

EVERYWHERE = ("f12", "ctrl+x")
OUTSIDE_TEXT = ("space", "x")


def _every_screen(base: type[Any]) -> set[type[Any]]:
    return {base}.union(*(_every_screen(found) for found in base.__subclasses__()))


@pytest.mark.hazard(31)
def test_every_screen_of_the_interface_is_tried_below() -> None:
    assert _every_screen(EstimScreen) - BASES == set(SCREENS)


async def _stop_reaches_engine(app: WatchedApp, key: str) -> bool:
    """Press a key; tell whether the engine carried out a request because of it."""
    count = sum(isinstance(reply, Outcome) for reply in app.replies)
    app.simulate_key(key)
    try:
        await until(lambda: sum(isinstance(r, Outcome) for r in app.replies) > count, 1.0)
    except AssertionError:
        return False
    return True


@pytest.mark.hazard(31)
@pytest.mark.long
def test_stop_keys_reach_the_engine_from_every_focusable_widget_of_every_screen(
    records: Path,
) -> None:
    tried: list[tuple[str, str, str]] = []
    failed: list[tuple[str, str, str]] = []

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        for kind, make in SCREENS.items():
            screen = make(app)
            if screen is not None:
                await app.push_screen(screen)
            await pilot.pause(0.05)
            assert type(app.screen) is kind
            for widget in (None, *app.screen.focus_chain):
                app.screen.set_focus(widget)
                await pilot.pause()
                assert app.screen.focused is widget
                is_text = isinstance(widget, Input | TextArea)
                named = "F12 or Ctrl+X stops" if is_text else "SPACE stops"
                assert named in app.strip()
                for key in EVERYWHERE if is_text else EVERYWHERE + OUTSIDE_TEXT:
                    case = (kind.__name__, type(widget).__name__, key)
                    tried.append(case)
                    if not await _stop_reaches_engine(app, key):
                        failed.append(case)
            if screen is not None:
                await app.pop_screen()

    drive(script, records)
    assert failed == []
    text_fields = {screen for screen, widget, _ in tried if widget in ("Input", "AnswerField")}
    assert text_fields == {
        "LibraryScreen", "DeviceScreen", "BenchScreen", "PaletteScreen",
        "TodayScreen", "PlanScreen", "SignInScreen", "OverrideScreen", "TextScreen",
        "FaultsScreen", "CharacteriseScreen", "VerifyScreen", "CaptureScreen", "ConformanceScreen",
        "RecordsScreen", "AddendumScreen", "ExportScreen",
    }  # fmt: skip
    # What reached the record is the engine's own witness; one more Stop ends the test.
    lines = next(records.glob("*.jsonl")).read_text().splitlines()
    stops = [json.loads(line) for line in lines if '"kind":"stop"' in line]
    assert sum(stop["content"]["reason"] == "stop key" for stop in stops) == len(tried)


@pytest.mark.parametrize("is_bedside", [False, True], ids=["channels", "bedside"])
def test_stop_keys_work_while_something_is_asked_and_an_alarm_is_on(
    records: Path, is_bedside: bool
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        assert app.controller is not None
        plan = RunningPlan(app.controller.note, Schedule(skin_at_ms=(1,), answer_ms=1))
        session.running = Running(plan)
        session.running.prepare(2, 500)
        await start(app, pilot)
        await pilot.press("+")
        if is_bedside:
            await pilot.press("b")
        await until(lambda: "Look at the skin" in app.text() and "!   LOW" in app.text())
        assert app.strip().rstrip().endswith("SPACE stops")
        for key in (*EVERYWHERE, *OUTSIDE_TEXT, "0", "insert"):
            assert await _stop_reaches_engine(app, key), key
        await until(lambda: app.state is HostState.READY)

    drive(script, records)


def test_a_text_field_takes_space_and_x_and_the_strip_names_the_other_keys(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await pilot.press("slash", "x", "space", "x")
        assert app.screen.query_one("#search", Input).value == "x x"
        assert "F12 or Ctrl+X stops" in app.strip()
        await pilot.press("escape")
        assert "SPACE stops" in app.strip()

    drive(script, records)


@pytest.mark.hazard(31)
@pytest.mark.parametrize("key", ["space", "ctrl+x"])
def test_stop_takes_the_output_to_zero_at_once_under_a_dialogue(records: Path, key: str) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await start(app, pilot)
        await pilot.press("+")
        await until(lambda: app.strip().count("0.5 mA") == 1)
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, HelpScreen))
        assert "RUNNING" in app.strip()
        await pilot.press(key)
        await until(lambda: app.state is HostState.READY, 1.0)
        await until(lambda: "STOPPED, output off   0.0 mA" in app.strip(), 1.0)

    drive(script, records)
