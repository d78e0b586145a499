"""Call commands in this process, as the shell would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from estim.__main__ import main

CHECKOUT = Path(__file__).parents[2]
PROFILE = CHECKOUT / "profiles" / "dpn-conventional.toml"


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Return the JSON object of each line; each has a schema."""
        found = [json.loads(line) for line in self.out.splitlines()]
        assert all(isinstance(item["schema"], str) and "/" in item["schema"] for item in found)
        return found

    def assert_one_message(self, code: int | None = None) -> None:
        """Assert one line for a person and no more: no traceback, nothing half printed."""
        assert self.code in ((1, 2, 3, 4, 5) if code is None else (code,)), self
        assert self.err.startswith(("estim: ", "estim simulate: ")), self
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self
        assert self.err[:-1].isprintable(), self
        assert "a bug in Estim" not in self.err
        assert self.out == "", self


class Shell:
    """Run `estim` with what it prints caught."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Answer:
        self._capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        caught = self._capsys.readouterr()
        return Answer(code, caught.out, caught.err)
