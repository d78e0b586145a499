"""`estim station list|show|set`: which devices may be used on people, and who says so."""

from __future__ import annotations

from argparse import Namespace
from datetime import date

from estim.cli.console import say, say_json, say_table
from estim.clock import SystemClock
from estim.errors import UsageError
from estim.prepare import places, station
from estim.prepare.station import Standing

SCHEMA = "estim.station/1"
_HEADER = ("serial number", "state", "due", "since", "who", "why")


def run_list(arguments: Namespace) -> int:
    """List where every known device stands."""
    today = SystemClock().wall().date()
    known = station.standings(places.configuration_folder(), today)
    if not known and not arguments.json:
        say("No device is entered.")
        return 0
    _tell(known, arguments.json)
    return 0


def run_show(arguments: Namespace) -> int:
    """Show every entry about a device, the oldest first."""
    entries = station.history(places.configuration_folder(), arguments.serial)
    if not entries:
        raise UsageError(f"{arguments.serial!r} is not in the register")
    _tell(entries, arguments.json)
    return 0


def run_set(arguments: Namespace) -> int:
    """Enter where a device stands, and say where it stands now."""
    entered = station.enter(
        places.configuration_folder(),
        arguments.serial,
        who=arguments.who,
        why=arguments.why,
        clock=SystemClock(),
        state=station.State(arguments.state.replace("-", " ")) if arguments.state else None,
        due=read_date("--due", arguments.due) if arguments.due else None,
    )
    if arguments.json:
        _tell((entered,), is_json=True)
    else:
        say(f"{entered.serial_number}: {entered.words}")
    return 0


def read_date(flag: str, text: str) -> date:
    """Read a date; raise UsageError where it is none."""
    try:
        if len(text) == len("2027-01-31"):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise UsageError(f"{flag} {text}: expected a date such as 2027-01-31")


def _tell(entries: tuple[Standing, ...], is_json: bool) -> None:
    if is_json:
        for entry in entries:
            say_json(
                SCHEMA,
                serial_number=entry.serial_number,
                state=entry.state.value,
                due=entry.due.isoformat() if entry.due else None,
                since=entry.since,
                who=entry.who,
                why=entry.why,
                is_for_people=entry.is_for_people,
            )
        return
    rows = [
        (e.serial_number, e.state.value, str(e.due or ""), e.since, e.who, e.why) for e in entries
    ]
    say_table(_HEADER, rows, folding=("why", "who"))
