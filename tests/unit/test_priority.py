"""A process asks to come first, and goes on where that is not granted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_a_run_on_the_virtual_clock_comes_before_nobody(tmp_path: Path) -> None:
    """Nothing waits for it, and a session beside it would."""
    arguments = ["run", "dpn-conventional", "--clock", "virtual", "--bench", "500"]
    arguments += ["--amplitude", "1=2", "--duration", "1", "--records", str(tmp_path)]
    code = f"""
import os
os.setpriority(os.PRIO_PROCESS, 0, 5)
from estim.__main__ import main
print(main({arguments!r}), os.getpriority(os.PRIO_PROCESS, 0))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 5"


FIRST = """
import os
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # whatever started this test has
from estim.priority import ask_to_come_first
{before}
print(ask_to_come_first(), os.sched_getscheduler(0) == os.SCHED_RR, os.getpriority(0, 0))
"""


def test_an_engine_comes_first_or_says_that_it_does_not() -> None:
    refused = "def no(*_): raise PermissionError\nos.sched_setscheduler = no"
    nice = f"{refused}\nos.setpriority = no"
    told = [
        subprocess.run(
            [sys.executable, "-c", FIRST.format(before=before)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for before in ("", refused, nice)
    ]
    assert told[0][:2] in (["True", "True"], ["True", "False"], ["False", "False"])
    assert told[1][1] == "False"
    assert (told[1][0] == "True") == (int(told[1][2]) <= -10)
    assert told[2][:2] == ["False", "False"]
