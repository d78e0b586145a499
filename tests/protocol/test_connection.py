"""The rules of one end of the line: sequences, Stop, epochs, damage."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_protocol import codec, framing
from firmware_protocol.connection import Connection, Damaged, Dropped, Received, Role, is_newer
from firmware_protocol.errors import MessageError
from firmware_protocol.messages import (
    Adoption,
    DeviceState,
    Drive,
    GetCapabilities,
    GetEvents,
    Hello,
    Identity,
    LimitsAccepted,
    Message,
    Stop,
    TargetRow,
    WantedState,
)

EPOCH = 0xE5714
OTHER = 0x07E4
DRIVE = Drive(WantedState.ARMED, 1, 2, 3, (TargetRow(0),))
HELLO = Hello(1, 2)
IDENTITY = Identity(0, Adoption.ADOPTED, 1, 2, 3, 4, DeviceState.SAFE, "M", "S")


def frame(message: Message, sequence: int, epoch: int = EPOCH) -> bytes:
    return framing.encode_frame(codec.encode_body(message, sequence, epoch))


def device(newest: int | None = None) -> Connection:
    made = Connection(Role.DEVICE)
    made.adopt(EPOCH, newest)
    return made


def events_of(connection: Connection, *frames: bytes) -> list[Received | Damaged | Dropped]:
    connection.receive_bytes(b"".join(frames))
    return list(iter(connection.next_event, None))


@pytest.mark.hazard(12)
@pytest.mark.parametrize(
    ("sequence", "than", "newer"),
    [
        (1, 0, True),
        (0, 0, False),
        (0, 1, False),
        (0x7FFF, 0, True),
        (0x8000, 0, False),  # half way round: RFC 1982 leaves it open, we say no
        (0x8001, 0, False),
        (0, 0xFFFF, True),
        (0xFFFF, 0, False),
        (0x7FFE, 0xFFFF, True),
        (0x7FFF, 0xFFFF, False),
        (0x8000, 0x7FFF, True),
        (0x0001, 0x8001, False),
        (0x0001, 0x8002, True),
    ],
)
def test_sequences_compare_as_in_rfc_1982(sequence: int, than: int, newer: bool) -> None:
    assert is_newer(sequence, than) is newer


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_of_two_different_sequences_at_most_one_is_newer(first: int, second: int) -> None:
    both = is_newer(first, second) + is_newer(second, first)
    assert both == (0 if (first - second) % 0x10000 in (0, 0x8000) else 1)


def test_rule_1_sequences_count_over_all_messages_and_wrap() -> None:
    host = Connection(Role.HOST, EPOCH)
    sent = [host.send(GetCapabilities()) for _ in range(0xFFFF)]
    assert host.last_sequence == 0xFFFE
    sent += [host.send(Stop()), host.send(DRIVE)]
    assert host.last_sequence == 0
    sequences = [codec.decode_body(framing.decode_frame(f[:-1])).sequence for f in sent]
    assert sequences == [*range(0x10000), 0]


@pytest.mark.hazard(12)
def test_rule_1_a_frame_that_is_not_newer_is_dropped() -> None:
    seen = events_of(
        device(newest=10),
        frame(DRIVE, 10),
        frame(DRIVE, 12),
        frame(DRIVE, 12),
        frame(DRIVE, 11),
        frame(GetEvents(0), 13),
        frame(DRIVE, 13),
        frame(DRIVE, (13 + 0x8000) % 0x10000),
        frame(DRIVE, 13 + 0x7FFF),
        frame(DRIVE, 2),
    )
    taken = [event.sequence if isinstance(event, Received) else None for event in seen]
    assert taken == [None, 12, None, None, 13, None, None, 13 + 0x7FFF, 2]
    assert [event.reason for event in seen if isinstance(event, Dropped)] == ["an old sequence"] * 5


def test_rule_1_the_first_frame_after_an_adoption_without_sequence_is_taken() -> None:
    for sequence in (0, 1, 0x8000, 0xFFFF):
        assert events_of(device(), frame(DRIVE, sequence)) == [Received(DRIVE, sequence, EPOCH)]


def test_rule_2_stop_neither_needs_nor_moves_the_window() -> None:
    receiver = device(newest=100)
    stops = ((100, EPOCH), (0, EPOCH), (20_000, EPOCH), (99, OTHER), (0, 0))
    for next_sequence, (sequence, epoch) in enumerate(stops, start=101):
        seen = events_of(receiver, frame(Stop(), sequence, epoch))
        assert seen == [Received(Stop(), sequence, epoch)]
        seen = events_of(receiver, frame(DRIVE, next_sequence - 1), frame(DRIVE, next_sequence))
        assert [type(event) for event in seen] == [Dropped, Received]


@pytest.mark.hazard(13)
def test_rule_3_only_the_current_epoch_comes_out() -> None:
    receiver = device(newest=5)
    seen = events_of(receiver, frame(DRIVE, 6, OTHER), frame(DRIVE, 6), frame(DRIVE, 7, 0))
    assert seen == [
        Dropped(DRIVE, "another epoch"),
        Received(DRIVE, 6, EPOCH),
        Dropped(DRIVE, "another epoch"),
    ]
    assert receiver.dropped_count == 2


def test_rule_3_frames_of_another_epoch_do_not_move_the_window() -> None:
    receiver = device(newest=5)
    events_of(receiver, frame(DRIVE, 30_000, OTHER))
    assert isinstance(events_of(receiver, frame(DRIVE, 6))[0], Received)


def test_rule_3_before_its_first_epoch_a_device_hears_hello_and_stop_alone() -> None:
    fresh = Connection(Role.DEVICE)
    for epoch in (0, EPOCH):
        seen = events_of(
            fresh,
            frame(DRIVE, 1, epoch),
            frame(GetCapabilities(), 2, epoch),
            frame(HELLO, 3, epoch),
            frame(Stop(), 4, epoch),
        )
        assert [type(event) for event in seen] == [Dropped, Dropped, Received, Received]


def test_rule_3_a_device_hears_every_hello() -> None:
    receiver = device(newest=50)
    seen = events_of(receiver, frame(HELLO, 3, OTHER), frame(HELLO, 3, OTHER), frame(HELLO, 1))
    assert [type(event) for event in seen] == [Received, Received, Received]
    seen = events_of(receiver, frame(DRIVE, 50), frame(DRIVE, 51))
    assert [type(event) for event in seen] == [Dropped, Received], "not adopted: nothing moved"
    receiver.adopt(OTHER, newest_received=3)
    seen = events_of(receiver, frame(DRIVE, 51), frame(DRIVE, 3, OTHER), frame(DRIVE, 4, OTHER))
    assert [type(event) for event in seen] == [Dropped, Dropped, Received]


@pytest.mark.hazard(13)
def test_rule_3_a_host_hears_its_own_epoch_alone() -> None:
    host = Connection(Role.HOST, EPOCH)
    seen = events_of(host, frame(IDENTITY, 0, OTHER), frame(IDENTITY, 0, 0), frame(IDENTITY, 0))
    assert [type(event) for event in seen] == [Dropped, Dropped, Received]
    without = Connection(Role.HOST)
    assert isinstance(events_of(without, frame(IDENTITY, 0, 0))[0], Dropped)


@pytest.mark.hazard(10)
def test_rule_4_damage_is_counted_and_ends_nothing() -> None:
    receiver = device(newest=0)
    good = frame(DRIVE, 1)
    flipped = bytes((good[0], good[1] ^ 1)) + good[2:]
    unknown = codec.HEADER.pack(0x7F, 1, EPOCH)
    unknown = framing.encode_frame(unknown + codec.CRC.pack(zlib.crc32(unknown)))
    bad = (flipped, b"\x11" * 300 + b"\0", frame(IDENTITY, 1), b"\xff\0", unknown)
    seen = events_of(receiver, *bad, b"\0\0", good)
    assert [type(event) for event in seen] == [Damaged] * 5 + [Received]
    assert receiver.damaged_count == 5
    assert receiver.dropped_count == 0


def test_a_message_from_the_wrong_end_is_damage() -> None:
    """A line that echoes gives a host its own frames back."""
    host = Connection(Role.HOST, EPOCH)
    echo = host.send(DRIVE)
    assert events_of(host, echo) == [Damaged("Drive came from the wrong end")]
    answer = frame(LimitsAccepted(0, 0), 1)
    assert events_of(device(), answer) == [Damaged("LimitsAccepted came from the wrong end")]


def test_an_identity_can_carry_an_epoch_that_was_not_adopted() -> None:
    refusing = device()
    host = Connection(Role.HOST, OTHER)
    assert events_of(host, refusing.send(IDENTITY, epoch=OTHER)) == [Received(IDENTITY, 0, OTHER)]
    assert isinstance(events_of(host, refusing.send(IDENTITY))[0], Dropped)


def test_a_message_that_does_not_fit_is_told_and_the_next_ones_are_heard() -> None:
    host = Connection(Role.HOST, EPOCH)
    with pytest.raises(MessageError):
        host.send(GetEvents(70_000))
    seen = events_of(device(newest=0), host.send(GetEvents(0)), host.send(GetEvents(1)))
    assert [type(event) for event in seen] == [Received, Received]


@given(st.data())
def test_both_ends_understand_each_other_however_the_bytes_arrive(data: st.DataObject) -> None:
    host, receiver = Connection(Role.HOST, EPOCH), device()
    sent: list[Message] = [HELLO, GetCapabilities(), DRIVE, Stop(), GetEvents(9), DRIVE]
    stream = b"".join(host.send(message) for message in sent)
    seen: list[Received | Damaged | Dropped] = []
    while stream:
        size = data.draw(st.integers(1, 40))
        seen += events_of(receiver, stream[:size])
        stream = stream[size:]
    assert seen == [Received(message, index, EPOCH) for index, message in enumerate(sent)]


def test_a_frame_is_judged_in_the_epoch_that_the_frames_before_it_brought() -> None:
    """Rule 5: a Hello and what follows it may arrive in one read, also what lingered before it."""
    connection = device(newest=10)
    connection.receive_bytes(
        frame(HELLO, 0, OTHER) + frame(DRIVE, 11, EPOCH) + frame(DRIVE, 1, OTHER)
    )
    hello = connection.next_event()
    assert hello == Received(HELLO, 0, OTHER)
    connection.adopt(OTHER, 0)
    assert connection.next_event() == Dropped(DRIVE, "another epoch")
    assert connection.next_event() == Received(DRIVE, 1, OTHER)
    assert connection.next_event() is None
