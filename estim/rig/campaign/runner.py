"""Run tasks on several devices at once: each run a process of its own, each device one at a time.

Rules:
1. A run that is asked to end is given time to stop its output; then it is killed, and the device's
   lease ends the output.
2. A run's rows are written when it has ended, whole; what did not end leaves one row that says so.
3. The campaign is ended by whoever started it, and by nothing that a device does.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from estim import api
from estim.clock import SystemClock
from estim.errors import DeviceFault, EstimError, RecordError
from estim.rig.campaign import rows
from estim.rig.campaign.rows import Row
from estim.rig.campaign.tasks import OUTPUT, Task
from firmware_protocol.schema import SCHEMA_HASH

RUNS = "runs"
POLL_S = 0.1
STOP_S = 20.0
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.]+")
_ARTEFACTS = ("*.csv", "*.jsonl", "*.xml", "*.txt", "*.md", "report-*.json")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, on what, how often, and where everything goes."""

    devices: Sequence[str]
    tasks: Sequence[Task]
    repetitions: int
    folder: Path
    timeout_s: int


class Campaign:
    """Run a plan to its end, or until somebody asks to end it."""

    def __init__(
        self, plan: Plan, stop_reason: Callable[[], str], on_row: Callable[[Row], None]
    ) -> None:
        self._plan = plan
        self._stop_reason = stop_reason
        self._on_row = on_row
        self._lock = threading.Lock()
        self._clock = SystemClock()
        self._name = f"{self._clock.wall():%Y%m%d-%H%M%S-%f}-{os.getpid()}"
        self._failures: list[RecordError | OSError] = []

    def run(self) -> None:
        """Run everything; return once nothing of it runs any more.

        Raises:
            RecordError: rows could not be written; every device has been stopped.
        """
        threads = [
            threading.Thread(target=self._serve, args=(number, url), name=f"device-{number}")
            for number, url in enumerate(self._plan.devices, start=1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _reason(self) -> str:
        return self._stop_reason() or ("nothing can be written any more" if self._failures else "")

    def _serve(self, number: int, url: str) -> None:
        """Run everything on one device, one thing after the other."""
        try:
            for repetition in range(1, self._plan.repetitions + 1):
                for task in self._plan.tasks:
                    if self._reason():
                        return
                    self._run_once(number, url, task, repetition)
        except (RecordError, OSError) as error:  # or nobody reads what is told
            self._failures.append(error)

    def _run_once(self, number: int, url: str, task: Task, repetition: int) -> None:
        name = "-".join((self._name, str(number), file_name(task.name), str(repetition)))
        run = Row(
            self._name, repetition, socket.gethostname(), url, "", "", "", "", task.name,
            began_at=self._now(),
        )  # fmt: skip
        try:
            run = identified(run)
            folder = self._plan.folder / RUNS / name
            folder.mkdir(parents=True)
            found = self._play(run, task, url, folder)
        except RecordError:
            raise
        except OSError as error:
            raise RecordError(f"{self._plan.folder}: {error.strerror}") from None
        except EstimError as error:  # nobody answers: the rig's fault, and the next may find it
            failed = replace(run, blame=error.blame or "rig", exit_code=error.exit_code)
            found = [rows.whole_run(replace(failed, ended_at=self._now()), str(error))]
        rows.write(self._plan.folder, name, found)
        with self._lock:
            for row in found:
                self._on_row(row)

    def _play(self, run: Row, task: Task, url: str, folder: Path) -> list[Row]:
        command = task.command_for(url, folder)
        launch = [sys.executable, "-m", "estim.rig.campaign.launch", str(os.getpid()), *command]
        with (folder / OUTPUT).open("wb") as output, (folder / "errors.txt").open("wb") as errors:
            process = subprocess.Popen(
                launch, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
            reason = self._wait(process)
        files = sorted({path for each in _ARTEFACTS for path in folder.rglob(each)})
        run = replace(
            run,
            ended_at=self._now(),
            exit_code=process.returncode,
            artefacts=tuple(str(path.relative_to(self._plan.folder)) for path in files),
        )
        found = task.rows_of(run, folder)
        if reason:
            return [*found, rows.whole_run(replace(run, blame="host"), reason)]
        if not found:
            text = (folder / "errors.txt").read_text(encoding="utf-8", errors="replace").strip()
            return [rows.whole_run(run, text.rpartition("\n")[2] or "it came to no test")]
        return found

    def _wait(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for a run; return why it was ended before, '' where it ended by itself."""
        began_us = self._clock.now_us()
        reason = ""
        while not reason:
            try:
                process.wait(POLL_S)
                return ""
            except subprocess.TimeoutExpired:
                lasted_s = (self._clock.now_us() - began_us) / 1e6
                is_late = lasted_s > self._plan.timeout_s
                reason = self._reason() or (f"not done in {lasted_s:.0f} s" if is_late else "")
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return reason

    def _now(self) -> str:
        return self._clock.wall().isoformat(timespec="milliseconds")


def file_name(task_name: str) -> str:
    """Return what a task is called in the names of files."""
    return _NOT_IN_NAMES.sub("-", Path(task_name).stem)


def identified(run: Row) -> Row:
    """Return the run with the device's own name.

    Raises:
        EstimError: there is no device, or it has no serial number.
    """
    device = api.identify(run.device_url)
    if not device.serial_number:
        raise DeviceFault(f"{run.device_url}: the device has no serial number")
    speaks_ours = run.device_url.startswith(("native:", "sim:"))  # and would not connect else
    return replace(
        run,
        dut_serial=device.serial_number,
        dut_model=device.model,
        dut_firmware=str(device.firmware_version),
        schema_hash=f"{SCHEMA_HASH:08x}" if speaks_ours else "",
    )
