"""SAFETY.md and the tests name each other; and the checker that says so is itself checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.assurance import links
from tests.assurance.breakages import BREAKAGES
from tests.assurance.links import PAGE, ROOT, LinkedTest, hazards_of, links_of, problems

LINK = "tests/safety/test_edges.py::test_a"
ANOTHER = "tests/safety/test_edges.py::test_b"


def page(number: int = 47, tests: str = f"`{LINK}`", **changed: str) -> str:
    """Return a page with that many hazards, the last of them with other words or tests."""
    lines = ["### C1. Everything", f"Hazards: {', '.join(map(str, range(1, number + 1)))}.", ""]
    for each in range(1, number + 1):
        parts = {"Cause": "c", "Host": "h", "Device": "d", "Remains": "r", "Tests": f"`{LINK}`"}
        if each == number:
            parts |= {"Tests": tests, **changed}
        lines += [f"### {each}. Hazard", ""]
        lines += [f"- **{name}.** {words}" for name, words in parts.items() if words]
    return "\n".join([*lines, "", "## What remains", ""])


def found(text: str, *tests: LinkedTest) -> list[str]:
    return [
        problem
        for problem in problems(text, list(tests))
        if "tests/safety" in problem or "hazard" in problem
    ]


def named(name: str = LINK, *hazards: int, problem: str = "") -> LinkedTest:
    file, _, function = name.partition("::")
    return LinkedTest(file, function, frozenset(hazards or range(1, 48)), problem)


def test_the_page_and_the_tests_name_each_other() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert problems(text, links.tests_of(ROOT)) == []
    assert len(hazards_of(text)) >= 47


def test_a_page_that_agrees_has_no_problem() -> None:
    assert found(page(), named()) == []


@pytest.mark.parametrize(
    ("text", "tests", "words"),
    [
        (page(46), [named(LINK, *range(1, 47))], "hazard 47 is missing"),
        (page(tests="see elsewhere"), [named(LINK, *range(1, 47))], "hazard 47 names no test"),
        (page(tests="not covered:"), [named(LINK, *range(1, 47))], "hazard 47 names no test"),
        (page(Remains=""), [named()], "hazard 47: no **Remains.**"),
        (page(tests=f"`{ANOTHER}`"), [named(LINK, *range(1, 47))], f"there is no test {ANOTHER}"),
        (page(), [named(LINK, *range(1, 47))], "has no @pytest.mark.hazard(47)"),
        (page(), [named(), named(ANOTHER, 3)], f"{ANOTHER} is marked for hazard 3"),
        (page(), [named(problem="it is marked skip")], "it is marked skip"),
        (page(tests=f"`{LINK}`, `{LINK}`"), [named()], "twice"),
        (page().replace("### 47.", "### 46."), [named()], "not numbered"),
        (page().replace(", 47.", "."), [named()], "stands under 0 claims"),
        (page() + "`docs/nowhere.md`", [named()], "docs/nowhere.md, which is not there"),
        (page() + "`make nothing`", [named()], "`make nothing`, which is not there"),
    ],
)
def test_each_disagreement_is_found(text: str, tests: list[LinkedTest], words: str) -> None:
    assert any(words in problem for problem in problems(text, tests))


def test_what_is_openly_not_covered_passes() -> None:
    text = page(tests="not covered: no machine was put to sleep.")
    assert found(text, named(LINK, *range(1, 47))) == []


def test_markers_are_read_from_functions_and_methods(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_x.py").write_text(
        "import pytest\n"
        "@pytest.mark.hazard(4, 25)\n@pytest.mark.long\nasync def test_a(): ...\n"
        "class TestX:\n    @pytest.mark.hazard(7)\n    def test_b(self): ...\n"
        "@pytest.mark.hazard\ndef test_c(): ...\n"
        "@pytest.mark.skip(reason='later')\n@pytest.mark.hazard(1)\ndef test_d(): ...\n"
        "def helper(): ...\n"
    )
    (folder / "tool.py").write_text("def test_e(): ...\n")
    read = {test.name: test for test in links.tests_of(tmp_path)}
    assert {name: set(test.hazards) for name, test in read.items()} == {
        "test_a": {4, 25},
        "TestX::test_b": {7},
        "test_c": set(),
        "test_d": {1},
        "test_e": set(),
    }
    assert [name for name, test in read.items() if test.problem] == ["test_c", "test_d", "test_e"]


def test_what_is_taken_out_is_there_once_and_its_tests_are_named_with_a_dagger() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for breakage in BREAKAGES:
        source = (ROOT / breakage.file).read_text(encoding="utf-8")
        assert source.count(breakage.old) == 1, (breakage.hazard, breakage.what)
        assert breakage.old != breakage.new
    taken_out = {(each.hazard, test) for each in BREAKAGES for test in each.tests}
    marked = {
        (number, link)
        for number, _, parts in hazards_of(text)
        for link, is_seen_to_fail in links_of(parts["Tests"])
        if is_seen_to_fail
    }
    assert marked == taken_out
