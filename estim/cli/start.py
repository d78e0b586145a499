"""`estim` alone: the terminal interface, or a demo session where there is no terminal."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from estim.cli.console import is_attended

if TYPE_CHECKING:
    from estim.tui.app import FoundPort, Options


def run(arguments: Namespace) -> int:
    """Open the interface for a person; run the demo session for anything else."""
    if is_attended():
        from estim.tui import app

        return app.run(options(arguments))
    from estim.cli import run as headless

    return headless.demo()


def options(arguments: Namespace) -> Options:
    """Return what this station chose for the interface; what was typed wins.

    Raises:
        UsageError: `interface.toml` is not what it should be.
    """
    from estim.prepare import places
    from estim.tui.app import Options

    found = Options(list_ports=_found_ports)
    folder = places.configuration_folder()
    if (folder / places.INTERFACE_FILE).exists():
        # Only then: the models that check it take longer to load than the first paint may.
        from estim.prepare.interface import load_interface

        chosen = load_interface(folder)
        found = replace(
            found,
            theme=chosen.theme,
            is_reduced_motion=chosen.reduced_motion,
            is_prompt_heard=chosen.prompt_bell,
        )
    return replace(
        found,
        theme=arguments.theme or found.theme,
        is_reduced_motion=arguments.reduced_motion or found.is_reduced_motion,
    )


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
