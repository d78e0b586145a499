"""The Python interfaces, on the real engine and the real simulator: output ends with whoever asked.

The simulator's trace is the witness. Its times are those of the machine's monotonic clock, as the
tests' own.
"""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from estim import aio, api
from estim.engine.pumped import SteppedEngine
from estim.errors import DeviceFault, EstimError, UsageError
from estim.profile.library import find
from estim.record.reader import stream
from estim.session.messages import Reply, Snapshot
from estim.session.states import HostState

pytestmark = pytest.mark.long

PROFILE = "dpn-conventional"
STOPPED_WITHIN_US = 150_000  # 20 ms to the device, as the architecture has it, on a busy machine
FROZEN_WITHIN_US = 900_000  # 750 ms for a frozen display, on a busy machine


class Bench:
    """A simulated stimulator that writes down what reached its load."""

    def __init__(self, folder: Path) -> None:
        self.trace = folder / "trace.csv"
        self.url = f"sim:?load=500&trace={self.trace}"
        self.records = folder / "records"

    def rows(self) -> list[tuple[int, int]]:
        """Return when each phase began and what flowed, in us and uA, once the simulator ended."""
        with open(self.trace, newline="") as file:
            return [(int(row["t_us"]), int(row["current_ua"])) for row in csv.DictReader(file)]

    def kinds(self) -> list[str]:
        (path,) = self.records.glob("*.jsonl")
        return [event.kind for event in stream(path)]


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Bench:
    return Bench(tmp_path)


def now_us() -> int:
    return time.monotonic_ns() // 1000


def assert_silent_after(bench: Bench, asked_us: int, within_us: int = STOPPED_WITHIN_US) -> None:
    rows = bench.rows()
    assert max(current for _, current in rows) > 200, "nothing had flowed: the test shows nothing"
    assert rows[-1][0] - asked_us < within_us
    assert bench.kinds()[-1] == "seal"


def assert_stopped(bench: Bench, asked_us: int) -> None:
    assert_silent_after(bench, asked_us)
    assert "zero_confirmed" in bench.kinds()


def rise(stimulator: api.Stimulator) -> None:
    """Begin a rise that would take 12 s, and return in its middle."""
    stimulator.prepare(find(PROFILE), duration_s=60)
    stimulator.arm()
    stimulator.start()
    stimulator.set_targets_ua((12_000, 0))
    stimulator.wait_for(lambda shown: shown.channels[0].setpoint_ua >= 400)


def newest(stimulator: api.Stimulator) -> Snapshot:
    assert stimulator.snapshot is not None
    return stimulator.snapshot


async def rise_async(stimulator: aio.Stimulator) -> None:
    await stimulator.prepare(find(PROFILE), duration_s=60)
    await stimulator.arm()
    await stimulator.start()
    await stimulator.set_targets_ua((12_000, 0))
    await stimulator.wait_for(lambda shown: shown.channels[0].setpoint_ua >= 400)


# One thread.


def test_the_simulator_needs_no_declared_load_and_every_other_device_does() -> None:
    assert api.simulated_ohm("sim:") == 500
    assert api.simulated_ohm("sim:?channels=4&load=1200") == 1200
    for url in ("native:/dev/ttyUSB0", "sim:?load=typical"):
        with pytest.raises(UsageError, match="dummy load"):
            api.open(url)


def test_an_exception_inside_stops_and_zero_is_confirmed_before_it_goes_on(bench: Bench) -> None:
    asked_us = 0

    def fail() -> None:
        nonlocal asked_us
        with api.open(bench.url, records=bench.records) as stimulator:
            rise(stimulator)
            asked_us = now_us()
            raise RuntimeError("in the middle of a rise")

    with pytest.raises(RuntimeError, match="middle of a rise"):
        fail()
    assert_stopped(bench, asked_us)


def test_stop_is_accepted_in_every_state_and_returns_at_zero(bench: Bench) -> None:
    with api.open(bench.url, records=bench.records) as stimulator:
        stimulator.stop()
        stimulator.identify()
        stimulator.stop()
        assert newest(stimulator).state is HostState.IDENTIFIED
        rise(stimulator)
        asked_us = now_us()
        stimulator.stop()
        assert newest(stimulator).state is HostState.READY
        assert [channel.shown_ua for channel in newest(stimulator).channels] == [0, 0]
        stimulator.stop()
    stimulator.stop()
    assert_stopped(bench, asked_us)


def test_waiting_tells_that_the_output_ended_and_whom_it_points_at(bench: Bench) -> None:
    faults = bench.trace.with_name("faults.txt")
    faults.write_text("at 1.5 gain 1 2000\n")
    with api.open(f"{bench.url}&faults={faults}", records=bench.records) as stimulator:
        rise(stimulator)
        with pytest.raises(DeviceFault) as caught:
            stimulator.hold(10)
    assert caught.value.blame == "device"


# The event loop.


async def test_cancelling_a_rise_stops_it_and_zero_is_confirmed_first(bench: Bench) -> None:
    asked_us = 0
    states = []

    async def session() -> None:
        async with aio.open(bench.url, records=bench.records) as stimulator:
            await rise_async(stimulator)
            try:
                await stimulator.wait_until_finished()
            except asyncio.CancelledError:
                assert stimulator.snapshot is not None
                states.append(stimulator.snapshot.state)
                raise

    task = asyncio.create_task(session())
    async with asyncio.timeout(20):
        while not (bench.trace.exists() and len(bench.trace.read_bytes()) > 2000):
            await asyncio.sleep(0.02)
    asked_us = now_us()
    task.cancel()
    for _ in range(3):  # repeating it changes nothing
        await asyncio.sleep(0.002)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert states == [HostState.READY]
    assert_stopped(bench, asked_us)


@pytest.mark.parametrize("call", ["wait_for", "hold"])
async def test_a_time_out_around_any_call_is_a_cancellation(bench: Bench, call: str) -> None:
    calls: dict[str, Callable[[aio.Stimulator], Awaitable[object]]] = {
        "wait_for": lambda stimulator: stimulator.wait_for(lambda shown: False, 30),
        "hold": lambda stimulator: stimulator.hold(30),
    }
    async with aio.open(bench.url, records=bench.records) as stimulator:
        await rise_async(stimulator)
        asked_us = now_us() + 50_000
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await calls[call](stimulator)
        assert stimulator.snapshot is not None
        assert stimulator.snapshot.state is HostState.READY
    assert_stopped(bench, asked_us)


async def test_an_exception_inside_the_async_with_stops(bench: Bench) -> None:
    asked_us = 0

    async def fail() -> None:
        nonlocal asked_us
        async with aio.open(bench.url, records=bench.records) as stimulator:
            await rise_async(stimulator)
            asked_us = now_us()
            raise RuntimeError("in the middle of a rise")

    with pytest.raises(RuntimeError, match="middle of a rise"):
        await fail()
    assert_stopped(bench, asked_us)


async def test_stop_overtakes_a_call_that_waits_and_nothing_else_does(bench: Bench) -> None:
    async with aio.open(bench.url, records=bench.records) as stimulator:
        await stimulator.stop()
        await rise_async(stimulator)
        waiting = asyncio.create_task(stimulator.wait_until_finished())
        await asyncio.sleep(0.1)
        with pytest.raises(UsageError, match="only stop overtakes"):
            await stimulator.set_targets_ua((0, 0))
        asked_us = now_us()
        async with asyncio.timeout(5):
            await stimulator.stop("enough")
        assert stimulator.snapshot is not None
        assert stimulator.snapshot.state is HostState.READY
        assert (await waiting).end_state is HostState.READY
    await stimulator.stop()
    assert_stopped(bench, asked_us)


@pytest.mark.hazard(8)
async def test_a_loop_that_stands_still_ends_the_output_though_the_thread_waits(
    bench: Bench,
) -> None:
    async with aio.open(bench.url, records=bench.records) as stimulator:
        await rise_async(stimulator)
        waiting = asyncio.create_task(stimulator.wait_until_finished())
        await asyncio.sleep(0.1)
        asked_us = now_us()
        time.sleep(1.2)
        async with asyncio.timeout(5):
            result = await waiting
        assert result.delivered_ms < 3_000
    assert_silent_after(bench, asked_us, FROZEN_WITHIN_US)


async def test_a_device_that_is_not_there_is_told_as_without_a_loop(tmp_path: Path) -> None:
    with pytest.raises(EstimError, match="no such port"):
        async with aio.open(f"native:{tmp_path}/none", bench_ohm=500, records=tmp_path) as missing:
            await missing.identify()


async def test_on_the_virtual_clock_a_session_takes_no_time(bench: Bench) -> None:
    async with aio.open(bench.url, is_virtual=True, seed=3, records=bench.records) as stimulator:
        await stimulator.prepare(find(PROFILE), duration_s=60)
        await stimulator.arm()
        await stimulator.start()
        await stimulator.set_targets_ua((12_000, 0))
        assert (await stimulator.wait_until_finished()).plateau_ms >= 60_000


class LateSnapshots(SteppedEngine):
    """A stepped engine whose snapshots come 200 ms late, as through a pipe that is read late."""

    def __init__(self) -> None:
        super().__init__(0)
        self._late: list[Snapshot] = []

    def pump(self, timeout_s: float) -> list[Reply]:
        replies = super().pump(timeout_s)
        self._late += [reply for reply in replies if isinstance(reply, Snapshot)]
        due_us = self.clock.now_us() - 200_000
        ripe = [shown for shown in self._late if shown.at_us <= due_us]
        self._late = [shown for shown in self._late if shown.at_us > due_us]
        return [*(reply for reply in replies if not isinstance(reply, Snapshot)), *ripe]


def test_waiting_for_the_end_never_takes_a_snapshot_from_before_the_start(tmp_path: Path) -> None:
    """The newest snapshot may still say READY when start and targets were done: that is no end."""
    with api.Stimulator(LateSnapshots(), "sim:", 500, None) as stimulator:
        stimulator.record_to(tmp_path, 0)
        stimulator.prepare(find("dpn-conventional"), duration_s=2)
        stimulator.wait_for(lambda shown: shown.state is HostState.READY)
        stimulator.arm()
        stimulator.start()
        stimulator.set_targets_ua((2_000, 0))
        assert stimulator.snapshot is not None
        assert stimulator.snapshot.state is HostState.READY  # and it is RUNNING
        result = stimulator.wait_until_finished()
    assert result.fault == ""
    assert result.plateau_ms >= 2_000
    assert result.pulse_counts[0] >= 160  # two seconds at 80 Hz
