"""`estim` alone: what the station and the command line choose for the interface."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.cli.parser import THEMES, parse
from estim.cli.start import options
from estim.errors import UsageError
from estim.prepare import interface
from estim.tui import themes
from tests.cli.commands import Shell


def test_every_theme_has_one_name_everywhere() -> None:
    assert tuple(THEMES) == interface.THEMES
    assert set(THEMES) == set(themes.THEMES)


def test_the_file_of_the_station_counts_and_what_is_typed_wins(estim: Shell, home: Path) -> None:
    bare = options(parse([]))
    assert (bare.theme, bare.is_reduced_motion, bare.is_prompt_heard) == ("dark", False, True)
    estim("config", "set", "theme", "high-contrast")
    estim("config", "set", "prompt_bell", "false")
    kept = options(parse([]))
    assert (kept.theme, kept.is_reduced_motion, kept.is_prompt_heard) == (
        "high-contrast", False, False
    )  # fmt: skip
    typed = options(parse(["--theme", "colour-blind-safe", "--reduced-motion"]))
    assert (typed.theme, typed.is_reduced_motion) == ("colour-blind-safe", True)


def test_a_file_that_cannot_be_read_is_told_and_not_guessed_at(home: Path) -> None:
    folder = home / "config" / "estim"
    folder.mkdir(parents=True)
    (folder / "interface.toml").write_text('theme = "beige"\n')
    with pytest.raises(UsageError, match=r"interface\.toml.*theme"):
        options(parse([]))


def test_a_theme_that_there_is_none_of_is_bad_usage(estim: Shell) -> None:
    refused = estim("--theme", "beige")
    refused.assert_one_message(2)
    assert "high-contrast" in refused.err
