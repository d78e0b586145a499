"""The commands of the station: what is wrong with it, who and what works there."""

from __future__ import annotations

import argparse

from estim.cli.parser_base import (
    JSON_HELP,
    RECORDS_HELP,
    Commands,
    add,
    add_group,
)


def add_doctor(commands: Commands) -> None:
    """Declare `estim doctor`."""
    parser = add(
        commands, "doctor", "check what this computer offers, with remedies", "estim.cli.doctor"
    )
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.add_argument("--records", metavar="DIR", help=RECORDS_HELP)
    parser.add_argument(
        "--device", metavar="URL", help="check this rig too: clock, port, id, and the load at 2 mA"
    )
    parser.add_argument("--bench", metavar="OHM", help="with --device: the dummy load of channel 1")
    parser.add_argument(
        "--nobody-connected", action="store_true", help="with --device: nobody is connected"
    )


def add_station(commands: Commands) -> None:
    """Declare `estim station`."""
    actions = add_group(
        commands,
        "station",
        "look at and change which devices may be used on people",
        "list|show|set",
    )
    module = "estim.cli.station"
    listing = add(actions, "list", "list where every known device stands", module, "run_list")
    show = add(actions, "show", "show every entry about a device", module, "run_show")
    show.add_argument("serial", metavar="SERIAL")
    change = add(actions, "set", "enter where a device stands", module, "run_set")
    change.add_argument("serial", metavar="SERIAL")
    change.add_argument("--state", choices=("in-service", "quarantined"))
    change.add_argument("--due", metavar="DATE", help="last day before the next check, 2027-01-31")
    change.add_argument("--who", metavar="NAME", required=True, help="who says so")
    change.add_argument("--why", metavar="TEXT", required=True, help="for what reason")
    for parser in (listing, show, change):
        parser.add_argument("--json", action="store_true", help=JSON_HELP)


def add_roster(commands: Commands) -> None:
    """Declare `estim roster`."""
    actions = add_group(
        commands, "roster", "look at and change who works at this station", "list|add|pin|remove"
    )
    module = "estim.cli.roster"
    listing = add(actions, "list", "list who works here", module, "run_list")
    newcomer = add(actions, "add", "add somebody, with a role and a PIN", module, "run_add")
    newcomer.add_argument("operator", metavar="ID", help="a pseudonym that nobody has had")
    newcomer.add_argument(
        "--role", choices=("therapist", "clinician", "technician"), required=True,
        help="a clinician may override screening items",
    )  # fmt: skip
    pin = add(actions, "pin", "give somebody another PIN", module, "run_pin")
    remove = add(actions, "remove", "take somebody off, for good", module, "run_remove")
    for parser in (pin, remove):
        parser.add_argument("operator", metavar="ID")
    for parser in (newcomer, pin):
        parser.add_argument(
            "--pin-stdin", action="store_true", help="read the PIN from standard input"
        )
    for parser in (listing, newcomer, pin, remove):
        parser.add_argument("--json", action="store_true", help=JSON_HELP)


def add_config(commands: Commands) -> None:
    """Declare `estim config`."""
    module = "estim.cli.config"
    group = add(commands, "config", "show and change the settings of this station", module)
    group.add_argument("--json", action="store_true", help=JSON_HELP)
    actions = group.add_subparsers(metavar="path|get|set")
    path = add(actions, "path", "print the configuration folder", module, "run_path")
    get = add(actions, "get", "print one setting", module, "run_get")
    change = add(actions, "set", "change one setting", module, "run_set")
    for parser in (get, change):
        parser.add_argument("key", metavar="KEY", help="as `estim config` lists them")
    change.add_argument("typed", metavar="VALUE", help="'default' takes it out of its file again")
    for parser in (path, get, change):
        # Suppressed, or it would undo a --json before the action.
        parser.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help=JSON_HELP
        )


def add_completion(commands: Commands) -> None:
    """Declare `estim completion`."""
    parser = add(
        commands, "completion", "print what completes commands in a shell", "estim.cli.completion"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.epilog = (
        "bash: estim completion bash > ~/.local/share/bash-completion/completions/estim\n"
        "zsh:  estim completion zsh > FOLDER/_estim, where FOLDER stands in $fpath\n"
        "tcsh: estim completion tcsh | source /dev/stdin, or from a file in ~/.tcshrc"
    )


def add_serve(commands: Commands) -> None:
    """Declare `estim serve`."""
    parser = add(
        commands, "serve", "let a browser on this computer look on, view only", "estim.cli.serve"
    )
    parser.epilog = "Prints the address with its token, then serves until Ctrl+C."
    parser.add_argument(
        "--host", default="127.0.0.1", help="127.0.0.1, localhost or ::1; default: %(default)s"
    )
    parser.add_argument("--port", metavar="N", default="8000", help="0 for any; default: 8000")
