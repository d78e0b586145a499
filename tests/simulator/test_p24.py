"""The virtual P24: levels and results, pulses, keep-alive, what it finds on its leads."""

from __future__ import annotations

import pytest

from estim.dialects import p24
from estim.dialects.p24 import (
    ChannelState,
    ChannelUpdate,
    Command,
    Frame,
    Point,
    Status,
    encode,
    pack_channel_config,
    pack_update,
)
from estim.simulator.load import NAMED_LOADS, Load
from tests.simulator.p24_host import MS, P24Host, S, playing, pulse

UPDATE = pack_update([playing()])
PULSE = pack_channel_config(0, 0, pulse(1_000))
OK, PARAMETER, NOT_INITIALISED = 0, 2, 7
OPEN = NAMED_LOADS["open"]


def host_at(level: str) -> P24Host:
    host = P24Host()
    if level == "low":
        assert host.result(Command.LL_INIT, b"\0") == OK
    elif level in ("mid", "running"):
        host.init()
    if level == "running":
        host.update(playing())
    return host


# Answers.


def test_requests_are_answered_in_order_one_millisecond_each() -> None:
    host = P24Host()
    numbers = [host.send(Command.GET_STIM_STATUS), host.send(Command.GET_DEVICE_ID)]
    assert host.pass_time(999) == []
    (first,) = host.pass_time(1)
    assert host.pass_time(999) == []
    (second,) = host.pass_time(1)
    assert [first.number, second.number] == numbers
    assert [first.command, second.command] == [63, 53]
    # Time is told late: the same answers, in the same order.
    host.send(Command.GET_STIM_STATUS)
    host.send(Command.GET_DEVICE_ID)
    host.now_us += 1 * S
    assert [frame.command for frame in host.collect()] == [63, 53]


def test_the_answer_time_is_an_option() -> None:
    host = P24Host(answer_us=7_500)
    host.send(Command.GET_STIM_STATUS)
    assert host.pass_time(7_499) == []
    assert len(host.pass_time(1)) == 1


def test_it_says_who_it_is() -> None:
    host = P24Host()
    assert p24.unpack_device_id(host.ask(Command.GET_DEVICE_ID).payload) == (0, "SIM-0001")
    version = p24.unpack_version(host.ask(Command.GET_EXTENDED_VERSION).payload)
    assert (version.result, version.protocol) == (0, "4.0.0")


def test_the_packet_number_comes_back_over_its_whole_range() -> None:
    host = P24Host()
    for _ in range(130):
        host.ask(Command.GET_STIM_STATUS)  # `ask` waits for its own number


@pytest.mark.parametrize("command", [6, 33, 50, 66, 67, 100, 1023])
def test_an_unknown_command_is_named_as_such(command: int) -> None:
    host = P24Host()
    number = host.send(command, b"\1\2\3")
    assert host.pass_time(1 * MS) == [Frame(67, number, b"\x0b")]


def test_a_damaged_frame_is_a_transfer_error_and_costs_nothing_else() -> None:
    host = P24Host()
    good = encode(Command.GET_STIM_STATUS, 5)
    for index in (4, 8, 10):
        damaged = bytearray(good)
        damaged[index] ^= 1
        host.write(bytes(damaged) + good)
        assert host.pass_time(2 * MS) == [Frame(66, 0, b"\1"), Frame(63, 5, b"\0\0\1")]
    host.write(bytes(damaged) * 2 + good)
    assert [frame.command for frame in host.pass_time(3 * MS)] == [66, 66, 63]
    host.write(b"\0junk" + good)
    assert host.pass_time(2 * MS) == [Frame(63, 5, b"\0\0\1")]


# Levels.

LEVEL_TABLE = {
    Command.LL_INIT: (b"\0", {"none", "low"}),
    Command.LL_CHANNEL_CONFIG: (PULSE, {"low"}),
    Command.LL_STOP: (b"", {"low"}),
    Command.ML_INIT: (b"\0", {"none", "mid", "running"}),
    Command.ML_UPDATE: (UPDATE, {"mid", "running"}),
    Command.ML_STOP: (b"", {"mid", "running"}),
    Command.ML_GET_CURRENT_DATA: (b"\4", {"mid", "running"}),
}


@pytest.mark.parametrize("command", LEVEL_TABLE, ids=lambda command: command.name)
@pytest.mark.parametrize("level", ["none", "low", "mid", "running"])
def test_each_request_is_obeyed_in_its_levels_alone(level: str, command: Command) -> None:
    payload, levels = LEVEL_TABLE[command]
    host = host_at(level)
    before = host.status().status
    assert host.result(command, payload) == (OK if level in levels else NOT_INITIALISED)
    if level not in levels:
        assert host.status().status == before


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("none", Status(0, 0, False)),
        ("low", Status(0, 1, True)),
        ("mid", Status(0, 2, True)),
        ("running", Status(0, 3, True)),
    ],
)
def test_the_status_tells_the_level(level: str, told: Status) -> None:
    assert host_at(level).status() == told


def test_high_voltage_ends_40_ms_after_the_stop() -> None:
    host = P24Host(answer_us=0)
    host.init()
    assert host.result(Command.ML_STOP) == OK
    assert host.status() == Status(0, 0, True)
    host.pass_time(40 * MS - 1)
    assert host.status().is_high_voltage_on
    host.pass_time(1)
    assert not host.status().is_high_voltage_on
    # A new start within that time keeps it on.
    host.init()
    host.result(Command.ML_STOP)
    host.pass_time(20 * MS)
    host.init()
    host.pass_time(100 * MS)
    assert host.status() == Status(0, 2, True)


def test_reset_answers_and_leaves_it_as_switched_on() -> None:
    host = host_at("running")
    host.pass_time(100 * MS)
    count = len(host.trace.pulses)
    assert host.result(Command.RESET) == OK
    host.pass_time(100 * MS)
    assert host.status() == Status(0, 0, False)
    assert len(host.trace.pulses) == count


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (Command.ML_INIT, ""),
        (Command.ML_UPDATE, ""),
        (Command.ML_UPDATE, "ff 23 0050 0c855000"),
        (Command.ML_UPDATE, "02 00 0000 0c855000"),
        (Command.ML_UPDATE, "02 00 fffe 0c855000"),
        (Command.ML_UPDATE, "02 00 0050 0c8ffc00"),
        # 130.5 mA either way: 561 and 39.
        (Command.ML_UPDATE, "02 00 0050 0c88c400"),
        (Command.ML_UPDATE, "02 00 0050 0c809c00"),
        # 940 us and 60 in a millisecond.
        (Command.ML_UPDATE, "02 00 0004 3acad000"),
        (Command.ML_GET_CURRENT_DATA, ""),
        (Command.ML_GET_CURRENT_DATA, "03"),
    ],
)
def test_bad_parameters_are_refused_and_change_nothing(command: Command, payload: str) -> None:
    host = host_at("running")
    assert host.result(command, bytes.fromhex(payload)) == PARAMETER
    assert host.status() == Status(0, 3, True)
    assert host.poll().is_active == (True, *(False,) * 7)


# Pulses.


def test_points_are_played_one_after_the_other() -> None:
    """One unequal balanced pulse, by hand: 3 x 200 us forth, 1.5 mA x 400 us back."""
    host = P24Host()
    host.init()
    points = (Point(200, 3_000), Point(50, 0), Point(300, -1_500), Point(10, 0), Point(100, -1_500))
    at_us = host.update(ChannelUpdate(points, 100 * MS))
    host.pass_time(150 * MS)
    phases = ((0, 3_000, 200), (250, -1_500, 300), (560, -1_500, 100))
    assert host.trace.pulses == [(at_us, 1, phases), (at_us + 100 * MS, 1, phases)]


@pytest.mark.parametrize("period_us", [1_000, 1_250, 10_500, 333_250, 1_234_500])
def test_periods_are_kept_to_the_microsecond(period_us: int) -> None:
    host = P24Host()
    host.init()
    at_us = host.update(playing(1_000, period_us))
    for _ in range(6):
        host.pass_time(period_us)
        host.poll()
    assert host.trace.onsets()[:6] == [at_us + index * period_us for index in range(6)]


def test_a_point_of_under_10_us_acts_as_10() -> None:
    host = P24Host()
    host.init()
    # 0 us +20 mA, 9 us -20 mA: 340 << 10 is 055000, 260 << 10 is 041000.
    assert host.result(Command.ML_UPDATE, bytes.fromhex("01 10 0050 00055000 00941000")) == OK
    host.pass_time(10 * MS)
    assert [phases for _, _, phases in host.trace.pulses] == [((0, 20_000, 10), (10, -20_000, 10))]


def test_a_ramp_rises_in_equal_steps_when_a_channel_is_switched_on() -> None:
    """Ramp 3 to 20 mA: 5, 10, 15, 20. To 1 mA: 0.25, 0.5, 0.75 give 0, 0.5, 0.5 on the grid."""
    host = P24Host()
    host.init()
    host.update(playing(20_000, ramp=3), None, playing(1_000, ramp=3))
    host.pass_time(99 * MS)
    assert [current for _, current in host.trace.amplitudes(1)] == [5_000, 10_000, 15_000] + [
        20_000
    ] * 2
    assert [current for _, current in host.trace.amplitudes(3)] == [500, 500, 1_000, 1_000]


def test_a_ramp_is_not_repeated_by_an_update_but_by_switching_on_again() -> None:
    host = P24Host()
    host.init()
    host.update(playing(8_000, ramp=3))
    host.pass_time(90 * MS)
    host.update(playing(16_000, ramp=3))
    host.pass_time(20 * MS)
    assert host.trace.amplitudes()[-1][1] == 16_000
    host.update(None)
    host.pass_time(20 * MS)
    count = len(host.trace.pulses)
    host.update(playing(16_000, ramp=3))
    host.pass_time(70 * MS)
    assert [current for _, current in host.trace.amplitudes()[count:]] == [
        4_000, 8_000, 12_000, 16_000,
    ]  # fmt: skip


def test_an_update_of_a_running_channel_goes_on_from_its_last_onset() -> None:
    host = P24Host(answer_us=0)
    host.init()
    began_us = host.update(playing(1_000, 100 * MS))
    host.pass_time(130 * MS)
    host.update(playing(2_000, 100 * MS))
    host.pass_time(100 * MS)
    assert host.trace.amplitudes()[-1] == (began_us + 200 * MS, 2_000)
    # 30 ms after the onset a shorter period is due at once; a longer one counts from the onset.
    host.update(playing(3_000, 20 * MS))
    host.pass_time(1)
    assert host.trace.amplitudes()[-1] == (began_us + 230 * MS, 3_000)
    host.update(playing(4_000, 50 * MS))
    host.pass_time(60 * MS)
    assert host.trace.amplitudes()[-1] == (began_us + 280 * MS, 4_000)


def test_pulses_of_different_channels_never_overlap_and_keep_their_periods() -> None:
    """Each pulse of 500 us takes 560: channels begin one behind the other, at 0, 560, 1120 us."""
    host = P24Host()
    host.init()
    at_us = host.update(playing(), None, playing(), *(None,) * 4, playing())
    host.pass_time(50 * MS)
    for order, channel in enumerate((1, 3, 8)):
        assert host.trace.onsets(channel) == [
            at_us + order * 560 + index * 20 * MS for index in range(3)
        ]


def test_a_pulse_that_waits_for_another_does_not_move_the_later_ones() -> None:
    """By hand, 10 ms from 0.00 and 10.5 ms from 0.56 ms, each pulse 0.56 ms with its rest.

    At 189.56 ms channel 2 plays until 190.12: channel 1, due at 190.00, waits 0.12 ms. At 200.00
    ms channel 1 plays until 200.56: channel 2, due at 200.06, waits 0.50 ms. No others meet.
    """
    host = P24Host()
    host.init()
    at_us = host.update(playing(1_000, 10 * MS), playing(1_000, 10_500))
    host.pass_time(229 * MS)
    waits = {19: 120}
    assert host.trace.onsets(1) == [
        at_us + index * 10 * MS + waits.get(index, 0) for index in range(23)
    ]
    waits = {19: 500}
    assert host.trace.onsets(2) == [
        at_us + 560 + index * 10_500 + waits.get(index, 0) for index in range(22)
    ]


def test_a_pulse_that_waits_a_whole_period_is_a_timeout() -> None:
    """64 ms of points in 200 ms leave nothing to a channel of 2 ms for 32 of its periods."""
    host = P24Host()
    host.init()
    long = ChannelUpdate((Point(4_000, 0),) * 16, 200 * MS)
    host.update(playing(5_000, 2 * MS), long)
    host.pass_time(100 * MS)
    told = host.poll()
    assert told.states == (ChannelState.PULSE_TIMEOUT, *(0,) * 7)
    assert told.is_active == (False, True, *(False,) * 6)


# Keep-alive.


def test_output_ends_2_s_after_the_last_update() -> None:
    host = P24Host()
    host.init()
    at_us = host.update(playing(1_000, 10 * MS))
    host.pass_time(10 * S)
    assert host.trace.onsets()[-1] == at_us + 2 * S - 10 * MS
    assert len(host.trace.pulses) == 200
    assert host.status() == Status(0, 2, True)


def test_polling_keeps_it_alive_and_nothing_else_does() -> None:
    host = P24Host(answer_us=0)
    host.init()
    host.update(playing(1_000, 10 * MS))
    for _ in range(5):
        host.pass_time(1_900 * MS)
        assert host.poll().is_active[0]
    polled_us = host.now_us
    for command, payload in (
        (Command.GET_STIM_STATUS, b""),
        (Command.ML_UPDATE, b"\1"),
        (Command.ML_GET_CURRENT_DATA, b"\3"),
        (Command.GET_DEVICE_ID, b""),
    ):
        host.pass_time(450 * MS)
        host.ask(command, payload)
    host.pass_time(1 * S)
    assert polled_us + 1_990 * MS <= host.trace.onsets()[-1] < polled_us + 2 * S


def test_after_the_keep_alive_only_an_update_starts_again() -> None:
    host = P24Host()
    host.init()
    host.update(playing(ramp=1))
    host.pass_time(3 * S)
    count = len(host.trace.pulses)
    for _ in range(5):
        assert host.poll().is_active == (False,) * 8
        host.pass_time(100 * MS)
    assert len(host.trace.pulses) == count
    host.update(playing(ramp=1))
    host.pass_time(30 * MS)
    assert [current for _, current in host.trace.amplitudes()[count:]] == [10_000, 20_000]


def test_a_stop_lets_no_further_pulse_begin() -> None:
    host = P24Host()
    host.init()
    host.update(playing(1_000, 1 * MS))
    host.pass_time(50 * MS)
    stopped_us = host.now_us
    assert host.result(Command.ML_STOP) == OK
    host.pass_time(1 * S)
    assert host.trace.onsets()[-1] < stopped_us


# What it finds.


@pytest.mark.parametrize(
    ("amplitude_ua", "load", "state"),
    [
        (15_000, OPEN, ChannelState.ELECTRODE),
        (14_500, OPEN, ChannelState.OK),
        # 150 V give 15 mA into 10 kohm: enough for 15, too little for 15.5.
        (15_000, Load(10_000), ChannelState.OK),
        (15_500, Load(10_000), ChannelState.LOW_CURRENT),
        # 0.15 mA are less than one step.
        (20_000, Load(1_000_000), ChannelState.ELECTRODE),
        (130_000, Load(1_000), ChannelState.OK),
        (14_500, Load(1_000_000), ChannelState.OK),
    ],
)
def test_states_are_found_from_15_ma(amplitude_ua: int, load: Load, state: ChannelState) -> None:
    host = P24Host(load=load)
    host.init()
    host.update(playing(amplitude_ua))
    told = host.poll()
    assert told.states == (state, *(0,) * 7)
    assert told.is_active[0] is (state is ChannelState.OK)


def test_what_the_source_cannot_give_is_scaled_and_stays_balanced() -> None:
    """150 V into 5 kohm give 30 mA, whatever was asked; one pulse, and the channel is off."""
    host = P24Host(load=Load(5_000))
    host.init()
    at_us = host.update(playing(100_000))
    host.pass_time(100 * MS)
    assert host.trace.pulses == [(at_us, 1, ((0, 30_000, 200), (300, -30_000, 200)))]


def test_only_the_failing_channel_stops_where_so_asked() -> None:
    host = P24Host()
    host.init(stops_all=False)
    host.update(playing(), playing(), playing())
    host.pass_time(50 * MS)
    host.play("lead-off 2")
    host.pass_time(50 * MS)
    told = host.poll()
    assert told.result == OK
    assert told.states == (0, ChannelState.ELECTRODE, *(0,) * 6)
    assert told.is_active == (True, False, True, *(False,) * 5)
    assert host.status().status == 3


def test_all_channels_stop_where_so_asked_and_the_answer_says_why() -> None:
    host = P24Host()
    host.init(stops_all=True)
    host.update(playing(), playing(), playing())
    host.pass_time(50 * MS)
    host.play("load 3 10000")
    host.pass_time(50 * MS)
    told = host.poll()
    assert told.result == 28
    assert told.states == (0, 0, ChannelState.LOW_CURRENT, *(0,) * 5)
    assert told.is_active == (False,) * 8
    assert host.status() == Status(0, 2, True)


def test_an_update_forgets_errors_and_tries_again() -> None:
    host = P24Host()
    host.play("lead-off 1")
    host.init()
    host.update(playing())
    assert host.poll().states[0] == ChannelState.ELECTRODE
    host.play("lead-on 1")
    host.pass_time(100 * MS)
    assert not host.trace.pulses
    host.update(playing())
    host.pass_time(30 * MS)
    assert host.poll().states[0] == ChannelState.OK
    assert len(host.trace.pulses) == 2


def test_an_update_forgets_the_errors_of_what_it_leaves_off() -> None:
    host = P24Host(load=OPEN)
    host.init()
    host.update(playing(), playing())
    host.pass_time(50 * MS)
    assert host.poll().states[:2] == (1, 1)
    host.update(None, playing(1_000))
    assert host.poll().states == (0,) * 8


def test_it_says_whether_output_is_on() -> None:
    host = P24Host()
    host.init()
    told = [host.device.is_energised]
    host.update(playing())
    for rest_us in (1_900 * MS, 100 * MS):
        host.pass_time(rest_us)
        told.append(host.device.is_energised)
    assert told == [False, True, False]


def test_a_weak_stage_is_low_current_and_a_strong_one_is_not_found() -> None:
    host = P24Host()
    host.init()
    host.play("gain 1 900")
    host.play("gain 2 1300")
    host.update(playing(), playing())
    told = host.poll()
    assert told.states[:2] == (ChannelState.LOW_CURRENT, ChannelState.OK)
    assert host.trace.amplitudes(2)[0][1] == 26_000


def test_time_cannot_go_backwards() -> None:
    host = P24Host()
    host.pass_time(10)
    with pytest.raises(ValueError, match="the device is at 10 us, later than 9"):
        host.device.advance(9)
