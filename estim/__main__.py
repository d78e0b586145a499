"""The command `estim`.

Rules:
1. Nothing is imported before it is needed: `estim --version` costs little more than Python itself,
   and each command loads only what it works with.
2. Whatever goes wrong ends in `estim.cli.failures`: one line on standard error, and an exit code.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks; return the exit code."""
    try:
        code = _do(list(sys.argv[1:] if argv is None else argv))
        # Here, since a failure of the flush at exit could not be explained any more.
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BaseException as failure:
        from estim.cli.failures import explain

        return explain(failure)


def _do(argv: list[str]) -> int:
    # The one call that is timed against an empty Python: argparse alone would cost as much again.
    if argv == ["--version"]:
        from estim.cli.version import VERSION_TEXT

        print(VERSION_TEXT)
        return 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal may lack a character that a file holds: that is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    from estim.cli.parser import parse

    arguments = parse(argv)
    code: int = arguments.run(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
