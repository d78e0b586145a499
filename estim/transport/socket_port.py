"""Open `socket://HOST:PORT`: a device behind a TCP port.

pyserial has such a port too, but hands out two bytes at a time, holds small frames back (Nagle) and
waits when it closes.

Rules:
1. A frame leaves when it is written: TCP_NODELAY.
2. Reading and writing have fixed time-outs, so no thread waits here for ever.
3. Whatever goes wrong is `PortLost`.
"""

from __future__ import annotations

import contextlib
import select
import socket
from urllib.parse import urlsplit

from estim.errors import PortLost, UsageError

SCHEME = "socket://"
CONNECT_TIMEOUT_S = 5.0
_READ_SIZE = 4096


class SocketPort:
    """One open connection."""

    def __init__(self, address: str, read_timeout_s: float, write_timeout_s: float) -> None:
        self.address = address
        self._read_timeout_s = read_timeout_s
        host, port = _split(address)
        try:
            self._socket = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(write_timeout_s)
        except (OSError, UnicodeError) as error:
            raise PortLost(
                f"{address}: no connection ({getattr(error, 'strerror', None) or error}); is the "
                "device server running?"
            ) from None

    def read(self) -> bytes:
        """Return what has come in, or b'' after the read time-out.

        Raises:
            PortLost: the connection is gone.
        """
        try:
            readable, _, _ = select.select([self._socket], [], [], self._read_timeout_s)
            if not readable:
                return b""
            received = self._socket.recv(_READ_SIZE)
        except (OSError, ValueError) as error:  # ValueError: closed meanwhile
            raise PortLost(f"{self.address}: the port is gone") from error
        if not received:
            raise PortLost(f"{self.address}: the port is gone (the other end closed it)")
        return received

    def write(self, sending: bytes) -> None:
        """Write all bytes, waiting where the line is full.

        Raises:
            PortLost: the connection is gone, or takes nothing.
        """
        try:
            self._socket.sendall(sending)
        except OSError as error:
            raise PortLost(f"{self.address}: the port is gone") from error

    def close(self) -> None:
        """Let go of the connection; closing twice does nothing."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _split(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.path or parts.query or parts.username is not None:
        raise UsageError(f"{address}: expected socket://HOST:PORT, for example socket://rig:4000")
    return host, port
