"""From a device URL to its driver and its line, by name: nothing is loaded that is not named.

`DRIVER:ADDRESS`, where the address is anything pyserial opens; `sim:` is the built-in simulator in
a process of its own. Other packages bring drivers of their own as entry points of the group
`estim.drivers`, each a subclass of `Stimulator`; a name that is built in cannot be taken.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, runtime_checkable

from estim.drivers.base import Stimulator
from estim.errors import EstimError, UsageError
from estim.transport.line_settings import LineSettings

_DRIVERS = {
    "native": "estim.drivers.native:NativeStimulator",
    "p24": "estim.drivers.p24:P24Stimulator",
    "pulsepal": "estim.drivers.pulsepal:PulsePalStimulator",
    "sim": "estim.drivers.native:NativeStimulator",
}
USB_IDS = {
    "0483:5740": "p24",  # STM32 virtual COM port: the P24, and many other things
    "2341:003e": "pulsepal",  # Arduino Due, native port
}
"""What a port's USB id may mean; who is really there, only the device itself can say."""
ENTRY_POINTS = "estim.drivers"
_MANUAL = "manual"
_SIMULATOR = "estim.simulator.spawn:spawn"
_OPEN_PORT = "estim.transport.serial_port:open_port"
_PARSE_ADDRESS = "estim.transport.serial_port:parse_address"


class Transport(Protocol):
    """A line of bytes."""

    def read(self) -> bytes:
        """Return what has come in, b'' for nothing within the read time-out; raise PortLost."""

    def write(self, sending: bytes) -> None:
        """Write all bytes; raise PortLost."""

    def close(self) -> None:
        """Let go."""


@runtime_checkable
class FaultPlayer(Protocol):
    """A line with a simulator at its end."""

    def play_fault(self, line: str) -> None:
        """Let something go wrong now, without waiting; raise UsageError or PortLost."""


def driver_name(url: str) -> str:
    """Return the driver that a URL names.

    Raises:
        UsageError: there is none, or it is unknown.
    """
    name, separator, _ = url.partition(":")
    if name == _MANUAL:
        raise UsageError("manual: has no port to drive it by: it goes with `estim verify` alone")
    if not separator or not (name in _DRIVERS or name in brought()):
        known = ", ".join(f"{driver}:" for driver in sorted({*_DRIVERS, *brought()}))
        raise UsageError(f"device URL {url!r}: expected one of {known} followed by an address")
    return name


def brought() -> dict[str, str]:
    """Return the drivers of other packages, by name; reading their names loads none of them."""
    from importlib.metadata import entry_points

    return {each.name: each.value for each in entry_points(group=ENTRY_POINTS)}


def make_driver(url: str, epoch: int) -> Stimulator:
    """Return a fresh driver for one connection, with a random 64-bit epoch."""
    return driver_class(url)(epoch, url)


def open_transport(url: str) -> Transport:
    """Open the line that a URL names.

    Raises:
        UsageError: the URL makes no sense.
        PortLost: the port does not open.
    """
    name = driver_name(url)
    address = url.partition(":")[2]
    if name == "sim":
        return _SimulatorLine(address)
    driver = driver_class(url)
    return _open_port(_without(driver.options, address), driver.line)


class _SimulatorLine:
    """The pseudo-terminal of a simulator that was started for this session alone."""

    def __init__(self, address: str) -> None:
        plain, options = _load(_PARSE_ADDRESS)(address)
        if plain:
            raise UsageError(f"sim:{address}: expected sim: or sim:?name=value")
        self._simulator = _load(_SIMULATOR)(options)
        try:
            self._port = _open_port(self._simulator.path, Stimulator.line)
        except EstimError:
            self._simulator.let_go()
            raise

    def read(self) -> bytes:
        return self._port.read()

    def write(self, sending: bytes) -> None:
        self._port.write(sending)

    def play_fault(self, line: str) -> None:
        self._simulator.inject(line)

    def close(self) -> None:
        self._port.close()
        self._simulator.let_go()


def _without(options: frozenset[str], address: str) -> str:
    """Return an address without the options that are the driver's own."""
    plain, _, query = address.partition("?")
    rest = [pair for pair in query.split("&") if pair.partition("=")[0] not in options]
    return "?".join([plain, "&".join(rest)] if any(rest) else [plain]) if options else address


def driver_class(url: str) -> type[Stimulator]:
    """Return the driver that a URL names, loaded.

    Raises:
        UsageError: there is none, or it is no driver.
    """
    name = driver_name(url)
    place = _DRIVERS.get(name) or brought()[name]
    try:
        found: object = _load(place)
    except Exception as error:  # somebody else's package: whatever it raises, it is not usable
        raise UsageError(f"{name}: the driver {place} cannot be loaded ({error})") from error
    if not (isinstance(found, type) and issubclass(found, Stimulator)):
        raise UsageError(f"{name}: the driver {place} is no subclass of Stimulator")
    return found


def _open_port(address: str, line: LineSettings) -> Transport:
    """Open a port; pyserial is loaded with the first one."""
    opened: Transport = _load(_OPEN_PORT)(address, line)
    return opened


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
