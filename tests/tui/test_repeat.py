"""The repeat visit by keys: short, and never shorter than what has to be asked that day."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from estim.clock import SystemClock
from estim.prepare import places, roster
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.record import reader
from estim.session.states import HostState
from estim.tui.app import Options
from estim.tui.screens.person import PersonScreen
from estim.tui.screens.plan import PlanScreen
from estim.tui.screens.read_back import ReadBackScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.screens.today import TodayScreen
from estim.tui.screens.visit import VisitScreen
from estim.tui.widgets.plot import Plot
from estim.units import US_PER_S
from estim.visit import protocol
from estim.visit.level import Marker
from tests.record.samples import KEY
from tests.tui.harness import LARGE, SMALL, WatchedApp, play, until
from tests.visit.walked import PERSON, PLAN, PROFILE, first_visit

pytestmark = pytest.mark.long

FOLLOW_UP = protocol.find("diabetic-neuropathy-follow-up").protocol
DEVICE = "sim:?patient_stop=no"
PIN = "4711"
KEYS_MAX = 12

Script = Callable[["Walk"], Awaitable[None]]


@dataclass
class Walk:
    """Somebody at the keys, who reads what is asked and counts what is pressed."""

    app: WatchedApp
    pilot: Pilot[Any]
    keys: int = 0

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        self.keys += len(keys)

    async def read(self, words: str) -> None:
        """Wait until words are on screen."""
        await until(lambda: words in self.app.text())

    async def told(self, words: str) -> None:
        """Wait until a message says so; on screen it may be broken into lines."""
        await until(lambda: any(words in each.message for each in self.app._notifications))

    @property
    def read_back(self) -> str:
        """Return what is read back; on a small screen it has to be scrolled."""
        assert self.app.visiting.sitting is not None
        return self.app.visiting.sitting.read_back_text()

    async def unchanged(self, kind: str) -> None:
        """Read a step's earlier answers for as long as that takes, and say n."""
        await self.read(next(step.title for step in FOLLOW_UP.steps if step.kind == kind))
        await self.read("Is any of this different today, or changed since")
        await asyncio.sleep(0.55)
        await self.press("n")


def walk(script: Script, records: Path, size: tuple[int, int] = SMALL) -> WatchedApp:
    """Run the interface from the person's screen, somebody having signed in."""
    roster.add(places.configuration_folder(), "T-1", roster.Role.THERAPIST, PIN)
    app = WatchedApp(Options(records=records, device_url=DEVICE))

    async def opened(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await until(lambda: isinstance(app.screen, TodayScreen) and app.screen.is_mounted)
        app.visiting.operator = "T-1"
        app.visiting.open_person(PERSON)
        await until(lambda: "v Diabetic neuropathy," in app.text())
        await script(Walk(app, pilot))

    return play(app, opened, size)


@pytest.fixture(autouse=True)
def station() -> None:
    folder = places.configuration_folder()
    folder.mkdir(parents=True, mode=0o700)
    key = folder / "station.key"
    key.touch(mode=0o600)
    key.write_text(KEY.hex() + "\n")


def last_week(records: Path, **options: Any) -> None:
    """Write a first visit of a week ago."""
    records.mkdir(exist_ok=True)
    on = SystemClock().wall() - timedelta(days=options.pop("days", 7))
    digest = prepare(find(PROFILE).profile, is_bench=False).program.digest
    first_visit(records, on, digest=digest, **options).finish()


async def arm(by: Walk) -> SessionScreen:
    """Say that it is so; where a slow disk made the engine refuse, read back once more."""
    await by.read("Is it this person, this site, this side?")
    await by.press("y")
    for _ in range(5):
        with contextlib.suppress(AssertionError):
            await until(lambda: isinstance(by.app.screen, SessionScreen), 5.0)
            break
        await by.pilot.press("f6")
        await until(lambda: isinstance(by.app.screen, ReadBackScreen))
        await by.read("Is it this person, this site, this side?")
        await by.pilot.press("y")
    await until(lambda: by.app.state is HostState.ARMED)
    screen = by.app.screen
    assert isinstance(screen, SessionScreen)
    await until(lambda: screen.running.keys.count == 2)
    return screen


async def repeat(by: Walk) -> None:
    """Walk the repeat visit to the reading-back."""
    await by.read("v Diabetic neuropathy,")
    await by.press("v")
    await by.unchanged("screen")
    await by.unchanged("test_sensation")
    await by.unchanged("place_electrodes")
    await by.read("does the person agree again")
    await by.press("y", "enter")
    await by.read("Is the skin at every pad site")
    await by.press("y", "enter")
    await by.read("how is it now?")
    await by.press("4", "enter")
    await by.read("Press the stop key now")
    await by.press("space")
    await until(lambda: isinstance(by.app.screen, ReadBackScreen), 20.0)


def test_a_repeat_visit_is_armed_at_zero_in_twelve_keys(records: Path) -> None:
    last_week(records, plan=PLAN, comfortable_ua=12_000)

    async def script(by: Walk) -> None:
        await repeat(by)
        assert "at most 20.0 mA" in by.read_back
        assert "last comfortable at 12.0 mA" in by.read_back
        screen = await arm(by)
        assert by.keys <= KEYS_MAX, by.keys
        assert by.app.controller is not None
        assert by.app.controller.snapshot is not None
        rows = by.app.controller.snapshot.channels
        assert [row.target_ua for row in rows] == [0, 0]
        assert [row.ceiling_ua for row in rows] == [20_000, 20_000]
        keys = screen.running.keys
        assert [keys.markers(index) for index in (0, 1)] == [{Marker.COMFORTABLE: 12_000}] * 2
        await by.press("space")
        await until(lambda: by.app.state is HostState.READY)

    app = walk(script, records)
    assert app.controller is not None
    kept = {}
    for event in reader.stream(records / f"{app.controller.session_id}.jsonl"):
        if event.kind == "annotation":
            kept[event.content["kind"]] = event.content["content"]
    for kind in ("screen", "test_sensation", "place_electrodes"):
        assert kept[kind]["carried_from"] == "first"
    assert kept["consent"]["carried_from"] is None
    assert kept["place_electrodes"]["answers"]["all-uses"] == 2


def test_a_level_above_todays_ceiling_is_no_marker(records: Path) -> None:
    last_week(records, plan=PLAN | {"ceiling_ua": 11_000}, comfortable_ua=12_000)

    async def script(by: Walk) -> None:
        await repeat(by)
        assert "at most 11.0 mA" in by.read_back
        assert "no marker: comfortable at 12.0 mA" in by.read_back
        screen = await arm(by)
        assert [screen.running.keys.markers(index) for index in (0, 1)] == [{}, {}]
        await by.press("space")
        await until(lambda: by.app.state is HostState.READY)

    walk(script, records)


def test_yes_and_nothing_and_a_held_key_take_nothing_over(records: Path) -> None:
    last_week(records)

    async def script(by: Walk) -> None:
        await by.press("v")
        await by.read("Is any of this different today, or changed since")
        screen = by.app.screen
        assert isinstance(screen, VisitScreen)
        sitting = by.app.visiting.sitting
        assert sitting is not None
        await by.press("enter")
        # Sooner than anybody can have read it, however slow this machine is.
        screen._earlier_us = SystemClock().now_us() + 60 * US_PER_S
        await by.press("n", "enter")
        await by.told("read them, then answer")
        await by.read("Is any of this different today, or changed since")
        assert not sitting.visit.answered
        await by.press("y")
        await by.read("Which kind of neuropathy is it")
        await by.press("enter")
        await by.pilot.pause()
        assert not sitting.visit.answered
        assert "▸ Which kind of neuropathy" in by.app.text()

    walk(script, records)


def test_sensation_that_is_too_old_is_asked_anew_with_the_reason(records: Path) -> None:
    last_week(records, changed={"test_sensation": {"tested-on": "2000-01-01"}})

    async def script(by: Walk) -> None:
        await by.press("v")
        await by.unchanged("screen")
        await by.read("asked anew: sensation was tested on 2000-01-01, over 30 days ago")
        await by.read("Which treatment is it to be?")

    walk(script, records)


def test_an_unreadable_plan_keeps_output_back_and_is_made_anew_inside(records: Path) -> None:
    last_week(records, plan=PLAN | {"ceiling_ua": "20 mA"})

    async def script(by: Walk) -> None:
        await by.press("p")
        await by.told("begin the visit, then F11")
        await by.press("v")
        await by.read("Is any of this different today, or changed since")
        sitting = by.app.visiting.sitting
        assert sitting is not None
        assert any("no plan holds: plan: ceiling_ua" in each for each in sitting.output_problems())
        await by.press("f11")
        await until(lambda: isinstance(by.app.screen, PlanScreen))
        await by.read("Goals, in the person's words")
        await by.press(*"stairs", "enter", "2", *"12", "enter", *"1.5x", "enter")
        await by.read("from 1 to 100 mA expected")
        await by.press("backspace", "enter", "1", *"soon", "enter", "enter")
        await by.read("review_on: expected a date")
        before = sitting.found_plan.plan
        assert before is None
        await by.press("pageup", *["backspace"] * 4, "enter", "enter")
        await until(lambda: isinstance(by.app.screen, VisitScreen))
        made = sitting.found_plan.plan
        assert made is not None
        assert (made.ceiling_ua, made.review_on) == (1500, None)
        assert not any("plan" in each for each in sitting.output_problems())

    walk(script, records, LARGE)


def test_a_person_shows_plan_visits_and_trends(records: Path) -> None:
    records.mkdir()
    today = SystemClock().wall()
    told: list[int | None] = [6, None, 4]
    for number, pain in enumerate(told):
        past = first_visit(
            records, today - timedelta(days=21 - 7 * number), f"v{number}", plan=PLAN, pain=pain
        )
        if number == 1:
            past.tear()
        else:
            past.finish()

    async def script(by: Walk) -> None:
        await by.read("walk to the shop")
        await by.read("at most 20.0 mA")
        await by.read("its record was never closed")
        await by.read("change -2 (better)")
        await by.read("responder so far")
        middle = f"{today - timedelta(days=14):%Y-%m-%d}"
        await by.read(f"without a value: {middle}: not measured")
        await by.read("first 10.0 min on")
        assert len(by.app.screen.query(Plot)) == 2
        await by.press("pagedown")

    walk(script, records, (200, 60))


async def _today(by: Walk) -> None:
    await by.press("escape")
    await until(lambda: isinstance(by.app.screen, TodayScreen))


def test_a_scanner_opens_the_person_and_a_wrong_character_is_one_message(records: Path) -> None:
    last_week(records, plan=PLAN)

    async def script(by: Walk) -> None:
        await _today(by)
        await by.read(PERSON)
        wrong = PERSON[:-1] + "3"
        await by.press(*wrong, "enter")
        await by.told("its last character does not fit the others")
        assert len(by.app._notifications) == 1
        assert isinstance(by.app.screen, TodayScreen)
        await by.press(*PERSON, "enter")
        await until(lambda: isinstance(by.app.screen, PersonScreen))
        await by.read("walk to the shop")

    walk(script, records)
