"""Real records for the tests of browser and replay: a bench session on the virtual clock."""

from __future__ import annotations

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from estim.__main__ import main as estim

DURATION_S = 20
TARGETS_MA = (6, 4)


@cache
def _delivered() -> Path:
    """Run a session once for all tests: 20 s of plateau at 6 mA and 4 mA into 500 ohm."""
    folder = Path(tempfile.mkdtemp(prefix="estim-browse-"))
    code = estim(
        ["run", "dpn-conventional", "--clock", "virtual", "--bench", "500",
         "--amplitude", "1=6", "--amplitude", "2=4", "--duration", str(DURATION_S),
         "--records", str(folder)]
    )  # fmt: skip
    assert code == 0
    return next(folder.glob("*.jsonl"))


def session(records: Path) -> Path:
    """Put a sealed session into a folder; its seal is of a key that this station does not have."""
    records.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(_delivered(), records))


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
