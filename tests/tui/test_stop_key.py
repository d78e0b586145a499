"""The stop key works from every screen, wherever the focus is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from textual.content import Content
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, TextArea

from estim.prepare import places, site
from estim.record.timeline import Entry
from estim.session.messages import Outcome
from estim.session.states import HostState
from estim.tui.bench import BenchLink
from estim.tui.controller import VisitPlan
from estim.tui.running import Running, RunningPlan
from estim.tui.screens.addendum import AddendumScreen
from estim.tui.screens.base import EstimModal, EstimScreen, HelpScreen
from estim.tui.screens.bell import BellScreen
from estim.tui.screens.bench import BenchScreen
from estim.tui.screens.devices import DeviceScreen
from estim.tui.screens.event import EventScreen
from estim.tui.screens.export import ExportScreen
from estim.tui.screens.library import LibraryScreen
from estim.tui.screens.lost import LostScreen
from estim.tui.screens.override import OverrideScreen
from estim.tui.screens.palette import PaletteScreen, commands_of
from estim.tui.screens.person import PersonScreen
from estim.tui.screens.plan import PlanScreen
from estim.tui.screens.read_back import ReadBackScreen
from estim.tui.screens.record import RecordScreen
from estim.tui.screens.records import RecordsScreen
from estim.tui.screens.replay import ReplayScreen
from estim.tui.screens.report import ReportScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.screens.sign_in import SignInScreen
from estim.tui.screens.technician.acceptance import AcceptanceScreen
from estim.tui.screens.technician.base import TechnicianScreen
from estim.tui.screens.technician.capture import CaptureScreen
from estim.tui.screens.technician.device import DeviceFactsScreen
from estim.tui.screens.technician.faults import FaultsScreen
from estim.tui.screens.technician.frames import FramesScreen
from estim.tui.screens.technician.jobs import CharacteriseScreen, JobFormScreen, VerifyScreen
from estim.tui.screens.technician.menu import TechnicianMenu
from estim.tui.screens.technician.question import QuestionScreen
from estim.tui.screens.technician.running import JobScreen
from estim.tui.screens.text import TextScreen
from estim.tui.screens.today import TodayScreen
from estim.tui.screens.visit import VisitScreen
from estim.tui.screens.visit_report import VisitReportScreen
from estim.tui.sitting import Sitting
from estim.visit import course, protocol
from estim.visit.guide import Given
from estim.visit.prompts import Schedule
from tests.tui.harness import WatchedApp, drive, open_demo, start, until

EVERYWHERE = ("f12", "ctrl+x")
OUTSIDE_TEXT = ("space", "x")

SCREENS: dict[type[Screen[Any]], Callable[[WatchedApp], Screen[Any] | None]] = {
    SessionScreen: lambda app: None,  # it is there already
    LibraryScreen: lambda app: LibraryScreen(),
    DeviceScreen: lambda app: DeviceScreen(),
    BenchScreen: lambda app: BenchScreen("a profile", "sim:"),
    HelpScreen: lambda app: HelpScreen("Help", SessionScreen.HELP_LINES),
    ReportScreen: lambda app: ReportScreen(_controller(app)),
    VisitReportScreen: lambda app: VisitReportScreen(_sitting(app)),
    LostScreen: lambda app: LostScreen(_controller(app), "for the test"),
    PaletteScreen: lambda app: PaletteScreen(commands_of(app.screen, app.set_theme)),
    BellScreen: lambda app: BellScreen(),
    TodayScreen: lambda app: TodayScreen(),
    PersonScreen: lambda app: PersonScreen("K7M4Q2"),
    VisitScreen: lambda app: VisitScreen(_sitting(app)),
    PlanScreen: lambda app: PlanScreen(_sitting(app)),
    SignInScreen: lambda app: SignInScreen(places.configuration_folder(), "Who?"),
    ReadBackScreen: lambda app: ReadBackScreen("Before arming", "Person K7M4Q2", "Is it so?"),
    OverrideScreen: lambda app: OverrideScreen([("malignancy", "tumour")]),
    TextScreen: lambda app: TextScreen("A note"),
    TechnicianMenu: lambda app: TechnicianMenu(_link(app)),
    AcceptanceScreen: lambda app: _acceptance(app),
    DeviceFactsScreen: lambda app: DeviceFactsScreen(_link(app)),
    FramesScreen: lambda app: FramesScreen(_link(app)),
    FaultsScreen: lambda app: FaultsScreen(_link(app)),
    CharacteriseScreen: lambda app: CharacteriseScreen(_link(app)),
    VerifyScreen: lambda app: VerifyScreen(_link(app)),
    CaptureScreen: lambda app: CaptureScreen(_link(app)),
    QuestionScreen: lambda app: QuestionScreen("Is it set?", ("yes", "no"), print, print),
    RecordsScreen: lambda app: RecordsScreen(),
    RecordScreen: lambda app: RecordScreen(_record(app)),
    EventScreen: lambda app: EventScreen(Entry("0:01.000", "stop", "reason x", None)),
    AddendumScreen: lambda app: AddendumScreen("t1", None),
    ExportScreen: lambda app: ExportScreen("a-session", "clinical"),
    ReplayScreen: lambda app: ReplayScreen(_record(app)),
    # Last: it takes the device away from the session, whose programme is then gone.
    JobScreen: lambda app: JobScreen(
        _link(app), "a job", lambda job: Content("done"), is_virtual=True, step_count=1
    ),
}
BASES = {EstimScreen, EstimModal, TechnicianScreen, JobFormScreen}


def _controller(app: WatchedApp) -> Any:
    assert app.controller is not None
    return app.controller


def _record(app: WatchedApp) -> Path:
    path = _controller(app).record_path
    assert isinstance(path, Path)
    return path


def _link(app: WatchedApp) -> BenchLink:
    if app.bench is None:
        app.bench = BenchLink(_controller(app))
    return app.bench


def _acceptance(app: WatchedApp) -> AcceptanceScreen:
    """Return the acceptance test at its first step, somebody having signed in."""
    link = _link(app)
    link.acceptance = course.begin(protocol.find("technician-acceptance").protocol, "", "t1")
    return AcceptanceScreen(link)


def _sitting(app: WatchedApp) -> Sitting:
    """Return a visit at its first step; its answers would go to the bench session's record."""
    policy = site.load_site(places.configuration_folder())
    given = Given(date(2026, 11, 21), 30, 20)
    plan = VisitPlan({}, "K7M4Q2", "t1")
    loaded = protocol.find("diabetic-neuropathy-first")
    return Sitting(loaded, given, _controller(app), plan, policy)


def _every_screen(base: type[Any]) -> set[type[Any]]:
    return {base}.union(*(_every_screen(found) for found in base.__subclasses__()))


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
        "FaultsScreen", "CharacteriseScreen", "VerifyScreen", "CaptureScreen",
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
        plan = RunningPlan(_controller(app).note, Schedule(skin_at_ms=(1,), answer_ms=1))
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
