"""The P24's driver beside a raw pyserial exchange and beside the published client.

All three speak to the same simulated device, which answers after 1 ms, over a pseudo-terminal. The
driver's stop is asked for while an update is on its way, so is the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import serial
from science_mode_4 import (
    ChannelPoint,
    DeviceP24,
    MidLevelChannelConfiguration,
    SerialPortConnection,
)
from science_mode_4.mid_level.mid_level_update import PacketMidLevelUpdate
from science_mode_4.protocol.protocol import Protocol
from science_mode_4.utils.logger import logger

from estim.clock import SystemClock
from estim.dialects import p24
from estim.dialects.p24 import ChannelUpdate, Command, Point
from estim.drivers.base import DriverEvent, Identified, RoundTrip, StatusSeen, Stimulator
from estim.drivers.registry import make_driver, open_transport
from estim.engine.lines import ThreadedPort
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.safety import kernel
from estim.safety.kernel import DriveRequest, Facts, RiseKind
from estim.safety.verdict import Approved, ApprovedLoad
from firmware_protocol.messages import DeviceState, InputFlag, Status, WantedState
from tests.benchmarks.bench_startup import EMPTY, children_cpu_s, measure_ms

CHECKOUT = Path(__file__).resolve().parents[2]
PROFILE = "tens-low-rate"
EXCHANGES = 300
CODEC_ROUNDS = 3000
STOPS = int(os.environ.get("ESTIM_BENCH_STOPS", "1000"))
CLIENT_STOPS = 8
CLIENT_STOP_S = 6.0
STOP_LIMIT_MS = 100
IMPORT_ROUNDS = 15
DEVICES = 16
TOGETHER_S = 10.0
DRIVE_S = 0.05
FREE = Facts(DeviceState.RUNNING, 0, 0, 0, True, False, frozenset(), InputFlag.NONE)


def run() -> Iterable[dict[str, Any]]:
    """Measure; figures to hold: round trip 1.3x raw, codec 20x the client, every stop in 100 ms."""
    logger().disabled = True
    yield from _codec()
    yield from _import()
    with simulated() as address:
        raw_us = _raw_us(address)
    with simulated() as address:
        ours_us = _driver_us(address)
    with simulated() as address:
        theirs_us = _client_us(address)
    yield {
        "name": "p24_update_round_trip", "value": round(statistics.median(ours_us)), "unit": "us",
        "reference": round(statistics.median(raw_us)),
        "ratio": round(statistics.median(ours_us) / statistics.median(raw_us), 3),
        "client": round(statistics.median(theirs_us)),
    }  # fmt: skip
    with simulated() as address:
        stops_ms = _driver_stops_ms(address)
    yield {
        "name": "p24_stop_confirmed", "unit": "stops within 100 ms",
        "value": sum(each <= STOP_LIMIT_MS for each in stops_ms), "reference": len(stops_ms),
        "worst_ms": round(max(stops_ms), 1),
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(simulated()) for _ in range(DEVICES)]
        hosts = [stack.enter_context(hosted(address)) for address in addresses]
        yield {
            "name": "p24_sixteen_at_once", "unit": "cores of the one process that drives them",
            "value": round(_cores(hosts), 3), "reference": 1,
        }  # fmt: skip
    with simulated() as address:
        lost = _client_stops_lost(address)
    yield {
        "name": "p24_stop_lost_by_the_client", "unit": "stops not confirmed within 5 s",
        "value": lost, "reference": CLIENT_STOPS,
    }  # fmt: skip


@contextlib.contextmanager
def simulated() -> Iterator[str]:
    """Give the path of a simulated P24."""
    with subprocess.Popen(
        [sys.executable, "-m", "estim.simulator", "--model", "p24"],
        cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as device:  # fmt: skip
        assert device.stdout is not None
        try:
            yield device.stdout.readline().strip()
        finally:
            device.terminate()


def _codec() -> Iterator[dict[str, Any]]:
    """Encode and decode updates whose amplitude changes every time."""
    decoder = p24.Decoder()
    began = time.perf_counter()
    for number in range(CODEC_ROUNDS):
        current_ua = 500 * (number % 40)
        points = (Point(200, current_ua), Point(100, 0), Point(200, -current_ua))
        payload = p24.pack_update((ChannelUpdate(points, 20_000),))
        decoder.feed(p24.encode(Command.ML_UPDATE, number, payload))
    ours_s = time.perf_counter() - began
    began = time.perf_counter()
    for number in range(CODEC_ROUNDS):
        packet = PacketMidLevelUpdate()
        packet.number = number % 64
        packet.channel_configuration = [_client_channel(0.5 * (number % 40))]
        written = Protocol.packet_to_bytes(packet)
        place = Protocol.find_packet_in_buffer(written)
        assert place is not None
        Protocol.extract_packet_data(written[place[0] : place[1] + 1])
    theirs_s = time.perf_counter() - began
    yield {
        "name": "p24_codec", "value": round(CODEC_ROUNDS / ours_s), "unit": "updates/s",
        "reference": round(CODEC_ROUNDS / theirs_s), "ratio": round(theirs_s / ours_s, 1),
    }  # fmt: skip


def _client_channel(current_ma: float) -> Any:
    points = [ChannelPoint(200, current_ma), ChannelPoint(100, 0), ChannelPoint(200, -current_ma)]
    return MidLevelChannelConfiguration(True, 0, 20, points)


def _import() -> Iterator[dict[str, Any]]:
    command = ("-c", "import estim.drivers.p24")
    used_ms = measure_ms([EMPTY, command], IMPORT_ROUNDS, children_cpu_s)
    over_ms = [ours - empty for ours, empty in zip(used_ms[command], used_ms[EMPTY], strict=True)]
    yield {
        "name": "p24_import_over_python", "value": round(statistics.median(over_ms), 2),
        "unit": "ms of a core", "reference": round(statistics.median(used_ms[EMPTY]), 2),
        "least": round(min(over_ms), 2), "limit": 40,
    }  # fmt: skip


def _raw_us(address: str) -> list[int]:
    """Write the frame of an update with pyserial, and read until its answer is whole."""
    took_us = []
    with serial.Serial(address, p24.BAUD, timeout=1.0) as port:
        port.write(p24.encode(Command.ML_INIT, 0, b"\x01"))
        _read_answer(port)
        for number in range(EXCHANGES):
            current_ua = 500 * (number % 2)
            points = (Point(200, current_ua), Point(200, -current_ua))
            frame = p24.encode(
                Command.ML_UPDATE, number, p24.pack_update((ChannelUpdate(points, 20_000),))
            )
            began_ns = time.monotonic_ns()
            port.write(frame)
            _read_answer(port)
            took_us.append((time.monotonic_ns() - began_ns) // 1000)
    return took_us


def _read_answer(port: serial.Serial) -> None:
    decoder = p24.Decoder()
    while not decoder.feed(port.read(1) + port.read(port.in_waiting)):
        pass


class Host:
    """The driver on its real port, with this thread for an engine."""

    def __init__(self, url: str) -> None:
        self._clock = SystemClock()
        self._received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.events: list[DriverEvent] = []
        self.driver: Stimulator = make_driver(url, 1 + int.from_bytes(os.urandom(6), "big"))
        self._port = ThreadedPort(open_transport(url), self, self._clock)
        self._status: Status | None = None
        self.prepared = prepare(find(PROFILE).profile, p24_capabilities(), is_bench=True)

    def received(self, received: bytes) -> None:
        """Take bytes from the port's reader."""
        self._received.put(received)

    def drive_written(self, at_us: int) -> None:
        """Nothing waits for it here."""

    def port_gone(self, explanation: str) -> None:
        raise RuntimeError(explanation)

    def until(self, is_reached: Callable[[], bool], limit_s: float = 5.0) -> None:
        """Turn until something has happened."""
        end = time.monotonic() + limit_s
        while not is_reached():
            if time.monotonic() > end:
                raise RuntimeError("the device does not follow")
            self.flush()
            due_us = self.driver.next_deadline_us()
            wait_s = 0.01 if due_us is None else max(0.0, (due_us - self._clock.now_us()) / 1e6)
            with contextlib.suppress(queue.Empty):
                self.driver.receive(
                    self._received.get(timeout=min(wait_s, 0.01)), self._clock.now_us()
                )
            self._take(self.driver.poll(self._clock.now_us()))

    def flush(self) -> None:
        if self.driver.has_output:
            self._port.send(self.driver.take_output())

    def _take(self, events: list[DriverEvent]) -> None:
        self.events += events
        for event in events:
            if isinstance(event, StatusSeen):
                self._status = event.status

    @property
    def state(self) -> DeviceState | None:
        """Return what the newest report says."""
        return self._status.state if self._status is not None else None

    def connect(self) -> None:
        self.driver.connect(self._clock.now_us())
        self.until(lambda: any(isinstance(event, Identified) for event in self.events))

    def load(self) -> None:
        made = self.prepared
        verdict = kernel.review_load(
            made.program, made.bounds, p24_capabilities(), self._clock.now_us()
        )
        assert isinstance(verdict, ApprovedLoad)
        self.driver.load(verdict, self._clock.now_us())

    def drive(self, wanted: WantedState, target_ua: int = 0) -> None:
        """Have the kernel approve a Drive and hand it over, without turning."""
        now_us = self._clock.now_us()
        request = DriveRequest(wanted, (target_ua,), (target_ua,), RiseKind.NONE)
        verdict = kernel.review(request, self.prepared.program, FREE, self.prepared.bounds, now_us)
        assert isinstance(verdict, Approved), verdict
        self.driver.drive(verdict, now_us)
        self.flush()

    def answered(self, limit_s: float = 5.0) -> None:
        """Turn until the newest Drive has been answered."""
        count = self._round_trips
        self.until(lambda: self._round_trips > count, limit_s)

    @property
    def _round_trips(self) -> int:
        return sum(isinstance(event, RoundTrip) for event in self.events)

    def to_running(self) -> None:
        """Arm and start at zero."""
        for wanted, state in (
            (WantedState.ARMED, DeviceState.ARMED), (WantedState.RUNNING, DeviceState.RUNNING),
        ):  # fmt: skip
            while self.state is not state:
                self.drive(wanted)  # an answer that comes too late counts for nothing: ask anew
                with contextlib.suppress(RuntimeError):
                    self.answered(0.2)

    def stop_ms(self) -> float:
        """Stop; return the time until the device has confirmed zero."""
        began_ns = time.monotonic_ns()
        self.driver.stop(self._clock.now_us())
        self.flush()
        self.until(lambda: self.state is DeviceState.SAFE)
        return (time.monotonic_ns() - began_ns) / 1e6

    def close(self) -> None:
        self._port.close()
        self._port.join(1.0)


def p24_capabilities() -> Any:
    from estim.drivers.p24 import CAPABILITIES

    return CAPABILITIES


@contextlib.contextmanager
def hosted(address: str) -> Iterator[Host]:
    """Give a host that is connected, with a programme."""
    host = Host(f"p24:{address}")
    try:
        host.connect()
        host.load()
        yield host
    finally:
        host.close()


def _driver_us(address: str) -> list[int]:
    """Change the target with every Drive, so that each is an update; count from Drive to Status."""
    took_us: list[int] = []
    with hosted(address) as host:
        host.to_running()
        began = time.monotonic()
        while time.monotonic() - began < 2.0:  # rise above the first steps
            host.drive(WantedState.RUNNING, 2000)
            host.answered()
            time.sleep(0.02)
        for number in range(EXCHANGES):
            host.events.clear()
            began_ns = time.monotonic_ns()
            host.drive(WantedState.RUNNING, 500 if number % 2 else 1000)
            host.answered()
            took_us.append((time.monotonic_ns() - began_ns) // 1000)
        host.stop_ms()
    return took_us


def _driver_stops_ms(address: str) -> list[float]:
    """Stop while a request is on its way, from RUNNING, again and again."""
    stops_ms = []
    with hosted(address) as host:
        for _ in range(STOPS):
            host.events.clear()
            host.to_running()
            host.drive(WantedState.RUNNING, 1000)
            stops_ms.append(host.stop_ms())
    return stops_ms


def _cores(hosts: list[Host]) -> float:
    """Drive all of them at once, 20 times a second each; return the share of a core it took."""
    for host in hosts:
        host.to_running()
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    while (elapsed_s := time.monotonic() - began_s) < TOGETHER_S:
        for host in hosts:
            host.drive(WantedState.RUNNING, 2000)
        for host in hosts:
            host.answered(1.0)
        time.sleep(max(0.0, DRIVE_S - (time.monotonic() - began_s - elapsed_s)))
    cores = (time.process_time() - began_cpu_s) / (time.monotonic() - began_s)
    for host in hosts:
        assert host.state is DeviceState.RUNNING, "a stimulator was lost on the way"
        host.stop_ms()
    return cores


# The published client.


def _client_us(address: str) -> list[int]:
    took_us: list[int] = []

    async def exchange() -> None:
        with _client(address) as device:
            mid_level = device.get_layer_mid_level()
            await mid_level.init(True)
            for number in range(EXCHANGES // 3):
                began_ns = time.monotonic_ns()
                await mid_level.update([_client_channel(0.5 * (number % 2))])
                took_us.append((time.monotonic_ns() - began_ns) // 1000)
            await mid_level.stop()

    asyncio.run(exchange())
    return took_us


def _client_stops_lost(address: str) -> int:
    """Stop while another task of the client waits for an answer; count what is not confirmed."""
    lost = 0

    async def stop_once(device: Any) -> bool:
        mid_level = device.get_layer_mid_level()
        await mid_level.init(True)
        update = asyncio.create_task(mid_level.update([_client_channel(1.0)]))
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(CLIENT_STOP_S):
                await mid_level.stop()
            is_confirmed = True
        except Exception:  # its time-out, ours, or an answer that was another's
            is_confirmed = False
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLIENT_STOP_S):
                await update
        return is_confirmed

    for _ in range(CLIENT_STOPS):
        with _client(address) as device:
            lost += not asyncio.run(stop_once(device))
    return lost


@contextlib.contextmanager
def _client(address: str) -> Iterator[DeviceP24]:
    connection = SerialPortConnection(address)
    connection.open()
    try:
        yield DeviceP24(connection)
    finally:
        connection.close()
