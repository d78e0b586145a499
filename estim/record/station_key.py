"""Keep the key that this station seals records with, outside the folder of the records.

Whoever holds the key can make a seal; the chain alone protects nothing from them. So the file is
private to its owner, and one that others can read is refused rather than used.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from estim.errors import RecordError
from estim.record import files
from estim.record.files import FileOps

FILE_NAME = "station.key"
KEY_BYTES = 32

_KEY_TEXT = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}\n?")


def load_or_make(folder: Path) -> bytes:
    """Return this station's key; make one on the first run.

    Raises:
        RecordError: the key file is not private, not a key, or cannot be read or written.
    """
    try:
        if load(folder) is None:
            _make(folder)
        # Whoever made it may have been killed before this, and a seal outlives no lost key.
        if os.access(folder, os.W_OK):
            files.sync_folder(folder, FileOps())
    except OSError as error:
        raise RecordError(f"{folder / FILE_NAME}: cannot be made: {error.strerror}") from None
    key = load(folder)
    if key is None:
        raise RecordError(f"{folder / FILE_NAME}: was made and has gone again")
    return key


def load(folder: Path) -> bytes | None:
    """Return this station's key, or None where it has none yet.

    Raises:
        RecordError: the key file is not private, not a key, or cannot be read.
    """
    path = folder / FILE_NAME
    if not os.path.lexists(path):
        return None
    descriptor = files.open_regular(path)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        # Windows has no such bits and reports everything as open to all.
        if os.name == "posix" and mode & 0o077:
            raise RecordError(
                f"{path}: others may read it (mode {mode:03o}); expected 600. Make it private with "
                "chmod 600; if others had a login here, move it away so that a new key is made"
            )
        text = os.read(descriptor, 2 * KEY_BYTES + 2)
    finally:
        os.close(descriptor)
    if not _KEY_TEXT.fullmatch(text.decode("latin-1")):
        raise RecordError(f"{path}: expected {2 * KEY_BYTES} hex digits")
    return bytes.fromhex(text.decode("ascii"))


def _make(folder: Path) -> None:
    ops = FileOps()
    files.make_folder(folder, ops)
    draft = folder / f"{FILE_NAME}.{os.urandom(8).hex()}"
    descriptor = files.open_new(draft)
    try:
        files.write_all(descriptor, os.urandom(KEY_BYTES).hex().encode("ascii") + b"\n", ops)
        ops.sync_file(descriptor)
    finally:
        os.close(descriptor)
    try:
        # A link appears whole or not at all, and never over a key that another process made
        # meanwhile.
        os.link(draft, folder / FILE_NAME)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
