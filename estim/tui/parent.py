"""End with whoever started this process, whatever that one died of.

Rules:
1. Where Linux can tell of a parent's death, it kills this process at once, even a stopped one.
2. Elsewhere, and as well, a thread of its own looks four times a second: no busy or broken
   interface can hold it up.
3. A parent that died before either was in place is found at once.

Only for a process that has nothing to stop, to save or to restore.
"""

from __future__ import annotations

import os
import sys
import threading

LOOK_S = 0.25
EXIT_ORPHANED = 1
_SIGKILL = 9
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent(parent_pid: int) -> None:
    """End this process when the parent dies; at once where that has happened already."""
    ask_for_signal()
    end_if_orphaned(parent_pid)
    watch(parent_pid)


def ask_for_signal() -> None:
    """Ask Linux to kill this process when its parent dies."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def watch(parent_pid: int) -> None:
    """Look for the parent's death in a thread."""

    def look() -> None:
        pause = threading.Event()
        while True:
            end_if_orphaned(parent_pid)
            pause.wait(LOOK_S)

    threading.Thread(target=look, name="estim-parent", daemon=True).start()


def end_if_orphaned(parent_pid: int) -> None:
    """End now if the parent is another one by now."""
    if os.getppid() != parent_pid:
        os._exit(EXIT_ORPHANED)
