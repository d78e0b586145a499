"""What PROTOCOL.md says in one sentence where two readings were possible: chapters 5 to 8.

Both devices do it: the figures are worked out by hand, and `core.Twins` adds that simulator and C
core do the same.
"""

from __future__ import annotations

import dataclasses

import pytest

from estim.simulator.device import DeviceSettings, VirtualDevice
from estim.simulator.load import Load
from firmware_protocol import limits
from firmware_protocol.messages import (
    AcknowledgeFault,
    ChannelFlag,
    Contact,
    CyclePhase,
    DeviceState,
    Event,
    EventCode,
    FaultCode,
    RefusalReason,
    Refused,
    Status,
    Stop,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.firmware.core import CoreGate, Lockstep
from tests.firmware.readings import MAINS, host_of, kinds
from tests.simulator.host import MS, Host, S, one_channel, session_limits

DAMAGED = b"\x05\x01\0"


# 5 and 6: how output rises.


def test_the_cycle_of_chapter_5_is_played_as_drawn(lockstep: Lockstep) -> None:
    """180 uA rise in a cycle, so the seventh (from 100 + 6 x 400 ms on) is the first whole one."""
    host, twins = host_of(lockstep)
    cycle = Cycle(50, 100, 50, 200, 100)
    run_us = host.start(one_channel(30_000, pulse_offset_us=5_000, cycle=cycle))
    host.keep(3_300 * MS, 1_000)
    begins_us = run_us + (100 + 6 * 400) * MS
    played = [
        ((onset - begins_us) // MS, amplitude)
        for onset, amplitude in twins.trace.amplitudes()
        if begins_us <= onset < begins_us + 400 * MS
    ]
    assert played == [
        (5, 100), (35, 700), (65, 1000), (95, 1000), (125, 1000), (155, 900), (185, 300),
    ]  # fmt: skip


def test_the_bursts_of_chapter_5_take_their_periods_as_drawn(lockstep: Lockstep) -> None:
    """Bursts and keyframes come together again every 600 ms; by 1200 ms there is current."""
    host, twins = host_of(lockstep)
    frames = (Keyframe(0, 1000, 1, 10_000), Keyframe(100, 1000, 1, 20_000))
    played = one_channel(
        1, pulse_offset_us=25_000, pulses_per_burst=3, burst_period_us=60_000,
        keyframes=frames, keyframe_cycle_ms=200,
    )  # fmt: skip
    begins_us = host.start(played) + 1_200 * MS
    host.keep(2 * S, 1_000)
    onsets_ms = [(onset - begins_us) / MS for onset in twins.trace.onsets()]
    assert [at_ms for at_ms in onsets_ms if at_ms >= 25][:15] == [
        25, 35, 45, 85, 95, 105, 145, 165, 185, 205, 225, 235, 265, 275, 285,
    ]  # fmt: skip


def test_a_pulse_that_ends_with_its_on_phase_is_played(lockstep: Lockstep) -> None:
    """On for 20 ms, onsets at 0, 9.8 and 19.6 ms: the last ends at 20 ms; 1 us later it is not."""
    for offset_us, count in ((0, 3), (1, 2)):
        host, _ = host_of(lockstep)
        cycle = Cycle(0, 20, 0, 180)
        host.start(one_channel(9_800, pulse_offset_us=offset_us, cycle=cycle))
        # 19.6 uA rise from each onset to the next within an on-phase: 4 s are 20 on-phases.
        host.keep(4 * S, 500)
        host.trace.pulses.clear()
        host.keep(200 * MS, 500)
        assert len(host.trace.pulses) == count


def setpoints(host: Host, target_ua: int, onsets: int, period_us: int) -> list[int]:
    """Return the setpoint after each onset, the first of them now."""
    seen = []
    for _ in range(onsets):
        host.drive(WantedState.RUNNING, target_ua)
        seen.append(host.status.channels[0].setpoint_ua)
        host.pass_time(period_us)
    return seen


def test_the_fraction_of_a_rise_is_carried_until_running_begins_anew(lockstep: Lockstep) -> None:
    """Slew 1999 uA/s, 10 ms: 19.99 uA a pulse; it outlives a target reached and a fall."""
    host, _ = host_of(lockstep)
    slow = session_limits(2, setpoint_slew_ua_per_s=1999)
    host.start(one_channel(), slow)
    host.pass_time(5 * MS)  # between the onsets at 0 and at 10 ms
    # 19.99 -> 19, .99; 20.98 -> 20, .98; 20.97 -> the target cuts it to 1, .97 stays.
    assert setpoints(host, 40, 4, 10 * MS) == [0, 19, 39, 40]
    # No rise, then a fall: .97 + 19.99 = 20.96, .96.
    host.drive(WantedState.RUNNING, 0)
    assert setpoints(host, 1_000, 3, 10 * MS) == [0, 20, 40]
    # A pause and RUNNING again: from nothing.
    host.drive(WantedState.ARMED)
    host.drive(WantedState.RUNNING)
    host.pass_time(5 * MS)
    assert setpoints(host, 1_000, 3, 10 * MS) == [0, 19, 39]


def test_the_fraction_of_a_slow_rise_is_dropped_and_the_one_kept_waits(lockstep: Lockstep) -> None:
    """Onsets 10 ms and 490 ms apart in turn: 19.99 and 979.51 uA; the .99 outlives the second."""
    host, _ = host_of(lockstep)
    slow = session_limits(2, setpoint_slew_ua_per_s=1999)
    host.start(one_channel(pulses_per_burst=2, burst_period_us=500_000), slow)
    seen = []
    for wait_ms in (5, 10, 490, 10, 245):
        host.keep(wait_ms * MS, 5_000)
        host.drive(WantedState.RUNNING, 5_000)
        seen.append(host.status.channels[0].setpoint_ua)
    assert seen == [0, 19, 998, 1018, 1018]


def test_a_fall_within_an_on_phase_gives_no_rise_back(lockstep: Lockstep) -> None:
    """100 uA a cycle, 20 uA a pulse: five rises, a fall to 0, no rise until the next on-phase."""
    host, _ = host_of(lockstep)
    limited = session_limits(2, rise_per_cycle_ua=100)
    host.start(one_channel(cycle=Cycle(0, 500, 0, 500)), limited)
    host.pass_time(5 * MS)
    assert setpoints(host, 1_000, 8, 10 * MS) == [0, 20, 40, 60, 80, 100, 100, 100]
    host.drive(WantedState.RUNNING, 0)
    host.keep(900 * MS, 1_000)
    assert host.status.channels[0].setpoint_ua == 0
    host.keep(100 * MS, 1_000)
    assert host.status.channels[0].setpoint_ua > 0


# The worst second, with the figures of chapter 6.

FAST, SLOW = Keyframe(0, 1000, 1, 10_000), Keyframe(500, 1000, 1, 20_000)


@pytest.mark.parametrize(
    ("played", "pulses"),
    [
        (one_channel(30_000), 34),
        (one_channel(30_000, cycle=Cycle(0, 300, 0, 5)), 38),
        (one_channel(10_000, pulses_per_burst=3, burst_period_us=66_000), 46),
        (
            one_channel(
                1, pulses_per_burst=3, burst_period_us=66_000,
                keyframes=(FAST, SLOW), keyframe_cycle_ms=1_000,
            ),
            48,
        ),
        (
            one_channel(
                1, keyframes=(Keyframe(0, 1000, 1, 30_000), Keyframe(500, 1000, 1, 70_000)),
                keyframe_cycle_ms=1_000,
            ),
            35,
        ),
    ],
)  # fmt: skip
def test_the_pulses_of_the_worst_second_are_those_of_chapter_6(
    lockstep: Lockstep, played: PulseProgram, pulses: int
) -> None:
    """400 us x 20 mA = 8 uC a pulse: the average is 8 uA for each pulse of the worst second."""
    average_ua = 8 * pulses
    gate = CoreGate(lockstep, MAINS, played, session_limits(2, average_ua=average_ua))
    assert gate.review_target(0, 20_000) is None
    gate = CoreGate(lockstep, MAINS, played, session_limits(2, average_ua=average_ua - 1))
    refused = gate.review_target(0, 20_000)
    assert refused is not None
    assert (refused.limit, refused.asked) == (limits.average_ua.wire_id, average_ua)


def test_a_period_that_does_not_divide_a_second_counts_whole_pulses(lockstep: Lockstep) -> None:
    """34 pulses of 400 us at 22.1 mA are 300.56 uA; 33.3 of them would be 294.7 uA and pass."""
    gate = CoreGate(lockstep, MAINS, one_channel(30_000), session_limits(2, average_ua=300))
    assert gate.review_target(0, 22_000) is None
    refused = gate.review_target(0, 22_100)
    assert refused is not None
    assert (refused.asked, refused.allowed) == (301, 300)


def test_rms_is_told_rounded_up(lockstep: Lockstep) -> None:
    """34 x 400 us x (22.1 mA)^2 = 6642376 uA^2 s, between 2577^2 and 2578^2."""
    gate = CoreGate(lockstep, MAINS, one_channel(30_000), session_limits(2, rms_ua=2577))
    refused = gate.review_target(0, 22_100)
    assert refused is not None
    assert (refused.limit, refused.asked) == (limits.rms_ua.wire_id, 2578)
    gate = CoreGate(lockstep, MAINS, one_channel(30_000), session_limits(2, rms_ua=2578))
    assert gate.review_target(0, 22_100) is None


@pytest.mark.parametrize("strong_first", [False, True])
def test_of_two_stretches_equally_far_above_the_first_is_told(
    lockstep: Lockstep, strong_first: bool
) -> None:
    """At 80 mA: 40 mA x 1000 us = 40 uC, 0.8 above the session's 39.2; 80 mA x 400 us = 32 uC, 0.8
    above 20 + 28 x 0.4 = 31.2. What flows back, 36 mA x 1000 us twice, is below both."""
    long, strong, back = Phase(1000, 500), Phase(400, 1000), Phase(1000, -450)
    shape = (strong, back, long, back) if strong_first else (long, back, strong, back)
    played = PulseProgram((ChannelProgram(shape, 1, 1_000_000),))
    gate = CoreGate(lockstep, MAINS, played, session_limits(2, phase_charge_pc=39_200_000))
    refused = gate.review_target(0, 80_000)
    assert refused is not None
    told = (refused.limit, refused.asked, refused.allowed)
    figures = (32_000_000, 31_200_000) if strong_first else (40_000_000, 39_200_000)
    assert told == (limits.phase_charge_pc.wire_id, *figures)


# 7: contact and faults.


def rise_to_the_hold(host: Host, period_us: int) -> None:
    """Come to 2000 uA, where contact is judged, and stop right after that pulse."""
    for _ in range(1_100 * MS // period_us):
        host.drive(WantedState.RUNNING, 5_000)
        host.pass_time(period_us)
        if host.device._channels[0].setpoint_ua == 2_000:
            return
    raise AssertionError("the hold was not reached")


def test_contact_wants_5_good_pulses_in_all_and_keeps_what_was_proven(lockstep: Lockstep) -> None:
    """10 Hz, good and bad in turn (N is 2): the fifth good one at 800 ms, the next at 1000 ms."""
    host, twins = host_of(lockstep)
    host.start(one_channel(100_000))
    host.pass_time(50 * MS)
    rise_to_the_hold(host, 100 * MS)  # the first judged, a good one
    for number in range(1, 11):
        assert host.of(Event)[-1].code is not EventCode.CONTACT_GOOD
        twins.set_load(1, Load(15_000 if number % 2 else 500), host.now_us)
        host.drive(WantedState.RUNNING, 5_000)
        host.pass_time(100 * MS)
    good = [event for event in host.of(Event) if event.code is EventCode.CONTACT_GOOD]
    assert [(event.channel, event.detail) for event in good] == [(0, 500)]
    host.drive(WantedState.RUNNING, 1_000)
    row = host.status.channels[0]
    assert (row.contact, row.load_ohm) == (Contact.UNKNOWN, 0)
    host.keep(1 * S, 1_000)
    host.keep(1 * S, 5_000)
    assert host.status.channels[0].setpoint_ua > 2_000
    assert len([e for e in host.of(Event) if e.code is EventCode.CONTACT_GOOD]) == 1


def test_a_latched_lead_off_outlives_running_and_its_contact_does_not(lockstep: Lockstep) -> None:
    host, twins = host_of(lockstep)
    host.start(one_channel())
    twins.set_load(1, Load(1_000_000), host.now_us)
    host.keep(1_100 * MS, 5_000)
    latched = ChannelFlag.LEAD_OFF_LATCHED
    row = host.status.channels[0]
    assert (row.contact, row.load_ohm) == (Contact.OFF, 1_000_000)
    assert row.flags == latched | ChannelFlag.COMPLIANCE_REACHED
    # Told on while contact is OFF, in other states and epochs too.
    host.send(Stop())
    host.prepare(one_channel())
    host.send(Stop())
    row = host.status.channels[0]
    assert (row.contact, row.load_ohm) == (Contact.OFF, 1_000_000)
    assert row.flags == latched | ChannelFlag.COMPLIANCE_REACHED
    host.arm()
    host.drive(WantedState.RUNNING)
    row = host.status.channels[0]
    assert (row.contact, row.load_ohm, row.flags) == (Contact.UNKNOWN, 0, latched)
    answer = host.drive(WantedState.RUNNING, 100)
    assert isinstance(answer[0], Refused)
    assert (answer[0].reason, answer[0].channel) == (RefusalReason.LEAD_OFF_LATCHED, 0)


def test_weak_pulses_neither_count_nor_end_a_row(lockstep: Lockstep) -> None:
    """Every other pulse of 1 mA: 2 mA first at 1000 ms, so the third bad one is that of 1040 ms."""
    host, twins = host_of(lockstep)
    frames = (Keyframe(0, 1000, 1, 10_000), Keyframe(10, 500, 1, 10_000))
    host.start(one_channel(1, keyframes=frames, keyframe_cycle_ms=20))
    twins.set_load(1, Load(20_000), host.now_us)
    host.keep(5 * MS, 5_000)  # from here between two onsets
    host.keep(1_030 * MS, 5_000)
    assert host.of(Event)[-1].code is EventCode.STATE_CHANGED
    host.keep(10 * MS, 5_000)
    told = host.of(Event)[-1]
    assert (told.code, told.tick_ms, told.detail) == (EventCode.LEAD_OFF, 1_040, 20_000)


def test_re_arming_keeps_the_load_of_the_pulse_judged_last(lockstep: Lockstep) -> None:
    """Re-armed in a keyframe of half the amplitude, 2 mA give 1 mA: nothing is judged anew."""
    host, twins = host_of(lockstep)
    frames = (Keyframe(0, 1000, 1, 10_000), Keyframe(1_500, 500, 1, 10_000))
    host.start(one_channel(1, keyframes=frames, keyframe_cycle_ms=4_000))
    twins.set_load(1, Load(20_000), host.now_us)
    host.keep(1_100 * MS, 5_000)
    host.keep(500 * MS, 0)
    twins.set_load(1, Load(500), host.now_us)
    host.send(AcknowledgeFault(host.status.latch_count, 1))
    row = host.status.channels[0]
    assert (row.contact, row.load_ohm) == (Contact.UNKNOWN, 0)
    host.keep(1_500 * MS, 5_000)
    row = host.status.channels[0]
    assert (row.setpoint_ua, row.contact, row.load_ohm) == (2_000, Contact.UNKNOWN, 20_000)


def test_overcurrent_is_found_on_pulses_too_weak_for_contact(lockstep: Lockstep) -> None:
    """Five times too much: 1500 uA at 300 and 320 uA set, above 1330 and 1352; not 1000 at 280."""
    host, twins = host_of(lockstep)
    host.start(one_channel())
    twins.set_gain(1, 5_000, host.now_us)
    host.keep(500 * MS, 1_000)
    (fault,) = [event for event in host.of(Event) if event.code is EventCode.FAULT_LATCHED]
    # 20 uA at each onset from 10 ms on: 300 uA at 150 ms.
    assert (fault.detail, fault.tick_ms) == (FaultCode.OVERCURRENT, 160)


def test_only_latched_channels_are_re_armed_and_the_others_are_no_mistake(
    lockstep: Lockstep,
) -> None:
    host, twins = host_of(lockstep)
    host.start(one_channel())
    assert kinds(host.send(AcknowledgeFault(0, 3))) == ["Status"]
    twins.set_lead_off(1, True, host.now_us)
    host.keep(1_100 * MS, 5_000)
    count = host.status.latch_count
    assert kinds(host.send(AcknowledgeFault(count, 3))) == ["LEAD_OFF_CLEARED", "Status"]
    assert host.status.channels[0].flags is ChannelFlag.NONE
    (refused, _) = host.send(AcknowledgeFault(count, 4))
    assert isinstance(refused, Refused)
    told = (refused.reason, refused.channel, refused.asked, refused.allowed)
    assert told == (RefusalReason.CHANNELS, 255, 4, 2)
    host.send(Stop())
    (refused, _) = host.send(AcknowledgeFault(count, 0))
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.STATE


def test_noise_counts_since_the_device_was_last_safe(lockstep: Lockstep) -> None:
    host, _ = host_of(lockstep)
    host.prepare(one_channel())
    host.write(DAMAGED * 15)
    host.arm()
    host.write(DAMAGED * 15)
    host.drive(WantedState.SAFE)
    host.arm()
    host.write(DAMAGED * 15)
    assert host.state() is DeviceState.ARMED
    told = kinds(host.write(DAMAGED))
    assert told == ["STATE_CHANGED", "FAULT_LATCHED"]
    host.send(Stop())
    assert (host.status.fault, host.status.damaged_count) == (FaultCode.LINE_NOISE, 46)
    # Its cause is gone at once.
    told = kinds(host.send(AcknowledgeFault(host.status.latch_count, 0)))
    assert told == ["STATE_CHANGED", "FAULT_CLEARED", "Status"]


@pytest.mark.parametrize(("apart_us", "is_noise"), [(1 * S - 1, True), (1 * S, False)])
def test_16_damaged_frames_are_noise_within_less_than_a_second(
    lockstep: Lockstep, apart_us: int, is_noise: bool
) -> None:
    """One, and 15 more a second later or 1 us sooner."""
    host, _ = host_of(lockstep)
    host.prepare(one_channel())
    host.arm()
    ends_us = host.now_us + apart_us
    host.write(DAMAGED)
    while host.now_us < ends_us:
        host.drive(WantedState.ARMED)
        host.pass_time(min(250 * MS, ends_us - host.now_us))
    host.write(DAMAGED * 15)
    assert (host.state() is DeviceState.FAULT) is is_noise


def test_a_fault_takes_the_place_of_another_and_is_told(lockstep: Lockstep) -> None:
    host, twins = host_of(lockstep)
    host.hello()
    twins.set_battery(4, host.now_us)
    assert kinds(host.collect()) == ["STATE_CHANGED", "FAULT_LATCHED"]
    twins.set_battery(3, host.now_us)
    assert kinds(host.collect()) == []
    twins.set_patient_stop(True, host.now_us)
    assert kinds(host.collect()) == ["PATIENT_STOP", "FAULT_LATCHED"]
    twins.set_battery(2, host.now_us)
    host.send(Stop())
    assert (host.status.fault, host.status.latch_count) == (FaultCode.PATIENT_STOP, 2)
    twins.set_patient_stop(False, host.now_us)
    (_, refused, _) = host.send(AcknowledgeFault(2, 0))
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.CAUSE_PRESENT  # the supply


@pytest.mark.hazard(27)
def test_a_device_that_boots_below_5_percent_latches_nothing_and_does_not_arm(
    lockstep: Lockstep,
) -> None:
    host, twins = host_of(lockstep, DeviceSettings(battery_percent=4))
    host.prepare(one_channel())
    answer = host.drive(WantedState.ARMED)
    assert isinstance(answer[0], Refused)
    assert (answer[0].reason, answer[0].asked) == (RefusalReason.CAUSE_PRESENT, 4)
    twins.set_battery(3, host.now_us)
    host.pass_time(250 * MS)
    assert (host.status.state, host.status.fault) == (DeviceState.SAFE, FaultCode.NONE)


def test_running_time_ends_one_ms_after_its_limit_and_the_lease_comes_first(
    lockstep: Lockstep,
) -> None:
    """RUNNING from tick 0: 319 ms allowed end at 320 ms, when the lease of that tick ends."""
    for running_ms, at_ms, fault in (
        (318, 319, FaultCode.RUNNING_TIME),
        (319, 320, FaultCode.LEASE_EXPIRED),
    ):
        host, _ = host_of(lockstep)
        host.start(one_channel(), session_limits(2, running_ms=running_ms))
        host.pass_time(at_ms * MS - 1)
        assert host.state() is DeviceState.RUNNING
        host.pass_time(1)
        host.send(Stop())
        assert host.status.fault is fault


# 8: Status.


def test_a_status_has_every_channel_and_keeps_the_figures_of_the_last_run(
    lockstep: Lockstep,
) -> None:
    host, _ = host_of(lockstep, dataclasses.replace(MAINS, channel_count=3))
    host.prepare(one_channel())
    assert (host.drive(WantedState.ARMED)[-1], host.status.running_ms) == (host.status, 0)
    host.drive(WantedState.RUNNING)
    host.keep(1 * S, 2_000)
    host.drive(WantedState.RUNNING, 2_000)
    assert [row.cycle_phase for row in host.status.channels] == [
        CyclePhase.PLATEAU, CyclePhase.IDLE, CyclePhase.IDLE,
    ]  # fmt: skip
    count = host.status.channels[0].pulse_count
    # 20 uA a pulse from the second on: the sixth and all later ones carry 100 uA; one at 1000 ms.
    assert count == 100 - 5 + 1
    host.send(Stop())
    host.pass_time(500 * MS)
    assert (host.status.running_ms, host.status.channels[0].pulse_count) == (1_000, count)
    host.arm()
    host.drive(WantedState.RUNNING)
    assert (host.status.running_ms, host.status.channels[0].pulse_count) == (0, 0)


def test_pulses_without_current_are_not_counted(lockstep: Lockstep) -> None:
    host, twins = host_of(lockstep)
    host.start(one_channel())
    twins.set_lead_off(1, True, host.now_us)
    host.keep(500 * MS, 1_000)
    assert host.status.channels[0].setpoint_ua > 500
    assert host.status.channels[0].pulse_count == 0


def test_a_status_tells_the_moment_in_which_it_leaves() -> None:
    """The simulator alone: the core's frames are taken at once. Two Drives, one Status."""
    device = VirtualDevice(MAINS)
    host = Host(MAINS, device=device)
    host.prepare(one_channel())
    host.arm()
    status = host.status
    raw = host.connection.send(Stop()) + host.connection.send(Stop())
    device.receive(raw, 40 * MS)
    host.now_us = 47 * MS
    fresh = host.collect()
    assert kinds(fresh) == ["STOP_RECEIVED", "STATE_CHANGED", "STOP_RECEIVED", "Status"]
    assert [e.tick_ms for e in fresh if isinstance(e, Event)] == [40, 40, 40]
    assert isinstance(fresh[-1], Status)
    assert (status.tick_ms, fresh[-1].tick_ms) == (0, 47)
