"""List the records of a folder quickly.

Rules:
1. The files are the truth. The catalogue holds nothing that they do not, and is made anew whenever
   it is missing, damaged, of another version, or cannot be used; nobody is troubled with that.
2. It knows pseudonyms only, as the records do.
3. A record is read again when its size or time of change is another. Somebody who forges both is
   caught by `verify`, which always reads the file, never by the list.

What it takes from a record: the header (`kind`, `profile.id`, `operator`, `pseudonym`, the serial
of the asset of kind `stimulator`), a later event `identified` (`serial_number`), the last event
`prepared` (`profile`) where the header names none, and the last event `closed` (`reason`,
`delivered_ms`).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from estim.errors import RecordError
from estim.record import files
from estim.record.lines import ADDENDUM, ANNOTATION, HEADER, NOTE_LATER, REASSIGNED, Event, key_id
from estim.record.names import SUFFIX, is_session_id
from estim.record.reader import stream
from estim.record.verify import SealState, What, verify
from estim.units import MS_PER_S

FILE_NAME = "catalogue.sqlite3"
# Raise it with every change of the columns.
VERSION = 4

CLOSED = "closed"
IDENTIFIED = "identified"
NOTE = "note"
LATE_NOTE = "note:later"
"""Among the annotations of a record to which a note was added; no annotation itself is named so."""
PREPARED = "prepared"

_MAX_TEXT_CHARS = 256
_MAX_KINDS = 64
_PLAIN_WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# A year; more is no session, and SQLite holds no integer of any length.
_MAX_DELIVERED_MS = 366 * 24 * 3600 * MS_PER_S


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """Hold what a list of records shows; None where the record does not say.

    `state` is 'damaged' where `verify` found something, 'unreadable' where it could not look, else
    the state of the seal. `annotations` are the kinds there are, in order, with a space between.
    """

    session_id: str
    started_wall: str | None
    ended_wall: str | None
    kind: str | None
    profile_id: str | None
    operator: str | None
    pseudonym: str | None
    device_serial: str | None
    end_reason: str | None
    delivered_s: int | None
    state: str
    annotations: str


_COLUMNS = tuple(field.name for field in fields(CatalogueEntry))
_TABLE = f"""
CREATE TABLE records (
    {_COLUMNS[0]} TEXT PRIMARY KEY, {", ".join(_COLUMNS[1:])},
    size_bytes INTEGER, changed_ns INTEGER, checked_with TEXT
)"""
_INSERT = f"INSERT OR REPLACE INTO records VALUES ({', '.join('?' * (len(_COLUMNS) + 3))})"
_SELECT_STAMPS = "SELECT session_id, size_bytes, changed_ns, checked_with FROM records"
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM records ORDER BY started_wall DESC, session_id"


def list_records(folder: Path, key: bytes | None = None) -> list[CatalogueEntry]:
    """Bring the catalogue up to date and return its entries, the newest first.

    Raises:
        RecordError: the folder itself cannot be read.
    """
    path = folder / FILE_NAME
    try:
        os.close(files.open_regular(path))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
                return rebuild(folder, key)
            return _updated(connection, folder, key)
    except (sqlite3.Error, RecordError):
        return rebuild(folder, key)


def rebuild(folder: Path, key: bytes | None = None) -> list[CatalogueEntry]:
    """Make the catalogue anew from the files and return its entries, the newest first.

    Where it cannot be kept, on a read-only disk for instance, the entries come all the same.

    Raises:
        RecordError: the folder itself cannot be read.
    """
    draft = folder / f"{FILE_NAME}.{secrets.token_hex(8)}"
    try:
        os.close(files.open_new(draft))
        try:
            with contextlib.closing(sqlite3.connect(draft)) as connection:
                entries = _filled(connection, folder, key)
            os.replace(draft, folder / FILE_NAME)
        finally:
            draft.unlink(missing_ok=True)
    except (sqlite3.Error, OSError):
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            return _filled(connection, folder, key)
    return entries


def _filled(
    connection: sqlite3.Connection, folder: Path, key: bytes | None
) -> list[CatalogueEntry]:
    connection.execute(_TABLE)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    return _updated(connection, folder, key)


def _updated(
    connection: sqlite3.Connection, folder: Path, key: bytes | None
) -> list[CatalogueEntry]:
    present = _present(folder)
    checked_with = "" if key is None else key_id(key)
    rows = connection.execute(_SELECT_STAMPS)
    known = {session_id: tuple(stamp) for session_id, *stamp in rows}
    with connection:
        for session_id in known.keys() - present.keys():
            connection.execute("DELETE FROM records WHERE session_id = ?", (session_id,))
        for session_id, (path, *stamp) in present.items():
            if known.get(session_id) != (*stamp, checked_with):
                row = (*astuple(_entry(session_id, path, key)), *stamp, checked_with)
                connection.execute(_INSERT, row)
    return [CatalogueEntry(*row) for row in connection.execute(_SELECT)]


def _present(folder: Path) -> dict[str, tuple[Path, int, int]]:
    """Return each record's path, size and time of change by its session id."""
    present = {}
    try:
        for name in os.listdir(folder):
            session_id = name.removesuffix(SUFFIX)
            if name.endswith(SUFFIX) and is_session_id(session_id):
                status = os.lstat(folder / name)
                present[session_id] = (folder / name, status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RecordError(f"{folder}: cannot be read: {error.strerror}") from None
    return present


def _entry(session_id: str, path: Path, key: bytes | None) -> CatalogueEntry:
    facts: dict[str, Any] = dict.fromkeys(_COLUMNS)
    facts |= {"session_id": session_id, "state": "unreadable", "annotations": ""}
    try:
        verification = verify(path, key)
        prepared_id = None
        kinds: set[str] = set()
        for event in stream(path):
            facts |= _facts(event)
            kinds |= _annotation(event)
            if event.kind == PREPARED:
                prepared_id = _text(event.content.get("profile"))
        facts["profile_id"] = facts["profile_id"] or prepared_id
    except RecordError:
        return CatalogueEntry(**facts)
    facts["annotations"] = " ".join(sorted(kinds)[:_MAX_KINDS])
    whats = {finding.what for finding in verification.findings}
    if not whats:
        facts["state"] = str(verification.state)
    elif whats <= {What.TRUNCATED, What.TORN}:
        facts["state"] = str(SealState.UNSEALED)
    else:
        facts["state"] = "damaged"
    return CatalogueEntry(**facts)


def _facts(event: Event) -> dict[str, Any]:
    """Return what one event adds to the entry; as a record may hold anything, each is checked."""
    content, stamp = event.content, event.wall.isoformat()
    if event.kind == HEADER:
        profile = content.get("profile")
        return {
            "started_wall": stamp,
            "kind": _text(content.get("kind")),
            "profile_id": _text(profile.get("id")) if isinstance(profile, dict) else None,
            "operator": _text(content.get("operator")),
            "pseudonym": _text(content.get("pseudonym")),
            "device_serial": _stimulator_serial(content.get("assets")),
        }
    if event.kind == IDENTIFIED:
        return {"device_serial": _text(content.get("serial_number"))}
    if event.kind == CLOSED:
        return {
            "ended_wall": stamp,
            "end_reason": _text(content.get("reason")),
            "delivered_s": _whole_seconds(content.get("delivered_ms")),
        }
    if event.kind == ADDENDUM and content.get("why") == REASSIGNED:
        return {"pseudonym": _text(content.get("text"))}
    return {}


def _annotation(event: Event) -> set[str]:
    """Return the kind of an annotation, as far as it is a plain word."""
    kind = event.content.get("kind")
    if event.kind == ANNOTATION and isinstance(kind, str) and _PLAIN_WORD.fullmatch(kind):
        return {kind}
    is_note = event.kind == ADDENDUM and event.content.get("why") == NOTE_LATER
    return {NOTE, LATE_NOTE} if is_note else set()


def _stimulator_serial(assets: object) -> str | None:
    for asset in assets if isinstance(assets, list) else []:
        if isinstance(asset, dict) and asset.get("kind") == "stimulator":
            return _text(asset.get("serial"))
    return None


def _whole_seconds(duration_ms: object) -> int | None:
    if type(duration_ms) is int and 0 <= duration_ms <= _MAX_DELIVERED_MS:
        return -(-duration_ms // MS_PER_S)  # rounded up: never less than what was delivered
    return None


def _text(item: object) -> str | None:
    if not isinstance(item, str):
        return None
    return item[:_MAX_TEXT_CHARS].encode("utf-8", "backslashreplace").decode("utf-8")
