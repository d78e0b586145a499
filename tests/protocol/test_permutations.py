"""Six Drives in every order, with every one of them twice: what a device acts on."""

from __future__ import annotations

from itertools import permutations

import pytest

from firmware_protocol.connection import Connection, Dropped, Received, Role
from firmware_protocol.messages import Drive, TargetRow, WantedState

EPOCH = 7
SENT = 6


def _sent() -> list[bytes]:
    """Return the frames of six Drives, each with a target of its own; sequences wrap amid them."""
    host = Connection(Role.HOST, EPOCH)
    host._next_sequence = 65_533
    return [
        host.send(Drive(WantedState.RUNNING, 0, 0, 0, (TargetRow(1000 * number),)))
        for number in range(SENT)
    ]


@pytest.mark.hazard(12)
def test_in_whatever_order_frames_come_each_acts_once_and_none_after_a_newer_one() -> None:
    """What comes out is what is newer than everything before it: the maxima from left to right."""
    frames = _sent()
    for order in permutations(range(SENT)):
        device = Connection(Role.DEVICE)
        device.adopt(EPOCH)
        device.receive_bytes(b"".join(frames[number] * 2 for number in order))
        acted = []
        while (event := device.next_event()) is not None:
            if isinstance(event, Received):
                assert isinstance(event.message, Drive)
                acted.append(event.message.targets[0].target_ua // 1000)
            else:
                assert isinstance(event, Dropped)
        assert acted == [
            number for place, number in enumerate(order) if number == max(order[: place + 1])
        ]
