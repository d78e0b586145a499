"""What the device does with each message: epochs, limits, programmes, arming, refusals."""

from __future__ import annotations

import pytest

from estim.simulator.device import DeviceSettings
from firmware_protocol.connection import Connection, Received, Role
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    AcknowledgeFault,
    Adoption,
    BeginProgram,
    Capabilities,
    CapabilityFlag,
    CommitProgram,
    DeviceState,
    Drive,
    Event,
    EventCode,
    FaultCode,
    GetCapabilities,
    GetEvents,
    Hello,
    Identity,
    KeyframeRow,
    LimitsAccepted,
    Message,
    PhaseRow,
    PolicyFlag,
    ProgramAccepted,
    ProgramFlag,
    ProgramKeyframes,
    ProgramPhases,
    RefusalReason,
    Refused,
    SelfTest,
    SelfTestReport,
    Status,
    Stop,
    TargetRow,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from firmware_protocol.schema import SCHEMA_HASH
from tests.simulator.host import BIPHASIC, EPOCH, MS, Host, S, one_channel, session_limits

UNEQUAL = (Phase(100, 1000), Phase(400, -250))


def refusal(answer: list[Message]) -> Refused:
    (only,) = (message for message in answer if isinstance(message, Refused))
    return only


# Epochs and identity.


def test_before_an_epoch_only_hello_and_stop_are_answered() -> None:
    host = Host()
    assert host.send(GetCapabilities()) == []
    assert host.send(SelfTest()) == []
    host.write(host.connection.send(Stop()))
    peer = Connection(Role.HOST, 0)
    host.device.receive(Connection(Role.HOST, EPOCH).send(Stop()), host.now_us)
    peer.receive_bytes(host.device.take_output(host.now_us))
    answer = peer.next_event()
    assert isinstance(answer, Received)
    assert isinstance(answer.message, Status)
    assert answer.epoch == 0


def test_hello_adopts_the_epoch_and_says_who_this_is() -> None:
    host = Host(DeviceSettings(serial_number="A-17", boot_us=5 * S))
    host.now_us += 1_234_567
    identity = host.hello()[0]
    assert isinstance(identity, Identity)
    assert identity.adoption is Adoption.ADOPTED
    assert (identity.serial_number, identity.tick_ms) == ("A-17", 1_234)
    assert identity.state is DeviceState.SAFE


@pytest.mark.hazard(17)
@pytest.mark.parametrize(
    "hello",
    [Hello(PROTOCOL_VERSION + 1, SCHEMA_HASH), Hello(PROTOCOL_VERSION, SCHEMA_HASH ^ 1)],
    ids=["version", "schema"],
)
def test_another_language_is_told_and_not_adopted(hello: Hello) -> None:
    host = Host()
    (identity,) = host.send(hello)
    assert isinstance(identity, Identity)
    assert identity.adoption is Adoption.SCHEMA_MISMATCH
    assert identity.schema_hash == SCHEMA_HASH
    assert host.send(GetCapabilities()) == []


@pytest.mark.hazard(13)
def test_hello_in_running_is_answered_and_changes_nothing() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(1 * S, 1_000)
    intruder = Connection(Role.HOST, EPOCH + 1)
    host.device.receive(intruder.send(Hello(PROTOCOL_VERSION, SCHEMA_HASH)), host.now_us)
    intruder.receive_bytes(host.device.take_output(host.now_us))
    event = intruder.next_event()
    assert isinstance(event, Received)
    assert isinstance(event.message, Identity)
    assert event.message.adoption is Adoption.ENERGISED
    host.drive(WantedState.RUNNING, 1_000)
    assert host.status.state is DeviceState.RUNNING
    assert host.status.channels[0].target_ua == 1_000


@pytest.mark.hazard(13)
def test_a_new_epoch_unloads_everything_and_disarms() -> None:
    host = Host()
    host.prepare(one_channel(), session_limits(amplitude_ua=20_000))
    host.arm()
    compiled = session_limits()
    host.connection = Connection(Role.HOST, EPOCH + 1)
    host.hello()
    host.send(Stop())
    assert host.status.state is DeviceState.SAFE
    assert host.status.program_digest == 0
    host.prepare(one_channel())
    host.set_limits(compiled)
    assert host.status.limits_digest == host.limits_digest


def test_a_new_epoch_leaves_a_fault_latched() -> None:
    host = Host()
    host.hello()
    host.device.set_patient_stop(True, host.now_us)
    host.connection = Connection(Role.HOST, EPOCH + 1)
    assert isinstance(host.hello()[0], Identity)
    host.send(Stop())
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.PATIENT_STOP)


@pytest.mark.hazard(15, 31)
def test_messages_of_another_epoch_are_ignored_but_stop_is_not() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(1 * S, 1_000)
    other = EPOCH + 1
    drive = Drive(
        WantedState.RUNNING, host.tick_ms, host.program_digest, host.limits_digest, (TargetRow(5),)
    )
    assert host.send(drive, other) == []
    assert host.send(GetCapabilities(), other) == []
    host.send(Stop(), other)
    assert host.status.state is DeviceState.SAFE


@pytest.mark.hazard(12)
def test_an_old_sequence_is_dropped() -> None:
    host = Host()
    host.start(one_channel())
    late = host.connection.send(
        Drive(WantedState.RUNNING, 0, host.program_digest, host.limits_digest, (TargetRow(9_000),))
    )
    host.drive(WantedState.RUNNING, 1_000)
    assert host.write(late) == []
    host.drive(WantedState.RUNNING, 1_000)
    assert host.status.channels[0].target_ua == 1_000


# Where each message is allowed.

SAFE_ONLY: list[Message] = [
    session_limits(),
    BeginProgram(1, ProgramFlag.NONE),
    ProgramPhases(0, 1, 10_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (PhaseRow(1, 1000),)),
    ProgramKeyframes(0, 0, (KeyframeRow(0, 1000, 1, 10_000),)),
    CommitProgram(1),
    SelfTest(),
]


@pytest.mark.hazard(24)
@pytest.mark.parametrize("message", SAFE_ONLY, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("state", [DeviceState.ARMED, DeviceState.RUNNING, DeviceState.FAULT])
def test_settings_change_in_safe_alone(message: Message, state: DeviceState) -> None:
    host = Host()
    host.prepare(one_channel())
    host.arm()
    if state is DeviceState.RUNNING:
        host.drive(WantedState.RUNNING)
    if state is DeviceState.FAULT:
        host.device.set_patient_stop(True, host.now_us)
    host.collect()
    refused = refusal(host.send(message))
    assert (refused.reason, refused.message) == (RefusalReason.STATE, message.message_id)
    host.send(GetCapabilities())
    assert host.of(Capabilities)
    assert host.state() is state


# Limits.


def test_compiled_limits_are_in_force_at_first() -> None:
    host = Host()
    host.hello()
    host.send(Stop())
    assert host.status.limits_digest == host.limits_digest


def test_a_smaller_device_has_smaller_compiled_limits() -> None:
    host = Host(DeviceSettings(amplitude_max_ua=60_000, channel_count=1))
    host.hello()
    asked = session_limits(1, amplitude_ua=60_001)
    refused = refusal(host.set_limits(asked))
    assert (refused.limit, refused.asked, refused.allowed) == (1, 60_001, 60_000)


@pytest.mark.parametrize(
    ("name", "wire_id", "lowest", "highest"),
    [
        ("setpoint_slew_ua_per_s", 13, 1, 2000),
        ("rise_per_cycle_ua", 14, 1, 2000),
        ("step_ua", 15, 100, 1000),
        ("running_ms", 18, 1, 10_800_000),
        ("amplitude_ua", 1, 0, 100_000),
        ("phase_charge_pc", 5, 0, 48_000_000),
        ("rms_ua", 8, 0, 50_000),
        ("average_ua", 9, 0, 10_000),
    ],
)
def test_each_session_limit_is_held_to_its_edges(
    name: str, wire_id: int, lowest: int, highest: int
) -> None:
    host = Host()
    host.hello()
    for inside in (lowest, highest):
        assert isinstance(host.set_limits(session_limits(**{name: inside}))[0], LimitsAccepted)
    in_force = host.limits_digest
    for outside, allowed in ((highest + 1, highest), (lowest - 1, lowest)):
        if outside >= 0:
            refused = refusal(host.set_limits(session_limits(**{name: outside})))
            assert refused.reason is RefusalReason.LIMIT
            assert (refused.limit, refused.asked, refused.allowed) == (wire_id, outside, allowed)
    host.send(Stop())
    assert host.status.limits_digest == in_force


def test_limits_need_one_row_for_each_channel() -> None:
    host = Host()
    host.hello()
    refused = refusal(host.set_limits(session_limits(channel_count=1)))
    assert (refused.reason, refused.asked, refused.allowed) == (RefusalReason.CHANNELS, 1, 2)


# Programmes.


def test_a_programme_is_accepted_by_its_digest_alone() -> None:
    host = Host()
    host.hello()
    program = one_channel()
    for message in program.messages():
        assert host.send(message) == []
    refused = refusal(host.send(CommitProgram(program.digest ^ 1)))
    assert refused.reason is RefusalReason.PROGRAM_DIGEST
    assert host.load(program) == [ProgramAccepted(host.connection.last_sequence, program.digest)]


def test_begin_unloads_and_a_commit_without_parts_is_refused() -> None:
    host = Host()
    host.prepare(one_channel())
    host.send(BeginProgram(1, ProgramFlag.NONE))
    host.send(Stop())
    assert host.status.program_digest == 0
    assert refusal(host.send(CommitProgram(0))).reason is RefusalReason.PROGRAM
    assert refusal(host.send(CommitProgram(0))).reason is RefusalReason.PROGRAM


@pytest.mark.hazard(3)
def test_an_unbalanced_programme_is_refused() -> None:
    host = Host()
    host.hello()
    program = one_channel(phases=(Phase(200, 1000), Phase(201, -1000)))
    assert refusal(host.load(program)).reason is RefusalReason.PROGRAM


def test_endless_programme_parts_stay_bounded() -> None:
    host = Host()
    host.hello()
    host.send(BeginProgram(1, ProgramFlag.NONE))
    part = ProgramKeyframes(0, 0, (KeyframeRow(0, 1000, 1, 10_000),))
    for _ in range(200):
        host.send(part)
    assert len(host.device._loading) <= 134  # 1 + 4 x (1 + 32), and one too many
    assert refusal(host.send(CommitProgram(0))).reason is RefusalReason.PROGRAM


def test_a_programme_may_come_one_keyframe_a_message() -> None:
    """The largest programme: 4 channels of 32 keyframes in 133 messages."""
    host = Host(DeviceSettings(channel_count=4))
    host.hello()
    frames = tuple(Keyframe(10 * n, 1000, 100, 10_000) for n in range(32))
    channel = ChannelProgram(
        (Phase(1, 1000), Phase(1, -1000)), 100, 10_000, keyframes=frames, keyframe_cycle_ms=1000
    )
    program = PulseProgram((channel,) * 4, allow_overlap=True)
    for message in program.messages():
        if not isinstance(message, ProgramKeyframes):
            host.send(message)
            continue
        for at, row in enumerate(message.keyframes):
            host.send(ProgramKeyframes(message.channel, message.first_index + at, (row,)))
    answer = host.send(CommitProgram(program.digest))
    assert isinstance(answer[0], ProgramAccepted)


MODULATED = {"keyframes": (Keyframe(0, 1000, 1, 10_000),), "keyframe_cycle_ms": 5}


@pytest.mark.parametrize(
    ("settings", "channel"),
    [
        (DeviceSettings(phases_max=1), ChannelProgram(BIPHASIC, 1, 10_000)),
        (DeviceSettings(keyframes_max=0), ChannelProgram(BIPHASIC, 1, 10_000, **MODULATED)),  # type: ignore[arg-type]
        (DeviceSettings(phase_max_us=199), ChannelProgram(BIPHASIC, 1, 10_000)),
        (DeviceSettings(phase_min_us=201), ChannelProgram(BIPHASIC, 1, 10_000)),
        (DeviceSettings(pulse_period_min_us=10_001), ChannelProgram(BIPHASIC, 1, 10_000)),
        (
            DeviceSettings(flags=~CapabilityFlag.UNEQUAL_PHASES),
            ChannelProgram(UNEQUAL, 1, 10_000),
        ),
        (
            DeviceSettings(flags=~CapabilityFlag.HOLDS_CYCLE),
            ChannelProgram(BIPHASIC, 1, 10_000, cycle=Cycle(0, 1, 0, 0)),
        ),
        (
            DeviceSettings(flags=~CapabilityFlag.HOLDS_KEYFRAMES),
            ChannelProgram(BIPHASIC, 1, 10_000, **MODULATED),  # type: ignore[arg-type]
        ),
        (
            DeviceSettings(flags=~CapabilityFlag.HOLDS_BURST),
            ChannelProgram(BIPHASIC, 1, 10_000, pulses_per_burst=2, burst_period_us=50_000),
        ),
    ],
    ids=[
        "phases", "keyframes", "phase too long", "phase too short", "period", "unequal", "cycle",
        "modulation", "burst",
    ],
)  # fmt: skip
def test_what_the_device_cannot_do_is_refused(
    settings: DeviceSettings, channel: ChannelProgram
) -> None:
    host = Host(settings)
    host.hello()
    assert refusal(host.load(PulseProgram((channel,)))).reason is RefusalReason.CAPABILITY
    able = Host()
    able.hello()
    assert isinstance(able.load(PulseProgram((channel,)))[0], ProgramAccepted)


def test_more_channels_than_the_device_has_are_refused() -> None:
    host = Host(DeviceSettings(channel_count=1))
    host.hello()
    apart = ChannelProgram(BIPHASIC, 1, 10_000, pulse_offset_us=5_000)
    refused = refusal(host.load(PulseProgram((ChannelProgram(BIPHASIC, 1, 10_000), apart))))
    assert (refused.reason, refused.asked, refused.allowed) == (RefusalReason.CAPABILITY, 2, 1)


WIDE = DeviceSettings(phase_min_us=1, phase_max_us=5_000)


@pytest.mark.parametrize(("duration_us", "is_allowed"), [(9, 0), (10, 1), (1000, 1), (1001, 0)])
def test_phase_duration_is_limited_whatever_the_device_can(
    duration_us: int, is_allowed: int
) -> None:
    host = Host(WIDE)
    host.hello()
    phases = (Phase(duration_us, 1000), Phase(duration_us, -1000))
    answer = host.load(one_channel(100_000, phases))
    if is_allowed:
        assert isinstance(answer[0], ProgramAccepted)
    else:
        refused = refusal(answer)
        assert (refused.reason, refused.limit) == (RefusalReason.LIMIT, 3)
        assert refused.asked == duration_us


@pytest.mark.parametrize(("second_us", "is_allowed"), [(500, True), (501, False)])
def test_phases_of_one_polarity_are_no_longer_than_one(second_us: int, is_allowed: bool) -> None:
    host = Host()
    host.hello()
    way, back = (Phase(500, 1000), Phase(second_us, 1000)), (
        Phase(500, -1000), Phase(9, 0), Phase(second_us, -1000))  # fmt: skip
    answer = host.load(one_channel(100_000, way + back))
    if is_allowed:
        assert isinstance(answer[0], ProgramAccepted)
    else:
        refused = refusal(answer)
        assert (refused.limit, refused.asked, refused.allowed) == (3, 1001, 1000)


@pytest.mark.parametrize(("gap_us", "is_allowed"), [(9_600, True), (9_601, False)])
def test_a_whole_pulse_lasts_at_most_10_ms(gap_us: int, is_allowed: bool) -> None:
    host = Host()
    host.hello()
    phases = (Phase(200, 1000), Phase(gap_us, 0), Phase(200, -1000))
    answer = host.load(one_channel(100_000, phases))
    if is_allowed:
        assert isinstance(answer[0], ProgramAccepted)
    else:
        refused = refusal(answer)
        assert (refused.limit, refused.asked, refused.allowed) == (4, 10_001, 10_000)


# Drives: one step up, any number down.


def test_safe_does_not_jump_to_running() -> None:
    host = Host()
    host.prepare(one_channel())
    assert refusal(host.drive(WantedState.RUNNING)).reason is RefusalReason.STEP_TOO_FAR
    assert host.state() is DeviceState.SAFE


def test_arming_needs_a_programme_and_both_digests() -> None:
    host = Host()
    host.hello()
    assert refusal(host.drive(WantedState.ARMED)).reason is RefusalReason.NO_PROGRAM
    host.load(one_channel())
    host.program_digest ^= 1
    assert refusal(host.drive(WantedState.ARMED)).reason is RefusalReason.PROGRAM_DIGEST
    host.program_digest ^= 1
    host.limits_digest ^= 1
    assert refusal(host.drive(WantedState.ARMED)).reason is RefusalReason.LIMITS_DIGEST
    host.limits_digest ^= 1
    assert refusal(host.drive(WantedState.ARMED, 100)).reason is RefusalReason.NOT_FROM_ZERO
    assert host.state() is DeviceState.SAFE
    host.arm()


@pytest.mark.hazard(4)
def test_running_begins_at_zero() -> None:
    host = Host()
    host.prepare(one_channel())
    host.arm()
    refused = refusal(host.drive(WantedState.RUNNING, 100))
    assert refused.reason is RefusalReason.NOT_FROM_ZERO
    assert host.status.state is DeviceState.ARMED


@pytest.mark.hazard(24)
@pytest.mark.parametrize("field", ["program_digest", "limits_digest"])
def test_running_needs_both_digests_at_every_drive(field: str) -> None:
    host = Host()
    host.start(one_channel())
    setattr(host, field, getattr(host, field) ^ 1)
    refused = refusal(host.drive(WantedState.RUNNING, 1_000))
    assert refused.reason is RefusalReason[field.upper()]
    assert host.status.channels[0].target_ua == 0


def test_running_needs_one_target_for_each_channel_of_the_programme() -> None:
    host = Host()
    host.start(one_channel())
    refused = refusal(host.drive(WantedState.RUNNING, 0, 0))
    assert (refused.reason, refused.asked, refused.allowed) == (RefusalReason.CHANNELS, 2, 1)


@pytest.mark.parametrize("wanted", [WantedState.ARMED, WantedState.SAFE])
def test_any_wish_below_running_de_energises_at_once(wanted: WantedState) -> None:
    host = Host()
    host.start(one_channel())
    host.keep(2 * S, 1_500)
    assert host.trace.pulses
    delivered = len(host.trace.pulses)
    host.drive(wanted)
    assert host.status.state.name == wanted.name
    row = host.status.channels[0]
    assert (row.target_ua, row.setpoint_ua, row.peak_ua) == (0, 0, 0)
    host.pass_time(300 * MS)
    assert len(host.trace.pulses) == delivered


def test_a_pause_with_targets_de_energises_and_is_refused() -> None:
    host = Host()
    host.start(one_channel())
    host.keep(1 * S, 1_000)
    refused = refusal(host.drive(WantedState.ARMED, 1_000))
    assert refused.reason is RefusalReason.NOT_FROM_ZERO
    assert host.status.state is DeviceState.ARMED
    assert host.status.channels[0].setpoint_ua == 0


def test_a_refused_drive_is_without_any_effect() -> None:
    """Neither target moves, the lease is not renewed, and both Refused and Status answer."""
    host = Host()
    start_us = host.start(
        PulseProgram(
            (
                ChannelProgram(BIPHASIC, 1, 10_000),
                ChannelProgram(BIPHASIC, 1, 10_000, pulse_offset_us=5_000),
            )
        )
    )
    host.pass_time(200 * MS)
    answer = host.drive(WantedState.RUNNING, 1_000, 100_001)
    refused = refusal(answer)
    assert (refused.limit, refused.channel, refused.asked, refused.allowed) == (
        1, 1, 100_001, 100_000,
    )  # fmt: skip
    assert any(isinstance(message, Status) for message in answer)
    assert [row.target_ua for row in host.status.channels] == [0, 0]
    assert host.status.refusal_count == 1
    host.now_us = start_us + 320 * MS
    host.send(Stop())
    assert host.status.fault is FaultCode.LEASE_EXPIRED


def test_status_names_the_newest_drive_accepted() -> None:
    host = Host()
    host.start(one_channel())
    accepted = host.connection.last_sequence
    host.drive(WantedState.RUNNING, 200_000)
    assert host.status.drive_sequence == accepted
    host.drive(WantedState.RUNNING, 100)
    assert host.status.drive_sequence == host.connection.last_sequence


def test_in_fault_only_running_is_refused() -> None:
    host = Host()
    host.prepare(one_channel())
    host.device.set_patient_stop(True, host.now_us)
    host.collect()
    for wanted in (WantedState.SAFE, WantedState.ARMED):
        answer = host.drive(wanted)
        assert [type(message) for message in answer] == [Status]
        assert host.status.state is DeviceState.FAULT
    assert refusal(host.drive(WantedState.RUNNING)).reason is RefusalReason.FAULT_LATCHED


def test_a_session_may_require_a_patient_stop() -> None:
    needs = session_limits(policy=PolicyFlag.REQUIRE_PATIENT_STOP)
    without = Host(DeviceSettings(has_patient_stop=False))
    without.prepare(one_channel(), needs)
    assert refusal(without.drive(WantedState.ARMED)).reason is RefusalReason.PATIENT_STOP_MISSING
    equipped = Host()
    equipped.prepare(one_channel(), needs)
    equipped.arm()


# Reports.


def test_capabilities_say_what_the_settings_say() -> None:
    host = Host(DeviceSettings(channel_count=3, amplitude_max_ua=70_000, has_patient_stop=False))
    host.hello()
    (told,) = host.send(GetCapabilities())
    assert isinstance(told, Capabilities)
    assert told.in_reply_to == host.connection.last_sequence
    assert (told.channel_count, told.amplitude_max_ua) == (3, 70_000)
    assert CapabilityFlag.HAS_PATIENT_STOP not in told.flags
    # 320 ms of lease and the longest pulse.
    assert told.residual_ms == 330


def test_self_test_reports() -> None:
    host = Host()
    host.hello()
    (report,) = host.send(SelfTest())
    assert isinstance(report, SelfTestReport)
    assert (report.in_reply_to, report.failed) == (host.connection.last_sequence, 0)
    assert report.passed


def test_events_come_once_and_again_on_request() -> None:
    host = Host()
    host.prepare(one_channel())
    host.arm()
    told = host.of(Event)
    assert [event.code for event in told] == [EventCode.EPOCH_ADOPTED, EventCode.STATE_CHANGED]
    again = [event for event in host.send(GetEvents(0)) if isinstance(event, Event)]
    assert [event.index for event in again] == [0, 1, 2]
    assert again[0].code is EventCode.BOOTED
    assert again[1:] == told
    assert [e.index for e in host.send(GetEvents(2)) if isinstance(e, Event)] == [2]
    assert host.status.event_count == 3


def test_the_last_64_events_are_kept() -> None:
    host = Host()
    host.hello()
    for _ in range(100):
        host.send(Stop())
    indexes = [event.index for event in host.send(GetEvents(0)) if isinstance(event, Event)]
    # BOOTED, EPOCH_ADOPTED and 100 stops: 0 to 101.
    assert indexes == list(range(38, 102))


def test_status_comes_every_250_ms_once_an_epoch_is_adopted() -> None:
    host = Host()
    assert host.device.next_deadline_us() is None
    assert host.pass_time(1 * S) == []
    host.hello()
    ticks = []
    for _ in range(1000):
        ticks += [m.tick_ms for m in host.pass_time(1 * MS) if isinstance(m, Status)]
    assert ticks == [1250, 1500, 1750, 2000]


@pytest.mark.parametrize(
    ("settings", "expected_ms"),
    [
        # Status bodies have 11 + 31 + 23 n + 4 bytes, frames two more: 94 bytes for two channels,
        # so 60 a second are 56 400 bit/s: 49 % of 115 200, 73.4 % of 76 800.
        (DeviceSettings(), [25, 50, 75, 100]),
        (DeviceSettings(baud=76_800), [50, 100]),
        # 140 bytes for four channels: 84 000 bit/s, 72.9 % of 115 200.
        (DeviceSettings(channel_count=4), [50, 100]),
        (DeviceSettings(channel_count=4, baud=230_400), [25, 50, 75, 100]),
    ],
    ids=["two channels", "slow line", "four channels", "four channels, fast line"],
)
def test_status_comes_as_often_as_the_line_carries(
    settings: DeviceSettings, expected_ms: list[int]
) -> None:
    host = Host(settings)
    host.start(one_channel())
    ticks = []
    for _ in range(110):
        ticks += [m.tick_ms for m in host.pass_time(1 * MS) if isinstance(m, Status)]
    assert ticks == expected_ms


def test_an_answer_restarts_the_timer_and_the_newest_status_replaces_an_unsent_one() -> None:
    host = Host()
    host.start(one_channel())
    host.now_us += 20 * MS
    host.drive(WantedState.RUNNING)
    ticks = []
    for _ in range(30):
        ticks += [m.tick_ms for m in host.pass_time(1 * MS) if isinstance(m, Status)]
    assert ticks == [45]
    host.device.advance(host.now_us + 200 * MS)
    (only,) = host.pass_time(200 * MS)
    assert isinstance(only, Status)
    assert only.tick_ms == 250


def test_acknowledgement_needs_the_latest_latch() -> None:
    host = Host()
    host.hello()
    host.device.set_patient_stop(True, host.now_us)
    host.device.set_patient_stop(False, host.now_us)
    assert refusal(host.send(AcknowledgeFault(0, 0))).reason is RefusalReason.NOT_THE_LATEST
    assert refusal(host.send(AcknowledgeFault(1, 0x80))).reason is RefusalReason.CHANNELS
    assert host.state() is DeviceState.FAULT
    host.send(AcknowledgeFault(1, 0))
    assert (host.status.state, host.status.fault) == (DeviceState.SAFE, FaultCode.NONE)
    assert refusal(host.send(AcknowledgeFault(1, 0))).reason is RefusalReason.STATE
