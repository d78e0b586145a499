"""Whole visits through the interface, with the real engine and the simulator behind it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets._footer import FooterKey

from estim.prepare import places
from estim.prepare import roster as roster_of_station
from estim.record import station_key
from estim.record.reader import read
from estim.record.verify import verify
from estim.session.states import HostState
from estim.tui.link import Delivered
from estim.tui.screens.lost import LostScreen
from estim.tui.screens.override import OverrideScreen
from estim.tui.screens.read_back import ReadBackScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.screens.sign_in import SignInScreen
from estim.tui.screens.text import TextScreen
from estim.tui.screens.today import TodayScreen
from estim.tui.screens.visit import VisitScreen
from estim.tui.screens.visit_report import VisitReportScreen
from estim.visit import protocol
from estim.visit.questions import Answer
from tests.tui import visits
from tests.tui.harness import WatchedApp, until
from tests.tui.visits import drive_visit, make_roster

pytestmark = pytest.mark.long

NO_STOP = "sim:?patient_stop=no"


@pytest.fixture(autouse=True)
def roster(own_configuration: None) -> None:
    make_roster()


def told(records: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return what a visit's record was told, in order."""
    (path,) = records.glob("*.jsonl")
    return [
        (event.content["kind"], event.content["content"])
        for event in read(path).events
        if event.kind == "annotation"
    ]


def test_a_first_visit_from_sign_in_to_seal(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await visits.begin(app, pilot)
        sitting = app.visiting.sitting
        assert sitting is not None
        assert app.person == visits.PERSON
        await visits.come_to_stimulation(app, pilot)
        await until(lambda: isinstance(app.screen, ReadBackScreen))
        await until(lambda: "y arms at zero" in app.text())
        shown = app.text()
        assert visits.PERSON in shown
        assert "left upper calf" in shown.lower() or "left calf" in shown.lower()
        assert "10 min" in shown
        session = await visits.arm(app, pilot)
        assert visits.PERSON in app.strip()
        await pilot.press("g")
        await until(lambda: app.state is HostState.RUNNING)
        for _ in range(2):
            await pilot.press("+")
            await pilot.pause(0.6)
        await until(lambda: visits.shown(app).channels[0].target_ua > 0)
        await pilot.press("s")
        await pilot.pause(0.6)
        await pilot.press("+")
        await pilot.pause(0.4)
        await pilot.press("c")
        # Meanwhile: the visit, a step that gates output, today's list, and back.
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, VisitScreen))
        assert "RUNNING" in app.strip()
        app.screen._open(sitting.visit.protocol.step("electrodes"))  # type: ignore[attr-defined]
        await until(lambda: "Output is on" in app.text())
        await pilot.press("f9")
        await pilot.pause(0.1)
        assert isinstance(app.screen, VisitScreen)
        await pilot.press("f7")
        await until(lambda: isinstance(app.screen, TodayScreen))
        assert "RUNNING" in app.strip()
        assert visits.PERSON in app.strip()
        await pilot.press("f6")
        await until(lambda: app.screen is session)
        assert app.state is HostState.RUNNING
        await pilot.press("space")
        await until(lambda: app.state is HostState.READY)
        await until(lambda: "take the pads off" in app.text())
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, VisitScreen))
        await until(lambda: "stimulation" in sitting.visit.answered)
        assert app.session_screen is None
        for _ in range(8):
            step = sitting.visit.next_step
            if step is None:
                break
            await (visits.leave_out if step.may_skip else visits.answer)(app, pilot)
        assert sitting.visit.is_reviewed
        await pilot.press("f9")
        await until(lambda: isinstance(app.screen, VisitReportScreen))
        await pilot.press("e")
        await until(lambda: app.visiting.sitting is None and isinstance(app.screen, TodayScreen))
        assert app.person == ""

    drive_visit(script, records)
    (path,) = records.glob("*.jsonl")
    found = verify(path, station_key.load_or_make(places.configuration_folder()))
    assert found.is_ok
    kept = told(records)
    kinds = [kind for kind, _ in kept]
    assert kinds[0] == "visit"
    for kind in ("screen", "consent", "inspect_skin", "test_sensation", "try_stop",
                 "place_electrodes", "read_back", "marker", "stimulate", "review"):  # fmt: skip
        assert kind in kinds, kind
    assert kinds.index("read_back") > kinds.index("place_electrodes")
    assert kinds.index("stimulate") > kinds.index("marker")
    stimulated = dict(kept)["stimulate"]["answers"]
    assert stimulated["stimulations"] == 1
    assert stimulated["delivered_ms"] > 1000
    assert 0 < stimulated["highest_ua-1"] <= 5000
    markers = [content["marker"] for kind, content in kept if kind == "marker"]
    assert markers[:1] == ["sensory"]
    assert "comfortable" in markers
    skipped = {content["step"] for kind, content in kept if kind == "skip"}
    assert "baseline" in skipped
    assert "screening" not in skipped
    stop = dict(kept)["try_stop"]["answers"]
    assert stop == {"patient": "tried", "key": "heard"}


def test_what_forbids_output_holds_it_back_and_only_a_clinician_overrides(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await visits.begin(app, pilot)
        sitting = screen.sitting
        held: dict[str, Answer] = {
            "malignancy": True,  # a place of its own is asked for
            "left-calf-upper-sharp-dull": 0,
            "all-expiry": "2020-01",
            "active-implant": True,
        }
        await visits.confirm_up_to(sitting, "stimulate", held)
        screen.open_next()
        problems = "; ".join(sitting.output_problems())
        assert "screening" in problems
        assert "left calf upper" in problems.replace("-", " ")
        assert "2020-01" in problems or "expir" in problems
        await pilot.press("f6")
        await pilot.pause(0.3)
        assert isinstance(app.screen, VisitScreen)
        assert app.controller is not None
        assert app.controller.prepared is None
        # The engine's own gate would not arm either.
        (item, _), *_ = sitting.overridable()
        await pilot.press("f8")
        await until(lambda: isinstance(app.screen, OverrideScreen))
        await pilot.press("down", "enter")
        await visits.type_text(app, pilot, "seen and discussed")
        await until(lambda: isinstance(app.screen, SignInScreen))
        assert visits.THERAPIST not in app.text().partition("Which clinician")[2]
        await visits.type_text(app, pilot, visits.THERAPIST_PIN)  # not the clinician's
        await until(lambda: "! " in app.text())
        assert not sitting.visit.overrides
        await visits.type_text(app, pilot, visits.CLINICIAN_PIN)
        await until(lambda: len(sitting.visit.overrides) == 1)
        made = sitting.visit.overrides[0]
        assert (made.item, made.clinician) == (item, visits.CLINICIAN)

    drive_visit(script, records, url=NO_STOP)
    kinds = [kind for kind, _ in told(records)]
    assert "read_back" not in kinds
    assert kinds.count("override") == 1


def test_a_visit_never_delivers_longer_in_all_than_once_at_the_longest(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        sitting = await visits.come_to_running(app, pilot)
        await pilot.press("space")
        await until(lambda: app.state is HostState.READY)
        await pilot.press("g")  # offers no start: what a stop cleared is read back anew
        await pilot.pause(0.3)
        assert app.state is HostState.READY
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, VisitScreen))
        used_ms = sitting.delivered_ms
        assert used_ms > 0
        await pilot.press("f6")
        await until(lambda: isinstance(app.screen, ReadBackScreen))
        assert app.controller is not None
        assert app.controller.prepared is not None
        left_s = app.controller.prepared.settings.duration_s
        assert left_s == 600 - -(-used_ms // 1000)
        assert f"{left_s // 60} min {left_s % 60} s" in sitting.read_back_text()
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, VisitScreen))
        app.controller._finished.append(  # as if it had run for nearly all of a first exposure
            Delivered("dpn-conventional", 545_000, 545_000, (1, 1), (500, 500))
        )
        await pilot.press("f6")
        await until(lambda: "used up" in app.text())
        assert isinstance(app.screen, VisitScreen)

    drive_visit(script, records, url=NO_STOP)


def test_an_idle_station_locks_under_the_strip_and_a_handover_reads_level_and_limits_back(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        sitting = await visits.come_to_running(app, pilot)
        app.visiting._idle_lock_us = 1
        await until(lambda: app.visiting.lock_screen is not None)
        app.visiting._idle_lock_us = 900_000_000
        await until(lambda: "RUNNING" in app.strip() and visits.PERSON in app.strip())
        await pilot.press("escape")
        assert app.visiting.lock_screen is not None
        people = [one.id for one in roster_of_station.operators(places.configuration_folder())]
        await visits.sign_in(app, pilot, people.index(visits.CLINICIAN), visits.CLINICIAN_PIN)
        await until(lambda: isinstance(app.screen, ReadBackScreen))
        assert "at most" in app.text()
        await pilot.press("n")  # not read back: it stays locked
        await until(lambda: app.visiting.lock_screen is not None)
        assert sitting.visit.operator == visits.THERAPIST
        await visits.sign_in(app, pilot, people.index(visits.CLINICIAN), visits.CLINICIAN_PIN)
        await until(lambda: isinstance(app.screen, ReadBackScreen))
        await pilot.press("y")
        await until(lambda: isinstance(app.screen, SessionScreen))
        assert sitting.visit.operator == visits.CLINICIAN
        assert app.state is HostState.RUNNING
        app.visiting._idle_lock_us = 1
        await until(lambda: len(app.screen.query("#pin")) == 1)
        app.screen.set_focus(app.screen.query_one("#pin"))
        await pilot.press("f12")
        await until(lambda: app.state is HostState.READY, 1.0)

    drive_visit(script, records, url=NO_STOP)
    (handed,) = [content for kind, content in told(records) if kind == "handover"]
    assert (handed["from_operator"], handed["to_operator"]) == ("t1", "dr1")
    assert handed["amplitudes_ua"][0] > 0
    assert len(handed["ceilings_ua"]) == 2


def test_the_engine_killed_in_a_visit_leads_home_and_the_next_start_says_so(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await visits.begin(app, pilot)
        await visits.confirm_up_to(screen.sitting, "assess")
        assert app.controller is not None
        os.kill(app.controller.engine_pid, signal.SIGKILL)
        await until(lambda: isinstance(app.screen, LostScreen))
        await pilot.press("enter")
        await until(lambda: "recovered and sealed" in app.text())
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, TodayScreen))
        assert app.visiting.sitting is None
        assert app.person == ""
        await until(lambda: app.controller is None)
        await until(lambda: f"{visits.PERSON}  unfinished" in app.text())

    drive_visit(script, records, url=NO_STOP)
    assert [kind for kind, _ in told(records)] == ["visit", "screen", "consent"]


def test_q_asks_and_seals_as_unfinished_and_a_second_visit_is_refused(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await visits.begin(app, pilot)
        await visits.confirm_up_to(screen.sitting, "assess")
        app.visiting.ask_to_begin("ANOTHER", protocol.find(visits.PROTOCOL))
        await until(lambda: "open already" in app.text())
        await pilot.press("q")
        await until(lambda: isinstance(app.screen, ReadBackScreen))
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, VisitScreen))
        assert app.visiting.sitting is not None
        await pilot.press("q")
        await until(lambda: isinstance(app.screen, ReadBackScreen))
        await pilot.press("y")
        await until(lambda: not app.is_running)

    drive_visit(script, records, url=NO_STOP)
    (path,) = records.glob("*.jsonl")
    closed = [event.content for event in read(path).events if event.kind == "closed"]
    assert [content["reason"] for content in closed] == ["visit left unfinished"]
    assert verify(path, station_key.load_or_make(places.configuration_folder())).is_ok


@pytest.mark.parametrize("damage", ["records", "roster", "empty"])
def test_what_a_visit_cannot_begin_without_is_told_and_nothing_is_open(
    records: Path, damage: str
) -> None:
    people = [one.id for one in roster_of_station.operators(places.configuration_folder())]
    if damage == "records":
        records.write_text("a file where the folder should be")
    else:
        found = [path for path in places.configuration_folder().iterdir() if path.is_file()]
        for path in found:
            path.write_text("{" if damage == "roster" else "")
            if damage == "empty":
                path.unlink()

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        app.visiting.ask_to_begin(visits.PERSON, protocol.find(visits.PROTOCOL))
        if damage == "records":
            await until(lambda: isinstance(app.screen, SignInScreen))
            await visits.sign_in(app, pilot, people.index(visits.THERAPIST), visits.THERAPIST_PIN)
            await until(lambda: isinstance(app.screen, TodayScreen))
            await until(lambda: bool(app._notifications))
        else:
            await until(lambda: isinstance(app.screen, SignInScreen) and "! " in app.text())
            await pilot.press("escape")
            await until(lambda: isinstance(app.screen, TodayScreen))
        await pilot.pause(0.2)
        assert app.controller is None
        assert app.visiting.sitting is None
        assert app.person == ""

    drive_visit(script, records, url=NO_STOP)


def test_a_visit_is_answered_by_the_mouse_and_at_any_size(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await visits.begin(app, pilot)
        sitting = screen.sitting
        form = visits.shown_form(app)
        assert form is not None
        assert form.current is not None
        word = form.current.words.split()[0]
        for size in ((20, 5), (200, 60), (80, 24), (120, 40)):
            await pilot.resize_terminal(*size)
            await until(lambda: app.strip().rstrip().endswith("stops"))
            if size == (20, 5):
                await until(lambda: word in app.text())
        await pilot.click("#choices", offset=(2, 0))  # the first kind of neuropathy
        await until(lambda: form.answers.get("neuropathy-kind") == "peripheral")
        await pilot.click("#choices", offset=(2, 1))  # no
        await until(lambda: form.answers.get("neuropathy-autonomic") is False)
        await pilot.click("#questions", offset=(2, 0))
        await until(lambda: form.current is not None and form.current.id == "neuropathy-kind")
        await pilot.click("#step-list", offset=(4, 4))  # later steps are shown, not asked
        await until(lambda: "First comes" in app.text())
        assert visits.shown_form(app) is None
        await pilot.click("#step-list", offset=(4, 0))
        await until(lambda: visits.shown_form(app) is not None)
        await pilot.pause(0.3)  # a change of focus makes the footer anew
        keys = list(app.screen.query(FooterKey))
        await pilot.click(next(key for key in keys if key.key == "f5"))
        await until(lambda: isinstance(app.screen, TextScreen))
        app.post_message(Paste("\x1b[31mred\x07\x1b]0;x\x07"))
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert "\x1b" not in app.text()
        assert sitting.visit.odd_count == 0

    drive_visit(script, records, url=NO_STOP, size=(120, 40))
    for kind, content in told(records):
        assert "\x1b" not in f"{kind} {content}"


def test_a_form_with_an_open_question_is_not_confirmed_and_no_key_tries_the_stop(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await visits.begin(app, pilot)
        await visits.confirm_up_to(screen.sitting, "consent")
        screen.open_next()
        await until(lambda: "Gates: output" in app.text())
        await pilot.press("y", "pagedown", "pagedown", "enter")
        await until(lambda: "this is not answered yet" in app.text())
        assert screen.sitting.visit.answers("consent") is None
        await visits.confirm_up_to(screen.sitting, "try_stop")
        screen.open_next()
        await until(lambda: "has no stop for the patient" in app.text())
        await pilot.press("1", "down", "enter", "1")
        await until(lambda: "press a stop key" in app.text())
        assert screen.sitting.visit.answers("try_stop") is None
        await pilot.press("f12")
        await until(lambda: screen.sitting.visit.answers("try_stop") is not None)

    drive_visit(script, records, url=NO_STOP)
