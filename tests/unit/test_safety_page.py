"""SAFETY.md promises a test for each hazard that it calls covered: the tests must be there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+) \|.*\| ([^|]+) \|$", re.MULTILINE)
LINK = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def hazards() -> dict[int, list[tuple[str, str]]]:
    page = (ROOT / "SAFETY.md").read_text(encoding="utf-8").partition("## Hazards")[2]
    return {int(number): LINK.findall(cell) for number, cell in ROW.findall(page)}


def test_every_hazard_names_a_test_that_exists() -> None:
    missing = []
    for number, links in hazards().items():
        assert links, f"hazard {number} names no test"
        for file, name in links:
            path = ROOT / file
            if not path.is_file():
                missing.append(f"{number}: {file}")
            elif name and not re.search(rf"def {name}\(", path.read_text(encoding="utf-8")):
                missing.append(f"{number}: {file}::{name}")
    assert missing == []


def test_hazards_are_listed_once_in_order() -> None:
    numbers = list(hazards())
    assert len(numbers) > 30
    assert numbers == sorted(numbers)
    assert numbers[-1] == 49
