"""What the record of a visit is written as: note, report, take-home sheet, PDF, FHIR bundle.

Knows no widget and no console: the records browser and `estim records export` write the same.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from estim.errors import UsageError
from estim.rig.reports import pdf
from estim.rig.reports.blocks import Block, Heading, Listing, Paragraph
from estim.visit import fhir, note, report, take_home
from estim.visit.account import Account, read_account

_BUNDLE_MODULE = "fhir.resources.R4B.bundle"
# R4B is R4 with other resources for medication and evidence: none of those is written here. [K]


def check_available(form: str, asked: str) -> None:
    """Refuse, before any work is done, where an extra is missing.

    Raises:
        UsageError: it is; the message begins with what was asked.
    """
    if form in PDFS:
        pdf.check_available(asked)
    if form == "fhir" and importlib.util.find_spec("fhir") is None:
        raise UsageError(f"{asked} needs the extra 'fhir': pip install 'estim[fhir]'")


def read_visit(path: Path, asked: str) -> Account:
    """Return what the record of a visit tells.

    Raises:
        UsageError: it is no visit of a person.
        RecordError: the record cannot be read.
    """
    account = read_account(path)
    if account.kind == "bench":
        raise UsageError(f"{path}: not a person's visit; expected one for {asked}")
    return account


def _fhir(account: Account) -> str:
    """Return the bundle, once the library's models have taken it."""
    made = fhir.bundle(account)
    models = importlib.import_module(_BUNDLE_MODULE)
    try:
        models.Bundle.model_validate(made)
    except ValueError as error:  # pydantic's ValidationError is one
        first = str(error).splitlines()[0]
        raise UsageError(f"FHIR: this record makes no valid bundle: {first}") from None
    return json.dumps(made, indent=2, ensure_ascii=True) + "\n"


def _json(account: Account) -> str:
    made = {"schema": report.SCHEMA, **report.document(account)}
    return json.dumps(made, indent=2, ensure_ascii=True) + "\n"


TEXTS: dict[str, Callable[[Account], str]] = {
    "note": note.to_text,
    "report": report.to_text,
    "json": _json,
    "take-home": take_home.to_text,
    "fhir": _fhir,
}


# PDF.


def _note_pdf(account: Account, path: Path) -> None:
    blocks = [
        Heading("Note", 1), *_blocks(note.to_text(account)),
        Heading("Report", 1), *_blocks(report.to_text(account)),
    ]  # fmt: skip
    footer = f"{account.pseudonym}, {account.session_id}. {report.NOT_CERTIFIED}"
    pdf.write_pdf(blocks, path, f"Visit {account.session_id}", footer)


def take_home_pdf(account: Account, path: Path) -> None:
    """Write the take-home sheet in large print.

    Raises:
        UsageError: the extra is missing, or the file cannot be written.
    """
    blocks: list[Block] = []
    for part in take_home.parts(account):
        blocks += [Heading(part.title)] if part.title else []
        blocks += [Listing(part.points)] if part.is_list else map(Paragraph, part.points)
    title = f"Take-home sheet, {account.pseudonym}"
    pdf.write_pdf(blocks, path, title, account.pseudonym, take_home.PRINT_PT)


PDFS: dict[str, Callable[[Account, Path], None]] = {
    "pdf": _note_pdf,
    "take-home-pdf": take_home_pdf,
}


def _blocks(text: str) -> Sequence[Block]:
    """Return lines as blocks: capitals head a part, what is set in belongs to a list."""
    found: list[Block] = []
    for line in text.split("\n"):
        if line.startswith("  "):
            found.append(Listing((line.strip(),)))
        elif line.isupper():
            found.append(Heading(line, 3))
        elif line.strip():
            found.append(Paragraph(line))
    return found
