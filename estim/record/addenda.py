"""Add to a closed record without changing it: who, when, why, about which event.

Each addendum is a line of its own, chained to everything before it, with a seal after it where this
station has a key.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from estim.errors import RecordError, UsageError
from estim.record.files import FileOps
from estim.record.journal import Journal
from estim.record.lines import ADDENDUM, NOTE_LATER, REASSIGNED, make_entry
from estim.record.names import check_pseudonym

MAX_TEXT_CHARS = 4000
MAX_NOTE_CHARS = 8000
"""A note that is written later may have lines, and be as long as one that fits into a line."""


def add_addendum(
    path: Path,
    key: bytes | None,
    *,
    who: str,
    why: str,
    text: str,
    event_seq: int | None,
    mono_us: int,
    wall: datetime,
    ops: FileOps | None = None,
) -> str:
    """Append an addendum about one event, or about the whole session, and return the new head.

    Raises:
        UsageError: author, reason, text, pseudonym or event number make no sense.
        RecordError: the record is not closed, is in use, or cannot be written.
    """
    check_pseudonym("author", who)
    if why == REASSIGNED:
        check_pseudonym("pseudonym", text)
    content = {
        "who": who,
        "why": _checked_text("reason", why),
        "text": _checked_note(text) if why == NOTE_LATER else _checked_text("text", text),
        "event_seq": event_seq,
    }
    entry = make_entry(ADDENDUM, content, mono_us=mono_us, wall=wall)
    journal, ending = Journal.reopen(path, ops=ops)
    try:
        if ending.last is None or not ending.is_sealed or ending.torn:
            raise RecordError(f"{path}: not closed yet; recover it before adding to it")
        if event_seq is not None and not 0 <= event_seq <= ending.last.seq:
            raise UsageError(f"event {event_seq}: expected a number from 0 to {ending.last.seq}")
        if key is not None:
            return journal.seal(key, mono_us=mono_us, wall=wall, after=[entry])
        journal.append_many([entry])
        journal.sync()
        return journal.head
    finally:
        journal.close()


def _checked_text(what: str, text: str) -> str:
    # Control and direction characters would repaint the terminal of whoever reads it later.
    if not text.strip() or len(text) > MAX_TEXT_CHARS or not text.isprintable():
        raise UsageError(f"{what}: expected 1 to {MAX_TEXT_CHARS} printable characters on one line")
    return text


def _checked_note(text: str) -> str:
    is_plain = all(line.isprintable() for line in text.split("\n"))
    if not text.strip() or len(text) > MAX_NOTE_CHARS or not is_plain:
        raise UsageError(f"note: expected 1 to {MAX_NOTE_CHARS} printable characters, in lines")
    return text
