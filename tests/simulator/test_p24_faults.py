"""The fault script on a virtual P24: its line, its leads, and what only a P24 can get wrong."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from estim.dialects.p24 import Command, Damage, Decoder, Frame, Status, encode, pack_update
from estim.errors import UsageError
from estim.simulator.faults import NATIVE_VERBS, P24_VERBS, Fault, Verb, parse_line, read_script
from estim.simulator.line import FaultyLine
from estim.simulator.p24 import P24Settings, VirtualP24
from tests.dialects.p24_frames import COMMANDS
from tests.simulator.p24_host import MS, P24Host, S, playing

ASK = Command.GET_STIM_STATUS


def answers(host: P24Host) -> int:
    """Ask once, and tell how many answers come within 5 ms."""
    host.send(ASK)
    return sum(frame.command == ASK + 1 for frame in host.pass_time(5 * MS))


# The line: whole frames, in both directions.


def test_without_faults_every_byte_passes_at_once() -> None:
    host = P24Host()
    frame = encode(ASK, 1)
    for byte in frame[:-1]:
        host.write(bytes((byte,)))
        assert host.collect() == []
    host.write(frame[-1:])
    assert len(host.pass_time(1 * MS)) == 1


def test_drop_loses_so_many_frames_each_way() -> None:
    host = P24Host()
    host.play("drop 2 to-device")
    assert [answers(host) for _ in range(3)] == [0, 0, 1]
    host.play("drop 1 to-host")
    assert [answers(host) for _ in range(2)] == [0, 1]
    host.play("drop 2 to-device")
    host.write(b"".join(encode(ASK, number) for number in range(3)))
    assert [frame.number for frame in host.pass_time(5 * MS)] == [2]


def test_a_dropped_reset_answer_is_as_on_a_device_that_does_not_send_it() -> None:
    host = P24Host()
    host.init()
    host.play("drop 1 to-host")
    host.send(Command.RESET)
    assert host.pass_time(1 * S) == []
    assert host.status() == Status(0, 0, False)


def test_corrupt_frames_are_transfer_errors_one_way_and_damage_the_other() -> None:
    host = P24Host()
    host.play("corrupt 1 to-device")
    host.send(ASK)
    told = host.pass_time(5 * MS)
    assert told in ([Frame(66, 0, b"\1")], [])  # a damaged first byte leaves nothing but junk
    assert answers(host) == 1
    host.play("corrupt 1 to-host")
    assert [answers(host) for _ in range(2)] == [0, 1]


def test_the_seed_decides_what_is_corrupted() -> None:
    def corrupted(seed: int) -> bytes:
        line = FaultyLine(VirtualP24(P24Settings()), [Fault(Verb.CORRUPT, 0, 20)], seed)
        line.advance(0)
        line._to_host.carry(encode(ASK, 1) * 20 + b"\0", 0)
        return line._to_host.release(0)

    assert corrupted(1) == corrupted(1)
    assert corrupted(1) != corrupted(2)


def test_a_duplicate_request_is_answered_twice() -> None:
    host = P24Host()
    host.play("duplicate 1 to-device")
    assert answers(host) == 2
    host.play("duplicate 1 to-host")
    assert answers(host) == 2
    assert answers(host) == 1


def test_delay_holds_requests_and_answers_back_in_order() -> None:
    host = P24Host()
    host.play("delay 0.2")
    first = host.send(ASK)
    second = host.send(Command.GET_DEVICE_ID)
    assert host.pass_time(401 * MS - 1) == []
    assert [frame.number for frame in host.pass_time(1)] == [first]
    assert [frame.number for frame in host.pass_time(1 * MS)] == [second]


def test_silence_lets_the_keep_alive_run_out() -> None:
    host = P24Host("at 1 silent 3")
    host.init()
    at_us = host.update(playing(1_000, 10 * MS))
    while host.now_us < 6 * S:
        host.send(Command.ML_GET_CURRENT_DATA, b"\4")
        host.pass_time(250 * MS)
    # The last poll that came through was 750 ms after the first, one answer's time after `at_us`.
    assert at_us + 2_700 * MS < host.trace.onsets()[-1] < at_us + 2_800 * MS
    assert host.status().status == 2


# Leads, load and the device itself.


def test_a_lead_comes_off_and_back() -> None:
    host = P24Host()
    host.init()
    host.update(playing(), playing())
    host.pass_time(50 * MS)
    host.play("lead-off 2")
    host.pass_time(50 * MS)
    count = len(host.trace.onsets(2))
    assert host.poll().states[:2] == (0, 1)
    host.play("lead-on 2")
    host.update(playing(), playing())
    host.pass_time(50 * MS)
    assert host.poll().states[:2] == (0, 0)
    assert len(host.trace.onsets(2)) > count


def test_a_reboot_is_as_switching_on_and_forgets_what_waits() -> None:
    host = P24Host()
    host.init()
    host.update(playing())
    host.pass_time(100 * MS)
    host.send(ASK)
    host.play("reboot")
    count = len(host.trace.pulses)
    assert host.pass_time(1 * S) == []
    assert len(host.trace.pulses) == count
    assert host.status() == Status(0, 0, False)


def test_a_device_that_hangs_is_deaf_and_mute_and_at_zero_until_a_reboot() -> None:
    host = P24Host()
    host.init()
    host.update(playing())
    host.pass_time(100 * MS)
    count = len(host.trace.pulses)
    host.play("hang")
    assert [answers(host) for _ in range(3)] == [0, 0, 0]
    assert host.line.next_deadline_us() is None
    assert len(host.trace.pulses) == count
    host.play("reboot")
    assert host.status() == Status(0, 0, False)


# What only a P24 has.


@pytest.mark.parametrize(
    ("word", "state", "result"), [("electrode", 1, 10), ("timeout", 2, 16), ("low-current", 3, 28)]
)
@pytest.mark.parametrize("stops_all", [False, True])
def test_an_error_is_found_on_a_channel_at_its_next_pulse(
    word: str, state: int, result: int, stops_all: bool
) -> None:
    host = P24Host()
    host.init(stops_all)
    host.update(*(playing(1_000),) * 8)
    host.pass_time(50 * MS)
    host.play(f"channel-error 3 {word}")
    host.pass_time(50 * MS)
    told = host.poll()
    assert told.states == (0, 0, state, 0, 0, 0, 0, 0)
    assert told.result == (result if stops_all else 0)
    assert told.is_active == tuple(not stops_all and channel != 2 for channel in range(8))
    # Once: it plays again when it is switched on again.
    host.update(*(playing(1_000),) * 8)
    host.pass_time(50 * MS)
    assert host.poll().states == (0,) * 8


@pytest.mark.parametrize("result", [8, 99, 255])
def test_a_result_is_answered_instead_of_obeying(result: int) -> None:
    host = P24Host()
    host.init()
    host.update(playing(1_000, 10 * MS))
    host.play(f"result {result}")
    assert host.result(Command.ML_STOP) == result
    assert host.status().status == 3
    assert host.result(Command.ML_STOP) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_any_answer_may_carry_any_result(command: Command) -> None:
    host = P24Host()
    host.play("result 99")
    assert host.ask(command, b"\4").payload[0] == 99


def test_an_answer_may_bear_another_number() -> None:
    host = P24Host()
    host.play("renumber 1")
    numbers = [host.send(ASK), host.send(ASK)]
    assert [frame.number for frame in host.pass_time(5 * MS)] == [numbers[0] + 1, numbers[1]]


def test_an_answer_may_be_truncated() -> None:
    host = P24Host()
    host.play("truncate 1")
    host.line.receive(encode(ASK, 1) + encode(ASK, 2), 0)
    host.line.advance(5 * MS)
    whole, output = encode(ASK + 1, 1, b"\0\0\1"), host.line.take_output(5 * MS)
    assert output == whole[: len(whole) // 2] + encode(ASK + 1, 2, b"\0\0\1")
    found = Decoder().feed(output)
    assert [type(each) for each in found] == [Damage, Frame]


def test_an_answer_may_be_too_short() -> None:
    host = P24Host()
    host.play("shorten 2")
    assert host.ask(ASK).payload == b"\0\0"
    assert host.ask(Command.ML_INIT, b"\0").payload == b""
    assert host.ask(ASK).payload == b"\0\2\6"


def test_a_stall_keeps_requests_waiting_while_pulses_and_keep_alive_go_on() -> None:
    host = P24Host()
    host.init()
    at_us = host.update(playing(1_000, 10 * MS))
    host.play("stall 5")
    stalled_us = host.now_us
    stop = host.send(Command.ML_STOP)
    asked = host.send(ASK)
    assert host.pass_time(5 * S) == []
    assert host.trace.onsets()[-1] == at_us + 1_990 * MS
    told = host.pass_time(2 * MS)
    assert [(frame.number, frame.payload[0]) for frame in told] == [(stop, 0), (asked, 0)]
    assert host.now_us == stalled_us + 5 * S + 2 * MS


def test_a_flood_costs_answers_and_no_memory() -> None:
    host = P24Host()
    for _ in range(100):
        host.write(encode(ASK, 1) * 100)
    # One is taken up at once, 64 wait.
    assert len(host.pass_time(1 * S)) == 65
    assert answers(host) == 1
    for _ in range(1_000):
        host.line.receive(encode(ASK, 1), host.now_us)
        host.now_us += 2 * MS
    assert len(host.collect()) == 256
    assert answers(host) == 1


# Words.


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("at 2.0 stall 0.5", Fault(Verb.STALL, 2 * S, 500 * MS)),
        ("channel-error 8 electrode", Fault(Verb.CHANNEL_ERROR, None, 0, 8)),
        ("channel-error 1 timeout", Fault(Verb.CHANNEL_ERROR, None, 1, 1)),
        ("channel-error 1 low-current", Fault(Verb.CHANNEL_ERROR, None, 2, 1)),
        ("result 99", Fault(Verb.RESULT, None, 99)),
        ("renumber 2", Fault(Verb.RENUMBER, None, 2)),
        ("truncate 3", Fault(Verb.TRUNCATE, None, 3)),
        ("shorten 4", Fault(Verb.SHORTEN, None, 4)),
        ("lead-off 8", Fault(Verb.LEAD_OFF, None, channel=8)),
    ],
)
def test_each_verb_of_a_p24_is_understood(line: str, fault: Fault) -> None:
    assert parse_line(line, 8, P24_VERBS) == fault


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("battery 4", "got 'battery', which this device cannot play"),
        ("patient-stop press", "got 'patient-stop', which this device cannot play"),
        ("lead-off 9", "channel: expected a whole number from 1 to 8, got '9'"),
        ("channel-error 1", "expected `channel-error CHANNEL electrode|timeout|low-current`"),
        ("channel-error 1 rust", "expected one of electrode, timeout, low-current, got 'rust'"),
        ("channel-error 9 electrode", "channel: expected a whole number from 1 to 8"),
        ("result 0", "result: expected a whole number from 1 to 255, got '0'"),
        ("result 256", "result: expected a whole number from 1 to 255, got '256'"),
        ("stall", "expected `stall SECONDS`"),
        ("truncate 0", "frames: expected a whole number from 1 to 1000000, got '0'"),
        ("truncate 1 to-host", "expected `truncate ANSWERS`"),
        ("sparks", "expected one of drop, delay, corrupt, duplicate, silent, reboot"),
    ],
)
def test_what_a_p24_cannot_play_is_one_message(line: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_line(line, 8, P24_VERBS)
    assert expected in str(caught.value)


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb in P24_VERBS - NATIVE_VERBS])
def test_what_only_a_p24_can_play_is_refused_elsewhere(verb: Verb, tmp_path: Path) -> None:
    script = tmp_path / "faults.txt"
    script.write_text(f"at 1 {verb.value} 1\n")
    with pytest.raises(UsageError, match=f"line 1: .*'{verb.value}', which this device cannot"):
        read_script(script, 2)


# Anything at all.


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_random_bytes_never_raise(chunks: list[bytes]) -> None:
    host = P24Host()
    for chunk in chunks:
        host.write(chunk)
        host.pass_time(700)
    host.pass_time(1 * S)
    assert not host.trace.pulses


# Ten microseconds of one polarity, as the low level asks for a point.
UNBALANCED = b"\xf0\x00\x01\x00\x00"

requests = st.tuples(
    st.sampled_from(COMMANDS) | st.integers(0, 1023),
    st.binary(max_size=20) | st.sampled_from([pack_update([playing()]), b"\0", b"\1", b"\4", b""]),
)


@settings(max_examples=200)
@example([((Command.LL_INIT, b"\0"), 0), ((Command.LL_CHANNEL_CONFIG, UNBALANCED), 0)])
@given(st.lists(st.tuples(requests, st.integers(0, 3 * S)), max_size=30))
def test_any_requests_in_any_order_are_each_answered_once(
    sent: list[tuple[tuple[int, bytes], int]],
) -> None:
    host = P24Host()
    host.trace.is_balanced = False
    answered, expected, resets = 0, 0, 0
    for (command, payload), rest_us in sent:
        host.send(command, payload)
        expected += 1
        resets += command == Command.RESET
        answered += len(host.pass_time(rest_us))
    answered += len(host.pass_time(10 * S))
    # A reset forgets what waits behind it.
    assert answered == expected if not resets else answered <= expected
    last_us = host.now_us - 10 * S
    # Whatever was asked, nothing flows 2 s after the last request was taken up.
    assert all(onset < last_us + 2 * S + 40 * MS for onset in host.trace.onsets())


def random_session(seed: int) -> tuple[object, bytes]:
    """Drive a P24 at random through a line that fails at random; return trace and output."""
    random = Random(seed)
    verbs = ["drop 2", "corrupt 2", "duplicate 1", "delay 0.05", "delay 0", "lead-off 1"]
    verbs += ["lead-on 1", "gain 2 800", "stall 0.3", "renumber 1", "truncate 1", "result 21"]
    script = sorted(random.randrange(8_000) for _ in range(25))
    host = P24Host(*(f"at {at_ms / 1000} {random.choice(verbs)}" for at_ms in script), seed=seed)
    output = b""
    while host.now_us < 10 * S:
        update = pack_update([playing(random.choice([5_000, 20_000]), ramp=2), playing(20_000)])
        command, payload = random.choice(
            [(Command.ML_INIT, b"\0"), (Command.ML_GET_CURRENT_DATA, b"\4"), (ASK, b"")]
            + [(Command.ML_UPDATE, update)] * 3
        )
        host.send(command, payload)
        host.now_us += random.randrange(120 * MS)
        output += host.line.take_output(host.now_us)
    return host.trace.pulses, output


def test_the_same_seed_gives_the_same_trace_and_the_same_bytes() -> None:
    sessions = [random_session(seed) for seed in range(3)]
    assert sessions == [random_session(seed) for seed in range(3)]
    assert sessions[0] != sessions[1]


def test_how_often_time_is_told_changes_nothing() -> None:
    """Advanced every 0.1 ms or once at the end: the same trace."""
    traces = []
    for steps in (1, 30_000):
        host = P24Host()
        host.init()
        host.update(playing(20_000, 7 * MS, 5), playing(10_000, 9_250, 2))
        for _ in range(steps):
            host.now_us += 3 * S // steps
            host.collect()
        traces.append(host.trace.pulses)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 400
