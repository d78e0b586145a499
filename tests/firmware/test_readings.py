"""What PROTOCOL.md says in one sentence where two readings were possible: both devices do it.

The figures are worked out by hand; `core.Twins` adds that simulator and C core do the same.
"""

from __future__ import annotations

import dataclasses
import zlib

import pytest

from estim.simulator.device import DeviceSettings, VirtualDevice
from estim.simulator.load import Load
from firmware_protocol import codec, framing, limits
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    AcknowledgeFault,
    Adoption,
    BeginProgram,
    ChannelFlag,
    CommitProgram,
    Contact,
    CyclePhase,
    DeviceState,
    Event,
    EventCode,
    FaultCode,
    Hello,
    Identity,
    Message,
    PolicyFlag,
    ProgramAccepted,
    ProgramFlag,
    ProgramPhases,
    RefusalReason,
    Refused,
    Status,
    Stop,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from firmware_protocol.schema import SCHEMA_HASH
from tests.firmware.core import CoreGate, Lockstep, Twins
from tests.simulator.host import BIPHASIC, EPOCH, MS, Host, S, one_channel, session_limits

DAMAGED = b"\x05\x01\0"
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


# Chapter 1 and 3.1: epochs.


def epochs(twins: Twins, raw: bytes, now_us: int) -> list[tuple[str, int]]:
    """Return kind and epoch of everything that comes back."""
    twins.receive(raw, now_us)
    frames = twins.take_output(now_us).split(b"\0")[:-1]
    bodies = [codec.decode_body(framing.decode_frame(frame)) for frame in frames]
    return [(type(body.message).__name__, body.epoch) for body in bodies]


def test_a_device_answers_in_its_own_epoch_which_is_0_at_first(lockstep: Lockstep) -> None:
    host, twins = host_of(lockstep)
    assert epochs(twins, host.connection.send(Stop(), 77), 0) == [("Status", 0)]
    hello = Hello(PROTOCOL_VERSION, SCHEMA_HASH)
    taken = epochs(twins, host.connection.send(hello), 0)
    assert taken == [("Identity", EPOCH), ("Event", EPOCH)]
    stopped = epochs(twins, host.connection.send(Stop(), 77), 0)
    assert stopped == [("Event", EPOCH), ("Status", EPOCH)]
    other = epochs(twins, host.connection.send(Hello(PROTOCOL_VERSION, SCHEMA_HASH ^ 1), 77), 0)
    assert other == [("Identity", 77)]


def test_epoch_0_is_taken_like_any_other(lockstep: Lockstep) -> None:
    host, twins = host_of(lockstep)
    raw = host.connection.send(Hello(PROTOCOL_VERSION, SCHEMA_HASH), 0)
    assert epochs(twins, raw, 0) == [("Identity", 0), ("Event", 0)]
    assert twins.take_output(250 * MS) != b"", "a Status of its own accord"


def test_a_hello_that_ends_armed_tells_so_in_the_epoch_before(lockstep: Lockstep) -> None:
    host, twins = host_of(lockstep)
    host.prepare(one_channel())
    host.arm()
    raw = host.connection.send(Hello(PROTOCOL_VERSION, SCHEMA_HASH), 99)
    assert epochs(twins, raw, 0) == [("Event", EPOCH), ("Identity", 99), ("Event", 99)]


def test_a_hello_of_the_same_epoch_begins_again_and_counts_on(lockstep: Lockstep) -> None:
    host, _ = host_of(lockstep)
    host.prepare(one_channel())
    host.arm()
    accepted = host.status.drive_sequence
    answer = host.hello()
    assert kinds(answer) == ["STATE_CHANGED", "Identity", "EPOCH_ADOPTED"]
    assert isinstance(answer[1], Identity)
    assert answer[1].adoption is Adoption.ADOPTED
    host.send(Stop())
    status = host.status
    assert (status.program_digest, status.drive_sequence) == (0, accepted)
    # BOOTED, EPOCH_ADOPTED, ARMED, SAFE, EPOCH_ADOPTED, STOP_RECEIVED.
    assert status.event_count == 6


# 3.4 and 5: programmes.


def test_where_keyframes_are_the_channels_own_unit_and_period_do_not_matter(
    lockstep: Lockstep,
) -> None:
    host = loader(lockstep)
    frames = (Keyframe(0, 1000, 1, 10_000),)
    free = ChannelProgram(BIPHASIC, 0, 0, keyframes=frames, keyframe_cycle_ms=10)
    assert load_result(host, PulseProgram((free,))) is None
    bare = ChannelProgram(BIPHASIC, 0, 10_000)
    assert load_result(host, PulseProgram((bare,))) is RefusalReason.PROGRAM
    frames = (Keyframe(0, 1000, 0, 10_000),)
    bare = ChannelProgram(BIPHASIC, 1, 10_000, keyframes=frames, keyframe_cycle_ms=10)
    assert load_result(host, PulseProgram((bare,))) is RefusalReason.PROGRAM


def test_a_burst_is_as_many_whole_periods_as_it_has_pulses(lockstep: Lockstep) -> None:
    """3 x 10 ms fit into 30 ms; two periods and a pulse, 20.4 ms, would fit sooner."""
    host = loader(lockstep)
    for burst_period_us, reason in ((30_000, None), (29_999, RefusalReason.PROGRAM)):
        burst = one_channel(pulses_per_burst=3, burst_period_us=burst_period_us)
        assert load_result(host, burst) is reason


@pytest.mark.parametrize(
    ("offset_us", "is_taken"),
    [(399, False), (400, True), (9_600, True), (9_601, False), (15_000, False)],
)
def test_two_channels_together_are_apart_by_one_lead(
    lockstep: Lockstep, offset_us: int, is_taken: bool
) -> None:
    """Pulses of 400 us every 10 ms; a lead of 15 ms is refused though they never meet."""
    host = loader(lockstep)
    channels = [ChannelProgram(BIPHASIC, 1, 10_000, offset) for offset in (0, offset_us)]
    for each in (channels, channels[::-1]):
        reason = load_result(host, PulseProgram(tuple(each)))
        assert reason is (None if is_taken else RefusalReason.PROGRAM)


def test_a_lead_must_do_for_the_shortest_of_several_periods(lockstep: Lockstep) -> None:
    host = loader(lockstep)
    frames = (Keyframe(0, 1000, 1, 10_000), Keyframe(100, 1000, 1, 5_000))
    first = ChannelProgram(BIPHASIC, 1, 1, keyframes=frames, keyframe_cycle_ms=200)
    for lead_us, reason in ((4_600, None), (4_601, RefusalReason.PROGRAM)):
        late = dataclasses.replace(first, pulse_offset_us=lead_us)
        assert load_result(host, PulseProgram((first, late))) is reason


def test_cycles_in_turn_may_touch_and_not_meet(lockstep: Lockstep) -> None:
    """On for 450 ms of 1000: 450 to 550 ms later, modulo 1000."""
    host = loader(lockstep)
    for offset_ms in (449, 450, 550, 551, 1_450, 1_551):
        channels = [
            ChannelProgram(BIPHASIC, 1, 10_000, cycle=Cycle(100, 300, 50, 550, offset))
            for offset in (0, offset_ms)
        ]
        is_taken = 450 <= offset_ms % 1000 <= 550
        assert (load_result(host, PulseProgram(tuple(channels))) is None) is is_taken


def test_what_no_device_has_is_form_and_what_this_one_lacks_is_capability(
    lockstep: Lockstep,
) -> None:
    host = loader(lockstep)
    begin, phases = one_channel().messages()
    assert isinstance(phases, ProgramPhases)

    def commit(*loading: Message) -> Refused:
        for message in loading:
            host.send(message)
        digest = zlib.crc32(b"".join(codec.encode_payload(message) for message in loading))
        (answer,) = host.send(CommitProgram(digest))
        assert isinstance(answer, Refused)
        return answer

    assert commit(BeginProgram(0, ProgramFlag.NONE)).reason is RefusalReason.PROGRAM
    channels = [dataclasses.replace(phases, channel=n) for n in range(5)]
    for count, reason in ((3, RefusalReason.CAPABILITY), (5, RefusalReason.PROGRAM)):
        loading = (BeginProgram(count, ProgramFlag.ALLOW_OVERLAP), *channels[:count])
        refused = commit(*loading)
        assert (refused.reason, refused.channel) == (reason, 255)
    frames = (Keyframe(0, 1000, 1, 10_000), Keyframe(5, 1001, 1, 10_000))
    above = ChannelProgram(BIPHASIC, 1, 10_000, keyframes=frames, keyframe_cycle_ms=10)
    assert commit(*PulseProgram((above,)).messages()).reason is RefusalReason.PROGRAM
    assert commit(begin, dataclasses.replace(phases, keyframe_count=33)).reason is (
        RefusalReason.PROGRAM
    )


def test_capability_of_all_channels_comes_before_the_limits_of_any(lockstep: Lockstep) -> None:
    """Channel 0 has a run of 1200 us, a limit; channel 1 a phase of 2000 us on a device of 1000."""
    host = loader(lockstep)
    run = (Phase(600, 1000), Phase(600, 1000), Phase(600, -1000), Phase(600, -1000))
    long = (Phase(2000, 1000), Phase(2000, -1000))
    channels = [ChannelProgram(shape, 1, 20_000) for shape in (run, long)]
    (answer,) = host.load(PulseProgram(tuple(channels), allow_overlap=True))
    assert isinstance(answer, Refused)
    told = (answer.reason, answer.limit, answer.channel, answer.asked, answer.allowed)
    assert told == (RefusalReason.CAPABILITY, 0, 1, 2000, 1000)
    (answer,) = host.load(PulseProgram((channels[0],)))
    assert isinstance(answer, Refused)
    told = (answer.reason, answer.limit, answer.channel, answer.asked, answer.allowed)
    assert told == (RefusalReason.LIMIT, limits.phase_duration_us.wire_id, 0, 1200, 1000)


def test_after_a_commit_another_one_changes_nothing(lockstep: Lockstep) -> None:
    host, _ = host_of(lockstep)
    host.prepare(one_channel())
    (answer,) = host.send(CommitProgram(one_channel().digest))
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.PROGRAM
    host.arm()
    host.send(Stop())
    host.send(one_channel().messages()[0])
    assert host.send(Stop())[-1] == host.status
    assert host.status.program_digest == 0


# 4: Drives.


def test_the_chart_of_chapter_4(lockstep: Lockstep) -> None:
    host, twins = host_of(lockstep)
    host.prepare(one_channel())
    told: list[tuple[int, list[str]]] = []

    def until(tick_ms: int) -> None:
        while host.tick_ms < tick_ms:
            told.append((host.tick_ms + 1, kinds(host.pass_time(1 * MS))))

    def drive(wanted: WantedState, target_ua: int, echoed_ms: int) -> list[str]:
        return kinds(host.drive(wanted, target_ua, echoed_tick_ms=echoed_ms))

    until(1010)
    assert drive(WantedState.ARMED, 0, 1000) == ["STATE_CHANGED", "Status"]
    until(1060)
    assert drive(WantedState.RUNNING, 0, 1010) == ["STATE_CHANGED", "Status"]
    told.clear()
    until(1105)
    assert drive(WantedState.RUNNING, 5_000, 1085) == ["Status"]
    until(1150)
    assert drive(WantedState.RUNNING, 200_000, 1130) == ["Refused", "Status"]
    assert host.status.channels[0].target_ua == 5_000
    until(1920)
    assert [(tick, each) for tick, each in told if each] == [
        *((tick, ["Status"]) for tick in (1085, 1130, *range(1175, 1401, 25))),
        (1405, ["STATE_CHANGED", "FAULT_LATCHED"]),
        (1425, ["Status"]),
        (1675, ["Status"]),
    ]
    assert host.status.fault is FaultCode.LEASE_EXPIRED
    # Onsets every 10 ms from 1060 on: 20 uA each from 1110 on, and so 100 uA, the grid, at 1150.
    assert twins.trace.onsets()[0] == 1_150 * MS
    assert twins.trace.onsets()[-1] == 1_400 * MS


def test_a_drive_below_running_with_targets_takes_output_away_and_nothing_else(
    lockstep: Lockstep,
) -> None:
    host, _ = host_of(lockstep)
    host.prepare(one_channel())
    assert kinds(host.drive(WantedState.ARMED, 1_000)) == ["Refused", "Status"]
    assert (host.status.state, host.status.drive_sequence) == (DeviceState.SAFE, 0)
    host.arm()
    host.drive(WantedState.RUNNING)
    host.drive(WantedState.RUNNING, 2_000)
    accepted, began_us = host.status.drive_sequence, host.now_us
    assert accepted == host.connection.last_sequence
    host.pass_time(100 * MS)
    answer = host.drive(WantedState.ARMED, 1_000)
    assert kinds(answer) == ["STATE_CHANGED", "Refused", "Status"]
    assert (host.status.state, host.status.drive_sequence) == (DeviceState.ARMED, accepted)
    # The lease is still that of the Drive before: 320 ms.
    host.pass_time(began_us + 320 * MS - 1 - host.now_us)
    assert host.state() is DeviceState.ARMED
    host.pass_time(1)
    assert host.state() is DeviceState.SAFE


@pytest.mark.parametrize("wanted", [WantedState.SAFE, WantedState.ARMED])
def test_a_drive_below_running_is_accepted_in_fault_and_changes_nothing(
    lockstep: Lockstep, wanted: WantedState
) -> None:
    host, twins = host_of(lockstep)
    host.prepare(one_channel())
    twins.set_patient_stop(True, host.now_us)
    host.collect()
    host.limits_digest ^= 1
    assert kinds(host.drive(wanted, 1_000)) == ["Status"]
    assert host.status.state is DeviceState.FAULT
    assert host.status.drive_sequence == host.connection.last_sequence
    answer = host.drive(WantedState.RUNNING)
    assert isinstance(answer[0], Refused)
    assert answer[0].reason is RefusalReason.FAULT_LATCHED


def test_what_hinders_arming_is_told_in_order(lockstep: Lockstep) -> None:
    own = DeviceSettings(has_patient_stop=False, battery_percent=9)
    host, twins = host_of(lockstep, own)
    host.hello()
    host.set_limits(session_limits(2, policy=PolicyFlag.REQUIRE_PATIENT_STOP))

    def refused() -> Refused:
        answer = host.drive(WantedState.ARMED, 0)
        assert isinstance(answer[0], Refused)
        return answer[0]

    host.limits_digest ^= 1
    host.program_digest = 1
    assert refused().reason is RefusalReason.NO_PROGRAM
    host.load(one_channel())
    host.program_digest ^= 1
    assert refused().reason is RefusalReason.PROGRAM_DIGEST
    host.program_digest ^= 1
    assert refused().reason is RefusalReason.LIMITS_DIGEST
    host.limits_digest ^= 1
    assert refused().reason is RefusalReason.PATIENT_STOP_MISSING
    host.set_limits(session_limits(2))
    told = refused()
    assert (told.reason, told.channel, told.asked) == (RefusalReason.CAUSE_PRESENT, 255, 9)
    twins.set_battery(10, host.now_us)
    host.arm()


def test_targets_and_limits_are_judged_channel_by_channel(lockstep: Lockstep) -> None:
    """Channel 0 asks too much average, channel 1 too much amplitude: channel 0 is named."""
    shape = ChannelProgram(BIPHASIC, 1, 10_000)
    played = PulseProgram((shape, dataclasses.replace(shape, pulse_offset_us=5_000)))
    gate = CoreGate(lockstep, MAINS, played, session_limits(2, average_ua=300))
    answer = gate.host.drive(WantedState.RUNNING, 10_000, 200_000)
    assert isinstance(answer[0], Refused)
    # 100 x 400 us x 10 mA in a second.
    told = (answer[0].limit, answer[0].channel, answer[0].asked, answer[0].allowed)
    assert told == (limits.average_ua.wire_id, 0, 400, 300)
    gate.host.send(Stop())
    good = session_limits(2).channels[0]
    rows = (
        dataclasses.replace(good, average_ua=10_001),
        dataclasses.replace(good, amplitude_ua=100_001),
    )
    both = dataclasses.replace(session_limits(2, step_ua=99), channels=rows)
    for sent, limit, channel in (
        (both, limits.step_ua, 255),
        (dataclasses.replace(both, step_ua=100), limits.average_ua, 0),
    ):
        (answer_to,) = gate.host.send(sent)
        assert isinstance(answer_to, Refused)
        assert (answer_to.limit, answer_to.channel) == (limit.wire_id, channel)


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
    assert kinds(host.collect()) == ["FAULT_LATCHED"]
    twins.set_patient_stop(True, host.now_us)
    assert kinds(host.collect()) == ["PATIENT_STOP", "FAULT_LATCHED"]
    host.send(Stop())
    assert (host.status.fault, host.status.latch_count) == (FaultCode.PATIENT_STOP, 3)
    twins.set_patient_stop(False, host.now_us)
    (_, refused, _) = host.send(AcknowledgeFault(3, 0))
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.CAUSE_PRESENT  # the supply


def test_a_device_that_boots_below_5_percent_latches_nothing_and_does_not_arm(
    lockstep: Lockstep,
) -> None:
    host, _ = host_of(lockstep, DeviceSettings(battery_percent=4))
    host.prepare(one_channel())
    answer = host.drive(WantedState.ARMED)
    assert isinstance(answer[0], Refused)
    assert (answer[0].reason, answer[0].asked) == (RefusalReason.CAUSE_PRESENT, 4)
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
