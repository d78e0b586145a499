"""`estim records list|show|verify|export`; `amend` has a module of its own."""

from __future__ import annotations

import difflib
import io
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from estim.cli.console import complain, progress, say, say_json, say_table
from estim.cli.new_file import new_file
from estim.cli.timeline import say_timeline
from estim.errors import EstimError, RecordError, UsageError
from estim.prepare.places import configuration_folder, records_folder
from estim.record import station_key
from estim.record.catalogue import list_records
from estim.record.exports import export_events, export_telemetry
from estim.record.names import SUFFIX, record_path
from estim.record.reader import read, stream
from estim.record.verify import Verification, verify
from estim.units import format_clock

LIST_SCHEMA = "estim.record-summary/1"
EVENT_SCHEMA = "estim.record-event/1"
VERIFICATION_SCHEMA = "estim.record-verification/1"

FOUND_SOMETHING = 1
_STANDARD_OUTPUT = "-"
_FINDINGS_SHOWN = 20

Export = Callable[[Path, TextIO], int]


def run_list(arguments: Namespace) -> int:
    """Print the records of a folder, the newest first.

    Raises:
        UsageError: there is no such folder.
        RecordError: it cannot be read.
    """
    folder = folder_of(arguments.records)
    if not folder.is_dir():
        if arguments.records:
            raise UsageError(f"{folder}: there is no such folder")
        complain(f"no records yet; they will lie in {folder}")
        return 0
    with progress(f"reading the records in {folder}"):
        entries = list_records(folder, key_or_none())
    if arguments.json:
        for entry in entries:
            say_json(LIST_SCHEMA, **asdict(entry))
        return 0
    rows = [
        (
            entry.session_id,
            (entry.started_wall or "")[:19].replace("T", " "),
            entry.kind or "",
            entry.profile_id or "",
            entry.pseudonym or "",
            entry.device_serial or "",
            "" if entry.delivered_s is None else format_clock(entry.delivered_s),
            entry.end_reason or "",
            entry.state,
        )
        for entry in entries
    ]
    header = (
        "session", "started (UTC)", "kind", "profile", "pseudonym", "device", "output", "end",
        "state",
    )  # fmt: skip
    say_table(header, rows, giving=("started (UTC)", "device", "pseudonym", "end", "profile"))
    return 0


def run_show(arguments: Namespace) -> int:
    """Print what happened in a session, in order.

    Raises:
        UsageError: this cannot be a session id.
        RecordError: it cannot be read, or is not a record.
    """
    path = find_record(arguments.record, folder_of(arguments.records))
    check_is_record(path)
    if arguments.json:
        for event in stream(path):
            say_json(
                EVENT_SCHEMA,
                seq=event.seq,
                mono_us=event.mono_us,
                wall=event.wall.isoformat(timespec="microseconds"),
                kind=event.kind,
                content=dict(event.content),
            )
        return 0
    with progress(f"reading {path}"):
        record = read(path)
        verification = verify(path, key_or_none())
    say_timeline(record, verification)
    return 0


def run_verify(arguments: Namespace) -> int:
    """Check records; return 1 where anything was found in one of them.

    Raises:
        UsageError: a noted head goes with one record only, or has another shape.
    """
    names: list[str] = arguments.records_given
    head = arguments.head
    if head is not None and len(names) > 1:
        raise UsageError("--head: expected one record only, since each has its own head")
    if head is not None and (len(head) != 64 or not set(head) <= set("0123456789abcdef")):
        raise UsageError(f"--head {head}: expected 64 hex digits")
    folder, key = folder_of(arguments.records), key_or_none()
    codes = []
    for number, name in enumerate(names, start=1):
        try:
            path = find_record(name, folder)
            with progress(f"verifying {number} of {len(names)}"):
                verification = verify(path, key, head)
        except EstimError as error:
            complain(str(error))
            if arguments.json:
                say_json(VERIFICATION_SCHEMA, record=name, is_ok=False, problem=str(error))
            codes.append(error.exit_code)
            continue
        _say_verification(path, verification, arguments.json)
        codes.append(0 if verification.is_ok else FOUND_SOMETHING)
    return max(codes)


def run_export(arguments: Namespace) -> int:
    """Write a record in some form to a file that does not exist yet, or to standard output.

    Raises:
        UsageError: the file is there already or cannot be written, or options do not go together.
        RecordError: the record cannot be read.
    """
    path = find_record(arguments.record, folder_of(arguments.records))
    check_is_record(path)
    if arguments.csv is None and arguments.format != "csv":
        from estim.cli.record_forms import export

        if arguments.telemetry:
            raise UsageError("--telemetry: expected with CSV only")
        export(path, arguments.format, arguments.out)
    else:
        if arguments.csv is not None and arguments.out != _STANDARD_OUTPUT:
            raise UsageError("--out: expected without --csv, which names the file itself")
        _export_csv(path, arguments)
    return complain_of_findings(path)


def _export_csv(path: Path, arguments: Namespace) -> None:
    flag, target = ("--out", arguments.out) if arguments.csv is None else ("--csv", arguments.csv)
    export = export_telemetry if arguments.telemetry else export_events
    if target == _STANDARD_OUTPUT:
        export(path, sys.stdout)
        return
    # An export never replaces anything, a record least of all.
    with progress(f"exporting {path}"), new_file(flag, target) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        rows = export(path, text)
        text.detach()
    complain(f"{rows} rows written to {target}")


def complain_of_findings(path: Path) -> int:
    """Say where a record that was exported does not verify; return the exit code."""
    count = len(verify(path, key_or_none()).findings)
    if count:
        complain(f"{path}: the record does not verify ({count} found): see estim records verify")
    return FOUND_SOMETHING if count else 0


def _say_verification(path: Path, verification: Verification, is_json: bool) -> None:
    findings = verification.findings
    if is_json:
        say_json(
            VERIFICATION_SCHEMA,
            record=path.stem,
            path=str(path),
            is_ok=verification.is_ok,
            state=str(verification.state),
            lines=verification.lines,
            addenda=verification.addenda,
            is_recovered=verification.is_recovered,
            head=verification.head,
            findings=[asdict(finding) for finding in findings],
            notes=list(verification.notes),
        )
    else:
        verdict = f"NOT ok, {len(findings)} faults found" if findings else "ok"
        parts = [f"{path}: {verdict}", str(verification.state), f"{verification.lines} lines"]
        if verification.addenda:
            parts.append(f"{verification.addenda} addenda")
        if verification.is_recovered:
            parts.append("recovered after a crash")
        say(", ".join(parts))
        say(f"  head {verification.head}")
        for finding in findings[:_FINDINGS_SHOWN]:
            say(f"  {finding}")
        if len(findings) > _FINDINGS_SHOWN:
            say(f"  and {len(findings) - _FINDINGS_SHOWN} more; --json lists all")
        for note in verification.notes:
            say(f"  note: {note}")
    if findings:
        more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        complain(f"{path}: {findings[0]}{more}")


def folder_of(given: str | None) -> Path:
    """Return the folder of the records that was given, or this user's."""
    return Path(given) if given else records_folder()


def find_record(name: str, folder: Path) -> Path:
    """Return the file of a record that is named by its session id or by its path.

    Raises:
        UsageError: it is no path, and cannot be a session id.
        RecordError: there is no such record.
    """
    if name.endswith(SUFFIX) or os.sep in name or Path(name).is_file():
        return Path(name)
    path = record_path(folder, name)
    if path.exists():
        return path
    known = [other.stem for other in folder.glob(f"*{SUFFIX}")]
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise RecordError(f"there is no record {name!r} in {folder}{hint}")


def check_is_record(path: Path) -> None:
    """Raise RecordError where a file has not one readable event."""
    if next(stream(path), None) is None:
        raise RecordError(f"{path}: not a session record")


def key_or_none() -> bytes | None:
    """Return the station's key; without a usable one, say so and go on with the chain alone."""
    try:
        return station_key.load(configuration_folder())
    except RecordError as error:
        complain(f"warning: seals are not checked: {error}")
        return None
