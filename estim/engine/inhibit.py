"""Keep the computer awake while output is possible, where the system offers a way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen

_COMMAND = (
    "systemd-inhibit",
    "--what=idle:sleep:handle-lid-switch",
    "--who=estim",
    "--why=stimulation session",
    "--mode=block",
    "cat",
)


class Inhibitor:
    """Hold a systemd inhibitor lock; say so where there is none.

    The lock's holder is a `cat` that reads a pipe from this process: however this process ends, the
    pipe closes and the lock goes with it.
    """

    def __init__(self) -> None:
        self._holder: Popen[bytes] | None = None
        self._has_way = any(
            os.access(os.path.join(folder, _COMMAND[0]), os.X_OK) for folder in os.get_exec_path()
        )

    @property
    def explanation(self) -> str:
        """Tell in plain words what keeps the computer awake."""
        if not self._has_way:
            return "this system offers no way to keep it awake: switch off its sleep yourself"
        if self._holder is None:
            return ""
        if self._holder.poll() is not None:
            return "the system refused to be kept awake: switch off its sleep yourself"
        return "idle, sleep and lid switch are held off"

    @property
    def is_holding(self) -> bool:
        """Tell whether the computer is kept awake, as far as is known."""
        return self._holder is not None and self._holder.poll() is None

    def hold(self) -> None:
        """Take the lock, without waiting for it."""
        if not self._has_way or self._holder is not None:
            return
        import subprocess  # here: the engine's start does not wait for it

        try:
            self._holder = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            self._has_way = False

    def release(self) -> None:
        """Give the lock back, without waiting for it: output may just have been stopped."""
        holder, self._holder = self._holder, None
        if holder is None:
            return
        if holder.stdin is not None:
            holder.stdin.close()
        holder.kill()  # never to be waited for: the engine's loop does this
        holder.wait()
