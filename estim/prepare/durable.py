"""Replace a small file of the configuration folder whole.

Rules:
1. Whoever reads finds the former file or the new one, never a part; the new one is on the disk
   before `replace` returns.
2. Whoever reads a file to change it holds `alone` from before the reading until after `replace`, so
   that of two programs neither undoes what the other wrote. What it finds there is on the disk.
3. Files are private to their owner (0600), in a private folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from estim.errors import RecordError, UsageError
from estim.record import files
from estim.record.files import FileOps
from estim.record.ledger import LOCK_WAIT_S, wait_for_lock

SIZE_MAX = 64 * 1024
_LOCK_NAME = "configuration.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only program that changes a file of this folder.

    Raises:
        RecordError: another one is at it, or the folder cannot be written.
    """
    path = folder / _LOCK_NAME
    ops = FileOps()
    try:
        files.make_folder(folder, ops)
        with contextlib.suppress(FileExistsError):
            os.close(files.open_new(path))
    except OSError as error:
        raise RecordError(f"{path}: cannot be made: {error.strerror}") from None
    descriptor = files.open_regular(path, for_appending=True)
    try:
        wait_for_lock(descriptor, path, LOCK_WAIT_S)
        try:
            # Whoever replaced a file last may have been killed before this.
            files.sync_folder(folder, ops)
        except OSError as error:
            raise RecordError(f"{folder}: cannot be written: {error.strerror}") from None
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, octets: bytes) -> None:
    """Put a new file in the place of the former one; durable on return.

    Raises:
        RecordError: the disk refuses. The former file then stands as it was, or the new one where
            only its name could not be synced.
    """
    ops = FileOps()
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = files.open_new(draft)
        try:
            files.write_all(descriptor, octets, ops)
            ops.sync_file(descriptor)
            os.replace(draft, path)
        finally:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
        files.sync_folder(path.parent, ops)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written: {error.strerror}") from None


def read_small(path: Path) -> bytes | None:
    """Return what a file holds, None where there is none.

    Raises:
        UsageError: it cannot be read, or is too long for what it should be.
    """
    try:
        # A named pipe in its place would hold everybody up who reads a setting.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"{path}: expected a plain file")
            octets = file.read(SIZE_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if len(octets) > SIZE_MAX:
        raise UsageError(f"{path}: over {SIZE_MAX // 1024} KiB, too long for what it should be")
    return octets
