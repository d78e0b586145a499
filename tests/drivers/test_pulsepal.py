"""The PulsePal's driver against its simulated device, on a virtual clock."""

from __future__ import annotations

import dataclasses
import os
import pty
from itertools import pairwise
from pathlib import Path

import pytest

from estim.dialects.pulsepal import Opcode, Parameter
from estim.drivers import base, registry
from estim.drivers.base import Output
from estim.drivers.player import Train
from estim.drivers.pulsepal import PulsePalStimulator
from estim.drivers.pulsepal_program import capabilities, remarks, shortfalls, told, voltage_mv
from estim.errors import DeviceFault, PortLost, UsageError
from estim.prepare.session import prepare
from estim.profile.loader import load
from estim.safety import kernel
from estim.safety.kernel import DriveRequest, Facts
from estim.safety.verdict import Approved, ApprovedLoad
from estim.session import messages as msg
from estim.session.states import HostState
from estim.simulator.faults import PULSEPAL_VERBS, parse_line
from estim.simulator.line import FaultyLine
from estim.simulator.load import Load
from estim.simulator.models import MODELS
from estim.simulator.options import SimulatorOptions
from estim.simulator.pulsepal import BOOT_US, VirtualPulsePal
from estim.simulator.pulsepal_commands import Command, CommandReader
from firmware_protocol.messages import DeviceState, FaultCode, InputFlag, Status, WantedState
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.drivers.conformance import DriverConformance, Pulses, Rig
from tests.session.bench import MS, PROFILES, S, prepared

URL = "pulsepal:/dev/hand?load=1000"
K = b"K\x15\0\0\0"
STOP = bytes.fromhex("d550 d550 d548")
PAIR = (Phase(1, 1000), Phase(1, -1000))


class PulsePalRig(Rig):
    """A rig with 1000 ohm at each output: a step of the device is a third of a microampere."""

    def __init__(self, folder: Path) -> None:
        self.sent: list[tuple[int, Command, bool]] = []
        self._reader = CommandReader()
        super().__init__(folder, URL, "pulsepal")

    def simulated(self, model: str, serial: str = "") -> FaultyLine:
        now_us = self.clock.now_us()
        device = MODELS[model].prepare(SimulatorOptions(load="1000"), now_us)(self.pulses)
        return FaultyLine(device, start_us=now_us, cut=MODELS[model].cut)

    def send(self, output: Output) -> None:
        """Note what is sent, and whether the device still played then."""
        now_us = self.clock.now_us()
        self.line.advance(now_us)
        is_on = self.line.device.is_energised
        self._reader.feed(b"".join((*output.urgent, *output.ordered, output.drive or b"")))
        while (command := self._reader.take()) is not None:
            self.sent.append((now_us, command, is_on))
        super().send(output)

    def is_on(self) -> bool:
        return self.line.device.is_energised

    def fail(self, line: str) -> int:
        fault = parse_line(line, 4, PULSEPAL_VERBS)
        assert fault is not None
        self.line.schedule(fault, self.clock.now_us())
        return self.clock.now_us()

    def changes(self, *parameters: Parameter) -> list[tuple[int, int, bool]]:
        """Return channel, value and whether the device played, of each ProgramOne of these."""
        return [
            (command.body[1], int.from_bytes(command.body[2:], "little"), is_on)
            for _, command, is_on in self.sent
            if command.opcode == Opcode.PROGRAM_ONE and command.body[0] in parameters
        ]


class TestPulsePal(DriverConformance):
    """What every driver owes its session."""

    url = URL
    model = "pulsepal"
    other_model = "native"
    residual_ms = 500

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return PulsePalRig(tmp_path)

    def test_another_device_of_the_kind_on_the_same_name_is_not_driven(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        """A PulsePal has no number to tell it by: another one is taken for the same, and gives
        nothing until it is asked."""
        self.running(rig, 3000).run(5 * S)
        rig.unplug()
        rig.run(3 * S)
        assert rig.settle(rig.ask(msg.Acknowledge))
        rig.line = rig.simulated(self.model)
        rig.connect()
        assert rig.snapshot.device is not None
        assert rig.snapshot.device.serial_number == "not told"
        replugged_us = rig.clock.now_us()
        rig.run(3 * S)
        assert rig.pulses.after(replugged_us) == []


@pytest.fixture
def rig(tmp_path: Path) -> PulsePalRig:
    return PulsePalRig(tmp_path)


def running(rig: PulsePalRig, *targets_ua: int, profile: str = TestPulsePal.profile) -> PulsePalRig:
    class Of(TestPulsePal):
        """The same, with another profile."""

    Of.profile = profile
    Of().running(rig, *targets_ua)
    return rig


# The declared load.


@pytest.mark.parametrize(
    "url",
    [
        "pulsepal:/dev/ttyACM0", "pulsepal:/dev/ttyACM0?load=", "pulsepal:/dev/ttyACM0?load=0",
        "pulsepal:/dev/ttyACM0?load=1e3", "pulsepal:/dev/ttyACM0?load=1000001",
        "pulsepal:/dev/ttyACM0?load=-5", "pulsepal:/dev/ttyACM0?load=500&load=1000",
        "pulsepal:/dev/ttyACM0?loads=500", "pulsepal:/dev/ttyACM0?load=" + 5000 * "1",
        "pulsepal:/dev/ttyACM0?load=\u0663",
    ],
)  # fmt: skip
def test_without_a_load_that_makes_sense_nothing_is_driven(url: str) -> None:
    with pytest.raises(UsageError, match=r"declares the load.*ACM0\?load=1000"):
        registry.make_driver(url, 1)


def test_the_load_is_the_drivers_and_the_rest_of_the_query_the_ports() -> None:
    ours, theirs = pty.openpty()
    try:
        name = os.ttyname(theirs)
        for query in ("load=1000", "load=1000&baud=9600", "baud=9600&load=1000"):
            registry.open_transport(f"pulsepal:{name}?{query}").close()
        with pytest.raises(UsageError, match="unknown option 'lode'"):
            registry.open_transport(f"pulsepal:{name}?load=1000&lode=5")
        with pytest.raises(UsageError, match="unknown option 'load'"):
            registry.open_transport(f"native:{name}?load=1000")
    finally:
        os.close(ours)
        os.close(theirs)


def test_its_line_has_dtr_up_or_an_arduino_answers_nothing() -> None:
    line = registry.make_driver(URL, 1).line
    assert (line.baud, line.stop_bits, line.has_flow_control, line.dtr) == (115_200, 1, False, True)


@pytest.mark.parametrize(
    ("load_ohm", "amplitude_max_ua", "amplitude_step_ua"),
    [(1000, 10_000, 1), (3000, 3333, 1), (300, 33_333, 4), (50, 100_000, 20), (1, 100_000, 1000)],
)
def test_what_it_can_do_follows_from_10_v_and_the_load(
    load_ohm: int, amplitude_max_ua: int, amplitude_step_ua: int
) -> None:
    """10 V over the load, and no more than the compiled limit; a step is at least 1 mV."""
    can = capabilities(load_ohm)
    assert (can.amplitude_max_ua, can.amplitude_step_ua) == (amplitude_max_ua, amplitude_step_ua)
    assert (can.compliance_mv, can.phase_min_us, can.residual_ms) == (10_000, 50, 500)


def test_a_current_becomes_a_voltage_rounded_towards_zero() -> None:
    assert voltage_mv(4000, 1000) == 4000
    assert voltage_mv(3333, 300) == 999  # 999.9 mV
    assert voltage_mv(1, 300) == 0


# What a channel is told.

STEADY = ChannelProgram(PAIR, 200, 12_500)


def test_a_train_of_500_ms_at_80_hz_has_40_pulses() -> None:
    """Onsets at 0, 12.5 ... 487.5 ms; it ends 50 us after the last pulse, which takes 400 us."""
    train = told(STEADY, Train(4000, 200, 12_500), 1000, 500_000)
    assert train is not None
    assert train.values == {
        Parameter.PHASE_1_VOLTAGE: 4000,
        Parameter.PHASE_2_VOLTAGE: -4000,
        Parameter.PHASE_1_DURATION: 200,
        Parameter.INTERPHASE_GAP: 0,
        Parameter.PHASE_2_DURATION: 200,
        Parameter.INTERPULSE_GAP: 12_100,
        Parameter.TRAIN_DURATION: 487_500 + 400 + 50,
        Parameter.TRAIN_OFFSET: 0,
    }
    assert (train.pulse_count, train.occupied_us) == (40, 500_000)


def test_a_gap_a_negative_first_phase_and_an_offset_are_told() -> None:
    """100 us down, 50 us gap, 100 us up, from 1 ms on: within 5 ms one pulse a millisecond."""
    phases = (Phase(1, -1000), Phase(50, 0), Phase(1, 1000))
    channel = dataclasses.replace(STEADY, phases=phases, pulse_offset_us=980)
    train = told(channel, Train(2000, 100, 1000), 500, 5000)
    assert train is not None
    assert train.values[Parameter.PHASE_1_VOLTAGE] == -1000
    assert train.values[Parameter.PHASE_2_VOLTAGE] == 1000
    assert train.values[Parameter.INTERPHASE_GAP] == 50
    assert train.values[Parameter.TRAIN_OFFSET] == 1000
    assert train.pulse_count == 4  # at 1, 2, 3, 4 ms; a fifth at 5 ms would not fit
    assert train.values[Parameter.TRAIN_DURATION] == 3000 + 250 + 50


def test_no_train_is_longer_than_500_ms_and_none_outlasts_what_ends() -> None:
    steady = told(STEADY, Train(4000, 200, 12_500), 1000, 9_000_000)
    assert steady is not None
    assert steady.values[Parameter.TRAIN_DURATION] <= 500_000
    cycled = dataclasses.replace(STEADY, cycle=Cycle(500, 2000, 500, 4000))
    assert told(cycled, Train(4000, 200, 12_500), 1000, 449) is None
    one = told(cycled, Train(4000, 200, 12_500), 1000, 450)
    assert one is not None
    assert one.pulse_count == 1
    assert told(STEADY, None, 1000, 500_000) is None
    assert told(STEADY, Train(1, 200, 12_500), 300, 500_000) is None  # not one millivolt


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        (ChannelProgram((*PAIR, *PAIR), 100, 10_000), "one phase, maybe a gap, and the opposite"),
        (ChannelProgram((*PAIR, Phase(50, 0)), 100, 10_000), "one phase, maybe a gap"),
        (ChannelProgram(PAIR, 120, 10_000), "a phase of 120 us, expected steps of 50 us"),
        (ChannelProgram((PAIR[0], Phase(60, 0), PAIR[1]), 100, 10_000), "a gap of 60 us"),
        (ChannelProgram(PAIR, 200, 450), "50 us between two pulses, expected at least 100 us"),
        (dataclasses.replace(STEADY, cycle=Cycle(500, 2000, 40, 4000)), "a part of 40 ms"),
        (dataclasses.replace(STEADY, pulses_per_burst=2, burst_period_us=40_000),
         "a part of 40 ms"),
        (dataclasses.replace(STEADY, pulse_offset_us=500_000, pulse_period_us=S),
         "later than 500000 us after"),
        (ChannelProgram(PAIR, 200, 10_000, keyframe_cycle_ms=200, keyframes=(
            Keyframe(0, 1000, 200, 10_000), Keyframe(100, 1000, 210, 10_000))),
         "a phase of 210 us, expected"),
        (ChannelProgram(PAIR, 110, 10_000, keyframe_cycle_ms=200, keyframes=(
            Keyframe(0, 1000, 110, 10_000), Keyframe(100, 1000, 90, 10_000))),
         "a phase of 90 us (and 1 other), expected steps"),
    ],
)  # fmt: skip
def test_what_the_device_cannot_play_is_told_in_words(channel: ChannelProgram, words: str) -> None:
    assert shortfalls(PulseProgram((STEADY,))) == ()
    found = shortfalls(PulseProgram((STEADY, channel)))
    assert found[0].startswith("channel 2: ")
    assert words in found[0]


def test_what_is_played_otherwise_is_told_and_is_never_more_pulses() -> None:
    slower = dataclasses.replace(STEADY, pulse_period_us=71_428, pulse_offset_us=35_714)
    assert remarks(PulseProgram((STEADY, STEADY))) == ()
    assert remarks(PulseProgram((STEADY, slower))) == (
        "channel 2: pulse periods are rounded up to steps of 50 us (71428 us to 71450 us)",
        "channel 2: pulse offsets are rounded up to steps of 50 us (35714 us to 35750 us)",
        "channels begin their trains together: the faster ones wait for the slower",
    )


# Set-up.


def test_a_device_left_playing_is_quiet_before_it_is_anybodys(rig: PulsePalRig) -> None:
    """Channel 2 plays on and on, and all rest at 5 V: written here byte by byte."""
    rig.line.advance(S)
    left_on = bytes.fromhex("d552 02 01") + b"".join(
        bytes.fromhex("d54a 11") + bytes((number,)) + bytes.fromhex("00c0")
        for number in range(1, 5)
    )
    rig.clock.advance_to(S)
    rig.line.receive(left_on, S)
    rig.line.take_output(S)
    rig.run(S)
    assert rig.is_on()
    rig.open_record()
    rig.connect()
    assert not rig.is_on()
    connected_us = rig.clock.now_us()
    rig.run(2 * S)
    assert rig.pulses.after(connected_us) == []
    assert [command.opcode for _, command, _ in rig.sent[:3]] == [80, 80, 72]
    first = rig.sent[3][1]
    assert (first.opcode, first.body) == (74, bytes.fromhex("11 01 0080"))


def test_nothing_that_could_start_by_itself_stays_on(rig: PulsePalRig) -> None:
    rig.open_record()
    rig.connect()
    for parameter in (12, 13, 14, 15, 16, 8, 9):  # links, custom trains, bursts
        assert [each[:2] for each in rig.changes(Parameter(parameter))] == [
            (number, 0) for number in range(1, 5)
        ]
    continuous = [command.body for _, command, _ in rig.sent if command.opcode == 82]
    assert continuous == [bytes((number, 0)) for number in range(1, 5)]


def test_it_is_said_to_be_for_the_bench_and_what_is_left_of_output(rig: PulsePalRig) -> None:
    rig.open_record()
    rig.connect()
    device = rig.snapshot.device
    assert device is not None
    assert (device.model, device.firmware_version) == ("PulsePal 2", "2.0.1")
    assert "never for a person" in device.caution
    assert "500 ms" in device.caution
    assert not device.reports_current
    assert dict(rig.submitted)["identified"]["use"] == "bench"


def test_a_session_on_a_person_is_refused(rig: PulsePalRig) -> None:
    rig.open_record(kind="clinical")
    rig.connect()
    made = TestPulsePal().made(rig)
    bounds = dataclasses.replace(made.bounds, is_bench=False)
    settings = dataclasses.replace(made.settings, duration_s=60, allows_research_device=True)
    asked = rig.ask(msg.Prepare, made.program.canonical_bytes().hex(), bounds, settings)
    assert not rig.settle(asked)
    assert rig.why(asked) == "PulsePal 2 is for the bench alone, never for a person"
    rig.run(S)
    assert rig.pulses.phases == []


# Output.


def test_pulses_are_whole_and_no_closer_than_the_programme_has_them(rig: PulsePalRig) -> None:
    """80 Hz, 200 us each way: pairs of equal and opposite currents, 12.5 ms apart or more."""
    running(rig, 4000).run(8 * S)
    rows = [row for row in rig.pulses.phases if row[1] == 1]
    for first, second in zip(rows[0::2], rows[1::2], strict=True):
        assert (first[2], first[3]) == (-second[2], 200)
        assert (second[0] - first[0], second[3]) == (200, 200)
    onsets = [row[0] for row in rows[0::2]]
    apart = [later - earlier for earlier, later in pairwise(onsets)]
    assert min(apart) == 12_500
    steady = [later - earlier for earlier, later in pairwise(onsets[-80:])]
    assert sum(each > 12_500 for each in steady) <= 3  # between two trains of 40
    assert max(steady) < 12_500 + 40 * MS
    assert max(row[2] for row in rows) == 4000


def test_every_train_is_finite_and_starts_when_the_last_has_ended(rig: PulsePalRig) -> None:
    """10 000 cycles are 500 ms."""
    running(rig, 4000, 3000).run(8 * S)
    durations = rig.changes(Parameter.TRAIN_DURATION)
    assert durations
    assert max(value for _, value, _ in durations) <= 10_000
    triggers = [is_on for _, command, is_on in rig.sent if command.opcode == Opcode.TRIGGER]
    assert len(triggers) > 50
    assert not any(triggers)


def test_voltages_change_between_two_trains_alone(rig: PulsePalRig) -> None:
    running(rig, 4000).run(5 * S)
    assert rig.settle(rig.ask(msg.Lower, (0,), 2000))
    rig.run(2 * S)
    changes = rig.changes(Parameter.PHASE_1_VOLTAGE, Parameter.PHASE_2_VOLTAGE)
    assert len(changes) > 20
    assert not any(is_on for _, _, is_on in changes)


def test_a_fall_brings_no_pulse_nearer(rig: PulsePalRig) -> None:
    """At 4 Hz the pulse after a fall comes 250 ms after the one before, or later."""
    running(rig, 3000, profile="tens-low-rate").run(12 * S)
    period_us = rig.core.program.channels[0].pulse_period_us
    assert period_us == 250 * MS
    for _ in range(5):
        assert rig.settle(rig.ask(msg.Lower, (0,), 300))
        rig.run(180 * MS)
    onsets = [row[0] for row in rig.pulses.phases if row[1] == 1 and row[2] > 0]
    assert len({abs(row[2]) for row in rig.pulses.after(onsets[-4])}) > 1
    assert min(later - earlier for earlier, later in pairwise(onsets)) >= period_us


def test_a_line_too_slow_to_begin_what_was_planned_gives_nothing(rig: PulsePalRig) -> None:
    """60 ms from a message to its answer: what was planned is over 50 ms old by then."""
    running(rig)
    rig.fail("delay 0.03")
    rig.settle(rig.ask(msg.SetTargets, (4000, 0)))
    rig.run(3 * S)
    assert rig.state is HostState.RUNNING
    assert rig.pulses.phases == []


def test_what_is_counted_is_what_was_played(rig: PulsePalRig) -> None:
    running(rig, 4000).run(6 * S)
    rig.settle(rig.ask(msg.Pause))
    rig.run(S)
    played = sum(1 for row in rig.pulses.phases if row[1] == 1 and row[2] > 0)
    counted = rig.snapshot.channels[0].pulse_count
    assert 0 <= counted - played <= 2  # a pulse that a cut kept back


# What goes wrong.


@pytest.mark.parametrize(
    "line", ["corrupt 1 to-host", "drop 1 to-host", "duplicate 1 to-host", "drop 8 to-device",
             "silent 0.5", "stall 0.6"]
)  # fmt: skip
def test_an_answer_that_is_none_or_does_not_come_ends_output(rig: PulsePalRig, line: str) -> None:
    running(rig, 4000).run(6 * S)
    failed_us = rig.fail(line)
    rig.until(lambda: rig.state is HostState.FAULT, S)
    rig.run(3 * S)
    # 400 ms until an answer is missed; in a stall of 600 ms the device holds, then obeys.
    assert rig.pulses.after(failed_us + 700 * MS) == []
    assert not rig.is_on()
    assert rig.snapshot.channels[0].setpoint_ua == 0


def test_a_device_that_lost_a_byte_in_the_middle_is_told_as_a_fault(rig: PulsePalRig) -> None:
    """It takes the beginning of the next message for the rest, whatever that does."""
    running(rig, 4000).run(6 * S)
    for _ in range(20):
        rig.fail("drop 1 to-device")
        rig.run(150 * MS)
        if rig.state is HostState.FAULT:
            break
    assert rig.state is HostState.FAULT


class Hand:
    """The driver with the line in a test's hand."""

    def __init__(self) -> None:
        self.driver = PulsePalStimulator(5, URL)
        self.now_us = 0
        self.driver.connect(0)

    def take(self) -> bytes:
        output = self.driver.take_output()
        return b"".join((*output.urgent, *output.ordered, output.drive or b""))

    def pass_time(self, duration_us: int) -> list[base.DriverEvent]:
        self.now_us += duration_us
        return self.driver.poll(self.now_us)

    def answer(self, received: bytes) -> list[base.DriverEvent]:
        self.driver.receive(received, self.now_us)
        return self.driver.poll(self.now_us)

    def connected(self) -> Hand:
        assert self.take() == STOP
        self.answer(K)
        settings = self.take()
        assert settings.endswith(STOP)
        events = self.answer(settings.count(b"\xd5\x4a") * b"\1" + 4 * b"\1" + K)
        assert any(isinstance(event, base.Identified) for event in events)
        return self


def of(kind: type, events: list[base.DriverEvent]) -> list[base.DriverEvent]:
    return [event for event in events if isinstance(event, kind)]


def test_nobody_there_is_one_message_after_a_second() -> None:
    hand = Hand()
    asked = [hand.take()]
    events: list[base.DriverEvent] = []
    for _ in range(4):
        assert not events
        events = of(base.ConnectFailed, hand.pass_time(250 * MS))
        asked.append(hand.take())
    assert asked == [STOP] * 4 + [b""]
    (failed,) = events
    assert isinstance(failed, base.ConnectFailed)
    assert isinstance(failed.error, PortLost)
    assert "COMM. FAILURE" in str(failed.error)


def test_a_device_that_answers_late_and_twice_is_still_understood() -> None:
    hand = Hand()
    assert hand.take() == STOP
    hand.pass_time(250 * MS)
    assert hand.take() == STOP
    hand.answer(K)
    assert hand.take() == b""
    hand.answer(K)
    hand.pass_time(50 * MS)
    assert hand.take().startswith(bytes.fromhex("d54a 11 01 0080"))


def test_a_first_pulsepal_is_not_driven() -> None:
    hand = Hand()
    (failed,) = of(base.ConnectFailed, hand.answer(b"K\x13\0\0\0"))
    assert isinstance(failed, base.ConnectFailed)
    assert isinstance(failed.error, DeviceFault)
    assert "firmware 19, expected 20 or later" in str(failed.error)


def test_settings_that_are_refused_are_no_connection() -> None:
    """Firmware later than ours answers 0 to what it does not take."""
    hand = Hand()
    hand.take()
    hand.answer(K)
    hand.take()
    (failed,) = of(base.ConnectFailed, hand.answer(b"\1\0"))
    assert isinstance(failed, base.ConnectFailed)
    assert "refused" in str(failed.error)


def test_stop_goes_three_times_and_then_until_it_is_answered() -> None:
    hand = Hand().connected()
    hand.driver.stop(hand.now_us)
    written = []
    for _ in range(5):
        written.append(hand.take())
        hand.pass_time(30 * MS)
    assert written == [STOP] * 5
    hand.answer(K)
    assert hand.driver.next_deadline_us() is None
    hand.take()
    hand.pass_time(S)
    assert hand.take() == b""


def test_an_answer_to_the_first_stop_does_not_end_the_three() -> None:
    hand = Hand().connected()
    hand.driver.stop(hand.now_us)
    written = []
    for _ in range(4):
        written.append(hand.take())
        hand.answer(K if written[-1] else b"")
        hand.pass_time(30 * MS)
    assert written == [STOP] * 3 + [b""]


@pytest.mark.hazard(30)
def test_output_ends_320_ms_after_the_last_approval_though_the_host_turns_on() -> None:
    """The engine that no longer drives goes on polling: that alone keeps nothing alive."""
    trace = Pulses()
    device = VirtualPulsePal(Load(1000), trace, -BOOT_US)
    hand = Hand()
    made = prepare(
        load(PROFILES / "dpn-conventional.toml").profile, capabilities(1000), is_bench=True
    )
    count = len(made.program.channels)
    seen: list[Status] = []

    def run(duration_us: int, wanted: WantedState | None, target_ua: int = 0) -> None:
        for step in range(duration_us // (5 * MS)):
            events = hand.answer(device.take_output(hand.now_us)) + hand.pass_time(5 * MS)
            seen.extend(each.status for each in events if isinstance(each, base.StatusSeen))
            if wanted is not None and step % 10 == 0:
                targets = (target_ua,) + (0,) * (count - 1)
                facts = Facts(
                    DeviceState.RUNNING, 0, 0, 0, True, False, frozenset(), InputFlag.NONE
                )
                asked = DriveRequest(wanted, targets, (100_000,) * count)
                verdict = kernel.review(asked, made.program, facts, made.bounds, hand.now_us)
                assert isinstance(verdict, Approved), verdict
                hand.driver.drive(verdict, hand.now_us)
            device.receive(hand.take(), hand.now_us)

    run(100 * MS, None)
    verdict = kernel.review_load(made.program, made.bounds, capabilities(1000), hand.now_us)
    assert isinstance(verdict, ApprovedLoad), verdict
    hand.driver.load(verdict, hand.now_us)
    run(100 * MS, WantedState.ARMED)
    run(100 * MS, WantedState.RUNNING)
    run(5 * S, WantedState.RUNNING, 4000)
    last_us = hand.now_us - 50 * MS + 5 * MS
    assert trace.peak_ua(1) == 4000
    run(2 * S, None)
    assert seen[-1].state is DeviceState.FAULT
    assert seen[-1].fault is FaultCode.LEASE_EXPIRED
    assert seen[-1].channels[0].setpoint_ua == 0
    ended_us = trace.phases[-1][0]
    assert last_us + 250 * MS < ended_us < last_us + 340 * MS


def test_an_answer_from_before_the_stop_does_not_confirm_it() -> None:
    """One handshake was on its way: of the answers that come, the first is its own."""
    hand = Hand().connected()
    facts = Facts(DeviceState.SAFE, 0, 0, 0, True, False, frozenset(), InputFlag.NONE)
    asked = DriveRequest(WantedState.SAFE, (), ())
    verdict = kernel.review(asked, None, facts, prepared().bounds, hand.now_us)
    assert isinstance(verdict, Approved)
    hand.driver.drive(verdict, hand.now_us)
    assert hand.take() == bytes.fromhex("d548")
    hand.driver.stop(hand.now_us)
    for _ in range(3):
        hand.take()
        hand.pass_time(30 * MS)
    hand.answer(K)
    assert hand.driver.next_deadline_us() is not None
    hand.answer(K)
    assert hand.driver.next_deadline_us() is None
