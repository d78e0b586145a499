"""What a report consists of, before it becomes Markdown or PDF."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; `rank` 1 is that of the whole report."""

    text: str
    rank: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences; `is_strong` for what must not be overlooked."""

    text: str
    is_strong: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Points, one a line."""

    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. `shares` are the widths of the columns, in any unit."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shares: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signatures:
    """A line to sign for each role."""

    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file beside the report."""

    file_name: str
    caption: str


Block = Heading | Paragraph | Listing | Grid | Signatures | Picture
