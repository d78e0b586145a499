"""What a campaign can run on a device: the conformance kit, a technician's job, tests of pytest."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from estim.errors import UsageError
from estim.rig.campaign import rows
from estim.rig.campaign.rows import Row

CONFORMANCE = "conformance"
JUNIT = "junit.xml"
OUTPUT = "output.jsonl"
RECORDS = "records"
_DEVICE_LINE = re.compile(r"^device\s*=.*$", re.MULTILINE)

RowsOf = Callable[[Row, Path], list[Row]]


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to run.

    Attributes:
        name: as it was asked for.
        rows_of: turns the folder of a run into its rows.
        command_for: the command for a device's URL and the folder of the run.
    """

    name: str
    rows_of: RowsOf
    command_for: Callable[[str, Path], list[str]]


def task_for(text: str, bench_ohm: int) -> Task:
    """Return the task that a word of the command line means.

    Raises:
        UsageError: it means none.
    """
    path = Path(text)
    if text == CONFORMANCE:
        return Task(text, _junit_rows, lambda url, folder: _conformance(url, folder, bench_ohm))
    if path.suffix == ".toml" and path.is_file():
        _check_job(path)
        return Task(text, _verify_rows, lambda url, folder: _verify(path, url, folder))
    if path.is_dir() or (path.suffix == ".py" and path.is_file()):
        return Task(text, _junit_rows, lambda url, folder: _pytest(path, url, folder, bench_ohm))
    raise UsageError(f"{text}: expected {CONFORMANCE}, a JOB.toml, or a file or folder of tests")


def _estim(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "estim", *arguments]


def _conformance(url: str, folder: Path, bench_ohm: int) -> list[str]:
    trace = ["--capture", str(folder / "trace.csv")] if url.startswith("sim:") else []
    return _estim(
        CONFORMANCE, "--device", url, "--bench", str(bench_ohm), "--nobody-connected", "--json",
        "--junit", str(folder / JUNIT), *trace,
    )  # fmt: skip


def _check_job(path: Path) -> None:
    found = _DEVICE_LINE.findall(path.read_text(encoding="utf-8", errors="replace"))
    if len(found) != 1:
        raise UsageError(f"{path}: device: {len(found)} lines; a campaign replaces exactly one")


def _verify(job: Path, url: str, folder: Path) -> list[str]:
    """Have the job done on this device, in a copy: state, captures and reports stay apart."""
    for each in job.parent.glob("*.toml"):
        shutil.copy(each, folder / each.name)
    text = job.read_text(encoding="utf-8")
    line = f"device = {json.dumps(url)}"
    (folder / job.name).write_text(_DEVICE_LINE.sub(lambda _: line, text), encoding="utf-8")
    return _estim(
        "verify", str(folder / job.name), "--json", "--records", str(folder / RECORDS),
        "--answer", "nobody_connected=yes",
    )  # fmt: skip


def _pytest(tests: Path, url: str, folder: Path, bench_ohm: int) -> list[str]:
    return [
        *(sys.executable, "-m", "pytest", str(tests), "--estim-device", url),
        *("--estim-bench", str(bench_ohm), "--junit-xml", str(folder / JUNIT)),
        *(
            "--estim-artefacts",
            str(folder),
            "--estim-keep",
            "all",
            "-o",
            f"cache_dir={folder / 'cache'}",
        ),
    ]


def _junit_rows(run: Row, folder: Path) -> list[Row]:
    return rows.from_junit(run, folder / JUNIT)


def _verify_rows(run: Row, folder: Path) -> list[Row]:
    return rows.from_verify(run, folder / OUTPUT)
