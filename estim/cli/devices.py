"""`estim devices`: what a session could be run on. Ports are listed, never opened."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from dataclasses import asdict, dataclass

from serial.tools import list_ports

from estim.cli.console import complain, say_json, say_table
from estim.clock import SystemClock
from estim.prepare import places, station

SCHEMA = "estim.device/1"
DRIVER = "native"
SIMULATOR_URL = "sim:"
SIMULATOR_SERIAL = "SIM-0001"
_NOTHING_KNOWN = "n/a"  # pyserial's words


@dataclass(frozen=True, slots=True)
class Port:
    """One serial port, as the system describes it; None where it says nothing."""

    url: str
    port: str
    description: str
    usb_id: str | None
    serial_number: str | None
    manufacturer: str | None
    product: str | None
    is_accessible: bool


def run(arguments: Namespace) -> int:
    """List the ports and the simulator; say what to do about ports that may not be opened."""
    ports = serial_ports()
    if arguments.json:
        for port in ports:
            say_json(SCHEMA, **asdict(port), station=_station(port.serial_number))
        simulated = _station(SIMULATOR_SERIAL)
        say_json(SCHEMA, url=SIMULATOR_URL, description="the built-in simulator", station=simulated)
    else:
        rows = [
            (
                port.url,
                port.description,
                port.usb_id or "",
                port.serial_number or "",
                "ok" if port.is_accessible else "denied",
                _station(port.serial_number),
            )
            for port in ports
        ]
        simulator = (SIMULATOR_URL, "the built-in simulator", "", SIMULATOR_SERIAL, "ok")
        rows.append((*simulator, _station(SIMULATOR_SERIAL)))
        say_table(
            ("url", "description", "usb id", "serial number", "access", "station"),
            rows,
            giving=("usb id",),
            folding=("station", "description"),
        )
    for port in ports:
        if not port.is_accessible:
            complain(f"warning: {port.port}: access denied; {access_remedy(port.port)}")
    return 0


def serial_ports() -> list[Port]:
    """Return the serial ports of this computer, by name."""
    return [
        Port(
            url=f"{DRIVER}:{found.device}",
            port=found.device,
            description="" if found.description == _NOTHING_KNOWN else found.description or "",
            usb_id=None if found.vid is None else f"{found.vid:04x}:{found.pid:04x}",
            serial_number=found.serial_number,
            manufacturer=found.manufacturer,
            product=found.product,
            is_accessible=is_accessible(found.device),
        )
        for found in sorted(list_ports.comports())
    ]


def _station(serial_number: str | None) -> str:
    """Return what the station's register says of a device, '' for nothing.

    A port is never opened here, so this is the serial number of the USB line: a device that has
    another one of its own is looked up when it is connected.
    """
    if serial_number is None:
        return ""
    today = SystemClock().wall().date()
    found = station.standing(places.configuration_folder(), serial_number, today)
    return "" if found is None else found.words


def is_accessible(port: str) -> bool:
    """Tell whether this user may open a port, where the system lets that be asked."""
    return sys.platform == "win32" or os.access(port, os.R_OK | os.W_OK)


def access_remedy(port: str) -> str:
    """Say how this user comes to be allowed to open a port."""
    group = _owning_group(port)
    if group is None:
        return "ask whoever looks after this computer for access to it"
    return f"run `sudo usermod -aG {group} $USER`, then log out and in again"


def _owning_group(port: str) -> str | None:
    """Return the group that may use a port; None where there is none but the superuser's."""
    try:
        import grp

        status = os.stat(port)
        name = grp.getgrgid(status.st_gid).gr_name
    except (ImportError, OSError, KeyError):
        return None
    return name if status.st_mode & 0o060 == 0o060 and status.st_gid else None
