"""Every screen of the interface, each as a test can open it over the demo session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from textual.content import Content
from textual.screen import Screen

from estim.prepare import places, site
from estim.record.timeline import Entry
from estim.tui.bench import BenchLink
from estim.tui.controller import VisitPlan
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
from estim.visit.known import Given
from tests.tui.harness import WatchedApp

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
