"""Every way in which a command fails, and what its caller then sees.

Exit codes: 0 done, 1 a check failed or a bug, 2 bad usage or bad input, 3 no device, 4 refused by a
limit or an interlock, 5 device fault or link lost, 130 interrupted; 141 where the reader of the
output went away, as a shell shows for other programs.

Rules:
1. A failure that was foreseen is one line on standard error that begins with 'estim:'.
2. A failure that was not is a bug: one line that says where to report it. Its traceback is shown
   with ESTIM_TRACEBACK=1 only, since it may tell what lies on this machine.
"""

from __future__ import annotations

import errno
import os
import sys

from estim.cli.console import complain
from estim.errors import DeviceFault, EstimError
from firmware_protocol.errors import ProtocolError

FAILED = 1
INTERRUPTED = 130
READER_GONE = 141
TRACEBACK_VARIABLE = "ESTIM_TRACEBACK"

_OUTPUT_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF, errno.EFBIG})


def explain(failure: BaseException) -> int:
    """Say what went wrong, and return the exit code."""
    if isinstance(failure, SystemExit):  # argparse, after it has printed its help
        return failure.code if isinstance(failure.code, int) else FAILED * bool(failure.code)
    if isinstance(failure, KeyboardInterrupt):
        complain("interrupted")
        return INTERRUPTED
    if isinstance(failure, BrokenPipeError):
        _give_up_output()
        return READER_GONE
    if isinstance(failure, EstimError):
        complain(str(failure))
        return failure.exit_code
    if isinstance(failure, ProtocolError):
        complain(str(failure))
        return DeviceFault.exit_code
    if isinstance(failure, OSError) and _is_of_output(failure):
        complain(f"the output cannot be written: {failure.strerror}")
        return FAILED
    if os.environ.get(TRACEBACK_VARIABLE) == "1":
        import traceback

        traceback.print_exception(failure)
    complain(
        f"a bug in Estim: {type(failure).__name__}: {failure}; please report it to the maintainers "
        f"with the command, the output of `estim doctor` and, from {TRACEBACK_VARIABLE}=1, the "
        "traceback"
    )
    return FAILED


def _is_of_output(failure: OSError) -> bool:
    """Tell whether printing failed: an error with no file name, of a kind that writing has."""
    return failure.filename is None and failure.errno in _OUTPUT_ERRNOS


def _give_up_output() -> None:
    """Lead what is still buffered to nowhere, or Python would complain about it at exit."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return  # standard output is no file: nothing is buffered that Python would write
