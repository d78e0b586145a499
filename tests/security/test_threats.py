"""SECURITY.md names a test for each threat: the tests must be there, and each of ours be named."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
TABLE = PAGE.partition("<!-- threats:begin -->")[2].partition("<!-- threats:end -->")[0]
ROW = re.compile(
    r"^\| (\d+) \| ([STRIDE]) \| [^|]+ \| [^|]+ \| ([\d, ]+) \| ([^|]+) \|$", re.MULTILINE
)
LINK = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
ROWS = ROW.findall(TABLE)
HAZARD_LAST = 49


def test_every_row_is_whole_and_numbered() -> None:
    lines = [line for line in TABLE.splitlines() if re.match(r"\| \d", line)]
    assert len(lines) == len(ROWS) > 20
    assert [int(number) for number, *_ in ROWS] == list(range(1, len(ROWS) + 1))
    assert {kind for _, kind, *_ in ROWS} == set("STRIDE")


def test_every_threat_names_tests_that_exist() -> None:
    missing = []
    for number, _, _, cell in ROWS:
        links = LINK.findall(cell)
        assert links, f"threat {number} names no test"
        for file, name in links:
            path = ROOT / file
            if not path.is_file():
                missing.append(f"{number}: {file}")
            elif name and not re.search(rf"def {name}\(", path.read_text("utf-8")):
                missing.append(f"{number}: {file}::{name}")
    assert missing == []


def test_every_hazard_that_is_named_is_one() -> None:
    safety = (ROOT / "SAFETY.md").read_text("utf-8").partition("## Hazards")[2]
    listed = {int(number) for number in re.findall(r"^### (\d+)\. ", safety, re.MULTILINE)}
    for number, _, hazards, _ in ROWS:
        for hazard in hazards.split(","):
            assert int(hazard) in listed, f"threat {number}: hazard {hazard}"


def test_every_file_of_these_tests_belongs_to_a_threat() -> None:
    """No orphan: a test of security that no threat names would be one that nobody misses."""
    linked = {file for *_, cell in ROWS for file, _ in LINK.findall(cell)}
    here = {
        path.relative_to(ROOT).as_posix()
        for folder in ("security", "supply", "fuzz")
        for path in (ROOT / "tests" / folder).glob("test_*.py")
    }
    assert here - linked == {Path(__file__).relative_to(ROOT).as_posix()}


def test_the_page_is_whole() -> None:
    for heading in (
        "Reporting", "What is supported", "What we defend, and what we do not", "Threats",
        "What is missing",
    ):  # fmt: skip
        assert f"\n## {heading}\n" in PAGE
    for command in ("make sbom", "make audit", "make contains", "make fuzz-python"):
        assert f"`{command}" in PAGE
        target = command.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert len(TARGETS) >= 20
