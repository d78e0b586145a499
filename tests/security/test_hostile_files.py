"""Files that somebody made to do harm: one clear line, in bounded time and memory.

What single bytes do, the fuzzer looks for (tests/fuzz); here stand the known ways to attack.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from estim.errors import EstimError, LimitRefused, ProfileError, RecordError, UsageError
from estim.prepare import roster, settings
from estim.prepare.session import prepare
from estim.prepare.site import SitePolicy
from estim.profile import library, loader
from estim.record.names import record_path
from estim.rig.campaign import rows
from estim.rig.captures.capture import ReadOptions, open_capture
from estim.rig.jobs.job import load_job
from estim.rig.measuring import baseline, instrument
from estim.safety.kernel import bounds_flaw
from estim.simulator import faults
from estim.text import sanitize
from estim.visit import protocol
from firmware_protocol import limits
from tests.cli.commands import Shell
from tests.cli.conftest import estim, home

__all__ = ["estim", "home"]

pytestmark = pytest.mark.long  # a hundred files

SHIPPED = library.folder() / "dpn-conventional.toml"
READERS: dict[str, Callable[[Path], object]] = {
    "profile": loader.load,
    "protocol": protocol.load,
    "job": load_job,
    "instrument": instrument.load,
    "capture": lambda path: open_capture(path, ReadOptions()),
    "fault script": lambda path: faults.read_script(path, 2),
    "settings": lambda path: settings.load(path, SitePolicy),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("what", ["pipe", "endless", "folder", "huge", "deep", "binary"])
def test_what_is_no_such_file_is_told_at_once(tmp_path: Path, name: str, what: str) -> None:
    path = tmp_path / "given.toml"
    if what == "pipe":
        os.mkfifo(path)  # whoever opens it and waits hangs here
    elif what == "endless":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    elif what == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 34)  # 16 GB, of which the disk holds nothing
    elif what == "deep":
        path.write_bytes(b"kind = " + b"[" * 60_000)
    else:
        path.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(EstimError) as caught:
        READERS[name](path)
    words = str(caught.value)
    assert "\n" not in words
    assert len(words) < 500
    assert "given.toml" in words


ESCAPES = {
    "ESC": "\x1b[2J", "C1": "\x9b1m", "newline": "\n", "NUL": "\x00", "DEL": "\x7f",
    "right-to-left": "\u202e", "isolate": "\u2066", "zero width": "\u200b", "line": "\u2028",
    "byte order": "\ufeff", "tag": "\U000e0041",
}  # fmt: skip


@pytest.mark.parametrize("mark", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("place", ["value", "key"])
def test_no_text_of_a_profile_moves_a_cursor_or_turns_a_line_round(mark: str, place: str) -> None:
    text = SHIPPED.read_text("utf-8")
    spelled = '"a' + "".join(f"\\U{ord(each):08x}" for each in mark) + 'b"'
    changed = (
        f"{spelled} = 1\n{text}"
        if place == "key"
        else text.replace("title = ", f"title = {spelled} # ", 1)
    )
    assert changed != text
    with pytest.raises(ProfileError) as caught:
        loader.loads(changed, "x.toml")
    assert sanitize(str(caught.value)) == str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../secret", "..", "a/../../etc/passwd", "/etc/passwd", "a\x00b", "A", "", "a" * 65, "a.b",
     "con\n", "%2e%2e", "\u2024\u2024/x", "~root"],
)  # fmt: skip
def test_no_id_leaves_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        record_path(tmp_path, name)
    with pytest.raises(UsageError):
        roster.find(tmp_path, name)
    if name != "a.b":  # a baseline's name may have dots inside
        with pytest.raises((UsageError, LimitRefused)):
            baseline.history(name, tmp_path)
    with pytest.raises(ProfileError):
        library.find(name)
    with pytest.raises(ProfileError):
        protocol.find(name)


def test_a_profile_says_its_own_id_and_no_path_of_another(tmp_path: Path) -> None:
    text = SHIPPED.read_text("utf-8").replace('id = "dpn-conventional"', 'id = "../../etc/passwd"')
    with pytest.raises(ProfileError, match="id"):
        loader.loads(text, "x.toml")


def test_a_link_from_or_into_the_library_is_no_other_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a link leads to is read as what it is: under another name it is refused."""
    shelf = tmp_path / "profiles"
    shelf.mkdir()
    (shelf / "nmes-quadriceps.toml").symlink_to(SHIPPED)
    (shelf / "passwd.toml").symlink_to("/etc/passwd")
    (shelf / "zero.toml").symlink_to("/dev/zero")
    (shelf / "itself.toml").symlink_to("itself.toml")
    monkeypatch.setattr(library, "_FOLDERS", (shelf,))
    for name in ("nmes-quadriceps", "passwd", "zero", "itself"):
        with pytest.raises(ProfileError) as caught:
            library.find(name)
        assert "root:" not in str(caught.value)
    out = tmp_path / "mine.toml"
    out.symlink_to(SHIPPED)
    assert library.find(str(out)).sha256 == loader.load(SHIPPED).sha256


@pytest.mark.hazard(19)
def test_a_changed_byte_is_refused_or_changes_the_hash_and_loosens_no_limit() -> None:
    """Nobody signs a profile: a byte that is changed within the schema makes another profile, with
    another hash, which is prepared for a person within every limit of the project or refused."""
    whole = (library.folder() / "nmes-quadriceps.toml").read_bytes()
    shipped = loader.loads(whole, "x.toml")
    chance = random.Random(7)
    refused, prepared = 0, 0
    for place in range(len(whole)):
        octets = bytearray(whole)
        octets[place] ^= 1 << chance.randrange(8)
        try:
            changed = loader.loads(bytes(octets), "x.toml")
            assert changed.sha256 != shipped.sha256
            made = prepare(changed.profile, is_bench=False, sha256=changed.sha256)
        except (ProfileError, LimitRefused):
            refused += 1
            continue
        prepared += 1
        assert not made.bounds.is_bench
        assert bounds_flaw(made.bounds) == ""
        assert all(each.ceiling_ua <= limits.amplitude_ua.maximum for each in made.ceilings)
    assert refused > 100
    assert prepared > 100


def test_a_packed_capture_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    """A session of sigrok is a zip; one of 100 MB of nothing takes 100 kB."""
    path = tmp_path / "capture.sr"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("logic-1-1", "w") as file,
    ):
        for _ in range(100):
            file.write(bytes(1_000_000))
    assert path.stat().st_size < 200_000
    with pytest.raises(UsageError, match="a packed file"):
        open_capture(path, ReadOptions())


LINE = """
import resource, sys
from estim.errors import UsageError
from estim.rig.captures.capture import ReadOptions, open_capture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    for readings in open_capture(sys.argv[1], ReadOptions()).chunks():
        pass
except UsageError as error:
    print(str(error)[:300])
else:
    print("read")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("what", ["one line", "rows", "cells"])
def test_a_capture_of_200_mb_takes_bounded_memory(tmp_path: Path, what: str) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.write(b"Time (s),CH1 (mA)\n0,1\n")
        if what == "one line":
            file.write(b"1" * 200_000_000)
        elif what == "rows":
            file.write(b"".join(b"%.6f,1\n" % (n * 1e-6) for n in range(1, 1_000_000)))
        else:
            file.write(b"1," * 100_000_000)
    done = subprocess.run(
        [sys.executable, "-c", LINE, str(path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    path.unlink()
    *_, said, growth_kb = done.stdout.splitlines()
    assert said == "read" if what == "rows" else "huge.csv" in said
    assert int(growth_kb) < 300 * 1024


# What a run or a colleague left behind.


@pytest.mark.parametrize(
    "text",
    [
        '<testsuite><testcase name="a" time="soon"/></testsuite>',
        '<testsuite><testcase name="a" time="nan"/></testsuite>',
        '<?xml version="1.0" encoding="nonsense"?><testsuite/>',
        '<!DOCTYPE a [<!ENTITY b0 "' + "x" * 1000 + '">'
        + "".join(f'<!ENTITY b{n} "{f"&b{n - 1};" * 10}">' for n in range(1, 9))
        + "]><testsuite><testcase name='&b8;'/></testsuite>",
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a><testcase name="x">'
        "<failure>&b;</failure></testcase></a>",
        '{"event":"result"}',
        '{"event":"result","verdict":"pass","steps":[1]}',
        '{"event":' + "[" * 100_000,
    ],
    ids=["no time", "NaN", "encoding", "laughs", "entity", "no verdict", "steps", "deep"],
)  # fmt: skip
def test_damaged_results_of_a_campaign_are_no_rows(tmp_path: Path, text: str) -> None:
    """They used to end the thread of their device, and with it all that was still to run."""
    path = tmp_path / "left"
    path.write_text(text)
    run = rows.Row("c", 1, "rig", "sim:", "SN", "model", "1", "0", "task")
    assert [*rows.from_junit(run, path), *rows.from_verify(run, path)] == []


def test_a_baseline_that_is_nested_too_deep_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_bytes(b"[" * 100_000 + b"\n")
    with pytest.raises(RecordError, match=r"one\.jsonl:1"):
        baseline.history("one", tmp_path)


def test_hostile_text_in_a_message_reaches_no_terminal(estim: Shell, tmp_path: Path) -> None:
    """Names of files, keys and values that are quoted in a refusal, by every command that reads."""
    name = "\x1b[2J\u202e\x9b"
    path = tmp_path / f"{name}.toml"
    path.write_text('"\\u001b[2J\\u202e" = "\\u001b[2J"\n')
    for arguments in (
        ("profiles", "show", path),
        ("profiles", "check", path),
        ("protocols", "show", path),
        ("verify", path),
        ("measure", path),
        ("measure", "x.csv", "--instrument", path),
        ("records", "show", path),
        ("records", "verify", path),
        ("baseline", "show", name),
        ("run", path, "--bench", "500"),
        ("run", "dpn-conventional", "--bench", "500", "--device", f"sim:?faults={path}"),
        ("devices", f"native:{path}"),
        ("config", "set", name, name),
        ("station", "show", name),
    ):
        answer = estim(*arguments)
        assert answer.code != 0 or arguments[0] == "devices", arguments
        assert all(line.isprintable() for line in (answer.out + answer.err).splitlines()), arguments
        assert "a bug in Estim" not in answer.err, arguments
