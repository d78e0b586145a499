"""Tell whether the last line of a text file was cut in its middle.

Rules:
1. A line that ends is whole. One without its end is as good as any other, unless cells of it are
   missing, or the last number has fewer digits than every other number of its column.
2. A column whose numbers are written as short as can be, or a file of few lines, tells nothing.
"""

from __future__ import annotations

import os
import re

from estim.rig.captures.capture import read_probe
from estim.rig.captures.csv_headers import Header

_TAIL_BYTES = 1 << 16
_ROWS_MIN = 20
_NUMBER = re.compile(r"[+-]?\d*(?:\.(\d*))?(?:[eE]([+-]?\d*))?")


def ends_a_line(name: str) -> bool:
    """Tell whether the last line of a file has its end."""
    return _tail(name, 1) in (b"\n", b"\r", b"")


def why_cut(name: str, header: Header) -> str:
    """Return what is missing of the last line of a CSV, or ''."""
    if ends_a_line(name):
        return ""
    probe = _decoded(read_probe(name))[header.first_line :]
    *tail, last = _decoded(_tail(name, _TAIL_BYTES))
    # The first line of either stretch, and the last of the probe, may be parts of lines.
    others = [_cells(line, header) for line in [*probe[:-1], *tail[1:]] if line.strip()]
    cells = _cells(last, header)
    if not last.strip() or len(others) < _ROWS_MIN:
        return ""
    wanted = min(map(len, others))
    if len(cells) < wanted:
        return f"{wanted} cells"
    place = len(cells) - 1
    column = [other[place] for other in others if len(other) > place]
    shapes = {_shape(cell) for cell in column}
    if (
        len(column) >= _ROWS_MIN
        and len(shapes) == 1
        and _is_cut(_shape(cells[place]), shapes.pop())
    ):
        return "as many digits as in the lines before"
    return ""


def _tail(name: str, count: int) -> bytes:
    with open(name, "rb") as file:
        file.seek(max(0, os.path.getsize(name) - count))
        return file.read()


def _decoded(octets: bytes) -> list[str]:
    return octets.decode("latin-1").splitlines()


def _cells(line: str, header: Header) -> list[str]:
    cells = line.split() if header.delimiter == " " else line.split(header.delimiter)
    return [cell.strip(" \t\"'").replace(header.decimal, ".") for cell in cells]


def _shape(cell: str) -> tuple[int, int] | None:
    """Return the digits after the point and those of the exponent; -1 for none, None for prose."""
    match = _NUMBER.fullmatch(cell)
    if not match:
        return None
    decimals, exponent = match.groups()
    return (
        -1 if decimals is None else len(decimals),
        -1 if exponent is None else len(exponent),
    )


def _is_cut(shape: tuple[int, int] | None, whole: tuple[int, int] | None) -> bool:
    if shape is None or whole is None:
        return False
    return shape[1] < whole[1] or (whole[1] == -1 == shape[1] and shape[0] < whole[0])
