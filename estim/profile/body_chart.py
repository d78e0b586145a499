"""Draw the body in plain text, with the sites where electrodes can go.

Rules:
1. Every drawing is ASCII, at most 30 columns by 20 rows, as the therapist sees the patient: from
   behind the patient's left is on the left, from the front it is on the right.
2. A site stands in one drawing, at one place: its mark covers `column` and the next, which are
   blank in the drawing.
3. Names are stable: profiles and records hold them. A site may be added, never renamed.
4. Both pads of a channel lie on one part of the body: current does not cross from limb to limb or
   through the trunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

COLUMNS_MAX = 30
ROWS_MAX = 20
MARK_SIZE = 2
_PAIR_GAP = "  "
_MIRRORED = str.maketrans("/\\()`'", "\\/)('`")


@dataclass(frozen=True, slots=True)
class Site:
    """One place for a pad.

    Attributes:
        name: stable and unique, as 'left-calf-upper-outer'.
        part: what both pads of a channel must share, as 'left leg' or 'low back'.
        view: name of the drawing that shows it.
        row, column: of its mark's first character in the drawing, from 0.
    """

    name: str
    part: str
    view: str
    row: int
    column: int

    @property
    def words(self) -> str:
        """Return the name as people read it."""
        return self.name.replace("-", " ")


@dataclass(frozen=True, slots=True)
class View:
    """One drawing: its lines without marks, and its sites, top to bottom and left to right."""

    name: str
    rows: tuple[str, ...]
    sites: tuple[Site, ...]


def draw(pads_by_channel: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return every drawing that holds a pad, with the pads marked, and a legend.

    Args:
        pads_by_channel: names of sites, channel after channel; pads are marked 1a, 1b, 2a ...

    Raises:
        KeyError: a name is not that of a site.
    """
    marks: dict[Site, list[str]] = {}
    for number, pads in enumerate(pads_by_channel, start=1):
        for index, name in enumerate(pads):
            marks.setdefault(SITES[name], []).append(f"{number}{chr(ord('a') + index)}")
    lines: list[str] = []
    for view in VIEWS.values():
        shown = {site: found[0] for site, found in marks.items() if site.view == view.name}
        if shown:
            lines += [f"{view.name}:", *_marked(view, shown), ""]
    return (*lines, *(f"{', '.join(found)}  {site.words}" for site, found in marks.items()))


def parts(pads: Iterable[str]) -> tuple[str, ...]:
    """Return the parts of the body that pads lie on, each once; raise KeyError as `draw` does."""
    return tuple(dict.fromkeys(SITES[name].part for name in pads))


def _marked(view: View, marks: Mapping[Site, str]) -> list[str]:
    rows = [row.ljust(COLUMNS_MAX) for row in view.rows]
    for site, mark in marks.items():
        row = rows[site.row]
        rows[site.row] = row[: site.column] + mark + row[site.column + len(mark) :]
    return [row.rstrip() for row in rows]


# How drawings are written down: a capital letter stands where the mark of a site begins, and is
# blank in the drawing. A pair is written once, as the limb on the left of the picture.


def _lettered(art: str) -> tuple[list[str], list[tuple[str, int, int]]]:
    """Return the blank rows, all of one length, and every letter with its row and column."""
    rows = art.strip("\n").split("\n")
    size = max(map(len, rows))
    letters = [
        (letter, number, column)
        for number, row in enumerate(rows)
        for column, letter in enumerate(row)
        if letter.isupper()
    ]
    blank = ["".join(" " if sign.isupper() else sign for sign in row) for row in rows]
    return [row.ljust(size) for row in blank], letters


def _single(name: str, part: str, art: str, sites: Mapping[str, str]) -> View:
    """Return a drawing of one part; `sites` gives the name that each letter stands for."""
    rows, letters = _lettered(art)
    found = tuple(Site(sites[letter], part, name, row, col) for letter, row, col in letters)
    return View(name, tuple(row.rstrip() for row in rows), found)


def _pair(name: str, first: str, part: str, art: str, sites: Mapping[str, str]) -> View:
    """Return a drawing of both sides, `first` on the left; names and parts get their side."""
    second = "right" if first == "left" else "left"
    half, letters = _lettered(art)
    size = len(half[0])
    start = size + len(_PAIR_GAP)
    rows = [f"{first:^{size}}{_PAIR_GAP}{second:^{size}}"]
    rows += [row + _PAIR_GAP + row[::-1].translate(_MIRRORED) for row in half]
    found = []
    for letter, row, column in letters:
        mirrored = start + size - MARK_SIZE - column
        for side, at in ((first, column), (second, mirrored)):
            found.append(Site(f"{side}-{sites[letter]}", f"{side} {part}", name, row + 1, at))
    found.sort(key=lambda site: (site.row, site.column))
    return View(name, tuple(row.rstrip() for row in rows), tuple(found))


_CALF = r"""
  |       |
  |  K    |
 (         )
/           \
| A  B   C  |
|           |
|           |
\  D  E     /
 \         /
  |       |
  |       |
  | F   G |
   |     |
   (     )
    \___/
"""
_SHIN = r"""
   |  .-.  |
   | (   ) |
   |  '-'  |
  /         \
  |A        |
  |         |
  | B    C  |
   |        |
   | D   E  |
   |       |
    |      |
    | F  G |
     |    |
     |    |
    /      \
   (_|_|_|__)
"""
_INNER_LEG = r"""
  |      |
 /        |
|         |
|         |
|         |
 | A     |
  |      |
   | B  |
   |    |
   | C  |
   | (o) \_
  (        `.
   `--------'
"""
_FOOT_TOP = r"""
    |     |
    | A   |
   /       \
   | B   C |
   |       |
  /  D   E |
 /         |
 \_|_|_|_(_)
"""
_SOLE = r"""
  ._._._(_)
 /         |
 | A   B   |
 \         |
  \      /
   |    |
   |    |
   | C   \
   |     |
    \___/
"""
_KNEE = r"""
 |          |
 |          |
 | A     B  |
 |          |
 |   .--.   |
 |  (    )  |
 |   '--'   |
 |          |
 | C     D  |
  |        |
  |        |
"""
_THIGH_FRONT = r"""
/           \
|           |
| A      B  |
|           |
|           |
| C  D   E  |
|           |
 |          |
 |          |
 | F     G  |
  |        |
  |  .--.  |
  | (    ) |
"""
_THIGH_BACK = r"""
|           |
(___________)
|           |
| A      B  |
|           |
|           |
| C      D  |
 |         |
 |         |
 | E    F  |
  |       |
  |       |
"""
_FOREARM = r"""
 |       |
 (       )
|         |
| A     B |
|         |
|         |
 | C   D |
 |       |
  |     |
  |  E  |
  |-----|
 /      |
/       |
\|  |_|_|
"""
_LOW_BACK = r"""
   |         ::         |
    |        ::        |
    |    A   ::  B     |
     |       ::       |
     |       ::       |
     |   C   ::  D    |
     |       ::       |
    /    E   ::  F     \
   /         ::         \
  |     G    \/   H      |
  |          ||          |
  |          ||          |
   \        /  \        /
    `------'    `------'
"""
_ABDOMEN = r"""
    \       .--.       /
     |    .'    `.    |
     |                |
     |    A     B     |
     |                |
     |    C  () D     |
     |                |
    /                  \
    |     E     F      |
   |      G     H       |
   |                    |
   |\                  /|
   | `-.            .-' |
   |    `-.      .-'    |
"""
_SHOULDER_FRONT = r"""
          (
           |
    .-----'
   /
  /   A
 |
 | B  |
 |    |
 | C  |
 |    |
"""
_SHOULDER_BACK = r"""
          (
           |
    .-----'
   /     A
  /   B
 |
 | C  |
 |    |
 | D  |
 |    |
"""

_LIMB_VIEWS = (
    _pair(
        "lower legs, front", "right", "leg", _SHIN,
        {
            "A": "below-knee-outer", "B": "shin-upper-outer", "C": "shin-upper-inner",
            "D": "shin-middle-outer", "E": "shin-middle-inner",
            "F": "shin-lower-outer", "G": "shin-lower-inner",
        },
    ),
    _pair(
        "lower legs, back", "left", "leg", _CALF,
        {
            "A": "calf-upper-outer", "B": "calf-upper", "C": "calf-upper-inner",
            "D": "calf-middle-outer", "E": "calf-middle", "F": "calf-lower-outer",
            "G": "calf-lower-inner", "K": "knee-back",
        },
    ),
    _pair(
        "lower legs, inner side", "left", "leg", _INNER_LEG,
        {"A": "inner-leg-middle", "B": "inner-leg-above-ankle", "C": "inner-ankle-behind"},
    ),
    _pair(
        "feet, from above", "right", "leg", _FOOT_TOP,
        {
            "A": "ankle-front", "B": "foot-top-outer", "C": "foot-top-inner",
            "D": "toes-base-outer", "E": "toes-base-inner",
        },
    ),
    _pair(
        "feet, soles", "right", "leg", _SOLE,
        {"A": "sole-front-outer", "B": "sole-front-inner", "C": "heel"},
    ),
    _pair(
        "knees, front", "right", "leg", _KNEE,
        {
            "A": "knee-above-outer", "B": "knee-above-inner",
            "C": "knee-below-outer", "D": "knee-below-inner",
        },
    ),
    _pair(
        "thighs, front", "right", "leg", _THIGH_FRONT,
        {
            "A": "thigh-upper-outer", "B": "thigh-upper-inner", "C": "thigh-middle-outer",
            "D": "thigh-middle", "E": "thigh-middle-inner",
            "F": "thigh-lower-outer", "G": "thigh-lower-inner",
        },
    ),
    _pair(
        "thighs, back", "left", "leg", _THIGH_BACK,
        {
            "A": "thigh-back-upper-outer", "B": "thigh-back-upper-inner",
            "C": "thigh-back-middle-outer", "D": "thigh-back-middle-inner",
            "E": "thigh-back-lower-outer", "F": "thigh-back-lower-inner",
        },
    ),
    _pair(
        "forearms, palm side", "right", "arm", _FOREARM,
        {
            "A": "forearm-upper-outer", "B": "forearm-upper-inner",
            "C": "forearm-middle-outer", "D": "forearm-middle-inner", "E": "wrist-above",
        },
    ),
    _pair(
        "shoulders, front", "right", "shoulder", _SHOULDER_FRONT,
        {"A": "shoulder-front", "B": "upper-arm-front", "C": "upper-arm-front-lower"},
    ),
    _pair(
        "shoulders, back", "left", "shoulder", _SHOULDER_BACK,
        {
            "A": "shoulder-blade-above", "B": "shoulder-back",
            "C": "upper-arm-back", "D": "upper-arm-back-lower",
        },
    ),
)  # fmt: skip
_TRUNK_VIEWS = (
    _single(
        "low back and buttocks", "low back", _LOW_BACK,
        {
            "A": "left-low-back-upper", "B": "right-low-back-upper",
            "C": "left-low-back-middle", "D": "right-low-back-middle",
            "E": "left-low-back-lower", "F": "right-low-back-lower",
            "G": "left-buttock-upper", "H": "right-buttock-upper",
        },
    ),
    _single(
        "abdomen", "abdomen", _ABDOMEN,
        {
            "A": "right-abdomen-upper", "B": "left-abdomen-upper",
            "C": "right-abdomen-middle", "D": "left-abdomen-middle",
            "E": "right-abdomen-lower", "F": "left-abdomen-lower",
            "G": "right-abdomen-lowest", "H": "left-abdomen-lowest",
        },
    ),
)  # fmt: skip

VIEWS: Mapping[str, View] = MappingProxyType(
    {view.name: view for view in (*_LIMB_VIEWS, *_TRUNK_VIEWS)}
)
"""Every drawing by its name, in the order in which they are shown."""

SITES: Mapping[str, Site] = MappingProxyType(
    {site.name: site for view in VIEWS.values() for site in view.sites}
)
"""Every site by its name."""
