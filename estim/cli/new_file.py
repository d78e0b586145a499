"""Write a file that a command was asked for, and leave no half of one behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from estim.errors import UsageError


@contextmanager
def new_file(flag: str, path: str, *, replaces: bool | None = None) -> Iterator[BinaryIO]:
    """Open a file that must not exist yet, unless it may be replaced; remove it on failure.

    `replaces` is what `--force` said, None for a command that never replaces anything.

    Raises:
        UsageError: it exists, or cannot be written.
    """
    target = Path(path)
    try:
        with target.open("wb" if replaces else "xb") as file:
            try:
                yield file
                file.flush()
            except BaseException:
                # A device or a pipe that was named with --force is not ours to remove.
                if target.is_file():
                    target.unlink()
                raise
    except FileExistsError:
        hint = "" if replaces is None else ", or --force"
        raise UsageError(f"{flag} {path}: is there already; expected a new file{hint}") from None
    except OSError as error:
        raise UsageError(f"{flag} {path}: cannot be written: {error.strerror}") from None
