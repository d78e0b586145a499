"""Publish to onlookers what the interface is shown: each snapshot as one line of JSON.

Rules:
1. View-only: no byte of a viewer's is ever read, and its end is kept from sending any.
2. The loop never waits for a viewer: one that cannot take a whole line at once is dropped.
3. This user alone: a socket of mode 0600 in a folder of mode 0700.
4. Nothing is left behind: the socket goes with its engine; that of a killed one goes when the next
   engine starts.
5. A session does not depend on it: without a socket there is none to look on, that is all.

The folder is `estim` in XDG_RUNTIME_DIR, which the system keeps private, in memory and for as long
as the user is there; without it, `estim-UID` in the temporary folder, taken only where it is this
user's own. Not beside the records: those may lie on a network or a stick that knows no sockets, and
their paths may exceed the 107 bytes of a socket's address.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from estim.session.messages import Snapshot, to_line

VIEWERS_MAX = 8
SEND_BUFFER_SIZE = 32 * 1024
"""So that what a slow viewer reads is about a second old at most, when it is dropped."""


class Viewers:
    """Hold the socket of one engine, and whoever looks on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"engine-{os.getpid()}.sock"
        self._viewers: list[socket.socket] = []
        self._listener: socket.socket | None = None
        with contextlib.suppress(OSError):  # rule 5
            self._open(folder)

    def publish(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to every viewer, without waiting for any."""
        if self._listener is None:
            return
        self._admit(self._listener)
        if self._viewers:
            line = to_line(snapshot)
            self._viewers = [viewer for viewer in self._viewers if _takes(viewer, line)]

    def close(self) -> None:
        """Let go of every viewer and remove the socket."""
        for viewer in self._viewers:
            viewer.close()
        self._viewers = []
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):  # rule 5: whatever became of the folder
                self.path.unlink()

    def _open(self, folder: Path) -> None:
        claim(folder)
        for path in sockets(folder):
            if not is_alive(path):
                path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.setblocking(False)
            listener.bind(str(self.path))
            listener.listen(VIEWERS_MAX)  # at once: until then it looks like a killed engine's
            self.path.chmod(0o600)
        except OSError:
            listener.close()
            raise
        self._listener = listener

    def _admit(self, listener: socket.socket) -> None:
        """Take in who has come; more than `VIEWERS_MAX` wait outside."""
        with contextlib.suppress(OSError):
            while len(self._viewers) < VIEWERS_MAX:
                viewer, _ = listener.accept()
                viewer.setblocking(False)
                viewer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_SIZE)
                viewer.shutdown(socket.SHUT_RD)
                self._viewers.append(viewer)


def viewers_folder() -> Path:
    """Return the folder of the sockets, whether it is there or not."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        return Path(runtime) / "estim"
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"estim-{os.getuid()}"


def claim(folder: Path) -> None:
    """Make the folder, or see that nobody else can reach into it.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a folder of this user")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def sockets(folder: Path) -> list[Path]:
    """Return the sockets of all engines, killed ones included."""
    return sorted(folder.glob("engine-*.sock"))


def is_alive(path: Path) -> bool:
    """Tell whether an engine still listens."""
    with socket.socket(socket.AF_UNIX) as trial:
        trial.setblocking(False)
        try:
            trial.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # BlockingIOError above all: a full house
            return True
    return True


def _takes(viewer: socket.socket, line: bytes) -> bool:
    """Send a line; close a viewer that is gone or cannot take all of it now."""
    with contextlib.suppress(OSError):
        if viewer.send(line) == len(line):
            return True
    viewer.close()
    return False
