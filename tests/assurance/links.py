"""Hold SAFETY.md and the tests together: what is claimed names its tests, and they name it back.

Rules:
1. Hazards 1 to 47 of the project's list are on the page, and whatever was added after them, once
   each and in order; each says cause, host, device, what remains, and its tests.
2. A hazard names at least one test, or begins its tests with 'not covered:' and why.
3. A test that is named is there, is collected by pytest, is neither skipped nor expected to fail,
   and carries `@pytest.mark.hazard(N)` back.
4. A test that carries the marker is named under each of its hazards.
5. Every hazard belongs to exactly one claim; every path and make target on the page exists.

Nothing is imported but the standard library, and no test is run: this reads names. What a test is
worth is another question, see `broken.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = "SAFETY.md"
LISTED = range(1, 48)
"""The hazards that the project began with; more may follow, none may go."""
PARTS = ("Cause", "Host", "Device", "Remains", "Tests")
NOT_COVERED = "not covered:"
UNUSABLE = frozenset({"skip", "xfail"})

_HAZARD = re.compile(r"^### (\d+)\. (.+)$", re.MULTILINE)
_PART = re.compile(r"^- \*\*(\w+)\.\*\* ?(.*?)(?=^- \*\*|^#|\Z)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"`(tests/[\w/]+\.py)::(\w+(?:::\w+)?)`( †)?")
_CLAIM = re.compile(r"^### (C\d+)\. .*?^Hazards: ([\d, ]+)\.$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`((?:tests|estim|firmware_protocol|docs)/[\w/.-]+)[`:]")
_MAKE = re.compile(r"`make ([a-z][a-z-]*)")


@dataclass(frozen=True)
class LinkedTest:
    """One test function, by its name in the file, and what its decorators say."""

    file: str
    name: str
    hazards: frozenset[int]
    problem: str = ""

    @property
    def id(self) -> str:
        return f"{self.file}::{self.name}"


def hazards_of(page: str) -> list[tuple[int, str, dict[str, str]]]:
    """Return number, title and parts of every hazard, in the page's order."""
    found = list(_HAZARD.finditer(page))
    ends = [*(match.start() for match in found[1:]), len(page)]
    sections = []
    for match, end in zip(found, ends, strict=False):
        text = re.split(r"^## ", page[match.end() : end], maxsplit=1, flags=re.MULTILINE)[0]
        parts = {name: words.strip() for name, words in _PART.findall(text)}
        sections.append((int(match[1]), match[2], parts))
    return sections


def links_of(words: str) -> list[tuple[str, bool]]:
    """Return the tests that are named, and whether each is said to have been seen to fail."""
    return [(f"{file}::{name}", bool(dagger)) for file, name, dagger in _LINK.findall(words)]


def tests_of(root: Path) -> list[LinkedTest]:
    """Return every test below `tests/`, by reading the files alone."""
    found: list[LinkedTest] = []
    for path in sorted((root / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        file = path.relative_to(root).as_posix()
        # A class in another file counts where tests inherit from it: the drivers' conformance.
        is_collected = path.name.startswith("test_") or path.name == "conformance.py"
        problem = "" if is_collected else "pytest does not collect this file"
        found += [
            _test(file, outer, node, problem)
            for outer, node in _functions(tree)
            if node.name.startswith("test_")
        ]
    return found


def runnable(test: LinkedTest, root: Path = ROOT) -> list[str]:
    """Return what pytest takes: of a test that others inherit, each that does."""
    if Path(test.file).name.startswith("test_"):
        return [test.id]
    owner, _, name = test.name.rpartition("::")
    return [
        f"{path.relative_to(root).as_posix()}::{heir}::{name}"
        for path in sorted((root / test.file).parent.glob("test_*.py"))
        for heir in re.findall(rf"^class (\w+)\({owner}\):", path.read_text(encoding="utf-8"), re.M)
    ]


def problems(page: str, tests: list[LinkedTest], root: Path = ROOT) -> list[str]:
    """Return everything in which page and tests disagree, in words."""
    return [
        *_problems_of_page(page),
        *_problems_of_links(page, tests),
        *_problems_of_claims(page),
        *_problems_of_paths(page, root),
    ]


def _problems_of_page(page: str) -> Iterator[str]:
    sections = hazards_of(page)
    numbers = [number for number, _, _ in sections]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "hazards are not numbered 1, 2, 3 ... once each"
    for number in LISTED:
        if number not in numbers:
            yield f"hazard {number} is missing"
    for number, _, parts in sections:
        for name in PARTS:
            if not parts.get(name):
                yield f"hazard {number}: no **{name}.**"
        words = parts.get("Tests", "")
        reason = words.partition(NOT_COVERED)[2] if words.startswith(NOT_COVERED) else ""
        if not _LINK.search(words) and len(reason.split()) < 3:
            yield f"hazard {number} names no test and does not say '{NOT_COVERED}' and why"


def _problems_of_links(page: str, tests: list[LinkedTest]) -> Iterator[str]:
    by_id = {test.id: test for test in tests}
    named: set[tuple[int, str]] = set()
    for number, _, parts in hazards_of(page):
        for link, _ in links_of(parts.get("Tests", "")):
            if (number, link) in named:
                yield f"hazard {number} names {link} twice"
            named.add((number, link))
            test = by_id.get(link)
            if test is None:
                yield f"hazard {number}: there is no test {link}"
            elif test.problem:
                yield f"hazard {number}: {link}: {test.problem}"
            elif number not in test.hazards:
                yield f"hazard {number} names {link}, which has no @pytest.mark.hazard({number})"
    for test in tests:
        for number in sorted(test.hazards):
            if (number, test.id) not in named:
                yield f"{test.id} is marked for hazard {number}, which does not name it"
    for link, _ in links_of(page):
        if link not in by_id:
            yield f"the page names {link}, which is not there"


def _problems_of_claims(page: str) -> Iterator[str]:
    claims = [
        (name, [int(each) for each in listed.split(",")]) for name, listed in _CLAIM.findall(page)
    ]
    for number, title, _ in hazards_of(page):
        under = [name for name, listed in claims if number in listed]
        if len(under) != 1:
            yield f"hazard {number} ({title}) stands under {len(under)} claims: {under}"
    known = {number for number, _, _ in hazards_of(page)}
    for name, listed in claims:
        if not known.issuperset(listed):
            yield f"{name} lists a hazard that is not there"


def _problems_of_paths(page: str, root: Path) -> Iterator[str]:
    for path in sorted(set(_PATH.findall(page))):
        if not (root / path.rstrip("/")).exists():
            yield f"the page names {path}, which is not there"
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for target in sorted(set(_MAKE.findall(page))):
        if not re.search(rf"^{target}:", makefile, re.MULTILINE):
            yield f"the page names `make {target}`, which is not there"


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.Module) -> Iterator[tuple[str, _Function]]:
    for node in tree.body:
        if isinstance(node, _Function):
            yield "", node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, _Function):
                    yield f"{node.name}::", inner


def _test(file: str, outer: str, node: _Function, problem: str) -> LinkedTest:
    numbers: set[int] = set()
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        mark = ast.unparse(call.func if call else decorator)
        if mark == "pytest.mark.hazard":
            values = (
                [each.value for each in call.args if isinstance(each, ast.Constant)] if call else []
            )
            numbers.update(each for each in values if isinstance(each, int))
            if not values or len(values) != len(call.args if call else []):
                problem = "the marker takes numbers of hazards"
        elif mark.removeprefix("pytest.mark.") in UNUSABLE:
            problem = f"it is marked {mark.removeprefix('pytest.mark.')}"
    return LinkedTest(file, outer + node.name, frozenset(numbers), problem)
