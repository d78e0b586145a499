"""Folders of its own for whatever a job would keep at home, and a shell for commands."""

from __future__ import annotations

from tests.cli.conftest import estim, home

__all__ = ["estim", "home"]

# For rigs, with settings of their own: test_pytest_plugin.py and test_recipe.py run them as such.
collect_ignore = ["example_suite", "recipe"]
