"""The device's side of a session, held in the host."""

from __future__ import annotations

import pytest

from estim.drivers.p24 import CAPABILITIES
from estim.drivers.player import Train
from estim.drivers.stand_in import StandIn
from estim.safety import kernel
from estim.safety.verdict import ApprovedLoad
from firmware_protocol.messages import ChannelFlag, Contact, DeviceState, FaultCode
from firmware_protocol.session_limits import limits_digest
from tests.drivers.test_p24 import prepared

MS = 1000
S = 1_000_000


def loaded(profile: str = "dpn-conventional") -> tuple[StandIn, ApprovedLoad]:
    made = prepared(profile)
    approved = kernel.review_load(made.program, made.bounds, CAPABILITIES, 0)
    assert isinstance(approved, ApprovedLoad)
    stand_in = StandIn(CAPABILITIES)
    digests = stand_in.load(approved)
    assert digests == (made.program.digest, limits_digest(approved.limits))
    return stand_in, approved


def running() -> StandIn:
    stand_in, _ = loaded()
    stand_in.renew_lease(0)
    stand_in.go(DeviceState.ARMED, 0)
    stand_in.go(DeviceState.RUNNING, 0)
    return stand_in


def test_a_report_carries_the_digests_and_says_unknown_where_it_knows_nothing() -> None:
    stand_in, approved = loaded()
    status = stand_in.status(7 * MS)
    assert (status.tick_ms, status.state) == (7, DeviceState.SAFE)
    assert status.program_digest == approved.program.digest
    assert status.limits_digest == limits_digest(approved.limits)
    assert [row.contact for row in status.channels] == [Contact.UNKNOWN] * 4
    assert [row.load_ohm for row in status.channels] == [0] * 4


@pytest.mark.parametrize(
    ("targets_ua", "words"),
    [((0,), "2 channels"), ((0, 0, 0), "2 channels"), ((40_500, 0), "40500 uA asked")],
)
def test_targets_beyond_the_session_are_refused_whoever_approved_them(
    targets_ua: tuple[int, ...], words: str
) -> None:
    stand_in, approved = loaded()
    assert approved.limits.channels[0].amplitude_ua < 40_500
    assert words in stand_in.target_problem(targets_ua)
    highest_ua = approved.limits.channels[0].amplitude_ua
    assert stand_in.target_problem((highest_ua, 0)) == ""
    assert stand_in.target_problem((highest_ua + 1, 0)) != ""


def test_a_lease_lasts_320_ms_and_running_as_long_as_the_session_may() -> None:
    stand_in = running()
    assert stand_in.time_fault(320 * MS - 1) is FaultCode.NONE
    assert stand_in.time_fault(320 * MS) is FaultCode.LEASE_EXPIRED
    _, approved = loaded()
    longest_us = (approved.limits.running_ms + 1) * MS
    stand_in.renew_lease(longest_us)
    assert stand_in.time_fault(longest_us - 1) is FaultCode.NONE
    assert stand_in.time_fault(longest_us) is FaultCode.RUNNING_TIME


def test_armed_outlives_its_lease_by_nothing() -> None:
    stand_in, _ = loaded()
    stand_in.renew_lease(0)
    stand_in.go(DeviceState.ARMED, 0)
    assert not stand_in.is_disarmed_by_time(320 * MS - 1)
    assert stand_in.is_disarmed_by_time(320 * MS)


def test_until_it_is_confirmed_a_lower_amplitude_is_not_told_and_a_higher_one_is() -> None:
    stand_in = running()

    def told_ua() -> int:
        return stand_in.status(0).channels[0].setpoint_ua

    stand_in.sent((Train(5000, 200, 12_500), None))
    assert told_ua() == 5000
    stand_in.confirmed()
    stand_in.sent((Train(2000, 200, 12_500), None))
    assert told_ua() == 5000
    stand_in.confirmed()
    assert told_ua() == 2000
    stand_in.sent((None, None))
    assert told_ua() == 2000
    assert not stand_in.is_zero
    stand_in.silenced()
    assert told_ua() == 0
    assert stand_in.is_zero


def test_leaving_running_aims_at_nothing_and_coming_back_begins_at_zero() -> None:
    stand_in = running()
    for player in stand_in.players:
        player.aim(3000)
    for now_ms in range(50, 3050, 50):
        stand_in.trains(now_ms * MS)
    assert stand_in.players[0].setpoint_ua > 2000
    stand_in.go(DeviceState.ARMED, 3 * S)
    assert [player.target_ua for player in stand_in.players] == [0, 0]
    assert stand_in.trains(3 * S) == (None, None)
    stand_in.go(DeviceState.RUNNING, 3 * S)
    assert [player.setpoint_ua for player in stand_in.players] == [0, 0]


def test_a_fault_is_cleared_by_whoever_saw_the_latest() -> None:
    stand_in = running()
    stand_in.latch(FaultCode.SUPPLY, 0)
    seen = stand_in.status(0).latch_count
    assert stand_in.acknowledge(seen - 1, 0, 0) != ""
    assert stand_in.state is DeviceState.FAULT
    assert stand_in.acknowledge(seen, 0, 0) == ""
    assert (stand_in.state, stand_in.fault) == (DeviceState.SAFE, FaultCode.NONE)
    assert stand_in.acknowledge(seen, 0, 0) == "no fault is latched"


@pytest.mark.parametrize(
    ("profile", "latched"), [("dpn-conventional", [True, False]), ("nmes-alternating", [True] * 2)]
)
def test_a_lost_electrode_latches_its_channel_or_all_as_the_session_says(
    profile: str, latched: list[bool]
) -> None:
    stand_in, approved = loaded(profile)
    expects_all = bool(approved.limits.policy & 1)
    assert expects_all is all(latched)
    assert stand_in.latch_lead_off({0})
    rows = stand_in.status(0).channels[:2]
    assert [ChannelFlag.LEAD_OFF_LATCHED in row.flags for row in rows] == latched
    assert not stand_in.latch_lead_off({0})
    count = stand_in.status(0).latch_count
    assert stand_in.acknowledge(count, 0b01, 0) == ""
    rows = stand_in.status(0).channels[:2]
    assert ChannelFlag.LEAD_OFF_LATCHED not in rows[0].flags
