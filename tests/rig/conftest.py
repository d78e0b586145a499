"""Folders of its own for whatever a job would keep at home, and a shell for commands."""

from __future__ import annotations

from tests.cli.conftest import estim, home

__all__ = ["estim", "home"]

# A suite for rigs, with settings of its own: test_pytest_plugin.py runs it as a rig would.
collect_ignore = ["example_suite"]
