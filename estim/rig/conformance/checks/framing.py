"""Frames and sequences: what is taken, what is dropped, what is counted."""

from __future__ import annotations

import random
import secrets
import zlib
from collections.abc import Callable, Iterator

from estim.rig.conformance.bench import Bench
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.hearing import words
from estim.rig.conformance.line import Heard
from estim.rig.conformance.requirement import expect, requirement
from firmware_protocol import codec, framing
from firmware_protocol.connection import Connection, Role
from firmware_protocol.messages import (
    MESSAGES,
    TO_DEVICE,
    BeginProgram,
    Capabilities,
    DeviceState,
    Drive,
    EventCode,
    GetCapabilities,
    Hello,
    Message,
    ProgramFlag,
    SetLimits,
    Status,
    Stop,
    WantedState,
)
from firmware_protocol.schema import SCHEMA_HASH

GARBAGE_BYTES = 1024
PORTION_BYTES = 96
"""Damage is sent so much at a time, and then a device is waited for: PROTOCOL.md says nothing of
how much more than one programme it takes without a pause."""
PORTION_MS = 10
PAUSE_MS = 150
HALF_WINDOW = 1 << 15


@requirement("LINE-01", "1", "a frame is taken however its bytes come")
def bytes_one_by_one(bench: Bench) -> None:
    bench.begin()
    mark = bench.line.mark()
    frame = bench.line.frame(bench.compiled)
    for byte in frame[:10]:
        bench.line.send_raw(bytes((byte,)))
    bench.line.listen(PAUSE_MS)
    bench.line.send_raw(frame[10:])
    bench.line.send_raw(bench.line.frame(GetCapabilities()) + bench.line.frame(GetCapabilities()))
    found = [type(m).__name__ for m in bench.fence(mark)]
    expected = ["LimitsAccepted", "Capabilities", "Capabilities"]
    expect(found == expected, ", ".join(expected), ", ".join(found) or "no answer")


@requirement("LINE-02", "1", "empty frames are no error")
def empty_frames(bench: Bench) -> None:
    bench.begin()
    _expect_damaged(bench, lambda: b"\0" * 20, "20 empty frames")


@requirement("LINE-03", "1", "a frame with any one bit wrong is dropped and counted, not answered")
def every_bit(bench: Bench) -> None:
    bench.begin()
    for message in (GetCapabilities(), BeginProgram(1, ProgramFlag.NONE)):

        def flipped(message: Message = message) -> bytes:
            frame = bench.line.frame(message)[:-1]
            return b"".join(_flipped(frame, bit) + b"\0" for bit in range(8 * len(frame)))

        _expect_damaged(bench, flipped, f"each bit of {type(message).__name__} flipped")


@requirement("LINE-04", "1", "a frame whose CRC alone is wrong is dropped and counted")
def wrong_crc(bench: Bench) -> None:
    bench.begin()

    def wrong() -> bytes:
        sending = b""
        for mask in (1, 0x80000000, 0xFFFFFFFF, 0x00FF0000):
            body = framing.decode_frame(bench.line.frame(GetCapabilities())[:-1])
            crc = int.from_bytes(body[-4:], "little") ^ mask
            sending += framing.encode_frame(body[:-4] + crc.to_bytes(4, "little"))
        return sending

    _expect_damaged(bench, wrong, "a CRC that does not match")


@requirement("LINE-05", "1", "every truncation of a frame is dropped and counted")
def every_truncation(bench: Bench) -> None:
    bench.begin()
    for message in (GetCapabilities(), bench.compiled, bench.programs.single().messages()[1]):

        def cut(message: Message = message) -> bytes:
            frame = bench.line.frame(message)[:-1]
            cuts = [frame[:end] for end in range(1, len(frame))]
            cuts += [frame[start:] for start in range(1, len(frame))]
            return b"".join(each + b"\0" for each in cuts)

        _expect_damaged(bench, cut, f"{type(message).__name__} cut anywhere")


@requirement("LINE-06", "1", "a run of more than 251 bytes without a zero is one damaged frame")
def overlong_runs(bench: Bench) -> None:
    bench.begin()
    for length in (framing.FRAME_MAX + 1, 1000):
        run = b"\x01" * length + b"\0"
        _expect_damaged(bench, lambda run=run: run, f"{length} bytes without a zero")  # type: ignore[misc]


@requirement("LINE-07", "1", "an unknown message id is damage, not answered")
def unknown_ids(bench: Bench) -> None:
    bench.begin()
    unknown = [number for number in range(256) if number not in MESSAGES]
    _expect_damaged(
        bench,
        lambda: b"".join(_sealed(bench, number, b"") for number in unknown),
        f"{len(unknown)} unknown ids",
    )


@requirement("LINE-08", "1", "a payload that is not exactly as declared is damage")
def wrong_payloads(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())

    def wrong() -> bytes:
        sending = b""
        for message in _every_message(bench):
            payload = codec.encode_payload(message)
            cut = [payload[:-1]] if payload else []
            for each in (payload + b"\0", payload + b"\0" * 40, *cut):
                sending += _sealed(bench, message.message_id, each)
        return sending

    _expect_damaged(bench, wrong, "payloads too long or too short")


@requirement("LINE-09", "1", "unknown enum values, flags and row counts are damage")
def unknown_values(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())

    def wrong() -> bytes:
        drive = codec.encode_payload(bench.drive_message(WantedState.SAFE))
        asked = codec.encode_payload(bench.compiled)
        rows_at = len(asked) - 16 * len(bench.compiled.channels) - 1
        return b"".join(
            (
                _sealed(bench, Drive.message_id, b"\x03" + drive[1:]),
                _sealed(bench, Drive.message_id, b"\xff" + drive[1:]),
                _sealed(bench, Drive.message_id, drive[:13] + b"\x05" + bytes(20)),
                _sealed(bench, Drive.message_id, drive[:13] + b"\xff"),
                _sealed(bench, BeginProgram.message_id, b"\x01\x02"),
                _sealed(bench, BeginProgram.message_id, b"\x01\x80"),
                _sealed(
                    bench, SetLimits.message_id, asked[: rows_at - 1] + b"\x04" + asked[rows_at:]
                ),
            )
        )

    _expect_damaged(bench, wrong, "unknown values")


@requirement("LINE-10", "1", "what a device says itself is no message to it")
def messages_to_host(bench: Bench) -> None:
    bench.begin()
    own = [message for message in (bench.identity, bench.status, bench.can) if message is not None]
    _expect_damaged(
        bench,
        lambda: b"".join(bench.line.frame(message) for message in own),
        "messages to the host",
    )


@requirement("LINE-11", "1", "garbage is dropped and counted, and changes nothing")
def garbage(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    noise = random.Random(20_261_121).randbytes(GARBAGE_BYTES)
    _expect_damaged(bench, lambda: noise + b"\0", f"{GARBAGE_BYTES} bytes of garbage")


@requirement("LINE-12", "1", "after damage the frame behind the next zero is taken")
def in_step_again(bench: Bench) -> None:
    bench.begin()
    damages = (b"\x05\x05", b"\xff" * 251, b"\x01" * 400, b"\x03\x00\x09")
    found: list[Message] = []
    for damage in damages:
        frame = bench.line.frame(GetCapabilities())
        found += _sent_in_portions(bench, damage + b"\0" + frame)
    taken = sum(isinstance(message, Capabilities) for message in found)
    expect(taken == len(damages), f"{len(damages)} frames taken after damage", taken)


@requirement("SEQ-01", "1", "a newer sequence is taken, up to 32767 ahead and across the wrap")
def newer_is_taken(bench: Bench) -> None:
    start = _started_at(bench, 65_000)
    at = start
    for step in (1, 2, 700, HALF_WINDOW - 1, 1, HALF_WINDOW - 1):
        at += step
        expect(_is_taken(bench, at), f"sequence {at % 65536} taken, {step} ahead", "no answer")


@requirement("SEQ-02", "1", "a sequence that is not newer is dropped")
def older_is_dropped(bench: Bench) -> None:
    start = _started_at(bench, 40_000)
    expect(_is_taken(bench, start + 1), "the next sequence taken", "no answer")
    at = start + 1
    for step in (0, -1, -2, -HALF_WINDOW + 1, HALF_WINDOW):
        expect(
            not _is_taken(bench, at + step),
            f"sequence {(at + step) % 65536} dropped after {at}",
            "an answer",
        )
    expect(_is_taken(bench, at + 1), "the next sequence taken", "no answer")


@requirement("SEQ-03", "1", "a Drive that comes twice is acted on once")
def duplicate_drive(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.ARMED)
    frame = bench.line.frame(bench.drive_message(WantedState.ARMED))
    bench.line.send_raw(frame)
    safe = bench.drive(bench.drive_message(WantedState.SAFE))
    expect(safe.status.state is DeviceState.SAFE, "SAFE", words(safe.status))
    bench.line.send_raw(frame)
    bench.fence(bench.line.mark())
    status = bench.probe()
    expect(status.state is DeviceState.SAFE, "SAFE: the second copy dropped", words(status))


@requirement("SEQ-04", "1", "Stop needs no newer sequence and does not move the window")
def stop_is_outside(bench: Bench) -> None:
    start = _started_at(bench, 100)
    for sequence in (start, start - 1, start + HALF_WINDOW, start + 20_000):
        mark = bench.line.mark()
        bench.line.send(Stop(), sequence=sequence % 65536)
        heard = bench.line.wait(mark, _is_status, ANSWER_MS)
        expect(heard is not None, f"Stop of sequence {sequence % 65536} answered", "no answer")
    expect(_is_taken(bench, start + 1), f"sequence {start + 1} taken after them", "no answer")


@requirement("SEQ-05", "1", "a Hello of any sequence is taken, and the window starts there")
def hello_starts_window(bench: Bench) -> None:
    for start in (50_000, 10, 33_000):
        _started_at(bench, start)
        expect(not _is_taken(bench, start), f"sequence {start} dropped after Hello", "an answer")
        expect(_is_taken(bench, start + 1), f"sequence {start + 1} taken", "no answer")


def _started_at(bench: Bench, sequence: int) -> int:
    """Adopt an epoch by a Hello of a sequence."""
    bench.begin()
    epoch = secrets.randbits(64) or 1
    bench.line.connection.adopt(epoch)
    mark = bench.line.mark()
    bench.line.send(Hello(1, SCHEMA_HASH), sequence=sequence)
    heard = bench.line.wait(mark, _in_reply_to(sequence), ANSWER_MS)
    expect(heard is not None, f"a Hello of sequence {sequence} answered", "no answer")
    return sequence


def _is_taken(bench: Bench, sequence: int) -> bool:
    """Tell whether a request of a sequence is answered before the Stop behind it is told."""
    mark = bench.line.mark()
    bench.line.send(GetCapabilities(), sequence=sequence % 65536)
    bench.line.send(Stop(), sequence=0)
    bench.wait_event(mark, EventCode.STOP_RECEIVED, ANSWER_MS)
    answer = _in_reply_to(sequence % 65536)
    return any(answer(heard) for heard in bench.line.heard[mark:])


def _in_reply_to(sequence: int) -> Callable[[Heard], bool]:
    return lambda heard: getattr(heard.message, "in_reply_to", None) == sequence


def _is_status(heard: Heard) -> bool:
    return isinstance(heard.message, Status)


def _expect_damaged(bench: Bench, build: Callable[[], bytes], what: str) -> None:
    """Send damage; expect as many frames counted as this end counts, and nothing else.

    It is built last, so that its sequences are newer than all others.
    """
    before = bench.probe()
    sending = build()
    reference = Connection(Role.DEVICE)
    reference.receive_bytes(sending)
    while reference.next_event() is not None:
        continue  # it judges, and counts, what is taken from it
    found = _sent_in_portions(bench, sending)
    expect(not found, f"no answer to {what}", ", ".join(map(words, found)))
    after = bench.probe()
    counted = (after.damaged_count - before.damaged_count) % 65536
    expect(
        counted == reference.damaged_count,
        f"{reference.damaged_count} damaged frames counted for {what}",
        counted,
    )
    for name in ("state", "program_digest", "limits_digest", "refusal_count"):
        expect(
            getattr(after, name) == getattr(before, name),
            f"{name} unchanged by {what}",
            f"{getattr(before, name)!r} became {getattr(after, name)!r}",
        )


def _sent_in_portions(bench: Bench, sending: bytes) -> list[Message]:
    """Send frames, some at a time; return the answers. What is too long for one is cut anywhere."""
    found: list[Message] = []
    portion = b""
    for piece in sending.split(b"\0")[:-1]:
        if portion and len(portion) + len(piece) >= PORTION_BYTES:
            found += _sent(bench, portion)
            portion = b""
        portion += piece + b"\0"
        while len(portion) > PORTION_BYTES:
            bench.line.send_raw(portion[:PORTION_BYTES])
            bench.line.listen(PORTION_MS)
            portion = portion[PORTION_BYTES:]
    return found + _sent(bench, portion)


def _sent(bench: Bench, portion: bytes) -> list[Message]:
    mark = bench.line.mark()
    bench.line.send_raw(portion)
    return bench.fence(mark)


def _flipped(frame: bytes, bit: int) -> bytes:
    wrong = bytearray(frame)
    wrong[bit // 8] ^= 1 << bit % 8
    return bytes(wrong)


def _sealed(bench: Bench, message_id: int, payload: bytes) -> bytes:
    """Return the frame of any id and payload, with a right header and CRC."""
    bench.line.frame(GetCapabilities())  # a sequence of its own
    sequence = bench.line.connection.last_sequence
    header = codec.HEADER.pack(message_id, sequence, bench.line.connection.epoch or 0)
    content = header + payload
    return framing.encode_frame(content + codec.CRC.pack(zlib.crc32(content)))


def _every_message(bench: Bench) -> Iterator[Message]:
    """Yield one example of every message to a device, Hello and Stop apart."""
    from firmware_protocol.vectors import example

    for declared in MESSAGES.values():
        if declared.direction == TO_DEVICE and not issubclass(declared, (Hello, Stop, SetLimits)):
            yield example(declared, "lowest")
    yield bench.compiled
