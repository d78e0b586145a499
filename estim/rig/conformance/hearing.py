"""What is said of a device's messages, and what tells one from another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from estim.rig.conformance.line import Heard
from firmware_protocol import limits
from firmware_protocol.messages import (
    DeviceState,
    Event,
    EventCode,
    Identity,
    Message,
    Refused,
    Status,
)

TICK_MODULUS = 1 << 32
RUNNING_GAP_MS = 150
GAP_MS = 400
"""A Status goes out every 50 ms at the least while RUNNING, and every 250 ms otherwise."""


class Outcome(NamedTuple):
    """What a Drive led to."""

    sequence: int
    status: Status
    refused: Refused | None


def elapsed_ms(later_ms: int, earlier_ms: int) -> int:
    """Return the signed difference of two device ticks."""
    return (later_ms - earlier_ms + TICK_MODULUS // 2) % TICK_MODULUS - TICK_MODULUS // 2


def longest_gap_ms(heard: Sequence[Heard]) -> int:
    """Return the longest time between two Status of one epoch that is too long, 0 for none."""
    told = [(h.epoch, h.message) for h in heard if isinstance(h.message, Status)]
    longest_ms = 0
    for (before, former), (epoch, status) in pairwise(told):
        is_running = former.state is status.state is DeviceState.RUNNING
        gap_ms = elapsed_ms(status.tick_ms, former.tick_ms)
        if epoch == before and gap_ms > (RUNNING_GAP_MS if is_running else GAP_MS):
            longest_ms = max(longest_ms, gap_ms)
    return longest_ms


def words(message: Message | None) -> str:
    """Say a message in short."""
    if message is None:
        return "no answer"
    if isinstance(message, Refused):
        limit = limits.BY_WIRE_ID.get(message.limit)
        named = f", {limit.name}, asked {message.asked}, allowed {message.allowed}" if limit else ""
        return f"Refused({message.reason.name}{named})"
    if isinstance(message, Status):
        setpoints = ", ".join(str(channel.setpoint_ua) for channel in message.channels)
        fault = f"({message.fault.name})" if message.fault else ""
        return f"{message.state.name}{fault} with setpoints {setpoints} uA"
    if isinstance(message, Identity):
        return f"Identity({message.adoption.name})"
    return type(message).__name__


def answers(sequence: int) -> Callable[[Heard], bool]:
    """Return what tells an answer to a message by its sequence."""
    return lambda heard: getattr(heard.message, "in_reply_to", None) == sequence


def in_state(state: DeviceState) -> Callable[[Heard], bool]:
    """Return what tells a Status, or an event, of a state."""

    def fits(heard: Heard) -> bool:
        message = heard.message
        if isinstance(message, Event):
            return message.code is EventCode.STATE_CHANGED and message.detail == state
        return isinstance(message, Status) and message.state is state

    return fits


def is_at_rest(heard: Heard) -> bool:
    """Tell a Status without output."""
    message = heard.message
    return (
        isinstance(message, Status)
        and message.state in (DeviceState.SAFE, DeviceState.FAULT)
        and not any(channel.setpoint_ua for channel in message.channels)
    )
