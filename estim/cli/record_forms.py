"""Write one visit as note, report, take-home sheet, PDF or FHIR bundle."""

from __future__ import annotations

from pathlib import Path

from estim.cli.console import complain, progress, say
from estim.cli.new_file import new_file
from estim.errors import UsageError
from estim.tui import papers

STANDARD_OUTPUT = "-"


def export(path: Path, form: str, target: str) -> None:
    """Write the record of a visit in one of these forms.

    Raises:
        UsageError: it is no visit, an extra is missing, or the file cannot be written.
        RecordError: the record cannot be read.
    """
    asked = f"--format {form}"
    papers.check_available(form, asked)
    if form in papers.PDFS and target == STANDARD_OUTPUT:
        raise UsageError(f"{asked}: expected --out FILE too")
    with progress(f"reading {path}"):
        account = papers.read_visit(path, asked)
    if form in papers.PDFS:
        with new_file("--out", target):
            papers.PDFS[form](account, Path(target))
    else:
        text = papers.TEXTS[form](account)
        if target == STANDARD_OUTPUT:
            for line in text.rstrip("\n").split("\n"):
                say(line)
            return
        with new_file("--out", target) as file:
            file.write(text.encode("utf-8"))
    complain(f"{form} written to {target}")
