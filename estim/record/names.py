"""Check the names that a record stands under: session ids and pseudonyms.

A session id becomes a file name; operators and pseudonyms are printed, exported and searched. So
all are plain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from estim.errors import RecordError, UsageError
from estim.record.lines import SCHEMA

SUFFIX = ".jsonl"

_SESSION_ID = re.compile(r"[a-z0-9-]{1,64}")
_PSEUDONYM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def record_path(folder: Path, session_id: str) -> Path:
    """Return where the record of a session lies; it is always directly inside the folder.

    Raises:
        UsageError: this cannot be a session id.
    """
    if not is_session_id(session_id):
        raise UsageError(
            f"session id {session_id!r}: expected 1 to 64 of lower-case letters, digits and -"
        )
    return folder / f"{session_id}{SUFFIX}"


def is_session_id(name: str) -> bool:
    """Tell whether this can be a session id."""
    return _SESSION_ID.fullmatch(name) is not None


def check_pseudonym(what: str, name: str) -> str:
    """Return an operator's or a patient's pseudonym that may be written down.

    Raises:
        UsageError: it is empty, too long, or has other characters than letters, digits, `.`, `_`
            and `-`.
    """
    if not _PSEUDONYM.fullmatch(name):
        raise UsageError(
            f"{what} {name!r}: expected 1 to 64 letters, digits, '.', '_' or '-', beginning with a "
            "letter or digit"
        )
    return name


def check_header(header: Mapping[str, Any], session_id: str) -> None:
    """Check what the record relies on in a header, and nothing else.

    Raises:
        RecordError: schema, session id or kind of session are not as they must be.
        UsageError: operator or pseudonym may not be written down, or are missing for a person.
    """
    if header.get("schema") != SCHEMA:
        raise RecordError(f"header: schema must be {SCHEMA}, got {header.get('schema')!r}")
    if header.get("session_id") != session_id:
        raise RecordError(f"header: session_id must be {session_id!r}, as the file is named")
    if header.get("kind") not in ("bench", "clinical"):
        raise RecordError(f"header: kind must be bench or clinical, got {header.get('kind')!r}")
    for what in ("operator", "pseudonym"):
        if header.get(what) is not None:
            check_pseudonym(what, str(header[what]))
        elif header["kind"] == "clinical":
            raise UsageError(f"header: a clinical record needs the {what}")
