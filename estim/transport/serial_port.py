"""Open anything that pyserial opens: a port's name, socket://, rfc2217://.

Rules:
1. DTR and RTS are low before the port opens, since raising them resets some boards.
2. A port has one owner: flock and TIOCEXCL where the system has them.
3. The read time-out is fixed: changing it would reconfigure an rfc2217 port each time.
4. Whatever goes wrong is `PortLost`; pyserial's and the system's own exceptions stay in here.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from urllib.parse import parse_qsl

import serial

from estim.errors import PortLost, UsageError

READ_TIMEOUT_S = 0.05
DEFAULT_BAUD = 115_200
_BAUD_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How a driver wants its line set; DTR and RTS are low unless it says otherwise."""

    baud: int = DEFAULT_BAUD
    stop_bits: int = 1
    has_flow_control: bool = False
    dtr: bool = False
    rts: bool = False


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
            self._serial.open()
            self._claim()
        except (OSError, ValueError, serial.SerialException) as error:
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
        except (
            Exception
        ) as error:  # pyserial leaks TypeError and termios.error when a port closes under it
            raise PortLost(f"{self.address}: the port is gone ({error})") from None

    def write(self, sending: bytes) -> None:
        """Write all bytes, waiting where the line is full.

        Raises:
            PortLost: the port is gone.
        """
        try:
            self._serial.write(sending)
        except Exception as error:  # as in `read`
            raise PortLost(f"{self.address}: the port is gone ({error})") from None

    def close(self) -> None:
        """Let go of the port; closing twice does nothing."""
        with contextlib.suppress(Exception):
            self._serial.close()

    def _claim(self) -> None:
        """Keep other programs off this port, where the system can (rule 2)."""
        try:
            import fcntl
            import termios

            fcntl.ioctl(self._serial.fileno(), termios.TIOCEXCL)
        except (ImportError, OSError, AttributeError):
            return  # a socket, or a system without it


def parse_address(address: str) -> tuple[str, dict[str, str]]:
    """Split `?baud=500000` and the like off an address.

    Raises:
        UsageError: the query cannot be read.
    """
    plain, _, query = address.partition("?")
    try:
        pairs = parse_qsl(query, strict_parsing=True) if query else []
    except ValueError:
        raise UsageError(f"{address}: expected ?name=value&name=value") from None
    if len(dict(pairs)) != len(pairs):
        raise UsageError(f"{address}: an option is given twice")
    return plain, dict(pairs)


def open_serial(address: str) -> SerialPort:
    """Open an address such as `/dev/ttyUSB0?baud=500000`.

    Raises:
        UsageError: an option is unknown or not a number.
        PortLost: the port does not open.
    """
    plain, options = parse_address(address)
    baud_text = options.pop("baud", str(DEFAULT_BAUD))
    if (
        "://" in plain and options
    ):  # pyserial has options of its own for these, such as ign_set_control
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
    return SerialPort(plain, LineSettings(baud=int(baud_text)))


def _explain(address: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    text = str(error)
    if number == 2 or "No such file" in text:
        return f"{address}: there is no such port; `estim devices` lists what there is"
    if number == 13 or "Permission denied" in text:
        return f"{address}: access denied; join the group that owns the port (often dialout)"
    if number in (11, 16) or "exclusively lock" in text or "busy" in text.lower():
        return f"{address}: the port is in use by another program"
    return f"{address}: the port does not open ({text})"
