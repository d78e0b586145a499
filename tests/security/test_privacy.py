"""Hazard 40: what tells of a person stands in that person's record, and nowhere else.

A canary is typed into every text that a visit and its record take. It may come out of what shows
the record itself; it comes out of nothing else, and of no name, message or socket.
"""

from __future__ import annotations

import stat
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

from estim.cli.failures import TRACEBACK_VARIABLE
from estim.record.catalogue import list_records
from estim.session.messages import ChannelSnapshot, DeviceSnapshot, Snapshot
from tests.cli.commands import Shell
from tests.cli.conftest import estim, home
from tests.visit.past import Past

__all__ = ["estim", "home"]

pytestmark = pytest.mark.long  # a dozen commands

CANARY = "Zaphod-Quastenflosser"
ON = datetime(2000, 1, 1, 9, tzinfo=UTC)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    folder.mkdir()
    visit = Past(folder, "2000-01-01-abc", ON)
    for kind in ("screen", "consent", "assess", "review", "note", "remark", "educate"):
        visit.step(kind, {"text": CANARY, "remark": CANARY, "name": CANARY, CANARY: CANARY})
    visit.annotate("note", text=CANARY, operator="T-1")
    visit.event("annotation", kind="marker", content={"text": CANARY})
    visit.event("closed", reason="completed", note=CANARY)
    visit.journal.sync()
    visit.journal.close()
    return folder


BELONGS = [
    ("records", "show", "2000-01-01-abc"),
    ("records", "export", "2000-01-01-abc", "--csv", "-"),
]
ELSEWHERE = [
    ("records", "list"),
    ("records", "list", "--json"),
    ("records", "verify", "2000-01-01-abc"),
    ("records", "verify", "2000-01-01-abc", "--json"),
    ("records", "export", "2000-01-01-abc", "--csv", "-", "--telemetry"),
    ("doctor", "--records"),
]


@pytest.mark.parametrize("arguments", BELONGS, ids=" ".join)
def test_the_record_itself_shows_what_was_typed(
    estim: Shell, records: Path, arguments: tuple[str, ...]
) -> None:
    """Otherwise the tests below would pass whatever leaked."""
    assert CANARY in estim(*arguments, "--records", records).out


@pytest.mark.hazard(40)
@pytest.mark.parametrize("arguments", ELSEWHERE, ids=" ".join)
def test_no_other_output_tells_it(
    estim: Shell, records: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    words = [each for each in arguments if each != "--records"]
    answer = estim(*words, "--records", records)
    assert answer.out
    assert CANARY not in answer.out + answer.err


def test_a_damaged_record_is_complained_of_without_its_words(estim: Shell, records: Path) -> None:
    path = records / "2000-01-01-abc.jsonl"
    octets = path.read_bytes()
    for cut in (octets.index(CANARY.encode()) + 4, len(octets) // 2, len(octets) - 3):
        path.write_bytes(octets[:cut] + b"x" + octets[cut + 1 :])
        for arguments in (("verify", "2000-01-01-abc"), ("list",)):
            answer = estim("records", *arguments, "--records", records)
            assert CANARY[:4] not in answer.out + answer.err


def test_files_are_private_and_their_names_tell_nothing(records: Path) -> None:
    found = list(records.iterdir())
    assert found
    for path in found:
        assert CANARY not in path.name
        assert "P-" not in path.name, "not even the pseudonym"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.state for entry in list_records(records)] == ["unsealed"]


def test_what_onlookers_get_has_no_place_for_a_person() -> None:
    names = {
        each.name for kind in (Snapshot, ChannelSnapshot, DeviceSnapshot) for each in fields(kind)
    }
    assert names & {"pseudonym", "operator", "patient", "name", "note", "who", "content"} == set()
