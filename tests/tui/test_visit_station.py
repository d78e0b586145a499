"""What the station does to a visit: another interface beside it, and a clock that is set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from estim.record import station_key
from estim.record.reader import read
from estim.record.verify import verify
from estim.tui.screens.today import TodayScreen
from estim.visit import protocol
from tests.soak.monkey import F12, PROGRAM, come_to_output
from tests.tui import processes, visits
from tests.tui.harness import WatchedApp, until
from tests.tui.terminal import CHECKOUT, Terminal
from tests.tui.test_visit_killed import PROGRAM as WALKED
from tests.tui.visits import drive_visit

pytestmark = pytest.mark.long

US_PER_MS = 1000
NEXT = "C7H9KDM"

SET_CLOCK = """
import os, pathlib
from datetime import timedelta
from estim import clock

told = pathlib.Path(os.environ["SET_CLOCK"])
wall = clock.SystemClock.wall
clock.SystemClock.wall = lambda self: wall(self) + timedelta(seconds=int(told.read_text()))
"""
"""Loaded by interface and engine at their start: the wall clock is as far off as a file says."""


@pytest.mark.hazard(36)
def test_a_wall_clock_that_is_set_while_current_flows_changes_no_duration(tmp_path: Path) -> None:
    records = tmp_path / "records"
    (records / "configuration").mkdir(parents=True)
    (tmp_path / "sitecustomize.py").write_text(SET_CLOCK)
    told = tmp_path / "offset"
    told.write_text("0")
    environment = {"PYTHONPATH": f"{tmp_path}:{CHECKOUT}", "SET_CLOCK": str(told)}
    with Terminal(records, program=PROGRAM, environment=environment) as terminal:
        come_to_output(terminal)
        assert terminal.wait_for(lambda: terminal.shows("0.5 mA"))
        for offset_s in (-2 * 86_400, 400 * 86_400):
            told.write_text(str(offset_s))
            terminal.read(1.0)
            assert terminal.process.poll() is None
        terminal.drawn = b""
        terminal.press(F12)
        assert terminal.wait_for(lambda: terminal.shows("STOPPED"))
    (path,) = records.glob("*.jsonl")
    assert processes.wait_until(lambda: '"kind":"seal"' in path.read_text(), 5)
    assert verify(path, station_key.load(records / "configuration" / "estim")).findings == ()
    events = read(path).events
    walls = [event.wall for event in events]
    assert min(walls) < events[0].wall  # it was set back
    assert (max(walls) - events[0].wall).days >= 399
    began_us = next(e.mono_us for e in events if e.kind == "state" and e.content["to"] == "running")
    ended_us = next(
        e.mono_us for e in events if e.kind == "state" and e.content["from"] == "running"
    )
    (delivered,) = [event.content for event in events if event.kind == "delivered"]
    total_ms = sum(delivered[part] for part in ("rise_ms", "plateau_ms", "ramp_down_ms"))
    assert 1_500 < total_ms <= (ended_us - began_us) // US_PER_MS + 100
    assert [e.content["reason"] for e in events if e.kind == "stop"][:1] == ["stop key"]
    assert [e for e in events if e.kind == "fault"] == []


def test_two_interfaces_on_one_folder_leave_each_other_alone(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (records / "configuration").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(records / "configuration"))
    with Terminal(records, program=WALKED.replace("STEP", "skin-before")) as other:
        assert other.wait_for((records / "walked").exists, 30)
        (path,) = records.glob("*.jsonl")

        async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
            await until(lambda: "still going on" in " ".join(app.text().split()))
            assert isinstance(app.screen, TodayScreen)
            assert '"kind":"seal"' not in path.read_text()  # it is not taken for a crash
            app.visiting.operator = visits.THERAPIST
            await app.visiting.begin(NEXT, protocol.find(visits.PROTOCOL))
            sitting = app.visiting.sitting
            assert sitting is not None
            await visits.confirm_up_to(sitting, "consent")
            other.read(0.2)
            for key in ("y", "\r"):  # the other one goes on meanwhile
                other.press(key)
                other.read(0.5)
            await visits.confirm_up_to(sitting, "inspect_skin")
            await sitting.close()
            app.visiting.forget()

        drive_visit(script, records, url="", size=(120, 40))
        assert other.wait_for(lambda: '"step":"skin-before"' in path.read_text())
        assert other.process.poll() is None
        other.hang_up()
        other.process.wait(10)
    assert processes.wait_until(lambda: '"kind":"seal"' in path.read_text(), 5)
    key = station_key.load(records / "configuration" / "estim")
    found = sorted(records.glob("*.jsonl"))
    assert len(found) == 2
    for each in found:
        assert verify(each, key).is_ok
