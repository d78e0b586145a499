"""What PROTOCOL.md says in one sentence where two readings were possible: chapters 1 to 5.

Both devices do it: the figures are worked out by hand, and `core.Twins` adds that simulator and C
core do the same.
"""

from __future__ import annotations

import dataclasses
import zlib

import pytest

from estim.simulator.device import DeviceSettings
from firmware_protocol import codec, framing, limits
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    Adoption,
    BeginProgram,
    CommitProgram,
    DeviceState,
    FaultCode,
    Hello,
    Identity,
    Message,
    PolicyFlag,
    ProgramFlag,
    ProgramPhases,
    RefusalReason,
    Refused,
    Stop,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from firmware_protocol.schema import SCHEMA_HASH
from tests.firmware.core import CoreGate, Lockstep, Twins
from tests.firmware.readings import MAINS, host_of, kinds, load_result, loader
from tests.simulator.host import BIPHASIC, EPOCH, MS, one_channel, session_limits

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


@pytest.mark.hazard(44)
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
