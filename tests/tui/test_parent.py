"""A process that follows its parent never outlives it, each way of telling tried by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.tui.processes import is_running, wait_until
from tests.tui.terminal import CHECKOUT

GONE_S = 2.0

CHILD = "import os, time; from estim.tui import parent; {call}; print('on', flush=True); {then}"
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("call", "then"),
    [
        ("parent.ask_for_signal()", "time.sleep(60)"),
        ("parent.watch(os.getppid())", "time.sleep(60)"),
        ("parent.end_with_parent(os.getppid())", "time.sleep(60)"),
        ("parent.end_with_parent(os.getppid())", "os.kill(os.getpid(), 19)"),  # SIGSTOP
    ],
)
def test_a_child_is_gone_soon_after_its_parent_was_killed(call: str, then: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD.format(call=call, then=then)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    ) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        try:
            assert is_running(child_pid)
            parent.kill()
            parent.wait(5)
            assert wait_until(lambda: not is_running(child_pid), GONE_S)
        finally:
            if is_running(child_pid):
                os.kill(child_pid, signal.SIGKILL)


def test_a_parent_that_died_before_anybody_looked_is_found_at_once() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CHILD.format(call="parent.end_with_parent(999999999)", then="")],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        timeout=10,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
