"""What commands print: results on standard output, everything else on standard error.

Rules:
1. With --json standard output holds one JSON object per line, each with its `schema`; else words
   and tables. Errors, warnings and progress go to standard error.
2. Everything passes `sanitize` on its way to a person; JSON is pure ASCII.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from estim.cli.tables import GAP, fit
from estim.text import sanitize

_WIDEST = 100
_NARROWEST = 40


def say(text: str = "") -> None:
    """Print one line for people."""
    print(sanitize(text))


def say_wrapped(text: str, indent: int = 2) -> None:
    """Print a paragraph for people, folded to the terminal."""
    margin = " " * indent
    for line in textwrap.wrap(
        sanitize(text), text_width(), initial_indent=margin, subsequent_indent=margin
    ):
        print(line)


def say_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    indent: int = 0,
    *,
    giving: Sequence[str] = (),
    folding: Sequence[str] = (),
) -> None:
    """Print a table for people; a column of numbers stands to the right.

    In a terminal it is fitted to the width by `tables.fit`; a pipe gets it whole.
    """
    cells = [[sanitize(cell) for cell in row] for row in (header, *rows)]
    left_out: list[str] = []
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - indent
        cells, left_out = fit(cells, room, giving, folding, "…" if can_print("…") else "...")
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    is_number = [
        any(column[1:]) and all(_is_number(cell) for cell in column[1:] if cell)
        for column in zip(*cells, strict=True)
    ]
    for row in cells:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        )
        print((" " * indent + (" " * GAP).join(padded)).rstrip())
    if left_out:
        say_wrapped(f"A wider terminal shows more: {', '.join(left_out)}", indent)


def say_json(schema: str, **fields: Any) -> None:
    """Print one JSON object on one line."""
    print(json.dumps({"schema": schema, **fields}, ensure_ascii=True, allow_nan=False))


def complain(text: str) -> None:
    """Print one line on standard error."""
    if sys.stderr is not None:
        print(f"estim: {sanitize(text)}", file=sys.stderr, flush=True)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show what takes its time, as long as it does and if somebody watches.

    What it yields shows how far it has come instead.
    """
    is_watched = sys.stderr is not None and sys.stderr.isatty()
    width = 0

    def tell(text: str) -> None:
        nonlocal width
        if is_watched:
            shown = f"estim: {sanitize(text)} ..."[: shutil.get_terminal_size().columns - 1]
            print(f"\r{shown:{width}}", end="", file=sys.stderr, flush=True)
            width = max(width, len(shown))

    tell(text)
    try:
        yield tell
    finally:
        if is_watched:
            print(f"\r{' ' * width}\r", end="", file=sys.stderr, flush=True)


def text_width() -> int:
    """Return how wide a paragraph for people may be."""
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))


def is_attended() -> bool:
    """Tell whether a person sits before standard input and output."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def can_print(text: str) -> bool:
    """Tell whether standard output has all these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError, AttributeError):
        return False
    return True


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).removeprefix("-").removesuffix("%").isdigit()
