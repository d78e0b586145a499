"""A visit that is ended from outside at any of its steps: the interface in a process of its own.

Whatever step is asked, and whatever ends it (the interface killed, its whole group, its engine
with it, or the window shut): what was confirmed is in the record, what was half given is not,
nothing reaches the person any more, and the next start says so, offers what was answered, and
begins nothing by itself.
"""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from estim.record import station_key
from estim.record.reader import read
from estim.record.verify import verify
from estim.tui.screens.today import TodayScreen
from estim.tui.sitting import Sitting
from estim.visit import protocol
from estim.visit.protocol import KINDS, Step
from tests.soak.monkey import come_to_output
from tests.tui import processes, visits
from tests.tui.harness import WatchedApp, until
from tests.tui.terminal import Terminal
from tests.tui.visits import drive_visit

pytestmark = pytest.mark.long

US_PER_MS = 1000
ZERO_MS = 350
"""From the end of anything to zero (ARCHITECTURE.md), but for the pulse in progress."""

PROGRAM = """
import sys
from pathlib import Path
from estim.tui import app as interface
from estim.visit import protocol
from tests.tui import visits

records = Path(sys.argv[1])
url = f"sim:?patient_stop=no&trace={records / 'trace.csv'}"

class Walked(interface.EstimApp):
    async def walk(self):
        self.visiting.operator = visits.THERAPIST
        await self.visiting.begin(visits.PERSON, protocol.find(visits.PROTOCOL))
        screen = self.screen
        await visits.walk_to(screen.sitting, "STEP", url)
        screen.open_next()
        self.title = "walked"
        (records / "walked").touch()

    def on_ready(self):
        visits.make_roster()
        self.run_worker(self.walk())

interface.EstimApp = Walked
sys.exit(interface.run(interface.Options(records=records, device_url=url)))
"""

LOADED = protocol.find(visits.PROTOCOL)
STEPS = LOADED.protocol.steps
STIMULATION = LOADED.protocol.step("stimulation")


def kill(terminal: Terminal) -> None:
    """End the interface as the system does that has no memory left."""
    terminal.process.kill()


def kill_group(terminal: Terminal) -> None:
    """End the interface with all that stand in its group."""
    os.killpg(terminal.process.pid, signal.SIGKILL)


def kill_engine_too(terminal: Terminal) -> None:
    """End interface and engine; the simulated device outlives them."""
    engines = processes.children(terminal.process.pid)
    for pid in (terminal.process.pid, *engines):
        os.kill(pid, signal.SIGKILL)
    assert processes.wait_until(lambda: not any(map(processes.is_running, engines)), 5)


def hang_up(terminal: Terminal) -> None:
    """Shut the window."""
    terminal.hang_up()


ENDS = {each.__name__: each for each in (kill, kill_group, kill_engine_too, hang_up)}
CASES = [
    *((step.id, "kill" if index % 2 else "kill_group") for index, step in enumerate(STEPS)),
    ("stimulation", "kill"),
    ("stimulation", "kill_engine_too"),
    ("stimulation", "hang_up"),
    ("baseline", "kill_engine_too"),
    ("screening", "hang_up"),
    ("electrodes", "hang_up"),
]


def cut_off_at(records: Path, step: Step, end: Callable[[Terminal], None]) -> int:
    """Come to a step, half answer it, let current flow where that is the step, and end it.

    Return when it was ended, in us of the monotonic clock.
    """
    (records / "configuration").mkdir(parents=True)
    with Terminal(records, program=PROGRAM.replace("STEP", step.id), rows=40) as terminal:
        assert terminal.wait_for((records / "walked").exists, 30), "it did not come to the step"
        assert terminal.wait_for(lambda: terminal.shows(step.do[:12]), 5)
        if step == STIMULATION:
            come_to_output(terminal, is_begun=True)
            assert terminal.wait_for(lambda: len(_trace(records)) > 3)
        else:
            terminal.press("1y")  # an answer that nobody confirms
            terminal.read(0.2)
        ended_us = time.monotonic_ns() // 1000
        end(terminal)
        terminal.process.wait(10)
    return ended_us


def _trace(records: Path) -> list[dict[str, int]]:
    path = records / "trace.csv"
    lines = path.read_text().splitlines() if path.exists() else []
    return [{name: int(each) for name, each in row.items()} for row in csv.DictReader(lines)]


def _steps_told(path: Path) -> list[str]:
    """Return the steps that a record holds an answer to, in order."""
    told = [event.content for event in read(path).events if event.kind == "annotation"]
    return [each["content"]["step"] for each in told if each["kind"] in KINDS]


def _wait_for_seal(path: Path) -> bool:
    return processes.wait_until(lambda: '"kind":"seal"' in path.read_text(), 5)


async def _confirm(sitting: Sitting, step: Step) -> None:
    """Take over what is offered, else answer anew."""
    earlier = sitting.earlier(step).earlier
    if earlier is not None:
        await sitting.confirm(step, earlier.answers, earlier.session_id)
    else:
        await sitting.confirm(step, visits.answers_to(sitting, step, {}))


@pytest.mark.hazard(7)
@pytest.mark.parametrize(("step_id", "how"), CASES)
def test_a_visit_that_is_ended_at_a_step_loses_nothing_and_begins_nothing(
    records: Path, step_id: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LOADED.protocol.step(step_id)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(records / "configuration"))
    ended_us = cut_off_at(records, step, ENDS[how])
    (path,) = records.glob("*.jsonl")

    # Zero, at the device.
    if step == STIMULATION:
        time.sleep(2 * ZERO_MS / 1000)  # what comes too late would stand there now
    rows = _trace(records)
    is_before = STEPS.index(step) < STEPS.index(STIMULATION)
    assert bool(rows) is not is_before
    last_us = max((each["t_us"] + each["duration_us"] for each in rows), default=0)
    assert last_us <= ended_us + (ZERO_MS + 10) * US_PER_MS
    if step != STIMULATION:
        assert last_us < ended_us

    # Everything confirmed, and nothing else.
    if how != "kill_engine_too":
        assert _wait_for_seal(path)
    before = [each.id for each in STEPS[: STEPS.index(step)]]
    assert _steps_told(path) == before

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        told = "cut short" if how == "kill_engine_too" else "it ended by: "
        await until(lambda: f"{visits.PERSON}  unfinished" in app.text())
        assert told in " ".join(app.text().split())
        assert isinstance(app.screen, TodayScreen)
        assert app.controller is None
        app.visiting.operator = visits.THERAPIST
        await app.visiting.begin(visits.PERSON, LOADED)
        sitting = app.visiting.sitting
        assert sitting is not None
        assert sitting.visit.answered == {}
        assert not sitting.is_connected
        offered: set[str] = set()
        for each in STEPS:
            shown = sitting.earlier(each)
            if each.id in before and each != STIMULATION:
                assert shown.earlier or shown.words, each.id
            if shown.earlier is not None:
                offered.add(each.id)
            if STEPS.index(each) < STEPS.index(STIMULATION):
                await _confirm(sitting, each)
        assert offered == {each for each in before if each in OFFERED}
        await pilot.pause(0.2)
        assert not sitting.is_energised

    drive_visit(script, records, url="", size=(120, 40))
    key = station_key.load(records / "configuration" / "estim")
    assert verify(path, key).is_ok
    assert _trace(records) == rows  # whatever was begun anew, nothing flowed


OFFERED = {
    "screening", "baseline", "function", "sensation", "electrodes", "exercise", "manual",
    "adjuncts", "education", "outcome",
}  # fmt: skip
"""What may be taken over; consent, skin and the trial of the stop are asked at every visit."""
