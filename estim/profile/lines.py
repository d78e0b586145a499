"""Find the line on which a key stands in TOML text.

A scan of headers and keys, not a parser: it serves error messages, and says 'unknown' rather than
guess. Keys inside inline tables are found on the line where the outermost value begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-\"' ]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(
    r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_NAME = re.compile(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'")
_TOKEN = re.compile(r"\"\"\"|'''|\"(?:\\.|[^\"\\])*\"|'[^']*'|#.*|[\[\]{}]")


def line_of(text: str, path: Path) -> int | None:
    """Return the line, from 1, of the longest known beginning of `path`, None if none is known."""
    first_lines: dict[Path, int] = {}
    for number, known in key_lines(text):
        first_lines.setdefault(known, number)
    for length in range(len(path), 0, -1):
        known = path[:length]
        line = first_lines.get(known) or first_lines.get((*known, 0))
        if line:
            return line
    return None


def path_at(text: str, line: int) -> Path:
    """Return the path of the last key or header at or before a line, empty if there is none."""
    path: Path = ()
    for number, known in key_lines(text):
        if number > line:
            break
        path = known
    return path


def key_lines(text: str) -> Iterator[tuple[int, Path]]:
    """Yield line, from 1, and path of every header and key outside inline tables, in order."""
    table_counts: dict[Path, int] = {}
    table: Path = ()
    nesting = 0
    closing_quote = ""
    for number, line in enumerate(text.split("\n"), start=1):
        rest = line
        if not closing_quote and nesting == 0:
            header = _HEADER.match(line)
            if header:
                table = _enter(header.group(2), header.group(1) == "[[", table_counts)
                yield number, table
                continue
            key = _KEY.match(line)
            if key:
                yield number, table + _names(key.group(1))
                rest = line[key.end() :]
        nesting, closing_quote = _after(rest, nesting, closing_quote)


def _enter(names: str, is_array: bool, table_counts: dict[Path, int]) -> Path:
    """Return the path of a header; an array of tables is followed by the index of its newest."""
    path: Path = ()
    parts = _names(names)
    for depth, name in enumerate(parts, start=1):
        path = (*path, name)
        if is_array and depth == len(parts):
            table_counts[path] = table_counts.get(path, -1) + 1
        if path in table_counts:
            path = (*path, table_counts[path])
    return path


def _names(dotted: str) -> Path:
    return tuple(name.strip("\"'") for name in _NAME.findall(dotted))


def _after(line: str, nesting: int, closing_quote: str) -> tuple[int, str]:
    """Return bracket depth and open multi-line quote at the end of a line."""
    position = 0
    while position < len(line):
        if closing_quote:
            end = line.find(closing_quote, position)
            if end < 0:
                return nesting, closing_quote
            position = end + 3
            closing_quote = ""
            continue
        token = _TOKEN.search(line, position)
        if token is None:
            break
        position = token.end()
        mark = token.group()
        if mark in ('"""', "'''"):
            closing_quote = mark
        elif mark in "[{":
            nesting += 1
        elif mark in "]}":
            nesting = max(0, nesting - 1)
    return nesting, closing_quote
