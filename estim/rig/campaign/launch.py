"""Become a task that is told to end when the campaign dies: `-m estim.rig.campaign.launch`.

SIGTERM comes from the system, so that even a campaign that was killed leaves no device running.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by the command that follows the parent's process id."""
    parent_pid, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent_pid):
        sys.exit(130)  # it died before it could be watched
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
