"""Reach the disk: the few calls a record needs, plain files only, and the one writer's lock."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from estim.errors import RecordError

# Windows has none of these flags, and there a record can only be read.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


class FileOps:
    """Do what may fail on a disk; tests hand in one that fails where they say."""

    def write(self, descriptor: int, octets: bytes | memoryview) -> int:
        """Write some of the bytes and return how many."""
        return os.write(descriptor, octets)

    def sync_file(self, descriptor: int) -> None:
        """Return once the file's bytes and length are on the disk, under a name."""
        os.fdatasync(descriptor)
        if os.fstat(descriptor).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the file has been deleted")

    def sync_folder(self, descriptor: int) -> None:
        """Return once the folder's entries are on the disk."""
        os.fsync(descriptor)

    def free_bytes(self, descriptor: int) -> int:
        """Return how many bytes may still be written beside this file."""
        filesystem = os.fstatvfs(descriptor)
        return filesystem.f_bavail * filesystem.f_frsize


def write_all(descriptor: int, octets: bytes, ops: FileOps) -> None:
    """Write all of it, however little the system takes at a time."""
    remaining = memoryview(octets)
    while remaining:
        remaining = remaining[ops.write(descriptor, remaining) :]


def make_folder(folder: Path, ops: FileOps) -> None:
    """Make a private folder (0700) and whatever is missing above it, and see that it lasts.

    One that is there already may have been made by a process that was killed before it saw to that.
    It is made to last as well, wherever we can have made it.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    found = missing[-1].parent if missing else folder
    if os.access(found.parent, os.R_OK | os.W_OK):
        sync_folder(found.parent, ops)
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)
        sync_folder(place.parent, ops)


def sync_folder(folder: Path, ops: FileOps) -> None:
    """Make the entries of a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _CLOSE_ON_EXEC)
    try:
        ops.sync_folder(descriptor)
    finally:
        os.close(descriptor)


def open_new(path: Path) -> int:
    """Open a file that must not exist yet for appending, readable by its owner alone."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _CLOSE_ON_EXEC
    return os.open(path, flags | _BINARY, 0o600)


def open_regular(path: Path, *, for_appending: bool = False) -> int:
    """Open a plain file that exists; never a link, a pipe or a folder.

    Raises:
        RecordError: it is not there, not a plain file, or may not be opened.
    """
    mode = os.O_RDWR | os.O_APPEND if for_appending else os.O_RDONLY
    # Without O_NONBLOCK a named pipe would hold us up for ever.
    flags = mode | _NO_FOLLOW | _CLOSE_ON_EXEC | _NON_BLOCKING | _BINARY
    try:
        if path.is_symlink():
            raise RecordError(f"{path}: expected a plain file, found a symbolic link")
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be opened: {_reason(error)}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RecordError(f"{path}: expected a plain file")
    return descriptor


def lock(descriptor: int, path: Path) -> None:
    """Become the one writer of a file for as long as it is open.

    Raises:
        RecordError: another program writes to it, or this system cannot lock.
    """
    try:
        import fcntl
    except ImportError:
        raise RecordError(f"{path}: this system cannot lock a record for writing") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RecordError(f"{path}: another program is writing to it; try again later") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be locked: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
