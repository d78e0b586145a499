"""Write the report of a job beside its journal, in every form."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from estim.errors import UsageError
from estim.rig.jobs.course import Course, other_phase
from estim.rig.jobs.job import LoadedJob
from estim.rig.jobs.report import NOT_CERTIFIED, document, report_blocks
from estim.rig.reports import pdf
from estim.rig.reports.blocks import Block
from estim.rig.reports.markdown import to_markdown


def write_reports(loaded: LoadedJob, course: Course, *, with_pdf: bool) -> dict[str, Any]:
    """Write the report in every form, and return it as a document."""
    report = document(course, other_phase(loaded.folder, loaded.job.phase))
    blocks: list[Block] = report_blocks(report)
    _replace(report_path(loaded, "json"), json.dumps(report, indent=1, allow_nan=False) + "\n")
    _replace(report_path(loaded, "md"), to_markdown(blocks))
    if with_pdf:
        title = f"{loaded.job.title}: {loaded.job.phase}"
        pdf.write_pdf(blocks, report_path(loaded, "pdf"), title, f"{title}. {NOT_CERTIFIED}")
    return report


def report_path(loaded: LoadedJob, ending: str) -> Path:
    """Return where the report of a job lies: 'md', 'json' or 'pdf'."""
    return loaded.folder / f"report-{loaded.job.phase}.{ending}"


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
