"""The list of records is right after any crash of the catalogue, which holds nothing of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from estim.record.catalogue import FILE_NAME, list_records
from tests.record.crash_disk import SECTOR
from tests.record.samples import KEY, sealed_record

pytestmark = pytest.mark.long

LIST_WITH_LITTLE_ROOM = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from estim.record.catalogue import list_records
from tests.record.samples import KEY
folder = Path({folder!r})
for room in range(0, {room}, 512):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    print(room, [entry.session_id for entry in list_records(folder, KEY)] == {expected!r})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two", "three"):
        sealed_record(tmp_path, name, event_count=2)
    return tmp_path


@pytest.mark.hazard(38)
def test_a_catalogue_cut_at_any_sector_is_made_anew(folder: Path) -> None:
    expected = list_records(folder, KEY)
    assert len(expected) == 3
    path = folder / FILE_NAME
    whole = path.read_bytes()
    for length in range(0, len(whole), SECTOR):
        for rest in (b"", bytes(len(whole) - length)):
            path.write_bytes(whole[:length] + rest)
            assert list_records(folder, KEY) == expected, f"{length} bytes kept"
            assert path.read_bytes()[:16] == whole[:16]


def test_a_catalogue_that_cannot_be_written_at_any_size_hides_no_record(folder: Path) -> None:
    """The system itself refuses SQLite's writes beyond a size: as on a disk that is full."""
    expected = [entry.session_id for entry in list_records(folder, KEY)]
    size = (folder / FILE_NAME).stat().st_size
    (folder / FILE_NAME).unlink()
    script = LIST_WITH_LITTLE_ROOM.format(
        root=os.getcwd(), folder=str(folder), room=size + 2 * SECTOR, expected=expected
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    answers = done.stdout.splitlines()
    assert len(answers) == size // SECTOR + 2
    assert all(answer.endswith("True") for answer in answers), answers
