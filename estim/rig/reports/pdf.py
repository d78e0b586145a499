"""Write a report as PDF, with reportlab where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from estim.errors import UsageError
from estim.rig.reports.blocks import Block, Grid, Heading, Listing, Paragraph, Picture, Signatures
from estim.text import sanitize

MARGIN_PT = 42
BODY_PT = 9.0
_LEADING = 11.5 / 9
_VERDICT_COLOURS = {"pass": "#e6f2e6", "fail": "#f6d5d5", "inconclusive": "#fbeecb"}


def check_available(asked: str = "--pdf") -> None:
    """Refuse, before any work is done, where the extra is missing.

    Raises:
        UsageError: reportlab is not installed.
    """
    if importlib.util.find_spec("reportlab") is None:
        raise UsageError(f"{asked} needs the extra 'report': pip install 'estim[report]'")


def write_pdf(
    blocks: Sequence[Block], path: Path, title: str, footer: str, body_pt: float = BODY_PT
) -> None:
    """Write a report; `footer` stands on every page, with its number; `body_pt` is its print.

    Raises:
        UsageError: the extra is missing, or the file cannot be written.
    """
    check_available()
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    document = SimpleDocTemplate(
        str(path),
        pagesize=A4,
        leftMargin=MARGIN_PT,
        rightMargin=MARGIN_PT,
        topMargin=MARGIN_PT,
        bottomMargin=MARGIN_PT + 12,
        title=_plain(title),
        author="Estim",
    )

    def number_page(canvas: Any, page: Any) -> None:
        canvas.saveState()
        canvas.setFont("Helvetica", 7.5)
        canvas.drawString(MARGIN_PT, MARGIN_PT - 8, _plain(footer))
        canvas.drawRightString(A4[0] - MARGIN_PT, MARGIN_PT - 8, f"page {canvas.getPageNumber()}")
        canvas.restoreState()

    folder = path.parent
    story = [part for block in blocks for part in _flow(block, document.width, folder, body_pt)]
    try:
        document.build(story, onFirstPage=number_page, onLaterPages=number_page)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _flow(block: Block, width_pt: float, folder: Path, body_pt: float) -> list[Any]:
    """Return what reportlab lays out for one block."""
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Image, KeepTogether, Spacer
    from reportlab.platypus import Paragraph as Flow

    styles = getSampleStyleSheet()
    body = styles["BodyText"]
    body.fontSize, body.leading = body_pt, body_pt * _LEADING
    if isinstance(block, Heading):
        style = styles[f"Heading{min(block.rank, 4)}"]
        style.fontSize *= body_pt / BODY_PT
        style.leading *= body_pt / BODY_PT
        style.keepWithNext = 1
        return [Flow(_marked(block.text), style)]
    if isinstance(block, Paragraph):
        text = _marked(block.text)
        return [Flow(f"<b>{text}</b>" if block.is_strong else text, body)]
    if isinstance(block, Listing):
        return [Flow(_marked(point), body, bulletText="-") for point in block.points]
    if isinstance(block, Grid):
        return [Spacer(1, 4), _table(block, width_pt), Spacer(1, 6)]
    if isinstance(block, Picture):
        image = Image(str(folder / block.file_name))
        scale = min(1.0, width_pt / image.imageWidth)
        image.drawWidth, image.drawHeight = image.imageWidth * scale, image.imageHeight * scale
        return [KeepTogether([image, Flow(_marked(block.caption), body)])]
    return _signature_lines(block, width_pt)


def _table(grid: Grid, width_pt: float) -> Any:
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import LongTable
    from reportlab.platypus import Paragraph as Flow

    cell = ParagraphStyle("cell", fontName="Helvetica", fontSize=7.5, leading=9)
    head = ParagraphStyle("head", parent=cell, fontName="Helvetica-Bold")
    whole = sum(grid.shares)
    table = LongTable(
        [
            [Flow(_marked(text), head) for text in grid.header],
            *([Flow(_marked(text), cell) for text in row] for row in grid.rows),
        ],
        colWidths=[width_pt * share / whole for share in grid.shares],
        repeatRows=1,
    )
    style: list[Any] = [
        ("GRID", (0, 0), (-1, -1), 0.3, colors.grey),
        ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#e8e8e8")),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]
    for number, row in enumerate(grid.rows, start=1):
        for column, text in enumerate(row):
            colour = _VERDICT_COLOURS.get(text)
            if colour:
                place = (column, number)
                style.append(("BACKGROUND", place, place, colors.HexColor(colour)))
    table.setStyle(style)
    return table


def _signature_lines(block: Signatures, width_pt: float) -> list[Any]:
    from reportlab.platypus import KeepTogether, Spacer, Table

    drawn: list[Any] = []
    for role in block.roles:
        table = Table(
            [[_plain(role), "", "", ""], ["name", "", "date", ""], ["signature", "", "", ""]],
            colWidths=[width_pt * share for share in (0.16, 0.44, 0.1, 0.3)],
            rowHeights=[16, 22, 30],
        )
        table.setStyle(
            [
                ("FONTSIZE", (0, 0), (-1, -1), 9),
                ("FONTNAME", (0, 0), (0, 0), "Helvetica-Bold"),
                ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
                ("LINEBELOW", (1, 1), (1, 2), 0.5, "black"),
                ("LINEBELOW", (3, 1), (3, 1), 0.5, "black"),
            ]
        )
        drawn += [Spacer(1, 10), table]
    return [KeepTogether(drawn)]


def _plain(text: str) -> str:
    """Return text that the built-in fonts can show; what they cannot becomes a question mark."""
    return sanitize(text).encode("cp1252", "replace").decode("cp1252")


def _marked(text: str) -> str:
    return escape(_plain(text))
