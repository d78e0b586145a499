"""The device that was used last: one address, kept between starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.prepare import last_device


def test_the_address_is_kept_and_the_newest_counts(tmp_path: Path) -> None:
    folder = tmp_path / "configuration"
    assert last_device.recall(folder) == ""
    last_device.remember(folder, "native:/dev/ttyUSB0")
    last_device.remember(folder, "native:socket://rig-2:7000")
    assert last_device.recall(folder) == "native:socket://rig-2:7000"


@pytest.mark.parametrize(
    "octets",
    [b"", b"nonsense", b"\xff\xfe", b"sim:\x1b[31m", b"sim:" + b"x" * 500, b"sim:\nnative:x"],
)
def test_anything_else_in_the_file_is_as_none(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / last_device.FILE_NAME).write_bytes(octets)
    assert last_device.recall(tmp_path) == ""


@pytest.mark.parametrize("url", ["sim:\u202e", "no address", "sim:" + "x" * 500])
def test_what_is_no_address_is_not_kept(tmp_path: Path, url: str) -> None:
    last_device.remember(tmp_path, url)
    assert not (tmp_path / last_device.FILE_NAME).exists()
