"""A session driven by keys, with the real engine and simulator."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from estim.clock import VirtualClock
from estim.prepare import places, station
from estim.record import station_key
from estim.record.verify import SealState, verify
from estim.session.states import HostState
from estim.tui.app import FoundPort
from estim.tui.screens.bench import BenchScreen
from estim.tui.screens.devices import DeviceScreen
from estim.tui.screens.library import LibraryScreen
from estim.tui.screens.lost import LostScreen
from estim.tui.screens.report import ReportScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.widgets.events import EventList
from tests.tui.harness import LARGE, WatchedApp, drive, open_demo, start, until

pytestmark = pytest.mark.long  # whole processes in real time


def _channels_ua(app: WatchedApp) -> list[int]:
    assert app.controller is not None
    assert app.controller.snapshot is not None
    return [row.target_ua for row in app.controller.snapshot.channels]


def test_a_demo_session_runs_by_keys_alone_to_a_report_of_a_record_that_verifies(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        assert "DEMO, bench 500 ohm, nobody connected" in app.text()
        await start(app, pilot)
        await pilot.press("+")  # both channels are linked at first
        await until(lambda: _channels_ua(app) == [500, 500])
        await pilot.press("2", "up")
        await until(lambda: _channels_ua(app) == [500, 1000])
        await pilot.press("minus")
        await until(lambda: _channels_ua(app) == [500, 500])
        await pilot.press("p")
        await until(lambda: app.state is HostState.ARMED and _channels_ua(app) == [0, 0])
        await until(lambda: "PAUSED, at zero   0.0 mA" in app.strip())
        await pilot.press("r")
        await until(lambda: app.state is HostState.RUNNING and _channels_ua(app) == [500, 500])
        await pilot.press("f")
        await until(lambda: app.state is HostState.READY)
        await pilot.press("e")
        await until(lambda: isinstance(app.screen, ReportScreen))
        await until(lambda: "✓ the record verifies" in app.text())
        assert "2: up to 1.0 mA" in app.text()
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, LibraryScreen))
        assert app.controller is None

    drive(script, records)
    path = next(records.glob("*.jsonl"))
    found = verify(path, station_key.load(Path(os.environ["XDG_CONFIG_HOME"]) / "estim"))
    assert (found.is_ok, found.state) == (True, SealState.SEALED)


def test_a_stop_can_be_followed_by_another_start_and_both_are_reported(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        for _ in range(2):
            await start(app, pilot)
            await pilot.press("+")
            await until(lambda: app.controller is not None and bool(app.controller.deliveries))
            await until(lambda: "0.5 mA" in app.strip())
            await pilot.press("space")
            await until(lambda: app.state is HostState.READY)
        await pilot.press("e")
        await until(lambda: isinstance(app.screen, ReportScreen))
        assert "delivered 1" in app.text()
        assert "delivered 2" in app.text()

    drive(script, records)


@pytest.mark.hazard(23)
def test_a_held_key_rises_at_most_1_ma_in_a_second_and_its_refusal_is_listed_once(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        await start(app, pilot)
        for _ in range(30):
            app.simulate_key("plus")
        await until(
            lambda: any("refused" in one.text for one in session.query_one(EventList).events)
        )
        await pilot.pause(0.3)
        assert max(_channels_ua(app)) <= 1000
        refusals = [one for one in session.query_one(EventList).events if "refused" in one.text]
        texts = [one.text for one in refusals]
        assert len(texts) == len(set(texts)) <= 3
        assert sum(one.times for one in refusals) >= 25

    drive(script, records)


def test_the_interface_cannot_be_left_while_output_is_possible(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        await start(app, pilot)
        for key in ("e", "q", "ctrl+q"):
            await pilot.press(key)
        await until(lambda: "Output is on: SPACE stops it" in " ".join(app.text().split()))
        assert app.screen is session
        assert app.state is HostState.RUNNING
        await pilot.press("ctrl+c")
        await until(lambda: app.state is HostState.READY)
        assert app.screen is session

    drive(script, records)


@pytest.mark.hazard(45)
def test_device_and_dummy_load_are_asked_for_and_nothing_opens_without_the_tick(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, DeviceScreen))
        assert "sim:" in app.text()
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, BenchScreen))
        assert "A session from here is a bench session" in app.text()
        app.screen.query_one("#open").focus()
        await pilot.press("enter")
        await until(lambda: "Tick that nobody is connected" in app.text())
        assert app.controller is None
        app.screen.query_one("#load").focus()
        await pilot.press("enter", "enter", "enter")
        await until(lambda: isinstance(app.screen, SessionScreen))
        await until(lambda: "BENCH 500 ohm, nobody connected" in app.text())

    drive(script, records)


def enter_station(state: station.State | None, due: date | None = None) -> None:
    station.enter(
        places.configuration_folder(), "SIM-0001",
        who="A. Tech", why="failed 500 ohm", clock=VirtualClock(), state=state, due=due,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "due", "title", "said"),
    [
        (None, None, "nobody connected  ", ["not in the station's register"]),
        (station.State.IN_SERVICE, date(2999, 1, 1), "in service  ",
         ["in service, next check due 2999-01-01"]),
        (station.State.IN_SERVICE, date(2001, 1, 1), "! due, bench only  ",
         ["due since 2001-01-01", "estim station set SIM-0001 --due DATE"]),
        (station.State.QUARANTINED, None, "! quarantined, bench only  ",
         ["quarantined by A. Tech on 2000-01-01 (failed 500 ohm)",
          "estim station set SIM-0001 --state in-service"]),
    ],
)  # fmt: skip
def test_a_session_shows_where_its_device_stands_and_what_to_do(
    records: Path, state: station.State | None, due: date | None, title: str, said: list[str]
) -> None:
    if state is not None:
        enter_station(state, due)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        assert title in app.text().splitlines()[1]
        events = " ".join(session.query_one(EventList).render().plain.split())
        for words in said:
            assert words in events
        assert title.startswith("!") == ("--who NAME" in events)

    drive(script, records, LARGE)


def test_the_choice_of_a_device_tells_where_each_port_stands(records: Path) -> None:
    enter_station(station.State.QUARANTINED)
    ports = (
        FoundPort("native:/dev/ttyUSB0", "a stimulator", "SIM-0001"),
        FoundPort("native:/dev/ttyUSB1", "another", "SN-2"),
        FoundPort("native:/dev/ttyS0", "no number"),
    )

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        app.options = replace(app.options, list_ports=lambda: ports)
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, DeviceScreen))
        await until(lambda: "/dev/ttyS0" in app.text())
        lines = [line.strip() for line in app.text().splitlines()]
        at = next(n for n, line in enumerate(lines) if "ttyUSB0" in line)
        assert lines[at + 1].startswith("a stimulator")
        assert lines[at + 2].startswith("! quarantined by A. Tech on 2000-01-01")
        assert app.text().count("quarantined") == 1

    drive(script, records, LARGE)


def test_a_device_that_is_not_there_is_said_in_words(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, DeviceScreen))
        field = app.screen.query_one("#url", Input)
        field.focus()
        field.value = "native:/dev/nothing-here"
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, BenchScreen))
        await pilot.press("enter", "enter", "enter")
        await until(lambda: isinstance(app.screen, SessionScreen))
        await until(lambda: "nothing-here" in app.screen.query_one(EventList).render().plain)
        assert app.state is HostState.DISCONNECTED

    drive(script, records)


def test_keys_clear_what_was_drawn_and_nothing_that_came_in_since(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        await start(app, pilot)
        assert app.controller is not None
        _kill_simulator(app.controller.engine_pid)
        await until(lambda: app.state is HostState.FAULT)
        await until(lambda: session._shown is not None and session._shown.fault is not None)
        # As if the newest snapshot had come in just now and nothing had been drawn since.
        assert session._shown is not None
        assert session._shown.latch_count == -1  # the link is gone, and its Status with it
        session._shown = replace(session._shown, latch_count=0)
        session.action_acknowledge()
        await until(
            lambda: any(
                "something new has happened: look again" in one.text
                for one in session.query_one(EventList).events
            )
        )
        assert app.state is HostState.FAULT
        await until(lambda: session._shown is not None and session._shown.latch_count == -1)
        await pilot.press("k")
        await until(lambda: app.state is HostState.DISCONNECTED)

    drive(script, records)


def _kill_simulator(engine_pid: int) -> None:
    children = Path(f"/proc/{engine_pid}/task/{engine_pid}/children")
    pids = [int(pid) for tid in children.parent.parent.iterdir()
            for pid in (tid / "children").read_text().split()]  # fmt: skip
    named = [pid for pid in pids if b"estim.simulator" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(named) == 1
    os.kill(named[0], signal.SIGKILL)


def test_when_the_engine_dies_the_session_is_over_and_its_record_can_be_recovered(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await start(app, pilot)
        await pilot.press("+")
        await until(lambda: "0.5 mA" in app.strip())
        assert app.controller is not None
        os.kill(app.controller.engine_pid, signal.SIGKILL)
        await until(lambda: isinstance(app.screen, LostScreen), 2.0)
        await until(lambda: "▲ ENGINE LOST   UNKNOWN mA" in app.strip(), 2.0)
        assert "THE ENGINE HAS ENDED" in app.text()
        await pilot.press("enter")
        await until(lambda: "✓ recovered and sealed" in app.text())
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, LibraryScreen))
        assert app.controller is None

    drive(script, records)
    found = verify(next(records.glob("*.jsonl")), None)
    assert (found.is_ok, found.is_recovered) == (True, True)
