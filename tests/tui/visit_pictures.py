"""Take the pictures of a visit: one person, whose earlier visits lie in the records.

Answers are given by keys where they are seen; what stands before them is confirmed without.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from estim.clock import SystemClock
from estim.prepare import places
from estim.session.states import HostState
from estim.tui.app import EstimApp
from estim.tui.screens.person import PersonScreen
from estim.tui.screens.read_back import ReadBackScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.screens.visit import VisitScreen
from estim.tui.screens.visit_report import VisitReportScreen
from estim.tui.sitting import Sitting
from estim.tui.widgets.plot import Plot
from tests.record.samples import KEY
from tests.tui import visits
from tests.tui.harness import WatchedApp, until
from tests.visit.walked import PLAN, first_visit

Keep = Callable[[Path, EstimApp], None]

SIZE = (120, 36)
OTHERS = ("3F9T7C", "R4XH6K")
PAINS = (7, 6, 6, 4)
DEVICE = "sim:?patient_stop=no"
LEVEL_STEPS = 12
SENSORY_STEPS = 6
COMFORT_S = 60
"""The shortest that a site may set: then somebody is asked."""
LEAD_OFF_S = 30
SCREENED = 24
"""So many questions of the screening are answered, a worn glucose sensor with yes."""


def make_past(records: Path) -> None:
    """Write weekly visits of the person, the last a week ago, and visits of two others."""
    folder = places.configuration_folder()
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    key = folder / "station.key"
    key.touch(mode=0o600)
    key.write_text(KEY.hex() + "\n")
    records.mkdir(exist_ok=True)
    now = SystemClock().wall().replace(hour=9, minute=30)
    for number, pain in enumerate(PAINS):
        on = now - timedelta(days=7 * (len(PAINS) - number))
        first_visit(
            records, on, f"v{number}", plan=PLAN, pain=pain, person=visits.PERSON,
            plateau_ms=600_000 + 300_000 * number,
        ).finish()  # fmt: skip
    from estim.visit.pseudonym import check_character

    for number, body in enumerate(OTHERS):
        person = body + check_character(body)
        past = first_visit(records, now - timedelta(days=4), f"o{number}", plan=PLAN, person=person)
        if number:
            past.close()
        else:
            past.finish()


def take_today(path: Path, keep: Keep) -> None:
    """Show who is due and whose visit is unfinished."""
    make_past(path.parent / "records")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await until(lambda: visits.PERSON in app.text() and "unfinished" in app.text())
        keep(path, app)

    visits.drive_visit(script, path.parent / "records", size=SIZE)


def take_person(path: Path, keep: Keep) -> None:
    """Show plan, visits and trends of a person."""
    make_past(path.parent / "records")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        app.visiting.open_person(visits.PERSON)
        await until(lambda: isinstance(app.screen, PersonScreen) and bool(app.screen.query(Plot)))
        await until(lambda: "walk to the shop" in app.text())
        await pilot.pause(0.5)
        keep(path, app)

    visits.drive_visit(script, path.parent / "records", size=SIZE)


def take_screening(path: Path, keep: Keep) -> None:
    """Answer the screening so far that something asks for care."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await visits.begin(app, pilot)
        form = visits.shown_form(app)
        assert form is not None
        await until(lambda: app.screen.focused is not None)
        await pilot.pause(0.3)
        for _ in range(SCREENED):
            question = form.current
            assert question is not None
            is_yes = "glucose sensor" in question.words
            await visits.give(app, pilot, question, {question.id: True} if is_yes else {})
            await until(lambda question=question: form.current != question)  # type: ignore[misc]
        await pilot.pause(0.3)
        keep(path, app)

    _visit(script, path)


def take_sensation(path: Path, keep: Keep) -> None:
    """Test sensation: one site passes partly."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _begin_before(app, pilot, "test_sensation")
        await pilot.press("1", "y", "t", "4", "8", "3", "t", "4")
        await pilot.pause(0.3)
        keep(path, app)

    _visit(script, path)


def take_electrodes(path: Path, keep: Keep) -> None:
    """Place the pads: where, how large, and the density under them."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _begin_before(app, pilot, "place_electrodes")
        await pilot.press("y", "y", "4")
        await until(lambda: "mA/cm2" in app.text())
        await pilot.press(*"L24-117", "enter")
        await pilot.pause(0.3)
        keep(path, app)

    _visit(script, path)


def take_read_back(path: Path, keep: Keep) -> None:
    """Read back before arming."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await _begin_before(app, pilot, "stimulate")
        screen.open_next()
        await pilot.press("f6")
        await until(lambda: isinstance(app.screen, ReadBackScreen))
        await pilot.pause(0.3)
        keep(path, app)

    _visit(script, path)


def take_level(path: Path, keep: Keep) -> None:
    """Find the level, and mark it."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _run(app, pilot)
        await until(lambda: app.text().count("✓ good") == 2 and _is_calm(app))
        keep(path, app)

    _visit(script, path)


def take_bedside(path: Path, keep: Keep) -> None:
    """Show the digits that are read across a room."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _run(app, pilot)
        await pilot.press("b")
        await until(lambda: _is_calm(app))
        keep(path, app)

    _visit(script, path)


def take_meanwhile(path: Path, keep: Keep) -> None:
    """Look somebody else up while current flows."""
    make_past(path.parent / "records")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _run(app, pilot)
        await pilot.press("f7")
        await until(lambda: "the visit that is open" in app.text())
        await until(lambda: "RUNNING" in app.strip() and _is_calm(app))
        keep(path, app)

    _visit(script, path)


def take_prompt(path: Path, keep: Keep) -> None:
    """Be asked whether it is comfortable."""
    folder = places.configuration_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "site.toml").write_text(f"comfort_check_s = {COMFORT_S}\n")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _run(app, pilot)
        session = app.session_screen
        assert session is not None
        await until(lambda: bool(session.running.prompts.open), COMFORT_S + 30.0)
        await until(lambda: _is_calm(app))
        await pilot.pause(0.3)
        keep(path, app)

    _visit(script, path)


def take_lead_off(path: Path, keep: Keep) -> None:
    """Lose an electrode."""
    faults = path.parent / "faults.txt"
    faults.write_text(f"at {LEAD_OFF_S} lead-off 1\n")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _run(app, pilot)
        await until(lambda: "✗ off" in app.text(), LEAD_OFF_S + 20.0)
        await pilot.pause(1.0)
        await until(lambda: "slow" not in app.text() and "busy" not in app.text())
        keep(path, app)

    _visit(script, path, f"{DEVICE}&faults={faults}")


def take_report(path: Path, keep: Keep) -> None:
    """End a visit: planned beside delivered, and the note."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _run(app, pilot)
        await pilot.press("f")
        await until(lambda: app.state is HostState.READY)
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, VisitScreen))
        sitting = app.visiting.sitting
        assert sitting is not None
        await visits.confirm_up_to(sitting, "none", {"pain-now-nrs": 3})
        await pilot.press("f9")
        await until(lambda: isinstance(app.screen, VisitReportScreen))
        await until(lambda: "SUBJECTIVE" in app.text())
        await pilot.pause(0.5)
        keep(path, app)

    _visit(script, path)


TAKEN: dict[str, Callable[[Path, Keep], None]] = {
    "today.svg": take_today,
    "person.svg": take_person,
    "screening.svg": take_screening,
    "sensation.svg": take_sensation,
    "electrodes.svg": take_electrodes,
    "read-back.svg": take_read_back,
    "level.svg": take_level,
    "bedside.svg": take_bedside,
    "meanwhile.svg": take_meanwhile,
    "prompt.svg": take_prompt,
    "lead-off.svg": take_lead_off,
    "report.svg": take_report,
}


def _visit(script: visits.VisitScript, path: Path, url: str = DEVICE) -> None:
    visits.make_roster()
    visits.drive_visit(script, path.parent / "records", url=url, size=SIZE)


async def _begin_before(app: WatchedApp, pilot: Pilot[Any], kind: str) -> VisitScreen:
    """Begin a visit and come to a kind of step."""
    screen = await visits.begin(app, pilot)
    if kind != "test_sensation":
        app.visiting.ask_to_find_device()
        await until(lambda: screen.sitting.is_connected)
    await visits.confirm_up_to(screen.sitting, kind)
    screen.open_next()
    await pilot.pause(0.5)
    return screen


async def _run(app: WatchedApp, pilot: Pilot[Any]) -> Sitting:
    """Run a visit at a comfortable level that is marked."""
    sitting = await visits.come_to_running(app, pilot)
    for number in range(2, LEVEL_STEPS + 1):
        await until(lambda: isinstance(app.screen, SessionScreen))
        await pilot.press("+")
        ua = 500 * number
        await until(lambda ua=ua: visits.shown(app).channels[1].setpoint_ua >= ua)  # type: ignore[misc]
        if number == SENSORY_STEPS:
            await pilot.press("s")
    await pilot.press("c")
    await pilot.pause(0.5)
    return sitting


def _is_calm(app: WatchedApp) -> bool:
    """Tell whether this machine's own slowness is not to be seen at the moment."""
    return not any(words in app.text() for words in ("slow", "busy"))
