"""Every rule of a programme's form, broken one at a time: both refuse, or both take it.

Each field of some well-formed programmes is set to 0, to its neighbours and to its bounds, and the
commit names the right digest, so that form, capability and limits decide.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from estim.simulator.device import DeviceSettings
from firmware_protocol import codec
from firmware_protocol.connection import Received
from firmware_protocol.fields import wire_fields
from firmware_protocol.messages import (
    AcknowledgeFault,
    BeginProgram,
    CommitProgram,
    DeviceState,
    FaultCode,
    Message,
    ProgramAccepted,
    ProgramFlag,
    ProgramKeyframes,
    ProgramPhases,
    RefusalReason,
    Refused,
    SelfTest,
    Stop,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.firmware.core import Lockstep, Twins
from tests.simulator.host import Host, one_channel, session_limits

SHARP = (Phase(2, 1000), Phase(2, -1000))
PARTED = (Phase(2, 1000), Phase(50, 0), Phase(4, -500))
FRAMES = (
    Keyframe(0, 1000, 100, 10_000),
    Keyframe(300, 800, 120, 12_000),
    Keyframe(900, 0, 90, 9000),
)
CYCLE = Cycle(100, 300, 50, 1_000)
TWINS = ChannelProgram(SHARP, 100, 10_000, 0, 5, 60_000, None, FRAMES[:1], 900)
PROGRAMMES = {
    "plain": PulseProgram((ChannelProgram(SHARP, 100, 10_000),)),
    "everything": PulseProgram(
        (ChannelProgram(PARTED, 100, 10_000, 700, 5, 70_000, CYCLE, FRAMES, 1200),)
    ),
    "sharing their timing": PulseProgram(
        (TWINS, dataclasses.replace(TWINS, pulse_offset_us=400))
    ),
    "the later first": PulseProgram((dataclasses.replace(TWINS, pulse_offset_us=9_600), TWINS)),
    "never on together": PulseProgram(
        tuple(
            ChannelProgram(SHARP, 100, 10_000, cycle=dataclasses.replace(CYCLE, offset_ms=offset))
            for offset in (0, 450, 900)
        )
    ),
    "never on together, sooner": PulseProgram(
        tuple(
            ChannelProgram(SHARP, 100, 10_000, cycle=dataclasses.replace(CYCLE, offset_ms=offset))
            for offset in (1_451, 1_901)
        )
    ),
    "sharing their cycle": PulseProgram(
        tuple(
            ChannelProgram(SHARP, 100, 10_000, offset, cycle=CYCLE, keyframes=FRAMES[:2],
                           keyframe_cycle_ms=600)
            for offset in (0, 5_000)
        )
    ),
}  # fmt: skip


def neighbours(declared: object) -> Iterator[dict[str, Any]]:
    """Give changes of one field each: 0, one to each side, its bounds."""
    for name, wire in wire_fields(type(declared)):
        if wire.row is not None or wire.enum is not None:
            continue
        present = getattr(declared, name)
        lowest, highest = wire.scalar.minimum, wire.scalar.maximum
        for value in sorted({0, present - 1, present + 1, -present, lowest, highest}):
            if lowest <= value <= highest and value != present:
                yield {name: value}


def changes(loading: tuple[Message, ...]) -> Iterator[tuple[Message, ...]]:
    """Give the loading messages with one field changed, or one row too many or missing."""
    for at, message in enumerate(loading):
        before, after = loading[:at], loading[at + 1 :]
        for changed in neighbours(message):
            yield (*before, dataclasses.replace(message, **changed), *after)
        field = {ProgramPhases: "phases", ProgramKeyframes: "keyframes"}.get(type(message))
        rows = () if field is None else getattr(message, field)
        for index, row in enumerate(rows):
            first, rest = rows[:index], rows[index + 1 :]
            for changed in neighbours(row):
                others = (*first, dataclasses.replace(row, **changed), *rest)
                yield (*before, dataclasses.replace(message, **{field: others}), *after)  # type: ignore[arg-type]
            yield (*before, dataclasses.replace(message, **{field: (*first, *rest)}), *after)  # type: ignore[arg-type]
        if field is not None and rows:
            yield (*before, dataclasses.replace(message, **{field: ()}), *after)
        yield (*before, *after)
        yield (*before, message, message, *after)


def host_of(lockstep: Lockstep, phase_max_us: int = 1000) -> Host:
    own = DeviceSettings(channel_count=4, phase_max_us=phase_max_us)
    twins = Twins(lockstep, own)
    host = Host(own, wire=twins, device=twins.python)
    host.hello()
    return host


@pytest.mark.parametrize("name", PROGRAMMES)
def test_every_field_of_a_programme_at_its_edges_has_the_same_verdict(
    lockstep: Lockstep, name: str
) -> None:
    host = host_of(lockstep)
    taken, reasons = 0, set()
    for loading in [PROGRAMMES[name].messages(), *changes(PROGRAMMES[name].messages())]:
        for message in loading:
            host.send(message)
        digest = zlib.crc32(b"".join(codec.encode_payload(message) for message in loading))
        (answer,) = host.send(CommitProgram(digest))
        if isinstance(answer, Refused):
            reasons.add(answer.reason)
        else:
            taken += 1
    assert taken > 5
    assert RefusalReason.PROGRAM in reasons


def test_channels_with_another_number_of_keyframes_do_not_share_their_timing(
    lockstep: Lockstep,
) -> None:
    host = host_of(lockstep)
    longer = dataclasses.replace(
        TWINS, pulse_offset_us=400, keyframes=(*FRAMES[:1], Keyframe(300, 1000, 100, 10_000))
    )
    (answer,) = host.load(PulseProgram((TWINS, longer)))
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.PROGRAM
    (answer,) = host.load(PulseProgram((TWINS, longer), allow_overlap=True))
    assert isinstance(answer, ProgramAccepted)


def test_a_long_phase_in_a_later_keyframe_alone_is_named(lockstep: Lockstep) -> None:
    """Of each setting in turn: 1000 us are allowed, 1002 are not, whatever the device could."""
    host = host_of(lockstep, phase_max_us=2_000)
    for units_us, is_taken in (((500, 500), True), ((500, 501), False), ((501, 500), False)):
        frames = tuple(Keyframe(n, 1000, unit, 10_000) for n, unit in enumerate(units_us))
        channel = ChannelProgram(SHARP, 100, 10_000, keyframes=frames, keyframe_cycle_ms=2)
        (answer,) = host.load(PulseProgram((channel,)))
        assert isinstance(answer, ProgramAccepted) is is_taken
        if isinstance(answer, Refused):
            assert (answer.limit, answer.asked) == (3, 1002)


def test_a_part_without_a_beginning_leaves_what_is_loaded(lockstep: Lockstep) -> None:
    """Stray phases and keyframes, then a commit: refused, and the old programme still plays."""
    host = host_of(lockstep)
    host.prepare(PROGRAMMES["everything"])
    _, phases, frames = PROGRAMMES["everything"].messages()
    for stray in (phases, frames):
        host.send(stray)
        (answer,) = host.send(CommitProgram(PROGRAMMES["everything"].digest))
        assert isinstance(answer, Refused)
        assert answer.reason is RefusalReason.PROGRAM
    host.arm()


def test_what_comes_after_a_broken_part_mends_nothing(lockstep: Lockstep) -> None:
    host = host_of(lockstep)
    begin, phases, frames = PROGRAMMES["everything"].messages()
    assert isinstance(phases, ProgramPhases)
    for loading in (
        (begin, frames, phases, frames),
        (begin, dataclasses.replace(phases, channel=1), phases, frames),
        (BeginProgram(0, ProgramFlag.NONE), phases, frames),
        (BeginProgram(5, ProgramFlag.NONE), phases, frames),
        (begin, phases, frames, dataclasses.replace(phases, channel=1)),
    ):
        for message in loading:
            host.send(message)
        (answer,) = host.send(CommitProgram(PROGRAMMES["everything"].digest))
        assert isinstance(answer, Refused)
        assert answer.reason is RefusalReason.PROGRAM


# Memory that no longer is what was accepted: the core's own, so the simulator has no say.


@pytest.mark.hazard(28)
@pytest.mark.parametrize("where", ["limits", "program", "grid", "pulses", "restarts"])
@pytest.mark.parametrize("how", ["arm", "self-test"])
def test_one_flipped_bit_of_limits_or_programme_is_found_before_output(
    lockstep: Lockstep, where: str, how: str
) -> None:
    own = DeviceSettings(channel_count=1)
    lockstep.boot(own)
    host = Host(own)  # only its connection and its wishes are used

    def write(raw: bytes) -> list[Message]:
        host.connection.receive_bytes(lockstep.command(f"bytes 0 {raw.hex()}").frames)
        fresh = [
            e.message for e in iter(host.connection.next_event, None) if isinstance(e, Received)
        ]
        host.seen += fresh
        return fresh

    host.write = write  # type: ignore[method-assign]
    host.prepare(one_channel(), session_limits(1))
    lockstep.command(f"spoil {where}")
    if how == "arm":
        host.drive(WantedState.ARMED)
    else:
        host.send(SelfTest())
        host.send(Stop())
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.SELF_TEST)
    # The cause is still there; a new epoch brings limits and programme afresh.
    (answer, *_) = host.send(AcknowledgeFault(host.status.latch_count, 0))
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.CAUSE_PRESENT
    host.hello()
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    assert host.status.state is DeviceState.SAFE
