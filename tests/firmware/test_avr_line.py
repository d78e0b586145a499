"""The AVR image takes what hosts send without a pause: programmes, requests, noise."""

from __future__ import annotations

import random
from typing import TypeVar

import pytest

from estim.drivers.base import DriverEvent, Identified, Loaded
from estim.drivers.native import EXCHANGE_US, NativeStimulator
from estim.safety.bounds import Bounds, ChannelBounds, intersect
from estim.safety.kernel import review_load
from estim.safety.verdict import ApprovedLoad
from firmware_protocol.messages import Capabilities, GetCapabilities, PolicyFlag
from firmware_protocol.program import ChannelProgram, Keyframe, Phase, PulseProgram
from tests.firmware.avr_machine import BOOT_MS, CYCLES_PER_US, EPOCH, AvrHost, Machine
from tests.firmware.test_avr_device import HEAVIEST

pytestmark = pytest.mark.emulated

TURN_US = 500
UNANSWERED = 4  # PROTOCOL.md, chapter 8
REQUESTS = 40

_E = TypeVar("_E", bound=DriverEvent)


class Driven:
    """The host's own driver at the line: all that it has to say goes out at once."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.driver = NativeStimulator(EPOCH, "avr")
        machine.run_until(BOOT_MS * 1000 * CYCLES_PER_US)

    def await_event(self, kind: type[_E], within_us: int) -> _E:
        end = self.machine.cycle + within_us * CYCLES_PER_US
        while self.machine.cycle < end:
            output = self.driver.take_output()
            if raw := b"".join([*output.urgent, *output.ordered]):
                self.machine.receive(raw)
            came = self.machine.run_until(self.machine.cycle + TURN_US * CYCLES_PER_US)
            self.driver.receive(bytes(byte for _, byte in came), self.now_us)
            for event in self.driver.poll(self.now_us):
                if isinstance(event, kind):
                    return event
        raise AssertionError(f"no {kind.__name__} in {within_us} us")

    @property
    def now_us(self) -> int:
        return self.machine.cycle // CYCLES_PER_US


def with_keyframes(count: int) -> PulseProgram:
    frames = tuple(Keyframe(at * 250, 1000 - 50 * at, 200, 10_000) for at in range(count))
    return PulseProgram(
        (
            ChannelProgram(
                (Phase(1, 1000), Phase(1, -1000)), unit_us=200, pulse_period_us=10_000,
                keyframe_cycle_ms=2000 if count else 0, keyframes=frames,
            ),
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    "program", [*(with_keyframes(count) for count in range(9)), HEAVIEST],
    ids=[*map(str, range(9)), "heaviest"],
)  # fmt: skip
def test_a_programme_sent_at_once_is_loaded_at_the_first_attempt(
    machine: Machine, program: PulseProgram
) -> None:
    """By the driver as it is: from BeginProgram to CommitProgram without a pause."""
    driven = Driven(machine)
    driven.driver.connect(driven.now_us)
    told = driven.await_event(Identified, EXCHANGE_US).capabilities
    within = intersect(
        Bounds((ChannelBounds((), 2500),), (), PolicyFlag.NONE, True, told.amplitude_step_ua), told
    )
    approved = review_load(program, within, told, driven.now_us)
    assert isinstance(approved, ApprovedLoad)
    driven.driver.load(approved, driven.now_us)
    # A second attempt at either of its two exchanges would begin only then.
    assert driven.await_event(Loaded, EXCHANGE_US).program_digest == program.digest


def answered(host: AvrHost) -> list[int]:
    return [answer.in_reply_to for answer in host.of(Capabilities)]


def test_requests_are_all_answered_while_four_are_unanswered(machine: Machine) -> None:
    host = AvrHost(machine)
    host.greet()
    sent: list[int] = []
    while len(answered(host)) < REQUESTS:
        while len(sent) < REQUESTS and len(sent) - len(answered(host)) < UNANSWERED:
            host.send(GetCapabilities())
            sent.append(host.connection.last_sequence)
        host.pass_us(100)
        assert machine.cycle < 200_000 * CYCLES_PER_US, answered(host)
    assert answered(host) == sent
    assert host.ask(GetCapabilities(), Capabilities).in_reply_to == sent[-1] + 1


def test_ten_requests_at_once_are_answered(machine: Machine) -> None:
    host = AvrHost(machine)
    host.greet()
    host.pass_us(5000)
    machine.receive(b"".join(host.connection.send(GetCapabilities()) for _ in range(10)))
    host.pass_us(50_000)
    last = host.connection.last_sequence
    assert answered(host) == list(range(last - 9, last + 1))


def test_more_at_once_than_it_can_hold_stops_nothing_behind_it(machine: Machine) -> None:
    """Of a flood frames are lost whole, from its beginning to its end; what comes behind counts."""
    host = AvrHost(machine)
    host.greet()
    host.pass_us(5000)
    machine.receive(b"".join(host.connection.send(GetCapabilities()) for _ in range(REQUESTS)))
    host.pass_us(50_000)
    last = host.connection.last_sequence
    found = answered(host)
    assert found == sorted(set(found))
    assert len(found) >= 15
    assert found[-1] > last - UNANSWERED
    assert host.ask(GetCapabilities(), Capabilities).in_reply_to == last + 1


@pytest.mark.parametrize("size", [252, 300, 1000])
def test_a_frame_behind_noise_is_taken(machine: Machine, size: int) -> None:
    host = AvrHost(machine)
    host.greet()
    noise = bytes(random.Random(size).randrange(1, 256) for _ in range(size))
    for later_us in range(0, 1000, 125):
        host.pass_us(20_000 + later_us)
        machine.receive(noise + b"\0" + host.connection.send(GetCapabilities()))
        host.pass_us(50_000)
        assert answered(host)[-1:] == [host.connection.last_sequence]
    host.pass_us(300_000)
    assert host.status.damaged_count == 8
