"""vectors.json and the C core: frames, bad frames, programmes, digests, limits; and protocol.h."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import pytest

from estim.simulator.device import DeviceSettings
from firmware_protocol import codec, framing, generate
from firmware_protocol.connection import Connection, Received, Role
from firmware_protocol.errors import MessageError
from firmware_protocol.fields import wire_fields
from firmware_protocol.messages import (
    MESSAGES,
    PROTOCOL_VERSION,
    TO_DEVICE,
    CommitProgram,
    Hello,
    Message,
    ProgramAccepted,
    RefusalReason,
    Refused,
    Status,
    Stop,
)
from firmware_protocol.schema import SCHEMA_HASH
from firmware_protocol.vectors import EXAMPLE_PROGRAMS
from tests.firmware.core import C_FOLDER, Lockstep
from tests.simulator.host import EPOCH

VECTORS: dict[str, Any] = json.loads((C_FOLDER.parent / "vectors.json").read_text())


def ids(vectors: list[dict[str, Any]]) -> list[str]:
    return [f"{vector['name']} {vector.get('case', '')}".strip() for vector in vectors]


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=ids(VECTORS["messages"]))
def test_frames_are_coded_and_judged_as_the_vectors_say(
    lockstep: Lockstep, vector: dict[str, Any]
) -> None:
    """A message to the host is no message to a device."""
    framed = lockstep.command(f"encode {vector['body']}")
    assert framed.frames.hex() == vector["frame"]
    (said,) = lockstep.command(f"decode {vector['frame'][:-2]}").said
    declared = next(each for each in MESSAGES.values() if each.__name__ == vector["name"])
    if declared.direction != TO_DEVICE:
        assert said == "bad message"
        return
    epoch = int(vector["epoch"], 16).to_bytes(8, "little").hex()
    rows = next((f for f in vector["fields"].values() if isinstance(f, list)), [])
    assert said == f"message {declared.message_id} {vector['sequence']} {epoch} {len(rows)}"


@pytest.mark.hazard(10)
@pytest.mark.parametrize("vector", VECTORS["bad_frames"], ids=ids(VECTORS["bad_frames"]))
def test_bad_frames_have_their_verdict(lockstep: Lockstep, vector: dict[str, Any]) -> None:
    assert lockstep.command(f"decode {vector['frame']}").said == [f"bad {vector['verdict']}"]


def test_every_length_around_the_bounds_of_a_body_and_of_a_frame(lockstep: Lockstep) -> None:
    """15 to 250 bytes are a body, whatever they say; 251 of a frame are kept, no more."""
    for size in (1, 2, 14, 15, 16, 249, 250):
        content = bytes([Stop.message_id, *range(1, size - 4 + 1)])[: max(0, size - 4)]
        body = content + codec.CRC.pack(zlib.crc32(content))
        body = body[:size]
        frame = framing.encode_frame(body)[:-1]
        verdict = "bad frame" if size < 15 else "bad message"
        if size == 15:
            verdict = f"message 9 {int.from_bytes(content[1:3], 'little')} {content[3:].hex()} 0"
        assert lockstep.command(f"decode {frame.hex()}").said == [verdict], size
    for size in (251, 252, 300):
        assert lockstep.command(f"decode {'01' * size}").said == ["bad frame"]
    for size in (14, 15, 250, 251, 255):
        content = bytes([Stop.message_id, *[0] * (size - 5)])
        body = content + codec.CRC.pack(zlib.crc32(content))
        verdict = {15: "message 9 0 0000000000000000 0", 250: "bad message"}.get(size, "bad frame")
        assert lockstep.command(f"judge {body.hex()}").said == [verdict]


def test_zeros_between_frames_are_no_frames_and_no_damage(lockstep: Lockstep) -> None:
    host = WireHost(lockstep, DeviceSettings())
    assert host.send_raw(bytes(300)) == []
    assert host.status().damaged_count == 0
    assert host.send_raw(b"\x01\0" + b"\x01" * 252 + b"\0\0") == []
    assert host.status().damaged_count == 2


def bodies() -> list[tuple[type[Message], bytes]]:
    """Return an id and a payload as small and as large as can be, for every message to a device."""
    made = []
    for vector in VECTORS["messages"]:
        declared = next(each for each in MESSAGES.values() if each.__name__ == vector["name"])
        if declared.direction == TO_DEVICE:
            made.append((declared, bytes.fromhex(vector["body"])[11:-4]))
    return made


@pytest.mark.parametrize(("declared", "payload"), bodies())
def test_every_payload_of_another_length_or_with_an_unknown_value_is_refused(
    lockstep: Lockstep, declared: type[Message], payload: bytes
) -> None:
    """Every truncation, one byte more, and every value of every byte: as the declarations say."""
    changed = [payload[:size] for size in range(len(payload))] + [payload + b"\0"]
    for at in range(min(len(payload), 45)):
        changed += [payload[:at] + bytes([n]) + payload[at + 1 :] for n in range(256)]
    for each in changed:
        content = codec.HEADER.pack(declared.message_id, 7, 0xE5) + each
        body = content + codec.CRC.pack(zlib.crc32(content))
        if len(body) > codec.BODY_MAX:
            continue
        try:
            codec.decode_body(body)
            is_good = True
        except MessageError:
            is_good = False
        (said,) = lockstep.command(f"decode {framing.encode_frame(body)[:-1].hex()}").said
        assert said.startswith("message ") is is_good, each.hex()
        assert is_good or said == "bad message"


class WireHost:
    """A host of the C core alone."""

    def __init__(self, lockstep: Lockstep, own: DeviceSettings) -> None:
        self._lockstep = lockstep
        self._connection = Connection(Role.HOST, EPOCH)
        lockstep.boot(own)
        self.send(Hello(PROTOCOL_VERSION, SCHEMA_HASH))

    def send(self, message: Message) -> list[Message]:
        return self.send_raw(self._connection.send(message))

    def send_raw(self, raw: bytes) -> list[Message]:
        self._connection.receive_bytes(self._lockstep.command(f"bytes 0 {raw.hex()}").frames)
        events = iter(self._connection.next_event, None)
        return [event.message for event in events if isinstance(event, Received)]

    def status(self) -> Status:
        return next(m for m in self.send(Stop()) if isinstance(m, Status))


@pytest.mark.parametrize("vector", VECTORS["programs"], ids=ids(VECTORS["programs"]))
def test_programmes_have_their_digest(lockstep: Lockstep, vector: dict[str, Any]) -> None:
    host = WireHost(lockstep, DeviceSettings(channel_count=4))
    loading = EXAMPLE_PROGRAMS[vector["name"]].messages()
    assert [codec.encode_payload(message).hex() for message in loading] == vector["payloads"]
    for wrong in (1, 0):
        for message in loading:
            assert host.send(message) == []
        (answer,) = host.send(CommitProgram(vector["digest"] ^ wrong))
        if wrong:
            assert isinstance(answer, Refused)
            assert answer.reason is RefusalReason.PROGRAM_DIGEST
        assert isinstance(answer, ProgramAccepted) is (not wrong)
    assert host.status().program_digest == vector["digest"]


@pytest.mark.parametrize("vector", VECTORS["compiled_limits"])
def test_compiled_limits_have_their_digest(lockstep: Lockstep, vector: dict[str, Any]) -> None:
    own = DeviceSettings(
        channel_count=vector["channel_count"], amplitude_max_ua=vector["amplitude_max_ua"]
    )
    assert WireHost(lockstep, own).status().limits_digest == vector["digest"]


def test_the_header_names_every_message_and_field_where_the_codec_puts_it() -> None:
    """Offsets counted here from the declarations, by hand: sizes of what comes before."""
    header = dict(
        re.findall(r"^#define (EST_\w+) (\w+)$", (C_FOLDER / "protocol.h").read_text(), re.M)
    )
    assert header["EST_MESSAGE_DRIVE"] == "0x08U"
    assert header["EST_DRIVE_AT_TARGETS"] == "14U"  # 1 + 4 + 4 + 4 + 1
    assert header["EST_STATUS_SIZE"] == "31U"  # 4+1+1+2+1+1+2+4+4+2+2+2+4, and the count
    assert header["EST_CHANNEL_STATUS_SIZE"] == "23U"  # 5 x 4 + 3
    for declared in MESSAGES.values():
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", declared.__name__).upper()
        assert header[f"EST_MESSAGE_{name}"] == f"0x{declared.message_id:02X}U"
        for field, wire in wire_fields(declared):
            suffix = "_COUNT" if wire.row else ""
            assert f"EST_{name}_AT_{field.upper()}{suffix}" in header


def test_the_header_is_generated_and_checked() -> None:
    assert "firmware_protocol/c/protocol.h" in [output.path for output in generate.OUTPUTS]
