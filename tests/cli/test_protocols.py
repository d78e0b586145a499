"""`estim protocols`: what is shipped, one of them whole, and files that are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.cli.commands import CHECKOUT, Shell

FOLDER = CHECKOUT / "profiles" / "protocols"
FIRST = FOLDER / "diabetic-neuropathy-first.toml"


def test_the_list_names_every_file_and_says_that_nobody_reviewed_it(estim: Shell) -> None:
    answer = estim("protocols", "list")
    names = sorted(path.stem for path in FOLDER.glob("*.toml"))
    table, _, below = answer.out.partition("\n\n")
    assert [line.split()[0] for line in table.splitlines()[1:]] == names
    assert "technician-acceptance: for the bench. It is walked on the technician's bench" in below
    assert "None of these protocols has been reviewed" in answer.out
    assert [each["id"] for each in estim("protocols", "list", "--json").objects] == names


def test_a_protocol_is_shown_step_by_step_with_what_it_gates(estim: Shell) -> None:
    answer = estim("protocols", "show", "diabetic-neuropathy-first")
    assert answer.code == 0
    assert "NOT REVIEWED BY A CLINICIAN" in answer.out
    assert "7. Try the stop  (try stop)" in answer.out
    assert "Gates: output and its ceiling" in answer.out
    assert "- Calf stretch: Heel on the floor" in answer.out
    assert "15. Pain after  (assess; after; may be left out, with a reason)" in answer.out
    assert max(map(len, answer.out.splitlines()[8:])) <= 100  # not a terminal


def test_a_protocol_for_the_bench_says_so(estim: Shell) -> None:
    answer = estim("protocols", "show", "technician-acceptance")
    assert "FOR THE BENCH ONLY" in answer.out
    assert "`estim verify JOB.toml`" in answer.out


def test_what_is_shown_as_json_is_the_file(estim: Shell) -> None:
    (shown,) = estim("protocols", "show", FIRST, "--json").objects
    assert shown["schema"] == "estim.protocol/1"
    assert shown["sha256"] == hashlib.sha256(FIRST.read_bytes()).hexdigest()
    assert shown["parameters"]["steps"][0]["kind"] == "screen"
    assert shown["parameters"]["schema"] == 1


def test_a_file_that_is_changed_is_checked_and_its_one_fault_is_told(
    estim: Shell, tmp_path: Path
) -> None:
    good = tmp_path / "good.toml"
    good.write_text(FIRST.read_text())
    bad = tmp_path / "bad.toml"
    bad.write_text(FIRST.read_text().replace('"dpn-14hz"', '"dpn-15hz"'))
    assert estim("protocols", "check", good, "low-back-pain-first").out == (
        f"ok  {good}\nok  low-back-pain-first\n"
    )
    answer = estim("protocols", "check", good, bad)
    assert answer.code == 2
    assert answer.out == f"ok  {good}\n"
    assert f"{bad}: steps[9].profiles: 'dpn-15hz'; expected a profile" in answer.err
    assert answer.err.count("\n") == 1
    told = estim("protocols", "check", good, bad, "--json").objects
    assert [each["exit_code"] for each in told] == [0, 2]
    assert "dpn-15hz" in told[1]["problem"]


@pytest.mark.parametrize(
    "content",
    [b"", bytes(range(256)), b"x = " + b"[" * 5000, b"#" * 70_000, b'schema = 1\nid = "a"\n',
     FIRST.read_bytes().replace(b'title = "Screening"', b'title = "\\u001b[2J"')],
    ids=["empty", "garbage", "deep", "huge", "half", "escape"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["show", "check"])
def test_what_is_no_protocol_is_one_message_and_exit_code_2(
    estim: Shell, tmp_path: Path, content: bytes, command: str
) -> None:
    path = tmp_path / "protocol.toml"
    path.write_bytes(content)
    estim("protocols", command, path).assert_one_message(2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["protocols"],
        ["protocols", "show"],
        ["protocols", "check"],
        ["protocols", "show", "diabetic-neuropathy"],
        ["protocols", "show", "nonsense"],
        ["protocols", "show", ""],
        ["protocols", "show", "../diabetic-neuropathy-first"],
        ["protocols", "show", "\x1b[2J\x07"],
        ["protocols", "show", "\udcff"],
        ["protocols", "show", "dpn-conventional"],
        ["protocols", "check", "nowhere.toml"],
        ["protocols", "check", str(CHECKOUT / "profiles" / "dpn-conventional.toml")],
        ["protocols", "check", str(CHECKOUT)],
    ],
)
def test_a_command_that_makes_no_sense_is_one_message(estim: Shell, arguments: list[str]) -> None:
    estim(*arguments).assert_one_message(2)
