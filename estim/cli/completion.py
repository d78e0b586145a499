"""`estim completion`: what makes a shell complete commands, flags and file names."""

from __future__ import annotations

import argparse
from argparse import Namespace

from estim.cli.parser import build_parser
from estim.errors import UsageError

_FILES = frozenset(
    {"FILE", "ID|FILE", "PROFILE", "A", "B", "CAPTURE", "JOB.toml", "RESULT.json", "URL"}
)
_FOLDERS = frozenset({"DIR"})


def run(arguments: Namespace) -> int:
    """Print the script of a shell.

    Raises:
        UsageError: the package that writes it is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise UsageError(
            "completion: the package shtab is not installed here; `pip install shtab` adds it"
        ) from None
    parser = build_parser()
    _name_files(parser, shtab.FILE, shtab.DIRECTORY)
    print(shtab.complete(parser, arguments.shell).rstrip("\n"))
    return 0


def _name_files(parser: argparse.ArgumentParser, file: object, folder: object) -> None:
    """Mark every argument that names a file or a folder, as shtab asks for it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _name_files(inner, file, folder)
        elif action.metavar in _FILES:
            action.complete = file  # type: ignore[attr-defined]
        elif action.metavar in _FOLDERS:
            action.complete = folder  # type: ignore[attr-defined]
