"""`estim roster list|add|pin|remove`: who works at this station.

A PIN is asked for, twice where it is new, or read from standard input; it is never an argument,
where every process of this computer could read it.
"""

from __future__ import annotations

import sys
from argparse import Namespace

from estim.cli.console import say, say_json, say_table
from estim.errors import UsageError
from estim.prepare import places, roster
from estim.prepare.roster import Operator, Role

SCHEMA = "estim.roster/1"
_HEADER = ("operator", "role", "wrong PINs")
_LONGEST_LINE = 100


def run_list(arguments: Namespace) -> int:
    """List who works here."""
    known = roster.operators(places.configuration_folder())
    if arguments.json:
        for operator in known:
            _tell(operator, is_json=True)
    elif known:
        say_table(_HEADER, [(each.id, each.role.value, str(each.failures)) for each in known])
    else:
        say("Nobody is on the roster. `estim roster add ID --role ROLE` adds somebody.")
    return 0


def run_add(arguments: Namespace) -> int:
    """Add somebody, with a role and a PIN."""
    role = Role(arguments.role)
    added = roster.add(
        places.configuration_folder(), arguments.operator, role, _new_pin(arguments.pin_stdin)
    )
    _tell(added, is_json=arguments.json)
    return 0


def run_pin(arguments: Namespace) -> int:
    """Give somebody another PIN."""
    folder = places.configuration_folder()
    roster.find(folder, arguments.operator)  # told before a PIN is asked for
    changed = roster.set_pin(folder, arguments.operator, _new_pin(arguments.pin_stdin))
    _tell(changed, is_json=arguments.json)
    return 0


def run_remove(arguments: Namespace) -> int:
    """Take somebody off the roster, for good."""
    roster.remove(places.configuration_folder(), arguments.operator)
    if arguments.json:
        say_json(SCHEMA, operator=arguments.operator, role=None)
    else:
        say(f"{arguments.operator}: removed; nobody else can be given this id")
    return 0


def _tell(operator: Operator, *, is_json: bool) -> None:
    if is_json:
        say_json(
            SCHEMA,
            operator=operator.id,
            role=operator.role.value,
            may_override=operator.may_override,
            wrong_pins=operator.failures,
        )
    else:
        say(f"{operator.id}: {operator.role.value}, on the roster")


def _new_pin(is_from_stdin: bool) -> str:
    if is_from_stdin:
        if sys.stdin is None:
            raise UsageError("--pin-stdin: there is no standard input")
        return sys.stdin.readline(_LONGEST_LINE).rstrip("\r\n")
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody is there to type a PIN: expected a terminal, or --pin-stdin")
    import getpass

    try:
        pin = getpass.getpass("PIN (4 to 12 digits, not shown): ")
        roster.check_pin(pin)
        if getpass.getpass("The same PIN again: ") != pin:
            raise UsageError("the two PINs differ; nothing was changed")
    except EOFError:
        raise UsageError("the input has ended before a PIN was typed") from None
    return pin
