"""A TCP peer that is none: it drips, floods, negotiates for ever or goes, and nobody waits for it.

`identify` opens the port, shakes hands and gives up in words. What a peer does to a running
session: tests/engine/test_networks.py.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from estim import api
from estim.errors import EstimError

pytestmark = pytest.mark.long  # real time-outs

WITHIN_S = 15.0
ENGINE_MAX_KB = 160 * 1024
"""Resident memory of the engine that spoke with the peer; one that speaks with none has 40 MB."""
IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
COM_PORT_OPTION = 44

Script = Callable[[socket.socket, threading.Event], None]


def silence(peer: socket.socket, ended: threading.Event) -> None:
    ended.wait(WITHIN_S)


def goodbye(peer: socket.socket, ended: threading.Event) -> None:
    peer.close()


def drip(peer: socket.socket, ended: threading.Event) -> None:
    while not ended.wait(0.02):
        peer.sendall(b"\x01")


def flood(peer: socket.socket, ended: threading.Event) -> None:
    while not ended.is_set():
        peer.sendall(b"\x55" * 65_536)


def empty_frames(peer: socket.socket, ended: threading.Event) -> None:
    while not ended.is_set():
        peer.sendall(b"\x00" * 65_536)


def echo(peer: socket.socket, ended: threading.Event) -> None:
    while not ended.is_set():
        peer.sendall(peer.recv(4096) or b"\0")


def banner(peer: socket.socket, ended: threading.Event) -> None:
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n\x1b[2J" * 100)
    ended.wait(WITHIN_S)


def negotiates_for_ever(peer: socket.socket, ended: threading.Event) -> None:
    while not ended.wait(0.005):
        peer.sendall(bytes((IAC, DO, 1, IAC, WILL, 3, IAC, WONT, 44, IAC, DONT, 0)))


def giant_option(peer: socket.socket, ended: threading.Event) -> None:
    peer.sendall(bytes((IAC, WILL, COM_PORT_OPTION, IAC, DO, COM_PORT_OPTION, IAC, SB, 44)))
    while not ended.is_set():
        peer.sendall(b"\x07" * 65_536)


def agrees_then_floods(peer: socket.socket, ended: threading.Event) -> None:
    for option in (0, 1, 3, COM_PORT_OPTION):
        peer.sendall(bytes((IAC, WILL, option, IAC, DO, option)))
    while not ended.is_set():
        peer.sendall(bytes((IAC, SB, 44, 101, 0, 0, 37, 128, IAC, SE)) * 100)


SOCKET_SCRIPTS: list[Script] = [silence, goodbye, drip, flood, empty_frames, echo, banner]
RFC2217_SCRIPTS: list[Script] = [
    *SOCKET_SCRIPTS, negotiates_for_ever, giant_option, agrees_then_floods
]  # fmt: skip


class Rogue:
    """Play a script to whoever connects."""

    def __init__(self, script: Script) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(script,), daemon=True)
        self._thread.start()

    def _serve(self, script: Script) -> None:
        with contextlib.suppress(OSError):
            peer, _ = self._listener.accept()
            peer.settimeout(1.0)
            with peer, contextlib.suppress(OSError):
                script(peer, self._ended)

    def close(self) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5.0)
        assert not self._thread.is_alive()


@pytest.fixture
def rogue(request: pytest.FixtureRequest) -> Iterator[Rogue]:
    made = Rogue(request.param)
    yield made
    made.close()


class Largest:
    """Watch how large any engine of this process has grown, 100 times a second."""

    def __init__(self) -> None:
        self.engine_kb = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.01):
            for row in Path("/proc/self/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    for child in row.read_text().split():
                        self.engine_kb = max(self.engine_kb, _resident_kb(child))


def _resident_kb(process: str) -> int:
    with contextlib.suppress(OSError):
        if b"estim.engine" not in Path(f"/proc/{process}/cmdline").read_bytes():
            return 0  # forked, and still as large as this process
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def given_up(url: str) -> str:
    began_s = time.monotonic()
    threads = threading.active_count()
    with Largest() as largest, pytest.raises(EstimError) as caught:
        api.identify(url)
    assert time.monotonic() - began_s < WITHIN_S
    assert 0 < largest.engine_kb < ENGINE_MAX_KB
    words = str(caught.value)
    assert words.isprintable()
    assert len(words) < 500
    deadline_s = time.monotonic() + 5.0
    while threading.active_count() > threads and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert threading.active_count() <= threads, "no thread goes on reading"
    return words


@pytest.mark.parametrize("rogue", SOCKET_SCRIPTS, indirect=True, ids=lambda each: each.__name__)
@pytest.mark.parametrize("driver", ["native", "p24", "pulsepal"])
def test_a_socket_peer_that_is_no_device_is_given_up(rogue: Rogue, driver: str) -> None:
    given_up(f"{driver}:socket://127.0.0.1:{rogue.port}")


@pytest.mark.parametrize("rogue", RFC2217_SCRIPTS, indirect=True, ids=lambda each: each.__name__)
def test_an_rfc2217_peer_that_is_no_device_is_given_up(rogue: Rogue) -> None:
    given_up(f"native:rfc2217://127.0.0.1:{rogue.port}")
