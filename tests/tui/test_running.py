"""Level, prompts and alarms beside a session: what they ask for, record and show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from estim.session.messages import Blame, Fault
from estim.session.states import HostState
from estim.tui import session_keys, themes
from estim.tui.app import Options
from estim.tui.running import Running, RunningPlan
from estim.tui.screens.base import HelpScreen
from estim.tui.screens.bell import BellScreen, is_bell_tried
from estim.tui.screens.palette import PaletteScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.widgets.bedside import Bedside, bedside_state
from estim.tui.widgets.events import EventList
from estim.tui.widgets.prompt import PromptPanel
from estim.tui.widgets.strip import StripState
from estim.visit.level import Marker
from estim.visit.prompts import NO_PROMPTS, Schedule
from tests.tui.harness import WatchedApp, drive, open_demo, start, until
from tests.tui.snapshots import FAULT, channel, snapshot
from tests.tui.test_display import shown, strip_shows

pytestmark = pytest.mark.long

S = 1_000_000


class Scene:
    """Level, prompts and alarms without a screen."""

    def __init__(
        self,
        schedule: Schedule = NO_PROMPTS,
        comfortable_ua: int = 0,
        *,
        is_prompt_heard: bool = True,
    ) -> None:
        self.notes: list[tuple[str, dict[str, Any]]] = []
        plan = RunningPlan(
            lambda *note: self.notes.append(note), schedule, (comfortable_ua,), is_prompt_heard
        )
        self.running = Running(plan)
        self.running.prepare(1, 500)
        self.now_us = 100 * S

    def see(self, **changes: Any) -> Any:
        self.now_us += S
        self.snapshot = snapshot(**changes)
        return self.running.see(self.snapshot, is_known=True, now_us=self.now_us)

    def answer(self, key: str) -> Any:
        drawn = self.running.prompts.shown
        return self.running.answer(key, drawn, self.snapshot, self.now_us)


def test_a_marker_is_what_flows_and_not_what_it_still_rises_to() -> None:
    scene = Scene()
    scene.see(channels=(channel(target_ua=12_000, setpoint_ua=9_500),))
    said = scene.running.mark(Marker.COMFORTABLE, scene.snapshot, scene.now_us)
    assert said == "marked comfortable at 1: 9.5 mA"
    content = {"channel": 1, "marker": "comfortable", "amplitude_ua": 9_500}
    assert scene.notes == [("marker", content)]


def test_an_answer_counts_after_half_a_second_and_for_what_was_drawn() -> None:
    scene = Scene(Schedule(comfort_every_ms=60_000))
    assert scene.see(delivered_ms=60_000).bells == 1  # a question is heard
    assert "has just come" in scene.answer("y").words
    drawn = scene.running.prompts.shown
    scene.now_us += S // 2
    assert scene.running.answer("y", None, scene.snapshot, scene.now_us).words
    assert scene.notes == []
    assert scene.running.answer("y", drawn, scene.snapshot, scene.now_us).words == ""
    content = {"prompt": "comfort-60s", "answer": "comfortable", "delivered_ms": 60_000}
    assert scene.notes == [("prompt", content)]


@pytest.mark.hazard(33)
def test_a_silenced_prompt_is_shown_without_a_bell_and_an_alarm_rings_all_the_same() -> None:
    scene = Scene(Schedule(comfort_every_ms=60_000), is_prompt_heard=False)
    assert scene.see(delivered_ms=60_000).bells == 0
    assert scene.running.prompts.shown is not None
    assert scene.see(state=HostState.FAULT, fault=FAULT).bells == 3


def test_an_answer_meant_for_another_question_settles_none() -> None:
    scene = Scene(Schedule(comfort_every_ms=60_000, skin_at_ms=(61_000,)))
    scene.see(delivered_ms=60_000)
    drawn = scene.running.prompts.shown
    scene.see(delivered_ms=61_000)  # the graver one has taken its place
    scene.now_us += S
    given = scene.running.answer("y", drawn, scene.snapshot, scene.now_us)
    assert given.words == "nothing is asked"
    assert scene.notes == []
    assert len(scene.running.prompts.open) == 2


def test_an_offer_that_is_taken_opens_the_lock_and_raises_what_carries_current() -> None:
    scene = Scene(Schedule(accommodation_every_ms=60_000), comfortable_ua=12_000)
    scene.see(delivered_ms=0)
    scene.now_us += 30 * S
    scene.see(delivered_ms=60_000)
    scene.see(delivered_ms=60_000)
    assert scene.running.keys.is_locked
    assert scene.answer("y").raised == (0,)
    assert bool(scene.running.keys.is_locked) is False


def test_no_step_is_offered_at_the_ceiling_or_raised_after_a_stop() -> None:
    scene = Scene(Schedule(accommodation_every_ms=60_000))
    scene.see(delivered_ms=60_000, channels=(channel(target_ua=24_501),))  # the ceiling is 25 mA
    assert scene.running.prompts.shown is None
    scene.see(delivered_ms=120_000)
    scene.see(delivered_ms=120_000, state=HostState.READY)
    assert scene.answer("y").raised == ()


def test_an_attention_check_pauses_and_never_faults_and_tells_it_as_an_alarm() -> None:
    scene = Scene(Schedule(attention_after_ms=60_000, attention_answer_ms=30_000))
    assert not scene.see(delivered_ms=60_000).must_pause
    assert not scene.see(delivered_ms=89_999).must_pause
    assert scene.see(delivered_ms=90_000).must_pause
    scene.see(delivered_ms=90_000, state=HostState.ARMED, channels=(channel(marker_ua=12_000),))
    assert [one.finding.cause for one in scene.running.alarms.latched] == ["nobody_there"]
    scene.running.press_resume()
    assert not scene.see(delivered_ms=90_000).must_pause


def test_red_skin_is_an_alarm_that_advises_to_stop() -> None:
    scene = Scene(Schedule(skin_at_ms=(60_000,)))
    scene.see(delivered_ms=60_000)
    scene.see(delivered_ms=60_000)
    assert "stop now" in scene.answer("n").words
    assert scene.see(delivered_ms=61_000).bells == 2
    assert scene.notes[-1] == (
        "alarm",
        {"cause": "skin_harmed", "priority": "medium", "what": "raised"},
    )


def test_a_look_at_the_skin_that_is_overdue_is_an_alarm_of_low_priority() -> None:
    scene = Scene(Schedule(skin_at_ms=(60_000,), answer_ms=30_000))
    scene.see(delivered_ms=60_000)
    assert not list(scene.running.alarms.latched)
    scene.see(delivered_ms=90_000)
    assert [one.finding.cause for one in scene.running.alarms.latched] == ["skin_check"]


def test_a_high_alarm_stands_in_the_strip_until_it_is_acknowledged_and_gone() -> None:
    scene = Scene()
    assert scene.see(state=HostState.FAULT, fault=FAULT).bells == 3
    assert scene.running.strip_alarm == "!!! the device fell silent"
    scene.running.acknowledge(scene.running.alarms.latched)
    scene.see(state=HostState.READY)
    assert scene.running.strip_alarm == ""
    kinds = [(kind, content["what"]) for kind, content in scene.notes]
    assert kinds == [("alarm", "raised"), ("alarm", "acknowledged")]


# The strip and other drawings.


def test_the_strip_names_the_person_and_an_alarm_of_high_priority() -> None:
    state = StripState(snapshot(), True, 1, person="K7-402", alarm="!!! silent")
    line = strip_shows(state)
    assert "12.0 mA   !!! silent   29:00 left   K7-402" in line
    assert line.rstrip().endswith("SPACE stops")


def test_the_bedside_view_never_shows_a_number_that_is_not_known() -> None:
    assert bedside_state(snapshot(), True).intensity == "12.0"
    state = bedside_state(snapshot(), False)
    assert (state.intensity, state.channels) == ("?", "")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (20, 5), (3, 2)])
def test_bedside_digits_fit_at_every_size(size: tuple[int, int]) -> None:
    view = Bedside()
    text = shown(view, lambda: view.show(bedside_state(snapshot(), True)), size)
    assert max(map(len, text.splitlines())) <= size[0]
    if size[0] >= 80:
        assert "SPACE STOPS" in text
        assert text.count("█") > 40


def test_no_key_of_the_session_screen_does_two_things() -> None:
    keys = [
        key for binding in session_keys.BINDINGS for key in getattr(binding, "key", "").split(",")
    ]
    assert len(keys) == len(set(keys))
    assert not {"space", "x", "f12", "q", "question_mark"} & set(keys)  # the application's
    digits = sorted(key for key in keys if key.isdigit())
    assert digits == [str(digit) for digit in range(10)]


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.1 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("name", "least"), [("dark", 4.5), ("colour-blind-safe", 4.5),
                                             ("high-contrast", 7.0)])  # fmt: skip
def test_every_colour_of_a_theme_can_be_read(name: str, least: float) -> None:
    theme = themes.chosen(name)
    for ground in (theme.background, theme.surface, theme.panel):
        for ink in (theme.foreground, theme.primary, theme.accent, theme.warning, theme.error):
            assert ground is not None
            assert ink is not None
            assert _contrast(ink, ground) >= least, (ink, ground)
    assert themes.chosen("of tomorrow") is themes.chosen("dark")


# In the interface, with the real engine.


def _ask(session: SessionScreen, schedule: Schedule) -> None:
    """Give a session another schedule."""
    controller = session._controller
    session.running = Running(RunningPlan(controller.note, schedule))
    assert controller.prepared is not None
    session.running.prepare(len(controller.prepared.ceilings), controller.step_ua)


def _flows_ua(app: WatchedApp) -> list[int]:
    assert app.controller is not None
    assert app.controller.snapshot is not None
    return [row.setpoint_ua for row in app.controller.snapshot.channels]


def _annotations(records: Path) -> list[dict[str, Any]]:
    lines = next(records.glob("*.jsonl")).read_text().splitlines()
    found = [json.loads(line) for line in lines if '"kind":"annotation"' in line]
    return [one["content"] for one in found]


def test_the_number_pad_raises_lowers_pauses_resumes_and_stops(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await start(app, pilot)
        await pilot.press("8")
        await until(lambda: "commanded 1: 0.5 mA, 2: 0.5 mA" in app.text())
        await until(lambda: _flows_ua(app) == [500, 500])
        await pilot.press("s")
        await until(lambda: "1: s 0.5" in app.text())
        await pilot.press("7")
        await until(lambda: app.state is HostState.ARMED)
        await until(lambda: "PAUSED" in app.strip())
        await pilot.press("9")
        await until(lambda: app.state is HostState.RUNNING)
        await pilot.press("5")
        await until(lambda: "lowered to" in app.text())
        await pilot.press("0")
        await until(lambda: app.state is HostState.READY)

    drive(script, records)
    marker = {"channel": 1, "marker": "sensory", "amplitude_ua": 500}
    assert {"kind": "marker", "content": marker} in _annotations(records)


def test_locked_increases_are_said_and_open_by_lowering(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        await start(app, pilot)
        await until(lambda: session._newest_state is not None)
        await pilot.pause(0.3)
        keys = session.running.keys
        keys.advance(session._clock.now_us() + 20 * S)
        await until(lambda: "increases locked: - opens them" in app.text())
        await pilot.press("+")
        events = session.query_one(EventList)
        await until(lambda: any("increases are locked" in one.text for one in events.events))
        await pilot.press("-")
        await until(lambda: "increases open" in app.text())
        assert app.state is HostState.RUNNING

    drive(script, records)


def test_a_question_is_answered_by_one_key_and_kept_in_the_record(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        _ask(session, Schedule(comfort_every_ms=500))
        await start(app, pilot)
        await pilot.press("+")
        await until(lambda: "Ask: how does it feel?" in app.text())
        assert app.strip().rstrip().endswith("SPACE stops")
        drawn = session.query_one(PromptPanel).drawn
        assert drawn is not None
        session.running._plan = RunningPlan(session._controller.note)
        session.running.prompts._schedule = NO_PROMPTS
        await pilot.pause(0.6)
        await pilot.press("y")
        await until(lambda: "Ask: how does it feel?" not in app.text())

    drive(script, records)
    prompts = [one["content"] for one in _annotations(records) if one["kind"] == "prompt"]
    assert prompts[-1]["answer"] == "comfortable"


@pytest.mark.hazard(32)
def test_nobody_there_pauses_the_output_and_r_goes_on(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        _ask(session, Schedule(attention_after_ms=700, attention_answer_ms=700))
        await start(app, pilot)
        await pilot.press("+")
        await until(lambda: app.state is HostState.ARMED)
        await until(lambda: "!!  MEDIUM paused: nobody answered" in app.text())
        assert "FAULT" not in app.text()
        await pilot.press("k")
        await until(lambda: "nobody answered the attention" not in app.text())
        await pilot.press("r")
        await until(lambda: app.state is HostState.RUNNING)

    drive(script, records)


def test_the_palette_offers_what_the_screen_can_do_and_keeps_the_output_alive(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        await start(app, pilot)
        await pilot.press("ctrl+p")
        await until(lambda: isinstance(app.screen, PaletteScreen))
        assert "Re-arm" not in app.text()
        await pilot.pause(1.2)  # thrice the time after which a display without a beat is frozen
        assert app.state is HostState.RUNNING
        await pilot.press("ctrl+p")  # it opens once
        await pilot.press(*"pau", "enter")
        await until(lambda: app.screen is session)
        await until(lambda: app.state is HostState.ARMED)
        await pilot.press("ctrl+p")
        await until(lambda: isinstance(app.screen, PaletteScreen))
        await pilot.press(*"theme high", "enter")
        await until(lambda: app.theme == "estim-high-contrast")

    drive(script, records)


def test_every_size_down_to_20_by_5_and_back_keeps_the_strip_and_the_stop_key(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        _ask(session, Schedule(skin_at_ms=(300,)))
        await start(app, pilot)
        await pilot.press("+")
        await until(lambda: "Look at the skin" in app.text())
        for size in ((200, 60), (2, 2), (20, 5)):
            for _ in range(2):
                await pilot.press("b")
                await pilot.pause(0.2)
                await pilot.resize_terminal(*size)
                await pilot.pause(0.2)
                if size[0] >= 20:
                    await until(lambda: app.strip().rstrip().endswith("SPACE stops"))
                    await until(lambda: "0.5" in app.strip())
        assert "as before" in app.text()  # what is asked comes before what is plotted
        await pilot.resize_terminal(80, 24)
        await until(lambda: "one pulse, channel 1" in app.text())
        assert app.state is HostState.RUNNING
        await pilot.press("space")
        await until(lambda: app.state is HostState.READY)

    drive(script, records)


def test_a_high_alarm_is_in_the_strip_of_another_screen(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        await start(app, pilot)
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, HelpScreen))
        fault = Fault("link_lost", "silent", "look at the cable", Blame.UNKNOWN)
        session.running.see(snapshot(fault=fault), is_known=True, now_us=session._clock.now_us())
        await until(lambda: "!!! silent" in app.strip())

    drive(script, records)


def test_the_bell_is_tried_once_a_day(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await until(lambda: "the bell was not tried today: t tries it" in app.text())
        assert is_bell_tried() is False
        app.written.truncate(0)
        await pilot.press("t")
        await until(lambda: isinstance(app.screen, BellScreen))
        await until(lambda: app.written.getvalue().count("\x07") == 3)
        await pilot.press("y")
        await until(is_bell_tried)

    drive(script, records)


def test_reduced_motion_and_theme_come_from_the_options() -> None:
    app = WatchedApp(Options(theme="colour-blind-safe", is_reduced_motion=True))
    assert app.animation_level == "none"
    assert app.theme == "estim-colour-blind"


def test_the_mouse_answers_and_acknowledges_as_well(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        _ask(session, Schedule(skin_at_ms=(300,), answer_ms=600))
        await start(app, pilot)
        await pilot.press("+")
        await until(lambda: "OVERDUE: Look at the skin" in app.text() and " k " in app.text())
        line = next(row for row in app.text().splitlines() if "LOW" in row or " k " in row)
        assert "look at the skin is due" in line
        await pilot.click(PromptPanel, offset=(4, 1))
        await until(lambda: "Look at the skin" not in app.text())
        rows = app.text().splitlines()
        row = next(number for number, text in enumerate(rows) if text.rstrip().endswith(" k"))
        await pilot.click(offset=(rows[row].rstrip().rindex("k"), row))
        await until(lambda: "look at the skin is due" not in app.text())
        assert app.state is HostState.RUNNING

    drive(script, records)
    kinds = [one["kind"] for one in _annotations(records)]
    assert kinds.count("prompt") == 2  # overdue, then answered
