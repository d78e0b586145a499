"""Write the files that derive from declarations, or check that they are up to date.

An output is a path and a function from the file's present text ('' if there is none) to its new
text, so that a part of a file that people write can be kept.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIFF_LINES_MAX = 20


@dataclass(frozen=True, slots=True)
class Output:
    """One generated file, relative to the root of the checkout."""

    path: str
    render: Callable[[str], str]


def between(page: str, begin: str, end: str, text: str) -> str:
    """Return a page with a text between its two markers, and all else as it was.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end or begin in rest or end in before + after:
        raise ValueError(f"expected {begin} and then {end}, once each")
    return f"{before}{begin}\n{text}\n{end}{after}"


def write_or_check(
    module: str, outputs: Sequence[Output], arguments: Sequence[str] | None, root: Path = ROOT
) -> int:
    """Write what is stale, or with `--check` name it; return the exit code of `python -m MODULE`.

    With `--check` nothing is written, and 1 means that something is stale; 1 also means that a file
    lacks its markers, and then nothing is written either.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    is_check = parser.parse_args(arguments).check
    try:
        found = _stale(outputs, root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for path, (present, renewed) in found.items():
        if is_check:
            print(f"{path} is stale: run `python -m {module}`", file=sys.stderr)
            for line in _short_diff(path, present, renewed):
                print(line, file=sys.stderr)
        else:
            (root / path).write_text(renewed, encoding="utf-8")
            print(f"{path} written")
    return 1 if is_check and found else 0


def _stale(outputs: Sequence[Output], root: Path) -> dict[str, tuple[str, str]]:
    """Return present and new text of every output that is not up to date, by path."""
    found = {}
    for output in outputs:
        path = root / output.path
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        try:
            renewed = output.render(present)
        except ValueError as error:
            raise ValueError(f"{output.path}: {error}") from error
        if renewed != present:
            found[output.path] = (present, renewed)
    return found


def _short_diff(path: str, present: str, renewed: str) -> list[str]:
    lines = list(
        difflib.unified_diff(
            present.splitlines(), renewed.splitlines(), path, f"{path} (new)", lineterm="", n=0
        )
    )
    if len(lines) > DIFF_LINES_MAX:
        return [*lines[:DIFF_LINES_MAX], f"... and {len(lines) - DIFF_LINES_MAX} more lines"]
    return lines
