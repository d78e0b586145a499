"""`estim conformance`: what it refuses, lists and writes; the list against guide and protocol."""

from __future__ import annotations

import os
import re
import tty
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from estim.rig.conformance.requirement import GROUPS
from estim.rig.conformance.suite import every_requirement
from tests.cli.commands import CHECKOUT, Answer, Shell
from tests.rig.conformance.ptys import BENCH, conformance


def judged(*arguments: str) -> Answer:
    """Run the command as a process of its own: it asks for priority, which no test should keep."""
    process = conformance(*BENCH, *arguments)
    out, err = process.communicate(timeout=60)
    return Answer(process.returncode, out, err)


@pytest.mark.hazard(45)
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 4, "--nobody-connected"),
        (("--bench", "500"), 4, "--nobody-connected"),
        (("--nobody-connected",), 4, "--bench OHM"),
        (("--load", "500"), 4, "--nobody-connected"),
        (("--bench", "50", "--nobody-connected"), 2, "--bench 50: expected a whole number"),
        ((*BENCH, "--soak", "x"), 2, "--soak x"),
        ((*BENCH, "--only", "STOP-99"), 2, "--only STOP-99: expected an id of `--list`"),
        ((*BENCH, "--device", "p24:/dev/null"), 2, "device URL"),
        ((*BENCH, "--device", "native:/dev/nowhere"), 3, "there is no such port"),
        ((*BENCH, "--scope", "a.csv", "--capture", "b.csv"), 2, "--scope and --capture"),
        (
            (*BENCH, "--device", "native:/dev/nowhere", "--capture", "/nowhere/x.csv"),
            2,
            "--capture /nowhere/x.csv: cannot be read",
        ),
        (
            (*BENCH, "--device", "native:/dev/nowhere", "--capture", __file__),
            2,
            "expected a trace that begins with t_us,channel,current_ua,duration_us",
        ),
        ((*BENCH, "--scope", "/nowhere/x.csv"), 2, "--scope /nowhere/x.csv: there is no such"),
        ((*BENCH, "--junit", "/nowhere/x.xml"), 2, "--junit /nowhere/x.xml: there is no such"),
    ],
)
def test_what_it_refuses(estim: Shell, arguments: tuple[str, ...], code: int, said: str) -> None:
    answer = estim("conformance", *arguments)
    answer.assert_one_message(code)
    assert said in answer.err


def test_the_list_needs_no_device(estim: Shell) -> None:
    answer = estim("conformance", "--list", "--json")
    listed = [found["id"] for found in answer.objects]
    assert (answer.code, listed) == (0, [each.id for each in every_requirement()])
    words = estim("conformance", "--list", "--only", "STOP")
    assert [line.split()[0] for line in words.out.splitlines()][1:] == [
        each.id for each in every_requirement() if each.group == "STOP"
    ]


def test_a_few_requirements_as_text_and_junit(tmp_path: Path) -> None:
    path = tmp_path / "result.xml"
    answer = judged(
        "--only", "STATE-02", "--only", "LEAD-02", "--only", "SOAK",
        "--soak", "0", "--device", "sim:?channels=1", "--junit", str(path),
    )  # fmt: skip
    assert answer.code == 0, answer
    lines = answer.out.splitlines()
    assert lines[0].startswith("pass               ID-01  Hello is answered")
    assert lines[0].endswith("[PROTOCOL.md 3.1]")
    assert "Verdicts: 4 requirements: 2 pass, 1 not testable here, 1 not applicable" in lines
    assert "Output:   zero, confirmed by a Status" in lines
    suite = ElementTree.parse(path).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "0", "2")
    skipped = [case.get("name", "")[:7] for case in suite if case.find("skipped") is not None]
    assert skipped == ["LEAD-02", "SOAK-01"]


@pytest.mark.long
def test_a_failure_names_what_was_expected_and_seen(tmp_path: Path) -> None:
    """A load of 620 ohm is no other kind of load than 500, but it is not the declared one."""
    path = tmp_path / "result.xml"
    answer = judged(
        "--only", "MEASURE-01", "--device", "sim:?load=620", "--json",
        "--junit", str(path),
    )  # fmt: skip
    assert answer.code == 1, answer
    *_, check, result = answer.objects
    assert (check["id"], check["verdict"]) == ("MEASURE-01", "fail")
    assert (check["expected"], check["seen"]) == ("500 ohm, give or take 70", "[620]")
    assert check["rule"] == "PROTOCOL.md 7"
    assert (result["conforms"], result["failed"]) == (False, ["MEASURE-01"])
    (failure,) = ElementTree.parse(path).getroot().iter("failure")
    assert failure.get("type") == "MEASURE-01"
    assert failure.get("message") == "expected 500 ohm, give or take 70; seen [620]"


@pytest.mark.hazard(45)
def test_another_kind_of_load_ends_the_run_at_once_with_a_report(tmp_path: Path) -> None:
    path = tmp_path / "result.xml"
    answer = judged(
        "--only", "RISE-01", "--device", "sim:?load=2000", "--json", "--junit", str(path)
    )
    said = "the bench is said to be 500 ohm, but channel 1 sees 2000 ohm: nothing more is delivered"
    assert answer.code == 4
    assert said in answer.err
    _, *checks, result = answer.objects
    assert [(check["id"], check["verdict"]) for check in checks] == [
        ("ID-01", "pass"), ("RISE-01", "not testable here"),
    ]  # fmt: skip
    assert (result["end"], result["conforms"], result["is_at_zero"]) == (said, False, True)
    assert ElementTree.parse(path).getroot().get("skipped") == "1"


@pytest.mark.long
@pytest.mark.parametrize(
    ("noise", "seen"),
    [
        (b"", "no answer, and no byte at all: cable, power, another port?"),
        (b"\x55\x00\xff" * 700, "2100 bytes came, and no message of this protocol among them"),
    ],
)
def test_what_is_no_device_is_told_from_silence(noise: bytes, seen: str) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    process = conformance(*BENCH, "--device", f"native:{os.ttyname(slave)}", "--only", "STOP-01")
    try:
        os.read(master, 1)  # the port is open, and the kit has spoken
        os.write(master, noise)
        out, err = process.communicate(timeout=60)
    finally:
        os.close(master)
        os.close(slave)
    assert process.returncode == 5
    assert "no Status confirms zero" in err
    assert seen in out
    assert "End:      no session with this device" in out


# The list.


def test_ids_are_unique_and_grouped() -> None:
    ids = [each.id for each in every_requirement()]
    assert len(set(ids)) == len(ids) > 200
    assert {each.group for each in every_requirement()} == set(GROUPS)
    assert all(re.fullmatch(r"[A-Z]+-(\d\d|[A-Z]+-[A-Za-z]+)", each) for each in ids)


def test_every_requirement_cites_a_chapter_that_is_there() -> None:
    text = (CHECKOUT / "firmware_protocol" / "PROTOCOL.md").read_text("utf-8")
    chapters = set(re.findall(r"^## (\d+)\.", text, re.MULTILINE))
    for each in every_requirement():
        chapter, _, step = each.chapter.partition(".")
        assert chapter in chapters, each.id
        if step:
            section = text.partition(f"\n## {chapter}. ")[2].partition("\n## ")[0]
            assert re.search(rf"^{step}\. \*\*", section, re.MULTILINE), each.id


def test_the_guide_lists_every_requirement() -> None:
    text = (CHECKOUT / "docs" / "conformance.md").read_text("utf-8")
    listed = re.findall(r"^\| `([A-Z]+-[^`]+)` \| ([\d.]+) \| (.+) \|$", text, re.MULTILINE)
    assert listed == [(each.id, each.chapter, each.text) for each in every_requirement()]
