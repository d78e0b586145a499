"""Close a record whose writer died.

Rules:
1. Nothing is cut off. What the crash tore stays where it is; the `recovered` event after it names
   its lines by length and SHA-256 and continues the chain from the last whole line.
2. A seal follows at once, in the same write, and says `recovered`.
3. A record that is closed is left alone, so recovering twice does nothing.
4. A record that somebody still writes to is refused: its writer holds the lock.
5. What is told is on the disk: a whole record may have been left unsynced, and so may its name.
6. Damage is no crash. Lines that were changed are not explained away: they stay findings of
   `verify`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from estim.errors import RecordError
from estim.record import files
from estim.record.files import FileOps
from estim.record.journal import Journal
from estim.record.lines import RECOVERED, make_entry
from estim.record.reader import torn_claim


@dataclass(frozen=True, slots=True)
class Recovery:
    """Tell what was done: `torn_bytes` were cut short and kept; `head` is the last line's hash."""

    was_needed: bool
    torn_bytes: int
    head: str


def recover(
    path: Path, key: bytes, *, mono_us: int, wall: datetime, ops: FileOps | None = None
) -> Recovery:
    """Explain what a crash left at the end of a record and seal it.

    Raises:
        RecordError: it is still being written, is no record, is damaged at its end, or the disk
            refuses.
    """
    ops = ops or FileOps()
    journal, ending = Journal.reopen(path, ops=ops)
    try:
        files.sync_folder(path.parent, ops)
        if ending.is_sealed and not ending.torn:
            journal.sync()
            return Recovery(was_needed=False, torn_bytes=0, head=journal.head)
        content = {"torn": [torn_claim(line) for line in ending.torn]}
        explanation = make_entry(RECOVERED, content, mono_us=mono_us, wall=wall)
        head = journal.seal(key, mono_us=mono_us, wall=wall, after=[explanation], recovered=True)
        return Recovery(
            was_needed=True, torn_bytes=sum(line.size for line in ending.torn), head=head
        )
    except OSError as error:
        raise RecordError(f"{path}: cannot be recovered: {error.strerror}") from None
    finally:
        journal.close()
