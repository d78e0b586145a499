"""Hosts that talk to simulator and C core at once, for tests of single sentences."""

from __future__ import annotations

from estim.simulator.device import DeviceSettings
from firmware_protocol.messages import (
    Event,
    Message,
    ProgramAccepted,
    RefusalReason,
    Refused,
)
from firmware_protocol.program import PulseProgram
from tests.firmware.core import Lockstep, Twins
from tests.simulator.host import Host

MAINS = DeviceSettings(battery_percent=255)


def host_of(lockstep: Lockstep, own: DeviceSettings = MAINS) -> tuple[Host, Twins]:
    twins = Twins(lockstep, own)
    host = Host(own, wire=twins, device=twins.python)
    host.trace = twins.trace
    return host, twins


def loader(lockstep: Lockstep) -> Host:
    host, _ = host_of(lockstep)
    host.hello()
    return host


def load_result(host: Host, program: PulseProgram) -> RefusalReason | None:
    """Return why a programme is refused, or None where it is taken."""
    (answer,) = host.load(program)
    if isinstance(answer, Refused):
        return answer.reason
    assert isinstance(answer, ProgramAccepted)
    return None


def kinds(messages: list[Message]) -> list[str]:
    """Return what came, events by their code."""
    return [m.code.name if isinstance(m, Event) else type(m).__name__ for m in messages]
