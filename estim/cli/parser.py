"""The command line as people type it; what a command does is loaded when it runs.

Rules:
1. Values stay text here, and are read where they are used: one place knows what is allowed.
2. Abbreviated flags are refused, so that a new flag never changes what an old script means.
"""

from __future__ import annotations

import argparse

from estim.cli import parser_bench as bench
from estim.cli import parser_library as library
from estim.cli import parser_station as station
from estim.cli.parser_base import Parser, lazily
from estim.cli.version import VERSION_TEXT

_CODES = (
    "Exit codes: 0 done, 1 a check failed, 2 bad usage or bad input, 3 no device, 4 refused by a "
    "limit or an interlock, 5 device fault or link lost, 130 interrupted."
)

THEMES = ("dark", "colour-blind-safe", "high-contrast")


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the arguments, with `run` as the function that carries them out.

    Raises:
        UsageError: the command line makes no sense.
        SystemExit: help was asked for, and has been printed.
    """
    return build_parser().parse_args(argv)


def build_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="estim",
        description="Run guided sessions of transcutaneous electrical stimulation from a terminal. "
        "Not a certified medical device. Without a command: the terminal interface.",
        epilog=_CODES,
    )
    parser.add_argument("--version", action="version", version=VERSION_TEXT)
    parser.add_argument("--theme", choices=THEMES, help="colours of the terminal interface")
    parser.add_argument(
        "--reduced-motion", action="store_true", help="nothing moves there but the beat"
    )
    parser.set_defaults(run=lazily("estim.cli.start"))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add_command in (
        bench.add_run,
        bench.add_simulate,
        bench.add_devices,
        library.add_profiles,
        library.add_protocols,
        library.add_records,
        bench.add_measure,
        bench.add_baseline,
        station.add_doctor,
        bench.add_verify,
        bench.add_characterise,
        bench.add_conformance,
        bench.add_campaign,
        station.add_station,
        station.add_roster,
        station.add_config,
        station.add_completion,
        station.add_serve,
    ):
        add_command(commands)
    return parser
