"""What the guides and README tell people to type and press is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.screen import Screen

from estim.cli.parser import build_parser
from estim.cli.plain import COMMANDS
from estim.errors import EstimError
from estim.profile.library import find
from estim.tui.app import EstimApp
from estim.tui.screens.library import LibraryScreen
from estim.tui.screens.person import PersonScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.screens.today import TodayScreen
from estim.tui.screens.visit import VisitScreen

CHECKOUT = Path(__file__).parents[2]
WITH_KEYS = ("therapist.md", "technician.md")
NAMED = (*WITH_KEYS, "rig.md", "lab.md", "devices.md")
GUIDES = [CHECKOUT / "docs" / name for name in NAMED]
PAGES = [*GUIDES, CHECKOUT / "docs" / "conformance.md", CHECKOUT / "README.md"]
SCREENS: dict[str, type[Screen[Any]]] = {
    "Today": TodayScreen,
    "Person": PersonScreen,
    "Visit": VisitScreen,
    "Session": SessionScreen,
    "Profiles": LibraryScreen,
}
NAMES = {"/": "slash", "Escape": "escape"}

_BLOCK = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(estim [^`]+)`")
_KEYS = re.compile(r"^### Keys: (\w+)\n(.*?)(?=^#|^(?![|\n]).)", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#]+)\)")


def commands(page: Path) -> Iterator[str]:
    """Yield every `estim` command of a page, in blocks and in the text."""
    text = page.read_text("utf-8")
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            _, found, rest = f" {line}".partition(" estim ")
            if found and not line.startswith(("python", "run=")):
                yield f"estim {rest}"
    yield from (inline for inline in _INLINE.findall(text) if "..." not in inline)


def words_of(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)[1:]
    ends = [words.index(sign) for sign in ("&&", "|", ";", ">") if sign in words]
    return words[: min(ends, default=len(words))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_parses(page: Path) -> None:
    found = list(commands(page))
    assert len(found) > 2
    for command in found:
        words = words_of(command)
        if "--help" in words or any("|" in word for word in words):
            continue  # a list of actions, or help: nothing is parsed
        try:
            build_parser().parse_args(words)
        except EstimError as error:
            is_group = len(words) == 1 and "required" in str(error)
            if not is_group:
                raise AssertionError(f"{page.name}: {command}: {error}") from None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_profile_that_is_named_is_shipped(page: Path) -> None:
    for command in commands(page):
        words = words_of(command)
        if words[:1] == ["run"] and len(words) > 1:
            find(words[1])


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_key_is_bound_on_its_screen(page: Path) -> None:
    tables = _KEYS.findall(page.read_text("utf-8"))
    assert bool(tables) == (page.name in WITH_KEYS)
    for name, table in tables:
        bound = bound_keys(SCREENS[name]) | bound_keys(EstimApp)
        keys = _ROW.findall(table)
        assert keys, name
        unbound = [key for key in keys if NAMES.get(key, key).lower() not in bound]
        assert unbound == [], f"{page.name}, {name}"


def bound_keys(place: type[Screen[Any]] | type[EstimApp]) -> set[str]:
    bindings = [each for each in place.BINDINGS if isinstance(each, Binding)]
    return {key for each in bindings for key in each.key.split(",")}


def test_the_readme_names_every_command() -> None:
    table = (CHECKOUT / "README.md").read_text("utf-8").partition("| command | for |")[2]
    named = set(re.findall(r"`(\w+)", table.partition("\n\n")[0]))
    groups = [each for each in build_parser()._actions if each.choices and each.dest != "theme"]
    (commands_there,) = [set(group.choices or ()) for group in groups]
    assert named - {"estim"} == commands_there


def test_the_words_of_line_mode_are_the_ones_that_it_takes() -> None:
    text = (CHECKOUT / "docs" / "technician.md").read_text("utf-8")
    section = text.partition("## In lines")[2].partition("\n## ")[0]
    assert _ROW.findall(section) == list(COMMANDS)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_a_guide_takes_less_than_ten_minutes_to_read(page: Path) -> None:
    assert len(page.read_text("utf-8").split()) < 2000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
