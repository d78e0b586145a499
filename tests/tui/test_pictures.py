"""README and docs show only pictures that `make pictures` takes, and those are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tui.pictures import FOLDER, PICTURES, renew, substance
from tests.tui.terminal import CHECKOUT

PAGES = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]
_NAMED = re.compile(r"""!\[[^]]*\]\(([^)\s]+)|<img[^>]*\bsrc=["']([^"']+)""")

DRAWN = (
    ".terminal-{id}-r1 {{ fill: {colour} }}"
    '<text class="terminal-{id}-r1" x="0" y="20">{sign}&#160;RUNNING&#160;</text>'
    '<text class="terminal-{id}-r1" x="90" y="20">{current}&#160;{clock}</text>'
    '<text class="terminal-{id}-r1" x="0" y="40">{session}</text>'
)
TAKEN = {
    "id": "123",
    "colour": "#aabbcc",
    "sign": "◐",
    "current": "7.0 mA",
    "clock": "29:50",
    "session": "20260102-030405-a1b2c3",
}


def pictures_named() -> set[Path]:
    found = set()
    for page in PAGES:
        for markdown, html in _NAMED.findall(page.read_text("utf-8")):
            found.add((page.parent / (markdown or html)).resolve())
    return found


def test_every_picture_that_a_page_names_is_taken_by_make_pictures_and_is_there() -> None:
    named = pictures_named()
    assert FOLDER / "session.svg" in named
    assert named <= {FOLDER / name for name in PICTURES}
    assert all(path.is_file() for path in named)


def test_every_picture_that_is_there_is_taken_and_named() -> None:
    there = set(FOLDER.iterdir())
    assert there == {FOLDER / name for name in PICTURES}
    assert there == pictures_named()


def test_no_picture_asks_a_stranger_for_anything() -> None:
    for path in FOLDER.glob("*.svg"):
        assert "@font-face" not in path.read_text("utf-8")
        assert "<script" not in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("changes", "is_another"),
    [
        ({"id": "456", "sign": "◓", "clock": "29:49", "session": "20270102-030405-ffffff"}, False),
        ({"current": "7.5 mA"}, True),
        ({"colour": "#ff0000"}, True),
        ({"session": "none"}, True),
    ],
)
def test_what_differs_each_time_is_no_reason_for_another_picture(
    tmp_path: Path, changes: dict[str, str], is_another: bool
) -> None:
    path = tmp_path / "picture.svg"
    former, taken = DRAWN.format(**TAKEN), DRAWN.format(**(TAKEN | changes))
    assert substance(former)[1] == ["  RUNNING 7.0 mA m:ss", "session"]
    assert renew(path, former)
    assert renew(path, taken) is is_another
    assert path.read_text("utf-8") == (taken if is_another else former)
