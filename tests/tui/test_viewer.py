"""Looking on: what is old reads UNKNOWN, what is nonsense is not shown, and nothing can be sent."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from estim.clock import SystemClock
from estim.engine.viewers import Viewers
from estim.session.messages import Fault, Snapshot, Stop, to_fields, to_line
from estim.session.states import HostState
from estim.tui.onlooker import ENDED_SHOWN_US, KNOWN_US, Lookout, Source
from estim.tui.viewer import VIEW_ONLY, ViewerApp, recent
from tests.tui.harness import until
from tests.tui.snapshots import FAULT, channel, snapshot
from tests.tui.terminal import CHECKOUT

CLOCK = SystemClock()


def fresh(**changes: Any) -> Snapshot:
    return snapshot(**({"at_us": CLOCK.now_us()} | changes))


class Engine(Viewers):
    """Publish as an engine does, under a name of its own."""

    def __init__(self, folder: Path, number: int = 1) -> None:
        super().__init__(folder)
        self.path = self.path.rename(folder / f"engine-{number}.sock")


class WatchedViewer(ViewerApp):
    def text(self) -> str:
        strips = self.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)

    async def shows(self, words: str) -> None:
        try:
            await until(lambda: words in " ".join(self.text().split()), 5.0)
        except AssertionError:
            print(self.text())
            raise


@contextlib.asynccontextmanager
async def publishing(engine: Viewers, **changes: Any) -> AsyncIterator[None]:
    """Publish fresh snapshots twenty times a second."""

    async def publish() -> None:
        while True:
            engine.publish(fresh(**changes))
            await asyncio.sleep(0.05)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()


Script = Callable[[WatchedViewer, Pilot[Any]], Awaitable[None]]


def view(folder: Path, script: Script, size: tuple[int, int] = (80, 24)) -> None:
    app = WatchedViewer(folder)

    async def pilot_script(pilot: Pilot[Any]) -> None:
        try:
            await script(app, pilot)
        finally:
            app.exit()

    asyncio.run(app.run_async(headless=True, size=size, auto_pilot=pilot_script))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "estim"


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    engine = Engine(folder)
    yield engine
    engine.close()


def test_it_waits_and_shows_the_engine_that_comes_and_that_it_went(folder: Path) -> None:
    async def script(app: WatchedViewer, pilot: Pilot[Any]) -> None:
        await app.shows("No session is running")
        assert VIEW_ONLY in app.text()
        engine = Engine(folder)
        async with publishing(engine):
            await app.shows("▶ RUNNING 12.0 mA 29:00 left")
            await app.shows("intensity, last")
            assert VIEW_ONLY in app.text()
        engine.close()
        await app.shows("UNKNOWN mA")
        await app.shows("the engine has gone")
        assert "12.0 mA" not in app.text()

    view(folder, script)


@pytest.mark.hazard(22)
def test_an_engine_that_stands_still_reads_unknown_after_500_ms(
    folder: Path, engine: Engine
) -> None:
    async def script(app: WatchedViewer, pilot: Pilot[Any]) -> None:
        async with publishing(engine):
            await app.shows("12.0 mA")
        last_us = CLOCK.now_us()
        await until(lambda: "UNKNOWN mA" in app.text())
        assert CLOCK.now_us() - last_us < 2 * KNOWN_US
        await app.shows("nothing new from the engine")
        assert "12.0 mA" not in app.text()
        async with publishing(engine):
            await app.shows("▶ RUNNING 12.0 mA")

    view(folder, script)


def test_of_several_engines_one_is_chosen_and_another_can_be(folder: Path, engine: Engine) -> None:
    other = Engine(folder, 2)
    rows = {1: (channel(shown_ua=3_000),), 2: (channel(shown_ua=7_000),)}

    async def script(app: WatchedViewer, pilot: Pilot[Any]) -> None:
        async with publishing(engine, channels=rows[1]), publishing(other, channels=rows[2]):
            await app.shows("Which one?")
            await app.shows("7.0 mA")
            await pilot.press("down", "enter")
            await app.shows("one of 2 sessions")
            assert "7.0 mA" in app.text().splitlines()[0]
            await pilot.press("escape")
            await app.shows("Which one?")
            await pilot.press("up", "enter")
            await app.shows("one of 2 sessions")
            assert "3.0 mA" in app.text().splitlines()[0]

    view(folder, script)
    other.close()


def test_alarms_are_told_without_naming_a_key_that_would_not_work_here(
    folder: Path, engine: Engine
) -> None:
    async def script(app: WatchedViewer, pilot: Pilot[Any]) -> None:
        changes = {"fault": FAULT, "channels": (channel(), channel(is_lead_off=True))}
        async with publishing(engine, **changes):
            await app.shows("FAULT: the device fell silent")
            await app.shows("channel 2: electrode off")
            assert "re-arms" not in app.text()
            assert "acknowledges" not in app.text()

    view(folder, script)


@pytest.mark.parametrize("key", ["space", "x", "f12", "ctrl+x", "ctrl+c"])
def test_a_stop_key_says_that_it_cannot_stop(folder: Path, engine: Engine, key: str) -> None:
    async def script(app: WatchedViewer, pilot: Pilot[Any]) -> None:
        async with publishing(engine):
            await app.shows("RUNNING")
            await pilot.press(key)
            await app.shows("This page cannot stop")

    view(folder, script)


def test_it_survives_any_size(folder: Path, engine: Engine) -> None:
    async def script(app: WatchedViewer, pilot: Pilot[Any]) -> None:
        async with publishing(engine, fault=FAULT):
            for size in ((20, 5), (1, 1), (200, 60), (80, 24)):
                await pilot.resize_terminal(*size)
                await pilot.pause(0.2)
            await app.shows("RUNNING")

    view(folder, script)


def test_escapes_from_the_socket_never_reach_the_screen(folder: Path, engine: Engine) -> None:
    hostile = "\x1b]52;c;AAAA\x07\x9b2J\u202e◐"
    fault = Fault(hostile, hostile, hostile, FAULT.blame)
    rows = (channel(ceiling_reason=hostile, contact=hostile, cycle_phase=hostile),)

    async def script(app: WatchedViewer, pilot: Pilot[Any]) -> None:
        told = {"fault": fault, "channels": rows, "profile_id": hostile, "record_path": hostile}
        async with publishing(engine, **told):
            await app.shows("FAULT")
            await app.shows("]52;c;AAAA")
            assert not set(app.text()) & set("\x1b\x07\x9b\u202e◐")

    view(folder, script)


# The source alone.


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[Source, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        source = Source(tmp_path / "engine-1.sock", ours)
        yield source, theirs
        source.close()


NOT_PUBLISHED = [
    b"\xff\xfe\n",
    b"{}\n",
    b"\n",
    to_line(Stop(1)),
    json.dumps({**to_fields(snapshot()), "message": "Snapshot", "more": 1}).encode() + b"\n",
    to_line(snapshot(delivered_ms=2**60)),
    to_line(snapshot(plateau_ms=-1)),
    to_line(snapshot(channels=(channel(shown_ua=1_000_001),))),
    to_line(snapshot(channels=(channel(ceiling_ua=-1),))),
    to_line(snapshot(channels=(channel(),) * 5)),
    to_line(snapshot(at_us=2)) + to_line(snapshot(at_us=1)),
]


@pytest.mark.parametrize("line", NOT_PUBLISHED)
def test_what_no_engine_publishes_ends_the_connection(
    ends: tuple[Source, socket.socket], line: bytes
) -> None:
    source, theirs = ends
    theirs.send(to_line(snapshot(at_us=1)))
    source.read(1)
    assert source.is_known(1)
    theirs.send(line)
    source.read(2)
    assert source.ended == "what the engine's socket sent makes no sense"
    assert not source.is_known(2)


def test_text_is_sanitised_as_it_is_taken_in(ends: tuple[Source, socket.socket]) -> None:
    source, theirs = ends
    theirs.send(
        to_line(snapshot(at_us=1, profile_id="a\x1b[2J", channels=(channel(contact="\x9b"),)))
    )
    source.read(1)
    assert source.snapshot is not None
    assert source.snapshot.profile_id == "a\ufffd[2J"
    assert source.snapshot.channels[0].contact == "\ufffd"


def test_a_line_without_end_is_not_kept_for_ever(ends: tuple[Source, socket.socket]) -> None:
    source, theirs = ends
    theirs.setblocking(False)
    for _ in range(1000):
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            theirs.send(b" " * 65536)
        source.read(1)
    assert source.ended


def test_a_snapshot_is_known_for_500_ms_of_its_own_stamp_and_never_before_it(
    ends: tuple[Source, socket.socket],
) -> None:
    source, theirs = ends
    theirs.send(to_line(snapshot(at_us=1_000_000)))
    source.read(5_000_000)  # delivered late: old from the start
    assert not source.is_known(5_000_000)
    assert source.is_known(1_500_000)
    assert not source.is_known(1_500_001)
    assert not source.is_known(999_999)


def test_a_visit_that_was_closed_stays_known_and_is_then_forgotten(
    folder: Path, engine: Engine
) -> None:
    lookout = Lookout(folder)
    lookout.look(1)
    engine.publish(snapshot(at_us=1, state=HostState.CLOSED, channels=()))
    engine.publish(snapshot(at_us=1, state=HostState.CLOSED, channels=()))
    lookout.look(2)
    engine.close()
    lookout.look(3)
    (source,) = lookout.sources
    assert (source.ended, source.is_known(3)) == ("the visit was closed", True)
    lookout.look(4 + ENDED_SHOWN_US)
    assert lookout.sources == ()


def test_nothing_can_be_sent_to_an_engine(folder: Path, engine: Engine) -> None:
    lookout = Lookout(folder)
    lookout.look(1)
    (source,) = lookout.sources
    with pytest.raises(BrokenPipeError):
        source._connection.send(to_line(Stop(1)))
    lookout.close()


def test_a_folder_of_somebody_elses_is_not_looked_into(tmp_path: Path, folder: Path) -> None:
    theirs = Engine(tmp_path / "theirs")
    folder.symlink_to(tmp_path / "theirs")
    lookout = Lookout(folder)
    lookout.look(1)
    assert lookout.sources == ()
    theirs.close()


def test_any_numbers_that_pass_can_be_drawn(folder: Path, engine: Engine) -> None:
    """Seeded: 30 snapshots with currents of up to 1 A, and other numbers of up to 2**53."""
    chance = random.Random(4)

    def anything(part: Any, name: str = "") -> Any:
        if type(part) is int:
            highest = 1_000_000 if name.endswith("_ua") else 2**53
            return chance.choice([0, 1, chance.randrange(highest), highest])
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            names = [one.name for one in dataclasses.fields(part)]
            told = {name: anything(getattr(part, name), name) for name in names}
            return dataclasses.replace(part, **told)
        return tuple(map(anything, part)) if isinstance(part, tuple) else part

    async def script(app: WatchedViewer, pilot: Pilot[Any]) -> None:
        for _ in range(30):
            changed = anything(fresh())
            engine.publish(dataclasses.replace(changed, at_us=CLOCK.now_us()))
            await asyncio.sleep(0.05)
            assert "makes no sense" not in app.text()
        async with publishing(engine):
            await app.shows("12.0 mA")

    view(folder, script)


def test_the_plot_begins_where_looking_on_began() -> None:
    assert recent([]) == ([], 0)
    assert recent([(1_000_000, 5)]) == ([(1_000_000, 5)], 0)
    points = [(1_000_000, 5), (1_400_000, 6), (3_500_000, 7)]
    # 2.5 s are known: two whole seconds are shown, from 1.5 s on, where 6 was held.
    assert recent(points) == ([(1_500_000, 6), (3_500_000, 7)], 2_000_000)


def test_no_module_that_could_reach_an_engine_is_loaded() -> None:
    program = "import sys, estim.tui.viewer; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT, check=True
    ).stdout.split()
    reaching = {"estim.engine.client", "estim.tui.controller", "estim.api", "serial"}
    assert reaching.isdisjoint(loaded)
    assert not [name for name in loaded if name.startswith(("estim.transport", "estim.drivers"))]
