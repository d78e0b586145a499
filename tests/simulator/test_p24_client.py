"""The published client, unmodified, on a real pseudo-terminal against `estim simulate --model p24`.

Its example programs are not in its wheel: what they do is done here again, call by call, for a
shorter time and without a keyboard. What reached the load is worked out by hand.
"""

from __future__ import annotations

import asyncio
import csv
import os
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import serial
from science_mode_4 import (
    Channel,
    ChannelPoint,
    Commands,
    Connector,
    DeviceP24,
    LowLevelHighVoltageSource,
    LowLevelMode,
    MidLevelChannelConfiguration,
    ResultAndError,
    SerialPortConnection,
    StimStatus,
)
from science_mode_4.protocol.exceptions import ProtocolError
from science_mode_4.utils.logger import logger

from estim.dialects.p24 import Decoder, Frame, encode
from estim.simulator.__main__ import main
from estim.transport.line_settings import LineSettings
from estim.transport.serial_port import SerialPort
from tests.simulator.processes import play
from tests.simulator.processes import simulated as simulated_process

pytestmark = pytest.mark.long

MS = 1000
OK = ResultAndError.NO_ERROR


simulated = partial(simulated_process, "--model", "p24")


@contextmanager
def connected(path: str) -> Iterator[DeviceP24]:
    """Open the client's own connection, as its examples do."""
    logger().disabled = True
    connection = SerialPortConnection(path)
    connection.open()
    try:
        yield DeviceP24(connection)
    finally:
        connection.close()


Rows = dict[int, list[tuple[int, int, int]]]


def read_trace(path: Path) -> Rows:
    """Return (t_us, current_ua, duration_us) of each channel's phases."""
    rows: Rows = defaultdict(list)
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            rows[int(row["channel"])].append(
                (int(row["t_us"]), int(row["current_ua"]), int(row["duration_us"]))
            )
    return rows


def run(flow: Coroutine[Any, Any, None]) -> None:
    asyncio.run(flow)


async def keep(device: DeviceP24, for_s: float) -> None:
    """Poll as the examples do, and more often."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        await device.get_layer_mid_level().get_current_data()
        await asyncio.sleep(0.1)


async def off(device: DeviceP24, channel_number: int) -> Any:
    """Poll until a channel, from 1, plays no more; return what was told then."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        told = await device.get_layer_mid_level().get_current_data()
        if not told.is_stimulation_active_per_channel[channel_number - 1]:
            return told
        await asyncio.sleep(0.02)
    raise AssertionError(f"channel {channel_number} plays on")


def test_the_mid_level_examples(tmp_path: Path) -> None:
    """Two channels with a ramp of 3, stopped by the host: every pulse is where it should be."""
    trace = tmp_path / "trace.csv"

    async def flow(device: DeviceP24) -> None:
        await device.initialize()
        general, mid_level = device.get_layer_general(), device.get_layer_mid_level()
        assert general.device_id == "HAND-MADE1"
        assert general.science_mode_version == "4.0.0"
        first = [ChannelPoint(200, 20), ChannelPoint(100, 0), ChannelPoint(200, -20)]
        second = [ChannelPoint(100, 10), ChannelPoint(100, 0), ChannelPoint(100, -10)]
        await mid_level.init(True)
        await mid_level.update(
            [
                MidLevelChannelConfiguration(True, 3, 20, first),
                MidLevelChannelConfiguration(True, 3, 10, second),
            ]
        )
        await keep(device, 0.5)
        told = await mid_level.get_current_data()
        assert told.is_stimulation_active_per_channel == [True, True] + [False] * 6
        assert told.channel_error == [OK] * 8
        status = await general.get_stim_status()
        assert (status.stim_status, status.high_voltage_on) == (StimStatus.MID_LEVEL_RUNNING, True)
        await mid_level.stop()
        await asyncio.sleep(0.05)
        status = await general.get_stim_status()
        assert status.stim_status == StimStatus.NO_LEVEL_INITIALIZED
        assert not status.high_voltage_on

    arguments = ("--serial", "HAND-MADE1", "--trace", str(trace))
    with simulated(*arguments) as (_, path), connected(path) as device:
        run(flow(device))
    rows = read_trace(trace)
    assert set(rows) == {1, 2}
    began_us = rows[1][0][0]
    for index in range(20):
        current_ua = (5_000, 10_000, 15_000)[index] if index < 3 else 20_000
        onset_us = began_us + index * 20 * MS
        assert rows[1][2 * index : 2 * index + 2] == [
            (onset_us, current_ua, 200),
            (onset_us + 300, -current_ua, 200),
        ]
        # Behind the first pulse of channel 1 and the 60 us between two.
        current_ua = (2_500, 5_000, 7_500)[index] if index < 3 else 10_000
        onset_us = began_us + 560 + index * 10 * MS
        assert rows[2][2 * index : 2 * index + 2] == [
            (onset_us, current_ua, 100),
            (onset_us + 200, -current_ua, 100),
        ]
    assert rows[1][-1][0] - began_us < 1_500 * MS


def test_the_mid_level_update_example(tmp_path: Path) -> None:
    """Eight channels at 50 mA, toggled and raised, one lead off: the others play on."""
    trace = tmp_path / "trace.csv"

    async def flow(device: DeviceP24, process: subprocess.Popen[bytes]) -> None:
        await device.initialize()
        mid_level = device.get_layer_mid_level()
        channels = [
            MidLevelChannelConfiguration(
                True, 0, 20, [ChannelPoint(250, 50), ChannelPoint(250, -50), ChannelPoint(250, 0)]
            )
            for _ in range(8)
        ]
        await mid_level.init(False)
        await mid_level.update(channels)
        await keep(device, 0.2)
        channels[4].is_active = False
        await mid_level.update(channels)
        told = await mid_level.get_current_data()
        assert told.is_stimulation_active_per_channel == [True] * 4 + [False] + [True] * 3
        for channel in channels:
            channel.points[0].current_in_milli_ampere = 60
            channel.points[1].current_in_milli_ampere = -60
        await mid_level.update(channels)
        play(process, "lead-off 2")
        _, active, errors = await off(device, 2)
        assert errors == [OK, ResultAndError.ELECTRODE_ERROR] + [OK] * 6
        assert active == [True, False, True, True, False, True, True, True]
        play(process, "load 3 4000")  # 150 V give 37.5 mA
        _, active, errors = await off(device, 3)
        assert errors[2] == ResultAndError.PULSE_LOW_CURRENT_ERROR
        await keep(device, 0.1)  # the others play on
        await mid_level.stop()

    with simulated("--trace", str(trace)) as (process, path), connected(path) as device:
        run(flow(device, process))
    rows = read_trace(trace)
    assert set(rows) == set(range(1, 9))
    assert rows[5][-1][1] == -50_000  # off before the rise
    assert {abs(current) for _, current, _ in rows[1]} == {50_000, 60_000}
    assert rows[3][-2:] == [
        (rows[3][-2][0], 37_500, 250),
        (rows[3][-2][0] + 250, -37_500, 250),
    ]
    assert rows[2][-1][0] < rows[3][-1][0] < rows[1][-1][0]
    # Every pulse is 500 us of current and 250 of nothing, and 60 us lie between any two.
    onsets = sorted(row[0] for each in rows.values() for row in each if row[1] > 0)
    assert all(later - former >= 810 for former, later in pairwise(onsets))
    assert [onset - onsets[0] for onset in onsets[:8]] == [810 * index for index in range(8)]


async def acknowledged(device: DeviceP24, count: int) -> list[Any]:
    """Collect so many acknowledgements of pulses, as the examples do."""
    found: list[Any] = []
    buffer = device.get_layer_low_level().packet_buffer
    end = time.monotonic() + 5
    while len(found) < count and time.monotonic() < end:
        packet = buffer.get_packet_from_buffer()
        if packet is None:
            await asyncio.sleep(0.01)
        elif packet.command == Commands.LOW_LEVEL_CHANNEL_CONFIG_ACK:
            found.append(packet)
    return found


def test_the_low_level_examples(tmp_path: Path) -> None:
    """Four colours of a connector without measurement, then eight outputs with the current."""
    trace = tmp_path / "trace.csv"

    async def flow(device: DeviceP24) -> None:
        await device.initialize()
        low_level = device.get_layer_low_level()
        await low_level.init(LowLevelMode.NO_MEASUREMENT, LowLevelHighVoltageSource.STANDARD)
        for channel in Channel:
            low_level.send_channel_config(
                True,
                channel,
                Connector.GREEN,
                [ChannelPoint(1000, 10), ChannelPoint(4000, 0), ChannelPoint(1000, -10)],
            )
        told = await acknowledged(device, 4)
        assert [(each.connector, each.channel, each.result) for each in told] == [
            (1, channel, OK) for channel in range(4)
        ]
        await low_level.stop()
        await low_level.init(LowLevelMode.STIM_CURRENT, LowLevelHighVoltageSource.STANDARD)
        for connector in Connector:
            for channel in Channel:
                factor = channel + 1
                low_level.send_channel_config(
                    True,
                    channel,
                    connector,
                    [
                        ChannelPoint(500 * factor, 10 * factor),
                        ChannelPoint(500 * factor, 0),
                        ChannelPoint(500 * factor, -10 * factor),
                        ChannelPoint(500 * factor, 0),
                    ],
                )
        told = await acknowledged(device, 8)
        assert [(each.connector, each.channel) for each in told] == [
            (connector, channel) for connector in (0, 1) for channel in range(4)
        ]
        for each in told:
            factor = each.channel + 1
            # 2000 us x factor in 128 samples: 15.6 us, and so 16, 32, 47, 63.
            assert each.sampling_time_in_microseconds == (16, 32, 47, 63)[each.channel]
            samples = each.measurement_samples
            assert samples[0] == samples[30] == samples[70] == 10.0 * factor
            assert samples[40] == samples[110] == 0
        await low_level.stop()

    with simulated("--trace", str(trace)) as (_, path), connected(path) as device:
        run(flow(device))
    rows = read_trace(trace)
    assert set(rows) == set(range(1, 9))
    for number in range(1, 9):
        green = rows[number][:2] if number > 4 else []
        measured = rows[number][2:] if number > 4 else rows[number]
        if green:
            assert [row[1:] for row in green] == [(10_000, 1000), (-10_000, 1000)]
            assert green[1][0] - green[0][0] == 5_000
        factor = (number - 1) % 4 + 1
        assert [row[1:] for row in measured] == [
            (10_000 * factor, 500 * factor),
            (-10_000 * factor, 500 * factor),
        ]
        assert measured[1][0] - measured[0][0] == 1_000 * factor


def test_the_client_hears_what_goes_wrong_and_output_ends_without_it(tmp_path: Path) -> None:
    """Refused, unknown, stopped by an error; and after the client has gone, 2 s and no more."""
    trace = tmp_path / "trace.csv"
    polled_us = 0

    async def flow(device: DeviceP24, process: subprocess.Popen[bytes]) -> None:
        nonlocal polled_us
        await device.initialize()
        mid_level, low_level = device.get_layer_mid_level(), device.get_layer_low_level()
        pulse = [ChannelPoint(200, 20), ChannelPoint(200, -20)]
        with pytest.raises(ProtocolError, match="MidLevelUpdate NOT_INITIALIZED"):
            await mid_level.update([MidLevelChannelConfiguration(True, 0, 20, pulse)])
        await mid_level.init(True)
        with pytest.raises(ProtocolError, match="LowLevelInit NOT_INITIALIZED"):
            await low_level.init(LowLevelMode.NO_MEASUREMENT, LowLevelHighVoltageSource.STANDARD)
        with pytest.raises(ProtocolError, match="MidLevelUpdate PARAMETER_ERROR"):
            await mid_level.update(
                [MidLevelChannelConfiguration(True, 0, 16_384, pulse)]  # 0 ms on the wire
            )
        with pytest.raises(ProtocolError, match="MidLevelUpdate PARAMETER_ERROR"):
            await mid_level.update(
                [MidLevelChannelConfiguration(True, 0, 20, [ChannelPoint(200, 150)])]
            )
        await mid_level.update([MidLevelChannelConfiguration(True, 0, 20, pulse)])
        play(process, "channel-error 1 electrode")
        with pytest.raises(ProtocolError, match="MidLevelGetCurrentData ELECTRODE_ERROR"):
            await off(device, 1)
        await mid_level.update([MidLevelChannelConfiguration(True, 0, 20, pulse)])
        await mid_level.get_current_data()
        polled_us = time.monotonic_ns() // 1000

    with simulated("--trace", str(trace)) as (process, path):
        with connected(path) as device:
            run(flow(device, process))
        time.sleep(2.3)
    assert polled_us + 1_700 * MS < read_trace(trace)[1][-1][0] < polled_us + 2_000 * MS


def test_a_pseudo_terminal_takes_the_line_settings_of_a_p24() -> None:
    """3 Mbaud, 2 stop bits, RTS/CTS: taken, and as good as any others; and the client's own."""
    with simulated() as (_, path):
        port = SerialPort(path, LineSettings(3_000_000, stop_bits=2, has_flow_control=True))
        decoder = Decoder()
        port.write(encode(52, 9))
        found: list[object] = []
        for _ in range(100):
            found += decoder.feed(port.read())
            if found:
                break
        port.close()
        assert found == [Frame(53, 9, b"\0SIM-0001\0\0")]
        with serial.Serial(path, timeout=5) as plain:
            plain.write(encode(62, 1))
            assert plain.read(15).endswith(b"\x0f")


def test_it_listens_on_a_tcp_port_with_an_answer_time() -> None:
    with simulated("--tcp", "0", "--answer-us", "60000") as (_, address):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            sent_at = time.monotonic()
            client.sendall(encode(62, 3))
            assert Decoder().feed(client.recv(100)) == [Frame(63, 3, b"\0\0\1")]
            assert 0.06 <= time.monotonic() - sent_at < 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--channels", "2"], "--channels: a P24 has no such option"),
        (["--patient-stop", "yes"], "--patient-stop: a P24 has no such option"),
        (["--serial", "12345678901"], "serial: expected 1 to 10 ASCII characters"),
        (["--answer-us", "soon"], "answer_us: expected a whole number from 0 to 10000000"),
        (["--load", "wet"], "load: expected 1 to 1000000 ohm"),
        (["--trace", "/nonexistent/trace.csv"], "cannot be written"),
    ],
)
def test_what_a_p24_has_not_is_one_message_and_exit_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", "p24", *arguments]) == 2
    told = capsys.readouterr()
    assert expected in told.err
    assert told.err.count("\n") == 1


def test_a_script_that_a_p24_cannot_play_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "faults.txt"
    script.write_text("at 1 lead-off 8\nat 2 battery 4\n")
    trace = tmp_path / "trace.csv"
    assert main(["--model", "p24", "--faults", str(script), "--trace", str(trace)]) == 2
    told = capsys.readouterr().err
    assert "faults.txt, line 2: expected one of drop" in told
    assert "got 'battery', which this device cannot play" in told
    assert not trace.exists()
    assert os.listdir(tmp_path) == ["faults.txt"]


def test_what_only_a_p24_has_is_refused_by_the_other_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--answer-us", "5"]) == 2
    assert "--answer-us: an Estim stimulator has no such option" in capsys.readouterr().err
