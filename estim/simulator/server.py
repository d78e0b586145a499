"""Where hosts connect: a pseudo-terminal, or a TCP port of this machine alone.

Rules:
1. Nothing here blocks: what cannot be written now is kept, and no more is taken from the device
   until it has gone.
2. One client at a time.
"""

from __future__ import annotations

import os
import pty
import socket
import tty
from typing import Protocol

from estim.errors import UsageError

READ_SIZE = 4096
LOOPBACK = "127.0.0.1"


class Endpoint(Protocol):
    """One place where a host connects."""

    address: str

    def readers(self) -> list[int]:
        """Return the descriptors to watch for reading."""

    def writers(self) -> list[int]:
        """Return the descriptors to watch until the unsent bytes have gone."""

    def read(self) -> bytes:
        """Return what has come in, or nothing."""

    @property
    def is_idle(self) -> bool:
        """Tell whether everything written so far has gone."""

    def write(self, output: bytes) -> None:
        """Send bytes, as many as go now; the rest is kept."""

    def close(self) -> None:
        """Give up the place."""


class PtyEndpoint:
    """Offer a pseudo-terminal."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        # Held open, so that the master does not report a hang-up between two clients.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.address = os.ttyname(self._slave)
        self._unsent = b""

    def readers(self) -> list[int]:
        return [self._master]

    def writers(self) -> list[int]:
        return [self._master] if self._unsent else []

    def read(self) -> bytes:
        try:
            return os.read(self._master, READ_SIZE)
        except BlockingIOError:
            return b""

    @property
    def is_idle(self) -> bool:
        return not self._unsent

    def write(self, output: bytes) -> None:
        self._unsent += output
        if self._unsent:
            try:
                self._unsent = self._unsent[os.write(self._master, self._unsent) :]
            except BlockingIOError:
                return

    def close(self) -> None:
        os.close(self._master)
        os.close(self._slave)


class TcpEndpoint:
    """Offer a TCP port on the loopback address; a second client is turned away."""

    def __init__(self, port: int) -> None:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((LOOPBACK, port))
        except OSError as error:
            self._listener.close()
            raise UsageError(f"--tcp {port}: cannot listen there: {error.strerror}") from error
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self.address = f"socket://{LOOPBACK}:{self._listener.getsockname()[1]}"
        self._unsent = b""

    def readers(self) -> list[int]:
        sockets = [self._listener] if self._client is None else [self._listener, self._client]
        return [each.fileno() for each in sockets]

    def writers(self) -> list[int]:
        return [self._client.fileno()] if self._client is not None and self._unsent else []

    def read(self) -> bytes:
        # A client that has gone makes room for the next before that one is looked at.
        received = self._receive()
        self._accept()
        return received

    @property
    def is_idle(self) -> bool:
        return not self._unsent

    def write(self, output: bytes) -> None:
        if self._client is None:
            # As on a serial line where nobody listens.
            return
        self._unsent += output
        if self._unsent:
            try:
                self._unsent = self._unsent[self._client.send(self._unsent) :]
            except BlockingIOError:
                return
            except OSError:
                self._drop_client()

    def close(self) -> None:
        self._drop_client()
        self._listener.close()

    def _receive(self) -> bytes:
        if self._client is None:
            return b""
        try:
            received = self._client.recv(READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError:
            received = b""
        if not received:
            self._drop_client()
        return received

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if self._client is not None:
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None
        self._unsent = b""
