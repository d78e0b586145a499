"""Whole visits through the interface, with the real engine and the simulator behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from estim.prepare import places
from estim.record import station_key
from estim.record.reader import read
from estim.record.verify import verify
from estim.session.states import HostState
from estim.tui.screens.read_back import ReadBackScreen
from estim.tui.screens.today import TodayScreen
from estim.tui.screens.visit import VisitScreen
from estim.tui.screens.visit_report import VisitReportScreen
from tests.tui import visits
from tests.tui.harness import WatchedApp, until
from tests.tui.visits import drive_visit, make_roster

NO_STOP = "sim:?patient_stop=no"


@pytest.fixture(autouse=True)
def roster(own_configuration: None) -> None:
    make_roster()


def annotations(records: Path) -> list[tuple[str, dict[str, Any]]]:
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
        channels = app.controller.snapshot.channels  # type: ignore[union-attr]
        assert channels[0].target_ua > 0
        await until(lambda: channels[0].target_ua > 0)
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
    told = annotations(records)
    kinds = [kind for kind, _ in told]
    assert kinds[0] == "visit"
    for kind in ("screen", "consent", "inspect_skin", "test_sensation", "try_stop",
                 "place_electrodes", "read_back", "marker", "stimulate", "review"):  # fmt: skip
        assert kind in kinds, kind
    assert kinds.index("read_back") > kinds.index("place_electrodes")
    assert kinds.index("stimulate") > kinds.index("marker")
    stimulated = dict(told)["stimulate"]["answers"]
    assert stimulated["stimulations"] == 1
    assert stimulated["delivered_ms"] > 1000
    assert 0 < stimulated["highest_ua-1"] <= 5000
    markers = [content["marker"] for kind, content in told if kind == "marker"]
    assert markers[:1] == ["sensory"]
    assert "comfortable" in markers
    skipped = {content["step"] for kind, content in told if kind == "skip"}
    assert "baseline" in skipped
    assert "screening" not in skipped
    stop = dict(told)["try_stop"]["answers"]
    assert stop == {"patient": "tried", "key": "heard"}
