"""`estim` alone: the terminal interface, or a demo session where there is no terminal."""

from __future__ import annotations

import importlib
from argparse import Namespace

from estim.cli.console import is_attended


def run(arguments: Namespace) -> int:
    """Open the interface for a person; run the demo session for anything else."""
    if is_attended():
        code: int = importlib.import_module("estim.tui.app").run()
    else:
        code = importlib.import_module("estim.cli.run").demo()
    return code
