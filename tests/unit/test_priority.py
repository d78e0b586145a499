"""A process asks to come first, and goes on where that is not granted."""

from __future__ import annotations

import subprocess
import sys

ASK = """
import os
from estim.priority import ask_for_priority
{before}
print(ask_for_priority({nice}), os.getpriority(os.PRIO_PROCESS, 0))
"""


def asked(before: str, nice: int) -> str:
    """Ask in a process of its own, so that this one stays as it is."""
    code = ASK.format(before=before, nice=nice)
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_better_niceness_is_kept() -> None:
    assert asked("os.setpriority(os.PRIO_PROCESS, 0, 5)", 19) == "True 5"


def test_a_refusal_changes_nothing() -> None:
    refused = "def no(*_): raise PermissionError\nos.setpriority = no"
    assert asked(f"os.setpriority(os.PRIO_PROCESS, 0, 5)\n{refused}", -10) == "False 5"


def test_what_is_told_is_what_was_granted() -> None:
    assert asked("os.setpriority(os.PRIO_PROCESS, 0, 15)", 10) in {"True 10", "False 15"}
