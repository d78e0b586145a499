"""A line of bytes: one owner, one exception, no thread that waits for ever."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from estim.clock import SystemClock
from estim.drivers.base import Output
from estim.drivers.registry import open_transport
from estim.engine.lines import ThreadedPort
from estim.errors import EstimError, PortLost, UsageError
from estim.transport.serial_port import SerialPort, open_port
from estim.transport.socket_port import SocketPort
from tests.engine.scene import wait_for


class Line:
    """The device's end of a pseudo-terminal."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.address = os.ttyname(self.slave)

    def unplug(self) -> None:
        for descriptor in (self.slave, self.master):
            os.close(descriptor)
        self.slave = self.master = -1

    def close(self) -> None:
        if self.master >= 0:
            self.unplug()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


class Listener:
    """Remember what a port told."""

    def __init__(self) -> None:
        self.bytes = b""
        self.drives: list[int] = []
        self.ends: list[str] = []

    def received(self, received: bytes) -> None:
        self.bytes += received

    def drive_written(self, at_us: int) -> None:
        self.drives.append(at_us)

    def port_gone(self, explanation: str) -> None:
        self.ends.append(explanation)


def test_bytes_pass_unchanged_both_ways(line: Line) -> None:
    every_byte = bytes(range(256))
    port = open_port(line.address)
    try:
        port.write(every_byte)
        assert os.read(line.master, 1000) == every_byte
        os.write(line.master, every_byte)
        received = b""
        while len(received) < 256:
            received += port.read()
        assert received == every_byte
        assert port.read() == b""
    finally:
        port.close()
        port.close()


@pytest.mark.hazard(15)
def test_a_port_has_one_owner_until_it_is_closed(line: Line) -> None:
    port = open_port(line.address)
    with pytest.raises(PortLost, match="in use by another program"):
        open_port(line.address)
    port.close()
    open_port(line.address).close()


def test_a_port_that_was_closed_opens_again_without_privileges(line: Line) -> None:
    """The kernel's claim on a pseudo-terminal would outlive its owner; root does not notice it."""
    nobody = 65_534
    os.chown(line.address, nobody, nobody)
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2:]\n"
        "from estim.transport.serial_port import open_port\n"
        "if os.getuid() == 0: os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)\n"
        "for _ in range(2): open_port(sys.argv[1]).close()\n"
        "open_port(sys.argv[1]); os._exit(0)\n"  # as after a crash
    )
    command = [sys.executable, "-P", "-c", code, line.address, *sys.path]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr.decode()


@pytest.mark.hazard(16)
def test_dtr_and_rts_are_low_before_the_port_opens(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool, bool]] = []
    really_open = serial.Serial.open

    def watched(port: serial.Serial) -> None:
        seen.append((port.is_open, port.dtr, port.rts))
        really_open(port)

    monkeypatch.setattr(serial.Serial, "open", watched)
    open_port(line.address).close()
    assert seen == [(False, False, False)]


def test_an_unplugged_port_is_lost_in_the_midst_of_reading(line: Line) -> None:
    port = open_port(line.address)
    lost: list[Exception] = []

    def read() -> None:
        try:
            while True:
                port.read()
        except Exception as error:
            lost.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.02)
    line.unplug()
    reader.join(1.0)
    port.close()
    assert [type(error) for error in lost] == [PortLost]


def test_an_unplugged_port_is_lost_in_the_midst_of_writing(line: Line) -> None:
    port = open_port(line.address)
    lost: list[Exception] = []

    def write() -> None:
        try:
            while True:
                port.write(bytes(4096))
        except Exception as error:
            lost.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.05)
    line.unplug()
    writer.join(2.0)
    port.close()
    assert [type(error) for error in lost] == [PortLost]


def test_a_port_closed_under_its_reader_is_lost(line: Line) -> None:
    port = open_port(line.address)
    lost: list[Exception] = []

    def read() -> None:
        try:
            while True:
                port.read()
        except Exception as error:
            lost.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.02)
    port.close()
    reader.join(1.0)
    assert [type(error) for error in lost] == [PortLost]


def test_a_line_that_takes_nothing_is_lost_within_a_second_or_so(line: Line) -> None:
    port = open_port(line.address)
    began_s = time.monotonic()
    with pytest.raises(PortLost, match="takes nothing"):
        port.write(bytes(1_000_000))
    assert time.monotonic() - began_s < 3.0
    port.close()


@pytest.mark.hazard(31)
def test_a_blocked_write_holds_nobody_up_and_a_stop_overtakes_drives(line: Line) -> None:
    listener = Listener()
    port = ThreadedPort(open_port(line.address), listener, SystemClock())
    try:
        port.send(Output([], [bytes([1]) * 100_000], None))  # more than the line holds
        time.sleep(0.05)
        began_s = time.monotonic()
        for _ in range(200):
            port.send(Output([], [], b"D" * 20))
        port.send(Output([b"S"], [], None))
        assert time.monotonic() - began_s < 0.05
        received = b""
        while len(received) < 100_001:
            received += os.read(line.master, 65_536)
        # Of 200 Drives not one was queued, and the Stop dropped the newest.
        assert received == bytes([1]) * 100_000 + b"S"
        assert listener.drives == []
    finally:
        port.close()
        port.join(1.0)


@pytest.mark.hazard(9)
def test_the_newest_drive_replaces_one_that_waits(line: Line) -> None:
    listener = Listener()
    port = ThreadedPort(open_port(line.address), listener, SystemClock())
    port.send(Output([], [bytes(100_000)], None))
    time.sleep(0.05)
    for number in range(1, 10):
        port.send(Output([], [], b"drive %d;" % number))
    received = b""
    while not received.endswith(b";"):
        received += os.read(line.master, 65_536)
    assert received.lstrip(b"\0") == b"drive 9;"
    wait_for(lambda: listener.drives, 1.0, "note of the written Drive")
    assert len(listener.drives) == 1
    port.close()
    port.join(1.0)


@pytest.mark.hazard(9, 31)
@pytest.mark.parametrize(
    ("last", "written"),
    [
        (Output([], [], None), b"drive 2;ack 3;ack 4;"),
        (Output([], [b"ack 5;"], b"drive 6;"), b"ack 3;ack 4;ack 5;drive 6;"),
        (Output([b"stop;"], [], None), b"stop;ack 3;ack 4;"),
    ],
)
def test_what_waits_is_written_as_it_was_numbered(line: Line, last: Output, written: bytes) -> None:
    """A device drops what is older than the last that it took; a Stop has no place in that."""
    port = ThreadedPort(open_port(line.address), Listener(), SystemClock())
    port.send(Output([], [bytes(100_000)], None))
    time.sleep(0.05)
    for output in (
        Output([], [], b"drive 1;"),
        Output([], [], b"drive 2;"),
        Output([], [b"ack 3;"], None),
        Output([], [b"ack 4;"], None),
        last,
    ):
        port.send(output)
    received = b""
    while len(received) < 100_000 + len(written):
        received += os.read(line.master, 65_536)
    assert received.lstrip(b"\0") == written
    port.close()
    port.join(1.0)


def test_what_was_handed_over_before_the_close_is_still_written(line: Line) -> None:
    port = ThreadedPort(open_port(line.address), Listener(), SystemClock())
    port.send(Output([b"stop"], [], None))
    port.close()
    port.join(1.0)
    assert os.read(line.master, 100) == b"stop"
    open_port(line.address).close()  # let go of, so that somebody else may have it


def test_the_end_of_a_port_is_told_once_and_not_after_closing(line: Line) -> None:
    lost, closed = Listener(), Listener()
    port = ThreadedPort(open_port(line.address), lost, SystemClock())
    line.unplug()
    wait_for(lambda: lost.ends, 1.0, "end of the port")
    port.send(Output([b"stop"], [], None))
    port.join(1.0)
    assert len(lost.ends) == 1
    another = Line()
    port = ThreadedPort(open_port(another.address), closed, SystemClock())
    port.close()
    another.close()
    port.join(1.0)
    assert closed.ends == []


def test_no_thread_and_no_descriptor_is_left(line: Line) -> None:
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3):
        port = ThreadedPort(open_port(line.address), Listener(), SystemClock())
        port.close()
        port.join(1.0)
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


# Sockets.


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5.0)
        yield server


def test_a_socket_hands_out_whole_bursts_and_sends_at_once(server: socket.socket) -> None:
    port = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
    assert isinstance(port, SocketPort)
    assert port._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    client, _ = server.accept()
    with client:
        client.sendall(bytes(200))
        time.sleep(0.02)
        assert port.read() == bytes(200)
        assert port.read() == b""
        port.write(b"drive")
        assert client.recv(100) == b"drive"
    with pytest.raises(PortLost, match="the other end closed it"):
        port.read()
    port.close()
    port.close()


def test_a_socket_that_takes_nothing_is_lost_within_a_second_or_so(server: socket.socket) -> None:
    port = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
    client, _ = server.accept()
    began_s = time.monotonic()
    with client, pytest.raises(PortLost):
        port.write(bytes(50_000_000))
    assert time.monotonic() - began_s < 3.0
    port.close()


def test_a_socket_closed_under_its_reader_is_lost(server: socket.socket) -> None:
    listener = Listener()
    port = SocketPort(f"socket://127.0.0.1:{server.getsockname()[1]}", 0.05, 1.0)
    threaded = ThreadedPort(port, listener, SystemClock())
    client, _ = server.accept()
    client.close()
    wait_for(lambda: listener.ends, 1.0, "end of the port")
    threaded.join(1.0)
    with pytest.raises(PortLost):
        port.read()


# Addresses.


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("", UsageError, "expected one of"),
        ("ttyUSB0", UsageError, "expected one of"),
        ("usb:/dev/ttyUSB0", UsageError, "expected one of"),
        ("native:", UsageError, "names a port"),
        ("native:/dev/ttyNOT_THERE", PortLost, "there is no such port"),
        ("native:/dev/null", PortLost, "no serial port|does not open"),
        ("native:/tmp", PortLost, "no serial port"),
        ("native:/dev/ttyS0?baud=fast", UsageError, "baud must be a whole number"),
        ("native:/dev/ttyS0?baud=0", UsageError, "baud must be a whole number"),
        ("native:/dev/ttyS0?baud=1&baud=2", UsageError, "given twice"),
        ("native:/dev/ttyS0?parity=even", UsageError, "unknown option 'parity'"),
        ("native:/dev/ttyS0?baud", UsageError, "expected .name=value"),
        ("native:socket://", UsageError, "expected socket://HOST:PORT"),
        ("native:socket://127.0.0.1", UsageError, "expected socket://HOST:PORT"),
        ("native:socket://127.0.0.1:port", UsageError, "expected socket://HOST:PORT"),
        ("native:socket://127.0.0.1:99999", UsageError, "expected socket://HOST:PORT"),
        ("native:socket://127.0.0.1:1?x=1", UsageError, "expected socket://HOST:PORT"),
        ("native:socket://127.0.0.1:1", PortLost, "no connection"),
        ("native:socket://" + "a" * 300 + ":1", PortLost, "no connection"),
        ("native:rfc2217://127.0.0.1:1", PortLost, "does not open"),
        ("native:rfc2217://", PortLost, "does not open"),
        ("native:rfc2217://nowhere", PortLost, "does not open"),
        ("native:rfc2217://127.0.0.1:1?ign_set_control", PortLost, "does not open"),
        ("native:carrier-pigeon://roof", PortLost, "not known"),
        ("native:cp2110://x", PortLost, "does not open"),
        ("sim:/dev/ttyS0", UsageError, "expected sim: or sim:"),
        ("sim:?colour=blue", UsageError, "colour"),
    ],
)
def test_an_address_that_does_not_open_is_one_clear_message(
    url: str, kind: type[EstimError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        open_transport(url)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_port_is_raw_whatever_it_was_before(line: Line) -> None:
    attributes = termios.tcgetattr(line.slave)
    attributes[3] |= termios.ICANON | termios.ECHO | termios.ISIG
    termios.tcsetattr(line.slave, termios.TCSANOW, attributes)
    port = open_port(line.address)
    os.write(line.master, b"\x03\x1a\x04\r")  # would be signals, an end of file, a new line
    assert port.read() == b"\x03\x1a\x04\r"
    port.close()


def test_a_simulator_is_ended_with_its_line(tmp_path: Path) -> None:
    port = open_transport("sim:")
    process = port._simulator.process  # type: ignore[attr-defined]
    port.close()
    assert process.wait(5.0) == 0


def test_serial_port_says_what_it_opened(line: Line) -> None:
    port = open_port(f"{line.address}?baud=500000")
    assert isinstance(port, SerialPort)
    assert port.address == line.address
    assert port._serial.baudrate == 500_000
    port.close()
