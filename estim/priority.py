"""Ask the system to let this process run before others.

An engine that waits for a processor is an engine that stops: its lease runs out, which is safe and
a nuisance. Where the system does not grant it, nothing changes.
"""

from __future__ import annotations

import contextlib
import os

NICE = -10
"""What interface and engine ask for; the display must prove itself every 400 ms."""


def ask_for_priority(nice: int) -> bool:
    """Ask for a niceness; tell whether this process now has it or a better one.

    On Linux it counts for the calling thread and for those it starts: call it first.
    """
    try:
        if os.getpriority(os.PRIO_PROCESS, 0) > nice:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
    except (AttributeError, OSError):
        return False
    return True


def ask_to_come_first() -> bool:
    """Ask to run ahead of everything ordinary; tell whether that, or `NICE`, was granted.

    For engine and device alone: they sleep nearly always, and a lease waits for nobody. The lowest
    real-time priority is enough, and the system keeps a share of each second for all others.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        return True
    return ask_for_priority(NICE)
