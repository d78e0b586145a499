"""What goes wrong, or comes between, in the middle of a visit: files, pastes, the next person."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import OptionList

from estim.prepare import last_device, places
from estim.profile import library
from estim.record import station_key
from estim.record.reader import read
from estim.record.verify import verify
from estim.session.states import HostState
from estim.text import sanitize
from estim.tui.app import Options
from estim.tui.screens.devices import DeviceScreen
from estim.tui.screens.person import PersonScreen
from estim.tui.screens.plan import PlanScreen
from estim.tui.screens.read_back import ReadBackScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.screens.today import TodayScreen
from estim.tui.screens.visit import VisitScreen
from estim.tui.screens.visit_report import VisitReportScreen
from estim.tui.widgets.form import AnswerField, _is_typed
from estim.tui.widgets.note_area import NoteArea
from estim.visit import protocol
from tests.tui import visits
from tests.tui.harness import WatchedApp, play, until
from tests.tui.test_paste import HOSTILE
from tests.tui.visits import drive_visit, make_roster

pytestmark = pytest.mark.long

NO_STOP = "sim:?patient_stop=no"
NEXT = "C7H9KDM"


@pytest.fixture(autouse=True)
def roster(own_configuration: None) -> None:
    make_roster()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a library of this test's own."""
    folder = tmp_path / "profiles"
    shutil.copytree(library.folder(), folder)
    monkeypatch.setattr(library, "_FOLDERS", (folder,))
    return folder


def told(records: Path) -> list[tuple[str, dict[str, Any]]]:
    (path,) = records.glob("*.jsonl")
    noted = [event.content for event in read(path).events if event.kind == "annotation"]
    return [(each["kind"], each["content"]) for each in noted]


def _notified(app: WatchedApp) -> str:
    return "\n".join(each.message for each in app._notifications)


def is_sound(path: Path) -> bool:
    return verify(path, station_key.load(places.configuration_folder())).findings == ()


# Files that change meanwhile.


@pytest.mark.parametrize("how", ["edited", "deleted", "damaged"])
def test_a_visit_goes_on_with_what_it_began_with(records: Path, shelf: Path, how: str) -> None:
    file = shelf / "dpn-conventional.toml"
    guide = shelf / protocol.FOLDER / f"{visits.PROTOCOL}.toml"
    original = file.read_bytes()
    whole_guide = guide.read_bytes()

    def change() -> None:
        if how == "deleted":
            file.unlink()
            guide.unlink()
        elif how == "damaged":
            file.write_text("schema = [")
            guide.write_text("schema = [")
        else:
            file.write_bytes(original.replace(b"100 Hz", b"99 Hz").replace(b'"1.', b'"9.'))
            guide.write_bytes(whole_guide.replace(b'version = "1', b'version = "9'))
            assert file.read_bytes() != original

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await visits.begin(app, pilot)
        await visits.confirm_up_to(screen.sitting, "inspect_skin")
        change()
        screen.open_next()
        await visits.answer(app, pilot)
        await visits.confirm_up_to(screen.sitting, "stimulate")
        screen.open_next()
        await pilot.press("f11")
        await until(lambda: isinstance(app.screen, PlanScreen))
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, VisitScreen))
        await pilot.press("f6")
        await until(lambda: isinstance(app.screen, ReadBackScreen))
        await visits.arm(app, pilot)
        await pilot.press("space")
        await until(lambda: app.state is HostState.READY)

    drive_visit(script, records, url=NO_STOP)
    (path,) = records.glob("*.jsonl")
    assert is_sound(path)
    events = read(path).events
    (prepared,) = [event.content for event in events if event.kind == "prepared"]
    assert prepared["profile_sha256"] == hashlib.sha256(original).hexdigest()
    assert events[0].content["protocol"]["sha256"] == hashlib.sha256(whole_guide).hexdigest()


@pytest.mark.parametrize("damaged", ["dpn-conventional.toml", f"protocols/{visits.PROTOCOL}.toml"])
def test_a_visit_does_not_begin_by_a_damaged_file_and_says_which(
    records: Path, shelf: Path, damaged: str
) -> None:
    loaded = protocol.find(visits.PROTOCOL)  # as the person's screen had it before
    (shelf / damaged).write_text("schema = [")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        app.visiting.operator = visits.THERAPIST
        app.visiting.ask_to_begin(visits.PERSON, loaded)
        await until(lambda: bool(app._notifications))
        (said,) = [each.message for each in app._notifications]
        assert damaged in said
        assert "\n" not in said
        assert isinstance(app.screen, TodayScreen)
        assert app.controller is None
        assert app.visiting.sitting is None

    drive_visit(script, records, url=NO_STOP)
    assert list(records.glob("*.jsonl")) == []


def test_what_was_edited_between_two_visits_holds_in_the_second(records: Path, shelf: Path) -> None:
    loaded = protocol.find(visits.PROTOCOL)
    file = shelf / "dpn-conventional.toml"
    edited = file.read_bytes() + b"# looked at\n"

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        for octets in (file.read_bytes(), edited):
            app.visiting.operator = visits.THERAPIST
            await app.visiting.begin(visits.PERSON, loaded)
            sitting = app.visiting.sitting
            assert sitting is not None
            await visits.confirm_up_to(sitting, "try_stop")
            assert sitting.profile is not None
            assert sitting.profile.sha256 == hashlib.sha256(octets).hexdigest()
            await sitting.close()
            app.visiting.forget()
            app.end_session()
            app.go_home()
            file.write_bytes(edited)

    drive_visit(script, records, url=NO_STOP)


# Pastes into the visit itself.


def test_a_paste_into_every_question_that_is_typed_leaves_the_visit_whole(records: Path) -> None:
    typed: set[str] = set()
    taken: set[str] = set()

    async def into_each(app: WatchedApp, pilot: Pilot[Any]) -> None:
        """Paste at every question of the step on screen, answering the others."""
        sitting = app.visiting.sitting
        assert sitting is not None
        step = sitting.visit.next_step
        assert step is not None

        def asked() -> bool:
            form = visits.shown_form(app)
            is_drawn = form is not None and bool(form.query("#typed"))
            return is_drawn and form is not None and form.form == sitting.form(step, {})

        await until(asked)
        form = visits.shown_form(app)
        assert form is not None
        answers = visits.answers_to(sitting, step, {})
        for _ in range(100):
            question = form.current
            if question is None:
                break
            if _is_typed(question):
                typed.add(question.id)
                field = form.query_one(AnswerField)
                await until(lambda: app.screen.focused is field)  # noqa: B023
                app.post_message(Paste(HOSTILE))
                await until(lambda: "red" in field.value)  # noqa: B023
                app.simulate_key("enter")
                await pilot.pause()
            if question.id in form.answers:
                taken.add(question.id)
            elif form.current is not None and form.current.id == question.id:
                form.answer(answers.get(question.id, "1"))
        assert form.current is None
        await pilot.press("enter")
        await until(lambda: step.id in sitting.visit.answered)
        await pilot.pause(0.2)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await visits.begin(app, pilot)
        sitting = screen.sitting
        await visits.confirm_up_to(sitting, "consent")  # nothing is typed at the screening
        screen.open_next()
        while (step := sitting.visit.next_step) is not None:
            if step.kind == "try_stop":
                await visits.try_stop(app, pilot)
            elif step.kind == "stimulate":
                assert any("is no date" in each for each in sitting.output_problems())
                await sitting.confirm(step, {})  # nothing flows here
                screen.open_next()
            else:
                await into_each(app, pilot)
        assert sitting.visit.odd_count == 0
        await pilot.press("f9")
        await until(lambda: isinstance(app.screen, VisitReportScreen))
        area = app.screen.query_one(NoteArea)
        await until(lambda: bool(area.text))
        area.focus()
        await until(lambda: area.has_focus)
        app.post_message(Paste(HOSTILE))
        await until(lambda: "second line" in area.text)
        await pilot.press("f9")
        await until(lambda: app.visiting.sitting is None)

    drive_visit(script, records, url=NO_STOP)
    assert len(typed - taken) > 3  # figures and dates refuse it
    assert taken  # words take it, as far as it may be drawn
    (path,) = records.glob("*.jsonl")
    assert is_sound(path)
    for kind, content in told(records):
        for text in content.get("answers", content).values():
            lines = str(text).split("\n")
            assert [sanitize(line) for line in lines] == lines, kind


# While current flows.


def test_later_steps_and_the_next_person_are_prepared_while_current_flows(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        sitting = await visits.come_to_running(app, pilot)
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, VisitScreen) and bool(visits.shown_form(app)))
        screen = app.screen
        assert isinstance(screen, VisitScreen)
        form = visits.shown_form(app)
        assert form is not None
        await pilot.press("n")
        half_given = dict(form.answers)
        assert half_given
        await pilot.press("f6")  # to the stimulation and back: what was half given is still there
        await until(lambda: isinstance(app.screen, SessionScreen))
        await pilot.press("w")
        await until(lambda: app.screen is screen)
        assert visits.shown_form(app) is form
        assert form.answers == half_given
        for step_id in ("adjuncts", "education"):
            for _ in range(40):
                if form is None or form.current is None:
                    break
                await visits.give(app, pilot, form.current, {})
            await pilot.press("enter")
            await until(lambda step_id=step_id: step_id in sitting.visit.answered)  # type: ignore[misc]
            await pilot.pause(0.2)
            form = visits.shown_form(app)
            assert app.state is HostState.RUNNING
            assert "RUNNING" in app.strip()
            assert visits.PERSON in app.strip()
        assert form is None  # what is left waits for the stimulation
        assert "Output is on" in app.text()
        for later in ("skin-after", "outcome", "review", "electrodes"):
            screen._open(sitting.visit.protocol.step(later))
            await pilot.pause(0.1)
            assert visits.shown_form(app) is None, later
        await pilot.press("f7")
        await until(lambda: isinstance(app.screen, TodayScreen))
        await pilot.press(*NEXT, "enter")
        await until(lambda: isinstance(app.screen, PersonScreen))
        app.visiting.ask_to_begin(NEXT, protocol.find(visits.PROTOCOL))
        await until(lambda: f"{NEXT} comes up once it has ended" in _notified(app))
        assert app.state is HostState.RUNNING
        await pilot.press("space")
        await until(lambda: app.state is HostState.READY)
        await pilot.press("f6")
        await until(lambda: isinstance(app.screen, SessionScreen))
        await pilot.press("w")
        await until(lambda: "stimulation" in sitting.visit.answered)
        assert sitting.visit.next_step == sitting.visit.protocol.step("skin-after")
        await pilot.press("f9")
        await until(lambda: isinstance(app.screen, VisitReportScreen))
        await pilot.press("e")
        await until(lambda: isinstance(app.screen, PersonScreen) and NEXT in app.text())
        assert app.visiting.sitting is None
        assert app.controller is None

    drive_visit(script, records, url=NO_STOP)
    kept = [content.get("step", kind) for kind, content in told(records)]
    assert kept.index("read_back") < kept.index("adjuncts") < kept.index("education")
    assert kept.index("education") < kept.index("stimulation")


# Between two starts.


def test_the_device_of_last_time_is_offered_and_not_connected_unasked(records: Path) -> None:
    async def first(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await visits.begin(app, pilot)
        await visits.confirm_up_to(screen.sitting, "try_stop")
        screen.open_next()
        await until(lambda: screen.sitting.is_connected)
        await until(lambda: last_device.recall(places.configuration_folder()) == NO_STOP)

    drive_visit(first, records, url=NO_STOP)

    async def second(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await visits.begin(app, pilot)
        await visits.confirm_up_to(screen.sitting, "try_stop")
        screen.open_next()
        await until(lambda: isinstance(app.screen, DeviceScreen) and NO_STOP in app.text())
        assert "used here last" in app.text()
        await pilot.pause(0.3)
        assert not screen.sitting.is_connected
        devices = app.screen.query_one("#devices", OptionList)
        assert devices.highlighted == 0
        assert [str(option.id) for option in devices.options] == [NO_STOP, "sim:"]
        await pilot.press("enter")
        await until(lambda: screen.sitting.is_connected)
        assert screen.sitting.given.has_patient_stop is False

    app = WatchedApp(Options(records=records))
    play(app, _from_today(second), (80, 24))


def _from_today(script: visits.VisitScript) -> visits.VisitScript:
    async def opened(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await until(lambda: isinstance(app.screen, TodayScreen) and app.screen.is_mounted)
        await script(app, pilot)

    return opened
