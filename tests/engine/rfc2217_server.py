"""A serial port offered to the network as RFC 2217, by pyserial's own `PortManager`."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

import serial
from serial.rfc2217 import PortManager

_CHUNK = 4096


class _WithoutModemLines(serial.Serial):
    """A pseudo-terminal: the system refuses to tell or to set what a wire would carry."""

    cts = dsr = ri = cd = False

    def _update_dtr_state(self) -> None:
        pass

    def _update_rts_state(self) -> None:
        pass


class Rfc2217Server:
    """One port of this machine behind one TCP port on loopback; one client at a time."""

    def __init__(self, path: str) -> None:
        self._serial = _WithoutModemLines(path, timeout=0.02)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Rfc2217Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)
        self._thread.join(5.0)
        self._listener.close()
        self._serial.close()

    def write(self, sending: bytes) -> None:
        """Take what the port manager answers by itself; it knows a connection by this name."""
        assert self._client is not None
        with contextlib.suppress(OSError):
            self._client.sendall(sending)

    def _serve(self) -> None:
        while True:
            try:
                self._client, _ = self._listener.accept()
            except OSError:
                return
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            manager = PortManager(self._serial, self)  # type: ignore[arg-type]  # as its example does
            ended = threading.Event()
            outward = threading.Thread(target=self._pass_on, args=(manager, ended), daemon=True)
            outward.start()
            with contextlib.suppress(OSError):
                while received := self._client.recv(_CHUNK):
                    self._serial.write(b"".join(manager.filter(received)))
            ended.set()
            outward.join(5.0)
            self._client.close()

    def _pass_on(self, manager: PortManager, ended: threading.Event) -> None:
        while not ended.is_set():
            received = self._serial.read(self._serial.in_waiting or 1)
            if received:
                self.write(b"".join(manager.escape(received)))
