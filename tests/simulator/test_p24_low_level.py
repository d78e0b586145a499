"""The low level of the virtual P24: one pulse for each request, measured where asked."""

from __future__ import annotations

import pytest

from estim.dialects import p24
from estim.dialects.p24 import (
    Command,
    Frame,
    Point,
    encode,
    pack_channel_config,
    unpack_status,
)
from estim.dialects.p24_low_level import (
    HighVoltage,
    Measurement,
    PulseAnswer,
    pack_low_level_init,
    unpack_pulse_answer,
)
from estim.simulator.load import NAMED_LOADS, Load
from tests.simulator.p24_host import MS, P24Host, S, pulse


def host_with(
    measurement: Measurement = Measurement.NONE,
    voltage: HighVoltage = HighVoltage.ON,
    load: Load | None = None,
) -> P24Host:
    host = P24Host(load=load)
    assert host.result(Command.LL_INIT, pack_low_level_init(measurement, voltage)) == 0
    return host


def play(
    host: P24Host, points: tuple[Point, ...], channel: int = 0, connector: int = 0
) -> PulseAnswer:
    payload = pack_channel_config(channel, connector, points)
    return unpack_pulse_answer(host.ask(Command.LL_CHANNEL_CONFIG, payload).payload)


def test_a_pulse_is_played_at_once_and_acknowledged_after_it() -> None:
    """1 ms forth, 4 ms nothing, 1 ms back: 6 ms, and 1 ms for the answer."""
    host = host_with()
    points = (Point(1_000, 10_000), Point(4_000, 0), Point(1_000, -10_000))
    sent_us = host.now_us
    number = host.send(Command.LL_CHANNEL_CONFIG, pack_channel_config(2, 0, points))
    assert host.pass_time(7 * MS - 1) == []
    assert host.trace.pulses == [(sent_us, 3, ((0, 10_000, 1_000), (5_000, -10_000, 1_000)))]
    assert host.pass_time(1) == [Frame(3, number, bytes((0, 0x02, 0)))]
    host.pass_time(1 * S)
    assert len(host.trace.pulses) == 1


@pytest.mark.parametrize("connector", [0, 1])
@pytest.mark.parametrize("channel", [0, 1, 2, 3])
def test_connectors_and_channels_are_the_eight_outputs(channel: int, connector: int) -> None:
    host = host_with()
    told = play(host, pulse(5_000), channel, connector)
    assert told == PulseAnswer(0, channel, connector, 0)
    assert [number for _, number, _ in host.trace.pulses] == [1 + channel + 4 * connector]


def test_pulses_wait_for_each_other_and_for_the_host() -> None:
    """Each of 500 us is acknowledged 1.5 ms after it is taken up, and then the next begins."""
    host = host_with()
    began_us = host.now_us
    for channel in range(4):
        host.send(Command.LL_CHANNEL_CONFIG, pack_channel_config(channel, 0, pulse(5_000)))
    assert [frame.payload[1] for frame in host.pass_time(6 * MS)] == [0, 1, 2, 3]
    assert [onset - began_us for onset, _, _ in host.trace.pulses] == [0, 1_500, 3_000, 4_500]


@pytest.mark.parametrize("writes", [1, 12])
def test_ten_pulses_wait_and_no_more(writes: int) -> None:
    """Of twelve sent at once one plays and ten wait; the twelfth is told that it is too many."""
    host = host_with()
    frame = encode(Command.LL_CHANNEL_CONFIG, 0, pack_channel_config(0, 0, pulse(5_000)))
    for _ in range(writes):
        host.write(frame * (12 // writes))
    told = [frame.payload[0] for frame in host.pass_time(1 * S)]
    assert told == [0] * 11 + [21]
    assert len(host.trace.pulses) == 11


def test_what_is_not_to_be_executed_is_acknowledged_and_plays_nothing() -> None:
    host = host_with()
    for payload in (pack_channel_config(1, 1, pulse(5_000), is_executed=False), b"\x30"):
        told = host.ask(Command.LL_CHANNEL_CONFIG, payload)
        assert unpack_pulse_answer(told.payload) == PulseAnswer(0, 1, 1, 0)
    assert not host.trace.pulses


def test_without_high_voltage_there_is_no_pulse() -> None:
    host = host_with(voltage=HighVoltage.OFF)
    assert not unpack_status(host.ask(Command.GET_STIM_STATUS).payload).is_high_voltage_on
    assert play(host, pulse(5_000)).result == 8
    assert not host.trace.pulses


def test_bad_parameters_are_refused() -> None:
    host = host_with()
    for payload in (b"", b"\x81" + bytes(4), b"\x80" + bytes.fromhex("0c8ffc00")):
        assert host.result(Command.LL_CHANNEL_CONFIG, payload) == 2
    assert host.result(Command.LL_INIT, b"\x40") == 2
    assert host.result(Command.LL_INIT, b"\x04") == 2
    assert host.status().status == 1
    assert not host.trace.pulses


def test_the_low_level_ends_with_its_stop() -> None:
    host = host_with()
    assert host.result(Command.LL_STOP) == 0
    host.pass_time(50 * MS)
    assert host.status() == p24.Status(0, 0, False)
    told = host.ask(Command.LL_CHANNEL_CONFIG, pack_channel_config(1, 1, pulse(5_000)))
    assert unpack_pulse_answer(told.payload) == PulseAnswer(7, 1, 1, 0)
    assert not host.trace.pulses


# Measurement: 1280 us of pulse are 128 samples of 10 us.

POINTS = (Point(500, 20_000), Point(280, 0), Point(500, -20_000))


def test_current_is_measured_without_its_sign() -> None:
    told = play(host_with(Measurement.CURRENT), POINTS)
    assert (told.result, told.measurement, told.sample_us) == (0, 1, 10)
    assert told.hundredths == (2_000,) * 50 + (0,) * 28 + (2_000,) * 50


def test_voltage_is_measured_at_the_load() -> None:
    """20 mA through 500 ohm: 10 V."""
    told = play(host_with(Measurement.VOLTAGE, load=Load(500)), POINTS)
    assert told.hundredths == (1_000,) * 50 + (0,) * 28 + (1_000,) * 50


def test_voltage_of_skin_rises_within_a_phase() -> None:
    """'typical' at 20 mA: Rs 6 V at once; Rp 5000 / 3 ohm, 33.3 V at last, tau 83.3 us."""
    told = play(host_with(Measurement.VOLTAGE, load=NAMED_LOADS["typical"]), POINTS)
    assert told.hundredths[0] == 600
    # After 90 us: 33.333 x (1 - e^-1.08) = 22.013 V, and 6 V.
    assert told.hundredths[9] == pytest.approx(2_801, abs=1)
    # After 490 us: 33.333 x (1 - e^-5.88) = 33.240 V, and 6 V.
    assert told.hundredths[49] == pytest.approx(3_924, abs=1)


def test_the_high_voltage_is_measured() -> None:
    assert play(host_with(Measurement.HIGH_VOLTAGE), POINTS).hundredths == (15_000,) * 128


@pytest.mark.parametrize(
    ("amplitude_ua", "load", "result", "volts"),
    [
        (15_000, NAMED_LOADS["open"], 10, 150),
        (14_500, NAMED_LOADS["open"], 0, 150),
        (20_000, Load(10_000), 28, 150),
        (15_000, Load(10_000), 0, 150),
    ],
)
def test_a_load_that_takes_too_little_is_the_result(
    amplitude_ua: int, load: Load, result: int, volts: int
) -> None:
    host = host_with(Measurement.VOLTAGE, load=load)
    told = play(host, (Point(640, amplitude_ua), Point(640, -amplitude_ua)))
    assert told.result == result
    assert told.hundredths == (volts * 100,) * 128
