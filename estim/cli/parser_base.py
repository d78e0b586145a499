"""What the commands are declared with: a parser of our own, and the words they share."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any, NoReturn

from estim.errors import UsageError

JSON_HELP = "one JSON object per line instead of words"
RECORDS_HELP = "folder of the records (default: this user's)"
AMPLITUDE_HELP = "repeatable, others are at zero; default: every channel at its ceiling"
AREA_HELP = "area of the smallest electrode (default: what the profile recommends)"

Commands = Any  # argparse keeps its own type private


class Parser(argparse.ArgumentParser):
    """Report a bad command line as any other failure is reported."""

    late_epilog: Callable[[], str] | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def format_help(self) -> str:
        """Return the help, with an epilog that is loaded for it alone."""
        if self.late_epilog is not None:
            self.epilog = self.late_epilog()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (`{self.prog} --help` tells more)")


def lazily(module: str, function: str = "run") -> Callable[[argparse.Namespace], int]:
    """Return what imports `module` only when it is called."""

    def call(arguments: argparse.Namespace) -> int:
        code: int = getattr(importlib.import_module(module), function)(arguments)
        return code

    return call


def add(commands: Commands, name: str, summary: str, module: str, function: str = "run") -> Parser:
    """Add a command that `module` carries out; return its parser."""
    parser: Parser = commands.add_parser(name, help=summary, description=_sentence(summary))
    parser.set_defaults(run=lazily(module, function))
    return parser


def add_group(commands: Commands, name: str, summary: str, actions: str) -> Commands:
    """Add a command that is followed by one of several actions; return where they are added."""
    group: Parser = commands.add_parser(name, help=summary, description=_sentence(summary))
    return group.add_subparsers(metavar=actions, required=True)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."
