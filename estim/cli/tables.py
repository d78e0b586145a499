"""How a table fits a terminal that is narrower than it.

Rules:
1. Columns that may give way are cut with an ellipsis, then others are folded into more lines.
2. Where that is not enough, columns that may give way are left out, the least important first, and
   named to the caller. What is neither is never touched: an id can be copied.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

GAP = 2
_LEAST_CUT = 12
_LEAST_FOLDED = 12


def fit(
    cells: Sequence[Sequence[str]],
    room: int,
    giving: Sequence[str],
    folding: Sequence[str],
    ellipsis: str,
) -> tuple[list[list[str]], list[str]]:
    """Return the rows that fit into `room` columns, and the headings that were left out.

    Args:
        cells: the rows, the first with the headings.
        room: characters in a line.
        giving: headings of columns to be cut or left out, the least important first.
        folding: headings of columns to be folded, the first one first.
        ellipsis: what ends a cell that is cut.
    """
    whole = {column[0]: max(map(len, column)) for column in zip(*cells, strict=True)}
    for count in range(len(giving) + 1):
        widths = {name: width for name, width in whole.items() if name not in giving[:count]}
        over = sum(widths.values()) + GAP * (len(widths) - 1) - room
        for name in (*giving[count:], *folding):
            least = min(widths[name], _LEAST_FOLDED if name in folding else _LEAST_CUT)
            taken = max(0, min(over, widths[name] - least))
            widths[name] -= taken
            over -= taken
        if over <= 0:
            break
    rows = [
        line
        for row in cells
        for line in _lines(dict(zip(whole, row, strict=True)), widths, folding, ellipsis)
    ]
    return rows, list(giving[:count])


def _lines(
    row: dict[str, str], widths: dict[str, int], folding: Sequence[str], ellipsis: str
) -> Iterator[list[str]]:
    """Yield one row as the lines that it takes."""
    columns = []
    for name, width in widths.items():
        cell = row[name]
        if len(cell) <= width:
            columns.append([cell])
        elif name in folding:
            columns.append(textwrap.wrap(cell, width))
        else:
            columns.append([cell[: width - len(ellipsis)] + ellipsis])
    for line in zip_longest(*columns, fillvalue=""):
        yield list(line)
