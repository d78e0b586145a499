"""A flood of jobs: what waits is bounded, and deadlines are served whatever still waits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from estim.engine.process import RECEIVED_MAX, EngineProcess
from estim.session.messages import Snapshot, from_line
from tests.engine.scene import CHECKOUT, wait_for


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    """Yield an engine whose loop stands still: nothing takes from its inbox but a test."""
    ours, theirs = socket.socketpair()
    with theirs:
        engine = EngineProcess(theirs)
        yield engine
        ours.close()
        engine._viewers.close()
        engine._replies.close(1.0)


def _take(engine: EngineProcess) -> bool:
    job = engine._inbox.get(0.0)
    if job is not None:
        job()
    return job is not None


def test_a_line_that_floods_the_engine_waits_with_its_reader(engine: EngineProcess) -> None:
    """No more than 64 chunks wait; the next goes in once one was taken, and not before."""
    assert RECEIVED_MAX == 64
    for _ in range(64):
        engine.received(b"x" * 4096)
    late = threading.Thread(target=engine.received, args=(b"late",), daemon=True)
    late.start()
    late.join(0.1)
    assert late.is_alive()
    assert _take(engine)
    late.join(5.0)
    assert not late.is_alive()
    taken = 0
    while _take(engine):
        taken += 1
    assert taken == 64


def test_what_comes_while_the_loop_stands_still_is_dropped_as_stale(engine: EngineProcess) -> None:
    for _ in range(64):
        engine.received(b"x")
    engine.received(b"stale")  # returns after its second of patience
    taken = 0
    while _take(engine):
        taken += 1
    assert taken == 64


def test_deadlines_are_served_though_jobs_never_end() -> None:
    """Each job brings the next, so that the inbox is never empty; snapshots come all the same."""
    code = (
        "import socket, sys\n"
        "from estim.engine.process import EngineProcess\n"
        "engine = EngineProcess(socket.socket(fileno=int(sys.argv[1])))\n"
        "def again(): engine._post(again)\n"
        "for _ in range(100): again()\n"
        "engine.run()\n"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        flooded = subprocess.Popen(
            [sys.executable, "-P", "-c", code, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=dict(os.environ, PYTHONPATH=str(CHECKOUT)),
        )
        theirs.close()
        try:
            ours.settimeout(5.0)
            with ours.makefile("rb") as lines:
                seen = [from_line(lines.readline()) for _ in range(3)]
            assert all(isinstance(shown, Snapshot) for shown in seen)
            ours.close()
            wait_for(lambda: flooded.poll() is not None, 5.0, "end of the engine")
            assert flooded.returncode == 0
        finally:
            flooded.kill()
            flooded.wait()
