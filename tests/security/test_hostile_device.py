"""A device that lies, floods or boasts: it may end a session, and never raise or hide output.

Frames that are damaged, old or of another epoch: tests/protocol/test_connection.py. What a device
tells of currents and states: tests/session/test_attack.py. Here is the rest.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estim.session.states import HostState
from firmware_protocol import framing
from firmware_protocol.codec import CRC, decode_body, encode_body
from firmware_protocol.errors import MessageError
from firmware_protocol.messages import Event, EventCode, Status, Stop
from tests.session.bench import MS, Bench

RUNNING, FAULT = HostState.RUNNING, HostState.FAULT


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.loop.end()


def asked_ua(bench: Bench) -> int:
    """Return the highest target that ever reached the device."""
    return max(bench.device.targets)


@pytest.mark.hazard(22)
def test_a_device_that_tells_less_than_it_gives_lowers_no_display(bench: Bench) -> None:
    """S5: what is shown is never below what was asked, whatever comes back."""
    bench.to(RUNNING).raise_to(5000, 0)

    def modest(status: Status) -> Status:
        rows = tuple(dataclasses.replace(row, setpoint_ua=0, peak_ua=0) for row in status.channels)
        return dataclasses.replace(status, channels=rows)

    bench.device.lie = modest
    bench.run(300 * MS)
    bench.loop.publish(bench.clock.now_us())
    shown = bench.snapshots[-1]
    assert shown.state is FAULT or shown.channels[0].shown_ua >= 5000


@pytest.mark.parametrize("field", ["program_digest", "limits_digest"])
def test_a_device_with_another_programme_or_other_limits_ends_the_session(
    bench: Bench, field: str
) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    other: dict[str, Any] = {field: 0xBAD}
    bench.device.lie = lambda status: dataclasses.replace(status, **other)
    bench.run(1000 * MS)
    assert bench.state is FAULT
    assert bench.is_off()
    assert bench.device.of(Stop)


@pytest.mark.hazard(13)
def test_reports_of_another_epoch_never_count_as_fresh(bench: Bench) -> None:
    """Good ones but for their epoch keep nobody from noticing that the device fell silent."""
    bench.to(RUNNING).raise_to(5000, 0)
    bench.device.is_silent = True
    epoch = bench.device.connection.epoch
    assert epoch is not None
    for number in range(60):
        good = bench.device.status(bench.clock.now_us())
        frame = framing.encode_frame(encode_body(good, 30_000 + number, epoch ^ 1))
        bench.device.output += frame
        bench.run(20 * MS)
    assert bench.state is FAULT
    assert bench.is_off()


def test_endless_events_are_bounded_and_raise_nothing(bench: Bench) -> None:
    """Events at a hundred times the rate of reports for 2 s: the session runs or faults; the record
    and what waits stay small."""
    bench.to(RUNNING).raise_to(5000, 0)
    codes = list(EventCode)
    for number in range(100):
        for each in range(40):
            index = (40 * number + each) % 65_536
            code = codes[each % len(codes)]
            if code in (EventCode.PATIENT_STOP, EventCode.FAULT_LATCHED, EventCode.BOOTED):
                code = EventCode.CONTACT_GOOD
            bench.device.say(Event(index, 0, code, each % 3, 0))
        bench.run(20 * MS)
    assert asked_ua(bench) <= 5000
    assert bench.state in (RUNNING, FAULT)
    assert len(bench.record()) < 5000


def test_a_flood_of_garbage_while_running_ends_or_changes_nothing(bench: Bench) -> None:
    bench.to(RUNNING).raise_to(5000, 0)
    for number in range(50):
        bench.device.output += bytes((number * 7 + each * 13) % 256 for each in range(4000))
        bench.device.output += b"\xff" * 4000  # a frame without end
        bench.run(20 * MS)
        assert asked_ua(bench) <= 5000
    assert bench.state in (RUNNING, FAULT)


@pytest.mark.parametrize("text", [b"\x1b[", b"a\n", b"\x9b1", b"\x00a", b"\x7f0", b"\xe2\x80"])
def test_an_identity_cannot_hold_what_drives_a_terminal(bench: Bench, text: bytes) -> None:
    """The codec has no such text in either direction; a frame forged by hand is damage."""
    named = dataclasses.replace(bench.device.identity(0, 0), serial_number="QQ")
    with pytest.raises(MessageError, match="printable ASCII"):
        encode_body(dataclasses.replace(named, serial_number=text.decode("latin-1")), 0, 0)
    content = encode_body(named, 0, 0)[: -CRC.size]
    assert content.count(b"QQ") == 1
    content = content.replace(b"QQ", text)
    with pytest.raises(MessageError, match="printable ASCII"):
        decode_body(content + CRC.pack(zlib.crc32(content)))
