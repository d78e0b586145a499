"""The faulty line and the words in which faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.errors import UsageError
from estim.simulator.device import DeviceSettings, VirtualDevice
from estim.simulator.faults import Direction, Fault, Verb, parse_line, read_script
from estim.simulator.line import FaultyLine
from estim.simulator.load import NAMED_LOADS, Load
from firmware_protocol.messages import (
    Capabilities,
    DeviceState,
    FaultCode,
    GetCapabilities,
    Message,
    Status,
    WantedState,
)
from tests.simulator.host import MS, Host, PulseList, S, one_channel

ASK = GetCapabilities()


def host_on(*lines: str, seed: int = 0) -> Host:
    """Return a host that has said hello to a device behind a line with a script."""
    script = [fault for line in lines if (fault := parse_line(line, 2)) is not None]
    trace = PulseList()
    device = VirtualDevice(DeviceSettings(), trace)
    host = Host(wire=FaultyLine(device, script, seed), device=device)
    host.trace = trace
    host.hello()
    return host


def play(host: Host, line: str) -> None:
    fault = parse_line(line, 2)
    assert fault is not None
    assert isinstance(host.wire, FaultyLine)
    host.wire.schedule(fault, host.now_us)


def answers(told: list[Message]) -> int:
    return sum(isinstance(message, Capabilities) for message in told)


def test_without_faults_every_byte_passes_unchanged() -> None:
    plain, through_line = Host(), host_on()
    plain.hello()
    for host in (plain, through_line):
        host.load(one_channel())
        host.arm()
        host.drive(WantedState.RUNNING)
        host.keep(2 * S, 1_500)
    assert through_line.seen == plain.seen
    assert through_line.trace.pulses == plain.trace.pulses
    assert len(plain.trace.pulses) > 100


def test_bytes_may_come_one_by_one() -> None:
    host = host_on()
    frame = host.connection.send(ASK)
    told = [host.write(frame[index : index + 1]) for index in range(len(frame))]
    assert [answers(each) for each in told] == [0] * (len(frame) - 1) + [1]


def test_drop_loses_so_many_frames_each_way() -> None:
    host = host_on()
    play(host, "drop 2 to-device")
    assert [answers(host.send(ASK)) for _ in range(3)] == [0, 0, 1]
    play(host, "drop 1 to-host")
    assert [answers(host.send(ASK)) for _ in range(2)] == [0, 1]
    play(host, "drop 1")
    # The first never reaches the device; the second is answered, and the answer is lost.
    assert [answers(host.send(ASK)) for _ in range(3)] == [0, 0, 1]


def test_corrupt_frames_are_damaged_and_counted() -> None:
    host = host_on()
    play(host, "corrupt 3 to-device")
    assert [answers(host.send(ASK)) for _ in range(4)] == [0, 0, 0, 1]
    host.pass_time(300 * MS)
    # A flipped bit may also make a zero, which cuts one frame into two.
    assert 3 <= host.status.damaged_count <= 6


def test_the_seed_decides_what_is_corrupted() -> None:
    def corrupted(seed: int) -> bytes:
        device = VirtualDevice(DeviceSettings())
        line = FaultyLine(device, [Fault(Verb.CORRUPT, 0, 20)], seed)
        frame = Host(device=VirtualDevice(DeviceSettings())).connection.send(ASK)
        host = Host(device=device)
        line.receive(host.connection.send(ASK), 0)
        line.advance(0)
        line._to_host.carry(frame * 20, 0)
        return line._to_host.release(0)

    assert corrupted(1) == corrupted(1)
    assert corrupted(1) != corrupted(2)


@pytest.mark.hazard(12)
def test_duplicates_reach_the_device_and_are_dropped_by_their_sequence() -> None:
    host = host_on()
    play(host, "duplicate 1 to-device")
    assert answers(host.send(ASK)) == 1
    play(host, "duplicate 1 to-host")
    host.wire.receive(host.connection.send(ASK), host.now_us)
    frames = host.wire.take_output(host.now_us).split(b"\0")[:-1]
    assert len(frames) == 2
    assert frames[0] == frames[1]


def test_delay_holds_frames_back_in_order() -> None:
    host = host_on()
    play(host, "delay 0.04 to-device")
    sent_us = host.now_us
    host.send(ASK)
    play(host, "delay 0 to-device")
    host.pass_time(10 * MS)
    # Sent later without delay, it still does not overtake.
    assert answers(host.send(ASK)) == 0
    assert isinstance(host.wire, FaultyLine)
    assert host.wire.next_deadline_us() == sent_us + 40 * MS
    assert answers(host.pass_time(30 * MS - 1)) == 0
    assert answers(host.pass_time(1)) == 2
    assert answers(host.send(ASK)) == 1


@pytest.mark.hazard(9)
def test_delayed_drives_cannot_outlive_the_lease() -> None:
    """A second of delay: frames that arrive echo ticks that are too old, and output ends."""
    host = host_on()
    host.load(one_channel())
    host.arm()
    host.drive(WantedState.RUNNING)
    host.keep(1 * S, 1_500)
    play(host, "delay 1 to-device")
    host.keep(3 * S, 1_500)
    assert host.state() is DeviceState.FAULT
    assert host.trace.pulses[-1][0] < (950 + 320) * MS


def test_silence_loses_everything_for_its_time() -> None:
    host = host_on()
    play(host, "silent 0.5")
    assert answers(host.send(ASK)) == 0
    assert host.pass_time(500 * MS - 1) == []
    host.pass_time(1)
    assert answers(host.send(ASK)) == 1


def test_a_script_happens_at_its_times_however_late_time_is_told() -> None:
    host = host_on("at 0.5 patient-stop press", "at 0.6 patient-stop release", "at 0.7 reboot")
    host.pass_time(550 * MS)
    assert host.state() is DeviceState.FAULT
    host.pass_time(5 * S)
    assert host.state() is DeviceState.SAFE
    assert host.device._states.boot_us == 700 * MS


def test_every_fault_of_the_device_reaches_it() -> None:
    host = host_on()
    host.load(one_channel())
    host.arm()
    host.drive(WantedState.RUNNING)
    host.keep(3 * S, 3_000)
    play(host, "load 1 1000")
    host.keep(100 * MS, 3_000)
    assert host.status.channels[0].load_ohm == 1_000
    play(host, "load 1 typical")
    host.keep(100 * MS, 3_000)
    # 3 mA: Rp 3846 ohm, tau 192.3 us; 3846 x (1 - e^-1.04) + 300 = 2787 ohm.
    assert host.status.channels[0].load_ohm == pytest.approx(2_787, abs=2)
    play(host, "gain 1 500")
    host.keep(100 * MS, 3_000)
    assert host.status.channels[0].peak_ua == 1_500
    play(host, "battery 42")
    host.keep(50 * MS, 3_000)
    assert host.status.battery_percent == 42
    play(host, "lead-off 1")
    host.pass_time(50 * MS)
    assert host.status.channels[0].setpoint_ua == 0
    play(host, "lead-on 1")
    play(host, "hang")
    assert host.pass_time(1 * S) == []
    play(host, "reboot")
    assert host.state() is DeviceState.SAFE


@pytest.mark.hazard(6)
def test_a_silent_line_ends_in_a_lease_fault() -> None:
    host = host_on("at 1 silent 0.5 to-device")
    host.load(one_channel())
    host.arm()
    host.drive(WantedState.RUNNING)
    host.keep(2 * S, 1_500)
    assert host.status.fault is FaultCode.LEASE_EXPIRED
    assert any(isinstance(message, Status) for message in host.seen)


# Words.


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("drop 3", Fault(Verb.DROP, None, 3)),
        ("at 2.0 drop 3", Fault(Verb.DROP, 2 * S, 3)),
        (
            "at 0.25 silent 0.5 to-host",
            Fault(Verb.SILENT, 250 * MS, 500 * MS, directions=(Direction.TO_HOST,)),
        ),
        ("delay 0.000001", Fault(Verb.DELAY, None, 1)),
        ("  at 1 lead-off 2   # the left pad", Fault(Verb.LEAD_OFF, 1 * S, channel=2)),
        ("lead-on 1", Fault(Verb.LEAD_ON, channel=1)),
        ("load 1 dry", Fault(Verb.LOAD, channel=1, load=NAMED_LOADS["dry"])),
        ("load 2 2000", Fault(Verb.LOAD, channel=2, load=Load(2_000))),
        ("gain 1 1300", Fault(Verb.GAIN, None, 1_300, 1)),
        ("patient-stop press", Fault(Verb.PATIENT_STOP, None, 1)),
        ("patient-stop release", Fault(Verb.PATIENT_STOP, None, 0)),
        ("battery 255", Fault(Verb.BATTERY, None, 255)),
        ("reboot", Fault(Verb.REBOOT)),
        ("hang", Fault(Verb.HANG)),
        ("", None),
        ("# nothing", None),
    ],
)  # fmt: skip
def test_each_verb_is_understood(line: str, fault: Fault | None) -> None:
    assert parse_line(line, 2) == fault


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("explode", "expected one of drop, delay"),
        ("at", "expected `at SECONDS VERB`"),
        ("at 2", "expected a verb after the time"),
        ("at soon drop 3", "expected seconds such as 2 or 0.25, got 'soon'"),
        ("at -1 drop 3", "got '-1'"),
        ("at 1e3 drop 3", "got '1e3'"),
        ("at nan reboot", "got 'nan'"),
        ("drop", "expected `drop FRAMES`"),
        ("drop 0", "frames: expected a whole number from 1 to 1000000, got '0'"),
        ("drop 3 sideways", "expected `drop FRAMES`"),
        ("drop to-host", "expected `drop FRAMES`"),
        ("reboot now", "expected `reboot`"),
        ("reboot to-host", "expected `reboot`"),
        ("lead-off 3", "channel: expected a whole number from 1 to 2, got '3'"),
        ("lead-off 0", "got '0'"),
        ("load 1 wet", "load: expected 1 to 1000000 ohm"),
        ("gain 1 5001", "permille: expected a whole number from 0 to 5000"),
        ("patient-stop maybe", "expected `patient-stop press` or `release`, got 'maybe'"),
        ("battery 101", "expected 0 to 100 percent, or 255 for mains"),
        ("delay ½", "expected seconds"),
    ],
)
def test_a_line_that_makes_no_sense_says_what_was_expected(line: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_line(line, 2)
    assert expected in str(caught.value)


def test_a_script_is_sorted_and_its_errors_name_file_and_line(tmp_path: Path) -> None:
    script = tmp_path / "faults.txt"
    script.write_text("# a comment\nat 2 reboot\n\nat 1 hang\n")
    assert [fault.verb for fault in read_script(script, 2)] == [Verb.HANG, Verb.REBOOT]
    script.write_text("at 2 reboot\nat 3 explode\n")
    with pytest.raises(UsageError, match=r"faults\.txt, line 2: expected one of drop"):
        read_script(script, 2)
    script.write_text("reboot\n")
    with pytest.raises(UsageError, match=r"line 1: expected `at SECONDS`"):
        read_script(script, 2)


def test_a_script_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_script(missing, 2)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="expected UTF-8 text"):
        read_script(binary, 2)
    binary.write_bytes(b"#" * 70_000)
    with pytest.raises(UsageError, match="at most 65536 bytes"):
        read_script(binary, 2)
