"""Frames and messages of the P24: golden bytes, round trips, damage, and what is refused."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.dialects import p24, p24_device, p24_low_level
from estim.dialects.p24 import (
    ChannelUpdate,
    Command,
    CurrentData,
    Damage,
    Decoder,
    Frame,
    Point,
    Result,
    Status,
    Version,
    cut,
    encode,
    pack_update,
)
from estim.dialects.p24_device import VersionTold, unpack_update
from estim.dialects.p24_low_level import (
    ChannelConfig,
    HighVoltage,
    LowLevelInit,
    Measurement,
    PulseAnswer,
)
from firmware_protocol.errors import MessageError
from tests.dialects.p24_frames import GOLDEN, SIMPLE, coarse_us, fine_us, point_lists, updates

MS = 1000
NEXT = Frame(36, 8, b"\4")

frames = st.builds(Frame, st.integers(0, 1023), st.integers(0, 63), st.binary(max_size=590))


def frames_in(found: list[Frame | Damage]) -> list[Frame]:
    return [each for each in found if isinstance(each, Frame)]


# Golden bytes.


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_frames_are_written_and_read(name: str) -> None:
    text, frame = GOLDEN[name]
    assert encode(*frame).hex() == text
    assert Decoder().feed(bytes.fromhex(text)) == [frame]


def test_golden_payloads_are_written_and_read_on_both_sides() -> None:
    update = GOLDEN["ml_update"][1].payload
    assert pack_update([SIMPLE]) == update
    assert unpack_update(update) == (SIMPLE, *(None,) * 7)
    told = GOLDEN["current_data"][1].payload
    active = (True, *(False,) * 7)
    assert p24.unpack_current_data(told) == CurrentData(0, active, (0,) * 8)
    assert p24_device.pack_current_data(0, 4, active, (0,) * 8) == told
    assert p24_device.unpack_init(GOLDEN["ml_init"][1].payload) is True


def test_points_and_periods_are_where_the_vendor_has_them() -> None:
    """By hand: 4095 us is FFF, -130 mA is 300 - 260 = 40, 0.25 ms is one fine step."""
    payload = pack_update([None, ChannelUpdate((Point(4095, -130_000),), 8_191_000, 15)])
    # Channel 2 alone; one point, ramp 15; 8191 ms = 16382 coarse steps: 7FFC.
    assert payload.hex(" ") == "02 0f 7f fc ff f0 a0 00"
    payload = pack_update([ChannelUpdate((Point(10, 130_000),), 250)])
    # 0.25 ms: 1 << 1 | 1; 10 us: 00A; 130 mA: 560 = 230 (hex), << 10 = 8C000.
    assert payload.hex(" ") == "01 00 00 03 00 a8 c0 00"


def test_states_are_read_low_half_first() -> None:
    told = p24.unpack_current_data(bytes((10, 4, 0b1000_0001, 0x31, 0x02, 0x00, 0xF0)))
    assert told.result == Result.ELECTRODE
    assert told.is_active == (True, *(False,) * 6, True)
    assert told.states == (1, 3, 2, 0, 0, 0, 0, 15)


# Round trips.


@given(frames)
def test_every_frame_comes_back(frame: Frame) -> None:
    written = encode(*frame)
    assert Decoder().feed(written) == [frame]
    assert not set(b"\xf0\x0f") & set(written[9:-1])
    assert len(written) == (written[2] ^ 0x55) << 8 | written[4] ^ 0x55


@given(st.lists(frames, max_size=4), st.integers(1, 40))
def test_frames_come_back_however_they_are_cut(sent: list[Frame], size: int) -> None:
    stream = b"".join(encode(*frame) for frame in sent)
    decoder = Decoder()
    found = [
        each for at in range(0, len(stream), size) for each in decoder.feed(stream[at : at + size])
    ]
    assert found == sent


@given(updates(coarse_us | fine_us))
def test_what_is_asked_is_what_the_device_reads(channels: list[ChannelUpdate | None]) -> None:
    read = unpack_update(pack_update(channels))
    assert list(read) == channels + [None] * (8 - len(channels))


@given(st.integers(0, 3), st.integers(0, 1), point_lists, st.booleans())
def test_single_pulses_come_back(
    channel: int, connector: int, points: tuple[Point, ...], is_executed: bool
) -> None:
    read = p24_low_level.unpack_channel_config(
        p24.pack_channel_config(channel, connector, points, is_executed)
    )
    assert read == ChannelConfig(is_executed, channel, connector, points if is_executed else ())


@given(st.sampled_from(Measurement), st.sampled_from(HighVoltage))
def test_the_low_level_begins_as_asked(measurement: Measurement, voltage: HighVoltage) -> None:
    payload = p24_low_level.pack_low_level_init(measurement, voltage)
    assert payload == bytes((measurement * 16 + voltage * 2,))
    assert p24_low_level.unpack_low_level_init(payload) == LowLevelInit(measurement, voltage)


@given(
    st.integers(0, 255),
    st.integers(0, 3),
    st.integers(0, 1),
    st.lists(st.integers(0, 65_535), min_size=128, max_size=128).map(tuple),
)
def test_answers_to_pulses_come_back(
    result: int, channel: int, connector: int, samples: tuple[int, ...]
) -> None:
    packed = p24_low_level.pack_pulse_answer(result, channel, connector, 1, 25, samples)
    assert packed[:5] == bytes((result, connector << 4 | channel, 1, 0, 25))
    assert len(encode(3, 0, packed)) <= 1200
    read = p24_low_level.unpack_pulse_answer(packed)
    assert read == PulseAnswer(result, channel, connector, 1, 25, samples)
    short = p24_low_level.pack_pulse_answer(result, channel, connector)
    assert p24_low_level.unpack_pulse_answer(short) == PulseAnswer(result, channel, connector, 0)


def test_what_the_device_tells_of_itself_comes_back() -> None:
    told = VersionTold((1, 2, 3), (4, 5, 6), 0xDEADBEEF, 1, True)
    packed = p24_device.pack_version(0, told)
    assert packed.hex(" ") == "00 01 02 03 04 05 06 de ad be ef 01 01"
    assert p24.unpack_version(packed) == Version(0, "1.2.3", "4.5.6")
    assert p24.unpack_device_id(p24_device.pack_device_id(0, "AB-1")) == (0, "AB-1")
    assert p24_device.pack_device_id(0, "AB-1") == b"\0AB-1\0\0\0\0\0\0"
    assert p24.unpack_status(p24_device.pack_status(0, 3, True)) == Status(0, 3, True)
    assert p24_device.pack_status(0, 0, False) == b"\0\0\1"


def test_the_longest_frame_is_written_and_read() -> None:
    longest = Frame(Command.ML_UPDATE, 0, b"\xf0" * 594)
    assert len(encode(*longest)) == 1200
    assert Decoder().feed(encode(*longest)) == [longest]


# Damage.


@pytest.mark.parametrize("name", GOLDEN)
def test_a_truncated_frame_costs_none_after_it(name: str) -> None:
    whole = bytes.fromhex(GOLDEN[name][0])
    for size in range(len(whole)):
        assert frames_in(Decoder().feed(whole[:size] + encode(*NEXT))) == [NEXT]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_flipped_bit_is_found_and_costs_no_frame_after_it(name: str) -> None:
    whole = bytes.fromhex(GOLDEN[name][0])
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        decoder = Decoder()
        found = decoder.feed(bytes(damaged)) + decoder.feed(encode(*NEXT))
        assert frames_in(found) == [NEXT], bit
        assert any(isinstance(each, Damage) for each in found)


@given(frames, st.data())
def test_a_flipped_bit_of_any_frame_costs_no_frame_after_it(
    frame: Frame, data: st.DataObject
) -> None:
    damaged = bytearray(encode(*frame))
    bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    assert frames_in(Decoder().feed(bytes(damaged) + encode(*NEXT))) == [NEXT]


LIKE_HEADERS = st.sampled_from(
    [
        b"\xf0",
        b"\xf0\x81",
        b"\xf0\x81\x51\x81\xd1",
        b"\xf0\x81\x51\x81\xd1\x81\x00\x81\x00",
        b"\x0f",
    ]
)


@given(st.lists(st.binary(max_size=30) | LIKE_HEADERS, min_size=3, max_size=3), frames)
def test_junk_before_and_between_frames_costs_none(junk: list[bytes], frame: Frame) -> None:
    stream = junk[0] + encode(*frame) + junk[1] + junk[2] + encode(*NEXT)
    found = frames_in(Decoder().feed(stream))
    assert found[0] == frame
    assert found[-1] == NEXT
    decoder = Decoder()
    singly = [each for at in range(len(stream)) for each in decoder.feed(stream[at : at + 1])]
    assert frames_in(singly) == found


@given(
    st.lists(st.binary(max_size=20) | LIKE_HEADERS | frames.map(lambda f: encode(*f)), max_size=6)
)
def test_cutting_loses_no_byte_and_cuts_what_is_whole(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    pieces, rest = cut(stream)
    assert b"".join(pieces) + rest == stream
    assert all(pieces)
    decoder = Decoder()
    whole = frames_in(decoder.feed(stream))
    assert [
        found for piece in pieces for found in Decoder().feed(piece) if isinstance(found, Frame)
    ] == whole


def test_what_lies_between_frames_is_one_piece() -> None:
    """Junk and a damaged frame; then a frame, and the beginning of one."""
    damaged = bytearray(encode(*NEXT))
    damaged[9] ^= 1
    between = b"\0\xf0\xf0\x81" + bytes(damaged)
    assert cut(between + encode(*NEXT) * 2 + b"\xf0\x81") == (
        [between, encode(*NEXT), encode(*NEXT)],
        b"\xf0\x81",
    )
    assert cut(b"") == ([], b"")


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_without_an_exception(junk: bytes) -> None:
    assert all(isinstance(each, Frame | Damage) for each in Decoder().feed(junk))


# What is refused, and names what it is.


def one(*points: Point, period_us: int = 20 * MS, ramp: int = 0) -> list[ChannelUpdate | None]:
    return [ChannelUpdate(points, period_us, ramp)]


SMALL = Point(200, 1_000)


@pytest.mark.parametrize(
    ("channels", "named"),
    [
        (one(SMALL, period_us=16_384 * MS), "a period of 16384000 us"),
        (one(SMALL, period_us=16_383 * MS + 500), "a period of 16383500 us"),
        (one(SMALL, period_us=20_000 * MS), "a period of 20000000 us"),
        (one(SMALL, period_us=8_191 * MS + 250), "a period of 8191250 us"),
        (one(SMALL, period_us=20_100), "a period of 20100 us"),
        (one(SMALL, period_us=0), "a period of 0 us"),
        (one(SMALL, period_us=-500), "a period of -500 us"),
        (one(Point(200, 150_000)), "a point of 150000 uA"),
        (one(Point(200, 130_500)), "a point of 130500 uA"),
        (one(Point(200, -130_500)), "a point of -130500 uA"),
        (one(Point(200, 20_400)), "a point of 20400 uA"),
        (one(Point(200, -20_400)), "a point of -20400 uA"),
        (one(), "0 points"),
        (one(*(SMALL,) * 17), "17 points"),
        (one(Point(9, 1_000)), "a point of 9 us"),
        (one(Point(0, 1_000)), "a point of 0 us"),
        (one(Point(4_096, 1_000)), "a point of 4096 us"),
        (one(SMALL, ramp=16), "a ramp of 16 pulses"),
        (one(SMALL, ramp=-1), "a ramp of -1 pulses"),
        ([None] * 9, "9 channels"),
    ],
)  # fmt: skip
def test_what_no_field_holds_is_refused_by_its_value(
    channels: list[ChannelUpdate | None], named: str
) -> None:
    with pytest.raises(MessageError, match=rf"^{re.escape(named)}"):
        pack_update(channels)


@pytest.mark.parametrize(
    ("channels", "field"),
    [
        (one(SMALL, period_us=16_383 * MS), 32_766 << 1),
        (one(SMALL, period_us=8_190 * MS + 750), 32_763 << 1 | 1),
        (one(SMALL, period_us=20_250), 81 << 1 | 1),
    ],
)
def test_the_longest_and_the_finest_periods_go_out(
    channels: list[ChannelUpdate | None], field: int
) -> None:
    assert pack_update(channels)[2:4] == field.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("busy_us", "period_us", "is_taken"),
    [
        # (points + 60) / ms: 999 is the most; a sum between 999 and 1000 is rounded up to 1000.
        ([939], 1 * MS, True),
        ([940], 1 * MS, False),
        ([1_938], 2 * MS, True),
        ([1_939], 2 * MS, False),
        # Eight channels of 190 us in 2 ms: 8 x 250 / 2 = 1000. In 2.25 ms: 888.9.
        ([190] * 8, 2 * MS, False),
        ([190] * 8, 2_250, True),
        # Sixteen points of 4095 us: 65580 / 65.5 = 1001.2; / 66 = 993.6.
        ([4_095 * 16], 65_500, False),
        ([4_095 * 16], 66_000, True),
    ],
)
def test_the_load_rule_holds_on_both_sides(
    busy_us: list[int], period_us: int, is_taken: bool
) -> None:
    channels = [ChannelUpdate(_split(each), period_us) for each in busy_us]
    if is_taken:
        assert unpack_update(pack_update(channels))[: len(channels)] == tuple(channels)
        return
    with pytest.raises(MessageError, match="% of the device's time"):
        pack_update(channels)
    packed = b"".join(pack_update([replaced(each)])[1:] for each in channels)
    field = (period_us // 250 << 1 | 1) if period_us % 500 else period_us // 500 << 1
    packed = packed.replace((32_766 << 1).to_bytes(2, "big"), field.to_bytes(2, "big"))
    with pytest.raises(MessageError, match="more than the device's time"):
        unpack_update(bytes(((1 << len(channels)) - 1,)) + packed)


def _split(busy_us: int) -> tuple[Point, ...]:
    """Return points of so much time in all."""
    rest_us, parts = busy_us, []
    while rest_us:
        parts.append(Point(min(rest_us, 4_095), 0))
        rest_us -= parts[-1].duration_us
    return tuple(parts)


def replaced(channel: ChannelUpdate) -> ChannelUpdate:
    """Return it with a period so long that anything fits."""
    return ChannelUpdate(channel.points, 16_383 * MS)


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ("", "without its mask"),
        ("01", "channel 1 is in the mask"),
        ("80 00 00 50", "0 bytes of points, expected 4"),
        ("01 10 0050 0c855000", "4 bytes of points, expected 8"),
        ("01 00 0050 0c855000 00", "1 bytes more than the mask tells"),
        ("00 00", "1 bytes more"),
        ("01 00 0000 0c855000", "a period of 0 us"),
        ("01 00 0001 0c855000", "a period of 0 us"),
        ("01 00 fffe 0c855000", "a period of 16383500 us"),
        ("01 00 ffff 0c855000", "a period of 8191750 us"),
        ("01 00 0050 0c8ffc00", "a point of 361500 uA"),
        ("01 00 0050 0c800000", "a point of -150000 uA"),
    ],
)
def test_the_device_refuses_what_makes_no_update(payload: str, named: str) -> None:
    with pytest.raises(MessageError, match=named):
        unpack_update(bytes.fromhex(payload))


@given(st.binary(max_size=80))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    for read in (
        unpack_update,
        p24_device.unpack_init,
        p24_low_level.unpack_low_level_init,
        p24_low_level.unpack_channel_config,
        p24_low_level.unpack_pulse_answer,
        p24.unpack_current_data,
        p24.unpack_device_id,
        p24.unpack_result,
        p24.unpack_status,
        p24.unpack_version,
    ):
        with contextlib.suppress(MessageError):
            assert read(payload) is not None


def test_a_duration_under_10_us_is_read_as_10() -> None:
    payload = bytes.fromhex("01 00 0050 0004b000")
    update = unpack_update(payload)[0]
    assert update is not None
    assert update.points == (Point(10, 0),)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: p24.pack_channel_config(4, 0, (SMALL,)), "channel 4"),
        (lambda: p24.pack_channel_config(0, 2, (SMALL,)), "connector 2"),
        (lambda: p24.pack_channel_config(0, 0, ()), "0 points"),
        (lambda: p24.unpack_result(b""), "without a result"),
        (lambda: p24.unpack_device_id(b"\0ABC"), "device id: 4 bytes, expected 11"),
        (lambda: p24.unpack_status(b"\0\1"), "status: 2 bytes, expected 3"),
        (lambda: p24.unpack_version(b"\0"), "version: 1 bytes, expected 13"),
        (lambda: p24.unpack_current_data(b"\0\4\1"), "current data: 3 bytes, expected 7"),
        (lambda: p24.unpack_current_data(b"\0\3\0\0\0\0\0"), "of kind 3, expected 4"),
        (lambda: p24_low_level.unpack_pulse_answer(b"\0\4\0"), "channel 4, connector 0"),
        (lambda: p24_low_level.unpack_pulse_answer(b"\0\0\1" + b"\0" * 257), "expected 261"),
        (lambda: p24_low_level.unpack_low_level_init(b"\x40"), "4 is not a valid Measurement"),
        (lambda: p24_low_level.unpack_low_level_init(b"\x04"), "2 is not a valid HighVoltage"),
        (lambda: encode(Command.ML_UPDATE, 0, b"\xf0" * 595), "a frame of 1202 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_or_written_says_why(call: object, named: str) -> None:
    assert callable(call)
    with pytest.raises(MessageError, match=named):
        call()
