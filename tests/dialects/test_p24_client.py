"""Our bytes beside those of the published client: equal where it is right, and where it is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from science_mode_4 import (
    Channel,
    ChannelPoint,
    Connector,
    LowLevelHighVoltageSource,
    LowLevelMode,
    MidLevelChannelConfiguration,
)
from science_mode_4.general.general_device_id import (
    PacketGeneralGetDeviceId,
    PacketGeneralGetDeviceIdAck,
)
from science_mode_4.general.general_reset import PacketGeneralReset
from science_mode_4.general.general_stim_status import (
    PacketGeneralGetStimStatus,
    PacketGeneralGetStimStatusAck,
)
from science_mode_4.general.general_version import (
    PacketGeneralGetExtendedVersion,
    PacketGeneralGetExtendedVersionAck,
)
from science_mode_4.low_level.low_level_channel_config import (
    PacketLowLevelChannelConfig,
    PacketLowLevelChannelConfigAck,
)
from science_mode_4.low_level.low_level_init import PacketLowLevelInit
from science_mode_4.low_level.low_level_stop import PacketLowLevelStop
from science_mode_4.mid_level.mid_level_current_data import (
    PacketMidLevelGetCurrentData,
    PacketMidLevelGetCurrentDataAck,
)
from science_mode_4.mid_level.mid_level_init import PacketMidLevelInit, PacketMidLevelInitAck
from science_mode_4.mid_level.mid_level_stop import PacketMidLevelStop
from science_mode_4.mid_level.mid_level_update import PacketMidLevelUpdate
from science_mode_4.protocol.packet import Packet
from science_mode_4.protocol.packet_factory import PacketFactory
from science_mode_4.protocol.protocol import Protocol
from science_mode_4.utils.connection import Connection
from science_mode_4.utils.packet_buffer import PacketBuffer

from estim.dialects import p24, p24_device, p24_low_level
from estim.dialects.p24 import ChannelUpdate, Command, Decoder, Frame, Point, encode, pack_update
from firmware_protocol.errors import MessageError
from tests.dialects.p24_frames import point_lists, updates

numbers = st.integers(0, 63)
whole_ms = st.integers(1, 16_383).map(lambda period_ms: period_ms * 1000)
"""The client takes whole milliseconds alone."""


def theirs(packet: Packet, number: int = 0) -> bytes:
    packet.number = number
    written = Protocol.packet_to_bytes(packet)
    assert isinstance(written, bytes)
    return written


def their_points(points: tuple[Point, ...]) -> list[ChannelPoint]:
    return [ChannelPoint(point.duration_us, point.current_ua / 1000) for point in points]


def their_update(channels: list[ChannelUpdate | None]) -> Packet:
    packet = PacketMidLevelUpdate()
    packet.channel_configuration = [
        None
        if channel is None
        else MidLevelChannelConfiguration(
            True, channel.ramp, channel.period_us // 1000, their_points(channel.points)
        )
        for channel in channels
    ]
    return packet


# Equal, over the whole range of both.


@pytest.mark.parametrize(
    ("packet", "command"),
    [
        (PacketGeneralGetDeviceId, Command.GET_DEVICE_ID),
        (PacketGeneralReset, Command.RESET),
        (PacketGeneralGetStimStatus, Command.GET_STIM_STATUS),
        (PacketGeneralGetExtendedVersion, Command.GET_EXTENDED_VERSION),
        (PacketLowLevelStop, Command.LL_STOP),
        (PacketMidLevelStop, Command.ML_STOP),
    ],
)
def test_requests_without_parameters_are_the_same(packet: type[Packet], command: Command) -> None:
    for number in range(64):
        assert encode(command, number) == theirs(packet(), number)


@given(numbers, st.booleans())
def test_initialisation_and_polling_are_the_same(number: int, stops_all: bool) -> None:
    packet = PacketMidLevelInit()
    packet.do_stop_on_all_errors = stops_all
    assert encode(Command.ML_INIT, number, bytes((stops_all,))) == theirs(packet, number)
    polled = encode(Command.ML_GET_CURRENT_DATA, number, bytes((p24.CURRENT_DATA_CHANNELS,)))
    assert polled == theirs(PacketMidLevelGetCurrentData(), number)


@given(numbers, updates(whole_ms))
def test_updates_are_the_same(number: int, channels: list[ChannelUpdate | None]) -> None:
    ours = encode(Command.ML_UPDATE, number, pack_update(channels))
    assert ours == theirs(their_update(channels), number)


@given(numbers, st.sampled_from(LowLevelMode), st.sampled_from(LowLevelHighVoltageSource))
def test_the_low_level_begins_the_same(
    number: int, mode: LowLevelMode, voltage: LowLevelHighVoltageSource
) -> None:
    packet = PacketLowLevelInit()
    packet.mode, packet.high_voltage_source = mode, voltage
    ours = p24_low_level.pack_low_level_init(
        p24_low_level.Measurement(mode), p24_low_level.HighVoltage(voltage)
    )
    assert encode(Command.LL_INIT, number, ours) == theirs(packet, number)


@given(numbers, st.booleans(), st.sampled_from(Channel), st.sampled_from(Connector), point_lists)
def test_single_pulses_are_the_same(
    number: int,
    is_executed: bool,
    channel: Channel,
    connector: Connector,
    points: tuple[Point, ...],
) -> None:
    packet = PacketLowLevelChannelConfig()
    packet.execute_stimulation, packet.channel, packet.connector = is_executed, channel, connector
    packet.points = their_points(points)
    ours = p24.pack_channel_config(channel, connector, points, is_executed)
    assert encode(Command.LL_CHANNEL_CONFIG, number, ours) == theirs(packet, number)


# What our device writes, they read.


def test_they_read_what_our_device_tells_of_itself() -> None:
    told = PacketGeneralGetDeviceIdAck(p24_device.pack_device_id(0, "ABCDEFGHIJ"))
    assert (told.result_error, told.device_id) == (0, "ABCDEFGHIJ")
    status = PacketGeneralGetStimStatusAck(p24_device.pack_status(0, 3, True))
    assert (status.successful, status.stim_status, status.high_voltage_on) == (True, 3, True)
    packed = p24_device.pack_version(
        0, p24_device.VersionTold((1, 2, 3), (4, 5, 6), 0xABCD, 1, True)
    )
    version = PacketGeneralGetExtendedVersionAck(packed)
    assert (version.firmware_version, version.science_mode_version) == ("1.2.3", "4.5.6")
    assert (version.firmware_hash, version.hash_type, version.is_valid_hash) == ("abcd", 1, True)


@given(
    st.lists(st.booleans(), min_size=8, max_size=8),
    st.lists(st.integers(0, 3), min_size=8, max_size=8),
)
def test_they_read_the_states_that_our_device_tells(active: list[bool], states: list[int]) -> None:
    told = PacketMidLevelGetCurrentDataAck(p24_device.pack_current_data(0, 4, active, states))
    assert told.is_stimulation_active_per_channel == active
    assert told.channel_error == [(0, 10, 16, 28)[state] for state in states]


@settings(max_examples=8)  # theirs takes its time
@given(
    st.integers(0, 3),
    st.integers(0, 1),
    st.lists(st.integers(0, 65_535), min_size=128, max_size=128),
)
def test_they_read_the_samples_that_our_device_tells(
    channel: int, connector: int, samples: list[int]
) -> None:
    packed = p24_low_level.pack_pulse_answer(10, channel, connector, 2, 300, samples)
    told = PacketLowLevelChannelConfigAck(packed)
    assert (told.result, told.channel, told.connector) == (10, channel, connector)
    assert told.sampling_time_in_microseconds == 300
    assert told.measurement_samples == [each / 100 for each in samples]


# Where they are not right. Each: what they put on the wire, and what we do.

POINTS = (Point(200, 20_000), Point(200, -20_000))


def period_told_us(written: bytes) -> int:
    """Return the period of the only channel of an update, as the device reads it."""
    (frame,) = Decoder().feed(written)
    assert isinstance(frame, Frame)
    field = int.from_bytes(frame.payload[2:4], "big")
    return (field >> 1) * (250 if field & 1 else 500)


@pytest.mark.parametrize(
    ("asked_ms", "told_us"),
    [(16_384, 0), (20_000, 3_616_000), (32_767, 16_383_000), (40_000, 7_232_000), (0, 0)],
)
def test_periods_out_of_range_wrap_there_and_raise_here(asked_ms: int, told_us: int) -> None:
    channel = ChannelUpdate(POINTS, asked_ms * 1000)
    assert period_told_us(theirs(their_update([channel]))) == told_us
    with pytest.raises(MessageError, match=f"a period of {asked_ms * 1000} us"):
        pack_update([channel])


def test_half_milliseconds_raise_there_and_go_out_here() -> None:
    packet = PacketMidLevelUpdate()
    packet.channel_configuration = [
        MidLevelChannelConfiguration(True, 0, 12.5, their_points(POINTS))
    ]
    with pytest.raises(TypeError):
        theirs(packet)
    ours = encode(Command.ML_UPDATE, 0, pack_update([ChannelUpdate(POINTS, 12_500)]))
    assert period_told_us(ours) == 12_500


def current_field(written: bytes) -> int:
    (frame,) = Decoder().feed(written)
    assert isinstance(frame, Frame)
    return int.from_bytes(frame.payload[4:8], "big") >> 10 & 0x3FF


@pytest.mark.parametrize("current_ua", [130_500, 150_000, -150_000])
def test_more_than_130_ma_goes_out_there_and_raises_here(current_ua: int) -> None:
    channel = ChannelUpdate((Point(200, current_ua),), 20_000)
    assert current_field(theirs(their_update([channel]))) == current_ua // 500 + 300
    with pytest.raises(MessageError, match=f"a point of {current_ua} uA"):
        pack_update([channel])


@pytest.mark.parametrize(("asked_ua", "told_ua"), [(20_400, 20_500), (-20_400, -20_500)])
def test_off_the_grid_they_give_more_than_asked_and_we_raise(asked_ua: int, told_ua: int) -> None:
    channel = ChannelUpdate((Point(200, asked_ua),), 20_000)
    assert (current_field(theirs(their_update([channel]))) - 300) * 500 == told_ua
    with pytest.raises(MessageError, match=f"a point of {asked_ua} uA"):
        pack_update([channel])


def test_a_pulse_of_fixed_charge_becomes_unbalanced_there_and_raises_here() -> None:
    """0.6 mA for 300 us and -0.3 mA for 600 us: 180 nC each way; on the grid 150 and 300."""
    points = (Point(300, 600), Point(600, -300))
    written = theirs(their_update([ChannelUpdate(points, 20_000)]))
    (frame,) = Decoder().feed(written)
    assert isinstance(frame, Frame)
    read = p24_device.unpack_points(frame.payload[4:], 2)
    assert sum(duration_us * current_ua for duration_us, current_ua in read) == -150_000
    with pytest.raises(MessageError, match="a point of 600 uA"):
        pack_update([ChannelUpdate(points, 20_000)])


@pytest.mark.parametrize("duration_us", [0, 9])
def test_points_that_the_device_lengthens_go_out_there_and_raise_here(duration_us: int) -> None:
    channel = ChannelUpdate((Point(duration_us, 20_000), Point(200, -20_000)), 20_000)
    assert Decoder().feed(theirs(their_update([channel])))
    with pytest.raises(MessageError, match=f"a point of {duration_us} us"):
        pack_update([channel])


def test_no_points_announce_sixteen_there_and_raise_here() -> None:
    (frame,) = Decoder().feed(theirs(their_update([ChannelUpdate((), 20_000)])))
    assert isinstance(frame, Frame)
    assert frame.payload == bytes((1, 0xF0, 0, 80))
    with pytest.raises(MessageError, match="0 points"):
        pack_update([ChannelUpdate((), 20_000)])


def test_the_load_of_the_device_is_unknown_there_and_kept_here() -> None:
    channel = ChannelUpdate((Point(4_000, 20_000), Point(4_000, -20_000)), 8_000)
    assert Decoder().feed(theirs(their_update([channel])))
    with pytest.raises(MessageError, match=r"100\.8 % of the device's time"):
        pack_update([channel])


class Canned(Connection):  # type: ignore[misc]
    """A connection on which everything has come already."""

    def __init__(self, received: bytes) -> None:
        self._received = received

    def open(self) -> None: ...

    def close(self) -> None: ...

    def is_open(self) -> bool:
        return True

    def clear_buffer(self) -> None: ...

    def _read_intern(self) -> bytes:
        received, self._received = self._received, b""
        return received


def read_by_them(received: bytes) -> list[tuple[int, int]]:
    buffer = PacketBuffer(Canned(received), PacketFactory())
    for number in (1, 2):
        packet = PacketMidLevelInit()
        packet.number = number
        buffer.add_open_acknowledge(packet)
    found = []
    while (packet := buffer.get_packet_from_buffer()) is not None:
        found.append((packet.command, packet.number))
    return found


def test_one_byte_of_junk_costs_a_later_answer_there_and_none_here() -> None:
    first, second = encode(31, 1, b"\0"), encode(31, 2, b"\0")
    assert read_by_them(first + second) == [(31, 1), (31, 2)]
    assert read_by_them(b"\n" + first + second) == [(31, 1)]
    found = [each for each in Decoder().feed(b"\n" + first + second) if isinstance(each, Frame)]
    assert found == [Frame(31, 1, b"\0"), Frame(31, 2, b"\0")]


def test_an_unknown_result_is_their_exception_and_our_number() -> None:
    with pytest.raises(ValueError, match="99"):
        PacketMidLevelInitAck(b"\x63")
    assert p24.unpack_result(b"\x63") == 99


def test_a_short_answer_is_their_exception_and_our_message() -> None:
    with pytest.raises(IndexError):
        PacketGeneralGetStimStatusAck(b"\0\1")
    with pytest.raises(MessageError, match="status: 2 bytes, expected 3"):
        p24.unpack_status(b"\0\1")
