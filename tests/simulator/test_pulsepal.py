"""The virtual PulsePal: what it plays, what it answers, and how it fails.

Times are worked out by hand: the device reads a message on the first cycle of 50 us from when it
came (here mostly at once, for the host writes on whole milliseconds), takes a trigger on the next,
and its output changes on the one after: 100 us from trigger to onset. A load of 1000 ohm makes
millivolts microamperes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.dialects import pulsepal
from estim.dialects.pulsepal import ChannelSettings, Parameter
from estim.errors import UsageError
from estim.simulator.faults import PULSEPAL_VERBS, Direction, Fault, Verb, parse_line
from estim.simulator.line import FaultyLine
from estim.simulator.load import Load
from estim.simulator.models import MODELS, cut_bytes
from estim.simulator.options import SimulatorOptions
from estim.simulator.pulsepal import BOOT_US, VirtualPulsePal
from estim.simulator.trace import DeliveredPhases

MS = 1000
S = 1_000_000
ONSET_US = 100
K = b"K\x15\0\0\0"
BIPHASIC_2_V = ChannelSettings(
    is_biphasic=True,
    phase_1_mv=2000,
    phase_2_mv=-2000,
    phase_1_us=200,
    interphase_us=100,
    phase_2_us=200,
    interpulse_us=9500,
    train_us=25 * MS,
)


class Rows:
    """Keep what reached the load."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, int]] = []

    def add_pulse(self, onset_us: int, channel_number: int, phases: DeliveredPhases) -> None:
        for offset_us, current_ua, duration_us in phases:
            self.rows.append((onset_us + offset_us, channel_number, current_ua, duration_us))

    def flush(self) -> None:
        """Nothing waits."""


class Host:
    """Write messages and step time; at 0 the device has just started."""

    def __init__(self, load: Load | None = None, faults: str = "", seed: int = 0) -> None:
        self.trace = Rows()
        self.device = VirtualPulsePal(load or Load(1000), self.trace, -BOOT_US)
        script = [parse_line(line, 4, PULSEPAL_VERBS) for line in faults.splitlines()]
        self.line = FaultyLine(
            self.device, [fault for fault in script if fault is not None], seed, 0, cut_bytes
        )
        self.now_us = 0

    def send(self, message: bytes, for_us: int = MS) -> bytes:
        """Write a message and return what is answered within a time."""
        self.line.receive(message, self.now_us)
        return self.wait(for_us)

    def wait(self, for_us: int) -> bytes:
        end_us, answers = self.now_us + for_us, self.line.take_output(self.now_us)
        while (due := self.line.next_deadline_us()) is not None and due <= end_us:
            self.now_us = due
            answers += self.line.take_output(due)
        self.now_us = end_us
        return answers + self.line.take_output(end_us)

    def program(self, *channels: ChannelSettings) -> None:
        rest = [ChannelSettings()] * (4 - len(channels))
        assert self.send(pulsepal.program_all([*channels, *rest], (0, 0))) == b"\1"

    def one(self, parameter: Parameter, value: int, channel: int = 1) -> None:
        assert self.send(pulsepal.program_one(parameter, channel, value)) == b"\1"

    def trigger(self, *channels: int, for_us: int) -> int:
        """Trigger channels and wait; return when their trains begin."""
        begin_us = self.now_us + ONSET_US
        assert self.send(pulsepal.trigger(channels or [1]), for_us) == b""
        return begin_us

    def is_on(self) -> bool:
        return self.device.is_energised

    def rows(self, since_us: int = 0) -> list[tuple[int, int, int]]:
        """Return channel 1's onset after `since_us`, current and duration, row by row."""
        return [
            (onset_us - since_us, current_ua, duration_us)
            for onset_us, channel, current_ua, duration_us in self.trace.rows
            if channel == 1 and onset_us >= since_us
        ]


# What it answers.


def test_every_message_has_its_answer_and_no_other() -> None:
    host = Host()
    assert host.send(pulsepal.handshake()) == b"K\x15\0\0\0"
    assert host.send(pulsepal.client_name("ESTIM ")) == b""
    assert host.send(b"\xd5\x4e\x05ESTIM") == b""  # on its display
    assert host.send(pulsepal.program_all([ChannelSettings()] * 4, (0, 1))) == b"\1"
    assert host.send(pulsepal.program_one(Parameter.TRIGGER_MODE, 2, 1)) == b"\1"
    assert host.send(pulsepal.custom_train(1, [0, 100], [0, 0])) == b"\1"
    assert host.send(pulsepal.custom_train(2, [50], [0])) == b"\1"
    assert host.send(pulsepal.trigger([1])) == b""
    assert host.send(pulsepal.abort()) == b""
    assert host.send(pulsepal.fixed_voltage(1, 0)) == b"\1"
    assert host.send(pulsepal.continuous(1, False)) == b"\1"
    assert host.send(b"\xd5\x56\x0d\x01") == b""  # a pin, for developers
    assert len(host.send(b"\xd5\x57\x0d")) == 1
    assert host.send(pulsepal.disconnect()) == b""
    assert host.send(b"\xd5\xc8" + pulsepal.handshake()) == b"K\x15\0\0\0"  # 200: nobody knows it


def test_bytes_that_begin_no_message_are_passed_over() -> None:
    assert Host().send(b"\0K\x50Hello" + pulsepal.handshake()) == b"K\x15\0\0\0"


def test_one_message_is_obeyed_per_cycle() -> None:
    """Ten handshakes at 0 are answered at 0, 50, ... 450 us."""
    host = Host()
    assert host.send(10 * pulsepal.handshake(), 449) == 9 * b"K\x15\0\0\0"
    assert host.wait(1) == b"K\x15\0\0\0"


@pytest.mark.long
def test_what_nobody_reads_and_what_nobody_takes_stays_bounded() -> None:
    device = VirtualPulsePal(Load(1000), None, -BOOT_US)
    for at_ms in range(100):
        device.receive(50 * pulsepal.handshake(), at_ms * 10 * MS)
    assert len(device.take_output(2 * S)) == 4100  # 820 answers: the last one began below 4096
    host = Host(faults="at 0.001 stall 1")
    host.wait(2 * MS)
    for _ in range(50):
        assert host.send(1000 * pulsepal.handshake()) == b""
    # 65 536 bytes of 100 000 wait: 32 768 handshakes.
    answers = sum(len(host.wait(10 * MS)) for _ in range(400))
    assert answers == 32_768 * 5
    assert host.send(pulsepal.handshake()) == K


def test_the_settings_file_holds_what_was_saved_and_not_what_was_told() -> None:
    host = Host()
    host.one(Parameter.PHASE_1_DURATION, 300)
    before = host.send(b"\xd5\x55")
    assert len(before) == 178
    assert before[:4] == (2).to_bytes(4, "little")
    assert host.send(b"\xd5\x5a\x01\x05e.pps") == b""
    assert host.send(b"\xd5\x55")[:4] == (6).to_bytes(4, "little")
    assert before[-10:] == bytes.fromhex("00 01010101 00 00000000")  # input 1 linked to all


# What it plays.


def test_a_biphasic_train_is_played_to_the_cycle() -> None:
    """200 us up, 100 us of nothing, 200 us down, every 10 ms, 25 ms long: three pulses."""
    host = Host()
    host.program(BIPHASIC_2_V)
    begin_us = host.trigger(for_us=100 * MS)
    assert host.rows(begin_us) == [
        (0, 2000, 200), (300, -2000, 200),
        (10_000, 2000, 200), (10_300, -2000, 200),
        (20_000, 2000, 200), (20_300, -2000, 200),
    ]  # fmt: skip


def test_what_it_plays_at_start_is_what_the_firmware_comes_with() -> None:
    """100 us of 5 V (code 49152: 5000.2 mV), 1 ms between pulses, for a second."""
    host = Host()
    begin_us = host.trigger(for_us=2 * S)
    rows = host.rows(begin_us)
    assert rows[:2] == [(0, 5000, 100), (1100, 5000, 100)]
    assert len(rows) == 910  # onsets at 0, 1.1 ms ... 999.9 ms
    assert rows[-1] == (999_900, 5000, 100)


def test_a_train_ends_in_the_middle_of_a_pulse_if_that_is_where_it_ends() -> None:
    host = Host()
    host.program(BIPHASIC_2_V)
    host.one(Parameter.TRAIN_DURATION, 10_350)
    begin_us = host.trigger(for_us=50 * MS)
    assert host.rows(begin_us)[-1] == (10_300, -2000, 50)


def test_the_offset_passes_before_the_train() -> None:
    host = Host()
    host.program(BIPHASIC_2_V)
    host.one(Parameter.TRAIN_OFFSET, 5000)
    begin_us = host.trigger(for_us=50 * MS)
    assert host.rows(begin_us)[0] == (5000, 2000, 200)


def test_channels_are_their_own() -> None:
    host = Host()
    host.program(BIPHASIC_2_V, ChannelSettings(), ChannelSettings(phase_1_mv=-6000, train_us=50))
    begin_us = host.trigger(1, 3, for_us=50 * MS)
    first = {channel: (onset, ua) for onset, channel, ua, _ in reversed(host.trace.rows)}
    assert first == {1: (begin_us, 2000), 3: (begin_us, -6000)}
    assert [row[0] for row in host.trace.rows] == sorted(row[0] for row in host.trace.rows)


def test_bursts_hold_the_pulses_that_fit() -> None:
    """Pulses of 100 us every 500 us in bursts of 1 ms, 2 ms between bursts.

    The third pulse would begin with the burst's end. Each later burst begins at once.
    """
    host = Host()
    told = ChannelSettings(
        phase_1_mv=2000, phase_1_us=100, interpulse_us=400, burst_us=1000, interburst_us=2000,
        train_us=7000,
    )  # fmt: skip
    host.program(told)
    begin_us = host.trigger(for_us=50 * MS)
    assert [row[0] for row in host.rows(begin_us)] == [0, 500, 3000, 3500, 6000, 6500]


def test_pulses_may_follow_each_other_at_once_where_they_are_biphasic() -> None:
    host = Host()
    told = ChannelSettings(
        True, 2000, -2000, phase_1_us=50, interphase_us=0, phase_2_us=50, interpulse_us=0,
        train_us=200,
    )  # fmt: skip
    host.program(told)
    begin_us = host.trigger(for_us=5 * MS)
    assert host.rows(begin_us) == [
        (0, 2000, 50), (50, -2000, 50), (100, 2000, 50), (150, -2000, 50),
    ]  # fmt: skip


def test_current_is_voltage_over_the_load() -> None:
    """2 V over 500 ohm is 4 mA, over 3 kohm 0.667 mA, over nothing nothing."""
    for load, current_ua in ((Load(500), 4000), (Load(3000), 667), (Load(0, is_open=True), 0)):
        host = Host(load)
        host.program(BIPHASIC_2_V)
        host.trigger(for_us=50 * MS)
        currents = {abs(row[1]) for row in host.rows()}
        assert currents == ({current_ua} if current_ua else set())


# Custom trains.


def test_a_custom_train_plays_its_onsets_once() -> None:
    host = Host()
    assert host.send(pulsepal.custom_train(2, [0, 1000, 5000], [2000, 6000, -2000])) == b"\1"
    host.program(ChannelSettings(phase_1_us=200, custom_train=2, train_us=S))
    begin_us = host.trigger(for_us=50 * MS)
    assert host.rows(begin_us) == [(0, 2000, 200), (1000, 6000, 200), (5000, -2000, 200)]


def test_onsets_as_close_as_a_pulse_is_long_make_a_waveform_without_gaps() -> None:
    host = Host()
    host.send(pulsepal.custom_train(1, [0, 100, 200], [2000, 6000, -2000]))
    host.program(ChannelSettings(phase_1_us=100, custom_train=1))
    begin_us = host.trigger(for_us=50 * MS)
    assert host.rows(begin_us) == [(0, 2000, 100), (100, 6000, 100), (200, -2000, 100)]


def test_a_biphasic_custom_train_turns_each_voltage_round() -> None:
    """2 V is code 39321; 65536 - 39321 = 26215, 1.9997 V below zero."""
    host = Host()
    host.send(pulsepal.custom_train(1, [0, 2000], [2000, 6000]))
    host.program(ChannelSettings(True, phase_1_us=100, phase_2_us=100, custom_train=1))
    begin_us = host.trigger(for_us=50 * MS)
    assert host.rows(begin_us) == [
        (0, 2000, 100), (200, -2000, 100), (2000, 6000, 100), (2200, -6000, 100),
    ]  # fmt: skip


def test_minus_10_v_turned_round_stays_minus_10_v() -> None:
    """65536 - 0 does not fit 16 bits and becomes 0 again: both phases are negative."""
    host = Host()
    host.send(pulsepal.custom_train(1, [50], [-10_000]))
    host.program(ChannelSettings(True, phase_1_us=100, phase_2_us=100, custom_train=1))
    begin_us = host.trigger(for_us=50 * MS)
    assert host.rows(begin_us) == [(50, -10_000, 100), (250, -10_000, 100)]


def test_a_custom_train_of_one_pulse_at_0_holds_its_voltage_for_ever() -> None:
    """What our own codec refuses to write."""
    host = Host()
    host.send(bytes.fromhex("d54b 01000000 00000000 9999"))
    host.program(ChannelSettings(phase_1_us=100, custom_train=1))
    host.trigger(for_us=10 * S)
    assert host.is_on()
    assert host.rows()[-1][1] == 2000


def test_a_looped_custom_train_goes_on_until_its_duration() -> None:
    host = Host()
    host.send(pulsepal.custom_train(1, [0, 1000], [2000, 6000]))
    host.program(
        ChannelSettings(phase_1_us=200, custom_train=1, is_custom_looped=True, train_us=3000)
    )
    begin_us = host.trigger(for_us=50 * MS)
    assert host.rows(begin_us) == [
        (0, 2000, 200), (1000, 6000, 200), (1200, 2000, 200), (2200, 6000, 200),
        (2400, 2000, 200),
    ]  # fmt: skip


def test_a_custom_train_may_time_bursts_instead() -> None:
    """Bursts of 1 ms at 0 and 5 ms, pulses of 100 us every 500 us in them."""
    host = Host()
    host.send(pulsepal.custom_train(1, [1000, 5000], [2000, 6000]))
    told = ChannelSettings(
        phase_1_us=100, interpulse_us=400, burst_us=1000, custom_train=1, is_custom_bursts=True
    )
    host.program(told)
    begin_us = host.trigger(for_us=50 * MS)
    assert host.rows(begin_us) == [
        (1000, 2000, 100), (1500, 2000, 100), (5000, 6000, 100), (5500, 6000, 100),
    ]  # fmt: skip


@pytest.mark.long
def test_the_longest_custom_train_is_played_and_a_longer_one_ends_the_device() -> None:
    onsets_us = range(0, 5001 * 100, 100)
    host = Host()
    host.send(pulsepal.custom_train(1, onsets_us, [2000, 6000] * 2500 + [2000]))
    host.program(ChannelSettings(phase_1_us=50, custom_train=1))
    begin_us = host.trigger(for_us=S)
    assert len(host.rows(begin_us)) == 5001
    assert host.rows(begin_us)[-1] == (500_000, 2000, 50)
    host = Host()
    overlong = b"\xd5\x4b\x8a\x13\0\0" + bytes(5002 * 6)
    assert host.send(overlong) == b""
    assert host.send(pulsepal.handshake(), S) == b""


# What ends output, and what does not.


def test_nothing_ends_a_train_when_the_host_falls_silent() -> None:
    """There is no watchdog: continuous output goes on for as long as one cares to wait."""
    host = Host()
    host.program(BIPHASIC_2_V)
    assert host.send(pulsepal.continuous(1, True)) == b"\1"
    host.wait(60 * S)
    assert host.rows()[-1][0] > 60 * S - 20 * MS
    assert host.send(pulsepal.continuous(1, False)) == b"\1"
    count = len(host.rows())
    host.wait(S)
    assert len(host.rows()) == count
    assert not host.is_on()


@pytest.mark.parametrize("goodbye", [pulsepal.abort(), pulsepal.disconnect()])
def test_an_abort_ends_everything_on_the_next_cycle(goodbye: bytes) -> None:
    host = Host()
    host.program(BIPHASIC_2_V, BIPHASIC_2_V)
    begin_us = host.trigger(1, 2, for_us=10_150)
    host.send(goodbye, 100 * MS)  # 50 us into the second pulse
    assert host.rows(begin_us) == [(0, 2000, 200), (300, -2000, 200), (10_000, 2000, 50)]
    assert not host.is_on()


def test_an_abort_returns_to_the_resting_voltage_which_is_output_too() -> None:
    """1 V of rest over 1 kohm is 1 mA, until somebody sets it to zero."""
    host = Host()
    host.program(BIPHASIC_2_V)
    host.one(Parameter.RESTING_VOLTAGE, 1000)
    set_us = host.now_us - MS
    host.trigger(for_us=MS)
    host.send(pulsepal.abort(), 299 * MS)
    assert host.is_on()
    rows = host.rows()
    assert rows[0] == (set_us, 1000, MS + ONSET_US)
    assert sum(duration_us for _, ua, duration_us in rows if ua == 1000) > 200 * MS
    host.one(Parameter.RESTING_VOLTAGE, 0)
    assert not host.is_on()
    assert host.rows()[-1][0] + host.rows()[-1][2] == host.now_us - MS


def test_the_rest_of_zero_leaves_153_uv() -> None:
    """Over 1 kohm that is no whole microampere; over 20 ohm it is 8."""
    assert not Host().is_on()
    host = Host(Load(20))
    host.wait(250 * MS)
    assert host.rows() == [(0, 8, 100 * MS), (100 * MS, 8, 100 * MS)]


def test_a_trigger_for_a_channel_that_plays_is_kept_and_plays_after_an_abort() -> None:
    host = Host()
    host.program(BIPHASIC_2_V)
    begin_us = host.trigger(for_us=5 * MS)
    host.trigger(for_us=10 * MS)
    host.send(pulsepal.abort(), 100 * MS)
    onsets = [onset for onset, ua, _ in host.rows(begin_us) if ua > 0]
    aborted_us = 15 * MS - ONSET_US
    assert onsets == [0, 10_000, *(aborted_us + 50 + more for more in (0, 10_000, 20_000))]


def test_a_kept_trigger_goes_on_without_a_gap_but_one_cycle() -> None:
    host = Host()
    host.program(BIPHASIC_2_V)
    begin_us = host.trigger(for_us=5 * MS)
    host.trigger(for_us=100 * MS)
    onsets = [onset for onset, ua, _ in host.rows(begin_us) if ua > 0]
    assert onsets == [0, 10_000, 20_000, 25_050, 35_050, 45_050]


def test_the_resting_voltage_changes_an_output_in_the_middle_of_a_pulse() -> None:
    host = Host()
    host.program(ChannelSettings(phase_1_mv=2000, phase_1_us=10 * MS, train_us=10 * MS))
    begin_us = host.trigger(for_us=2 * MS)
    host.one(Parameter.RESTING_VOLTAGE, 0)
    host.wait(20 * MS)
    assert host.rows(begin_us) == [(0, 2000, 2 * MS - ONSET_US)]


def test_a_fixed_voltage_stays_until_it_is_set_again_and_an_abort_ends_it() -> None:
    host = Host()
    assert host.send(pulsepal.fixed_voltage(4, -6000), 249 * MS) == b"\1"
    host.send(pulsepal.abort())
    rows = [row for row in host.trace.rows if row[1] == 4]
    assert rows == [
        (0, 4, -6000, 100 * MS), (100_000, 4, -6000, 100 * MS), (200_000, 4, -6000, 49 * MS),
    ]  # fmt: skip


def test_a_phase_of_no_time_holds_its_voltage_for_the_whole_train() -> None:
    """What our own codec refuses to write, by hand: parameter 4, channel 1, 0 cycles."""
    host = Host()
    host.program(BIPHASIC_2_V)
    host.send(bytes.fromhex("d54a0401 00000000"))
    begin_us = host.trigger(for_us=100 * MS)
    assert host.rows(begin_us) == [(0, 2000, 25 * MS)]


def test_a_custom_train_that_goes_back_holds_its_voltage_for_ever() -> None:
    host = Host()
    host.send(bytes.fromhex("d54b 02000000 14000000 0a000000 9999 9999"))
    host.program(ChannelSettings(phase_1_us=100, custom_train=1))
    host.trigger(for_us=10 * S)
    assert host.is_on()
    host.send(pulsepal.abort())
    assert not host.is_on()


# Messages that do not come whole.


def test_in_the_middle_of_a_message_the_device_stands_still() -> None:
    """The first half of a message comes 100 us into a phase of 200 us, the rest 20 ms later."""
    host = Host()
    host.program(BIPHASIC_2_V)
    message = pulsepal.program_one(Parameter.BURST_DURATION, 2, 0)
    begin_us = host.trigger(for_us=200)
    assert host.send(message[:3], 20 * MS) == b""
    assert host.send(message[3:]) == b"\1"
    assert host.rows(begin_us)[0] == (0, 2000, 20 * MS + 200)
    host.wait(100 * MS)
    assert len(host.rows(begin_us)) == 6


def test_a_message_that_never_ends_stops_the_device_where_it_is() -> None:
    """After 500 ms it takes zeros for the rest: of a phase's voltage that is -10 V, not yet out."""
    host = Host()
    host.program(BIPHASIC_2_V)
    message = pulsepal.program_one(Parameter.PHASE_1_VOLTAGE, 1, 2000)
    begin_us = host.trigger(for_us=200)
    assert host.send(message[:-2], 400 * MS) == b""
    assert host.wait(101 * MS) == b"\1"
    host.wait(10 * S)
    assert {ua for _, ua, _ in host.rows(begin_us)} == {2000}
    assert host.rows(begin_us)[-1][0] > 10 * S
    assert host.send(pulsepal.abort() + pulsepal.handshake(), S) == b""
    host.device.play(Fault(Verb.REBOOT), host.now_us)
    assert not host.is_on()
    assert host.send(pulsepal.handshake(), BOOT_US) == b"K\x15\0\0\0"


def test_a_resting_voltage_cut_short_is_minus_10_v() -> None:
    host = Host()
    message = pulsepal.program_one(Parameter.RESTING_VOLTAGE, 1, 0)
    host.send(message[:-2], 2 * S)
    assert host.rows()[0] == (500 * MS, -10_000, 100 * MS)
    assert host.is_on()


def test_a_start_byte_alone_stops_it_too() -> None:
    host = Host()
    host.send(b"\xd5", S)
    assert host.send(pulsepal.handshake(), S) == b""


# Faults.


def test_a_stall_holds_outputs_and_answers_and_loses_nothing() -> None:
    host = Host(faults="at 0.010 stall 0.5")
    host.program(BIPHASIC_2_V)
    host.wait(9 * MS - 200)
    begin_us = host.trigger(for_us=200)
    assert begin_us == 10 * MS - 100
    assert host.send(pulsepal.handshake(), 499 * MS) == b""
    assert host.wait(2 * MS) == b"K\x15\0\0\0"
    assert host.rows(begin_us)[0][2] == 100 * MS
    host.wait(50 * MS)
    assert sum(row[2] for row in host.rows(begin_us) if row[1] > 0) == 500 * MS + 3 * 200
    assert host.rows(begin_us)[-1][1:] == (-2000, 200)


def test_a_device_that_hangs_holds_its_outputs_until_a_reboot() -> None:
    host = Host(faults="at 0.010 hang\nat 2 reboot")
    host.program(BIPHASIC_2_V)
    host.wait(9 * MS - 200)
    begin_us = host.trigger(for_us=S)
    assert host.send(pulsepal.abort()) == b""
    assert host.is_on()
    host.wait(2 * S)
    assert not host.is_on()
    assert sum(row[2] for row in host.rows(begin_us)) == 2 * S - begin_us
    assert host.send(pulsepal.handshake()) == b"K\x15\0\0\0"


def test_a_reboot_forgets_everything() -> None:
    host = Host()
    host.program(BIPHASIC_2_V)
    host.device.play(Fault(Verb.REBOOT), host.now_us)
    host.wait(BOOT_US)
    begin_us = host.trigger(for_us=5 * MS)
    assert host.rows(begin_us)[0] == (0, 5000, 100)


def test_loads_and_leads_come_and_go() -> None:
    faults = ("load 1 500", "lead-off 1", "lead-on 1", "gain 1 500")
    host = Host(faults="\n".join(f"at 0.{2 + at} {each}" for at, each in enumerate(faults)))
    host.program(BIPHASIC_2_V)
    for at_us in range(150 * MS, 600 * MS, 100 * MS):
        host.wait(at_us - host.now_us)
        host.trigger(for_us=50 * MS)
    sizes = [abs(ua) for _, ua, _ in host.rows()]
    assert sizes == [2000] * 6 + [4000] * 6 + [4000] * 6 + [2000] * 6


def test_a_lost_byte_of_a_message_eats_the_next_one() -> None:
    """ProgramOne without its opcode's byte is junk; without its last it takes the next start byte
    for its own, and the next message is junk."""
    host = Host(faults="at 0.001 drop 1 to-device")
    host.wait(2 * MS)
    message = pulsepal.program_one(Parameter.IS_BIPHASIC, 1, 1)
    assert host.send(message) == b""  # its start byte was lost
    assert host.send(message[:-1] + pulsepal.handshake()) == b"\1"
    assert host.send(pulsepal.handshake()) == b"K\x15\0\0\0"


def test_a_corrupt_answer_has_one_bit_wrong() -> None:
    host = Host(faults="at 0.001 corrupt 1 to-host", seed=3)
    host.wait(2 * MS)
    answer = host.send(pulsepal.handshake())
    assert answer[1:] == b"\x15\0\0\0"
    assert (answer[0] ^ ord("K")).bit_count() == 1


def test_silence_and_delay_are_the_lines_and_not_the_devices() -> None:
    host = Host(faults="at 0.001 silent 0.01\nat 0.02 delay 0.005 to-host")
    host.wait(2 * MS)
    assert host.send(pulsepal.handshake(), 18 * MS) == b""
    assert host.send(pulsepal.handshake(), 5 * MS - 1) == b""
    assert host.wait(1) == b"K\x15\0\0\0"


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 600 * MS)), max_size=12))
def test_no_bytes_at_any_time_make_it_raise(writes: list[tuple[bytes, int]]) -> None:
    host = Host()
    for message, wait_us in writes:
        host.send(message, wait_us)
    assert all(ua for _, _, ua, _ in host.trace.rows)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=20).map(lambda tail: b"\xd5" + tail), max_size=12))
def test_rows_of_a_channel_never_overlap(writes: list[bytes]) -> None:
    host = Host()
    host.program(BIPHASIC_2_V, BIPHASIC_2_V)
    for message in writes:
        host.send(pulsepal.trigger([1, 2]), 3 * MS)
        host.send(message, 20 * MS)
    ends = dict.fromkeys(range(1, 5), 0)
    for onset_us, channel, _, duration_us in sorted(host.trace.rows):
        assert onset_us >= ends[channel]
        ends[channel] = onset_us + duration_us


# Options.


@pytest.mark.parametrize("load", ["typical", "dry", "good-gel"])
def test_a_load_that_is_no_resistor_is_refused(load: str) -> None:
    with pytest.raises(UsageError, match=rf"load: expected ohms.*PulsePal, got '{load}'"):
        SimulatorOptions(load=load).build(0, MODELS["pulsepal"])


def test_a_fault_that_it_cannot_play_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "faults"
    script.write_text("at 1 battery 4\n")
    with pytest.raises(UsageError, match=r"line 1: expected one of drop, .* stall, got 'battery'"):
        SimulatorOptions(faults=str(script)).build(0, MODELS["pulsepal"])
    assert parse_line("stall 0.5", 4, PULSEPAL_VERBS) == Fault(Verb.STALL, None, 500 * MS)
    assert Direction.TO_HOST.value == "to-host"
