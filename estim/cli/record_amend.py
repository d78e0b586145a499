"""`estim records amend`: a note written later, a correction, a visit of the wrong person.

Nothing in the record changes: what is added stands behind its seal, with a seal of its own.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from estim.cli import arguments as plain
from estim.cli.console import complain, progress, say, say_json
from estim.cli.records import check_is_record, find_record, folder_of
from estim.clock import SystemClock
from estim.errors import LimitRefused, RecordError, UsageError
from estim.prepare import roster
from estim.prepare.places import configuration_folder
from estim.record import station_key
from estim.record.addenda import MAX_NOTE_CHARS, add_addendum
from estim.record.lines import NOTE_LATER, REASSIGNED, SEAL
from estim.record.reader import stream
from estim.record.recover import recover

SCHEMA = "estim.record-addendum/1"
_EVENTS_MAX = 10**9
_LONGEST_LINE = 100
_STANDARD_INPUT = "-"


def run(arguments: Namespace) -> int:
    """Add to a closed record, signed for with a PIN.

    Raises:
        UsageError: options do not go together, or text, person or event make no sense.
        LimitRefused: the PIN is wrong.
        RecordError: the record is not closed, is in use, or cannot be written.
    """
    _check_options(arguments)
    folder, clock = configuration_folder(), SystemClock()
    path = find_record(arguments.record, folder_of(arguments.records))
    check_is_record(path)
    roster.find(folder, arguments.who)  # told before a PIN is asked for
    tried = roster.try_pin(folder, arguments.who, _pin(arguments.pin_stdin), clock.wall())
    if not tried.is_right:
        raise LimitRefused(tried.words)
    why, text = _why_and_text(arguments)
    key = station_key.load_or_make(folder)
    if not arguments.recover and not any(event.kind == SEAL for event in stream(path)):
        raise RecordError(f"{path}: not closed: unless the visit goes on, --recover closes it")
    with progress(f"writing {path}"):
        if arguments.recover:
            found = recover(path, key, mono_us=clock.now_us(), wall=clock.wall())
            if found.was_needed:
                complain(f"{path}: closed after a crash; {found.torn_bytes} torn bytes kept")
        head = add_addendum(
            path,
            key,
            who=arguments.who,
            why=why,
            text=text,
            event_seq=_event(arguments.event),
            mono_us=clock.now_us(),
            wall=clock.wall(),
        )
    if arguments.json:
        say_json(SCHEMA, record=path.stem, who=arguments.who, why=why, head=head)
    else:
        say(f"{path}: added; head {head}")
    return 0


def _check_options(arguments: Namespace) -> None:
    is_correction = arguments.text is not None
    if is_correction and not arguments.why:
        raise UsageError("--why: expected with --text, the reason for it")
    for flag, given in (("--why", arguments.why), ("--event", arguments.event)):
        if given is not None and not is_correction:
            raise UsageError(f"{flag}: expected with --text only")
    if arguments.why in (NOTE_LATER, REASSIGNED):
        raise UsageError(f"--why {arguments.why!r}: expected --note or --reassign instead")


def _why_and_text(arguments: Namespace) -> tuple[str, str]:
    if arguments.note is not None:
        return NOTE_LATER, _note(arguments.note)
    if arguments.reassign is not None:
        return REASSIGNED, arguments.reassign
    return arguments.why, arguments.text


def _note(name: str) -> str:
    """Read a note, as lines without tabs and without the carriage returns of other systems."""
    most = 4 * MAX_NOTE_CHARS + 1  # no character takes more bytes
    try:
        if name == _STANDARD_INPUT:
            text = sys.stdin.read(most)
        else:
            with Path(name).open("rb") as file:
                text = file.read(most).decode("utf-8")
    except OSError as error:
        raise UsageError(f"--note {name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--note {name}: expected text in UTF-8") from None
    return text.replace("\r\n", "\n").expandtabs(4).strip("\n")


def _event(text: str | None) -> int | None:
    return None if text is None else plain.whole("--event", text, 0, _EVENTS_MAX)


def _pin(is_from_stdin: bool) -> str:
    if is_from_stdin:
        return sys.stdin.readline(_LONGEST_LINE).rstrip("\r\n")
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody is there to type a PIN: expected a terminal, or --pin-stdin")
    import getpass

    try:
        return getpass.getpass("PIN: ")
    except EOFError:
        raise UsageError("the input has ended before a PIN was typed") from None
