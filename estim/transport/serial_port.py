"""Open a port by name, or anything else that pyserial opens, such as rfc2217://.

Rules:
1. DTR and RTS are low before the port opens, since raising them resets some boards.
2. A port has one owner: flock and TIOCEXCL where the system has them.
3. The read time-out is fixed: changing it would reconfigure an rfc2217 port each time.
4. A line that takes nothing for `WRITE_TIMEOUT_S` is lost: no thread waits here for ever.
5. Whatever goes wrong is `PortLost`; pyserial's and the system's own exceptions stay in here.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import replace
from urllib.parse import parse_qsl

import serial

from estim.errors import PortLost, UsageError
from estim.transport import socket_port
from estim.transport.line_settings import LineSettings
from estim.transport.socket_port import SocketPort

READ_TIMEOUT_S = 0.05
WRITE_TIMEOUT_S = 1.0
_BAUD_MAX = 4_000_000


class SerialPort:
    """One open line, owned by this process alone."""

    def __init__(self, address: str, settings: LineSettings) -> None:
        self.address = address
        try:
            self._serial = serial.serial_for_url(address, do_not_open=True)
            self._serial.baudrate = settings.baud
            self._serial.stopbits = settings.stop_bits
            self._serial.rtscts = settings.has_flow_control
            self._serial.timeout = READ_TIMEOUT_S
            self._serial.dtr = settings.dtr
            self._serial.rts = settings.rts
            if "://" not in address:
                self._serial.exclusive = True
                self._serial.write_timeout = WRITE_TIMEOUT_S  # rfc2217 has one of its own, of 5 s
            self._serial.open()
            self._claim()
        except Exception as error:  # a malformed URL makes pyserial raise almost anything
            raise PortLost(_explain(address, error)) from None

    def read(self) -> bytes:
        """Return what has come in, or b'' after the read time-out.

        Raises:
            PortLost: the port is gone.
        """
        try:
            first: bytes = self._serial.read(1)
            waiting = self._serial.in_waiting if first else 0
            return first + self._serial.read(waiting) if waiting else first
        except Exception as error:  # TypeError and termios.error when a port closes under it
            raise PortLost(f"{self.address}: the port is gone") from error

    def write(self, sending: bytes) -> None:
        """Write all bytes, waiting where the line is full.

        Raises:
            PortLost: the port is gone, or takes nothing.
        """
        try:
            self._serial.write(sending)
        except serial.SerialTimeoutException:
            raise PortLost(f"{self.address}: the port takes nothing any more") from None
        except Exception as error:  # as in `read`
            raise PortLost(f"{self.address}: the port is gone") from error

    def close(self) -> None:
        """Let go of the port; closing twice does nothing."""
        with contextlib.suppress(Exception):
            self._serial.close()

    def _claim(self) -> None:
        """Keep other programs off this port, where the system can (rule 2).

        Not off a pseudo-terminal: there the claim outlives its owner for as long as the other end
        holds it open, and nobody could connect again.
        """
        if os.path.realpath(self.address).startswith("/dev/pts/"):
            return
        try:
            import fcntl
            import termios

            fcntl.ioctl(self._serial.fileno(), termios.TIOCEXCL)
        except (ImportError, OSError, AttributeError):
            return  # not a port of this machine, or a system without it


def parse_address(address: str) -> tuple[str, dict[str, str]]:
    """Split `?baud=500000` and the like off an address.

    pyserial's own addresses have options without a value too, such as `?ign_set_control`.

    Raises:
        UsageError: the query cannot be read.
    """
    plain, _, query = address.partition("?")
    try:
        flags = [part for part in query.split("&") if "://" in plain and part.isidentifier()]
        rest = "&".join(part for part in query.split("&") if part not in flags)
        pairs = [(flag, "") for flag in flags]
        pairs += parse_qsl(rest, strict_parsing=True) if rest else []
    except ValueError:
        raise UsageError(f"{address}: expected ?name=value&name=value") from None
    if len(dict(pairs)) != len(pairs):
        raise UsageError(f"{address}: an option is given twice")
    return plain, dict(pairs)


_DEFAULT = LineSettings()


def open_port(address: str, settings: LineSettings = _DEFAULT) -> SerialPort | SocketPort:
    """Open an address such as `/dev/ttyUSB0?baud=500000` or `socket://rig:4000`.

    `settings` are the driver's own; the address may say another baud rate.

    Raises:
        UsageError: the address makes no sense, an option is unknown or not a number.
        PortLost: the port does not open.
    """
    if address.startswith(socket_port.SCHEME):
        return SocketPort(address, READ_TIMEOUT_S, WRITE_TIMEOUT_S)
    plain, options = parse_address(address)
    baud_text = options.pop("baud", str(settings.baud))
    if "://" in plain and options:  # pyserial's own for these, such as ign_set_control
        plain += "?" + "&".join(
            f"{name}={value}" if value else name for name, value in options.items()
        )
        options = {}
    if options:
        raise UsageError(f"{address}: unknown option {sorted(options)[0]!r}, expected baud")
    if not (baud_text.isascii() and baud_text.isdigit() and 0 < int(baud_text) <= _BAUD_MAX):
        raise UsageError(f"{address}: baud must be a whole number up to {_BAUD_MAX}")
    if not plain:
        raise UsageError("a device URL names a port, for example native:/dev/ttyUSB0")
    return SerialPort(plain, replace(settings, baud=int(baud_text)))


def _explain(address: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return f"{address}: there is no such port; `estim devices` lists what there is"
    if number in (errno.EACCES, errno.EPERM):
        return f"{address}: access denied; join the group that owns the port (often dialout)"
    if number in (errno.EAGAIN, errno.EBUSY):
        return f"{address}: the port is in use by another program"
    if isinstance(error, OSError) and number is not None:
        return f"{address}: this is no serial port ({os.strerror(number)})"
    return f"{address}: the port does not open ({error})"
