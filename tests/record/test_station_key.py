"""The station key is made once, is private, and is refused where it is not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from estim.errors import RecordError
from estim.record import station_key


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "estim"
    assert station_key.load(folder) is None
    key = station_key.load_or_make(folder)
    assert len(key) == 32
    path = folder / "station.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert path.read_text() == key.hex() + "\n"
    assert station_key.load_or_make(folder) == station_key.load(folder) == key
    assert os.listdir(folder) == ["station.key"]


def test_two_stations_have_two_keys(tmp_path: Path) -> None:
    assert station_key.load_or_make(tmp_path / "a") != station_key.load_or_make(tmp_path / "b")


@pytest.mark.hazard(39)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o644])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    station_key.load_or_make(tmp_path)
    (tmp_path / "station.key").chmod(mode)
    with pytest.raises(RecordError, match=f"mode {mode:03o}.*expected 600"):
        station_key.load_or_make(tmp_path)


@pytest.mark.parametrize(
    "octets",
    [b"", b"ab" * 31, b"ab" * 33, b"zz" * 32, b"AB" * 32, b"\xff" * 64, b"ab" * 32 + b"  "],
)
def test_a_key_file_of_another_shape_is_refused_and_kept(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "station.key"
    path.touch(0o600)
    path.write_bytes(octets)
    with pytest.raises(RecordError, match="expected 64 hex digits"):
        station_key.load_or_make(tmp_path)
    assert path.read_bytes() == octets


def test_a_link_a_pipe_and_a_folder_are_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    station_key.load_or_make(real)
    for name in ("link", "pipe", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / "station.key").symlink_to(real / "station.key")
    os.mkfifo(tmp_path / "pipe" / "station.key", 0o600)
    (tmp_path / "folder" / "station.key").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(RecordError, match=r"station\.key"):
            station_key.load_or_make(tmp_path / name)


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "station.key").symlink_to(tmp_path / "victim")
    with pytest.raises(RecordError, match="symbolic link"):
        station_key.load_or_make(tmp_path)
    assert not (tmp_path / "victim").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="cannot be made"):
        station_key.load_or_make(tmp_path / "file" / "config")


MAKE = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from estim.record.station_key import load_or_make
print("ready", flush=True)
sys.stdin.readline()
print(load_or_make(Path({folder!r})).hex())
"""


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE.format(root=os.getcwd(), folder=str(tmp_path / "new"))]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    keys = {child.communicate(timeout=20)[0].strip() for child in children}
    assert keys == {(tmp_path / "new" / "station.key").read_text().strip()}


def test_a_disk_that_takes_little_at_a_time_makes_no_half_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key file of another shape would be refused for good, and no session started any more."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, octets: write(descriptor, octets[:10]))
    key = station_key.load_or_make(tmp_path)
    assert station_key.load(tmp_path) == key
