"""Our PulsePal bytes against those of the published client, and what neither may get wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from itertools import product
from operator import methodcaller
from typing import Any

import pypulsepal
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypulsepal.definitions import PARAM_DTYPE_MODEL_2

from estim.dialects import pulsepal
from estim.dialects.pulsepal import (
    Awaited,
    ChannelSettings,
    Confirmation,
    Damage,
    Greeting,
    Parameter,
    ReplyReader,
)
from firmware_protocol.errors import MessageError

CHANNELS = st.integers(1, 4)
ALL_MV = range(-10_000, 10_001)


class Wire:
    """What the published client writes on, which always confirms."""

    def __init__(self) -> None:
        self.written = b""

    def write_array(self, array: bytes) -> None:
        self.written += array

    def read_uint8(self) -> int:
        return 1


def theirs(call: Callable[[Any], object]) -> bytes:
    """Return what the published client writes for a call, also where it then raises."""
    client: Any = pypulsepal.PulsePal()
    client.model, client.dac_bitMax = 2, 65_535
    client.param_dtype_lookup = PARAM_DTYPE_MODEL_2
    client._arcom = wire = Wire()
    try:
        call(client)
    except (ValueError, IndexError):
        assert wire.written  # too late: it was on the wire already
    finally:
        client._arcom = None
    return wire.written


def their_parameter(name: str, channel: int, value: float) -> bytes:
    return theirs(lambda client: client.program_one_param(channel - 1, name, value))


# Numbers.


def exactly(mv: int) -> bool:
    """Tell whether a code is a whole number of millivolts, by the published formula."""
    return (mv + 10_000) * 65_535 % 20_000 == 0


def test_six_voltages_are_exact() -> None:
    """65535 = 3 x 5 x 17 x 257, and 20000 shares the 5 alone: every 13107th code is whole."""
    assert [mv for mv in ALL_MV if exactly(mv)] == [-10_000, -6000, -2000, 2000, 6000, 10_000]
    codes = [pulsepal.voltage_code(mv) for mv in (-10_000, -6000, -2000, 2000, 6000, 10_000)]
    assert codes == [0, 13_107, 26_214, 39_321, 52_428, 65_535]
    assert [pulsepal.code_uv(code) for code in codes] == [
        -10_000_000, -6_000_000, -2_000_000, 2_000_000, 6_000_000, 10_000_000,
    ]  # fmt: skip


def test_zero_volts_is_the_code_of_the_firmware_and_leaves_153_uv() -> None:
    """2 x 32768 is one more than 65535: half a step of 20 V / 65535 = 305 uV."""
    assert pulsepal.voltage_code(0) == 32_768
    assert pulsepal.code_uv(32_768) == 153
    assert pulsepal.code_uv(32_767) == -153


def test_every_other_voltage_is_rounded_towards_zero_by_less_than_a_step() -> None:
    for mv in ALL_MV:
        if mv:
            uv = pulsepal.code_uv(pulsepal.voltage_code(mv))
            assert 0 <= abs(mv) * 1000 - abs(uv) < 306
            assert uv * mv > 0


def test_opposite_voltages_have_opposite_codes() -> None:
    """A pulse of two equal and opposite phases is balanced on the wire."""
    for mv in range(1, 10_001):
        assert pulsepal.voltage_code(mv) + pulsepal.voltage_code(-mv) == 65_535


@pytest.mark.parametrize("voltage_mv", [10_001, -10_001, 12_000, 70_000])
def test_a_voltage_out_of_range_is_refused_by_name(voltage_mv: int) -> None:
    writes: tuple[Callable[[], bytes], ...] = (
        lambda: pulsepal.fixed_voltage(1, voltage_mv),
        lambda: pulsepal.program_one(Parameter.PHASE_1_VOLTAGE, 1, voltage_mv),
        lambda: pulsepal.program_all([ChannelSettings(phase_2_mv=voltage_mv)] * 4, (0, 0)),
        lambda: pulsepal.custom_train(1, [50], [voltage_mv]),
    )
    for write in writes:
        with pytest.raises(MessageError, match=rf"(^|\D){voltage_mv} mV, expected -10000 to 10000"):
            write()


@pytest.mark.parametrize("time_us", [-50, 49, 75, 320, 3_600_000_050])
def test_a_time_off_the_grid_or_out_of_range_is_refused_by_name(time_us: int) -> None:
    writes: tuple[Callable[[], bytes], ...] = (
        lambda: pulsepal.program_one(Parameter.INTERPULSE_GAP, 1, time_us),
        lambda: pulsepal.program_all([ChannelSettings(train_us=time_us)] * 4, (0, 0)),
        lambda: pulsepal.custom_train(1, [-100, time_us], [0, 0]),
    )
    for write in writes:
        with pytest.raises(MessageError, match=r"-?\d+ us, expected .* in steps of 50 us"):
            write()


def test_a_phase_that_would_never_end_goes_out_in_theirs_and_ours_refuses() -> None:
    assert their_parameter("phase1Duration", 1, 0.0) == bytes.fromhex("d54a0401 00000000")
    for parameter in (Parameter.PHASE_1_DURATION, Parameter.PHASE_2_DURATION):
        with pytest.raises(MessageError, match=r"phase \d duration: 0 us, expected 50 to"):
            pulsepal.program_one(parameter, 1, 0)


@pytest.mark.parametrize(
    ("parameter", "channel", "value", "problem"),
    [
        (Parameter.PHASE_1_VOLTAGE, 0, 0, "channel 0, expected 1 to 4"),
        (Parameter.PHASE_1_VOLTAGE, 5, 0, "channel 5, expected 1 to 4"),
        (Parameter.TRIGGER_MODE, 3, 0, "channel 3, expected 1 to 2"),
        (Parameter.TRIGGER_MODE, 1, 3, "trigger mode: 3, expected 0 to 2"),
        (Parameter.CUSTOM_TRAIN, 1, 3, "custom train: 3, expected 0 to 2"),
        (Parameter.IS_BIPHASIC, 1, 2, "is biphasic: 2, expected 0 to 1"),
        (Parameter.LINK_TRIGGER_1, 1, -1, "link trigger 1: -1, expected 0 to 1"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused_by_name(
    parameter: Parameter, channel: int, value: int, problem: str
) -> None:
    with pytest.raises(MessageError, match=problem):
        pulsepal.program_one(parameter, channel, value)


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (lambda: pulsepal.custom_train(1, [0], [0]), "one onset at 0 us, expected 50 us or later"),
        (lambda: pulsepal.custom_train(3, [0], [0]), "custom train 3, expected 1 to 2"),
        (lambda: pulsepal.custom_train(1, [], []), "0 onsets and 0 voltages"),
        (lambda: pulsepal.custom_train(1, [0, 50], [0]), "2 onsets and 1 voltages"),
        (lambda: pulsepal.custom_train(1, [*range(0, 250_100, 50)], [0] * 5002), "5002 onsets"),
        (lambda: pulsepal.custom_train(1, [0, 100, 100], [0] * 3), "100 us after one at 100 us"),
        (lambda: pulsepal.trigger([1, 5]), "channel 5, expected 1 to 4"),
        (lambda: pulsepal.fixed_voltage(0, 0), "channel 0, expected 1 to 4"),
        (lambda: pulsepal.continuous(5, True), "channel 5, expected 1 to 4"),
        (lambda: pulsepal.client_name("ESTIM"), "'ESTIM', expected 6"),
        (lambda: pulsepal.client_name("ESTIM\n"), "expected 6 printable"),
        (lambda: pulsepal.program_all([ChannelSettings()], (0, 0)), "1 channels and 2 trigger"),
    ],
)  # fmt: skip
def test_what_the_device_has_no_place_for_is_refused_by_name(
    write: Callable[[], bytes], problem: str
) -> None:
    with pytest.raises(MessageError, match=problem):
        write()


def test_the_longest_custom_train_fits() -> None:
    written = pulsepal.custom_train(2, [*range(0, 250_050, 50)], [0] * 5001)
    assert len(written) == 2 + 4 + 5001 * (4 + 2)
    assert written[:6] == bytes.fromhex("d54c 89130000")


# Golden bytes, by hand from the description of the protocol.


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (pulsepal.handshake(), "d5 48"),
        (pulsepal.program_one(Parameter.PHASE_1_DURATION, 1, 300), "d5 4a 04 01 06000000"),
        (pulsepal.program_one(Parameter.PHASE_2_VOLTAGE, 4, -6000), "d5 4a 03 04 3333"),
        (pulsepal.program_one(Parameter.RESTING_VOLTAGE, 2, 0), "d5 4a 11 02 0080"),
        (pulsepal.program_one(Parameter.TRIGGER_MODE, 2, 2), "d5 4a 80 02 02"),
        (pulsepal.custom_train(1, [0, 1000], [2000, -2000]),
         "d5 4b 02000000 00000000 14000000 9999 6666"),
        (pulsepal.trigger([1, 3]), "d5 4d 05"),
        (pulsepal.fixed_voltage(3, 10_000), "d5 4f 03 ffff"),
        (pulsepal.abort(), "d5 50"),
        (pulsepal.disconnect(), "d5 51"),
        (pulsepal.continuous(2, True), "d5 52 02 01"),
        (pulsepal.client_name("ESTIM "), "d5 59 455354494d20"),
    ],
)  # fmt: skip
def test_messages_are_the_bytes_worked_out_by_hand(written: bytes, expected: str) -> None:
    assert written == bytes.fromhex(expected)


def test_program_all_is_178_bytes_after_its_opcode_group_by_group() -> None:
    """Times channel by channel, then voltages, then choices; links input by input; modes."""
    first = ChannelSettings(
        True, 2000, -2000, 6000, 50, 100, 150, 200, 250, 300, 350, 400, True, False, 2, True, False
    )
    rest = ChannelSettings(
        False, 6000, -6000, -10_000, 50, 50, 50, 50, 50, 50, 50, 50, False, True, 0, False, True
    )
    written = pulsepal.program_all([first, rest, rest, rest], (1, 2))
    assert len(written) == 2 + 178
    times = "".join(f"0{number}000000" for number in range(1, 9)) + 24 * "01000000"
    voltages = "9999 6666 cccc" + 3 * "cccc 3333 0000"
    choices = "01020100" + 3 * "00000001"
    assert written == bytes.fromhex(
        "d549" + times + voltages + choices + "01000000" + "00010101" + "0102"
    )


# The published client, wherever it is right.


def is_same_in_theirs(time_us: int) -> bool:
    """Tell whether their arithmetic keeps a time: seconds as a float, cut and not rounded."""
    return int(time_us / 1e6 * 20_000) == time_us // 50


TIMES_US = st.integers(1, 200_000).map(lambda count: count * 50).filter(is_same_in_theirs)
VOLTAGES_MV = st.one_of(
    st.integers(-10_000, 0), st.sampled_from([2000, 6000, 10_000])
)  # theirs rounds the others away from zero


@given(st.sampled_from(sorted(pulsepal.TIMES)), CHANNELS, TIMES_US)
def test_times_are_their_bytes(code: int, channel: int, time_us: int) -> None:
    parameter = Parameter(code)
    name = {
        Parameter.PHASE_1_DURATION: "phase1Duration",
        Parameter.INTERPHASE_GAP: "interPhaseInterval",
        Parameter.PHASE_2_DURATION: "phase2Duration",
        Parameter.INTERPULSE_GAP: "interPulseInterval",
        Parameter.BURST_DURATION: "burstDuration",
        Parameter.INTERBURST_GAP: "interBurstInterval",
        Parameter.TRAIN_DURATION: "pulseTrainDuration",
        Parameter.TRAIN_OFFSET: "pulseTrainDelay",
    }[parameter]
    ours = pulsepal.program_one(parameter, channel, time_us)
    assert ours == their_parameter(name, channel, time_us / 1e6)


@given(
    st.sampled_from(
        [
            (Parameter.PHASE_1_VOLTAGE, "phase1Voltage"),
            (Parameter.PHASE_2_VOLTAGE, "phase2Voltage"),
            (Parameter.RESTING_VOLTAGE, "restingVoltage"),
        ]
    ),
    CHANNELS,
    VOLTAGES_MV,
)
def test_voltages_are_their_bytes(named: tuple[Parameter, str], channel: int, mv: int) -> None:
    ours = pulsepal.program_one(named[0], channel, mv)
    assert ours == their_parameter(named[1], channel, mv / 1000)


@pytest.mark.parametrize("channel", [1, 2])
@pytest.mark.parametrize(
    ("parameter", "name", "values"),
    [
        (Parameter.IS_BIPHASIC, "isBiphasic", (0, 1)),
        (Parameter.LINK_TRIGGER_1, "linkTriggerChannel1", (0, 1)),
        (Parameter.LINK_TRIGGER_2, "linkTriggerChannel2", (0, 1)),
        (Parameter.CUSTOM_TRAIN, "customTrainID", (0, 1)),
        (Parameter.CUSTOM_TARGET, "customTrainTarget", (0, 1)),
        (Parameter.CUSTOM_LOOP, "customTrainLoop", (0, 1)),
        (Parameter.TRIGGER_MODE, "triggerMode", (0, 1, 2)),
    ],
)
def test_choices_are_their_bytes(
    parameter: Parameter, name: str, values: tuple[int, ...], channel: int
) -> None:
    for value in values:
        ours = pulsepal.program_one(parameter, channel, value)
        assert ours == their_parameter(name, channel, value)


@st.composite
def settings_of_a_channel(draw: st.DrawFn) -> ChannelSettings:
    draws = {"mv": VOLTAGES_MV, "us": TIMES_US, "train": st.integers(0, 1)}
    chosen: dict[str, Any] = {
        field.name: draw(draws.get(field.name.rpartition("_")[2], st.booleans()))
        for field in fields(ChannelSettings)
    }
    return ChannelSettings(**chosen)


@given(st.tuples(*[settings_of_a_channel()] * 4), st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_programming_everything_is_their_bytes(
    channels: tuple[ChannelSettings, ...], modes: tuple[int, int]
) -> None:
    def program(client: Any) -> None:
        for config, ours in zip(client.channel_configs, channels, strict=True):
            config.isBiphasic = ours.is_biphasic
            config.phase1Voltage, config.phase2Voltage = (
                ours.phase_1_mv / 1000, ours.phase_2_mv / 1000,
            )  # fmt: skip
            config.restingVoltage = ours.resting_mv / 1000
            config.phase1Duration = ours.phase_1_us / 1e6
            config.interPhaseInterval = ours.interphase_us / 1e6
            config.phase2Duration = ours.phase_2_us / 1e6
            config.interPulseInterval = ours.interpulse_us / 1e6
            config.burstDuration = ours.burst_us / 1e6
            config.interBurstInterval = ours.interburst_us / 1e6
            config.pulseTrainDuration = ours.train_us / 1e6
            config.pulseTrainDelay = ours.train_offset_us / 1e6
            config.linkTriggerChannel1 = int(ours.is_linked_1)
            config.linkTriggerChannel2 = int(ours.is_linked_2)
            config.customTrainID = ours.custom_train
            config.customTrainTarget = int(ours.is_custom_bursts)
            config.customTrainLoop = int(ours.is_custom_looped)
        for config, mode in zip(client.trigger_configs, modes, strict=True):
            config.triggerMode = mode
        client.sync_all_params()

    assert pulsepal.program_all(channels, modes) == theirs(program)


@given(
    st.integers(1, 2),
    st.lists(st.tuples(TIMES_US, VOLTAGES_MV), min_size=1, max_size=20, unique_by=lambda p: p[0]),
)
def test_custom_trains_are_their_bytes(train: int, pulses: list[tuple[int, int]]) -> None:
    onsets_us, voltages_mv = zip(*sorted(pulses), strict=True)  # none at 0
    upload = theirs(
        lambda client: client.upload_custom_pulse_train(
            train - 1, [each / 1e6 for each in onsets_us], [each / 1000 for each in voltages_mv]
        )
    )
    assert pulsepal.custom_train(train, onsets_us, voltages_mv) == upload


def test_commands_are_their_bytes() -> None:
    assert pulsepal.abort() == theirs(lambda client: client.stop_all_outputs())
    for flags in product((False, True), repeat=4):
        wanted = [number for number, flag in enumerate(flags, start=1) if flag]
        started = theirs(methodcaller("trigger_selected_channels", *flags))
        assert pulsepal.trigger(wanted) == started
    for channel in range(1, 5):
        for is_on in (False, True):
            played = theirs(methodcaller("set_continuous", channel - 1, int(is_on)))
            assert pulsepal.continuous(channel, is_on) == played
        held = theirs(methodcaller("set_fixed_voltage", channel - 1, -2.0))
        assert pulsepal.fixed_voltage(channel, -2000) == held


# The published client, where it is wrong: what theirs says, and what ours does instead.


def test_12_v_goes_out_as_minus_8_v_and_ours_refuses() -> None:
    """22 / 20 x 65535 is 72089, and 16 bits of that are 6553: 6553 / 65535 x 20 V - 10 V."""
    wrapped = theirs(lambda client: client.set_fixed_voltage(0, 12.0))
    assert wrapped == bytes.fromhex("d54f01") + (6553).to_bytes(2, "little")
    assert pulsepal.code_uv(6553) == -8_000_153
    with pytest.raises(MessageError, match="12000 mV"):
        pulsepal.fixed_voltage(1, 12_000)


def test_12_v_as_a_parameter_raises_after_it_went_out_and_ours_refuses_before() -> None:
    assert their_parameter("phase1Voltage", 1, 12.0).endswith((6553).to_bytes(2, "little"))
    with pytest.raises(MessageError, match="12000 mV"):
        pulsepal.program_one(Parameter.PHASE_1_VOLTAGE, 1, 12_000)


@pytest.mark.parametrize(
    ("time_us", "their_us"),
    [(150, 100), (300, 250), (600, 550), (1200, 1150), (9600, 9550)],
)
def test_a_time_on_the_grid_becomes_a_cycle_less_and_ours_stays(
    time_us: int, their_us: int
) -> None:
    """0.0003 s x 20000 is 5.999... as a float, and theirs cuts it to 5."""
    cut = their_parameter("phase1Duration", 1, time_us / 1e6)
    assert cut == bytes.fromhex("d54a0401") + (their_us // 50).to_bytes(4, "little")
    ours = pulsepal.program_one(Parameter.PHASE_1_DURATION, 1, time_us)
    assert ours == bytes.fromhex("d54a0401") + (time_us // 50).to_bytes(4, "little")


def test_one_time_in_sixteen_on_the_grid_is_cut_short_by_theirs() -> None:
    """Of the first 72 000, up to 3.6 s: 4576."""
    assert sum(not is_same_in_theirs(count * 50) for count in range(1, 72_001)) == 4576


def test_a_time_off_the_grid_is_cut_by_theirs_and_refused_by_ours() -> None:
    assert their_parameter("phase1Duration", 1, 0.00032)[-4:] == (6).to_bytes(4, "little")
    with pytest.raises(MessageError, match="320 us"):
        pulsepal.program_one(Parameter.PHASE_1_DURATION, 1, 320)


def test_a_positive_voltage_is_rounded_up_by_theirs_and_towards_zero_by_ours() -> None:
    """5 V is code 49151.25, and a step is 305.2 uV: theirs sends 49152, ours 49151."""
    assert their_parameter("phase1Voltage", 1, 5.0)[-2:] == (49_152).to_bytes(2, "little")
    ours = pulsepal.program_one(Parameter.PHASE_1_VOLTAGE, 1, 5000)
    assert ours[-2:] == (49_151).to_bytes(2, "little")
    assert (pulsepal.code_uv(49_152), pulsepal.code_uv(49_151)) == (5_000_229, 4_999_924)


def test_a_pulse_of_5_v_and_minus_5_v_is_unbalanced_in_theirs_and_not_in_ours() -> None:
    """49152 and 16384 are 65536 together, one step too much."""

    def both(write: Callable[[float], bytes]) -> int:
        return sum(int.from_bytes(write(volt)[-2:], "little") for volt in (5.0, -5.0))

    assert both(lambda volt: their_parameter("phase1Voltage", 1, volt)) == 65_536
    assert (
        both(lambda volt: pulsepal.program_one(Parameter.PHASE_1_VOLTAGE, 1, round(volt * 1000)))
        == 65_535
    )


def test_custom_train_2_goes_out_and_then_raises_in_theirs_and_ours_names_it() -> None:
    """The device counts custom trains from 1; theirs takes 0 and 1, so the second is unreachable
    by its own settings."""
    assert their_parameter("customTrainID", 1, 2) == bytes.fromhex("d54a0e0102")
    assert pulsepal.program_one(Parameter.CUSTOM_TRAIN, 1, 2) == bytes.fromhex("d54a0e0102")
    assert pulsepal.program_all([ChannelSettings(custom_train=2)] * 4, (0, 0))[-25] == 2
    client = pypulsepal.PulsePal()
    with pytest.raises(ValueError, match="customTrainID"):
        client.channel_configs[0].customTrainID = 2


@pytest.mark.parametrize("channel", [0, 9])
def test_a_channel_that_does_not_exist_goes_out_in_theirs_and_ours_refuses(channel: int) -> None:
    """The device writes there without a check."""
    assert their_parameter("phase1Voltage", channel, -5.0)[3] == channel
    with pytest.raises(MessageError, match=f"channel {channel}"):
        pulsepal.program_one(Parameter.PHASE_1_VOLTAGE, channel, -5000)


def test_custom_trains_that_the_device_hangs_on_go_out_in_theirs_and_ours_refuses() -> None:
    single = theirs(lambda client: client.upload_custom_pulse_train(0, [0.0], [2.0]))
    assert single == bytes.fromhex("d54b 01000000 00000000 9999")
    with pytest.raises(MessageError, match="one onset at 0 us"):
        pulsepal.custom_train(1, [0], [2000])
    backwards = theirs(lambda client: client.upload_custom_pulse_train(0, [0.001, 0.0005], [1, 1]))
    assert backwards[6:14] == bytes.fromhex("14000000 0a000000")
    with pytest.raises(MessageError, match="500 us after one at 1000 us"):
        pulsepal.custom_train(1, [1000, 500], [1000, 1000])
    too_many = theirs(
        lambda client: client.upload_custom_pulse_train(
            0, [each * 1e-3 for each in range(5002)], [0.0] * 5002
        )
    )
    assert too_many[2:6] == (5002).to_bytes(4, "little")
    with pytest.raises(MessageError, match="5002 onsets"):
        pulsepal.custom_train(1, [each * 1000 for each in range(5002)], [0] * 5002)


# Replies.


def test_replies_are_read_in_the_order_of_what_was_asked() -> None:
    reader = ReplyReader()
    for message in (
        pulsepal.handshake(),
        pulsepal.client_name("ESTIM "),
        pulsepal.program_one(Parameter.IS_BIPHASIC, 1, 1),
        pulsepal.abort(),
        pulsepal.continuous(1, False),
    ):
        awaited = pulsepal.answer_to(message)
        if awaited is not None:
            reader.expect(awaited)
    assert reader.awaited_count == 3
    assert reader.feed(b"K\x15\0\0\0\1\0") == [
        Greeting(21), Confirmation(True), Confirmation(False),
    ]  # fmt: skip
    assert reader.awaited_count == 0


def test_a_reply_may_come_byte_by_byte() -> None:
    reader = ReplyReader()
    reader.expect(Awaited.HANDSHAKE)
    assert [reader.feed(bytes((each,))) for each in b"K\x15\0\0"] == [[], [], [], []]
    assert reader.feed(b"\0") == [Greeting(21)]


def test_what_is_no_answer_is_damage_and_costs_no_answer_after_it() -> None:
    reader = ReplyReader()
    assert reader.feed(b"\1\1") == [Damage("2 bytes that nobody asked for")]
    reader.expect(Awaited.HANDSHAKE)
    reader.expect(Awaited.CONFIRMATION)
    assert reader.feed(b"\7K\x15\0\0\0\xff\1") == [
        Damage("byte 7 where an answer was expected"),
        Greeting(21),
        Damage("byte 255 where an answer was expected"),
        Confirmation(True),
    ]


def test_what_was_lost_can_be_forgotten() -> None:
    reader = ReplyReader()
    reader.expect(Awaited.HANDSHAKE)
    assert reader.feed(b"K\x15") == []
    reader.forget()
    reader.expect(Awaited.CONFIRMATION)
    assert reader.feed(b"\1") == [Confirmation(True)]


@given(st.binary(max_size=40), st.lists(st.sampled_from(Awaited), max_size=5))
def test_no_bytes_make_the_reader_raise_or_find_more_than_was_asked(
    received: bytes, awaited: list[Awaited]
) -> None:
    reader = ReplyReader()
    for each in awaited:
        reader.expect(each)
    found = [item for byte in received for item in reader.feed(bytes((byte,)))]
    answers = [item for item in found if not isinstance(item, Damage)]
    assert len(answers) + reader.awaited_count == len(awaited)
