"""The end of a visit: its note is edited, copied, saved before the seal; the stop keys stay."""

from __future__ import annotations

import base64
import contextlib
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.pilot import Pilot

from estim.record.reader import read, stream
from estim.record.verify import verify
from estim.session.messages import Outcome
from estim.tui.screens.today import TodayScreen
from estim.tui.screens.visit import VisitScreen
from estim.tui.screens.visit_report import TAKE_HOME_FOLDER, VisitReportScreen
from estim.tui.widgets.note_area import NoteArea
from estim.tui.words import BEAT_SIGNS
from estim.visit import protocol
from tests.tui.harness import LARGE, Script, WatchedApp, drive, until

pytestmark = pytest.mark.long

PROTOCOL = protocol.find("diabetic-neuropathy-first")
PATIENCE_S = 20.0
"""For what a busy machine does late: nothing here measures time."""


async def report(app: WatchedApp, pilot: Pilot[Any]) -> VisitReportScreen:
    """Begin a visit, once more where a slow disk made the engine refuse; go to its end."""
    app.visiting.operator = "T-1"
    for _ in range(3):
        app.visiting.ask_to_begin("P-0042", PROTOCOL)
        with contextlib.suppress(AssertionError):
            await until(lambda: isinstance(app.screen, VisitScreen) and app.screen.is_mounted)
            break
    await until(lambda: "Screening" in app.text())
    await pilot.press("f9")
    return await shown(app)


async def shown(app: WatchedApp) -> VisitReportScreen:
    await until(lambda: isinstance(app.screen, VisitReportScreen), PATIENCE_S)
    screen = app.screen
    assert isinstance(screen, VisitReportScreen)
    is_there = lambda: bool(screen.query(NoteArea)) and "SUBJECTIVE" in note(app).text  # noqa: E731
    await until(is_there, PATIENCE_S)
    return screen


def note(app: WatchedApp) -> NoteArea:
    return app.screen.query_one(NoteArea)


def outcomes(app: WatchedApp) -> int:
    """Return how many requests the engine has answered: a stop is one."""
    return sum(isinstance(reply, Outcome) for reply in app.replies)


def annotated(path: Path, kind: str) -> list[dict[str, Any]]:
    return [
        event.content["content"]
        for event in stream(path)
        if event.kind == "annotation" and event.content["kind"] == kind
    ]


def run(script: Script, records: Path, size: tuple[int, int] = LARGE) -> WatchedApp:
    return drive(script, records, size)


@pytest.fixture
def record(records: Path) -> Any:
    """Return what finds the record of the visit that was begun last."""
    return lambda: max(records.glob("*.jsonl"))


def test_the_note_is_edited_and_durable_before_the_seal(records: Path, record: Any) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await report(app, pilot)
        text = app.text()
        assert "Not done: Screening" in text
        assert "Screening: not in the record" in note(app).text
        await pilot.press("n")
        await until(lambda: note(app).has_focus)
        await pilot.press("S", "o", "space", "x", "!")
        assert note(app).text.startswith("So x!Person")
        await pilot.press("escape")
        assert isinstance(app.screen, VisitReportScreen)
        await pilot.press("e")
        await until(lambda: app.controller is None and isinstance(app.screen, TodayScreen))

    run(script, records)
    path = record()
    (saved,) = annotated(path, "note")
    assert saved["text"].startswith("So x!Person    P-0042\n")
    assert saved["operator"] == "T-1"
    kinds = [event.kind for event in read(path).events]
    last_note = max(i for i, kind in enumerate(kinds) if kind == "annotation")
    assert last_note < kinds.index("closed") < kinds.index("seal")
    assert verify(path, None).is_ok


def test_the_stop_keys_work_in_the_note_and_the_strip_names_them(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await report(app, pilot)
        assert "SPACE stops" in app.strip()
        await pilot.press("n")
        await until(lambda: "F12 or Ctrl+X stops" in app.strip())
        before, heard = note(app).text, outcomes(app)
        await pilot.press("space", "x")
        await until(lambda: note(app).text == " x" + before)
        assert outcomes(app) == heard
        for count, key in enumerate(("f12", "ctrl+x"), start=1):
            await pilot.press(key)
            await until(lambda: outcomes(app) == heard + count)  # noqa: B023
        assert note(app).text == " x" + before
        await pilot.press("escape", "space")
        await until(lambda: outcomes(app) == heard + 3)

    run(script, records)


def test_the_note_is_copied_by_one_key_and_the_doubt_is_said(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await report(app, pilot)
        await pilot.press("c")
        await until(lambda: "\x1b]52;c;" in app.written.getvalue())
        coded = app.written.getvalue().partition("\x1b]52;c;")[2].partition("\x07")[0]
        assert base64.b64decode(coded).decode() == note(app).text
        await until(lambda: "may refuse" in app.text())

    run(script, records)


def test_the_sheet_is_saved_and_its_path_shown_and_none_is_replaced(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await report(app, pilot)
        folder = records / TAKE_HOME_FOLDER
        for count in (1, 2):
            await pilot.press("t")
            await until(lambda: len(list(folder.glob("*.txt"))) == count)  # noqa: B023
        await until(lambda: "Take-home sheet:" in app.text())
        first, second = sorted(folder.glob("*.txt"))
        assert first.read_text() == second.read_text()
        assert "P-0042" in first.read_text()

    run(script, records)


HOSTILE = f"\x1b[2J\x1b]0;x\x07\u202ea\tb\r\nc\x9b\u2028d{BEAT_SIGNS}"


def test_a_paste_of_escapes_becomes_visible_lines(records: Path, record: Any) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await report(app, pilot)
        await pilot.press("n")
        await until(lambda: note(app).has_focus)
        note(app).post_message(Paste(HOSTILE))
        await until(lambda: "]0;x" in note(app).text)
        written = app.written.getvalue()
        assert "\x1b]0;x" not in written
        await pilot.press("f9")
        await until(lambda: app.controller is None)

    run(script, records)
    (saved,) = annotated(record(), "note")
    for line in saved["text"].split("\n"):
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
        assert not set(line) & set(BEAT_SIGNS)


def test_what_was_edited_survives_a_look_at_the_visit(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await report(app, pilot)
        await pilot.press("n", "Q", "escape", "escape")
        await until(lambda: isinstance(app.screen, VisitScreen))
        await pilot.press("f9")
        await shown(app)
        assert note(app).text.startswith("QPerson")
        await pilot.press("f4")
        await until(lambda: note(app).text.startswith("Person"))

    run(script, records)


def test_leaving_with_an_edited_note_is_refused_once(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await report(app, pilot)
        await pilot.press("n", "Q", "ctrl+c")
        await until(lambda: "The note is not saved" in app.text())
        assert app.controller is not None
        assert not app.controller.is_ended

    run(script, records)


def test_ending_without_any_note_is_asked_twice(records: Path, record: Any) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await report(app, pilot)
        note(app).fill("")
        await pilot.press("e")
        await until(lambda: "There is no note" in app.text())
        assert app.controller is not None
        await pilot.press("e")
        await until(lambda: app.controller is None)

    run(script, records)
    assert annotated(record(), "note") == []


@pytest.mark.parametrize("size", [(20, 5), (80, 24)])
def test_a_small_terminal_shows_strip_and_ends(
    records: Path, record: Any, size: tuple[int, int]
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await report(app, pilot)
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert app.strip().strip()
        await pilot.press("e")
        await until(lambda: app.controller is None)

    run(script, records)
    assert len(annotated(record(), "note")) == 1
