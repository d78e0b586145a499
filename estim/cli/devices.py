"""`estim devices`: what a session could be run on.

Rules:
1. Ports are listed, never opened; only `--probe` asks, and it writes to no port whose USB id Estim
   does not know: what hangs there might be anything. A URL given with it is asked in any case.
"""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from dataclasses import asdict, dataclass
from pathlib import Path

from serial.tools import list_ports

from estim.cli.arguments import whole
from estim.cli.console import complain, say_json, say_table
from estim.clock import SystemClock
from estim.drivers.probe import probe
from estim.drivers.registry import USB_IDS, driver_name
from estim.errors import EstimError, PortLost, UsageError
from estim.prepare import places, station
from estim.units import US_PER_S

SCHEMA = "estim.device/1"
DRIVER = "native"
SIMULATOR_URL = "sim:"
SIMULATOR_SERIAL = "SIM-0001"
STABLE_NAMES = Path("/dev/serial/by-id")
WAIT_MAX_S = 3600
ASK_AGAIN_S = 0.5
_NOTHING_KNOWN = "n/a"  # pyserial's words


@dataclass(frozen=True, slots=True)
class Port:
    """One serial port, as the system describes it; None where it says nothing.

    Attributes:
        url: what a session is given, by the name that stays where the system has one.
        port: the system's own name, which may change with the next plug.
        is_known: its USB id is one that a driver knows.
    """

    url: str
    port: str
    description: str
    usb_id: str | None
    serial_number: str | None
    manufacturer: str | None
    product: str | None
    is_accessible: bool
    is_known: bool


def run(arguments: Namespace) -> int:
    """List the ports and the simulator; say what to do about ports that may not be opened.

    Raises:
        UsageError: a URL makes no sense.
        PortLost: with --wait: one of them did not answer in time.
    """
    for url in arguments.url:
        driver_name(url)
    if arguments.wait is not None:
        _wait(arguments.url, whole("--wait", arguments.wait, 1, WAIT_MAX_S))
    ports = serial_ports()
    asked = arguments.probe or bool(arguments.url)
    known = [port.url for port in ports if port.is_known] if arguments.probe else []
    answers = _ask([*known, *arguments.url])
    if arguments.json:
        for port in ports:
            told = {"answer": answers.get(port.url)} if asked else {}
            say_json(SCHEMA, **asdict(port), station=_station(port.serial_number), **told)
        for url in arguments.url:
            say_json(SCHEMA, url=url, answer=answers[url])
        simulated = _station(SIMULATOR_SERIAL)
        say_json(SCHEMA, url=SIMULATOR_URL, description="the built-in simulator", station=simulated)
    else:
        _say_table(ports, arguments.url, answers, asked)
    for port in ports:
        if not port.is_accessible:
            complain(f"warning: {port.port}: access denied; {access_remedy(port.port)}")
    return 0


def _say_table(
    ports: list[Port], urls: list[str], answers: dict[str, str], has_asked: bool
) -> None:
    rows = [
        (
            port.url,
            port.description,
            port.usb_id or "",
            port.serial_number or "",
            "ok" if port.is_accessible else "denied",
            answers.get(port.url, "not asked") if has_asked else _station(port.serial_number),
        )
        for port in ports
    ]
    rows += [(url, "", "", "", "", answers[url]) for url in urls]
    simulator = (SIMULATOR_URL, "the built-in simulator", "", SIMULATOR_SERIAL, "ok")
    rows.append((*simulator, "" if has_asked else _station(SIMULATOR_SERIAL)))
    last = "answer" if has_asked else "station"
    say_table(
        ("url", "description", "usb id", "serial number", "access", last),
        rows,
        giving=("usb id",),
        folding=(last, "description"),
    )


def _wait(urls: list[str], wait_s: int) -> None:
    """Return once every URL answers; what is being flashed or boots comes and goes meanwhile."""
    if not urls:
        raise UsageError("--wait: expected a URL to wait for")
    clock = SystemClock()
    until_us = clock.now_us() + wait_s * US_PER_S
    for url in urls:
        while True:
            try:
                probe(_with_load(url))
                break
            except EstimError as error:
                if isinstance(error, UsageError):
                    raise
                if clock.now_us() >= until_us:
                    raise PortLost(f"{url}: no answer within {wait_s} s: {error}") from None
            time.sleep(ASK_AGAIN_S)


def _ask(urls: list[str]) -> dict[str, str]:
    """Ask each who it is; return the answer, or why there is none, in words."""
    answers = {}
    for url in urls:
        try:
            identity = probe(_with_load(url)).identity
        except EstimError as error:
            answers[url] = str(error)
        else:
            answers[url] = f"{identity.model} {identity.serial_number}"
    return answers


def _with_load(url: str) -> str:
    """Return the URL of a PulsePal with some load: who it is does not depend on it."""
    return f"{url}?load=1000" if url.startswith("pulsepal:") and "load=" not in url else url


def serial_ports() -> list[Port]:
    """Return the serial ports of this computer, by name."""
    stable = _stable_names()
    return [
        Port(
            url=f"{_driver_of(found.vid, found.pid)}:{stable.get(found.device, found.device)}",
            port=found.device,
            description="" if found.description == _NOTHING_KNOWN else found.description or "",
            usb_id=None if found.vid is None else f"{found.vid:04x}:{found.pid:04x}",
            serial_number=found.serial_number,
            manufacturer=found.manufacturer,
            product=found.product,
            is_accessible=is_accessible(found.device),
            is_known=_driver_of(found.vid, found.pid) != DRIVER,
        )
        for found in sorted(list_ports.comports())
    ]


def _driver_of(vid: int | None, pid: int | None) -> str:
    return USB_IDS.get(f"{vid or 0:04x}:{pid or 0:04x}", DRIVER)


def _stable_names() -> dict[str, str]:
    """Return the name of each port that stays from plug to plug, where the system keeps one."""
    names = sorted(STABLE_NAMES.iterdir()) if STABLE_NAMES.is_dir() else []
    return {str(name.resolve()): str(name) for name in reversed(names)}


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
