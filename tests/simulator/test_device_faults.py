"""What ends output by itself: lead-off, overcurrent, patient stop, time, noise, supply."""

from __future__ import annotations

import pytest

from estim.simulator.device import DeviceSettings
from estim.simulator.load import NAMED_LOADS, Load
from firmware_protocol.connection import Connection, Role
from firmware_protocol.messages import (
    AcknowledgeFault,
    ChannelFlag,
    Contact,
    DeviceState,
    Event,
    EventCode,
    FaultCode,
    InputFlag,
    Message,
    PolicyFlag,
    RefusalReason,
    Refused,
    Status,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, PulseProgram
from tests.simulator.host import BIPHASIC, EPOCH, MS, Host, S, one_channel, session_limits

TWO = PulseProgram(
    (
        ChannelProgram(BIPHASIC, 1, 10_000),
        ChannelProgram(BIPHASIC, 1, 10_000, pulse_offset_us=5_000),
    )
)


def events(host: Host, code: EventCode) -> list[Event]:
    return [event for event in host.of(Event) if event.code is code]


def reason(answer: list[Message]) -> RefusalReason:
    (refused,) = (message for message in answer if isinstance(message, Refused))
    return refused.reason


# Lead-off.


@pytest.mark.hazard(25)
@pytest.mark.parametrize(
    ("period_us", "bad_pulses", "settle_s"),
    [
        (10_000, 3, 5), (66_666, 3, 5), (66_667, 2, 5), (100_000, 2, 5), (100_001, 1, 5),
        (500_000, 1, 8),
    ],
    ids=["100 Hz", "15.0002 Hz", "14.9999 Hz", "10 Hz", "just below 10 Hz", "2 Hz"],
)  # fmt: skip
def test_a_lead_that_comes_off_is_found_within_its_pulses(
    period_us: int, bad_pulses: int, settle_s: int
) -> None:
    """3 pulses or 200 ms, whichever is fewer pulses, but at least one."""
    host = Host()
    host.start(one_channel(period_us))
    host.keep(settle_s * S, 4_000)
    assert host.status.channels[0].contact is Contact.GOOD
    last_good_us = host.trace.onsets()[-1]
    host.device.set_lead_off(1, True, host.now_us)
    found_us = last_good_us + bad_pulses * period_us
    host.keep(found_us - 1 - host.now_us, 4_000)
    assert events(host, EventCode.LEAD_OFF) == []
    assert host.status.channels[0].setpoint_ua == 4_000
    host.now_us = found_us
    host.collect()
    (found,) = events(host, EventCode.LEAD_OFF)
    assert (found.tick_ms, found.channel, found.detail) == (found_us // MS, 0, 1_000_000)
    row = host.device._status().channels[0]
    assert (row.target_ua, row.setpoint_ua, row.contact) == (0, 0, Contact.OFF)
    assert row.flags & ChannelFlag.LEAD_OFF_LATCHED
    assert host.device._status().latch_count == 1
    assert host.trace.onsets()[-1] == last_good_us


@pytest.mark.hazard(25)
def test_a_lead_off_channel_stays_off_until_re_armed_and_then_starts_from_zero() -> None:
    host = Host()
    host.start(TWO)
    host.keep(4 * S, 4_000, 3_000)
    host.device.set_lead_off(1, True, host.now_us)
    host.pass_time(100 * MS)
    host.device.set_lead_off(1, False, host.now_us)
    assert reason(host.drive(WantedState.RUNNING, 100, 3_000)) is RefusalReason.LEAD_OFF_LATCHED
    host.drive(WantedState.RUNNING, 0, 3_000)
    assert [row.target_ua for row in host.status.channels] == [0, 3_000]
    count = host.status.latch_count
    assert reason(host.send(AcknowledgeFault(count + 1, 0b1))) is RefusalReason.NOT_THE_LATEST
    host.send(AcknowledgeFault(count, 0b10))
    assert host.status.channels[0].flags & ChannelFlag.LEAD_OFF_LATCHED
    host.send(AcknowledgeFault(count, 0b1))
    assert not host.status.channels[0].flags & ChannelFlag.LEAD_OFF_LATCHED
    assert host.status.channels[0].contact is Contact.UNKNOWN
    assert len(events(host, EventCode.LEAD_OFF_CLEARED)) == 1
    again_us = host.now_us
    host.keep(1_500 * MS, 4_000, 3_000)
    after = [ua for onset, ua in host.trace.amplitudes(1) if onset > again_us]
    assert after[0] == 100
    assert max(after) == 2_000


def test_lead_off_may_stop_all_channels() -> None:
    host = Host()
    host.start(TWO, session_limits(policy=PolicyFlag.LEAD_OFF_STOPS_ALL))
    host.keep(4 * S, 4_000, 3_000)
    host.device.set_lead_off(2, True, host.now_us)
    host.pass_time(100 * MS)
    assert [row.target_ua for row in host.status.channels] == [0, 0]
    assert all(row.flags & ChannelFlag.LEAD_OFF_LATCHED for row in host.status.channels)
    assert host.status.latch_count == 1
    assert [event.channel for event in events(host, EventCode.LEAD_OFF)] == [1]


FOUR = PulseProgram(
    tuple(one_channel(pulse_offset_us=1_000 * index).channels[0] for index in range(4))
)


@pytest.mark.parametrize("policy", [PolicyFlag.NONE, PolicyFlag.LEAD_OFF_STOPS_ALL])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_lead_off_of_any_of_four_channels_stops_what_the_policy_says(
    number: int, policy: PolicyFlag
) -> None:
    """One event and one count; the others go on, or are latched with it; each is re-armed alone."""
    host = Host(DeviceSettings(channel_count=4))
    host.start(FOUR, session_limits(4, policy=policy))
    host.keep(4 * S, 4_000, 3_000, 2_500, 2_100)
    targets_ua = [4_000, 3_000, 2_500, 2_100]
    assert [row.setpoint_ua for row in host.status.channels] == targets_ua
    assert {row.contact for row in host.status.channels} == {Contact.GOOD}
    host.device.set_lead_off(number, True, host.now_us)
    off_us = host.now_us
    host.pass_time(100 * MS)
    latched = {number} if policy is PolicyFlag.NONE else {1, 2, 3, 4}
    (told,) = events(host, EventCode.LEAD_OFF)
    assert (told.channel, told.detail) == (number - 1, 1_000_000)
    assert host.status.latch_count == 1
    assert host.status.state is DeviceState.RUNNING
    for at, row in enumerate(host.status.channels, 1):
        left_ua = 0 if at in latched else targets_ua[at - 1]
        assert (row.target_ua, row.setpoint_ua) == (left_ua, left_ua)
        assert bool(row.flags & ChannelFlag.LEAD_OFF_LATCHED) is (at in latched)
        assert (row.contact is Contact.OFF) is (at == number)
        # A pulse each 10 ms, or none once the third one without a load was found bad.
        played = [onset for onset in host.trace.onsets(at) if onset > off_us + 40 * MS]
        assert len(played) == (0 if at in latched else 6)
    # Re-armed one by one, the others stay as they are, and a target is taken again from zero.
    wanted_ua = [0 if at in latched else targets_ua[at - 1] for at in (1, 2, 3, 4)]
    host.device.set_lead_off(number, False, host.now_us)
    for at in sorted(latched):
        asked_ua = list(wanted_ua)
        asked_ua[at - 1] = 2_000
        assert reason(host.drive(WantedState.RUNNING, *asked_ua)) is RefusalReason.LEAD_OFF_LATCHED
        host.drive(WantedState.RUNNING, *wanted_ua)
        host.send(AcknowledgeFault(1, 1 << (at - 1)))
        wanted_ua = asked_ua
        host.keep(100 * MS, *wanted_ua)
        row = host.status.channels[at - 1]
        assert (row.target_ua, row.flags) == (2_000, ChannelFlag.NONE)
        assert 100 <= row.setpoint_ua <= 200
    assert [event.channel + 1 for event in events(host, EventCode.LEAD_OFF_CLEARED)] == sorted(
        latched
    )


def test_leads_are_re_armed_in_a_fault_too_and_the_fault_stays() -> None:
    host = Host()
    host.start(TWO)
    host.keep(4 * S, 4_000, 3_000)
    host.device.set_lead_off(2, True, host.now_us)
    host.pass_time(500 * MS)
    assert (host.state(), host.status.latch_count) == (DeviceState.FAULT, 2)
    answer = host.send(AcknowledgeFault(2, 0b10))
    assert [type(message).__name__ for message in answer] == ["Event", "Status"]
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.LEASE_EXPIRED)
    assert host.status.channels[1].flags is ChannelFlag.NONE
    answer = host.send(AcknowledgeFault(2, 0b100))
    assert [type(message).__name__ for message in answer] == ["Refused", "Status"]


@pytest.mark.hazard(47)
def test_without_the_policy_the_other_channel_goes_on() -> None:
    host = Host()
    host.start(TWO)
    host.keep(4 * S, 4_000, 3_000)
    host.device.set_lead_off(2, True, host.now_us)
    host.pass_time(100 * MS)
    assert [row.setpoint_ua for row in host.status.channels] == [4_000, 0]


@pytest.mark.parametrize(("ohms", "is_off"), [(14_999, False), (15_000, True)])
def test_a_load_of_15_kohm_is_a_lead_off(ohms: int, is_off: bool) -> None:
    host = Host(load=Load(ohms))
    host.start(one_channel())
    host.keep(2_500 * MS, 3_000)
    assert bool(events(host, EventCode.LEAD_OFF)) is is_off
    assert bool(events(host, EventCode.CONTACT_GOOD)) is not is_off


def test_reaching_compliance_is_a_lead_off() -> None:
    # 180 V over 10 kohm carry 18.0 mA and not 18.1.
    host = Host(load=Load(10_000))
    host.start(one_channel())
    host.keep(12 * S, 18_000)
    assert host.status.channels[0].peak_ua == 18_000
    assert events(host, EventCode.LEAD_OFF) == []
    host.keep(1 * S, 18_200)
    (found,) = events(host, EventCode.LEAD_OFF)
    assert found.detail == 10_000
    assert host.status.channels[0].flags & ChannelFlag.COMPLIANCE_REACHED


def test_below_2_ma_contact_is_unknown_and_not_judged() -> None:
    host = Host(load=NAMED_LOADS["open"])
    host.start(one_channel())
    host.keep(3 * S, 1_999)
    row = host.status.channels[0]
    assert (row.contact, row.load_ohm, row.setpoint_ua) == (Contact.UNKNOWN, 0, 1_999)
    assert events(host, EventCode.LEAD_OFF) == []
    assert host.trace.pulses == []
    host.keep(300 * MS, 2_000)
    assert len(events(host, EventCode.LEAD_OFF)) == 1


def test_lowering_below_2_ma_reports_unknown_again() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(3 * S, 3_000)
    row = host.status.channels[0]
    assert (row.contact, row.load_ohm) == (Contact.GOOD, 500)
    host.drive(WantedState.RUNNING, 1_000)
    row = host.status.channels[0]
    assert (row.contact, row.load_ohm) == (Contact.UNKNOWN, 0)


@pytest.mark.parametrize(("ohms", "is_short"), [(99, True), (100, False)])
def test_a_short_is_told_and_stops_nothing(ohms: int, is_short: bool) -> None:
    host = Host(load=Load(ohms))
    host.start(one_channel())
    host.keep(3 * S, 3_000)
    assert bool(host.status.channels[0].flags & ChannelFlag.SHORTED) is is_short
    assert host.status.channels[0].setpoint_ua == 3_000


@pytest.mark.hazard(25)
def test_chattering_contact_counts_only_consecutive_bad_pulses() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(3 * S, 3_000)
    for _ in range(10):
        host.device.set_lead_off(1, True, host.now_us)
        host.keep(20 * MS, 3_000)
        host.device.set_lead_off(1, False, host.now_us)
        host.keep(10 * MS, 3_000)
    assert events(host, EventCode.LEAD_OFF) == []
    host.device.set_lead_off(1, True, host.now_us)
    host.keep(30 * MS, 3_000)
    assert len(events(host, EventCode.LEAD_OFF)) == 1


# Overcurrent.


@pytest.mark.hazard(29)
@pytest.mark.parametrize(("gain", "is_fault"), [(1_150, False), (1_155, True)])
def test_more_than_110_percent_and_1_ma_is_a_fault(gain: int, is_fault: bool) -> None:
    # 20 mA: allowed 23.0 mA. 1150 permille is 23.0, 1155 is 23.1.
    host = Host()
    host.start(one_channel())
    host.keep(12 * S, 20_000)
    host.device.set_gain(1, gain, host.now_us)
    before = len(host.trace.pulses)
    host.keep(300 * MS, 20_000)
    assert (host.state() is DeviceState.FAULT) is is_fault
    if is_fault:
        assert host.device._status().fault is FaultCode.OVERCURRENT
        assert [ua for _, ua in host.trace.amplitudes()[before:]] == [23_100, 23_100]


def test_a_single_pulse_of_overcurrent_is_no_fault() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(12 * S, 20_000)
    for _ in range(3):
        host.device.set_gain(1, 2_000, host.now_us)
        host.keep(10 * MS, 20_000)
        host.device.set_gain(1, 1_000, host.now_us)
        host.keep(10 * MS, 20_000)
    assert host.state() is DeviceState.RUNNING


# The patient's own stop.


@pytest.mark.hazard(46)
@pytest.mark.parametrize("state", list(DeviceState))
def test_the_patient_stop_is_a_fault_in_any_state(state: DeviceState) -> None:
    host = Host()
    host.prepare(one_channel())
    if state is not DeviceState.SAFE:
        host.arm()
    if state in (DeviceState.RUNNING, DeviceState.FAULT):
        host.drive(WantedState.RUNNING)
        host.keep(1 * S, 1_000)
    if state is DeviceState.FAULT:
        host.pass_time(400 * MS)
    assert host.state() is state
    delivered = len(host.trace.pulses)
    latches = host.device._status().latch_count
    host.device.set_patient_stop(True, host.now_us)
    host.pass_time(250 * MS)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.PATIENT_STOP)
    assert host.status.inputs & InputFlag.PATIENT_STOP_PRESSED
    assert host.status.latch_count == latches + 1
    assert len(host.trace.pulses) == delivered


@pytest.mark.hazard(46)
def test_the_patient_stop_stays_latched_until_released_and_acknowledged() -> None:
    host = Host()
    host.prepare(one_channel())
    assert host.device._status().inputs == InputFlag.PATIENT_STOP_PRESENT
    host.device.set_patient_stop(True, host.now_us)
    # One that is held, or whose wire is broken, has not shown yet that it works.
    assert not host.device._status().inputs & InputFlag.PATIENT_STOP_TESTED
    assert reason(host.send(AcknowledgeFault(1, 0))) is RefusalReason.CAUSE_PRESENT
    host.device.set_patient_stop(False, host.now_us)
    host.pass_time(300 * MS)
    assert host.status.inputs & InputFlag.PATIENT_STOP_PRESSED
    assert host.state() is DeviceState.FAULT
    host.send(AcknowledgeFault(1, 0))
    assert host.state() is DeviceState.SAFE
    assert host.status.inputs == (InputFlag.PATIENT_STOP_PRESENT | InputFlag.PATIENT_STOP_TESTED)
    assert [event.detail for event in events(host, EventCode.PATIENT_STOP)] == [1, 0]
    host.arm()


def test_pressing_again_makes_the_old_acknowledgement_worthless() -> None:
    host = Host()
    host.hello()
    for is_pressed in (True, False, True, False):
        host.device.set_patient_stop(is_pressed, host.now_us)
    assert reason(host.send(AcknowledgeFault(1, 0))) is RefusalReason.NOT_THE_LATEST
    host.send(AcknowledgeFault(2, 0))
    assert host.status.state is DeviceState.SAFE


# Time, noise, supply.


@pytest.mark.hazard(32)
def test_running_ends_when_its_longest_time_is_passed() -> None:
    host = Host()
    start_us = host.start(one_channel(), session_limits(running_ms=2_000))
    host.keep(2_000 * MS, 1_000)
    host.drive(WantedState.RUNNING, 1_000)
    assert (host.status.state, host.status.running_ms) == (DeviceState.RUNNING, 2_000)
    host.now_us = start_us + 2_001 * MS
    host.collect()
    assert host.state() is DeviceState.FAULT
    host.pass_time(300 * MS)
    assert (host.status.fault, host.status.running_ms) == (FaultCode.RUNNING_TIME, 2_001)
    assert host.trace.onsets()[-1] == start_us + 2_000 * MS


@pytest.mark.hazard(10)
@pytest.mark.parametrize("is_running", [False, True])
def test_sixteen_damaged_frames_within_a_second_are_a_fault(is_running: bool) -> None:
    host = Host()
    host.prepare(one_channel())
    for _ in range(40):
        host.write(b"\x05noise\0")
    assert host.state() is DeviceState.SAFE
    host.arm()
    if is_running:
        host.drive(WantedState.RUNNING)
    for _ in range(15):
        host.write(b"\x05noise\0")
    assert host.device.is_energised
    host.write(b"\x05noise\0")
    host.pass_time(250 * MS)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.LINE_NOISE)
    assert host.status.damaged_count == 56


@pytest.mark.hazard(47)
def test_sixteen_damaged_frames_over_a_second_are_not() -> None:
    host = Host()
    host.start(one_channel())
    for _ in range(32):
        host.keep(67 * MS)  # 15 intervals of 67 ms are 1.005 s
        host.write(b"\x05noise\0")
    assert host.state() is DeviceState.RUNNING


@pytest.mark.hazard(27)
def test_a_low_battery_does_not_arm_and_an_empty_one_stops() -> None:
    host = Host()
    host.prepare(one_channel())
    host.device.set_battery(9, host.now_us)
    assert reason(host.drive(WantedState.ARMED)) is RefusalReason.CAUSE_PRESENT
    host.device.set_battery(10, host.now_us)
    host.arm()
    host.drive(WantedState.RUNNING)
    host.device.set_battery(5, host.now_us)
    assert host.state() is DeviceState.RUNNING
    host.device.set_battery(4, host.now_us)
    host.pass_time(250 * MS)
    assert (host.status.fault, host.status.battery_percent) == (FaultCode.SUPPLY, 4)
    assert reason(host.send(AcknowledgeFault(1, 0))) is RefusalReason.CAUSE_PRESENT
    host.device.set_battery(255, host.now_us)
    host.send(AcknowledgeFault(1, 0))
    assert host.state() is DeviceState.SAFE


@pytest.mark.hazard(27)
def test_an_empty_battery_is_latched_once_however_often_it_is_told() -> None:
    """Again only once it was good in between; what is told meanwhile is shown, and still holds."""
    host = Host()
    host.hello()

    def told(*percents: int) -> int:
        for percent in percents:
            host.device.set_battery(percent, host.now_us)
        host.pass_time(250 * MS)
        latched = events(host, EventCode.FAULT_LATCHED)
        assert [event.detail for event in latched] == [FaultCode.SUPPLY] * len(latched)
        assert len(latched) == host.status.latch_count
        return len(latched)

    assert told(4, 3, 3, 3, 3) == 1
    assert (host.status.state, host.status.battery_percent) == (DeviceState.FAULT, 3)
    assert reason(host.send(AcknowledgeFault(1, 0))) is RefusalReason.CAUSE_PRESENT
    assert told(5, 4, 0) == 2
    assert told(5) == 2
    host.send(AcknowledgeFault(2, 0))
    assert host.state() is DeviceState.SAFE
    assert told(4) == 3


@pytest.mark.hazard(16)
def test_a_reboot_forgets_everything_but_the_world() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(1 * S, 1_000)
    host.device.reboot(host.now_us)
    delivered = len(host.trace.pulses)
    assert host.drive(WantedState.RUNNING, 1_000) == []
    host.pass_time(1 * S)
    assert len(host.trace.pulses) == delivered
    host.connection = Connection(Role.HOST, EPOCH + 1)
    host.hello()
    assert host.device._status().tick_ms == 1_000
    assert host.device._status().program_digest == 0
    host.device.set_patient_stop(True, host.now_us)
    host.device.reboot(host.now_us)
    assert host.state() is DeviceState.FAULT


@pytest.mark.hazard(28)
def test_a_hung_device_is_silent_and_dead_until_a_reboot() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(1 * S, 1_000)
    host.device.hang(host.now_us)
    delivered = len(host.trace.pulses)
    assert host.hello() == []
    assert host.pass_time(2 * S) == []
    assert host.device.next_deadline_us() is None
    assert len(host.trace.pulses) == delivered
    host.device.reboot(host.now_us)
    host.connection = Connection(Role.HOST, EPOCH + 1)
    assert host.hello()


def test_time_does_not_go_back() -> None:
    host = Host()
    host.pass_time(1 * S)
    with pytest.raises(ValueError, match="1000000 us, later than 999999"):
        host.device.advance(999_999)


def test_what_an_overcurrent_delivered_is_reported_though_output_has_ended() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(6 * S, 5000)
    host.device.set_gain(1, 2000, host.now_us)
    before, seen = len(host.trace.pulses), len(host.seen)
    host.keep(300 * MS, 5000)
    assert host.status.fault is FaultCode.OVERCURRENT
    delivered_ua = max(current_ua for _, current_ua in host.trace.amplitudes()[before:])
    told_ua = max(
        row.peak_ua
        for message in host.seen[seen:]
        if isinstance(message, Status)
        for row in message.channels
    )
    assert told_ua == delivered_ua == 10_000
