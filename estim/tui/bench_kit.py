"""The conformance kit under the interface: a process of its own, held by the display.

Rules:
1. It goes on only while it is written to, and it is written to only while the strip is drawn: an
   interface that stands still, or is gone, ends the output within a second.
2. A stop is a signal to it, at once; it sends Stop and says whether zero was confirmed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import estim
from estim.errors import EstimError, UsageError
from estim.rig.jobs.delivery import Interrupted
from estim.tui.bench_jobs import LOOK_S, BenchJob

READ_SIZE = 65_536
ENDED_WITHIN_S = 10.0
PASSED, FAILED, INTERRUPTED = 0, 1, 130


def run_kit(job: BenchJob, arguments: Sequence[str]) -> dict[str, Any]:
    """Run `estim conformance` in a job's thread, a step for each verdict; return its result.

    Raises:
        Interrupted: the job was stopped; the output is zero.
        EstimError: the kit could not judge the device, or nothing confirmed zero.
    """
    process = _start(arguments)
    result: dict[str, Any] = {}
    said = ""
    try:
        job.driven_by_process(lambda: _interrupt(process))
        for line in _lines(process, job):
            event = _event(line)
            if event is None:
                said = line.removeprefix("estim: ")
                job.say(said)
            elif event["event"] == "check":
                _tell(job, event)
            elif event["event"] == "result":
                result = event
    finally:
        _end(process)
        job.driven_by_process(None)
    if process.returncode == INTERRUPTED and result.get("is_at_zero"):
        raise Interrupted
    if process.returncode not in (PASSED, FAILED) or not result:
        raise _KitFailed(said or f"the conformance kit ended with code {process.returncode}")
    return result


class _KitFailed(EstimError):
    """The kit ended without a whole report."""


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    former = environment.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(Path(estim.__file__).resolve().parent.parent), *filter(os.path.isabs, former)]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "estim", "conformance", "--json", "--held", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
    except OSError as error:
        raise UsageError(f"the conformance kit does not start: {error.strerror}") from None


def _lines(process: subprocess.Popen[bytes], job: BenchJob) -> Iterator[str]:
    """Yield what the kit says, and hold it while the display is drawn (rule 1)."""
    assert process.stdin is not None
    assert process.stdout is not None
    said = b""
    while True:
        if not job.stop_reason():
            with suppress(OSError):  # it has ended: what it said last is still to be read
                os.write(process.stdin.fileno(), b".")
        if select.select([process.stdout], [], [], LOOK_S)[0]:
            received = os.read(process.stdout.fileno(), READ_SIZE)
            if not received:
                return
            *lines, said = (said + received).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines)


def _event(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _tell(job: BenchJob, event: dict[str, Any]) -> None:
    job.tell("step", id=event["id"], verdict=event["verdict"])
    verdict = event["verdict"]
    shown = f"{'FAIL' if verdict == 'fail' else verdict:<18} {event['id']}  {event['requirement']}"
    job.say(shown)
    if verdict == "fail":
        job.say(f"{'':<19}expected {event['expected']}; seen {event['seen']}")


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        process.send_signal(signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let go of it: the end of its input ends it, after its last Stop."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(ENDED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
