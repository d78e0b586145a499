"""Write a record as CSV, for a spreadsheet or an analysis.

Text that a spreadsheet would take for a formula gets an apostrophe before it; numbers stay numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from estim.errors import RecordError
from estim.record import telemetry
from estim.record.lines import Event
from estim.record.reader import stream

MAX_COLUMNS = 1000

_EVENT_COLUMNS = ("seq", "mono_us", "wall", "kind")
# A content has a `kind` of its own at times.
_PREFIX = "content."
_READING_COLUMNS = ("target_ua", "setpoint_ua", "peak_ua", "load_ohm")
TELEMETRY_COLUMNS = (
    "seq",
    "from_us",
    "to_us",
    "channel",
    "contact",
    "count",
    *_READING_COLUMNS,
    *(
        f"{quantity}_{figure}_{unit}"
        for quantity, unit in (name.rsplit("_", 1) for name in _READING_COLUMNS)
        for figure in ("min", "mean", "max")
    ),
)


def export_events(path: Path, target: TextIO) -> int:
    """Write one row per event, its content flattened to `content.` columns; return their number.

    The record is read twice, so that it may be of any length.

    Raises:
        RecordError: it cannot be read, or has more than MAX_COLUMNS different keys.
    """
    names: set[str] = set()
    for event in stream(path):
        names.update(name for name, _ in _flattened(event.content, _PREFIX))
        if len(names) > MAX_COLUMNS:
            raise RecordError(f"{path}: more than {MAX_COLUMNS} different keys; not exported")
    columns = sorted(names)
    rows = csv.writer(target, lineterminator="\r\n")
    rows.writerow([*_EVENT_COLUMNS, *(_cell(name) for name in columns)])
    count = 0
    for event in stream(path):
        cells = dict(_flattened(event.content, _PREFIX))
        wall = event.wall.isoformat(timespec="microseconds")
        rows.writerow(
            [event.seq, event.mono_us, wall, event.kind, *(_cell(cells.get(n)) for n in columns)]
        )
        count += 1
    return count


def export_telemetry(path: Path, target: TextIO) -> int:
    """Write one row per kept reading or one-second summary and channel; return the number of rows.

    Raises:
        RecordError: the record cannot be read.
    """
    rows = csv.writer(target, lineterminator="\r\n")
    rows.writerow(TELEMETRY_COLUMNS)
    count = 0
    for event in stream(path):
        for fields in _telemetry_rows(event):
            rows.writerow([_cell(fields.get(column)) for column in TELEMETRY_COLUMNS])
            count += 1
    return count


def _telemetry_rows(event: Event) -> Iterator[dict[str, Any]]:
    content = event.content
    if event.kind == telemetry.CHANGED:
        for change in _mappings(content.get("changes")):
            times = {"from_us": change.get("at_us"), "to_us": change.get("at_us")}
            yield {"seq": event.seq, **times, **change}
    elif event.kind == telemetry.SECOND:
        times = {"from_us": content.get("from_us"), "to_us": content.get("to_us")}
        for channel in _mappings(content.get("channels")):
            yield {"seq": event.seq, **times, **channel}


def _mappings(items: object) -> Iterable[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _flattened(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for name, item in content.items():
        if isinstance(item, list):
            item = {str(index): part for index, part in enumerate(item)}
        if isinstance(item, dict):
            yield from _flattened(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def _cell(item: object) -> object:
    if item is None or isinstance(item, (bool, int, float)):
        return item
    # One line, and nothing that a file in UTF-8 could not hold.
    text = str(item).encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(char if char.isprintable() else " " for char in text)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text
