"""Enter into a campaign's table what a command of its own said of a device."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

from estim.clock import SystemClock
from estim.errors import EstimError, RecordError, UsageError
from estim.rig.campaign import rows
from estim.rig.campaign.rows import PASSED, Row
from estim.rig.campaign.runner import RUNS, file_name, identified
from estim.rig.campaign.tasks import JUNIT


def enter(
    folder: Path, junit: Path | None, *, task: str, url: str, exit_code: int, text: str
) -> list[Row]:
    """Write the rows of one command and return them; its JUnit is kept beside those of runs.

    Args:
        folder: of the table.
        junit: what the command wrote; None where it writes none.
        task: what it did.
        url: the device; asked who it is, so that no row is of nobody.
        exit_code: of the command.
        text: why it failed, '' for words of our own.

    Raises:
        UsageError: the command says that it went well, and yet left no whole JUnit.
        RecordError: nothing can be written.
    """
    now = SystemClock().wall()
    name = f"{now:%Y%m%d-%H%M%S-%f}-{os.getpid()}"
    stamp = now.isoformat(timespec="milliseconds")
    run = Row(
        name, 1, socket.gethostname(), url, "", "", "", "", task,
        began_at=stamp, ended_at=stamp, exit_code=exit_code,
    )  # fmt: skip
    whole_name = f"{name}-{file_name(task)}"
    try:
        found = _rows_of(identified(run), junit, text)
    except UsageError:
        raise
    except EstimError as error:  # nobody answers: the rig's fault
        failed = replace(run, blame=error.blame or "rig", exit_code=exit_code or error.exit_code)
        found = [rows.whole_run(failed, text or str(error))]
    if junit is not None and junit.is_file():
        kept = _keep(folder, whole_name, junit)
        found = [replace(row, artefacts=(kept,)) for row in found]
    rows.write(folder, whole_name, found)
    return found


def _rows_of(run: Row, junit: Path | None, text: str) -> list[Row]:
    found = [] if junit is None else rows.from_junit(run, junit)
    if run.exit_code:
        if any(row.outcome in (rows.FAILED, rows.ERROR) for row in found):
            return found
        return [*found, rows.whole_run(run, text or f"exit code {run.exit_code}")]
    if junit is not None and not found:
        raise UsageError(f"{junit}: expected JUnit XML with a test case, as exit code 0 promises")
    return found or [replace(run, test=run.task, outcome=PASSED)]


def _keep(folder: Path, name: str, junit: Path) -> str:
    """Copy a JUnit file to the runs; return its path from the table's folder."""
    target = folder / RUNS / name / JUNIT
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(junit, target)
    except OSError as error:
        raise RecordError(f"{target}: cannot be written: {error.strerror}") from None
    return str(target.relative_to(folder))
