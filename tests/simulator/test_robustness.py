"""Whatever comes in, in whatever order: no exception, no current that nobody asked for."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.simulator.device import DeviceSettings, VirtualDevice
from estim.simulator.faults import BOTH, Fault, Verb
from estim.simulator.line import FaultyLine
from estim.simulator.load import NAMED_LOADS
from firmware_protocol.connection import Connection, Role
from firmware_protocol.fields import wire_fields
from firmware_protocol.messages import (
    MESSAGES,
    TO_DEVICE,
    DeviceState,
    Message,
    WantedState,
)
from tests.simulator.host import EPOCH, MS, Host, PulseList, S, one_channel


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_garbage_never_raises_and_never_delivers(chunks: list[bytes]) -> None:
    host = Host()
    for chunk in chunks:
        host.write(chunk)
        host.pass_time(10 * MS)
    assert host.state() is DeviceState.SAFE
    assert host.trace.pulses == []


def frames_of_a_session() -> list[bytes]:
    """Return every frame of a short session up to RUNNING."""
    recorder = Host()
    written: list[bytes] = []
    original = recorder.write

    def write(raw: bytes) -> list[Message]:
        written.append(raw)
        return original(raw)

    recorder.write = write  # type: ignore[method-assign]
    recorder.start(one_channel())
    recorder.drive(WantedState.RUNNING, 1_000)
    return written


@pytest.mark.hazard(10)
def test_every_truncation_and_every_flipped_byte_of_a_session_is_survived() -> None:
    """A frame cut or changed anywhere is as if it had not come: nothing goes further."""
    frames = frames_of_a_session()
    assert len(frames) == 7
    for index, frame in enumerate(frames):
        for cut in range(len(frame) - 1):
            device = VirtualDevice(DeviceSettings(), PulseList())
            for before in frames[:index]:
                device.receive(before, 0)
            state = device.state
            device.receive(frame[:cut] + b"\0", 0)
            device.receive(frame[:cut] + bytes([frame[cut] ^ 0x41]) + frame[cut + 1 :], 0)
            assert device.state is state
            device.advance(1 * S)
            device.take_output(1 * S)


@st.composite
def any_message(draw: st.DrawFn) -> Message:
    """Draw any message that a host can send, with any values that its fields can hold."""
    kinds = [kind for kind in MESSAGES.values() if kind.direction == TO_DEVICE]
    return draw_declared(draw, draw(st.sampled_from(kinds)))


def draw_declared(draw: st.DrawFn, declared: type) -> Message:
    fields: dict[str, object] = {}
    for name, wire in wire_fields(declared):
        if wire.row is not None:
            count = draw(st.integers(0, min(wire.row_maximum, 4)))
            fields[name] = tuple(draw_declared(draw, wire.row) for _ in range(count))
        elif wire.enum is not None:
            fields[name] = draw(st.sampled_from(list(wire.enum)))
        else:
            bounds = st.integers(wire.scalar.minimum, wire.scalar.maximum)
            fields[name] = draw(st.integers(0, 3) | bounds)
    made: Message = declared(**fields)
    return made


@given(st.lists(any_message(), max_size=30), st.booleans())
def test_any_messages_in_any_order_never_raise(messages: list[Message], is_running: bool) -> None:
    host = Host()
    if is_running:
        host.start(one_channel())
        host.drive(WantedState.RUNNING, 1_000)
    else:
        host.hello()
    for message in messages:
        host.send(message)
        host.pass_time(20 * MS)
    host.pass_time(1 * S)
    assert host.state() is not DeviceState.RUNNING


def random_session(seed: int) -> tuple[list[tuple[int, int, object]], bytes]:
    """Drive a device at random through a line that fails at random; return trace and output."""
    random = Random(seed)
    trace = PulseList()
    device = VirtualDevice(DeviceSettings(load=NAMED_LOADS["dry"]), trace)
    verbs = [Verb.DROP, Verb.CORRUPT, Verb.DUPLICATE, Verb.LEAD_OFF, Verb.LEAD_ON, Verb.GAIN]
    script = sorted(
        (
            Fault(random.choice(verbs), random.randrange(8 * S), random.randrange(1, 2_000), 1)
            for _ in range(30)
        ),
        key=lambda fault: fault.at_us or 0,
    )
    script = [
        dataclasses.replace(fault, amount=fault.amount % 4 + 1, directions=BOTH)
        if fault.verb in (Verb.DROP, Verb.CORRUPT, Verb.DUPLICATE)
        else fault
        for fault in script
    ]
    host = Host(wire=FaultyLine(device, script, seed), device=device)
    host.trace = trace
    host.prepare(one_channel())
    output = b""
    while host.now_us < 10 * S:
        host.drive(random.choice(list(WantedState)) if random.random() < 0.1 else WantedState.ARMED)
        for _ in range(random.randrange(40)):
            host.drive(WantedState.RUNNING, random.choice([0, 1_000, 5_000, 30_000]))
            host.now_us += random.randrange(120 * MS)
            output += host.wire.take_output(host.now_us)
    return list(trace.pulses), output


def test_the_same_seed_gives_the_same_trace_and_the_same_bytes() -> None:
    traces = []
    for seed in range(6):
        first, second = random_session(seed), random_session(seed)
        assert first == second
        traces.append(first[0])
    assert any(traces)


def test_unread_output_stays_bounded() -> None:
    host = Host()
    host.hello()
    for _ in range(2_000):
        host.device.receive(Connection(Role.HOST, EPOCH).send(MESSAGES[0x09]()), host.now_us)
    assert len(host.device.take_output(host.now_us)) < 257 * 252
