"""The technician's bench: every tool by keyboard, on the real engine and simulator."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from estim.session.messages import FrameSeen
from estim.session.states import HostState
from estim.simulator.faults import NATIVE_VERBS, Verb, parse_line
from estim.simulator.spawn import spawn
from estim.tui import frames
from estim.tui.controller import SessionPlan
from estim.tui.fault_words import FAULTS
from estim.tui.screens.library import LibraryScreen
from estim.tui.screens.lost import LostScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.screens.technician.acceptance import AcceptanceScreen
from estim.tui.screens.technician.capture import CaptureScreen
from estim.tui.screens.technician.conformance import ConformanceScreen
from estim.tui.screens.technician.device import DeviceFactsScreen
from estim.tui.screens.technician.faults import FaultsScreen
from estim.tui.screens.technician.frames import FramesScreen
from estim.tui.screens.technician.jobs import CharacteriseScreen, VerifyScreen
from estim.tui.screens.technician.menu import TechnicianMenu
from estim.tui.screens.technician.question import QuestionScreen
from estim.tui.screens.technician.running import JobScreen
from estim.tui.widgets.form import FormView
from estim.tui.widgets.frame_list import FrameList
from estim.visit.questions import Kind
from firmware_protocol.codec import encode_body
from firmware_protocol.framing import encode_frame
from tests.protocol.frames import HAND_WRITTEN
from tests.rig.job_text import write_job
from tests.tui.harness import LARGE, SMALL, WatchedApp, drive, open_demo, start, until
from tests.tui.visits import THERAPIST, THERAPIST_PIN, make_roster, sign_in

pytestmark = pytest.mark.long

TOOLS = (
    "manual", "device", "frames", "faults", "characterise", "verify", "acceptance", "capture",
    "conformance",
)  # fmt: skip
SCREENS = {
    "device": DeviceFactsScreen,
    "frames": FramesScreen,
    "faults": FaultsScreen,
    "characterise": CharacteriseScreen,
    "verify": VerifyScreen,
    "acceptance": AcceptanceScreen,
    "capture": CaptureScreen,
    "conformance": ConformanceScreen,
}


async def open_bench(app: WatchedApp, pilot: Pilot[Any]) -> None:
    """Open the demo session and its bench."""
    await open_demo(app, pilot)
    await pilot.press("T")
    await until(lambda: isinstance(app.screen, TechnicianMenu))


async def open_tool(app: WatchedApp, pilot: Pilot[Any], name: str) -> None:
    """Open a tool from the menu."""
    await pilot.press("home", *(["down"] * TOOLS.index(name)), "enter")
    await until(lambda: isinstance(app.screen, SCREENS[name]) and app.screen.is_mounted)


def fill(app: WatchedApp, **typed: str) -> None:
    """Put text into fields."""
    for name, text in typed.items():
        app.screen.query_one(f"#{name}", Input).value = text


def recorded(records: Path, kind: str) -> list[dict[str, Any]]:
    """Return the contents of a kind in all records."""
    lines = [line for path in records.glob("*.jsonl") for line in path.read_text().splitlines()]
    events = map(json.loads, lines)
    return [event["content"] for event in events if event["kind"] == kind]


# The way there, and back.


def test_the_bench_is_reached_only_by_declaring_load_and_nobody(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await pilot.press("t")
        await until(lambda: "Which stimulator?" in app.text())
        await pilot.press("end", "enter")
        await until(lambda: "Nobody is connected" in app.text())
        await pilot.press("tab", "tab", "enter")
        await until(lambda: "There is no session without it" in app.text())
        await pilot.press("enter", "enter")
        await until(lambda: isinstance(app.screen, TechnicianMenu))
        await until(lambda: app.state is HostState.READY)
        assert "BENCH 500 ohm, nobody connected" in app.text()
        assert "whether the device does what its protocol says" in app.text()
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, SessionScreen))

    drive(script, records)


def test_every_tool_opens_by_keys_takes_any_size_and_leaves_by_escape(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        app.visiting.operator = THERAPIST  # else the acceptance test asks who tests
        app.visiting._idle_lock_us = 10**9
        for name in SCREENS:
            if name == "acceptance":
                continue  # it asks first who tests: a test of its own opens it
            await open_tool(app, pilot, name)
            await pilot.resize_terminal(20, 5)
            await pilot.resize_terminal(200, 60)
            await until(lambda: "stops" in app.strip() and len(app.strip()) == 200)
            await pilot.resize_terminal(*SMALL)
            await pilot.press("escape")
            await until(lambda: isinstance(app.screen, TechnicianMenu))

    drive(script, records)


def test_an_engine_that_dies_under_the_bench_is_told_and_the_way_home_is_open(
    records: Path,
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "frames")
        assert app.controller is not None
        os.kill(app.controller.engine_pid, signal.SIGKILL)
        await until(lambda: isinstance(app.screen, LostScreen))
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, LibraryScreen))
        assert app.controller is None

    drive(script, records)


# Device.


def test_the_device_says_who_it_is_what_it_can_and_how_its_self_test_went(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "device")
        await until(lambda: "SIM-0001" in app.text())
        shown = " ".join(app.text().split())
        # Of the simulator, by hand from `simulator/settings.py`.
        for told in (
            "channels 2",
            "highest amplitude 100.0 mA",
            "highest output voltage 180 V",
            "shortest pulse period 100 us",
            "has a stop for the patient yes",
            "not entered: the register does not hold this device back",
            "s begins it",
        ):
            assert told in shown
        await pilot.press("s")
        await until(lambda: "✓ passed: checks 1, 2, 3" in " ".join(app.text().split()))

    drive(script, records, LARGE)
    assert recorded(records, "self_test") == [{"passed": 7, "failed": 0}]


# Frames.


@pytest.mark.parametrize(
    "message", [one.message for one in HAND_WRITTEN], ids=lambda message: type(message).__name__
)
def test_every_byte_of_every_message_is_laid_under_a_field(message: Any) -> None:
    body = encode_body(message, 513, 7)
    octets = encode_frame(body)[:-1].hex()
    frame = frames.decode(FrameSeen(1, True, octets))
    assert (frame.name, frame.sequence, frame.problem) == (type(message).__name__, 513, "")
    laid = frames.parts(frame)
    assert b"".join(part.octets for part in laid) == body
    assert [part.name for part in laid[:3]] == ["message", "sequence", "epoch"]
    assert laid[-1].name == "CRC-32"


def test_a_damaged_frame_is_told_as_such_and_never_raises() -> None:
    octets = bytearray(encode_frame(encode_body(HAND_WRITTEN[0].message, 1, 1))[:-1])
    octets[-1] ^= 1
    assert frames.decode(FrameSeen(1, False, octets.hex())).problem == "the CRC does not match"
    assert frames.decode(FrameSeen(1, False, "")).problem == "too long to be a frame"
    assert frames.decode(FrameSeen(1, False, "ff")).name == "damaged"


def test_frames_are_shown_live_held_still_looked_into_and_damage_is_seen(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "frames")
        await until(lambda: "Drive" in app.text() and "Status" in app.text())
        assert "BAD" not in app.text()
        await pilot.press("up", "up")
        await until(lambda: "HELD STILL" in app.text() and "program_digest" in app.text())
        held = app.screen.query_one(FrameList).marked
        await until(lambda: "HELD STILL, 0" not in app.text())  # more has come meanwhile
        assert app.screen.query_one(FrameList).marked is held
        await pilot.press("p", "f")
        await until(lambda: "live" in app.text() and "filter: Drive" in app.text())
        await until(lambda: "Status" not in app.text())
        await pilot.press("F")
        assert app.bench is not None
        await app.bench.inject("corrupt 3 to-host")
        await until(lambda: "BAD damaged" in " ".join(app.text().split()))

    drive(script, records)


# Faults.


def test_every_fault_that_the_simulator_knows_is_offered_with_a_line_that_it_takes() -> None:
    assert [fault.verb for fault in FAULTS] == [verb.value for verb in Verb if verb in NATIVE_VERBS]
    for fault in FAULTS:
        parsed = parse_line(fault.line, 2)
        assert parsed is not None
        assert parsed.verb.value == fault.verb


def test_a_fault_is_sent_and_recorded_and_nonsense_gets_one_message(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "faults")
        await pilot.press("end", "enter")
        assert app.focused is app.screen.query_one("#fault-line")
        await pilot.press("enter")
        await until(lambda: "✓ battery 4" in app.text())
        fill(app, **{"fault-line": "battery full"})
        await pilot.press("enter")
        await until(lambda: "! percent: expected a whole number" in app.text())
        assert app.controller is not None
        await until(lambda: app.controller.snapshot.battery_percent == 4)  # type: ignore[union-attr]

    drive(script, records)
    assert recorded(records, "fault_injected") == [{"line": "battery 4"}]


# Jobs.


def test_a_characterisation_runs_and_the_session_has_its_device_again(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "characterise")
        fill(app, amplitudes="12", loads="500 10000")
        app.screen.query_one("#virtual").focus()
        await pilot.press("enter", "enter")
        await until(lambda: isinstance(app.screen, JobScreen))
        await until(lambda: "ended" in app.text() and "2 of 2 steps" in app.text(), 20.0)
        # By hand: 12 mA x 500 ohm = 6 V, x 10 kohm = 120 V; 12 mA x 200 us = 2.4 uC.
        for row in ("500 ohm 12 mA 12 mA 6 V 2.4 uC", "10 kohm 12 mA 12 mA 120 V 2.4 uC"):
            await until(lambda row=row: row in " ".join(app.text().split()))  # type: ignore[misc]
        await until(lambda: app.state is HostState.READY)
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, CharacteriseScreen))

    drive(script, records)


def test_what_makes_no_sense_is_told_in_one_line_and_nothing_begins(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "characterise")
        for name, typed, told in (
            ("loads", "600", "! loads: expected some of 500, 2000, 10000"),
            ("channel", "9", "! channel: expected a whole number from 1 to"),
            ("amplitudes", "200", "! amplitudes: 200: expected mA above 0 and up to 100"),
        ):
            field = app.screen.query_one(f"#{name}", Input)
            former, field.value = field.value, typed
            field.focus()
            await pilot.press("enter")
            await until(lambda told=told: told in app.text())  # type: ignore[misc]
            field.value = former
        assert isinstance(app.screen, CharacteriseScreen)
        await pilot.press("escape")
        await open_tool(app, pilot, "verify")
        fill(app, job="/nowhere.toml")
        await pilot.press("enter")
        await until(lambda: "! job: expected the path of a file that is there" in app.text())

    drive(script, records)


def test_while_output_is_possible_no_tool_disturbs_it_and_none_begins_anything(
    records: Path,
) -> None:
    """The tools that look on are opened while the session runs; those of the rig are not."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await start(app, pilot)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TechnicianMenu))
        await open_tool(app, pilot, "device")
        await pilot.press("s")
        await until(lambda: "! not while running" in app.text())
        await pilot.press("escape")
        for name in ("frames", "faults"):
            await until(lambda: isinstance(app.screen, TechnicianMenu))
            await open_tool(app, pilot, name)
            await pilot.press("escape")
        await until(lambda: isinstance(app.screen, TechnicianMenu))
        await pilot.press("home", *["down"] * TOOLS.index("characterise"), "enter")
        await until(lambda: "! end what the session delivers first" in app.text())
        assert app.state is HostState.RUNNING

    drive(script, records)


def test_the_stop_key_ends_a_job_with_its_output(records: Path) -> None:
    """While a job delivers, the strip shows its device, and the key stops that one."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "characterise")
        fill(app, amplitudes="3 6 9", loads="500")
        app.screen.query_one("#channel").focus()
        await pilot.press("enter")
        await until(lambda: "RUNNING   3.0 mA" in app.strip(), 20.0)
        await pilot.press("escape", "q")
        assert isinstance(app.screen, JobScreen)  # neither leaves while a job runs
        await pilot.press("space")
        await until(lambda: "ended: stop key; the output is off" in app.text(), 3.0)
        assert app.bench_job is None
        await until(lambda: app.state is HostState.READY)

    drive(script, records)
    stopped = [one for one in recorded(records, "stop") if one["state"] == "running"]
    assert [one["reason"] for one in stopped] == ["stop key"]
    asked = [one["to_ua"][0] for one in recorded(records, "rise_asked")]
    assert asked == [3000]


def test_a_load_that_is_to_be_set_is_asked_for_and_no_delivers_nothing(
    records: Path, tmp_path: Path
) -> None:
    """A device behind a port: nobody but a person can set its dummy load."""
    simulator = spawn({})

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        library = app.screen
        assert isinstance(library, LibraryScreen)
        loaded: Any = library.chosen
        app.open_session(SessionPlan(loaded, f"native:{simulator.path}", 500))
        await until(lambda: app.state is HostState.READY)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TechnicianMenu))
        await open_tool(app, pilot, "characterise")
        fill(app, amplitudes="3", loads="2000")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, QuestionScreen))
        asked = "Set the dummy load to 2 kohm; nobody connected. Is it set?"
        await until(lambda: asked in app.text())
        await pilot.press("enter")  # nothing is chosen yet
        assert app.screen.query_one("#answers", OptionList).highlighted is None
        await pilot.press("end", "enter")
        await until(lambda: "the dummy load is not set: nothing is delivered" in app.text())
        await until(lambda: app.state is HostState.READY)
        await pilot.press("escape", "enter")
        await until(lambda: isinstance(app.screen, QuestionScreen))
        # Left like this: a thread that waited for an answer would keep the process for ever.

    try:
        drive(script, records)
    finally:
        simulator.close()
    assert recorded(records, "arm_asked") == []


def test_the_acceptance_test_is_walked_and_kept_and_only_what_was_delivered_is_confirmed(
    records: Path,
) -> None:
    make_roster()

    async def answer(app: WatchedApp, pilot: Pilot[Any], wanted: dict[str, str]) -> None:
        """Answer the checks of a step and confirm it: 1 as expected, 2 not, with what was found."""
        screen = app.screen
        assert isinstance(screen, AcceptanceScreen)
        step = screen._step
        assert step is not None
        await until(lambda: bool(screen.query(FormView)) and screen._step == step)
        for _ in range(30):
            question = screen.query_one(FormView).current
            if question is None:
                break
            typed = {"found-1": "cracked", "assessment": "report 7"}.get(question.id, "")
            keys = [wanted.get(question.id, "n" if question.id == "accepted" else "1")]
            if question.kind is Kind.TEXT:
                keys = [*typed, "enter"]
            await pilot.press(*keys)
        await pilot.press("enter")
        await until(lambda: screen._step != step or "nothing was delivered" in app.text())

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await pilot.press("home", *(["down"] * TOOLS.index("acceptance")), "enter")
        await sign_in(app, pilot, 0, THERAPIST_PIN)
        await until(lambda: "Look at device and leads" in app.text())
        await answer(app, pilot, {"check-1": "2"})
        await answer(app, pilot, {})
        await answer(app, pilot, {})
        assert "nothing was delivered yet" in app.text()
        await pilot.press("escape", "escape")
        await start(app, pilot)
        await pilot.press("+")
        await until(lambda: app.strip().count("0.5 mA") == 1)
        await pilot.press("space")
        await until(lambda: app.state is HostState.READY)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TechnicianMenu))
        await open_tool(app, pilot, "acceptance")
        await until(lambda: "▸ Run on the dummy load" in app.text())
        for _ in ("output", "stops", "figures"):
            await answer(app, pilot, {})
        await pilot.press("f2")
        await until(lambda: app.screen.focused is not None and app.screen.focused.id == "text")
        await pilot.press(*"nobody", "enter")
        await until(lambda: "▸ Accept, or quarantine" in app.text())
        await answer(app, pilot, {})
        await until(lambda: "Not accepted." in app.text())
        assert "check failed: Case and connectors" in app.text()
        assert "estim station set SIM-0001 --state quarantined" in app.text()

    drive(script, records, (120, 40))
    kept = [(each["kind"], each["content"]) for each in recorded(records, "annotation")]
    assert [kind for kind, _ in kept] == [
        "acceptance", "check", "check", "stimulate", "check", "check", "skip", "review",
    ]  # fmt: skip
    assert kept[0][1]["protocol"]["id"] == "technician-acceptance"
    assert {content["operator"] for _, content in kept} == {THERAPIST}
    assert kept[1][1]["answers"]["found-1"] == "cracked"
    assert kept[3][1]["answers"]["highest_ua-1"] == 500
    assert kept[-1][1]["answers"]["accepted"] is False


def test_a_job_file_is_walked_and_reported(records: Path, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "verify")
        fill(app, job=str(job))
        await pilot.press("enter")
        await until(lambda: "Verdict: PASS" in app.text(), 20.0)
        assert "1 of 1 steps" in app.text()

    drive(script, records)
    assert (tmp_path / "job" / "state" / "report-as-found.md").is_file()


# Conformance.


def test_the_kit_judges_the_device_with_progress_and_a_report(
    records: Path, tmp_path: Path
) -> None:
    report = tmp_path / "conformance.xml"

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "conformance")
        fill(app, only="SEQ-99")
        await pilot.press("enter")
        await until(lambda: "! --only SEQ-99: expected an id" in app.text())
        fill(app, only="SEQ LEAD-01", report=str(report))
        await pilot.press("enter")
        await until(lambda: "CONFORMS, AS FAR AS TESTED" in app.text(), 20.0)
        for shown in ("7 of 7 steps", "7 pass", "confirmed by a Status"):
            await until(lambda shown=shown: shown in app.text())  # type: ignore[misc]
        await until(lambda: app.state is HostState.READY)

    drive(script, records)
    assert 'testsuite name="estim conformance" tests="7" failures="0"' in report.read_text()


def test_the_stop_key_ends_the_kit_with_its_output(records: Path, tmp_path: Path) -> None:
    """No engine can say what flows then: the strip shows UNKNOWN, never nothing."""
    trace = tmp_path / "trace.csv"

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        library = app.screen
        assert isinstance(library, LibraryScreen)
        loaded: Any = library.chosen
        app.open_session(SessionPlan(loaded, f"sim:?trace={trace}", 500))
        await until(lambda: app.state is HostState.READY)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TechnicianMenu))
        await open_tool(app, pilot, "conformance")
        fill(app, only="RISE-01 STOP", soak="0")
        await pilot.press("enter")
        await until(lambda: "STOP-08" in app.text(), 20.0)
        assert "CONFORMANCE   UNKNOWN mA" in app.strip()
        await until(lambda: trace.stat().st_size > 10_000, 10.0)  # it delivers
        await pilot.press("space")
        await until(lambda: "ended: stop key; the output is off" in app.text(), 5.0)
        assert app.bench_job is None
        await until(lambda: app.state is HostState.READY)

    drive(script, records)


# A capture over the waveform.


def _write_trace(path: Path, amplitude_ua: int) -> None:
    """Write 80 pulses of 200 us a phase at 80 Hz, as a simulator's trace has them."""
    rows = ["t_us,channel,current_ua,duration_us"]
    for number in range(80):
        onset_us = 1_000_000 + 12_500 * number
        rows += [
            f"{onset_us},1,{amplitude_ua},200",
            f"{onset_us + 200},1,{-amplitude_ua},200",
        ]
    path.write_text("\n".join(rows) + "\n")


def test_a_capture_lies_over_what_was_commanded_with_its_verdict(
    records: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    _write_trace(trace, 6000)

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_bench(app, pilot)
        await open_tool(app, pilot, "capture")
        fill(app, capture=str(trace), amplitude="3")
        await pilot.press("enter")
        await until(lambda: "✗ FAIL" in app.text())
        shown = app.text()
        assert "worst pulse, at 1.000000 s" in shown
        assert "+6 mA" in shown
        assert " ".join(["amplitude.phase1", "3", "mA", "6", "mA"]) in " ".join(shown.split())
        plot = [line for line in shown.splitlines() if any("⠀" < sign <= "⣿" for sign in line)]
        assert len(plot) >= 10
        # Captured at +6 mA alone, commanded at +3 mA alone: two long runs of dots above zero.
        middle = next(n for n, line in enumerate(plot) if line.lstrip().startswith("0"))
        runs = [n for n, line in enumerate(plot[:middle]) if sum("⠀" < s <= "⣿" for s in line) > 30]
        assert len(runs) == 2
        fill(app, amplitude="6")
        await pilot.press("enter")
        await until(lambda: "amplitude.phase1" in app.text() and "✓ pass" in app.text())
        fill(app, amplitude="")
        await pilot.press("enter")
        await until(lambda: "! amplitude: expected what was commanded, in mA" in app.text())

    drive(script, records, LARGE)
