"""What is shown: never less than the truth, in words and signs, nothing that a terminal obeys."""

from __future__ import annotations

import asyncio
import importlib
import os
import pkgutil
import re
import signal
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget

from estim.session.messages import Blame, Severity
from estim.session.states import HostState
from estim.tui import screens, session_words, words
from estim.tui.screens.base import (
    EVERYWHERE_HELP,
    KEYS_WIDTH,
    STOP_HELP,
    EstimScreen,
    key_table,
)
from estim.tui.screens.records import RecordsScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.screens.technician.menu import TechnicianMenu
from estim.tui.screens.visit import VisitScreen
from estim.tui.widgets.channels import ChannelPanel, ChannelsState
from estim.tui.widgets.events import EventList
from estim.tui.widgets.fault import FaultPanel
from estim.tui.widgets.form import FormView
from estim.tui.widgets.scale import CELL, ScaleRow
from estim.tui.widgets.strip import StatusStrip, StripState
from estim.visit.questions import Kind, Question
from tests.tui.harness import WatchedApp, drive, open_demo, start, until
from tests.tui.snapshots import FAULT, channel, snapshot

HELP_WIDTH = 66
"""A dialogue of 74 columns without border, padding and scrollbar."""
HOSTILE = "0 mA\x1b[2J\x1b]52;c;ZXZpbA==\x07\x9b31m\u202e\u2066[red]◐\r\n"


def shown(widget: Widget, show: Callable[[], None], size: tuple[int, int] = (80, 24)) -> str:
    """Return what a widget alone draws."""

    class Alone(App[None]):
        ENABLE_COMMAND_PALETTE = False

        def compose(self) -> ComposeResult:
            yield widget

    async def look() -> str:
        app = Alone()
        async with app.run_test(size=size) as pilot:
            show()
            await pilot.pause()
            return "\n".join(
                strip.text.rstrip() for strip in app.screen._compositor.render_strips()
            )

    return asyncio.run(look())


def strip_shows(state: StripState) -> str:
    strip = StatusStrip()
    strip.styles.height = 1
    return shown(strip, lambda: strip.show(state))


def panel_shows(state: ChannelsState) -> str:
    panel = ChannelPanel()
    return shown(panel, lambda: panel.show(state))


def test_the_strip_shows_the_largest_current_rounded_up_and_the_time_left() -> None:
    rows = (channel(shown_ua=3_000), channel(shown_ua=12_010))
    line = strip_shows(StripState(snapshot(channels=rows), True, 1))
    assert "▶ RUNNING   12.1 mA   29:00 left" in line  # 1800 s - 60 s, and 12.01 mA is not 12.0
    assert "SPACE stops" in line


@pytest.mark.parametrize("state", list(HostState))
def test_every_state_has_a_sign_and_words_of_its_own(state: HostState) -> None:
    others = {session_words.STATE_SIGNS[other] for other in HostState if other is not state}
    sign, text = session_words.STATE_SIGNS[state]
    assert (sign, text) not in others
    assert not {sign, text} & {part for pair in others for part in pair}
    assert sign not in words.BEAT_SIGNS


@pytest.mark.hazard(22)
def test_a_report_that_is_not_known_shows_unknown_and_no_number() -> None:
    line = strip_shows(StripState(snapshot(), False, 1))
    assert "UNKNOWN mA" in line
    assert "12.0" not in line
    panel = panel_shows(ChannelsState((channel(),), is_known=False))
    assert "UNKNOWN" in panel
    assert "11.8" not in panel
    assert "512" not in panel


def test_where_the_device_measures_nothing_it_says_set_not_measured() -> None:
    panel = panel_shows(ChannelsState((channel(measured_ua=-1),)))
    assert "set, not measured" in panel


def test_a_channel_shows_commanded_measured_ceiling_and_whose_limit_it_is() -> None:
    row = channel(measured_ua=13_400, shown_ua=13_400)
    panel = panel_shows(ChannelsState((row,), selected=frozenset({0})))
    assert "► 1 13.4 mA   12.0 mA    13.4 mA            25.0 mA    512 ohm    ✓ good" in panel
    assert "limit amplitude: 25 mA allowed by the profile" in panel


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_lead_off": True, "contact": "off"}, "electrode off, at zero: press it on, then l"),
        ({"is_shorted": True}, "! shorted"),
        ({"is_compliance_reached": True}, "! voltage max"),
        ({"contact": "unknown"}, "? unknown"),
        ({"cycle_phase": "off"}, "off time"),
        ({"load_ohm": 0}, "–"),
        ({"load_ohm": 15_200}, "15.2 kohm"),
    ],
)
def test_what_is_wrong_with_a_channel_is_said(changes: dict[str, Any], said: str) -> None:
    assert said in panel_shows(ChannelsState((channel(**changes),)))


def test_four_channels_fit_at_80_columns() -> None:
    rows = tuple(channel(measured_ua=-1, load_ohm=99_999) for _ in range(4))
    lines = panel_shows(ChannelsState(rows, selected=frozenset(range(4)))).splitlines()
    assert sum("✓ good" in line for line in lines) == 4
    assert max(map(len, lines)) <= 80


def test_a_fault_says_cause_remedy_suspect_and_the_key() -> None:
    panel = FaultPanel()
    text = shown(panel, lambda: panel.show(FAULT))
    assert "▲ FAULT: the device fell silent" in text
    assert "check cable and device" in text
    assert "not known" in text
    assert " k  acknowledges" in text


def test_the_same_thing_said_often_is_one_line_with_a_count() -> None:
    events = EventList()

    def flood() -> None:
        for _ in range(50):
            events.add(Severity.WARNING, "refused: at most 1 mA in a second")
        events.add(Severity.ALARM, "electrode off", "press it on", Blame.OPERATOR)

    text = shown(events, flood)
    assert "refused: at most 1 mA in a second (×50)" in text
    assert "electrode off: press it on (suspect: what was done here)" in text
    assert len(events.events) == 2


def test_no_text_from_outside_reaches_the_terminal_as_a_command(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        assert app.controller is not None
        app.written.truncate(0)
        session.query_one(EventList).add(Severity.ALARM, HOSTILE, HOSTILE, Blame.DEVICE)
        fault = replace(FAULT, text=HOSTILE, remedy=HOSTILE)
        session.query_one(FaultPanel).show(fault)
        row = channel(ceiling_reason=HOSTILE, cycle_phase=HOSTILE)
        session.query_one(ChannelPanel).show(ChannelsState((row,)))
        await pilot.pause(0.05)

    written = drive(script, records).written.getvalue()
    assert "0 mA\N{REPLACEMENT CHARACTER}[2J" in written
    assert not re.search("\x1b\\[2J|\x1b\\]52|\x9b|\u202e|\u2066|\x07", written)


@pytest.mark.hazard(22)
def test_every_state_of_the_session_is_marked_unknown_500_ms_after_the_last_snapshot(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        assert app.controller is not None
        assert app.controller.is_known()
        os.kill(app.controller.engine_pid, signal.SIGSTOP)
        begun = time.monotonic()
        await until(lambda: "UNKNOWN mA" in app.strip(), 2.0)
        assert time.monotonic() - begun < 1.0
        os.kill(app.controller.engine_pid, signal.SIGCONT)
        await until(lambda: "UNKNOWN" not in app.strip(), 2.0)

    drive(script, records)


def test_no_color_sends_no_colour_at_all(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await start(app, pilot)
        await until(lambda: "RUNNING" in app.strip())

    written = drive(script, records).written.getvalue()
    codes = {
        code for found in re.findall("\x1b\\[([0-9;]*)m", written) for code in found.split(";")
    }
    assert codes <= {"", "0", "1", "2", "3", "4", "7", "9", "39", "49"}
    assert "1" in codes  # bold stays


def test_with_colour_the_same_screen_has_some(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await pilot.pause(0.05)

    assert re.search(
        "\x1b\\[[0-9;]*(38;|9[0-7]|10[0-7])", drive(script, records).written.getvalue()
    )


def test_the_style_sheet_ships_with_the_package() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    assert "estim" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert all(Path(path).is_file() for path in WatchedApp.CSS_PATH)


def every_screen(base: type[EstimScreen[Any]] = EstimScreen) -> set[type[EstimScreen[Any]]]:
    for module in pkgutil.walk_packages(screens.__path__, f"{screens.__name__}."):
        importlib.import_module(module.name)
    return {base}.union(*(every_screen(found) for found in base.__subclasses__()))


def test_the_help_of_every_screen_fits_a_dialogue_and_stands_beside_its_keys() -> None:
    found = every_screen()
    assert {SessionScreen, VisitScreen, TechnicianMenu, RecordsScreen} <= found
    for lines in (STOP_HELP, EVERYWHERE_HELP, *(screen.HELP_LINES for screen in found)):
        for key, what in lines:
            assert len(key) < KEYS_WIDTH, key
            assert max(map(len, key_table(((key, what),)).plain.splitlines())) <= HELP_WIDTH, what


def test_the_session_screen_names_every_key_it_has_in_its_help() -> None:
    named = " ".join(key for key, _ in SessionScreen.HELP_LINES)
    for binding in SessionScreen.BINDINGS:
        key = getattr(binding, "key", "").split(",")[0]
        spelt = {"plus": "+", "minus": "-", "pageup": "PgUp", "pagedown": "PgDn", "f7": "F7"}.get(
            key, key
        )
        assert spelt in named or spelt in "234", spelt
    assert "T" in [key for key, _ in SessionScreen.HELP_LINES]  # a key of the application


def test_a_ramp_is_one_line_and_a_fall_never_takes_the_place_of_a_rise() -> None:
    events = EventList()

    def add() -> None:
        for words_said, kind in (
            ("commanded 1 mA", "rise"), ("commanded 2 mA", "rise"),
            ("lowered to 1 mA", "fall"), ("lowered to 0 mA", "fall"), ("stopped", ""),
        ):  # fmt: skip
            events.add(Severity.INFORMATION, words_said, replaces=kind)

    shown(events, add)
    assert [each.text for each in events.events] == ["commanded 2 mA", "lowered to 0 mA", "stopped"]


def test_a_scale_is_one_line_whose_numbers_are_clicked_on() -> None:
    asked = Question("pain", "How much?", Kind.WHOLE, minimum=0, maximum=10)
    form = FormView(lambda answers: (asked,))

    class Alone(App[None]):
        CSS_PATH = WatchedApp.CSS_PATH

        def compose(self) -> ComposeResult:
            yield form

    async def look() -> None:
        app = Alone()
        async with app.run_test(size=(60, 10)) as pilot:
            scale = app.query_one(ScaleRow)
            assert scale.region.height == 1
            assert str(scale.render()).split() == [*map(str, range(10)), "t", "10"]
            await pilot.click(ScaleRow, offset=(7 * CELL + 1, 0))
            await pilot.pause()
            assert form.answers == {"pain": 7}
            await pilot.press("u", "t")
            assert form.answers == {"pain": 10}

    asyncio.run(look())
