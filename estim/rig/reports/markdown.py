"""Write a report as Markdown that reads well as plain text too."""

from __future__ import annotations

from collections.abc import Sequence

from estim.rig.reports.blocks import Block, Grid, Heading, Listing, Paragraph, Picture
from estim.text import sanitize

_ACTIVE = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#"})
_LINE = "_" * 40


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return the text of a report; whatever came from a file is shown as it is, never obeyed."""
    return "\n".join(_spell(block) for block in blocks)


def _spell(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.rank} {_plain(block.text)}\n"
    if isinstance(block, Paragraph):
        text = _plain(block.text)
        return f"**{text}**\n" if block.is_strong else f"{text}\n"
    if isinstance(block, Listing):
        return "".join(f"- {_plain(point)}\n" for point in block.points)
    if isinstance(block, Grid):
        return _grid(block)
    if isinstance(block, Picture):
        return f"![{_plain(block.caption)}]({block.file_name})\n"
    return "".join(
        f"{_plain(role)}:  \nname {_LINE} date {_LINE[:16]}  \nsignature {_LINE}\n\n"
        for role in block.roles
    )


def _grid(grid: Grid) -> str:
    cells = [[_plain(cell) for cell in row] for row in (grid.header, *grid.rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return sanitize(text).translate(_ACTIVE)
