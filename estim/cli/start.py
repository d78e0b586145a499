"""`estim` alone: the terminal interface, or a demo session where there is no terminal."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from estim.cli.console import is_attended

if TYPE_CHECKING:
    from estim.tui.app import FoundPort


def run(arguments: Namespace) -> int:
    """Open the interface for a person; run the demo session for anything else."""
    if is_attended():
        from estim.tui import app

        return app.run(app.Options(list_ports=_found_ports))
    from estim.cli import run as headless

    return headless.demo()


def _found_ports() -> tuple[FoundPort, ...]:
    """Return the serial ports as the interface lists them."""
    from estim.cli.devices import serial_ports
    from estim.tui.app import FoundPort

    return tuple(
        FoundPort(
            port.url,
            port.description if port.is_accessible else "access denied",
            port.serial_number,
        )
        for port in serial_ports()
    )
