"""The records browser and the replay, by keys, on real records."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from estim.clock import VirtualClock
from estim.errors import UsageError
from estim.prepare import places
from estim.record import station_key
from estim.record.catalogue import list_records
from estim.record.journal import Journal
from estim.record.reader import read
from estim.record.verify import SealState, verify
from estim.session.states import HostState
from estim.tui import archive
from estim.tui.screens.event import EventScreen
from estim.tui.screens.record import RecordScreen
from estim.tui.screens.records import RecordsScreen
from estim.tui.screens.replay import ReplayScreen
from estim.tui.screens.today import TodayScreen
from estim.tui.words import BEAT_SIGNS
from tests.record import samples
from tests.tui.harness import LARGE, SMALL, Script, WatchedApp, drive, open_demo, start, until
from tests.tui.sessions import lines, second, session
from tests.tui.test_layout import check_fits
from tests.visit.walked import first_visit

pytestmark = pytest.mark.long

ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e"
"""A title, a cleared screen, and writing from right to left."""


def look_at(script: Script, records: Path, size: tuple[int, int] = SMALL) -> WatchedApp:
    """Run a script from today on: the profiles are not needed here."""
    return drive(script, records, size, from_profiles=False)


def told(app: WatchedApp) -> str:
    """Return what was said beside the screen."""
    return " ".join(one.message for one in app._notifications)


def is_in(app: WatchedApp, field: str) -> bool:
    """Tell whether the focus is in a field."""
    return app.screen.focused is not None and app.screen.focused.id == field


def sign_in(app: WatchedApp) -> None:
    """Take it that t1 has given the PIN just now."""
    app.visiting.operator = "t1"
    app.visiting._idle_lock_us = 3600 * 1_000_000
    app.visiting.touch()


async def browse(app: WatchedApp, count: int) -> RecordsScreen:
    """Open the list and wait until so many records are in it."""
    screen = RecordsScreen()
    await app.push_screen(screen)
    await until(lambda: f"{count} of {count} records" in app.text())
    return screen


async def open_record(app: WatchedApp, path: Path) -> RecordScreen:
    """Open a record and wait until it is read and verified."""
    screen = RecordScreen(path)
    await app.push_screen(screen)
    await until(lambda: app.screen is screen and "  head " in app.text())
    await until(lambda: "Verifying" not in app.text() and "Reading" not in app.text())
    return screen


async def replay(app: WatchedApp, path: Path) -> ReplayScreen:
    """Open a replay and wait until it shows something."""
    screen = ReplayScreen(path)
    await app.push_screen(screen)
    await until(lambda: "REPLAY it was" in app.text())
    return screen


def visit_record(records: Path, session_id: str = "visit-1", **changes: Any) -> Journal:
    """Begin the record of a visit."""
    records.mkdir(exist_ok=True)
    header = samples.header(session_id, kind="clinical", bench_ohm=None, **changes)
    return Journal.create(records, header, VirtualClock(), session_id)


def sealed_visit(records: Path, **content: Any) -> Path:
    """Write a visit that is sealed with this station's key."""
    journal = visit_record(records)
    samples.append(journal, "annotation", 1000, kind="note", content={"text": "x", **content})
    samples.append(journal, "closed", 2000, reason="done", delivered_ms=0)
    journal.sync()
    samples.seal(journal, 3000, station_key.load_or_make(places.configuration_folder()))
    journal.close()
    return journal.path


# The list.


@pytest.mark.parametrize("size", [SMALL, (120, 40), (200, 60)], ids=str)
def test_damaged_unsealed_and_unreadable_records_say_so_in_words(
    records: Path, size: tuple[int, int]
) -> None:
    whole = session(records)
    kept = lines(whole)
    (records / "damaged-1.jsonl").write_bytes(b"".join(kept[:30] + kept[31:]))
    (records / "torn-1.jsonl").write_bytes(b"".join(kept[:40]))
    (records / "pipe-1.jsonl").symlink_to("/dev/zero")
    sealed_visit(records)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await browse(app, 5)
        await check_fits(app)
        text = app.text()
        # The shared session is sealed with the key of another station.
        assert text.count("▲ DAMAGED") == 2
        assert text.count("▲ UNREADABLE") == 1
        assert "! unsealed" in text
        assert "P-0042" in text
        assert "4 to look at" in text
        looked_for = {
            "p-0042": 1, "conventional unsealed": 1, "2000-01-01": 4, "SIM-0001": 3, "tech-7": 1,
            "damaged": 2, "nobody": 0,
        }  # fmt: skip
        for typed, found in looked_for.items():
            await pilot.press("slash")
            app.screen.query_one("#sought", Input).value = typed
            await until(lambda n=found: f"{n} of 5 records" in app.text())  # type: ignore[misc]
            await pilot.press("enter")

    look_at(script, records, size)


def test_the_list_is_reached_from_today_by_r_and_left_by_escape(records: Path) -> None:
    session(records)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await check_fits(app)
        await pilot.press("r")
        await until(lambda: isinstance(app.screen, RecordsScreen) and "1 of 1" in app.text())
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, RecordScreen))
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, RecordsScreen))
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, TodayScreen))

    look_at(script, records)


def test_another_program_in_the_same_folder_is_seen_and_not_disturbed(records: Path) -> None:
    """What another instance writes to is unsealed here, can be looked at, and never closed."""
    journal = visit_record(records, "other-1")
    samples.append(journal, "annotation", 1000, kind="note", content={"text": "first"})
    journal.sync()

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await browse(app, 1)
        assert "! unsealed" in app.text()
        assert len(list_records(records)) == 1  # the other one brings the catalogue up to date
        await open_record(app, journal.path)
        await pilot.press("c")
        await until(lambda: "y closes the record" in app.text())
        await pilot.press("y")
        await until(lambda: "another program is writing to it" in told(app))
        samples.append(journal, "annotation", 2000, kind="note", content={"text": "second"})
        journal.sync()
        session(records)
        await pilot.press("escape")
        await until(lambda: app.screen is screen and "2 of 2 records" in app.text())

    look_at(script, records)
    assert [event.kind for event in read(journal.path).events] == ["header", *["annotation"] * 2]
    journal.close()


# One record.


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_a_record_shows_header_events_and_whether_it_verifies(
    records: Path, size: tuple[int, int]
) -> None:
    path = sealed_visit(records, text="pads moved")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_record(app, path)
        await check_fits(app)
        assert "✓ verifies: 4 lines, sealed" in app.text()
        assert verify(path, None).head in app.text()
        assert "pseudonym P-0042" in app.text()
        assert "text pads moved" in app.text()
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, EventScreen) and "event  1" in app.text())
        await check_fits(app)
        await pilot.press("escape", "h")
        await until(lambda: "software" in app.text())
        await pilot.press("escape")
        changed = path.read_bytes().replace(b"pads moved", b"pads MOVED")
        path.write_bytes(changed)
        await pilot.press("v")
        await until(lambda: "✗ DOES NOT VERIFY" in app.text())
        assert "line 2: changed line" in app.text()

    look_at(script, records, size)


def test_an_addendum_names_who_why_and_the_event_and_is_sealed_again(records: Path) -> None:
    path = sealed_visit(records)
    before = path.read_bytes()

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        sign_in(app)
        await open_record(app, path)
        await pilot.press("a")
        await until(lambda: "t1 adds to this record" in app.text())
        await check_fits(app)
        await pilot.press("tab", "tab", *"left", "enter")
        await until(lambda: "Choose the reason first" in app.text())
        await pilot.press("shift+tab", "shift+tab", "enter")
        await until(lambda: is_in(app, "added"))
        await pilot.press("enter")
        await until(lambda: "1 addenda" in app.text())
        assert "✓ verifies: 6 lines, sealed" in app.text()
        await until(lambda: "text left" in app.text())

    look_at(script, records)
    assert path.read_bytes().startswith(before)
    (added,) = read(path).addenda
    assert dict(added.content) == {
        "who": "t1", "why": "correction", "text": "left", "event_seq": 1,
    }  # fmt: skip
    key = station_key.load(places.configuration_folder())
    assert verify(path, key).state is SealState.SEALED


def test_a_record_is_moved_to_another_person_only_by_a_pseudonym_whose_check_holds(
    records: Path,
) -> None:
    path = sealed_visit(records)
    before = path.read_bytes()

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        sign_in(app)
        await open_record(app, path)
        await pilot.press("a")
        await until(lambda: "t1 adds to this record" in app.text())
        await pilot.press("end", "enter")
        await until(lambda: is_in(app, "added"))
        await pilot.press(*"Jane Doe", "enter")
        await until(lambda: "pseudonym" in told(app))
        assert isinstance(app.screen, RecordScreen)

    look_at(script, records)
    assert path.read_bytes() == before


def test_an_addendum_left_lying_until_the_station_signed_out_asks_who_sends_it(
    records: Path,
) -> None:
    path = sealed_visit(records)
    before = path.read_bytes()

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        sign_in(app)
        await open_record(app, path)
        await pilot.press("a")
        await until(lambda: "t1 adds to this record" in app.text())
        await pilot.press("enter")
        await until(lambda: is_in(app, "added"))
        app.visiting.operator = ""
        await pilot.press(*"left", "enter")
        await until(lambda: "who adds this?" in app.text())
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, RecordScreen))

    look_at(script, records)
    assert path.read_bytes() == before


def test_who_has_not_signed_in_is_asked_first(records: Path) -> None:
    path = sealed_visit(records)
    before = path.read_bytes()

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_record(app, path)
        await pilot.press("a")
        await until(lambda: "Who adds to this record?" in app.text())
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, RecordScreen))

    look_at(script, records)
    assert path.read_bytes() == before


def test_a_record_that_a_crash_left_is_closed_after_a_confirmation(records: Path) -> None:
    path = session(records)
    kept = lines(path)
    torn = b"".join(kept[:40]) + kept[40][:50]
    path.write_bytes(torn)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_record(app, path)
        assert "torn tail" in app.text()
        await pilot.press("c")
        await until(lambda: "It cannot be undone" in " ".join(app.text().split()))
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, RecordScreen))
        assert path.read_bytes() == torn
        await pilot.press("c")
        await until(lambda: "y closes the record" in app.text())
        await pilot.press("y")
        await until(lambda: "recovered after a crash" in app.text())
        assert "✓ verifies" in app.text()

    look_at(script, records)
    assert path.read_bytes().startswith(torn)


@pytest.mark.parametrize(("place", "kind"), [(0, "stop"), (1, None)], ids=["events", "readings"])
def test_an_export_writes_a_new_file_and_never_replaces_one(
    records: Path, tmp_path: Path, place: int, kind: str | None
) -> None:
    path = session(records)
    target = tmp_path / "out.csv"

    async def export(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await pilot.press("e")
        await until(lambda: "Export this record" in app.text())
        await pilot.press(*["down"] * place, "enter")
        await until(lambda: is_in(app, "target"))
        app.screen.query_one("#target", Input).value = str(target)
        await pilot.press("enter")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_record(app, path)
        await export(app, pilot)
        await until(lambda: "rows written to" in told(app))
        written = target.read_bytes()
        await export(app, pilot)
        await until(lambda: "never replaces" in told(app))
        assert target.read_bytes() == written

    look_at(script, records, LARGE)
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if kind is not None:
        assert len(rows) == len(lines(path))
        assert kind in {row["kind"] for row in rows}
    else:
        assert {row["channel"] for row in rows} == {"1", "2"}
    assert target.stat().st_mode & 0o077 == 0


def test_a_visit_is_written_as_papers_too_and_a_bench_session_as_csv_alone(
    records: Path, tmp_path: Path
) -> None:
    records.mkdir()
    first_visit(records, datetime(2026, 11, 14, 9, tzinfo=UTC)).finish()
    offered = {each.ending: each for each in archive.exports_of("clinical")}
    assert {each.ending for each in archive.exports_of("bench")} == {"-events.csv", "-readings.csv"}
    for ending, words in (
        ("-note.txt", b"S: better."), ("-report.txt", b"delivered"),
        ("-take-home.txt", b"TAKE HOME"), (".pdf", b"%PDF-"),
    ):  # fmt: skip
        target = tmp_path / f"visit{ending}"
        archive.write_export(records / "first.jsonl", offered[ending], str(target))
        assert words in target.read_bytes()
    with pytest.raises(UsageError, match="not a person's visit"):
        archive.write_export(session(records), offered["-note.txt"], str(tmp_path / "bench.txt"))
    assert not (tmp_path / "bench.txt").exists()


# Replay.


@pytest.mark.parametrize("size", [SMALL, (120, 40), (200, 60)], ids=str)
def test_every_line_of_a_replay_says_so_and_no_beat_is_drawn(
    records: Path, size: tuple[int, int]
) -> None:
    path = session(records)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await replay(app, path)
        for key in ("end", "left", "up", "p"):
            await pilot.press(key)
            await pilot.pause(0.15)
            rows = app.text().split("\n")
            assert rows[0].startswith("   REPLAY of 2000-01-01, nothing is delivered")
            for row in rows[1:-1]:
                is_plot = any(0x2800 <= ord(cell) < 0x2900 for cell in row)
                is_scale = not row.replace(":", "").replace(" ", "").strip("0123456789")
                assert row.startswith(" REPLAY ") or is_plot or is_scale, row
            assert not set(app.text()) & set(BEAT_SIGNS)
        await pilot.press("p", "end", "left")  # 29.9 s long: at 19.9 s
        assert screen.at_us < 20_000_000
        await until(lambda: "this second 6.0 to 6.0, mean 6.0 mA" in app.text())
        await check_fits(app)
        assert app.controller is None

    look_at(script, records, size)


def test_keys_play_pause_speed_and_seek_by_time_and_by_event(records: Path) -> None:
    path = session(records)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        screen = await replay(app, path)
        await pilot.press("s", "s")
        assert "paused 16x" in app.text()
        await pilot.press("p")
        await until(lambda: screen.at_us > 3_000_000)  # in a fifth of a second
        await pilot.press("p")
        held = screen.at_us
        await pilot.pause(0.3)
        assert screen.at_us == held
        await pilot.press("home", "right")
        assert screen.at_us == 10_000_000
        await pilot.press("right", "right", "right", "right")
        end = screen.at_us
        assert 29_000_000 < end < 31_000_000
        await pilot.press("left")
        assert screen.at_us == end - 10_000_000
        await pilot.press("home", "down")
        assert screen.at_us == 200_000  # the device is identified
        await pilot.press("down")
        assert screen.at_us > 200_000
        await pilot.press("up")
        assert screen.at_us == 200_000
        await pilot.press("g", "plus", "r", "f", "l", "k")
        assert app.controller is None

    look_at(script, records)


def test_a_gap_is_told_and_nothing_is_shown_as_measured_in_it(records: Path) -> None:
    path = session(records)
    path.write_bytes(b"".join(line for line in lines(path) if not second(line, 15)))

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await replay(app, path)
        await pilot.press("right")
        assert "GAP" not in app.text()
        app.screen._seek(15_500_000)  # type: ignore[attr-defined]
        await until(lambda: "GAP: the record holds no reading here" in app.text())
        assert "UNKNOWN" in app.text()
        assert "░░" in app.text()
        await pilot.press("end")
        assert "DAMAGED RECORD" in app.text()

    look_at(script, records)


def test_no_replay_begins_or_goes_on_while_output_is_possible_and_stop_still_stops(
    records: Path,
) -> None:
    path = session(records)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        live = await open_demo(app, pilot)
        screen = await replay(app, path)
        strip = app.strip()
        assert "READY, output off" in strip.partition("REPLAY")[0]  # what is live comes first
        await app.pop_screen()
        await start(app, pilot)
        record = await open_record(app, path)
        await pilot.press("p")
        await until(lambda: "no replay while output is possible" in told(app))
        assert app.screen is record
        await app.push_screen(ReplayScreen(path))  # whoever came in by another way is sent back
        await until(lambda: app.screen is record)
        assert "RUNNING" in app.strip()
        await pilot.press("space")
        await until(lambda: app.state is HostState.READY and "STOPPED" in app.strip())
        assert live in app.screen_stack
        assert screen not in app.screen_stack

    drive(script, records)


def test_the_stop_key_of_a_replay_says_that_nothing_is_delivered(records: Path) -> None:
    path = session(records)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await replay(app, path)
        assert app.strip().rstrip().endswith("SPACE stops")
        await pilot.press("space")
        await until(lambda: "Nothing is being delivered. This is a REPLAY" in told(app))

    look_at(script, records, LARGE)


# Bad input.


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(140_000_000)


def _gone(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILT: tuple[tuple[Callable[[Path], None], str], ...] = (
    (_garbage, "not a session record"),
    (_huge, "too long to show"),
    (_gone, "No such file"),
    (_empty, "not a session record"),
    (_folder, "expected a plain file"),
)


def test_what_is_no_record_makes_one_message_on_every_screen(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        for spoil, said in SPOILT:
            path = session(records)
            await browse(app, 1)
            spoil(path)  # while it is looked at
            await pilot.press("enter")
            await until(lambda words=said: words in " ".join(app.text().split()))  # type: ignore[misc]
            for key in ("v", "h", "e", "escape"):
                await pilot.press(key)
            await until(lambda: isinstance(app.screen, RecordScreen))
            await app.push_screen(ReplayScreen(path))
            await until(lambda: "REPLAY ✗" in app.text())
            for key in ("p", "s", "right", "up", "end", "escape"):
                await pilot.press(key)
            await until(lambda: isinstance(app.screen, RecordScreen))
            await pilot.press("escape")
            await until(lambda: isinstance(app.screen, RecordsScreen))
            await pilot.press("escape")
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)

    look_at(script, records, (120, 24))


def test_escapes_in_every_text_of_a_record_reach_no_terminal(records: Path) -> None:
    records.mkdir()
    journal = samples.start(
        records, "evil-1",
    )  # fmt: skip
    text = dict.fromkeys(
        ("text", "reason", "code", "from", "to", "cause", "what", "priority"), ESCAPE
    )
    for at_us, kind in enumerate(("notice", "fault", "state", "stop", "prepare_refused"), start=1):
        samples.append(journal, kind, at_us * 1000, **text, **{ESCAPE: ESCAPE}, profile=ESCAPE)
    alarm = {"cause": ESCAPE, "priority": ESCAPE, "what": "raised"}
    samples.append(journal, "annotation", 9000, kind="alarm", content=alarm)
    samples.append(journal, "annotation", 9500, kind=ESCAPE, content=text)
    samples.append(journal, "prepared", 9600, profile=ESCAPE, ceilings_ua=[1000])
    samples.append(journal, "closed", 9900, reason=ESCAPE, delivered_ms=0)
    journal.sync()
    journal.close()

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await browse(app, 1)
        await pilot.press("slash", *"evil", "escape")
        await open_record(app, journal.path)
        for entry in archive.look(journal.path).entries:
            await app.push_screen(EventScreen(entry))
            await pilot.pause()
            await app.pop_screen()
        await replay(app, journal.path)
        await pilot.press("end")
        await until(lambda: "ALARM then" in app.text())

    app = look_at(script, records, LARGE)
    written = app.written.getvalue()
    assert "owned" in written
    for harmful in ("\x1b]0;owned", "\x1b[2J\u202e", "\u202e"):
        assert harmful not in written


def test_every_screen_takes_any_size(records: Path) -> None:
    path = session(records)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await browse(app, 1)
        await pilot.press("enter")
        await until(lambda: "verifies" in app.text() or "chain holds" in app.text())
        await replay(app, path)
        while len(app.screen_stack) > 2:
            for size in ((20, 5), (200, 60), SMALL):
                await pilot.resize_terminal(*size)
                await pilot.press("end", "up", "down")
                await until(lambda: "stops" in app.strip())
            await app.pop_screen()

    look_at(script, records)
