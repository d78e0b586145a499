"""One controller for a whole visit: the real engine and simulator, and no screen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from estim.clock import SystemClock
from estim.errors import DeviceFault, EstimError, LimitRefused, UsageError
from estim.prepare import places, station
from estim.profile.library import find
from estim.record import station_key
from estim.record.catalogue import list_records
from estim.record.reader import read
from estim.record.verify import verify
from estim.session import messages as msg
from estim.session.states import HostState
from estim.tui.controller import SessionController, Stimulation, VisitPlan
from tests.tui.harness import until

PROTOCOL = {"id": "diabetic-neuropathy-first", "version": "1.0.0", "sha256": "ab" * 32}
ANSWERED = {
    "screen": "screening",
    "consent": "consent",
    "test_sensation": "sensation test",
    "place_electrodes": "electrodes",
    "try_stop": "stop was tried",
}
PROFILE = find("dpn-conventional")
STIMULATION = Stimulation(
    PROFILE,
    duration_s=60,
    electrode_area_cm2=Decimal(25),
    patient_ceiling_ua=5000,
    is_sensation_impaired=True,
)


@pytest.fixture
async def visit(records: Path) -> AsyncIterator[SessionController]:
    """A visit whose record is open, with a heart that beats."""
    plan = VisitPlan(PROTOCOL, "P-0042", "T-1")
    controller = SessionController(plan, records, lambda _: None, lambda _: None)

    async def beat() -> None:
        for number in range(10_000):
            controller.heartbeat(number)
            await asyncio.sleep(0.05)

    beating = asyncio.create_task(beat())
    await controller.open()
    yield controller
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
    await asyncio.to_thread(controller.abandon)


def shown(controller: SessionController) -> msg.Snapshot:
    assert controller.snapshot is not None
    return controller.snapshot


async def reaches(controller: SessionController, state: HostState) -> None:
    await until(lambda: shown(controller).state is state)


async def why(refused: Callable[[], Any]) -> str:
    with pytest.raises(LimitRefused) as error:
        await refused()
    return str(error.value)


async def insist(ask: Callable[[], Any]) -> None:
    """Ask again where a slow disk made the engine refuse."""
    for _ in range(5):
        try:
            await ask()
            return
        except LimitRefused as error:
            if "too slow" not in str(error):
                raise
    raise AssertionError("the disk is too slow")


async def raise_to(controller: SessionController, target_ua: int) -> None:
    """Raise channel 1 from zero by keys, the second of two at most 1 mA/s."""
    for _ in range(10):
        if shown(controller).channels[0].target_ua == target_ua:
            break
        controller.raise_channels((0,))
        await asyncio.sleep(0.3)
    await until(lambda: shown(controller).channels[0].setpoint_ua == target_ua)


async def read_back(controller: SessionController) -> None:
    content = {"prepared_digest": controller.prepared_digest, "operator": "T-1"}
    await controller.annotate("read_back", content)


@pytest.mark.hazard(21)
@pytest.mark.long
async def test_a_whole_visit(visit: SessionController, records: Path) -> None:
    await visit.annotate("note", {"text": "before there is any device"})
    assert shown(visit).state is HostState.DISCONNECTED
    device = await visit.connect("sim:")
    await visit.prepare(STIMULATION)
    assert visit.title == PROFILE.profile.title
    for kind, words in ANSWERED.items():
        assert words in await why(visit.arm)
        await visit.annotate(kind, {"step": kind, "operator": "T-1", "answers": {}})
        assert words not in await why(visit.arm)
    await read_back(visit)  # loaded before the answers: nobody can read that back any more
    assert "not read back" in await why(visit.arm)
    await visit.prepare(STIMULATION)
    assert "not read back" in await why(visit.arm)
    await read_back(visit)
    await insist(visit.arm)
    await insist(visit.start)
    await raise_to(visit, 1000)
    visit.ask(msg.Pause)
    await reaches(visit, HostState.ARMED)
    await insist(lambda: visit.must(msg.Resume))
    await until(lambda: shown(visit).channels[0].setpoint_ua == 1000)
    visit.stop()
    await reaches(visit, HostState.READY)
    assert "no programme" in await why(visit.arm_and_start)  # on a person nothing loads by itself
    await visit.prepare(Stimulation(find("dpn-14hz"), duration_s=60))
    assert "not read back" in await why(visit.arm_and_start)
    await read_back(visit)
    await insist(visit.arm_and_start)
    await raise_to(visit, 500)
    visit.stop()
    await reaches(visit, HostState.READY)
    await visit.close()
    assert [done.profile_id for done in visit.deliveries] == ["dpn-conventional", "dpn-14hz"]

    path = visit.record_path
    assert path is not None
    key = station_key.load(places.configuration_folder())
    assert verify(path, key).is_ok
    events = read(path).events
    header = events[0].content
    assert header["kind"] == "clinical"
    assert header["profile"] is None
    assert header["protocol"] == PROTOCOL
    assert (header["operator"], header["pseudonym"]) == ("T-1", "P-0042")
    assert events[1].kind == "annotation"
    assert events[1].content["kind"] == "visit"
    assert events[1].content["content"]["site"]["requires_patient_stop"] is False
    loaded = [event.content for event in events if event.kind == "prepared"]
    assert [(one["profile"], one["profile_sha256"]) for one in loaded] == [
        ("dpn-conventional", PROFILE.sha256),  # before the answers
        ("dpn-conventional", PROFILE.sha256),
        ("dpn-14hz", find("dpn-14hz").sha256),
    ]
    assert loaded[0]["bounds"]["is_bench"] is False
    assert loaded[0]["electrode_areas_mm2"] == [2500, 2500]
    assert max(loaded[0]["ceilings_ua"]) <= 5000
    owners = [bound["owner"] for bound in loaded[0]["bounds"]["channels"][0]["bounds"]]
    assert owners.count("patient") >= 3  # the ceiling given, and what impaired sensation lowers
    armed = {event.content["prepared_digest"] for event in events if event.kind == "arm_asked"}
    assert armed == {one["prepared_digest"] for one in loaded}
    (entry,) = list_records(records, key)
    assert (entry.kind, entry.profile_id, entry.state) == ("clinical", "dpn-14hz", "sealed")
    assert entry.device_serial == device.serial_number


@pytest.mark.hazard(48)
async def test_a_device_that_is_held_back_is_loaded_for_no_person(
    visit: SessionController,
) -> None:
    device = await visit.connect("sim:")
    await visit.prepare(STIMULATION)
    station.enter(
        places.configuration_folder(), device.serial_number, state=station.State.QUARANTINED,
        who="T-9", why="dropped", clock=SystemClock(),
    )  # fmt: skip
    assert "quarantined by T-9" in await why(lambda: visit.prepare(STIMULATION))
    # The engine still holds the former programme: it is armed no more, for nobody wants it.
    for kind in ANSWERED:
        await visit.annotate(kind, {"step": kind})
    content = {"prepared_digest": shown(visit).prepared_digest}
    await visit.annotate("read_back", content)
    assert "nothing is prepared" in await why(visit.arm)


async def test_a_link_that_was_lost_comes_back_with_nothing_loaded(
    visit: SessionController,
) -> None:
    await visit.connect("sim:")
    await visit.prepare(STIMULATION)
    await visit.disconnect()
    await reaches(visit, HostState.DISCONNECTED)
    with pytest.raises(UsageError, match="no device is connected"):
        await visit.prepare(STIMULATION)
    await visit.reconnect()
    assert not (await visit.next_snapshot()).has_program


async def test_what_cannot_be_kept_is_told_in_the_class_that_it_is(
    visit: SessionController,
) -> None:
    with pytest.raises(UsageError, match="prepared_digest"):
        await visit.annotate("read_back", {})
    await visit.close()
    with pytest.raises(DeviceFault, match="the engine has ended"):
        await visit.annotate("note", {"text": "too late"})


@pytest.mark.hazard(40)
async def test_nobody_without_a_name_and_nobody_by_name(records: Path) -> None:
    plan = VisitPlan(PROTOCOL, "Jane Doe", "T-1")
    controller = SessionController(plan, records, lambda _: None, lambda _: None)
    try:
        with pytest.raises(EstimError, match="pseudonym 'Jane Doe'"):
            await controller.open()
    finally:
        await asyncio.to_thread(controller.abandon)
    assert not list(records.glob("*.jsonl"))
