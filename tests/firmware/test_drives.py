"""How output rises, how long a lease or a latch lasts, at edges that no other test here meets.

Every figure by hand from PROTOCOL.md, chapters 4, 6 and 7; simulator and core are fed alike.
"""

from __future__ import annotations

import pytest

from estim.simulator.device import DeviceSettings
from firmware_protocol.messages import (
    AcknowledgeFault,
    ChannelFlag,
    Contact,
    DeviceState,
    FaultCode,
    RefusalReason,
    Refused,
    WantedState,
)
from firmware_protocol.program import Phase
from tests.firmware.core import Lockstep, Twins
from tests.simulator.host import MS, Host, S, one_channel, session_limits

FINE = DeviceSettings(channel_count=1, amplitude_step_ua=1)
PAIR = (Phase(200, 1000), Phase(200, -1000))


def running(lockstep: Lockstep, period_us: int = 10_000, **session: int) -> tuple[Host, Twins]:
    """Return a host in RUNNING at 0, and its devices."""
    twins = Twins(lockstep, FINE)
    host = Host(FINE, wire=twins, device=twins.python)
    host.prepare(one_channel(period_us), session_limits(1, **session))
    host.arm()
    host.drive(WantedState.RUNNING, 0)
    return host, twins


@pytest.mark.parametrize(
    ("slew_ua_per_s", "period_us", "setpoints_ua"),
    [
        # Quick pulses: 0.999999, 1.999998 and 2.999997 uA, and the fractions are kept.
        (9, 111_111, (0, 1, 2)),
        # Slow ones: 299.9997 uA.
        (999, 300_300, (299,)),
    ],
)
def test_a_setpoint_rises_by_whole_microamperes_that_are_due(
    lockstep: Lockstep, slew_ua_per_s: int, period_us: int, setpoints_ua: tuple[int, ...]
) -> None:
    """Read half of a period after each onset; the first brings no rise."""
    host, _ = running(lockstep, period_us, setpoint_slew_ua_per_s=slew_ua_per_s)
    host.keep(period_us // 2, 10_000)
    for setpoint_ua in (0, *setpoints_ua):
        assert host.status.channels[0].setpoint_ua == setpoint_ua
        host.keep(period_us, 10_000)


@pytest.mark.hazard(13)
def test_a_lease_of_a_former_epoch_is_over(lockstep: Lockstep) -> None:
    """Armed by an echo that is 300 ms old, it stays so for 20 ms, whatever was leased before."""
    twins = Twins(lockstep, FINE)
    host = Host(FINE, wire=twins, device=twins.python)
    host.prepare(one_channel(), session_limits(1))
    host.pass_time(1 * S)
    host.arm()
    host.prepare(one_channel(), session_limits(1))
    host.drive(WantedState.ARMED, echoed_tick_ms=host.tick_ms - 300)
    assert host.state() is DeviceState.ARMED
    host.pass_time(20 * MS)
    assert host.state() is DeviceState.SAFE


def test_contact_is_not_judged_one_count_below_2_ma(lockstep: Lockstep) -> None:
    host, _ = running(lockstep)
    host.keep(4 * S, 1_999)
    (row,) = host.status.channels
    assert (row.setpoint_ua, row.load_ohm, row.contact) == (1_999, 0, Contact.UNKNOWN)


def test_contact_is_judged_at_2_ma_and_lets_the_setpoint_pass(lockstep: Lockstep) -> None:
    """1 s to 2 mA, 1 s until contact is good, 1.5 s to 5 mA."""
    host, _ = running(lockstep)
    host.keep(1_900 * MS, 5_000)
    assert host.status.channels[0].setpoint_ua == 2_000
    host.keep(2 * S, 5_000)
    (row,) = host.status.channels
    assert (row.setpoint_ua, row.contact) == (5_000, Contact.GOOD)


@pytest.mark.hazard(29)
@pytest.mark.parametrize(("setpoint_ua", "is_fault"), [(10_000, False), (10_050, True)])
def test_overcurrent_is_a_tenth_and_1_ma_above(
    lockstep: Lockstep, setpoint_ua: int, is_fault: bool
) -> None:
    """A fifth more than 10 mA is 12 mA, all that is allowed; of 10.05 mA 12.060 against 12.055."""
    host, twins = running(lockstep)
    host.keep(8 * S, setpoint_ua)
    twins.set_gain(1, 1_200, host.now_us)
    host.keep(100 * MS, setpoint_ua)
    assert host.status.fault is (FaultCode.OVERCURRENT if is_fault else FaultCode.NONE)


def contact_of(host: Host) -> Contact:
    return host.status.channels[0].contact


def take_lead_off(host: Host, twins: Twins, target_ua: int) -> None:
    """Take the lead off until that is latched, and put it on again."""
    twins.set_lead_off(1, True, host.now_us)
    while ChannelFlag.LEAD_OFF_LATCHED not in host.status.channels[0].flags:
        host.keep(50 * MS, target_ua)
    twins.set_lead_off(1, False, host.now_us)


@pytest.mark.hazard(25)
def test_a_latched_lead_off_lasts_until_it_is_acknowledged(lockstep: Lockstep) -> None:
    """Through ARMED and into RUNNING again."""
    host, twins = running(lockstep)
    host.keep(3 * S, 5_000)
    take_lead_off(host, twins, 5_000)
    host.drive(WantedState.ARMED)
    host.drive(WantedState.RUNNING, 0)
    refused = [m for m in host.drive(WantedState.RUNNING, 1_000) if isinstance(m, Refused)]
    assert [each.reason for each in refused] == [RefusalReason.LEAD_OFF_LATCHED]
    host.send(AcknowledgeFault(host.status.latch_count, 1))
    host.keep(1 * S, 1_000)
    assert host.status.channels[0].setpoint_ua == 1_000


def test_a_channel_armed_again_counts_its_good_pulses_afresh(lockstep: Lockstep) -> None:
    """Twice a second: the fifth comes 2 s after the first, not the third after 1 s."""
    host, twins = running(lockstep, 500_000)
    host.keep(8 * S, 3_000)
    assert contact_of(host) is Contact.GOOD
    take_lead_off(host, twins, 3_000)
    host.send(AcknowledgeFault(host.status.latch_count, 1))
    while host.status.channels[0].setpoint_ua < 2_000:
        host.keep(50 * MS, 3_000)
    host.keep(1_800 * MS, 3_000)
    assert contact_of(host) is Contact.UNKNOWN
    host.keep(300 * MS, 3_000)
    assert contact_of(host) is Contact.GOOD
