"""`estim simulate`: a virtual stimulator, or the reference device in C, a process of its own."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

import firmware_protocol
from estim.cli.arguments import whole
from estim.errors import UsageError
from estim.simulator.__main__ import PORT_MAX, main

FLAGS = (
    *("model", "load", "faults", "trace", "tcp"),
    *("channels", "serial", "seed", "patient_stop", "answer_us", "trigger"),
)
REFERENCE = Path(firmware_protocol.__file__).parent / "c" / "build" / "estim-device"


def run(arguments: Namespace) -> int:
    """Hand over to the simulator or the reference device, which read the other values themselves.

    Raises:
        UsageError: the reference device is not built, or plays no script.
    """
    given = {flag: getattr(arguments, flag) for flag in FLAGS}
    if arguments.tcp is not None:
        whole("--tcp", arguments.tcp, 0, PORT_MAX)
    if arguments.model == "reference":
        return _run_reference({flag: text for flag, text in given.items() if text is not None})
    return main([_option(flag, text) for flag, text in given.items() if text is not None])


def _run_reference(given: dict[str, str]) -> int:
    if "faults" in given:
        raise UsageError(
            "--faults: the reference device plays no script; write its lines, without their times, "
            "to its standard input"
        )
    for flag in ("answer_us", "trigger"):
        if flag in given:
            raise UsageError(f"--{flag.replace('_', '-')}: the reference device has no such option")
    if not REFERENCE.exists():
        raise UsageError(
            "the reference device is not built here: `make -C firmware_protocol/c posix` builds it"
        )
    options = [_option(flag, text) for flag, text in given.items() if flag != "model"]
    sys.stdout.flush()
    os.execv(REFERENCE, [str(REFERENCE), *options])


def _option(flag: str, text: str) -> str:
    return f"--{flag.replace('_', '-')}={text}"
