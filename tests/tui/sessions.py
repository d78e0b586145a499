"""Real records for the tests of browser and replay: a bench session on the virtual clock."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import pytest

from estim.__main__ import main as estim


@cache
def _delivered() -> tuple[str, bytes]:
    """Run a session once for all tests: 20 s of plateau at 6 mA and 4 mA into 500 ohm."""
    asked = (
        "run dpn-conventional --clock virtual --bench 500 --duration 20 "
        "--amplitude 1=6 --amplitude 2=4 --records"
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", f"{folder}/another-station")
        assert estim([*asked.split(), folder]) == 0
        path = next(Path(folder).glob("*.jsonl"))
        return path.name, path.read_bytes()


def session(records: Path) -> Path:
    """Put a sealed session into a folder; its seal is of a key that this station does not have."""
    records.mkdir(parents=True, exist_ok=True)
    name, octets = _delivered()
    path = records / name
    path.write_bytes(octets)
    return path


def lines(path: Path) -> list[bytes]:
    """Return the lines of a record, each with its newline."""
    return path.read_bytes().splitlines(keepends=True)


def second(line: bytes, from_s: int) -> bool:
    """Tell whether a line is the summary that began within a second of the session."""
    event = json.loads(line)
    if event["kind"] != "telemetry_second":
        return False
    return bool(event["content"]["from_us"] // 1_000_000 == from_s)


def summary(kept: list[bytes], from_s: int) -> dict[str, int]:
    """Return the content of the summary that began within a second of the session."""
    content: dict[str, int] = json.loads(next(line for line in kept if second(line, from_s)))[
        "content"
    ]
    return content
