"""`estim simulate`: the virtual stimulator as a process of its own."""

from __future__ import annotations

from argparse import Namespace

from estim.cli.arguments import whole
from estim.simulator.__main__ import PORT_MAX, main

FLAGS = ("model", "load", "faults", "trace", "tcp", "channels", "serial", "seed", "patient_stop")


def run(arguments: Namespace) -> int:
    """Hand over to the simulator, which reads the other values itself."""
    if arguments.tcp is not None:
        whole("--tcp", arguments.tcp, 0, PORT_MAX)
    given = ((flag, getattr(arguments, flag)) for flag in FLAGS)
    return main([f"--{flag.replace('_', '-')}={text}" for flag, text in given if text is not None])
