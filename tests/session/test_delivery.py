"""What counts as rise, plateau and ramp down, report by report; one every 100 ms."""

from __future__ import annotations

from dataclasses import replace

from estim.session.delivery import Delivery
from firmware_protocol.messages import (
    ChannelFlag,
    ChannelStatus,
    Contact,
    CyclePhase,
    DeviceState,
    FaultCode,
    InputFlag,
    Status,
)

TARGETS_UA = [4000, 0]
IDLE = ChannelStatus(0, 0, 0, 0, 0, Contact.UNKNOWN, CyclePhase.IDLE, ChannelFlag.NONE)
AT_REST = Status(
    0, DeviceState.ARMED, FaultCode.NONE, 0, InputFlag.NONE, 255, 0, 0, 0, 0, 0, 0, 0, (IDLE, IDLE)
)  # fmt: skip


def running(setpoint_ua: int) -> Status:
    channels = (replace(IDLE, target_ua=4000, setpoint_ua=setpoint_ua), IDLE)
    return replace(AT_REST, state=DeviceState.RUNNING, channels=channels)


def fed(delivery: Delivery, *reports: Status, since_ms: int = 0) -> tuple[int, int, int]:
    """Return (rise, plateau, ramp down) in ms after reports that come every 100 ms."""
    for number, status in enumerate(reports):
        delivery.take(status, TARGETS_UA, (since_ms + 100 * number) * 1000)
    counted_us = delivery.rise_us, delivery.plateau_us, delivery.ramp_down_us
    return counted_us[0] // 1000, counted_us[1] // 1000, counted_us[2] // 1000


def test_the_rise_after_a_pause_is_no_plateau() -> None:
    delivery = Delivery(2)
    assert fed(delivery, running(2000), running(4000), running(4000)) == (100, 100, 0)
    rises = (running(1000), running(2000), running(3000), running(4000))
    assert fed(delivery, AT_REST, *rises, since_ms=300) == (400, 100, 0)
    assert fed(delivery, running(4000), since_ms=800) == (400, 200, 0)


def test_nothing_counts_at_rest_nor_from_the_last_report_before_it() -> None:
    delivery = Delivery(2)
    assert fed(delivery, running(4000), running(4000)) == (0, 100, 0)
    assert fed(delivery, AT_REST, AT_REST, running(4000), since_ms=200) == (0, 100, 0)


def test_a_lowered_target_leaves_the_plateau_as_it_is() -> None:
    delivery = Delivery(2)
    assert fed(delivery, running(4000), running(4000)) == (0, 100, 0)
    assert fed(delivery, running(3900), since_ms=200) == (0, 200, 0)


def test_a_ramp_down_counts_for_itself() -> None:
    delivery = Delivery(2)
    fed(delivery, running(4000), running(4000))
    delivery.is_ramping_down = True
    assert fed(delivery, running(3000), running(2000), since_ms=200) == (0, 100, 200)
