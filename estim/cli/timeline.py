"""Print what happened in a session, in order."""

from __future__ import annotations

from estim.cli.console import say
from estim.record.reader import RecordFile
from estim.record.timeline import entries, header_lines
from estim.record.verify import Verification

_KIND_WIDTH = 16


def say_timeline(record: RecordFile, verification: Verification) -> None:
    """Print a record's header, its events with time since the first, and whether it is whole."""
    for name, words in header_lines(record.header):
        say(f"{name:10} {words}")
    say()
    for entry in entries(record.events):
        say(f"{entry.when:>10}  {entry.kind:{_KIND_WIDTH}}  {entry.words}".rstrip())
    for line in record.torn:
        say(f"line {line.number}: {line.size} bytes that a crash cut short; kept")
    if record.unreadable:
        numbers = ", ".join(map(str, record.unreadable))
        say(f"lines that cannot be read: {numbers}")
    verdict = (
        "nothing found" if verification.is_ok else f"{len(verification.findings)} faults found"
    )
    say(f"{verification.state}; {verdict} (`estim records verify` tells more)")
