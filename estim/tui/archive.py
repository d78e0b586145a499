"""What the records browser asks of the record folder. Knows no widget.

Rules:
1. The files are the truth: each is opened anew for each question, and none is kept open.
2. Nothing is ever replaced: an export is a new file, an addendum a new line.
3. Whatever a file holds, what is raised is an EstimError with one clear message.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from estim.clock import SystemClock
from estim.errors import EstimError, RecordError, UsageError
from estim.prepare.places import configuration_folder
from estim.record import exports, files, station_key
from estim.record.addenda import add_addendum
from estim.record.catalogue import CatalogueEntry, list_records
from estim.record.lines import HEADER, REASSIGNED, Event
from estim.record.reader import MAX_READ_BYTES, opened, record_lines, stream
from estim.record.recover import Recovery, recover
from estim.record.timeline import TELEMETRY, Entry, entries
from estim.record.verify import Verification, verify

KEPT_BYTES = 16 * 1024 * 1024
"""So much of a record's lines is held to be looked through; an event takes ten times its line."""
STATE_WORDS = {
    "damaged": "▲ DAMAGED",
    "unreadable": "▲ UNREADABLE",
    "unsealed": "! unsealed",
    "seal not checked: no key": "seal not checked",
}
"""The states that a person should see, with a sign; the others are shown as they are."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A record as it is looked through.

    Attributes:
        header: its header; None where a crash or damage took it.
        entries: what happened, in order.
        torn: lines that a crash cut short; `unreadable` ones are damage.
        left_out: events that are not shown, since there are too many.
    """

    header: Event | None
    entries: tuple[Entry, ...]
    torn: int
    unreadable: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Export:
    """A way to write a record to a file: `write` takes record and file, and says what it wrote."""

    words: str
    ending: str
    write: Callable[[Path, BinaryIO], str]
    is_of_visit: bool = True


def _csv(export: Callable[[Path, TextIO], int]) -> Callable[[Path, BinaryIO], str]:
    def write(path: Path, file: BinaryIO) -> str:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        rows = export(path, text)
        text.detach()
        return f"{rows} rows"

    return write


def _paper(form: str) -> Callable[[Path, BinaryIO], str]:
    def write(path: Path, file: BinaryIO) -> str:
        from estim.tui import papers

        papers.check_available(form, "this")
        account = papers.read_visit(path, "this")
        if form in papers.PDFS:
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder) / "made.pdf"
                papers.PDFS[form](account, made)
                file.write(made.read_bytes())
        else:
            file.write(papers.TEXTS[form](account).encode("utf-8"))
        return form

    return write


EXPORTS: tuple[Export, ...] = (
    Export("note, as text", "-note.txt", _paper("note")),
    Export("report, as text", "-report.txt", _paper("report")),
    Export("take-home sheet, as text", "-take-home.txt", _paper("take-home")),
    Export("note and report, PDF (extra 'report')", ".pdf", _paper("pdf")),
    Export("take-home sheet, PDF (extra 'report')", "-take-home.pdf", _paper("take-home-pdf")),
    Export("FHIR R4 (extra 'fhir')", "-fhir.json", _paper("fhir")),
    Export("CSV of every event", "-events.csv", _csv(exports.export_events), is_of_visit=False),
    Export(
        "CSV of the readings", "-readings.csv", _csv(exports.export_telemetry), is_of_visit=False
    ),
)
"""What a record can be written as; one line here is one choice on screen."""


def exports_of(record_kind: str) -> tuple[Export, ...]:
    """Return what a record of a kind can be written as."""
    is_visit = record_kind == "clinical"
    return tuple(each for each in EXPORTS if is_visit or not each.is_of_visit)


def key() -> bytes | None:
    """Return the station's key, None where it has none.

    Raises:
        RecordError: there is one that cannot be used.
    """
    return station_key.load(configuration_folder())


def listed(folder: Path) -> tuple[list[CatalogueEntry], str]:
    """Return the records of a folder, the newest first, and what people should know about them.

    Raises:
        RecordError: the folder cannot be read.
    """
    if not folder.is_dir():
        return [], f"no records yet; they will lie in {folder}"
    try:
        found, said = key(), ""
    except RecordError as error:
        found, said = None, f"seals are not checked: {error}"
    entries_found = list_records(folder, found)
    return entries_found, said or ("" if entries_found else f"no records in {folder}")


def state_words(state: str) -> str:
    """Return the state of a record as a list shows it, with a sign where it is not as it should."""
    return STATE_WORDS.get(state, f"▲ {state}" if state == "bad seal" else state)


def is_odd(state: str) -> bool:
    """Tell whether somebody should look at a record in this state."""
    return state in (STATE_WORDS.keys() - {"seal not checked: no key"}) or state == "bad seal"


def matches(entry: CatalogueEntry, sought: str) -> bool:
    """Tell whether a record has every word that is sought, in any of its fields."""
    fields = (
        entry.session_id, (entry.started_wall or "")[:16].replace("T", " "), entry.kind,
        entry.profile_id, entry.operator, entry.pseudonym, entry.device_serial, entry.end_reason,
        state_words(entry.state),
    )  # fmt: skip
    text = " ".join(field for field in fields if field).casefold()
    return all(word in text for word in sought.casefold().split())


def checked_size(path: Path) -> None:
    """Refuse what is too long to be held.

    Raises:
        RecordError: it is, or it is not there.
    """
    try:
        size = os.lstat(path).st_size
    except OSError as error:
        raise RecordError(f"{path}: cannot be opened: {error.strerror}") from None
    if size > MAX_READ_BYTES:
        megabytes = MAX_READ_BYTES // 1_000_000
        raise RecordError(f"{path}: over {megabytes} MB, too long to show; it can be exported")


def look(path: Path) -> Opened:
    """Read what happened in a session.

    Raises:
        RecordError: it cannot be opened, is too long to show, or is not a record at all.
    """
    checked_size(path)
    events: list[Event] = []
    torn = unreadable = left_out = kept = 0
    with opened(path) as descriptor:
        for line in record_lines(descriptor):
            if line.is_torn or not line.is_whole:
                torn += 1
                continue
            try:
                event = line.parse()
            except ValueError:
                unreadable += 1
                if unreadable > 100 and not events:
                    break
                continue
            kept += line.size
            if kept > KEPT_BYTES and event.kind not in TELEMETRY:
                left_out += 1
            elif kept <= KEPT_BYTES:
                events.append(event)
    if not events:
        raise RecordError(f"{path}: not a session record")
    header = events[0] if events[0].kind == HEADER else None
    return Opened(header, tuple(entries(events)), torn, unreadable, left_out)


def check(path: Path) -> Verification:
    """Verify chain, seal and key.

    Raises:
        RecordError: it cannot be read, or the station's key cannot be used.
    """
    return verify(path, key())


def add(path: Path, *, who: str, why: str, text: str, event_seq: int | None) -> str:
    """Add to a closed record; return its new head.

    Raises:
        EstimError: what was given makes no sense, or the record is open, in use or not writable.
    """
    if why == REASSIGNED:
        from estim.visit import pseudonym

        text = pseudonym.normalise(text)
    clock = SystemClock()
    return add_addendum(
        path, key(), who=who, why=why, text=text, event_seq=event_seq,
        mono_us=clock.now_us(), wall=clock.wall(),
    )  # fmt: skip


def close_after_crash(path: Path) -> Recovery:
    """Explain what a crash left and seal the record.

    Raises:
        RecordError: it is still being written, damaged, or cannot be written.
    """
    clock = SystemClock()
    sealing_key = station_key.load_or_make(configuration_folder())
    return recover(path, sealing_key, mono_us=clock.now_us(), wall=clock.wall())


def write_export(path: Path, export: Export, typed: str) -> str:
    """Write a record to a file that does not exist yet; return what was written, in words.

    Raises:
        EstimError: the file is there, cannot be written, or the record cannot be read.
    """
    if not typed:
        raise UsageError("no file is named")
    target = Path(typed).expanduser()
    next(stream(path), None)  # a record that is no record makes no file
    try:
        descriptor = files.open_new(target)
    except FileExistsError:
        raise UsageError(f"{target}: is there already; an export never replaces a file") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{target}: cannot be written: {_reason(error)}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            said = export.write(path, file)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UsageError(f"{target}: cannot be written: {_reason(error)}") from None
        raise
    count = len(verify(path, _key_if_any()).findings)
    warning = f"; the record does not verify ({count} found)" if count else ""
    return f"{said} written to {target}{warning}"


def _key_if_any() -> bytes | None:
    try:
        return key()
    except EstimError:
        return None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
