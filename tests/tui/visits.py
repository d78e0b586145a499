"""Walk visits in the interface: sign in, answer by single keys, come to the stimulation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from estim.clock import SystemClock
from estim.prepare import places, roster
from estim.prepare.roster import Role
from estim.session.messages import Snapshot
from estim.session.states import HostState
from estim.tui.app import Options
from estim.tui.screens.read_back import ReadBackScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.screens.sign_in import SignInScreen
from estim.tui.screens.today import TodayScreen
from estim.tui.screens.visit import VisitScreen
from estim.tui.sitting import Sitting
from estim.tui.widgets.form import FormView
from estim.visit import protocol
from estim.visit.protocol import Step
from estim.visit.questions import Answer, Kind, Question
from tests.tui.harness import WatchedApp, play, until

THERAPIST, THERAPIST_PIN = "t1", "4711"
CLINICIAN, CLINICIAN_PIN = "dr1", "0815"
PERSON = "K7M4Q2"
PROTOCOL = "diabetic-neuropathy-first"

PASSING: Mapping[str, Answer] = {
    # What stands here is answered otherwise than no, or with the first choice.
    "explained": True, "agrees": True, "clear": True, "is-blinded": True,
    "as-profile": True, "alike": True, "all-size": "5x5",
}  # fmt: skip
TYPED = {"expiry": "2099-12", "lot": "L1", "uses": "1"}

VisitScript = Callable[[WatchedApp, Pilot[Any]], Awaitable[None]]


def make_roster() -> None:
    """Put a therapist and a clinician on the roster of this test's station."""
    folder = places.configuration_folder()
    for name, role, pin in (
        (THERAPIST, Role.THERAPIST, THERAPIST_PIN),
        (CLINICIAN, Role.CLINICIAN, CLINICIAN_PIN),
    ):
        roster.add(folder, name, role, pin)


def drive_visit(
    script: VisitScript,
    records: Path,
    *,
    url: str = "sim:",
    size: tuple[int, int] = (80, 24),
) -> WatchedApp:
    """Run the interface from its home screen, with a script of key presses in it."""
    app = WatchedApp(Options(records=records, device_url=url))

    async def opened(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await until(lambda: isinstance(app.screen, TodayScreen) and app.screen.is_mounted)
        await script(app, pilot)

    return play(app, opened, size)


async def type_text(app: WatchedApp, pilot: Pilot[Any], text: str) -> None:
    """Type into the field that has the focus, then Enter."""
    await pilot.press(*text, "enter")


async def sign_in(app: WatchedApp, pilot: Pilot[Any], index: int, pin: str) -> None:
    """Choose somebody of the roster by place, and give the PIN."""
    await until(lambda: isinstance(app.screen, SignInScreen) and app.screen.is_mounted)
    screen = app.screen
    if app.screen.focused is not None and app.screen.focused.id == "operators":
        await pilot.press(*(["down"] * index), "enter")
    await type_text(app, pilot, pin)
    await until(lambda: app.screen is not screen)


async def begin(app: WatchedApp, pilot: Pilot[Any], name: str = PROTOCOL) -> VisitScreen:
    """Begin a visit of a new person, signed in as the therapist."""
    app.visiting.ask_to_begin(PERSON, protocol.find(name))
    if not app.visiting.operator:
        people = [one.id for one in roster.operators(places.configuration_folder())]
        await sign_in(app, pilot, people.index(THERAPIST), THERAPIST_PIN)
    await until(lambda: isinstance(app.screen, VisitScreen) and bool(app.screen.query("#choices")))
    screen = app.screen
    assert isinstance(screen, VisitScreen)
    return screen


def shown_form(app: WatchedApp) -> FormView | None:
    """Return the form on screen."""
    found = app.screen.query(FormView)
    return found.first() if found else None


async def answer(
    app: WatchedApp, pilot: Pilot[Any], wanted: Mapping[str, Answer] | None = None
) -> None:
    """Answer the step on screen by keys and confirm it; return once the next one is asked."""
    sitting = app.visiting.sitting
    assert sitting is not None
    step = sitting.visit.next_step
    assert step is not None
    chosen = {**PASSING, **(wanted or {})}
    await until(lambda: shown_form(app) is not None)
    for _ in range(300):
        form = shown_form(app)
        if form is None or sitting.visit.next_step != step:
            break
        question = form.current
        if question is None:
            await pilot.press("enter")
            await until(lambda: step.id in sitting.visit.answered)
            break
        await give(app, pilot, question, chosen)
    assert step.id in sitting.visit.answered, step.id
    await pilot.pause()


async def give(
    app: WatchedApp, pilot: Pilot[Any], question: Question, chosen: Mapping[str, Answer]
) -> None:
    """Answer a question by keys: as chosen, else with no, the first choice, the highest number."""
    given = chosen.get(question.id)
    if question.kind is Kind.YES_NO:
        await pilot.press("y" if given else "n")
    elif question.kind is Kind.CHOICE:
        ids = [choice.id for choice in question.choices]
        await pilot.press(str(1 + (ids.index(str(given)) if given is not None else 0)))
    elif app.screen.focused is not None and app.screen.focused.id == "typed":
        kind = question.id.rpartition("-")[2]
        text = str(given if given is not None else TYPED.get(kind, ""))
        if not text and not question.is_optional:
            text = str(question.maximum)
        await type_text(app, pilot, text)
    else:
        number = question.maximum if given is None else given
        await pilot.press("t" if number == 10 else str(number))


async def leave_out(app: WatchedApp, pilot: Pilot[Any]) -> None:
    """Leave the step out, with a reason."""
    sitting = app.visiting.sitting
    assert sitting is not None
    step = sitting.visit.next_step
    assert step is not None
    await pilot.press("f2")
    await until(lambda: app.screen.focused is not None and app.screen.focused.id == "text")
    await type_text(app, pilot, "no time")
    await until(lambda: step.id in sitting.visit.skipped)
    await pilot.pause()


async def try_stop(app: WatchedApp, pilot: Pilot[Any]) -> None:
    """Find the device, press the simulated person's stop where there is one, then the stop key."""
    sitting = app.visiting.sitting
    assert sitting is not None
    await until(lambda: sitting.is_connected and shown_form(app) is not None)
    if sitting.given.has_patient_stop:
        await pilot.press("p")
        await until(lambda: app.state is HostState.FAULT and sitting.see_trial())
        await pilot.pause(0.4)
        await pilot.press("k")
        await until(lambda: app.state is HostState.READY)
    else:
        await pilot.press("1")
    await pilot.press("space")
    await until(lambda: sitting.visit.answers("try_stop") is not None)
    await pilot.pause()


async def come_to_stimulation(app: WatchedApp, pilot: Pilot[Any]) -> None:
    """Answer everything before the stimulation, as for somebody whom nothing forbids it."""
    sitting = app.visiting.sitting
    assert sitting is not None
    for _ in range(20):
        step = sitting.visit.next_step
        assert step is not None
        if step.kind == "stimulate":
            return
        if step.kind == "try_stop":
            await try_stop(app, pilot)
        elif step.may_skip:
            await leave_out(app, pilot)
        else:
            await answer(app, pilot)


async def arm(app: WatchedApp, pilot: Pilot[Any]) -> SessionScreen:
    """Read back and arm; the read-back comes by itself after the last step before it."""
    await until(lambda: isinstance(app.screen, ReadBackScreen))
    await pilot.press("y")
    await until(lambda: isinstance(app.screen, SessionScreen) and app.state is HostState.ARMED)
    screen = app.screen
    assert isinstance(screen, SessionScreen)
    return screen


def today() -> str:
    """Return the day as the interface names it."""
    return f"{SystemClock().wall():%Y-%m-%d}"


def answers_to(sitting: Sitting, step: Step, wanted: Mapping[str, Answer]) -> dict[str, Answer]:
    """Return the answers of somebody whom nothing forbids stimulation, with what is wanted."""
    chosen = {**PASSING, "patient": "none", "key": "heard", **wanted}
    given: dict[str, Answer] = {}
    while True:
        asked = [q for q in sitting.form(step, given) if q.id not in given and not q.is_optional]
        if not asked:
            return given
        question = asked[0]
        kind = question.id.rpartition("-")[2]
        if question.id in chosen:
            given[question.id] = chosen[question.id]
        elif question.kind is Kind.YES_NO:
            given[question.id] = False
        elif question.kind is Kind.CHOICE:
            given[question.id] = question.choices[0].id
        elif question.kind is Kind.WHOLE and kind != "uses":
            given[question.id] = question.maximum or 0
        else:
            given[question.id] = 1 if kind == "uses" else TYPED.get(kind, "1")


async def confirm_up_to(
    sitting: Sitting, kind: str, wanted: Mapping[str, Answer] | None = None
) -> None:
    """Confirm every step before one of a kind, without a key; what may be left out is."""
    while (step := sitting.visit.next_step) is not None and step.kind != kind:
        if step.may_skip:
            await sitting.leave_out(step, "for the test")
        else:
            await sitting.confirm(step, answers_to(sitting, step, wanted or {}))


async def come_to_running(app: WatchedApp, pilot: Pilot[Any]) -> Sitting:
    """Begin a visit whose device has no patient's stop, and run it at one step."""
    screen = await begin(app, pilot)
    await confirm_up_to(screen.sitting, "stimulate")
    screen.open_next()
    await pilot.press("f6")
    await arm(app, pilot)
    await pilot.press("g")
    await until(lambda: app.state is HostState.RUNNING)
    await pilot.press("+")
    await until(lambda: shown(app).channels[0].setpoint_ua > 0)
    await until(lambda: screen.sitting.delivered_ms > 0)
    return screen.sitting


def shown(app: WatchedApp) -> Snapshot:
    """Return what the engine said last."""
    assert app.controller is not None
    assert app.controller.snapshot is not None
    return app.controller.snapshot


async def walk_to(sitting: Sitting, step_id: str, url: str) -> None:
    """Confirm every step before one of an id, without a key; what is to be delivered is."""
    while (step := sitting.visit.next_step) is not None and step.id != step_id:
        if step.kind == "stimulate":
            await deliver(sitting, url)
        else:
            await sitting.confirm(step, answers_to(sitting, step, {}))


async def deliver(sitting: Sitting, url: str) -> None:
    """Read back, arm, deliver one step for a moment, stop, and confirm that it was."""
    controller = sitting.controller
    await sitting.connect(url)
    await sitting.prepare()
    await sitting.read_back()
    await controller.arm()
    await controller.start()
    controller.raise_channels((0,))
    while not sitting.delivered_ms:
        await controller.next_snapshot()
    controller.stop("for the test")
    while sitting.is_energised:
        await controller.next_snapshot()
    assert await sitting.confirm_stimulation()
