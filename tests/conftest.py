"""Settings that every test shares."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A deadline per example measures how busy the machine is, not whether the code is right.
settings.register_profile("estim", deadline=None)
settings.load_profile("estim")


@pytest.fixture(scope="session", autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the engines' sockets out of this user's own folder; all processes inherit it."""
    os.environ["XDG_RUNTIME_DIR"] = str(tmp_path_factory.mktemp("run"))
